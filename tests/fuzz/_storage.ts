// Copyright 2026 the Sabre authors. MIT license.

// Pipes and queues whose memory is overwritten, and what may come of calls on them.

import { assert, assertStringIncludes } from "@std/assert";
import { Connection, pipe } from "../../pipe.ts";
import { Queue } from "../../queue.ts";
import { mixedValue, randomOf } from "../_helpers.ts";
import { anyWord, below, pick, type Random } from "./_mutate.ts";
import { walk } from "./_messages.ts";

/** How long calls wait here, in milliseconds. */
const TIMEOUT = 2;
/** Longer than any call here takes, on a machine that is busy. */
const MAX_TIME = 5_000;
/** More than one call here may allocate, in bytes. */
const MAX_MEMORY = 300_000_000;

/** Errors that calls on sound memory have, too. */
const USUAL = [
  "TimeoutError",
  "ClosedError",
  "DeadlockError",
  "AbandonedError",
  "BrokenBarrierError",
  "RangeError",
];

/** What a call may end with. */
function checkError(error: unknown): void {
  assert(error instanceof Error, `${error} is no error`);
  const { name, message } = error as Error;
  if (USUAL.includes(name)) {
    // Ours begin so. Those of the engine do not.
    assert(/^(Cannot|No )/.test(message) || name === "TimeoutError", `${name}: ${message}`);
    return;
  }
  assert(error instanceof TypeError, `${error} is no TypeError`);
  assertStringIncludes(message, "Cannot ");
}

/** Makes the call and checks how it ends, and what it costs. Returns what it returned. */
export async function attempt(call: () => unknown): Promise<void> {
  const start = performance.now();
  const before = Deno.memoryUsage();
  try {
    const value = await call();
    walk(value, []);
  } catch (error) {
    try {
      checkError(error);
    } catch (reason) {
      throw new Error(`Not an error that is meant: ${reason}`, { cause: error });
    }
  }
  const time = performance.now() - start;
  assert(time < MAX_TIME, `it took ${time} ms`);
  const after = Deno.memoryUsage();
  const growth = after.external + after.heapTotal - before.external - before.heapTotal;
  assert(growth < MAX_MEMORY, `it took ${growth} bytes`);
}

/** Overwrites words of the memory: some, many, all, or the bits of one. */
function damage(words: Int32Array, from: number, hot: readonly number[], random: Random): void {
  switch (below(random, 4)) {
    case 0:
      // Where it hurts: positions, counts, flags.
      for (let times = 1 + below(random, 3); times > 0; times--) {
        words[pick(random, hot)] = anyWord(random);
      }
      return;
    case 1:
      for (let times = 1 + below(random, 8); times > 0; times--) {
        words[from + below(random, words.length - from)] = anyWord(random);
      }
      return;
    case 2: {
      const word = from + below(random, words.length - from);
      words[word]! ^= 1 << below(random, 32);
      return;
    }
    default: {
      // Everything from somewhere on.
      const start = from + below(random, words.length - from);
      const end = Math.min(words.length, start + (1 << below(random, 12)));
      const filler = random() < 0.5 ? anyWord(random) : undefined;
      for (let i = start; i < end; i++) words[i] = filler ?? anyWord(random);
    }
  }
}

/** Something to send: all kinds, and runs. */
function fill(
  send: (value: unknown) => unknown,
  sendMany: (values: unknown) => unknown,
  random: Random,
): void {
  for (let count = below(random, 8); count > 0; count--) {
    try {
      if (random() < 0.3) sendMany(new Int16Array(1 + below(random, 40)).fill(count));
      else if (random() < 0.5) send(below(random, 1_000));
      else send(mixedValue(below(random, 1_000)));
    } catch (error) {
      checkError(error);
    }
  }
}

/** Damages so many pipes, and calls everything that each end has. */
export async function fuzzPipes(seed: number, cases: number): Promise<void> {
  for (let i = 0; i < cases; i++) {
    const random = randomOf(seed + i);
    try {
      await fuzzPipe(random);
    } catch (error) {
      throw new Error(`Case ${seed + i}`, { cause: error });
    }
  }
}

