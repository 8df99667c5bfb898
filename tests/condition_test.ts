// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertFalse,
  assertInstanceOf,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { bury, claimSlot, deaths, type Domain, home, requestStop } from "../_agent.ts";
import {
  countWaiters,
  enlist,
  finish,
  isNotified,
  notifyOldest,
  type Waiters,
  waitersAt,
} from "../_condition.ts";
import { Exclusive } from "../_exclusive.ts";
import { lockLatch } from "../_latch.ts";
import { Condition } from "../condition.ts";
import { AbandonedError } from "../errors.ts";
import { type Guard, Lock, RLock } from "../lock.ts";
import { SharedArray } from "../shared.ts";
import { abortable, settlesSoon, turn, until } from "./_helpers.ts";
import { errorName, ghost, Peer } from "./_workers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/condition_worker.ts", import.meta.url);

function waitersOf(condition: Condition, domain: Domain = home()): Waiters {
  return waitersAt(domain, new Int32Array(condition.handle.memory), 0);
}

function lockOfGhost({ lock }: Condition, domain: Domain): Exclusive {
  return new Exclusive(lock.handle.sabre, domain, new Int32Array(lock.handle.memory), 0);
}

/** Acquires, waits, and releases; pushes the name when it goes on, with the lock held. */
async function waitAs(condition: Condition, log: unknown[], name: unknown, options = {}) {
  using guard = await condition.lock.acquire();
  const notified = await condition.wait(guard, options);
  assert(guard.held);
  log.push(name);
  return notified;
}

/** Lets the tasks of this agent that acquire go on to wait. */
async function line(condition: Condition, count: number): Promise<void> {
  await until(() => countWaiters(waitersOf(condition)) === count && !condition.lock.locked);
}

/** Checks that the lock is free and nobody waits. */
function assertIdle(condition: Condition): void {
  assertFalse(condition.lock.locked);
  assertEquals(countWaiters(waitersOf(condition)), 0);
  condition.lock.tryAcquire()!.release();
}

// -- Waiting and notifying -----------------------------------------------------------------------

Deno.test("Condition: the default lock is an RLock, and another one may be given", () => {
  assertInstanceOf(new Condition().lock, RLock);
  for (const lock of [new Lock(), new RLock()]) assertStrictEquals(new Condition(lock).lock, lock);
  for (const bad of [null, {}, 1, new SharedArray("i32", 1)] as Any[]) {
    assertThrows(() => new Condition(bad), TypeError, "must be a Lock or RLock");
  }
});

Deno.test("Condition.wait() frees the lock at once and holds it again on return", async () => {
  for (const lock of [new Lock(), new RLock()]) {
    const condition = new Condition(lock);
    const guard = await lock.acquire();
    const waiting = condition.wait(guard);
    assertFalse(lock.locked);
    assertFalse(guard.held);
    const other = lock.tryAcquire()!;
    condition.notify();
    assertFalse(await settlesSoon(waiting));
    other.release();
    assertEquals(await waiting, true);
    assert(guard.held);
    guard.release();
    assertIdle(condition);
  }
});

Deno.test("Condition: a wait that times out is false, and the guard is held", async () => {
  const condition = new Condition();
  const guard = condition.lock.acquireSync();
  assertEquals(condition.waitSync(guard, { timeout: 2 }), false);
  assert(guard.held);
  assertEquals(await condition.wait(guard, { timeout: 2 }), false);
  assert(guard.held);
  for (const timeout of [0, -1]) {
    assertEquals(condition.waitSync(guard, { timeout }), false);
    assertEquals(await condition.wait(guard, { timeout }), false);
  }
  guard.release();
  assertIdle(condition);
});

Deno.test("Condition: a timed-out wait returns only once the lock is free again", async () => {
  const condition = new Condition();
  const guard = await condition.lock.acquire();
  const waiting = condition.wait(guard, { timeout: 1 });
  const other = condition.lock.tryAcquire()!;
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertFalse(await settlesSoon(waiting));
  other.release();
  assertEquals(await waiting, false);
  assert(guard.held);
  guard.release();
});

