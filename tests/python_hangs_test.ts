// Copyright 2026 the Sabre authors. MIT license.

// Where Python's multiprocessing hangs, loses or damages something, case by case; here it must not.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  AbandonedError,
  Barrier,
  BrokenBarrierError,
  ClosedError,
  Condition,
  Lock,
  pipe,
  Pool,
  Process,
  Queue,
  RemoteError,
  RLock,
  Semaphore,
  SharedArray,
  SharedEvent,
  SharedValue,
  TerminatedError,
} from "../mod.ts";
import { block, until } from "./_helpers.ts";
import * as targets from "./testdata/python_hangs_targets.ts";

const TARGETS = new URL("./testdata/python_hangs_targets.ts", import.meta.url);
const LIMIT = { timeout: 30_000 };
/** How soon those who are left must know, in milliseconds. */
const SOON = { timeout: 2_000 };

Deno.test("Queue.empty() is false and get_nowait() succeeds right after put()", () => {
  const queue = new Queue<number>();
  for (let i = 0; i < 200; i++) {
    queue.putSync(i);
    assertEquals([queue.empty, queue.size], [false, 1]);
    assertEquals(queue.tryGet(), { state: "ok", value: i });
  }
});

Deno.test("Queue.put() takes the item as it is at the call", async () => {
  const queue = new Queue<number[]>();
  const item = [1];
  queue.putSync(item);
  item.push(2);
  assertEquals(await queue.get(), [1]);
});

Deno.test("Queue.put() of what cannot be passed throws in the sender and puts nothing", () => {
  const queue = new Queue<unknown>();
  const error = assertThrows(() => queue.putSync(() => {}), DOMException);
  assertEquals([error.name, queue.size], ["DataCloneError", 0]);
});

Deno.test(
  "Queue.get(timeout) keeps its time when a producer dies inside an item",
  LIMIT,
  async () => {
    const queue = new Queue<unknown>();
    await using child = new Process(TARGETS, { target: targets.dieInPut, args: [queue] }).start();
    await child.join();
    const start = performance.now();
    assertEquals(
      (await assertRejects(() => queue.get({ timeout: 50 }), DOMException)).name,
      "TimeoutError",
    );
    assertThrows(() => queue.getSync({ timeout: 50 }), DOMException);
    assert(performance.now() - start < 1_000);
    queue.putSync("next");
    assertEquals(await queue.get(), "next");
  },
);

Deno.test(
  "Queue.get() is all or nothing when a producer is killed inside a large item",
  LIMIT,
  async () => {
    const queue = new Queue<unknown>();
    const ready = new SharedEvent();
    await using child = new Process(TARGETS, { target: targets.putLarge, args: [queue, ready] })
      .start();
    await ready.wait();
    block(20);
    await child.terminate({ grace: 0 });
    const found = queue.tryGet();
    if (found.state === "ok") assertEquals((found.value as Uint8Array).length, 10_000_000);
    queue.putSync("next");
    assertEquals(await queue.get(SOON), "next");
  },
);

Deno.test("Queue.get() goes on when a consumer is killed inside it", LIMIT, async () => {
  const queue = new Queue<number>();
  const ready = new SharedEvent();
  await using child = new Process(TARGETS, { target: targets.getOne, args: [queue, ready] })
    .start();
  await ready.wait();
  block(20);
  await child.terminate({ grace: 0 });
  queue.putSync(1);
  assertEquals(await queue.get(SOON), 1);
  assertEquals(queue.size, 0);
});

Deno.test("Queue.close() ends it for every consumer, and drains it first", LIMIT, async () => {
  const queue = new Queue<number>();
  await using one = new Process(TARGETS, { target: targets.countItems, args: [queue] }).start();
  await using two = new Process(TARGETS, { target: targets.countItems, args: [queue] }).start();
  for (let i = 0; i < 1_000; i++) queue.putSync(i);
  queue.close();
  assertEquals(await one.result + await two.result, 1_000);
});

