// Copyright 2026 the Sabre authors. MIT license.

// A barrier's rounds: who arrives waits until as many have arrived as there are parties, and then all
// go on; or the barrier breaks, and all who wait are told.
//
// Each agent has a word that says how many of its calls wait in this round. When the round ends, one way
// or the other, the word of each agent that waits is set to how it ended, which the agent takes away
// before it arrives again: so a round that is over cannot be mistaken for a later one, however slowly
// an agent wakes.
//
// A process that was in the last round is one of the parties, and its death breaks the barrier also while
// it does not wait: the others would wait for it for ever. Not so if it has returned. Of an agent that this
// package did not start nobody knows whether it has ended as it should.
//
// Both ends are committed by one store to STATE and only then carried out. If who does it dies half-way,
// the next one in the latch carries on.
//
// Word layout, in Int32 units from `base`.
//
//   4 LATCH | 5 SEEN | 6 PARTIES | 32 STATE | 33 COUNT | 64 OWNER[128] | 192 MARK[128]

import {
  deaths,
  type Domain,
  flushWakes,
  isAlive,
  MAX_AGENTS,
  parentOf,
  slotOf,
  topSlot,
  wakeLater,
  wasLost,
} from "./_agent.ts";
import { lockLatch, unlockLatch } from "./_latch.ts";

const LATCH = 4; // guards everything but what never changes
const SEEN = 5; // the count of deaths up to which this was put in order
const PARTIES = 6; // written once
const STATE = 32; // one of the states below. Read by anyone
const COUNT = 33; // how many wait in this round. Read by anyone

const OWNER = 64; // [128] id of the agent that the slot's MARK tells of, and the flag PARTY; 0: none
const MARK = OWNER + MAX_AGENTS; // [128] how many of its calls wait in this round, or how the last one ended for them

/** How many words it takes. */
export const BARRIER_WORDS = MARK + MAX_AGENTS;

/** Of an OWNER: it is a process that was in the last round. Ids have 29 bits. */
const PARTY = 1 << 30;

const OPEN = 0;
const COMPLETE = 1; // all have arrived, and are being told so
const BROKEN = 2; // until it is reset

/** The round is not over. */
export const WAITING = 0;
/** All arrived. */
export const PASSED = -1;
/** The barrier broke, or was reset. */
export const FAILED = -2;

/** A barrier's memory, as one agent sees it. */
export interface Rounds {
  readonly domain: Domain;
  readonly words: Int32Array;
  readonly base: number;
}

/** Writes what never changes. Nobody else has the memory yet. */
export function initRounds(words: Int32Array, base: number, parties: number): void {
  Atomics.store(words, base + PARTIES, parties);
}

/** How many it takes. */
export function partiesOf({ words, base }: Rounds): number {
  return Atomics.load(words, base + PARTIES);
}

/** How many wait. Anyone may ask. */
export function countWaiting(rounds: Rounds): number {
  refresh(rounds);
  return Atomics.load(rounds.words, rounds.base + COUNT);
}

/** Whether the barrier is broken. Anyone may ask. */
export function isBroken(rounds: Rounds): boolean {
  refresh(rounds);
  return Atomics.load(rounds.words, rounds.base + STATE) === BROKEN;
}

/** Looks after the dead. */
export function refresh(rounds: Rounds): void {
  const { words, base, domain } = rounds;
  if (deaths(domain) === Atomics.load(words, base + SEEN)) return;
  enter(rounds);
  exit(rounds);
}

/** How the round ended for this agent's calls that wait, once it has; `WAITING` before. */
export function outcomeOf({ words, base, domain }: Rounds): number {
  const mark = Atomics.load(words, base + MARK + slotOf(domain.id));
  return mark < 0 ? mark : WAITING;
}

/** Takes away how the round ended: to be said before this agent arrives again. */
export function forgetOutcome({ words, base, domain }: Rounds): void {
  // Nobody else writes to a mark that says how it ended.
  Atomics.store(words, base + MARK + slotOf(domain.id), 0);
}

