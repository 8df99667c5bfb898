// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { CHILD, type Child, OUTCOME, RETURNED, TERMINATED } from "../_spawn.ts";
import { AbandonedError, RemoteError, TerminatedError } from "../errors.ts";
import { SharedEvent } from "../event.ts";
import { Lock } from "../lock.ts";
import { type Connection, pipe } from "../pipe.ts";
import { Process, type ProcessOptions } from "../process.ts";
import { Queue } from "../queue.ts";
import { select, selectSync } from "../select.ts";
import { Semaphore } from "../semaphore.ts";
import { SharedArray, SharedValue } from "../shared.ts";
import { turn, until } from "./_helpers.ts";
import * as targets from "./testdata/process_targets.ts";

const MODULE = import.meta.resolve("./testdata/process_targets.ts");
const LIMIT = { timeout: 30_000 };

// deno-lint-ignore no-explicit-any
function make<F extends (...args: any[]) => unknown>(
  target: F | string,
  args?: Parameters<F>,
  options: Partial<ProcessOptions<F>> = {},
): Process<F> {
  return new Process<F>(MODULE, { target, ...(args === undefined ? {} : { args }), ...options });
}

// deno-lint-ignore no-explicit-any
async function fate(process: Process<any>): Promise<{ error: Error; exitCode?: number }> {
  const error = await assertRejects(() => process.result) as Error;
  return { error, exitCode: process.exitCode! };
}

function childOf(process: unknown): Child {
  return (process as { [CHILD]: Child })[CHILD];
}

/** A process that has begun to run the target. */
async function begun(
  target: (ready: SharedEvent) => unknown,
): Promise<Process<(ready: SharedEvent) => unknown>> {
  const ready = new SharedEvent();
  const process = make(target, [ready]).start();
  await ready.wait();
  return process;
}

function waits(): targets.Waits {
  return {
    queue: new Queue<number>(),
    lock: new Lock(),
    event: new SharedEvent(),
    semaphore: new Semaphore(1),
    log: new SharedArray("i32", 4),
  };
}

/** What `console.error` is called with meanwhile. */
async function printed(run: () => Promise<unknown>): Promise<unknown[][]> {
  const { error } = console;
  const lines: unknown[][] = [];
  console.error = (...values: unknown[]) => lines.push(values);
  try {
    await run();
    await turn();
    await turn();
  } finally {
    console.error = error;
  }
  return lines;
}

// -- Arguments of the constructor --------------------------------------------------------------

Deno.test("Process.constructor() refuses what is not an absolute URL", () => {
  assertThrows(() => new Process("./x.ts", { target: "x" }), TypeError, "absolute URL");
  assertThrows(() => new Process(7 as never, { target: "x" }), TypeError, "absolute URL");
});

Deno.test("Process.constructor() refuses a target that has no export name", () => {
  assertThrows(() => make(() => {}), TypeError, "anonymous");
  assertThrows(() => make(targets.add.bind(null)), TypeError, "bound");
  assertThrows(() => make(7 as never), TypeError, "exported function");
  assertThrows(() => new Process(MODULE, undefined as never), TypeError, "exported function");
});

Deno.test("Process.constructor() refuses options of the wrong type", () => {
  assertThrows(() => make("add", 7 as never), TypeError, "args");
  assertThrows(() => make("add", [], { name: 7 as never }), TypeError, "name");
  assertThrows(() => make("add", [], { daemon: 7 as never }), TypeError, "daemon");
});

Deno.test("Process has pid 0, is not alive and has no exit code before it is started", async () => {
  const process = make("add", [1, 2], { name: "adder" });
  assertEquals(process.name, "adder");
  assertEquals([process.pid, process.alive, process.exitCode], [0, false, undefined]);
  assertEquals(Deno.inspect(process), 'Process { name: "adder", state: "not started" }');
  await process[Symbol.asyncDispose]();
  assertEquals(process.pid, 0);
});

