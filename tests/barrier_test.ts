// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertFalse,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { bury, deaths, type Domain, home, requestStop, slotOf } from "../_agent.ts";
import {
  arrive,
  BARRIER_WORDS,
  enter,
  exit,
  forgetOutcome,
  outcomeOf,
  PASSED,
  refresh,
  type Rounds,
} from "../_barrier.ts";
import { lockLatch } from "../_latch.ts";
import { Barrier } from "../barrier.ts";
import { BrokenBarrierError } from "../errors.ts";
import { Process } from "../process.ts";
import { SharedArray } from "../shared.ts";
import { diesAt } from "./_death.ts";
import { abortable, settlesSoon, turn, until } from "./_helpers.ts";
import { errorName, fillSlots, ghost, Peer } from "./_workers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/barrier_worker.ts", import.meta.url);

function roundsOf(barrier: Barrier, domain: Domain): Rounds {
  return { domain, words: new Int32Array(barrier.handle.memory), base: 0 };
}

/** Arrives in the name of another agent. */
function arriveAs(barrier: Barrier, domain: Domain): number {
  const rounds = roundsOf(barrier, domain);
  enter(rounds);
  const index = arrive(rounds);
  exit(rounds);
  return index;
}

/** The index, or the name of the error. */
async function outcome(wait: Promise<number>): Promise<number | string> {
  try {
    return await wait;
  } catch (error) {
    return (error as Error).name;
  }
}

/** Checks that a round goes through. */
async function assertWorks(barrier: Barrier): Promise<void> {
  assertEquals([barrier.waiting, barrier.broken], [0, false]);
  const waits = Array.from({ length: barrier.parties }, () => barrier.wait());
  assertEquals(await Promise.all(waits), Array.from(waits, (_, i) => i));
  assertEquals([barrier.waiting, barrier.broken], [0, false]);
}

async function assertBroken(barrier: Barrier): Promise<void> {
  assertEquals([barrier.waiting, barrier.broken], [0, true]);
  assertEquals(await errorName(() => barrier.wait()), "BrokenBarrierError");
  assertEquals(await errorName(() => barrier.waitSync()), "BrokenBarrierError");
  assertEquals(await errorName(() => barrier.waitSync({ timeout: 0 })), "BrokenBarrierError");
  barrier.reset();
  await assertWorks(barrier);
}

// -- Rounds ------------------------------------------------------------------------------------

Deno.test("Barrier gives each party its index of arrival, round after round", async () => {
  const barrier = new Barrier(3);
  for (let round = 0; round < 5; round++) {
    const first = barrier.wait();
    const second = barrier.wait();
    assertEquals(barrier.waiting, 2);
    assertFalse(await settlesSoon(first));
    assertEquals(barrier.waitSync(), 2);
    assertEquals(barrier.waiting, 0);
    assertEquals(await Promise.all([first, second]), [0, 1]);
  }
});

Deno.test("Barrier of one party never waits", async () => {
  const barrier = new Barrier(1);
  assertEquals(await barrier.wait(), 0);
  assertEquals(barrier.waitSync({ timeout: 0 }), 0);
  assertEquals(await barrier.wait({ timeout: 0 }), 0);
  await assertWorks(barrier);
});

Deno.test("Barrier takes hundreds of tasks of one agent, and more than one round of them", async () => {
  const barrier = new Barrier(100);
  const waits = Array.from({ length: 300 }, () => barrier.wait());
  assertEquals(await Promise.all(waits), Array.from({ length: 300 }, (_, i) => i % 100));
  await assertWorks(barrier);
});

Deno.test("Barrier refuses parties that are no positive integer", () => {
  for (const parties of [0, -1, 1.5, NaN, Infinity, 2 ** 31]) {
    assertThrows(() => new Barrier(parties), RangeError, "parties must be");
  }
  for (const parties of ["2", undefined, null] as Any[]) {
    assertThrows(() => new Barrier(parties), TypeError);
  }
});

Deno.test("Barrier refuses bad options, which break nothing", async () => {
  const barrier = new Barrier(2);
  assertThrows(() => barrier.waitSync({ timeout: NaN }), RangeError);
  assertThrows(() => barrier.waitSync({ timeout: "1" as Any }), TypeError);
  await assertRejects(() => barrier.wait({ timeout: NaN }), RangeError);
  await assertRejects(() => barrier.wait({ signal: 1 as Any }), TypeError);
  await assertWorks(barrier);
});

