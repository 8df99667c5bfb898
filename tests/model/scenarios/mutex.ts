// Copyright 2026 the Sabre authors. MIT license.

// The lock of `_mutex.ts` with its latch and its line: mutual exclusion, no lost wake-up, nothing left
// behind, with cancelled waits and with deaths.

import { bury, claimSlot, type Domain, home, setParked, settle } from "../../../_agent.ts";
import {
  BUSY,
  crowd,
  giveBack,
  isTaken,
  type LockWait,
  type Mutex,
  MUTEX_WORDS,
  mutexAt,
  POISONED,
  pollTake,
  recover,
  tryTake,
  withdrawTake,
} from "../../../_mutex.ts";
import { GRANTED, placeState } from "../../../_line.ts";
import { park } from "../../../_park.ts";
import { assert, awaitDeath, choose, named, oracle, type Scenario, step } from "../scenario.ts";

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array<SharedArrayBuffer>;
  /** By agent: one of the states below. */
  readonly inside: Int32Array;
  /** Whether somebody died while it held the lock, and nobody recovered it since: NO, YES or MAYBE. */
  readonly poison: Int32Array;
  readonly options: MutexOptions;
}

/** What the scenario adds to agents that take the lock and give it back. */
export interface MutexOptions {
  /** Whoever finds the lock poisoned may leave it so. */
  readonly leaves?: boolean;
  /** Checks that those who are handed the lock are so in the order of their arrival. */
  readonly ordered?: boolean;
}

const INSIDE = 1;
const LEAVING = 2; // it has the lock, or has just given it back

const NO = 0;
const YES = 1;
const MAYBE = 2;

const LOCK = 32; // as in `_mutex.ts`

function take(domain: Domain, mutex: Mutex, mayCancel: boolean, ordered: boolean): number {
  const taken = tryTake(mutex);
  if (taken !== BUSY) return taken;
  const wait: LockWait = { ticket: 0, place: -1 };
  setParked(domain, 1);
  for (;;) {
    const epoch = Atomics.load(domain.words, domain.park);
    const isHeir = ordered && wait.place >= 0 && placeState(mutex.line, wait.place) === GRANTED;
    if (isHeir) assertOldest(mutex, wait);
    const outcome = pollTake(mutex, wait);
    if (outcome !== BUSY) {
      setParked(domain, 0);
      return outcome;
    }
    if (mayCancel && choose(2) === 1 && withdrawTake(mutex, wait)) {
      setParked(domain, 0);
      return BUSY;
    }
    park(domain.words, domain.park, epoch, Infinity);
  }
}

/** Nobody who waits came before the one who was handed the lock. */
function assertOldest(mutex: Mutex, wait: LockWait): void {
  for (let place = 0; place < 4; place++) {
    const state = placeState(mutex.line, place);
    assert(state <= 0 || state > wait.ticket, "one was passed who had waited for longer");
  }
}

function worker(shared: Shared, me: number, rounds: number, mayCancel: boolean): void {
  const { memory, ids, words, inside, poison, options } = shared;
  const { leaves = false, ordered = false } = options;
  const domain = settle(memory, ids[me]!);
  const mutex = mutexAt(domain, words, 0);
  for (let i = 0; i < rounds; i++) {
    const outcome = take(domain, mutex, mayCancel, ordered);
    if (outcome === BUSY) continue;
    for (let other = 0; other < ids.length; other++) {
      assert(inside[other] !== INSIDE, "two are inside");
    }
    inside[me] = INSIDE;
    if (outcome === POISONED) {
      assert(poison[0] !== NO, "the lock is poisoned, but nobody died who held it");
      poison[0] = YES;
      if (!leaves || choose(2) === 0) {
        recover(mutex);
        poison[0] = NO;
        step();
      }
    } else {
      assert(poison[0] !== YES, "the one who held it died, but the lock is not poisoned");
      poison[0] = NO;
      step();
    }
    inside[me] = LEAVING;
    giveBack(mutex);
    inside[me] = 0;
  }
}

function reaper(shared: Shared): void {
  const { memory, ids, words, inside, poison } = shared;
  const domain = settle(memory, ids[ids.length - 1]!);
  for (;;) {
    const dead = awaitDeath();
    // Who was given the lock and had not run yet never held it.
    const isOwner = Atomics.load(words, LOCK) >> 2 === ids[dead]!;
    if (inside[dead] === INSIDE) poison[0] = YES;
    else if (isOwner && poison[0] === NO) poison[0] = MAYBE;
    inside[dead] = 0;
    bury(domain, ids[dead]!);
  }
}

export function mutex(
  agents: number,
  rounds: number,
  cancelling = 0,
  deaths = false,
  options: MutexOptions = {},
): Scenario<Shared> {
  return {
    name: `mutex ${agents} x ${rounds}, ${cancelling} may cancel${deaths ? ", deaths" : ""}${
      Object.keys(options).map((each) => `, ${each}`).join("")
    }`,
    setup: () => {
      const { memory, words, id } = home();
      named("domain", memory);
      // The first one lives in slot 0.
      const ids = [id];
      for (let i = 1; i <= agents; i++) ids.push(claimSlot(words, `agent ${i}`, 0));
      const lock = named("mutex", new SharedArrayBuffer(MUTEX_WORDS * 4));
      return {
        memory,
        ids,
        words: new Int32Array(lock),
        inside: oracle(agents + 1),
        poison: oracle(1),
        options,
      };
    },
    agents: [
      ...Array.from({ length: agents }, (_, i) => ({
        name: `agent ${i}`,
        run: (shared: Shared) => worker(shared, i, rounds, i < cancelling),
      })),
      ...(deaths ? [{ name: "reaper", daemon: true, run: reaper }] : []),
    ],
    atEnd: (shared) => {
      const domain = settle(shared.memory, shared.ids[agents]!);
      const lock = mutexAt(domain, shared.words, 0);
      assert(!isTaken(lock) || deaths, "the lock is held");
      assert(crowd(lock) === 0 || deaths, "somebody is in line");
    },
  };
}
