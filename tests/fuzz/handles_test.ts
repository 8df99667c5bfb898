// Copyright 2026 the Sabre authors. MIT license.

// Hostile handles: fields of the wrong type, objects that do something when they are looked at, memory
// that is too short, of another kind, or noise. Attaching them is a TypeError (a RangeError where
// something is full), or there is a primitive, of which each call ends in time with an error of ours.
//
// Another seed or number of cases: see codec_test.ts.

import { assert } from "@std/assert";
import { fuzzHandles } from "./_handles.ts";
import { setting } from "./_settings.ts";

const SEED = setting("SABRE_FUZZ_SEED", 1);
const CASES = setting("SABRE_FUZZ_CASES", 4_000);

Deno.test("a hostile handle is a TypeError, or a primitive that answers", async () => {
  const attached = await fuzzHandles(SEED, CASES);
  // Both happen, or the cases are no good.
  if (CASES >= 1_000) assert(attached > CASES / 20 && attached < CASES * 0.9, `${attached}`);
});
