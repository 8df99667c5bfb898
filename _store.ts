// Copyright 2026 the Sabre authors. MIT license.

// The storage of a queue: a ring of records between a side for putting and a side for getting, each
// with a latch and a line of waiters.
//
// Two locks, one for each end of a queue: M. Michael and M. Scott, "Simple, Fast, and Practical
// Non-Blocking and Blocking Concurrent Queue Algorithms" (PODC 1996), section 3. Changed: bytes in a
// ring instead of nodes, one commit word for each side, waiters that are served, and agents that die.
//
// - A side's state is a pair of slots and a commit word, `count << 1 | slot`. Whoever holds the latch
//   prepares the other slot and commits by storing the word: it is all or nothing, whoever dies.
// - Waiters are served: one who waits for an item is assigned a certain item, at a certain position,
//   in the moment in which there is one; who waits for room gets room set aside. So whoever comes
//   later cannot take it, and one who is slow to wake keeps nobody from the rest.
// - No latch is taken inside the other one, but to close and after a death: the get side's inside the
//   put side's.
// - An item larger than the whole ring is offered: it lies in the overflow memory while its putter
//   waits for somebody to take it, and nothing is put behind it.
//
// Word layout, in Int32 units.
//
//   0 header | 4 CLOSED | 5 DONE | 6 MAX_ITEMS | 7 SIZE | 8 ZEROS | 9 JOINERS[4]
//   32 PUT_LATCH | TAIL[2] | PUT_SEEN | RESERVED | RESERVED_ITEMS | OFFERING        64 PUTS
//   96 GET_LATCH | NEXT[2] | INDEX[2] | GET_SEEN | OUTSTANDING                     128 GETS | ORPHANS
//   160 HEAD | 192 OFFER | OFFER_LENGTH | OFFER_TYPE | OFFERS | 224 line of putters, of getters, ring
//
// A getter's place notes the position and the index of the item that it was assigned.

import {
  deaths,
  type Domain,
  flushWakes,
  isAlive,
  MAX_AGENTS,
  topSlot,
  unparkSlot,
} from "./_agent.ts";
import { lockLatch, unlockLatch } from "./_latch.ts";
import {
  drawTicket,
  dropDeadWaiters,
  ENDED,
  freeServed,
  GRANTED,
  indexOf as noteIndexOf,
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
  remark,
  serve,
  serveAll,
  setNotes,
  waiting,
  waitingNow,
} from "./_line.ts";
import { BYTES, countIn, INT_HEADER, INT_WORDS, isSound, VALUE, wordsOf } from "./_record.ts";
import { damaged, fetchFree, readWord, type Ring, ringAt } from "./_ring.ts";
import { type Spinner, spinUntilBeyond } from "./_park.ts";

const CLOSED = 4; // 1 once closed; set under both latches, read by anyone
const DONE = 5; // count of items done, 31 bits. By CAS, never beyond GETS
const MAX_ITEMS = 6; // 0: no limit. Written once
const SIZE = 7; // words of the ring. Written once
const ZEROS = 8; // how often everything taken was done. Raised by whoever did the last
const JOINERS = 9; // a bit for each agent's slot that joins. By its agent alone

const PUT_LATCH = 32;
const TAIL = 33; // [2] where the next record goes. Under PUT_LATCH, as all to GETS below is under its latch
const PUT_SEEN = 35; // the count of deaths up to which the put side is in order
const RESERVED = 36; // words set aside for putters that were served; TURN for an oversize one
const RESERVED_ITEMS = 37; // items set aside for them
const OFFERING = 38; // 1 from an offer until the put side has seen that it was taken
const PUTS = 64; // commit word of the put side. Stored under PUT_LATCH, read by anyone

const GET_LATCH = 96;
const NEXT = 97; // [2] the first record with an unassigned item
const INDEX = 99; // [2] how many of that record's items are assigned
const GET_SEEN = 101; // the count of deaths up to which the get side is in order
const OUTSTANDING = 102; // places with an assigned item that is still in the ring
const GETS = 128; // commit word of the get side. Stored under GET_LATCH, read by anyone
const ORPHANS = 129; // assigned items whose agent died: to be assigned anew. Like GETS
const HEAD = 160; // what is before it is free. Stored under GET_LATCH, read by putters