Deno.test("Process.join() returns although nobody has emptied the queue", LIMIT, async () => {
  const queue = new Queue<Uint8Array>({ capacity: 2 ** 20 });
  await using child = new Process(TARGETS, { target: targets.putAndEnd, args: [queue] }).start();
  await child.join({ timeout: 20_000 });
  assertEquals([child.exitCode, queue.size], [0, 9]);
  assertEquals((await queue.get()).length, 100_000);
});

Deno.test(
  "Connection.recv() ends with the child although the parent has kept the child's end",
  LIMIT,
  async () => {
    const [here, there] = pipe<string>();
    await using child = new Process(TARGETS, { target: targets.sendOne, args: [there as never] })
      .start();
    assertEquals(here.receiveSync(), "once");
    assertThrows(() => here.receiveSync({ timeout: 10_000 }), ClosedError);
    await child.join();
    assertEquals(there.closed, false);
  },
);

Deno.test("Connection.recv() ends when the sender is killed inside a message", LIMIT, async () => {
  const [here, there] = pipe<Uint8Array>();
  const ready = new SharedEvent();
  await using child = new Process(TARGETS, {
    target: targets.sendLarge,
    args: [there as never, ready],
  }).start();
  await ready.wait();
  block(20);
  await child.terminate({ grace: 0 });
  await assertRejects(() => here.receive(SOON), ClosedError);
  assertThrows(() => here.receiveSync(SOON), ClosedError);
});

Deno.test("Condition.notify_all() returns although a waiter has died", LIMIT, async () => {
  const condition = new Condition();
  const waiting = new SharedValue("i32");
  const start = () =>
    new Process(TARGETS, { target: targets.waitForNotice, args: [condition, waiting] }).start();
  await using dead = start();
  await using alive = start();
  await until(() => waiting.value === 2);
  await dead.terminate({ grace: 0 });
  {
    using _guard = await condition.lock.acquire(SOON);
    condition.notify();
  }
  await alive.join(SOON);
  using _guard = condition.lock.acquireSync(SOON);
  condition.notifyAll();
});

Deno.test("Barrier.wait() ends when another party has died in it", LIMIT, async () => {
  const barrier = new Barrier(3);
  await using child = new Process(TARGETS, { target: targets.waitAtBarrier, args: [barrier] })
    .start();
  await until(() => barrier.waiting === 1);
  const broken = assertRejects(() => barrier.wait(SOON), BrokenBarrierError);
  await child.terminate({ grace: 0 });
  await broken;
  assertThrows(() => barrier.waitSync(SOON), BrokenBarrierError);
});

Deno.test("Barrier(2).wait(timeout) keeps its time", async () => {
  const start = performance.now();
  await assertRejects(() => new Barrier(2).wait({ timeout: 20 }), DOMException);
  assert(performance.now() - start < 1_000);
});

for (const lock of [new Lock(), new RLock()]) {
  const { name } = lock.constructor;
  Deno.test(`${name} whose owner died says so and can be recovered`, LIMIT, async () => {
    await using child = new Process(TARGETS, { target: targets.dieHolding, args: [lock] }).start();
    await child.join();
    await assertRejects(() => lock.acquire(SOON), AbandonedError);
    assertThrows(() => lock.tryAcquire(), AbandonedError);
    const guard = lock.acquireSync({ ...SOON, recover: true });
    assertEquals(guard.abandoned, true);
    guard.release();
    lock.acquireSync(SOON).release();
  });
}

Deno.test("Semaphore gets the permits of a process that died back", LIMIT, async () => {
  const semaphore = new Semaphore(2);
  await using child = new Process(TARGETS, { target: targets.dieWithPermits, args: [semaphore] })
    .start();
  await child.join();
  using _guard = await semaphore.acquire({ permits: 2, ...SOON });
});

Deno.test("Pool survives a worker that dies in a task", LIMIT, async () => {
  await using pool = new Pool(TARGETS, { size: 1 });
  await assertRejects(() => pool.run(targets.die), AbandonedError);
  assertEquals(await pool.run(targets.double, [2]), 4);
});

