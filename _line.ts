// Copyright 2026 the Sabre authors. MIT license.

// A line: who waits at a primitive, in the order of arrival. Every place in the line is one word that
// its waiter alone polls and that whoever serves it sets; a waiter is served in the very moment in
// which its word says so. An agent with several calls pending has a place for each.
//
// All functions here are for the holder of the primitive's latch, with the exceptions named. What
// they wake is woken by `flushWakes` once the latch is free.
//
// Word layout, in Int32 units from `base`.
//
//   0 TICKET | 1 WAITING | 2 TOP | 16 PLACE[n] | OWNER[n] | NEED[n] | NOTE[n] | INDEX[n]
//
// Place p < 128 belongs to the agent in slot p, so that every agent always finds one; the others, 32
// unless the line says otherwise, go to whoever has more than one call pending.

import { type Domain, isAlive, MAX_AGENTS, slotOf, topSlot, wakeLater } from "./_agent.ts";

const TICKET = 0; // the last ticket drawn, 0..2^30 - 1. Under the latch
const WAITING = 1; // how many places hold a ticket. Written under the latch, read by anyone
const TOP = 2; // one more than the highest extra place ever used. Under the latch
const PLACES = MAX_AGENTS + 32;
const PLACE = 16; // 0 free, ticket > 0 waiting, or one of the marks below. Atomic: its waiter polls it
// What follows has a word for each place, too.
const OWNER = 1; // id of the agent whose place it is. Under the latch
const NEED = 2; // what the waiter asks for; the primitive says what that means. Under the latch
const NOTE = 3; // what the primitive wants to remember with it. Under the latch
const INDEX = 4; // likewise

/** How many words a line takes. */
export const LINE_WORDS = lineWords(PLACES);

/** The waiter was served; the primitive says what it got. */
export const GRANTED = -1;
/** The wait is over for another reason: what was waited for cannot come any more. */
export const ENDED = -2;

const TICKET_BITS = 30;
const TICKET_MASK = (1 << TICKET_BITS) - 1;

/** A line within a primitive's memory, as one agent sees it. */
export interface Line {
  readonly domain: Domain;
  readonly words: Int32Array;
  readonly base: number;
  /** How many places it has. Default: 96. */
  readonly places?: number;
}

/** How many words a line of that many places takes. */
export function lineWords(places: number): number {
  return PLACE + (INDEX + 1) * places;
}

/** How many wait unserved. Anyone may ask at any time. */
export function waiting(line: Line): number {
  return Atomics.load(line.words, line.base + WAITING);
}

/** The same for the holder of the latch, under which alone it changes. */
export function waitingNow(line: Line): number {
  return line.words[line.base + WAITING]!;
}

/** The state of a place. Its owner may ask at any time. */
export function placeState(line: Line, place: number): number {
  return Atomics.load(line.words, line.base + PLACE + place);
}

/** Id of the agent whose place has the mark, 0 if there is none. Anyone may ask, without the latch. */
export function glanceAt(line: Line, mark: number): number {
  const places = line.places ?? PLACES;
  for (let place = 0; place < places; place++) {
    if (placeState(line, place) === mark) return Atomics.load(line.words, at(line, OWNER, place));
  }
  return 0;
}

/** A ticket for a call of this agent that arrives now. */
export function drawTicket(line: Line): number {
  const { words, base } = line;
  // Never 0, which would look like a free place.
  const ticket = ((words[base + TICKET]! + 1) & TICKET_MASK) || 1;
  words[base + TICKET] = ticket;
  return ticket;
}

/**
 * Lines up with a ticket drawn before. Returns the place, or -1 when this agent has a place already
 * and all extra ones are taken: it tries again when one of its own calls is through.
 */
export function lineUp(line: Line, ticket: number, need: number, note: number): number {
  const { domain, words, base } = line;
  const place = freePlace(line);
  if (place < 0) return -1;
  words[at(line, OWNER, place)] = domain.id;
  words[at(line, NEED, place)] = need;
  words[at(line, NOTE, place)] = note;
  // Last, so that a place that counts is complete even if this agent dies here.
  Atomics.store(words, base + PLACE + place, ticket);
  Atomics.add(words, base + WAITING, 1);
  return place;
}

/** Gives a served place back. Its owner may do so without the latch. */
export function freeServed(line: Line, place: number): void {
  Atomics.store(line.words, line.base + PLACE + place, 0);
}

/** Leaves the line. Returns `false`, and changes nothing, if the place was served before. */
export function leave(line: Line, place: number): boolean {
  if (placeState(line, place) <= 0) return false;
  Atomics.store(line.words, line.base + PLACE + place, 0);
  Atomics.sub(line.words, line.base + WAITING, 1);
  return true;
}

