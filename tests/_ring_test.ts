// Copyright 2026 the Sabre authors. MIT license.

// Bytes through rings, at every length and place that could go wrong: alone, and as pipes and queues
// use them. Positions are seeded by writing the words of the layouts in `_channel.ts` and `_store.ts`
// before anybody looked at them.

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { home } from "../_agent.ts";
import { createHandle } from "../_handle.ts";
import { countFor, longestRun } from "../_record.ts";
import {
  copyIn,
  fetchFree,
  readAligned,
  readBytes,
  readInts,
  readOut,
  readWord,
  type Ring,
  ringAt,
  ringWords,
  wordsFor,
  writeAligned,
  writeBytes,
  writeInts,
  writeWord,
} from "../_ring.ts";
import { initStore, limitsOf, STORE_WORDS } from "../_store.ts";
import { type Connection, pipe, type RunArray } from "../pipe.ts";
import { Queue } from "../queue.ts";
import { steadyArray } from "../_views.ts";
import { settlesSoon } from "./_helpers.ts";

/** Where a position stands before what is tested: at the start, and just before each wrap. */
const SEEDS = [
  0,
  2 ** 29 - 1,
  2 ** 29 - 4,
  2 ** 29 - 16,
  2 ** 30 - 4,
  2 ** 30 - 16,
  2 ** 31 - 1,
  2 ** 31 - 3,
  2 ** 31 - 16,
  -1,
  -3,
  -16,
  -40,
];

/** Lengths around the capacity in bytes. */
function lengthsFor(capacity: number): number[] {
  const around = [0, 1, 2, 3, 4, 5, 63, 64, 65];
  for (const whole of [capacity - 4, capacity, 2 * capacity, 5 * capacity]) {
    around.push(whole - 1, whole, whole + 1);
  }
  return [...new Set(around)];
}

function pattern(length: number, salt = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) + salt * 31 + 1) & 0xff);
}

/** A pipe whose first end sends from `position` on. */
function pipeAt(
  position: number,
  capacity: number,
): [Connection<unknown, unknown>, Connection<unknown, unknown>] {
  const ends = pipe({ capacity });
  const words = new Int32Array(ends[0].handle.memory);
  // TAIL and HEAD of the channel from end 0 to end 1.
  words[32] = words[32 + 32] = position << 2;
  return ends;
}

/**
 * A queue with nothing in it that has been put and got `count` times, and stands at `seed`, or the even
 * position before it.
 */
function queueAt(seed: number, count: number, capacity: number, maxItems = 0): Queue<unknown> {
  const position = seed & ~1;
  const size = ringWords(capacity, "create Queue");
  const handle = createHandle("Queue", home(), (STORE_WORDS + size) * 4);
  const words = new Int32Array(handle.memory);
  initStore(words, size, maxItems);
  assertEquals(limitsOf(words), { size, maxItems });
  const commit = count << 1;
  words[33] = words[34] = position; // TAIL
  words[97] = words[98] = position; // NEXT
  words[160] = position; // HEAD
  words[64] = words[128] = commit; // PUTS, GETS
  words[5] = count & 0x7fffffff; // DONE
  const overflow = new SharedArrayBuffer(0, { maxByteLength: 2 ** 31 });
  return Queue.from({ ...handle, overflow });
}

// -- Alone ---------------------------------------------------------------------------------------

/** A ring of 16 words within a longer memory, all of it filled with a mark. */
function markedRing(): Ring {
  const words = new Int32Array(new SharedArrayBuffer(48 * 4)).fill(0x5A5A5A5A);
  return ringAt(words, 16, 16);
}

function assertMarksAround(ring: Ring): void {
  const { words } = ring;
  const outside = [...words.subarray(0, 16), ...words.subarray(32)];
  assert(outside.every((word) => word === 0x5A5A5A5A), "written outside of the ring");
}

