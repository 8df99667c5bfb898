// Copyright 2026 the Sabre authors. MIT license.

// Who notices that an agent has ended: agents that nobody of us started, and ends that come while the
// thread that would hear of them is blocked.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import threads, { Worker as NodeWorker } from "node:worker_threads";
import { AbandonedError, ClosedError } from "../errors.ts";
import { Lock } from "../lock.ts";
import { pipe } from "../pipe.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { selectSync } from "../select.ts";
import { countSigned, home, join, livingAgents } from "../_agent.ts";
import { lockLatch } from "../_latch.ts";
import { Agent, block, until } from "./_helpers.ts";
import {
  acquireAnyhow,
  holdAndSpin,
  killAndBlock,
  latchAndSpin,
} from "./testdata/watch_targets.ts";

const LIMIT = { timeout: 20_000 };
const TARGETS = new URL("./testdata/watch_targets.ts", import.meta.url);
/** Milliseconds in which a death must be noticed. */
const SOON = 1_000;

/** How long it takes until the lock is reported abandoned. */
async function untilAbandoned(lock: Lock, isBlocked: boolean): Promise<number> {
  const start = performance.now();
  if (isBlocked) assertThrows(() => lock.acquireSync(), AbandonedError);
  else await assertRejects(() => lock.acquire(), AbandonedError);
  lock.acquireSync({ recover: true }).release();
  return performance.now() - start;
}

/** A process that holds the lock and computes for ever. */
async function startHolder(lock: Lock): Promise<Process> {
  const ready = new Queue<string>();
  const process = new Process(TARGETS, { target: holdAndSpin, args: [lock, ready] }).start();
  assertEquals(await ready.get(), "held");
  return process;
}

for (const isBlocked of [false, true]) {
  const how = isBlocked ? "while this thread is blocked" : "by a promise";

  Deno.test(
    `a lock is abandoned by a terminated worker that the user started, ${how}`,
    LIMIT,
    async () => {
      const lock = new Lock();
      const agent = new Agent(TARGETS);
      await agent.run("hold", lock.handle);
      agent[Symbol.dispose]();
      const time = await untilAbandoned(lock, isBlocked);
      assert(time < SOON, `it took ${time} ms`);
    },
  );

  for (const target of ["holdAndClose", "holdAndExit"]) {
    Deno.test(
      `a lock is abandoned by a worker of the user's that ends itself (${target}), ${how}`,
      LIMIT,
      async () => {
        const lock = new Lock();
        using agent = new Agent(TARGETS);
        await agent.run(target, lock.handle);
        const time = await untilAbandoned(lock, isBlocked);
        assert(time < SOON, `it took ${time} ms`);
      },
    );
  }

  Deno.test(`a pipe ends when a worker of the user's does, ${how}`, LIMIT, async () => {
    const [here, there] = pipe<string>();
    const agent = new Agent(TARGETS);
    await agent.run("sendOne", there.handle);
    agent[Symbol.dispose]();
    assertEquals(here.receiveSync(), "last words");
    const start = performance.now();
    if (isBlocked) assertThrows(() => here.receiveSync(), ClosedError);
    else await assertRejects(() => here.receive(), ClosedError);
    assert(performance.now() - start < SOON);
    here.close();
  });

  Deno.test(
    `a lock is abandoned by a process that is killed and not waited for, ${how}`,
    LIMIT,
    async () => {
      const lock = new Lock();
      const ready = new Queue<string>();
      await using process = new Process(TARGETS, { target: holdAndSpin, args: [lock, ready] })
        .start();
      ready.getSync();
      process.terminate({ grace: 100 });
      const time = await untilAbandoned(lock, isBlocked);
      assert(time < SOON, `it took ${time} ms`);
    },
  );

  Deno.test(`a lock is abandoned by a process of a process, ${how}`, LIMIT, async () => {
    const lock = new Lock();
    const [ready, killed, never] = [new Queue<string>(), new Queue<string>(), new Queue<string>()];
    await using _process = new Process(TARGETS, {
      target: killAndBlock,
      args: [lock, ready, killed, never],
    })
      .start();
    assertEquals(killed.getSync(), "killed");
    const time = await untilAbandoned(lock, isBlocked);
    assert(time < SOON, `it took ${time} ms`);
  });

  Deno.test(
    `a lock is abandoned by the process of a terminated worker of the user's, ${how}`,
    LIMIT,
    async () => {
      const lock = new Lock();
      const ready = new Queue<string>();
      const agent = new Agent(TARGETS);
      await agent.run("raise", lock.handle, ready.handle);
      assertEquals(ready.getSync(), "held");
      agent[Symbol.dispose]();
      const time = await untilAbandoned(lock, isBlocked);
      assert(time < SOON, `it took ${time} ms`);
    },
  );

  Deno.test(
    `a lock that a worker of the user's made is abandoned by its death, ${how}`,
    LIMIT,
    async () => {
      const agent = new Agent(TARGETS);
      const lock = Lock.from(await agent.run("makeLock"));
      await agent.run("hold", lock.handle);
      agent[Symbol.dispose]();
      const time = await untilAbandoned(lock, isBlocked);
      assert(time < SOON, `it took ${time} ms`);
    },
  );
}

