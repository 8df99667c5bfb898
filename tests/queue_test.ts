// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { bury, home, requestStop } from "../_agent.ts";
import { Call, Calls, whileServing } from "../_calls.ts";
import { encode } from "../_codec.ts";
import { MAX_PAYLOAD } from "../_record.ts";
import { STORE_WORDS } from "../_store.ts";
import { ClosedError, DeadlockError } from "../errors.ts";
import { pipe } from "../pipe.ts";
import { Queue, type RunArray, type WaitOptions } from "../queue.ts";
import {
  abortable,
  Agent,
  block,
  digestOf,
  mixedValue,
  randomOf,
  settlesSoon,
  textOf,
  turn,
  until,
} from "./_helpers.ts";

/** The word of a queue that says how many items were put. */
const PUTS = 64;

// deno-lint-ignore no-explicit-any
type Any = any;

const AGENTS = new URL("./testdata/queue_agents.ts", import.meta.url);
/** Ends a test that hangs, however it does. */
const TIMEOUT = { timeout: 30_000 };

/** A waiting call, in its two waiting forms. */
interface Case {
  readonly name: string;
  readonly async: (queue: Queue<Any>, options?: WaitOptions) => Promise<unknown>;
  readonly sync: (queue: Queue<Any>, options?: { timeout?: number }) => unknown;
}

const PUTTING: Case[] = [
  { name: "put", async: (q, o) => q.put(7, o), sync: (q, o) => q.putSync(7, o) },
  {
    name: "putMany",
    async: (q, o) => q.putMany([7, 8], o),
    sync: (q, o) => q.putManySync([7, 8], o),
  },
  {
    name: "putMany of a typed array",
    async: (q, o) => q.putMany(new Float64Array([7, 8]), o),
    sync: (q, o) => q.putManySync(new Float64Array([7, 8]), o),
  },
];

const GETTING: Case[] = [
  { name: "get", async: (q, o) => q.get(o), sync: (q, o) => q.getSync(o) },
  { name: "getMany", async: (q, o) => q.getMany(2, o), sync: (q, o) => q.getManySync(2, o) },
  {
    name: "getManyInto",
    async: (q, o) => q.getManyInto(new Int32Array(2), o),
    sync: (q, o) => q.getManyIntoSync(new Int32Array(2), o),
  },
];

const JOIN: Case = { name: "join", async: (q, o) => q.join(o), sync: (q, o) => q.joinSync(o) };

/** A queue that is full with one item. */
function fullQueue(): Queue<Any> {
  const queue = new Queue<Any>({ maxItems: 1 });
  queue.putSync(0);
  return queue;
}

/** Takes what is there. */
function drain(queue: Queue<Any>): unknown[] {
  const got: unknown[] = [];
  for (let next = queue.tryGet(); next.state === "ok"; next = queue.tryGet()) got.push(next.value);
  return got;
}

/** How many getters, or putters, wait in line, in whatever agent. See `_line.ts` and `_store.ts`. */
function waitingIn(queue: Queue<Any>, side: "put" | "get"): number {
  const line = side === "put" ? 224 : 224 + (STORE_WORDS - 224) / 2;
  return Atomics.load(new Int32Array(queue.handle.memory), line + 1);
}

async function assertTimeout(promise: Promise<unknown>): Promise<void> {
  const error = await assertRejects(() => promise, DOMException);
  assertEquals(error.name, "TimeoutError");
  assertMatch(error.message, /^Cannot [A-Za-z ]+: [0-9]+ ms passed$/);
}

function assertTimeoutSync(call: () => unknown): void {
  const error = assertThrows(call, DOMException);
  assertEquals(error.name, "TimeoutError");
  assertMatch(error.message, /^Cannot [A-Za-z ]+: [0-9]+ ms passed$/);
}

function assertDataClone(call: () => unknown): void {
  assertEquals(assertThrows(call, DOMException).name, "DataCloneError");
}

// -- Creation --------------------------------------------------------------------------------------

Deno.test("a new queue is empty, open, and limited by 65,536 bytes only", () => {
  for (const options of [undefined, {}, { capacity: undefined, maxItems: undefined }] as Any[]) {
    const queue = new Queue<number>(options);
    const { size, empty, full, closed, unfinished, maxItems } = queue;
    assertEquals({ size, empty, full, closed, unfinished, maxItems }, {
      size: 0,
      empty: true,
      full: false,
      closed: false,
      unfinished: 0,
      maxItems: Infinity,
    });
    // A small integer takes eight bytes.
    let count = 0;
    while (queue.tryPut(count)) count++;
    assertEquals([count, queue.size, queue.full], [8_192, 8_192, true]);
  }
  assertEquals(new Queue({ maxItems: Infinity }).maxItems, Infinity);
});

Deno.test("the constructor refuses limits that are not positive integers", () => {
  assertThrows(() => new Queue({ maxItems: 2 ** 31 }), RangeError, "maxItems must be below 2^31");
  assertEquals(new Queue({ maxItems: 2 ** 31 - 1 }).maxItems, 2 ** 31 - 1);
  for (const bad of [0, -1, 1.5, NaN, -Infinity]) {
    assertThrows(() => new Queue({ maxItems: bad }), RangeError, "Cannot create Queue as maxItems");
    const error = assertThrows(() => new Queue({ capacity: bad }), RangeError);
    assertMatch(error.message, /^Cannot create Queue as capacity must be .*: current value is /);
  }
  assertThrows(() => new Queue({ capacity: Infinity }), RangeError, "Cannot create Queue");
  assertThrows(() => new Queue({ capacity: 2 ** 31 }), RangeError, "Cannot create Queue");
  for (const bad of ["1", null, {}, 1n, true] as Any[]) {
    assertThrows(() => new Queue({ maxItems: bad }), TypeError, "Cannot create Queue as maxItems");
    assertThrows(() => new Queue({ capacity: bad }), TypeError, "Cannot create Queue as capacity");
  }
});

// -- Values and order ------------------------------------------------------------------------------

Deno.test("items arrive as structured clone makes them, first in first out", async () => {
  const queue = new Queue<unknown>();
  for (let i = 0; i < 320; i++) {
    const value = mixedValue(i);
    if (i % 3 === 0) await queue.put(value);
    else if (i % 3 === 1) queue.putSync(value);
    else assert(queue.tryPut(value));
  }
  assertEquals(queue.size, 320);
  for (let i = 0; i < 320; i++) {
    const got = i % 2 === 0 ? await queue.get() : queue.getSync();
    assertEquals(textOf(got), textOf(mixedValue(i)), `value ${i}`);
  }
  assertEquals(queue.tryGet(), { state: "empty" });
});

Deno.test("no item looks like nothing: undefined, null, NaN, empty and the like are items", async () => {
  const queue = new Queue<unknown>();
  const values = [undefined, null, NaN, -0, 0, false, "", 0n, [], {}, new Uint8Array(0)];
  queue.putManySync(values);
  for (const value of values) assertEquals(queue.tryGet(), { state: "ok", value });
  for (const value of values) {
    const got = queue.get();
    queue.putSync(value);
    assertEquals(await got, value);
  }
});

Deno.test("size, empty and what can be got are exact as soon as a put or get has returned", async () => {
  const queue = new Queue<number>();
  for (let i = 1; i <= 200; i++) {
    if (i % 2 === 0) queue.putSync(i);
    else await queue.put(i);
    assertEquals([queue.size, queue.empty, queue.unfinished], [1, false, 1]);
    assertEquals(queue.tryGet(), { state: "ok", value: i });
    assertEquals([queue.size, queue.empty, queue.unfinished], [0, true, 1]);
    queue.taskDone();
  }
});

Deno.test("an item is a value: later changes by the producer are not seen", async () => {
  const queue = fullQueue();
  const item = { list: [1] };
  const bytes = new Uint8Array([1]);
  const puts = [queue.put(item), queue.put(bytes)];
  item.list.push(2);
  bytes[0] = 9;
  assertEquals([await queue.get(), await queue.get(), await queue.get()], [
    0,
    { list: [1] },
    new Uint8Array([1]),
  ]);
  await Promise.all(puts);
});

Deno.test("an unsupported item is a DataCloneError in the producer and puts nothing", async () => {
  const queue = new Queue<unknown>();
  const unsupported = [
    () => {},
    Symbol("s"),
    { deep: [new Set([() => {}])] },
    new WeakSet(),
    new SharedArrayBuffer(8),
    new Proxy({}, {}),
    queue,
    pipe(),
  ];
  for (const value of unsupported) {
    const rejection = await assertRejects(() => queue.put(value), DOMException);
    assertEquals(rejection.name, "DataCloneError");
    assertDataClone(() => queue.putSync(value));
    assertDataClone(() => queue.tryPut(value));
    assertDataClone(() => queue.putManySync([value]));
    assertEquals([queue.size, queue.unfinished], [0, 0]);
  }
  const full = fullQueue();
  assertDataClone(() => full.tryPut(() => {}));
  assertEquals(
    (await assertRejects(() => full.put(() => {}), DOMException)).name,
    "DataCloneError",
  );
  drain(full);
  assertEquals(full.tryPut(1), true);
});

Deno.test("a getter that throws throws that error, and nothing is put", async () => {
  const queue = new Queue<unknown>();
  const reason = new Error("mine");
  const value = {
    get a(): never {
      throw reason;
    },
  };
  assertStrictEquals(await queue.put(value).catch((error) => error), reason);
  assertStrictEquals(assertThrows(() => queue.putSync(value)), reason);
  assertStrictEquals(assertThrows(() => queue.tryPut(value)), reason);
  assertStrictEquals(assertThrows(() => queue.putManySync([value])), reason);
  assertEquals(queue.size, 0);
});

Deno.test("a getter that uses the queue finds it usable", () => {
  const queue = new Queue<unknown>();
  queue.putSync({
    get a() {
      queue.putSync("from the getter");
      return queue.size;
    },
  });
  assertEquals(drain(queue), ["from the getter", { a: 1 }]);
});

Deno.test("a blocking put by the input of a putMany into the same queue is a DeadlockError", () => {
  const queue = new Queue<unknown>({ maxItems: 3 });
  function* input() {
    yield 1;
    queue.putSync("behind the call that it is the input of");
  }
  assertThrows(() => queue.putManySync(input()), DeadlockError, "Cannot put");
  assertEquals(drain(queue), [1]);
  assertEquals(queue.tryPut(2), true);
});