Deno.test("Condition.notify() wakes those who have waited longest, as many as told", async () => {
  const condition = new Condition();
  const log: number[] = [];
  const waits = [1, 2, 3, 4, 5].map((i) => waitAs(condition, log, i));
  await line(condition, 5);
  condition.lock.withLockSync(() => condition.notify());
  await waits[0];
  assertEquals(log, [1]);
  condition.lock.withLockSync(() => condition.notify(2));
  await Promise.all(waits.slice(0, 3));
  assertFalse(await settlesSoon(waits[3]!));
  assertEquals(log, [1, 2, 3]);
  condition.lock.withLockSync(() => condition.notify(9));
  assertEquals(await Promise.all(waits), Array(5).fill(true));
  assertEquals(log, [1, 2, 3, 4, 5]);
  assertIdle(condition);
});

Deno.test("Condition.notifyAll() wakes hundreds of tasks, in order", async () => {
  const condition = new Condition();
  const log: number[] = [];
  const waits = Array.from({ length: 500 }, (_, i) => waitAs(condition, log, i));
  await line(condition, 500);
  await condition.lock.withLock(() => condition.notifyAll());
  await Promise.all(waits);
  assertEquals(log, Array.from({ length: 500 }, (_, i) => i));
  assertIdle(condition);
});

Deno.test("Condition: a notification is not remembered", async () => {
  const condition = new Condition();
  const guard = await condition.lock.acquire();
  condition.notify();
  condition.notifyAll();
  assertEquals(await condition.wait(guard, { timeout: 2 }), false);
  guard.release();
});

Deno.test("Condition: more waiting tasks than places are a RangeError, with the guard held", async () => {
  const condition = new Condition();
  const waiters = waitersOf(condition);
  const places = Array.from({ length: 4_033 }, () => enlist(waiters));
  assertFalse(places.includes(-1));
  {
    using guard = await condition.lock.acquire();
    await assertRejects(() => condition.wait(guard), RangeError, "places");
    assert(guard.held);
    condition.notifyAll();
  }
  for (const place of places) {
    assert(isNotified(waiters, place));
    finish(waiters, place);
  }
  assertIdle(condition);
});

Deno.test("Condition: waiting releases every level of an RLock and restores them", async () => {
  const condition = new Condition();
  const lock = condition.lock as RLock;
  for (const form of ["sync", "async"] as const) {
    const outer = lock.acquireSync();
    const inner = lock.acquireSync();
    const within = await lock.acquire({ within: outer });
    let waiting: boolean | Promise<boolean>;
    if (form === "async") {
      waiting = condition.wait(inner);
      assertEquals([outer.held, inner.held, within.held, lock.locked], [
        false,
        false,
        false,
        false,
      ]);
      assertThrows(() => outer.release(), TypeError, "does not hold it now");
      outer[Symbol.dispose]();
      await assertRejects(() => condition.wait(outer), TypeError);
      await assertRejects(() => lock.acquire({ within: outer }), TypeError);
      await lock.withLock(() => condition.notify());
    } else {
      waiting = condition.waitSync(inner, { timeout: 1 });
    }
    assertEquals(await waiting, form === "async");
    assertEquals([outer.held, inner.held, within.held, lock.locked], [true, true, true, true]);
    // The Sync levels still let Sync calls of this agent in.
    lock.acquireSync().release();
    outer.release();
    inner.release();
    assert(lock.locked);
    assertStrictEquals(lock.tryAcquire(), undefined);
    within.release();
    assertIdle(condition);
  }
});

Deno.test("Condition: guards of Sync and async calls are interchangeable", async () => {
  const condition = new Condition();
  for (const guard of [condition.lock.acquireSync(), await Promise.resolve(undefined)]) {
    using held = guard ?? await condition.lock.acquire();
    assertEquals(await condition.wait(held, { timeout: 1 }), false);
    assertEquals(condition.waitSync(held, { timeout: 1 }), false);
  }
  assertIdle(condition);
});

Deno.test("Condition.notify() may be called by any task of the agent that holds the lock", async () => {
  const condition = new Condition();
  const waiting = waitAs(condition, [], 0);
  await line(condition, 1);
  const guard = condition.lock.acquireSync();
  await Promise.resolve().then(() => condition.notify());
  guard.release();
  assertEquals(await waiting, true);
});

