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
import { encode } from "../_codec.ts";
import { GIVE } from "../_handle.ts";
import { ClosedError, DeadlockError } from "../errors.ts";
import { Connection, pipe, type Received, type RunArray, type WaitOptions } from "../pipe.ts";
import { Queue } from "../queue.ts";
import { ghost } from "./_workers.ts";
import {
  abortable,
  Agent,
  block,
  digestOf,
  mixedValue,
  patternOf,
  randomOf,
  settlesSoon,
  textOf,
  turn,
} from "./_helpers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;
type Ends = [Connection<Any, Any>, Connection<Any, Any>];

const AGENTS = new URL("./testdata/pipe_agents.ts", import.meta.url);
/** Ends a test that hangs, however it does. */
const TIMEOUT = { timeout: 30_000 };

/** A waiting call of an end, in its two waiting forms. */
interface Case {
  readonly name: string;
  readonly async: (end: Connection<Any, Any>, options?: WaitOptions) => Promise<unknown>;
  readonly sync: (end: Connection<Any, Any>, options?: { timeout?: number }) => unknown;
}

const BYTES = new Uint8Array([1, 2, 3]);

const SENDING: Case[] = [
  { name: "send", async: (c, o) => c.send(BYTES, o), sync: (c, o) => c.sendSync(BYTES, o) },
  {
    name: "sendMany",
    async: (c, o) => c.sendMany([BYTES, 1], o),
    sync: (c, o) => c.sendManySync([BYTES, 1], o),
  },
  {
    name: "sendMany of a typed array",
    async: (c, o) => c.sendMany(new Float64Array([1, 2]), o),
    sync: (c, o) => c.sendManySync(new Float64Array([1, 2]), o),
  },
  {
    name: "sendBytes",
    async: (c, o) => c.sendBytes(BYTES, o),
    sync: (c, o) => c.sendBytesSync(BYTES, o),
  },
];

const RECEIVING: Case[] = [
  { name: "receive", async: (c, o) => c.receive(o), sync: (c, o) => c.receiveSync(o) },
  {
    name: "receiveMany",
    async: (c, o) => c.receiveMany(2, o),
    sync: (c, o) => c.receiveManySync(2, o),
  },
  {
    name: "receiveManyInto",
    async: (c, o) => c.receiveManyInto(new Int32Array(2), o),
    sync: (c, o) => c.receiveManyIntoSync(new Int32Array(2), o),
  },
  {
    name: "receiveBytes",
    async: (c, o) => c.receiveBytes(o),
    sync: (c, o) => c.receiveBytesSync(o),
  },
  {
    name: "receiveBytesInto",
    async: (c, o) => c.receiveBytesInto(new Uint8Array(8), o),
    sync: (c, o) => c.receiveBytesIntoSync(new Uint8Array(8), o),
  },
];

const POLL: Case = { name: "poll", async: (c, o) => c.poll(o), sync: (c, o) => c.pollSync(o) };

/** What fills a pipe of 64 bytes. */
const FILLING: number[] = Array(16).fill(0);

/** A pipe whose first end can send nothing more. */
function fullPipe(): Ends {
  const ends: Ends = pipe({ capacity: 64 });
  while (ends[0].trySend(0));
  return ends;
}

/** Takes what is there. */
function drain(end: Connection<Any, Any>): unknown[] {
  const got: unknown[] = [];
  for (let next = end.tryReceive(); next.state === "ok"; next = end.tryReceive()) {
    got.push(next.value);
  }
  return got;
}

async function assertTimeout(promise: Promise<unknown>): Promise<void> {
  const error = await assertRejects(() => promise, DOMException);
  assertEquals(error.name, "TimeoutError");
  assertMatch(error.message, /^Cannot [a-z ]+: [0-9]+ ms passed$/);
}

function assertTimeoutSync(call: () => unknown): void {
  const error = assertThrows(call, DOMException);
  assertEquals(error.name, "TimeoutError");
  assertMatch(error.message, /^Cannot [a-z ]+: [0-9]+ ms passed$/);
}

function assertDataClone(call: () => unknown): void {
  assertEquals(assertThrows(call, DOMException).name, "DataCloneError");
}

// -- Creation --------------------------------------------------------------------------------------

Deno.test("pipe() returns two ends that carry messages both ways", async () => {
  const [here, there] = pipe<string, number>();
  assertInstanceOf(here, Connection);
  assertInstanceOf(there, Connection);
  await here.send("a");
  await there.send(1);
  assertEquals([await there.receive(), await here.receive()], ["a", 1]);
});

Deno.test("pipe() stores 65,536 bytes for each direction unless told otherwise", () => {
  for (const options of [undefined, {}, { capacity: undefined }] as Any[]) {
    const [here, there] = pipe(options);
    // A small integer takes four bytes.
    for (const end of [here, there]) {
      let count = 0;
      while (end.trySend(count)) count++;
      assertEquals(count, 16_384);
    }
  }
});

Deno.test("pipe() refuses a capacity that is not a positive integer", () => {
  for (const capacity of [0, -1, 1.5, NaN, Infinity, -Infinity, 2 ** 31]) {
    const error = assertThrows(
      () => pipe({ capacity }),
      RangeError,
      "Cannot create pipe as capacity",
    );
    assertMatch(error.message, new RegExp(`: current value is ${capacity}$`));
  }
  for (const capacity of ["64", null, {}, 64n, true] as Any[]) {
    assertThrows(() => pipe({ capacity }), TypeError, "Cannot create pipe as capacity");
  }
});

Deno.test("pipe() refuses what is no boolean as duplex", () => {
  for (const duplex of [null, 0, 1, "x", {}]) {
    assertThrows(() => pipe({ duplex } as Any), TypeError, "duplex must be a boolean");
  }
});

Deno.test("pipe({ duplex: false }) makes the first end receive only and the second send only", async () => {
  const [first, second] = pipe<number>({ duplex: false }) as Ends;
  second.sendSync(1);
  assertEquals(first.receiveSync(), 1);
  for (const { name, async, sync } of SENDING) {
    await assertRejects(() => async(first), TypeError, "Cannot send", name);
    assertThrows(() => sync(first), TypeError, "only receives", name);
  }
  assertThrows(
    () => first.trySend(1),
    TypeError,
    "Cannot send: this end of the pipe only receives",
  );
  for (const { name, async, sync } of [...RECEIVING, POLL]) {
    await assertRejects(() => async(second), TypeError, "only sends", name);
    assertThrows(() => sync(second), TypeError, "Cannot ", name);
  }
  assertThrows(() => second.tryReceive(), TypeError, "Cannot receive");
  await second.sendMany([2, 3]);
  second.close();
  assertEquals([...first], [2, 3]);
});

Deno.test("an end that only receives can be closed, and the sender learns of it", () => {
  const [first, second] = pipe<number>({ duplex: false });
  first.close();
  const error = assertThrows(() => second.trySend(7 as never), ClosedError);
  assertEquals(error.value, 7);
});

// -- Values ----------------------------------------------------------------------------------------

Deno.test("values arrive as structured clone makes them, first sent first received", async () => {
  const [here, there] = pipe();
  for (let i = 0; i < 320; i++) {
    const value = mixedValue(i);
    if (i % 3 === 0) await here.send(value);
    else if (i % 3 === 1) here.sendSync(value);
    else assert(here.trySend(value));
  }
  for (let i = 0; i < 320; i++) {
    const got = i % 2 === 0 ? await there.receive() : there.receiveSync();
    assertEquals(textOf(got), textOf(mixedValue(i)), `value ${i}`);
  }
});

Deno.test("no value looks like nothing: undefined, null, NaN, empty and the like are messages", () => {
  const [here, there] = pipe();
  const values = [undefined, null, NaN, -0, 0, false, "", 0n, [], {}, new Uint8Array(0)];
  assertEquals(here.sendManySync(values), values.length);
  for (const value of values) assertEquals(there.tryReceive(), { state: "ok", value });
  assertEquals(there.tryReceive(), { state: "empty" });
});

Deno.test("a message is a value: later changes by the sender are not seen", async () => {
  const [here, there] = fullPipe();
  const object = { list: [1] };
  const bytes = new Uint8Array([1]);
  const waiting = [here.send(object), here.send(bytes), here.sendBytes(bytes)];
  object.list.push(2);
  bytes[0] = 9;
  drain(there);
  await Promise.all(waiting);
  assertEquals(drain(there), [{ list: [1] }, new Uint8Array([1]), new Uint8Array([1])]);
});

Deno.test("an unsupported value is a DataCloneError in the sender and sends nothing", async () => {
  const [here, there] = pipe<Any>();
  const unsupported: unknown[] = [
    () => {},
    Symbol("s"),
    { deep: [new Map([["f", () => {}]])] },
    new WeakMap(),
    Promise.resolve(),
    new SharedArrayBuffer(8),
    new Uint8Array(new SharedArrayBuffer(8)),
    new Proxy({}, {}),
    pipe()[0],
    [new Queue()],
  ];
  for (const value of unsupported) {
    const rejection = await assertRejects(() => here.send(value), DOMException);
    assertEquals(rejection.name, "DataCloneError");
    assertDataClone(() => here.sendSync(value));
    assertDataClone(() => here.trySend(value));
    assertDataClone(() => here.sendManySync([value]));
    assertEquals(there.tryReceive(), { state: "empty" });
    assertEquals(there.pollSync({ timeout: 0 }), false);
  }
  assertEquals(here.trySend("still works"), true);
  assertEquals(there.receiveSync(), "still works");
});

Deno.test("an unsupported value is a DataCloneError also while there is no room, and nothing waits", async () => {
  const [here, there] = fullPipe();
  assertEquals(
    (await assertRejects(() => here.send(() => {}), DOMException)).name,
    "DataCloneError",
  );
  drain(there);
  assertEquals(here.trySend(1), true);
});

Deno.test("a getter that throws throws that error, and nothing is sent", async () => {
  const [here, there] = pipe<Any>();
  const reason = new Error("mine");
  const value = {
    a: 1,
    get b(): never {
      throw reason;
    },
  };
  assertStrictEquals(await here.send(value).catch((error) => error), reason);
  assertStrictEquals(assertThrows(() => here.sendSync(value)), reason);
  assertStrictEquals(assertThrows(() => here.trySend(value)), reason);
  assertEquals(there.tryReceive(), { state: "empty" });
});

Deno.test("what an array's accessor sends after it has ended sendMany() comes behind what went before", async () => {
  for (const isAborted of [true, false]) {
    const [here, there] = pipe<Any>({ capacity: 1_024 });
    const { signal, abort } = abortable();
    const values: Any[] = ["x".repeat(900), "y".repeat(900), 1, 2, 3, 4, 5];
    Object.defineProperty(values, 5, {
      get() {
        if (isAborted) abort("stop");
        assertEquals(here.trySend("from the accessor"), isAborted);
        return 4;
      },
    });
    const sent = here.sendMany(values, { signal });
    await turn();
    const got: Any[] = [(await there.receive()).length];
    await turn();
    got.push((await there.receive()).length);
    const count = await sent;
    got.push(...there.receiveManySync(20));
    const rest = isAborted ? [1, 2, 3, "from the accessor"] : [1, 2, 3, 4, 5];
    assertEquals([count, ...got], [isAborted ? 5 : 7, 900, 900, ...rest]);
  }
});

Deno.test("a getter that sends on the same pipe gets its message in before the one that is encoded", () => {
  const [here, there] = pipe<Any>();
  here.sendSync({
    a: 1,
    get b() {
      here.sendSync("from the getter");
      return 2;
    },
  });
  assertEquals(there.receiveManySync(3), ["from the getter", { a: 1, b: 2 }]);
});

// -- Forms, order and time -------------------------------------------------------------------------

Deno.test("trySend() answers false when there is no room, and the message is not sent", () => {
  const [here, there] = fullPipe();
  assertEquals(here.trySend("refused"), false);
  assertEquals(drain(there), FILLING);
  assertEquals(here.trySend("taken"), true);
  assertEquals(drain(there), ["taken"]);
});

Deno.test("room is there again after every single message that was received", () => {
  const [here, there] = fullPipe();
  for (let i = 0; i < 100; i++) {
    assertEquals(here.trySend(i), false);
    there.receiveSync();
    assertEquals(here.trySend(i), true);
  }
});

Deno.test("tryReceive() tells a message, nothing yet and the end apart", () => {
  const [here, there] = pipe<number>();
  const states: Received<number>[] = [there.tryReceive()];
  here.sendSync(1);
  states.push(there.tryReceive(), there.tryReceive());
  here.sendSync(2);
  here.close();
  states.push(there.tryReceive(), there.tryReceive(), there.tryReceive());
  assertEquals(states, [
    { state: "empty" },
    { state: "ok", value: 1 },
    { state: "empty" },
    { state: "ok", value: 2 },
    { state: "closed" },
    { state: "closed" },
  ]);
});

