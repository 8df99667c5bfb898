// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertFalse,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Worker } from "node:worker_threads";
import { MAX_AGENTS } from "../_agent.ts";
import { AbandonedError, ClosedError, RemoteError, TerminatedError } from "../errors.ts";
import { SharedEvent } from "../event.ts";
import { Lock } from "../lock.ts";
import { pipe } from "../pipe.ts";
import { Pool, type PoolOptions } from "../pool.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { SharedArray, SharedValue } from "../shared.ts";
import { abortable, mixedValue, settlesSoon, textOf, turn, until } from "./_helpers.ts";
import * as targets from "./testdata/pool_targets.ts";

const MODULE = import.meta.resolve("./testdata/pool_targets.ts");
const LIMIT = { timeout: 30_000 };

function make(options: PoolOptions = {}): Pool {
  return new Pool(MODULE, { size: 1, ...options });
}

function test(name: string, fn: () => Promise<void> | void): void {
  Deno.test(name, LIMIT, fn);
}

/** What a task waits for, and what counts those that have begun. */
function gates(): { begun: SharedValue<"i32">; gate: SharedEvent } {
  return { begun: new SharedValue("i32"), gate: new SharedEvent() };
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

/** The numbers from 0 on, with what happened to them. */
class Source implements Iterable<number> {
  read = 0;
  returned = 0;
  readonly #end: number;

  constructor(end = Infinity) {
    this.#end = end;
  }

  [Symbol.iterator](): Iterator<number> {
    return {
      next: () =>
        this.read < this.#end
          ? { done: false, value: this.read++ }
          : { done: true, value: undefined },
      return: () => {
        this.returned++;
        return { done: true, value: undefined };
      },
    };
  }

  get async(): AsyncIterable<number> {
    const iterator = this[Symbol.iterator]();
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve(iterator.next()),
        return: () => Promise.resolve(iterator.return!()),
      }),
    };
  }
}

// -- Arguments ---------------------------------------------------------------------------------

test("Pool.constructor() refuses bad options", () => {
  for (const size of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => make({ size }), RangeError, "size");
    if (size !== Infinity) {
      assertThrows(() => make({ maxTasksPerProcess: size }), RangeError, "maxTasksPerProcess");
    }
  }
  assertThrows(() => make({ size: "2" as never }), TypeError, "size");
  assertThrows(() => new Pool("./x.ts"), TypeError, "absolute URL");
  assertThrows(() => make({ initializer: targets.square.bind(null) }), TypeError, "bound");
  assertThrows(() => make({ initializer: 7 as never }), TypeError);
  assertThrows(() => make({ initializerArgs: 7 as never }), TypeError, "initializerArgs");
  assertThrows(() => make({ name: 7 as never }), TypeError, "name");
  const error = assertThrows(() => make({ initializerArgs: [() => {}] }), DOMException);
  assertEquals(error.name, "DataCloneError");
});

test("Pool.constructor() refuses more processes than the program can have, and starts none", () => {
  for (const size of [MAX_AGENTS, 1_000]) {
    assertThrows(() => make({ size }), RangeError, `${MAX_AGENTS} agents`);
  }
});

test("Pool.constructor() takes the number of cores as its size", async () => {
  await using pool = new Pool(new URL(MODULE));
  assertEquals(pool.size, navigator.hardwareConcurrency);
  assertEquals(await pool.run(targets.square, [3]), 9);
});

test("Pool.run() refuses bad arguments", async () => {
  await using pool = make();
  await assertRejects(() => pool.run(7 as never), TypeError, "target");
  await assertRejects(() => pool.run(() => {}), TypeError, "anonymous");
  await assertRejects(() => pool.run(targets.square.bind(null), [1]), TypeError, "bound");
  await assertRejects(() => pool.run("square", 7 as never), TypeError, "args");
  await assertRejects(() => pool.run("square", [1], { timeout: NaN }), RangeError);
  await assertRejects(() => pool.run("square", [1], { timeout: "1" as never }), TypeError);
  await assertRejects(() => pool.run("square", [1], { signal: 7 as never }), TypeError);
  const error = await assertRejects(() => pool.run("echo", [() => {}]), DOMException);
  assertEquals(error.name, "DataCloneError");
  assertEquals(pool.pending, 0);
});

test("Pool.map() and imap() refuse bad arguments, and imap() never throws", async () => {
  await using pool = make();
  for (const chunkSize of [0, -1, 1.5, NaN]) {
    await assertRejects(() => pool.map("square", [1], { chunkSize }), RangeError, "chunkSize");
    const items = pool.imap("square", [1], { chunkSize });
    await assertRejects(() => Array.fromAsync(items), RangeError, "chunkSize");
    const buffered = pool.imap("square", [1], { bufferSize: chunkSize });
    await assertRejects(() => Array.fromAsync(buffered), RangeError, "bufferSize");
  }
  await assertRejects(() => pool.map("square", 7 as never), TypeError, "iterable");
  await assertRejects(() => pool.map("square", { length: 1 } as never), TypeError, "iterable");
  await assertRejects(() => pool.map(7 as never, [1]), TypeError, "target");
  for (const items of [7, null, {}]) {
    const results = pool.imap("square", items as never);
    await assertRejects(() => Array.fromAsync(results), TypeError, "iterable");
  }
  await assertRejects(() => Array.fromAsync(pool.imap(7 as never, [1])), TypeError, "target");
  const results = pool.imap("square", [1], { ordered: 0 as never });
  await assertRejects(() => Array.fromAsync(results), TypeError, "ordered must be a boolean");
});

