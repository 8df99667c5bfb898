// Copyright 2026 the Sabre authors. MIT license.

// Records: how messages lie in a ring. A record is a header word and a payload, which begins at the next odd
// position, aligned as the ring says, and is padded to the next even one.
//
//   header = payload's length in bytes << 5 | type
//   header of a SMALL = the integer << 5 | type
//
// A SMALL is nothing but its header. Only after an odd number of these is a header at an odd position: then
// one word before the payload is left empty. Queues have no SMALLs, so that all of theirs are at even ones.
//
// Numbers and bytes have types of their own, so that they need no codec. A run is many messages in
// one record: the elements of a typed array. What is larger than the ring goes in pieces, the first of
// which begins with the length of the whole.

import { decode, encode, output } from "./_codec.ts";
import { show } from "./_options.ts";
import {
  damaged,
  readAligned,
  readBytes,
  readInts,
  readOut,
  readWord,
  type Ring,
  SHORT,
  wordsFor,
  writeAligned,
  writeBytes,
  writeInts,
  writeWord,
} from "./_ring.ts";
import { plainArray, steadyArray } from "./_views.ts";

const TYPE_BITS = 5;
const TYPE_MASK = (1 << TYPE_BITS) - 1;

/** A value, as the codec writes it. */
export const VALUE = 0;
/** The bytes of a `Uint8Array`. */
export const BYTES = 1;
/** An integer that fits in 32 bits. */
export const INT = 2;
/** Any other number. */
export const FLOAT = 3;
/** An integer that fits beside the type. */
export const SMALL = 4;
/** The first piece of a value; what was gathered before belongs to a message that was given up. */
export const FIRST_VALUE = 5;
/** The first piece of bytes, likewise. */
export const FIRST_BYTES = 6;
/** A further piece. */
export const PIECE = 7;
/** From here on, runs: one type for each kind of element, in the order of `KINDS`. */
export const RUN = 8;

/** Bytes of a run that goes in one record in any ring in which there is room for it. */
const SHORT_RUN = SHORT;
/** Bytes that a ring full of the longest runs has for their headers, at the most. */
const HEADERS = 32;

/** Bytes before those of a first piece: the length of the whole message, in two words. */
export const FIRST_HEAD = 8;

/** Payload of the longest record; longer messages go in pieces. Leaves room for the type bits. */
export const MAX_PAYLOAD = 1 << 26;

/** The arrays whose elements can travel in runs. */
export type RunArray =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

const KINDS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const;

/** A message on its way into a ring: what `pack` made of a value. */
export interface Packet {
  type: number;
  /** Length of the payload in bytes. */
  length: number;
  /** The payload of a VALUE or BYTES; private memory of the codec or the user. */
  bytes: Uint8Array;
  /** The same memory as words, if it is aligned. */
  words: Int32Array | undefined;
  /** The payload of an INT or FLOAT. */
  low: number;
  high: number;
}

/** The type of a run of an `Int32Array`. */
const INTS = RUN + KINDS.indexOf(Int32Array);

/** Bytes of one element by the type of the run; 0 for all other types. */
const SIZES = new Uint8Array(1 << TYPE_BITS);
for (const [kind, { BYTES_PER_ELEMENT }] of KINDS.entries()) SIZES[RUN + kind] = BYTES_PER_ELEMENT;

const NO_BYTES = new Uint8Array(0);
const float = new Float64Array(1);
const halves = new Int32Array(float.buffer);

/** A packet to fill. */
export function newPacket(): Packet {
  return { type: INT, length: 4, bytes: NO_BYTES, words: undefined, low: 0, high: 0 };
}

/** Encodes the value into the packet, which is valid until this agent encodes again. */
export function pack(packet: Packet, value: unknown): void {
  if (typeof value === "number") {
    packet.bytes = NO_BYTES;
    packet.words = undefined;
    if (isInt(value)) {
      packet.type = INT;
      packet.length = 4;
      packet.low = value;
    } else {
      packet.type = FLOAT;
      packet.length = 8;
      float[0] = value;
      packet.low = halves[0]!;
      packet.high = halves[1]!;
    }
  } else if (isPlainBytes(value)) {
    packBytes(packet, value);
  } else {
    packet.length = encode(value);
    packet.type = VALUE;
    packet.bytes = output.bytes;
    packet.words = output.words;
  }
}

