// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertFalse,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { bury, type Domain, home } from "../_agent.ts";
import { lockLatch } from "../_latch.ts";
import { crowd, EVERYTHING, permitsAt, takeOrLineUp } from "../_permits.ts";
import { Sharing } from "../_sharing.ts";
import { AbandonedError, DeadlockError } from "../errors.ts";
import { type Guard, RwLock } from "../rwlock.ts";
import { SharedArray } from "../shared.ts";
import { abortable, settlesSoon, turn, until } from "./_helpers.ts";
import { errorName, ghost, Peer } from "./_workers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/rwlock_worker.ts", import.meta.url);
const WRITE = { need: EVERYTHING, recovers: false, call: "write" };
const READ = { need: 1, recovers: false, call: "read" };

function sharingOf(lock: RwLock, domain: Domain): Sharing {
  return new Sharing("RwLock", domain, new Int32Array(lock.handle.memory), 0);
}

function crowdOf(lock: RwLock): number {
  return crowd(permitsAt(home(), new Int32Array(lock.handle.memory), 0));
}

/** Checks that nobody holds the lock or waits for it, and that it can be had in every way. */
async function assertFree(lock: RwLock): Promise<void> {
  assertEquals([lock.readers, lock.writing, lock.locked, crowdOf(lock)], [0, false, false, 0]);
  const readers = [lock.tryRead()!, lock.readSync({ timeout: 0 }), await lock.read({ timeout: 0 })];
  assertEquals([lock.readers, lock.writing, lock.locked], [3, false, true]);
  for (const reader of readers) reader.release();
  for (
    const writer of [
      () => lock.tryWrite()!,
      () => lock.writeSync({ timeout: 0 }),
      () => lock.write({ timeout: 0 }),
    ]
  ) {
    using guard = await writer();
    assertFalse(guard.abandoned);
    assertEquals([lock.readers, lock.writing, lock.locked], [0, true, true]);
  }
  assertFalse(lock.locked);
}

async function assertAbandoned(lock: RwLock): Promise<void> {
  for (
    const call of [
      () => lock.read(),
      () => lock.readSync(),
      () => lock.tryRead(),
      () => lock.write(),
      () => lock.writeSync(),
      () => lock.tryWrite(),
    ]
  ) assertEquals(await errorName(call), "AbandonedError");
}

// -- Reading and writing -----------------------------------------------------------------------

Deno.test("RwLock is free when it is new", async () => {
  await assertFree(new RwLock());
});

Deno.test("RwLock: readers keep writers out, a writer keeps everybody out", () => {
  const lock = new RwLock();
  {
    using _one = lock.readSync();
    using _two = lock.tryRead()!;
    assertStrictEquals(lock.tryWrite(), undefined);
    assertThrows(() => lock.writeSync({ timeout: 1 }), DOMException, "Cannot write RwLock: 1 ms");
  }
  using _writer = lock.writeSync();
  assertStrictEquals(lock.tryRead(), undefined);
  assertStrictEquals(lock.tryWrite(), undefined);
  assertThrows(() => lock.readSync({ timeout: 1 }), DOMException, "Cannot read RwLock: 1 ms");
});

Deno.test("RwLock: releasing a guard twice is a TypeError, disposing it twice does nothing", async () => {
  const lock = new RwLock();
  for (const guard of [lock.readSync(), await lock.read()]) {
    guard.release();
    assertThrows(() => guard.release(), TypeError, "released before");
    guard[Symbol.dispose]();
  }
  const guard = lock.writeSync();
  guard.release();
  assertThrows(() => guard.release(), TypeError, "released before");
  await assertFree(lock);
});

Deno.test("RwLock: a waiting writer stops newcomers, and is served before readers that came later", async () => {
  const lock = new RwLock();
  const first = lock.readSync();
  const order: string[] = [];
  const log = (name: string) => (guard: Guard) => (order.push(name), guard);
  const writer = lock.write().then(log("writer"));
  const readers = [lock.read().then(log("reader 1")), lock.read().then(log("reader 2"))];
  const second = lock.write().then(log("second writer"));
  const last = lock.read().then(log("last reader"));
  assertStrictEquals(lock.tryRead(), undefined);
  assertEquals([lock.readers, crowdOf(lock)], [1, 5]);
  first.release();
  (await writer).release();
  // All readers up to the next writer together.
  assertEquals([lock.readers, crowdOf(lock)], [2, 2]);
  for (const reader of await Promise.all(readers)) reader.release();
  (await second).release();
  (await last).release();
  assertEquals(order, ["writer", "reader 1", "reader 2", "second writer", "last reader"]);
  await assertFree(lock);
});