// -- waitFor -----------------------------------------------------------------------------------

Deno.test("Condition.waitFor() asks first, then after each notification", async () => {
  const condition = new Condition();
  const guard = await condition.lock.acquire();
  assertEquals(await condition.waitFor(guard, () => 1, { timeout: 0 }), true);
  assertEquals(condition.waitForSync(guard, () => "yes", { timeout: 0 }), true);
  assertEquals(await condition.waitFor(guard, () => Promise.resolve(true)), true);
  let asked = 0;
  const waiting = condition.waitFor(guard, () => {
    assert(guard.held);
    return ++asked === 3;
  });
  assertFalse(condition.lock.locked);
  for (let i = 2; i <= 3; i++) {
    await condition.lock.withLock(() => condition.notify());
    await until(() => asked === i);
  }
  assertEquals(await waiting, true);
  guard.release();
  assertIdle(condition);
});

Deno.test("Condition.waitFor() says what the predicate last said when the time is up", async () => {
  const condition = new Condition();
  using guard = await condition.lock.acquire();
  let asked = 0;
  assertEquals(await condition.waitFor(guard, () => ++asked > 1, { timeout: 3 }), true);
  assertEquals(await condition.waitFor(guard, () => false, { timeout: 3 }), false);
  assertEquals(condition.waitForSync(guard, () => false, { timeout: 3 }), false);
  asked = 0;
  assertEquals(condition.waitForSync(guard, () => ++asked > 1, { timeout: 3 }), true);
  assertEquals(condition.waitForSync(guard, () => false, { timeout: 0 }), false);
  const broken = () => {
    throw new SyntaxError("broken");
  };
  await assertRejects(() => condition.waitFor(guard, broken), SyntaxError);
  assertThrows(() => condition.waitForSync(guard, broken), SyntaxError);
  assert(guard.held);
});

// -- Bad input ---------------------------------------------------------------------------------

Deno.test("Condition: a released or foreign guard is a TypeError", async () => {
  const condition = new Condition();
  const released = condition.lock.acquireSync();
  released.release();
  using foreign = new RLock().acquireSync();
  for (const guard of [released, foreign, undefined, {}] as Any[]) {
    await assertRejects(() => condition.wait(guard), TypeError, "guard");
    await assertRejects(() => condition.waitFor(guard, () => true), TypeError);
    assertThrows(() => condition.waitSync(guard, { timeout: 0 }), TypeError);
    assertThrows(() => condition.waitForSync(guard, () => true), TypeError);
  }
  assertIdle(condition);
});

Deno.test("Condition.notify() without the lock is a TypeError", () => {
  const condition = new Condition();
  assertThrows(() => condition.notify(), TypeError, "no task of this agent holds its RLock");
  assertThrows(() => condition.notifyAll(), TypeError);
  const other = ghost();
  const guard = lockOfGhost(condition, other).tryAcquire(false, true)!;
  assertThrows(() => condition.notify(), TypeError);
  guard.release();
  bury(home(), other.id);
});

Deno.test("Condition refuses bad arguments", async () => {
  const condition = new Condition();
  using guard = condition.lock.acquireSync();
  for (const n of [0, -1, 1.5, NaN, Infinity]) assertThrows(() => condition.notify(n), RangeError);
  assertThrows(() => condition.notify("1" as Any), TypeError);
  assertThrows(() => condition.waitSync(guard, { timeout: NaN }), RangeError);
  await assertRejects(() => condition.wait(guard, { timeout: "1" as Any }), TypeError);
  await assertRejects(() => condition.waitFor(guard, 1 as Any), TypeError, "predicate");
  assertThrows(() => condition.waitForSync(guard, 1 as Any), TypeError, "predicate");
  let reason: unknown;
  await condition.wait(undefined as Any, { signal: AbortSignal.abort("gone"), timeout: NaN })
    .catch((error) => reason = error);
  assertEquals(reason, "gone");
  assert(guard.held);
});

