// Copyright 2026 the Sabre authors. MIT license.

// The least that many producers and many consumers can do with one order for all: the bounded queue
// of Dmitry Vyukov, in which every cell has a number that says whose turn it is. No waiting, no end,
// no values but integers, and who dies between its two steps stops all the others.

const TAIL = 0;
const HEAD = 32;
const CELLS = 64; // two words each: number, value
const LENGTH = 1 << 14;
const MASK = LENGTH - 1;

/** Memory for one. */
export function vyukovMemory(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer((CELLS + 2 * LENGTH) * 4);
  const words = new Int32Array(memory);
  for (let i = 0; i < LENGTH; i++) words[CELLS + 2 * i] = i;
  return memory;
}

/** Puts an integer; says whether there was room. */
export function tryPut(words: Int32Array<SharedArrayBuffer>, value: number): boolean {
  for (;;) {
    const tail = Atomics.load(words, TAIL);
    const cell = CELLS + 2 * (tail & MASK);
    const turn = (Atomics.load(words, cell) - tail) | 0;
    if (turn < 0) return false;
    if (turn > 0) continue;
    if (Atomics.compareExchange(words, TAIL, tail, (tail + 1) | 0) !== tail) continue;
    words[cell + 1] = value;
    Atomics.store(words, cell, (tail + 1) | 0);
    return true;
  }
}

/** Takes an integer, or returns -1 if there is none. */
export function tryGet(words: Int32Array<SharedArrayBuffer>): number {
  for (;;) {
    const head = Atomics.load(words, HEAD);
    const cell = CELLS + 2 * (head & MASK);
    const turn = (Atomics.load(words, cell) - head - 1) | 0;
    if (turn < 0) return -1;
    if (turn > 0) continue;
    if (Atomics.compareExchange(words, HEAD, head, (head + 1) | 0) !== head) continue;
    const value = words[cell + 1]!;
    Atomics.store(words, cell, (head + LENGTH) | 0);
    return value;
  }
}
