// Copyright 2026 the Sabre authors. MIT license.

// A condition with its lock: no notification is lost, with waiters that give up and with deaths.

import { bury, claimSlot, type Domain, home, setParked, settle } from "../../../_agent.ts";
import {
  CONDITION_WORDS,
  countWaiters,
  delist,
  enlist,
  finish,
  isNotified,
  notifyEveryone,
  notifyOldest,
  passOn,
  type Waiters,
  waitersAt,
} from "../../../_condition.ts";
import {
  BUSY,
  giveBack,
  isAbandoned,
  type Mutex,
  MUTEX_WORDS,
  mutexAt,
  POISONED,
  pollTake,
  recover,
  tryTake,
} from "../../../_mutex.ts";
import { park } from "../../../_park.ts";
import { assert, awaitDeath, choose, named, oracle, type Scenario, step } from "../scenario.ts";

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly lock: Int32Array<SharedArrayBuffer>;
  readonly words: Int32Array<SharedArrayBuffer>;
  /** 0: how many may go on. Under the lock. */
  readonly tokens: Int32Array;
}

/** What is explored. */
export interface ConditionOptions {
  readonly waiters: number;
  /** How many of them may give up. */
  readonly cancelling?: number;
  /** How many notifications there are, each for one that may go on; one for each waiter by default. */
  readonly times?: number;
  /** Whether one notification is for all. */
  readonly all?: boolean;
  readonly deaths?: boolean;
  /** With deaths: nobody dies but an agent that does nothing. */
  readonly bystander?: boolean;
}

function acquire(domain: Domain, mutex: Mutex): void {
  let outcome = tryTake(mutex);
  if (outcome === BUSY) {
    const wait = { ticket: 0, place: -1 };
    setParked(domain, 1);
    for (;;) {
      const epoch = Atomics.load(domain.words, domain.park);
      outcome = pollTake(mutex, wait);
      if (outcome !== BUSY) break;
      park(domain.words, domain.park, epoch, Infinity);
    }
    setParked(domain, 0);
  }
  if (outcome === POISONED) recover(mutex);
}

/** Waits under the lock; whether it was notified. */
function wait(domain: Domain, mutex: Mutex, waiters: Waiters, mayCancel: boolean): boolean {
  const place = enlist(waiters);
  assert(place >= 0, "there is no place");
  giveBack(mutex);
  let hasLeft = false;
  setParked(domain, 1);
  for (;;) {
    const epoch = Atomics.load(domain.words, domain.park);
    if (isNotified(waiters, place) || isAbandoned(mutex)) break;
    if (mayCancel && choose(2) === 1) {
      hasLeft = delist(waiters, place);
      if (!hasLeft && choose(2) === 1) {
        passOn(waiters, place);
        hasLeft = true;
      }
      break;
    }
    park(domain.words, domain.park, epoch, Infinity);
  }
  setParked(domain, 0);
  acquire(domain, mutex);
  if (hasLeft) return false;
  if (isNotified(waiters, place)) finish(waiters, place);
  else passOn(waiters, place);
  return true;
}

function waiter(shared: Shared, me: number, mayCancel: boolean): void {
  const { memory, ids, lock, words, tokens } = shared;
  const domain = settle(memory, ids[me]!);
  const mutex = mutexAt(domain, lock, 0);
  const waiters = waitersAt(domain, words, 0);
  acquire(domain, mutex);
  let hasLeft = false;
  while (!hasLeft && tokens[0]! === 0) hasLeft = !wait(domain, mutex, waiters, mayCancel);
  if (!hasLeft) tokens[0] = tokens[0]! - 1;
  giveBack(mutex);
}

function notifier(shared: Shared, me: number, times: number, all: boolean): void {
  const { memory, ids, lock, words, tokens } = shared;
  const domain = settle(memory, ids[me]!);
  const mutex = mutexAt(domain, lock, 0);
  const waiters = waitersAt(domain, words, 0);
  for (let i = 0; i < (all ? 1 : times); i++) {
    acquire(domain, mutex);
    tokens[0] = tokens[0]! + (all ? times : 1);
    if (all) notifyEveryone(waiters);
    else notifyOldest(waiters, 1);
    giveBack(mutex);
  }
}

function reaper(shared: Shared): void {
  const { memory, ids } = shared;
  const domain = settle(memory, ids[ids.length - 1]!);
  for (;;) bury(domain, ids[awaitDeath()]!);
}

export function condition(options: ConditionOptions): Scenario<Shared> {
  const { waiters, cancelling = 0, times = waiters, all = false } = options;
  const { deaths = false, bystander = false } = options;
  return {
    name: `condition ${JSON.stringify(options)}`,
    setup: () => {
      const { memory, words, id } = home();
      named("domain", memory);
      // The first one lives in slot 0.
      const ids = [id];
      for (let i = 1; i < waiters + 3; i++) ids.push(claimSlot(words, `agent ${i}`, 0));
      return {
        memory,
        ids,
        lock: new Int32Array(named("lock", new SharedArrayBuffer(MUTEX_WORDS * 4))),
        words: new Int32Array(named("condition", new SharedArrayBuffer(CONDITION_WORDS * 4))),
        tokens: oracle(1),
      };
    },
    agents: [
      ...Array.from({ length: waiters }, (_, i) => ({
        name: `waiter ${i}`,
        mortal: !bystander,
        run: (shared: Shared) => waiter(shared, i, i < cancelling),
      })),
      {
        name: "notifier",
        // Nobody else would bring what the others wait for.
        mortal: false,
        run: (shared: Shared) => notifier(shared, waiters, times, all),
      },
      ...(bystander ? [{ name: "bystander", run: (): void => step() }] : []),
      ...(deaths ? [{ name: "reaper", daemon: true, run: reaper }] : []),
    ],
    // Those for whom there was no notification.
    mayBlock: (shared) => times < waiters && shared.tokens[0] === 0,
    atEnd: (shared) => {
      if (times < waiters) return;
      const domain = settle(shared.memory, shared.ids[waiters + 2]!);
      assert(countWaiters(waitersAt(domain, shared.words, 0)) === 0, "somebody is in line");
    },
  };
}