test("an aborted signal wins over every other reason", async () => {
  await using pool = make();
  const signal = AbortSignal.abort("reason");
  pool.close();
  const calls = [
    () => pool.run(7 as never, 7 as never, { signal }),
    () => pool.map(7 as never, 7 as never, { signal, chunkSize: 0 }),
    () => Array.fromAsync(pool.imap(7 as never, 7 as never, { signal, chunkSize: 0 })),
    () => pool.join({ signal }),
  ];
  for (const call of calls) {
    assertEquals(await call().then(() => "resolved", (reason) => reason), "reason");
  }
});

// -- Targets and values ------------------------------------------------------------------------

test("Pool.run() calls a function, or the export of a name, and awaits it", async () => {
  await using pool = make();
  assertEquals(await pool.run(targets.square, [3]), 9);
  assertEquals(await pool.run("square", [4]), 16);
  assertEquals(await pool.run(targets.squareLater, [5]), 25);
  assertEquals(await pool.run(targets.count), 0);
  assertEquals(await pool.run(targets.count, [1, undefined, null]), 3);
  assertEquals(await pool.run(targets.later), "later");
});

test("Pool.run() finds a function that is exported under another name, but no such name", async () => {
  await using pool = make();
  assertEquals(await pool.run(targets.otherName), "renamed");
  assertEquals(await pool.run("otherName"), "renamed");
  await assertRejects(() => pool.run("renamed"), RemoteError, "does not export it");
  assertEquals(await pool.map(targets.otherName as never, [1, 2]), ["renamed", "renamed"]);
});

test("a target that is not exported is a RemoteError, and the pool goes on", async () => {
  await using pool = make();
  const error = await assertRejects(() => pool.run("missing"), RemoteError, "does not export it");
  assertInstanceOf(error.cause, TypeError);
  await assertRejects(() => pool.run("notAFunction"), RemoteError, "notAFunction");
  await assertRejects(() => pool.run("toString"), RemoteError);
  await assertRejects(() => pool.map("missing", [1]), RemoteError, "missing");
  assertEquals(await pool.run("square", [2]), 4);
});

test("what a task throws is the cause of a RemoteError", async () => {
  await using pool = make();
  const error = await assertRejects(() => pool.run(targets.throws, ["no"]), RemoteError, "no");
  assertInstanceOf(error.cause, RangeError);
  assertEquals([error.cause.message, error.cause.cause], ["no", "a cause"]);
  assert(error.stack!.includes("pool_targets.ts"));
  // Who asked for it, in this agent, and not where the news of it came in.
  const asking = async (run: () => Promise<unknown>) => await run();
  for (
    const run of [
      () => pool.run(targets.throws, ["x"]),
      () => pool.map(targets.throws, ["x"]),
      async () => {
        for await (const _ of pool.imap(targets.throws, ["x"])) { /* nothing */ }
      },
    ]
  ) {
    const { stack, message } = await assertRejects(() => asking(run), RemoteError);
    const [here, there] = stack!.split("\nCaused in the other agent by: ") as [string, string];
    assertMatch(here, /^RemoteError: Pool-\d+ threw: x\n +at .*pool_test\.ts/s);
    assertFalse(here.includes("postMessage") || here.includes("dispatch"), here);
    assert(message.endsWith("threw: x") && there.includes("pool_targets.ts"));
  }
  await assertRejects(() => pool.run(targets.throwsUnsendable), RemoteError, "unsendable");
  const { cause } = await assertRejects(() => pool.run(targets.throwsQueue), RemoteError);
  assertEquals(((cause as Error).cause as Queue<string>).getSync(), "inside");
  assertEquals(await pool.run("square", [2]), 4);
});

test("every supported value arrives and comes back", async () => {
  await using pool = make();
  const values = range(64).map(mixedValue);
  for (const value of values) {
    assertEquals(textOf(await pool.run(targets.echo, [value])), textOf(value));
  }
  assertEquals((await pool.map(targets.echo, values)).map(textOf), values.map(textOf));
});

test("values are encoded at the call", async () => {
  await using pool = make();
  const value = [1];
  const ran = pool.run(targets.lengthOf, [value]);
  const mapped = pool.map(targets.lengthOf, [value, value], { chunkSize: 1 });
  const args: Parameters<typeof targets.square> = [2];
  const squared = pool.run(targets.square, args);
  value.push(2);
  args[0] = 3;
  assertEquals([await ran, await mapped, await squared], [1, [1, 1], 4]);
});

test("values larger than the pipe arrive", async () => {
  await using pool = make();
  const value = new Uint8Array(1_000_000).map((_, i) => i);
  assertEquals(await pool.run(targets.echo, [value]), value);
});

test("a result that cannot be passed is a RemoteError with its cause", async () => {
  await using pool = make();
  const error = await assertRejects(() => pool.run(targets.functionIfOdd, [1]), RemoteError);
  assertEquals((error.cause as DOMException).name, "DataCloneError");
  assertEquals(await pool.run(targets.functionIfOdd, [2]), 2);
  const got: unknown[] = [];
  const { cause } = await assertRejects(async () => {
    for await (const n of pool.imap(targets.functionIfOdd, [0, 2, 3, 4], { chunkSize: 4 })) {
      got.push(n);
    }
  }, RemoteError);
  assertEquals([(cause as DOMException).name, got], ["DataCloneError", [0, 2]]);
});