Deno.test("Barrier.from() is the same object for its handle and clones, and refuses others", () => {
  const barrier = new Barrier(2);
  for (const value of [barrier, barrier.handle, structuredClone(barrier)]) {
    assertStrictEquals(Barrier.from(value), barrier);
  }
  const memory = new SharedArrayBuffer(BARRIER_WORDS * 4);
  for (const bad of [2, {}, { ...barrier.handle, sabre: "Lock" }, { ...barrier.handle, memory }]) {
    assertThrows(() => Barrier.from(bad), TypeError);
  }
});

Deno.test("Barrier shows a useful line in console.log", async () => {
  const barrier = new Barrier(2);
  const waiting = outcome(barrier.wait());
  assertEquals(Deno.inspect(barrier), "Barrier { parties: 2, waiting: 1, broken: false }");
  barrier.abort();
  assertEquals(Deno.inspect(barrier), "Barrier { parties: 2, waiting: 0, broken: true }");
  assertEquals(await waiting, "BrokenBarrierError");
});

// -- Breaking ----------------------------------------------------------------------------------

for (const end of ["timeout", "abort"] as const) {
  Deno.test(`Barrier: the ${end} of a waiter breaks it for all others`, async () => {
    const barrier = new Barrier(4);
    const { signal, abort } = abortable();
    const waits = [
      outcome(barrier.wait()),
      outcome(barrier.wait(end === "timeout" ? { timeout: 5 } : { signal })),
      outcome(barrier.wait()),
    ];
    if (end === "abort") abort(new DOMException("", "AbortError"));
    assertEquals(await Promise.all(waits), [
      "BrokenBarrierError",
      end === "timeout" ? "TimeoutError" : "AbortError",
      "BrokenBarrierError",
    ]);
    await assertBroken(barrier);
  });
}

Deno.test("Barrier: a Sync wait that times out, also at once, breaks it", async () => {
  const barrier = new Barrier(3);
  for (const timeout of [2, 0]) {
    const other = outcome(barrier.wait());
    assertThrows(() => barrier.waitSync({ timeout }), DOMException, `${timeout} ms passed`);
    assertEquals(await other, "BrokenBarrierError");
    await assertBroken(barrier);
  }
  assertEquals(await outcome(barrier.wait({ timeout: 0 })), "TimeoutError");
  await assertBroken(barrier);
});

Deno.test("Barrier: of two that time out together, one breaks it and the other is told", async () => {
  const barrier = new Barrier(3);
  const waits = [outcome(barrier.wait({ timeout: 2 })), outcome(barrier.wait({ timeout: 2 }))];
  assertEquals(await Promise.all(waits), ["TimeoutError", "BrokenBarrierError"]);
  await assertBroken(barrier);
});

Deno.test("Barrier: an already aborted signal does not break it", async () => {
  const barrier = new Barrier(2);
  const first = barrier.wait();
  const signal = AbortSignal.abort("gone");
  assertEquals(await barrier.wait({ signal, timeout: NaN }).catch((reason) => reason), "gone");
  assertEquals([barrier.waiting, barrier.broken], [1, false]);
  assertEquals(await barrier.wait(), 1);
  assertEquals(await first, 0);
});

Deno.test("Barrier: an abort after the round is over has no effect", async () => {
  const barrier = new Barrier(2);
  const { signal, abort } = abortable();
  const first = barrier.wait({ signal });
  const second = barrier.wait();
  abort("late");
  assertEquals(await Promise.all([first, second]), [0, 1]);
  await assertWorks(barrier);
});

Deno.test("Barrier.reset() gives BrokenBarrierError to those who wait, and to nobody else", async () => {
  const barrier = new Barrier(2);
  const first = outcome(barrier.wait());
  barrier.reset();
  const second = barrier.wait();
  const third = barrier.wait();
  assertEquals(await first, "BrokenBarrierError");
  assertEquals(await Promise.all([second, third]), [0, 1]);
  barrier.reset();
  await assertWorks(barrier);
});

Deno.test("Barrier.abort() breaks it for those who wait and who come, until reset()", async () => {
  const barrier = new Barrier(2);
  const first = barrier.wait();
  barrier.abort();
  const error = await assertRejects(() => first, BrokenBarrierError) as Error;
  assertStringIncludes(error.message, "Cannot wait for Barrier: it is broken");
  barrier.abort();
  await assertBroken(barrier);
});

