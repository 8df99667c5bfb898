// Copyright 2026 the Sabre authors. MIT license.

// Every interleaving, in small bounds, of the shipped permits (Semaphore, RwLock), conditions, events
// and barriers.

import { assertEquals } from "@std/assert";
import { DEATH, family, holds, specified } from "./shipped.ts";

const permits = await family("permits");
/** Over a latch by its specification. */
const composed = await specified("permits");
const waiters = await specified("condition");
const conditions = await family("condition");
const events = await family("event");
const barriers = await family("barrier");

Deno.test("the scenarios of the family need nothing that is refused", () => {
  for (const module of [permits, conditions, events, barriers]) assertEquals(module.refused, []);
});

Deno.test("permits: never more are held than there are, and everybody is served", () => {
  holds(permits, "permits", [{ total: 1, needs: [1, 1], rounds: 2 }]);
  holds(permits, "permits", [{ total: 1, needs: [1, 1, 1] }]);
  holds(permits, "permits", [{ total: 1, needs: [1, 1], puts: 1 }]);
});

Deno.test("permits survive requests that give up: those behind them that fit are served", () => {
  holds(permits, "permits", [{ total: 2, needs: [2, 1], cancelling: 2 }]);
  holds(permits, "permits", [{ total: 2, needs: [2, 1, 1], cancelling: 1 }]);
  holds(permits, "permits", [{ total: 2, needs: [2, 1, 1], cancelling: 1, keeps: true }]);
});

Deno.test("permits survive a death anywhere", () => {
  holds(permits, "permits", [{ total: 1, needs: [1, 1], deaths: true }], DEATH);
  const bystander = { deaths: true, bystander: true };
  holds(composed, "permits", [{ total: 1, needs: [1, 1], rounds: 2, ...bystander }], DEATH);
  holds(permits, "permits", [{ total: 2, needs: [2, 1], cancelling: 2, deaths: true }], DEATH);
  holds(permits, "permits", [{ total: 4, needs: [4, 1], isLock: true, deaths: true }], DEATH);
});

Deno.test("conditions lose no notification, whoever gives up or dies", () => {
  holds(conditions, "condition", [{ waiters: 1 }]);
  holds(conditions, "condition", [{ waiters: 1, cancelling: 1, all: true }]);
  holds(conditions, "condition", [{ waiters: 1, cancelling: 1 }]);
  holds(conditions, "condition", [{ waiters: 1, deaths: true }], DEATH);
  holds(waiters, "condition", [{ waiters: 1, deaths: true, bystander: true }], DEATH);
});

Deno.test("events release everyone who waits, by a pulse too, whoever dies", () => {
  holds(events, "event", [{ waiters: 2 }]);
  holds(events, "event", [{ waiters: 2, pulse: true }]);
  holds(events, "event", [{ waiters: 1, setters: 2, pulse: true }]);
  holds(events, "event", [{ waiters: 1, setters: 2, pulse: true, early: true }]);
  holds(events, "event", [{ waiters: 2, pulse: true, early: true }]);
  holds(events, "event", [{ waiters: 2, pulse: true, deaths: true }], DEATH);
});

Deno.test("barriers let all or none through, each with its index", () => {
  holds(barriers, "barrier", [{ parties: 2, rounds: 2 }]);
  holds(barriers, "barrier", [{ parties: 3 }]);
  holds(barriers, "barrier", [{ parties: 3, cancelling: 3 }]);
  holds(barriers, "barrier", [{ parties: 2, resets: true }]);
});

Deno.test("barriers break when a party dies, wherever it is", () => {
  holds(barriers, "barrier", [{ parties: 2, cancelling: 1, deaths: true }], DEATH);
  holds(barriers, "barrier", [{ parties: 2, rounds: 2, deaths: true }], DEATH);
  holds(barriers, "barrier", [{ parties: 2, strangers: true, deaths: true }], DEATH);
  holds(barriers, "barrier", [{ parties: 2, rounds: 2, strangers: true, deaths: true }], DEATH);
});