Deno.test("ringWords() rounds up to a power of two of at least 64 bytes and refuses more than 2^30", () => {
  for (
    const [bytes, words] of [[1, 16], [64, 16], [65, 32], [128, 32], [1000, 256], [65_536, 16_384]]
  ) assertEquals(ringWords(bytes!, "test"), words);
  assertEquals(ringWords(2 ** 30, "test"), 2 ** 28);
  assertThrows(() => ringWords(2 ** 30 + 1, "test"), RangeError, "Cannot test as capacity");
});

Deno.test("wordsFor() counts the words that bytes take", () => {
  assertEquals([0, 1, 3, 4, 5, 8, 2 ** 30].map(wordsFor), [0, 1, 1, 1, 2, 2, 2 ** 28]);
});

Deno.test("a ring gives back bytes of every length from every position, and touches nothing outside", () => {
  for (const seed of SEEDS) {
    for (let start = 0; start < 16; start++) {
      const position = (seed + start) | 0;
      for (let length = 0; length <= 64; length++) {
        const ring = markedRing();
        const source = pattern(length + 9, start);
        writeBytes(ring, position, source, 5, length);
        assertMarksAround(ring);
        const target = new Uint8Array(length + 8).fill(0xEE);
        readBytes(ring, position, 0, target, 3, length);
        assertEquals(target.subarray(3, 3 + length), source.subarray(5, 5 + length));
        assert(target.subarray(0, 3).every((byte) => byte === 0xEE));
        assert(target.subarray(3 + length).every((byte) => byte === 0xEE));
        assertEquals(readOut(ring, position, length), source.subarray(5, 5 + length));
      }
    }
  }
});

Deno.test("a ring gives back aligned memory of every length from every position", () => {
  for (let start = 0; start < 16; start++) {
    const position = (2 ** 31 - 8 + start) | 0;
    for (let length = 0; length <= 64; length++) {
      const ring = markedRing();
      const words = new Int32Array(32);
      const bytes = new Uint8Array(words.buffer);
      bytes.set(pattern(length, start));
      writeAligned(ring, position, words, bytes.subarray(0, length), length);
      assertMarksAround(ring);
      const back = new Int32Array(32);
      const backBytes = new Uint8Array(back.buffer);
      readAligned(ring, position, back, backBytes, 0, length);
      assertEquals(backBytes.subarray(0, length), pattern(length, start));
    }
  }
});

Deno.test("a ring gives back integers of every count from every position, and touches nothing outside", () => {
  for (let start = 0; start < 16; start++) {
    const position = (2 ** 31 - 8 + start) | 0;
    for (let count = 0; count <= 16; count++) {
      const ring = markedRing();
      const source = Int32Array.from({ length: count }, (_, i) => 1000 * start + i);
      writeInts(ring, position, source, count);
      const target = new Int32Array(count + 2).fill(-1);
      readInts(ring, position, target, 1, count);
      assertEquals([...target], [-1, ...source, -1]);
      const marks = ring.words.filter((word) => word === 0x5A5A5A5A).length;
      assertEquals(marks, ring.words.length - count);
      assertMarksAround(ring);
    }
  }
});

Deno.test("a ring takes words of a private one, from every position to every position", () => {
  const stage = ringAt(new Int32Array(64), 0, 64);
  for (let i = 0; i < 64; i++) writeWord(stage, i, i * 0x01010101);
  for (let start = 0; start < 16; start++) {
    for (let count = 0; count <= 16; count++) {
      const ring = markedRing();
      copyIn(ring, start - 8, stage, 5, count);
      assertMarksAround(ring);
      for (let i = 0; i < count; i++) {
        assertEquals(readWord(ring, start - 8 + i), ((i + 5) * 0x01010101) | 0);
      }
    }
  }
});

