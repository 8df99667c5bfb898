// Copyright 2026 the Sabre authors. MIT license.

// More of what `tests/fuzz` does a little of.

import { fuzzHandles } from "../fuzz/_handles.ts";
import { fuzzMessages } from "../fuzz/_messages.ts";
import { fuzzPipes, fuzzQueues } from "../fuzz/_storage.ts";

Deno.test("a million damaged messages", () => {
  fuzzMessages(1_000_000, 1_000_000);
});

Deno.test("ten thousand damaged pipes", async () => {
  await fuzzPipes(1_000_000, 10_000);
});

Deno.test("ten thousand damaged queues", async () => {
  await fuzzQueues(1_000_000, 10_000);
});

Deno.test("forty thousand hostile handles", async () => {
  await fuzzHandles(1_000_000, 40_000);
});
