// Copyright 2026 the Sabre authors. MIT license.

// Deadlocks among several agents: who is told, and who is not.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { bury, type Domain, home, requestStop, slotOf, waitWords } from "../_agent.ts";
import {
  findDeadlock,
  isCircle,
  tellAwake,
  tellBlocked,
  tellPromise,
  toldBy,
  whatOf,
} from "../_report.ts";
import { Barrier } from "../barrier.ts";
import { Condition } from "../condition.ts";
import { Lock, RLock } from "../lock.ts";
import { Process } from "../process.ts";
import { RwLock } from "../rwlock.ts";
import { SharedValue } from "../shared.ts";
import { block } from "./_helpers.ts";
import { ghost } from "./_workers.ts";
import {
  attempt,
  cross,
  crossAsync,
  type End,
  inDisorder,
  inOrder,
  insist,
  keep,
  type Lockable,
  readAndWrite,
  take,
  waitHolding,
} from "./testdata/deadlock_targets.ts";

const LIMIT = { timeout: 30_000 };
const TARGETS = new URL("./testdata/deadlock_targets.ts", import.meta.url);

// deno-lint-ignore no-explicit-any
type Target = (...args: any[]) => any;

class Group implements AsyncDisposable {
  readonly #processes: Process<Target>[] = [];

  start<F extends Target>(name: string, target: F, ...args: Parameters<F>): Process<F> {
    const process = new Process(TARGETS, { target: target as Target, args, name }).start();
    this.#processes.push(process);
    return process as Process<F>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes) await process[Symbol.asyncDispose]();
  }
}

/** As many processes as locks, each of which holds one and acquires the next. */
async function circle(locks: readonly Lockable[]): Promise<End[]> {
  await using group = new Group();
  const ready = new Barrier(locks.length);
  const ends = locks.map((lock, i) => {
    const next = locks[(i + 1) % locks.length]!;
    return group.start(`P${i}`, cross, lock, next, ready).result;
  });
  return await Promise.all(ends);
}

/** Exactly one was told, soon, and the others have had what they wanted. */
function assertOneTold(ends: readonly End[]): End {
  const told = ends.filter(({ name }) => name === "DeadlockError");
  const names = ends.map(({ name }) => name).join(" ");
  assertEquals([told.length, ends.length - told.length], [
    1,
    ends.filter(({ name }) => name === "held").length,
  ], names);
  assert(told[0]!.milliseconds < 2_000, `${told[0]!.milliseconds} ms`);
  return told[0]!;
}

function assertFree(locks: readonly Lockable[]): void {
  for (const lock of locks) take(lock, 0).release();
}

Deno.test(
  "of two agents that block each other one gets a DeadlockError, which names both",
  LIMIT,
  async () => {
    const locks = [new Lock(), new Lock()];
    const { message } = assertOneTold(await circle(locks));
    assertMatch(
      message,
      /^Cannot acquire Lock #(\d+): deadlock: P(\d) \(pid (\d+)\) waits for Lock #\1, held by P(\d) \(pid (\d+)\), which waits for Lock #(\d+), held by P\2 \(pid \3\)$/,
    );
    assertFree(locks);
  },
);

Deno.test(
  "of three agents in a circle one gets a DeadlockError, and the others go on",
  LIMIT,
  async () => {
    const locks = [new Lock(), new RLock(), new Lock()];
    const { message } = assertOneTold(await circle(locks));
    assertEquals(message.match(/held by/g)!.length, 3);
    assertFree(locks);
  },
);

Deno.test("locks of shared values and locks for writing count as well", LIMIT, async () => {
  const locks = [new SharedValue("i32"), new RwLock(), new Lock()];
  assertOneTold(await circle(locks));
  assertFree(locks);
});

Deno.test("the main agent is part of a deadlock like any other", LIMIT, async () => {
  await using group = new Group();
  const [one, two] = [new Lock(), new Lock()];
  const ready = new Barrier(2);
  const process = group.start("child", cross, two, one, ready);
  using guard = one.acquireSync();
  ready.waitSync();
  const own = attempt(() => two.acquireSync());
  guard.release();
  // The one that came last is told.
  assertEquals([own.name, (await process.result).name], ["held", "DeadlockError"]);
});

