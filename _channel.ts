// Copyright 2026 the Sabre authors. MIT license.

// One direction of a pipe: a ring with one writer and one reader, who tell each other of news.
//
// The ring is the single-producer single-consumer queue of L. Lamport, "Specifying Concurrent Program
// Modules" (1983), with each side's private copy of the other's position, as in J. Giacomoni et al.,
// "FastForward" (PPoPP 2008) and its successors. Changed: records of any length, sleeping sides,
// ends, and owners that may die.
//
// Word layout, in Int32 units from `base`; groups written by different agents are 128 bytes apart.
//
//   0 TAIL | 32 HEAD | 33 INDEX
//
//   word of a side = its position << 2 | what that side must know of the other one
//
// - TAIL: where the next record goes. Raised by the writer, after the record: it publishes.
// - HEAD: where the next record is read. Raised by the reader, after it copied: it frees.
//   Both are raised by an addition that returns the two bits below. The other side sets them: the
//   reader in TAIL, the writer in HEAD.
// - WANTS: set by the other side before it looks a last time and sleeps, cleared as it is woken. Either
//   that last look sees the new position, or the addition sees the bit: they are of one word.
// - GONE: set when the other side closed; never cleared.
// - INDEX: how many messages of the record at HEAD, which is a run, were taken. The owner of the
//   reading side keeps it to itself: it clears the word as it takes the end over, and writes it down when
//   it gives the end away. Plain: only the owner touches it, and owners follow each other by CAS.

import { deaths, type Domain, isAlive, unpark } from "./_agent.ts";
import { spinUntilBeyond } from "./_park.ts";
import { damaged, fetchFree, type Ring } from "./_ring.ts";

const TAIL = 0;
const HEAD = 32;
const INDEX = 33;

const WANTS = 1;
const GONE = 2;
const BITS = WANTS | GONE;
/** How many they are. */
const BIT_COUNT = 2;

/** How many words the positions and bits of one direction take. */
export const CHANNEL_WORDS = 64;

/** One side of a channel, as the agent that owns it sees it. */
export interface Side {
  readonly domain: Domain;
  readonly words: Int32Array;
  readonly ring: Ring;
  readonly base: number;
  /** Index of the word with the id of the agent that owns the other side; 0: nobody yet. */
  readonly peer: number;
  /** This side's position: nobody else changes it. */
  own: number;
  /** The other side's position when last seen; it can only be further on. */
  seen: number;
  /** Up to where a writer has fetched free memory. */
  fetched: number;
  /** Of the record at a reader's position: how many of its messages were taken. */
  index: number;
  /** The count of deaths up to which the peer is known to live. */
  deaths: number;
}

/** The writing side. */
export function writerOf(
  domain: Domain,
  words: Int32Array,
  ring: Ring,
  base: number,
  peer: number,
): Side {
  const own = positionIn(Atomics.load(words, base + TAIL));
  // As if it were full: the first look then finds out.
  const seen = (own - ring.mask - 1) | 0;
  return { domain, words, ring, base, peer, own, seen, fetched: own, index: 0, deaths: -1 };
}

/** The reading side. */
export function readerOf(
  domain: Domain,
  words: Int32Array,
  ring: Ring,
  base: number,
  peer: number,
): Side {
  const own = positionIn(Atomics.load(words, base + HEAD));
  // Written before this agent became the owner.
  const index = words[base + INDEX]!;
  // As if nothing were there, likewise.
  return { domain, words, ring, base, peer, own, seen: own, fetched: own, index, deaths: -1 };
}

// -- Writer ------------------------------------------------------------------------------------

/** Whether `need` words are free. */
export function hasRoom(writer: Side, need: number): boolean {
  return need <= writer.ring.mask + 1 - ((writer.own - writer.seen) | 0) || room(writer) >= need;
}

/** How many words are free, looked up anew. */
export function room(writer: Side): number {
  const ahead = distance(writer, Atomics.load(writer.words, writer.base + HEAD));
  const free = writer.ring.mask + 1 + ahead;
  // Not where a reader can be. What follows relies on it, as each side does on the other.
  if (free < 0 || ahead > 0) throw damaged("write");
  writer.seen = (writer.own + ahead) | 0;
  return free;
}

/**
 * Makes the `count` words written at the writer's position readable. Returns whether there is
 * somebody to read them.
 */
export function publish(writer: Side, count: number): boolean {
  writer.own = (writer.own + count) | 0;
  // Publishes: a reader that sees the new TAIL may read the records before it.
  const bits = Atomics.add(writer.words, writer.base + TAIL, count << BIT_COUNT) & BITS;
  if (bits !== 0) wakeSide(writer, TAIL, bits);
  return (bits & GONE) === 0 && isPeerAlive(writer);
}

/** Fetches what is free as far as was seen: before a message is encoded, so that it comes meanwhile. */
export function fetchAhead(writer: Side): void {
  const { ring, own } = writer;
  const free = ring.mask + 1 - ((own - writer.seen) | 0);
  writer.fetched = fetchFree(ring, own, free, writer.fetched);
}