for (const end of ["timeout", "abort"] as const) {
  Deno.test(`RwLock: after the ${end} of a waiting writer, readers behind it are served`, async () => {
    const lock = new RwLock();
    const first = lock.readSync();
    const { signal, abort } = abortable();
    const writer = errorName(() => lock.write(end === "timeout" ? { timeout: 5 } : { signal }));
    const reader = lock.read();
    assertEquals(lock.readers, 1);
    if (end === "abort") abort(new DOMException("", "AbortError"));
    assertEquals(await writer, end === "timeout" ? "TimeoutError" : "AbortError");
    (await reader).release();
    first.release();
    await assertFree(lock);
  });
}

Deno.test("RwLock serves hundreds of calls of one agent in order", async () => {
  const lock = new RwLock();
  const guard = lock.writeSync();
  const order: number[] = [];
  const calls = Array.from({ length: 200 }, async (_, i) => {
    using _guard = await (i % 5 === 0 ? lock.write() : lock.read());
    order.push(i);
    await turn();
  });
  guard.release();
  await Promise.all(calls);
  assertEquals(order, Array.from({ length: 200 }, (_, i) => i));
  await assertFree(lock);
});

// -- Deadlock ----------------------------------------------------------------------------------

Deno.test("RwLock: a Sync call that its own agent keeps out throws DeadlockError", async () => {
  const lock = new RwLock();
  for (const hold of [() => lock.readSync(), () => lock.read(), () => lock.tryWrite()!]) {
    using _guard = await hold();
    assertThrows(() => lock.writeSync(), DeadlockError, "would wait for itself");
    assertThrows(() => lock.writeSync({ timeout: 1 }), DOMException);
  }
  {
    using _guard = await lock.write();
    assertThrows(() => lock.readSync(), DeadlockError, "Cannot read RwLock: agent");
  }
  const reader = lock.readSync();
  const writer = lock.write();
  assertThrows(() => lock.readSync(), DeadlockError);
  reader.release();
  // Granted to a promise that cannot run while this blocks.
  assertThrows(() => lock.readSync(), DeadlockError);
  (await writer).release();
  await assertFree(lock);
});

Deno.test("RwLock: a writer that gave up is no deadlock", async () => {
  const lock = new RwLock();
  using _reader = lock.readSync();
  const { signal, abort } = abortable();
  const writer = errorName(() => lock.write({ signal }));
  abort(new DOMException("", "AbortError"));
  lock.readSync().release();
  assertEquals(await writer, "AbortError");
});

// -- Bad input ---------------------------------------------------------------------------------

Deno.test("RwLock refuses bad options", async () => {
  const lock = new RwLock();
  assertThrows(() => lock.readSync({ timeout: "1" as Any }), TypeError);
  assertThrows(() => lock.writeSync({ timeout: NaN }), RangeError);
  await assertRejects(() => lock.read({ timeout: NaN }), RangeError);
  await assertRejects(() => lock.write({ signal: 1 as Any }), TypeError);
  for (const call of ["read", "write"] as const) {
    let reason: unknown;
    await lock[call]({ timeout: NaN, signal: AbortSignal.abort("gone") }).catch((e) => reason = e);
    assertEquals(reason, "gone");
  }
  await assertFree(lock);
});

Deno.test("RwLock.from() is the same object for its handle and clones, and refuses others", () => {
  const lock = new RwLock();
  for (const value of [lock, lock.handle, structuredClone(lock)]) {
    assertStrictEquals(RwLock.from(value), lock);
  }
  for (const bad of [null, {}, { ...lock.handle, sabre: "Lock" }, { ...lock.handle, version: 0 }]) {
    assertThrows(() => RwLock.from(bad), TypeError);
  }
});

Deno.test("RwLock shows a useful line in console.log", () => {
  const lock = new RwLock();
  {
    using _guard = lock.readSync();
    assertEquals(Deno.inspect(lock), "RwLock { readers: 1, writing: false, waiting: 0 }");
  }
  const dead = ghost();
  sharingOf(lock, dead).tryAcquire(WRITE);
  assertStringIncludes(Deno.inspect(lock), "writing: true");
  bury(home(), dead.id);
  assertEquals(
    Deno.inspect(lock),
    "RwLock { readers: 0, writing: false, abandoned: true, waiting: 0 }",
  );
});

// -- Properties and several agents -------------------------------------------------------------

