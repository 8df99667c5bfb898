// Copyright 2026 the Sabre authors. MIT license.

/**
 * What Python's `multiprocessing` gives Python, for Deno: processes that run an exported function,
 * pipes, queues, values and arrays in shared memory, locks and their family, over workers and
 * `SharedArrayBuffer`.
 *
 * - Every call that may wait has three forms: `get()` is a promise, `getSync()` blocks the thread,
 *   `tryGet()` never waits.
 * - `timeout` is in milliseconds, `signal` is an `AbortSignal`; a call that timed out or was aborted
 *   had no effect.
 * - Every primitive can be passed in the arguments and results of a process, and by `postMessage` with
 *   `Queue.from(event.data)` on the other side.
 * - An agent may die at any time: the others are told, and go on.
 *
 * @example Queue up in one process, take in another
 * ```ts
 * import { Queue } from "@sabre/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<string>();
 * queue.putSync("hello");
 * assertEquals(await queue.get(), "hello");
 * ```
 *
 * @module
 */

export * from "./barrier.ts";
export * from "./condition.ts";
export * from "./diagnostics.ts";
export * from "./errors.ts";
export * from "./event.ts";
export * from "./lock.ts";
export * from "./pipe.ts";
export * from "./pool.ts";
export * from "./process.ts";
export * from "./queue.ts";
export * from "./rwlock.ts";
export * from "./select.ts";
export * from "./semaphore.ts";
export * from "./shared.ts";
