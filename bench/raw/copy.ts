// Copyright 2026 the Sabre authors. MIT license.

// The least that bytes can take from one thread to another through shared memory: a copy into one of
// some places, a copy out of it, and a word for each side that counts those it is through with.

const FILLED = 0;
const EMPTIED = 32;
const START = 64 * 4;

/** Places for messages of the size. */
export interface Places {
  readonly memory: SharedArrayBuffer;
  readonly count: number;
  readonly size: number;
}

/** Memory for as many. */
export function placesFor(count: number, size: number): Places {
  return { memory: new SharedArrayBuffer(START + count * size), count, size };
}

/** Copies the bytes in `turns` times, spinning while all places are filled. */
export function copyIn({ memory, count, size }: Places, bytes: Uint8Array, turns: number): void {
  const words = new Int32Array(memory, 0, START / 4);
  const places = Array.from({ length: count }, (_, i) => placeAt(memory, i, size));
  for (let i = 0; i < turns; i++) {
    while (i - Atomics.load(words, EMPTIED) >= count);
    places[i % count]!.set(bytes);
    Atomics.store(words, FILLED, i + 1);
  }
}

/** Returns what copies the next ones out, spinning while none is filled. */
export function copierOut({ memory, count, size }: Places): (target: Uint8Array) => void {
  const words = new Int32Array(memory, 0, START / 4);
  const places = Array.from({ length: count }, (_, i) => placeAt(memory, i, size));
  let i = 0;
  return (target) => {
    while (Atomics.load(words, FILLED) === i);
    target.set(places[i % count]!);
    i++;
    Atomics.store(words, EMPTIED, i);
  };
}

function placeAt(memory: SharedArrayBuffer, index: number, size: number): Uint8Array {
  return new Uint8Array(memory, START + index * size, size);
}