Deno.test("calls that are not awaited take effect in the order in which they were made", async () => {
  const [here, there] = fullPipe();
  const big = "b".repeat(300);
  const sends = [here.send(1), here.sendMany([2, 3]), here.sendBytes(BYTES), here.send(big)];
  sends.push(here.sendMany(new Int8Array([4, 5])), here.send(6));
  assertEquals(here.trySend("too early"), false);
  const got: unknown[] = [];
  const receives = Array.from({ length: 24 }, async () => got.push(await there.receive()));
  assertEquals(there.tryReceive(), { state: "empty" });
  await Promise.all([...sends, ...receives]);
  assertEquals(got, [...FILLING, 1, 2, 3, BYTES, big, 4, 5, 6]);
});

Deno.test("a Sync call waits its turn behind promises of the same agent", async () => {
  const [here, there] = pipe<number>();
  const early = [there.receive(), there.receiveMany(2)];
  here.sendManySync([1, 2, 3, 4]);
  assertEquals(there.receiveSync(), 4);
  assertEquals(await Promise.all(early), [1, [2, 3]] as Any);
});

Deno.test("a Sync call is served by a promise of the same agent that waits at the other end", async () => {
  const [here, there] = fullPipe();
  const big = "x".repeat(500);
  const sends = [here.send("next"), here.send(big), here.sendMany(["last", 7])];
  const got = Array.from({ length: 20 }, () => there.receiveSync());
  assertEquals(got, [...FILLING, "next", big, "last", 7]);
  await Promise.all(sends);

  const receives = [there.receive(), there.receive()];
  for (let i = 0; i < 10; i++) here.sendSync(i);
  assertEquals(await Promise.all(receives), [0, 1]);
});

for (const { name, async, sync } of SENDING) {
  Deno.test(`${name}: a timeout of 0 or less tries once, a longer one waits, and nothing is sent`, async () => {
    const [here, there] = fullPipe();
    for (const timeout of [0, -1, -Infinity, 5]) {
      await assertTimeout(async(here, { timeout }));
      assertTimeoutSync(() => sync(here, { timeout }));
    }
    assertEquals(drain(there), FILLING);
    await async(here, { timeout: 0 });
    sync(here, { timeout: -1 });
    assert(drain(there).length >= 2);
  });
}

for (const { name, async, sync } of RECEIVING) {
  Deno.test(`${name}: a timeout of 0 or less tries once, a longer one waits, and nothing is lost`, async () => {
    const [here, there] = pipe<Any>();
    for (const timeout of [0, -1, -Infinity, 5]) {
      await assertTimeout(async(there, { timeout }));
      assertTimeoutSync(() => sync(there, { timeout }));
    }
    const isBytes = name.startsWith("receiveBytes");
    const message = isBytes ? BYTES : 42;
    here.sendManySync([message, "behind"]);
    const early = await async(there, { timeout: 0 }).catch((error) => error);
    const expected = [42, [42, "behind"], 1, BYTES, 3][RECEIVING.findIndex((c) => c.name === name)];
    assertEquals(early, expected);
    assertEquals(drain(there), name === "receiveMany" ? [] : ["behind"]);
    here.sendSync(message);
    sync(there, { timeout: 0 });
  });
}

Deno.test("poll() answers false when the time has passed", async () => {
  const [here, there] = pipe<number>();
  for (const timeout of [0, -1, -Infinity, 5]) {
    assertEquals(await there.poll({ timeout }), false);
    assertEquals(there.pollSync({ timeout }), false);
  }
  here.sendSync(1);
  for (const timeout of [0, -1, 5, Infinity]) {
    assertEquals(await there.poll({ timeout }), true);
    assertEquals(there.pollSync({ timeout }), true);
  }
  assertEquals(there.receiveSync(), 1);
});

for (const { name, async, sync } of [...SENDING, ...RECEIVING, POLL]) {
  Deno.test(`${name}: a timeout that is NaN is a RangeError, one that is no number a TypeError`, async () => {
    const [here, there] = pipe<Any>();
    here.sendManySync([BYTES, 1]);
    const end = SENDING.some((c) => c.name === name) ? here : there;
    await assertRejects(() => async(end, { timeout: NaN }), RangeError, "Cannot ");
    assertThrows(() => sync(end, { timeout: NaN }), RangeError, "timeout must be a number");
    for (const timeout of ["5", null, {}, 5n, true, () => 5] as Any[]) {
      await assertRejects(() => async(end, { timeout }), TypeError, "Cannot ");
      assertThrows(() => sync(end, { timeout }), TypeError, "timeout must be a number");
    }
    for (const signal of ["x", null, {}, 1] as Any[]) {
      await assertRejects(() => async(end, { signal }), TypeError, "signal must be an AbortSignal");
    }
    assertEquals(drain(there), [BYTES, 1]);
  });

  Deno.test(`${name}: an aborted signal rejects with its reason, whatever else is wrong`, async () => {
    const [here, there] = pipe<Any>();
    here.sendManySync([BYTES, 1]);
    const end = SENDING.some((c) => c.name === name) ? here : there;
    const reason = { my: "reason" };
    const signal = AbortSignal.abort(reason);
    assertStrictEquals(await async(end, { signal }).catch((error) => error), reason);
    const bad = { signal, timeout: NaN };
    assertStrictEquals(await async(end, bad).catch((error) => error), reason);
    assertEquals(drain(there), [BYTES, 1]);
    end.close();
    assertStrictEquals(await async(end, bad).catch((error) => error), reason);
    const [receiver, sender] = pipe<Any>({ duplex: false });
    const wrong = end === here ? receiver : sender;
    assertStrictEquals(await async(wrong, bad).catch((error) => error), reason);
    const undefinedReason: Any = await async(end, { signal: AbortSignal.abort() }).catch((e) => e);
    assertEquals(undefinedReason.name, "AbortError");
  });
}

for (const { name, async } of SENDING) {
  Deno.test(`${name}: an abort while it waits rejects with the reason and sends nothing`, async () => {
    const [here, there] = fullPipe();
    const { signal, abort } = abortable();
    const first = async(here, { signal });
    const behind = here.send("behind");
    const reason = new Error("enough");
    abort(reason);
    assertStrictEquals(await first.catch((error) => error), reason);
    assertEquals(drain(there), FILLING);
    await behind;
    assertEquals(drain(there), ["behind"]);
  });
}

for (const { name, async } of RECEIVING) {
  Deno.test(`${name}: an abort while it waits rejects with the reason and takes nothing`, async () => {
    const [here, there] = pipe<Any>();
    const { signal, abort } = abortable();
    const first = async(there, { signal });
    const behind = there.receive();
    const reason = new Error("enough");
    abort(reason);
    assertStrictEquals(await first.catch((error) => error), reason);
    here.sendSync("for the one behind");
    assertEquals(await behind, "for the one behind");
  });
}

Deno.test("poll() rejects when its signal fires, and takes nothing", async () => {
  const [here, there] = pipe<number>();
  const { signal, abort } = abortable();
  const polled = there.poll({ signal });
  abort("reason");
  assertEquals(await polled.catch((error) => error), "reason");
  here.sendSync(1);
  assertEquals(await there.receive(), 1);
});

Deno.test("a wait leaves no listener on its signal", async () => {
  const [here, there] = pipe<number>();
  const { signal, abort } = abortable();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Any[]) => {
    listeners++;
    Reflect.apply(addEventListener, signal, args);
  };
  signal.removeEventListener = (...args: Any[]) => {
    listeners--;
    Reflect.apply(removeEventListener, signal, args);
  };
  const got = there.receive({ signal, timeout: 60_000 });
  assertEquals(listeners, 1);
  here.sendSync(1);
  await got;
  await assertTimeout(there.receive({ signal, timeout: 1 }));
  assertEquals(listeners, 0);
  abort();
});

Deno.test("a message that came before the time was looked at is received, not lost", async () => {
  const [here, there] = pipe<number>();
  const got = there.receive({ timeout: 5 });
  // The timer is due before the promise can hear of the message.
  block(20);
  here.sendSync(1);
  const outcome = await got.catch((error) => error.name);
  assertEquals(outcome === "TimeoutError" ? drain(there) : [outcome], [1]);
});

Deno.test("promises of calls reject, they never throw at the call", async () => {
  const [here] = pipe<Any>();
  const bad: Any = "bad";
  const calls: (() => Promise<unknown>)[] = [
    () => here.send(() => {}),
    () => here.send(1, { timeout: NaN }),
    () => here.sendMany(5 as Any),
    () => here.sendBytes(bad),
    () => here.receive({ timeout: bad }),
    () => here.receiveMany(0),
    () => here.receiveManyInto(bad),
    () => here.receiveBytesInto(bad),
    () => here.poll({ timeout: NaN }),
  ];
  for (const call of calls) {
    const promise = call();
    assertInstanceOf(promise, Promise);
    await assertRejects(() => promise);
  }
});

Deno.test("a Sync call that only this agent could end is a DeadlockError instead of a hang", () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  there.tryReceive();
  here.tryReceive();
  for (const { name, sync } of RECEIVING) {
    assertThrows(() => sync(there), DeadlockError, "Cannot receive", name);
  }
  while (here.trySend(0));
  for (const { name, sync } of SENDING) {
    assertThrows(() => sync(here), DeadlockError, "Cannot send", name);
  }
  assertEquals(drain(there), FILLING);
});

// -- Many ------------------------------------------------------------------------------------------

Deno.test("sendMany() takes any iterable and says how many went through", async () => {
  const [here, there] = pipe<Any>();
  function* generate() {
    yield "g";
    yield { g: 1 };
  }
  assertEquals(await here.sendMany([1, "a", null]), 3);
  assertEquals(here.sendManySync(new Set(["s"])), 1);
  assertEquals(await here.sendMany(generate()), 2);
  assertEquals(here.sendManySync("xy"), 2);
  assertEquals(here.sendManySync([]), 0);
  assertEquals(here.sendManySync(new Float64Array(0)), 0);
  assertEquals(here.sendManySync([, 1] as Any), 2);
  assertEquals(drain(there), [1, "a", null, "s", "g", { g: 1 }, "x", "y", undefined, 1]);
  for (const bad of [5, undefined, null, {}, new DataView(new ArrayBuffer(8)), () => {}] as Any[]) {
    await assertRejects(
      () => here.sendMany(bad),
      TypeError,
      "Cannot send as an iterable is needed",
    );
    assertThrows(() => here.sendManySync(bad), TypeError, "Cannot send as an iterable is needed");
  }
});

Deno.test("sendMany() of every kind of typed array sends its elements", () => {
  for (const Kind of NUMBER_KINDS) {
    const values = new Kind([0, 1, 2.5, 200, -3]);
    const [here, there] = pipe<Any>();
    assertEquals(here.sendManySync(values as RunArray), 5);
    assertEquals(drain(there), [...values], Kind.name);
    assertEquals(here.sendManySync(values.subarray(1, 3) as RunArray), 2);
    assertEquals(there.receiveManySync(9), [...values.subarray(1, 3)], Kind.name);
  }
  for (const Kind of [BigInt64Array, BigUint64Array]) {
    const values = new Kind([0n, 1n, -1n, 2n ** 63n]);
    const [here, there] = pipe<Any>();
    assertEquals(here.sendManySync(values), 4);
    assertEquals(drain(there), [...values], Kind.name);
  }
  const [here, there] = pipe<Any>();
  const shared = new Int16Array(new SharedArrayBuffer(8));
  shared[2] = 7;
  here.sendManySync(shared);
  assertEquals(drain(there), [0, 0, 7, 0]);
});

Deno.test("sendMany() returns how many went through when the time runs out, if any did", async () => {
  for (
    const values of [
      Array.from({ length: 20 }, (_, i) => i),
      new Int32Array(20).map((_, i) => i),
    ]
  ) {
    for (const timeout of [0, 5]) {
      const [here, there] = pipe<Any>({ capacity: 64 });
      const count = await here.sendMany(values, { timeout });
      assert(count >= 8 && count < 20, `${count}`);
      assertEquals(drain(there), [...values].slice(0, count));
      assertEquals(here.sendManySync(values, { timeout }), count);
      assertTimeoutSync(() => here.sendManySync(values, { timeout }));
      await assertTimeout(here.sendMany(values, { timeout }));
      assertEquals(drain(there), [...values].slice(0, count));
    }
  }
});

