// Copyright 2026 the Sabre authors. MIT license.

// An event: one word that says whether it is set and how often it was. Whoever waits is through when it
// is set, or was since, so that a pulse, set and cleared at once, reaches everyone who waits then.
//
// Word layout, in Int32 units: 4 STATE = count of sets << 1 | SET | 32 WAITERS[4]
//
// - WAITERS has a bit for each agent's slot, set by the agent before it looks a last time and sleeps,
//   cleared by it when none of its calls waits any more. What a dead one leaves there wakes somebody
//   for nothing.

import { type Domain, MAX_AGENTS, slotOf, unparkSlot } from "./_agent.ts";

const STATE = 4;
const WAITERS = 32;

const SET = 1;

/** How many words it takes. */
export const EVENT_WORDS = 64;

/** An event's memory, as one agent sees it. */
export interface Pulse {
  readonly domain: Domain;
  readonly words: Int32Array;
  readonly base: number;
}

/** Its state, to compare with {@linkcode hasHappened} later. */
export function stateOf({ words, base }: Pulse): number {
  return Atomics.load(words, base + STATE);
}

/** Whether the event is set in a state. */
export function isSet(state: number): boolean {
  return (state & SET) !== 0;
}

/** Whether the event is set, or was at some time since it was in that state. */
export function hasHappened(pulse: Pulse, since: number): boolean {
  const state = stateOf(pulse);
  return isSet(state) || state >> 1 !== since >> 1;
}

/** Sets it and wakes everyone who waits. */
export function set(pulse: Pulse): void {
  const { words, base, domain } = pulse;
  for (;;) {
    const state = stateOf(pulse);
    if (isSet(state)) return;
    // One more set, and SET.
    const next = (state + 3) | 0;
    if (Atomics.compareExchange(words, base + STATE, state, next) === state) break;
  }
  for (let part = 0; part < MAX_AGENTS / 32; part++) {
    let bits = Atomics.load(words, base + WAITERS + part);
    while (bits !== 0) {
      unparkSlot(domain, part * 32 + 31 - Math.clz32(bits & -bits));
      bits &= bits - 1;
    }
  }
}

/** Clears it. */
export function clear({ words, base }: Pulse): void {
  Atomics.and(words, base + STATE, ~SET);
}

/** Asks to be woken when the event is set. To be said before the last look. */
export function want({ words, base, domain }: Pulse): void {
  const slot = slotOf(domain.id);
  Atomics.or(words, base + WAITERS + (slot >> 5), 1 << (slot & 31));
}

/** The counterpart of {@linkcode want}. */
export function forget({ words, base, domain }: Pulse): void {
  const slot = slotOf(domain.id);
  Atomics.and(words, base + WAITERS + (slot >> 5), ~(1 << (slot & 31)));
}