test("an argument that cannot be passed rejects, and nothing is run", async () => {
  await using pool = make();
  const touched = new SharedValue("i32");
  const error = await assertRejects(
    () => pool.run(targets.touch, [touched, (() => {}) as never]),
    DOMException,
  );
  assertEquals(error.name, "DataCloneError");
  await assertRejects(() => pool.map(targets.touch, [touched, () => {}] as never), DOMException);
  await assertRejects(() => pool.run(targets.echo, [pool]), DOMException, "Pool");
  const got: unknown[] = [];
  await assertRejects(async () => {
    const items = [1, 2, () => {}, 3];
    for await (const item of pool.imap(targets.echo, items, { chunkSize: 4 })) got.push(item);
  }, DOMException);
  assertEquals([touched.value, got, pool.pending], [0, [1, 2], 0]);
});

// -- By reference ------------------------------------------------------------------------------

test("primitives arrive in arguments and results, however deeply nested", async () => {
  await using pool = make();
  const queue = new Queue<string>();
  const lock = new Lock();
  const value: Parameters<typeof targets.nested>[0] = {
    deep: [new Map([["key", { queue, lock }]])],
  };
  const { again } = await pool.run(targets.nested, [value]);
  assertStrictEquals(again[0], queue);
  assertEquals(queue.getSync(), "from the pool");
  assertEquals((await pool.run(targets.queueOf, [7])).getSync(), 7);
});

test("primitives arrive in the items and results of map() and imap()", async () => {
  await using pool = make({ size: 2 });
  const counter = new SharedValue("i32");
  await pool.map(targets.touch, new Array(20).fill(counter), { chunkSize: 3 });
  await Array.fromAsync(pool.imap(targets.touch, new Array(20).fill(counter)));
  assertEquals(counter.value, 40);
  const queues = await pool.map(targets.queueOf, range(10), { chunkSize: 4 });
  assertEquals(queues.map((queue) => queue.getSync()), range(10));
});

test("a SharedArrayBuffer is passed by reference", async () => {
  await using pool = make();
  const buffer = new SharedArrayBuffer(4);
  const back = await pool.run(targets.fillBuffer, [buffer]);
  assertEquals(new Int32Array(buffer)[0], 42);
  new Int32Array(buffer)[0] = 43;
  assertEquals(new Int32Array(back)[0], 43);
});

test("ends of pipes are given to the process that runs the task, and come from it", async () => {
  await using pool = make();
  const [here, there] = pipe<never, string>();
  await pool.run(targets.sendOn, [there, "hello"]);
  assertEquals(await here.receive(), "hello");
  const end = await pool.run(targets.endOf);
  assertEquals(end.receiveSync(), "kept");
  await assertRejects(() => pool.run(targets.sendOn, [there, "again"]), TypeError);
});

test("an end whose task never began is still this agent's", async () => {
  await using pool = make();
  const { begun, gate } = gates();
  const running = pool.run(targets.gated, [begun, gate]);
  await until(() => begun.value === 1);
  const [here, there] = pipe<string, string>();
  const { signal, abort } = abortable();
  const aborted = assertRejects(() => pool.run("sendOn", [there, "x"], { signal }), Error);
  abort(new Error("changed my mind"));
  await aborted;
  there.sendSync("mine");
  assertEquals(here.receiveSync(), "mine");
  gate.set();
  await running;
});

// -- run ---------------------------------------------------------------------------------------

test("tasks begin in the order in which they were given", async () => {
  await using pool = make();
  const queue = new Queue<number>();
  const { begun, gate } = gates();
  const order: number[] = [];
  const calls = range(50).map((i) =>
    pool.run(targets.gated, [begun, gate, i]).then((value) => order.push(value as number))
  );
  assertEquals(pool.pending, 50);
  gate.set();
  await Promise.all(calls);
  assertEquals(order, range(50));
  assertEquals([pool.pending, queue.size], [0, 0]);
});

test("Pool.run() with a timeout of 0 never runs", async () => {
  await using pool = make();
  const touched = new SharedValue("i32");
  const error = await assertRejects(
    () => pool.run(targets.touch, [touched], { timeout: 0 }),
    DOMException,
  );
  assertEquals(error.name, "TimeoutError");
  await pool.run(targets.square, [1]);
  assertEquals(touched.value, 0);
});

test("a task that timed out or was aborted while it waited never runs", async () => {
  await using pool = make();
  const { begun, gate } = gates();
  const touched = new SharedValue("i32");
  await pool.map(targets.square, range(100), { chunkSize: 1 });
  const running = pool.run(targets.gated, [begun, gate, "kept"]);
  await until(() => begun.value === 1);
  const { signal, abort } = abortable();
  const aborted = pool.run(targets.touch, [touched], { signal });
  const late = assertRejects(
    () => pool.run(targets.touch, [touched], { timeout: 5 }),
    DOMException,
  );
  const next = pool.run(targets.square, [3]);
  assertEquals(pool.pending, 4);
  abort("stop");
  assertEquals(await aborted.catch((reason) => reason), "stop");
  assertEquals((await late).name, "TimeoutError");
  assertEquals(pool.pending, 2);
  gate.set();
  assertEquals([await running, await next], ["kept", 9]);
  assertEquals(touched.value, 0);
});

