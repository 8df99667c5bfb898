// Copyright 2026 the Sabre authors. MIT license.

// Every interleaving of the shipped lock, in small bounds.

import { assert, assertEquals } from "@std/assert";
import { explore, type ExploreOptions } from "./explore.ts";
import { load, type LoadOptions } from "./transform.ts";

const options: LoadOptions = {
  replace: {
    "_park.ts": new URL("./park.ts", import.meta.url),
    "_clock.ts": new URL("./clock.ts", import.meta.url),
  },
  constants: { "_latch.ts": { SPINS: 0 } },
};
const mutexes = await load(new URL("./scenarios/mutex.ts", import.meta.url), options);
const exclusives = await load(new URL("./scenarios/exclusive.ts", import.meta.url), options);

/** A death may leave a latch whose next taker finds out by itself, after its slice of sleep. */
const DEATH: ExploreOptions = { kills: 1, timeouts: "rest" };

function holds(
  module: typeof mutexes,
  name: string,
  args: unknown[],
  bounds: ExploreOptions = {},
): void {
  const result = explore(module.scenario(name, ...args), bounds);
  assertEquals(result.violation, undefined, result.report);
  assert(result.complete, result.report);
  console.log(result.report);
}

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
  holds(mutexes, "mutex", [2, 2, 0, true], DEATH);
});

Deno.test("a lock's blocking calls keep agents apart, time out, stop and survive a death", () => {
  holds(exclusives, "exclusive", [2, 2]);
  holds(exclusives, "exclusive", [2, 2, { timeouts: [5, 5] }], { late: 2 });
  holds(exclusives, "exclusive", [2, 1, { stops: true }]);
  holds(exclusives, "exclusive", [2, 1, { deaths: true }], DEATH);
});
