// Copyright 2026 the Sabre authors. MIT license.

// Every interleaving of the shipped lock, in small bounds.

import { assertEquals } from "@std/assert";
import { DEATH, holds, shipped } from "./shipped.ts";

const mutexes = await shipped("mutex");
/** Over a latch by its specification. */
const composed = await shipped("mutex", "specified");
const exclusives = await shipped("exclusive");

Deno.test("the scenarios of the lock need nothing that is refused", () => {
  assertEquals(mutexes.refused, []);
});

Deno.test("a lock keeps two and three agents apart and wakes them", () => {
  holds(mutexes, "mutex", [2, 1]);
  holds(mutexes, "mutex", [2, 3]);
  holds(mutexes, "mutex", [3, 1]);
});

Deno.test("a lock survives waiters that give up", () => {
  holds(mutexes, "mutex", [2, 2, 2]);
  holds(mutexes, "mutex", [3, 1, 1]);
});

Deno.test("a lock survives a death anywhere", () => {
  holds(mutexes, "mutex", [2, 1, 2, true], DEATH);
  // Who died while holding it leaves it poisoned; who was given it and had not run yet does not.
  holds(mutexes, "mutex", [2, 2, 0, true], { ...DEATH, eaten: true });
});

Deno.test("a lock stays poisoned until somebody recovers it", () => {
  holds(mutexes, "mutex", [2, 2, 0, true, { leaves: true }], DEATH);
});

Deno.test("a lock is handed over in the order of arrival", () => {
  holds(mutexes, "mutex", [3, 1, 0, false, { ordered: true }]);
});

Deno.test("a lock survives three that may give up", () => {
  holds(composed, "mutex", [3, 1, 3]);
});

Deno.test("a lock's blocking calls keep agents apart, time out, stop and survive a death", () => {
  holds(exclusives, "exclusive", [2, 2]);
  holds(exclusives, "exclusive", [2, 2, { timeouts: [5, 5] }], { late: 2 });
  holds(exclusives, "exclusive", [2, 1, { stops: true }]);
  holds(exclusives, "exclusive", [2, 1, { deaths: true }], DEATH);
  holds(exclusives, "exclusive", [2, 2, { nested: true }]);
});
