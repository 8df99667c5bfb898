// Copyright 2026 the Sabre authors. MIT license.

// The latch's spinning, which the other tests of the model leave out as it multiplies the states.

import { DEATH, holds, options } from "./shipped.ts";
import { load } from "./transform.ts";

const spinning = await load(new URL("./scenarios/mutex.ts", import.meta.url), {
  ...options,
  constants: { ...options.constants, "_latch.ts": { SPINS: 1 } },
});

Deno.test("a latch that spins before it sleeps keeps agents apart and wakes them", () => {
  holds(spinning, "mutex", [2, 1]);
  holds(spinning, "mutex", [2, 2, 2]);
  holds(spinning, "mutex", [3, 1]);
});

Deno.test("a latch that spins before it sleeps survives a death anywhere", () => {
  holds(spinning, "mutex", [2, 1, 0, true], DEATH);
});
