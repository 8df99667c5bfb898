// Copyright 2026 the Sabre authors. MIT license.

// What workers of `condition_test.ts` do.

import { join as joinDomain } from "../../_agent.ts";
import { Condition } from "../../condition.ts";
import type { Guard } from "../../lock.ts";
import { SharedArray } from "../../shared.ts";

const guards: Guard[] = [];

export function join(memory: SharedArrayBuffer): number {
  return joinDomain(memory).id;
}

/** Acquires the lock, and keeps the guard. */
export function hold(message: unknown): void {
  guards.push(Condition.from(message).lock.acquireSync());
}

/** Waits once. Adds 1 to element 0 under the lock just before. */
export async function wait(
  message: unknown,
  counts: unknown,
  form: "async" | "sync",
  options: { timeout?: number } = {},
): Promise<string> {
  const condition = Condition.from(message);
  using guard = await condition.lock.acquire();
  SharedArray.from<"i32">(counts).add(0, 1);
  try {
    const notified = form === "sync"
      ? condition.waitSync(guard, options)
      : await condition.wait(guard, options);
    return `${notified}, held: ${guard.held}`;
  } catch (error) {
    return `${(error as Error).name}, held: ${guard.held}`;
  }
}

const pending: Promise<string>[] = [];

/** Begins to wait asynchronously, and answers at once. */
export function begin(message: unknown, counts: unknown): void {
  pending.push(wait(message, counts, "async"));
}

/**
 * Puts into, or takes from, a buffer of two: element 0 counts what is in it, element 1 what was put in,
 * element 2 what was taken out.
 */
export async function trade(
  notEmptyMessage: unknown,
  notFullMessage: unknown,
  counts: unknown,
  kind: "put" | "take",
  times: number,
): Promise<void> {
  const notEmpty = Condition.from(notEmptyMessage);
  const notFull = Condition.from(notFullMessage);
  const { view } = SharedArray.from<"i32">(counts);
  for (let i = 0; i < times; i++) {
    using guard = i % 2 === 0 ? notEmpty.lock.acquireSync() : await notEmpty.lock.acquire();
    const condition = kind === "put" ? notFull : notEmpty;
    const predicate = kind === "put" ? () => view[0]! < 2 : () => view[0]! > 0;
    if (i % 3 === 0) condition.waitForSync(guard, predicate);
    else await condition.waitFor(guard, predicate);
    if (!predicate()) throw new TypeError("Woken for nothing");
    view[0] = view[0]! + (kind === "put" ? 1 : -1);
    view[kind === "put" ? 1 : 2] = view[kind === "put" ? 1 : 2]! + 1;
    (kind === "put" ? notEmpty : notFull).notify();
  }
}