Deno.test("calls that are not awaited take effect in the order in which they were made", async () => {
  const queue = fullQueue();
  const big = "b".repeat(100_000);
  const puts = [queue.put(1), queue.putMany([2, 3]), queue.put(big)];
  puts.push(queue.putMany(new Int8Array([4, 5])), queue.put(6));
  assertEquals(queue.tryPut("too early"), false);
  const gets = Array.from({ length: 8 }, () => queue.get());
  assertEquals(queue.tryGet(), { state: "empty" });
  assertEquals(await Promise.all(gets), [0, 1, 2, 3, big, 4, 5, 6]);
  await Promise.all(puts);
});

Deno.test("a Sync call waits its turn behind promises of the same agent", async () => {
  const queue = new Queue<number>();
  const early = [queue.get(), queue.getMany(2)];
  queue.putManySync([1, 2, 3, 4]);
  assertEquals(queue.getSync(), 4);
  assertEquals(await Promise.all(early), [1, [2, 3]] as Any);
});

Deno.test("a Sync call is served by promises of the same agent", TIMEOUT, async () => {
  const queue = fullQueue();
  const big = "x".repeat(100_000);
  const puts = [queue.put("next"), queue.put(big), queue.putMany(["last", 7])];
  const got = Array.from({ length: 5 }, () => queue.getSync({ timeout: 5_000 }));
  assertEquals(got, [0, "next", big, "last", 7]);
  await Promise.all(puts);

  const gets = [queue.get(), queue.get()];
  for (let i = 0; i < 3; i++) queue.putSync(i, { timeout: 5_000 });
  assertEquals(await Promise.all(gets), [0, 1]);
});

Deno.test("more calls can wait than there are places in line, and are served in their order", async () => {
  const queue = new Queue<number>({ maxItems: 1 });
  const gets = Array.from({ length: 150 }, () => queue.get());
  for (let i = 0; i < 150; i++) await queue.put(i);
  assertEquals(await Promise.all(gets), Array.from({ length: 150 }, (_, i) => i));
  const puts = Array.from({ length: 150 }, (_, i) => queue.put(i));
  for (let i = 0; i < 150; i++) assertEquals(await queue.get(), i);
  await Promise.all(puts);
  const closed = Array.from({ length: 150 }, () => queue.get().catch((error) => error.name));
  queue.close();
  assertEquals(await Promise.all(closed), Array(150).fill("ClosedError"));
});

// -- Time and aborts -------------------------------------------------------------------------------

for (const { name, async, sync } of PUTTING) {
  Deno.test(`${name}: a timeout of 0 or less tries once, a longer one waits, and nothing is put`, async () => {
    const queue = fullQueue();
    for (const timeout of [0, -1, -Infinity, 5]) {
      await assertTimeout(async(queue, { timeout }));
      assertTimeoutSync(() => sync(queue, { timeout }));
      assertEquals([queue.size, waitingIn(queue, "put")], [1, 0]);
    }
    assertEquals(drain(queue), [0]);
    assertEquals(queue.full, false);
    await async(queue, { timeout: 0 });
    assertEquals(drain(queue), [7]);
    sync(queue, { timeout: -1 });
    assertEquals(drain(queue), [7]);
    assertEquals(queue.unfinished, 3);
  });

  Deno.test(`${name}: an abort while it waits rejects with the reason and puts nothing`, async () => {
    const queue = fullQueue();
    const { signal, abort } = abortable();
    const first = async(queue, { signal });
    const behind = queue.put("behind");
    const reason = new Error("enough");
    abort(reason);
    assertStrictEquals(await first.catch((error) => error), reason);
    assertEquals(drain(queue), [0]);
    await behind;
    assertEquals(drain(queue), ["behind"]);
    assertEquals(waitingIn(queue, "put"), 0);
  });
}

for (const { name, async, sync } of GETTING) {
  Deno.test(`${name}: a timeout of 0 or less tries once, a longer one waits, and nothing is lost`, async () => {
    const queue = new Queue<number>();
    for (const timeout of [0, -1, -Infinity, 5]) {
      await assertTimeout(async(queue, { timeout }));
      assertTimeoutSync(() => sync(queue, { timeout }));
      assertEquals(waitingIn(queue, "get"), 0);
    }
    // What gave up takes nothing that comes later.
    const got = queue.get();
    queue.putSync(1);
    assertEquals(await got, 1);
    const expected = { get: 2, getMany: [2], getManyInto: 1 }[name];
    queue.putSync(2);
    assertEquals(await async(queue, { timeout: 0 }), expected);
    queue.putSync(2);
    assertEquals(sync(queue, { timeout: -1 }), expected);
    assertEquals(queue.size, 0);
  });

  Deno.test(`${name}: an abort while it waits rejects with the reason and takes nothing`, async () => {
    const queue = new Queue<number>();
    const { signal, abort } = abortable();
    const first = async(queue, { signal });
    const behind = queue.get();
    const reason = new Error("enough");
    abort(reason);
    assertStrictEquals(await first.catch((error) => error), reason);
    queue.putSync(5);
    assertEquals(await behind, 5);
    assertEquals(waitingIn(queue, "get"), 0);
  });
}

for (const { name, async, sync } of [...PUTTING, ...GETTING, JOIN]) {
  Deno.test(`${name}: a timeout that is NaN is a RangeError, one that is no number a TypeError`, async () => {
    const queue = new Queue<Any>();
    queue.putManySync([1, 2]);
    await assertRejects(() => async(queue, { timeout: NaN }), RangeError, "Cannot ");
    assertThrows(() => sync(queue, { timeout: NaN }), RangeError, "timeout must be a number");
    for (const timeout of ["5", null, {}, 5n, true] as Any[]) {
      await assertRejects(() => async(queue, { timeout }), TypeError, "Cannot ");
      assertThrows(() => sync(queue, { timeout }), TypeError, "timeout must be a number");
    }
    for (const signal of ["x", null, {}, 1] as Any[]) {
      await assertRejects(
        () => async(queue, { signal }),
        TypeError,
        "signal must be an AbortSignal",
      );
    }
    assertEquals(drain(queue), [1, 2]);
  });

  Deno.test(`${name}: an aborted signal rejects with its reason, whatever else is wrong`, async () => {
    const queue = new Queue<Any>();
    queue.putManySync([1, 2]);
    const reason = { my: "reason" };
    const signal = AbortSignal.abort(reason);
    assertStrictEquals(await async(queue, { signal }).catch((error) => error), reason);
    const bad = { signal, timeout: NaN };
    assertStrictEquals(await async(queue, bad).catch((error) => error), reason);
    assertEquals(drain(queue), [1, 2]);
    queue.close();
    assertStrictEquals(await async(queue, bad).catch((error) => error), reason);
  });
}

Deno.test("a call with a timeout of 0 takes nothing that comes after it, though it is a promise", async () => {
  const queue = new Queue<number>();
  const got = queue.get({ timeout: 0 });
  queue.putSync(1);
  await assertTimeout(got);
  assertEquals(queue.size, 1);
  const full = fullQueue();
  const put = full.put(1, { timeout: 0 });
  assertEquals(drain(full), [0]);
  await assertTimeout(put);
  assertEquals(full.size, 0);
});

Deno.test("a call with a timeout of 0 does not wait, and so does not care that its agent is to end", async () => {
  const queue = new Queue<number>();
  const { words, id, park } = home();
  requestStop(home(), id);
  try {
    assertTimeoutSync(() => queue.getSync({ timeout: 0 }));
    await assertTimeout(queue.get({ timeout: 0 }));
    assertTimeoutSync(() => fullQueue().putSync(1, { timeout: 0 }));
  } finally {
    // Its STOP word, see `_agent.ts`.
    Atomics.store(words, park + 2, 0);
  }
});

Deno.test("an item that came before the time was looked at is got, not lost", async () => {
  const queue = new Queue<number>();
  const got = queue.get({ timeout: 5 });
  // The timer is due before the promise can hear of the item.
  block(20);
  queue.putSync(1);
  assertEquals(queue.tryGet(), { state: "empty" });
  assertEquals(await got, 1);
});

Deno.test("a get that was served in the moment of its abort keeps its item", async () => {
  const queue = new Queue<number>();
  const { signal, abort } = abortable();
  const got = queue.get({ signal });
  queue.putSync(1);
  abort();
  assertEquals(await got, 1);
  assertEquals(queue.size, 0);
});

Deno.test("a put that was served in the moment of its abort goes through, once", async () => {
  const queue = fullQueue();
  const { signal, abort } = abortable();
  const put = queue.put(1, { signal });
  queue.getSync();
  abort();
  await put;
  assertEquals(drain(queue), [1]);
});

for (const large of [false, true]) {
  Deno.test(`putMany(), ${large ? "with a large item, " : ""}served in the moment of its abort or timeout, ends all the same`, async () => {
    for (const end of ["abort", "timeout"]) {
      const queue = fullQueue();
      const { signal, abort } = abortable();
      const options = end === "abort" ? { signal } : { timeout: 5 };
      const put = queue.putMany([1, large ? "x".repeat(100_000) : 2, 3, 4], options);
      if (end === "timeout") block(10);
      queue.getSync();
      if (end === "abort") abort();
      const outcome = await put.catch((error) => error.name);
      const got = drain(queue);
      assertEquals(outcome, got.length === 0 ? "TimeoutError" : got.length);
      assertEquals([waitingIn(queue, "put"), queue.tryPut("usable")], [0, true]);
    }
  });
}

Deno.test("promises of calls reject, they never throw at the call", async () => {
  const queue = new Queue<Any>();
  const bad: Any = "bad";
  const calls: (() => Promise<unknown>)[] = [
    () => queue.put(() => {}),
    () => queue.put(1, { timeout: NaN }),
    () => queue.putMany(5 as Any),
    () => queue.get({ timeout: bad }),
    () => queue.getMany(0),
    () => queue.getManyInto(bad),
    () => queue.join({ timeout: NaN }),
  ];
  for (const call of calls) {
    const promise = call();
    assertInstanceOf(promise, Promise);
    await assertRejects(() => promise);
  }
});

// -- Limits ----------------------------------------------------------------------------------------

Deno.test("maxItems bounds the items, whatever their size, in every form", async () => {
  const queue = new Queue<Any>({ maxItems: 3, capacity: 1024 });
  assertEquals(queue.maxItems, 3);
  for (let round = 0; round < 20; round++) {
    assertEquals(queue.tryPut(1), true);
    queue.putSync("two");
    assertEquals(queue.full, false);
    await queue.put({ three: 3 });
    assertEquals([queue.full, queue.size, queue.tryPut(4)], [true, 3, false]);
    await assertTimeout(queue.put(4, { timeout: 0 }));
    assertEquals(queue.getManySync(9), [1, "two", { three: 3 }]);
    assertEquals(queue.putManySync([1, 2, 3, 4, 5], { timeout: 0 }), 3);
    assertEquals(queue.getManySync(9), [1, 2, 3]);
    assertEquals(await queue.putMany(new Uint8Array([1, 2, 3, 4]), { timeout: 0 }), 3);
    assertEquals(queue.full, true);
    assertEquals(queue.getManySync(2), [1, 2]);
    assertEquals(queue.putManySync(new Set([8, 9, 10]), { timeout: 0 }), 2);
    assertEquals(queue.getManySync(9), [3, 8, 9]);
  }
});

