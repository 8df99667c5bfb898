// Copyright 2026 the Sabre authors. MIT license.

// What workers of `semaphore_test.ts` do.

import { join as joinDomain } from "../../_agent.ts";
import { type Guard, Semaphore } from "../../semaphore.ts";
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
  form: "async" | "sync",
  options: { timeout?: number; permits?: number } = {},
): Promise<string> {
  const semaphore = Semaphore.from(message);
  try {
    const guard = form === "sync"
      ? semaphore.acquireSync(options)
      : await semaphore.acquire(options);
    guards.push(guard);
    return "held";
  } catch (error) {
    return (error as Error).name;
  }
}

/** Begins to acquire asynchronously, and answers at once. */
export function begin(message: unknown, options: { permits?: number } = {}): void {
  pending.push(acquire(message, "async", options));
}

/** Releases the guard that was got last. */
export function release(): void {
  guards.pop()!.release();
}

/** As one would in Python: acquires, forgets the guard, and releases without it. */
export function pairUp(message: unknown, times: number): void {
  const semaphore = Semaphore.from(message);
  for (let i = 0; i < times; i++) {
    semaphore.acquireSync();
    semaphore.release();
  }
}

/** Acquires, writes its tag at the end of the log, and releases. */
export async function sign(
  message: unknown,
  log: unknown,
  tag: number,
  permits: number,
  form: "async" | "sync",
): Promise<void> {
  const semaphore = Semaphore.from(message);
  using _guard = form === "sync"
    ? semaphore.acquireSync({ permits })
    : await semaphore.acquire({ permits });
  const list = SharedArray.from<"i32">(log);
  list.set(list.add(0, 1) + 1, tag);
}

/**
 * Takes and gives back at random, with timeouts and aborts. Adds what it takes to element 0, and
 * returns the most that it has seen there; element 1 counts what it got.
 */
export async function storm(
  message: unknown,
  counters: unknown,
  seed: number,
  rounds: number,
): Promise<number> {
  const semaphore = Semaphore.from(message);
  const counts = SharedArray.from<"i32">(counters);
  const random = randomOf(seed);
  let most = 0;
  const use = (guard: Guard, permits: number) => {
    most = Math.max(most, counts.add(0, permits) + permits);
    counts.add(1, 1);
    counts.sub(0, permits);
    guard.release();
  };
  for (let i = 0; i < rounds; i++) {
    const permits = 1 + Math.floor(random() * 3);
    const choice = random();
    try {
      if (choice < 0.3) {
        use(semaphore.acquireSync({ permits, timeout: 2 * random() }), permits);
      } else if (choice < 0.5) {
        const guard = semaphore.tryAcquire({ permits });
        if (guard !== undefined) use(guard, permits);
      } else if (choice < 0.7) {
        const controller = new AbortController();
        const call = semaphore.acquire({ permits, signal: controller.signal });
        if (random() < 0.5) await turn();
        controller.abort(new DOMException("Enough", "AbortError"));
        use(await call, permits);
      } else {
        const calls = [0, 1].map(async () => {
          use(await semaphore.acquire({ permits, timeout: 3 * random() }), permits);
        });
        await Promise.allSettled(calls);
      }
    } catch (error) {
      const { name } = error as Error;
      if (name !== "TimeoutError" && name !== "AbortError") throw error;
    }
  }
  return most;
}
