// Copyright 2026 the Sabre authors. MIT license.

// What workers of `rwlock_test.ts` do.

import { bury, home, join as joinDomain } from "../../_agent.ts";
import { type Guard, RwLock } from "../../rwlock.ts";
import { SharedArray } from "../../shared.ts";
import { randomOf, turn } from "../_helpers.ts";

const guards: Guard[] = [];
const pending: Promise<string>[] = [];

export function join(memory: SharedArrayBuffer): number {
  return joinDomain(memory).id;
}

/** Acquires, and keeps the guard. */
export async function acquire(
  message: unknown,
  call: "read" | "readSync" | "write" | "writeSync",
  options: { timeout?: number; recover?: boolean } = {},
): Promise<string> {
  try {
    const guard = await RwLock.from(message)[call](options);
    guards.push(guard);
    return guard.abandoned ? "abandoned" : "held";
  } catch (error) {
    return (error as Error).name;
  }
}

/** From then on, in milliseconds, this agent counts as dead. */
export function dieLater(delay: number): void {
  const { id } = home();
  setTimeout(() => bury(home(), id), delay);
}

/** Begins to acquire asynchronously, and answers at once. */
export function begin(message: unknown, call: "read" | "write", options = {}): void {
  pending.push(acquire(message, call, options));
}

/** Releases the guard that was got last. */
export function release(): void {
  guards.pop()!.release();
}

/**
 * Reads and writes at random, with timeouts and aborts. Under the write lock all elements of the array
 * are made one larger, one after the other; under the read lock they must be equal. Returns how often
 * it wrote.
 */
export async function storm(
  message: unknown,
  array: unknown,
  seed: number,
  rounds: number,
): Promise<number> {
  const lock = RwLock.from(message);
  const { view } = SharedArray.from<"i32">(array);
  const random = randomOf(seed);
  let written = 0;
  const check = (guard: Guard) => {
    const first = view[0]!;
    for (let i = 1; i < view.length; i++) {
      if (view[i] !== first) throw new TypeError("A reader sees half a write");
    }
    guard.release();
  };
  const change = (guard: Guard) => {
    for (let i = 0; i < view.length; i++) view[i] = view[i]! + 1;
    written++;
    guard.release();
  };
  for (let i = 0; i < rounds; i++) {
    const isWrite = random() < 0.4;
    const use = isWrite ? change : check;
    const choice = random();
    try {
      if (choice < 0.3) {
        const options = { timeout: 2 * random() };
        use(isWrite ? lock.writeSync(options) : lock.readSync(options));
      } else if (choice < 0.5) {
        const guard = isWrite ? lock.tryWrite() : lock.tryRead();
        if (guard !== undefined) use(guard);
      } else if (choice < 0.7) {
        const controller = new AbortController();
        const { signal } = controller;
        const call = isWrite ? lock.write({ signal }) : lock.read({ signal });
        if (random() < 0.5) await turn();
        controller.abort(new DOMException("Enough", "AbortError"));
        use(await call);
      } else {
        const calls = [0, 1].map(async () => {
          use(isWrite ? await lock.write() : await lock.read());
        });
        await Promise.all(calls);
      }
    } catch (error) {
      const { name } = error as Error;
      if (name !== "TimeoutError" && name !== "AbortError") throw error;
    }
  }
  return written;
}

/** Reads in a tight loop, so that there is always a reader, until element 0 is set. */
export function readOn(message: unknown, flags: unknown): number {
  const lock = RwLock.from(message);
  const stop = SharedArray.from<"i32">(flags);
  let rounds = 0;
  let guard = lock.readSync();
  stop.add(1, 1);
  while (stop.get(0) === 0) {
    guard.release();
    guard = lock.readSync();
    rounds++;
  }
  guard.release();
  return rounds;
}
