// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { ClosedError } from "../errors.ts";
import { SharedEvent } from "../event.ts";
import { Lock } from "../lock.ts";
import { pipe } from "../pipe.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { select, type Selectable, selectSync } from "../select.ts";
import { SharedValue } from "../shared.ts";
import { abortable, settlesSoon, turn, until } from "./_helpers.ts";
import * as targets from "./testdata/select_targets.ts";

const MODULE = import.meta.resolve("./testdata/select_targets.ts");
const LIMIT = { timeout: 30_000 };

function test(name: string, fn: () => Promise<void> | void): void {
  Deno.test(name, LIMIT, fn);
}

// deno-lint-ignore no-explicit-any
function start<F extends (...args: any[]) => unknown>(
  target: F,
  ...args: Parameters<F>
): Process<F> {
  return new Process<F>(MODULE, { target, args }).start();
}

/** Both forms, as one that is awaited. */
const FORMS: [
  string,
  <S extends Selectable>(
    sources: Iterable<S>,
    options?: { timeout?: number },
  ) => Promise<S[]>,
][] = [
  ["select()", select],
  // deno-lint-ignore require-await
  ["selectSync()", async (sources, options) => selectSync(sources, options)],
];

function full<T>(...values: T[]): Queue<T> {
  const queue = new Queue<T>();
  for (const value of values) queue.putSync(value);
  return queue;
}

for (const [form, wait] of FORMS) {
  test(`${form} gives those that are ready, in the order given`, async () => {
    const [a, b, c] = [full(1), new Queue<number>(), full(2)];
    const event = new SharedEvent();
    event.set();
    assertEquals(await wait([a, b, c]), [a, c]);
    assertEquals(await wait([c, b, a]), [c, a]);
    assertEquals(await wait<Selectable>([b, event, c]), [event, c]);
    assertEquals(await wait(new Set([c, a]).values()), [c, a]);
  });

  test(`${form} gives duplicates once`, async () => {
    const [a, b] = [full(1), full(2)];
    assertEquals(await wait([b, a, b, a]), [b, a]);
    assertEquals((await wait([b, b])).length, 1);
  });

  test(`${form} is level-triggered and consumes nothing`, async () => {
    const [here, there] = pipe<string>();
    const queue = full("item");
    there.sendSync("message");
    for (let i = 0; i < 3; i++) assertEquals(await wait<Selectable>([here, queue]), [here, queue]);
    assertEquals([queue.size, here.receiveSync(), queue.getSync()], [1, "message", "item"]);
    assertEquals(await wait<Selectable>([here, queue], { timeout: 0 }), []);
  });

  test(`${form} gives an empty list when the time is over`, async () => {
    const sources = [new Queue(), new SharedEvent(), pipe()[0]];
    for (const timeout of [0, -1, 5]) assertEquals(await wait(sources, { timeout }), []);
  });

  test(`${form} refuses bad arguments`, async () => {
    const queue = new Queue();
    await assertRejects(() => wait([]), RangeError, "no sources");
    await assertRejects(() => wait([], { timeout: 0 }), RangeError);
    await assertRejects(() => wait([queue], { timeout: NaN }), RangeError);
    await assertRejects(() => wait([queue], { timeout: "1" as never }), TypeError);
    for (const source of [new Lock(), {}, null, 7, Promise.resolve()]) {
      await assertRejects(() => wait([queue, source as never]), TypeError, "source");
    }
    await assertRejects(() => wait(7 as never), TypeError);
  });

  test(`${form} refuses a connection that only sends`, async () => {
    const [receiver, sender] = pipe<number>({ duplex: false });
    await assertRejects(() => wait([full(1), sender] as Selectable[]), TypeError);
    sender.sendSync(1);
    assertEquals(await wait([receiver]), [receiver]);
  });

  test(`${form} reports the ends of connections and queues`, async () => {
    const [here, there] = pipe<number>();
    const queue = new Queue<number>();
    there.close();
    queue.close();
    assertEquals(await wait<Selectable>([queue, here]), [queue, here]);
    here.close();
    await assertRejects(() => wait([here]), ClosedError);
  });

  test(`${form} reports an event while it is set`, async () => {
    const event = new SharedEvent();
    assertEquals(await wait([event], { timeout: 0 }), []);
    event.set();
    assertEquals(await wait([event]), [event]);
    event.clear();
    assertEquals(await wait([event], { timeout: 0 }), []);
  });

  test(`${form} reports a process once it has ended, however it did`, async () => {
    const event = new SharedEvent();
    await using waiting = start(targets.waitFor, event);
    await using returning = start(targets.nothing);
    assertEquals(await wait<Selectable>([waiting, returning]), [returning]);
    assertEquals([returning.alive, returning.exitCode], [false, 0]);
    await using exiting = start(targets.exit);
    assertEquals(await wait<Selectable>([waiting, exiting]), [exiting]);
    event.set();
    assertEquals(await wait<Selectable>([waiting]), [waiting]);
    assertEquals(await wait<Selectable>([waiting, exiting]), [waiting, exiting]);
  });

  test(`${form} refuses a process that was not started`, async () => {
    const process = new Process(MODULE, { target: "nothing" });
    await assertRejects(() => wait([process]), TypeError, "not started");
  });

  test(`${form} is woken by another agent, whatever the source`, async () => {
    const queue = new Queue<number>();
    const [here, there] = pipe<never, number>();
    const event = new SharedEvent();
    const sources: Selectable[] = [here, queue, event];
    await using _putting = start(targets.put, queue, 7);
    assertEquals(await wait(sources), [queue]);
    assertEquals(queue.getSync(), 7);
    await using _sending = start(targets.send, there as never, 8);
    assertEquals(await wait(sources), [here]);
    assertEquals(here.receiveSync(), 8);
    // That process has ended, and its end with it.
    await _sending.join();
    assertEquals(await wait(sources), [here]);
    await using _setting = start(targets.set, event);
    assertEquals(await wait([queue, event]), [event]);
  });

  test(`${form} leaves nothing behind`, async () => {
    const queue = new Queue<number>();
    const [here, there] = pipe<number>();
    const event = new SharedEvent();
    for (let i = 0; i < 5; i++) {
      assertEquals(await wait<Selectable>([queue, here, event], { timeout: 1 }), []);
    }
    // Those that come later are served at once: nobody is in front of them.
    const got = queue.get();
    const received = here.receive();
    const waited = event.wait();
    queue.putSync(1);
    there.sendSync(2);
    event.set();
    assertEquals([await got, await received, await waited], [1, 2, true]);
    assertEquals([queue.size, queue.tryGet().state], [0, "empty"]);
  });
}

