// Copyright 2026 the Sabre authors. MIT license.

import { assertEquals } from "@std/assert";
import { bury, home } from "../_agent.ts";
import {
  BUSY,
  giveBack,
  keeperOf,
  MUTEX_WORDS,
  mutexAt,
  pollTake,
  TAKEN,
  tryTake,
} from "../_mutex.ts";
import { block } from "./_helpers.ts";
import { ghost } from "./_workers.ts";

Deno.test("who keeps others waiting is the holder, or an heir that has not run", () => {
  const words = new Int32Array(new SharedArrayBuffer(MUTEX_WORDS * 4));
  const [holder, other] = [ghost(), ghost()];
  const mutex = mutexAt(home(), words, 0);
  const seenByHolder = mutexAt(holder, words, 0);
  assertEquals(keeperOf(mutex), 0);
  assertEquals(tryTake(seenByHolder), TAKEN);
  const wait = { ticket: 0, place: -1 };
  assertEquals(pollTake(mutex, wait), BUSY);
  // The first place in line, which is that of the first agent.
  assertEquals(wait.place, 0);
  assertEquals(keeperOf(mutex), holder.id);
  // After a millisecond it is handed over.
  block(3);
  giveBack(seenByHolder);
  assertEquals(keeperOf(mutexAt(other, words, 0)), home().id);
  assertEquals(pollTake(mutex, wait), TAKEN);
  assertEquals(keeperOf(mutexAt(other, words, 0)), home().id);
  giveBack(mutex);
  assertEquals(keeperOf(mutex), 0);
  for (const { id } of [holder, other]) bury(home(), id);
});