Deno.test("a ring's memory is fetched only where it is free, and not again before it is used up", () => {
  const SIZE = 512;
  const MARK = 0x5A5A5A5A;
  let fetches = 0;
  const free = fc.integer({ min: 0, max: SIZE });
  const far = fc.integer({ min: -40, max: 260 });
  fc.assert(fc.property(fc.constantFrom(...SEEDS), free, far, (position, free, ahead) => {
    const words = new Int32Array(SIZE + 32).fill(MARK);
    const ring = ringAt(words, 16, SIZE);
    const before = (position + ahead) | 0;
    const after = fetchFree(ring, position, free, before);
    const changed = (at: number) => readWord(ring, (position + at) | 0) !== MARK;
    for (let at = free; at < SIZE; at++) assert(!changed(at), `${at} is not free`);
    for (let at = 0; at < ahead; at++) assert(!changed(at), `${at} was fetched before`);
    assert([...words.subarray(0, 16), ...words.subarray(16 + SIZE)].every((word) => word === MARK));
    if (after === before) return assert(ahead >= 32 || free < 192);
    fetches++;
    // One word in each line of what is now fetched, and the next call has nothing to do.
    const end = (after - position) | 0;
    for (let at = Math.max(ahead, 0); at < end; at += 16) assert(changed(at), `${at} is missing`);
    assertEquals(fetchFree(ring, position, free, after), after);
  }));
  assert(fetches > 0);
});

Deno.test("a part of what lies in a ring can be read, wherever the ring's end falls", () => {
  const whole = pattern(60);
  for (let start = 0; start < 16; start++) {
    const ring = markedRing();
    writeBytes(ring, start, whole, 0, 60);
    for (let skip = 0; skip < 60; skip += 3) {
      const part = new Uint8Array(60 - skip);
      readBytes(ring, start, skip, part, 0, part.length);
      assertEquals(part, whole.subarray(skip));
    }
  }
});

// -- Through a pipe --------------------------------------------------------------------------------

Deno.test("a pipe carries bytes of every length around its capacity, across both wraps of positions", async () => {
  for (const seed of SEEDS) {
    const [here, there] = pipeAt(seed, 64);
    for (const length of lengthsFor(64)) {
      const bytes = pattern(length, seed);
      const sent = here.sendBytes(bytes);
      assertEquals(await there.receiveBytes(), bytes);
      await sent;
    }
    assertEquals(there.tryReceive(), { state: "empty" });
  }
});

Deno.test("a pipe splits a record at every word of the ring's end", () => {
  for (const seed of SEEDS) {
    for (let start = 0; start < 16; start++) {
      const [here, there] = pipeAt((seed + start) | 0, 64);
      // As long as it may be where one word is left empty.
      for (let length = 0; length <= 52; length++) {
        assert(here.trySend(pattern(length)), `${length} bytes at ${seed} + ${start}`);
        const target = new Uint8Array(61).fill(0xEE);
        assertEquals(there.receiveBytesIntoSync(target), length);
        assertEquals(target.subarray(0, length), pattern(length));
        assertEquals(target[length], 0xEE);
      }
    }
  }
});

Deno.test("a pipe is full when its positions differ by its capacity, across both wraps", () => {
  for (const seed of SEEDS) {
    const [here, there] = pipeAt(seed, 64);
    for (let round = 0; round < 9; round++) {
      let count = 0;
      while (here.trySend(round * 100 + count)) count++;
      assertEquals(count, 16);
      assertEquals(there.receiveManySync(3), [0, 1, 2].map((i) => round * 100 + i));
      assertEquals(here.trySend("ab"), true);
      const left = Array.from({ length: 13 }, (_, i) => round * 100 + 3 + i);
      assertEquals(there.receiveManySync(99), [...left, "ab"]);
    }
  }
});

Deno.test("a pipe carries integers of every size, from every position, before and after anything else", () => {
  const integers = [0, 1, -1, 100];
  for (const bound of [2 ** 26, 2 ** 27, 2 ** 31, 2 ** 32]) {
    for (const near of [bound - 1, bound, bound + 1]) integers.push(near, -near);
  }
  const others = [-0, 0.5, "text", pattern(9), [1, 2], null];
  for (const seed of SEEDS) {
    const [here, there] = pipeAt(seed, 64);
    for (const integer of integers) {
      for (const other of [...others, ...integers]) {
        for (const message of [integer, other, integer]) here.sendSync(message, { timeout: 0 });
        const got = there.receiveManySync(9);
        assertEquals(got, [integer, other, integer]);
        assert(Object.is(got[1], other) || typeof other === "object", "a sign was lost");
      }
    }
  }
});

