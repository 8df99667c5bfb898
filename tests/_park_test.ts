// Copyright 2026 the Sabre authors. MIT license.

import { assertEquals } from "@std/assert";
import { parkAsync, wakeAll } from "../_park.ts";
import { until } from "./_helpers.ts";

const LIMIT = { timeout: 20_000 };

Deno.test("parkAsync() returns undefined when the word does not hold what is expected", () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  assertEquals(parkAsync(words, 1, 1), undefined);
});

Deno.test("wakeAll() wakes everybody who sleeps on the word, and nobody else", LIMIT, async () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const awake: number[] = [];
  for (const index of [1, 0, 1, 1]) parkAsync(words, index, 0)!.then(() => awake.push(index));
  wakeAll(words, 1);
  await until(() => awake.length >= 3);
  assertEquals(awake, [1, 1, 1]);
  wakeAll(words, 0);
  await until(() => awake.length === 4);
});