/** Makes the packet a message of these bytes. */
export function packBytes(packet: Packet, bytes: Uint8Array): void {
  packet.type = BYTES;
  packet.bytes = steadyArray(bytes);
  packet.length = packet.bytes.byteLength;
  packet.words = undefined;
}

/** Copies what the packet borrowed, so that it stays valid for as long as a call waits. */
export function keep(packet: Packet): Packet {
  if (packet.type > BYTES) return { ...packet };
  // Not by `wordsFor`: before it goes in pieces it may be longer than a ring.
  const bytes = new Uint8Array(Math.ceil(packet.length / 4) * 4);
  bytes.set(
    packet.length === packet.bytes.length ? packet.bytes : packet.bytes.subarray(0, packet.length),
  );
  return { ...packet, bytes, words: new Int32Array(bytes.buffer) };
}

/** How many words the packet's record takes at an even position. */
export function packetWords(packet: Packet): number {
  return recordWords(packet.length);
}

/** How many words the packet's shortest record takes at the position: an integer may be a SMALL. */
export function shortestWords(packet: Packet, position: number): number {
  return packet.type === INT
    ? intWords(packet.low, position)
    : recordWords(packet.length, position);
}

/** How many words the record of a payload of so many bytes takes at the position, which may be any even one. */
export function recordWords(length: number, position = 0): number {
  return ((wordsFor(length) + 2) & ~1) + (position & 1);
}

/** The longest payload of a record at the position for which there are `words` words, in bytes. */
export function payloadWithin(words: number, position: number): number {
  return (((position + words) & ~1) - payloadAt(position)) << 2;
}

/** Where the payload of the record at the position begins. */
function payloadAt(position: number): number {
  return (position + 1) | 1;
}

/** The header of every record of an INT. */
export const INT_HEADER = (4 << TYPE_BITS) | INT;
/** Words of such a record. */
export const INT_WORDS = 2;

/** Whether the number goes as an INT: it fits in 32 bits, and is not -0. */
export function isInt(value: number): boolean {
  return (value | 0) === value && (value !== 0 || 1 / value > 0);
}

/** Whether the integer can be a SMALL. */
function isSmall(value: number): boolean {
  return value << TYPE_BITS >> TYPE_BITS === value;
}

/** How many words the shortest record of an integer, a SMALL or an INT, takes at the position. */
export function intWords(value: number, position: number): number {
  return isSmall(value) ? 1 : INT_WORDS + (position & 1);
}

/** Writes that record at a position that has room for it. */
export function writeInt(ring: Ring, position: number, value: number): void {
  if (isSmall(value)) {
    writeWord(ring, position, (value << TYPE_BITS) | SMALL);
  } else {
    writeWord(ring, position, INT_HEADER);
    writeWord(ring, payloadAt(position), value);
  }
}

/** Whether a header is that of an integer. */
export function isIntHeader(header: number): boolean {
  return typeIn(header) === SMALL || header === INT_HEADER;
}

/** How many words the record of an integer at the position takes, by its header. */
export function wordsOfInt(header: number, position: number): number {
  return header === INT_HEADER ? INT_WORDS + (position & 1) : 1;
}

/** The integer of the record at the position. */
export function readInt(ring: Ring, position: number, header: number): number {
  return typeIn(header) === SMALL ? header >> TYPE_BITS : readWord(ring, payloadAt(position));
}

/** Writes the packet's record at a position that has room for it. */
export function writePacket(ring: Ring, position: number, packet: Packet): void {
  const { type, length, words } = packet;
  const at = payloadAt(position);
  writeWord(ring, position, (length << TYPE_BITS) | type);
  if (type === INT) {
    writeWord(ring, at, packet.low);
  } else if (type === FLOAT) {
    writeWord(ring, at, packet.low);
    writeWord(ring, at + 1, packet.high);
  } else if (words !== undefined) {
    writeAligned(ring, at, words, packet.bytes, length);
  } else {
    writeBytes(ring, at, packet.bytes, 0, length);
  }
}