Deno.test("a pipe carries texts of every length around its capacity", async () => {
  for (const seed of [0, 2 ** 30 - 6, 2 ** 31 - 5, -5]) {
    const [here, there] = pipeAt(seed, 128);
    for (const length of lengthsFor(128)) {
      for (const unit of ["x", "\u00e9", "\u20ac"]) {
        const text = unit.repeat(length);
        const sent = here.send(text);
        assertEquals(await there.receive(), text);
        await sent;
      }
    }
  }
});

Deno.test("a pipe carries runs of every kind and length, whole and cut by the ring's end", async () => {
  for (const kind of RUNS) {
    for (const seed of [0, 2 ** 30 - 8, 2 ** 31 - 7, -7]) {
      for (const length of [0, 1, 6, 7, 8, 15, 16, 17, 100]) {
        const [here, there] = pipeAt(seed, 64);
        const values = runOf(kind, length);
        const sent = here.sendMany(values);
        const got: unknown[] = [];
        while (got.length < length) got.push(...await there.receiveMany(1 + got.length));
        assertEquals(await sent, length);
        assertEquals(got, [...values as unknown as unknown[]]);
        assertEquals(there.tryReceive(), { state: "empty" });
      }
    }
  }
});

Deno.test("runs that fit are sent and received at once, of every kind, whole and cut by the ring's end", () => {
  for (const kind of RUNS) {
    for (const seed of [0, 2 ** 30 - 8, 2 ** 31 - 7, -7]) {
      for (const length of [1, 2, 3, 6, 7]) {
        const [here, there] = pipeAt(seed, 64);
        for (let round = 0; round < 9; round++) {
          const values = runOf(kind, length);
          const target = runOf(kind, length + 1).reverse() as RunArray;
          if (values.byteLength > 52) continue;
          assertEquals(here.sendManySync(values, { timeout: 0 }), length);
          assertEquals(there.receiveManyIntoSync(target, { timeout: 0 }), length);
          assertEquals([...target].slice(0, length), [...values]);
        }
      }
    }
  }
});

Deno.test("a message given up half-way leaves the next one whole, wherever the ring's end falls", async () => {
  for (let start = 0; start < 16; start++) {
    const [here, there] = pipeAt((start & 1 ? 2 ** 30 : 2 ** 31) - (start >> 1), 64);
    for (const length of [64, 65, 200]) {
      for (let taken = 0; taken < 3; taken++) {
        const controller = new AbortController();
        const given = here.sendBytes(pattern(length), { signal: controller.signal });
        // Looking gathers pieces, whereupon more may be sent.
        for (let i = 0; i < taken; i++) assertEquals(there.tryReceive(), { state: "empty" });
        controller.abort();
        assertEquals(await given.then(() => "sent", () => "given up"), "given up");
        const next = [here.send("next"), here.sendBytes(pattern(length, 1))];
        assertEquals(await there.receive(), "next");
        assertEquals(await there.receive(), pattern(length, 1));
        await Promise.all(next);
      }
    }
  }
});

// -- Through a queue -------------------------------------------------------------------------------

Deno.test("a queue carries bytes of every length around its capacity, across all wraps of positions and counts", async () => {
  for (const seed of SEEDS) {
    for (const count of [0, 2 ** 30 - 2, 2 ** 31 - 2]) {
      const queue = queueAt(seed, count, 64);
      for (const length of lengthsFor(64)) {
        const bytes = pattern(length, seed);
        const put = queue.put(bytes);
        assertEquals(await queue.get(), bytes);
        await put;
        queue.taskDone();
        assertEquals([queue.size, queue.empty, queue.unfinished], [0, true, 0]);
      }
    }
  }
});