Deno.test("sendMany() of a typed array sends what there is room for, as single calls would", () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  for (const [sent, more] of [[14, 1], [15, 1], [13, 1], [12, 3], [16, 0]] as const) {
    for (let i = 0; i < sent; i++) here.sendSync(i);
    // Of what is left, up to three words hold but a single number.
    const count = () => here.sendManySync(new Int32Array([7, 8, 9, 10]), { timeout: 0 });
    if (more > 0) assertEquals(count(), more, `after ${sent}`);
    else assertTimeoutSync(count);
    assertEquals(drain(there), [...Array(sent).keys(), ...[7, 8, 9].slice(0, more)]);
  }
});

Deno.test("sendMany() returns how many went through when its signal fires, if any did", async () => {
  for (
    const values of [
      Array.from({ length: 20 }, (_, i) => i),
      new Int32Array(20).map((_, i) => i),
    ]
  ) {
    const [here, there] = pipe<Any>({ capacity: 64 });
    const { signal, abort } = abortable();
    const sent = here.sendMany(values, { signal });
    abort();
    const count = await sent;
    assert(count >= 8 && count < 20, `${count}`);
    assertEquals(drain(there), [...values].slice(0, count));
  }
});

Deno.test("sendMany() returns how many went through when the other end closes, if any did", async () => {
  for (const values of [Array.from({ length: 20 }, (_, i) => i), new Int32Array(20)]) {
    const [here, there] = pipe<Any>({ capacity: 64 });
    const sent = here.sendMany(values);
    there.close();
    const count = await sent;
    assert(count >= 8 && count < 20, `${count}`);
    const error = await assertRejects(() => here.sendMany([...values]), ClosedError);
    assertEquals(error.value, values[0]);
    assertThrows(() => here.sendManySync(values), ClosedError, "Cannot send");
  }
});

Deno.test("sendMany() reads its input at most one item ahead", async () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  let read = 0;
  function* count() {
    for (;;) yield read++;
  }
  const { signal, abort } = abortable();
  const sent = here.sendMany(count(), { signal });
  assertEquals(read, 17);
  there.receiveSync();
  await settlesSoon(sent);
  assertEquals(read, 18);
  abort();
  assertEquals(await sent, 17);
  assertEquals(drain(there), Array.from({ length: 16 }, (_, i) => i + 1));
});

Deno.test("sendMany() ends with the error of its input, after the items before it went through", async () => {
  const [here, there] = pipe<Any>();
  const reason = new Error("input");
  function* failing() {
    yield 1;
    yield { two: 2 };
    throw reason;
  }
  assertStrictEquals(await here.sendMany(failing()).catch((error) => error), reason);
  assertEquals(drain(there), [1, { two: 2 }]);
  assertStrictEquals(assertThrows(() => here.sendManySync(failing())), reason);
  assertEquals(drain(there), [1, { two: 2 }]);
  const broken: Any = {
    [Symbol.iterator]() {
      throw reason;
    },
  };
  assertStrictEquals(await here.sendMany(broken).catch((error) => error), reason);
  assertEquals(here.trySend("usable"), true);
});

Deno.test("sendMany() ends with a DataCloneError at an unsupported item, after those before it", async () => {
  for (const bad of [() => {}, Symbol("s"), { f: () => {} }]) {
    const [here, there] = pipe<Any>();
    const error = await assertRejects(() => here.sendMany([1, "two", bad, 4]), DOMException);
    assertEquals(error.name, "DataCloneError");
    assertEquals(drain(there), [1, "two"]);
    assertDataClone(() => here.sendManySync(new Set([1, bad, 4])));
    assertEquals(drain(there), [1]);
    assertDataClone(() => here.sendManySync([bad]));
    assertEquals(drain(there), []);
  }
});

Deno.test("sendMany() closes its input when it ends early", async () => {
  const ends: [string, (c: Connection<Any, Any>, g: Iterable<Any>, peer: Any) => unknown][] = [
    ["timeout 0", (c, g) => c.sendMany(g, { timeout: 0 })],
    ["timeout", (c, g) => c.sendManySync(g, { timeout: 2 })],
    ["abort", (c, g) => {
      const { signal, abort } = abortable();
      const sent = c.sendMany(g, { signal });
      abort();
      return sent;
    }],
    ["close", (c, g) => {
      const sent = c.sendMany(g);
      c.close();
      return sent;
    }],
    ["other end", (c, g, peer) => {
      const sent = c.sendMany(g);
      peer.close();
      return sent;
    }],
  ];
  for (const [name, end] of ends) {
    const [here, there] = pipe<Any>({ capacity: 64 });
    let closed = 0;
    const input = function* (): Generator<number> {
      try {
        for (;;) yield 1;
      } finally {
        closed++;
      }
    };
    try {
      await end(here, input(), there);
    } catch (error) {
      assertInstanceOf(error, ClosedError);
    }
    assertEquals(closed, 1, name);
  }
  const [here] = pipe<Any>();
  let closed = 0;
  function* unsupported() {
    try {
      yield 1;
      yield () => {};
    } finally {
      closed++;
    }
  }
  await assertRejects(() => here.sendMany(unsupported()), DOMException);
  assertEquals(closed, 1);
});

Deno.test("receiveMany() waits for the first and takes what is there, up to its limit", async () => {
  const [here, there] = pipe<Any>();
  const got = there.receiveMany(2);
  here.sendManySync([1, "a", { b: 2 }, 3]);
  assertEquals(await got, [1, "a"]);
  assertEquals(await there.receiveMany(1), [{ b: 2 }]);
  assertEquals(there.receiveManySync(1_000_000), [3]);
  here.sendManySync(new Uint8Array([1, 2, 3]));
  here.close();
  assertEquals(there.receiveManySync(2), [1, 2]);
  assertEquals(there.receiveManySync(2), [3]);
  assertThrows(() => there.receiveManySync(2), ClosedError);
});

Deno.test("receiveMany() refuses a limit that is not a positive integer", async () => {
  const [here, there] = pipe<Any>();
  here.sendSync(1);
  for (const max of [0, -1, 1.5, NaN, Infinity]) {
    await assertRejects(() => there.receiveMany(max), RangeError, "Cannot receive as max");
    assertThrows(() => there.receiveManySync(max), RangeError, "Cannot receive as max");
  }
  for (const max of ["1", undefined, null, 1n] as Any[]) {
    await assertRejects(() => there.receiveMany(max), TypeError, "Cannot receive as max");
    assertThrows(() => there.receiveManySync(max), TypeError, "Cannot receive as max");
  }
  assertEquals(drain(there), [1]);
});

Deno.test("receiveManyInto() converts numbers as a typed array does, whatever they were sent as", () => {
  const numbers = [0, 1, -1, 2.7, 300, 2 ** 31, 2 ** 40 + 3, NaN, Infinity, -0, 1e-45];
  for (const Target of NUMBER_KINDS) {
    const expected = Target.from(numbers);
    const target = new Target(numbers.length + 1);
    const [here, there] = pipe<Any>();
    here.sendManySync(numbers);
    assertEquals(there.receiveManyIntoSync(target as RunArray), numbers.length, Target.name);
    assertEquals([...target.subarray(0, -1)], [...expected], Target.name);
    for (const Source of NUMBER_KINDS) {
      const source = Source.from(numbers);
      here.sendManySync(source as RunArray);
      const into = new Target(numbers.length);
      assertEquals(there.receiveManyIntoSync(into as RunArray), numbers.length);
      assertEquals([...into], [...Target.from(source)], `${Source.name} into ${Target.name}`);
    }
  }
  for (const Target of [BigInt64Array, BigUint64Array]) {
    const bigints = [0n, -1n, 2n ** 63n, 2n ** 64n + 5n, -(2n ** 70n)];
    const [here, there] = pipe<Any>();
    here.sendManySync(bigints);
    const target = new Target(9);
    assertEquals(there.receiveManyIntoSync(target), 5);
    assertEquals([...target.subarray(0, 5)], [...Target.from(bigints)]);
    for (const Source of [BigInt64Array, BigUint64Array]) {
      here.sendManySync(Source.from(bigints));
      assertEquals(there.receiveManyIntoSync(target), 5);
      assertEquals([...target.subarray(0, 5)], [...Target.from(bigints)]);
    }
  }
});

Deno.test("receiveManyInto() takes part of a run and leaves the rest, for any form", async () => {
  const [here, there] = pipe<Any>();
  here.sendManySync(new Int16Array([1, 2, 3, 4, 5, 6, 7, 8, 9]));
  const two = new Int16Array(2);
  assertEquals(await there.receiveManyInto(two), 2);
  assertEquals([...two], [1, 2]);
  assertEquals(there.receiveSync(), 3);
  const four = new Float32Array(4).subarray(1, 3);
  assertEquals(there.receiveManyIntoSync(four), 2);
  assertEquals([...four], [4, 5]);
  assertEquals(there.receiveManySync(2), [6, 7]);
  assertEquals(drain(there), [8, 9]);
});

Deno.test("receiveManyInto() ends before a value that is no number, which is a TypeError only as the first", async () => {
  const others = ["3", null, undefined, true, 3n, [3], new Uint8Array([3]), "x".repeat(500)];
  for (const other of others) {
    const [here, there] = pipe<Any>({ capacity: 256 });
    const sent = here.sendMany([1, 2, other, 4]);
    const target = new Float64Array(8);
    assertEquals(await there.receiveManyInto(target), 2);
    assertEquals([...target.subarray(0, 3)], [1, 2, 0]);
    // An oversize one is known once it is whole.
    await there.poll();
    await assertRejects(() => there.receiveManyInto(target), TypeError, "Cannot receive");
    assertThrows(() => there.receiveManyIntoSync(target), TypeError, "Cannot receive");
    assertEquals(await there.receive(), other);
    assertEquals(await there.receiveManyInto(target), 1);
    assertEquals(target[0], 4);
    await sent;
  }
  const [here, there] = pipe<Any>();
  here.sendManySync(new Int8Array([1]));
  assertThrows(() => there.receiveManyIntoSync(new BigInt64Array(1)), TypeError, "bigint");
  here.sendManySync(new BigInt64Array([2n]));
  assertEquals(there.receiveManyIntoSync(new Int32Array(2)), 1);
  assertThrows(() => there.receiveManyIntoSync(new Int32Array(2)), TypeError, "number");
  assertEquals(drain(there), [2n]);
});

Deno.test("receiveManyInto() refuses what is no typed array, and an empty one", async () => {
  const [here, there] = pipe<Any>();
  here.sendSync(1);
  for (const Kind of [Int8Array, Float64Array, BigInt64Array]) {
    const empty = new Kind(0);
    await assertRejects(() => there.receiveManyInto(empty), RangeError, "Cannot receive");
    assertThrows(() => there.receiveManyIntoSync(empty), RangeError, "Cannot receive");
  }
  for (
    const bad of [[], [1], null, undefined, 4, new ArrayBuffer(8), new DataView(new ArrayBuffer(8))]
  ) {
    await assertRejects(() => there.receiveManyInto(bad as Any), TypeError, "Cannot receive");
    assertThrows(() => there.receiveManyIntoSync(bad as Any), TypeError, "Cannot receive");
  }
  assertEquals(drain(there), [1]);
});

// -- Bytes -----------------------------------------------------------------------------------------

Deno.test("bytes sent in any form are received in any form", async () => {
  const [here, there] = pipe<Any>();
  const sends: ((bytes: Uint8Array) => unknown)[] = [
    (b) => here.send(b),
    (b) => here.sendSync(b),
    (b) => here.trySend(b),
    (b) => here.sendMany([b]),
    (b) => here.sendBytes(b),
    (b) => here.sendBytesSync(b),
  ];
  for (const length of [0, 1, 3, 4, 63, 64, 65, 1000]) {
    const bytes = crypto.getRandomValues(new Uint8Array(length));
    for (const send of sends) {
      for (let i = 0; i < 6; i++) await send(bytes);
      const target = new Uint8Array(length + 2);
      assertEquals(await there.receive(), bytes);
      assertEquals(there.receiveSync(), bytes);
      assertEquals(await there.receiveBytes(), bytes);
      assertEquals(there.receiveBytesSync(), bytes);
      assertEquals(await there.receiveBytesInto(target), length);
      assertEquals(there.receiveBytesIntoSync(target), length);
      assertEquals(target.subarray(0, length), bytes);
    }
  }
});

Deno.test("a small message behind a large one that gives up goes at once", async () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  here.sendBytesSync(new Uint8Array(40));
  const large = here.sendBytes(new Uint8Array(40), { timeout: 5 });
  const small = here.send(1);
  await assertRejects(() => large, DOMException);
  assert(await settlesSoon(small), "it waits for the other end");
  assertEquals([there.receiveSync(), there.receiveSync()], [new Uint8Array(40), 1]);
});