const OFFER = 192; // one of the states below. NONE to OPEN under PUT_LATCH, the rest under GET_LATCH
const OFFER_LENGTH = 193; // bytes. Written before OPEN, read under GET_LATCH after it
const OFFER_TYPE = 194; // likewise
const OFFERS = 195; // count of offers taken. Raised under GET_LATCH, read by anyone
const PUT_LINE = 224;
const GET_LINE = PUT_LINE + LINE_WORDS;
const RING = GET_LINE + LINE_WORDS + 1; // odd, as a ring wants it

const NONE = 0;
const OPEN = 1; // may be taken or withdrawn
const ASSIGNED = 2; // belongs to a getter that was served

const COUNT_MASK = 0x7fffffff; // counts have 31 bits, as the commit words have one bit for the slot

/** Words before the ring. */
export const STORE_WORDS = RING;
/** What a putter of an oversize item needs: to be alone. */
export const TURN = 1 << 30;
/** What it needs after that: that its offer was accepted. */
export const ACCEPTANCE = -1;
/** What a getter needs: an item. */
export const ITEM = 0;
/** What one needs who only wants to know that there is something to get. */
export const NEWS = 1;
/** Mark of a place that was told that there is something, and assigned nothing. */
export const TOLD = -5;
/** Mark of a place to which nothing can be assigned, as what is there is no item. */
export const DAMAGED = -6;
/** Mark of a place whose agent died before it took the item that it was assigned. */
const ORPHAN = -3;
/** Mark of a place that was assigned the offer. */
const OFFERED = -4;

/** A queue's memory, as one agent sees it. */
export interface Store {
  readonly domain: Domain;
  readonly words: Int32Array;
  readonly ring: Ring;
  readonly puts: Line;
  readonly gets: Line;
  /** HEAD when last seen; it can only be further on. */
  head: number;
  /** Up to where this agent has fetched free memory. */
  fetched: number;
  /** PUTS when last seen; it can only be further on, and GETS cannot be beyond it. */
  seen: number;
  /** No item that was put by then lies beyond this position. */
  limit: number;
  /** GETS and PUTS as this agent left them: if others went on, what was seen may be too old to compare. */
  ownGets: number;
  ownPuts: number;
}

/** This agent's view of the memory. */
export function storeAt(domain: Domain, words: Int32Array): Store {
  const puts = { domain, words, base: PUT_LINE };
  const gets = { domain, words, base: GET_LINE };
  const ring = ringAt(words, RING, words[SIZE]!);
  const head = Atomics.load(words, HEAD);
  // As if nothing had been put: the first look then finds out.
  const seen = Atomics.load(words, GETS);
  return {
    domain,
    words,
    ring,
    puts,
    gets,
    head,
    fetched: head,
    seen,
    limit: 0,
    ownGets: seen,
    ownPuts: Atomics.load(words, PUTS),
  };
}

/** Writes what never changes. Nobody else has the memory yet. */
export function initStore(words: Int32Array, size: number, maxItems: number): void {
  Atomics.store(words, SIZE, size);
  Atomics.store(words, MAX_ITEMS, maxItems);
}

/** Words of the ring, and the limit of items, as written once. */
export function limitsOf(words: Int32Array): { size: number; maxItems: number } {
  return { size: Atomics.load(words, SIZE), maxItems: Atomics.load(words, MAX_ITEMS) };
}

// -- Counts, for anyone at any time --------------------------------------------------------------

/** How many items can be got. */
export function sizeOf(store: Store): number {
  const { words } = store;
  for (;;) {
    const gets = Atomics.load(words, GETS);
    const orphans = Atomics.load(words, ORPHANS);
    const puts = Atomics.load(words, PUTS);
    // Nothing was got in between: the counts are those of the moment in which PUTS was read.
    if (Atomics.load(words, GETS) === gets && Atomics.load(words, ORPHANS) === orphans) {
      return difference(puts, gets) + orphans;
    }
  }
}

/** How many items were put and not said to be done. */
export function unfinishedOf(store: Store): number {
  const { words } = store;
  for (;;) {
    const done = Atomics.load(words, DONE);
    const offers = Atomics.load(words, OFFERS);
    const puts = Atomics.load(words, PUTS);
    if (Atomics.load(words, DONE) === done && Atomics.load(words, OFFERS) === offers) {
      return ((puts >>> 1) + offers - done) & COUNT_MASK;
    }
  }
}

