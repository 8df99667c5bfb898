// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import process from "node:process";
import { setImmediate } from "node:timers";
import { bury, home, joinedDomains, requestStop, slotOf, unpark, waitWords } from "../_agent.ts";
import { millis } from "../_clock.ts";
import { holdLoop, releaseLoop } from "../_hold.ts";
import { whileBlocked } from "../_park.ts";
import { toldBy, whatOf } from "../_report.ts";
import "../_watch.ts";
import { waitAsync, type Waiter, waitSync } from "../_wait.ts";
import { TerminatedError } from "../errors.ts";
import { Lock } from "../lock.ts";
import { abortable, Agent, settlesSoon, turn, until } from "./_helpers.ts";
import { crowdOf, Peer } from "./_workers.ts";
import { type Form, pingPong } from "./testdata/wait_worker.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/wait_worker.ts", import.meta.url);

/** A wait that the test decides about, and that counts its calls. */
class Probe implements Waiter {
  isOver = false;
  polls = 0;
  withdrawals = 0;
  /** What withdrawing says, and with `false` the wait is over. */
  mayWithdraw = true;
  error: Error | undefined;
  onPoll: () => void = () => {};

  poll(): boolean {
    this.polls++;
    if (this.error !== undefined) throw this.error;
    const { isOver } = this;
    this.onPoll();
    return isOver;
  }

  withdraw(): boolean {
    this.withdrawals++;
    if (!this.mayWithdraw) this.isOver = true;
    return this.mayWithdraw;
  }

  get counts(): [number, number] {
    return [this.polls, this.withdrawals];
  }
}

function wake(): void {
  unpark(home(), home().id);
}

/** Calls the function as if this agent was asked to end. */
async function whileStopped(run: () => void | Promise<void>): Promise<void> {
  const { words, park, id } = home();
  const STOP = park + 2;
  requestStop(home(), id);
  try {
    assertEquals(words[STOP], id);
    await run();
  } finally {
    Atomics.store(words, STOP, 0);
  }
}

// -- waitSync ----------------------------------------------------------------------------------

Deno.test("waitSync() returns true at once when the wait is over", () => {
  for (const timeout of [Infinity, 1_000, 0]) {
    const probe = new Probe();
    probe.isOver = true;
    assertEquals(waitSync(home(), probe, timeout, "x"), true);
    assertEquals(probe.counts, [1, 0]);
  }
});

Deno.test("waitSync() withdraws and returns false when time has run out, not before", () => {
  for (const timeout of [0, 0.25, 7.5]) {
    const probe = new Probe();
    const start = performance.now();
    assertEquals(waitSync(home(), probe, timeout, "x"), false);
    const elapsed = performance.now() - start;
    assert(elapsed >= timeout && elapsed < timeout + 500, `${elapsed} of ${timeout} ms`);
    assertEquals(probe.withdrawals, 1);
  }
});

Deno.test("waitSync() takes what came just before it withdrew", () => {
  const probe = new Probe();
  probe.mayWithdraw = false;
  assertEquals(waitSync(home(), probe, 1, "x"), true);
  assertEquals(probe.withdrawals, 1);
});

Deno.test("waitSync() throws what poll throws, without withdrawing", () => {
  const probe = new Probe();
  probe.error = new Error("mine");
  assertStrictEquals(assertThrows(() => waitSync(home(), probe, 1_000, "x")), probe.error);
  assertEquals(probe.counts, [1, 0]);
});

Deno.test("waitSync() misses no wake-up between its look and its sleep", () => {
  const probe = new Probe();
  probe.onPoll = () => {
    probe.isOver = true;
    wake();
  };
  const start = performance.now();
  assertEquals(waitSync(home(), probe, Infinity, "x"), true);
  // Otherwise it would have slept for its whole slice.
  assert(performance.now() - start < 500);
  assertEquals(probe.counts, [2, 0]);
});

Deno.test("waitSync() throws TerminatedError once this agent is asked to end", async () => {
  await whileStopped(() => {
    const probe = new Probe();
    assertThrows(() => waitSync(home(), probe, Infinity, "x"), TerminatedError);
    assertThrows(() => waitSync(home(), probe, 1_000, "x"), TerminatedError);
    assertEquals(probe.counts, [2, 2]);
  });
});

