// Copyright 2026 the Sabre authors. MIT license.

// What workers of `lock_test.ts` and `_wait_test.ts` do.

import { join as joinDomain } from "../../_agent.ts";
import { type Guard, Lock, RLock } from "../../lock.ts";
import { SharedArray, SharedValue } from "../../shared.ts";
import { block, randomOf, turn } from "../_helpers.ts";
import { crowdOf } from "../_workers.ts";

/** How to acquire. */
export type Form = "async" | "sync" | "try";

/** How acquiring ended: the name of the error, or that of what was got. */
export type Outcome = "held" | "abandoned" | "undefined" | string;

/** The guards that this worker keeps, oldest first. */
const guards: Guard[] = [];
const pending = new Map<string, Promise<Outcome>>();

export function join(memory: SharedArrayBuffer): number {
  return joinDomain(memory).id;
}

function lockOf(value: { handle: { sabre: string } }): Lock | RLock {
  return value.handle.sabre === "RLock" ? RLock.from(value) : Lock.from(value);
}

type LockMessage = { handle: { sabre: string } };
type Options = { timeout?: number; recover?: boolean };

/** Acquires, and keeps the guard. */
export async function acquire(
  message: LockMessage,
  form: Form,
  options: Options = {},
): Promise<Outcome> {
  const lock = lockOf(message);
  try {
    const guard = form === "async"
      ? await lock.acquire(options)
      : form === "sync"
      ? lock.acquireSync(options)
      : lock.tryAcquire(options);
    if (guard === undefined) return "undefined";
    guards.push(guard);
    return guard.abandoned ? "abandoned" : "held";
  } catch (error) {
    return (error as Error).name;
  }
}

/** Begins to acquire asynchronously, and answers at once. */
export function begin(name: string, message: LockMessage, options: Options = {}): void {
  pending.set(name, acquire(message, "async", options));
}

/** How what was begun ended. */
export function outcomeOf(name: string): Promise<Outcome> | undefined {
  return pending.get(name);
}

/** Releases the guard that was got last. */
export function release(): void {
  guards.pop()!.release();
}

/** Adds 1 to a plain element as often as told, each time under the lock. */
export async function count(
  message: LockMessage,
  counter: SharedArray<"f64">,
  rounds: number,
  form: "async" | "sync",
): Promise<void> {
  const lock = lockOf(message);
  const view = SharedArray.from<"f64">(counter).view;
  for (let i = 0; i < rounds; i++) {
    if (form === "sync") lock.withLockSync(() => view[0] = view[0]! + 1);
    else await lock.withLock(() => view[0] = view[0]! + 1);
  }
}

/** The same with an `RLock` taken twice. */
export function countTwice(message: LockMessage, counter: unknown, rounds: number): void {
  const lock = lockOf(message);
  const view = SharedArray.from<"f64">(counter).view;
  for (let i = 0; i < rounds; i++) {
    using _outer = lock.acquireSync();
    using _inner = lock.acquireSync();
    view[0] = view[0]! + 1;
  }
}

/** Holds a lock until so many wait for it, and a little longer. */
export function holdUntil(message: LockMessage, crowd: number): void {
  const lock = lockOf(message);
  using _guard = lock.acquireSync();
  while (crowdOf(lock) < crowd) block(1);
  block(3);
}

/** Acquires, writes its tag at the end of the log, and releases. */
export async function sign(
  message: LockMessage,
  log: unknown,
  tag: number,
  form: "async" | "sync",
): Promise<void> {
  const lock = lockOf(message);
  using _guard = form === "sync" ? lock.acquireSync() : await lock.acquire();
  write(log, tag);
}

/** Several calls at once that all sign, with successive tags. */
export async function signMany(
  message: LockMessage,
  log: unknown,
  tag: number,
  times: number,
): Promise<void> {
  const calls = Array.from({ length: times }, (_, i) => sign(message, log, tag + i, "async"));
  await Promise.all(calls);
}

/** Element 0 of a log says how many tags follow. Under the lock. */
function write(log: unknown, tag: number): void {
  const view = SharedArray.from<"i32">(log).view;
  view[0] = view[0]! + 1;
  view[view[0]] = tag;
}

/** Acquires and releases in a tight loop until told to stop; counts how often. */
export function hammer(message: LockMessage, stop: unknown, rounds: unknown): void {
  const lock = lockOf(message);
  const stopped = SharedValue.from<"bool">(stop);
  const counter = SharedValue.from<"i32">(rounds);
  while (!stopped.value) {
    using _guard = lock.acquireSync();
    counter.add(1);
  }
}

/** Waits with short timeouts and early aborts, in both forms; counts under the lock what it got. */
export async function storm(
  message: LockMessage,
  counter: unknown,
  seed: number,
  rounds: number,
): Promise<number> {
  const lock = lockOf(message);
  const view = SharedArray.from<"f64">(counter).view;
  const random = randomOf(seed);
  let got = 0;
  const use = () => {
    view[0] = view[0]! + 1;
    got++;
  };
  for (let i = 0; i < rounds; i++) {
    try {
      const choice = random();
      if (choice < 0.4) {
        lock.withLockSync(use, { timeout: random() });
      } else if (choice < 0.6) {
        await lock.withLock(use, { timeout: random() });
      } else if (choice < 0.8) {
        const controller = new AbortController();
        const call = lock.withLock(use, { signal: controller.signal });
        if (random() < 0.5) await turn();
        controller.abort(new DOMException("Enough", "AbortError"));
        await call;
      } else {
        const calls = [0, 1, 2].map(() => lock.withLock(use, { timeout: random() * 3 }));
        for (const { status } of await Promise.allSettled(calls)) {
          if (status === "fulfilled") continue;
          throw new DOMException("Late", "TimeoutError");
        }
      }
    } catch (error) {
      const { name } = error as Error;
      if (name !== "TimeoutError" && name !== "AbortError") throw error;
    }
  }
  return got;
}