Deno.test("bytes bound the items too, and the room of each is there again when it was taken", () => {
  const queue = new Queue<number>({ capacity: 64 });
  for (let i = 0; i < 8; i++) assert(queue.tryPut(i));
  for (let i = 8; i < 100; i++) {
    assertEquals([queue.full, queue.tryPut(i), queue.size], [true, false, 8]);
    assertEquals(queue.getSync(), i - 8);
    assertEquals([queue.full, queue.tryPut(i), queue.size], [false, true, 8]);
  }
});

Deno.test("a queue is full while somebody waits to put, as a newcomer would be refused", async () => {
  const queue = new Queue<number>({ maxItems: 2 });
  queue.putManySync([1, 2]);
  const put = queue.put(3);
  assertEquals(queue.getSync(), 1);
  // The room is the waiting one's.
  assertEquals([queue.size, queue.full, queue.tryPut(4)], [1, true, false]);
  await put;
  assertEquals([queue.size, queue.full, drain(queue)], [2, true, [2, 3]]);
});

Deno.test("a small item waits behind a large one that came before, and goes when that gives up", async () => {
  const queue = new Queue<Any>({ capacity: 64 });
  queue.putManySync([1, 2, 3, 4]);
  const { signal, abort } = abortable();
  const large = queue.put(new Uint8Array(50), { signal });
  const small = queue.put(5);
  assertEquals([await settlesSoon(small), queue.size], [false, 4]);
  abort();
  await assertRejects(() => large);
  await small;
  assertEquals(drain(queue), [1, 2, 3, 4, 5]);
});

// -- Many ------------------------------------------------------------------------------------------

Deno.test("putMany() takes any iterable and says how many went through", async () => {
  const queue = new Queue<Any>();
  function* generate() {
    yield "g";
    yield { g: 1 };
  }
  assertEquals(await queue.putMany([1, "a", null]), 3);
  assertEquals(queue.putManySync(new Set(["s"])), 1);
  assertEquals(await queue.putMany(generate()), 2);
  assertEquals(queue.putManySync("xy"), 2);
  assertEquals(queue.putManySync([]), 0);
  assertEquals(queue.putManySync(new Float64Array(0)), 0);
  assertEquals(drain(queue), [1, "a", null, "s", "g", { g: 1 }, "x", "y"]);
  for (const bad of [5, undefined, null, {}, new DataView(new ArrayBuffer(8))] as Any[]) {
    await assertRejects(
      () => queue.putMany(bad),
      TypeError,
      "Cannot put into Queue as an iterable",
    );
    assertThrows(() => queue.putManySync(bad), TypeError, "an iterable is needed");
  }
});

Deno.test("putMany() of every kind of typed array puts its elements", async () => {
  for (const Kind of NUMBER_KINDS) {
    const values = new Kind([0, 1, 2.5, 200, -3]);
    const queue = new Queue<Any>();
    assertEquals(queue.putManySync(values as RunArray), 5);
    assertEquals(queue.size, 5);
    assertEquals(queue.tryGet(), { state: "ok", value: values[0] });
    assertEquals([await queue.get(), queue.getSync()], [values[1], values[2]]);
    assertEquals(queue.getManySync(9), [...values.subarray(3)], Kind.name);
    const waiting = [queue.get(), queue.getMany(2)];
    queue.putManySync(values.subarray(1) as RunArray);
    assertEquals(await Promise.all(waiting), [values[1], [values[2], values[3]]]);
    assertEquals(drain(queue), [values[4]]);
  }
  for (const Kind of [BigInt64Array, BigUint64Array]) {
    const values = new Kind([0n, 1n, -1n, 2n ** 63n]);
    const queue = new Queue<Any>();
    assertEquals(queue.putManySync(values), 4);
    assertEquals(drain(queue), [...values], Kind.name);
  }
});

Deno.test("putMany() returns how many went through when the time runs out, if any did", async () => {
  for (const maxItems of [Infinity, 5]) {
    for (
      const values of [
        Array.from({ length: 20 }, (_, i) => i),
        new Int32Array(20).map((_, i) => i),
      ]
    ) {
      for (const timeout of [0, 5]) {
        const queue = new Queue<Any>({ capacity: 64, maxItems });
        const count = await queue.putMany(values, { timeout });
        assert(count >= 5 && count < 20, `${count}`);
        assertEquals(queue.size, count);
        assertTimeoutSync(() => queue.putManySync(values, { timeout }));
        assertEquals(drain(queue), [...values].slice(0, count));
        assertEquals(queue.putManySync(values, { timeout }), count);
        await assertTimeout(queue.putMany(values, { timeout }));
        assertEquals([queue.size, waitingIn(queue, "put")], [count, 0]);
      }
    }
  }
});