Deno.test("Process is named by number unless it is given a name", () => {
  const numbers = [make("add"), make("add")].map(({ name }) => /^Process-(\d+)$/.exec(name)![1]);
  assertEquals(Number(numbers[1]), Number(numbers[0]) + 1);
});

Deno.test("Process is shown in one line of at most 240 characters", LIMIT, async () => {
  const process = make("add", [1, 2], { name: "x".repeat(1_000) });
  assertLess(Deno.inspect(process).length, 241);
  process.start();
  assertMatch(
    Deno.inspect(process),
    /^Process \{ name: "x+\.\.\.", pid: \d+, state: "running" \}$/,
  );
  await process.join();
  assertMatch(Deno.inspect(process), /state: "ended", exitCode: 0 \}$/);
});

// -- Start and result --------------------------------------------------------------------------

Deno.test("Process.result is what the target returned", LIMIT, async () => {
  await using process = make(targets.add, [1, 2]);
  assertStrictEquals(process.start(), process);
  assertGreater(process.pid, 0);
  assert(process.alive);
  assertEquals(process.exitCode, undefined);
  assertEquals(await process.result, 3);
  assertEquals([process.alive, process.exitCode], [false, 0]);
});

Deno.test("Process.result awaits a promise that the target returned", LIMIT, async () => {
  await using process = make(targets.addLater, [1, 2]).start();
  assertEquals(await process.result, 3);
});

Deno.test("Process.result may be read before the start", LIMIT, async () => {
  await using process = make(targets.add, [1, 2]);
  const { result } = process;
  process.start();
  assertStrictEquals(process.result, result);
  assertEquals(await result, 3);
});

Deno.test("Process finds its target by export name, default and alias", LIMIT, async () => {
  await using byName = make<typeof targets.add>("add", [1, 2]).start();
  await using byDefault = make("default").start();
  await using byFunction = make(targets.default).start();
  await using byAlias = make("otherName").start();
  await using byRenamed = make(targets.otherName).start();
  assertEquals(
    await Promise.all(
      [byName, byDefault, byFunction, byAlias, byRenamed].map(({ result }) => result as unknown),
    ),
    [3, "default", "default", "renamed", "renamed"],
  );
});

Deno.test("Process imports its module, so that import.meta.main is false", LIMIT, async () => {
  await using process = make(targets.wasMain).start();
  assertEquals(await process.result, false);
});

Deno.test("Process.start() throws a TypeError the second time", LIMIT, async () => {
  await using process = make(targets.add, [1, 2]).start();
  assertThrows(() => process.start(), TypeError, "started before");
  await process.join();
  assertThrows(() => process.start(), TypeError, "started before");
});

Deno.test("Process.start() throws a DataCloneError for an argument that cannot be passed", () => {
  for (const value of [() => {}, make("add"), Symbol("s"), [new Map([[1, () => {}]])]]) {
    const process = make("echo", [value]);
    const error = assertThrows(() => process.start(), DOMException);
    assertEquals((error as DOMException).name, "DataCloneError");
    assertEquals(process.pid, 0);
  }
});

Deno.test("Process.start() takes its arguments as they are at that moment", LIMIT, async () => {
  const list = [1];
  await using process = make(targets.echo<number[]>, [list]);
  list.push(2);
  process.start();
  list.push(3);
  assertEquals(await process.result, [1, 2]);
});

Deno.test("Process passes values of every kind", LIMIT, async () => {
  const cyclic: Record<string, unknown> = { date: new Date(7), at: [-0, NaN, 1n, , undefined] };
  cyclic.self = cyclic;
  const shared = new SharedArrayBuffer(8);
  await using process = make(targets.echo<unknown[]>, [[cyclic, shared, /x/g, "\ud800"]]).start();
  const [object, memory, regexp, text] = await process.result as [
    typeof cyclic,
    SharedArrayBuffer,
    RegExp,
    string,
  ];
  assertStrictEquals(object.self, object);
  assertEquals(object.date, new Date(7));
  assertEquals([regexp.source, text], ["x", "\ud800"]);
  new Uint8Array(shared)[3] = 9;
  assertEquals(new Uint8Array(memory)[3], 9);
});