Deno.test("receiveBytesInto() copies also what is so large that its memory is not kept", async () => {
  const [here, there] = pipe<Any>();
  const bytes = new Uint8Array(3 << 20).fill(7);
  const target = new Uint8Array(bytes.length);
  const sent = here.sendBytes(bytes);
  assertEquals(await there.receiveBytesInto(target), bytes.length);
  await sent;
  assertEquals(target.indexOf(0), -1);
});

Deno.test("received bytes are a plain Uint8Array in memory of their own", () => {
  const [here, there] = pipe<Any>();
  const whole = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  here.sendBytesSync(whole.subarray(2, 5));
  here.sendSync(whole.subarray(2, 5));
  for (let i = 0; i < 2; i++) {
    const got = there.receiveSync();
    assertStrictEquals(Object.getPrototypeOf(got), Uint8Array.prototype);
    assertEquals(got.buffer.byteLength, 3);
    assertEquals(got.byteOffset, 0);
  }
  here.sendBytesSync(new Uint8Array(new SharedArrayBuffer(2)));
  assertInstanceOf(there.receiveBytesSync().buffer, ArrayBuffer);
});

Deno.test("receiveBytes() of another message is a TypeError, and the message stays", async () => {
  for (const other of ["text", 1, 1.5, null, [1], new Int8Array([1]), new ArrayBuffer(3)]) {
    const [here, there] = pipe<Any>();
    here.sendSync(other);
    await assertRejects(() => there.receiveBytes(), TypeError, "Cannot receive bytes");
    assertThrows(() => there.receiveBytesSync(), TypeError, "Cannot receive bytes");
    const target = new Uint8Array(50);
    await assertRejects(() => there.receiveBytesInto(target), TypeError, "Cannot receive bytes");
    assertThrows(() => there.receiveBytesIntoSync(target), TypeError, "Cannot receive bytes");
    assertEquals(target, new Uint8Array(50));
    assertEquals(there.receiveSync(), other);
  }
});

Deno.test("receiveBytes() does not take elements of a run", () => {
  const [here, there] = pipe<Any>();
  here.sendManySync(new Uint8Array([1, 2]));
  assertThrows(() => there.receiveBytesSync(), TypeError);
  assertEquals(there.receiveManySync(2), [1, 2]);
});

Deno.test("receiveBytesInto() a target that is too small is a RangeError, and the message stays", async () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  for (const length of [3, 500]) {
    const sent = here.sendBytes(new Uint8Array(length).fill(7));
    await there.poll();
    const small = new Uint8Array(length - 1);
    await assertRejects(() => there.receiveBytesInto(small), RangeError, "Cannot receive bytes");
    assertThrows(() => there.receiveBytesIntoSync(small), RangeError, `${length} bytes`);
    assertThrows(() => there.receiveBytesIntoSync(new Uint8Array(0)), RangeError);
    assertEquals(small, new Uint8Array(length - 1));
    assertEquals(there.receiveBytesIntoSync(new Uint8Array(length)), length);
    await sent;
  }
});

Deno.test("receiveBytesInto() of an empty message into an empty target is 0", async () => {
  const [here, there] = pipe<Any>();
  for (let i = 0; i < 2; i++) here.sendBytesSync(new Uint8Array(0));
  assertEquals(await there.receiveBytesInto(new Uint8Array(0)), 0);
  assertEquals(there.receiveBytesIntoSync(new Uint8Array(0)), 0);
});

Deno.test("receiveBytesInto() writes into a part of memory, shared or not, and nothing beside it", () => {
  const [here, there] = pipe<Any>();
  for (const buffer of [new ArrayBuffer(10), new SharedArrayBuffer(10)]) {
    here.sendBytesSync(BYTES);
    assertEquals(there.receiveBytesIntoSync(new Uint8Array(buffer, 4, 4)), 3);
    assertEquals([...new Uint8Array(buffer)], [0, 0, 0, 0, 1, 2, 3, 0, 0, 0]);
  }
});

Deno.test("bytes whose buffer was detached are a DataCloneError, and nothing is sent", async () => {
  const [here, there] = pipe<Any>();
  const bytes = new Uint8Array([1, 2, 3]);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  assertDataClone(() => here.sendSync(bytes));
  assertDataClone(() => here.trySend(bytes));
  assertDataClone(() => here.sendBytesSync(bytes));
  assertEquals(
    (await assertRejects(() => here.sendBytes(bytes), DOMException)).name,
    "DataCloneError",
  );
  assertEquals(there.tryReceive(), { state: "empty" });
});

Deno.test("calls for bytes refuse what is no Uint8Array", async () => {
  const [here, there] = pipe<Any>();
  for (
    const bad of ["text", [1], new Int8Array(1), new ArrayBuffer(1), null, undefined, 3] as Any[]
  ) {
    await assertRejects(() => here.sendBytes(bad), TypeError, "Cannot send bytes");
    assertThrows(() => here.sendBytesSync(bad), TypeError, "Cannot send bytes");
    await assertRejects(() => here.receiveBytesInto(bad), TypeError, "Cannot receive bytes");
    assertThrows(() => here.receiveBytesIntoSync(bad), TypeError, "Cannot receive bytes");
  }
  assertEquals(there.tryReceive(), { state: "empty" });
});

// -- Larger than the storage -----------------------------------------------------------------------

Deno.test("a message larger than the storage arrives whole, and send() ends with its last piece", async () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  const values = ["x".repeat(1_000), new Uint8Array(10_000).fill(3), {
    list: Array(500).fill("é"),
  }];
  for (const value of values) {
    const sent = here.send(value);
    assertEquals(await settlesSoon(sent), false);
    assertEquals(await there.receive(), value);
    await sent;
  }
  const sent = here.sendBytes(values[1] as Uint8Array);
  const target = new Uint8Array(10_000);
  assertEquals(await there.receiveBytesInto(target), 10_000);
  assertEquals(target, values[1]);
  await sent;
});

Deno.test("trySend() of something larger than the storage is a RangeError, and sends nothing", () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  for (const value of ["x".repeat(100), new Uint8Array(65), Array(200).fill(1)]) {
    assertThrows(() => here.trySend(value), RangeError, "Cannot send without waiting");
    assertEquals(there.tryReceive(), { state: "empty" });
  }
  while (here.trySend(0));
  assertThrows(() => here.trySend("x".repeat(100)), RangeError);
  there.close();
  assertThrows(() => here.trySend("x".repeat(100)), ClosedError);
});

for (const how of ["timeout", "abort", "close"] as const) {
  Deno.test(`a message larger than the storage that is given up half-way by ${how} leaves no trace`, async () => {
    for (const big of ["x".repeat(500), new Uint8Array(500), new Uint8Array(61)]) {
      const [here, there] = pipe<Any>({ capacity: 64 });
      const { signal, abort } = abortable();
      const sent = here.send(big, how === "timeout" ? { timeout: 5 } : { signal });
      if (how === "abort") abort("reason");
      if (how === "close") here.close();
      const error = await sent.catch((reason) => reason);
      if (how === "timeout") assertEquals(error.name, "TimeoutError");
      if (how === "abort") assertEquals(error, "reason");
      if (how === "close") {
        assertInstanceOf(error, ClosedError);
        assertStrictEquals(error.value, big);
        assertEquals(there.tryReceive(), { state: "closed" });
        continue;
      }
      // What was stored of it neither counts as something to receive, nor keeps others out.
      assertEquals(there.pollSync({ timeout: 0 }), false);
      assertEquals(await there.poll({ timeout: 0 }), false);
      assertEquals(here.trySend(1), true);
      assertEquals(there.receiveSync(), 1);
      assertTimeoutSync(() => here.sendSync(big, { timeout: 0 }));
      here.sendSync("next");
      assertEquals(there.tryReceive(), { state: "ok", value: "next" });
      const again = here.send(big);
      assertEquals(await there.receive(), big);
      await again;
      here.close();
      assertEquals(there.tryReceive(), { state: "closed" });
    }
  });
}

Deno.test("poll() is true only once a message larger than the storage can be received whole", async () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  const sent = here.send("x".repeat(300));
  assertEquals(there.pollSync({ timeout: 0 }), false);
  assertEquals(await there.poll(), true);
  assertEquals(there.tryReceive(), { state: "ok", value: "x".repeat(300) });
  await sent;
});

Deno.test("a receiver that gives up half-way leaves the message for the next call", async () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  const big = "x".repeat(1_000);
  const sent = here.send(big);
  assertTimeoutSync(() => there.receiveSync({ timeout: 0 }));
  const { signal, abort } = abortable();
  const first = there.receive({ signal });
  abort("reason");
  assertEquals(await first.catch((error) => error), "reason");
  assertEquals(await there.receive(), big);
  await sent;
});

// -- Polling ---------------------------------------------------------------------------------------

Deno.test("poll() never consumes, and is true at the end", async () => {
  const [here, there] = pipe<number>();
  const polled = there.poll();
  here.sendSync(1);
  assertEquals(await polled, true);
  for (let i = 0; i < 3; i++) assertEquals(there.pollSync(), true);
  assertEquals(there.receiveSync(), 1);
  const end = there.poll();
  here.close();
  assertEquals([await end, there.pollSync(), await there.poll()], [true, true, true]);
  assertThrows(() => there.receiveSync(), ClosedError);
});

Deno.test("poll() stands in nobody's way", async () => {
  const [here, there] = pipe<number>();
  const polls = [there.poll(), there.poll()];
  const got = there.receive();
  here.sendManySync([1, 2]);
  assertEquals(await got, 1);
  assertEquals(await Promise.all(polls), [true, true]);
  assertEquals(drain(there), [2]);
});

// -- Closing ---------------------------------------------------------------------------------------

Deno.test("close() is idempotent, `using` closes, and `closed` tells of this end only", () => {
  const [here, there] = pipe();
  {
    using end = here;
    assertEquals(end.closed, false);
  }
  assertEquals([here.closed, there.closed], [true, false]);
  here.close();
  here.close();
  here[Symbol.dispose]();
  assertEquals([here.closed, there.closed], [true, false]);
  there[Symbol.dispose]();
  assertEquals(there.closed, true);
});

for (const { name, async, sync } of [...SENDING, ...RECEIVING, POLL]) {
  Deno.test(`${name}: a ClosedError on a closed end, even when something is left`, async () => {
    const [here, there] = pipe<Any>();
    there.sendSync(BYTES);
    here.close();
    const rejection = await assertRejects(() => async(here), ClosedError, "Cannot ");
    const error = assertThrows(() => sync(here), ClosedError, "Cannot ");
    assertEquals(error.name, "ClosedError");
    assertThrows(() => sync(here, { timeout: 0 }), ClosedError);
    if (name === "send" || name === "sendBytes") {
      assertStrictEquals(rejection.value, BYTES);
      assertStrictEquals(error.value, BYTES);
    }
  });
}

Deno.test("on a closed end trySend() throws a ClosedError with the value, tryReceive() says closed", () => {
  const [here, there] = pipe<Any>();
  there.sendSync(1);
  here.close();
  const value = { v: 1 };
  assertStrictEquals(assertThrows(() => here.trySend(value), ClosedError).value, value);
  assertEquals(here.tryReceive(), { state: "closed" });
});

Deno.test("what was sent before the other end closed is received, then the end is reached", async () => {
  const [here, there] = pipe<Any>();
  await here.sendMany([1, "two", BYTES]);
  here.close();
  assertEquals(await there.receive(), 1);
  assertEquals(there.receiveSync(), "two");
  assertEquals(await there.receiveBytes(), BYTES);
  for (const { name, async, sync } of RECEIVING) {
    await assertRejects(() => async(there), ClosedError, "Cannot receive", name);
    assertThrows(() => sync(there), ClosedError, "nothing is left", name);
  }
  assertEquals(there.closed, false);
});

Deno.test("sending to a closed other end is a ClosedError with the value, in every form", async () => {
  const [here, there] = pipe<Any>();
  here.sendSync("lost");
  there.close();
  for (const value of [1, "text", BYTES, "x".repeat(100_000)]) {
    assertStrictEquals((await assertRejects(() => here.send(value), ClosedError)).value, value);
    assertStrictEquals(assertThrows(() => here.sendSync(value), ClosedError).value, value);
    assertStrictEquals(assertThrows(() => here.trySend(value), ClosedError).value, value);
    assertStrictEquals(
      assertThrows(() => here.sendManySync([value, 2]), ClosedError).value,
      value,
    );
  }
  assertStrictEquals((await assertRejects(() => here.sendBytes(BYTES), ClosedError)).value, BYTES);
  assertStrictEquals(assertThrows(() => here.sendBytesSync(BYTES), ClosedError).value, BYTES);
  assertEquals(here.closed, false);
});