Deno.test("Condition.from() brings its lock, and refuses others", () => {
  for (const lock of [new Lock(), new RLock()]) {
    const condition = new Condition(lock);
    for (const value of [condition, condition.handle, structuredClone(condition)]) {
      assertStrictEquals(Condition.from(value), condition);
      assertStrictEquals(Condition.from(value).lock, lock);
    }
  }
  const { handle } = new Condition();
  const { lock: _, ...alone } = handle;
  for (
    const bad of [
      null,
      alone,
      { ...handle, sabre: "RLock" },
      { ...handle, lock: { ...handle.lock, sabre: "Queue" } },
      { ...handle, lock: handle },
    ]
  ) assertThrows(() => Condition.from(bad), TypeError);
});

Deno.test("Condition shows a useful line in console.log", async () => {
  const condition = new Condition();
  const waiting = waitAs(condition, [], 0);
  await line(condition, 1);
  assertEquals(
    Deno.inspect(condition),
    "Condition { waiting: 1, lock: RLock { locked: false, waiting: 0 } }",
  );
  condition.lock.withLockSync(() => condition.notify());
  await waiting;
});

// -- Cancellation ------------------------------------------------------------------------------

Deno.test("Condition: an aborted wait rejects with the reason, and the guard is held", async () => {
  const condition = new Condition();
  const guard = await condition.lock.acquire();
  const { signal, abort } = abortable();
  const waiting = errorName(() => condition.wait(guard, { signal }));
  const other = condition.lock.tryAcquire()!;
  abort(new DOMException("", "AbortError"));
  assertFalse(await settlesSoon(waiting));
  other.release();
  assertEquals(await waiting, "AbortError");
  assert(guard.held);
  guard.release();
  assertIdle(condition);
});

for (const moment of ["at once", "while it waits for the lock"] as const) {
  Deno.test(`Condition: one that is aborted after it was notified passes it on, ${moment}`, async () => {
    const condition = new Condition();
    const log: string[] = [];
    const { signal, abort } = abortable();
    const first = errorName(() => waitAs(condition, log, "first", { signal }));
    const second = waitAs(condition, log, "second");
    const third = waitAs(condition, log, "third");
    await line(condition, 3);
    const guard = condition.lock.tryAcquire()!;
    condition.notify();
    if (moment !== "at once") await turn();
    abort(new DOMException("", "AbortError"));
    guard.release();
    assertEquals(await first, "AbortError");
    assertEquals(await second, true);
    assertFalse(await settlesSoon(third));
    await condition.lock.withLock(() => condition.notify());
    assertEquals(await third, true);
    assertEquals(log, ["second", "third"]);
    assertIdle(condition);
  });
}

Deno.test("Condition: one that was notified just before its time was up is true", async () => {
  const condition = new Condition();
  const waiting = waitAs(condition, [], 0, { timeout: 1 });
  await condition.lock.withLock((_guard) => {
    condition.notify();
    // Its timer comes due before it can look.
    const end = performance.now() + 3;
    while (performance.now() < end);
  });
  assertEquals(await waiting, true);
});

Deno.test("Condition: no notification is lost or doubled (property)", async () => {
  const step = fc.constantFrom("wait", "wait", "notify", "notify 2", "abort", "timeout", "turn");
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const condition = new Condition(new Lock());
      const log: number[] = [];
      const waits: { abort: (reason: unknown) => void; result: Promise<unknown> }[] = [];
      let notified = 0;
      for (const each of steps) {
        if (each === "wait" || each === "timeout") {
          const { signal, abort } = abortable();
          const options = each === "timeout" ? { signal, timeout: 0.01 } : { signal };
          const result = waitAs(condition, log, waits.length, options).catch((reason) => reason);
          waits.push({ abort, result });
          await turn();
        } else if (each === "abort") {
          waits[Math.floor(waits.length / 2)]?.abort("aborted");
        } else if (each === "turn") {
          await turn();
        } else {
          using _guard = await condition.lock.acquire();
          const before = countWaiters(waitersOf(condition));
          condition.notify(each === "notify" ? 1 : 2);
          notified += before - countWaiters(waitersOf(condition));
        }
      }
      await turn();
      await turn();
      for (const { abort } of waits) abort("aborted");
      const results = await Promise.all(waits.map(({ result }) => result));
      // What went to one that was aborted went on, or there was nobody left.
      const woken = results.filter((result) => result === true).length;
      assert(woken <= notified, `${woken} of ${notified}`);
      if (!steps.includes("abort")) assertEquals(woken, notified);
      assertIdle(condition);
    }),
    { numRuns: 40 },
  );
});