Deno.test("Process passes ten million bytes both ways", LIMIT, async () => {
  const bytes = new Uint8Array(10_000_000).map((_, i) => i * 7);
  await using process = make(targets.echo<Uint8Array>, [bytes]).start();
  assertEquals(await process.result, bytes);
});

Deno.test("Process passes primitives nested in its arguments", LIMIT, async () => {
  const count = new SharedValue("i32", 5);
  await using process = make(targets.addTo, [new Map([["count", [count]]]), 3]).start();
  await process.join();
  assertEquals(count.value, 8);
});

Deno.test("Process passes primitives nested in its result", LIMIT, async () => {
  await using process = make(targets.returnsQueue).start();
  const result = await process.result as Map<string, Queue<string>[]>;
  assertEquals(result.get("list")![0]!.tryGet(), { state: "ok", value: "inside" });
});

Deno.test("Process hands over the end of a pipe that it returns", LIMIT, async () => {
  await using process = make(targets.returnsEnd).start();
  const { here } = await process.result as { here: Connection<string, string> };
  assertEquals(await here.receive(), "before the end");
  here.close();
});

Deno.test("Process takes over the end of a pipe among its arguments", LIMIT, async () => {
  const [here, there] = pipe<string>();
  await using process = make(targets.answer, [there]).start();
  await here.send("x");
  assertEquals(await here.receive(), "X");
  here.close();
  await process.join();
});

Deno.test(
  "Process passes on an end of a pipe that it was given and never used",
  LIMIT,
  async () => {
    const [here, there] = pipe<string>();
    await using process = make(targets.passOn, [there]).start();
    await here.send("x");
    assertEquals(await here.receive(), "X");
    here.close();
    await process.result;
  },
);

Deno.test(
  "Process that never uses an end that it was given leaves the end to its peer",
  LIMIT,
  async () => {
    const [here, there] = pipe<string>();
    await using _process = make(targets.ignore as () => void, [there] as never).start();
    assertEquals(await Array.fromAsync(here), []);
    here.close();
  },
);

Deno.test(
  "Process.start() gives one end to one process only, and takes it back if it fails",
  LIMIT,
  async () => {
    const [here, there] = pipe<string>();
    const [other, used] = pipe<string>();
    await using first = make(targets.answer, [there]).start();
    // The end that could be given comes first.
    assertThrows(() => make("ignore", [used, there]).start(), TypeError, "belongs to agent");
    other.sendSync("still mine");
    assertEquals(used.receiveSync(), "still mine");
    here.close();
    other.close();
    used.close();
    await first.join();
  },
);

Deno.test(
  "Process runs while its parent blocks the thread right after start()",
  LIMIT,
  async () => {
    const queue = new Queue<string>();
    await using process = make(targets.hello, [queue]).start();
    assertEquals(queue.getSync({ timeout: 10_000 }), "hello");
    // Its end is seen as well.
    assertEquals(selectSync([process], { timeout: 10_000 }), [process]);
    assertEquals([process.alive, process.exitCode], [false, 0]);
    assertEquals(await process.result, undefined);
  },
);

Deno.test("Process works with many at a time", LIMIT, async () => {
  const queue = new Queue<number>();
  const consumers = [1, 2].map(() => make(targets.getAll, [queue]).start());
  const producers = [1, 2].map(() => make(targets.putMany, [queue, 500]).start());
  await Promise.all(producers.map((process) => process.join()));
  queue.close();
  const taken = await Promise.all(consumers.map(({ result }) => result));
  assertEquals(taken.flat().length, 1_000);
});

// -- Failures ----------------------------------------------------------------------------------

