// Copyright 2026 the Sabre authors. MIT license.

// Who waits at a condition: a line, of which a notification serves the first. The lock that goes with
// the condition is another layer's.
//
// A place stays served until its waiter holds the lock again: if the agent dies before that, the
// notification goes on to the next in line.
//
// Word layout, in Int32 units: 4 LATCH | 5 SEEN | 32 line ...

import { deaths, type Domain, flushWakes, MAX_AGENTS } from "./_agent.ts";
import { lockLatch, unlockLatch } from "./_latch.ts";
import {
  drawTicket,
  dropDeadWaiters,
  freeServed,
  GRANTED,
  leave,
  type Line,
  lineUp,
  lineWords,
  nextUnused,
  oldest,
  placeState,
  serve,
  serveAll,
  waiting,
} from "./_line.ts";

const LATCH = 4; // guards the line
const SEEN = 5; // the count of deaths up to which the line was put in order. Under the latch
const LINE = 32;

/**
 * Waiters of one condition. More than in other lines: who found no place could not be notified. Those
 * that nobody uses cost no memory that counts.
 */
export const PLACES = MAX_AGENTS + 4_032;

/** How many words it takes. */
export const CONDITION_WORDS = LINE + lineWords(PLACES);

/** A condition's memory, as one agent sees it. */
export interface Waiters {
  readonly domain: Domain;
  readonly words: Int32Array;
  readonly base: number;
  readonly line: Line;
}

/** This agent's view of the condition at `base`. */
export function waitersAt(domain: Domain, words: Int32Array, base: number): Waiters {
  return { domain, words, base, line: { domain, words, base: base + LINE, places: PLACES } };
}

/** Takes a place in line; -1: there is none left. */
export function enlist(waiters: Waiters): number {
  const { line } = waiters;
  enter(waiters);
  const place = lineUp(line, drawTicket(line), 0, 0);
  exit(waiters);
  return place;
}

/** Whether the place was notified. Its owner may ask at any time. */
export function isNotified(waiters: Waiters, place: number): boolean {
  const { words, base, line, domain } = waiters;
  if (placeState(line, place) === GRANTED) return true;
  if (deaths(domain) === Atomics.load(words, base + SEEN)) return false;
  // The notification of a dead waiter may be for this one.
  enter(waiters);
  exit(waiters);
  return placeState(line, place) === GRANTED;
}

/** Leaves the line. `false`, and nothing changes, if the place was notified before. */
export function delist(waiters: Waiters, place: number): boolean {
  enter(waiters);
  const left = leave(waiters.line, place);
  exit(waiters);
  return left;
}

/** Leaves the line; a notification that the place had goes on to the next one. */
export function passOn(waiters: Waiters, place: number): void {
  enter(waiters);
  if (!leave(waiters.line, place)) bequeath(waiters, place);
  exit(waiters);
}

/** Gives the place of a waiter back that was notified, and is through. */
export function finish(waiters: Waiters, place: number): void {
  freeServed(waiters.line, place);
}

/** Notifies those who have waited longest, up to `count`. */
export function notifyOldest(waiters: Waiters, count: number): void {
  const { line } = waiters;
  if (waiting(line) === 0) return;
  enter(waiters);
  for (let i = 0; i < count; i++) {
    const place = oldest(line);
    if (place < 0) break;
    serve(line, place, GRANTED);
  }
  exit(waiters);
}

/** Notifies everyone. */
export function notifyEveryone(waiters: Waiters): void {
  if (waiting(waiters.line) === 0) return;
  enter(waiters);
  serveAll(waiters.line, GRANTED);
  exit(waiters);
}

/** How many wait unnotified. Anyone may ask. */
export function countWaiters(waiters: Waiters): number {
  const { words, base, line, domain } = waiters;
  if (deaths(domain) !== Atomics.load(words, base + SEEN)) {
    enter(waiters);
    exit(waiters);
  }
  return waiting(line);
}

function bequeath({ line }: Waiters, place: number): void {
  const heir = oldest(line);
  // In this order: whoever dies in between leaves it to be passed on again. One too many is harmless.
  if (heir >= 0) serve(line, heir, GRANTED);
  freeServed(line, place);
}

function mend(waiters: Waiters): void {
  const { words, base, line, domain } = waiters;
  const count = deaths(domain);
  dropDeadWaiters(line);
  for (let place = nextUnused(line, -1); place >= 0; place = nextUnused(line, place)) {
    bequeath(waiters, place);
  }
  Atomics.store(words, base + SEEN, count);
}

function enter(waiters: Waiters): void {
  const { words, base, domain } = waiters;
  const isTakenOver = lockLatch(domain, words, base + LATCH);
  if (isTakenOver || deaths(domain) !== words[base + SEEN]!) mend(waiters);
}

function exit(waiters: Waiters): void {
  unlockLatch(waiters.words, waiters.base + LATCH);
  flushWakes(waiters.domain);
}
