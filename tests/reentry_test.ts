// Copyright 2026 the Sabre authors. MIT license.

// What user code does in the middle of a call, and other awkward moments: an input that aborts its own call,
// a getter that closes the end, a target that is detached, an object that is collected.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { bury, home, unpark } from "../_agent.ts";
import { GIVE } from "../_handle.ts";
import { mutexAt, TAKEN, tryTake } from "../_mutex.ts";
import { waitSync } from "../_wait.ts";
import { Condition } from "../condition.ts";
import { AbandonedError, ClosedError, RemoteError, TerminatedError } from "../errors.ts";
import { Lock } from "../lock.ts";
import { type Connection, pipe } from "../pipe.ts";
import { Pool } from "../pool.ts";
import { Queue } from "../queue.ts";
import { abortable, settlesSoon, turn } from "./_helpers.ts";
import { errorName, ghost } from "./_workers.ts";

function fill(end: Connection<unknown, unknown>): number {
  let count = 0;
  while (end.trySend(count)) count++;
  return count;
}

function drain(end: Connection<unknown, unknown>): unknown[] {
  const got: unknown[] = [];
  for (;;) {
    const received = end.tryReceive();
    if (received.state !== "ok") return got;
    got.push(received.value);
  }
}

function* each<T>(...values: T[]): Generator<T> {
  yield* values;
}

/** An input without end that throws when it is told to end. */
function sore(): Iterable<number> {
  return {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: 7 }),
      return: () => {
        throw new Error("from return()");
      },
    }),
  };
}

// -- Pipes --------------------------------------------------------------------------------------

Deno.test("Connection.sendBytes() sends its own bytes when calls before it go through at that moment", async () => {
  for (const form of ["sendBytes", "sendBytesSync"] as const) {
    const [here, there] = pipe<unknown>({ capacity: 64 });
    fill(here);
    const before = here.sendMany(each("first", "second"));
    drain(there);
    const bytes = new Uint8Array(15).fill(9);
    await here[form](bytes);
    assertEquals(drain(there), ["first", "second", bytes]);
    assertEquals(await before, 2);
  }
});

Deno.test("Connection.sendSync() sends its own message behind a promise that is not the first one", async () => {
  const [here, there] = pipe<unknown>({ capacity: 64 });
  fill(here);
  const first = here.send(1_000);
  const second = here.sendMany(each("one", "two"));
  there.tryReceive();
  await first;
  const got: unknown[] = [];
  // The getter stands for another agent that receives while this one blocks.
  const value = {
    get text() {
      got.push(...drain(there));
      return "of sendSync";
    },
  };
  here.sendSync(value, { timeout: 50 });
  got.push(...drain(there));
  assertEquals(got.slice(-4), [1_000, "one", "two", { text: "of sendSync" }]);
  assertEquals(await second, 2);
});

Deno.test("Connection.sendBytesSync() takes shared bytes as they are at the call", () => {
  const [here, there] = pipe<unknown>({ capacity: 64 });
  fill(here);
  const bytes = new Uint8Array(new SharedArrayBuffer(8)).fill(1);
  const { wait } = Atomics;
  // What another agent does while this one sleeps.
  Atomics.wait = (() => {
    Atomics.wait = wait;
    bytes.fill(2);
    drain(there);
    return "ok";
  }) as typeof Atomics.wait;
  here.sendBytesSync(bytes, { timeout: 1_000 });
  assertEquals(drain(there), [new Uint8Array(8).fill(1)]);
});

Deno.test("Connection: a poll that is pending when the end is given away ends, and takes no piece of a message", async () => {
  const [here, there] = pipe<string>({ capacity: 64 });
  const polling = errorName(() => there.poll());
  const child = ghost();
  const give = (there as unknown as { [GIVE](id: number): () => void })[GIVE];
  give.call(there, child.id);
  const sent = here.send("x".repeat(100));
  // News of any other primitive.
  unpark(home(), home().id);
  assertEquals(await settlesSoon(sent), false);
  assertEquals(await polling, "ClosedError");
  here.close();
  await errorName(() => sent);
  bury(home(), child.id);
});

Deno.test("Connection: a poll that is pending when the end is given away ends by itself", async () => {
  const [, there] = pipe<string>();
  const polling = errorName(() => there.poll());
  const child = ghost();
  (there as unknown as { [GIVE](id: number): () => void })[GIVE](child.id);
  assertEquals(await polling, "ClosedError");
  bury(home(), child.id);
});