Deno.test("putMany() of a typed array puts what there is room for, as single calls would", () => {
  const queue = new Queue<Any>({ capacity: 64 });
  for (let i = 0; i < 7; i++) queue.putSync(i);
  // Two words are free: a single number would go.
  assertEquals(queue.putManySync(new Int32Array([7, 8]), { timeout: 0 }), 1);
  assertEquals(drain(queue), [0, 1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("putMany() returns how many went through when its signal fires or the queue is closed", async () => {
  for (
    const values of [
      Array.from({ length: 20 }, (_, i) => i),
      new Int32Array(20).map((_, i) => i),
    ]
  ) {
    for (const how of ["abort", "close"]) {
      const queue = new Queue<Any>({ capacity: 64 });
      const { signal, abort } = abortable();
      const put = queue.putMany(values, { signal });
      if (how === "abort") abort();
      else queue.close();
      const count = await put;
      assert(count >= 8 && count < 20, `${count}`);
      assertEquals(drain(queue), [...values].slice(0, count));
    }
  }
});

Deno.test("putMany() that was served part-way gives back its place when its array is detached", async () => {
  const queue = fullQueue();
  const values = new Int32Array([1, 2, 3]);
  const put = queue.putMany(values);
  structuredClone(values, { transfer: [values.buffer] });
  queue.getSync();
  assertEquals(await put, 0);
  assertEquals(queue.tryPut(5), true);
  assertEquals(drain(queue), [5]);
});

Deno.test("putMany() reads its input at most one item ahead", async () => {
  const queue = new Queue<number>({ maxItems: 3 });
  let read = 0;
  function* count() {
    for (;;) yield read++;
  }
  const { signal, abort } = abortable();
  const put = queue.putMany(count(), { signal });
  assertEquals(read, 4);
  queue.getSync();
  await settlesSoon(put);
  assertEquals(read, 5);
  abort();
  assertEquals(await put, 4);
  assertEquals(drain(queue), [1, 2, 3]);
});

Deno.test("putMany() ends with the error of its input or of an item, after the items before it", async () => {
  const queue = new Queue<Any>();
  const reason = new Error("input");
  let closed = 0;
  function* failing() {
    yield 1;
    yield { two: 2 };
    throw reason;
  }
  function* unsupported() {
    try {
      yield 1;
      yield () => {};
    } finally {
      closed++;
    }
  }
  assertStrictEquals(await queue.putMany(failing()).catch((error) => error), reason);
  assertEquals(drain(queue), [1, { two: 2 }]);
  assertStrictEquals(assertThrows(() => queue.putManySync(failing())), reason);
  assertEquals(drain(queue), [1, { two: 2 }]);
  await assertRejects(() => queue.putMany(unsupported()), DOMException);
  assertEquals([closed, drain(queue)], [1, [1]]);
  for (const bad of [() => {}, Symbol("s"), { f: () => {} }]) {
    assertDataClone(() => queue.putManySync([1, "two", bad, 4]));
    assertEquals(drain(queue), [1, "two"]);
  }
});

Deno.test("putMany() closes its input when it ends early", async () => {
  const ends: ((queue: Queue<Any>, input: Iterable<Any>) => unknown)[] = [
    (q, input) => q.putMany(input, { timeout: 0 }),
    (q, input) => q.putManySync(input, { timeout: 2 }),
    (q, input) => {
      const { signal, abort } = abortable();
      const put = q.putMany(input, { signal });
      abort();
      return put;
    },
    (q, input) => {
      const put = q.putMany(input);
      q.close();
      return put;
    },
  ];
  for (const end of ends) {
    let closed = 0;
    const input = (function* () {
      try {
        for (;;) yield 1;
      } finally {
        closed++;
      }
    })();
    await end(new Queue({ maxItems: 2 }), input);
    assertEquals(closed, 1, String(end));
  }
});

Deno.test("getMany() waits for the first and takes what is there, up to its limit", async () => {
  const queue = new Queue<Any>();
  const got = queue.getMany(2);
  queue.putManySync([1, "a", { b: 2 }, 3]);
  const first: Any = await got;
  assert(first.length === 1 || first.length === 2);
  assertEquals([...first, ...await queue.getMany(9)], [1, "a", { b: 2 }, 3]);
  queue.putManySync(new Uint8Array([1, 2, 3]));
  queue.close();
  assertEquals(queue.getManySync(2), [1, 2]);
  assertEquals(queue.getManySync(1_000_000), [3]);
  assertThrows(() => queue.getManySync(2), ClosedError);
});

Deno.test(
  "getMany() takes a hundred thousand items in time that grows as their number does",
  TIMEOUT,
  () => {
    const queue = new Queue<number>({ capacity: 2 ** 20 });
    queue.putManySync(new Uint8Array(400_000));
    const begin = performance.now();
    assertEquals(queue.getManySync(1_000_000).length, 400_000);
    assert(performance.now() - begin < 4_000, "it took too long");
  },
);

Deno.test("getMany() refuses a limit that is not a positive integer", async () => {
  const queue = new Queue<number>();
  queue.putSync(1);
  for (const max of [0, -1, 1.5, NaN, Infinity]) {
    await assertRejects(() => queue.getMany(max), RangeError, "Cannot get from Queue as max");
    assertThrows(() => queue.getManySync(max), RangeError, "Cannot get from Queue as max");
  }
  for (const max of ["1", undefined, null, 1n] as Any[]) {
    await assertRejects(() => queue.getMany(max), TypeError, "Cannot get from Queue as max");
    assertThrows(() => queue.getManySync(max), TypeError, "Cannot get from Queue as max");
  }
  assertEquals(queue.size, 1);
});

Deno.test("accessors of a subclass of typed arrays do not run, whatever they would do", async () => {
  const queue = new Queue<number>();
  const forbidden = () => {
    queue.putSync(0);
    throw new Error("it runs");
  };
  const hidden = ["buffer", "byteOffset", "byteLength", "length"];
  class Numbers extends Int16Array {}
  const accessors = Object.fromEntries(hidden.map((name) => [name, { get: forbidden }]));
  Object.defineProperties(Numbers.prototype, accessors);
  const numbers = new Numbers([4, 5]);
  assertEquals(queue.putManySync(numbers), 2);
  assertEquals(await queue.putMany(numbers), 2);
  assertEquals(queue.getManySync(9), [4, 5, 4, 5]);
  queue.putManySync([6, 7, 8]);
  assertEquals(queue.getManyIntoSync(numbers), 2);
  assertEquals(await queue.getManyInto(numbers), 1);
  assertEquals([numbers[0], numbers[1]], [8, 7]);
});

Deno.test("getManyInto() says so if what is next is larger than the storage, and it stays", async () => {
  const queue = new Queue<unknown>({ capacity: 64 });
  const put = queue.put("x".repeat(200));
  const into = () => queue.getManyInto(new Int32Array(1));
  await assertRejects(into, TypeError, "it is larger than the storage");
  assertEquals(await queue.get(), "x".repeat(200));
  await put;
});

Deno.test("getManyInto() converts numbers as a typed array does, whatever they were put as", async () => {
  const numbers = [0, 1, -1, 2.7, 300, 2 ** 31, 2 ** 40 + 3, NaN, Infinity, -0];
  const queue = new Queue<Any>();
  for (const Target of NUMBER_KINDS) {
    for (const Source of NUMBER_KINDS) {
      const source = Source.from(numbers);
      const target = new Target(numbers.length);
      queue.putManySync(source as RunArray);
      assertEquals(queue.getManyIntoSync(target as RunArray), numbers.length);
      assertEquals([...target], [...Target.from(source)], `${Source.name} into ${Target.name}`);
    }
    const target = new Target(numbers.length);
    queue.putManySync(numbers);
    assertEquals(await queue.getManyInto(target as RunArray), numbers.length);
    assertEquals([...target], [...Target.from(numbers)], Target.name);
    // One that waits is served one item, or more.
    const waiting = queue.getManyInto(target.fill(9) as RunArray);
    queue.putSync(2.5);
    assertEquals([await waiting, target[0]], [1, Target.of(2.5)[0]]);
  }
  const bigints = [0n, -1n, 2n ** 63n, 2n ** 64n + 5n];
  for (const Target of [BigInt64Array, BigUint64Array]) {
    const target = new Target(9);
    queue.putManySync(bigints);
    assertEquals(queue.getManyIntoSync(target), 4);
    assertEquals([...target.subarray(0, 4)], [...Target.from(bigints)]);
    queue.putManySync(BigInt64Array.from(bigints));
    assertEquals(queue.getManyIntoSync(target), 4);
    assertEquals([...target.subarray(0, 4)], [...Target.from(bigints)]);
  }
});

Deno.test("getManyInto() ends before an item that is no number, which is a TypeError only as the first", async () => {
  for (const other of ["3", null, undefined, true, 3n, [3], new Uint8Array([3]), "x".repeat(500)]) {
    const queue = new Queue<Any>({ capacity: 256 });
    const put = queue.putMany([1, 2, other, 4]);
    const target = new Float64Array(8);
    assertEquals(await queue.getManyInto(target), 2);
    assertEquals([...target.subarray(0, 3)], [1, 2, 0]);
    await turn();
    await assertRejects(() => queue.getManyInto(target), TypeError, "Cannot get into the target");
    assertThrows(() => queue.getManyIntoSync(target), TypeError, "Cannot get into the target");
    assertEquals(await queue.get(), other);
    assertEquals([await queue.getManyInto(target), target[0]], [1, 4]);
    assertEquals(await put, 4);
  }
});

Deno.test("getManyInto() that waits for an item it cannot take leaves it to the next one", async () => {
  for (const item of ["text", "x".repeat(100_000), 5n]) {
    const queue = new Queue<Any>();
    const into = queue.getManyInto(new Int32Array(1));
    const next = queue.get();
    const put = queue.put(item);
    await assertRejects(() => into, TypeError, "Cannot get into the target");
    assertEquals(await next, item);
    await put;
    assertEquals([queue.size, queue.unfinished], [0, 1]);
    const alone = queue.getManyInto(new Int32Array(1));
    const again = queue.put(item);
    await assertRejects(() => alone, TypeError);
    assertEquals([queue.size <= 1, await queue.get()], [true, item]);
    await again;
  }
});

Deno.test("getManyInto() refuses what is no typed array, and an empty one", async () => {
  const queue = new Queue<number>();
  queue.putSync(1);
  await assertRejects(
    () => queue.getManyInto(new Int8Array(0)),
    RangeError,
    "Cannot get from Queue",
  );
  assertThrows(() => queue.getManyIntoSync(new BigInt64Array(0)), RangeError, "must not be empty");
  for (
    const bad of [[], [1], null, undefined, 4, new ArrayBuffer(8), new DataView(new ArrayBuffer(8))]
  ) {
    await assertRejects(() => queue.getManyInto(bad as Any), TypeError, "must be a typed array");
    assertThrows(() => queue.getManyIntoSync(bad as Any), TypeError, "must be a typed array");
  }
  assertEquals(queue.size, 1);
});

// -- Larger than the storage -----------------------------------------------------------------------

Deno.test("an item as long as a record can be goes into the storage, and waits for room in it", () => {
  const queue = new Queue<Any>({ capacity: 2 * MAX_PAYLOAD });
  const longest = new Uint8Array(MAX_PAYLOAD);
  assertEquals([queue.tryPut(longest), queue.size], [true, 1]);
  // Full, and not a RangeError: it fits once that is gone.
  assertEquals(queue.tryPut(longest), false);
});

Deno.test("an item larger than the storage does not overtake what was put just before it", async () => {
  // Both are put between two looks of one call: at its first look at the count of items, its second ...
  for (let moment = 1; moment <= 6; moment++) {
    const queue = new Queue<string>({ capacity: 64 });
    const { memory } = queue.handle;
    const { load } = Atomics;
    let puts: Promise<void>[] = [];
    let looks = 0;
    Atomics.load = ((words: Int32Array, index: number) => {
      const value = load(words, index);
      if (words.buffer === memory && index === PUTS && ++looks === moment) {
        Atomics.load = load;
        puts = [queue.put("small"), queue.put("x".repeat(1_000))];
      }
      return value;
    }) as typeof Atomics.load;
    const found = queue.tryGet();
    Atomics.load = load;
    if (puts.length === 0) continue;
    const first = found.state === "ok" ? found.value : await queue.get();
    assertEquals([first, (await queue.get()).length], ["small", 1_000]);
    await Promise.all(puts);
  }
});

Deno.test("an item larger than the storage is delivered, in its place", async () => {
  for (const maxItems of [Infinity, 1]) {
    const queue = new Queue<Any>({ capacity: 64, maxItems });
    const values = ["a", "x".repeat(1_000), 2, new Uint8Array(10_000).fill(3), {
      l: Array(500).fill("é"),
    }];
    const puts = values.map((value) => queue.put(value));
    for (const value of values) assertEquals(await queue.get(), value);
    await Promise.all(puts);
    for (const value of values) {
      const got = queue.get();
      await queue.put(value);
      assertEquals(await got, value);
    }
    assertEquals(queue.unfinished, 10);
    const many = queue.putMany(values);
    const got: unknown[] = [];
    while (got.length < 5) got.push(...await queue.getMany(5));
    assertEquals([got, await many], [values, 5]);
  }
});

Deno.test("tryPut() of something larger than the storage is a RangeError, and puts nothing", () => {
  const queue = new Queue<Any>({ capacity: 64 });
  for (const value of ["x".repeat(100), new Uint8Array(65), Array(200).fill(1)]) {
    assertThrows(() => queue.tryPut(value), RangeError, "Cannot put into Queue without waiting");
    assertEquals(queue.size, 0);
  }
  while (queue.tryPut(0));
  assertThrows(() => queue.tryPut("x".repeat(100)), RangeError);
  queue.close();
  assertThrows(() => queue.tryPut("x".repeat(100)), ClosedError);
});

for (const how of ["timeout", "abort", "close"]) {
  Deno.test(`an item larger than the storage that is given up by ${how} leaves no trace`, async () => {
    for (const before of [0, 3]) {
      const queue = new Queue<Any>({ capacity: 64 });
      for (let i = 0; i < before; i++) queue.putSync(i);
      const big = "x".repeat(500);
      const { signal, abort } = abortable();
      const put = queue.put(big, how === "timeout" ? { timeout: 5 } : { signal });
      if (how === "abort") abort("reason");
      if (how === "close") queue.close();
      const error = await put.catch((reason) => reason);
      if (how === "timeout") assertEquals(error.name, "TimeoutError");
      if (how === "abort") assertEquals(error, "reason");
      if (how === "close") {
        assertInstanceOf(error, ClosedError);
        assertStrictEquals(error.value, big);
        assertEquals(drain(queue).length, before);
        assertEquals(queue.tryGet(), { state: "closed" });
        continue;
      }
      assertEquals([queue.size, queue.full, queue.unfinished], [before, false, before]);
      assertEquals(queue.tryPut("next"), true);
      assertEquals(drain(queue), [...Array(before).keys(), "next"]);
      await assertTimeout(queue.put(big, { timeout: 0 }));
      const again = queue.put(big);
      assertEquals(await queue.get(), big);
      await again;
    }
  });
}

Deno.test("putMany() of items larger than the storage carries the right one in its ClosedError", async () => {
  const queue = new Queue<Any>({ capacity: 64 });
  const big = "x".repeat(500);
  const put = queue.putMany([big, 2]);
  queue.close();
  assertStrictEquals((await assertRejects(() => put, ClosedError)).value, big);
  const partial = new Queue<Any>({ capacity: 64 });
  const many = partial.putMany([1, big, 2]);
  partial.close();
  assertEquals(await many, 1);
});

// -- Closing ---------------------------------------------------------------------------------------

Deno.test("close() is idempotent and for every copy, and `using` closes", () => {
  const queue = new Queue<number>();
  {
    using same = Queue.from<number>(structuredClone(queue));
    assertEquals(same.closed, false);
  }
  assertEquals(queue.closed, true);
  queue.close();
  queue[Symbol.dispose]();
  assertEquals(queue.closed, true);
});

for (const { name, async, sync } of PUTTING) {
  Deno.test(`${name}: a ClosedError with the item when the queue is closed`, async () => {
    const queue = new Queue<Any>();
    queue.close();
    const rejection = await assertRejects(
      () => async(queue),
      ClosedError,
      "Cannot put into a closed Queue",
    );
    const error = assertThrows(() => sync(queue), ClosedError, "Cannot put into a closed Queue");
    assertEquals([rejection.value, error.value, error.name], [7, 7, "ClosedError"]);
    assertThrows(() => sync(queue, { timeout: 0 }), ClosedError);
    assertEquals(assertThrows(() => queue.tryPut("v"), ClosedError).value, "v");
    assertEquals([queue.size, queue.unfinished], [0, 0]);
  });

  Deno.test(`${name}: waiting when the queue is closed ends with a ClosedError with the item`, async () => {
    const queue = fullQueue();
    const puts = [async(queue), async(queue, { timeout: 60_000 })]
      .map((put) => assertRejects(() => put, ClosedError));
    queue.close();
    for (const { value } of await Promise.all(puts)) assertEquals(value, 7);
    assertEquals(drain(queue), [0]);
  });
}

for (const { name, async, sync } of GETTING) {
  Deno.test(`${name}: what is left in a closed queue is got, then it is a ClosedError`, async () => {
    const queue = new Queue<Any>();
    queue.putManySync([1, 2, 3, 4]);
    queue.close();
    await async(queue);
    while (!queue.empty) sync(queue);
    await assertRejects(() => async(queue), ClosedError, "Cannot get from a closed Queue");
    assertThrows(() => sync(queue), ClosedError, "Cannot get from a closed Queue");
    assertThrows(() => sync(queue, { timeout: 0 }), ClosedError);
    assertEquals(queue.tryGet(), { state: "closed" });
  });

  Deno.test(`${name}: waiting when the queue is closed ends with a ClosedError`, async () => {
    const queue = new Queue<Any>();
    const gets = [async(queue), async(queue, { timeout: 60_000 })]
      .map((get) => assertRejects(() => get, ClosedError));
    queue.close();
    await Promise.all(gets);
  });
}

Deno.test("tryGet() tells an item, nothing yet and the end apart", () => {
  const queue = new Queue<number>();
  assertEquals(queue.tryGet(), { state: "empty" });
  queue.putSync(1);
  queue.close();
  assertEquals(queue.tryGet(), { state: "ok", value: 1 });
  assertEquals(queue.tryGet(), { state: "closed" });
});

Deno.test("whoever waits when the queue is closed still gets what was put before", async () => {
  const queue = new Queue<number>();
  const gets = [queue.get(), queue.get(), queue.get()].map((got) => got.catch((e) => e.name));
  queue.putManySync([1, 2]);
  queue.close();
  assertEquals(await Promise.all(gets), [1, 2, "ClosedError"]);
});

// -- Working off -----------------------------------------------------------------------------------

Deno.test("unfinished counts what was put and not done; taskDone() more often than taken is a RangeError", () => {
  const queue = new Queue<number>();
  assertThrows(() => queue.taskDone(), RangeError, "Cannot ");
  queue.putManySync([1, 2, 3]);
  assertThrows(() => queue.taskDone(), RangeError, "Cannot ");
  assertEquals(queue.unfinished, 3);
  queue.getManySync(2);
  queue.taskDone();
  queue.taskDone();
  assertThrows(() => queue.taskDone(), RangeError);
  assertEquals([queue.unfinished, queue.size], [1, 1]);
  queue.close();
  queue.getSync();
  queue.taskDone();
  assertEquals(queue.unfinished, 0);
});

Deno.test("join() resolves once everything is done, for many and many times", async () => {
  const queue = new Queue<number>();
  await queue.join();
  queue.joinSync();
  for (let round = 0; round < 3; round++) {
    queue.putManySync([1, 2]);
    const joins = [queue.join(), queue.join({ timeout: 60_000 })];
    queue.getManySync(2);
    queue.taskDone();
    assertEquals(await settlesSoon(joins[0]!), false);
    queue.taskDone();
    await Promise.all(joins);
    queue.joinSync({ timeout: 0 });
  }
});

Deno.test("join() resolves also when more is put in the moment in which all was done", async () => {
  const queue = new Queue<number>();
  queue.putSync(1);
  const joined = queue.join();
  queue.getSync();
  queue.taskDone();
  queue.putSync(2);
  await joined;
  assertEquals(queue.unfinished, 1);
});

Deno.test("join() times out and is aborted, and changes nothing", async () => {
  const queue = new Queue<number>();
  queue.putSync(1);
  for (const timeout of [0, -1, 5]) {
    await assertTimeout(queue.join({ timeout }));
    assertTimeoutSync(() => queue.joinSync({ timeout }));
  }
  // A timeout of 0 looks once, and not at what comes later.
  const once = assertTimeout(queue.join({ timeout: 0 }));
  const worker = queue.tryGet();
  queue.taskDone();
  await once;
  assertEquals(worker, { state: "ok", value: 1 });
  queue.putSync(1);
  const { signal, abort } = abortable();
  const joined = queue.join({ signal });
  abort("reason");
  assertEquals(await joined.catch((error) => error), "reason");
  assertEquals([queue.unfinished, queue.size], [1, 1]);
  // Closing does not work anything off.
  const later = queue.join();
  queue.close();
  assertEquals(await settlesSoon(later), false);
  queue.getSync();
  queue.taskDone();
  await later;
});

Deno.test("items larger than the storage count as put once they are taken", async () => {
  const queue = new Queue<string>({ capacity: 64 });
  const put = queue.put("x".repeat(500));
  assertThrows(() => queue.taskDone(), RangeError);
  await queue.get();
  await put;
  assertEquals(queue.unfinished, 1);
  queue.taskDone();
  await queue.join();
});

// -- Iteration -------------------------------------------------------------------------------------

Deno.test("iteration yields items until the queue is closed and empty", async () => {
  const queue = new Queue<Any>();
  queue.putManySync([1, undefined, "three"]);
  const got: unknown[] = [];
  const loop = (async () => {
    for await (const item of queue) got.push(item);
  })();
  await queue.put(4);
  queue.close();
  await loop;
  assertEquals(got, [1, undefined, "three", 4]);
  assertEquals([...queue], []);
  assertEquals(await Array.fromAsync(queue), []);
});

Deno.test("leaving a loop leaves the queue open", async () => {
  const queue = new Queue<number>();
  queue.putManySync([1, 2, 3, 4]);
  for await (const item of queue) if (item === 1) break;
  for (const item of queue) if (item === 2) break;
  assertEquals([queue.closed, queue.size], [false, 2]);
  queue.close();
  assertEquals([...queue], [3, 4]);
});

// -- Handles and state -----------------------------------------------------------------------------

Deno.test("from() accepts a queue, what structured clone makes of it, and its handle", () => {
  const queue = new Queue<number>();
  for (const form of [queue, structuredClone(queue), queue.handle, structuredClone(queue.handle)]) {
    assertStrictEquals(Queue.from(form), queue);
  }
  assertEquals(Object.keys(structuredClone(queue)), ["handle"]);
  assert(Queue.from(new Queue()) !== queue);
});

Deno.test("from() refuses what is no handle of a queue with a TypeError", () => {
  const { handle } = new Queue();
  const bad: unknown[] = [
    undefined,
    null,
    5,
    "handle",
    {},
    { handle: null },
    { handle: {} },
    pipe()[0],
    pipe()[0].handle,
    { ...handle, sabre: "Connection" },
    { ...handle, sabre: undefined },
    { ...handle, version: 2 },
    { ...handle, serial: handle.serial + 1 },
    { ...handle, offset: 8 },
    { ...handle, memory: undefined },
    { ...handle, memory: new ArrayBuffer(handle.memory.byteLength) },
    { ...handle, memory: new SharedArrayBuffer(handle.memory.byteLength) },
    { ...handle, overflow: undefined },
    { ...handle, overflow: new SharedArrayBuffer(8) },
    { ...handle, overflow: new ArrayBuffer(0, { maxByteLength: 2 ** 20 }) },
    { ...handle, domain: undefined },
    { ...handle, domain: new SharedArrayBuffer(8) },
    { ...handle, domain: new SharedArrayBuffer(handle.domain.byteLength) },
  ];
  for (const value of bad) {
    assertThrows(() => Queue.from(value), TypeError, "Cannot ", Deno.inspect(value));
  }
});

Deno.test("from() refuses memory that is truncated, too long or damaged", () => {
  const { handle } = new Queue({ capacity: 64 });
  const whole = new Uint8Array(handle.memory);
  for (let length = 0; length <= whole.length + 9; length += length < 40 ? 1 : 13) {
    if (length === whole.length) continue;
    const memory = new SharedArrayBuffer(length);
    new Uint8Array(memory).set(whole.subarray(0, length));
    assertThrows(() => Queue.from({ ...handle, memory }), TypeError, "Cannot attach", `${length}`);
  }
  for (const [word, value] of [[0, 1], [1, 2], [2, 3], [3, -1], [7, 1], [7, 1 << 20], [7, -16]]) {
    const memory = new SharedArrayBuffer(handle.memory.byteLength);
    const words = new Int32Array(memory);
    words.set(new Int32Array(handle.memory));
    words[word!] = value!;
    assertThrows(() => Queue.from({ ...handle, memory }), TypeError, "Cannot attach", `${word}`);
  }
});

Deno.test("console.log shows the state of a queue in one short line", () => {
  const queue = new Queue<number>({ maxItems: 4 });
  queue.putManySync([1, 2]);
  queue.getSync();
  const line = Deno.inspect(queue);
  assertMatch(line, /^Queue \{ .+ \}$/);
  for (const part of ["size: 1", "maxItems: 4", "unfinished: 2", "closed: false"]) {
    assert(line.includes(part), line);
  }
  queue.close();
  assert(Deno.inspect(queue).includes("closed: true"));
  assert(!line.includes("\n") && line.length <= 240);
});

// -- Model -----------------------------------------------------------------------------------------

Deno.test("any sequence of calls does what a plain list would", TIMEOUT, async () => {
  const value = fc.oneof(
    fc.integer(),
    fc.double(),
    fc.string({ maxLength: 20 }),
    fc.uint8Array({ maxLength: 30 }),
    fc.constantFrom(undefined, null, -0, NaN, 5n, { a: 1 }),
  );
  const run = fc.oneof(
    fc.int16Array({ maxLength: 20 }),
    fc.float64Array({ maxLength: 12 }),
    fc.uint8Array({ maxLength: 80 }),
  );
  const form = fc.constantFrom<Form>("async", "sync", "try");
  const commands = [
    fc.record({ value, form }).map((r) => new PutCommand(r.value, r.form)),
    fc.array(value, { maxLength: 6 }).map((values) => new PutManyCommand(values)),
    run.map((values) => new PutRunCommand(values)),
    value.map((value) => new PutLaterCommand(value)),
    form.map((form) => new GetCommand(form)),
    form.map((form) => new GetCommand(form)),
    fc.integer({ min: 1, max: 9 }).map((max) => new GetManyCommand(max)),
    fc.integer({ min: 1, max: 9 }).map((length) => new GetIntoCommand(length)),
    fc.constant(new GetLaterCommand()),
    fc.boolean().map((put) => new AbortLastCommand(put)),
    fc.constant(new TaskDoneCommand()),
    fc.nat({ max: 40 }).map((after) => new CloseCommand(after)),
  ];
  const sequences = fc.commands(commands, { maxCommands: 60, size: "max" });
  const limit = fc.constantFrom(Infinity, 1, 3, 6);
  await fc.assert(
    fc.asyncProperty(limit, sequences, async (maxItems, list) => {
      const queue = new Queue<Any>({ capacity: 64, maxItems });
      const model = new Model(maxItems);
      try {
        await fc.asyncModelRun(() => ({ model, real: queue }), list);
      } finally {
        queue.close();
        await Promise.allSettled(
          [...model.putters, ...model.getters].map(({ promise }) => promise),
        );
      }
    }),
    { numRuns: 1_000 },
  );
});

type Form = "async" | "sync" | "try";
type Command = fc.AsyncCommand<Model, Queue<Any>>;

interface Waiting {
  readonly value: unknown;
  readonly promise: Promise<unknown>;
  readonly abort: () => void;
}

/** The list that a queue of 16 words is. */
class Model {
  stored: { value: unknown; words: number }[] = [];
  putters: Waiting[] = [];
  getters: Waiting[] = [];
  closed = false;
  taken = 0;
  done = 0;
  put = 0;

  constructor(readonly maxItems: number) {}

  get free(): number {
    return 16 - this.stored.reduce((sum, { words }) => sum + words, 0);
  }

  /** How many items can be put beside those that wait for nobody. */
  get spare(): number {
    return this.maxItems - Math.max(0, this.stored.length - this.getters.length);
  }

  hasRoom(value: unknown): boolean {
    return wordsOf(value) <= this.free && this.spare > 0;
  }

  fits(value: unknown): boolean {
    return this.putters.length === 0 && this.hasRoom(value);
  }

  add(value: unknown, words = wordsOf(value)): void {
    this.stored.push({ value, words });
    this.put++;
  }

  take(count: number): unknown[] {
    if (this.getters.length > 0) return [];
    const values = this.stored.splice(0, count).map(({ value }) => value);
    this.taken += values.length;
    return values;
  }

  /** Lets those who wait go on in their order, and looks at the counts. */
  async settle(queue: Queue<Any>): Promise<void> {
    for (let busy = true; busy;) {
      busy = false;
      while (this.getters.length > 0 && this.stored.length > 0) {
        const { value } = this.stored[0]!;
        assertEquals(await this.getters[0]!.promise, value);
        this.getters.shift();
        this.stored.shift();
        this.taken++;
        busy = true;
      }
      while (this.putters.length > 0 && this.hasRoom(this.putters[0]!.value)) {
        const { value, promise } = this.putters.shift()!;
        this.add(value);
        await promise;
        busy = true;
      }
    }
    assertEquals(
      [queue.size, queue.empty, queue.unfinished, queue.closed],
      [this.stored.length, this.stored.length === 0, this.put - this.done, this.closed],
    );
    if (!this.closed) {
      assertEquals(queue.full, this.putters.length > 0 || this.free < 2 || this.spare <= 0);
    }
  }
}

/** Words that an item takes in the ring. */
function wordsOf(value: unknown): number {
  if (typeof value === "number") {
    return (value | 0) === value && !Object.is(value, -0) ? 2 : 4;
  }
  const bytes = value instanceof Uint8Array ? value.length : encode(value);
  return 2 * Math.ceil((4 + bytes) / 8);
}

/** What a call without waiting brought: its value, "empty" for a timeout, "closed". */
async function outcome(call: () => unknown): Promise<unknown> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ClosedError) return "closed";
    if (error instanceof DOMException && error.name === "TimeoutError") return "empty";
    throw error;
  }
}

const ONCE = { timeout: 0 };

class PutCommand implements Command {
  constructor(readonly value: unknown, readonly form: Form) {}
  check = (model: Readonly<Model>) => !model.closed;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    const { value, form } = this;
    const fits = model.fits(value);
    const put = await outcome(() =>
      form === "try"
        ? queue.tryPut(value)
        : form === "sync"
        ? queue.putSync(value, ONCE)
        : queue.put(value, ONCE)
    );
    assertEquals(put, form === "try" ? fits : fits ? undefined : "empty");
    if (fits) model.add(value);
    await model.settle(queue);
  }
  toString = () => `put ${this.form} ${Deno.inspect(this.value)}`;
}

