// Copyright 2026 the Sabre authors. MIT license.

// Stands for `_mutex.ts` in the model of a condition: a lock by its specification, which is there or is
// waited for in one step. The real one is explored on its own.

import { type Domain, isAlive } from "../../_agent.ts";
import { lockLatch, unlockLatch } from "./latch.ts";

export const BUSY = 0;
export const TAKEN = 1;
export const POISONED = 2;
export const MUTEX_WORDS = 1;

export interface Mutex {
  readonly domain: Domain;
  readonly words: Int32Array;
}

export function mutexAt(domain: Domain, words: Int32Array, _base: number): Mutex {
  return { domain, words };
}

export function tryTake({ domain, words }: Mutex): number {
  return lockLatch(domain, words, 0) ? POISONED : TAKEN;
}

export function pollTake(mutex: Mutex, _wait: unknown): number {
  return tryTake(mutex);
}

export function giveBack({ words }: Mutex): void {
  unlockLatch(words, 0);
}

export function recover(_mutex: Mutex): void {}

export function isAbandoned({ domain, words }: Mutex): boolean {
  const owner = Atomics.load(words, 0) >> 2;
  return owner !== 0 && !isAlive(domain, owner);
}