Deno.test("Process.result rejects with a RemoteError when the target throws", LIMIT, async () => {
  await using process = make(targets.throws, ["why"]).start();
  const { error, exitCode } = await fate(process);
  assertInstanceOf(error, RemoteError);
  assertInstanceOf(error.cause, RangeError);
  assertEquals((error.cause as Error).message, "why");
  assertEquals((error.cause as Error).cause, "a cause");
  assertMatch(error.message, /Process-\d+.*why/);
  assertMatch(error.stack!, /process_targets\.ts/);
  // Where it was started.
  assertMatch(error.stack!.split("\nCaused in the other agent by: ")[0]!, /process_test\.ts/);
  assertEquals(exitCode, 1);
});

Deno.test("Process.result tells of anything that is thrown", LIMIT, async () => {
  await using text = make(targets.throwsString).start();
  await using unsendable = make(targets.throwsUnsendable).start();
  const [{ error: plain }, { error }] = await Promise.all([fate(text), fate(unsendable)]);
  assertEquals(plain.cause, "just text");
  assertEquals((error.cause as Error).message, "unsendable");
});

Deno.test(
  "Process.result rejects with the cause when the target cannot be loaded",
  LIMIT,
  async () => {
    const cases: [string, string, RegExp][] = [
      [MODULE, "missing", /does not export it/],
      [MODULE, "notAFunction", /exports 7/],
      [MODULE, "toString", /does not export it/],
      [import.meta.resolve("./testdata/process_thenable.ts"), "toString", /does not export it/],
      [import.meta.resolve("./testdata/process_broken.js"), "target", /./],
      [import.meta.resolve("./testdata/process_throws.ts"), "target", /while loading/],
      [import.meta.resolve("./testdata/no_such_file.ts"), "target", /no_such_file/],
      ["nonsense:x", "target", /nonsense/],
    ];
    for (const [module, target, message] of cases) {
      await using process = new Process(module, { target }).start();
      const { error, exitCode } = await fate(process);
      assertInstanceOf(error, RemoteError);
      assertInstanceOf(error.cause, Error);
      assertMatch((error.cause as Error).message, message);
      assertEquals(exitCode, 1);
    }
  },
);

Deno.test("Process runs what a module that exports `then` is imported as", LIMIT, async () => {
  const module = import.meta.resolve("./testdata/process_thenable.ts");
  await using process = new Process(module, { target: "target" }).start();
  assertEquals(await process.result, 7);
});

Deno.test("Process.result rejects when the result cannot be passed", LIMIT, async () => {
  await using process = make(targets.returnsFunction).start();
  const { error, exitCode } = await fate(process);
  assertInstanceOf(error, RemoteError);
  assertEquals((error.cause as DOMException).name, "DataCloneError");
  assertEquals(exitCode, 1);
});

Deno.test(
  "Process that starts processes while it is loaded is told to guard that",
  LIMIT,
  async () => {
    const module = import.meta.resolve("./testdata/process_unguarded.ts");
    await using process = new Process(module, { target: "target" }).start();
    const { error } = await fate(process);
    assertInstanceOf(error.cause, TypeError);
    assertMatch(error.message, /import\.meta\.main/);
  },
);

Deno.test(
  "Process.result rejects with a RemoteError after an error outside the target",
  LIMIT,
  async () => {
    for (const target of ["lostRejection", "rejectionAtTheEnd", "timerThrows"]) {
      await using process = make(target).start();
      const { error, exitCode } = await fate(process);
      assertInstanceOf(error, RemoteError, target);
      assertInstanceOf(error.cause, RangeError, target);
      assertEquals(exitCode, 1);
    }
  },
);

Deno.test("Process leaves rejections that the user handles to the user", LIMIT, async () => {
  await using process = make(targets.handlesRejection).start();
  assertEquals(await process.result, "handled");
});

Deno.test(
  "Process.result rejects with an AbandonedError when the agent ends by itself",
  LIMIT,
  async () => {
    for (const target of ["exitsByDeno", "exitsByProcess", "closesItself"]) {
      await using process = make(target).start();
      const { error, exitCode } = await fate(process);
      assertInstanceOf(error, AbandonedError, target);
      assertEquals(exitCode, 1);
    }
  },
);

