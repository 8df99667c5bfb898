// Copyright 2026 the Sabre authors. MIT license.

// A ring of 32-bit words in shared memory, and how bytes go in and out of it. Positions count words
// modulo 2^32, so that they are compared by `(a - b) | 0`. Who may touch which part at which time is
// the business of those who keep the positions: here are plain accesses only.

/** A ring, as one agent sees it. */
export interface Ring {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /**
   * Index of the ring's first word. Odd: so what is at an odd position, where payloads begin, is aligned
   * to 8 bytes. The engine copies shared memory byte by byte if one of the two sides is not.
   */
  readonly start: number;
  /** Size in words, a power of two, less one. */
  readonly mask: number;
}

/** The error of a call that finds in the shared memory what nobody of this package ever writes there. */
export function damaged(action: "read" | "write"): TypeError {
  return new TypeError(`Cannot ${action} a message: the storage is damaged`);
}

/** Whether a ring can be of so many words. */
export function isRingSize(size: number): boolean {
  return size >= MIN_BYTES / 4 && size <= MAX_BYTES / 4 && (size & (size - 1)) === 0;
}

/** Largest storage: positions must stay comparable. */
const MAX_BYTES = 1 << 30;
const MIN_BYTES = 64;
/** Bytes up to which a loop over words is quicker than a block copy. */
export const SHORT = 256;

/** Words in a line of the processors' caches. */
const LINE = 16;
/** How many words are fetched at a time, if so many are free. */
const AHEAD = 12 * LINE;
/** With fewer than these left of them the next are fetched: about what a small message takes. */
const NEXT = 2 * LINE;

/** The ring of `size` words from word `start` of the memory. */
export function ringAt(words: Int32Array, start: number, size: number): Ring {
  return { words, bytes: new Uint8Array(words.buffer), start, mask: size - 1 };
}

/** How many words hold `capacity` bytes: rounded up to a power of two, and at least 16. */
export function ringWords(capacity: number, action: string): number {
  if (capacity > MAX_BYTES) {
    throw new RangeError(
      `Cannot ${action} as capacity must be at most ${MAX_BYTES} bytes: current value is ${capacity}`,
    );
  }
  return 2 ** Math.ceil(Math.log2(Math.max(capacity, MIN_BYTES))) / 4;
}

/** How many words `bytes` bytes take. */
export function wordsFor(bytes: number): number {
  return (bytes + 3) >>> 2;
}

/** The word at a position. */
export function readWord(ring: Ring, position: number): number {
  return ring.words[ring.start + (position & ring.mask)]!;
}

/** Sets the word at a position. */
export function writeWord(ring: Ring, position: number, value: number): void {
  ring.words[ring.start + (position & ring.mask)] = value;
}

/**
 * Has memory fetched that will be written soon: of the `free` words from `position` on, which nobody else may
 * touch. It is with the core of whoever read it last, no record is published before its own has come, and
 * several lines come as soon as one if they are asked for at once. Does nothing while enough is left of
 * what was fetched up to `fetched`, or where little is free. Returns up to where it is fetched now.
 */
export function fetchFree(ring: Ring, position: number, free: number, fetched: number): number {
  const left = (fetched - position) | 0;
  if (left >= NEXT || free < AHEAD) return fetched;
  const { words, start, mask } = ring;
  let i = left > 0 ? left : 0;
  for (; i < AHEAD; i += LINE) words[start + ((position + i) & mask)] = 0;
  return (position + i) | 0;
}

/** Copies bytes `from..from + length` of `source` into the ring from `position` on. */
export function writeBytes(
  ring: Ring,
  position: number,
  source: Uint8Array,
  from: number,
  length: number,
): void {
  const { bytes, start, mask } = ring;
  const offset = (position & mask) << 2;
  const first = Math.min(length, ((mask + 1) << 2) - offset);
  const whole = from === 0 && length === source.length;
  bytes.set(
    whole && first === length ? source : source.subarray(from, from + first),
    (start << 2) + offset,
  );
  if (first < length) bytes.set(source.subarray(from + first, from + length), start << 2);
}

