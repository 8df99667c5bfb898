// Copyright 2026 the Sabre authors. MIT license.

import type { Lock, RLock } from "../../lock.ts";
import type { RwLock } from "../../rwlock.ts";
import type { Semaphore } from "../../semaphore.ts";
import type { SharedArray } from "../../shared.ts";

/**
 * Takes it and gives it back, again and again, until it is told to stop, and counts in an element of its
 * own. Returns how often.
 */
export function barge(
  of: Lock | RLock | RwLock | Semaphore,
  state: SharedArray<"i32">,
  own: number,
): number {
  let count = 0;
  state.add(1, 1);
  while (state.get(0) === 0) {
    const guard = "writeSync" in of
      ? count % 2 === 0 ? of.readSync() : of.writeSync()
      : of.acquireSync();
    guard.release();
    state.set(own, ++count);
  }
  return count;
}

/** Takes two locks, always in this order, until it is told to stop. */
export function takeBoth(first: Lock, second: Lock, state: SharedArray<"i32">): void {
  state.add(1, 1);
  while (state.get(0) === 0) {
    using _outer = first.acquireSync();
    using _inner = second.acquireSync();
  }
}