/** The same for the holder of a latch, as it is set under both. */
export function isClosedNow(store: Store): boolean {
  return store.words[CLOSED]! !== 0;
}

/** Whether the queue was closed. */
export function isClosed(store: Store): boolean {
  return Atomics.load(store.words, CLOSED) !== 0;
}

/** Whether a record of `need` words could not be put now: asked as one who puts it would. */
export function isFull(store: Store, need: number): boolean {
  enterPut(store);
  try {
    return !canPut(store, need);
  } finally {
    exitPut(store);
  }
}

/** Says that one item that was taken is done. `false`: more were done than taken. */
export function finishOne(store: Store): boolean {
  const { words } = store;
  for (;;) {
    const done = Atomics.load(words, DONE);
    const taken = (Atomics.load(words, GETS) >>> 1) - Atomics.load(words, ORPHANS) +
      Atomics.load(words, OFFERS);
    // Counts only grow, so that what was taken then is taken still.
    if (((taken - done) & COUNT_MASK) === 0) return false;
    // With more than one left this is not the last, whatever is put meanwhile.
    if (unfinishedOf(store) > 1 ? finish(store, done) : finishLast(store, done)) return true;
  }
}

/** Counts one more as done, if `done` were so far. */
function finish({ words }: Store, done: number): boolean {
  return Atomics.compareExchange(words, DONE, done, (done + 1) & COUNT_MASK) === done;
}

/** The same for what may be the last: under both latches, as what is put right after it is after it. */
function finishLast(store: Store, done: number): boolean {
  enterPut(store);
  enterGet(store);
  const isFinished = finish(store, done);
  const isZero = isFinished && unfinishedOf(store) === 0;
  if (isZero) Atomics.add(store.words, ZEROS, 1);
  exitGet(store);
  exitPut(store);
  if (isZero) wakeJoiners(store);
  return isFinished;
}

/** How often everything put was done: it changes in the moment for which `join` waits. */
export function zerosOf(store: Store): number {
  return Atomics.load(store.words, ZEROS);
}

/** Asks to be woken when everything is done. To be said before the last look. */
export function wantZero(store: Store, slot: number): void {
  Atomics.or(store.words, JOINERS + (slot >> 5), 1 << (slot & 31));
}

/** The counterpart of {@linkcode wantZero}. */
export function forgetZero(store: Store, slot: number): void {
  Atomics.and(store.words, JOINERS + (slot >> 5), ~(1 << (slot & 31)));
}

function wakeJoiners(store: Store): void {
  for (let part = 0; part < MAX_AGENTS / 32; part++) {
    let bits = Atomics.load(store.words, JOINERS + part);
    while (bits !== 0) {
      const slot = 31 - Math.clz32(bits & -bits);
      unparkSlot(store.domain, part * 32 + slot);
      bits &= bits - 1;
    }
  }
}

/** Items between two commit words. */
function difference(puts: number, gets: number): number {
  return ((puts >>> 1) - (gets >>> 1)) & COUNT_MASK;
}

// -- Putting -----------------------------------------------------------------------------------

/** Takes the latch of the put side. */
export function enterPut(store: Store): void {
  if (lockLatch(store.domain, store.words, PUT_LATCH)) mendPuts(store);
}

/** Gives it back and wakes whom this agent served. */
export function exitPut(store: Store): void {
  unlockLatch(store.words, PUT_LATCH);
  flushWakes(store.domain);
}

/** Whether a newcomer can put a record of `need` words. Under the latch of the put side. */
export function canPut(store: Store, need: number): boolean {
  const { words } = store;
  if (words[OFFERING]! !== 0) closeOffer(words);
  if (isSpare(store, need)) return true;
  // It would never be otherwise, and whoever waits for it could wait for ever.
  if (!isUsedSoundly(store)) throw damaged("write");
  // What is full may only look so because of the dead.
  if (deaths(store.domain) === words[PUT_SEEN]!) return false;
  mendPuts(store);
  return isSpare(store, need);
}

/**
 * Whether that much is free as it is. Unlike {@linkcode canPut} it puts nothing in order, for one that was
 * served and has not put yet: others would be given what is no longer set aside for it. Under the latch.
 */