class PutManyCommand implements Command {
  constructor(readonly values: unknown[]) {}
  check = (model: Readonly<Model>) =>
    !model.closed && this.values.length > 0 && model.getters.length === 0;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    let count = 0;
    for (const value of this.values) {
      if (!model.fits(value)) break;
      model.add(value);
      count++;
    }
    assertEquals(
      await outcome(() => queue.putMany(this.values, ONCE)),
      count > 0 ? count : "empty",
    );
    await model.settle(queue);
  }
  toString = () => `putMany ${Deno.inspect(this.values)}`;
}

class PutRunCommand implements Command {
  constructor(readonly values: RunArray) {}
  check = (model: Readonly<Model>) =>
    !model.closed && this.values.length > 0 && model.getters.length === 0;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    const { values } = this;
    const size = values.BYTES_PER_ELEMENT;
    const room = model.putters.length > 0 ? 0 : Math.floor((model.free - 1) * 4 / size);
    const count = Math.max(0, Math.min(values.length, room, model.spare));
    const put = await outcome(() => queue.putManySync(values, ONCE));
    assertEquals(put, count > 0 ? count : "empty");
    // The record is free once its last element is taken.
    const words = 2 * Math.ceil((4 + count * size) / 8);
    for (let i = 0; i < count; i++) model.add(values[i], i === count - 1 ? words : 0);
    await model.settle(queue);
  }
  toString = () => `putMany ${Deno.inspect(this.values)}`;
}