Deno.test("Barrier: indices are 0 to parties - 1, once per round (property)", async () => {
  const step = fc.constantFrom("wait", "wait", "wait", "abort", "reset", "break", "turn");
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 50 }),
      fc.integer({ min: 1, max: 4 }),
      async (steps, parties) => {
        const barrier = new Barrier(parties);
        const waits: { abort: () => void; result: Promise<number | string> }[] = [];
        const expected: (number | string)[] = [];
        let round: number[] = []; // of those who wait, their number among all
        let isBroken = false;
        const fail = (self = -1) => {
          for (const i of round) expected[i] = i === self ? "AbortError" : "BrokenBarrierError";
          round = [];
        };
        for (const each of steps) {
          if (each === "wait") {
            const { signal, abort } = abortable();
            const i = waits.push({
              abort: () => abort(new DOMException("", "AbortError")),
              result: outcome(barrier.wait({ signal })),
            }) - 1;
            expected.push("pending");
            if (isBroken) {
              expected[i] = "BrokenBarrierError";
            } else {
              round.push(i);
              if (round.length === parties) {
                for (const [index, each] of round.entries()) expected[each] = index;
                round = [];
              }
            }
          } else if (each === "abort") {
            const self = round[Math.floor(round.length / 2)];
            if (self === undefined) continue;
            waits[self]!.abort();
            fail(self);
            isBroken = true;
          } else if (each === "turn") {
            await turn();
          } else {
            if (each === "reset") barrier.reset();
            else barrier.abort();
            fail();
            isBroken = each === "break";
          }
          assertEquals([barrier.waiting, barrier.broken], [round.length, isBroken]);
        }
        barrier.reset();
        fail();
        assertEquals(await Promise.all(waits.map(({ result }) => result)), expected);
        await assertWorks(barrier);
      },
    ),
    { numRuns: 60 },
  );
});

// -- Across agents -----------------------------------------------------------------------------

for (const form of ["async", "sync"] as const) {
  Deno.test({
    name: `Barrier: three agents go through hundreds of rounds together, ${form}`,
    ...LIMIT,
    async fn() {
      const tasks = form === "sync" ? 1 : 2;
      const barrier = new Barrier(2 * tasks + 1);
      const count = 200;
      const counts = new SharedArray("i32", count * barrier.parties + 1);
      using one = await Peer.start(WORKER);
      using two = await Peer.start(WORKER);
      const { rounds } = await import("./testdata/barrier_worker.ts");
      await Promise.all([
        one.run("rounds", barrier, counts, count, tasks, form),
        two.run("rounds", barrier, counts, count, tasks, form),
        rounds(barrier, counts, count, 1, "async"),
      ]);
      assertEquals([...counts], [...Array(count * barrier.parties).fill(1), 0]);
      await assertWorks(barrier);
    },
  });
}

Deno.test({
  name: "Barrier: a timeout in one agent breaks it in the others",
  ...LIMIT,
  async fn() {
    const barrier = new Barrier(4);
    using one = await Peer.start(WORKER);
    using two = await Peer.start(WORKER);
    const waits: Promise<unknown>[] = [one.run("wait", barrier, "sync"), outcome(barrier.wait())];
    await until(() => barrier.waiting === 2);
    waits.push(two.run("wait", barrier, "async", { timeout: 5 }));
    assertEquals(await Promise.all(waits), [
      "BrokenBarrierError",
      "BrokenBarrierError",
      "TimeoutError",
    ]);
    assertEquals(await one.run("wait", barrier, "async"), "BrokenBarrierError");
    await assertBroken(barrier);
  },
});

// -- Death and termination -----------------------------------------------------------------------

Deno.test({
  name:
    "Barrier: the death of a waiter breaks it, and of one that was in the last round, of no other",
  ...LIMIT,
  async fn() {
    const barrier = new Barrier(4);
    using idle = await Peer.start(WORKER);
    using other = await Peer.start(WORKER);
    using dead = await Peer.start(WORKER);
    const pair = new Barrier(2);
    await idle.run("begin", pair);
    await pair.wait();
    const waits = [outcome(barrier.wait()), other.run("wait", barrier, "sync")];
    await dead.run("begin", barrier);
    await until(() => barrier.waiting === 3);
    idle.die();
    // No process of ours: it may have ended as it should.
    assertEquals([barrier.waiting, barrier.broken, pair.broken], [3, false, false]);
    dead.die();
    assertEquals(await Promise.all(waits), ["BrokenBarrierError", "BrokenBarrierError"]);
    await assertBroken(barrier);
  },
});

Deno.test("Barrier.broken tells of a dead waiter, though nobody has looked since", () => {
  const barrier = new Barrier(2);
  const dead = ghost();
  assertEquals(arriveAs(barrier, dead), 0);
  assertEquals(barrier.waiting, 1);
  bury(home(), dead.id);
  assertEquals([barrier.broken, barrier.waiting], [true, 0]);
});