Deno.test("closing the other end wakes whoever waits for room, with its value", async () => {
  const [here, there] = fullPipe();
  const value = { v: 1 };
  const big = "x".repeat(500);
  const waiting = [here.send(value), here.send(big), here.sendMany([value])];
  there.close();
  const errors = await Promise.all(waiting.map((sent) => assertRejects(() => sent, ClosedError)));
  assertEquals(errors.map((error: Any) => error.value), [value, big, value]);
});

for (const { name, async } of [...SENDING, ...RECEIVING, POLL]) {
  Deno.test(`${name}: pending at one's own close() ends with a ClosedError`, TIMEOUT, async () => {
    const [here] = fullPipe();
    const first = async(here);
    const second = async(here, { timeout: 60_000 });
    // Whichever ends first, the other one is not unhandled.
    for (const pending of [first, second]) pending.catch(() => {});
    here.close();
    for (const pending of [first, second]) {
      assert(await settlesSoon(pending), "still pending");
      const error = await assertRejects(() => pending, ClosedError, "Cannot ");
      if (name === "send" || name === "sendBytes") assertEquals(error.value, BYTES);
    }
  });
}

Deno.test("sendMany() pending at one's own close() ends with a ClosedError, whatever went through", async () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  const sent = here.sendMany(Array.from({ length: 20 }, (_, i) => i));
  here.close();
  await assertRejects(() => sent, ClosedError);
  assertEquals(drain(there), [...Array(16).keys()]);
});

Deno.test("closing an end that nobody used ends the other one", async () => {
  const [here, there] = pipe<Any>();
  here.close();
  await assertRejects(() => there.receive(), ClosedError);
  assertThrows(() => there.trySend(1), ClosedError);
});

Deno.test("both directions end with either end", () => {
  const [here, there] = pipe<Any>();
  there.sendSync("left");
  there.close();
  assertThrows(() => here.sendSync(1), ClosedError);
  assertEquals(here.receiveSync(), "left");
  assertThrows(() => here.receiveSync(), ClosedError);
});

// -- Iteration and streams -------------------------------------------------------------------------

Deno.test("iteration yields what was sent and ends with the other end", async () => {
  const [here, there] = pipe<Any>();
  here.sendManySync([1, undefined, "three"]);
  const got: unknown[] = [];
  const loop = (async () => {
    for await (const value of there) got.push(value);
  })();
  await here.send(4);
  here.close();
  await loop;
  assertEquals(got, [1, undefined, "three", 4]);
  assertEquals([...there], []);
});

Deno.test("leaving a loop does not close the connection", async () => {
  const [here, there] = pipe<number>();
  here.sendManySync([1, 2, 3, 4]);
  for await (const value of there) if (value === 1) break;
  for (const value of there) if (value === 2) break;
  assertEquals(there.closed, false);
  await assertRejects(
    async () => {
      for await (const _ of there) throw new Error("mine");
    },
    Error,
    "mine",
  );
  assertEquals(there.receiveSync(), 4);
  assertEquals(here.trySend(5), true);
});

Deno.test("iterating a closed end ends at once, also when it is closed within the loop", async () => {
  const [here, there] = pipe<number>();
  here.sendManySync([1, 2, 3]);
  const got: number[] = [];
  for await (const value of there) {
    got.push(value);
    there.close();
  }
  assertEquals(got, [1]);
  assertEquals([[...there], await Array.fromAsync(there)], [[], []]);
});

Deno.test("closing this end ends a loop that waits", async () => {
  const [, there] = pipe<number>();
  const all = Array.fromAsync(there);
  there.close();
  assertEquals(await all, []);
});

Deno.test("iterating an end that only sends is a TypeError", async () => {
  const [, sender] = pipe<number>({ duplex: false });
  assertThrows(() => [...sender], TypeError);
  await assertRejects(() => Array.fromAsync(sender), TypeError);
});

Deno.test("readable and writable are the same object at each access", () => {
  const [here] = pipe();
  assertStrictEquals(here.readable, here.readable);
  assertStrictEquals(here.writable, here.writable);
  assertInstanceOf(here.readable, ReadableStream);
  assertInstanceOf(here.writable, WritableStream);
});

Deno.test("streams carry everything and end with the writer", async () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  const values = Array.from({ length: 100 }, (_, i) => i % 3 === 0 ? `text ${i}` : i);
  const [got] = await Promise.all([
    Array.fromAsync(there.readable),
    ReadableStream.from(values).pipeTo(here.writable),
  ]);
  assertEquals(got, values);
  assertEquals([here.closed, there.closed], [true, false]);
});

Deno.test("closing writable and cancelling readable close the end", async () => {
  const [here, there] = pipe<Any>();
  await here.writable.close();
  assertEquals([here.closed, there.closed], [true, false]);
  await there.readable.cancel();
  assertEquals(there.closed, true);
});

Deno.test("cancelling readable while it waits closes the end", async () => {
  const [here, there] = pipe<Any>();
  const reader = there.readable.getReader();
  const next = reader.read();
  await reader.cancel("enough");
  assertEquals((await next).done, true);
  assertThrows(() => here.trySend(1), ClosedError);
});

Deno.test("reading the stream takes no message before it is asked for one", async () => {
  const [here, there] = pipe<Any>();
  here.sendManySync([1, 2]);
  const reader = there.readable.getReader();
  assertEquals(await reader.read(), { done: false, value: 1 });
  reader.releaseLock();
  assertEquals(there.receiveSync(), 2);
});

Deno.test("aborting writable ends a write that waits, and closes the end", TIMEOUT, async () => {
  const [here, there] = fullPipe();
  const writer = here.writable.getWriter();
  const written = writer.write("waits");
  written.catch(() => {});
  writer.closed.catch(() => {});
  const aborted = writer.abort("enough");
  assert(await settlesSoon(aborted), "the abort waits for ever");
  await assertRejects(() => written.catch((error) => Promise.reject(Object(error))));
  assertEquals(here.closed, true);
  assertEquals(drain(there), FILLING);
});

Deno.test("writing to a closed other end errors the stream with a ClosedError", async () => {
  const [here, there] = pipe<Any>();
  there.close();
  const writer = here.writable.getWriter();
  writer.closed.catch(() => {});
  const error = await assertRejects(() => writer.write("late"), ClosedError);
  assertEquals(error.value, "late");
});

// -- Handles ---------------------------------------------------------------------------------------

Deno.test("from() accepts an end, what structured clone makes of it, and its handle", () => {
  const [here, there] = pipe<Any>();
  for (const form of [there, structuredClone(there), there.handle, structuredClone(there.handle)]) {
    const end = Connection.from(form);
    assertStrictEquals(end, there);
    here.sendSync("x");
    assertEquals(end.receiveSync(), "x");
  }
  assertEquals(Object.keys(structuredClone(here)), ["handle"]);
  assert(Connection.from(here.handle) !== Connection.from(there.handle));
});

Deno.test("from() refuses what is no handle of a connection with a TypeError", () => {
  const [{ handle }] = pipe();
  const bad: unknown[] = [
    undefined,
    null,
    5,
    "handle",
    {},
    [],
    { handle: null },
    { handle: {} },
    new Queue(),
    new Queue().handle,
    { ...handle, sabre: "Queue" },
    { ...handle, sabre: 5 },
    { ...handle, version: 2 },
    { ...handle, version: undefined },
    { ...handle, serial: handle.serial + 1 },
    { ...handle, detail: 2 },
    { ...handle, detail: "0" },
    { ...handle, detail: undefined },
    { ...handle, offset: 8 },
    { ...handle, offset: -8 },
    { ...handle, offset: 1.5 },
    { ...handle, memory: undefined },
    { ...handle, memory: new ArrayBuffer(handle.memory.byteLength) },
    { ...handle, memory: new SharedArrayBuffer(handle.memory.byteLength) },
    { ...handle, domain: undefined },
    { ...handle, domain: new SharedArrayBuffer(8) },
    { ...handle, domain: new SharedArrayBuffer(handle.domain.byteLength) },
  ];
  for (const value of bad) {
    assertThrows(() => Connection.from(value), TypeError, "Cannot ", Deno.inspect(value));
  }
});

Deno.test("from() refuses memory that is truncated or too long, wherever it was cut", () => {
  const [{ handle }] = pipe({ capacity: 64 });
  const whole = new Uint8Array(handle.memory);
  for (let length = 0; length <= whole.length + 9; length += length < 40 ? 1 : 7) {
    if (length === whole.length) continue;
    const memory = new SharedArrayBuffer(length);
    new Uint8Array(memory).set(whole.subarray(0, length));
    assertThrows(
      () => Connection.from({ ...handle, memory }),
      TypeError,
      "Cannot attach",
      `${length}`,
    );
  }
});

Deno.test("a run that is shorter than what was taken of it is damage, and no end of it", () => {
  const [here, there] = pipe<number>();
  here.sendManySync(new Int32Array([71, 72, 73]));
  const target = new Int32Array(2);
  assertEquals(there.receiveManyIntoSync(target), 2);
  const words = new Int32Array(there.handle.memory as SharedArrayBuffer);
  // The header of the run, as if it had two elements.
  const header = words.indexOf(71) - 1;
  words[header] = (8 << 5) | (words[header]! & 31);
  for (let i = 0; i < 2; i++) {
    assertThrows(() => there.receiveManyIntoSync(target, { timeout: 0 }), TypeError, "damaged");
  }
});

Deno.test("from() refuses memory whose head is damaged", () => {
  const [{ handle }] = pipe({ capacity: 64 });
  for (
    const [word, value] of [[0, 1], [1, 2], [2, 3], [3, -1], [11, 1], [11, 1 << 20], [11, -16]]
  ) {
    const memory = new SharedArrayBuffer(handle.memory.byteLength);
    const words = new Int32Array(memory);
    words.set(new Int32Array(handle.memory));
    words[word!] = value!;
    assertThrows(
      () => Connection.from({ ...handle, memory }),
      TypeError,
      "Cannot attach",
      `${word}`,
    );
  }
});

Deno.test("the constructor cannot be called, only pipe() and from() make ends", () => {
  const [{ handle }] = pipe();
  assertThrows(() => new (Connection as Any)(undefined));
  assertInstanceOf(Connection.from(handle), Connection);
});

// -- State -----------------------------------------------------------------------------------------

Deno.test("console.log shows the state of an end in one short line", () => {
  const [here, there] = pipe();
  const lines = [Deno.inspect(here)];
  here.sendSync(1);
  lines.push(Deno.inspect(here), Deno.inspect({ in: there }));
  here.close();
  lines.push(Deno.inspect(here), Deno.inspect(there));
  for (const line of lines) {
    assertMatch(line, /Connection \{ .+ \}/);
    assert(!line.includes("\n") && line.length <= 240, line);
  }
  assert(lines[0]!.includes("unused"), lines[0]);
  assert(lines[1]!.includes("closed: false"), lines[1]);
  assert(lines[3]!.includes("closed: true"), lines[3]);
});

// -- Model -----------------------------------------------------------------------------------------

Deno.test("any sequence of calls does what a plain list would", async () => {
  const value = fc.oneof(
    fc.integer(),
    fc.integer({ min: -(2 ** 26), max: 2 ** 26 - 1 }),
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
    fc.record({ value, form }).map((r) => new SendCommand(r.value, r.form)),
    fc.array(value, { maxLength: 6 }).map((values) => new SendManyCommand(values)),
    run.map((values) => new SendRunCommand(values)),
    value.map((value) => new SendLaterCommand(value)),
    form.map((form) => new ReceiveCommand(form)),
    form.map((form) => new ReceiveCommand(form)),
    fc.integer({ min: 1, max: 9 }).map((max) => new ReceiveManyCommand(max)),
    fc.integer({ min: 1, max: 9 }).map((length) => new ReceiveIntoCommand(length)),
    fc.nat({ max: 40 }).map((length) => new ReceiveBytesCommand(length)),
    fc.constant(new PollCommand()),
    fc.constant(new AbortLastCommand()),
    fc.nat({ max: 40 }).map((after) => new CloseCommand(after)),
  ];
  await fc.assert(
    fc.asyncProperty(fc.commands(commands, { maxCommands: 60, size: "max" }), async (list) => {
      const [here, there] = pipe<Any>({ capacity: 64 });
      const model = new Model();
      try {
        await fc.asyncModelRun(() => ({ model, real: { here, there } }), list);
      } finally {
        here.close();
        await Promise.allSettled(model.waiting.map(({ sent }) => sent));
      }
    }),
    { numRuns: 1_000 },
  );
});