test("however many tasks were taken back, those that run are told apart from them", async () => {
  await using pool = make();
  const { begun, gate } = gates();
  const touched = new SharedValue("i32");
  await pool.map(targets.square, range(500), { chunkSize: 1 });
  const running = pool.run(targets.gated, [begun, gate, "once"]);
  await until(() => begun.value === 1);
  for (let i = 0; i < 1_200; i++) {
    const { signal, abort } = abortable();
    const aborted = pool.run(targets.touch, [touched], { signal });
    abort(i);
    assertEquals(await aborted.catch((reason) => reason), i);
  }
  const last = pool.run(targets.square, [2]);
  gate.set();
  assertEquals([await running, await last, touched.value, begun.value], ["once", 4, 0, 1]);
});

test("a task that is aborted while it runs goes on, and its result is dropped", async () => {
  await using pool = make();
  const { begun, gate } = gates();
  const { signal, abort } = abortable();
  const running = pool.run(targets.gated, [begun, gate], { signal });
  await until(() => begun.value === 1);
  abort("stop");
  assertEquals(await running.catch((reason) => reason), "stop");
  assertEquals(pool.pending, 1);
  gate.set();
  await until(() => pool.pending === 0);
  assertEquals(await pool.run(targets.square, [2]), 4);
});

// -- map ---------------------------------------------------------------------------------------

test("Pool.map() gives the results in the order of the items", async () => {
  await using pool = make({ size: 2 });
  const items = range(5_000);
  const squares = items.map((n) => n * n);
  assertEquals(await pool.map(targets.square, items), squares);
  for (const chunkSize of [1, 7, 10_000]) {
    assertEquals(await pool.map(targets.square, items, { chunkSize }), squares);
  }
  assertEquals(await pool.map(targets.squareLater, new Set([1, 2])), [1, 4]);
  assertEquals(await pool.map(targets.square, []), []);
  assertEquals(await pool.map(targets.square, Uint8Array.of(3, 4)), [9, 16]);
});

test("Pool.map() takes as many tasks as memory holds, and gives them up at once", async () => {
  await using pool = make({ size: 2 });
  const items = range(200_000).map((): [number, number] => [1, 0]);
  const error = await assertRejects(
    () => pool.map(targets.squareBelow, items, { chunkSize: 1 }),
    RemoteError,
  );
  assertEquals((error.cause as Error).message, "1 is too large");
  assertEquals(pool.pending, 0);
});

test("Pool.map() reports progress by items", async () => {
  await using pool = make({ size: 2 });
  const seen: [number, number | undefined][] = [];
  await pool.map(targets.square, range(10), {
    chunkSize: 4,
    onProgress: (done, total) => seen.push([done, total]),
  });
  assertEquals(seen.length, 3);
  assertEquals(seen.at(-1), [10, 10]);
  assert(seen.every(([done], i) => i === 0 || done > seen[i - 1]![0]));
});

test("what onProgress throws rejects the call", async () => {
  await using pool = make();
  const onProgress = () => {
    throw new Error("from the callback");
  };
  await assertRejects(
    () => pool.map(targets.square, [1, 2], { chunkSize: 1, onProgress }),
    Error,
    "from the callback",
  );
  await assertRejects(() => pool.map(targets.square, [1], { onProgress }), Error, "callback");
  assertEquals(await pool.run(targets.square, [2]), 4);
});

test("Pool.map() rejects with the error of the first item in order, once no task runs", async () => {
  await using pool = make({ size: 2 });
  const begun = new SharedValue("i32");
  const gate = new SharedEvent();
  const mapped = pool.map(
    targets.gatedItem,
    [
      { begun, gate, value: 0, fails: true },
      { begun, value: 1, fails: true },
      { begun, value: 2 },
      { begun, value: 3 },
    ],
    { chunkSize: 1 },
  );
  mapped.catch(() => {});
  await until(() => begun.value === 2 && pool.pending === 1);
  assert(!await settlesSoon(mapped));
  gate.set();
  const error = await assertRejects(() => mapped, RemoteError, "item 0");
  assertEquals((error.cause as Error).message, "item 0");
  // Those that had not begun were skipped.
  assertEquals([begun.value, pool.pending], [2, 0]);
});

test("Pool.map() always rejects with the first error in order", async () => {
  await using pool = make({ size: 2 });
  for (let round = 0; round < 20; round++) {
    const items = range(200).map((n): [number, number] => [n, 37]);
    for (const chunkSize of [1, 5]) {
      const error = await assertRejects(
        () => pool.map(targets.squareBelow, items, { chunkSize }),
        RemoteError,
      );
      assertEquals((error.cause as Error).cause, 37);
    }
  }
});

test("when an item fails, the rest of its chunk is skipped", async () => {
  await using pool = make();
  const begun = new SharedValue("i32");
  const items = range(4).map((value) => ({ begun, value, fails: value === 1 }));
  await assertRejects(
    () => pool.map(targets.gatedItem, items, { chunkSize: 4 }),
    RemoteError,
    "item 1",
  );
  assertEquals(begun.value, 2);
});