async function fuzzPipe(random: Random): Promise<void> {
  const capacity = 1 << (6 + below(random, 8));
  const [a, b] = pipe({ capacity, duplex: random() < 0.8 });
  const wait = { timeout: TIMEOUT };
  const words = new Int32Array(a.handle.memory);
  // Owned, as an end that belongs to nobody knows nothing yet: with and without.
  if (random() < 0.8) {
    fill(
      (value) => b.trySend(value),
      (values) => b.sendManySync(values as Int16Array, wait),
      random,
    );
    if (random() < 0.5) await attempt(() => a.tryReceive());
  }
  let pending: Promise<void> | undefined;
  if (random() < 0.2) pending = attempt(() => a.receive({ timeout: 20 }));
  if (random() < 0.1) {
    // Larger than the storage: pieces.
    pending ??= attempt(() => b.sendBytes(new Uint8Array(capacity * 3), { timeout: 20 }));
  }
  const ring = words.length - (1 + words[10]!) * words[11]!;
  // Positions and bits of both channels, and the words of the ends.
  const channels = [8, 9, 32, 64, 65, 96, 128, 129];
  damage(
    words,
    8,
    random() < 0.5 ? channels : [...channels, ring, ring + 1, ring + 2, ring + 3],
    random,
  );
  const calls: (() => unknown)[] = [
    () => a.tryReceive(),
    () => a.receiveSync(wait),
    () => a.receive(wait),
    () => a.receiveManySync(1 + below(random, 1e6), wait),
    () => a.receiveMany(1e9, wait),
    () => a.receiveManyIntoSync(new Int16Array(1 + below(random, 100)), wait),
    () => a.receiveManyIntoSync(new Float64Array(1 + below(random, 100)), wait),
    () => a.receiveBytesSync(wait),
    () => a.receiveBytesIntoSync(new Uint8Array(below(random, 4_000)), wait),
    () => a.pollSync(wait),
    () => a.poll(wait),
    () => b.trySend(mixedValue(below(random, 100))),
    () => b.sendSync(below(random, 100), wait),
    () => b.send("text", wait),
    () => b.sendManySync([1, "two", [3]], wait),
    () => b.sendManySync(new Int32Array(below(random, 5_000)), wait),
    () => b.sendBytesSync(new Uint8Array(below(random, 4_000)), wait),
    () => Deno.inspect(a) + Deno.inspect(b),
    () => Connection.from(structuredClone(a)).closed,
    () => void damage(words, 8, channels, random),
  ];
  for (let times = 6; times > 0; times--) await attempt(pick(random, calls));
  await pending;
  await attempt(() => a.close());
  await attempt(() => b.close());
}

/** Damages so many queues, and calls everything that one has. */
export async function fuzzQueues(seed: number, cases: number): Promise<void> {
  for (let i = 0; i < cases; i++) {
    const random = randomOf(seed + i);
    try {
      await fuzzQueue(random);
    } catch (error) {
      throw new Error(`Case ${seed + i}`, { cause: error });
    }
  }
}

async function fuzzQueue(random: Random): Promise<void> {
  const capacity = 1 << (6 + below(random, 8));
  const options = random() < 0.5 ? { capacity } : { capacity, maxItems: 1 + below(random, 10) };
  const queue = new Queue(options);
  const wait = { timeout: TIMEOUT };
  const words = new Int32Array(queue.handle.memory);
  fill(
    (value) => queue.tryPut(value),
    (values) => queue.putManySync(values as Int16Array, wait),
    random,
  );
  if (random() < 0.5) await attempt(() => queue.tryGet());
  const pending: Promise<void>[] = [];
  if (random() < 0.2) {
    pending.push(
      attempt(() => queue.get({ timeout: 20 })),
      attempt(() => queue.get({ timeout: 20 })),
    );
  }
  if (random() < 0.2) {
    pending.push(attempt(() => queue.put(new Uint8Array(capacity * 2), { timeout: 20 })));
  }
  const ring = words.length - words[7]!;
  const counts = [4, 5, 6, 8, 9, 33, 34, 35, 36, 37, 38, 64, 97, 98, 99, 100, 101, 102, 128, 129];
  const offers = [160, 192, 193, 194, 195];
  const lines = [224, 225, 226, 240, 241, 400, 1_040, 1_041, 1_042, 1_056, 1_057];
  // The words of the latches are left alone: whoever seems to hold one is waited for.
  const latches = [32, 96].map((index) => [index, words[index]!] as const);
  const spoil = () => {
    damage(
      words,
      4,
      pick(random, [counts, counts, offers, lines, [ring, ring + 1, ring + 2]]),
      random,
    );
    for (const [index, word] of latches) words[index] = word;
  };
  spoil();
  const calls: (() => unknown)[] = [
    () => queue.tryGet(),
    () => queue.getSync(wait),
    () => queue.get(wait),
    () => queue.getManySync(1 + below(random, 1e6), wait),
    () => queue.getMany(1e9, wait),
    () => queue.getManyIntoSync(new Int16Array(1 + below(random, 100)), wait),
    () => queue.getManyIntoSync(new Float64Array(1 + below(random, 100)), wait),
    () => queue.tryPut(mixedValue(below(random, 100))),
    () => queue.putSync(below(random, 100), wait),
    () => queue.put("text", wait),
    () => queue.putManySync([1, "two", [3]], wait),
    () => queue.putManySync(new Int32Array(below(random, 5_000)), wait),
    () => queue.putSync(new Uint8Array(capacity * 2), wait),
    () => Deno.inspect(queue) + queue.size + queue.full + queue.empty + queue.unfinished,
    () => queue.taskDone(),
    () => queue.joinSync(wait),
    () => Queue.from(structuredClone(queue)).closed,
    spoil,
  ];
  for (let times = 6; times > 0; times--) await attempt(pick(random, calls));
  for (const call of pending) await call;
  await attempt(() => queue.close());
}
