// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertFalse,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { bury, type Domain, home, slotOf } from "../_agent.ts";
import { lockLatch } from "../_latch.ts";
import { crowd, permitsAt, putIn, takeOrLineUp } from "../_permits.ts";
import { Sharing } from "../_sharing.ts";
import { type Guard, Semaphore } from "../semaphore.ts";
import { SharedArray } from "../shared.ts";
import { abortable, block, settlesSoon, turn, until } from "./_helpers.ts";
import { errorName, ghost, Peer } from "./_workers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/semaphore_worker.ts", import.meta.url);

/** What an agent knows of the semaphore. */
function sharingOf(semaphore: Semaphore, domain: Domain): Sharing {
  return new Sharing("Semaphore", domain, new Int32Array(semaphore.handle.memory), 0);
}

/** How many calls of all agents stand in line. */
function crowdOf(semaphore: Semaphore): number {
  return crowd(permitsAt(home(), new Int32Array(semaphore.handle.memory), 0));
}

/** Checks that nobody holds anything or waits, and that all can be taken in every way. */
async function assertWhole(semaphore: Semaphore, permits: number): Promise<void> {
  assertEquals([semaphore.available, crowdOf(semaphore)], [permits, 0]);
  semaphore.tryAcquire({ permits })!.release();
  semaphore.acquireSync({ permits, timeout: 0 }).release();
  (await semaphore.acquire({ permits, timeout: 0 })).release();
  assertEquals(semaphore.available, permits);
}

function demand(need: number) {
  return { need, recovers: false, call: "acquire" };
}

// -- Acquire and release -----------------------------------------------------------------------

Deno.test("Semaphore has one permit by default, and no limit", () => {
  const semaphore = new Semaphore();
  assertEquals([semaphore.available, semaphore.max], [1, Infinity]);
  assertEquals(new Semaphore(2, { max: Infinity }).max, Infinity);
  assertEquals(new Semaphore(undefined, { max: 3 }).available, 1);
});

Deno.test("Semaphore: all three forms of acquire take permits at once when there are enough", async () => {
  const semaphore = new Semaphore(6);
  const promise = semaphore.acquire({ permits: 3 });
  assert(promise instanceof Promise);
  assertEquals(semaphore.available, 3);
  const guards = [await promise, semaphore.acquireSync({ permits: 2 }), semaphore.tryAcquire()!];
  assertEquals(semaphore.available, 0);
  for (const guard of guards) assertEquals([guard.held, guard.abandoned], [true, false]);
  for (const guard of guards) guard.release();
  assertEquals(guards.map((guard) => guard.held), [false, false, false]);
  await assertWhole(semaphore, 6);
});

Deno.test("Semaphore: releasing a guard twice is a TypeError, disposing it twice does nothing", async () => {
  const semaphore = new Semaphore(2);
  const guard = semaphore.acquireSync();
  guard.release();
  assertThrows(() => guard.release(), TypeError, "released before");
  guard[Symbol.dispose]();
  {
    using inner = await semaphore.acquire();
    assert(inner.held);
  }
  await assertWhole(semaphore, 2);
});

Deno.test("Semaphore.tryAcquire() returns undefined when there are too few permits", async () => {
  const semaphore = new Semaphore(2);
  using _guard = semaphore.acquireSync();
  assertStrictEquals(semaphore.tryAcquire({ permits: 2 }), undefined);
  assertEquals(semaphore.available, 1);
  assertEquals(
    await errorName(() => semaphore.acquire({ permits: 2, timeout: 0 })),
    "TimeoutError",
  );
});

Deno.test("Semaphore.release() without a guard adds permits and serves who waits", async () => {
  const semaphore = new Semaphore(1);
  const guard = semaphore.acquireSync();
  const waits = [semaphore.acquire(), semaphore.acquire({ permits: 2 })];
  semaphore.release();
  assertEquals([semaphore.available, crowdOf(semaphore)], [0, 1]);
  (await waits[0])!.release();
  semaphore.release();
  (await waits[1])!.release();
  guard.release();
  await assertWhole(semaphore, 3);
});

