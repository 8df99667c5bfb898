// Copyright 2026 the Sabre authors. MIT license.

// The least that a lock can be: a word of three states, as in "Futexes Are Tricky" by Ulrich Drepper.
// Nobody owns it, so nobody notices that its holder died.

const FREE = 0;
const HELD = 1;
const WAITED_FOR = 2;

/** Takes the lock, sleeping while somebody else has it. */
export function lock(words: Int32Array<SharedArrayBuffer>): void {
  if (Atomics.compareExchange(words, 0, FREE, HELD) === FREE) return;
  while (Atomics.exchange(words, 0, WAITED_FOR) !== FREE) Atomics.wait(words, 0, WAITED_FOR);
}

/** Gives it back. */
export function unlock(words: Int32Array<SharedArrayBuffer>): void {
  if (Atomics.exchange(words, 0, FREE) === WAITED_FOR) Atomics.notify(words, 0, 1);
}