// -- Across agents -----------------------------------------------------------------------------

Deno.test({
  name: "Condition: notifyAll() wakes waiters in all agents, in both forms",
  ...LIMIT,
  async fn() {
    const condition = new Condition();
    const counts = new SharedArray("i32", 3);
    using one = await Peer.start(WORKER);
    using two = await Peer.start(WORKER);
    const waits = [
      one.run("wait", condition, counts, "async"),
      two.run("wait", condition, counts, "sync"),
      waitAs(condition, [], 0).then((notified) => `${notified}, held: true`),
    ];
    await line(condition, 3);
    await condition.lock.withLock(() => condition.notifyAll());
    assertEquals(await Promise.all(waits), Array(3).fill("true, held: true"));
    assertIdle(condition);
  },
});

Deno.test({
  name: "Condition: notify() wakes waiters of several agents in the order of their arrival",
  ...LIMIT,
  async fn() {
    const condition = new Condition();
    const counts = new SharedArray("i32", 3);
    using one = await Peer.start(WORKER);
    using two = await Peer.start(WORKER);
    const log: number[] = [];
    const waits: Promise<unknown>[] = [];
    const add = async (wait: Promise<unknown>) => {
      const index = waits.push(wait.then(() => log.push(index)));
      await line(condition, index);
    };
    await add(one.run("wait", condition, counts, "async"));
    await add(waitAs(condition, [], 0));
    await add(two.run("wait", condition, counts, "sync"));
    await add(one.run("wait", condition, counts, "async"));
    for (let i = 0; i < 4; i++) {
      await condition.lock.withLock(() => condition.notify());
      await waits[i];
    }
    assertEquals(log, [1, 2, 3, 4]);
    assertIdle(condition);
  },
});

Deno.test({
  name: "Condition: a buffer of two between three agents loses nothing",
  ...LIMIT,
  async fn() {
    const lock = new Lock();
    const notEmpty = new Condition(lock);
    const notFull = new Condition(lock);
    const counts = new SharedArray("i32", 3);
    using one = await Peer.start(WORKER);
    using two = await Peer.start(WORKER);
    const { trade } = await import("./testdata/condition_worker.ts");
    await Promise.all([
      one.run("trade", notEmpty, notFull, counts, "put", 300),
      two.run("trade", notEmpty, notFull, counts, "take", 400),
      trade(notEmpty, notFull, counts, "put", 100),
    ]);
    assertEquals([...counts], [0, 400, 400]);
    assertIdle(notEmpty);
    assertIdle(notFull);
  },
});

// -- Death and termination -----------------------------------------------------------------------

Deno.test({
  name: "Condition: a dead waiter is skipped",
  ...LIMIT,
  async fn() {
    const condition = new Condition();
    const counts = new SharedArray("i32", 1);
    using peer = await Peer.start(WORKER);
    await peer.run("begin", condition, counts);
    await line(condition, 1);
    const waiting = waitAs(condition, [], 0);
    await line(condition, 2);
    peer.die();
    await condition.lock.withLock(() => condition.notify());
    assertEquals(await waiting, true);
    assertIdle(condition);
  },
});

Deno.test("Condition: the unused notification of a dead waiter goes on", async () => {
  const condition = new Condition();
  const dead = ghost();
  const waiters = waitersOf(condition, dead);
  const place = enlist(waiters);
  const waiting = waitAs(condition, [], 0);
  await line(condition, 2);
  condition.lock.withLockSync(() => condition.notify());
  assert(isNotified(waiters, place));
  assertFalse(await settlesSoon(waiting));
  bury(home(), dead.id);
  assertEquals(await waiting, true);
  assertIdle(condition);
});

