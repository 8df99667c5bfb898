// Copyright 2026 the Sabre authors. MIT license.

// A slice of the long runs: children that die at random instants, with another seed each time. For
// more, and to replay what fails here, see tests/stress/run.ts.

import { assert } from "@std/assert";
import { campaign } from "./stress/campaign.ts";

const SECONDS = 5;
const LIMIT = { timeout: 120_000 };

for (const isBlocked of [false, true]) {
  const how = isBlocked ? "blocks" : "awaits";
  Deno.test(
    `whoever dies, whenever, an agent that ${how} gets on and nothing is lost`,
    LIMIT,
    async () => {
      const seed = Math.floor(Math.random() * 100_000);
      const { rounds, kills, longest } = await campaign({ seed, isBlocked, seconds: SECONDS });
      console.log(
        `seed ${seed}: ${rounds} rounds, ${JSON.stringify(kills)}, ${longest.toFixed()} ms`,
      );
      assert(rounds > 0 && Object.keys(kills).length > 0);
      assert(longest < 2_000);
    },
  );
}
