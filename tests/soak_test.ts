// Copyright 2026 the Sabre authors. MIT license.

// A slice of the long runs: millions of messages, in order and in flat memory.

import { assert, assertEquals } from "@std/assert";
import { soak } from "./stress/soak.ts";

const SECONDS = 8;
const LEAST = 1_000_000;
/** Bytes more that may be in use at the end than when all was warm. */
const GROWTH = 64 * 2 ** 20;

Deno.test("pipes and queues carry millions of messages in order and in flat memory", {
  timeout: 120_000,
}, async () => {
  const { moved, lost, memory: { start, end } } = await soak({ seconds: SECONDS });
  assertEquals(lost, 0);
  assert(moved >= LEAST, `${moved} messages`);
  assert(start > 0 && end - start < GROWTH, `${start} bytes, then ${end}`);
});