/** Takes the latch. */
export function enter(rounds: Rounds): void {
  const { words, base, domain } = rounds;
  const isTakenOver = lockLatch(domain, words, base + LATCH);
  const owner = words[base + OWNER + slotOf(domain.id)]! & ~PARTY;
  if (
    isTakenOver || deaths(domain) !== words[base + SEEN]! ||
    // This agent's slot is known to be free of its last tenant, and the death may not be counted yet.
    (owner !== 0 && owner !== domain.id)
  ) mend(rounds);
}

/** Gives it back and wakes whom this agent told how the round ended. */
export function exit(rounds: Rounds): void {
  unlockLatch(rounds.words, rounds.base + LATCH);
  flushWakes(rounds.domain);
}

// -- Under the latch ---------------------------------------------------------------------------

/** Arrives. Returns the index of arrival, the last one of which ended the round; -1: broken. */
export function arrive(rounds: Rounds): number {
  const { words, base, domain } = rounds;
  if (words[base + STATE]! === BROKEN) return -1;
  const index = words[base + COUNT]!;
  const slot = slotOf(domain.id);
  words[base + OWNER + slot] = domain.id | (parentOf(domain, domain.id) === 0 ? 0 : PARTY);
  if (index + 1 === words[base + PARTIES]!) {
    forgetOthers(rounds, slot);
    Atomics.store(words, base + STATE, COMPLETE);
    complete(rounds);
  } else {
    // First: whoever dies in between counts as one who waited.
    Atomics.store(words, base + MARK + slot, words[base + MARK + slot]! + 1);
    Atomics.store(words, base + COUNT, index + 1);
  }
  return index;
}

/** Breaks the barrier: whoever waits is told so, and who comes later as well. */
export function breakUp(rounds: Rounds): void {
  const { words, base } = rounds;
  Atomics.store(words, base + STATE, BROKEN);
  Atomics.store(words, base + COUNT, 0);
  tell(rounds, FAILED);
}

/** Makes the barrier as new; whoever waits is told that it broke. */
export function reset(rounds: Rounds): void {
  // Broken until all are told: if this agent dies on the way, it stays so.
  breakUp(rounds);
  forgetOthers(rounds, -1);
  Atomics.store(rounds.words, rounds.base + STATE, OPEN);
}

/** Those whose calls do not wait, but for the slot `own`, are no parties any more. */
function forgetOthers({ words, base, domain }: Rounds, own: number): void {
  const top = topSlot(domain);
  for (let slot = 0; slot < top; slot++) {
    if (slot === own || Atomics.load(words, base + MARK + slot) > 0) continue;
    words[base + OWNER + slot] = words[base + OWNER + slot]! & ~PARTY;
  }
}

function complete(rounds: Rounds): void {
  const { words, base } = rounds;
  Atomics.store(words, base + COUNT, 0);
  tell(rounds, PASSED);
  // Last: until then nobody may arrive for the next round.
  Atomics.store(words, base + STATE, OPEN);
}

function tell({ words, base, domain }: Rounds, outcome: number): void {
  const top = topSlot(domain);
  for (let slot = 0; slot < top; slot++) {
    if (Atomics.load(words, base + MARK + slot) <= 0) continue;
    Atomics.store(words, base + MARK + slot, outcome);
    wakeLater(domain, words[base + OWNER + slot]! & ~PARTY);
  }
}

/** Ends what a dead agent had begun, and breaks the barrier if one of the parties died. */
function mend(rounds: Rounds): void {
  const { words, base, domain } = rounds;
  const count = deaths(domain);
  if (words[base + STATE]! === COMPLETE) complete(rounds);
  else if (words[base + STATE]! === BROKEN) breakUp(rounds);
  const top = topSlot(domain);
  for (let slot = 0; slot < top; slot++) {
    const owner = words[base + OWNER + slot]! & ~PARTY;
    const isParty = (words[base + OWNER + slot]! & PARTY) !== 0;
    if (owner === 0 || isAlive(domain, owner)) continue;
    // Before the slot is cleared: whoever dies in between leaves it to be found again.
    const isMissed = isParty && wasLost(domain, owner);
    if (isMissed || Atomics.load(words, base + MARK + slot) > 0) breakUp(rounds);
    Atomics.store(words, base + MARK + slot, 0);
    words[base + OWNER + slot] = 0;
  }
  Atomics.store(words, base + SEEN, count);
}
