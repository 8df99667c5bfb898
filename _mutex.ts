// Copyright 2026 the Sabre authors. MIT license.

// The mutual exclusion under every lock: one word says who holds it, a line says who waits. Taking a
// free one and giving it back to nobody is one compare-and-swap each. A running agent may take a lock
// that was just freed ahead of a sleeper, but whoever has waited for a millisecond is handed it.
//
// The rule of the millisecond is that of WebKit's `WTF::Lock` (F. Pizlo, "Locking in WebKit", 2016).
// Changed: the word names the owner, waiters line up in shared memory, and a dead owner is replaced.
//
// Word layout, in Int32 units from `base`.
//
//   4 LATCH | 5 SEEN | 6 DIED | 32 LOCK | 64 line ...
//
//   LOCK = owner's id << 2 | POISON | CROWD
//
// - owner 0: free. Changed from 0 by whoever takes it, and to 0 by the owner alone.
// - CROWD: somebody may be in line, so that giving back has to look. Set by those who line up, under
//   the latch; cleared by an owner that finds nobody.
// - POISON: the last owner died while it held the lock. Cleared by the one who recovers.
//
// Handing over sets the place of the heir to GRANTED and nothing else: from then on the heir holds
// the lock, whatever LOCK says, and it writes its own id there as its first act. At most one place is
// granted at any time, since only the holder grants.

import { deaths, type Domain, flushWakes, isAlive, pidOf, topSlot, wakeLater } from "./_agent.ts";
import { hasPassed, micros } from "./_clock.ts";
import { backOff, FIRST_PAUSES, MOST_PAUSES, spinLimit } from "./_park.ts";
import { lockLatch, unlockLatch } from "./_latch.ts";
import {
  drawTicket,
  dropDeadWaiters,
  freeServed,
  glanceAt,
  GRANTED,
  leave,
  type Line,
  LINE_WORDS,
  lineUp,
  nextPlace,
  nextUnused,
  noteOf,
  oldest,
  ownerOf,
  placesEnd,
  placeState,
  serve,
  waiting,
} from "./_line.ts";

const LATCH = 4; // guards the line, and LOCK against everything but its fast changes
const SEEN = 5; // the count of deaths up to which this lock has been put in order. Under the latch
const DIED = 6; // pid of the last owner that died, for messages. Under the latch, read by anyone
const LOCK = 32; // see above
const LINE = 64;

const CROWD = 1;
const POISON = 2;
const FLAGS = CROWD | POISON;

/** How many words the lock takes. */
export const MUTEX_WORDS = LINE + LINE_WORDS;

/** How long a waiter lets others pass, in microseconds. */
const PATIENCE = 1_000;

/** Another agent, or another task of this one, holds the lock. */
export const BUSY = 0;
/** This agent holds the lock now. */
export const TAKEN = 1;
/** This agent holds the lock now, and its last owner died. */
export const POISONED = 2;
/** Its last owner died, and the caller, who does not recover, does not get it. */
export const REFUSED = 3;

// What a waiting call may do when it looks, as another call of its agent may come before it.

/** Inherit the lock, and no more. */
export const MAY_INHERIT = 0;
/** Line up as well. */
export const MAY_LINE_UP = 1;
/** Take the lock if it is free as well. */
export const MAY_TAKE = 2;

/** A lock within a primitive's memory, as one agent sees it. */
export interface Mutex {
  readonly domain: Domain;
  readonly words: Int32Array;
  readonly base: number;
  readonly line: Line;
}

/** This agent's view of the lock at `base`. */
export function mutexAt(domain: Domain, words: Int32Array, base: number): Mutex {
  return { domain, words, base, line: { domain, words, base: base + LINE } };
}

/** Takes the lock if it is free. Never waits. */
export function tryTake(mutex: Mutex, recovers = true): number {
  const { words, base, domain } = mutex;
  if (Atomics.compareExchange(words, base + LOCK, 0, domain.id << 2) === 0) return TAKEN;
  return tryTakeSlow(mutex, recovers);
}

function tryTakeSlow(mutex: Mutex, recovers: boolean): number {
  const { words, base, domain } = mutex;
  for (;;) {
    const word = Atomics.load(words, base + LOCK);
    // Also while somebody has it who is about to give it back, or to recover it, at once.
    if (!recovers && (word & POISON) !== 0) return REFUSED;
    if (word >> 2 === 0) {
      const mine = (domain.id << 2) | (word & FLAGS);
      if (Atomics.compareExchange(words, base + LOCK, word, mine) === word) return outcome(word);
    } else if (deaths(domain) === Atomics.load(words, base + SEEN)) {
      return BUSY;
    } else {
      putInOrder(mutex);
    }
  }
}