Deno.test("Semaphore.release() above max is a RangeError and changes nothing", async () => {
  const semaphore = new Semaphore(1, { max: 2 });
  assertThrows(() => semaphore.release(2), RangeError, "more than 2 permits");
  semaphore.release();
  assertThrows(() => semaphore.release(), RangeError, "more than 2 permits");
  const guard = semaphore.acquireSync();
  assertThrows(() => semaphore.release(), RangeError, "held ones included");
  guard.release();
  await assertWhole(semaphore, 2);
  const large = new Semaphore(2 ** 31 - 1);
  assertThrows(() => large.release(), RangeError);
  large.acquireSync({ permits: 2 ** 31 - 1 }).release();
  assertEquals(large.available, 2 ** 31 - 1);
});

// -- Bad input ---------------------------------------------------------------------------------

Deno.test("Semaphore: permits that are no positive integer up to max are a RangeError", async () => {
  const semaphore = new Semaphore(2, { max: 3 });
  for (const permits of [0, -1, 1.5, NaN, Infinity, 4, 2 ** 31]) {
    assertThrows(() => new Semaphore(permits, { max: 3 }), RangeError);
    assertThrows(() => semaphore.acquireSync({ permits }), RangeError);
    assertThrows(() => semaphore.tryAcquire({ permits }), RangeError);
    await assertRejects(() => semaphore.acquire({ permits }), RangeError);
    assertThrows(() => semaphore.release(permits), RangeError);
  }
  for (const max of [0, -1, 1.5, NaN, 2 ** 31]) {
    assertThrows(() => new Semaphore(1, { max }), RangeError);
  }
  for (const bad of ["1", null, {}, 1n] as Any[]) {
    assertThrows(() => new Semaphore(bad), TypeError);
    assertThrows(() => new Semaphore(1, { max: bad }), TypeError);
    assertThrows(() => semaphore.acquireSync({ permits: bad }), TypeError);
    assertThrows(() => semaphore.release(bad), TypeError);
    assertThrows(() => semaphore.acquireSync({ timeout: bad }), TypeError);
    await assertRejects(() => semaphore.acquire({ timeout: bad }), TypeError);
    await assertRejects(() => semaphore.acquire({ signal: bad }), TypeError);
  }
  await assertRejects(() => semaphore.acquire({ timeout: NaN }), RangeError);
  await assertWhole(semaphore, 2);
});

Deno.test("Semaphore.acquire(): an aborted signal wins over every other reason to refuse", async () => {
  const semaphore = new Semaphore(1);
  const signal = AbortSignal.abort("gone");
  for (const options of [{}, { permits: 0 }, { timeout: NaN }, { timeout: 0 }]) {
    let reason: unknown;
    await semaphore.acquire({ ...options, signal }).catch((error) => reason = error);
    assertEquals(reason, "gone");
  }
  await assertWhole(semaphore, 1);
});

Deno.test("Semaphore.from() is the same object for its handle and clones, and refuses others", () => {
  const semaphore = new Semaphore(2);
  for (const value of [semaphore, semaphore.handle, structuredClone(semaphore)]) {
    assertStrictEquals(Semaphore.from(value), semaphore);
  }
  const { handle } = semaphore;
  for (
    const bad of [
      undefined,
      7,
      {},
      { ...handle, sabre: "Lock" },
      { ...handle, version: 99 },
      { ...handle, memory: new SharedArrayBuffer(16) },
      { ...handle, serial: handle.serial + 1 },
    ]
  ) assertThrows(() => Semaphore.from(bad), TypeError);
});

Deno.test("Semaphore shows a useful line in console.log", async () => {
  const semaphore = new Semaphore(2, { max: 4 });
  using _guard = semaphore.acquireSync({ permits: 2 });
  const waiting = semaphore.acquire();
  assertEquals(Deno.inspect(semaphore), "Semaphore { available: 0, max: 4, waiting: 1 }");
  semaphore.release();
  (await waiting).release();
});

// -- Order and cancellation --------------------------------------------------------------------

Deno.test("Semaphore serves in order: a big request makes small ones behind it wait", async () => {
  const semaphore = new Semaphore(3);
  const guard = semaphore.acquireSync({ permits: 2 });
  const order: string[] = [];
  const big = semaphore.acquire({ permits: 3 }).then((guard) => (order.push("big"), guard));
  const small = semaphore.acquire().then((guard) => (order.push("small"), guard));
  assertStrictEquals(semaphore.tryAcquire(), undefined);
  assertEquals(semaphore.available, 1);
  assertFalse(await settlesSoon(small));
  guard.release();
  assertEquals(semaphore.available, 0);
  (await big).release();
  (await small).release();
  assertEquals(order, ["big", "small"]);
  await assertWhole(semaphore, 3);
});

