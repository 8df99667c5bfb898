// Copyright 2026 the Sabre authors. MIT license.

// What workers of `_wait_test.ts` and `_agent_test.ts` do.

import { claimSlot, type Domain, home, join as joinDomain, unpark } from "../../_agent.ts";
import { waitAsync, type Waiter, waitSync } from "../../_wait.ts";
import { type Handle, Lock } from "../../lock.ts";

export type Form = "sync" | "async" | "mixed";

export function join(memory: SharedArrayBuffer): number {
  return joinDomain(memory).id;
}

/** Waits until a word holds a value. */
export class WordWaiter implements Waiter {
  readonly #words: Int32Array;
  readonly #wanted: number;

  constructor(words: Int32Array, wanted: number) {
    this.#words = words;
    this.#wanted = wanted;
  }

  poll(): boolean {
    return Atomics.load(this.#words, 0) === this.#wanted;
  }

  withdraw(): boolean {
    return true;
  }
}

/** Raises the word whenever it has the parity, and wakes the other one, who does the same. */
export async function pingPong(
  memory: SharedArrayBuffer,
  shared: SharedArrayBuffer,
  parity: number,
  other: number,
  rounds: number,
  form: Form,
): Promise<void> {
  const domain = joinDomain(memory);
  const words = new Int32Array(shared);
  for (let i = 0; i < rounds; i++) {
    const waiter = new WordWaiter(words, 2 * i + parity);
    const isSync = form === "sync" || (form === "mixed" && i % 3 !== 0);
    const timeout = i % 2 === 0 ? Infinity : 60_000;
    const served = isSync
      ? waitSync(domain, waiter, timeout, "x")
      : await waitAsync(domain, waiter, timeout, undefined);
    if (!served) throw new Error(`Round ${i} was not served`);
    Atomics.add(words, 0, 1);
    unpark(domain, other);
  }
}

/** Waits until the word is 1; word 1 says that it waits. How it ended, and after how many ms. */
export async function waitForOne(
  memory: SharedArrayBuffer,
  shared: SharedArrayBuffer,
  form: Form,
): Promise<[string, number]> {
  const domain = joinDomain(memory);
  const words = new Int32Array(shared);
  const start = performance.now();
  Atomics.store(words, 1, 1);
  try {
    const waiter = new WordWaiter(words, 1);
    const served = form === "sync"
      ? waitSync(domain, waiter, 30_000, "x")
      : await waitAsync(domain, waiter, 30_000, undefined);
    return [String(served), performance.now() - start];
  } catch (error) {
    return [(error as Error).name, performance.now() - start];
  }
}

/** Makes a domain of its own, if it has none yet, and returns its memory and this agent's id in it. */
export function foundDomain(): [SharedArrayBuffer, number] {
  return [home().memory, home().id];
}

/** Acquires a lock that may be of another domain. */
export async function acquire(handle: Handle, form: Form): Promise<string> {
  try {
    if (form === "sync") Lock.from(handle).acquireSync();
    else await Lock.from(handle).acquire();
    return "held";
  } catch (error) {
    return (error as Error).name;
  }
}

/** Claims slots, for as many agents. */
export function claimMany(memory: SharedArrayBuffer, times: number): number[] {
  const words = new Int32Array(memory);
  return Array.from({ length: times }, (_, i) => claimSlot(words, `agent ${i}`, 0));
}

/** Unparks an agent as often as told. */
export function unparkMany(memory: SharedArrayBuffer, id: number, times: number): void {
  const domain: Domain = joinDomain(memory);
  for (let i = 0; i < times; i++) unpark(domain, id);
}