Deno.test("waitSync() that need not wait works when this agent is asked to end", async () => {
  await whileStopped(() => {
    const probe = new Probe();
    probe.isOver = true;
    assertEquals(waitSync(home(), probe, Infinity, "x"), true);
    const late = new Probe();
    late.mayWithdraw = false;
    assertEquals(waitSync(home(), late, Infinity, "x"), true);
  });
});

Deno.test("waitSync() does not stop the promises of its agent from settling afterwards", async () => {
  const probe = new Probe();
  const promise = waitAsync(home(), probe, Infinity, undefined);
  probe.isOver = true;
  wake();
  assertEquals(waitSync(home(), new Probe(), 2, "x"), false);
  assertEquals(await promise, true);
  const next = new Probe();
  const second = waitAsync(home(), next, Infinity, undefined);
  assertEquals(waitSync(home(), new Probe(), 2, "x"), false);
  next.isOver = true;
  wake();
  assertEquals(await second, true);
});

Deno.test("waitSync() tells others of a wait once it has lasted for a while", () => {
  const wait = () => toldBy(home(), home().id);
  for (const timeout of [Infinity, 5_000]) {
    const probe = Object.assign(new Probe(), { what: whatOf("Queue", 7, "get") });
    const times: number[] = [];
    const tellings: unknown[] = [];
    probe.onPoll = () => {
      times.push(millis());
      tellings.push(wait()?.isBlocked);
      // Its first sleep is not disturbed, the second one is.
      if (probe.polls > 1) wake();
      if (probe.polls > 2) {
        assert(wait()!.since - times[0]! >= -1, "since a time before it began");
        assert(times[1]! - wait()!.since >= 9, "told at once");
        probe.isOver = true;
      }
    };
    assertEquals(waitSync(home(), probe, timeout, "x"), true);
    assertEquals(tellings, [undefined, undefined, true, true]);
    assertEquals(wait(), undefined);
  }
});

Deno.test("waitSync() tells nobody of a short wait", () => {
  const { words, id } = home();
  const count = () => Atomics.load(words, waitWords(slotOf(id)));
  const before = count();
  for (const timeout of [Infinity, 5_000]) {
    const probe = new Probe();
    probe.onPoll = () => {
      wake();
      probe.isOver = true;
    };
    assertEquals(waitSync(home(), probe, timeout, "x"), true);
    assertEquals([probe.polls, count()], [2, before]);
  }
});

Deno.test("waitSync() adds up for how long the thread was blocked, until that is long enough", () => {
  const { leave, counts } = whileBlocked;
  const times: number[] = [];
  whileBlocked.leave = (time) => times.push(time);
  try {
    for (whileBlocked.counts of [true, false]) {
      assertEquals(waitSync(home(), new Probe(), 3, "x"), false);
      const probe = new Probe();
      probe.onPoll = () => probe.isOver = true;
      assertEquals(waitSync(home(), probe, Infinity, "x"), true);
      // One that need not sleep adds nothing.
      assertEquals(waitSync(home(), probe, Infinity, "x"), true);
    }
  } finally {
    Object.assign(whileBlocked, { leave, counts });
  }
  assertEquals(times.length, 2);
  assert(times[0]! >= 3 && times[1]! >= 9, `${times}`);
  whileBlocked.leave(60);
  whileBlocked.leave(60);
  assertEquals(whileBlocked.counts, false);
});

// -- waitAsync ---------------------------------------------------------------------------------

Deno.test("waitAsync() resolves to true when the wait is over", async () => {
  for (const timeout of [Infinity, 1_000]) {
    const probe = new Probe();
    probe.isOver = true;
    assertEquals(await waitAsync(home(), probe, timeout, undefined), true);
    assertEquals(probe.counts, [1, 0]);
  }
});

Deno.test("waitAsync() looks before it returns", () => {
  const probe = new Probe();
  probe.isOver = true;
  waitAsync(home(), probe, Infinity, undefined);
  assertEquals(probe.polls, 1);
});