for (const end of ["timeout", "abort"] as const) {
  Deno.test(`Semaphore: after the ${end} of a big request, those behind it that fit are served`, async () => {
    const semaphore = new Semaphore(3);
    const guard = semaphore.acquireSync({ permits: 1 });
    const { signal, abort } = abortable();
    const options = end === "timeout" ? { timeout: 5 } : { signal };
    const big = errorName(() => semaphore.acquire({ permits: 3, ...options }));
    const small = [semaphore.acquire(), semaphore.acquire(), semaphore.acquire()];
    assertEquals(semaphore.available, 2);
    if (end === "abort") abort(new DOMException("", "AbortError"));
    assertEquals(await big, end === "timeout" ? "TimeoutError" : "AbortError");
    const served = [await small[0]!, await small[1]!];
    assertFalse(await settlesSoon(small[2]!));
    served[0]!.release();
    (await small[2]!).release();
    served[1]!.release();
    guard.release();
    await assertWhole(semaphore, 3);
  });
}

Deno.test("Semaphore: a Sync call that times out had no effect", () => {
  const semaphore = new Semaphore(2);
  const guard = semaphore.acquireSync();
  assertThrows(
    () => semaphore.acquireSync({ permits: 2, timeout: 2 }),
    DOMException,
    "2 ms passed",
  );
  assertEquals([semaphore.available, crowdOf(semaphore)], [1, 0]);
  guard.release();
  assertEquals(semaphore.available, 2);
});

Deno.test("Semaphore serves hundreds of calls of one agent in order, however they are aborted", async () => {
  const semaphore = new Semaphore(1);
  let guard = semaphore.acquireSync();
  const order: number[] = [];
  const { signal, abort } = abortable();
  const calls = Array.from({ length: 300 }, async (_, i) => {
    const options = i % 3 === 1 ? { signal } : {};
    using _guard = await semaphore.acquire(options);
    order.push(i);
  });
  assertStrictEquals(semaphore.tryAcquire(), undefined);
  await turn();
  abort("enough");
  guard.release();
  const results = await Promise.allSettled(calls);
  assertEquals(results.filter(({ status }) => status === "rejected").length, 100);
  assertEquals(order, Array.from({ length: 300 }, (_, i) => i).filter((i) => i % 3 !== 1));
  await assertWhole(semaphore, 1);
  guard = semaphore.acquireSync();
  const late = Array.from({ length: 50 }, () => semaphore.acquire({ timeout: 1 }));
  assert((await Promise.allSettled(late)).every(({ status }) => status === "rejected"));
  guard.release();
  await assertWhole(semaphore, 1);
});

Deno.test("Semaphore: a call without a place is served once those before it have given up", async () => {
  const semaphore = new Semaphore(2);
  const guard = semaphore.acquireSync();
  const { signal, abort } = abortable();
  const large = Array.from(
    { length: 40 },
    () => assertRejects(() => semaphore.acquire({ permits: 2, signal }), Error, "enough"),
  );
  const small = semaphore.acquire();
  assertFalse(await settlesSoon(small));
  abort(new Error("enough"));
  (await small).release();
  await Promise.all(large);
  guard.release();
  await assertWhole(semaphore, 2);
});

Deno.test("Semaphore: a Sync call comes after the calls of its agent that wait, also without places", async () => {
  const semaphore = new Semaphore(40);
  const guard = semaphore.acquireSync({ permits: 40 });
  const calls = Array.from({ length: 39 }, () => semaphore.acquire());
  guard.release();
  // Those that found no place are served as this one looks.
  const own = semaphore.acquireSync({ timeout: 5_000 });
  assertEquals(semaphore.available, 0);
  for (const each of await Promise.all(calls)) each.release();
  own.release();
  await assertWhole(semaphore, 40);
});

