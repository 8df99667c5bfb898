// Copyright 2026 the Sabre authors. MIT license.

// The least that one producer and one consumer can do: a store for each item, and each side looks at
// the other's index only when it has to. No waiting, no end, no values but integers.

const TAIL = 0;
const HEAD = 32;
const ITEMS = 64;
const LENGTH = 1 << 14;
const MASK = LENGTH - 1;

/** Memory for one. */
export function ringMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer((ITEMS + LENGTH) * 4);
}

/** Puts the integers below `count`, spinning while it is full. */
export function fillRing(memory: SharedArrayBuffer, count: number): void {
  const words = new Int32Array(memory);
  let tail = Atomics.load(words, TAIL);
  let head = Atomics.load(words, HEAD);
  for (let i = 0; i < count; i++) {
    while (((tail - head) | 0) >= LENGTH) head = Atomics.load(words, HEAD);
    words[ITEMS + (tail & MASK)] = i;
    tail = (tail + 1) | 0;
    Atomics.store(words, TAIL, tail);
  }
}

/** Returns what takes the next integer, spinning while there is none. */
export function drainRing(memory: SharedArrayBuffer): () => number {
  const words = new Int32Array(memory);
  let head = Atomics.load(words, HEAD);
  let tail = head;
  return () => {
    while (tail === head) tail = Atomics.load(words, TAIL);
    const value = words[ITEMS + (head & MASK)]!;
    head = (head + 1) | 0;
    Atomics.store(words, HEAD, head);
    return value;
  };
}
