// Copyright 2026 the Sabre authors. MIT license.

// Stands for `_park.ts` in the model: the same sleeping and waking, no spinning.

export const canBlock = true;

export function park(
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  expected: number,
  milliseconds: number,
): boolean {
  return Atomics.wait(words, index, expected, milliseconds) === "timed-out";
}

export function parkAsync(
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  expected: number,
): Promise<unknown> | undefined {
  const ticket = Atomics.waitAsync(words, index, expected);
  return ticket.async ? ticket.value : undefined;
}

export function wakeAll(words: Int32Array<SharedArrayBuffer>, index: number): void {
  Atomics.notify(words, index);
}

export const whileBlocked = { look: (): number => Infinity, leave: (): void => {}, counts: false };

export const spinLimit = 0;

export function pause(): void {}

export const FIRST_PAUSES = 1;
export const MOST_PAUSES = 1;

export function backOff(turns: number): number {
  return turns;
}

/** Nothing changes meanwhile. */
export function spinUntilBeyond(): boolean {
  return false;
}

/** Likewise. */
export function spinWhile(_words: Int32Array, _index: number, _value: number): boolean {
  return false;
}

/** Likewise. */
export class Spinner {
  spin(): boolean {
    return false;
  }
  keepAway(): void {}
  note(): void {}
}
