// Copyright 2026 the Sabre authors. MIT license.

// What the agents of watch_test.ts do, be they workers that the test starts or processes.

import { home } from "../../_agent.ts";
import { lockLatch } from "../../_latch.ts";
import { type Guard, Lock } from "../../lock.ts";
import { Connection } from "../../pipe.ts";
import { Process } from "../../process.ts";
import { Queue } from "../../queue.ts";

const kept: unknown[] = [];

/** Takes a lock and keeps it. */
export function hold(lock: unknown): void {
  kept.push(Lock.from(lock).acquireSync());
}

/** Takes a lock, says so, and computes for ever. */
export function holdAndSpin(lock: Lock, ready: Queue<string>): void {
  kept.push(lock.acquireSync());
  ready.putSync("held");
  for (;;);
}

/** Takes a lock and waits, blocked, for what a queue brings. */
export function holdAndBlock(lock: unknown, queue: unknown): void {
  const guard: Guard = Lock.from(lock).acquireSync();
  kept.push(guard);
  Queue.from(queue).getSync();
}

/** Takes a lock, and ends without giving it back. */
export function holdAndClose(lock: unknown): void {
  hold(lock);
  setTimeout(() => self.close(), 20);
}

/** Likewise. */
export function holdAndExit(lock: unknown): void {
  hold(lock);
  setTimeout(() => Deno.exit(3), 20);
}

/** Sends one message, and keeps the end open. */
export function sendOne(end: unknown): void {
  const connection = Connection.from(end);
  connection.sendSync("last words");
  kept.push(connection);
}

/** Makes a lock, which is passed on. */
export function makeLock(): unknown {
  const lock = new Lock();
  kept.push(lock);
  return lock.handle;
}

/** Joins and leaves. */
export function attach(lock: unknown): void {
  using _guard = Lock.from(lock).acquireSync();
}

/** Starts a process that takes the lock and spins, kills it, and blocks. */
export function killAndBlock(
  lock: Lock,
  ready: Queue<string>,
  killed: Queue<string>,
  never: Queue<string>,
): void {
  const child = new Process(import.meta.url, { target: holdAndSpin, args: [lock, ready] }).start();
  ready.getSync();
  child.terminate({ grace: 0 }).catch(() => {});
  killed.putSync("killed");
  never.getSync();
}

/** Starts a process that takes a lock and spins. */
export function raise(lock: unknown, ready: unknown): void {
  const args: [Lock, Queue<string>] = [Lock.from(lock), Queue.from(ready) as Queue<string>];
  kept.push(new Process(import.meta.url, { target: holdAndSpin, args }).start());
}

/** Takes a latch, says so, and computes for ever. */
export function latchAndSpin(memory: SharedArrayBuffer, ready: Queue<string>): void {
  lockLatch(home(), new Int32Array(memory), 0);
  ready.putSync("held");
  for (;;);
}

/** Waits for a lock, and says how that ended. */
export function acquireAnyhow(lock: Lock, ended: Queue<string>): void {
  ended.putSync("begun");
  try {
    lock.acquireSync().release();
    ended.putSync("acquired");
  } catch (error) {
    ended.putSync((error as Error).name);
  }
}