export function isSpare(store: Store, need: number): boolean {
  // Nobody who waits is passed, and nothing is taken of what was set aside for those who were served.
  return waitingNow(store.puts) === 0 && store.words[OFFERING]! === 0 && fits(store, need);
}

/** Words that may be put in further records beside the first of `need` words. Under the latch. */
export function spareWords(store: Store): number {
  const { words, ring } = store;
  store.head = Atomics.load(words, HEAD);
  const spare = ring.mask + 1 - ((tailOf(store) - store.head) | 0) - words[RESERVED]!;
  // Never more than the ring, whatever lies there.
  return Math.min(spare, ring.mask + 1);
}

/** Items that may be put; `Infinity` without a limit. Under the latch. */
export function spareItems(store: Store): number {
  const { words } = store;
  const maxItems = words[MAX_ITEMS]!;
  return maxItems === 0 ? Infinity : maxItems - sizeOf(store) - words[RESERVED_ITEMS]!;
}

/** Where the next record goes. Under the latch. */
export function tailOf(store: Store): number {
  return store.words[TAIL + (store.words[PUTS]! & 1)]!;
}

/**
 * Fetches memory that is free as far as was seen. Under the latch, by one for whom there is room; for whom some
 * was set aside has written nothing there yet.
 */
export function fetchAhead(store: Store): void {
  const { ring } = store;
  const tail = tailOf(store);
  const free = ring.mask + 1 - ((tail - store.head) | 0);
  store.fetched = fetchFree(ring, tail, free, store.fetched);
}

/** Makes `count` items in the `length` words from the tail on gettable. Under the latch. */
export function commitPut(store: Store, length: number, count: number): void {
  const { words } = store;
  const puts = words[PUTS]!;
  words[TAIL + (~puts & 1)] = (words[TAIL + (puts & 1)]! + length) | 0;
  // Commits: a getter that sees the new count may read the records.
  const next = ((puts + 2 * count) ^ 1) | 0;
  if (store.ownPuts === puts) store.ownPuts = next;
  Atomics.store(words, PUTS, next);
}

/** Serves the getters who wait for what was put. After the latch of the put side was given back. */
export function attendGetters(store: Store): void {
  if (waiting(store.gets) === 0) return;
  enterGet(store);
  serveGets(store);
  exitGet(store);
  // What was assigned counts no longer. Its getter may be long in coming, and until then nobody else would
  // serve those who wait for it to be taken.
  if (store.words[MAX_ITEMS]! > 0) attendPutters(store);
}

/** Takes back what was set aside for a putter that was served. Under the latch of the put side. */
export function useReserved(store: Store, place: number): void {
  const { words, puts } = store;
  Atomics.sub(words, RESERVED, needOf(puts, place));
  if (needOf(puts, place) !== TURN) Atomics.sub(words, RESERVED_ITEMS, 1);
  freeServed(puts, place);
}

/** Offers an item in the overflow memory. Under the latch, by who has the turn. */
export function openOffer(store: Store, type: number, length: number): void {
  const { words } = store;
  words[OFFER_TYPE] = type;
  words[OFFER_LENGTH] = length;
  Atomics.store(words, OFFERING, 1);
  Atomics.store(words, OFFER, OPEN);
}

/** Takes the offer back. `false` if somebody has it already. */
export function withdrawOffer(store: Store): boolean {
  enterGet(store);
  const open = Atomics.load(store.words, OFFER) === OPEN;
  if (open) Atomics.store(store.words, OFFER, NONE);
  exitGet(store);
  return open;
}

/** Serves putters, in order, as long as there is what they need. Under the latch. */
export function servePuts(store: Store): void {
  const { words, puts } = store;
  if (deaths(store.domain) !== words[PUT_SEEN]!) return mendPuts(store);
  if (words[OFFERING]! !== 0) closeOffer(words);
  // Whoever closed it may have died before it said so.
  if (isClosedNow(store)) return serveAll(puts, ENDED);
  for (let place = oldest(puts); place >= 0; place = oldest(puts)) {
    const need = needOf(puts, place);
    if (need === ACCEPTANCE) {
      if (Atomics.load(words, OFFER) === OPEN) return;
    } else if (need === TURN) {
      if (words[RESERVED]! !== 0 || words[OFFERING]! !== 0) return;
      Atomics.store(words, RESERVED, TURN);
    } else {
      if (words[RESERVED]! >= TURN || words[OFFERING]! !== 0 || !fits(store, need)) return;
      Atomics.add(words, RESERVED, need);
      Atomics.add(words, RESERVED_ITEMS, 1);
    }
    serve(puts, place, GRANTED);
  }
}