Deno.test("Semaphore never admits more than it has, nor loses a permit (property)", async () => {
  const step = fc.record({
    kind: fc.constantFrom("acquire", "try", "release", "guard", "abort", "late"),
    permits: fc.integer({ min: 1, max: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 1, max: 4 }),
      async (steps, first) => {
        const semaphore = new Semaphore(first, { max: 12 });
        let total = first;
        const guards: { guard: Guard; permits: number }[] = [];
        const waits: { abort: () => void; settled: Promise<void> }[] = [];
        const held = () => guards.reduce((sum, { permits }) => sum + permits, 0);
        for (const { kind, permits } of steps) {
          if (kind === "acquire" || kind === "late") {
            const { signal, abort } = abortable();
            const options = { permits, signal, ...(kind === "late" ? { timeout: 0.1 } : {}) };
            const settled = semaphore.acquire(options)
              .then((guard) => void guards.push({ guard, permits }), () => {});
            waits.push({ abort, settled });
          } else if (kind === "try") {
            const guard = semaphore.tryAcquire({ permits });
            if (guard !== undefined) guards.push({ guard, permits });
          } else if (kind === "guard") {
            guards.shift()?.guard.release();
          } else if (kind === "abort") {
            waits.shift()?.abort();
          } else if (total + permits <= 12) {
            semaphore.release(permits);
            total += permits;
          } else {
            assertThrows(() => semaphore.release(permits), RangeError);
          }
          assert(semaphore.available >= 0);
          await turn();
          // All that was granted is known here by now.
          assertEquals(semaphore.available, total - held());
        }
        for (const { abort } of waits) abort();
        await Promise.all(waits.map(({ settled }) => settled));
        for (const { guard } of guards) guard.release();
        await assertWhole(semaphore, total);
      },
    ),
    { numRuns: 40 },
  );
});

// -- Across agents -----------------------------------------------------------------------------

Deno.test({
  name: "Semaphore serves waiters of several agents in the order of their arrival",
  ...LIMIT,
  async fn() {
    const semaphore = new Semaphore(2);
    const log = new SharedArray("i32", 10);
    using one = await Peer.start(WORKER);
    using two = await Peer.start(WORKER);
    const guard = semaphore.acquireSync({ permits: 2 });
    const calls: Promise<unknown>[] = [];
    const line = async (call: Promise<unknown>) => {
      calls.push(call);
      await until(() => crowdOf(semaphore) === calls.length);
    };
    const signHere = async (tag: number) => {
      using _guard = await semaphore.acquire({ permits: 2 });
      log.set(log.add(0, 1) + 1, tag);
    };
    await line(one.run("sign", semaphore, log, 1, 2, "async"));
    await line(signHere(2));
    await line(two.run("sign", semaphore, log, 3, 2, "sync"));
    await line(one.run("sign", semaphore, log, 4, 2, "async"));
    await line(signHere(5));
    guard.release();
    await Promise.all(calls);
    assertEquals(log.slice(0, 6), [5, 1, 2, 3, 4, 5]);
    await assertWhole(semaphore, 2);
  },
});

Deno.test({
  name: "Semaphore goes to a waiter at the next release, before any newcomer",
  ...LIMIT,
  async fn() {
    const semaphore = new Semaphore(1);
    using peer = await Peer.start(WORKER);
    const guard = semaphore.acquireSync();
    const got = peer.run("acquire", semaphore, "sync");
    await until(() => crowdOf(semaphore) === 1);
    block(2);
    guard.release();
    assertStrictEquals(semaphore.tryAcquire(), undefined);
    assertEquals(await got, "held");
    await peer.run("release");
    await assertWhole(semaphore, 1);
  },
});

Deno.test({
  name: "Semaphore never admits more than it has in storms of timeouts and aborts of three agents",
  ...LIMIT,
  async fn() {
    const semaphore = new Semaphore(4);
    const counters = new SharedArray("i32", 2);
    using one = await Peer.start(WORKER);
    using two = await Peer.start(WORKER);
    const { storm } = await import("./testdata/semaphore_worker.ts");
    const most = await Promise.all([
      one.run<number>("storm", semaphore, counters, 1, 400),
      two.run<number>("storm", semaphore, counters, 2, 400),
      storm(semaphore, counters, 3, 200),
    ]);
    assert(Math.max(...most) <= 4, `${most}`);
    assert(counters.get(1) > 100);
    assertEquals(counters.get(0), 0);
    await assertWhole(semaphore, 4);
  },
});

// -- Death -------------------------------------------------------------------------------------