/** Gives the lock back. For its holder only. */
export function giveBack(mutex: Mutex): void {
  const { words, base, domain } = mutex;
  const mine = domain.id << 2;
  if (Atomics.compareExchange(words, base + LOCK, mine, 0) !== mine) giveBackSlow(mutex);
}

function giveBackSlow(mutex: Mutex): void {
  enter(mutex);
  passOn(mutex, Atomics.load(mutex.words, mutex.base + LOCK) & POISON);
  exit(mutex);
}

/** Declares what the dead owner left behind mended. For the holder only. */
export function recover(mutex: Mutex): void {
  Atomics.and(mutex.words, mutex.base + LOCK, ~POISON);
}

/** Whether somebody holds the lock. Anyone may ask. */
export function isTaken(mutex: Mutex): boolean {
  return Atomics.load(mutex.words, mutex.base + LOCK) >> 2 !== 0;
}

/**
 * Whether the last holder died and nobody has recovered the lock: also while somebody has it who will not.
 * Anyone may ask.
 */
export function isAbandoned(mutex: Mutex): boolean {
  const { words, base, domain } = mutex;
  if (deaths(domain) !== Atomics.load(words, base + SEEN)) putInOrder(mutex);
  return (Atomics.load(words, base + LOCK) & POISON) !== 0;
}

/** How many wait for the lock. Anyone may ask. */
export function crowd(mutex: Mutex): number {
  return waiting(mutex.line);
}

/** The pid of the last owner that died. */
export function lastDead(mutex: Mutex): number {
  return Atomics.load(mutex.words, mutex.base + DIED);
}

/** The id of the holder, 0 if there is none: for messages, as it may be old when you look. */
export function holderOf(mutex: Mutex): number {
  return Atomics.load(mutex.words, mutex.base + LOCK) >> 2;
}

/**
 * The id of the agent that has the lock, or was handed it and has not run yet; 0 if there is none.
 * Exact when read: it has it at some moment during the call.
 */
export function keeperOf(mutex: Mutex): number {
  enter(mutex);
  // While the latch is held nobody is handed it. The places first: an heir that has cleared its place
  // has written LOCK before.
  const place = grantedPlace(mutex.line);
  const keeper = place < 0 ? holderOf(mutex) : ownerOf(mutex.line, place);
  exit(mutex);
  return keeper;
}

/** What is to be seen at a glance: may be wrong while the lock changes hands. Takes no latch. */
export function glanceAtMutex(mutex: Mutex): { holder: number; isAbandoned: boolean } {
  const heir = glanceAt(mutex.line, GRANTED);
  const holder = heir || holderOf(mutex);
  const isPoisoned = (lockWord(mutex) & POISON) !== 0;
  const isFree = holder === 0 || !isAlive(mutex.domain, holder);
  // An heir that died never held it.
  const isLeft = isFree && holder !== 0 && heir === 0;
  return { holder: isFree ? 0 : holder, isAbandoned: isLeft || (isFree && isPoisoned) };
}

function lockWord(mutex: Mutex): number {
  return Atomics.load(mutex.words, mutex.base + LOCK);
}

// -- Waiting -----------------------------------------------------------------------------------

/** One call's wait for a lock. */
export interface LockWait {
  ticket: number; // 0: none drawn yet
  place: number; // -1: none yet
}

/** Spins for less time than going to sleep would take, and takes the lock if it becomes free. */
export function spinTake(mutex: Mutex, recovers = true): number {
  let turns = FIRST_PAUSES;
  for (let spent = 0; spent < spinLimit; spent += turns) {
    if (lockWord(mutex) >> 2 === 0) {
      const taken = tryTake(mutex, recovers);
      if (taken !== BUSY) return taken;
    }
    turns = backOff(turns, MOST_PAUSES);
  }
  return BUSY;
}

/** Takes the lock, or a ticket and a place in line for it. */
export function takeOrLineUp(mutex: Mutex, wait: LockWait, may = MAY_TAKE): number {
  const { words, base, line, domain } = mutex;
  enter(mutex);
  if (deaths(domain) !== Atomics.load(words, base + SEEN)) mend(mutex);
  // From here on the owner cannot give back without the latch, and so not without seeing the line.
  Atomics.or(words, base + LOCK, CROWD);
  if (wait.ticket === 0) wait.ticket = drawTicket(line);
  while (may === MAY_TAKE) {
    const word = Atomics.load(words, base + LOCK);
    if (word >> 2 !== 0) break;
    const mine = (domain.id << 2) | (word & FLAGS);
    if (Atomics.compareExchange(words, base + LOCK, word, mine) === word) {
      exit(mutex);
      return outcome(word);
    }
  }
  if (may !== MAY_INHERIT) wait.place = lineUp(line, wait.ticket, 0, micros());
  exit(mutex);
  return BUSY;
}

