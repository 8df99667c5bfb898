// Copyright 2026 the Sabre authors. MIT license.

// Permits: a number of them is held, for a while, by whoever was admitted; the others wait in line. A
// semaphore is that and no more. A read-write lock is a pool of so many permits that no number of
// readers, who take one each, uses them up: a writer takes all.
//
// Strictly in order: a request that cannot be met makes all that came later wait, so that many small
// ones never starve a big one, nor readers a writer. Who waits is served by whoever makes it possible.
//
// The truth is in few words, each of which one store changes: what was put in (TOTAL, LOOSE), what each
// agent holds (HELD), and what was granted to a place in line and not claimed. FREE is what follows
// from it; after a death it is computed anew, so that it does not matter where the dead one stopped.
//
// Word layout, in Int32 units from `base`.
//
//   4 LATCH | 5 SEEN | 6 TOTAL | 7 MAX | 8 ALL | 9 POISON | 10 DIED | 11 LENT | 32 FREE
//   64 HOLDER[128] | 192 HELD[128] | 320 LOOSE[128] | 448 line ...
//
// A place's NEED is the number of permits, its NOTE is 1 if the waiter would recover.

import {
  deaths,
  type Domain,
  flushWakes,
  isAlive,
  MAX_AGENTS,
  pidOf,
  slotOf,
  topSlot,
} from "./_agent.ts";
import { lockLatch, unlockLatch } from "./_latch.ts";
import {
  drawTicket,
  dropDeadWaiters,
  ENDED,
  freeServed,
  GRANTED,
  leave,
  type Line,
  LINE_WORDS,
  lineUp,
  needOf,
  nextPlace,
  nextUnused,
  noteOf,
  oldest,
  ownerOf,
  placesEnd,
  placeState,
  serve,
  waiting,
  waitingNow,
} from "./_line.ts";
import { backOff, FIRST_PAUSES, MOST_PAUSES, spinLimit } from "./_park.ts";
import { isBlocked } from "./_report.ts";

const LATCH = 4; // guards everything but what never changes
const SEEN = 5; // the count of deaths up to which this was put in order
const TOTAL = 6; // permits that exist, without those of LOOSE
const MAX = 7; // how many may exist; 0: no limit. Written once
const ALL = 8; // number of permits that makes a holder a writer; 0: there are none. Written once
const POISON = 9; // 1 from the death of a writer until somebody recovered
const DIED = 10; // pid of the last writer that died, for messages. Read by anyone
const LENT = 11; // sum of LOOSE
const FREE = 32; // permits that nobody holds and nobody was granted. Read by anyone

const HOLDER = 64; // [128] id of the agent that the words of this slot below tell of
const HELD = HOLDER + MAX_AGENTS; // [128] permits of its guards
const LOOSE = HELD + MAX_AGENTS; // [128] those of them that it put in again without a guard. At most HELD
const LINE = LOOSE + MAX_AGENTS;

/** How many words they take. */
export const PERMITS_WORDS = LINE + LINE_WORDS;

/** As many permits as no number of readers takes. */
export const EVERYTHING = 1 << 30;

const LIMIT = 2 ** 31 - 1;

/** It takes a wait. */
export const BUSY = 0;
/** This agent holds what it asked for. */
export const TAKEN = 1;
/** The same, and the last writer died. */
export const RECOVERED = 2;
/** The last writer died, and this request does not recover. */
export const ABANDONED = 3;

/** Permits within a primitive's memory, as one agent sees them. */
export interface Permits {
  readonly domain: Domain;
  readonly words: Int32Array;
  readonly base: number;
  readonly line: Line;
}

/** One call's request. */
export interface Request {
  /** How many permits. */
  readonly need: number;
  /** Whether the death of the last writer is no obstacle. */
  readonly recovers: boolean;
  ticket: number; // 0: none drawn yet
  place: number; // -1: none yet
}

/** This agent's view of the permits at `base`. */
export function permitsAt(domain: Domain, words: Int32Array, base: number): Permits {
  return { domain, words, base, line: { domain, words, base: base + LINE } };
}