Deno.test("a queue splits a record at every word of the ring's end", () => {
  for (const seed of SEEDS) {
    for (let start = 0; start < 16; start++) {
      const queue = queueAt((seed + start) | 0, start, 64);
      for (let length = 0; length <= 60; length++) {
        assert(queue.tryPut(pattern(length)), `${length} bytes at ${seed} + ${start}`);
        assertEquals(queue.getSync(), pattern(length));
      }
    }
  }
});

Deno.test("a queue counts exactly while positions and counts wrap", () => {
  for (const seed of SEEDS) {
    for (const count of [2 ** 30 - 2, 2 ** 31 - 2, 0]) {
      const queue = queueAt(seed, count, 64);
      for (let round = 0; round < 5; round++) {
        for (let i = 0; i < 8; i++) {
          assertEquals([queue.size, queue.full, queue.empty], [i, false, i === 0]);
          assert(queue.tryPut(i));
        }
        assertEquals([queue.size, queue.full, queue.unfinished], [8, true, 8]);
        assertEquals(queue.tryPut(8), false);
        assertThrows(() => queue.taskDone(), RangeError);
        assertEquals(queue.getManySync(5), [0, 1, 2, 3, 4]);
        assertEquals([queue.size, queue.full, queue.unfinished], [3, false, 8]);
        assertEquals(queue.getManySync(99), [5, 6, 7]);
        for (let i = 7; i >= 0; i--) {
          queue.taskDone();
          assertEquals(queue.unfinished, i);
        }
        assertThrows(() => queue.taskDone(), RangeError);
      }
    }
  }
});

Deno.test("a queue of few items counts exactly while its counts wrap", () => {
  for (const count of [2 ** 30 - 2, 2 ** 31 - 2]) {
    const queue = queueAt(-2, count, 1024, 3);
    for (let round = 0; round < 5; round++) {
      assertEquals(queue.putManySync([1, "two", 3, 4], { timeout: 0 }), 3);
      assertEquals([queue.size, queue.full], [3, true]);
      assertEquals(queue.getManySync(9), [1, "two", 3]);
      assertEquals(queue.putManySync(new Int16Array([5, 6, 7, 8]), { timeout: 0 }), 3);
      assertEquals(queue.getManySync(9), [5, 6, 7]);
    }
  }
});

