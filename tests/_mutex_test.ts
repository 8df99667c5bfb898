// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { bury, claimSlot, home, pidOf } from "../_agent.ts";
import {
  BUSY,
  giveBack,
  holderOf,
  keeperOf,
  lastDead,
  type LockWait,
  type Mutex,
  MUTEX_WORDS,
  mutexAt,
  POISONED,
  pollTake,
  TAKEN,
  tryTake,
} from "../_mutex.ts";
import { diesAt, type Spy } from "./_death.ts";
import { block } from "./_helpers.ts";
import { ghost } from "./_workers.ts";

/** Agents of a table of their own, the first of which can die as well, and a lock as each of them sees it. */
function lockOf(count: number): Mutex[] {
  const words = new Int32Array(new SharedArrayBuffer(home().memory.byteLength));
  const lock = new Int32Array(new SharedArrayBuffer(MUTEX_WORDS * 4));
  return Array.from({ length: count }, () => {
    const id = claimSlot(words, "a", 0);
    return mutexAt({ memory: words.buffer, words, id, park: 0, wakes: [] }, lock, 0);
  });
}

/** Lines up. */
function lineUp(mutex: Mutex): LockWait {
  const wait = { ticket: 0, place: -1 };
  assertEquals(pollTake(mutex, wait), BUSY);
  return wait;
}

/** Has the second one hand the lock to the first, which was in line, as others may be after it. */
function handOver(mutexes: readonly Mutex[], behind: readonly Mutex[] = []): LockWait[] {
  const [heir, holder] = mutexes;
  assertEquals(tryTake(holder!), TAKEN);
  const waits = [heir!, ...behind].map(lineUp);
  // After a millisecond it is handed over.
  block(2);
  giveBack(holder!);
  assertEquals(tryTake(holder!), BUSY);
  return waits;
}

/** The mutex as an agent sees it whose plain accesses count as well. */
function spied({ domain, words }: Mutex, spy: Spy): Mutex {
  return mutexAt(domain, spy(words as Int32Array<SharedArrayBuffer>), 0);
}

/** Has something happen before the atomic operation of that number. Returns what ends this. */
function beforeStep(step: number, run: () => void): () => void {
  const names = ["load", "store", "add", "sub", "and", "or", "exchange", "compareExchange"];
  const atomics = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const real = new Map(names.map((name) => [name, atomics[name]!]));
  const restore = () => real.forEach((operation, name) => atomics[name] = operation);
  let steps = 0;
  for (const [name, operation] of real) {
    atomics[name] = (...args) => {
      if (++steps === step) {
        restore();
        run();
      }
      return operation(...args);
    };
  }
  return restore;
}

function die(mutex: Mutex): void {
  bury(mutex.domain, mutex.domain.id);
}

Deno.test("who keeps others waiting is the holder, or an heir that has not run", () => {
  const words = new Int32Array(new SharedArrayBuffer(MUTEX_WORDS * 4));
  const [holder, other] = [ghost(), ghost()];
  const mutex = mutexAt(home(), words, 0);
  const seenByHolder = mutexAt(holder, words, 0);
  assertEquals(keeperOf(mutex), 0);
  assertEquals(tryTake(seenByHolder), TAKEN);
  const wait = { ticket: 0, place: -1 };
  assertEquals(pollTake(mutex, wait), BUSY);
  // The first place in line, which is that of the first agent.
  assertEquals(wait.place, 0);
  assertEquals(keeperOf(mutex), holder.id);
  // After a millisecond it is handed over.
  block(3);
  giveBack(seenByHolder);
  assertEquals(keeperOf(mutexAt(other, words, 0)), home().id);
  assertEquals(pollTake(mutex, wait), TAKEN);
  assertEquals(keeperOf(mutexAt(other, words, 0)), home().id);
  giveBack(mutex);
  assertEquals(keeperOf(mutex), 0);
  for (const { id } of [holder, other]) bury(home(), id);
});

Deno.test("an heir that dies before it has run had nothing, whichever place is its own", () => {
  const [heir, holder, other] = lockOf(3);
  const [wait] = handOver([heir!, holder!]);
  assertEquals(wait!.place, 0);
  die(heir!);
  assertEquals(tryTake(other!), TAKEN);
  assertEquals(holderOf(other!), other!.domain.id);
});

Deno.test("the death of the one that handed the lock over takes it from nobody", () => {
  const [heir, holder, other] = lockOf(3);
  const [wait] = handOver([heir!, holder!]);
  assertEquals(wait!.place, 0);
  die(holder!);
  assertEquals(tryTake(other!), BUSY);
  assertEquals(pollTake(heir!, wait!), TAKEN);
  assertEquals(tryTake(other!), BUSY);
});

Deno.test("whoever dies while it takes the lock from a dead heir leaves it to the next in line alone", () => {
  let died = true;
  for (let moment = 1; died; moment++) {
    const [heir, holder, next, mender, other] = lockOf(5);
    const [, wait] = handOver([heir!, holder!], [next!]);
    die(heir!);
    died = diesAt(moment, (spy) => assertEquals(tryTake(spied(mender!, spy)), BUSY));
    if (died) die(mender!);
    // It may be told of a death for nothing: half-way the dead heir looks like a holder.
    assertNotEquals(pollTake(next!, wait!), BUSY, `at moment ${moment}`);
    assertEquals(tryTake(other!), BUSY, `at moment ${moment}`);
    assertEquals(holderOf(other!), next!.domain.id);
    giveBack(next!);
    assertNotEquals(tryTake(other!), BUSY);
  }
});

Deno.test("whoever dies while it takes the lock from a dead holder leaves word of that one", () => {
  for (const hasNext of [false, true]) {
    let died = true;
    for (let moment = 1; died; moment++) {
      const [holder, mender, next] = lockOf(3);
      assertEquals(tryTake(holder!), TAKEN);
      const wait = hasNext ? lineUp(next!) : { ticket: 0, place: -1 };
      if (hasNext) block(2);
      die(holder!);
      died = diesAt(moment, (spy) => tryTake(spied(mender!, spy)));
      // In time it had the lock itself.
      if (!died && !hasNext) break;
      if (died) die(mender!);
      assertEquals(pollTake(next!, wait), POISONED, `at moment ${moment}`);
      assertEquals(lastDead(next!), pidOf(holder!.domain.id), `at moment ${moment}`);
    }
  }
});

Deno.test("an heir that runs, and dies, while another one looks after the dead counts as a holder", () => {
  let step = 1;
  for (let isEarly = true; isEarly; step++) {
    const [heir, holder, dead, other] = lockOf(4);
    const [wait] = handOver([heir!, holder!]);
    die(dead!);
    isEarly = false;
    const restore = beforeStep(step, () => {
      isEarly = true;
      assertEquals(pollTake(heir!, wait!), TAKEN);
      die(heir!);
    });
    let outcome = BUSY;
    try {
      outcome = tryTake(other!);
    } finally {
      restore();
    }
    if (!isEarly) break;
    // That of the heir was perhaps too late for it.
    if (outcome === BUSY) outcome = tryTake(other!);
    assertEquals(outcome, POISONED, `at step ${step}`);
    assertEquals(lastDead(other!), pidOf(heir!.domain.id));
  }
  assert(step > 20);
});