/** The place that has waited longest, or -1. */
export function oldest(line: Line): number {
  const { words, base } = line;
  if (waitingNow(line) === 0) return -1;
  let found = -1;
  let first = 0;
  const own = topSlot(line.domain);
  const end = placesEnd(line);
  for (let place = 0; place < end; place = nextPlace(place, own)) {
    const ticket = Atomics.load(words, base + PLACE + place);
    if (ticket > 0 && (found < 0 || isBefore(ticket, first))) {
      found = place;
      first = ticket;
    }
  }
  return found;
}

/** Serves a waiting place: from now on its owner has what `mark` says. */
export function serve(line: Line, place: number, mark: number): void {
  const { domain, words, base } = line;
  Atomics.store(words, base + PLACE + place, mark);
  Atomics.sub(words, base + WAITING, 1);
  wakeLater(domain, words[at(line, OWNER, place)]!);
}

/** Serves everyone with the same mark. */
export function serveAll(line: Line, mark: number): void {
  const own = topSlot(line.domain);
  const end = placesEnd(line);
  for (let place = 0; place < end; place = nextPlace(place, own)) {
    if (placeState(line, place) > 0) serve(line, place, mark);
  }
}

/** The id of the agent whose place it is. */
export function ownerOf(line: Line, place: number): number {
  return line.words[at(line, OWNER, place)]!;
}

/** What the place asks for. */
export function needOf(line: Line, place: number): number {
  return line.words[at(line, NEED, place)]!;
}

/** What the primitive noted with the place. */
export function noteOf(line: Line, place: number): number {
  return line.words[at(line, NOTE, place)]!;
}

/** The other thing that it noted. */
export function indexOf(line: Line, place: number): number {
  return line.words[at(line, INDEX, place)]!;
}

/** Notes two things with a place. */
export function setNotes(line: Line, place: number, note: number, index: number): void {
  line.words[at(line, NOTE, place)] = note;
  line.words[at(line, INDEX, place)] = index;
}

/** Changes the mark of a served place. */
export function remark(line: Line, place: number, mark: number): void {
  Atomics.store(line.words, line.base + PLACE + place, mark);
}

/** One more than the highest place that may be taken, for loops over all places. */
export function placesEnd(line: Line): number {
  // Never further than there are places, whatever lies there: who loops holds the latch.
  return Math.min(MAX_AGENTS + line.words[line.base + TOP]!, line.places ?? PLACES);
}

/** The place after this one in such a loop, which skips what was never used. */
export function nextPlace(place: number, own: number): number {
  return place + 1 >= own && place < MAX_AGENTS ? Math.max(place + 1, MAX_AGENTS) : place + 1;
}

/**
 * The first place of a dead agent that was served but never used, after `place`; -1 if there is
 * none. The primitive takes back what was granted, then frees the place.
 */
export function nextUnused(line: Line, after: number): number {
  const { domain, words, base } = line;
  const end = placesEnd(line);
  const own = topSlot(domain);
  for (let place = nextPlace(after, own); place < end; place = nextPlace(place, own)) {
    if (
      Atomics.load(words, base + PLACE + place) < 0 &&
      !isAlive(domain, words[at(line, OWNER, place)]!) &&
      // Once more: it may have used it, and given the place back, between the two questions.
      Atomics.load(words, base + PLACE + place) < 0
    ) return place;
  }
  return -1;
}

/** Removes the dead who were still waiting, and counts anew: right after a holder died in the latch. */
export function dropDeadWaiters(line: Line): void {
  const { domain, words, base } = line;
  const end = placesEnd(line);
  let count = 0;
  const own = topSlot(domain);
  for (let place = 0; place < end; place = nextPlace(place, own)) {
    if (Atomics.load(words, base + PLACE + place) <= 0) continue;
    if (isAlive(domain, words[at(line, OWNER, place)]!)) count++;
    else Atomics.store(words, base + PLACE + place, 0);
  }
  Atomics.store(words, base + WAITING, count);
}

/** Index of one of the further words of a place. */
function at(line: Line, field: number, place: number): number {
  return line.base + PLACE + field * (line.places ?? PLACES) + place;
}

function freePlace(line: Line): number {
  const { domain, words, base } = line;
  const own = slotOf(domain.id);
  if (Atomics.load(words, base + PLACE + own) === 0) return own;
  const places = line.places ?? PLACES;
  for (let place = MAX_AGENTS; place < places; place++) {
    if (Atomics.load(words, base + PLACE + place) !== 0) continue;
    const extra = place - MAX_AGENTS;
    if (words[base + TOP]! <= extra) words[base + TOP] = extra + 1;
    return place;
  }
  return -1;
}

/** Whether ticket `a` was drawn before `b`, across the wrap at 2^30. */
function isBefore(a: number, b: number): boolean {
  return ((a - b) << (32 - TICKET_BITS)) < 0;
}
