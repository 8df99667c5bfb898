// Copyright 2026 the Sabre authors. MIT license.

// Many millions of messages through a pipe and through a queue: in order, and in memory that does not
// grow.

import { assert, assertEquals } from "@std/assert";
import { pipe, Process, Queue } from "../../mod.ts";
import { putNumbers, sendNumbers } from "../testdata/soak_targets.ts";

const TARGETS = new URL("../testdata/soak_targets.ts", import.meta.url);
const SECONDS = 7;
const LEAST = 1_000_000;
/** How many bytes more may be in use at the end than at the start, once all is set up. */
const GROWTH = 48 * 2 ** 20;

/** Takes everything and checks that it is 0, 1, 2 ... Returns how many there were. */
function drain(takeMany: () => unknown[] | undefined): number {
  let next = 0;
  let before = 0;
  for (let round = 0;; round++) {
    const values = takeMany();
    if (values === undefined) break;
    for (const value of values) {
      const number = typeof value === "number" ? value : (value as { number: number }).number;
      if (number !== next) throw new Error(`${number} came in place of ${next}`);
      next++;
    }
    if (round === 2_000) before = Deno.memoryUsage().rss;
  }
  const growth = Deno.memoryUsage().rss - before;
  assert(before > 0 && growth < GROWTH, `${growth} bytes more`);
  return next;
}

/** What the call returns; `undefined` at the end. */
function orEnd<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if ((error as Error).name === "ClosedError") return undefined;
    throw error;
  }
}

Deno.test("a pipe carries millions of messages in order and in flat memory", async () => {
  const [here, there] = pipe<unknown>();
  await using child = new Process(TARGETS, {
    target: sendNumbers,
    args: [there as never, SECONDS * 1_000],
  }).start();
  const count = drain(() => orEnd(() => here.receiveManySync(500)));
  assertEquals(count, await child.result);
  assert(count >= LEAST, `${count} messages`);
  here.close();
});

Deno.test("a queue carries millions of items in order and in flat memory", async () => {
  const queue = new Queue<unknown>();
  await using child = new Process(TARGETS, {
    target: putNumbers,
    args: [queue, SECONDS * 1_000],
  }).start();
  const count = drain(() => orEnd(() => queue.getManySync(500)));
  assertEquals(count, await child.result);
  assert(count >= LEAST, `${count} items`);
  assertEquals(queue.size, 0);
});