Deno.test("waitAsync() looks again at each wake-up, and never after it settled", async () => {
  const probe = new Probe();
  const promise = waitAsync(home(), probe, Infinity, undefined);
  for (let i = 2; i < 6; i++) {
    wake();
    await until(() => probe.polls === i);
  }
  probe.isOver = true;
  wake();
  assertEquals(await promise, true);
  const { polls } = probe;
  wake();
  await turn();
  wake();
  await turn();
  assertEquals(probe.counts, [polls, 0]);
});

Deno.test("waitAsync() withdraws and resolves to false when time has run out, not before", async () => {
  for (const timeout of [0, 0.25, 7.5, 30]) {
    const probe = new Probe();
    const start = performance.now();
    assertEquals(await waitAsync(home(), probe, timeout, undefined), false);
    assert(performance.now() - start >= timeout);
    assertEquals(probe.withdrawals, 1);
  }
});

Deno.test("waitAsync() with a timeout longer than timers can be does not time out", async () => {
  const probe = new Probe();
  const promise = waitAsync(home(), probe, 2 ** 31 + 5, undefined);
  assertEquals(await settlesSoon(promise), false);
  probe.isOver = true;
  wake();
  assertEquals(await promise, true);
});

Deno.test("waitAsync() that is aborted withdraws and rejects with the reason", async () => {
  for (const reason of [new Error("mine"), "text", 0, null]) {
    const probe = new Probe();
    const controller = new AbortController();
    const promise = waitAsync(home(), probe, 60_000, controller.signal);
    controller.abort(reason);
    assertEquals(probe.withdrawals, 1);
    assertStrictEquals(await promise.catch((error) => error), reason);
  }
});

Deno.test("waitAsync() takes what came just before an abort or the end of its time", async () => {
  const aborted = new Probe();
  aborted.mayWithdraw = false;
  const controller = new AbortController();
  const promise = waitAsync(home(), aborted, Infinity, controller.signal);
  controller.abort();
  assertEquals(await promise, true);
  const late = new Probe();
  late.mayWithdraw = false;
  assertEquals(await waitAsync(home(), late, 1, undefined), true);
  assertEquals([aborted.withdrawals, late.withdrawals], [1, 1]);
});

Deno.test("waitAsync(): one signal aborts all that have it, and nothing else", async () => {
  const controller = new AbortController();
  const probes = Array.from({ length: 50 }, () => new Probe());
  const calls = probes.map((probe, i) =>
    waitAsync(home(), probe, Infinity, i % 2 === 0 ? controller.signal : undefined)
  );
  controller.abort("reason");
  for (const [i, probe] of probes.entries()) {
    assertEquals(probe.withdrawals, i % 2 === 0 ? 1 : 0);
    probe.isOver = true;
  }
  wake();
  const results = await Promise.allSettled(calls);
  for (const [i, result] of results.entries()) {
    assertEquals(result.status, i % 2 === 0 ? "rejected" : "fulfilled");
  }
});

Deno.test("waitAsync() rejects with what poll throws, at first or later", async () => {
  const probe = new Probe();
  probe.error = new Error("mine");
  assertStrictEquals(
    await waitAsync(home(), probe, Infinity, undefined).catch((error) => error),
    probe.error,
  );
  const later = new Probe();
  const beside = new Probe();
  const promise = waitAsync(home(), later, Infinity, undefined);
  const other = waitAsync(home(), beside, Infinity, undefined);
  later.error = new Error("mine too");
  beside.isOver = true;
  wake();
  assertStrictEquals(await promise.catch((error) => error), later.error);
  assertEquals(await other, true);
  assertEquals([probe.withdrawals, later.withdrawals], [0, 0]);
});

Deno.test("waitAsync() rejects with what withdrawing throws, and pins nothing", async () => {
  const probe = new Probe();
  probe.withdraw = () => {
    throw new RangeError("mine");
  };
  await assertRejects(() => waitAsync(home(), probe, 1, undefined), RangeError, "mine");
  const { signal, abort } = abortable();
  const aborted = assertRejects(() => waitAsync(home(), probe, Infinity, signal), RangeError);
  abort();
  await aborted;
});

