// Copyright 2026 the Sabre authors. MIT license.

// Children that die at random instants. To replay a failure, set SEED and ONLY to what it says: the
// random decisions are the same then, although the instants are not to the microsecond.

import { assert } from "@std/assert";
import { campaign } from "./kills.ts";

const SEED = 1;
const SECONDS = 20;
/** The number of the one round to run; `undefined`: all. */
const ONLY: number | undefined = undefined;

Deno.test("whoever dies, whenever, the others get on and nothing is lost", async () => {
  const { rounds, kills, longest } = await campaign({
    seed: SEED,
    seconds: SECONDS,
    ...ONLY === undefined ? {} : { only: ONLY },
  });
  assert(rounds > 0 && Object.keys(kills).length > 0);
  assert(longest < 2_000);
});