/** Writes what there is at first. Nobody else has the memory yet. */
export function initPermits(
  words: Int32Array,
  base: number,
  total: number,
  max: number,
  all: number,
): void {
  Atomics.store(words, base + TOTAL, total);
  Atomics.store(words, base + MAX, max);
  Atomics.store(words, base + ALL, all);
  Atomics.store(words, base + FREE, total);
}

/** How many permits can be had. Anyone may ask. */
export function freeNow(permits: Permits): number {
  const { words, base, domain } = permits;
  // What the dead held is free, but it may be that nobody has counted it yet.
  if (deaths(domain) !== Atomics.load(words, base + SEEN)) putInOrder(permits);
  return Atomics.load(words, base + FREE);
}

/** How many permits may exist; 0: no limit. */
export function maxOf(permits: Permits): number {
  return Atomics.load(permits.words, permits.base + MAX);
}

/** Whether there are readers and writers. */
export function isLock(permits: Permits): boolean {
  return Atomics.load(permits.words, permits.base + ALL) !== 0;
}

/** How many wait. Anyone may ask. */
export function crowd(permits: Permits): number {
  return waiting(permits.line);
}

/** Whether the last writer died and nobody has recovered. Anyone may ask. */
export function isPoisoned(permits: Permits): boolean {
  return Atomics.load(permits.words, permits.base + POISON) !== 0;
}

/** The pid of the last writer that died. */
export function lastDead(permits: Permits): number {
  return Atomics.load(permits.words, permits.base + DIED);
}

/** Takes what is asked for if nobody waits and it is there. Never waits. */
export function tryTake(permits: Permits, need: number, recovers: boolean): number {
  enter(permits);
  const outcome = waitingNow(permits.line) === 0 ? admit(permits, need, recovers) : BUSY;
  exit(permits);
  return outcome;
}

/** Spins for less time than going to sleep would take, and takes what is asked for if it can. */
export function spinTake(permits: Permits, need: number, recovers: boolean): number {
  const { words, base } = permits;
  let turns = FIRST_PAUSES;
  for (let spent = 0; spent < spinLimit; spent += turns) {
    if (Atomics.load(words, base + FREE) >= need) {
      const outcome = tryTake(permits, need, recovers);
      if (outcome !== BUSY) return outcome;
    }
    turns = backOff(turns, MOST_PAUSES);
  }
  return BUSY;
}

/** Takes what is asked for, or a ticket and a place in line for it. */
export function takeOrLineUp(permits: Permits, request: Request): number {
  const { line } = permits;
  enter(permits);
  let outcome = BUSY;
  if (waitingNow(line) === 0) outcome = admit(permits, request.need, request.recovers);
  if (outcome === BUSY) {
    if (request.ticket === 0) request.ticket = drawTicket(line);
    request.place = lineUp(line, request.ticket, request.need, request.recovers ? 1 : 0);
  }
  exit(permits);
  return outcome;
}

/** Looks whether a request in line was met. */
export function pollTake(permits: Permits, request: Request): number {
  const { words, base, line, domain } = permits;
  let state = placeState(line, request.place);
  if (state > 0) {
    if (deaths(domain) === Atomics.load(words, base + SEEN)) return BUSY;
    putInOrder(permits);
    state = placeState(line, request.place);
    if (state > 0) return BUSY;
  }
  enter(permits);
  const outcome = state === GRANTED ? hold(permits, request.need) : ABANDONED;
  freeServed(line, request.place);
  exit(permits);
  return outcome;
}

/** Leaves the line. `false` if the request was met before. */
export function withdrawTake(permits: Permits, request: Request): boolean {
  if (request.place < 0) return true;
  enter(permits);
  const left = leave(permits.line, request.place);
  // Those behind it may ask for less.
  if (left) serveLine(permits);
  exit(permits);
  return left;
}