test("Pool.map() aborted skips what has not begun", async () => {
  await using pool = make();
  const { begun, gate } = gates();
  const { signal, abort } = abortable();
  const seen: number[] = [];
  const mapped = pool.map(
    targets.gatedItem,
    range(5).map((value) => ({ begun, gate, value })),
    { chunkSize: 1, signal, onProgress: (done) => seen.push(done) },
  );
  mapped.catch(() => {});
  await until(() => begun.value === 1);
  abort("stop");
  assertEquals(await mapped.catch((reason) => reason), "stop");
  assertEquals(pool.pending, 1);
  gate.set();
  await pool.run(targets.square, [1]);
  assertEquals([begun.value, seen, pool.pending], [1, [], 0]);
});

test("an input that throws half-way rejects the call, and the pool stays usable", async () => {
  await using pool = make();
  const touched = new SharedValue("i32");
  function* items() {
    yield touched;
    throw new Error("half-way");
  }
  await assertRejects(() => pool.map(targets.touch, items()), Error, "half-way");
  assertEquals(touched.value, 0);
  const got: unknown[] = [];
  for (const ordered of [true, false]) {
    await assertRejects(
      async () => {
        for await (const x of pool.imap(targets.touch, items(), { ordered })) got.push(x);
      },
      Error,
      "half-way",
    );
  }
  assertEquals([got, pool.pending], [[0, 1], 0]);
  assertEquals(await pool.map(targets.square, [2]), [4]);
});

// -- imap --------------------------------------------------------------------------------------

test("Pool.imap() gives results in order, from any input", async () => {
  await using pool = make({ size: 2 });
  const squares = range(300).map((n) => n * n);
  for (const chunkSize of [1, 7]) {
    for (const bufferSize of [1, 3, 500, undefined]) {
      const options = { chunkSize, ...(bufferSize === undefined ? {} : { bufferSize }) };
      const sync = pool.imap(targets.square, new Source(300), options);
      assertEquals(await Array.fromAsync(sync), squares);
      const async = pool.imap(targets.square, new Source(300).async, options);
      assertEquals(await Array.fromAsync(async), squares);
      const unordered = await Array.fromAsync(
        pool.imap(targets.square, new Source(300), { ...options, ordered: false }),
      );
      assertEquals(unordered.toSorted((a, b) => a - b), squares);
    }
  }
  assertEquals(await Array.fromAsync(pool.imap(targets.square, [])), []);
});

test("Pool.imap() unordered gives out what is ready", async () => {
  await using pool = make({ size: 2 });
  const { begun, gate } = gates();
  const items = [{ begun, gate, value: 0 }, { begun, value: 1 }, { begun, value: 2 }];
  const got: number[] = [];
  for await (const value of pool.imap(targets.gatedItem, items, { ordered: false })) {
    if (got.push(value) === 2) gate.set();
  }
  assertEquals(got, [1, 2, 0]);
});

test("Pool.imap() reads nothing before the first result is asked for", async () => {
  await using pool = make();
  const source = new Source();
  const results = pool.imap(targets.square, source);
  await turn();
  assertEquals(source.read, 0);
  await results[Symbol.asyncIterator]().next();
});

test("Pool.imap() reads no further ahead than bufferSize", async () => {
  await using pool = make({ size: 2 });
  for (const ordered of [true, false]) {
    for (const [bufferSize, chunkSize] of [[1, 1], [5, 1], [6, 4], [2, 8]] as const) {
      for (const isAsync of [true, false]) {
        const source = new Source();
        const items = isAsync ? source.async : source;
        let given = 0;
        for await (
          const _ of pool.imap(targets.square, items, { bufferSize, chunkSize, ordered })
        ) {
          given++;
          for (let i = 0; i < 2; i++) await turn();
          assert(source.read <= given + bufferSize, `read ${source.read}, given ${given}`);
          if (given === 12) break;
        }
        assertEquals(source.returned, 1);
      }
    }
  }
});

test("Pool.imap() does not read ahead of a task that runs", async () => {
  await using pool = make();
  const { begun, gate } = gates();
  let read = 0;
  function* items() {
    for (let value = 0;; value++) {
      read++;
      yield { begun, gate, value };
    }
  }
  const results = pool.imap(targets.gatedItem, items(), { bufferSize: 3 });
  const first = results[Symbol.asyncIterator]().next();
  await until(() => begun.value === 1);
  await turn();
  assertEquals(read, 3);
  gate.set();
  assertEquals((await first).value, 0);
});

test("the default bufferSize is finite", async () => {
  await using pool = make();
  const source = new Source();
  for await (const _ of pool.imap(targets.square, source)) break;
  assert(source.read < 100);
  assertEquals(source.returned, 1);
});

test("Pool.imap() yields what comes before the first error and then throws it", async () => {
  await using pool = make({ size: 2 });
  for (const chunkSize of [1, 3]) {
    const source = range(100).map((n): [number, number] => [n, 10]);
    const got: number[] = [];
    const error = await assertRejects(async () => {
      for await (const n of pool.imap(targets.squareBelow, source, { chunkSize })) got.push(n);
    }, RemoteError);
    assertEquals((error.cause as Error).cause, 10);
    assertEquals(got, range(10).map((n) => n * n));
    await until(() => pool.pending === 0);
  }
});

test("an error in the loop of imap() returns the input", async () => {
  await using pool = make();
  const source = new Source();
  await assertRejects(
    async () => {
      for await (const _ of pool.imap(targets.throws as never, source)) { /* nothing */ }
    },
    RemoteError,
  );
  assertEquals(source.returned, 1);
  // An input that has ended is not returned.
  const short = new Source(2);
  await Array.fromAsync(pool.imap(targets.square, short));
  assertEquals(short.returned, 0);
});