Deno.test("Process runs nothing after an end of its own", LIMIT, async () => {
  for (const how of ["close", "exit"]) {
    const count = new SharedValue("i32");
    await using process = make(targets.closesThenCounts, [how, count]).start();
    await process.join();
    await turn();
    assertEquals(count.value, 0);
  }
});

Deno.test("Process runs its unload handlers before it ends", LIMIT, async () => {
  const count = new SharedValue("i32");
  await using process = make(targets.exitHandlers, [count]).start();
  await process.join();
  assertEquals(count.value, 1);
});

Deno.test(
  "Process that ends with a guard has abandoned the lock, for a blocked parent too",
  LIMIT,
  async () => {
    for (const how of ["return", "exit", "throw", "reject"]) {
      const lock = new Lock();
      await using process = make(targets.holdsAndEnds, [lock, how]).start();
      const { result } = process;
      result.catch(() => {});
      await until(() => lock.locked);
      assertThrows(() => lock.acquireSync({ timeout: 5_000 }), AbandonedError);
    }
  },
);

Deno.test("Process prints an error once if nobody ever asks for the result", LIMIT, async () => {
  const lines = await printed(async () => {
    await using process = make(targets.throws, ["unasked"], { name: "thrower" }).start();
    await process.join();
  });
  assertEquals(lines.length, 1);
  assertMatch(String(lines[0]![0]), /thrower/);
  assertInstanceOf(lines[0]![1], RemoteError);
});

Deno.test(
  "Process prints nothing if the result is asked for, after join() too",
  LIMIT,
  async () => {
    const lines = await printed(async () => {
      await using before = make(targets.throws).start();
      await assertRejects(() => before.result);
      await using after = make(targets.throws).start();
      await after.join();
      await assertRejects(() => after.result);
      await using ended = make(targets.exitsByDeno).start();
      await ended.join();
      await using terminated = make(targets.delayed, [1_000_000]).start();
      await terminated.terminate();
    });
    assertEquals(lines, []);
  },
);

// -- Join --------------------------------------------------------------------------------------

Deno.test("Process.join() and terminate() reject with a TypeError before the start", async () => {
  await assertRejects(() => make("add").join(), TypeError, "not started");
  await assertRejects(() => make("add").terminate(), TypeError, "not started");
});

Deno.test("Process.join() may be called by many, and after the end", LIMIT, async () => {
  await using process = make(targets.add, [1, 2]).start();
  await Promise.all([process.join(), process.join(), process.join({ timeout: 20_000 })]);
  await process.join();
  await process.join({ timeout: 0 });
});

Deno.test("Process.join() times out and is aborted without an effect", LIMIT, async () => {
  const ready = new SharedEvent();
  await using process = make(targets.idle, [ready]).start();
  for (const timeout of [0, -1, 5]) {
    const error = await assertRejects(() => process.join({ timeout }), DOMException);
    assertEquals((error as DOMException).name, "TimeoutError");
  }
  const reason = new Error("reason");
  assertStrictEquals(
    await assertRejects(() => process.join({ signal: AbortSignal.abort(reason) })),
    reason,
  );
  const controller = new AbortController();
  const joining = assertRejects(() => process.join({ signal: controller.signal }));
  controller.abort(reason);
  assertStrictEquals(await joining, reason);
  await assertRejects(() => process.join({ timeout: NaN }), RangeError);
  await assertRejects(() => process.join({ timeout: "1" as never }), TypeError);
  await assertRejects(
    () => make("add").join({ signal: AbortSignal.abort(reason) }),
    Error,
    "reason",
  );
  assert(process.alive);
});

// -- Terminate ---------------------------------------------------------------------------------