Deno.test("waitAsync() looks in the order of the calls", async () => {
  const order: number[] = [];
  const probes = Array.from({ length: 20 }, (_, i) => {
    const probe = new Probe();
    probe.onPoll = () => order.push(i);
    return probe;
  });
  const calls = probes.map((probe) => waitAsync(home(), probe, Infinity, undefined));
  order.length = 0;
  for (const probe of probes) probe.isOver = true;
  wake();
  await Promise.all(calls);
  assertEquals(order, Array.from({ length: 20 }, (_, i) => i));
});

Deno.test("waitAsync() misses no wake-up between its look and its sleep", async () => {
  const probe = new Probe();
  probe.onPoll = () => {
    probe.isOver = true;
    wake();
  };
  assertEquals(await waitAsync(home(), probe, Infinity, undefined), true);
  assertEquals(probe.counts, [2, 0]);
});

Deno.test("waitAsync() misses no wake-up while it looks at other waits", async () => {
  const first = new Probe();
  const second = new Probe();
  const calls = [first, second].map((probe) => waitAsync(home(), probe, Infinity, undefined));
  // The second one's look brings what the first one waits for.
  second.onPoll = () => {
    first.isOver = true;
    second.isOver = true;
    wake();
  };
  wake();
  assertEquals(await Promise.all(calls), [true, true]);
});

Deno.test("waitAsync(): a wait that begins while others are looked at is served as well", async () => {
  const first = new Probe();
  const inner = new Probe();
  let promise: Promise<boolean> | undefined;
  const outer = waitAsync(home(), first, Infinity, undefined);
  first.onPoll = () => {
    promise ??= waitAsync(home(), inner, Infinity, undefined);
    first.isOver = true;
    inner.isOver = true;
    wake();
  };
  wake();
  assertEquals([await outer, await promise], [true, true]);
});

Deno.test("waitAsync() rejects with TerminatedError once this agent is asked to end", async () => {
  const before = new Probe();
  const promise = waitAsync(home(), before, Infinity, undefined);
  const rejection = assertRejects(() => promise, TerminatedError);
  await whileStopped(async () => {
    await rejection;
    const probe = new Probe();
    await assertRejects(() => waitAsync(home(), probe, Infinity, undefined), TerminatedError);
    await assertRejects(() => waitAsync(home(), probe, 1_000, undefined), TerminatedError);
    assertEquals(probe.counts, [2, 2]);
    const over = new Probe();
    over.isOver = true;
    assertEquals(await waitAsync(home(), over, Infinity, undefined), true);
  });
  assertEquals(before.withdrawals, 1);
});

Deno.test("waitAsync(): the death of any agent makes all look again", async () => {
  const probe = new Probe();
  const promise = waitAsync(home(), probe, Infinity, undefined);
  probe.isOver = true;
  using peer = await Peer.start(WORKER);
  bury(home(), peer.id);
  assertEquals(await promise, true);
});

// -- What it keeps -----------------------------------------------------------------------------

/** Counts timers and listeners while the function runs: what is set and not cleared. */
async function leftovers(run: (signal: AbortSignal) => Promise<void>): Promise<{
  most: number;
  sets: number;
  intervals: number;
  timeouts: number;
  listeners: number;
}> {
  const real = { setInterval, clearInterval, setTimeout, clearTimeout };
  const open = { intervals: new Set<unknown>(), timeouts: new Set<unknown>() };
  let most = 0;
  let sets = 0;
  let listeners = 0;
  const { signal } = new AbortController();
  const add = signal.addEventListener.bind(signal) as Any;
  const remove = signal.removeEventListener.bind(signal) as Any;
  signal.addEventListener = (...args: Any) => (listeners++, add(...args));
  signal.removeEventListener = (...args: Any) => (listeners--, remove(...args));
  Object.assign(globalThis, {
    setInterval: (...args: Any) => {
      const timer = (real.setInterval as Any)(...args);
      open.intervals.add(timer);
      sets++;
      most = Math.max(most, open.intervals.size);
      return timer;
    },
    clearInterval: (timer: number) => (open.intervals.delete(timer), real.clearInterval(timer)),
    setTimeout: (fn: () => void, delay: number) => {
      const timer = real.setTimeout(() => (open.timeouts.delete(timer), fn()), delay);
      open.timeouts.add(timer);
      return timer;
    },
    clearTimeout: (timer: number) => (open.timeouts.delete(timer), real.clearTimeout(timer)),
  });
  try {
    await run(signal);
    // The timer outlives the last wait by some turns of promises, not by one of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    Object.assign(globalThis, real);
  }
  return { most, sets, intervals: open.intervals.size, timeouts: open.timeouts.size, listeners };
}

