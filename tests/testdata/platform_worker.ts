// Copyright 2026 the Sabre authors. MIT license.

// What workers of `platform_test.ts` do.

/** Whether this module is what was run. It is imported here, as users' modules are. */
export function isMain(): boolean {
  return import.meta.main;
}

/** Blocks until the word is notified, and counts in the last one that it is about to. */
export function sleep(memory: SharedArrayBuffer, index: number, timeout: number): string {
  const words = new Int32Array(memory);
  Atomics.add(words, words.length - 1, 1);
  return Atomics.wait(words, index, 0, timeout);
}

/** Wakes all who sleep on the word. */
export function notify(memory: SharedArrayBuffer, index: number): number {
  return Atomics.notify(new Int32Array(memory), index);
}

/** In each round writes to plain words of that round, then announces it. */
export function write(memory: SharedArrayBuffer, rounds: number): void {
  const flags = new Int32Array(memory, 0, rounds);
  const data = new Float64Array(memory, rounds * 4, rounds * 2);
  for (let i = 0; i < rounds; i++) {
    data[2 * i] = i + 1;
    data[2 * i + 1] = i + 1;
    Atomics.store(flags, i, 1);
  }
}

/** The other side: how often it saw an announcement without the data before it. */
export function read(memory: SharedArrayBuffer, rounds: number): number {
  const flags = new Int32Array(memory, 0, rounds);
  const data = new Float64Array(memory, rounds * 4, rounds * 2);
  let stale = 0;
  for (let i = 0; i < rounds; i++) {
    while (Atomics.load(flags, i) === 0) { /* The writer is about to. */ }
    if (data[2 * i] !== i + 1 || data[2 * i + 1] !== i + 1) stale++;
  }
  return stale;
}

/**
 * Dekker's test: both write their own word, then read the other's. How often this one read 0 is in
 * the result, by round.
 */
export function dekker(memory: SharedArrayBuffer, me: number, rounds: number): Uint8Array {
  const words = new Int32Array(memory, 64);
  const arrived = new Int32Array(memory, 0, 1);
  const seen = new Uint8Array(rounds);
  Atomics.add(arrived, 0, 1);
  while (Atomics.load(arrived, 0) < 2) { /* The other one is about to. */ }
  for (let i = 0; i < rounds; i++) {
    Atomics.store(words, 2 * i + me, 1);
    seen[i] = Atomics.load(words, 2 * i + 1 - me);
  }
  return seen;
}

/** The time that this agent reads. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** What arrived, looked at here. */
export function lookAt(value: Record<string, unknown>): Record<string, unknown> {
  const memory = value["memory"] as SharedArrayBuffer;
  const words = new Int32Array(memory);
  Atomics.add(words, 0, 1);
  return { keys: Object.keys(value), isShared: memory instanceof SharedArrayBuffer, memory };
}