/** Serves the putters who wait for what was got. After the latch of the get side was given back. */
export function attendPutters(store: Store): void {
  if (waiting(store.puts) === 0) return;
  enterPut(store);
  servePuts(store);
  exitPut(store);
}

/** Lets others put again once the offer was taken. */
function closeOffer(words: Int32Array): void {
  if (Atomics.load(words, OFFER) === NONE) Atomics.store(words, OFFERING, 0);
}

function fits(store: Store, need: number): boolean {
  const { words, ring } = store;
  // Never more than the ring, whatever lies there.
  const room = Math.min(ring.mask + 1 - words[RESERVED]!, ring.mask + 1) - need;
  let used = (tailOf(store) - store.head) | 0;
  if (used > room || used < 0 || store.ownPuts !== words[PUTS]!) {
    store.ownPuts = words[PUTS]!;
    store.head = Atomics.load(words, HEAD);
    used = (tailOf(store) - store.head) | 0;
    if (used > room || used < 0) return false;
  }
  return words[MAX_ITEMS]! === 0 || spareItems(store) > 0;
}

/** Whether as much of the ring is used, and set aside, as can be. Under the latch of the put side. */
function isUsedSoundly(store: Store): boolean {
  const used = (tailOf(store) - Atomics.load(store.words, HEAD)) | 0;
  return used >= 0 && used <= store.ring.mask + 1 && store.words[RESERVED]! >= 0;
}

/** Puts the put side in order after a death; harmless at any time. Under its latch. */
function mendPuts(store: Store): void {
  const { words, puts, domain } = store;
  const count = deaths(domain);
  // The get side first: room that the dead had freed, but not yet handed back, is known only after it.
  enterGet(store);
  if (deaths(domain) !== words[GET_SEEN]!) mendGets(store);
  exitGet(store);
  dropDeadWaiters(puts);
  for (let place = nextUnused(puts, -1); place >= 0; place = nextUnused(puts, place)) {
    freeServed(puts, place);
  }
  let reserved = 0;
  let items = 0;
  const own = topSlot(domain);
  for (let place = 0; place < placesEnd(puts); place = nextPlace(place, own)) {
    if (placeState(puts, place) !== GRANTED) continue;
    const need = needOf(puts, place);
    if (need > 0) reserved += need;
    if (need > 0 && need !== TURN) items++;
  }
  Atomics.store(words, RESERVED, reserved);
  Atomics.store(words, RESERVED_ITEMS, items);
  // An offer outlives its putter.
  Atomics.store(words, OFFERING, Atomics.load(words, OFFER) === NONE ? 0 : 1);
  words[PUT_SEEN] = count;
  servePuts(store);
}

// -- Getting -----------------------------------------------------------------------------------

/** Takes the latch of the get side. */
export function enterGet(store: Store): void {
  if (lockLatch(store.domain, store.words, GET_LATCH)) mendGets(store);
}

/** Gives it back and wakes whom this agent served. */
export function exitGet(store: Store): void {
  unlockLatch(store.words, GET_LATCH);
  flushWakes(store.domain);
}

/** How many items a newcomer can get from the ring. Under the latch of the get side. */
export function gettable(store: Store): number {
  const { words } = store;
  // Others may have got beyond what this agent saw: then it is no more than a negative number.
  const seen = ((store.seen >> 1) - (words[GETS]! >> 1)) << 1 >> 1;
  const isCurrent = seen > 0 && store.ownGets === words[GETS]!;
  // Nobody waits and nobody was assigned anything: whoever died has nothing to do with what is next.
  if (isCurrent && words[OUTSTANDING]! === 0 && waitingNow(store.gets) === 0) return seen;
  return gettableNow(store);
}