Deno.test("a queue's waiters are served in order while their tickets wrap", async () => {
  const queue = queueAt(0, 0, 1024);
  const words = new Int32Array(queue.handle.memory);
  // Tickets have 30 bits. The line of getters lies behind that of putters.
  const lineWords = (STORE_WORDS - 224) / 2;
  words[224] = words[224 + lineWords] = 2 ** 30 - 3;
  const got = Array.from({ length: 8 }, () => queue.get());
  for (let i = 0; i < 8; i++) queue.putSync(i);
  assertEquals(await Promise.all(got), [0, 1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("a queue carries runs of every kind and length, whole and cut by the ring's end", async () => {
  for (const kind of RUNS) {
    for (const seed of [0, 2 ** 30 - 8, 2 ** 31 - 7, -7]) {
      for (const length of [0, 1, 6, 7, 8, 15, 16, 17, 100]) {
        const queue = queueAt(seed, 2 ** 31 - 5, 64);
        const values = runOf(kind, length);
        const put = queue.putMany(values);
        const got: unknown[] = [];
        while (got.length < length) got.push(...await queue.getMany(1 + got.length));
        assertEquals(await put, length);
        assertEquals(got, [...values as unknown as unknown[]]);
        assertEquals(queue.tryGet(), { state: "empty" });
      }
    }
  }
});

// -- Properties ------------------------------------------------------------------------------------

Deno.test("any sequence of byte messages arrives whole, from any position, through pipe and queue", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(64, 128, 1024),
      fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      fc.array(fc.nat({ max: 1200 }), { maxLength: 12 }),
      async (capacity, position, lengths) => {
        const messages = lengths.map((length, i) => pattern(length, i));
        const [here, there] = pipeAt(position, capacity);
        const queue = queueAt(position, 0, capacity);
        const all = [here.sendMany(messages), queue.putMany(messages)];
        for (const message of messages) {
          assertEquals(await there.receiveBytes(), message);
          assertEquals(await queue.get(), message);
        }
        assertEquals(await Promise.all(all), [lengths.length, lengths.length]);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("any sequence of objects and texts arrives whole, from any position, through pipe and queue", () => {
  const value = fc.oneof(
    fc.string({ maxLength: 90 }),
    fc.record({
      id: fc.nat(),
      text: fc.string({ maxLength: 40 }),
      list: fc.array(fc.nat(), { maxLength: 9 }),
    }),
    fc.integer(),
  );
  const step = fc.record({ values: fc.array(value, { maxLength: 12 }), takes: fc.nat(12) });
  fc.assert(fc.property(
    fc.constantFrom(...SEEDS),
    fc.constantFrom(512, 1_024, 2_048),
    fc.array(step, { maxLength: 40 }),
    (seed, capacity, steps) => {
      const [here, there] = pipeAt(seed, capacity);
      const queue = queueAt(seed, 5, capacity);
      const sent: unknown[] = [];
      const put: unknown[] = [];
      for (const { values, takes } of steps) {
        for (const value of values) {
          if (here.trySend(value)) sent.push(value);
          if (queue.tryPut(value)) put.push(value);
        }
        for (let i = 0; i < takes; i++) {
          if (sent.length > 0) assertEquals(there.receiveSync({ timeout: 0 }), sent.shift());
          if (put.length > 0) assertEquals(queue.getSync({ timeout: 0 }), put.shift());
        }
      }
      for (const value of sent) assertEquals(there.receiveSync({ timeout: 0 }), value);
      for (const value of put) assertEquals(queue.getSync({ timeout: 0 }), value);
    },
  ));
});

Deno.test("who sends or puts fetches the memory of the next messages as well, wherever it stands", () => {
  const MARK = 0x5A5A5A5A;
  for (const seed of SEEDS) {
    const [here, there] = pipeAt(seed, 4_096);
    const queue = queueAt(seed, 5, 4_096);
    const fetched = (memory: SharedArrayBuffer, rings: number, send: () => boolean) => {
      // The rings come last.
      const ring = new Int32Array(memory).subarray(-rings * 1_024).fill(MARK);
      assert(send());
      return ring.filter((word) => word !== MARK).length;
    };
    // The first looks up how much is free, the second takes two words and has one of each line fetched.
    assert(here.trySend("a"));
    assertEquals(there.receiveSync({ timeout: 0 }), "a");
    assertEquals(fetched(here.handle.memory, 2, () => here.trySend("b")), 2 + 11);
    assertEquals(fetched(queue.handle.memory, 1, () => queue.tryPut("b")), 2 + 11);
    // What was fetched is enough for this one.
    assertEquals(fetched(queue.handle.memory, 1, () => queue.tryPut("c")), 2);
  }
});

Deno.test("damaged records throw, and never hang or write outside", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { minLength: 16, maxLength: 16 }),
      fc.nat({ max: 31 }),
      fc.nat({ max: 15 }),
      async (garbage, type, position) => {
        const [here, there] = pipeAt(position, 64);
        for (let i = 0; i < 6; i++) here.trySend(i);
        const words = new Int32Array(here.handle.memory);
        garbage[position] = ((garbage[position]! & 0x7ff) << 5) | type;
        words.set(garbage, words.length - 2 * 16);
        for (let i = 0; i < 20; i++) {
          try {
            if (there.tryReceive().state !== "ok") break;
          } catch (error) {
            assert(error instanceof TypeError || error instanceof RangeError, String(error));
            break;
          }
        }
        // Nothing waits for ever either: at the end there is an end.
        here.close();
        const end = (async () => {
          for (let i = 0; i < 20; i++) await there.receive();
        })();
        assert(await settlesSoon(end), "a damaged record makes a call wait for ever");
        await end.catch(() => {});
      },
    ),
    { numRuns: 300 },
  );
});

const RUNS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const;

function runOf(Kind: typeof RUNS[number], length: number): RunArray {
  if (Kind === BigInt64Array || Kind === BigUint64Array) {
    return Kind.from(Array.from({ length }, (_, i) => BigInt(i) * 0x0123456789abcdefn));
  }
  return (Kind as typeof Float64Array).from({ length }, (_, i) => i * 3.5 - 7);
}

// -- Alignment -----------------------------------------------------------------------------------

// The engine copies between shared and private memory eight bytes at a time only if both sides are aligned
// alike; else byte by byte, which takes several times as long.

/** Where the words of the source lie, of those that are there: none at another parity than its own. */
function assertAligned(memory: SharedArrayBuffer, source: Int32Array): void {
  const words = new Int32Array(memory);
  let found = 0;
  for (const [i, word] of source.entries()) {
    const at = words.indexOf(word);
    if (at < 0) continue;
    found++;
    assertEquals((at - i) & 1, 0, `word ${i} of the source is word ${at} of the memory`);
  }
  assertEquals(found > 0, true, "nothing was found");
}

/** Words that are nowhere else. */
function uniqueWords(count: number, salt: number): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: count }, (_, i) => 0x5a000000 | salt << 16 | i);
}

