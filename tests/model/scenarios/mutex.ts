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
import { park } from "../../../_park.ts";
import { assert, awaitDeath, choose, named, oracle, type Scenario, step } from "../scenario.ts";

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array<SharedArrayBuffer>;
  /** By agent: 1 while it is inside. */
  readonly inside: Int32Array;
}

function take(domain: Domain, mutex: Mutex, mayCancel: boolean): number {
  const taken = tryTake(mutex);
  if (taken !== BUSY) return taken;
  const wait: LockWait = { ticket: 0, place: -1 };
  setParked(domain, 1);
  for (;;) {
    const epoch = Atomics.load(domain.words, domain.park);
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

function worker(shared: Shared, me: number, rounds: number, mayCancel: boolean): void {
  const { memory, ids, words, inside } = shared;
  const domain = settle(memory, ids[me]!);
  const mutex = mutexAt(domain, words, 0);
  for (let i = 0; i < rounds; i++) {
    const outcome = take(domain, mutex, mayCancel);
    if (outcome === BUSY) continue;
    for (let other = 0; other < ids.length; other++) {
      assert(inside[other]! === 0, "two are inside");
    }
    inside[me] = 1;
    if (outcome === POISONED) recover(mutex);
    step();
    inside[me] = 0;
    giveBack(mutex);
  }
}

function reaper(shared: Shared): void {
  const { memory, ids, inside } = shared;
  const domain = settle(memory, ids[ids.length - 1]!);
  for (;;) {
    const dead = awaitDeath();
    inside[dead] = 0;
    bury(domain, ids[dead]!);
  }
}

export function mutex(
  agents: number,
  rounds: number,
  cancelling = 0,
  deaths = false,
): Scenario<Shared> {
  return {
    name: `mutex ${agents} x ${rounds}, ${cancelling} may cancel${deaths ? ", deaths" : ""}`,
    setup: () => {
      const { memory, words } = home();
      named("domain", memory);
      const ids: number[] = [];
      for (let i = 0; i <= agents; i++) ids.push(claimSlot(words, `agent ${i}`, 0));
      const lock = named("mutex", new SharedArrayBuffer(MUTEX_WORDS * 4));
      return { memory, ids, words: new Int32Array(lock), inside: oracle(agents + 1) };
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