/** The same, having put in order what the dead left, and served those who wait. */
function gettableNow(store: Store): number {
  const { words } = store;
  // What was assigned to the dead was put before what is next.
  if (deaths(store.domain) !== words[GET_SEEN]!) mendGets(store);
  // Those who wait come first. Mostly nobody does, as they are served when items come.
  if (waitingNow(store.gets) > 0) serveGets(store);
  store.ownGets = words[GETS]!;
  const puts = Atomics.load(words, PUTS);
  const count = difference(puts, words[GETS]!);
  if (count > mostItems(store)) throw damaged("read");
  store.seen = puts;
  // What is not free yet fits in the ring.
  store.limit = (nextOf(store) + store.ring.mask + 1) | 0;
  return count;
}

/** No more items than this can be in the ring: those of a run have a byte each. */
function mostItems(store: Store): number {
  return (store.ring.mask + 1) << 2;
}

/** The header of the next unassigned item's record. Under the latch, when something is gettable. */
export function nextHeader(store: Store): number {
  const header = readWord(store.ring, nextOf(store));
  const isInt = header === INT_HEADER && indexOf(store) === 0;
  const words = isInt ? INT_WORDS : soundWords(store, header);
  // Reading on past what was put might find no end at all.
  if (((store.limit - nextOf(store)) | 0) < words) throw damaged("read");
  return header;
}

function soundWords(store: Store, header: number): number {
  if (!isSound(store.ring, header, indexOf(store))) throw damaged("read");
  return wordsOf(store.ring, header);
}

/**
 * Spins until something is put, for less time than going to sleep would take. Under no latch. Returns
 * whether it was.
 */
export function spinForPut({ words }: Store, spinner: Spinner): boolean {
  return spinner.spin(words, PUTS, Atomics.load(words, PUTS));
}

/** The same until there is a fair amount of room, or some if the items are counted. */
export function spinForRoom({ words, head, ring }: Store): boolean {
  return spinUntilBeyond(words, HEAD, head, words[MAX_ITEMS]! > 0 ? 1 : (ring.mask + 1) >> 2);
}

/** Position of the next unassigned item's record. Under the latch. */
export function nextOf(store: Store): number {
  return store.words[NEXT + (store.words[GETS]! & 1)]!;
}

/** Which item of that record it is. Under the latch. */
export function indexOf(store: Store): number {
  return store.words[INDEX + (store.words[GETS]! & 1)]!;
}

/** Takes the next `count` items, of one record, after they were copied. Under the latch. */
export function commitGet(store: Store, header: number, count: number): void {
  assign(store, header, count);
  if (store.words[OUTSTANDING]! === 0) Atomics.store(store.words, HEAD, nextOf(store));
}

/** The place of an item that was assigned to somebody who died; -1: none. Under the latch. */
export function orphanOf(store: Store): number {
  const { words, gets } = store;
  if (words[ORPHANS]! === 0) return -1;
  let found = -1;
  const own = topSlot(store.domain);
  for (let place = 0; place < placesEnd(gets); place = nextPlace(place, own)) {
    if (placeState(gets, place) === ORPHAN && (found < 0 || isBefore(gets, place, found))) {
      found = place;
    }
  }
  return found;
}

/** Frees what a place was assigned, after it was copied. Under the latch. */
export function useAssigned(store: Store, place: number): void {
  const { words, gets } = store;
  if (placeState(gets, place) === ORPHAN) Atomics.sub(words, ORPHANS, 1);
  freeServed(gets, place);
  words[OUTSTANDING] = words[OUTSTANDING]! - 1;
  Atomics.store(words, HEAD, firstNeeded(store));
}

/** Lets an item that was assigned to the place go to the next one instead. Under the latch. */
export function passAssigned(store: Store, place: number): void {
  if (isOffered(store, place)) {
    Atomics.store(store.words, OFFER, OPEN);
    freeServed(store.gets, place);
  } else if (placeState(store.gets, place) === GRANTED) {
    Atomics.add(store.words, ORPHANS, 1);
    remark(store.gets, place, ORPHAN);
  }
  serveGets(store);
}

/** Whether a served place was assigned the offer rather than an item of the ring. */
export function isOffered(store: Store, place: number): boolean {
  return placeState(store.gets, place) === OFFERED;
}

/**
 * Whether an offer is there for a newcomer. Under the latch. To be asked before what is gettable: that
 * was put before the offer, and its putter may do both between two questions.
 */
