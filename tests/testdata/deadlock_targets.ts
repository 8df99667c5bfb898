// Copyright 2026 the Sabre authors. MIT license.

// What agents of `_report_test.ts` and `diagnostics_test.ts` do.

import { join as joinDomain } from "../../_agent.ts";
import type { Barrier } from "../../barrier.ts";
import { Condition } from "../../condition.ts";
import { diagnose } from "../../diagnostics.ts";
import { SharedEvent } from "../../event.ts";
import { type Guard, type Handle, Lock, type RLock } from "../../lock.ts";
import { Queue } from "../../queue.ts";
import { RwLock } from "../../rwlock.ts";
import type { SharedValue } from "../../shared.ts";
import { block, randomOf } from "../_helpers.ts";

/** What can be held alone. */
export type Lockable = Lock | RLock | RwLock | SharedValue<"i32">;

/** How an acquire ended. */
export interface End {
  /** The name of the error, or "held". */
  readonly name: string;
  readonly message: string;
  readonly milliseconds: number;
}

export function take(lock: Lockable, timeout = Infinity): Guard {
  if (lock instanceof RwLock) return lock.writeSync({ timeout });
  return ("acquireSync" in lock ? lock : lock.lock).acquireSync({ timeout });
}

/** Acquires the first, waits until the others have theirs, and acquires the second. */
export function cross(first: Lockable, second: Lockable, ready: Barrier, timeout?: number): End {
  using _first = take(first);
  ready.waitSync();
  return attempt(() => take(second, timeout));
}

/** The same for reading the first. */
export function readAndWrite(first: RwLock, second: RwLock, ready: Barrier): End {
  using _first = first.readSync();
  ready.waitSync();
  return attempt(() => second.writeSync());
}

/** The same, but the second is acquired by a promise, for so long. */
export async function crossAsync(
  first: Lock,
  second: Lock,
  ready: Barrier,
  timeout: number,
): Promise<string> {
  using _first = first.acquireSync();
  ready.waitSync();
  try {
    using _second = await second.acquire({ timeout });
    return "held";
  } catch (error) {
    return (error as Error).name;
  }
}

export function attempt(acquire: () => Guard): End {
  const start = performance.now();
  let name = "held";
  let message = "";
  try {
    acquire().release();
  } catch (error) {
    ({ name, message } = error as Error);
  }
  return { name, message, milliseconds: performance.now() - start };
}

/** Tries twice to get the second while it holds the first. */
export function insist(first: Lock, second: Lock, ready: Barrier): string[] {
  using _first = first.acquireSync();
  ready.waitSync();
  return [attempt(() => second.acquireSync()).name, attempt(() => second.acquireSync()).name];
}

/** Holds one lock while it waits at a condition of another. */
export function waitHolding(other: Lock, condition: Condition): End {
  using _other = other.acquireSync();
  const start = performance.now();
  let name = "held";
  let message = "";
  using guard = condition.lock.acquireSync();
  try {
    condition.waitSync(guard);
  } catch (error) {
    ({ name, message } = error as Error);
  }
  return { name: `${name} ${guard.held}`, message, milliseconds: performance.now() - start };
}

/** Acquires, keeps it for so long without waiting in this package, and gives it back. */
export function keep(lock: Lock, ready: Barrier, milliseconds: number): void {
  using _guard = lock.acquireSync();
  ready.waitSync();
  block(milliseconds);
}

/** For so long: acquires some of the locks, always in their order, and holds them for a while. */
export function inOrder(locks: readonly Lockable[], seed: number, milliseconds: number): number {
  const random = randomOf(seed);
  const end = performance.now() + milliseconds;
  let rounds = 0;
  for (; performance.now() < end; rounds++) {
    using stack = new DisposableStack();
    for (const lock of locks) {
      if (random() < 0.4) continue;
      stack.use(take(lock));
      // Some waits get so long that they are looked into.
      if (random() < 0.3) block(random() * 120);
    }
  }
  return rounds;
}

/** As often as told: acquires all locks in any order, and starts again when that is a deadlock. */
export function inDisorder(locks: readonly Lockable[], seed: number, rounds: number): number {
  const random = randomOf(seed);
  let deadlocks = 0;
  for (let i = 0; i < rounds;) {
    using stack = new DisposableStack();
    try {
      for (const lock of shuffled(locks, random)) {
        stack.use(take(lock));
        block(1);
      }
      i++;
    } catch (error) {
      if ((error as Error).name !== "DeadlockError") throw error;
      deadlocks++;
    }
  }
  return deadlocks;
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const rest = [...items];
  const order: T[] = [];
  while (rest.length > 0) order.push(...rest.splice(Math.floor(random() * rest.length), 1));
  return order;
}

// -- For diagnose() ------------------------------------------------------------------------------

export function join(memory: SharedArrayBuffer): number {
  return joinDomain(memory).id;
}

const guards: Guard[] = [];

/** Makes a lock that nobody else knows, and keeps it. */
export function makeAndKeep(): Handle {
  const lock = new Lock();
  guards.push(lock.acquireSync());
  return lock.handle;
}

/** Acquires, and keeps the guard. */
export function acquire(value: unknown): void {
  guards.push(Lock.from(value).acquireSync());
}

export function releaseAll(): void {
  for (const guard of guards.splice(0)) guard.release();
}

/** Blocks in a call of each kind. */
export function blockIn(kind: string, value: unknown): void {
  switch (kind) {
    case "Lock":
      return Lock.from(value).acquireSync().release();
    case "Queue":
      return void Queue.from(value).getSync();
    case "SharedEvent":
      return void SharedEvent.from(value).waitSync();
    case "Condition": {
      const condition = Condition.from(value);
      using guard = condition.lock.acquireSync();
      return void condition.waitSync(guard);
    }
  }
}

/** Waits in a promise for the item, and then blocks until the event is set. */
export async function awaitAndBlock(queue: unknown, event: unknown): Promise<unknown> {
  const item = Queue.from(queue).get();
  await new Promise((resolve) => setTimeout(resolve, 0));
  SharedEvent.from(event).waitSync();
  return await item;
}

/** What an agent sees that has never met another. */
export function diagnoseAlone(): [number, string] {
  const diagnosis = diagnose();
  return [diagnosis.agents.length, String(diagnosis)];
}

/** Acquires and releases until the event is set, in every way. */
export async function churn(lock: Lock, rwlock: RwLock, stop: SharedEvent): Promise<number> {
  let rounds = 0;
  for (; !stop.isSet; rounds++) {
    lock.withLockSync(() => {});
    rwlock.readSync().release();
    rwlock.writeSync().release();
    await lock.withLock(() => {});
  }
  return rounds;
}