/** Looks whether a call in line has the lock now, or can take it. */
export function pollTake(mutex: Mutex, wait: LockWait, may = MAY_TAKE): number {
  const { words, base, line, domain } = mutex;
  if (wait.place < 0) return takeOrLineUp(mutex, wait, may);
  for (;;) {
    const word = Atomics.load(words, base + LOCK);
    if (placeState(line, wait.place) === GRANTED) return inherit(mutex, wait);
    if (word >> 2 === 0 && may === MAY_TAKE) {
      const mine = (domain.id << 2) | (word & FLAGS);
      if (Atomics.compareExchange(words, base + LOCK, word, mine) !== word) continue;
      enter(mutex);
      leave(line, wait.place);
      exit(mutex);
      return outcome(word);
    }
    if (deaths(domain) === Atomics.load(words, base + SEEN)) return BUSY;
    putInOrder(mutex);
  }
}

/** Leaves the line. `false` if the lock was handed to this call before. */
export function withdrawTake(mutex: Mutex, wait: LockWait): boolean {
  if (wait.place < 0) return true;
  enter(mutex);
  const left = leave(mutex.line, wait.place);
  // The wake-up for a free lock may have been this call's: it goes on to the next.
  if (left && lockWord(mutex) >> 2 === 0) hintOldest(mutex);
  exit(mutex);
  return left;
}

function inherit(mutex: Mutex, wait: LockWait): number {
  const { words, base, line, domain } = mutex;
  const word = Atomics.load(words, base + LOCK);
  // First, so that one who finds no granted place finds the true owner here.
  Atomics.store(words, base + LOCK, (domain.id << 2) | (word & POISON) | CROWD);
  freeServed(line, wait.place);
  return outcome(word);
}

function outcome(word: number): number {
  return (word & POISON) === 0 ? TAKEN : POISONED;
}

/** Ends the caller's or a dead agent's ownership. Under the latch. */
function passOn(mutex: Mutex, poison: number): void {
  const { words, base, line } = mutex;
  const place = oldest(line);
  if (place < 0) {
    Atomics.store(words, base + LOCK, poison);
  } else if (hasPassed(noteOf(line, place), micros(), PATIENCE)) {
    if (poison !== 0) Atomics.or(words, base + LOCK, POISON);
    serve(line, place, GRANTED);
  } else {
    Atomics.store(words, base + LOCK, poison | CROWD);
    wakeLater(mutex.domain, ownerOf(line, place));
  }
}

function hintOldest(mutex: Mutex): void {
  const place = oldest(mutex.line);
  if (place >= 0) wakeLater(mutex.domain, ownerOf(mutex.line, place));
}

// -- Death -------------------------------------------------------------------------------------

function putInOrder(mutex: Mutex): void {
  enter(mutex);
  mend(mutex);
  exit(mutex);
}

/**
 * Takes the dead out of the line, and the lock from them. Under the latch; harmless when nobody died
 * and when it was done before, in part or in whole.
 */
function mend(mutex: Mutex): void {
  const { words, base, line, domain } = mutex;
  const count = deaths(domain);
  dropDeadWaiters(line);
  // An heir that died before it ran never held the lock: nothing is half-changed, the next one gets it.
  for (let place = nextUnused(line, -1); place >= 0; place = nextUnused(line, place)) {
    const poison = Atomics.load(words, base + LOCK) & POISON;
    // In this order: whoever dies in between leaves either the place or a dead owner to be found.
    Atomics.store(words, base + LOCK, (ownerOf(line, place) << 2) | poison | CROWD);
    freeServed(line, place);
    passOn(mutex, poison);
  }
  // The places first: an heir that has cleared its place has written LOCK before.
  if (grantedPlace(line) < 0) {
    const owner = Atomics.load(words, base + LOCK) >> 2;
    // Once more: it may have given the lock back, and died, between the two questions.
    if (
      owner !== 0 && !isAlive(domain, owner) && Atomics.load(words, base + LOCK) >> 2 === owner
    ) {
      Atomics.store(words, base + DIED, pidOf(owner));
      passOn(mutex, POISON);
    }
  }
  Atomics.store(words, base + SEEN, count);
}

/** The place of the heir that has not run yet, -1 if there is none. */
function grantedPlace(line: Line): number {
  const own = topSlot(line.domain);
  for (let place = 0; place < placesEnd(line); place = nextPlace(place, own)) {
    if (placeState(line, place) === GRANTED) return place;
  }
  return -1;
}

function enter(mutex: Mutex): void {
  if (lockLatch(mutex.domain, mutex.words, mutex.base + LATCH)) mend(mutex);
}

function exit(mutex: Mutex): void {
  unlockLatch(mutex.words, mutex.base + LATCH);
  flushWakes(mutex.domain);
}