Deno.test(
  "a worker of the user's that is terminated while it is blocked is not dead",
  LIMIT,
  async () => {
    const lock = new Lock();
    const queue = new Queue<string>();
    const agent = new Agent(TARGETS);
    agent.run("holdAndBlock", lock.handle, queue.handle).catch(() => {});
    await until(() => lock.locked);
    agent[Symbol.dispose]();
    // It is still there, and its lock is not for others to take over.
    await assertRejects(() => lock.acquire({ timeout: 300 }), DOMException);
    queue.putSync("go on");
    assert(await untilAbandoned(lock, false) < SOON);
  },
);

Deno.test("workers of the user's leave their place in the table when they end", LIMIT, async () => {
  const lock = new Lock();
  const before = livingAgents(home()).length;
  const agents = Array.from({ length: 10 }, () => new Agent(TARGETS));
  await Promise.all(agents.map((agent) => agent.run("attach", lock.handle)));
  assert(livingAgents(home()).length >= before + 10);
  for (const agent of agents) agent[Symbol.dispose]();
  // Not in the turn of the event loop in which it ended.
  for (let i = 0; i < 100 && livingAgents(home()).length > before; i++) block(10);
  assertEquals(livingAgents(home()).length, before);
});

for (const isBlocked of [false, true]) {
  const how = isBlocked ? "while this thread is blocked" : "by a promise";

  for (const isIdle of [true, false]) {
    const state = isIdle ? "idle" : "ended";
    Deno.test(
      `a lock is abandoned by a node worker of the user's (${state}), ${how}`,
      LIMIT,
      async () => {
        const lock = new Lock();
        const worker = new NodeWorker(new URL("./testdata/node_worker.ts", import.meta.url), {
          workerData: { lock: lock.handle, isIdle },
        });
        const exit = new Promise((resolve) => worker.on("exit", resolve));
        await until(() => lock.locked);
        if (isIdle) worker.terminate();
        const time = await untilAbandoned(lock, isBlocked);
        assert(time < SOON, `it took ${time} ms`);
        await exit;
      },
    );
  }
}

Deno.test(
  "a latch of a process that is killed is taken over by a thread that blocks",
  LIMIT,
  async () => {
    const memory = new SharedArrayBuffer(4);
    const ready = new Queue<string>();
    await using process = new Process(TARGETS, { target: latchAndSpin, args: [memory, ready] })
      .start();
    ready.getSync();
    process.terminate({ grace: 0 });
    const start = performance.now();
    assert(lockLatch(home(), new Int32Array(memory), 0), "it was not taken over");
    assert(performance.now() - start < SOON);
  },
);

Deno.test("a node worker of the user's that made a lock abandons it", LIMIT, async () => {
  const worker = new NodeWorker(new URL("./testdata/node_maker.ts", import.meta.url));
  const message = await new Promise((resolve) => worker.on("message", resolve));
  const lock = Lock.from(message);
  // It has to hear that it is not alone: this agent calls, and then it has a lock or a port.
  const { domain } = lock.handle;
  await until(() => countSigned(join(domain)) > 1);
  worker.terminate();
  assert(await untilAbandoned(lock, true) < SOON);
});

for (const grace of [0, 40]) {
  Deno.test(
    `a thread that blocks a little at a time hears of a death (grace ${grace})`,
    LIMIT,
    async () => {
      const lock = new Lock();
      await using process = await startHolder(lock);
      process.terminate({ grace }).catch(() => {});
      const start = performance.now();
      let name = "TimeoutError";
      while (name === "TimeoutError" && performance.now() - start < 3_000) {
        ({ name } = assertThrows(() => lock.acquireSync({ timeout: 20 })) as Error);
      }
      assertEquals(name, "AbandonedError");
      assert(performance.now() - start < SOON);
    },
  );

  Deno.test(
    `selectSync() and alive tell of a process that was killed (grace ${grace})`,
    LIMIT,
    async () => {
      const lock = new Lock();
      await using process = await startHolder(lock);
      process.terminate({ grace }).catch(() => {});
      assertEquals(selectSync([process], { timeout: 3_000 }), [process]);
      assertEquals([process.alive, process.exitCode], [false, -15]);
    },
  );
}

Deno.test("others hear of a death while the thread that killed is busy", LIMIT, async () => {
  const lock = new Lock();
  const ended = new Queue<string>();
  await using process = await startHolder(lock);
  await using _waiting = new Process(TARGETS, { target: acquireAnyhow, args: [lock, ended] })
    .start();
  assertEquals(await ended.get(), "begun");
  process.terminate({ grace: 0 }).catch(() => {});
  const end = performance.now() + 2 * SOON;
  while (ended.empty && performance.now() < end);
  assertEquals(ended.tryGet(), { state: "ok", value: "AbandonedError" });
});

Deno.test(
  "a process that could not be started leaves nothing behind that is watched",
  LIMIT,
  async () => {
    const { Worker } = threads;
    const before = livingAgents(home()).length;
    threads.Worker = class {
      constructor() {
        throw new RangeError("no thread is to be had");
      }
    } as unknown as typeof Worker;
    try {
      const process = new Process(TARGETS, { target: holdAndSpin, args: [] as never });
      assertThrows(() => process.start(), RangeError, "no thread is to be had");
    } finally {
      threads.Worker = Worker;
    }
    assertEquals(livingAgents(home()).length, before);
    // All that is watched is handed over when this thread blocks.
    const lock = new Lock();
    await using process = await startHolder(lock);
    process.terminate({ grace: 0 }).catch(() => {});
    assert(await untilAbandoned(lock, true) < SOON);
  },
);