test("leaving the loop of imap() drops what has not begun", async () => {
  await using pool = make();
  const { begun, gate } = gates();
  gate.set();
  let value = 0;
  const items = {
    [Symbol.iterator]: () => ({ next: () => ({ value: { begun, gate, value: value++ } }) }),
  };
  for await (const _ of pool.imap(targets.gatedItem, items as never, { bufferSize: 50 })) {
    gate.clear();
    break;
  }
  assert(pool.pending <= 1);
  gate.set();
  await until(() => pool.pending === 0);
  assert(begun.value < 50);
});

test("leaving the loop of imap() does not wait for an input that does not answer", async () => {
  await using pool = make();
  let returned = 0;
  const items: AsyncIterable<number> = {
    [Symbol.asyncIterator]() {
      let n = 0;
      return {
        next: () => n < 2 ? Promise.resolve({ done: false, value: n++ }) : new Promise(() => {}),
        return: () => {
          returned++;
          return new Promise(() => {});
        },
      };
    },
  };
  for await (const n of pool.imap(targets.square, items)) if (n === 1) break;
  assertEquals(returned, 1);
});

test("Pool.imap() can be aborted while it waits", async () => {
  await using pool = make();
  const { begun, gate } = gates();
  const { signal, abort } = abortable();
  const source = new Source();
  const items = {
    *[Symbol.iterator]() {
      for (const value of source) yield { begun, gate, value };
    },
  };
  const results = Array.fromAsync(pool.imap(targets.gatedItem, items, { signal }));
  results.catch(() => {});
  await until(() => begun.value === 1);
  abort("stop");
  assertEquals(await results.catch((reason) => reason), "stop");
  assertEquals([source.returned, pool.pending], [1, 1]);
  gate.set();
});

test("Pool.imap() ends with its pool while it waits for an input that is idle", async () => {
  const input = async function* (count: number) {
    for (let n = 0; n < count; n++) yield n;
    await new Promise(() => {});
  };
  const gather = async (pool: Pool, count: number, got: unknown[] = []) => {
    try {
      for await (const n of pool.imap(targets.square, input(count))) got.push(n);
    } catch (error) {
      got.push((error as Error).name);
    }
    return got;
  };
  for (const [count, squares] of [[0, []], [3, [0, 1, 4]]] as const) {
    const pool = make();
    const got: unknown[] = [];
    const results = gather(pool, count, got);
    // It has nothing left to do but to wait for its input.
    await pool.run(targets.square, [1]);
    await until(() => got.length === squares.length);
    await pool.terminate();
    assertEquals(await results, [...squares, "TerminatedError"]);
  }
  await using broken = make({ initializer: targets.failInitializing, initializerArgs: [] });
  const results = gather(broken, 0);
  await assertRejects(() => broken.run(targets.square, [1]), RemoteError);
  assertEquals(await results, ["RemoteError"]);
});

test("Pool.imap() throws a ClosedError for items that were not read when the pool was closed", async () => {
  await using pool = make();
  const source = new Source();
  const got: number[] = [];
  await assertRejects(async () => {
    for await (const n of pool.imap(targets.square, source, { bufferSize: 2 })) {
      got.push(n);
      pool.close();
    }
  }, ClosedError);
  assertEquals(got, [0, 1]);
  assertEquals(source.returned, 1);
});

// -- Death -------------------------------------------------------------------------------------

test("a process that dies rejects the task that it ran, and no other", async () => {
  await using pool = make();
  const before = await pool.run(targets.pid);
  const results = await Promise.allSettled([
    pool.run(targets.square, [1]),
    pool.run<() => number>("exit"),
    pool.run(targets.square, [2]),
    pool.run(targets.pid),
  ]);
  const [first, died, second, after] = results;
  assertEquals(first, { status: "fulfilled", value: 1 });

  assertInstanceOf((died as PromiseRejectedResult).reason, AbandonedError);
  assertEquals(second, { status: "fulfilled", value: 4 });
  assert(after.status === "fulfilled" && after.value !== before);
});

test("whatever a process dies of is an AbandonedError of its task", async () => {
  await using pool = make();
  for (const target of ["exit", "closes", "rejectsBeside"]) {
    await assertRejects(() => pool.run(target), AbandonedError, target);
    assertEquals(await pool.run(targets.square, [2]), 4);
  }
});

test("a process that dies in a chunk rejects map() with AbandonedError", async () => {
  await using pool = make({ size: 2 });
  await assertRejects(
    () => pool.map(targets.exitIf, [false, false, true, false], { chunkSize: 1 }),
    AbandonedError,
  );
  assertEquals(await pool.map(targets.exitIf, [false]), ["lives"]);
});

Deno.test(
  "a hundred processes that die in mid-task take nothing with them",
  { timeout: 120_000 },
  async () => {
    let abandoned = 0;
    {
      await using pool = make({ size: 2 });
      const calls: Promise<unknown>[] = [];
      for (let i = 0; i < 100; i++) {
        calls.push(
          pool.run(targets.exit).catch((error) => {
            assertInstanceOf(error, AbandonedError);
            abandoned++;
          }),
        );
        for (let j = 0; j < 3; j++) {
          calls.push(pool.run(targets.square, [i + j]).then((n) => assertEquals(n, (i + j) ** 2)));
        }
      }
      await Promise.all(calls);
      assertEquals(pool.pending, 0);
    }
    assertEquals(abandoned, 100);
  },
);