for (const kind of ["queue", "lock", "event", "semaphore", "connection"]) {
  Deno.test(
    `Process.terminate() ends one that is blocked (${kind}), and its finally runs`,
    LIMIT,
    async () => {
      const shared = waits();
      const guards = [shared.lock.acquireSync(), shared.semaphore.acquireSync()];
      const [here, there] = pipe<number>();
      if (kind === "connection") shared.connection = there;
      await using process = make(targets.waitSync, [kind, shared]).start();
      await until(() => shared.log.get(0) === 1);
      const start = performance.now();
      await process.terminate();
      assertLess(performance.now() - start, 400);
      assertEquals(shared.log.get(1), 1);
      assertEquals([process.alive, process.exitCode], [false, -15]);
      await assertRejects(() => process.result, TerminatedError);
      for (const guard of guards) guard.release();
      here.close();
    },
  );
}

Deno.test(
  "Process.terminate() ends one hundred that are blocked",
  { timeout: 60_000 },
  async () => {
    const kinds = ["queue", "lock", "event", "semaphore"];
    for (let round = 0; round < 5; round++) {
      const shared = waits();
      const guards = [shared.lock.acquireSync(), shared.semaphore.acquireSync()];
      const processes = Array.from(
        { length: 20 },
        (_, i) => make(targets.waitSync, [kinds[i % 4]!, shared]).start(),
      );
      await until(() => shared.log.get(0) === 20);
      await Promise.all(processes.map((process) => process.terminate({ grace: 20_000 })));
      assertEquals(shared.log.get(1), 20);
      assertEquals(processes.map(({ exitCode }) => exitCode), Array(20).fill(-15));
      for (const guard of guards) guard.release();
    }
  },
);

Deno.test("Process.terminate() ends a call that waits as a promise", LIMIT, async () => {
  const shared = waits();
  await using process = make(targets.waitAsync, [shared]).start();
  await until(() => shared.log.get(0) === 1);
  await process.terminate();
  assertEquals([shared.log.get(1), process.exitCode], [1, -15]);
});

Deno.test(
  "Process that returns after a TerminatedError was terminated all the same",
  LIMIT,
  async () => {
    const shared = waits();
    await using process = make(targets.catchesTermination, [shared]).start();
    await until(() => shared.log.get(0) === 1);
    await process.terminate();
    // The second wait has ended as well.
    assertEquals([shared.log.get(1), process.exitCode], [2, -15]);
    await assertRejects(() => process.result, TerminatedError);
  },
);

Deno.test(
  "an error that a process could not report itself is a RemoteError as well",
  LIMIT,
  async () => {
    await using process = make(targets.breaksTheGuard).start();
    const { error, exitCode } = await fate(process);
    assertInstanceOf(error, RemoteError);
    assertEquals([(error.cause as Error).message, exitCode], ["broken guard", 1]);
  },
);

Deno.test(
  "a process that is killed in the moment of its report has ended without a result",
  LIMIT,
  async () => {
    const unreadable = { bytes: new ArrayBuffer(3), attachments: [] };
    for (
      const [outcome, report, expected] of [
        // It has set the outcome; or the report has come as well, and cannot be read.
        [RETURNED, undefined, ["AbandonedError", 1]],
        [RETURNED, unreadable, ["RemoteError", 1]],
        [TERMINATED, unreadable, ["TerminatedError", -15]],
      ] as const
    ) {
      await using process = await begun(targets.spin);
      const child = childOf(process);
      child.report = report;
      const end = process.terminate({ grace: 0 });
      Atomics.store(child.control, OUTCOME, outcome);
      await end;
      const { error, exitCode } = await fate(process);
      assertEquals([error.name, exitCode], expected);
    }
  },
);

Deno.test(
  "Process.terminate() changes nothing about one that has told its result",
  LIMIT,
  async () => {
    await using process = await begun(targets.idle);
    Atomics.store(childOf(process).control, OUTCOME, RETURNED);
    await process.terminate();
    assertEquals([await process.result, process.exitCode], [undefined, 0]);
  },
);

Deno.test(
  "Process.terminate() ends a process whose child goes on, whatever the grace",
  LIMIT,
  async () => {
    await using process = await begun(targets.hasSpinningChild);
    await process.terminate({ grace: Infinity });
    assertEquals(process.exitCode, -15);
  },
);