type Form = "async" | "sync" | "try";
type Real = { here: Connection<Any, Any>; there: Connection<Any, Any> };
type Command = fc.AsyncCommand<Model, Real>;

/** The list that a pipe of 16 words is: each message, and how many words are free once it is taken. */
class Model {
  stored: { value: unknown; words: number }[] = [];
  /** Where the next message begins. */
  tail = 0;
  /** Sends that wait for room, in their order. */
  waiting: { value: unknown; sent: Promise<unknown>; abort: () => void }[] = [];
  closed = false;
  sent = 0;

  get free(): number {
    return 16 - this.stored.reduce((sum, { words }) => sum + words, 0);
  }

  fits(value: unknown): boolean {
    return this.waiting.length === 0 && this.wordsOf(value) <= this.free;
  }

  /** Words that a message takes in the ring. */
  wordsOf(value: unknown): number {
    if (value instanceof Uint8Array) return wordsAt(this.tail, value.length);
    if (typeof value !== "number") return wordsAt(this.tail, encode(value));
    if ((value | 0) !== value || Object.is(value, -0)) return wordsAt(this.tail, 8);
    return Math.abs(value + 0.5) < 2 ** 26 ? 1 : wordsAt(this.tail, 4);
  }

  add(value: unknown, words = this.wordsOf(value)): void {
    this.sent++;
    this.tail += words;
    this.stored.push({ value, words });
  }

  /** What the next calls find: those who waited are served in their order. */
  async settle(): Promise<void> {
    while (this.waiting.length > 0 && this.wordsOf(this.waiting[0]!.value) <= this.free) {
      const { value, sent } = this.waiting.shift()!;
      this.add(value);
      await sent;
    }
  }
}

/** Words of a record that begins there: what is in it begins at an odd place, and it ends at an even one. */
function wordsAt(tail: number, bytes: number): number {
  const first = tail % 2 === 0 ? tail + 1 : tail + 2;
  return 2 * Math.ceil((first + bytes / 4) / 2) - tail;
}

function sendNow(end: Connection<Any, Any>, form: Form, value: unknown): Promise<unknown> {
  const options = { timeout: 0 };
  if (form === "try") return Promise.resolve().then(() => end.trySend(value));
  if (form === "async") return end.send(value, options).then(() => true, falseIfTimeout);
  return Promise.resolve().then(() => end.sendSync(value, options)).then(
    () => true,
    falseIfTimeout,
  );
}

function falseIfTimeout(error: unknown): false {
  if (error instanceof DOMException && error.name === "TimeoutError") return false;
  throw error;
}

/** What a call without waiting brought; `undefined` if there was nothing. */
async function outcome(call: () => unknown): Promise<unknown> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ClosedError) return "closed";
    if (error instanceof DOMException && error.name === "TimeoutError") return "empty";
    throw error;
  }
}

class SendCommand implements Command {
  constructor(readonly value: unknown, readonly form: Form) {}
  check = (model: Readonly<Model>) => !model.closed;
  async run(model: Model, { here }: Real): Promise<void> {
    const fits = model.fits(this.value);
    assertEquals(await sendNow(here, this.form, this.value), fits);
    if (fits) model.add(this.value);
  }
  toString = () => `send ${this.form} ${Deno.inspect(this.value)}`;
}

class SendManyCommand implements Command {
  constructor(readonly values: unknown[]) {}
  check = (model: Readonly<Model>) => !model.closed;
  async run(model: Model, { here }: Real): Promise<void> {
    let count = 0;
    for (const value of this.values) {
      if (!model.fits(value)) break;
      model.add(value);
      count++;
    }
    const expected = count > 0 || this.values.length === 0 ? count : "empty";
    const wait = this.values.length === 0 && model.waiting.length > 0;
    const sent = await outcome(() => here.sendMany(this.values, { timeout: 0 }));
    if (!wait) assertEquals(sent, expected);
  }
  toString = () => `sendMany ${Deno.inspect(this.values)}`;
}

class SendRunCommand implements Command {
  constructor(readonly values: RunArray) {}
  check = (model: Readonly<Model>) => !model.closed && this.values.length > 0;
  async run(model: Model, { here }: Real): Promise<void> {
    const { values } = this;
    const size = values.BYTES_PER_ELEMENT;
    let count = model.waiting.length > 0 ? 0 : values.length;
    while (count > 0 && wordsAt(model.tail, count * size) > model.free) count--;
    const isSingle = count === 0 && model.fits(values[0]);
    const sent = await outcome(() => here.sendManySync(values, { timeout: 0 }));
    assertEquals(sent, count > 0 ? count : isSingle ? 1 : "empty");
    if (isSingle) model.add(values[0]);
    // The record is free once its last element is taken.
    const words = wordsAt(model.tail, count * size);
    for (let i = 0; i < count; i++) model.add(values[i], i === count - 1 ? words : 0);
  }
  toString = () => `sendMany ${Deno.inspect(this.values)}`;
}

class SendLaterCommand implements Command {
  constructor(readonly value: unknown) {}
  check = (model: Readonly<Model>) => !model.closed;
  async run(model: Model, { here }: Real): Promise<void> {
    const { signal, abort } = abortable();
    const sent = here.send(this.value, { signal });
    if (model.fits(this.value)) {
      model.add(this.value);
      await sent;
    } else {
      const waiting = { value: this.value, sent, abort };
      sent.catch(() => {});
      model.waiting.push(waiting);
    }
  }
  toString = () => `send later ${Deno.inspect(this.value)}`;
}

class ReceiveCommand implements Command {
  constructor(readonly form: Form) {}
  check = () => true;
  async run(model: Model, { there }: Real): Promise<void> {
    const next = model.stored.shift();
    if (this.form === "try") {
      const state = model.closed ? "closed" : "empty";
      assertEquals(there.tryReceive(), next ? { state: "ok", value: next.value } : { state });
    } else {
      const options = { timeout: 0 };
      const got = await outcome(() =>
        this.form === "async" ? there.receive(options) : there.receiveSync(options)
      );
      assertEquals(got, next ? next.value : model.closed ? "closed" : "empty");
    }
    await model.settle();
  }
  toString = () => `receive ${this.form}`;
}

class ReceiveManyCommand implements Command {
  constructor(readonly max: number) {}
  check = () => true;
  async run(model: Model, { there }: Real): Promise<void> {
    const next = model.stored.splice(0, this.max).map(({ value }) => value);
    const got = await outcome(() => there.receiveMany(this.max, { timeout: 0 }));
    assertEquals(got, next.length > 0 ? next : model.closed ? "closed" : "empty");
    await model.settle();
  }
  toString = () => `receiveMany ${this.max}`;
}

class ReceiveIntoCommand implements Command {
  constructor(readonly length: number) {}
  check = () => true;
  async run(model: Model, { there }: Real): Promise<void> {
    const target = new Float64Array(this.length);
    let count = 0;
    while (count < this.length && typeof model.stored[count]?.value === "number") count++;
    const next = model.stored.splice(0, count).map(({ value }) => value as number);
    if (count === 0 && model.stored.length > 0) {
      assertThrows(() => there.receiveManyIntoSync(target), TypeError);
    } else {
      const got = await outcome(() => there.receiveManyIntoSync(target, { timeout: 0 }));
      assertEquals(got, count > 0 ? count : model.closed ? "closed" : "empty");
      assertEquals([...target.subarray(0, count)], next);
    }
    await model.settle();
  }
  toString = () => `receiveManyInto ${this.length}`;
}

class ReceiveBytesCommand implements Command {
  constructor(readonly length: number) {}
  check = (model: Readonly<Model>) => model.stored.length > 0;
  async run(model: Model, { there }: Real): Promise<void> {
    const target = new Uint8Array(this.length);
    const { value } = model.stored[0]!;
    if (!(value instanceof Uint8Array)) {
      assertThrows(() => there.receiveBytesIntoSync(target), TypeError);
    } else if (value.length > this.length) {
      assertThrows(() => there.receiveBytesIntoSync(target), RangeError);
    } else {
      model.stored.shift();
      assertEquals(await there.receiveBytesInto(target), value.length);
      assertEquals(target.subarray(0, value.length), value);
    }
    await model.settle();
  }
  toString = () => `receiveBytesInto ${this.length}`;
}

class PollCommand implements Command {
  check = () => true;
  async run(model: Model, { there }: Real): Promise<void> {
    const ready = model.stored.length > 0 || model.closed;
    assertEquals(there.pollSync({ timeout: 0 }), ready);
    assertEquals(await there.poll({ timeout: 0 }), ready);
  }
  toString = () => "poll";
}

class AbortLastCommand implements Command {
  check = (model: Readonly<Model>) => model.waiting.length > 0;
  async run(model: Model): Promise<void> {
    const { sent, abort } = model.waiting.pop()!;
    abort();
    const error: Any = await sent.catch((reason) => reason);
    assertEquals(error.name, "AbortError");
  }
  toString = () => "abort the last";
}

class CloseCommand implements Command {
  constructor(readonly after: number) {}
  check = (model: Readonly<Model>) => !model.closed && model.sent >= this.after;
  async run(model: Model, { here }: Real): Promise<void> {
    here.close();
    model.closed = true;
    for (const { value, sent } of model.waiting.splice(0)) {
      assertEquals((await assertRejects(() => sent, ClosedError)).value, value);
    }
    await assertRejects(() => here.send(1), ClosedError);
  }
  toString = () => "close";
}

// -- Across agents ---------------------------------------------------------------------------------

Deno.test(
  "an end belongs to the first agent that uses it: another one gets a TypeError",
  TIMEOUT,
  async () => {
    using agent = new Agent(AGENTS);
    const [here, there] = pipe<Any>();
    here.sendSync("for the other end");
    const errors = await agent.run<string[]>("useForeign", here);
    for (const error of errors) assertMatch(error, /^TypeError: Cannot .* belongs to agent \d+/);
    assertEquals(errors.length, 14);
    // Nothing happened to it.
    assertEquals(there.tryReceive(), { state: "ok", value: "for the other end" });
    there.sendSync("back");
    assertEquals(here.receiveSync(), "back");
    // And the other way round.
    const [mine, theirs] = pipe<Any>();
    assertEquals(await agent.run("echoOnce", theirs, false), undefined);
    assertThrows(() => theirs.tryReceive(), TypeError, "belongs to agent");
    assertMatch(Deno.inspect(theirs), /owner: agent \d+/);
    theirs.close();
    mine.sendSync("x");
    assertEquals(mine.closed, false);
  },
);

Deno.test("of several agents that use an end at once, one gets it", TIMEOUT, async () => {
  using first = new Agent(AGENTS);
  using second = new Agent(AGENTS);
  await Promise.all([first.ready, second.ready]);
  for (let round = 0; round < 50; round++) {
    const [, there] = pipe<Any>({ capacity: 64 });
    const claims = await Promise.all(
      [first, second].map((agent) => agent.run<boolean>("claim", there)),
    );
    assertEquals(claims.filter((claimed) => claimed).length, 1);
  }
});

Deno.test(
  "a worker answers what it is asked, blocking, with promises and in loops",
  TIMEOUT,
  async () => {
    using agent = new Agent(AGENTS);
    for (const how of ["sync", "async", "iterate", "iterateSync", "streams"]) {
      const [here, there] = pipe<Any>({ capacity: 1024 });
      const done = agent.run("echo", there, how);
      for (let i = 0; i < 200; i++) {
        if (i % 2 === 0) await here.send(mixedValue(i));
        else here.sendSync(mixedValue(i));
        const got = i % 3 === 0 ? here.receiveSync() : await here.receive();
        assertEquals(textOf(got), textOf(mixedValue(i)));
      }
      here.close();
      await done;
    }
  },
);

Deno.test(
  "100,000 mixed values of every supported type arrive equal and in order",
  TIMEOUT,
  async () => {
    using producer = new Agent(AGENTS);
    using consumer = new Agent(AGENTS);
    const [here, there] = pipe<Any>({ duplex: false });
    const [count] = await Promise.all([
      consumer.run<number>("checkMixed", here),
      producer.run("sendMixed", there, 100_000),
    ]);
    assertEquals(count, 100_000);
  },
);

Deno.test(
  "numbers in batches of every form arrive in order between two workers",
  TIMEOUT,
  async () => {
    using producer = new Agent(AGENTS);
    using consumer = new Agent(AGENTS);
    const [here, there] = pipe<Any>({ duplex: false, capacity: 512 });
    const [count] = await Promise.all([
      consumer.run<number>("checkBatches", here),
      producer.run("sendBatches", there, 100_000),
    ]);
    assertEquals(count, 100_000);
  },
);