/** Gives back permits that this agent took. */
export function giveBack(permits: Permits, count: number): void {
  const { words, base, domain } = permits;
  const slot = slotOf(domain.id);
  enter(permits);
  const held = words[base + HELD + slot]! - count;
  words[base + HELD + slot] = held;
  const excess = words[base + LOOSE + slot]! - held;
  if (excess > 0) {
    words[base + TOTAL] = words[base + TOTAL]! + excess;
    words[base + LOOSE + slot] = held;
    words[base + LENT] = words[base + LENT]! - excess;
  }
  setFree(permits, words[base + FREE]! + count);
  serveLine(permits);
  exit(permits);
}

/**
 * Puts permits in that nobody took. Returns how many there would be if that is too many, and then
 * changes nothing; 0 otherwise.
 */
export function putIn(permits: Permits, count: number): number {
  const { words, base, domain } = permits;
  const slot = slotOf(domain.id);
  enter(permits);
  const sum = words[base + TOTAL]! + words[base + LENT]! + count;
  if (sum > (words[base + MAX]! || LIMIT)) {
    exit(permits);
    return sum;
  }
  // An agent that takes with a guard, which it forgets, and gives back without one, must not be taken
  // to hold anything when it ends: what it puts in while it holds something is only lent until then.
  const unlent = words[base + HELD + slot]! - words[base + LOOSE + slot]!;
  const lent = count < unlent ? count : unlent;
  words[base + LOOSE + slot] = words[base + LOOSE + slot]! + lent;
  words[base + LENT] = words[base + LENT]! + lent;
  words[base + TOTAL] = words[base + TOTAL]! + count - lent;
  setFree(permits, words[base + FREE]! + count);
  serveLine(permits);
  exit(permits);
  return 0;
}

/** What agents hold, at a glance: calls `each` with the id and how much. Takes no latch. */
export function glanceAtHolders(
  permits: Permits,
  each: (id: number, count: number) => void,
): void {
  const { words, base, domain } = permits;
  for (let slot = 0; slot < MAX_AGENTS; slot++) {
    const holder = Atomics.load(words, base + HOLDER + slot);
    const held = Atomics.load(words, base + HELD + slot);
    if (holder !== 0 && held > 0 && isAlive(domain, holder)) each(holder, held);
  }
}

/**
 * The id of an agent without which a request in line cannot be met, one that is blocked if there is
 * one; 0 if none is certain. For locks: what a semaphore needs can come from anybody. Exact at some
 * moment during the call.
 */
export function keeperOf(permits: Permits, { need, place }: Request): number {
  enter(permits);
  // Met by now, or it has no place yet: then nobody keeps it waiting, or that is not known.
  const isWaiting = place >= 0 && placeState(permits.line, place) > 0;
  const keeper = isWaiting ? findHolder(permits, need) || findWriter(permits) : 0;
  exit(permits);
  return keeper;
}

// -- Under the latch ---------------------------------------------------------------------------

/** Who holds so much that no request of that size can be met: any reader, or a writer only. */
function findHolder(permits: Permits, need: number): number {
  const { words, base, line, domain } = permits;
  const own = topSlot(domain);
  const enough = need === EVERYTHING ? 1 : EVERYTHING;
  let found = 0;
  for (let slot = 0; slot < own; slot++) {
    const holder = words[base + HOLDER + slot]!;
    if (holder === 0 || words[base + HELD + slot]! < enough) continue;
    if (isBlocked(domain, holder)) return holder;
    found = holder;
  }
  for (let place = 0; place < placesEnd(line); place = nextPlace(place, own)) {
    // Granted, and not claimed yet.
    if (placeState(line, place) !== GRANTED || needOf(line, place) < enough) continue;
    const holder = ownerOf(line, place);
    if (isBlocked(domain, holder)) return holder;
    found = holder;
  }
  return found;
}

/** Who waits for all of it before everybody else: nobody passes it. */
function findWriter({ line }: Permits): number {
  const place = oldest(line);
  return place >= 0 && needOf(line, place) === EVERYTHING ? ownerOf(line, place) : 0;
}