/** Copies `count` words of another, private ring that do not wrap there. */
export function copyIn(
  ring: Ring,
  position: number,
  source: Ring,
  from: number,
  count: number,
): void {
  const first = source.start + from;
  if (count > SHORT / 4) {
    return writeBytes(ring, position, source.bytes, first * 4, count * 4);
  }
  const { words, start, mask } = ring;
  for (let i = 0; i < count; i++) words[start + ((position + i) & mask)] = source.words[first + i]!;
}

/** Copies all integers of the source into the ring from `position` on. Runs no code of the source. */
export function writeInts(ring: Ring, position: number, source: Int32Array, length: number): void {
  const { words, start, mask } = ring;
  const at = start + (position & mask);
  const first = Math.min(length, start + mask + 1 - at);
  if (first === length) {
    words.set(source, at);
  } else {
    for (let i = 0; i < first; i++) words[at + i] = source[i]!;
    for (let i = first; i < length; i++) words[start + i - first] = source[i]!;
  }
}

/** Copies `count` integers from `position` on to `target[to..]`. Runs no code of the target. */
export function readInts(
  ring: Ring,
  position: number,
  target: Int32Array,
  to: number,
  count: number,
): void {
  const { words, start, mask } = ring;
  const at = start + (position & mask);
  const first = Math.min(count, start + mask + 1 - at);
  for (let i = 0; i < first; i++) target[to + i] = words[at + i]!;
  for (let i = first; i < count; i++) target[to + i] = words[start + i - first]!;
}

/** Copies `length` bytes of aligned private memory into the ring; the last word may bring some more. */
export function writeAligned(
  ring: Ring,
  position: number,
  sourceWords: Int32Array,
  source: Uint8Array,
  length: number,
): void {
  if (length > SHORT) return writeBytes(ring, position, source, 0, length);
  const { words, start, mask } = ring;
  const count = (length + 3) >>> 2;
  for (let i = 0; i < count; i++) words[start + ((position + i) & mask)] = sourceWords[i]!;
}

/** Copies `length` bytes from `position` on, skipping `skip` bytes there, to `target[at..]`. */
export function readBytes(
  ring: Ring,
  position: number,
  skip: number,
  target: Uint8Array,
  at: number,
  length: number,
): void {
  const { bytes, start, mask } = ring;
  const size = (mask + 1) << 2;
  const offset = (((position & mask) << 2) + skip) & (size - 1);
  const first = Math.min(length, size - offset);
  const begin = (start << 2) + offset;
  target.set(bytes.subarray(begin, begin + first), at);
  if (first < length) {
    target.set(bytes.subarray(start << 2, (start << 2) + length - first), at + first);
  }
}

/** Copies `length` bytes into aligned private memory, from `at`, a multiple of 4, on; up to 3 more come. */
export function readAligned(
  ring: Ring,
  position: number,
  targetWords: Int32Array,
  target: Uint8Array,
  at: number,
  length: number,
): void {
  if (length > SHORT) return readBytes(ring, position, 0, target, at, length);
  const { words, start, mask } = ring;
  const first = at >> 2;
  const count = (length + 3) >>> 2;
  for (let i = 0; i < count; i++) {
    targetWords[first + i] = words[start + ((position + i) & mask)]!;
  }
}

/** Copies `length` bytes into memory of their own. */
export function readOut(ring: Ring, position: number, length: number): Uint8Array<ArrayBuffer> {
  if (length > SHORT || (length & 3) !== 0) {
    const bytes = new Uint8Array(length);
    readBytes(ring, position, 0, bytes, 0, length);
    return bytes;
  }
  const { words, start, mask } = ring;
  const copy = new Int32Array(length >> 2);
  for (let i = 0; i < copy.length; i++) copy[i] = words[start + ((position + i) & mask)]!;
  return new Uint8Array(copy.buffer);
}