Deno.test("Connection: to undo that an end was given away leaves it to whom it has gone on to", () => {
  const [, there] = pipe<string>();
  const [child, grandchild] = [ghost(), ghost()];
  const undo = (there as unknown as { [GIVE](id: number): () => void })[GIVE](child.id);
  const words = new Int32Array(there.handle.memory);
  const owner = words.indexOf(child.id);
  assertEquals(words.lastIndexOf(child.id), owner);
  Atomics.store(words, owner, grandchild.id);
  undo();
  assertEquals(Atomics.load(words, owner), grandchild.id);
  assertThrows(() => there.sendSync("x"), TypeError);
  for (const { id } of [child, grandchild]) bury(home(), id);
});

Deno.test("Connection.close(): an input that is told to end can neither abort its call nor receive", async () => {
  const [here, there] = pipe<unknown>({ capacity: 64 });
  fill(here);
  there.sendSync("unread");
  const { signal, abort } = abortable();
  let received: unknown;
  const sent = errorName(() =>
    here.sendMany({
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: 7 }),
        return: () => {
          abort(new Error("stop"));
          received = here.tryReceive();
          return { done: true, value: undefined };
        },
      }),
    }, { signal })
  );
  here.close();
  assertEquals([await sent, received], ["ClosedError", { state: "closed" }]);
});

Deno.test("Connection.sendMany(): an input that throws when it is told to end changes nothing", async () => {
  const [here] = pipe<unknown>({ capacity: 64 });
  fill(here);
  assertEquals(await errorName(() => here.sendMany(sore(), { timeout: 1 })), "TimeoutError");
  assertEquals(await errorName(() => here.sendManySync(sore(), { timeout: 1 })), "TimeoutError");
  const { signal, abort } = abortable();
  const aborted = assertRejects(() => here.sendMany(sore(), { signal }), Error, "stop");
  abort(new Error("stop"));
  await aborted;
  const closed = errorName(() => here.sendMany(sore()));
  const behind = errorName(() => here.send(1));
  here.close();
  assertEquals([await closed, await behind], ["ClosedError", "ClosedError"]);
});

Deno.test("Connection.sendMany() ends when its own input aborts it, and tells it so", async () => {
  const [here, there] = pipe<unknown>({ capacity: 64 });
  fill(here);
  const { signal, abort } = abortable();
  let told = false;
  function* input() {
    try {
      yield "first";
      abort(new Error("stop"));
      yield "never";
    } finally {
      told = true;
    }
  }
  const sent = here.sendMany(input(), { signal });
  drain(there);
  assertEquals([await sent, told, drain(there)], [1, true, ["first"]]);
});

Deno.test("Connection.send() ends when encoding its value aborts it", async () => {
  const [here] = pipe<unknown>({ capacity: 64 });
  fill(here);
  const { signal, abort } = abortable();
  const value = {
    get x() {
      abort(new Error("stop"));
      return 1;
    },
  };
  await assertRejects(() => here.send(value, { signal }), Error, "stop");
});

Deno.test("Connection.sendMany() sends nothing once its own input has closed the end", () => {
  const [here, there] = pipe<unknown>();
  function* input() {
    yield 1;
    here.close();
    yield 2;
  }
  assertThrows(() => here.sendManySync(input()), ClosedError);
  assertEquals(drain(there), [1]);
  const [other, end] = pipe<unknown>();
  const closing = {
    [Symbol.iterator]: () => {
      other.close();
      return each(1, 2);
    },
  };
  assertThrows(() => other.sendManySync(closing), ClosedError);
  assertEquals(drain(end), []);
});

Deno.test("Connection.sendManySync() that only this agent could go on with returns how many went through", () => {
  const [here, there] = pipe<number>({ capacity: 64 });
  there.tryReceive();
  assertEquals(here.sendManySync(Array.from({ length: 100 }, (_, i) => i)), 16);
  assertEquals(there.receiveManySync(100).length, 16);
});

Deno.test("an input without end, of which nothing stays, ends with its time or its signal", {
  timeout: 20_000,
}, async () => {
  const [here, there] = pipe<number>();
  using queue = new Queue<number>();
  const endless = function* (take: () => unknown) {
    for (let i = 0;; i++) {
      yield i;
      take();
    }
  };
  const sending = () => endless(() => there.tryReceive());
  const putting = () => endless(() => queue.tryGet());
  for (const timeout of [0, 20]) {
    assert(here.sendManySync(sending(), { timeout }) > 0);
    assert(await here.sendMany(sending(), { timeout }) > 0);
    assert(queue.putManySync(putting(), { timeout }) > 0);
    assert(await queue.putMany(putting(), { timeout }) > 0);
  }
  // The timer that fires it belongs to the event loop of the call.
  assert(await here.sendMany(sending(), { signal: AbortSignal.timeout(20) }) > 0);
  assert(await queue.putMany(putting(), { signal: AbortSignal.timeout(20) }) > 0);
});