Deno.test("Condition: the unused notification of the first agent of all goes on as well", () => {
  // A table of its own, as this agent is the first in its own.
  const table = new Int32Array(new SharedArrayBuffer(home().memory.byteLength));
  const words = new Int32Array(new Condition().handle.memory);
  const [first, second, third] = Array.from({ length: 3 }, () => {
    const id = claimSlot(table, "a", 0);
    return waitersAt({ memory: table.buffer, words: table, id, park: 0, wakes: [] }, words, 0);
  });
  assertEquals([enlist(first!), enlist(second!)], [0, 1]);
  notifyOldest(third!, 1);
  assertEquals([isNotified(first!, 0), isNotified(second!, 1)], [true, false]);
  bury(third!.domain, first!.domain.id);
  assert(isNotified(second!, 1));
  assertEquals(countWaiters(third!), 0);
});

Deno.test("Condition: a death is looked after once, and then to ask takes no latch", () => {
  const waiters = waitersOf(new Condition());
  bury(home(), ghost().id);
  assertNotEquals(waiters.words[5], deaths(home()));
  assertEquals(countWaiters(waiters), 0);
  assertEquals(waiters.words[5], deaths(home()));
});

Deno.test("Condition: an agent that died inside its bookkeeping wedges nobody", async () => {
  const condition = new Condition();
  const dead = ghost();
  const waiters = waitersOf(condition, dead);
  enlist(waiters);
  assertFalse(lockLatch(dead, waiters.words, 4));
  bury(home(), dead.id);
  const waiting = waitAs(condition, [], 0);
  await line(condition, 1);
  condition.lock.withLockSync(() => condition.notify());
  assertEquals(await waiting, true);
  assertIdle(condition);
});

for (const form of ["async", "sync"] as const) {
  Deno.test({
    name: `Condition: if a holder dies, one that waits recovers the lock and is told, ${form}`,
    ...LIMIT,
    async fn() {
      const condition = new Condition();
      const counts = new SharedArray("i32", 1);
      using peer = await Peer.start(WORKER);
      using other = await Peer.start(WORKER);
      const remote = other.run("wait", condition, counts, form, { timeout: 300 });
      await line(condition, 1);
      await peer.run("hold", condition);
      peer.die();
      assertEquals(await remote, "AbandonedError, held: true");
      assertIdle(condition);
    },
  });
}

Deno.test("Condition: a wait whose lock was abandoned rejects with the guard held and abandoned", async () => {
  const condition = new Condition();
  const guard = await condition.lock.acquire();
  const waiting = condition.wait(guard);
  const second = waitAs(condition, [], 0);
  await line(condition, 2);
  const dead = ghost();
  lockOfGhost(condition, dead).tryAcquire(false, true);
  bury(home(), dead.id);
  const error = await assertRejects(() => waiting, AbandonedError) as Error;
  assertStringIncludes(error.message, "died while holding its RLock");
  assertEquals([guard.held, guard.abandoned], [true, true]);
  guard.release();
  // The lock is ordinary again, and the other one waits on.
  assertFalse(await settlesSoon(second));
  await condition.lock.withLock(() => condition.notify());
  assertEquals(await second, true);
  assertIdle(condition);
});

Deno.test({
  name: "Condition: after TerminatedError the guard is not held",
  ...LIMIT,
  async fn() {
    const condition = new Condition();
    const counts = new SharedArray("i32", 1);
    for (const form of ["async", "sync"] as const) {
      using peer = await Peer.start(WORKER);
      const remote = peer.run("wait", condition, counts, form);
      await line(condition, 1);
      requestStop(home(), peer.id);
      assertEquals(await remote, "TerminatedError, held: false");
      assertIdle(condition);
    }
  },
});

Deno.test({
  name: "Condition: one that is terminated after it was notified passes it on",
  ...LIMIT,
  async fn() {
    const condition = new Condition();
    const counts = new SharedArray("i32", 1);
    using peer = await Peer.start(WORKER);
    const remote = peer.run("wait", condition, counts, "sync");
    await line(condition, 1);
    const waiting = waitAs(condition, [], 0);
    await line(condition, 2);
    const guard: Guard = condition.lock.acquireSync();
    condition.notify();
    requestStop(home(), peer.id);
    assertEquals(await remote, "TerminatedError, held: false");
    guard.release();
    assertEquals(await waiting, true);
    assertIdle(condition);
  },
});