Deno.test("Barrier: one that was in the last round and dies breaks it, whether it has gone on or not", async () => {
  for (const way of ["told", "gone on", "last"]) {
    const barrier = new Barrier(2);
    const dead = ghost();
    const first = way === "last" ? barrier.wait() : undefined;
    arriveAs(barrier, dead);
    if (way !== "last") assertEquals(barrier.waitSync(), 1);
    if (way === "gone on") forgetOutcome(roundsOf(barrier, dead));
    await first;
    const wait = outcome(barrier.wait());
    bury(home(), dead.id);
    assertEquals(await wait, "BrokenBarrierError", way);
    await assertBroken(barrier);
    barrier.reset();
    await assertWorks(barrier);
  }
});

Deno.test("Barrier: one that was in the last round and returned, or in an earlier one only, breaks nothing", async () => {
  const barrier = new Barrier(2);
  const [returned, early] = [ghost(), ghost()];
  arriveAs(barrier, early);
  barrier.waitSync();
  forgetOutcome(roundsOf(barrier, early));
  arriveAs(barrier, returned);
  barrier.waitSync();
  const wait = barrier.wait();
  bury(home(), returned.id, true);
  bury(home(), early.id);
  // Whoever watched it says so as well, and knows no better.
  bury(home(), returned.id);
  assertEquals([barrier.broken, barrier.waiting], [false, 1]);
  assertEquals([barrier.waitSync(), await wait], [1, 0]);
  await assertWorks(barrier);
});

Deno.test("Barrier: reset() forgets who was in the last round, and those whom it sends away", async () => {
  for (const way of ["went on", "was told", "waited"]) {
    const barrier = new Barrier(2);
    const dead = ghost();
    arriveAs(barrier, dead);
    if (way !== "waited") barrier.waitSync();
    if (way === "went on") forgetOutcome(roundsOf(barrier, dead));
    barrier.reset();
    bury(home(), dead.id);
    assertEquals(barrier.broken, false, way);
    await assertWorks(barrier);
  }
});

Deno.test("Barrier: one that has not heard how its last round ended is no party of the next", async () => {
  const barrier = new Barrier(2);
  const [dead, other] = [ghost(), ghost()];
  arriveAs(barrier, dead);
  barrier.waitSync();
  arriveAs(barrier, other);
  barrier.waitSync();
  bury(home(), dead.id);
  assertEquals(barrier.broken, false);
  bury(home(), other.id);
  assertEquals(barrier.broken, true);
  await assertBroken(barrier);
});

Deno.test({
  name: "Barrier: a process that was in the last round breaks it unless it returns",
  ...LIMIT,
  async fn() {
    const module = new URL("./testdata/barrier_worker.ts", import.meta.url);
    for (const way of ["return", "throw", "unpassable", "stopped", "killed"]) {
      const barrier = new Barrier(2);
      const process = new Process(module, { target: "meetOnce", args: [barrier, way] }).start();
      const result = process.result.catch(() => {});
      await barrier.wait();
      if (way === "stopped") await process.terminate();
      if (way === "killed") await process.terminate({ grace: 0 });
      await process.join();
      await result;
      assertEquals(barrier.broken, way !== "return", way);
    }
  },
});

Deno.test("Barrier: a round whose last party dies while it tells the others is complete", async () => {
  const barrier = new Barrier(3);
  const waits = [barrier.wait(), barrier.wait()];
  const dead = ghost();
  const { words } = roundsOf(barrier, dead);
  assertFalse(lockLatch(dead, words, 4));
  // All it did was to commit.
  Atomics.store(words, 32, 1);
  bury(home(), dead.id);
  assertEquals(await Promise.all(waits), [0, 1]);
  await assertWorks(barrier);
});

Deno.test("Barrier: one that dies while it breaks or resets it leaves it broken for all", async () => {
  const barrier = new Barrier(3);
  const waits = [outcome(barrier.wait()), outcome(barrier.wait())];
  const dead = ghost();
  const { words } = roundsOf(barrier, dead);
  assertFalse(lockLatch(dead, words, 4));
  Atomics.store(words, 32, 2);
  bury(home(), dead.id);
  assertEquals(await Promise.all(waits), ["BrokenBarrierError", "BrokenBarrierError"]);
  await assertBroken(barrier);
});