Deno.test("RwLock: readers and writers never overlap, in any order of calls (property)", async () => {
  const step = fc.constantFrom("read", "write", "tryRead", "tryWrite", "release", "abort");
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 50 }), async (steps) => {
      const lock = new RwLock();
      const held: { guard: Guard; isWrite: boolean }[] = [];
      const add = (guard: Guard | undefined, isWrite: boolean) => {
        if (guard === undefined) return;
        held.push({ guard, isWrite });
        assert(held.length === 1 || held.every((each) => !each.isWrite));
      };
      const waits: { abort: () => void; settled: Promise<void> }[] = [];
      for (const kind of steps) {
        if (kind === "read" || kind === "write") {
          const { signal, abort } = abortable();
          const settled = lock[kind]({ signal }).then(
            (guard) => add(guard, kind === "write"),
            () => {},
          );
          waits.push({ abort, settled });
        } else if (kind === "tryRead") add(lock.tryRead(), false);
        else if (kind === "tryWrite") add(lock.tryWrite(), true);
        else if (kind === "abort") waits.shift()?.abort();
        else held.shift()?.guard.release();
        await turn();
        assertEquals(lock.readers + (lock.writing ? 1 : 0), held.length);
      }
      for (const { abort } of waits) abort();
      await Promise.all(waits.map(({ settled }) => settled));
      for (const { guard } of held) guard.release();
      await assertFree(lock);
    }),
    { numRuns: 40 },
  );
});

Deno.test({
  name: "RwLock: readers never see half a write, in storms of three agents",
  ...LIMIT,
  async fn() {
    const lock = new RwLock();
    const array = new SharedArray("i32", 64);
    using one = await Peer.start(WORKER);
    using two = await Peer.start(WORKER);
    const { storm } = await import("./testdata/rwlock_worker.ts");
    const written = await Promise.all([
      one.run<number>("storm", lock, array, 1, 400),
      two.run<number>("storm", lock, array, 2, 400),
      storm(lock, array, 3, 200),
    ]);
    assertEquals(array.get(0), written[0] + written[1] + written[2]);
    assert(array.get(0) > 50);
    await assertFree(lock);
  },
});

Deno.test({
  name: "RwLock: a writer is not starved by two agents that always read",
  ...LIMIT,
  async fn() {
    const lock = new RwLock();
    const flags = new SharedArray("i32", 2);
    using one = await Peer.start(WORKER);
    using two = await Peer.start(WORKER);
    const readers = [one.run("readOn", lock, flags), two.run("readOn", lock, flags)];
    await until(() => flags.get(1) === 2);
    let longest = 0;
    for (let i = 0; i < 50; i++) {
      const start = performance.now();
      using _guard = i % 2 === 0 ? lock.writeSync() : await lock.write();
      longest = Math.max(longest, performance.now() - start);
    }
    flags.set(0, 1);
    await Promise.all(readers);
    assert(longest < 2_000, `waited for ${longest} ms`);
    await assertFree(lock);
  },
});

Deno.test({
  name: "RwLock serves several agents in the order of their arrival",
  ...LIMIT,
  async fn() {
    const lock = new RwLock();
    using one = await Peer.start(WORKER);
    using two = await Peer.start(WORKER);
    const guard = lock.writeSync();
    const first = one.run("acquire", lock, "readSync");
    await until(() => crowdOf(lock) === 1);
    const own = lock.write();
    const last = two.run("acquire", lock, "read");
    await until(() => crowdOf(lock) === 3);
    guard.release();
    assertEquals(await first, "held");
    assertEquals([lock.readers, crowdOf(lock)], [1, 2]);
    await one.run("release");
    (await own).release();
    assertEquals(await last, "held");
    await two.run("release");
    await assertFree(lock);
  },
});

// -- Death -------------------------------------------------------------------------------------

Deno.test({
  name: "RwLock: the share of a dead reader returns, and a writer is served",
  ...LIMIT,
  async fn() {
    const lock = new RwLock();
    using peer = await Peer.start(WORKER);
    await peer.run("acquire", lock, "readSync");
    await peer.run("acquire", lock, "read");
    const writer = lock.write();
    assertEquals(lock.readers, 2);
    peer.die();
    (await writer).release();
    await assertFree(lock);
  },
});

Deno.test({
  name: "RwLock: what is no boolean does not say whether to recover",
  async fn() {
    const lock = new RwLock();
    for (const recover of [null, 0, "x"]) {
      const options = { recover } as Any;
      await assertRejects(() => lock.write(options), TypeError, "recover must be a boolean");
      assertThrows(() => lock.writeSync(options), TypeError, "recover");
      assertThrows(() => lock.tryWrite(options), TypeError, "recover");
    }
    assertEquals(lock.locked, false);
  },
});

