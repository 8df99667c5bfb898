// Copyright 2026 the Sabre authors. MIT license.

// An event: a set, and a pulse, releases everyone who waits at that moment, also if who sets it dies.

import { bury, claimSlot, home, setParked, settle } from "../../../_agent.ts";
import {
  clear,
  EVENT_WORDS,
  forget,
  hasHappened,
  isSet,
  set,
  stateOf,
  want,
} from "../../../_event.ts";
import { park } from "../../../_park.ts";
import { awaitDeath, named, oracle, type Scenario, spin } from "../scenario.ts";

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array<SharedArrayBuffer>;
  /** 0: how many have called `wait`. */
  readonly counts: Int32Array;
  readonly died: Int32Array;
}

/** What is explored. */
export interface EventOptions {
  readonly waiters: number;
  readonly setters?: number;
  /** Whether it is cleared at once. */
  readonly pulse?: boolean;
  /** Whether the setters do so once more, before anybody waits; and all but the first only then. */
  readonly early?: boolean;
  readonly deaths?: boolean;
}

function waiter(shared: Shared, me: number): void {
  const { memory, ids, words, counts } = shared;
  const domain = settle(memory, ids[me]!);
  const pulse = { domain, words, base: 0 };
  const since = stateOf(pulse);
  Atomics.add(counts, 0, 1);
  if (isSet(since)) return;
  setParked(domain, 1);
  for (;;) {
    const epoch = Atomics.load(domain.words, domain.park);
    want(pulse);
    if (hasHappened(pulse, since)) break;
    park(domain.words, domain.park, epoch, Infinity);
  }
  forget(pulse);
  setParked(domain, 0);
}

function setter(shared: Shared, me: number, options: EventOptions): void {
  const { memory, ids, words, counts } = shared;
  const { waiters, pulse: isPulse = false, early = false } = options;
  const domain = settle(memory, ids[me]!);
  const pulse = { domain, words, base: 0 };
  if (early) {
    set(pulse);
    if (isPulse) clear(pulse);
    if (me !== waiters) return;
  }
  while (Atomics.load(counts, 0) < waiters) spin();
  set(pulse);
  if (isPulse) clear(pulse);
}

function reaper(shared: Shared): void {
  const { memory, ids } = shared;
  const domain = settle(memory, ids[ids.length - 1]!);
  for (;;) {
    const dead = awaitDeath();
    shared.died[dead] = 1;
    bury(domain, ids[dead]!);
  }
}

export function event(options: EventOptions): Scenario<Shared> {
  const { waiters, setters = 1, deaths = false } = options;
  const agents = waiters + setters;
  return {
    name: `event ${JSON.stringify(options)}`,
    setup: () => {
      const { memory, words, id } = home();
      named("domain", memory);
      // The first one lives in slot 0.
      const ids = [id];
      for (let i = 1; i <= agents; i++) ids.push(claimSlot(words, `agent ${i}`, 0));
      return {
        memory,
        ids,
        words: new Int32Array(named("event", new SharedArrayBuffer(EVENT_WORDS * 4))),
        counts: new Int32Array(named("counts", new SharedArrayBuffer(4))),
        died: oracle(agents + 1),
      };
    },
    agents: [
      ...Array.from({ length: waiters }, (_, i) => ({
        name: `waiter ${i}`,
        mortal: false,
        run: (shared: Shared) => waiter(shared, i),
      })),
      ...Array.from({ length: setters }, (_, i) => ({
        name: `setter ${i}`,
        run: (shared: Shared) => setter(shared, waiters + i, options),
      })),
      ...(deaths ? [{ name: "reaper", daemon: true, run: reaper }] : []),
    ],
    // One that dies before it sets anything leaves the others waiting.
    mayBlock: (shared, agent) =>
      agent < waiters && setters === 1 && shared.died[waiters] === 1 && shared.words[4]! === 0,
  };
}