class PutLaterCommand implements Command {
  constructor(readonly value: unknown) {}
  check = (model: Readonly<Model>) => !model.closed;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    const { value } = this;
    const { signal, abort } = abortable();
    const promise = queue.put(value, { signal });
    promise.catch(() => {});
    if (model.fits(value)) {
      model.add(value);
      await promise;
    } else {
      model.putters.push({ value, promise, abort });
    }
    await model.settle(queue);
  }
  toString = () => `put later ${Deno.inspect(this.value)}`;
}

class GetCommand implements Command {
  constructor(readonly form: Form) {}
  check = () => true;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    const next = model.take(1);
    const nothing = model.closed ? "closed" : "empty";
    if (this.form === "try") {
      const expected = next.length > 0 ? { state: "ok", value: next[0] } : { state: nothing };
      assertEquals(queue.tryGet() as Any, expected);
    } else {
      const got = await outcome(() =>
        this.form === "async" ? queue.get(ONCE) : queue.getSync(ONCE)
      );
      assertEquals(got, next.length > 0 ? next[0] : nothing);
    }
    await model.settle(queue);
  }
  toString = () => `get ${this.form}`;
}

class GetManyCommand implements Command {
  constructor(readonly max: number) {}
  check = () => true;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    const next = model.take(this.max);
    const got = await outcome(() => queue.getMany(this.max, ONCE));
    assertEquals(got, next.length > 0 ? next : model.closed ? "closed" : "empty");
    await model.settle(queue);
  }
  toString = () => `getMany ${this.max}`;
}

class GetIntoCommand implements Command {
  constructor(readonly length: number) {}
  check = () => true;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    const target = new Float64Array(this.length);
    let count = 0;
    while (count < this.length && typeof model.stored[count]?.value === "number") count++;
    if (count === 0 && model.stored.length > 0) {
      assertThrows(() => queue.getManyIntoSync(target), TypeError);
    } else {
      const next = count === 0 ? [] : model.take(count);
      const got = await outcome(() => queue.getManyIntoSync(target, ONCE));
      assertEquals(got, next.length > 0 ? count : model.closed ? "closed" : "empty");
      assertEquals([...target.subarray(0, next.length)], next as number[]);
    }
    await model.settle(queue);
  }
  toString = () => `getManyInto ${this.length}`;
}

class GetLaterCommand implements Command {
  check = (model: Readonly<Model>) => !model.closed && model.stored.length === 0;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    const { signal, abort } = abortable();
    const promise = queue.get({ signal });
    promise.catch(() => {});
    model.getters.push({ value: undefined, promise, abort });
    await model.settle(queue);
  }
  toString = () => "get later";
}

class AbortLastCommand implements Command {
  constructor(readonly put: boolean) {}
  check = (model: Readonly<Model>) => (this.put ? model.putters : model.getters).length > 0;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    const { promise, abort } = (this.put ? model.putters : model.getters).pop()!;
    abort();
    assertEquals((await promise.catch((error) => error) as Error).name, "AbortError");
    await model.settle(queue);
  }
  toString = () => `abort the last ${this.put ? "put" : "get"}`;
}

class TaskDoneCommand implements Command {
  check = () => true;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    if (model.done < model.taken) {
      model.done++;
      queue.taskDone();
    } else {
      assertThrows(() => queue.taskDone(), RangeError);
    }
    assertEquals(
      await outcome(() => queue.join(ONCE)),
      model.put === model.done ? undefined : "empty",
    );
    await model.settle(queue);
  }
  toString = () => "taskDone";
}

class CloseCommand implements Command {
  constructor(readonly after: number) {}
  check = (model: Readonly<Model>) => !model.closed && model.put >= this.after;
  async run(model: Model, queue: Queue<Any>): Promise<void> {
    queue.close();
    model.closed = true;
    for (const { value, promise } of model.putters.splice(0)) {
      assertEquals((await assertRejects(() => promise, ClosedError)).value, value);
    }
    for (const { promise } of model.getters.splice(0)) {
      await assertRejects(() => promise, ClosedError);
    }
    assertThrows(() => queue.tryPut(1), ClosedError);
    await model.settle(queue);
  }
  toString = () => "close";
}

// -- Across agents ---------------------------------------------------------------------------------