Deno.test("what a pipe stores is aligned as its source is", async () => {
  const [here, there] = pipe<unknown>({ capacity: 1 << 12 });
  for (const [salt, count] of [5, 30, 2, 70, 101, 16].entries()) {
    const words = uniqueWords(count, salt);
    const bytes = new Uint8Array(words.buffer);
    const copy = new Uint8Array(bytes.length);
    for (const other of ["x", 0.5, "some text", 7, { a: "b" }]) {
      here.sendSync(other);
      here.sendBytesSync(bytes);
      assertAligned(here.handle.memory, words);
      assertEquals(there.receiveSync(), other);
      assertEquals(there.receiveBytesIntoSync(copy), bytes.length);
      assertEquals(copy, bytes);
    }
    here.sendManySync(words);
    assertAligned(here.handle.memory, words);
    assertEquals(there.receiveManyIntoSync(new Int32Array(count)), count);
  }
  const large = uniqueWords(5_000, 7);
  const sent = here.send(new Uint8Array(large.buffer));
  assertAligned(here.handle.memory, large);
  there.pollSync({ timeout: 0 });
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertAligned(here.handle.memory, large);
  assertEquals(await there.receive(), new Uint8Array(large.buffer));
  await sent;
});

Deno.test("what a queue stores is aligned as its source is", () => {
  const queue = new Queue<unknown>({ capacity: 1 << 12 });
  for (const [salt, count] of [5, 30, 2, 70, 101, 16].entries()) {
    const words = uniqueWords(count, salt);
    const bytes = new Uint8Array(words.buffer);
    for (const other of ["x", 0.5, "some text", 7, { a: "b" }]) {
      queue.putSync(other);
      queue.putSync(bytes);
      assertAligned(queue.handle.memory, words);
      assertEquals([queue.getSync(), queue.getSync()], [other, bytes]);
      queue.putManySync([other, bytes, other]);
      assertAligned(queue.handle.memory, words);
      assertEquals(queue.getManySync(3), [other, bytes, other]);
    }
    queue.putManySync(words);
    assertAligned(queue.handle.memory, words);
    assertEquals(queue.getManySync(count), [...words]);
  }
});

Deno.test("the record of a run is a quarter of the ring at the most, of a small ring 256 bytes", () => {
  for (const [bytes, most] of [[64, 256], [1_024, 256], [2_048, 504], [65_536, 16_376]] as const) {
    assertEquals(longestRun(ringAt(new Int32Array(1), 0, bytes / 4)), most);
  }
  assertEquals(longestRun({ ...ringAt(new Int32Array(1), 0, 16), mask: 2 ** 28 - 1 }), 2 ** 26);
});