export function hasOffer(store: Store): boolean {
  return Atomics.load(store.words, OFFER) === OPEN;
}

/** Length and type of the offer, of at most `most` bytes. Under the latch, when there is one. */
export function offerOf(store: Store, most: number): { length: number; type: number } {
  const length = store.words[OFFER_LENGTH]!;
  const type = store.words[OFFER_TYPE]!;
  if (length < 0 || length > most || (type !== VALUE && type !== BYTES)) throw damaged("read");
  return { length, type };
}

/** Takes the offer, after it was copied. Under the latch. */
export function useOffer(store: Store, place: number): void {
  // Counted first: whoever dies in between leaves it to be taken once more, and one undone for ever.
  Atomics.add(store.words, OFFERS, 1);
  Atomics.store(store.words, OFFER, NONE);
  if (place >= 0) freeServed(store.gets, place);
}

/** Serves getters, in order, as long as there are items. Under the latch of the get side. */
export function serveGets(store: Store): void {
  const { words, gets, ring } = store;
  if (deaths(store.domain) !== words[GET_SEEN]!) return mendGets(store);
  for (let place = oldest(gets); place >= 0; place = oldest(gets)) {
    const orphan = orphanOf(store);
    // The offer first: what is in the ring was put before it, and its putter may do both meanwhile.
    const open = Atomics.load(words, OFFER) === OPEN;
    const count = difference(Atomics.load(words, PUTS), words[GETS]!);
    if (needOf(gets, place) === NEWS) {
      if (orphan < 0 && count === 0 && !open) break;
      serve(gets, place, TOLD);
      // It is assigned nothing: whoever waits behind it is next.
    } else if (orphan >= 0) {
      setNotes(gets, place, noteOf(gets, orphan), noteIndexOf(gets, orphan));
      // In this order: whoever dies in between leaves it with two places, which `mendGets` sees.
      serve(gets, place, GRANTED);
      freeServed(gets, orphan);
      Atomics.sub(words, ORPHANS, 1);
    } else if (count > 0) {
      const position = nextOf(store);
      const isItem = count <= mostItems(store) &&
        isSound(ring, readWord(ring, position), indexOf(store));
      if (!isItem) {
        // For all of them, and for good. Who comes later finds out without waiting.
        serveAll(gets, DAMAGED);
        return;
      }
      setNotes(gets, place, position, indexOf(store));
      words[OUTSTANDING] = words[OUTSTANDING]! + 1;
      // In this order: whoever dies in between leaves it assigned but not counted, likewise.
      serve(gets, place, GRANTED);
      assign(store, readWord(ring, position), 1);
    } else if (open) {
      Atomics.store(words, OFFER, ASSIGNED);
      serve(gets, place, OFFERED);
    } else {
      break;
    }
  }
  if (isClosedNow(store) && difference(Atomics.load(words, PUTS), words[GETS]!) === 0) {
    serveAll(gets, ENDED);
  }
}

/** Moves past the next `count` items, of one record. Under the latch. */
function assign(store: Store, header: number, count: number): void {
  const { words, ring } = store;
  const gets = words[GETS]!;
  const next = words[NEXT + (gets & 1)]!;
  const index = words[INDEX + (gets & 1)]! + count;
  const slot = ~gets & 1;
  if (header === INT_HEADER) {
    words[NEXT + slot] = (next + INT_WORDS) | 0;
    words[INDEX + slot] = 0;
  } else {
    const isUsedUp = index >= countIn(ring, header);
    words[NEXT + slot] = isUsedUp ? (next + wordsOf(ring, header)) | 0 : next;
    words[INDEX + slot] = isUsedUp ? 0 : index;
  }
  // Commits: from here on the items are taken.
  const committed = ((gets + 2 * count) ^ 1) | 0;
  if (store.ownGets === gets) store.ownGets = committed;
  Atomics.store(words, GETS, committed);
}

/** The first position that somebody may still read. */
function firstNeeded(store: Store): number {
  const { gets } = store;
  let first = nextOf(store);
  if (store.words[OUTSTANDING]! === 0) return first;
  const own = topSlot(store.domain);
  for (let place = 0; place < placesEnd(gets); place = nextPlace(place, own)) {
    if (!holdsItem(store, place)) continue;
    const position = noteOf(gets, place);
    if (((position - first) | 0) < 0) first = position;
  }
  return first;
}