Deno.test(
  "100,000 mixed values by two producers reach two consumers once each, equal and in order",
  TIMEOUT,
  async () => {
    using first = new Agent(AGENTS);
    using second = new Agent(AGENTS);
    using third = new Agent(AGENTS);
    const queue = new Queue<unknown>({ capacity: 8_192 });
    const total = 100_000;
    const half = total / 2;
    const gets = [
      first.run<Int32Array>("checkMixed", queue),
      second.run<Int32Array>("checkMixed", queue),
    ];
    const puts = [third.run("putMixed", queue, 0, half), putMixedHere(queue, half, half)];
    await Promise.all(puts);
    queue.close();
    const taken = await Promise.all(gets);
    const seen = new Uint8Array(total);
    for (const list of taken) {
      const last = [-1, -1];
      for (const index of list) {
        seen[index]!++;
        const producer = index < half ? 0 : 1;
        assert(index > last[producer]!, `${index} after ${last[producer]}`);
        last[producer] = index;
      }
    }
    assert(seen.every((count) => count === 1), "an item was lost or doubled");
  },
);

/** The second producer: this agent, which must not block its thread for as long as the others start. */
async function putMixedHere(queue: Queue<unknown>, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i += 50) {
    await queue.putMany(Array.from({ length: 50 }, (_, k) => [i + k, mixedValue(i + k)]));
  }
}

Deno.test(
  "6,000 small objects with strings through a queue of 32 items are all right",
  TIMEOUT,
  async () => {
    using agent = new Agent(AGENTS);
    const queue = new Queue<{ i: number; s: string; pad: string }>({ maxItems: 32 });
    const done = agent.run("putObjects", queue, 6_000);
    let wrong = 0;
    for (let i = 0; i < 6_000; i++) {
      const { i: index, s, pad } = i % 2 === 0
        ? await queue.get()
        : queue.getSync({ timeout: 10_000 });
      if (index !== i || s !== `m${i}` || pad !== "p".repeat(i % 100)) wrong++;
    }
    await done;
    assertEquals(wrong, 0);
  },
);

Deno.test("items larger than the storage reach several consumers once each", TIMEOUT, async () => {
  using first = new Agent(AGENTS);
  using second = new Agent(AGENTS);
  using third = new Agent(AGENTS);
  const queue = new Queue<unknown>({ capacity: 256 });
  const gets = [first, second].map((agent) => agent.run<[number, number]>("digestAll", queue));
  const puts = third.run<number>("putLarge", queue, 1, 500);
  let sum = 0;
  for (let i = 0; i < 500; i++) {
    const value = largeValue(2, i);
    sum = (sum + digestOf(textOf(value))) >>> 0;
    await queue.put(value);
  }
  sum = (sum + await puts) >>> 0;
  queue.close();
  const [[a, b], [c, d]] = await Promise.all(gets) as [[number, number], [number, number]];
  assertEquals([a + c, (b + d) >>> 0], [1_000, sum]);
  assertEquals([queue.size, queue.unfinished], [0, 1_000]);
});

/** Every third is larger than a storage of 256 bytes. */
function largeValue(producer: number, index: number): unknown {
  return index % 3 === 0 ? `${producer} ${index} ${"x".repeat(300 + index)}` : [producer, index];
}

Deno.test(
  "one order for all: what was put before is got before, whoever puts",
  TIMEOUT,
  async () => {
    using first = new Agent(AGENTS);
    using second = new Agent(AGENTS);
    await Promise.all([first.ready, second.ready]);
    const queue = new Queue<number>({ capacity: 1024 });
    for (let i = 0; i < 300; i += 3) {
      await first.run("putOne", queue, i);
      queue.putSync(i + 1);
      await second.run("putOne", queue, i + 2);
      if (i % 30 === 27) {
        assertEquals(queue.getManySync(30), Array.from({ length: 30 }, (_, k) => i - 27 + k));
      }
    }
  },
);

Deno.test(
  "getters are served in the order in which they came, whatever their form",
  TIMEOUT,
  async () => {
    using first = new Agent(AGENTS);
    using second = new Agent(AGENTS);
    const queue = new Queue<number>();
    for (let round = 0; round < 10; round++) {
      const gets: Promise<unknown>[] = [first.run("getOne", queue, round % 2 === 0)];
      await until(() => waitingIn(queue, "get") === 1);
      gets.push(queue.get());
      gets.push(second.run("getOne", queue, round % 2 === 1));
      await until(() => waitingIn(queue, "get") === 3);
      gets.push(queue.get());
      queue.putManySync([1, 2, 3, 4]);
      assertEquals(await Promise.all(gets), [1, 2, 3, 4]);
    }
  },
);

Deno.test(
  "putters are served in the order in which they came, whatever their form",
  TIMEOUT,
  async () => {
    using first = new Agent(AGENTS);
    using second = new Agent(AGENTS);
    const queue = fullQueue();
    for (let round = 0; round < 10; round++) {
      const puts: Promise<unknown>[] = [first.run("putOne", queue, 1, round % 2 === 0)];
      await until(() => waitingIn(queue, "put") === 1);
      puts.push(queue.put(2));
      puts.push(second.run("putOne", queue, 3, round % 2 === 1));
      await until(() => waitingIn(queue, "put") === 3);
      puts.push(queue.put(0));
      const got: unknown[] = [];
      for (let i = 0; i < 4; i++) got.push(await queue.get());
      await Promise.all(puts);
      assertEquals(got, [0, 1, 2, 3]);
    }
  },
);

Deno.test("a getter that has waited for 50 ms is served before a newcomer", TIMEOUT, async () => {
  using agent = new Agent(AGENTS);
  const queue = new Queue<number>();
  for (const sync of [true, false]) {
    const got = agent.run("getOne", queue, sync);
    await until(() => waitingIn(queue, "get") === 1);
    block(50);
    queue.putSync(1);
    assertEquals([queue.tryGet(), queue.size], [{ state: "empty" }, 0]);
    assertTimeoutSync(() => queue.getSync({ timeout: 0 }));
    assertEquals(await got, 1);
  }
});

Deno.test("a putter that has waited for 50 ms is served before a newcomer", TIMEOUT, async () => {
  using agent = new Agent(AGENTS);
  const queue = new Queue<number>({ maxItems: 1 });
  for (const sync of [true, false]) {
    queue.putSync(0);
    const put = agent.run("putOne", queue, 7, sync);
    await until(() => waitingIn(queue, "put") === 1);
    block(50);
    assertEquals(queue.getSync(), 0);
    assertEquals([queue.tryPut(8), queue.full], [false, true]);
    await put;
    assertEquals(queue.getSync(), 7);
  }
});

Deno.test("aborts and timeouts of getters at any moment lose nothing", TIMEOUT, async () => {
  using agent = new Agent(AGENTS);
  using rival = new Agent(AGENTS);
  const queue = new Queue<number>({ maxItems: 4 });
  const total = 4_000;
  const taken = rival.run<Int32Array>("getImpatiently", queue, 7);
  const done = agent.run("putNumbers", queue, total);
  const random = randomOf(42);
  const mine: number[] = [];
  const loop = (async () => {
    for (;;) {
      const { signal, abort } = abortable();
      const gets = [
        queue.get({ signal }),
        queue.get({ timeout: random() * 2 }),
        queue.get({ signal }),
      ];
      if (random() < 0.5) abort();
      else queueMicrotask(abort);
      const states = await Promise.allSettled(gets);
      for (const state of states) {
        if (state.status === "fulfilled") mine.push(state.value);
        else if (state.reason instanceof ClosedError) return;
      }
    }
  })();
  await done;
  queue.close();
  await loop;
  const all = [...mine, ...await taken].sort((a, b) => a - b);
  assertEquals(all.length, total);
  assert(all.every((value, i) => value === i), "lost or doubled");
  assertEquals([queue.size, waitingIn(queue, "get")], [0, 0]);
});

Deno.test(
  "aborts and timeouts of putters at any moment put nothing, or everything",
  TIMEOUT,
  async () => {
    using agent = new Agent(AGENTS);
    const queue = new Queue<Any>({ capacity: 64 });
    const digest = agent.run<[number, number]>("digestAll", queue);
    const random = randomOf(43);
    let sum = 0;
    let count = 0;
    for (let i = 0; i < 1_500; i++) {
      const { signal, abort } = abortable();
      const values = [i, `text ${i}`, i % 9 === 0 ? `large ${i} ${"x".repeat(200)}` : -i];
      const puts = [
        queue.put(values[0], { signal }),
        queue.put(values[1], { timeout: random() }),
        queue.put(values[2], { signal }),
      ];
      const timer = setTimeout(abort, random() < 0.5 ? 0 : 1);
      if (random() < 0.5) abort();
      const states = await Promise.allSettled(puts);
      clearTimeout(timer);
      states.forEach((state, k) => {
        if (state.status !== "fulfilled") return;
        sum = (sum + digestOf(textOf(values[k]))) >>> 0;
        count++;
      });
    }
    queue.close();
    assertEquals(await digest, [count, sum]);
    assertEquals([queue.unfinished, waitingIn(queue, "put")], [count, 0]);
  },
);

Deno.test(
  "close() racing puts and gets: what was put is got, the rest is refused",
  TIMEOUT,
  async () => {
    using producer = new Agent(AGENTS);
    using consumer = new Agent(AGENTS);
    await Promise.all([producer.ready, consumer.ready]);
    const random = randomOf(44);
    for (let round = 0; round < 25; round++) {
      const queue = new Queue<number>({ maxItems: 1 + round % 5 });
      const put = producer.run<number>("putUntilClosed", queue);
      const got = consumer.run<Int32Array>("getAll", queue, round % 2 === 0);
      const mine: number[] = [];
      const enough = random() * 60;
      for (let i = 0; i < enough; i++) {
        const next = queue.tryGet();
        if (next.state === "ok") mine.push(next.value);
        else await turn();
      }
      queue.close();
      const all = [...mine, ...await got].sort((a, b) => a - b);
      const count = await put;
      assertEquals(all.length + drain(queue).length, count);
      assert(all.every((value, i) => value === i));
    }
  },
);

Deno.test("join() waits for what other agents work off", TIMEOUT, async () => {
  using first = new Agent(AGENTS);
  using second = new Agent(AGENTS);
  const queue = new Queue<number>({ maxItems: 10 });
  const workers = [first.run<number>("workOff", queue), second.run<number>("workOff", queue)];
  for (let round = 0; round < 5; round++) {
    await queue.putMany(Array.from({ length: 100 }, (_, i) => i));
    if (round % 2 === 0) await queue.join();
    else queue.joinSync();
    assertEquals([queue.unfinished, queue.size], [0, 0]);
  }
  queue.close();
  const [a, b] = await Promise.all(workers) as [number, number];
  assertEquals(a + b, 500);
});