const NOTHING = { intervals: 0, timeouts: 0, listeners: 0 };

Deno.test("waitAsync() keeps the event loop alive with one timer, and pins nothing afterwards", async () => {
  const left = await leftovers(async (signal) => {
    const probes = Array.from({ length: 100 }, () => new Probe());
    const calls = probes.map((probe, i) =>
      waitAsync(home(), probe, i % 2 === 0 ? Infinity : 60_000, signal)
    );
    await turn();
    for (const probe of probes) probe.isOver = true;
    wake();
    await Promise.all(calls);
  });
  assertEquals(left, { most: 1, sets: 1, ...NOTHING });
});

Deno.test("waitAsync() pins nothing after a timeout, an error, an abort or a request to end", async () => {
  const left = await leftovers(async (signal) => {
    assertEquals(await waitAsync(home(), new Probe(), 1, signal), false);
    const failing = new Probe();
    failing.error = new Error("mine");
    await assertRejects(() => waitAsync(home(), failing, 60_000, signal));
    const controller = new AbortController();
    const aborted = waitAsync(home(), new Probe(), 60_000, controller.signal);
    controller.abort();
    await assertRejects(() => aborted, DOMException);
    await whileStopped(async () => {
      await assertRejects(() => waitAsync(home(), new Probe(), 60_000, signal), TerminatedError);
    });
    const over = new Probe();
    over.isOver = true;
    await waitAsync(home(), over, 60_000, signal);
  });
  assertEquals(left, { most: 1, sets: 1, ...NOTHING });
});

Deno.test("waitAsync() told not to hold leaves the event loop free", async () => {
  const left = await leftovers(async () => {
    const probe = new Probe();
    const promise = waitAsync(home(), probe, Infinity, undefined, false);
    let served: boolean | undefined;
    promise.then((value) => served = value);
    await turn();
    probe.isOver = true;
    wake();
    // Something else has to keep the loop alive.
    await until(() => served === true);
  });
  assertEquals(left, { most: 0, sets: 0, ...NOTHING });
});

Deno.test("holdLoop() holds until releaseLoop() was called as often", async () => {
  const left = await leftovers(async () => {
    holdLoop();
    holdLoop();
    releaseLoop();
    holdLoop();
    releaseLoop();
    await turn();
    releaseLoop();
  });
  assertEquals(left, { most: 1, sets: 1, ...NOTHING });
});

Deno.test("one timer is enough for a loop of waits", async () => {
  const left = await leftovers(async () => {
    for (let i = 0; i < 100; i++) {
      const probe = new Probe();
      const call = waitAsync(home(), probe, Infinity, undefined);
      probe.isOver = true;
      wake();
      await call;
    }
  });
  assertEquals(left, { most: 1, sets: 1, ...NOTHING });
});

Deno.test("waitSync() and waitAsync() cost next to no processor time", async () => {
  const used = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  };
  // Another test's garbage may be collected meanwhile: the best of a few counts.
  const costs: number[] = [];
  for (let i = 0; i < 3; i++) {
    const before = used();
    waitSync(home(), new Probe(), 100, "x");
    await waitAsync(home(), new Probe(), 100, undefined);
    costs.push(used() - before);
  }
  assert(Math.min(...costs) < 60, `${costs} ms of 200`);
});

Deno.test("waitSync() leaves no trace in the table of agents", async () => {
  // With a ticket out, the agent counts as parked until the next wake-up.
  wake();
  await turn();
  await turn();
  const { words, park } = home();
  assertEquals(words[park + 1], 0);
  waitSync(home(), new Probe(), 1, "x");
  assertEquals(words[park + 1], 0);
});

// -- Across agents -----------------------------------------------------------------------------

