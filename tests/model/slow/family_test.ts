// Copyright 2026 the Sabre authors. MIT license.

// What takes too long for every day: three agents, some of which give up or die, at permits, conditions,
// events and barriers, over a latch, and for conditions a lock, by their specifications.

import { DEATH, holds, specified } from "../shipped.ts";

const permits = await specified("permits");
const conditions = await specified("condition");
const events = await specified("event");
const barriers = await specified("barrier");

Deno.test("permits: three agents, some of which give up or die", () => {
  holds(permits, "permits", [{ total: 2, needs: [2, 1, 1], cancelling: 3 }]);
  holds(permits, "permits", [{ total: 1, needs: [1, 1, 1], deaths: true }], DEATH);
  holds(permits, "permits", [
    { total: 2, needs: [2, 1, 1], cancelling: 1, deaths: true },
  ], DEATH);
  holds(
    permits,
    "permits",
    [{ total: 4, needs: [4, 1, 1], isLock: true, deaths: true }],
    DEATH,
  );
});

Deno.test("conditions: three agents and more, some of which give up or die", () => {
  holds(conditions, "condition", [{ waiters: 2, cancelling: 2 }]);
  holds(conditions, "condition", [{ waiters: 2, all: true }]);
  holds(conditions, "condition", [{ waiters: 3 }]);
  holds(conditions, "condition", [{ waiters: 2, deaths: true }], DEATH);
  holds(conditions, "condition", [{ waiters: 2, cancelling: 1, deaths: true }], DEATH);
});

Deno.test("events: three agents, some of which die", () => {
  holds(events, "event", [{ waiters: 3, pulse: true }]);
  holds(events, "event", [{ waiters: 2, pulse: true, deaths: true }], DEATH);
});

Deno.test("barriers: three agents, some of which give up or die", () => {
  holds(barriers, "barrier", [{ parties: 3, rounds: 2 }]);
  holds(barriers, "barrier", [{ parties: 2, resets: true, deaths: true }], DEATH);
  holds(barriers, "barrier", [{ parties: 3, deaths: true }], DEATH);
  holds(barriers, "barrier", [{ parties: 3, cancelling: 1, deaths: true }], DEATH);
});
