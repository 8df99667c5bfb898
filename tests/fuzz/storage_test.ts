// Copyright 2026 the Sabre authors. MIT license.

// Damaged storage of pipes and queues: records, positions and counts are overwritten at random, and then
// everything is called that reads or writes them. Each call ends in time, with a value or a TypeError,
// or as it may in any case: a timeout, a closed end, a message that is too large.
//
// Another seed or number of cases: see codec_test.ts.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FIRST_BYTES, PIECE } from "../../_record.ts";
import { pipe } from "../../pipe.ts";
import { Queue } from "../../queue.ts";
import { Semaphore } from "../../semaphore.ts";
import { fuzzPipes, fuzzQueues } from "./_storage.ts";
import { setting } from "./_settings.ts";

const SEED = setting("SABRE_FUZZ_SEED", 1);
const CASES = setting("SABRE_FUZZ_CASES", 500);

const READ = "Cannot read a message: the storage is damaged";
const WRITE = "Cannot write a message: the storage is damaged";

Deno.test("a pipe whose memory was damaged", async () => {
  await fuzzPipes(SEED, CASES);
});

Deno.test("a queue whose memory was damaged", async () => {
  await fuzzQueues(SEED, CASES);
});

Deno.test("positions of a pipe that cannot be are a TypeError, on either side", () => {
  for (const position of [-1, -2, 100, 1 << 30, -(2 ** 31)]) {
    const [here, there] = pipe({ capacity: 64 });
    const words = new Int32Array(here.handle.memory);
    // Whoever believed it would read on for four thousand million words.
    // Each is a piece of a large message, which has no bytes.
    words.fill(PIECE, words.length - 2 * 16);
    words[32] = position;
    assertThrows(() => there.tryReceive(), TypeError, READ);
    assertThrows(() => there.receiveSync({ timeout: 1_000 }), TypeError, READ);
    assertThrows(() => there.pollSync({ timeout: 1_000 }), TypeError, READ);
    words[32] = 0;
    assertEquals(there.tryReceive(), { state: "empty" });
    words[64] = position < 0 ? position : -position;
    for (let i = 0; i < 8; i++) {
      try {
        here.trySend(i);
      } catch (error) {
        assert(error instanceof TypeError && error.message === WRITE, String(error));
      }
    }
  }
});

Deno.test("a record that is longer than what was sent is a TypeError each time", async () => {
  const [here, there] = pipe({ capacity: 1_024 });
  const words = new Int32Array(here.handle.memory);
  here.sendSync("text");
  words[words.length - 2 * 256] = 500 << 5;
  for (let i = 0; i < 3; i++) {
    assertThrows(() => there.tryReceive(), TypeError, READ);
    assertThrows(() => there.receiveBytesSync(), TypeError, READ);
    await assertRejects(() => there.receive(), TypeError, READ);
  }
});

Deno.test("a piece that belongs to no message, or is longer than what it is of, is a TypeError each time", () => {
  for (
    const [type, total] of [[PIECE, 60], [FIRST_BYTES, 3], [FIRST_BYTES, 0], [
      FIRST_BYTES,
      -1,
    ]] as const
  ) {
    const [here, there] = pipe({ capacity: 64 });
    const words = new Int32Array(here.handle.memory);
    here.sendBytesSync(new Uint8Array(16));
    const header = words.length - 2 * 16;
    words.set([(16 << 5) | type, total, 0], header);
    // Nothing of it fits what it is said to be.
    if (total < 0) words[header] = (4 << 5) | type;
    for (let i = 0; i < 3; i++) {
      assertThrows(() => there.tryReceive(), TypeError, READ);
      assertThrows(() => there.receiveBytesIntoSync(new Uint8Array(64)), TypeError, READ);
    }
  }
});

Deno.test("a count of items that cannot be is a TypeError", () => {
  const queue = new Queue({ capacity: 64 });
  queue.tryPut("text");
  new Int32Array(queue.handle.memory)[64]! |= 1 << 30;
  assertThrows(() => queue.getManySync(1_000_000, { timeout: 1_000 }), TypeError, READ);
  assertThrows(() => queue.tryGet(), TypeError, READ);
});

Deno.test("who waits for an item is told that there is none to be had", async () => {
  const queue = new Queue();
  const words = new Int32Array(queue.handle.memory);
  const gets = [queue.get(), queue.get()].map((get) => assertRejects(() => get, TypeError, READ));
  words[99] = words[100] = 7;
  queue.tryPut(1);
  await Promise.all(gets);
  assertThrows(() => queue.getSync({ timeout: 1_000 }), TypeError, READ);
});

Deno.test("room that cannot be is a TypeError for who would wait for it", async () => {
  const queue = new Queue({ capacity: 64 });
  new Int32Array(queue.handle.memory)[160] = 1_000;
  // What it has seen to be free before.
  queue.putManySync(new Int8Array(60), { timeout: 0 });
  assertThrows(() => queue.putSync(1), TypeError, WRITE);
  await assertRejects(() => queue.put("text"), TypeError, WRITE);
});

Deno.test("numbers before a damaged message are not lost", () => {
  const queue = new Queue();
  queue.putManySync([1, 2, "three"]);
  const target = new Float64Array(3);
  new Int32Array(queue.handle.memory).fill(-1, -16_384 + 4);
  assertEquals(queue.getManyIntoSync(target), 2);
  assertEquals([...target], [1, 2, 0]);
  assertThrows(() => queue.getManyIntoSync(target), TypeError, READ);

  queue.close();
  const [here, there] = pipe();
  here.sendManySync([1, 2, "three", "four"]);
  // The third as it is, but no value; the fourth as it was.
  const words = new Int32Array(here.handle.memory);
  words[words.length - 2 * 16_384 + 3] = -1;
  assertEquals(there.receiveManyIntoSync(target), 2);
  assertThrows(() => there.receiveManyIntoSync(target), TypeError, "Cannot decode a message");
  assertThrows(() => there.receiveSync(), TypeError, "Cannot decode a message");
  assertEquals(there.receiveSync(), "four");
});

Deno.test("a latch that seems to be this agent's own is taken over", () => {
  const semaphore = new Semaphore(1);
  const own = new Int32Array(semaphore.handle.domain)[64]!;
  new Int32Array(semaphore.handle.memory)[4] = own << 2;
  using guard = semaphore.tryAcquire();
  assert(guard?.held);
});