Deno.test("Barrier: the next tenant of a dead waiter's slot is told nothing that was meant for it", async () => {
  const barrier = new Barrier(2);
  const dead = ghost();
  arriveAs(barrier, dead);
  barrier.waitSync();
  bury(home(), dead.id, true);
  const heir = ghost();
  assertEquals(slotOf(heir.id), slotOf(dead.id));
  assertEquals(arriveAs(barrier, heir), 0);
  assertEquals(await barrier.wait(), 1);
  bury(home(), heir.id);
});

Deno.test("Barrier: the same if one dies while it looks after the dead waiter", () => {
  let died = true;
  for (let moment = 1; died; moment++) {
    const barrier = new Barrier(2);
    const [dead, mender] = [ghost(), ghost()];
    arriveAs(barrier, dead);
    assertEquals(barrier.waitSync(), 1);
    bury(home(), dead.id, true);
    const rounds = roundsOf(barrier, mender);
    died = diesAt(moment, (spy) => refresh({ ...rounds, words: spy(rounds.words as Any) }));
    bury(home(), mender.id);
    const heir = ghost();
    assertEquals(slotOf(heir.id), slotOf(dead.id));
    assertEquals(arriveAs(barrier, heir), 0);
    assertEquals(barrier.waitSync(), 1);
    assertEquals(outcomeOf(roundsOf(barrier, heir)), PASSED, `at moment ${moment}`);
    bury(home(), heir.id);
  }
});

Deno.test("Barrier: a death is looked after once, and then to ask takes no latch", () => {
  const barrier = new Barrier(2);
  const { words } = roundsOf(barrier, home());
  bury(home(), ghost().id);
  assertNotEquals(words[5], deaths(home()));
  assertEquals(barrier.waiting, 0);
  assertEquals(words[5], deaths(home()));
});

Deno.test({
  name: "Barrier: a waiter that is terminated gets TerminatedError, and breaks it",
  ...LIMIT,
  async fn() {
    for (const form of ["async", "sync"] as const) {
      const barrier = new Barrier(3);
      using peer = await Peer.start(WORKER);
      const waits = [outcome(barrier.wait()), peer.run("wait", barrier, form)];
      await until(() => barrier.waiting === 2);
      requestStop(home(), peer.id);
      assertEquals(await Promise.all(waits), ["BrokenBarrierError", "TerminatedError"]);
      await assertBroken(barrier);
      assert(!barrier.broken);
    }
  },
});

Deno.test("Barrier.waitSync() with no time left never passes a round that was reset meanwhile", () => {
  const names = ["load", "store", "add", "sub", "and", "or", "exchange", "compareExchange"];
  const atomics = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const real = new Map(names.map((name) => [name, atomics[name]!]));
  const restore = () => real.forEach((operation, name) => atomics[name] = operation);
  let resets = 0;
  for (let step = 1; step < 60; step++) {
    const barrier = new Barrier(2);
    const words = new Int32Array(barrier.handle.memory);
    let steps = 0;
    for (const [name, operation] of real) {
      atomics[name] = (...args) => {
        // Another agent resets it before this step, while nobody is inside the latch.
        if (++steps >= step && real.get("load")!(words, 4) === 0) {
          restore();
          resets++;
          barrier.reset();
        }
        return operation(...args);
      };
    }
    try {
      assertThrows(() => barrier.waitSync({ timeout: 0 }), Error);
    } finally {
      restore();
    }
  }
  assert(resets > 10);
});

Deno.test("Barrier: the death of an agent that does not wait ends no later round", () => {
  const barrier = new Barrier(2);
  const other = ghost();
  arriveAs(barrier, other);
  assertEquals(barrier.waitSync(), 1);
  forgetOutcome(roundsOf(barrier, other));
  assertEquals(arriveAs(barrier, other), 0);
  bury(home(), ghost().id);
  assertEquals([barrier.waiting, barrier.broken], [1, false]);
  assertEquals(barrier.waitSync(), 1);
  bury(home(), other.id);
});

Deno.test("Barrier: rounds are the same with agents in all slots, one of which dies", async () => {
  const ghosts = fillSlots();
  const barrier = new Barrier(2);
  const first = barrier.wait();
  bury(home(), ghosts[0]!.id);
  assertEquals([barrier.waiting, barrier.broken], [1, false]);
  bury(home(), ghosts[1]!.id);
  assertEquals(arriveAs(barrier, ghosts.at(-1)!), 1);
  assertEquals(await first, 0);
  await assertWorks(barrier);
  for (const { id } of ghosts.slice(2)) bury(home(), id);
});