Deno.test("Connection.sendMany() counts what went through before an abort, whatever its reason is", async () => {
  const [here] = pipe<number>({ capacity: 64 });
  const { signal, abort } = abortable();
  const sent = here.sendMany(Array.from({ length: 100 }, (_, i) => i), { signal });
  abort(new TerminatedError("a child was terminated"));
  assertEquals(await sent, 16);
});

Deno.test("Connection.receiveManyInto() a target that was detached meanwhile is a TypeError, and the message stays", async () => {
  const [here, there] = pipe<number>();
  const target = new Int32Array(4);
  const received = assertRejects(() => there.receiveManyInto(target), TypeError);
  structuredClone(target.buffer, { transfer: [target.buffer] });
  here.sendSync(1);
  await received;
  assertEquals(there.tryReceive(), { state: "ok", value: 1 });
});

Deno.test("Connection: its object may be collected at any time, if its handle is kept", async () => {
  const program = new URL("./testdata/collected.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "--v8-flags=--expose-gc", "--allow-read", program];
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  const text = new TextDecoder();
  assertEquals(text.decode(stderr), "");
  assertEquals(JSON.parse(text.decode(stdout)), [
    [2, 3, 4],
    200,
    200,
    "y",
    true,
    true,
    true,
    true,
    [5, 6, 7, 8],
  ]);
});

// -- Queues -------------------------------------------------------------------------------------

Deno.test("Queue.putMany(): an input that throws when it is told to end changes nothing", async () => {
  const queue = new Queue<number>({ maxItems: 1 });
  queue.putSync(1);
  assertEquals(await errorName(() => queue.putMany(sore(), { timeout: 1 })), "TimeoutError");
  assertEquals(await errorName(() => queue.putManySync(sore(), { timeout: 1 })), "TimeoutError");
  const { signal, abort } = abortable();
  const aborted = assertRejects(() => queue.putMany(sore(), { signal }), Error, "stop");
  abort(new Error("stop"));
  await aborted;
});

Deno.test("Queue.putMany() ends when its own input aborts it, and tells it so", async () => {
  const queue = new Queue<number>({ maxItems: 1 });
  queue.putSync(0);
  const { signal, abort } = abortable();
  let told = false;
  let inner: Promise<void> | undefined;
  function* input() {
    try {
      yield 1;
      // It has a place in line by now.
      inner = queue.put(9);
      abort(new Error("stop"));
      yield 2;
    } finally {
      told = true;
    }
  }
  const put = queue.putMany(input(), { signal });
  assertEquals(queue.getSync(), 0);
  assertEquals([await put, told, await queue.get()], [1, true, 1]);
  await inner;
  assertEquals([queue.getSync(), queue.size, queue.full], [9, 0, false]);
});

Deno.test("Queue.put() ends when encoding its value aborts it", async () => {
  const queue = new Queue<unknown>({ maxItems: 1 });
  queue.putSync(0);
  const { signal, abort } = abortable();
  const value = {
    get x() {
      abort(new Error("stop"));
      return 1;
    },
  };
  await assertRejects(() => queue.put(value, { signal }), Error, "stop");
});

Deno.test("Queue.getManyInto() a target that was detached meanwhile is a TypeError, and the item stays", async () => {
  const queue = new Queue<number>();
  const target = new Int32Array(4);
  const got = assertRejects(() => queue.getManyInto(target), TypeError);
  structuredClone(target.buffer, { transfer: [target.buffer] });
  queue.putSync(1);
  await got;
  assertEquals(queue.getSync(), 1);
});

// -- Waits -------------------------------------------------------------------------------------

Deno.test("waitSync() sleeps so that it can be woken, also after a wait within it", () => {
  const domain = home();
  const parked = domain.park + 1;
  let looks = 0;
  const poll = () => {
    if (++looks === 1) waitSync(domain, { poll: () => false, withdraw: () => true }, 1, "inner");
    return looks > 1;
  };
  const { wait } = Atomics;
  const seen: number[] = [];
  Atomics.wait = ((...args: Parameters<typeof wait>) => {
    seen.push(Atomics.load(domain.words, parked));
    return wait(args[0], args[1], args[2], Math.min(args[3] ?? 1, 1));
  }) as typeof wait;
  try {
    assertEquals(waitSync(domain, { poll, withdraw: () => true }, 1_000, "outer"), true);
  } finally {
    Atomics.wait = wait;
  }
  assertEquals([...new Set(seen)], [1]);
});

// -- Locks --------------------------------------------------------------------------------------

Deno.test("Lock: an acquire that was aborted stands in nobody's way at once", async () => {
  const lock = new Lock();
  const guard = lock.acquireSync();
  const { signal, abort } = abortable();
  const aborted = errorName(() => lock.acquire({ signal }));
  abort(new DOMException("", "AbortError"));
  guard.release();
  const next = lock.tryAcquire();
  assertEquals(next?.held, true);
  next?.release();
  assertEquals(await aborted, "AbortError");
});

// -- Conditions ---------------------------------------------------------------------------------

Deno.test("Condition: a waiter hears of a dead holder although somebody waits for the lock who does not recover", async () => {
  const lock = new Lock();
  const condition = new Condition(lock);
  const guard = await lock.acquire();
  const waiting = assertRejects(() => condition.wait(guard), AbandonedError);
  const holder = ghost();
  assertEquals(tryTake(mutexAt(holder, new Int32Array(lock.handle.memory), 0)), TAKEN);
  const other = assertRejects(() => lock.acquire(), AbandonedError);
  // So long that the lock is handed over rather than left free.
  const start = performance.now();
  while (performance.now() - start < 3) await turn();
  bury(home(), holder.id);
  await other;
  assertEquals(await settlesSoon(waiting), true);
  assertEquals([guard.held, guard.abandoned], [true, true]);
  guard.release();
});

Deno.test("Condition: the guard is held after an abort, whatever its reason is", async () => {
  const condition = new Condition();
  const guard = await condition.lock.acquire();
  const { signal, abort } = abortable();
  const waiting = errorName(() => condition.wait(guard, { signal }));
  abort(new TerminatedError("a child was terminated"));
  assertEquals([await waiting, guard.held], ["TerminatedError", true]);
  guard.release();
});

// -- Pools --------------------------------------------------------------------------------------

const MODULE = import.meta.resolve("./testdata/pool_targets.ts");

Deno.test("Pool: what a task throws need not have a text", async () => {
  await using pool = new Pool(MODULE, { size: 1 });
  const error = await assertRejects(() => pool.run("throwTextless"), RemoteError);
  assertEquals(error.cause, { toString: 1 });
  assertEquals(await pool.run("echo", [1]), 1);
});

Deno.test("Pool: an end of a pipe that is closed cannot be passed, and the pool goes on", async () => {
  await using pool = new Pool(MODULE, { size: 1 });
  const [end] = pipe();
  end.close();
  await assertRejects(() => pool.run("echo", [end]), ClosedError);
  assertEquals(await pool.run("echo", [1]), 1);
});

Deno.test("Pool: a result that throws when it is read is a RemoteError, whatever it throws", async () => {
  await using pool = new Pool(MODULE, { size: 1 });
  await assertRejects(() => pool.run("returnThrower"), RemoteError, "mine");
});

Deno.test("Pool: arguments that end it all while they are encoded", async () => {
  await using pool = new Pool(MODULE, { size: 1 });
  const { signal, abort } = abortable();
  const aborting = {
    get x() {
      abort(new Error("stop"));
      return 1;
    },
  };
  await assertRejects(() => pool.run("echo", [aborting], { signal }), Error, "stop");
  const closing = {
    get x() {
      pool.close();
      return 1;
    },
  };
  await assertRejects(() => pool.map("echo", [closing]), ClosedError);
});

Deno.test("Pool.imap(): an asynchronous input that answers with nonsense ends it", async () => {
  await using pool = new Pool(MODULE, { size: 1 });
  const input = { [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve(undefined) }) };
  const items = input as unknown as AsyncIterable<number>;
  await assertRejects(() => Array.fromAsync(pool.imap("echo", items)), TypeError);
});

// -- Calls ------------------------------------------------------------------------------------

Deno.test("Calls: promises are served while their agent blocks elsewhere, also those behind one that is through", async () => {
  const [here, there] = pipe<unknown>({ capacity: 64 });
  fill(here);
  const first = here.send(1_000);
  const second = here.send("second");
  there.tryReceive();
  await first;
  drain(there);
  const [other] = pipe();
  // It blocks, and serves what waits at the other pipe meanwhile.
  assertEquals(await errorName(() => other.receiveSync({ timeout: 5 })), "TimeoutError");
  assertEquals(drain(there), ["second"]);
  await second;
});
