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

import { home, livingAgents, MAX_AGENTS } from "./_agent.ts";
import { flowThrough } from "./_flow.ts";
import { holdLoop, releaseLoop } from "./_hold.ts";
import { PRIMITIVE } from "./_primitive.ts";
import {
  booleanOf,
  checkOptions,
  positiveInteger,
  show,
  signalOf,
  timeoutError,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";
import { place, showOrigin } from "./_origin.ts";
import { give, pack, type Parcel, unpack } from "./_parcel.ts";
import {
  type Answer,
  BEGUN,
  Besides,
  CALL,
  CHUNK,
  OR_NAMED,
  READY,
  REVOKED,
  SENT,
  stateOf,
  type Task,
  WINDOW,
} from "./_serve.ts";
import { CHILD, type Child, printError } from "./_spawn.ts";
import { targetName } from "./_target.ts";
import { whatOf } from "./_report.ts";
import { lookNow, NEWS, type News, waitAsync } from "./_wait.ts";
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
  // deno-lint-ignore no-explicit-any
  initializer?: ((...args: any[]) => unknown) | string;
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
  readonly #initializer: [name: string, orNamed: boolean] | undefined;
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
  /** Tells those who wait for items to give it that there is no use in that any more. */
  readonly #over = new AbortController();
  #started = 0;

  static {
    Object.defineProperty(Pool.prototype, PRIMITIVE, { value: "none" });
  }

  /**
   * Creates a pool and starts its processes. Does not block.
   *
   * @param module The URL of the module whose exported functions are run, usually `import.meta.url`.
   * @param options How many processes, and what they do first.
   * @throws {RangeError} If `size` or `maxTasksPerProcess` is not a positive integer, or the program
   * would have more agents than it can.
   * @throws {TypeError} If the options or one of them are of the wrong type, the module is no URL, or
   * the initializer is neither a string nor a named function; or if a process that is still evaluating
   * the module would start another one: guard it with `import.meta.main`.
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
    const action = "create Pool";
    checkOptions(options, action);
    const { size, maxTasksPerProcess, initializer, initializerArgs = [], name = "Pool" } = options;
    if (!URL.canParse(module)) {
      throw new TypeError(
        `Cannot ${action} as the module must be an absolute URL, such as import.meta.url: current value is ${
          show(module)
        }`,
      );
    }
    this.#module = String(module);
    this.#size = size === undefined
      ? Math.max(1, globalThis.navigator?.hardwareConcurrency ?? 1)
      : positiveInteger(size, action, "size");
    this.#maxTasks = maxTasksPerProcess === undefined || maxTasksPerProcess === Infinity
      ? Infinity
      : positiveInteger(maxTasksPerProcess, action, "maxTasksPerProcess");
    this.#initializer = initializer === undefined
      ? undefined
      : [targetName(initializer, action), typeof initializer === "function"];
    if (typeof name !== "string") {
      throw new TypeError(
        `Cannot ${action} as name must be a string: current value is ${show(name)}`,
      );
    }
    // A copy, for the processes that are started later.
    this.#initializerArgs = unpack(
      pack(arrayOf(initializerArgs, action, "initializerArgs")),
    ) as unknown[];
    this.#name = name;
    const agents = livingAgents(home()).length;
    if (agents + this.#size > MAX_AGENTS) {
      throw new RangeError(
        `Cannot ${action} as a program can have ${MAX_AGENTS} agents at a time, and has ${agents}: current value of size is ${this.#size}`,
      );
    }
    try {
      this.#fill();
    } catch (error) {
      for (const member of this.#members) member.terminate().catch(() => {});
      throw error;
    }
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
   * @throws {ClosedError} If the pool is closed, or an argument is an end of a pipe that is.
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
  // deno-lint-ignore no-explicit-any
  async run<F extends (...args: any[]) => unknown>(
    target: F | string,
    args?: Parameters<F>,
    options?: WaitOptions,
  ): Promise<Awaited<ReturnType<F>>> {
    const action = "run in Pool";
    const signal = signalOf(options, action);
    const timeout = timeoutOf(options, action);
    const { promise, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<F>>>();
    const job: Job = {
      kind: kindOf(target, CALL),
      target: targetName(target, action),
      body: bodyOf([...arrayOf(args ?? [], action, "args")]),
      weight: 1,
      settle: (value, error) =>
        error === undefined ? resolve(value as Awaited<ReturnType<F>>) : reject(error.reason),
    };
    // Encoding them may have run anything.
    signal?.throwIfAborted();
    this.#assertOpen();
    if (timeout === 0) throw timeoutError(action, 0);
    using _limits = limits(timeout, signal, (reason) => {
      this.#drop([job]);
      reject(reason ?? timeoutError(action, timeout));
    });
    this.#add([job]);
    try {
      return await promise;
    } catch (error) {
      // The engine knows who awaits this call, and shows it in what is made here.
      throw showOrigin(error, new Error());
    }
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
   * tasks runs any more. When an item fails, the rest of its chunk is skipped, and so are later chunks
   * that were not begun.
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
    const kind = kindOf(target, CHUNK);
    const chunkSize = chunkSizeOf(options?.chunkSize, action);
    const { onProgress } = options ?? {};
    this.#assertOpen();
    assertIterable(items, [Symbol.iterator], action);
    const list = Array.from(items);
    // Reading them may have run anything.
    this.#assertOpen();
    signal?.throwIfAborted();
    const size = chunkSize ??
      Math.min(MAX_CHUNK, Math.max(1, Math.ceil(list.length / (4 * this.#size))));
    const results: Awaited<R>[] = new Array(list.length);
    const { promise, resolve, reject } = Promise.withResolvers<Awaited<R>[]>();
    const jobs: Job[] = [];
    let unsettled = 0;
    let done = 0;
    let isOver = false;
    let failed: { at: number; reason: unknown } | undefined;
    const fail = (at: number, reason: unknown) => {
      if (failed !== undefined && failed.at <= at) return;
      failed = { at, reason };
      // Those before it may fail as well, and then theirs is the first error.
      unsettled -= this.#drop(jobs.slice(Math.ceil(at / size)));
    };
    const settle = (start: number, got: Awaited<R>[], error: { reason: unknown } | undefined) => {
      unsettled--;
      for (let i = 0; i < got.length; i++) results[start + i] = got[i]!;
      done += got.length;
      if (error !== undefined) fail(start + got.length, error.reason);
      if (isOver) return;
      if (got.length > 0) {
        try {
          onProgress?.(done, list.length);
        } catch (reason) {
          fail(-1, reason);
        }
      }
      if (unsettled > 0) return;
      if (failed === undefined) resolve(results);
      else reject(failed.reason);
    };
    for (let start = 0; start < list.length; start += size) {
      const values = list.slice(start, start + size);
      jobs.push({
        kind,
        target: name,
        body: bodyOf(values),
        weight: values.length,
        settle: (value, error) => settle(start, (value ?? []) as Awaited<R>[], error),
      });
    }
    unsettled = jobs.length;
    if (unsettled === 0) return [];
    // Encoding them, likewise.
    this.#assertOpen();
    signal?.throwIfAborted();
    using _limits = limits(Infinity, signal, (reason) => {
      isOver = true;
      this.#drop(jobs);
      reject(reason);
    });
    this.#add(jobs);
    try {
      return await promise;
    } catch (error) {
      // As above.
      throw showOrigin(error, new Error());
    }
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
   * calls `return()` of the input and skips what was not begun. Items that were not read when the
   * pool was closed are new work: then the loop throws a `ClosedError`. It also throws what `map`
   * rejects with, and a `RangeError` if `bufferSize` is not a positive integer.
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
    const begin = () => {
      const action = "imap over Pool";
      const signal = signalOf(options, action);
      const name = targetName(target, action);
      const kind = kindOf(target, CHUNK);
      const chunkSize = chunkSizeOf(options?.chunkSize, action) ?? 1;
      const bufferSize = options?.bufferSize === undefined
        ? 4 * this.#size * chunkSize
        : positiveInteger(options.bufferSize, action, "bufferSize");
      const ordered = booleanOf(options?.ordered, action, "ordered", true);
      this.#assertOpen();
      assertIterable(items, [Symbol.asyncIterator, Symbol.iterator], action);
      return {
        chunkSize: Math.min(chunkSize, bufferSize),
        bufferSize,
        ordered,
        signal,
        over: this.#over.signal,
        add: (values: T[], settle: Settle) => {
          const job = { kind, target: name, body: bodyOf(values), weight: values.length, settle };
          // Encoding them may have run anything.
          this.#assertOpen();
          this.#add([job]);
          return job;
        },
        drop: (jobs: Job[]) => void this.#drop(jobs),
      };
    };
    // Not before the first result is asked for, as asynchronous forms never throw.
    return flowThrough<T, Awaited<R>, Job>(items, begin);
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
   * @throws {TerminatedError} If this agent itself is being terminated.
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
    const what = whatOf("Pool", 0, "join");
    const waiter = { poll: () => this.#members.size === 0, withdraw: () => true, what };
    if (waiter.poll()) return;
    const served = timeout > 0 && await waitAsync(home(), waiter, timeout, signal);
    if (!served) throw timeoutError("join Pool", timeout);
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
    this.#giveUp();
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

  /** Rejects everything, and refuses what comes later. */
  #giveUp(): void {
    if (this.#state === "terminated") return;
    this.#state = "terminated";
    const reason = new TerminatedError("Cannot go on: the pool was terminated");
    const jobs = [...this.#takeWaiting()];
    for (const member of this.#members) jobs.push(...member.takeAll());
    for (const job of jobs) this.#settle(job, undefined, { reason });
    this.#over.abort(reason);
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
    this.#release(job);
    job.settle(value, error);
    this.#endIfDone();
  }

  /** Takes back the jobs that were not begun, without settling them. Returns how many. */
  #drop(jobs: Iterable<Job>): number {
    const unwanted = new Set(jobs);
    const dropped: Job[] = [];
    this.#waiting = this.#takeWaiting().filter((job) => {
      if (!unwanted.has(job)) return true;
      dropped.push(job);
      return false;
    });
    for (const member of this.#members) dropped.push(...member.revoke(unwanted));
    // What is running goes on, and nobody listens to it any more.
    for (const job of dropped) this.#release(job);
    this.#endIfDone();
    return dropped.length;
  }

  #release(job: Job): void {
    this.#pending -= job.weight;
    if (this.#pending === 0) releaseLoop();
  }

  /** Sends waiting jobs to processes that have time for them. */
  #dispatch(): void {
    while (this.#first < this.#waiting.length) {
      const member = this.#mostIdle();
      if (member === undefined) return;
      member.give(this.#waiting[this.#first++]!);
      // Not one by one, which would move all others each time.
      if (this.#first > 1_024 && this.#first > this.#waiting.length / 2) {
        this.#waiting = this.#takeWaiting();
      }
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
      if (member.room > 0 && (best === undefined || member.load < best.load)) best = member;
    }
    return best;
  }

  /** Takes back from the busy what they have not begun, for those that have nothing to do. */
  #balance(): void {
    for (const idle of this.#members) {
      if (idle.load > 0) continue;
      for (const busy of this.#members) {
        const jobs = idle.room > 0 ? busy.revokeHalf(idle.room) : [];
        for (const job of jobs) idle.give(job);
        if (jobs.length > 0) break;
      }
    }
  }

  /** Starts processes until there are as many as there should be. */
  #fill(): void {
    if (this.#state === "terminated" || this.#failure !== undefined) return;
    if (this.#state === "closed" && this.#pending === 0) return;
    while (this.#members.size < this.#size) {
      const name = `${this.#name}-${++this.#started}`;
      const member = new Member(this.#module, name, this.#initializer, this.#initializerArgs, {
        maxTasks: this.#maxTasks,
        answered: (job, value, error) => this.#settle(job, value, error),
        idle: () => this.#dispatch(),
        stopped: () => {
          // This agent is to end, and what waits here has to.
          this.#giveUp();
          for (const member of this.#members) member.terminate().catch(() => {});
        },
        ended: (failure, running, unbegun) => {
          this.#members.delete(member);
          this.#memberEnded(failure, running, unbegun);
        },
      });
      this.#members.add(member);
    }
  }

  #memberEnded(failure: Error | undefined, running: [Job, Error][], unbegun: Job[]): void {
    this.#waiting = [...unbegun, ...this.#takeWaiting()];
    for (const [job, reason] of running) this.#settle(job, undefined, { reason });
    if (failure !== undefined) this.#fail(failure);
    try {
      this.#fill();
    } catch (error) {
      // Others may go on; without any, nothing does.
      if (this.#members.size === 0) this.#fail(error as Error);
    }
    this.#dispatch();
    this.#endIfDone();
  }

  /** Breaks the pool for good: what happened would happen again and again. */
  #fail(failure: Error): void {
    if (this.#failure !== undefined || this.#state === "terminated") return;
    this.#failure = failure;
    const jobs = [...this.#takeWaiting()];
    for (const member of this.#members) {
      jobs.push(...member.takeAll());
      member.close();
    }
    for (const job of jobs) this.#settle(job, undefined, { reason: failure });
    this.#over.abort(failure);
  }

  #endIfDone(): void {
    if (this.#state === "open" || this.#pending > 0) return;
    for (const member of this.#members) member.close();
    // Whoever joins is told.
    if (this.#members.size === 0) lookNow();
  }
}

/** Is told once what became of a job: a value, or for a chunk the results before the error. */
type Settle = (value: unknown, error: { reason: unknown } | undefined) => void;

/** One task of the pool. */
interface Job {
  readonly kind: number;
  readonly target: string;
  /** The arguments or items. */
  readonly body: Body;
  /** How many items it is. */
  readonly weight: number;
  readonly settle: Settle;
}

/** Values that nobody can change, or values encoded. */
type Body = unknown[] | Parcel;

function bodyOf(values: unknown[]): Body {
  return values.every(isImmutable) ? values : pack(values);
}

function isImmutable(value: unknown): boolean {
  const type = typeof value;
  return type !== "object" && type !== "function" && type !== "symbol" || value === null;
}

function kindOf(target: unknown, kind: number): number {
  return typeof target === "function" ? kind + OR_NAMED : kind;
}

/** What a process of the pool tells it. */
interface Events {
  readonly maxTasks: number;
  answered(job: Job, value: unknown, error: { reason: unknown } | undefined): void;
  idle(): void;
  stopped(): void;
  ended(failure: Error | undefined, running: [Job, Error][], unbegun: Job[]): void;
}

/** One process of the pool. */
class Member {
  readonly #process: Process;
  readonly #connection: Connection<Task, Answer>;
  readonly #states = new SharedArray("i32", WINDOW);
  readonly #events: Events;
  readonly #name: string;
  readonly #child: Child;
  readonly #besides = new Besides();
  /** The tasks that were sent and not answered, by number, in order. */
  readonly #sent = new Map<number, Job>();
  /** How to take back the ends of pipes that went with them. */
  readonly #undos = new Map<number, () => void>();
  #last = -1;
  /** Tasks that it was given and that were not taken back. */
  #given = 0;
  /** Answers that come beside the pipe. */
  readonly #incomplete = new Set<Promise<void>>();
  #hasEnded = false;
  #isReady = false;
  #isClosed = false;
  /** Milliseconds that a task takes, on the average of late; unknown at first. */
  #pace = Infinity;

  constructor(
    module: string,
    name: string,
    initializer: [name: string, orNamed: boolean] | undefined,
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
    this.#child = (this.#process as unknown as { [CHILD]: Child })[CHILD];
    this.#child.onBeside = (message) => this.#besides.put(message);
    this.#listen();
  }

  get load(): number {
    return this.#sent.size;
  }

  /** Whether it was given all the tasks that it will be. */
  get #isRetired(): boolean {
    return this.#isClosed || this.#given >= this.#events.maxTasks;
  }

  /** How many tasks more would not make it fall behind. */
  get room(): number {
    if (!this.#isReady || this.#isClosed) return 0;
    const ahead = Math.min(Math.max(1, Math.ceil(AHEAD / this.#pace)), WINDOW / 2);
    return Math.min(ahead - this.#sent.size, this.#events.maxTasks - this.#given);
  }

  give(job: Job): void {
    // There is always a word that no task in flight has.
    do this.#last++; while (this.#isTaken(this.#last));
    const number = this.#last;
    this.#given++;
    this.#sent.set(number, job);
    this.#states.set(number & (WINDOW - 1), stateOf(number, SENT));
    try {
      const values = this.#enclose(number, job.body);
      const task: Task = [number, job.kind, job.target, values];
      this.#connection.send(task).catch((error) => this.#unsent(number, error));
    } catch (error) {
      // What cannot be passed, such as an end of a pipe that is closed.
      this.#takeBack(number);
      this.#refuse(number, job, error);
    }
  }

  /** Whether a task in flight has the word that the number would have. */
  #isTaken(number: number): boolean {
    // Those that are taken back have left no trace, and none is older than the first.
    const [first = number] = this.#sent.keys();
    for (let other = number - WINDOW; other >= first; other -= WINDOW) {
      if (this.#sent.has(other)) return true;
    }
    return false;
  }

  /** What goes through the pipe of the values. What cannot is sent beside it. */
  #enclose(number: number, body: Body): Task[3] {
    if (Array.isArray(body)) return body;
    if (body.attachments.length === 0) return body.bytes;
    this.#undos.set(number, give(body.attachments, this.#child.id));
    this.#child.sendBeside({ beside: number, parcel: body });
    return undefined;
  }

  #unsent(number: number, reason: unknown): void {
    const job = this.#sent.get(number);
    // That the other side is gone is told by its end.
    if (job === undefined || reason instanceof ClosedError) return;
    this.#refuse(number, job, reason);
  }

  #refuse(number: number, job: Job, reason: unknown): void {
    this.#sent.delete(number);
    this.#events.answered(job, undefined, { reason });
    this.#events.idle();
  }

  /** Takes back those of the jobs that it has not begun. */
  revoke(jobs: Set<Job>): Job[] {
    const revoked: Job[] = [];
    for (const [number, job] of this.#sent) {
      if (jobs.has(job) && this.#take(number)) revoked.push(job);
    }
    this.#closeIfIdle();
    return revoked;
  }

  /** Takes back half of the jobs, those that were sent last, as far as it has not begun them. */
  revokeHalf(max: number): Job[] {
    const half = this.#sent.size >> 1;
    if (half === 0) return [];
    const jobs: Job[] = [];
    for (const [number, job] of [...this.#sent].slice(-Math.min(half, max))) {
      if (this.#take(number)) jobs.push(job);
    }
    return jobs;
  }

  /** Takes all its jobs, also those that run. */
  takeAll(): Job[] {
    const jobs = [...this.#sent.values()];
    for (const number of this.#sent.keys()) this.#take(number);
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
    if (this.#isRetired && this.#sent.size === 0 && this.#isReady) this.#connection.close();
  }

  #take(number: number): boolean {
    const from = stateOf(number, SENT);
    const to = stateOf(number, REVOKED);
    if (this.#states.compareExchange(number & (WINDOW - 1), from, to) !== from) return false;
    this.#takeBack(number);
    this.#given--;
    return this.#sent.delete(number);
  }

  #takeBack(number: number): void {
    this.#undos.get(number)?.();
    this.#undos.delete(number);
  }

  async #listen(): Promise<void> {
    const connection = this.#connection;
    const news = (connection as unknown as { [NEWS](): News })[NEWS]();
    for (;;) {
      try {
        // Without holding the event loop: an idle pool keeps nothing alive.
        await waitAsync(news.domain, news, Infinity, undefined, false);
      } catch (error) {
        if (error instanceof TerminatedError) this.#events.stopped();
        else if (!(error instanceof ClosedError)) throw error;
        // Closed here, as it has nothing more to do.
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

  #receive(answer: Answer): void {
    const [number, time, value, error] = answer;
    if (number === READY) {
      this.#isReady = true;
      return;
    }
    this.#pace = this.#pace === Infinity ? time : this.#pace * 0.8 + time * 0.2;
    if (answer.length === 2) {
      const completion = this.#complete(number);
      this.#incomplete.add(completion);
      completion.then(() => this.#incomplete.delete(completion));
    } else this.#answered(number, value, error);
  }

  #answered(number: number, value: unknown, error: [unknown] | undefined): void {
    const job = this.#sent.get(number);
    this.#undos.delete(number);
    if (job === undefined) return;
    this.#sent.delete(number);
    const failure = error && { reason: remote(this.#name, error[0]) };
    this.#events.answered(job, value, failure);
  }

  /** Waits for what comes beside the pipe. */
  async #complete(number: number): Promise<void> {
    let value: unknown;
    let error: [unknown] | undefined;
    try {
      [value, error] = await this.#besides.take(number) as [unknown, [unknown]?];
    } catch (reason) {
      if (this.#hasEnded) return;
      error = [reason];
    }
    this.#answered(number, value, error);
    this.#closeIfIdle();
    this.#events.idle();
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
    this.#hasEnded = true;
    this.#besides.end();
    await Promise.all(this.#incomplete);
    const running: [Job, Error][] = [];
    const unbegun: Job[] = [];
    for (const [number, job] of this.#sent) {
      if (this.#states.get(number & (WINDOW - 1)) !== stateOf(number, BEGUN)) {
        this.#takeBack(number);
        unbegun.push(job);
        continue;
      }
      const message = `${this.#name} died while it ran "${job.target}"`;
      running.push([job, new AbandonedError(message, { cause: failure })]);
    }
    this.#sent.clear();
    this.#isClosed = true;
    // Of an error beside the tasks, such as in a timer that one left behind, no task tells.
    if (this.#isReady && running.length === 0 && failure instanceof RemoteError) {
      printError(show(this.#name), failure);
    }
    const neverReady = !this.#isReady && !(failure instanceof TerminatedError);
    this.#events.ended(neverReady ? failure as Error : undefined, running, unbegun);
  }
}

function remote(name: string, cause: unknown): RemoteError {
  let text = show(cause);
  try {
    text = cause instanceof Error ? cause.message : String(cause);
  } catch {
    // It has no text, such as an object with a `toString` of its own that is no function.
  }
  return place(new RemoteError(`${name} threw: ${text}`, { cause }));
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

function arrayOf(value: unknown, action: string, name: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw new TypeError(
    `Cannot ${action} as ${name} must be an array: current value is ${show(value)}`,
  );
}

function assertIterable(items: unknown, methods: symbol[], action: string): void {
  const object = Object(items) as Record<symbol, unknown>;
  if (methods.some((method) => typeof object[method] === "function")) return;
  throw new TypeError(
    `Cannot ${action} as the items must be iterable: current value is ${show(items)}`,
  );
}