/** Asks to be woken when room was made. To be said before the last look. */
export function wantRoom(writer: Side): void {
  Atomics.or(writer.words, writer.base + HEAD, WANTS);
}

/** Whether nobody will ever read what is written now. */
export function isReaderGone(writer: Side): boolean {
  return isReaderClosed(writer.words, writer.base) || !isPeerAlive(writer);
}

/** Ends the writing: what was published is still read. */
export function closeWriter(writer: Side): void {
  Atomics.or(writer.words, writer.base + HEAD, GONE);
  wakePeer(writer);
}

// -- Reader ------------------------------------------------------------------------------------

/** Whether a record is there. */
export function hasRecord(reader: Side): boolean {
  if (((reader.seen - reader.own) | 0) > 0) return true;
  const there = distance(reader, Atomics.load(reader.words, reader.base + TAIL));
  if (there < 0 || there > reader.ring.mask + 1) throw damaged("read");
  reader.seen = (reader.own + there) | 0;
  return there > 0;
}

/** How many words there are to read, as far as was seen. */
export function wordsThere(reader: Side): number {
  return (reader.seen - reader.own) | 0;
}

/** Frees the `count` words read at the reader's position. */
export function release(reader: Side, count: number): void {
  reader.own = (reader.own + count) | 0;
  // Frees: a writer that sees the new HEAD may write over what was before it.
  const bits = Atomics.add(reader.words, reader.base + HEAD, count << BIT_COUNT) & BITS;
  if (bits !== 0) wakeSide(reader, HEAD, bits);
}

/** Asks to be woken when something was written. To be said before the last look. */
export function wantRecord(reader: Side): void {
  Atomics.or(reader.words, reader.base + TAIL, WANTS);
}

/** Whether nothing more will be written; what is there must be looked for after this, once more. */
export function isWriterGone(reader: Side): boolean {
  return isWriterClosed(reader.words, reader.base) || !isPeerAlive(reader);
}

/** Ends the reading: what is written is dropped. */
export function closeReader(reader: Side): void {
  Atomics.or(reader.words, reader.base + TAIL, GONE);
  wakePeer(reader);
}

/** Index of the word that changes when there is news for the reader, for those who spin on it. */
export function newsIndex(reader: Side): number {
  return reader.base + TAIL;
}

/** Index of the word that changes when there is room for the writer, for those who spin on it. */
export function roomIndex(writer: Side): number {
  return writer.base + HEAD;
}

/**
 * Spins until there is a fair amount of room, for less time than going to sleep would take. Returns whether
 * there is.
 */
export function spinForRoom(writer: Side): boolean {
  const quarter = (writer.ring.mask + 1) >> 2;
  return spinUntilBeyond(
    writer.words,
    roomIndex(writer),
    writer.seen << BIT_COUNT,
    quarter << BIT_COUNT,
  );
}

/** What the word of the other side holds as long as it is where it was seen. */
export function seenWord(side: Side, index: number): number {
  return (side.seen << BIT_COUNT) | (Atomics.load(side.words, index) & BITS);
}

/** Whether the owner of the writing side has closed it. */
export function isWriterClosed(words: Int32Array, base: number): boolean {
  return (Atomics.load(words, base + HEAD) & GONE) !== 0;
}

/** Whether the owner of the reading side has closed it. */
export function isReaderClosed(words: Int32Array, base: number): boolean {
  return (Atomics.load(words, base + TAIL) & GONE) !== 0;
}

// -- Both --------------------------------------------------------------------------------------

/** The position in the word of a side: modulo 2^30, like all that is compared with it. */
function positionIn(word: number): number {
  return word >> BIT_COUNT;
}

/** How far the position in a word is ahead of the side's own. */
function distance(side: Side, word: number): number {
  return ((word & ~BITS) - (side.own << BIT_COUNT)) >> BIT_COUNT;
}

/** The other side has bits set: wakes it if it wants to be. */
function wakeSide(side: Side, which: number, bits: number): void {
  if ((bits & WANTS) === 0) return;
  // Cleared first: if the other side sets it again meanwhile, it looks again after that.
  Atomics.and(side.words, side.base + which, ~WANTS);
  wakePeer(side);
}

function wakePeer(side: Side): void {
  const owner = Atomics.load(side.words, side.peer);
  if (owner !== 0) unpark(side.domain, owner);
}

/** Whether the owner of the other side has not ended, as far as anybody knows. */
function isPeerAlive(side: Side): boolean {
  const count = deaths(side.domain);
  if (count === side.deaths) return true;
  const owner = Atomics.load(side.words, side.peer);
  if (owner !== 0 && !isAlive(side.domain, owner)) return false;
  // Nobody yet: its future owner may be among the next dead.
  if (owner !== 0) side.deaths = count;
  return true;
}

/** Says that the owner of the reading side keeps to itself again what was written down for it. */
export function takeIndex(reader: Side): void {
  reader.words[reader.base + INDEX] = 0;
}

/** Writes down what the owner of the reading side knows, for the agent that it gives it to. */
export function leaveIndex(reader: Side): void {
  reader.words[reader.base + INDEX] = reader.index;
}