/** Writes the packet's shortest record, likewise. */
export function writeShortest(ring: Ring, position: number, packet: Packet): void {
  if (packet.type === INT) writeInt(ring, position, packet.low);
  else writePacket(ring, position, packet);
}

/** Writes the record of the first piece: the first `length` bytes of the packet's payload. */
export function writeFirst(ring: Ring, position: number, packet: Packet, length: number): void {
  const type = packet.type === BYTES ? FIRST_BYTES : FIRST_VALUE;
  const at = payloadAt(position);
  writeWord(ring, position, ((length + FIRST_HEAD) << TYPE_BITS) | type);
  writeWord(ring, at, packet.length | 0);
  writeWord(ring, at + 1, Math.floor(packet.length / 2 ** 32));
  writeBytes(ring, at + 2, packet.bytes, 0, length);
}

/** The length of the whole message, of which the first piece is at the position. */
export function totalIn(ring: Ring, position: number): number {
  const at = payloadAt(position);
  return (readWord(ring, at + 1) >>> 0) * 2 ** 32 + (readWord(ring, at) >>> 0);
}

/** Writes the record of a further piece. */
export function writePiece(
  ring: Ring,
  position: number,
  packet: Packet,
  from: number,
  length: number,
): void {
  writeWord(ring, position, (length << TYPE_BITS) | PIECE);
  writeBytes(ring, payloadAt(position), packet.bytes, from, length);
}

/** The type in a header. */
export function typeIn(header: number): number {
  return header & TYPE_MASK;
}

/** The payload's length in a header, checked against the ring: whatever lies there, it is within. */
export function lengthIn(ring: Ring, header: number): number {
  const length = header >>> TYPE_BITS;
  if (length > ring.mask << 2) throw damaged("read");
  return length;
}

const scratch = { bytes: new Uint8Array(0), words: new Int32Array(0) };

/** Scratch memory for at least `length` bytes, valid until the next call. */
function scratchFor(length: number): Uint8Array<ArrayBuffer> {
  if (scratch.bytes.length < length) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(length, 1 << 16)));
    scratch.bytes = new Uint8Array(size);
    scratch.words = new Int32Array(scratch.bytes.buffer);
  }
  return scratch.bytes;
}

/** The message of an ordinary record: not a piece, not a run. */
export function readMessage(ring: Ring, position: number, header: number): unknown {
  switch (typeIn(header)) {
    case SMALL:
    case INT:
      return readInt(ring, position, header);
    case FLOAT:
      halves[0] = readWord(ring, payloadAt(position));
      halves[1] = readWord(ring, payloadAt(position) + 1);
      return float[0];
    case BYTES:
      return readPayload(ring, position, lengthIn(ring, header));
    case VALUE: {
      const length = lengthIn(ring, header);
      const bytes = scratchFor(length + 4);
      readAligned(ring, payloadAt(position), scratch.words, bytes, 0, length);
      return decode(bytes, 0, length);
    }
    default:
      throw damaged("read");
  }
}

/** Messages that were copied out of a ring, to be decoded once nobody waits for that. */
export class Lifted {
  #bytes = new Uint8Array(1 << 12);
  #words = new Int32Array(this.#bytes.buffer);
  #used = 0;
  // For each message its header, where its payload begins, and the value of a number. Reused: to empty an
  // array, and to shift one, takes longer than all else.
  readonly #headers: number[] = [];
  readonly #starts: number[] = [];
  readonly #values: unknown[] = [];
  #added = 0;
  #taken = 0;

  get count(): number {
    return this.#added - this.#taken;
  }