// -- Processes ---------------------------------------------------------------------------------

test("maxTasksPerProcess counts calls of run() and chunks", async () => {
  await using pool = make({ maxTasksPerProcess: 2, name: "Worker" });
  const names: string[] = [];
  for (let i = 0; i < 5; i++) names.push(await pool.run(targets.name));
  assertEquals(names, ["Worker-1", "Worker-1", "Worker-2", "Worker-2", "Worker-3"]);
  const chunked = await pool.map(targets.name as never, range(6), { chunkSize: 2 });
  assertEquals(new Set(chunked).size, 2);
  const all = await Promise.all(range(4).map(() => pool.run(targets.pid)));
  assertEquals(new Set(all).size, 2);
});

test("no more tasks run at a time than there are processes, also while one is replaced", async () => {
  await using pool = make({ maxTasksPerProcess: 1 });
  const { begun, gate } = gates();
  const first = pool.run(targets.gated, [begun, gate]);
  const second = pool.run(targets.gated, [begun, gate]);
  await until(() => begun.value === 1);
  for (let i = 0; i < 20; i++) await turn();
  assertEquals(begun.value, 1);
  gate.set();
  await Promise.all([first, second]);
});

test("the initializer runs in each process before its first task", async () => {
  const args = [{ deep: [1] }];
  await using pool = make({
    initializer: targets.initialize,
    initializerArgs: args,
    maxTasksPerProcess: 1,
  });
  args[0]!.deep.push(2);
  assertEquals(await pool.run(targets.initialized), { deep: [1] });
  assertEquals(await pool.run(targets.initialized), { deep: [1] });
});

test("an initializer can be given primitives", async () => {
  const queue = new Queue<number>();
  await using pool = make({ initializer: "initialize", initializerArgs: [queue] });
  assertStrictEquals(await pool.run(targets.initialized), queue);
});

test("the stack of an error that is not of this call stays as it is", async () => {
  await using pool = make();
  const asking = async (signal?: AbortSignal) =>
    await assertRejects(() => pool.run(targets.throws, ["x"], signal && { signal }), RemoteError);
  const error = await asking();
  const { stack } = error;
  const controller = new AbortController();
  const call = asking(controller.signal);
  controller.abort(error);
  assertStrictEquals(await call, error);
  assertEquals(error.stack, stack);
  await using broken = make({ initializer: targets.failInitializing, initializerArgs: [] });
  const first = await assertRejects(() => broken.run(targets.square, [1]), RemoteError);
  const before = first.stack;
  await assertRejects(() => broken.run(targets.square, [1]), RemoteError);
  assertEquals(first.stack, before);
});

test("an initializer that throws breaks the pool for good", async () => {
  await using pool = make({
    size: 2,
    initializer: targets.failInitializing,
    initializerArgs: [],
  });
  const calls = [
    () => pool.run(targets.square, [1]),
    () => pool.map(targets.square, [1, 2]),
    () => Array.fromAsync(pool.imap(targets.square, [1, 2])),
  ];
  for (const rejected of [calls.map((call) => call()), calls.map((call) => call())]) {
    for (const call of rejected) {
      const error = await assertRejects(() => call, RemoteError, "no start");
      assertInstanceOf(error.cause, SyntaxError);
    }
  }
  assertEquals(pool.pending, 0);
});

test("an initializer that throws is not called again and again", async () => {
  const starts = new SharedValue("i32");
  await using pool = make({
    initializer: targets.failInitializing,
    initializerArgs: [starts],
  });
  await assertRejects(() => pool.run(targets.square, [1]), RemoteError);
  await assertRejects(() => pool.run(targets.square, [1]), RemoteError);
  assertEquals(starts.value, 1);
});

test("an initializer that is missing or ends the process breaks the pool, as does a module", async () => {
  for (const initializer of ["missing", "exit"]) {
    await using pool = make({ initializer });
    await assertRejects(() => pool.run(targets.square, [1]), Error);
    await assertRejects(() => pool.run(targets.square, [1]), Error);
  }
  await using pool = new Pool(import.meta.resolve("./testdata/nothing.ts"), { size: 1 });
  await assertRejects(() => pool.run("square", [1]), RemoteError);
});

test("a module that starts a pool when a process evaluates it is an error that says so", async () => {
  await using pool = new Pool(import.meta.resolve("./testdata/pool_unguarded.ts"), { size: 1 });
  await assertRejects(() => pool.run("nothing"), RemoteError, "import.meta.main");
});

test("tasks behind a long one are done by whoever is idle", async () => {
  await using pool = make({ size: 2 });
  const { begun, gate } = gates();
  await pool.map(targets.square, range(500), { chunkSize: 1 });
  const long = pool.run(targets.gated, [begun, gate]);
  const others = range(300).map((n) => pool.run(targets.square, [n]));
  assertEquals(await Promise.all(others), range(300).map((n) => n * n));
  gate.set();
  await long;
});

test("a pool in a process that is terminated ends with it", async () => {
  const { begun, gate } = gates();
  const process = new Process(MODULE, { target: targets.ownPool, args: [begun, gate] }).start();
  await until(() => begun.value === 1);
  await process.terminate({ grace: 5_000 });
  assertEquals([begun.value, process.exitCode], [11, -15]);
});

// -- The end -----------------------------------------------------------------------------------