test("select() waits without blocking, and resolves when a source gets ready", async () => {
  const [a, b] = [new Queue<number>(), new Queue<number>()];
  const selected = select([a, b]);
  assert(!await settlesSoon(selected));
  b.putSync(1);
  assertEquals(await selected, [b]);
  assertEquals(b.size, 1);
});

test("select() reads its sources at the call", async () => {
  const queue = new Queue<number>();
  const sources = [queue];
  const selected = select(sources);
  sources.length = 0;
  queue.putSync(1);
  assertEquals(await selected, [queue]);
});

test("select() never throws, and selectSync() does", async () => {
  const promise = select([]);
  assert(promise instanceof Promise);
  await assertRejects(() => promise, RangeError);
  assertThrows(() => selectSync([]), RangeError);
});

test("select() is aborted with the signal's reason, which wins over everything", async () => {
  const queue = new Queue<number>();
  const { signal, abort } = abortable();
  const selected = select([queue], { signal }).catch((reason) => reason);
  await turn();
  abort("stop");
  assertEquals(await selected, "stop");
  assertEquals(await select([], { signal, timeout: NaN }).catch((reason) => reason), "stop");
  await assertRejects(() => select([queue], { signal: 7 as never }), TypeError, "signal");
  queue.putSync(1);
  assertEquals(await queue.get(), 1);
});

test("an input that throws rejects, and leaves nothing behind", async () => {
  const queue = new Queue<number>();
  function* sources() {
    yield queue;
    throw new Error("half-way");
  }
  await assertRejects(() => select(sources()), Error, "half-way");
  const got = queue.get();
  queue.putSync(1);
  assertEquals(await got, 1);
});

test("several selections of one agent are told of the same source", async () => {
  const queue = new Queue<number>();
  const selected = [select([queue]), select([queue]), select([new Queue<number>(), queue])];
  await turn();
  queue.putSync(1);
  for (const result of await Promise.all(selected)) assertEquals(result, [queue]);
  assertEquals(queue.size, 1);
});

test("select() does not take a place in front of those that get", async () => {
  const queue = new Queue<number>();
  const selected = select([queue]);
  const got = queue.get();
  await turn();
  queue.putSync(1);
  assertEquals(await got, 1);
  assert(!await settlesSoon(selected) || (await selected)[0] === queue);
  queue.putSync(2);
  assertStrictEquals((await selected)[0], queue);
});

test("several agents select the same queue, and no item is lost", async () => {
  const queue = new Queue<number>();
  const begun = new SharedValue("i32");
  const stop = new SharedEvent();
  const children = [
    start(targets.takeSync, queue, begun, stop),
    start(targets.take, queue, begun, stop),
    start(targets.takeSync, queue, begun, stop),
  ];
  await until(() => begun.value === 3);
  for (let i = 0; i < 3_000; i++) {
    queue.tryPut(i) || await queue.put(i);
    if (i % 500 === 0) await until(() => queue.empty);
  }
  await until(() => queue.empty);
  stop.set();
  const counts = await Promise.all(children.map((child) => child.result));
  assertEquals(counts.reduce((sum, count) => sum + count, 0), 3_000);
});

test("selectSync() throws TerminatedError in an agent that is being terminated", async () => {
  const queue = new Queue<number>();
  const begun = new SharedValue("i32");
  const child = start(targets.block, queue, begun);
  await until(() => begun.value === 1);
  await child.terminate();
  assertEquals([begun.value, child.exitCode], [11, -15]);
  queue.putSync(1);
  assertEquals(queue.getSync({ timeout: 1_000 }), 1);
});

Deno.test("select() refuses a source that is not in a list, instead of taking what it holds", async () => {
  const queue = new Queue<number>();
  queue.putSync(1);
  // deno-lint-ignore no-explicit-any
  const alone = queue as any;
  await assertRejects(() => select(alone), TypeError, "must be in a list");
  assertThrows(() => selectSync(alone), TypeError, "must be in a list");
  assertEquals(queue.size, 1);
});
