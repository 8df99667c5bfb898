// Copyright 2026 the Sabre authors. MIT license.

// The latch alone, with three agents and a death; and with its spinning, which the other tests of the model
// leave out as it multiplies the states.

import { DEATH, holds, options } from "./shipped.ts";
import { load } from "./transform.ts";

const latches = await load(new URL("./scenarios/latch.ts", import.meta.url), options);
const spins = { ...options, constants: { ...options.constants, "_latch.ts": { SPINS: 1 } } };
const spinning = await load(new URL("./scenarios/latch.ts", import.meta.url), spins);
const mutexes = await load(new URL("./scenarios/mutex.ts", import.meta.url), spins);

Deno.test("a latch keeps agents apart and wakes them, whether it spins or not", () => {
  for (const module of [latches, spinning]) {
    holds(module, "latch", [2, 3]);
    holds(module, "latch", [3, 2]);
  }
});

Deno.test("a latch is taken over from one that died by one of the others", () => {
  holds(latches, "latch", [3, 1, true], DEATH);
  holds(latches, "latch", [2, 2, true], DEATH);
  holds(spinning, "latch", [3, 1, true], DEATH);
});

Deno.test("a lock over a latch that spins keeps agents apart and wakes them", () => {
  holds(mutexes, "mutex", [2, 1]);
  holds(mutexes, "mutex", [2, 1, 2, true], DEATH);
  holds(mutexes, "mutex", [3, 1]);
});
