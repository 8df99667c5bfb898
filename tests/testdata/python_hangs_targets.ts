// Copyright 2026 the Sabre authors. MIT license.

// What the processes of python_hangs_test.ts run.

import type {
  Barrier,
  Condition,
  Connection,
  Lock,
  Queue,
  RLock,
  Semaphore,
  SharedEvent,
  SharedValue,
} from "../../mod.ts";

/** Sends the first part of a message that is far larger than the storage, and blocks in it. */
export function sendLarge(connection: Connection<Uint8Array, never>, ready: SharedEvent): void {
  ready.set();
  connection.sendSync(new Uint8Array(10_000_000));
}

/** The same with a queue. */
export function putLarge(queue: Queue<unknown>, ready: SharedEvent): void {
  ready.set();
  queue.putSync(new Uint8Array(10_000_000));
}

/** Ends within the item that it puts. */
export function dieInPut(queue: Queue<unknown>): void {
  queue.putSync({
    get x() {
      return Deno.exit(1);
    },
  });
}

export function getOne(queue: Queue<number>, ready: SharedEvent): void {
  ready.set();
  queue.getSync();
}

export function countItems(queue: Queue<number>): number {
  let count = 0;
  for (const _item of queue) count++;
  return count;
}

/** Puts more than a pipe of the system holds, and ends. */
export function putAndEnd(queue: Queue<Uint8Array>): void {
  for (let i = 0; i < 9; i++) queue.putSync(new Uint8Array(100_000));
}

export function sendOne(connection: Connection<string, never>): void {
  connection.sendSync("once");
}

export function dieWithPermits(semaphore: Semaphore): void {
  semaphore.acquireSync({ permits: 2 });
  Deno.exit(1);
}

export function waitForNotice(condition: Condition, waiting: SharedValue<"i32">): void {
  const guard = condition.lock.acquireSync();
  waiting.add(1);
  condition.waitSync(guard);
  guard.release();
}

export function waitAtBarrier(barrier: Barrier): void {
  barrier.waitSync();
}

export function dieHolding(lock: Lock | RLock): void {
  lock.acquireSync();
  Deno.exit(1);
}

export function addMany(value: SharedValue<"i32">): void {
  for (let i = 0; i < 10_000; i++) value.add(1);
  for (let i = 0; i < 10_000; i++) value.update((n) => n + 1);
}

export function waitForPulse(event: SharedEvent, waiting: SharedValue<"i32">): boolean {
  waiting.add(1);
  return event.waitSync({ timeout: 5_000 });
}

// -- Tasks of pools ------------------------------------------------------------------------------

export function double(n: number): number {
  return n * 2;
}

export function die(): void {
  Deno.exit(1);
}

export function exitWith(code: number): void {
  Deno.exit(code);
}

/** Ends the process soon after the task, when it has nothing to do. */
export function dieIdle(): void {
  setTimeout(() => Deno.exit(1), 5);
}

export function throwUnreadable(): void {
  throw Object.assign(new Error("unreadable"), { cause: () => {} });
}

export function throwNothing(): void {
  throw undefined;
}

export function failToStart(): void {
  throw new Error("no start");
}

export function never(): Promise<void> {
  return new Promise(() => setInterval(() => {}, 1_000));
}