Deno.test({
  name: "Semaphore: the permits of a dead agent's guards come back, and serve who waits",
  ...LIMIT,
  async fn() {
    const semaphore = new Semaphore(3);
    using peer = await Peer.start(WORKER);
    await peer.run("acquire", semaphore, "sync", { permits: 2 });
    await peer.run("acquire", semaphore, "async");
    const waiting = semaphore.acquire({ permits: 2 });
    assertEquals(semaphore.available, 0);
    peer.die();
    (await waiting).release();
    await assertWhole(semaphore, 3);
  },
});

Deno.test({
  name: "Semaphore: a big request of an agent that dies lets those behind it pass",
  ...LIMIT,
  async fn() {
    const semaphore = new Semaphore(2);
    using peer = await Peer.start(WORKER);
    const guard = semaphore.acquireSync();
    await peer.run("begin", semaphore, { permits: 2 });
    const waiting = semaphore.acquire();
    assertEquals([semaphore.available, crowdOf(semaphore)], [1, 2]);
    peer.die();
    (await waiting).release();
    guard.release();
    await assertWhole(semaphore, 2);
  },
});

Deno.test("Semaphore.available counts what a dead agent held, though nobody has looked since", async () => {
  const semaphore = new Semaphore(3);
  const dead = ghost();
  sharingOf(semaphore, dead).tryAcquire(demand(2));
  assertEquals(semaphore.available, 1);
  bury(home(), dead.id);
  assertEquals(semaphore.available, 3);
  await assertWhole(semaphore, 3);
});

Deno.test("Semaphore: permits granted to an agent that dies before it claims them go on", async () => {
  const semaphore = new Semaphore(1);
  const guard = semaphore.acquireSync();
  const dead = ghost();
  const { permits } = sharingOf(semaphore, dead);
  takeOrLineUp(permits, { need: 1, recovers: false, ticket: 0, place: -1 });
  const next = semaphore.acquire();
  guard.release();
  assertEquals([semaphore.available, crowdOf(semaphore)], [0, 1]);
  assertFalse(await settlesSoon(next));
  bury(home(), dead.id);
  (await next).release();
  await assertWhole(semaphore, 1);
});

Deno.test("Semaphore: an agent that pairs acquire and release() holds nothing when it ends", () => {
  const semaphore = new Semaphore(2);
  const dead = ghost();
  const sharing = sharingOf(semaphore, dead);
  for (let i = 0; i < 5; i++) {
    sharing.tryAcquire(demand(1));
    assertEquals(putIn(sharing.permits, 1), 0);
  }
  assertEquals(semaphore.available, 2);
  bury(home(), dead.id);
  assertEquals(semaphore.available, 2);
});

Deno.test({
  name: "Semaphore is left as it was by a worker that uses it as in Python and ends",
  ...LIMIT,
  async fn() {
    const semaphore = new Semaphore(2);
    using peer = await Peer.start(WORKER);
    await peer.run("pairUp", semaphore, 10);
    assertEquals(semaphore.available, 2);
    peer.die();
    await assertWhole(semaphore, 2);
  },
});

Deno.test("Semaphore: what an agent put in before it held anything stays when it dies", async () => {
  const semaphore = new Semaphore(1);
  const dead = ghost();
  const sharing = sharingOf(semaphore, dead);
  putIn(sharing.permits, 2);
  sharing.tryAcquire(demand(2));
  bury(home(), dead.id);
  await assertWhole(semaphore, 3);
});

Deno.test("Semaphore: the next tenant of a dead agent's slot holds nothing of it", async () => {
  const semaphore = new Semaphore(2);
  const dead = ghost();
  sharingOf(semaphore, dead).tryAcquire(demand(2));
  bury(home(), dead.id);
  const heir = ghost();
  assertEquals(slotOf(heir.id), slotOf(dead.id));
  const guard = sharingOf(semaphore, heir).tryAcquire(demand(1))!;
  assertEquals(semaphore.available, 1);
  guard.release();
  bury(home(), heir.id);
  await assertWhole(semaphore, 2);
});

Deno.test("Semaphore: an agent that died inside its bookkeeping wedges nobody", async () => {
  const semaphore = new Semaphore(2);
  const words = new Int32Array(semaphore.handle.memory);
  const dead = ghost();
  assertFalse(lockLatch(dead, words, 4));
  // As if it had died between two stores: the count of free permits is wrong.
  words[32] = 7;
  bury(home(), dead.id);
  await assertWhole(semaphore, 2);
});
