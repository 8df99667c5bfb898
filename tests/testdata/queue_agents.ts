// Copyright 2026 the Sabre authors. MIT license.

// What the workers of `queue_test.ts` do. Each gets what structured clone makes of a queue.

import { home } from "../../_agent.ts";
import { Queue } from "../../queue.ts";
import { digestOf, mixedValue, randomOf, textOf } from "../_helpers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

/** Ends a worker that waits for what never comes, so that a failed test can end. */
const LIMIT = { timeout: 20_000 };

export async function putMixed(clone: unknown, from: number, count: number): Promise<void> {
  const queue = Queue.from<Any>(clone);
  for (let i = from; i < from + count; i++) {
    if (i % 100 === 0) await queue.put([i, mixedValue(i)], LIMIT);
    else queue.putSync([i, mixedValue(i)], LIMIT);
  }
}

/** Whether the values are those of `putMixed`; returns their indices in the order in which they came. */
export async function checkMixed(clone: unknown): Promise<Int32Array> {
  const indices: number[] = [];
  for await (const batch of batches(Queue.from<Any>(clone))) {
    for (const [index, value] of batch) {
      const wanted = mixedValue(index);
      const same = typeof wanted === "object" && wanted !== null
        ? textOf(value) === textOf(wanted)
        : Object.is(value, wanted);
      if (!same) throw new Error(`value ${index} is ${textOf(value)}`);
      indices.push(index);
    }
  }
  return new Int32Array(indices);
}

async function* batches(queue: Queue<Any>): AsyncGenerator<Any[]> {
  for (let round = 0;; round++) {
    try {
      yield round % 3 === 0
        ? await queue.getMany(50, LIMIT)
        : round % 3 === 1
        ? queue.getManySync(7, LIMIT)
        : [queue.getSync(LIMIT)];
    } catch (error) {
      if ((error as Error).name === "ClosedError") return;
      throw error;
    }
  }
}

export function putObjects(clone: unknown, count: number): void {
  const queue = Queue.from<Any>(clone);
  for (let i = 0; i < count; i++) {
    queue.putSync({ i, s: `m${i}`, pad: "p".repeat(i % 100) }, LIMIT);
  }
}

/** Puts values of which every third is larger than a storage of 256 bytes; returns their checksum. */
export async function putLarge(clone: unknown, producer: number, count: number): Promise<number> {
  const queue = Queue.from<Any>(clone);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const value = i % 3 === 0 ? `${producer} ${i} ${"x".repeat(300 + i)}` : [producer, i];
    sum = (sum + digestOf(textOf(value))) >>> 0;
    if (i % 2 === 0) queue.putSync(value, LIMIT);
    else await queue.put(value, LIMIT);
  }
  return sum;
}

/** How many items came, and their checksum. */
export async function digestAll(clone: unknown): Promise<[number, number]> {
  let count = 0;
  let sum = 0;
  for await (const batch of batches(Queue.from<Any>(clone))) {
    for (const value of batch) sum = (sum + digestOf(textOf(value))) >>> 0;
    count += batch.length;
  }
  return [count, sum];
}

export async function putOne(clone: unknown, value: unknown, sync = true): Promise<void> {
  const queue = Queue.from<Any>(clone);
  if (sync) queue.putSync(value, LIMIT);
  else await queue.put(value, LIMIT);
}

export async function getOne(clone: unknown, sync: boolean): Promise<unknown> {
  const queue = Queue.from<Any>(clone);
  return sync ? queue.getSync(LIMIT) : await queue.get(LIMIT);
}

export function putNumbers(clone: unknown, count: number): void {
  const queue = Queue.from<number>(clone);
  for (let i = 0; i < count; i++) queue.putSync(i, LIMIT);
}

/** Gets with time limits so short that they often run out. */
export function getImpatiently(clone: unknown, seed: number): Int32Array {
  const queue = Queue.from<number>(clone);
  const random = randomOf(seed);
  const got: number[] = [];
  for (;;) {
    try {
      got.push(queue.getSync({ timeout: random() }));
    } catch (error) {
      if ((error as Error).name === "ClosedError") return new Int32Array(got);
      if ((error as Error).name !== "TimeoutError") throw error;
    }
  }
}

/** Puts 0, 1, 2 ... and returns how many went in. */
export function putUntilClosed(clone: unknown): number {
  const queue = Queue.from<number>(clone);
  for (let i = 0;; i++) {
    try {
      queue.putSync(i, LIMIT);
    } catch (error) {
      if ((error as Error).name === "ClosedError") return i;
      throw error;
    }
  }
}

export async function getAll(clone: unknown, sync: boolean): Promise<Int32Array> {
  const queue = Queue.from<number>(clone);
  return new Int32Array(sync ? [...queue] : await Array.fromAsync(queue));
}

/** Works items off; returns how many. */
export async function workOff(clone: unknown): Promise<number> {
  const queue = Queue.from<number>(clone);
  let count = 0;
  for await (const _ of queue) {
    count++;
    queue.taskDone();
  }
  return count;
}

/** All numbers that came, in every form of batch. */
export async function getBatches(clone: unknown): Promise<Int32Array> {
  const queue = Queue.from<number>(clone);
  const got: number[] = [];
  const ints = new Int32Array(100);
  const floats = new Float64Array(33);
  try {
    for (let round = 0;; round++) {
      switch (round % 5) {
        case 0:
          got.push(...await queue.getMany(50, LIMIT));
          break;
        case 1:
          got.push(...ints.subarray(0, queue.getManyIntoSync(ints, LIMIT)));
          break;
        case 2:
          got.push(...floats.subarray(0, await queue.getManyInto(floats, LIMIT)));
          break;
        case 3:
          got.push(...queue.getManySync(3, LIMIT));
          break;
        default:
          got.push(queue.getSync(LIMIT));
      }
    }
  } catch (error) {
    if ((error as Error).name !== "ClosedError") throw error;
  }
  return new Int32Array(got);
}

/** Begins to get and never looks again; returns the id of this agent, for a parent that says it died. */
export function startGet(clone: unknown): number {
  Queue.from<Any>(clone).get().catch(() => {});
  return home().id;
}

export function startPut(clone: unknown): number {
  Queue.from<Any>(clone).put("never").catch(() => {});
  return home().id;
}

/** The id of this agent, for a parent that asks it to end. */
export function idOf(clone: unknown): number {
  // Home is where the first primitive came from.
  Queue.from(clone);
  return home().id;
}

/** What calls do in an agent that is asked to end while it is blocked. */
export async function waitUntilStopped(full: unknown, empty: unknown): Promise<string[]> {
  const from = Queue.from<Any>(empty);
  const to = Queue.from<Any>(full);
  const seen: string[] = [];
  const see = async (call: () => unknown) => {
    try {
      seen.push(`${await call()}`);
    } catch (error) {
      seen.push((error as Error).name);
    }
  };
  const pending = from.get(LIMIT).catch((error) => error.name);
  await see(() => from.getSync(LIMIT));
  await see(() => pending);
  await see(() => from.get(LIMIT));
  await see(() => to.putSync(1, LIMIT));
  await see(() => to.put(1, LIMIT));
  await see(() => to.joinSync(LIMIT));
  // What need not wait still works.
  await see(() => from.putSync(1));
  await see(() => from.size);
  await see(() => from.getSync());
  await see(() => from.tryGet().state);
  return seen;
}

/** Blocks the thread until the second flag is set. */
export function hold(flags: Int32Array<SharedArrayBuffer>): void {
  Atomics.store(flags, 0, 1);
  Atomics.wait(flags, 1, 0, 20_000);
}