for (
  const [here, there, rounds] of [
    ["sync", "sync", 3_000],
    ["async", "async", 1_000],
    ["sync", "async", 1_000],
    ["async", "sync", 1_000],
    ["mixed", "mixed", 1_000],
  ] as [Form, Form, number][]
) {
  Deno.test({
    name: `No wake-up is lost between ${here} waits here and ${there} waits in a worker`,
    ...LIMIT,
    async fn() {
      using peer = await Peer.start(WORKER);
      const { memory, id } = home();
      const shared = new SharedArrayBuffer(4);
      const call = peer.run("pingPong", memory, shared, 1, id, rounds, there);
      await pingPong(memory, shared, 0, peer.id, rounds, here);
      await call;
      assertEquals(new Int32Array(shared)[0], 2 * rounds);
    },
  });
}

for (const form of ["sync", "async"] as const) {
  Deno.test({
    name: `A ${form} wait in a worker ends soon after its wake-up`,
    ...LIMIT,
    async fn() {
      using peer = await Peer.start(WORKER);
      const shared = new SharedArrayBuffer(8);
      const words = new Int32Array(shared);
      const call = peer.run<[string, number]>("waitForOne", home().memory, shared, form);
      await until(() => Atomics.load(words, 1) === 1);
      // Wake-ups for nothing end nothing.
      for (let i = 0; i < 50; i++) unpark(home(), peer.id);
      assertEquals(await settlesSoon(call), false);
      const start = performance.now();
      Atomics.store(words, 0, 1);
      unpark(home(), peer.id);
      assertEquals((await call)[0], "true");
      assert(performance.now() - start < 500);
    },
  });

  Deno.test({
    name: `A ${form} wait in a worker ends with TerminatedError soon after it is asked to end`,
    ...LIMIT,
    async fn() {
      using peer = await Peer.start(WORKER);
      const shared = new SharedArrayBuffer(8);
      const words = new Int32Array(shared);
      const call = peer.run<[string, number]>("waitForOne", home().memory, shared, form);
      await until(() => Atomics.load(words, 1) === 1);
      const start = performance.now();
      requestStop(home(), peer.id);
      assertEquals((await call)[0], "TerminatedError");
      assert(performance.now() - start < 500);
    },
  });

  Deno.test({
    name: `A ${form} wait for what is of another domain ends with TerminatedError as well`,
    ...LIMIT,
    async fn() {
      using worker = new Agent(WORKER);
      await worker.ready;
      const [memory, id] = await worker.run<[SharedArrayBuffer, number]>("foundDomain");
      const lock = new Lock();
      const guard = lock.acquireSync();
      const call = worker.run("acquire", lock.handle, form);
      await until(() => crowdOf(lock) === 1);
      const words = new Int32Array(memory);
      requestStop({ memory, words, id: 0, park: 0, wakes: [] }, id);
      assertEquals(await call, "TerminatedError");
      assertEquals(crowdOf(lock), 0);
      guard.release();
    },
  });
}

Deno.test({
  name: "A storm of wake-ups from a worker disturbs neither form of wait",
  ...LIMIT,
  async fn() {
    using peer = await Peer.start(WORKER);
    const call = peer.run("unparkMany", home().memory, home().id, 20_000);
    let rounds = 0;
    const over = call.then(() => rounds = 100);
    for (; rounds < 100; rounds++) {
      assertEquals(waitSync(home(), new Probe(), 1, "x"), false);
      assertEquals(await waitAsync(home(), new Probe(), 1, undefined), false);
    }
    await over;
  },
});

// -- How often it looks ------------------------------------------------------------------------

Deno.test("waitSync() of an agent in one domain looks by itself no more than once a second", () => {
  assertEquals(joinedDomains().length, 1);
  const probe = new Probe();
  assertEquals(waitSync(home(), probe, 350, "x"), false);
  // At first and at the end, which the engine may find to be a moment too early.
  assert(probe.polls <= 3, `${probe.polls} looks`);
});

Deno.test("waitSync() with a timeout of 0 looks once, by a coarse clock as well", () => {
  const { now } = performance;
  let calls = 0;
  // As in browsers, where time stands still for a while.
  performance.now = () => Math.floor(calls++ / 10);
  try {
    const probe = new Probe();
    assertEquals(waitSync(home(), probe, 0, "x"), false);
    assertEquals(probe.counts, [1, 1]);
  } finally {
    performance.now = now;
  }
});