Deno.test(
  "numbers in batches between agents are neither lost nor doubled nor reordered",
  TIMEOUT,
  async () => {
    using first = new Agent(AGENTS);
    using second = new Agent(AGENTS);
    const queue = new Queue<number>({ capacity: 512 });
    const gets = [
      first.run<Int32Array>("getBatches", queue),
      second.run<Int32Array>("getBatches", queue),
    ];
    let sent = 0;
    for (let round = 0; sent < 40_000; round++) {
      const numbers = Array.from({ length: 1 + round * 17 % 200 }, (_, i) => sent + i);
      if (round % 3 === 0) sent += await queue.putMany(numbers);
      else if (round % 3 === 1) sent += await queue.putMany(new Int32Array(numbers));
      else sent += queue.putManySync(new Float64Array(numbers), { timeout: 10_000 });
    }
    queue.close();
    const seen = new Uint8Array(sent);
    for (const list of await Promise.all(gets)) {
      let last = -1;
      for (const number of list) {
        seen[number]!++;
        assert(number > last, `${number} after ${last}`);
        last = number;
      }
    }
    assert(seen.every((count) => count === 1));
  },
);

Deno.test(
  "an agent that is asked to end gets a TerminatedError from what waits, and nothing is lost",
  TIMEOUT,
  async () => {
    using agent = new Agent(AGENTS);
    const full = fullQueue();
    const empty = new Queue<number>();
    const id = await agent.run<number>("idOf", empty);
    const seen = agent.run<string[]>("waitUntilStopped", full, empty);
    await until(() => waitingIn(empty, "get") === 2);
    requestStop(home(), id);
    assertEquals(await seen, [
      ...Array(6).fill("TerminatedError"),
      "undefined",
      "1",
      "1",
      "empty",
    ]);
    assertEquals([waitingIn(empty, "get"), waitingIn(full, "put"), full.size], [0, 0, 1]);
  },
);

// -- Death -----------------------------------------------------------------------------------------

for (const kind of ["item", "large item"]) {
  Deno.test(
    `an ${kind} that was assigned to an agent that died goes to another one`,
    TIMEOUT,
    async () => {
      const agent = new Agent(AGENTS);
      const queue = new Queue<Any>({ capacity: 64 });
      const value = kind === "item" ? "first" : "x".repeat(500);
      const id = await agent.run<number>("startGet", queue);
      const release = await hold(agent);
      await until(() => waitingIn(queue, "get") === 1);
      const put = queue.put(value);
      assertEquals(queue.tryGet(), { state: "empty" });
      const got = queue.get();
      assertEquals(await settlesSoon(got), false);
      bury(home(), id);
      assertEquals(await got, value);
      await put;
      assertEquals([queue.size, queue.unfinished], [0, 1]);
      queue.taskDone();
      assertThrows(() => queue.taskDone(), RangeError);
      assertEquals(queue.tryPut("goes on"), true);
      release();
    },
  );
}

Deno.test("room that was set aside for an agent that died is free again", TIMEOUT, async () => {
  const agent = new Agent(AGENTS);
  const queue = fullQueue();
  const id = await agent.run<number>("startPut", queue);
  const release = await hold(agent);
  await until(() => waitingIn(queue, "put") === 1);
  assertEquals(queue.getSync(), 0);
  assertEquals(queue.tryPut(1), false);
  const put = queue.put(2);
  bury(home(), id);
  await put;
  assertEquals([queue.size, queue.full, drain(queue)], [1, true, [2]]);
  release();
});

Deno.test("a dead agent's place in line keeps nobody from being served", TIMEOUT, async () => {
  const agent = new Agent(AGENTS);
  const queue = new Queue<number>();
  const id = await agent.run<number>("startGet", queue);
  const release = await hold(agent);
  await until(() => waitingIn(queue, "get") === 1);
  const got = queue.get();
  bury(home(), id);
  queue.putSync(1);
  assertEquals(await got, 1);
  release();
});

/** Blocks the agent's thread, so that it does nothing more; returns how to end it without a trace. */
async function hold(agent: Agent): Promise<() => void> {
  const flags = new Int32Array(new SharedArrayBuffer(8));
  agent.run("hold", flags).catch(() => {});
  await until(() => Atomics.load(flags, 0) === 1);
  return () => {
    // Asked to end while it is blocked, it ends as soon as it is not.
    agent[Symbol.dispose]();
    Atomics.store(flags, 1, 1);
    Atomics.notify(flags, 1);
  };
}

const NUMBER_KINDS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  ...("Float16Array" in globalThis
    ? [(globalThis as Any).Float16Array as typeof Float64Array]
    : []),
] as const as readonly (typeof Float64Array)[];

Deno.test("try forms see what is left behind this agent's own pending calls", async () => {
  const queue = new Queue<number>();
  const first = queue.get();
  queue.putSync(1);
  queue.putSync(2);
  assertEquals(queue.tryGet(), { state: "ok", value: 2 });
  assertEquals(await first, 1);
  const full = new Queue<number>({ maxItems: 2 });
  full.putManySync([1, 2]);
  const third = full.put(3);
  full.getSync();
  full.getSync();
  assertEquals([full.full, full.tryPut(4)], [false, true]);
  await third;
  assertEquals(full.getManySync(10), [3, 4]);
});

Deno.test("getMany() leaves to the calls behind it what is theirs", async () => {
  const queue = new Queue<number>();
  const many = queue.getMany(2);
  const one = queue.get();
  for (const item of [1, 2, 3]) queue.putSync(item);
  assertEquals([await many, await one, queue.getSync()], [[1], 2, 3]);
});

Deno.test("Queue: what stands in the place of options and is none is a TypeError", async () => {
  // deno-lint-ignore no-explicit-any
  const wrong = 10 as any;
  assertThrows(() => new Queue(wrong), TypeError, "options must be an object");
  const queue = new Queue<number>();
  await assertRejects(() => queue.get(wrong), TypeError, "options must be an object");
  assertThrows(() => queue.getSync(wrong), TypeError, "options must be an object");
  assertThrows(() => queue.putSync(1, wrong), TypeError, "options must be an object");
  assertEquals(queue.size, 0);
});

Deno.test("an item is put as it was, though what runs while the call blocks changes it", async () => {
  const [here, there] = pipe<number>({ capacity: 32 });
  const queue = new Queue<Uint8Array>({ maxItems: 1 });
  const bytes = new Uint8Array(40).fill(1);
  let isBlocked = false;
  function* values() {
    for (let i = 0; i < 20; i++) {
      if (isBlocked) {
        bytes.fill(2);
        // Makes room for what is being put.
        queue.tryGet();
      }
      yield i;
    }
  }
  queue.putSync(new Uint8Array(1));
  const sending = here.sendMany(values());
  assertEquals(await there.receive(), 0);
  isBlocked = true;
  queue.putSync(bytes, { timeout: 10_000 });
  assertEquals(bytes[0], 2);
  assertEquals(queue.tryGet(), { state: "ok", value: new Uint8Array(40).fill(1) });
  there.close();
  await sending;
});

Deno.test("a promise that waits is served while its agent blocks, though one before it is through", async () => {
  let isFirst = false;
  let isSecond = false;
  class Waiting extends Call {
    constructor(calls: Calls, readonly may: () => boolean) {
      super(calls);
    }
    protected step(): boolean {
      return this.may();
    }
    protected override get isAnnounced(): boolean {
      return true;
    }
  }
  const calls = new Calls(home(), () => {});
  const one = calls.run(new Waiting(calls, () => isFirst), Infinity, undefined, "wait");
  const second = new Waiting(calls, () => isSecond);
  const two = calls.run(second, Infinity, undefined, "wait");
  isFirst = true;
  calls.advance(undefined);
  await one;
  isSecond = true;
  whileServing({ poll: () => false, withdraw: () => true }).poll();
  const { hasEnded } = second;
  calls.advance(undefined);
  await two;
  assertEquals(hasEnded, true);
});

Deno.test("a put that blocks behind a promise puts its own item", async () => {
  const queue = new Queue<unknown>({ maxItems: 1 });
  queue.putSync(0);
  const one = queue.put(1);
  const two = queue.putMany((function* () {
    yield "a";
    yield "b";
  })());
  assertEquals(queue.getSync(), 0);
  await one;
  const source = `
    import { Queue } from "${new URL("../queue.ts", import.meta.url)}";
    onmessage = ({ data }) => {
      const queue = Queue.from(data);
      postMessage("ready");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      postMessage(Array.from({ length: 4 }, () => queue.getSync({ timeout: 5_000 })));
    };
  `;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  worker.postMessage(queue);
  await new Promise((resolve) => worker.onmessage = resolve);
  const got = new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
  queue.putSync("mine");
  assertEquals(await got, [1, "a", "b", "mine"]);
  assertEquals(await two, 2);
  worker.terminate();
  URL.revokeObjectURL(url);
});

Deno.test("many items that wait behind one put damage nothing", async () => {
  const queue = new Queue<unknown>({ capacity: 64 });
  let count = 0;
  while (queue.tryPut(count)) count++;
  const one = queue.put(101);
  const many = queue.putMany(["x".repeat(40)]);
  const got: unknown[] = [];
  for (let i = 0; i < count + 2; i++) got.push(await queue.get());
  await Promise.all([one, many]);
  assertEquals(got, [...Array(count).keys(), 101, "x".repeat(40)]);
});

Deno.test("a call settles though its input fails as it is stopped", async () => {
  function* values(): Generator<number> {
    try {
      for (;;) yield 1;
    } finally {
      // deno-lint-ignore no-unsafe-finally
      throw new RangeError("clean-up");
    }
  }
  const errors: unknown[] = [];
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    errors.push(event.error);
  };
  globalThis.addEventListener("error", onError);
  const queue = new Queue<number>({ maxItems: 1 });
  queue.putSync(0);
  let isSettled = false;
  queue.putMany(values(), { timeout: 5 }).catch(() => {}).finally(() => isSettled = true);
  await new Promise((resolve) => setTimeout(resolve, 100));
  globalThis.removeEventListener("error", onError);
  // So that nothing is left to wait for.
  queue.close();
  assertEquals([errors, isSettled], [[], true]);
});

Deno.test("an input that blocks as it is stopped does not line up a call that was closed in part", async () => {
  const queue = new Queue<number>({ maxItems: 1 });
  const other = new Queue();
  function* values(): Generator<number> {
    try {
      for (;;) yield 1;
    } finally {
      // Whoever blocks serves its promises.
      assertThrows(() => other.getSync({ timeout: 1 }), DOMException);
    }
  }
  const put = queue.putMany(values());
  queue.close();
  assertEquals([await put, queue.getSync()], [1, 1]);
  assertEquals(queue.full, false);
});

Deno.test("an item as long as a record can be is not larger than the storage", () => {
  const queue = new Queue({ capacity: 2 ** 27 });
  const bytes = new Uint8Array(2 ** 26);
  assertEquals([queue.tryPut(bytes), queue.tryPut(bytes)], [true, false]);
});