test("Pool.join() before close() is a TypeError", async () => {
  await using pool = make();
  await assertRejects(() => pool.join(), TypeError, "close");
  await assertRejects(() => pool.join({ timeout: NaN }), RangeError);
});

test("Pool.close() refuses new work and does what was given", async () => {
  const pool = make();
  const { begun, gate } = gates();
  const results = Promise.all(range(5).map((n) => pool.run(targets.gated, [begun, gate, n])));
  pool.close();
  pool.close();
  await assertRejects(() => pool.run(targets.square, [1]), ClosedError);
  await assertRejects(() => pool.map(targets.square, [1]), ClosedError);
  await assertRejects(() => Array.fromAsync(pool.imap(targets.square, [1])), ClosedError);
  const error = await assertRejects(() => pool.join({ timeout: 5 }), DOMException);
  assertEquals(error.name, "TimeoutError");
  await assertRejects(() => pool.join({ timeout: 0 }), DOMException);
  const { signal, abort } = abortable();
  const aborted = pool.join({ signal }).catch((reason) => reason);
  abort("stop");
  assertEquals(await aborted, "stop");
  gate.set();
  await Promise.all([pool.join(), pool.join()]);
  assertEquals(await results, range(5));
  await pool.join({ timeout: 0 });
});

test("Pool.terminate() rejects what waits and what runs", async () => {
  const pool = make();
  const { begun, gate } = gates();
  const touched = new SharedValue("i32");
  const calls = [
    pool.run(targets.gated, [begun, gate]),
    pool.run(targets.touch, [touched]),
    pool.map(targets.touch, [touched, touched], { chunkSize: 1 }),
    Array.fromAsync(pool.imap(targets.touch, [touched])),
  ].map((call) => assertRejects(() => call as Promise<unknown>, TerminatedError));
  await until(() => begun.value === 1);
  const terminated = pool.terminate();
  await Promise.all(calls);
  await Promise.all([terminated, pool.terminate()]);
  assertEquals([pool.pending, touched.value], [0, 0]);
  await assertRejects(() => pool.run(targets.square, [1]), TerminatedError);
  await assertRejects(() => pool.map(targets.square, [1]), TerminatedError);
  await assertRejects(() => Array.fromAsync(pool.imap(targets.square, [1])), TerminatedError);
  pool.close();
  await pool.join();
});

test("Pool.terminate() ends a task that spins", async () => {
  const pool = make();
  const begun = new SharedValue("i32");
  const spinning = assertRejects(() => pool.run(targets.spin, [begun]), TerminatedError);
  await until(() => begun.value === 1);
  await pool.terminate();
  await spinning;
});

test("Pool.terminate() at once after the start", async () => {
  const pool = make({ size: 2 });
  const call = assertRejects(() => pool.run(targets.square, [1]), TerminatedError);
  await pool.terminate();
  await call;
});

test("a terminated pool leaves nothing to a task that was sent and had not begun", async () => {
  const pool = make();
  const { begun, gate } = gates();
  const touched = new SharedValue("i32");
  await pool.map(targets.square, range(100), { chunkSize: 1 });
  const calls = [
    pool.run(targets.gated, [begun, gate]),
    ...range(20).map(() => pool.run(targets.touch, [touched])),
  ];
  for (const call of calls) call.catch(() => {});
  await until(() => begun.value === 1);
  const terminated = pool.terminate();
  gate.set();
  await terminated;
  assertEquals(touched.value, 0);
});

test("`await using` closes and joins", async () => {
  const array = new SharedArray("i32", 1);
  {
    await using pool = make();
    for (let i = 0; i < 3; i++) pool.run(targets.addTo, [array]);
  }
  assertEquals(array.get(0), 3);
});

test("Pool.pending counts items", async () => {
  await using pool = make();
  const { begun, gate } = gates();
  const item = { begun, gate, value: 0 };
  const calls = [
    pool.run(targets.gated, [begun, gate]),
    pool.map(targets.gatedItem, [item, item, item], { chunkSize: 2 }),
  ];
  assertEquals(pool.pending, 4);
  gate.set();
  await Promise.all(calls);
  assertEquals(pool.pending, 0);
});

test("an idle pool keeps nothing alive", async () => {
  const worker = new Worker(new URL("./testdata/pool_idle.ts", import.meta.url));
  const code = await new Promise((resolve) => worker.on("exit", resolve));
  assertEquals(code, 0);
});

test("console.log() shows one line", async () => {
  await using pool = make({ size: 2 });
  assertEquals(Deno.inspect(pool), 'Pool { size: 2, pending: 0, state: "open" }');
  pool.close();
  assertEquals(Deno.inspect(pool), 'Pool { size: 2, pending: 0, state: "closed" }');
});

test("an error beside the tasks is printed once, as no task tells of it", async () => {
  const { error } = console;
  const printed: unknown[][] = [];
  console.error = (...args: unknown[]) => printed.push(args);
  try {
    await using pool = make({ size: 1 });
    assertEquals(await pool.run(targets.throwsLater), "fine");
    await until(() => printed.length > 0);
    // It has been replaced.
    assertEquals(await pool.run("square", [3]), 9);
  } finally {
    console.error = error;
  }
  assertEquals(printed.length, 1);
  const [text, reason] = printed[0]!;
  assertEquals(text, 'Uncaught error in Process "Pool-1":');
  assert((reason as RemoteError).message.includes("in a timer"));
});