Deno.test({
  name: "RwLock: the death of a writer is reported to all until one writes with recover",
  ...LIMIT,
  async fn() {
    const lock = new RwLock();
    using peer = await Peer.start(WORKER);
    using other = await Peer.start(WORKER);
    await peer.run("acquire", lock, "writeSync");
    const waits = [
      errorName(() => lock.read()),
      errorName(() => lock.write()),
      other.run("acquire", lock, "readSync"),
      other.run("acquire", lock, "write"),
    ];
    await until(() => crowdOf(lock) === 3);
    peer.die();
    assertEquals(await Promise.all(waits), Array(4).fill("AbandonedError"));
    await assertAbandoned(lock);
    const error = assertThrows(() => lock.readSync(), AbandonedError) as Error;
    assertStringIncludes(error.message, "died while holding it for writing");
    const guard = await lock.write({ recover: true });
    assertEquals([guard.abandoned, lock.writing], [true, true]);
    // While a recovered guard is held, others wait.
    assertStrictEquals(lock.tryRead(), undefined);
    assertStrictEquals(lock.tryWrite({ recover: true }), undefined);
    const reader = lock.read();
    assertFalse(await settlesSoon(reader));
    guard.release();
    (await reader).release();
    await assertFree(lock);
  },
});

Deno.test("RwLock: of those who wait when a writer dies, the one that recovers gets it", async () => {
  const lock = new RwLock();
  const dead = ghost();
  sharingOf(lock, dead).tryAcquire(WRITE);
  const reader = errorName(() => lock.read());
  const recovering = lock.write({ recover: true });
  const late = lock.read();
  bury(home(), dead.id);
  assertEquals(await reader, "AbandonedError");
  const guard = await recovering;
  assert(guard.abandoned);
  assertFalse(await settlesSoon(late));
  guard.release();
  (await late).release();
  await assertFree(lock);
});

Deno.test(
  "RwLock: a Sync call behind a promise of its agent is told of a death like it",
  LIMIT,
  async () => {
    using peer = new Peer(WORKER);
    await peer.run("join", home().memory);
    const lock = new RwLock();
    assertEquals(await peer.run("acquire", lock, "writeSync"), "held");
    const told = assertRejects(() => lock.write(), AbandonedError);
    await peer.run("dieLater", 200);
    // No deadlock: it is not known whether the promise will ever hold the lock.
    assertThrows(() => lock.readSync(), AbandonedError);
    await told;
  },
);

Deno.test("RwLock: each form of write recovers, and is abandoned again if its holder dies", async () => {
  const lock = new RwLock();
  for (let i = 0; i < 2; i++) {
    const dead = ghost();
    sharingOf(lock, dead).tryAcquire({ ...WRITE, recovers: true });
    bury(home(), dead.id);
  }
  await assertAbandoned(lock);
  for (
    const write of [
      () => lock.tryWrite({ recover: true })!,
      () => lock.writeSync({ recover: true }),
      () => lock.write({ recover: true }),
    ]
  ) {
    const guard = await write();
    assert(guard.abandoned);
    guard.release();
    await assertFree(lock);
    const dead = ghost();
    sharingOf(lock, dead).tryAcquire(WRITE);
    bury(home(), dead.id);
  }
  lock.writeSync({ recover: true }).release();
});

Deno.test("RwLock: a writer that dies before it ran has abandoned nothing", async () => {
  const lock = new RwLock();
  const guard = lock.readSync();
  const dead = ghost();
  const { permits } = sharingOf(lock, dead);
  takeOrLineUp(permits, { need: EVERYTHING, recovers: false, ticket: 0, place: -1 });
  const next = lock.read();
  guard.release();
  assertEquals([lock.writing, crowdOf(lock)], [true, 1]);
  bury(home(), dead.id);
  (await next).release();
  await assertFree(lock);
});

Deno.test("RwLock: one that dies before it could recover leaves it to the next", async () => {
  const lock = new RwLock();
  const holder = ghost();
  const heir = ghost();
  sharingOf(lock, holder).tryAcquire(WRITE);
  const { permits } = sharingOf(lock, heir);
  takeOrLineUp(permits, { need: EVERYTHING, recovers: true, ticket: 0, place: -1 });
  bury(home(), holder.id);
  // Served, and about to recover: others wait.
  assertStrictEquals(lock.tryRead(), undefined);
  bury(home(), heir.id);
  await assertAbandoned(lock);
  const guard = lock.writeSync({ recover: true });
  assert(guard.abandoned);
  guard.release();
  await assertFree(lock);
});

Deno.test("RwLock: an agent that died inside its bookkeeping wedges nobody", async () => {
  const lock = new RwLock();
  const words = new Int32Array(lock.handle.memory);
  const dead = ghost();
  sharingOf(lock, dead).tryAcquire(READ);
  assertFalse(lockLatch(dead, words, 4));
  words[32] = 7;
  bury(home(), dead.id);
  await assertFree(lock);
});