Deno.test("a long run that others follow ends where these are aligned", () => {
  const ring = ringAt(new Int32Array(1), 0, 65_536 / 4);
  for (const size of [1, 2, 4, 8]) {
    for (
      const room of [...Array.from({ length: 600 - size }, (_, i) => i + size), 16_377, 60_001]
    ) {
      const whole = Math.floor(room / size);
      const count = countFor(ring, room, whole + 1, size);
      if (room <= 256) assertEquals(count, whole);
      else if (room < 600) {
        assertEquals([count * size % 8, Math.floor((room - count * size) / 8)], [0, 0]);
      } else assertEquals(count * size, 16_376);
      // In one, as several would take more than that.
      assertEquals(countFor(ring, room, whole, size), whole);
      if (room > 60_000) assertEquals(countFor(ring, room, whole - 40, size) * size, 16_376);
    }
  }
});

Deno.test("a typed array that just fits in the storage goes whole", () => {
  for (const [capacity, length] of [[512, 63], [1_024, 127], [65_536, 8_191]] as const) {
    const array = Float64Array.from({ length }, (_, i) => i);
    const [here, there] = pipe<number>({ capacity });
    assertEquals(here.sendManySync(array), length);
    assertEquals(there.receiveManySync(length), [...array]);
    using queue = new Queue<number>({ capacity });
    assertEquals(queue.putManySync(array), length);
    assertEquals(queue.getManySync(length), [...array]);
  }
});

Deno.test("a typed array as long as the storage makes room with each quarter that is taken", () => {
  const target = new Int32Array(512);
  const more = target.subarray(0, 500);
  const [here, there] = pipe<number>({ capacity: 8_192 });
  assertEquals(here.sendManySync(new Int32Array(4_000), { timeout: 0 }), 4 * 510);
  assertEquals(there.receiveManyIntoSync(target), target.length);
  assertEquals(here.sendManySync(more, { timeout: 0 }), more.length);
  using queue = new Queue<number>({ capacity: 8_192 });
  assertEquals(queue.putManySync(new Int32Array(4_000), { timeout: 0 }), 4 * 510);
  assertEquals(queue.getManyIntoSync(target), target.length);
  assertEquals(queue.putManySync(more, { timeout: 0 }), more.length);
});

Deno.test("a typed array takes all the room there is, also what is less than a quarter", () => {
  for (const taken of [1, 300, 600, 1_900]) {
    const [here] = pipe<number>({ capacity: 8_192 });
    assertEquals(here.sendManySync(new Float32Array(taken), { timeout: 0 }), taken);
    const sent = taken + here.sendManySync(new Float32Array(4_000), { timeout: 0 });
    assert(sent > 2_020, `${sent} were sent`);
    using queue = new Queue<number>({ capacity: 8_192 });
    assertEquals(queue.putManySync(new Float32Array(taken), { timeout: 0 }), taken);
    const put = taken + queue.putManySync(new Float32Array(4_000), { timeout: 0 });
    assert(put > 2_020, `${put} were put`);
  }
});

Deno.test("memory that grows while its elements wait sends those that there were", async () => {
  const grown = () => {
    const memory = new SharedArrayBuffer(8, { maxByteLength: 4_096 });
    return { bytes: new Uint8Array(memory), grow: () => memory.grow(4_096) };
  };
  assertEquals(steadyArray(grown().bytes).length, 8);
  const [here, there] = pipe<number>({ capacity: 64 });
  while (here.trySend(7));
  const sent = grown();
  const sending = here.sendMany(sent.bytes);
  sent.grow();
  const rawSent = grown();
  const sendingRaw = here.sendBytes(rawSent.bytes);
  rawSent.grow();
  const received: unknown[] = [];
  while (received.filter((value) => value === 0).length < 8) received.push(await there.receive());
  assertEquals([await sending, (await there.receiveBytes()).length], [8, 8]);
  await sendingRaw;
  using queue = new Queue<number>({ capacity: 64 });
  while (queue.tryPut(7));
  const put = grown();
  const putting = queue.putMany(put.bytes);
  put.grow();
  while (!(queue.tryGet().state === "empty")) await settlesSoon(putting);
  assertEquals(await putting, 8);
});
