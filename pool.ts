// Copyright 2026 the Sabre authors. MIT license.

/**
 * A pool of processes that work off calls of exported functions.
 *
 * - Each process runs one task at a time; tasks are begun in the order in which they were given.
 * - `run` is one call, `map` one for each item, with the results in the order of the items; `imap` is
 *   `map` for long or endless inputs, read no further ahead than `bufferSize`.
 * - Tasks and results travel through pipes of this package, several items at a time if that pays.
 * - A process that dies rejects the task that it was running, and no other, and is replaced.
 * - The deadlock to know: a task that waits for another task of the same pool can wait for ever, when
 *   all processes do so.
 *
 * @example Square numbers in two processes
 * ```ts
 * import { Pool } from "@sabre/ipc/pool";
 * import { assertEquals } from "@std/assert";
 *
 * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 2 });
 * assertEquals(await pool.map("square", [1, 2, 3]), [1, 4, 9]);
 * ```
 *
 * @module
 */

import { flowThrough } from "./_flow.ts";
import {
  positiveInteger,
  show,
  signalOf,
  timeoutError,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";
import {
  type Answer,
  BEGUN,
  CALL,
  CHUNK,
  READY,
  REVOKED,
  SENT,
  type Task,
  WINDOW,
} from "./_serve.ts";
import { targetName } from "./_target.ts";
import { holdLoop, NEWS, type News, releaseLoop, waitAsync } from "./_wait.ts";
import { AbandonedError, ClosedError, RemoteError, TerminatedError } from "./errors.ts";
import { type Connection, pipe } from "./pipe.ts";
import { Process } from "./process.ts";
import { SharedArray } from "./shared.ts";

export type { WaitOptions };

/** Bytes of storage of the pipe to and from each process. */
const CAPACITY = 1 << 18;
/** Most items of a chunk that is chosen here: more would keep the other processes waiting for their share. */
const MAX_CHUNK = 2_048;
/** Milliseconds of work that a process is sent ahead, so that it need not wait for the next task. */
const AHEAD = 1;

/** A function of the module that a pool runs. */
// deno-lint-ignore no-explicit-any
type AnyFunction = (...args: any[]) => unknown;

/**
 * How a pool is made.
 *
 * @example
 * ```ts
 * import { Pool, type PoolOptions } from "@sabre/ipc/pool";
 * import { assertEquals } from "@std/assert";
 *
 * const options: PoolOptions = { size: 1, name: "squares" };
 * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), options);
 * assertEquals(pool.size, 1);
 * ```
 */
export interface PoolOptions {
  /**
   * How many processes.
   *
   * @default {navigator.hardwareConcurrency}
   */
  size?: number;
  /** An exported function, or its name, that each process calls once before its first task. */
  initializer?: AnyFunction | string;
  /** What the initializer is called with. */
  initializerArgs?: unknown[];
  /**
   * After how many tasks a process is replaced: calls of `run`, and chunks of `map` and `imap`.
   *
   * @default {Infinity}
   */
  maxTasksPerProcess?: number;
  /**
   * What the names of the processes begin with.
   *
   * @default {"Pool"}
   */
  name?: string;
}

/**
 * How many items are one task, and what may abort it all.
 *
 * @example
 * ```ts
 * import { type MapOptions, Pool } from "@sabre/ipc/pool";
 * import { assertEquals } from "@std/assert";
 *
 * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 1 });
 * const done: number[] = [];
 * const options: MapOptions = { chunkSize: 2, onProgress: (n) => done.push(n) };
 * await pool.map("square", [1, 2, 3], options);
 * assertEquals(done, [2, 3]);
 * ```
 */
export interface MapOptions {
  /** Items that one process gets at a time. By default chosen by the number of items. */
  chunkSize?: number;
  /** Aborting it rejects the call with the signal's reason; items not begun are skipped. */
  signal?: AbortSignal;
  /** Called whenever items are through, with how many are, and how many there are. */
  onProgress?: (done: number, total?: number) => void;
}

/**
 * In which order results come, and how far ahead of them the input is read.
 *
 * @example
 * ```ts
 * import { type ImapOptions, Pool } from "@sabre/ipc/pool";
 * import { assertEquals } from "@std/assert";
 *
 * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 1 });
 * const options: ImapOptions = { bufferSize: 4 };
 * assertEquals(await Array.fromAsync(pool.imap("square", [1, 2], options)), [1, 4]);
 * ```
 */
export interface ImapOptions {
  /**
   * Whether results come in the order of the items, or as they are ready.
   *
   * @default {true}
   */
  ordered?: boolean;
  /**
   * Items that one process gets at a time.
   *
   * @default {1}
   */
  chunkSize?: number;
  /** Items read and not yet given out as results at the most. By default four chunks for each process. */
  bufferSize?: number;
  /** Aborting it makes the loop throw the signal's reason; items not begun are skipped. */
  signal?: AbortSignal;
}

/**
 * A fixed number of processes that work off calls of the exported functions of one module.
 *
 * - Belongs to the agent that made it, and cannot be passed.
 * - The processes are started at once, and keep nothing alive while there is nothing to do.
 * - A call that times out or is aborted before its task began has no effect; a task that is running
 *   goes on, and its result is dropped.
 * - `close()` refuses new work, `join()` waits for what was given, `terminate()` gives it up.
 *
 * @example One call
 * ```ts
 * import { Pool } from "@sabre/ipc/pool";
 * import { assertEquals } from "@std/assert";
 *
 * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 1 });
 * assertEquals(await pool.run("square", [7]), 49);
 * ```
 */
export class Pool implements AsyncDisposable {
  readonly #module: string;
  readonly #size: number;
  readonly #name: string;
  readonly #initializer: string | undefined;
  readonly #initializerArgs: unknown[];
  readonly #maxTasks: number;
  readonly #members = new Set<Member>();
  /** Tasks that no process was sent, in order: those from `#first` on. */
  #waiting: Job[] = [];
  #first = 0;
  #pending = 0;
  #state: "open" | "closed" | "terminated" = "open";
  /** Why nothing can be run any more: the initializer failed, or the module cannot be loaded. */
  #failure: Error | undefined;
  #started = 0;
  /** Called when the last process has ended. */
  readonly #ended = Promise.withResolvers<void>();

  /**
   * Creates a pool and starts its processes. Does not block.
   *
   * @param module The URL of the module whose exported functions are run, usually `import.meta.url`.
   * @param options How many processes, and what they do first.
   * @throws {RangeError} If `size` or `maxTasksPerProcess` is not a positive integer.
   * @throws {TypeError} If one of them is not a number, the module is no URL, or the initializer is
   * neither a string nor a named function; or if a process that is still evaluating the module would
   * start another one: guard it with `import.meta.main`.
   * @throws {DOMException} Named `DataCloneError` if an argument of the initializer cannot be passed.
   * @example
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { assertEquals } from "@std/assert";
   *
   * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 2 });
   * assertEquals(pool.pending, 0);
   * ```
   */
  constructor(module: string | URL, options: PoolOptions = {}) {
    const { size, maxTasksPerProcess } = options;
    this.#module = String(new URL(module));
    this.#size = size === undefined
      ? Math.max(1, globalThis.navigator?.hardwareConcurrency ?? 1)
      : positiveInteger(size, "create Pool", "size");
    this.#maxTasks = maxTasksPerProcess === undefined || maxTasksPerProcess === Infinity
      ? Infinity
      : positiveInteger(maxTasksPerProcess, "create Pool", "maxTasksPerProcess");
    this.#initializer = options.initializer === undefined
      ? undefined
      : targetName(options.initializer, "create Pool");
    this.#initializerArgs = options.initializerArgs ?? [];
    this.#name = options.name ?? "Pool";
    this.#fill();
  }

  /**
   * Calls a function in one of the processes. Does not block the thread.
   *
   * @typeParam F The type of the function.
   * @param target An exported function of the module, or its export name.
   * @param args What it is called with.
   * @param options How long to wait for the result, in milliseconds, and what may abort that.
   * @returns What it returned or resolved to.
   * @throws {RemoteError} If it threw: `cause` is what it threw. Also if it cannot be found, if its
   * result cannot be passed, or if the pool's initializer failed.
   * @throws {AbandonedError} If its process died.
   * @throws {ClosedError} If the pool is closed.
   * @throws {TerminatedError} If the pool was terminated.
   * @throws {TypeError} If the target is neither a string nor a named function.
   * @throws {DOMException} Named `DataCloneError` if an argument cannot be passed, `TimeoutError` if
   * `timeout` passed.
   * @example
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { RemoteError } from "@sabre/ipc/errors";
   * import { assertRejects } from "@std/assert";
   *
   * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 1 });
   * await assertRejects(() => pool.run("cube", [3]), RemoteError);
   * ```
   */
  async run<F extends AnyFunction>(
    target: F | string,
    args?: Parameters<F>,
    options?: WaitOptions,
  ): Promise<Awaited<ReturnType<F>>> {
    const action = "run in Pool";
    const signal = signalOf(options, action);
    const timeout = timeoutOf(options, action);
    const name = targetName(target, action);
    this.#assertOpen();
    if (timeout === 0) throw timeoutError(action, 0);
    const { promise, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<F>>>();
    const job: Job = {
      kind: CALL,
      target: name,
      values: args ?? [],
      weight: 1,
      settle: (value, error) =>
        error === undefined ? resolve(value as Awaited<ReturnType<F>>) : reject(error.reason),
    };
    using _limits = limits(timeout, signal, (reason) => {
      this.#drop(job);
      reject(reason ?? timeoutError(action, timeout));
    });
    this.#add([job]);
    return await promise;
  }

  /**
   * Calls a function for each item, several processes at a time. Does not block the thread.
   *
   * @typeParam T The type of the items.
   * @typeParam R What the function returns.
   * @param target An exported function of the module, or its export name.
   * @param items What it is called with, one by one; read to the end before anything is run.
   * @param options How many items are one task, what may abort it, and whom to tell of progress.
   * @returns The results, in the order of the items.
   * @throws {RemoteError} If a call threw: the first one in the order of the items, once none of the
   * tasks runs any more. When an item fails, the rest of its chunk is skipped, and so are chunks that
   * were not begun.
   * @throws {RangeError} If `chunkSize` is not a positive integer.
   * @throws What `run` throws otherwise, and what reading the items throws.
   * @example
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { assertEquals } from "@std/assert";
   *
   * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 2 });
   * assertEquals(await pool.map("square", [3, 2, 1]), [9, 4, 1]);
   * ```
   */
  async map<T, R>(
    target: ((item: T) => R) | string,
    items: Iterable<T>,
    options?: MapOptions,
  ): Promise<Awaited<R>[]> {
    const action = "map over Pool";
    const signal = signalOf(options, action);
    const name = targetName(target, action);
    const chunkSize = chunkSizeOf(options?.chunkSize, action);
    this.#assertOpen();
    const list = Array.from(items);
    const size = chunkSize ??
      Math.min(MAX_CHUNK, Math.max(1, Math.ceil(list.length / (4 * this.#size))));
    const results: Awaited<R>[] = new Array(list.length);
    const { promise, resolve, reject } = Promise.withResolvers<Awaited<R>[]>();
    let unsettled = 0;
    let done = 0;
    let failed: { at: number; reason: unknown } | undefined;
    const jobs: Job[] = [];
    for (let start = 0; start < list.length; start += size) {
      const values = list.slice(start, start + size);
      const job: Job = {
        kind: CHUNK,
        target: name,
        values,
        weight: values.length,
        settle: (value, error) => {
          unsettled--;
          const got = (value ?? []) as Awaited<R>[];
          for (let i = 0; i < got.length; i++) results[start + i] = got[i]!;
          done += got.length;
          if (error !== undefined) {
            const at = start + got.length;
            if (failed === undefined || at < failed.at) failed = { at, reason: error.reason };
            unsettled -= this.#drop(...jobs);
          }
          if (unsettled === 0) {
            if (failed === undefined) resolve(results);
            else reject(failed.reason);
          }
          report(options?.onProgress, done, list.length, reject);
        },
      };
      jobs.push(job);
    }
    unsettled = jobs.length;
    if (unsettled === 0) return [];
    using _limits = limits(Infinity, signal, (reason) => {
      this.#drop(...jobs);
      reject(reason);
    });
    this.#add(jobs);
    return await promise;
  }

  /**
   * Calls a function for each item, several processes at a time, and gives out results as they come.
   * Nothing is read or run before the first result is asked for. Does not block the thread.
   *
   * @typeParam T The type of the items.
   * @typeParam R What the function returns.
   * @param target An exported function of the module, or its export name.
   * @param items What it is called with, one by one.
   * @param options The order of the results, how many items are one task, how far to read ahead, and
   * what may abort it.
   * @returns The results. The loop throws the first error after the results before it. Leaving it
   * calls `return()` of the input and skips what was not begun.
   * @throws {RangeError} If `chunkSize` or `bufferSize` is not a positive integer.
   * @throws {ClosedError} If the pool is closed.
   * @throws {TerminatedError} If the pool was terminated.
   * @throws {TypeError} If the target is neither a string nor a named function, or the items are not
   * iterable.
   * @example An endless input
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { assertEquals } from "@std/assert";
   *
   * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 2 });
   * function* naturals() {
   *   for (let n = 0;; n++) yield n;
   * }
   * const got: number[] = [];
   * for await (const square of pool.imap<number, number>("square", naturals())) {
   *   if (got.push(square) === 4) break;
   * }
   * assertEquals(got, [0, 1, 4, 9]);
   * ```
   */
  imap<T, R>(
    target: ((item: T) => R) | string,
    items: Iterable<T> | AsyncIterable<T>,
    options?: ImapOptions,
  ): AsyncIterableIterator<Awaited<R>> {
    const action = "imap over Pool";
    const signal = signalOf(options, action);
    const name = targetName(target, action);
    const wanted = chunkSizeOf(options?.chunkSize, action) ?? 1;
    const bufferSize = options?.bufferSize === undefined
      ? 4 * this.#size * wanted
      : positiveInteger(options.bufferSize, action, "bufferSize");
    if (typeof items !== "object" && typeof items !== "string" || items === null) {
      throw new TypeError(
        `Cannot ${action} as an iterable is needed: current value is ${show(items)}`,
      );
    }
    this.#assertOpen();
    const flow = {
      chunkSize: Math.min(wanted, bufferSize),
      bufferSize,
      ordered: options?.ordered ?? true,
      signal,
    };
    return flowThrough<T, Awaited<R>>(items, flow, {
      add: (values, settle) => {
        this.#assertOpen();
        const job = { kind: CHUNK, target: name, values, weight: values.length, settle };
        this.#add([job]);
        return job;
      },
      drop: (jobs) => void this.#drop(...jobs as Job[]),
    });
  }

  /**
   * Refuses new work from now on; what was given is still done, and then the processes end.
   * Idempotent, does not block.
   *
   * @example
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { ClosedError } from "@sabre/ipc/errors";
   * import { assertRejects } from "@std/assert";
   *
   * const pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 1 });
   * pool.close();
   * await assertRejects(() => pool.run("square", [1]), ClosedError);
   * await pool.join();
   * ```
   */
  close(): void {
    if (this.#state === "open") this.#state = "closed";
    this.#endIfDone();
  }

  /**
   * Waits until everything that was given is done and the processes have ended. Does not block the
   * thread.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns Resolves once the last process has ended.
   * @throws {TypeError} If the pool is neither closed nor terminated.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed.
   * @example
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { assertEquals } from "@std/assert";
   *
   * const pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 1 });
   * const result = pool.run("square", [2]);
   * pool.close();
   * await pool.join();
   * assertEquals(await result, 4);
   * ```
   */
  async join(options?: WaitOptions): Promise<void> {
    const signal = signalOf(options, "join Pool");
    const timeout = timeoutOf(options, "join Pool");
    if (this.#state === "open") throw new TypeError("Cannot join Pool: close it first");
    if (this.#members.size === 0) return;
    if (timeout === 0) throw timeoutError("join Pool", 0);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#ended.promise.then(resolve);
    using _limits = limits(timeout, signal, (reason) => {
      reject(reason ?? timeoutError("join Pool", timeout));
    });
    holdLoop();
    try {
      await promise;
    } finally {
      releaseLoop();
    }
  }

  /**
   * Gives up everything that waits or runs, which rejects with `TerminatedError`, and terminates the
   * processes. Does not block the thread.
   *
   * @returns Resolves once the last process has ended.
   * @example
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { TerminatedError } from "@sabre/ipc/errors";
   * import { assertRejects } from "@std/assert";
   *
   * const pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 1 });
   * const rejected = assertRejects(() => pool.run("square", [2]), TerminatedError);
   * await pool.terminate();
   * await rejected;
   * ```
   */
  async terminate(): Promise<void> {
    if (this.#state !== "terminated") {
      this.#state = "terminated";
      const reason = new TerminatedError("Cannot go on: the pool was terminated");
      for (const job of this.#takeWaiting()) this.#settle(job, undefined, { reason });
      for (const member of this.#members) {
        for (const job of member.takeAll()) this.#settle(job, undefined, { reason });
      }
    }
    await Promise.all(Array.from(this.#members, (member) => member.terminate()));
    await this.join();
  }

  /**
   * How many processes the pool has.
   *
   * @example
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { assertEquals } from "@std/assert";
   *
   * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 3 });
   * assertEquals(pool.size, 3);
   * ```
   */
  get size(): number {
    return this.#size;
  }

  /**
   * How many items wait or run: a call of `run` is one.
   *
   * @example
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { assertEquals } from "@std/assert";
   *
   * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 1 });
   * const results = pool.map("square", [1, 2]);
   * assertEquals(pool.pending, 2);
   * await results;
   * ```
   */
  get pending(): number {
    return this.#pending;
  }

  /**
   * Closes and joins, at the end of an `await using` block.
   *
   * @returns Resolves once the last process has ended.
   * @example
   * ```ts
   * import { Pool } from "@sabre/ipc/pool";
   * import { assertEquals } from "@std/assert";
   *
   * await using pool = new Pool(new URL("./examples/squares.ts", import.meta.url), { size: 1 });
   * assertEquals(await pool.run("square", [1]), 1);
   * ```
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.join();
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return `Pool { size: ${this.#size}, pending: ${this.#pending}, state: "${this.#state}" }`;
  }

  #assertOpen(): void {
    if (this.#state === "terminated") {
      throw new TerminatedError("Cannot run in Pool: it was terminated");
    }
    if (this.#state === "closed") throw new ClosedError("Cannot run in Pool: it is closed");
    if (this.#failure !== undefined) throw this.#failure;
  }

  #add(jobs: Job[]): void {
    if (this.#pending === 0) holdLoop();
    for (const job of jobs) {
      this.#pending += job.weight;
      this.#waiting.push(job);
    }
    this.#dispatch();
  }

  /** Ends a job; whoever is told may give new ones. */
  #settle(job: Job, value: unknown, error: { reason: unknown } | undefined): void {
    this.#pending -= job.weight;
    if (this.#pending === 0) releaseLoop();
    job.settle(value, error);
    this.#endIfDone();
  }

  /** Takes back the jobs that were not begun, without settling them. Returns how many. */
  #drop(...jobs: Job[]): number {
    const unwanted = new Set(jobs);
    let dropped = 0;
    const release = (job: Job) => {
      this.#pending -= job.weight;
      dropped++;
      if (this.#pending === 0) releaseLoop();
    };
    this.#waiting = this.#takeWaiting().filter((job) => {
      if (!unwanted.has(job)) return true;
      release(job);
      return false;
    });
    for (const member of this.#members) member.revoke(unwanted).forEach(release);
    // What is running goes on, and nobody listens to it any more.
    this.#endIfDone();
    return dropped;
  }

  /** Sends waiting jobs to processes that have time for them. */
  #dispatch(): void {
    while (this.#first < this.#waiting.length) {
      const member = this.#mostIdle();
      if (member === undefined) return;
      member.give(this.#waiting[this.#first++]!);
      // Not one by one, which would move all others each time.
      if (this.#first === 1_024) this.#waiting = this.#takeWaiting();
    }
    this.#balance();
  }

  /** The tasks that no process was sent; none are left. */
  #takeWaiting(): Job[] {
    const waiting = this.#waiting.slice(this.#first);
    this.#waiting = [];
    this.#first = 0;
    return waiting;
  }

  #mostIdle(): Member | undefined {
    let best: Member | undefined;
    for (const member of this.#members) {
      if (member.canTake && (best === undefined || member.load < best.load)) best = member;
    }
    return best;
  }

  /** Takes back from the busy what they have not begun, for those that have nothing to do. */
  #balance(): void {
    for (const idle of this.#members) {
      if (idle.load > 0 || !idle.canTake) continue;
      for (const busy of this.#members) {
        if (busy.load < 2) continue;
        const job = busy.revokeLast();
        if (job === undefined) continue;
        idle.give(job);
        break;
      }
    }
  }

  /** Starts processes until there are as many as there should be. */
  #fill(): void {
    if (this.#state === "terminated" || this.#failure !== undefined) return;
    if (this.#state === "closed" && this.#pending === 0) return;
    let active = 0;
    for (const member of this.#members) if (!member.isRetired) active++;
    for (; active < this.#size; active++) {
      const name = `${this.#name}-${++this.#started}`;
      const member = new Member(this.#module, name, this.#initializer, this.#initializerArgs, {
        maxTasks: this.#maxTasks,
        answered: (job, value, error) => this.#settle(job, value, error),
        idle: () => this.#dispatch(),
        retired: () => this.#fill(),
        ended: (failure, running, unbegun) => {
          this.#members.delete(member);
          this.#memberEnded(failure, running, unbegun);
        },
      });
      this.#members.add(member);
      this.#dispatch();
    }
  }

  #memberEnded(failure: Error | undefined, running: [Job, Error][], unbegun: Job[]): void {
    this.#waiting = [...unbegun, ...this.#takeWaiting()];
    for (const [job, reason] of running) this.#settle(job, undefined, { reason });
    if (failure !== undefined && this.#failure === undefined) {
      // It would fail again and again: nothing can be run any more.
      this.#failure = failure;
      for (const member of this.#members) {
        this.#waiting.push(...member.takeAll());
        member.close();
      }
      for (const job of this.#takeWaiting()) this.#settle(job, undefined, { reason: failure });
    }
    this.#fill();
    this.#dispatch();
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (this.#state === "open" || this.#pending > 0) return;
    for (const member of this.#members) member.close();
    if (this.#members.size === 0) this.#ended.resolve();
  }
}

/** One task of the pool. */
interface Job {
  readonly kind: number;
  readonly target: string;
  readonly values: unknown[];
  /** How many items it is. */
  readonly weight: number;
  /** Called once: with a value, or for a chunk with the results before the error. */
  readonly settle: (value: unknown, error: { reason: unknown } | undefined) => void;
}

/** What a process of the pool tells it. */
interface Events {
  readonly maxTasks: number;
  answered(job: Job, value: unknown, error: { reason: unknown } | undefined): void;
  idle(): void;
  retired(): void;
  ended(failure: Error | undefined, running: [Job, Error][], unbegun: Job[]): void;
}

/** One process of the pool. */
class Member {
  readonly #process: Process;
  readonly #connection: Connection<Task, Answer>;
  readonly #states = new SharedArray("i32", WINDOW);
  readonly #events: Events;
  readonly #name: string;
  /** The tasks that were sent and not answered, by number, in order. */
  readonly #sent = new Map<number, Job>();
  #next = 0;
  #isReady = false;
  #isClosed = false;
  /** Milliseconds that a task takes, on the average of late; unknown at first. */
  #pace = Infinity;

  constructor(
    module: string,
    name: string,
    initializer: string | undefined,
    initializerArgs: unknown[],
    events: Events,
  ) {
    const [here, there] = pipe<Task, Answer>({ capacity: CAPACITY });
    this.#connection = here;
    this.#events = events;
    this.#name = name;
    this.#process = new Process(import.meta.resolve("./_serve.ts"), {
      target: "serve",
      args: [module, there, this.#states, initializer, initializerArgs],
      name,
      daemon: true,
    });
    this.#process.start();
    this.#listen();
  }

  get load(): number {
    return this.#sent.size;
  }

  /** Whether it was sent all the tasks that it will be. */
  get isRetired(): boolean {
    return this.#isClosed || this.#next >= this.#events.maxTasks;
  }

  /** Whether another task would not make it fall behind. */
  get canTake(): boolean {
    if (!this.#isReady || this.isRetired) return false;
    const ahead = Math.min(Math.max(1, Math.ceil(AHEAD / this.#pace)), WINDOW / 2);
    return this.#sent.size < ahead;
  }

  give(job: Job): void {
    const number = this.#next++;
    this.#sent.set(number, job);
    this.#states.set(number & (WINDOW - 1), SENT);
    this.#send(number, job);
    if (!this.isRetired) return;
    this.#events.retired();
    this.#closeIfIdle();
  }

  async #send(number: number, job: Job): Promise<void> {
    try {
      await this.#connection.send([number, job.kind, job.target, job.values]);
    } catch (reason) {
      // That the other side is gone is told by its end.
      if (reason instanceof ClosedError || !this.#sent.delete(number)) return;
      this.#events.answered(job, undefined, { reason });
      this.#events.idle();
    }
  }

  /** Takes back those of the jobs that it has not begun. */
  revoke(jobs: Set<Job>): Job[] {
    const revoked: Job[] = [];
    for (const [number, job] of this.#sent) {
      if (!jobs.has(job)) continue;
      if (this.#take(number)) revoked.push(job);
    }
    this.#closeIfIdle();
    return revoked;
  }

  /** Takes back the job that was sent last, if it has not begun. */
  revokeLast(): Job | undefined {
    const last = this.#next - 1;
    const job = this.#sent.get(last);
    return job !== undefined && this.#take(last) ? job : undefined;
  }

  /** Takes all its jobs, also those that run. */
  takeAll(): Job[] {
    const jobs = [...this.#sent.values()];
    this.#sent.clear();
    return jobs;
  }

  terminate(): Promise<void> {
    return this.#process.terminate();
  }

  /** Lets it end once it has answered everything. */
  close(): void {
    this.#isClosed = true;
    this.#closeIfIdle();
  }

  #closeIfIdle(): void {
    if (this.isRetired && this.#sent.size === 0 && this.#isReady) this.#connection.close();
  }

  #take(number: number): boolean {
    if (this.#states.compareExchange(number & (WINDOW - 1), SENT, REVOKED) !== SENT) return false;
    return this.#sent.delete(number);
  }

  async #listen(): Promise<void> {
    const connection = this.#connection;
    const news = (connection as unknown as { [NEWS](): News })[NEWS]();
    for (;;) {
      try {
        // Without holding the event loop: an idle pool keeps nothing alive.
        await waitAsync(news.domain, news, Infinity, undefined, false);
      } catch (error) {
        // Closed here, as it has nothing more to do. Or this agent is being terminated.
        if (!(error instanceof ClosedError) && !(error instanceof TerminatedError)) throw error;
        return await this.#end();
      }
      for (;;) {
        const received = connection.tryReceive();
        if (received.state === "closed") return await this.#end();
        if (received.state === "empty") break;
        this.#receive(received.value);
      }
      this.#closeIfIdle();
      this.#events.idle();
    }
  }

  #receive([number, value, time, error]: Answer): void {
    if (number === READY) {
      this.#isReady = true;
      return;
    }
    this.#pace = this.#pace === Infinity ? time : this.#pace * 0.8 + time * 0.2;
    const job = this.#sent.get(number);
    if (job === undefined) return;
    this.#sent.delete(number);
    this.#events.answered(
      job,
      value,
      error === undefined ? undefined : { reason: remote(this.#name, error[0]) },
    );
  }

  /** Tells the pool what becomes of its jobs. */
  async #end(): Promise<void> {
    let failure: unknown;
    try {
      await this.#process.result;
    } catch (error) {
      failure = error;
    }
    await this.#process.join();
    const running: [Job, Error][] = [];
    const unbegun: Job[] = [];
    for (const [number, job] of this.#sent) {
      const hasBegun = this.#states.get(number & (WINDOW - 1)) === BEGUN;
      if (!hasBegun) unbegun.push(job);
      else {running.push([
          job,
          new AbandonedError(`${this.#name} died while it ran "${job.target}"`, { cause: failure }),
        ]);}
    }
    this.#sent.clear();
    this.#isClosed = true;
    const neverReady = !this.#isReady && !(failure instanceof TerminatedError);
    this.#events.ended(neverReady ? failure as Error : undefined, running, unbegun);
  }
}

function remote(name: string, cause: unknown): RemoteError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new RemoteError(`${name} threw: ${text}`, { cause });
}

function chunkSizeOf(chunkSize: unknown, action: string): number | undefined {
  return chunkSize === undefined ? undefined : positiveInteger(chunkSize, action, "chunkSize");
}

/** Calls back when the time is over (with no reason) or the signal fires, until it is disposed. */
function limits(
  timeout: number,
  signal: AbortSignal | undefined,
  expire: (reason?: unknown) => void,
): Disposable {
  const timer = timeout === Infinity
    ? undefined
    : setTimeout(() => expire(), Math.min(timeout, 2 ** 31 - 1));
  const onAbort = () => expire(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    },
  };
}

function report(
  onProgress: MapOptions["onProgress"],
  done: number,
  total: number,
  reject: (reason: unknown) => void,
): void {
  try {
    onProgress?.(done, total);
  } catch (error) {
    reject(error);
  }
}