  /** Copies item `index` of the record at the position. */
  add(ring: Ring, position: number, index: number): void {
    const header = readWord(ring, position);
    const type = typeIn(header);
    if (type >= RUN) {
      this.#note(INT, 0, readElement(ring, position, type, index));
    } else if (type === INT || type === FLOAT) {
      this.#note(header, 0, readMessage(ring, position, header));
    } else {
      const length = lengthIn(ring, header);
      const at = this.#makeRoom(length);
      readAligned(ring, payloadAt(position), this.#words, this.#bytes, at, length);
      this.#note(header, at, length);
    }
  }

  /** Copies a message from memory of its own. */
  addBytes(type: number, source: Uint8Array, length: number): void {
    const at = this.#makeRoom(length);
    this.#bytes.set(source.subarray(0, length), at);
    this.#note(type, at, length);
  }

  /** The oldest message, decoded. */
  shift(): unknown {
    const index = this.#taken++;
    const type = typeIn(this.#headers[index]!);
    const at = this.#starts[index]!;
    const value = this.#values[index];
    if (this.count === 0) this.clear();
    if (type === INT || type === FLOAT) return value;
    const end = at + (value as number);
    if (type === BYTES) return this.#bytes.slice(at, end);
    if (type === VALUE) return decode(this.#bytes, at, end);
    throw damaged("read");
  }

  /** Forgets all of them, for a call that failed on the way. */
  clear(): void {
    this.#used = this.#taken = this.#added = 0;
  }

  /** Adds a message: the value of a number, or the length of a payload. */
  #note(header: number, at: number, value: unknown): void {
    const index = this.#added++;
    this.#headers[index] = header;
    this.#starts[index] = at;
    this.#values[index] = value;
  }

  #makeRoom(length: number): number {
    const at = this.#used;
    const used = at + ((length + 7) & ~7);
    if (used > this.#bytes.length) {
      const grown = new Uint8Array(2 ** Math.ceil(Math.log2(used)));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#words = new Int32Array(grown.buffer);
    }
    this.#used = used;
    return at;
  }
}

/** The payload as bytes of its own. */
export function readPayload(ring: Ring, position: number, length: number): Uint8Array<ArrayBuffer> {
  return readOut(ring, payloadAt(position), length);
}

/** Copies the payload, but for its first `skip` bytes, to `target[at..]`. */
export function readInto(
  ring: Ring,
  position: number,
  skip: number,
  target: Uint8Array,
  at: number,
  length: number,
): void {
  readBytes(ring, payloadAt(position), skip, target, at, length);
}

// -- Runs --------------------------------------------------------------------------------------

/** The type of a run of this array's elements; `undefined` if they travel one by one. */
export function runType(values: unknown): number | undefined {
  if (!ArrayBuffer.isView(values)) return undefined;
  // The most frequent one first.
  if (values instanceof Int32Array) return INTS;
  for (let kind = 0; kind < KINDS.length; kind++) {
    if (values instanceof KINDS[kind]!) return RUN + kind;
  }
  return undefined;
}

/** What is to be filled: an array of numbers or bigints of any kind, also of those that do not travel in runs. */
export function targetOf(target: unknown, action: string): RunArray {
  if (!ArrayBuffer.isView(target) || target instanceof DataView) {
    throw new TypeError(
      `Cannot ${action} as the target must be a typed array: current value is ${show(target)}`,
    );
  }
  const plain = plainArray(target) as RunArray;
  if (plain.length === 0) {
    throw new RangeError(`Cannot ${action} as the target must not be empty: its length is 0`);
  }
  return plain;
}

/** Bytes of one element of a run; 0 if the type is not that of a run. */
export function elementSize(type: number): number {
  return SIZES[type]!;
}

/** The same by the header of a record. */
export function wordsOf(ring: Ring, header: number, position = 0): number {
  return typeIn(header) === SMALL ? 1 : recordWords(lengthIn(ring, header), position);
}

/** How many messages the record holds; at least one. */
export function countIn(ring: Ring, header: number): number {
  const size = elementSize(typeIn(header));
  if (size === 0) return 1;
  const count = Math.floor(lengthIn(ring, header) / size);
  if (count === 0) throw damaged("read");
  return count;
}

/** Whether a header is that of a whole message, but no SMALL, or of a run in which there is one of that index. */
export function isSound(ring: Ring, header: number, index: number): boolean {
  const type = typeIn(header);
  if ((header >>> TYPE_BITS) > ring.mask << 2 || (type >= SMALL && type < RUN)) return false;
  const size = elementSize(type);
  return index >= 0 && index < (size === 0 ? 1 : Math.floor((header >>> TYPE_BITS) / size)) &&
    (type < RUN || size > 0);
}

/**
 * Bytes of the longest run: its record takes a quarter of the ring, so that one can be read while the next is
 * written. It may take more of a small ring, for the sake of what headers take.
 */
export function longestRun({ mask }: Ring): number {
  return Math.min(Math.max(mask + 1 - 8, SHORT_RUN), MAX_PAYLOAD);
}

/**
 * Bytes of the run for which those wait that have `left` bytes to write: not each freed word, but a quarter of
 * the ring, or what is left.
 */
export function fairRun(ring: Ring, left: number): number {
  return Math.min(left, ring.mask + 1, longestRun(ring));
}

/**
 * How many of the `left` elements of `size` bytes go in the next run, of which no more than `room` bytes fit. If
 * others follow a long one, these should be aligned to eight bytes as well: the engine copies them far
 * quicker then.
 */
export function countFor(ring: Ring, room: number, left: number, size: number): number {
  const bytes = left * size;
  const longest = longestRun(ring);
  // Also in one run if several, with a header each, would not fit.
  if (bytes <= room && bytes <= MAX_PAYLOAD && (bytes <= longest || bytes + HEADERS > room)) {
    return left;
  }
  const most = Math.min(room, longest);
  return Math.floor((most > SHORT ? most & ~7 : most) / size);
}

/** Writes a run of `count` elements of `values` from `from` on. */
export function writeRun(
  ring: Ring,
  position: number,
  type: number,
  values: RunArray,
  from: number,
  count: number,
): void {
  const size = elementSize(type);
  writeWord(ring, position, (count * size << TYPE_BITS) | type);
  // Needs no further view of the memory, which takes longer than the copy. Not for memory that others
  // have too: they could make it grow in this moment.
  if (
    values instanceof Int32Array && values.buffer instanceof ArrayBuffer && count === values.length
  ) {
    return writeInts(ring, payloadAt(position), values, count);
  }
  const bytes = new Uint8Array(values.buffer, values.byteOffset + from * size, count * size);
  writeBytes(ring, payloadAt(position), bytes, 0, bytes.length);
}

const element = new ArrayBuffer(8);
const elementBytes = new Uint8Array(element);
const elementViews = KINDS.map((Kind) => new Kind(element, 0, 1));

/** Element `index` of the run at `position`. */
export function readElement(
  ring: Ring,
  position: number,
  type: number,
  index: number,
): number | bigint {
  const size = elementSize(type);
  readBytes(ring, payloadAt(position), index * size, elementBytes, 0, size);
  return elementViews[type - RUN]![0]!;
}

/**
 * Copies up to `count` elements of a run, from `index` on, to `target[at..]`. Returns whether it
 * could: the target must be of the same kind, otherwise the elements are to be taken one by one.
 */
export function readRunInto(
  ring: Ring,
  position: number,
  type: number,
  index: number,
  target: RunArray,
  at: number,
  count: number,
): boolean {
  if (runType(target) !== type) return false;
  // As above.
  if (target instanceof Int32Array && count <= SHORT / 4) {
    readInts(ring, payloadAt(position) + index, target, at, count);
    return true;
  }
  const size = elementSize(type);
  const bytes = new Uint8Array(target.buffer, target.byteOffset + at * size, count * size);
  readBytes(ring, payloadAt(position), index * size, bytes, 0, bytes.length);
  return true;
}

/** Whether the value is a `Uint8Array` and nothing more, in memory of this agent alone. */
function isPlainBytes(value: unknown): value is Uint8Array {
  return typeof value === "object" && value !== null &&
    Object.getPrototypeOf(value) === Uint8Array.prototype &&
    ArrayBuffer.isView(value) && value.buffer instanceof ArrayBuffer && !value.buffer.detached;
}

/** Whether reading the array runs no user code, so that several of its items may be read at a time. */
export function isPlainArray(values: unknown): boolean {
  return Array.isArray(values) && values[Symbol.iterator] === Array.prototype[Symbol.iterator];
}