Deno.test(
  "Process.terminate() rejects if the thread is inside a call of the runtime and runs on",
  LIMIT,
  async () => {
    await using one = await begun(targets.sleepOutside);
    await using two = await begun(targets.sleepOutside);
    const ends = [one.terminate({ grace: 0 }), two.terminate({ grace: 20 })].map((end) =>
      assertRejects(() => end, DOMException, "its thread runs on")
    );
    // The time of the second one is over while this thread is blocked.
    assertFalse(new SharedEvent().waitSync({ timeout: 60 }));
    await Promise.all(ends);
    await Promise.all([one.join(), two.join()]);
    assertEquals([one.exitCode, two.exitCode], [-15, -15]);
  },
);

Deno.test("Process.terminate() works at once after start()", LIMIT, async () => {
  for (const grace of [500, 0]) {
    await using process = make(targets.add, [1, 2]).start();
    await process.terminate({ grace });
    assertEquals(process.exitCode, -15);
    await assertRejects(() => process.result, TerminatedError);
  }
});

Deno.test(
  "Process.terminate() does nothing after the end, and may be called by many",
  LIMIT,
  async () => {
    await using process = make(targets.add, [1, 2]).start();
    await process.join();
    await process.terminate();
    assertEquals([process.exitCode, await process.result], [0, 3]);
    await using other = make(targets.delayed, [1_000_000]).start();
    await Promise.all([other.terminate(), other.terminate(), other.terminate({ grace: 0 })]);
    assertEquals(other.exitCode, -15);
  },
);

Deno.test("Process.terminate() checks grace", LIMIT, async () => {
  await using process = make(targets.delayed, [1_000_000]).start();
  await assertRejects(() => process.terminate({ grace: NaN }), RangeError);
  await assertRejects(() => process.terminate({ grace: "1" as never }), TypeError);
  assert(process.alive);
});

Deno.test("Process.terminate() does not use up the grace of an idle process", LIMIT, async () => {
  for (const target of [targets.idle, targets.idleTimer]) {
    const ready = new SharedEvent();
    await using process = make(target, [ready]).start();
    await ready.wait();
    const start = performance.now();
    await process.terminate({ grace: Infinity });
    assertLess(performance.now() - start, 1_000);
    assertEquals(process.exitCode, -15);
  }
});

Deno.test("Process.terminate() stops one that spins by force", LIMIT, async () => {
  for (const grace of [0, 100, 500]) {
    const ready = new SharedEvent();
    await using process = make(targets.spin, [ready]).start();
    await ready.wait();
    const start = performance.now();
    await process.terminate({ grace });
    const time = performance.now() - start;
    assertGreater(time, grace - 5);
    assertLess(time, grace + 1_000);
    assertEquals(process.exitCode, -15);
  }
});

Deno.test("Process.terminate() lets clean-up run for its grace", LIMIT, async () => {
  const shared = waits();
  await using process = make(targets.cleansUpSlowly, [shared, 200]).start();
  await until(() => shared.log.get(0) === 1);
  await process.terminate({ grace: 5_000 });
  assertEquals(shared.log.get(1), 1);
});

Deno.test(
  "Process.terminate() cuts off clean-up that outlasts the shortest grace",
  LIMIT,
  async () => {
    const shared = waits();
    await using process = make(targets.cleansUpSlowly, [shared, 100_000]).start();
    await until(() => shared.log.get(0) === 1);
    const start = performance.now();
    await Promise.all([process.terminate({ grace: Infinity }), process.terminate({ grace: 100 })]);
    assertLess(performance.now() - start, 2_000);
    assertEquals([shared.log.get(1), process.exitCode], [0, -15]);
  },
);

Deno.test("Process.terminate() forces clean-up that spins", LIMIT, async () => {
  const ready = new SharedEvent();
  await using process = make(targets.spinAfterClean, [ready, new Queue<number>()]).start();
  await ready.wait();
  await process.terminate({ grace: 100 });
  assertEquals(process.exitCode, -15);
});