Deno.test("messages larger than the storage arrive between blocked agents", TIMEOUT, async () => {
  using agent = new Agent(AGENTS);
  const [here, there] = pipe<Any>({ capacity: 256 });
  const done = agent.run("echo", there, "sync");
  for (const length of [255, 256, 257, 5_000, 300_000]) {
    const bytes = new Uint8Array(length).fill(length);
    here.sendSync(bytes);
    assertEquals(here.receiveBytesSync(), bytes);
    const text = "y".repeat(length);
    await here.send({ text });
    assertEquals(await here.receive(), { text });
  }
  here.close();
  await done;
});

Deno.test("aborts at any moment lose nothing and send nothing twice", TIMEOUT, async () => {
  using agent = new Agent(AGENTS);
  const [here, there] = pipe<Any>({ capacity: 64 });
  const total = 3_000;
  const digest = agent.run<number>("digestAll", there);
  let expected = 0;
  let given = 0;
  for (let i = 0; i < total; i++) {
    const { signal, abort } = abortable();
    const value = i % 5 === 0 ? `long ${i} ${"x".repeat(100)}` : i;
    const sent = here.send(value, { signal });
    if (i % 3 === 0) abort();
    try {
      await sent;
      expected = (expected + digestOf(textOf(value))) >>> 0;
    } catch (error) {
      assertEquals((error as Error).name, "AbortError");
      given++;
    }
  }
  here.close();
  assertEquals(await digest, expected);
  assert(given > 0, "no abort came in time");
});

Deno.test("timeouts at any moment of the receiver lose nothing", TIMEOUT, async () => {
  using agent = new Agent(AGENTS);
  const [here, there] = pipe<Any>({ capacity: 256 });
  const done = agent.run("sendNumbers", there, 2_000);
  let next = 0;
  for (let round = 0; next < 2_000; round++) {
    const timeout = round % 3;
    try {
      const value = round % 2 === 0
        ? await here.receive({ timeout })
        : here.receiveSync({ timeout });
      assertEquals(value, next % 7 === 0 ? `${next} ${"z".repeat(400)}` : next);
      next++;
    } catch (error) {
      assertEquals((error as Error).name, "TimeoutError");
    }
  }
  await done;
});

Deno.test("bytes arrive whole and in order, whatever gives up at either end", TIMEOUT, async () => {
  using agent = new Agent(AGENTS);
  const target = new Uint8Array(2_000);
  const blank = new Uint8Array(2_000).fill(99);
  for (let seed = 1; seed <= 8; seed++) {
    const [here, there] = pipe<Any>({ capacity: 64 << (seed & 3) });
    const random = randomOf(-seed);
    const sent = agent.run<number[]>("sendPatterns", there, seed, 500);
    const into = (array: Uint8Array, timeout = Infinity) =>
      array.slice(0, here.receiveBytesIntoSync(array, { timeout }));
    const receive = (): Uint8Array | Promise<Uint8Array> => {
      target.set(blank);
      const choice = random();
      if (choice < 0.4) return into(target);
      if (choice < 0.6) return into(target, random());
      if (choice < 0.7) return into(target.subarray(0, random() * 300));
      if (choice < 0.8) return here.receiveBytesSync();
      return here.receiveBytes({ timeout: random() });
    };
    const received: number[] = [];
    for (let isOpen = true; isOpen;) {
      try {
        const bytes = await receive();
        const number = new DataView(bytes.buffer).getUint32(0);
        assertEquals(bytes, patternOf(number, bytes.length - 4));
        received.push(number);
      } catch (error) {
        isOpen = !(error instanceof ClosedError);
        const { name } = error as Error;
        assert(["ClosedError", "TimeoutError", "RangeError"].includes(name), String(error));
        if (name !== "ClosedError") assertEquals(target, blank);
      }
    }
    assertEquals(received, await sent);
  }
});

Deno.test("an agent that closes while others wait for it wakes them", TIMEOUT, async () => {
  using agent = new Agent(AGENTS);
  for (let round = 0; round < 20; round++) {
    const [here, there] = pipe<Any>({ capacity: 64 });
    const received = assertRejects(() => here.receive(), ClosedError);
    const closed = agent.run("receiveThenClose", there, round % 4);
    let sent = 0;
    const error = await (async () => {
      for (;;) await here.send(sent++);
    })().catch((reason) => reason);
    assertInstanceOf(error, ClosedError);
    assertEquals(error.value, sent - 1);
    await received;
    await closed;
  }
});

Deno.test(
  "a value sent just before the end is received, whatever the receiver does meanwhile",
  TIMEOUT,
  async () => {
    using agent = new Agent(AGENTS);
    for (let round = 0; round < 60; round++) {
      const [here, there] = pipe<Any>();
      const done = agent.run("sendAndClose", there, round);
      const got: unknown[] = [];
      if (round % 3 === 0) { for await (const value of here) got.push(value); }
      else if (round % 3 === 1) { for (const value of here) got.push(value); }
      else {
        for (let next = here.tryReceive(); next.state !== "closed"; next = here.tryReceive()) {
          if (next.state === "ok") got.push(next.value);
        }
      }
      assertEquals(got, [round, "last"]);
      await done;
    }
  },
);

Deno.test(
  "after the other end's agent died, what was sent is received and then the end",
  TIMEOUT,
  async () => {
    using agent = new Agent(AGENTS);
    const [here, there] = pipe<Any>({ capacity: 64 });
    const waitingSend = assertRejects(async () => {
      for (let i = 0;; i++) await here.send(i);
    }, ClosedError);
    const polled = here.poll();
    const id = await agent.run<number>("sendAndStop", there);
    assertEquals(await polled, true);
    const second = here.receiveMany(9);
    bury(home(), id);
    assertEquals(await second, ["first", "second"]);
    assertEquals(typeof (await waitingSend).value, "number");
    assertEquals(here.tryReceive(), { state: "closed" });
    assertThrows(() => here.receiveSync(), ClosedError);
    assertThrows(() => here.trySend("v"), ClosedError);
    assertEquals([...here], []);
    assertEquals(here.pollSync(), true);
    assertEquals(here.closed, false);
    assertThrows(() => there.tryReceive(), ClosedError, "died");
  },
);

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

Deno.test("a getter that closes the end while its message is encoded sends nothing", () => {
  const [here, there] = pipe<unknown>();
  const message = {
    get trap() {
      here.close();
      return 1;
    },
  };
  assertThrows(() => here.sendSync(message), ClosedError);
  assertEquals(there.tryReceive(), { state: "closed" });
});

// -- Limits --------------------------------------------------------------------------------------

Deno.test("a message that fills the storage is sent at once, wherever it begins", () => {
  const [here, there] = pipe({ capacity: 64 });
  for (let begin = 0; begin < 40; begin++) {
    // With the word before it, and the one that may be left empty, 15 words.
    const bytes = new Uint8Array(52).fill(7);
    here.sendBytesSync(bytes, { timeout: 0 });
    assertEquals(there.receiveBytesSync({ timeout: 0 }), bytes);
    assertThrows(() => here.trySend(new Uint8Array(53)), RangeError, "up to 52 bytes");
    here.sendSync(begin);
    assertEquals(there.receiveSync(), begin);
  }
});

Deno.test("a typed array goes behind the calls that it finds waiting, wherever they end", async () => {
  for (const begin of [0, 1]) {
    const [here, there] = pipe<number>({ capacity: 64 });
    for (let i = 0; i < begin; i++) here.sendSync(i);
    for (let i = 0; i < begin; i++) there.receiveSync();
    while (here.trySend(0));
    const waiting = here.send(1);
    assertEquals(there.receiveManySync(16), FILLING);
    assertEquals(here.sendManySync(new Int32Array([111])), 1);
    here.sendSync(7);
    assertEquals(there.receiveManySync(9), [1, 111, 7]);
    await waiting;
  }
});

Deno.test("a typed array that the input of a waiting call changes is sent as it then is", async () => {
  const cases: [length: number, change: (buffer: ArrayBuffer) => void][] = [
    [0, (buffer) => void buffer.transfer()],
    [4, (buffer) => buffer.resize(4)],
    [24, (buffer) => buffer.resize(24)],
  ];
  for (const [length, change] of cases) {
    const [here, there] = pipe<number>({ capacity: 64 });
    while (here.trySend(0));
    const buffer = new ArrayBuffer(12, { maxByteLength: 64 });
    const values = new Uint8Array(buffer).fill(9);
    const waiting = here.sendMany((function* () {
      yield 1;
      change(buffer);
      yield 2;
    })());
    there.receiveManySync(16);
    assertEquals(here.sendManySync(values), length);
    here.sendSync(3);
    assertEquals(there.receiveManySync(99), [1, 2, ...(length === 0 ? [] : values), 3]);
    assertEquals(values.length, length);
    await waiting;
  }
});

Deno.test("accessors of a subclass of typed arrays do not run, whatever they would do", async () => {
  const [here, there] = pipe<Any>({ capacity: 64 });
  const forbidden = () => {
    here.send("y".repeat(200)).catch(() => {});
    throw new Error("it runs");
  };
  const hidden = ["buffer", "byteOffset", "byteLength", "length"];
  const accessors = Object.fromEntries(hidden.map((name) => [name, { get: forbidden }]));
  class Bytes extends Uint8Array {}
  class Numbers extends Int16Array {}
  class Empty extends Uint8Array {}
  for (const each of [Bytes, Numbers, Empty]) Object.defineProperties(each.prototype, accessors);
  const bytes = new Bytes([1, 2, 3]);
  const numbers = new Numbers([4, 5]);
  here.sendBytesSync(bytes);
  await here.sendBytes(bytes);
  here.sendBytesSync(new Empty(0));
  assertEquals(here.sendManySync(numbers), 2);
  assertEquals(await here.sendMany(numbers), 2);
  here.sendSync(9);
  const plain = new Uint8Array([1, 2, 3]);
  assertEquals(there.receiveManySync(99), [plain, plain, new Uint8Array(0), 4, 5, 4, 5, 9]);

  here.sendManySync([6, 7, 8]);
  assertEquals(there.receiveManyIntoSync(numbers), 2);
  assertEquals(await there.receiveManyInto(numbers), 1);
  here.sendBytesSync(plain);
  assertEquals(there.receiveBytesIntoSync(bytes), 3);
  assertEquals([numbers[0], numbers[1], bytes[2]], [8, 7, 3]);
});

Deno.test("a typed array is not sent behind an input that closes the end", async () => {
  const [here, there] = pipe<number>({ capacity: 64 });
  while (here.trySend(0));
  const closing = (function* () {
    yield 1;
    here.close();
  })();
  const ended = assertRejects(() => here.sendMany(closing), ClosedError);
  there.receiveManySync(16);
  assertThrows(() => here.sendManySync(new Int32Array([5])), ClosedError, "Cannot send");
  assertEquals(drain(there), [1]);
  await ended;
});

Deno.test("a message given up half-way leaves room for others, wherever it began", () => {
  for (const begin of [0, 1]) {
    const [here, there] = pipe({ capacity: 64 });
    for (let i = 0; i < begin; i++) here.sendSync(i);
    for (let i = 0; i < begin; i++) there.receiveSync();
    // Half of the storage is free.
    for (let i = 0; i < 8; i++) here.sendSync(i);
    assertTimeoutSync(() => here.sendBytesSync(new Uint8Array(200), { timeout: 0 }));
    assert(here.trySend(0.5), `from ${begin}`);
    assertEquals(there.receiveManySync(99), [0, 1, 2, 3, 4, 5, 6, 7, 0.5]);
  }
});

Deno.test("receiveManyInto() takes a bigint that is larger than the storage", async () => {
  const [here, there] = pipe<bigint>({ capacity: 64 });
  const target = new BigInt64Array(2);
  for (const bits of [300n, 470n, 2_000n]) {
    const sent = here.send(2n ** bits + 5n);
    assertEquals(await there.receiveManyInto(target), 1);
    assertEquals(target[0], 5n);
    await sent;
  }
  const large = here.send("x".repeat(200) as Any);
  await assertRejects(() => there.receiveManyInto(target), TypeError, 'it is "xxx');
  assertEquals(there.receiveSync() as Any, "x".repeat(200));
  await large;
  for (const length of [8, 200]) {
    const bytes = here.sendBytes(new Uint8Array(length));
    await assertRejects(() => there.receiveManyInto(target), TypeError, "it is a Uint8Array");
    assertEquals(there.receiveBytesSync(), new Uint8Array(length));
    await bytes;
  }
});

Deno.test("a message larger than the storage arrives, wherever it begins", async () => {
  const [here, there] = pipe({ capacity: 64 });
  for (let length = 48; length < 200; length++) {
    const bytes = new Uint8Array(length).map((_, i) => i + length);
    for (const begin of [0, 1]) {
      const sent = here.sendBytes(bytes);
      assertEquals(there.receiveBytesSync(), bytes);
      await sent;
      for (let i = 0; i < begin; i++) here.sendSync(i);
      for (let i = 0; i < begin; i++) assertEquals(there.receiveSync(), i);
    }
  }
});