function holdsItem(store: Store, place: number): boolean {
  const state = placeState(store.gets, place);
  return state === GRANTED || state === ORPHAN;
}

/** Whether the item of the place is the next one: it was assigned, but that was not counted. */
function isNext(store: Store, place: number): boolean {
  const { gets } = store;
  return noteOf(gets, place) === nextOf(store) && noteIndexOf(gets, place) === indexOf(store) &&
    difference(Atomics.load(store.words, PUTS), store.words[GETS]!) > 0;
}

/** Whether a place before or behind has the same item: it was assigned anew, but not yet let go. */
function isTwice(store: Store, orphan: number): boolean {
  const { gets } = store;
  const own = topSlot(store.domain);
  for (let place = 0; place < placesEnd(gets); place = nextPlace(place, own)) {
    const state = placeState(gets, place);
    if (
      // Of two that are both orphans by now, the first one stays.
      (state === GRANTED || state === ORPHAN && place < orphan) &&
      noteOf(gets, place) === noteOf(gets, orphan) &&
      noteIndexOf(gets, place) === noteIndexOf(gets, orphan)
    ) return true;
  }
  return false;
}

/** Whether the item of place `a` was put before that of place `b`. */
function isBefore(gets: Line, a: number, b: number): boolean {
  const distance = (noteOf(gets, a) - noteOf(gets, b)) | 0;
  return distance < 0 || (distance === 0 && noteIndexOf(gets, a) < noteIndexOf(gets, b));
}

/** Puts the get side in order after a death; harmless at any time. Under its latch. */
function mendGets(store: Store): void {
  const { words, gets, ring, domain } = store;
  const count = deaths(domain);
  dropDeadWaiters(gets);
  let outstanding = 0;
  let orphans = 0;
  let isAssigned = false;
  const own = topSlot(store.domain);
  for (let place = 0; place < placesEnd(gets); place = nextPlace(place, own)) {
    const state = placeState(gets, place);
    if (state >= 0) continue;
    const isDead = !isAlive(domain, ownerOf(gets, place));
    if (state === OFFERED) {
      if (isDead) freeServed(gets, place);
      else isAssigned = true;
    } else if (!holdsItem(store, place)) {
      if (isDead) freeServed(gets, place);
    } else {
      if (state === ORPHAN && isTwice(store, place)) {
        freeServed(gets, place);
        continue;
      }
      if (isNext(store, place)) {
        const header = readWord(ring, noteOf(gets, place));
        if (isSound(ring, header, indexOf(store))) assign(store, header, 1);
      }
      if (isDead && state === GRANTED) remark(gets, place, ORPHAN);
      if (isDead || state === ORPHAN) orphans++;
      outstanding++;
    }
  }
  // Also when somebody died between saying that it is assigned and saying to whom.
  if (Atomics.load(words, OFFER) !== NONE) {
    Atomics.store(words, OFFER, isAssigned ? ASSIGNED : OPEN);
  }
  words[OUTSTANDING] = outstanding;
  Atomics.store(words, ORPHANS, orphans);
  Atomics.store(words, HEAD, firstNeeded(store));
  words[GET_SEEN] = count;
  serveGets(store);
}

/** Serves who can be after something changed that is not an item, such as a death. Under no latch. */
export function refreshGets(store: Store): void {
  enterGet(store);
  serveGets(store);
  exitGet(store);
}

/** The same for those who wait for room. */
export function refreshPuts(store: Store): void {
  enterPut(store);
  servePuts(store);
  exitPut(store);
}

/** Closes the queue: who waits for room is sent away, who waits for items as soon as none is left. */
export function closeStore(store: Store): void {
  enterPut(store);
  // Under both latches: no put is in progress, and no get that has seen it open. Whoever takes both
  // takes them in this order.
  enterGet(store);
  Atomics.store(store.words, CLOSED, 1);
  exitGet(store);
  serveAll(store.puts, ENDED);
  exitPut(store);
  refreshGets(store);
}

/** Position and index of the item that a served place was assigned. Its agent may ask. */
export function assignedTo(store: Store, place: number): { position: number; index: number } {
  return { position: noteOf(store.gets, place), index: noteIndexOf(store.gets, place) };
}

export { drawTicket, leave, lineUp, placeState };