Deno.test("Process.current tells a loop of the request to stop", LIMIT, async () => {
  for (const target of [targets.polite, targets.politeLater]) {
    const ready = new SharedEvent();
    const log = new SharedArray("i32", 4);
    await using process = make(target, [ready, log]).start();
    await ready.wait();
    await process.terminate({ grace: 10_000 });
    assertEquals([log.get(1), process.exitCode], [1, -15]);
  }
});

Deno.test("Process that was stopped by force has abandoned its lock", LIMIT, async () => {
  const lock = new Lock();
  const ready = new SharedEvent();
  await using process = make(targets.signalThenHold, [lock, ready]).start();
  await ready.wait();
  const acquiring = assertRejects(() => lock.acquire(), AbandonedError);
  await process.terminate({ grace: 0 });
  await acquiring;
});

Deno.test("Process is terminated at the end of await using", LIMIT, async () => {
  const ready = new SharedEvent();
  const process = make(targets.idle, [ready]);
  {
    await using _process = process.start();
    await ready.wait();
  }
  assertEquals([process.alive, process.exitCode], [false, -15]);
});

// -- Who am I ----------------------------------------------------------------------------------

Deno.test("Process.current describes the main agent", () => {
  const { current } = Process;
  assertEquals(current.parent, undefined);
  assertGreater(current.pid, 0);
  assertEquals(typeof current.name, "string");
  assertFalse(current.stopRequested);
  current.throwIfStopRequested();
});

Deno.test("Process.current describes a process and its parent", LIMIT, async () => {
  await using process = make(targets.aboutSelf, [], { name: "näme" }).start();
  const { name, pid } = Process.current;
  assertEquals(await process.result, { name: "näme", pid: process.pid, parent: { name, pid } });
});

Deno.test("Process.current describes a process of a process", LIMIT, async () => {
  await using process = make(targets.aboutChild, [MODULE], { name: "outer" }).start();
  const [outer, inner] = await process.result as { pid: number }[];
  assertEquals(inner, {
    name: "outer:1",
    pid: inner!.pid,
    parent: { name: "outer", pid: outer!.pid },
  });
});

// -- Processes of processes --------------------------------------------------------------------

for (const how of ["return", "throw", "exit"]) {
  for (const inner of ["lockAndBlock", "lockAndIdle", "signalThenHold"]) {
    Deno.test(`Process whose parent ends (${how}) ends with it (${inner})`, LIMIT, async () => {
      const lock = new Lock();
      await using process = make(targets.parent, [MODULE, lock, new SharedEvent(), inner, how])
        .start();
      process.result.catch(() => {});
      await process.join();
      const start = performance.now();
      await assertRejects(() => lock.acquire(), AbandonedError);
      assertLess(performance.now() - start, 1_000);
    });
  }
}

for (const how of ["spin", "block", "idle"]) {
  for (const inner of ["lockAndBlock", "lockAndIdle", "signalThenHold"]) {
    Deno.test(
      `Process whose parent is terminated (${how}) ends with it (${inner})`,
      LIMIT,
      async () => {
        const lock = new Lock();
        const ready = new SharedEvent();
        await using process = make(targets.parent, [MODULE, lock, ready, inner, how]).start();
        await ready.wait();
        await process.terminate();
        assertEquals(process.exitCode, -15);
        const start = performance.now();
        await assertRejects(() => lock.acquire(), AbandonedError);
        assertLess(performance.now() - start, 1_000);
      },
    );
  }
}

// -- Select ------------------------------------------------------------------------------------

Deno.test("select() finds a process that has ended", LIMIT, async () => {
  const ready = new SharedEvent();
  await using idle = make(targets.idle, [ready]).start();
  await using quick = make(targets.add, [1, 2]).start();
  assertEquals(await select([idle, quick]), [quick]);
  assertEquals(await select([idle], { timeout: 5 }), []);
  assertThrows(() => selectSync([make("add")], { timeout: 0 }), TypeError, "not started");
});