Deno.test("sendMany: what an iterator gave is sent before it is asked for more", () => {
  const [here, there] = pipe();
  const seen: unknown[] = [];
  function* values(): Generator<number> {
    for (let i = 1; i <= 3; i++) {
      yield i;
      seen.push(there.receiveSync({ timeout: 0 }));
    }
  }
  assertEquals(here.sendManySync(values()), 3);
  assertEquals(seen, [1, 2, 3]);
});

Deno.test("sendMany of a typed array to an end that was closed is a ClosedError, if none went through", () => {
  // The last one goes in several records.
  for (
    const values of [new Int32Array([1, 2]), new Float64Array([1]), new Int32Array(40).fill(1)]
  ) {
    const [here, there] = pipe({ capacity: 64 });
    there.close();
    const error = assertThrows(() => here.sendManySync(values), ClosedError);
    assertEquals(error.value, 1);
  }
});

Deno.test("an end that was used may be given away, but not with a message half received", () => {
  const [here, there] = pipe({ capacity: 64 });
  const heir = ghost();
  const giveAway = (end: Any): void => end[GIVE](heir.id);
  here.sendSync("whole");
  assertEquals(there.receiveSync(), "whole");
  giveAway(there);
  assertThrows(() => there.tryReceive(), TypeError, "belongs to agent");
  bury(home(), heir.id);

  const [from, to] = pipe({ capacity: 64 });
  // The first pieces of what is larger than the storage.
  const sending = from.send("x".repeat(200), { timeout: 1 });
  assertEquals(to.tryReceive(), { state: "empty" });
  assertThrows(() => giveAway(to), TypeError, "half received");
  return assertRejects(() => sending, DOMException);
});

Deno.test("an end that is given away in the middle of a run goes on there where it was", () => {
  const [here, there] = pipe<number>();
  const heir = ghost();
  here.sendManySync(new Int32Array([1, 2, 3]));
  assertEquals(there.receiveSync(), 1);
  const takeBack = (there as Any)[GIVE](heir.id);
  // This end begins anew here, as it would there.
  takeBack();
  assertEquals(drain(there), [2, 3]);
  bury(home(), heir.id);
});

Deno.test("a side that waits is woken once, and not by each message from then on", async () => {
  const [here, there] = pipe<number>();
  const waiting = there.receive();
  here.sendSync(0);
  assertEquals(await waiting, 0);
  const { words, park } = home();
  const before = words[park]!;
  for (let i = 1; i <= 10; i++) here.sendSync(i);
  assert(words[park]! - before <= 1, `${words[park]! - before} wake-ups`);
  assertEquals(drain(there).length, 10);
});

Deno.test("what was received in pieces stays as it is when more comes", async () => {
  const [here, there] = pipe<unknown>({ capacity: 64 });
  const values = [0, 1].map((n) => ({
    text: `${n}`.repeat(500),
    bytes: new Uint8Array(300).fill(n),
  }));
  const received: unknown[] = [];
  for (const value of values) {
    const sending = here.send(value);
    received.push(await there.receive());
    await sending;
  }
  for (const n of [2, 3]) {
    const sending = here.sendBytes(new Uint8Array(400).fill(n));
    received.push(await there.receiveBytes());
    await sending;
  }
  assertEquals(received, [...values, ...[2, 3].map((n) => new Uint8Array(400).fill(n))]);
});

/** An agent that waits for bytes, which come once this function has returned. */
async function receiveInto(agent: Agent, end: Connection<Any, Any>, timeout = Infinity) {
  const gate = new Int32Array(new SharedArrayBuffer(8));
  await agent.ready;
  const received = agent.run<Any>("receiveInto", end, timeout, gate);
  // Without the event loop, so that the wait is not over already.
  Atomics.wait(gate, 0, 0, 10_000);
  return { gate, id: gate[0]!, received };
}

Deno.test(
  "bytes that were half received when the call ended are received whole by later ones",
  TIMEOUT,
  async () => {
    using agent = new Agent(AGENTS);
    // In this order, as what was asked to stop stays so.
    for (const end of ["TimeoutError", "TerminatedError"]) {
      const [here, there] = pipe<Any>({ capacity: 64 });
      const isTimed = end === "TimeoutError";
      const { gate, id, received } = await receiveInto(agent, there, isTimed ? 50 : Infinity);
      const bytes = new Uint8Array(300).map((_, i) => i);
      const sending = here.sendBytes(bytes);
      // The rest of it cannot come meanwhile.
      block(20);
      if (!isTimed) requestStop(home(), id);
      Atomics.wait(gate, 1, 0, 10_000);
      const { error, target, next } = await received;
      assertEquals([error, next], [end, { state: "ok", value: bytes }]);
      // A call that timed out has had no effect.
      if (isTimed) assertEquals(target, new Uint8Array(300).fill(9));
      await sending;
    }
  },
);

Deno.test(
  "bytes that were given up half-way make room in the target for the next ones",
  TIMEOUT,
  async () => {
    using agent = new Agent(AGENTS);
    for (const length of [3, 250, 301]) {
      const [here, there] = pipe<Any>({ capacity: 64 });
      const { received } = await receiveInto(agent, there);
      const { signal, abort } = abortable();
      const given = assertRejects(() => here.sendBytes(new Uint8Array(290).fill(1), { signal }));
      block(20);
      abort(new Error("given up"));
      const bytes = new Uint8Array(length).fill(2);
      const sending = here.sendBytes(bytes);
      const { error, target, next } = await received;
      if (length <= 300) assertEquals([error, target], ["", bytes]);
      else assertEquals([error, next], ["RangeError", { state: "ok", value: bytes }]);
      await Promise.all([given, sending]);
    }
  },
);

Deno.test("bytes of which the sender's death leaves a part are not received", TIMEOUT, async () => {
  using agent = new Agent(AGENTS);
  const [here, there] = pipe<Any>({ capacity: 64 });
  const { received } = await receiveInto(agent, there);
  const sending = assertRejects(() => here.sendBytes(new Uint8Array(290)), ClosedError);
  block(20);
  here.close();
  const { error, next } = await received;
  assertEquals([error, next], ["ClosedError", { state: "closed" }]);
  await sending;
});

Deno.test("nothing of a subclass runs while its bytes are copied, in one piece or in many", async () => {
  class Noisy extends Uint8Array {
    static get [Symbol.species](): never {
      throw new Error("species");
    }
    override set(): never {
      throw new Error("set");
    }
    override subarray(): never {
      throw new Error("subarray");
    }
  }
  for (const length of [8, 500]) {
    const [here, there] = pipe<Any>({ capacity: 64 });
    const noisy = new Noisy(length).fill(3);
    for (const target of [new Noisy(500), new Uint8Array(500)]) {
      const sending = here.sendBytes(noisy);
      assertEquals(await there.receiveBytesInto(target), length);
      assertEquals(Array.from(target, Number).slice(0, length), new Array(length).fill(3));
      await sending;
    }
    const sending = here.sendBytes(noisy);
    assertEquals(there.receiveBytesIntoSync(new Noisy(500)), length);
    await sending;
    here.close();
    const { value } = await assertRejects(() => there.sendBytes(noisy), ClosedError);
    assertStrictEquals(value, noisy);
  }
});

Deno.test("what this stack is too deep to decode stays, in one piece or in many", async () => {
  for (const capacity of [2 ** 20, 2 ** 12]) {
    let nested: unknown = 0;
    for (let i = 0; i < 6_000; i++) nested = [nested];
    const [here, there] = pipe<Any>({ capacity });
    const sending = here.send(nested);
    // Looking gathers pieces, whereupon more is sent.
    for (let isSent = false; !isSent;) {
      there.pollSync({ timeout: 0 });
      isSent = await Promise.race([sending.then(() => true), turn().then(() => false)]);
    }
    let failed = 0;
    let received: Received<unknown> | undefined;
    const descend = (): void => {
      try {
        descend();
      } catch {
        // As deep as it goes: from here on back, until there is stack enough.
      }
      if (received !== undefined) return;
      try {
        received = there.tryReceive();
      } catch (error) {
        assertInstanceOf(error, RangeError);
        failed++;
      }
    };
    descend();
    assert(failed > 0);
    assertEquals(received?.state, "ok");
  }
});

Deno.test("a target that is detached while the call blocks leaves the message whole", async () => {
  const [here, there] = pipe<number>({ capacity: 32 });
  const [near, far] = pipe<Uint8Array>({ capacity: 64 });
  const target = new Uint8Array(1_000);
  let isBlocked = false;
  function* values() {
    for (let i = 0; i < 20; i++) {
      if (isBlocked && target.length > 0) structuredClone(target, { transfer: [target.buffer] });
      yield i;
    }
  }
  const sending = here.sendMany(values());
  assertEquals(await there.receive(), 0);
  const bytes = new Uint8Array(1_000).fill(1);
  const sent = near.sendBytes(bytes);
  isBlocked = true;
  assertThrows(() => far.receiveBytesIntoSync(target), RangeError, "the target has 0");
  assertEquals(far.receiveBytesSync(TIMEOUT), bytes);
  await sent;
  there.close();
  await sending;
});

Deno.test("a message is sent as it was, though what runs while the call blocks changes it", async () => {
  const [here, there] = pipe<number>({ capacity: 32 });
  const [near, far] = pipe<Uint8Array>({ capacity: 64 });
  const bytes = new Uint8Array(1_000).fill(1);
  let isBlocked = false;
  function* values() {
    for (let i = 0; i < 20; i++) {
      if (isBlocked) bytes.fill(2);
      yield i;
    }
  }
  const sending = here.sendMany(values());
  const received = far.receive();
  // Its input is asked for more as soon as this agent looks after its promises.
  assertEquals(await there.receive(), 0);
  isBlocked = true;
  near.sendBytesSync(bytes, { timeout: 10_000 });
  assertEquals(bytes[0], 2);
  assertEquals(await received, new Uint8Array(1_000).fill(1));
  there.close();
  await sending;
});

Deno.test("a promise with a timeout of 0 looks once", async () => {
  const [here, there] = pipe<number>();
  const received = there.receive({ timeout: 0 });
  here.sendSync(1);
  await assertRejects(() => received, DOMException, "0 ms passed");
  assertEquals(there.tryReceive(), { state: "ok", value: 1 });
});

Deno.test("a message as long as a record can be is sent at once if there is room", () => {
  const [left, right] = pipe({ capacity: 2 ** 27 });
  assertEquals(left.trySend(new Uint8Array(2 ** 26)), true);
  right.close();
});

Deno.test("a poll of no time does not wait, whoever asks the agent to end or aborts it", async () => {
  const [end] = pipe();
  const aborting = new AbortController();
  const polled = end.poll({ timeout: 0, signal: aborting.signal });
  aborting.abort();
  assertEquals(await polled, false);
  const { id, words, park } = home();
  requestStop(home(), id);
  try {
    assertEquals(end.pollSync({ timeout: 0 }), false);
    assertEquals(await end.poll({ timeout: 0 }), false);
  } finally {
    // The word after PARKED.
    Atomics.store(words, park + 2, 0);
  }
});

Deno.test("an item that cannot be sent is told, though the input fails as it is stopped", () => {
  const [left, right] = pipe();
  let i = 0;
  const values = {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: i++ === 0 ? 1 : () => {} }),
      return: () => {
        throw new RangeError("clean-up");
      },
    }),
  };
  assertThrows(() => left.sendManySync(values as unknown as Iterable<unknown>), DOMException);
  assertEquals(right.receiveSync(), 1);
});

Deno.test("integers of memory that others share are sent as many as there are at the call", () => {
  const [here, there] = pipe<number>({ duplex: false });
  const memory = new SharedArrayBuffer(8, { maxByteLength: 64 });
  const values = new Int32Array(memory);
  values.set([1, 2]);
  assertEquals(there.sendManySync(values), 2);
  memory.grow(16);
  assertEquals(there.sendManySync(values), 4);
  assertEquals(here.receiveManySync(9), [1, 2, 1, 2, 0, 0]);
});

Deno.test("what only looks like an array of integers is sent one by one", () => {
  const [here, there] = pipe<number>({ duplex: false });
  const list: Iterable<number> = Object.setPrototypeOf([7, 8], Int32Array.prototype);
  Object.defineProperty(list, Symbol.iterator, { value: Array.prototype[Symbol.iterator] });
  assertEquals(there.sendManySync(list), 2);
  assertEquals(here.receiveManySync(9), [7, 8]);
});