/** Takes what is asked for if it is there, for who may: nobody waits. */
function admit(permits: Permits, need: number, recovers: boolean): number {
  const { words, base } = permits;
  if (words[base + POISON]! !== 0 && !recovers) {
    // While somebody recovers, others wait for what comes of it.
    return words[base + FREE]! === words[base + TOTAL]! ? ABANDONED : BUSY;
  }
  if (words[base + FREE]! < need) return BUSY;
  setFree(permits, words[base + FREE]! - need);
  return hold(permits, need);
}

/** Notes that this agent holds more. */
function hold(permits: Permits, need: number): number {
  const { words, base, domain } = permits;
  const slot = slotOf(domain.id);
  words[base + HOLDER + slot] = domain.id;
  words[base + HELD + slot] = words[base + HELD + slot]! + need;
  if (words[base + POISON]! === 0) return TAKEN;
  // Last: whoever dies before it holds it, so that it is poisoned once more.
  Atomics.store(words, base + POISON, 0);
  return RECOVERED;
}

/** Serves those in line, in order, as far as possible. */
function serveLine(permits: Permits): void {
  const { words, base, line } = permits;
  for (let place = oldest(line); place >= 0; place = oldest(line)) {
    if (words[base + POISON]! !== 0 && noteOf(line, place) === 0) {
      if (words[base + FREE]! !== words[base + TOTAL]!) return;
      serve(line, place, ENDED);
      continue;
    }
    const free = words[base + FREE]! - needOf(line, place);
    if (free < 0) return;
    setFree(permits, free);
    serve(line, place, GRANTED);
  }
}

function setFree(permits: Permits, free: number): void {
  Atomics.store(permits.words, permits.base + FREE, free);
}

/** Takes from the dead what they held, and counts anew. Harmless at any time. */
function mend(permits: Permits): void {
  const { words, base, line, domain } = permits;
  const count = deaths(domain);
  dropDeadWaiters(line);
  // One that died before it ran never held what it was granted.
  for (let place = nextUnused(line, -1); place >= 0; place = nextUnused(line, place)) {
    freeServed(line, place);
  }
  let used = 0;
  let lent = 0;
  const own = topSlot(domain);
  for (let slot = 0; slot < own; slot++) {
    const holder = words[base + HOLDER + slot]!;
    if (holder === 0) continue;
    if (!isAlive(domain, holder)) bequeath(permits, slot, holder);
    used += words[base + HELD + slot]!;
    lent += words[base + LOOSE + slot]!;
  }
  for (let place = 0; place < placesEnd(line); place = nextPlace(place, own)) {
    if (placeState(line, place) === GRANTED) used += needOf(line, place);
  }
  words[base + LENT] = lent;
  setFree(permits, words[base + TOTAL]! + lent - used);
  Atomics.store(words, base + SEEN, count);
  serveLine(permits);
}

function bequeath(permits: Permits, slot: number, holder: number): void {
  const { words, base } = permits;
  const all = words[base + ALL]!;
  // In this order: whoever dies in between leaves all of it to be done again.
  if (all !== 0 && words[base + HELD + slot]! === all) {
    Atomics.store(words, base + DIED, pidOf(holder));
    Atomics.store(words, base + POISON, 1);
  }
  words[base + HELD + slot] = 0;
  words[base + LOOSE + slot] = 0;
  words[base + HOLDER + slot] = 0;
}

function putInOrder(permits: Permits): void {
  enter(permits);
  exit(permits);
}

function enter(permits: Permits): void {
  const { words, base, domain } = permits;
  const isTakenOver = lockLatch(domain, words, base + LATCH);
  const holder = words[base + HOLDER + slotOf(domain.id)]!;
  if (
    isTakenOver || deaths(domain) !== words[base + SEEN]! ||
    // This agent's slot is known to be free of its last tenant, and the death may not be counted yet.
    (holder !== 0 && holder !== domain.id)
  ) mend(permits);
}

function exit(permits: Permits): void {
  unlockLatch(permits.words, permits.base + LATCH);
  flushWakes(permits.domain);
}