Deno.test("Pool survives sys.exit() in a task, with whatever code", LIMIT, async () => {
  await using pool = new Pool(TARGETS, { size: 1 });
  for (const code of [0, 1]) {
    await assertRejects(() => pool.run(targets.exitWith, [code]), AbandonedError);
    assertEquals(await pool.map(targets.double, [1, 2]), [2, 4]);
  }
});

Deno.test("Pool survives an idle worker that dies", LIMIT, async () => {
  await using pool = new Pool(TARGETS, { size: 1 });
  await pool.run(targets.dieIdle);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(await pool.run(targets.double, [2]), 4);
});

Deno.test("Pool reports errors that cannot be passed, and undefined", LIMIT, async () => {
  await using pool = new Pool(TARGETS, { size: 1 });
  await assertRejects(() => pool.run(targets.throwUnreadable), RemoteError, "unreadable");
  const error = await assertRejects(() => pool.run(targets.throwNothing), RemoteError);
  assertEquals(error.cause, undefined);
  assertEquals(await pool.run(targets.double, [2]), 4);
});

Deno.test("Pool rejects what waits when its initializer throws", LIMIT, async () => {
  await using pool = new Pool(TARGETS, { size: 2, initializer: targets.failToStart });
  await assertRejects(() => pool.run(targets.double, [1]), RemoteError, "no start");
  await assertRejects(() => pool.map(targets.double, [1, 2, 3]), RemoteError, "no start");
});

Deno.test("Pool.terminate() rejects what waits and what runs", LIMIT, async () => {
  await using pool = new Pool(TARGETS, { size: 1 });
  const calls = [
    pool.run(targets.never),
    pool.run(targets.double, [1]),
    pool.map(targets.double, [1]),
  ];
  const ends = calls.map((call) => assertRejects(() => call, TerminatedError));
  await pool.terminate();
  await Promise.all(ends);
});

Deno.test("Pool.map() refuses a chunksize of 0 or less", LIMIT, async () => {
  await using pool = new Pool(TARGETS, { size: 1 });
  for (const chunkSize of [0, -1]) {
    await assertRejects(() => pool.map(targets.double, [1, 2], { chunkSize }), RangeError);
  }
});

Deno.test("Pool.imap() reads its input no further than its buffer", LIMIT, async () => {
  await using pool = new Pool(TARGETS, { size: 1 });
  let read = 0;
  const input = function* () {
    while (read < 50) yield read++;
  };
  for await (const result of pool.imap(targets.double, input(), { bufferSize: 4 })) {
    assertEquals(result, 0);
    break;
  }
  assert(read <= 6, `${read} were read`);
});

Deno.test("Value loses no increment of two processes", LIMIT, async () => {
  const value = new SharedValue("i32");
  await using one = new Process(TARGETS, { target: targets.addMany, args: [value] }).start();
  await using two = new Process(TARGETS, { target: targets.addMany, args: [value] }).start();
  await Promise.all([one.result, two.result]);
  assertEquals(value.value, 40_000);
});

Deno.test("Barrier(0) is refused", () => {
  assertThrows(() => new Barrier(0), RangeError);
});

Deno.test("Array of seven elements has no element -8", () => {
  const array = new SharedArray("i32", 7);
  for (const index of [-8, 7]) assertThrows(() => array.at(index), RangeError);
  assertThrows(() => array.get(-8), RangeError);
});

Deno.test("Event.set() and clear() at once release whoever waits", LIMIT, async () => {
  const event = new SharedEvent();
  const waiting = new SharedValue("i32");
  const start = () =>
    new Process(TARGETS, { target: targets.waitForPulse, args: [event, waiting] }).start();
  await using one = start();
  await using two = start();
  await until(() => waiting.value === 2);
  const mine = event.wait(SOON);
  // The others have said that they are about to wait: they need a moment more.
  await new Promise((resolve) => setTimeout(resolve, 50));
  event.set();
  event.clear();
  assertEquals([await mine, await one.result, await two.result], [true, true, true]);
});