Deno.test("readers that want to write block each other: one is told", LIMIT, async () => {
  await using group = new Group();
  const [one, two] = [new RwLock(), new RwLock()];
  const ready = new Barrier(2);
  const ends = await Promise.all([
    group.start("A", readAndWrite, one, two, ready).result,
    group.start("B", readAndWrite, two, one, ready).result,
  ]);
  assertMatch(assertOneTold(ends).message, /^Cannot write RwLock #\d+: deadlock: /);
});

Deno.test("who insists is told again", LIMIT, async () => {
  await using group = new Group();
  const [one, two] = [new Lock(), new Lock()];
  const ready = new Barrier(2);
  const first = group.start("first", cross, one, two, ready);
  const second = group.start("second", insist, two, one, ready);
  assertEquals(await second.result, ["DeadlockError", "DeadlockError"]);
  assertEquals((await first.result).name, "held");
});

Deno.test(
  "a wait at a condition that can never get its lock back is told, without its guard",
  LIMIT,
  async () => {
    await using group = new Group();
    const other = new Lock();
    const condition = new Condition();
    using guard = condition.lock.acquireSync();
    const process = group.start("waiter", waitHolding, other, condition);
    guard.release();
    let own: End | undefined;
    while (own === undefined) {
      using inner = condition.lock.acquireSync();
      // At the condition, not yet at its lock.
      if (!other.locked || !/^Condition \{ waiting: 1/.test(Deno.inspect(condition))) {
        inner.release();
        block(5);
        continue;
      }
      condition.notify();
      own = attempt(() => other.acquireSync());
    }
    assertEquals(own.name, "held");
    const { name, message } = await process.result;
    assertEquals(name, "DeadlockError false");
    assertMatch(message, /^Cannot acquire RLock #\d+: deadlock: waiter /);
  },
);

// -- No false alarm ------------------------------------------------------------------------------

Deno.test("a lock that is held for long is no deadlock", LIMIT, async () => {
  await using group = new Group();
  const lock = new Lock();
  const ready = new Barrier(2);
  const process = group.start("keeper", keep, lock, ready, 1_500);
  ready.waitSync();
  const { name, milliseconds } = attempt(() => lock.acquireSync());
  assertEquals(name, "held");
  assert(milliseconds > 1_000);
  await process.result;
});

Deno.test(
  "agents that wait in a row, the last of which will go on, are no deadlock",
  LIMIT,
  async () => {
    await using group = new Group();
    const [one, two, three] = [new Lock(), new Lock(), new Lock()];
    const ready = new Barrier(4);
    const results = [
      group.start("keeper", keep, one, ready, 1_300).result,
      group.start("B", cross, two, one, ready).result,
      group.start("C", cross, three, two, ready).result,
    ] as const;
    ready.waitSync();
    const { name } = attempt(() => three.acquireSync());
    assertEquals(name, "held");
    assertEquals([(await results[1]).name, (await results[2]).name], ["held", "held"]);
    await results[0];
  },
);

Deno.test("a circle with a timeout in it ends by that", LIMIT, async () => {
  await using group = new Group();
  const [one, two] = [new Lock(), new Lock()];
  const ready = new Barrier(2);
  const [timed, patient] = await Promise.all([
    group.start("timed", cross, one, two, ready, 700).result,
    group.start("patient", cross, two, one, ready).result,
  ]);
  assertEquals([timed.name, patient.name], ["TimeoutError", "held"]);
});

Deno.test(
  "a circle with a promise in it is no deadlock, as other tasks may go on",
  LIMIT,
  async () => {
    await using group = new Group();
    const [one, two] = [new Lock(), new Lock()];
    const ready = new Barrier(2);
    const [promised, patient] = await Promise.all([
      group.start("promises", crossAsync, one, two, ready, 700).result,
      group.start("patient", cross, two, one, ready).result,
    ]);
    assertEquals([promised, patient.name], ["TimeoutError", "held"]);
  },
);

Deno.test("agents of a deadlock can be terminated", LIMIT, async () => {
  await using group = new Group();
  const [one, two] = [new Lock(), new Lock()];
  const ready = new Barrier(3);
  const processes = [
    group.start("A", cross, one, two, ready),
    group.start("B", cross, two, one, ready),
  ];
  ready.waitSync();
  const results = processes.map(({ result }) => result.catch((error) => error as Error));
  for (const process of processes) await process.terminate();
  for (const result of await Promise.all(results)) {
    assert(["held", "DeadlockError", "TerminatedError"].includes(result.name), result.name);
  }
  assertFree([one, two]);
});

Deno.test("agents that take locks in one order are never told of a deadlock", LIMIT, async () => {
  await using group = new Group();
  const locks = [new Lock(), new RwLock(), new RLock()];
  const seed = Date.now() | 0;
  const results = [0, 1, 2, 3].map((i) =>
    group.start(`P${i}`, inOrder, locks, seed + i, 3_000).result
  );
  for (const rounds of await Promise.all(results)) assert(rounds > 0, `seed ${seed}`);
  assertFree(locks);
});

Deno.test(
  "agents that take locks in any order all come through if they start again",
  LIMIT,
  async () => {
    await using group = new Group();
    const locks = [new Lock(), new RwLock(), new RLock()];
    const seed = Date.now() | 0;
    const results = [0, 1, 2].map((i) =>
      group.start(`P${i}`, inDisorder, locks, seed + i, 8).result
    );
    const deadlocks = await Promise.all(results);
    assertEquals(deadlocks.length, 3, `seed ${seed}`);
    assertFree(locks);
  },
);

Deno.test("DeadlockError leaves the lock to its holder", LIMIT, async () => {
  const lock = new Lock();
  using _guard = lock.acquireSync();
  assertEquals(attempt(() => lock.acquireSync()).name, "DeadlockError");
  await assertRejects(() => lock.acquire({ timeout: 1 }), DOMException);
  assertEquals(lock.locked, true);
});

// -- What is told --------------------------------------------------------------------------------

const LOCK = whatOf("Lock", 7, "acquire");

/** Ghosts that say they are blocked, each kept waiting by the next. */
function blockedGhosts(count: number): Domain[] {
  const ghosts = Array.from({ length: count }, () => ghost());
  for (const domain of ghosts) tellBlocked(domain, 0, LOCK, true);
  return ghosts;
}

/** What each finds, from the first to the last, in two rounds. */
function look(ghosts: readonly Domain[]): (number | undefined)[] {
  const found: (number | undefined)[] = [];
  for (let round = 0; round < 2; round++) {
    for (const [i, domain] of ghosts.entries()) {
      const next = ghosts[(i + 1) % ghosts.length]!;
      found.push(findDeadlock(domain, { keeper: () => next.id })?.length);
    }
  }
  return found;
}

function buryAll(ghosts: readonly Domain[]): void {
  for (const { id } of ghosts) bury(home(), id);
}

Deno.test("isCircle() tells a circle as long as all of it wait as they did, whoever they are", () => {
  const ghosts = blockedGhosts(3);
  look(ghosts);
  const ids = ghosts.map(({ id }) => id);
  assertEquals(isCircle(home(), ids), true);
  assertEquals(isCircle(home(), ids.toReversed()), false);
  assertEquals(isCircle(home(), ids.slice(1)), false);
  tellAwake(ghosts[1]!, Atomics.load(home().words, waitWords(slotOf(ids[1]!))));
  assertEquals(isCircle(home(), ids), false);
  buryAll(ghosts);
});

Deno.test("findDeadlock() wakes who says what is no longer so, that it finds the rest of the way", () => {
  const [one, two, three] = blockedGhosts(3) as [Domain, Domain, Domain];
  findDeadlock(two, { keeper: () => three.id });
  tellAwake(three, Atomics.load(home().words, waitWords(slotOf(three.id))));
  const before = Atomics.load(two.words, two.park);
  assertEquals(findDeadlock(one, { keeper: () => two.id }), undefined);
  assert(Atomics.load(two.words, two.park) !== before, "it was not woken");
  buryAll([one, two, three]);
});

Deno.test("tellBlocked() gives each wait a number, and says what it waits for until tellAwake()", () => {
  const [domain] = blockedGhosts(1) as [Domain];
  const first = toldBy(home(), domain.id)!;
  assertEquals([first.kind, first.serial, first.call], ["Lock", 7, "acquire"]);
  assertEquals([first.isBlocked, first.keeper], [true, 0]);
  const number = Atomics.load(home().words, waitWords(slotOf(domain.id)));
  assertEquals(tellBlocked(domain, number, LOCK, true), number);
  // Within a call, as if by the input of another one.
  const inner = tellBlocked(domain, 0, whatOf("Queue", 8, "get"), false);
  assertEquals([inner, toldBy(home(), domain.id)!.kind], [number + 2, "Queue"]);
  tellAwake(domain, inner);
  assertEquals(toldBy(home(), domain.id), undefined);
  const outer = tellBlocked(domain, number, LOCK, false);
  assertEquals(outer, number + 4);
  tellAwake(domain, number);
  assertEquals(toldBy(home(), domain.id)!.kind, "Lock");
  tellAwake(domain, outer);
  assertEquals(toldBy(home(), domain.id), undefined);
  buryAll([domain]);
});

Deno.test("who reads what an agent waits for never mixes two waits", () => {
  const domain = ghost();
  const waits = [whatOf("Queue", 8, "get"), whatOf("Connection", 9, "receive")];
  tellPromise(domain, waits[0], 80);
  const seen = new Set<string>();
  const { store } = Atomics;
  Atomics.store = ((words: Int32Array, index: number, value: number) => {
    store(words, index, value);
    const told = toldBy(home(), domain.id);
    if (told !== undefined) seen.add(`${told.kind} ${told.serial} ${told.since}`);
    return value;
  }) as typeof store;
  try {
    tellPromise(domain, waits[1], 90);
  } finally {
    Atomics.store = store;
  }
  assertEquals([...seen], ["Connection 9 90"]);
  buryAll([domain]);
});

Deno.test("tellPromise() says nothing while the thread is blocked", () => {
  const [domain] = blockedGhosts(1) as [Domain];
  tellPromise(domain, whatOf("Queue", 8, "get"), 0);
  assertEquals(toldBy(home(), domain.id)!.kind, "Lock");
  buryAll([domain]);
});

Deno.test("an agent that was blocked says nothing of the next one in its slot", () => {
  const [domain] = blockedGhosts(1) as [Domain];
  const base = waitWords(slotOf(domain.id));
  const number = Atomics.load(home().words, base);
  buryAll([domain]);
  const heir = ghost();
  assertEquals(slotOf(heir.id), slotOf(domain.id));
  assertEquals([toldBy(home(), heir.id), Atomics.load(home().words, base)], [
    undefined,
    number + 1,
  ]);
  buryAll([heir]);
});

Deno.test("findDeadlock() tells the one with the greatest id, once all have looked", () => {
  const ghosts = blockedGhosts(3);
  assertEquals(look(ghosts), [undefined, undefined, 3, undefined, undefined, 3]);
  buryAll(ghosts);
});

Deno.test("findDeadlock() finds none if one of them goes on, ends, or is asked to", () => {
  for (const end of ["wakes", "blocks anew", "dies", "stops"]) {
    const ghosts = blockedGhosts(3);
    const [first, , last] = ghosts as [Domain, Domain, Domain];
    assertEquals(look(ghosts).at(-1), 3);
    const number = Atomics.load(home().words, waitWords(slotOf(first.id)));
    if (end === "dies") bury(home(), first.id);
    if (end === "stops") requestStop(home(), first.id);
    if (end === "wakes" || end === "blocks anew") tellAwake(first, number);
    if (end === "blocks anew") tellBlocked(first, 0, LOCK, true);
    assertEquals(findDeadlock(last, { keeper: () => first.id }), undefined, end);
    buryAll(ghosts);
  }
});

Deno.test("findDeadlock() finds none that its agent is not part of", () => {
  const ghosts = blockedGhosts(2);
  const [outside] = blockedGhosts(1) as [Domain];
  assertEquals(look(ghosts).at(-1), 2);
  assertEquals(findDeadlock(outside, { keeper: () => ghosts[0]!.id }), undefined);
  buryAll([...ghosts, outside]);
});

Deno.test("findDeadlock() believes a keeper only if it still is one", () => {
  const ghosts = blockedGhosts(2);
  const [one, two] = ghosts as [Domain, Domain];
  findDeadlock(one, { keeper: () => two.id });
  const answers = [one.id, home().id];
  assertEquals(findDeadlock(two, { keeper: () => answers.shift()! }), undefined);
  assertEquals(findDeadlock(two, { keeper: () => one.id })?.length, 2);
  buryAll(ghosts);
});
