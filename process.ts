// Copyright 2026 the Sabre authors. MIT license.

/**
 * Processes: agents that run an exported function, in the manner of Python's
 * `multiprocessing.Process`, over workers.
 *
 * - {@linkcode Process.start} starts the agent, {@linkcode Process.join} waits for its end,
 *   {@linkcode Process.result} is what the function returned or threw.
 * - The module is imported, not run as the main one: `import.meta.main` is `false` in the process, so
 *   that a program guards what only the main agent is to do by `if (import.meta.main)`. Starting a
 *   process while its own module is still being evaluated is an error that says so.
 * - Arguments and results are values: what structured clone supports is copied, a `SharedArrayBuffer`
 *   is shared, and every primitive of this package arrives as a working primitive on the same memory.
 *   An end of a pipe is handed over.
 * - A process ends when the promise of its target settles. What the target started and did not await
 *   is cut off.
 * - A crash in a process never takes its parent down: it is told by `result` and `exitCode`.
 *
 * @example Run a function in a process
 * ```ts
 * import { Process } from "@sabre/ipc/process";
 * import { assertEquals } from "@std/assert";
 * import { square } from "./examples/squares.ts";
 *
 * const module = new URL("./examples/squares.ts", import.meta.url);
 * await using process = new Process(module, { target: square, args: [12] }).start();
 * assertEquals(await process.result, 144);
 * assertEquals(process.exitCode, 0);
 * ```
 *
 * @example A program in one module
 * ```ts
 * import { Process } from "@sabre/ipc/process";
 * import { Queue } from "@sabre/ipc/queue";
 *
 * export function greet(queue: Queue<string>) {
 *   queue.putSync("hello world");
 * }
 *
 * if (import.meta.main) {
 *   const queue = new Queue<string>();
 *   await using child = new Process(import.meta.url, { target: greet, args: [queue] }).start();
 *   console.log(await queue.get());
 *   await child.join();
 * }
 * ```
 *
 * @module
 */

import {
  bury,
  claimSlot,
  type Domain,
  home,
  isAlive,
  nameOf,
  parentOf,
  pidOf,
  stopRequested,
} from "./_agent.ts";
import { PRIMITIVE } from "./_primitive.ts";
import {
  booleanOf,
  show,
  signalOf,
  type SyncWaitOptions,
  timeoutError,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";
import { setOrigin } from "./_origin.ts";
import { give, pack, unpack } from "./_parcel.ts";
import { CHILD, Child, FAILED, printError, RETURNED, self, TERMINATED } from "./_spawn.ts";
import { isLoading, targetName } from "./_target.ts";
import { whatOf } from "./_report.ts";
import { NEWS, type News, waitAsync } from "./_wait.ts";
import { AbandonedError, RemoteError, TerminatedError } from "./errors.ts";

export type { SyncWaitOptions, WaitOptions };

/** Milliseconds that clean-up gets when nothing else is said. */
const GRACE = 500;

/**
 * What a {@linkcode Process} runs, and how.
 *
 * @typeParam F The type of the target.
 * @example
 * ```ts
 * import { Process, type ProcessOptions } from "@sabre/ipc/process";
 * import { assertEquals } from "@std/assert";
 * import type { square } from "./examples/squares.ts";
 *
 * const options: ProcessOptions<typeof square> = { target: "square", args: [3], name: "squarer" };
 * const process = new Process(new URL("./examples/squares.ts", import.meta.url), options);
 * assertEquals(process.name, "squarer");
 * ```
 */
// deno-lint-ignore no-explicit-any
export interface ProcessOptions<F extends (...args: any[]) => unknown> {
  /**
   * The function to run, or its export name: `"default"` for the default export. Of a function only
   * its name travels, so it must have one and be exported by the module.
   */
  target: F | string;
  /**
   * What to call it with. Encoded when the process is started.
   *
   * @default {[]}
   */
  args?: Parameters<F>;
  /**
   * The name of the agent, for messages and for {@linkcode Process.current}.
   *
   * By default `Process-1`, `Process-2` and so on; in a process, its own name and `:1`, `:2` and so on.
   */
  name?: string;
  /**
   * Whether the program may end without waiting for the process. In Deno and Node it then ends with
   * the program, whatever it is doing. In a browser nothing waits for processes, and all of them end
   * with their page.
   *
   * @default {false}
   */
  daemon?: boolean;
}

/**
 * How a process is terminated.
 *
 * @example
 * ```ts
 * import { Process, type TerminateOptions } from "@sabre/ipc/process";
 * import { assertEquals } from "@std/assert";
 *
 * const options: TerminateOptions = { grace: 2_000 };
 * const module = new URL("./examples/hello_queue.ts", import.meta.url);
 * const { Queue } = await import("@sabre/ipc/queue");
 * const process = new Process(module, { target: "child", args: [new Queue()] }).start();
 * await process.terminate(options);
 * assertEquals(process.alive, false);
 * ```
 */
export interface TerminateOptions {
  /**
   * Milliseconds after which the process is stopped by force, without its `finally` blocks. Zero or
   * less stops it by force at once, `Infinity` never does.
   *
   * @default {500}
   */
  grace?: number;
}

/**
 * The name and number of an agent.
 *
 * @example
 * ```ts
 * import { type AgentInfo, Process } from "@sabre/ipc/process";
 * import { assertEquals } from "@std/assert";
 *
 * const parent: AgentInfo | undefined = Process.current.parent;
 * assertEquals(parent, undefined);
 * ```
 */
export interface AgentInfo {
  /** What it was called when it was started; `"Main"` or `"Worker"` if that was not by this package. */
  readonly name: string;
  /** The number that no other agent of the program has or had. */
  readonly pid: number;
}

/**
 * What an agent knows of itself.
 *
 * @example
 * ```ts
 * import { type CurrentProcess, Process } from "@sabre/ipc/process";
 * import { assertEquals } from "@std/assert";
 *
 * const current: CurrentProcess = Process.current;
 * assertEquals(current.stopRequested, false);
 * ```
 */
export interface CurrentProcess extends AgentInfo {
  /** The agent that started this one, if that was by a {@linkcode Process} or a pool. */
  readonly parent: AgentInfo | undefined;
  /**
   * Whether this agent was asked to end. Cheap enough for every turn of a loop that never calls
   * anything else of this package. An agent that has ever read it is given its `grace` when it is
   * asked, even if it seems idle.
   */
  readonly stopRequested: boolean;
  /**
   * Throws if this agent was asked to end, like `AbortSignal.throwIfAborted()`.
   *
   * @throws {TerminatedError} If this agent was asked to end.
   */
  throwIfStopRequested(): void;
}

/** How many processes this agent has made, for their names. */
let made = 0;

/**
 * An agent that runs one exported function of a module.
 *
 * - Belongs to the agent that made it, and cannot be passed.
 * - `result` tells how the function ended, `exitCode` how the process ended: 0 if it returned and the
 *   result could be passed, -15 if it was terminated, 1 otherwise.
 * - Anything that goes wrong in the process, be it in the target, beside it or before it is called,
 *   rejects `result` with a {@linkcode RemoteError}. If `result` was not read by then, nor right after
 *   joining, the error is printed once.
 * - {@linkcode Process.terminate} lets clean-up run where the process waits in a call of this package,
 *   and stops it by force where it does not react.
 * - The program waits for its processes, unless they are daemons. A process ends its own processes
 *   before it ends.
 * - The deadlock to know: a parent that waits for what only the process can deliver, after the process
 *   has failed. A pipe and a lock notice that; a queue, which is open for everybody, does not: wait for
 *   `result` beside it, or use `select()` with both.
 *
 * @typeParam F The type of the target.
 * @example An error arrives
 * ```ts
 * import { Process } from "@sabre/ipc/process";
 * import { RemoteError } from "@sabre/ipc/errors";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const module = new URL("./examples/squares.ts", import.meta.url);
 * await using process = new Process(module, { target: "missing" }).start();
 * await assertRejects(() => process.result, RemoteError, "does not export it");
 * assertEquals(process.exitCode, 1);
 * ```
 */
export class Process<
  // deno-lint-ignore no-explicit-any
  F extends (...args: any[]) => unknown = (...args: any[]) => unknown,
> implements AsyncDisposable {
  /** The name of the agent. */
  readonly name: string;
  readonly #module: string;
  readonly #target: string;
  readonly #orNamed: boolean;
  readonly #args: unknown[];
  readonly #daemon: boolean;
  readonly #result = Promise.withResolvers<Awaited<ReturnType<F>>>();
  #child: Child | undefined;
  /** Whether `result` was ever read. */
  #isAsked = false;
  /** Made where it was started. */
  #origin: Error | undefined;

  static {
    Object.defineProperty(Process.prototype, PRIMITIVE, { value: "none" });
    Object.defineProperty(Process.prototype, NEWS, {
      value(this: Process): News {
        return this.#news();
      },
    });
    Object.defineProperty(Process.prototype, CHILD, {
      get(this: Process): Child | undefined {
        return this.#child;
      },
    });
  }

  /**
   * Prepares a process. Nothing runs before {@linkcode Process.start}.
   *
   * @param module The URL of the module that exports the target, usually `import.meta.url`.
   * @param options What to run, and how.
   * @throws {TypeError} If the module is not an absolute URL; if the target is neither a string nor a
   * function, or is an anonymous or bound function, which has no export name; or if another option is
   * of the wrong type.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assertEquals } from "@std/assert";
   *
   * const module = new URL("./examples/squares.ts", import.meta.url);
   * const process = new Process(module, { target: "square", args: [2] });
   * assertEquals([process.pid, process.alive], [0, false]);
   * ```
   */
  constructor(module: string | URL, options: ProcessOptions<F>) {
    const action = "create Process";
    this.#module = urlOf(module);
    this.#target = targetName(options?.target, action);
    this.#orNamed = typeof options.target === "function";
    const { args = [], name } = options;
    if (!Array.isArray(args)) {
      throw new TypeError(
        `Cannot ${action} as args must be an array: current value is ${show(args)}`,
      );
    }
    if (name !== undefined && typeof name !== "string") {
      throw new TypeError(
        `Cannot ${action} as name must be a string: current value is ${show(name)}`,
      );
    }
    this.#daemon = booleanOf(options.daemon, action, "daemon");
    this.#args = args;
    this.name = name ?? defaultName();
    // Nobody may be waiting, and what is not asked for is printed.
    this.#result.promise.catch(() => {});
  }

  /**
   * What describes the agent in which it is read, whoever started that: the main one, a process, a
   * process of a pool, or a worker of your own.
   *
   * @returns Its name, number and parent, and whether it was asked to end.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assert } from "@std/assert";
   *
   * assert(Process.current.pid > 0);
   * ```
   * @example A loop that can be stopped anywhere
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assertEquals } from "@std/assert";
   *
   * function countPrimes(limit: number): number {
   *   let count = 0;
   *   for (let n = 2; n < limit; n++) {
   *     Process.current.throwIfStopRequested();
   *     let isPrime = true;
   *     for (let d = 2; isPrime && d * d <= n; d++) isPrime = n % d !== 0;
   *     if (isPrime) count++;
   *   }
   *   return count;
   * }
   * assertEquals(countPrimes(100), 25);
   * ```
   */
  static get current(): CurrentProcess {
    return current ??= new Current(home());
  }

  /**
   * Starts the process. Does not wait for it: it runs as soon as its thread does, also if this agent
   * blocks its own thread at once.
   *
   * @returns This process.
   * @throws {TypeError} If it was started before; if an end of a pipe among the arguments cannot be
   * given away; or if this agent is a process that is still evaluating its module: guard it with
   * `import.meta.main`.
   * @throws {DOMException} Named `DataCloneError` if an argument cannot be passed.
   * @throws {RangeError} If the program has as many agents as it can.
   * @throws {TerminatedError} If this agent is a process that is ending.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assert } from "@std/assert";
   *
   * const module = new URL("./examples/squares.ts", import.meta.url);
   * await using process = new Process(module, { target: "square", args: [2] }).start();
   * assert(process.pid > 0);
   * ```
   */
  start(): this {
    const action = `start Process ${show(this.name)}`;
    if (this.#child !== undefined) throw new TypeError(`Cannot ${action}: it was started before`);
    if (isLoading()) {
      throw new TypeError(
        `Cannot ${action}: this agent is a process itself and still evaluates its module, so that every process would start another one: guard it with "if (import.meta.main)"`,
      );
    }
    if (self.isEnding) throw new TerminatedError(`Cannot ${action}: this agent is ending`);
    const args = pack(this.#args);
    this.#origin = new Error();
    const domain = home();
    const id = claimSlot(domain.words, this.name, domain.id);
    let undo: (() => void) | undefined;
    try {
      undo = give(args.attachments, id);
      const task = { module: this.#module, target: this.#target, orNamed: this.#orNamed, args };
      const address = import.meta.resolve("./_child.ts");
      this.#child = new Child(id, this.name, address, task, () => this.#settle());
    } catch (error) {
      undo?.();
      bury(domain, id);
      throw error;
    }
    if (!this.#daemon || this.#isAsked) this.#child.hold();
    return this;
  }

  /**
   * Waits until the process has ended, however it did: `exitCode` and `result` tell. May be called any
   * number of times. Does not block the thread; keeps the program alive.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns Resolves once the thread of the process has ended.
   * @throws {TypeError} If the process was not started.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; the process goes on.
   * @throws {TerminatedError} If this agent itself is being terminated.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assertEquals } from "@std/assert";
   *
   * const module = new URL("./examples/squares.ts", import.meta.url);
   * const process = new Process(module, { target: "square", args: [2] }).start();
   * await process.join();
   * assertEquals(process.exitCode, 0);
   * ```
   */
  async join(options?: WaitOptions): Promise<void> {
    const action = `join Process ${show(this.name)}`;
    const signal = signalOf(options, action);
    const timeout = timeoutOf(options, action);
    const child = this.#started(action);
    if (child.hasEnded) return;
    const what = whatOf("Process", this.pid, "join");
    const waiter = { poll: () => child.hasEnded, withdraw: () => true, what };
    const served = timeout > 0 && await waitAsync(home(), waiter, timeout, signal);
    if (!served) throw timeoutError(action, timeout);
  }

  /**
   * Ends the process. Does not block the thread; the request is made before this returns.
   *
   * - A call of this package in which the process waits, or would wait from now on, throws
   *   {@linkcode TerminatedError} there: `finally` blocks and `using` run. When the target has settled
   *   the process ends.
   * - A process that is idle, so that it waits for nothing of this package, ends at once: what it waits
   *   for could not be interrupted.
   * - What has not ended after `grace` milliseconds is stopped by force, without `finally` blocks: a
   *   loop that never calls this package, and clean-up that takes longer. If several ask, the shortest
   *   grace counts.
   * - A process that is cleaning up, or that has ever read {@linkcode CurrentProcess.stopRequested},
   *   does not count as idle: it has its grace.
   * - Force needs a runtime that can. Deno can, with `node:worker_threads`, in all cases but a call of
   *   the runtime that does not return. A loop can look at {@linkcode Process.current}.
   *
   * @param options How long clean-up may take.
   * @returns Resolves once the thread has ended, at once if it had before.
   * @throws {TypeError} If the process was not started, or `grace` is not a number.
   * @throws {RangeError} If `grace` is `NaN`.
   * @throws {DOMException} Named `NotSupportedError` if the process was to be stopped by force and runs
   * on two seconds later.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { TerminatedError } from "@sabre/ipc/errors";
   * import { assertEquals, assertRejects } from "@std/assert";
   *
   * const module = new URL("./examples/squares.ts", import.meta.url);
   * const process = new Process(module, { target: "square", args: [2] }).start();
   * await process.terminate();
   * assertEquals(process.exitCode, -15);
   * await assertRejects(() => process.result, TerminatedError);
   * ```
   */
  async terminate(options?: TerminateOptions): Promise<void> {
    const action = `terminate Process ${show(this.name)}`;
    const grace = graceOf(options, action);
    const child = this.#started(action);
    if (child.hasEnded) return;
    child.stop(grace);
    await child.stopped();
  }

  /**
   * What the target returned, once the process has ended. Reading it counts as asking for it: the
   * program then waits for the process even if it is a daemon, and an error is no longer printed.
   *
   * - Rejects with a {@linkcode RemoteError}, whose `cause` is the original, if the target threw, if
   *   an error occurred beside it, if it could not be loaded, or if its result could not be passed.
   * - Rejects with a {@linkcode TerminatedError} if the process was terminated, whatever the target
   *   did then.
   * - Rejects with an {@linkcode AbandonedError} if the process ended in any other way.
   * - Never becomes an unhandled rejection.
   *
   * @returns The same promise each time.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assertEquals } from "@std/assert";
   *
   * const module = new URL("./examples/squares.ts", import.meta.url);
   * const process = new Process(module, { target: "square", args: [4] }).start();
   * assertEquals(await process.result, 16);
   * ```
   */
  get result(): Promise<Awaited<ReturnType<F>>> {
    this.#isAsked = true;
    this.#child?.hold();
    return this.#result.promise;
  }

  /**
   * The number of the agent, which {@linkcode Process.current} shows there; 0 before it is started.
   *
   * @returns The number.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assertEquals } from "@std/assert";
   *
   * const process = new Process(import.meta.url, { target: "main" });
   * assertEquals(process.pid, 0);
   * ```
   */
  get pid(): number {
    return this.#child === undefined ? 0 : pidOf(this.#child.id);
  }

  /**
   * Whether the process was started and has not ended. Never waits, and is up to date even if this
   * agent has blocked its thread since.
   *
   * @returns `true` while something may run in it.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assertEquals } from "@std/assert";
   *
   * const module = new URL("./examples/squares.ts", import.meta.url);
   * await using process = new Process(module, { target: "square", args: [2] });
   * assertEquals(process.alive, false);
   * process.start();
   * await process.join();
   * assertEquals(process.alive, false);
   * ```
   */
  get alive(): boolean {
    return this.#child?.isAlive ?? false;
  }

  /**
   * How the process ended: 0 if the target returned, -15 if it was terminated, 1 otherwise. Never
   * waits.
   *
   * @returns `undefined` before it was started and until it has ended.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assertEquals } from "@std/assert";
   *
   * const module = new URL("./examples/squares.ts", import.meta.url);
   * const process = new Process(module, { target: "square", args: [2] });
   * assertEquals(process.exitCode, undefined);
   * await process.start().join();
   * assertEquals(process.exitCode, 0);
   * ```
   */
  get exitCode(): number | undefined {
    const child = this.#child;
    if (child === undefined || child.isAlive) return undefined;
    const { outcome } = child;
    return outcome === RETURNED ? 0 : outcome === TERMINATED ? -15 : 1;
  }

  /**
   * Terminates the process if it still runs, and waits for its end. Harmless if it was never started.
   *
   * @returns Resolves once the thread has ended.
   * @throws {DOMException} As {@linkcode Process.terminate}.
   * @example
   * ```ts
   * import { Process } from "@sabre/ipc/process";
   * import { assertEquals } from "@std/assert";
   *
   * const module = new URL("./examples/squares.ts", import.meta.url);
   * const process = new Process(module, { target: "square", args: [2] });
   * {
   *   await using _process = process.start();
   * }
   * assertEquals(process.alive, false);
   * ```
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.hasEnded) return;
    // One that is past its last word is only waited for.
    if (child.isAlive) child.stop(GRACE);
    await child.stopped();
  }

  /**
   * The one-line state that `console.log` shows.
   *
   * @returns The line.
   */
  [Symbol.for("Deno.customInspect")](): string {
    const state = this.#child === undefined
      ? `state: "not started"`
      : this.alive
      ? `pid: ${this.pid}, state: "running"`
      : `pid: ${this.pid}, state: "ended", exitCode: ${this.exitCode}`;
    return `Process { name: ${show(this.name)}, ${state} }`;
  }

  #started(action: string): Child {
    if (this.#child === undefined) throw new TypeError(`Cannot ${action}: it was not started`);
    return this.#child;
  }

  #news(): News {
    const child = this.#started(`select Process ${show(this.name)}`);
    return {
      domain: home(),
      isReady: () => !child.isAlive,
      poll: () => !child.isAlive,
      withdraw: () => true,
    };
  }

  /** Settles the result at the end of the process. A promise if a module has to be loaded first. */
  #settle(): void | Promise<void> {
    try {
      const { report } = this.#child!;
      const value = report === undefined ? undefined : unpack(report);
      if (!(value instanceof Promise)) return this.#settleWith(value);
      return value.then(
        (value) => this.#settleWith(value),
        (error) => this.#settleUnreadable(error),
      );
    } catch (error) {
      this.#settleUnreadable(error);
    }
  }

  #settleUnreadable(error: unknown): void {
    this.#child!.fail();
    this.#settleWith(error);
  }

  #settleWith(value: unknown): void {
    const { outcome, crash } = this.#child!;
    const { resolve, reject } = this.#result;
    const name = show(this.name);
    if (outcome === RETURNED) {
      resolve(value as Awaited<ReturnType<F>>);
    } else if (outcome === TERMINATED) {
      reject(new TerminatedError(`Process ${name} was terminated`));
    } else if (outcome === FAILED) {
      const cause = crash === undefined ? value : crash.error;
      const error = new RemoteError(`Process ${name} failed: ${textOf(cause)}`, { cause });
      setOrigin(error, this.#origin!);
      reject(error);
      // A turn later, so that one who joins first and asks then has asked.
      if (!this.#isAsked) later(() => this.#isAsked || printError(name, error));
    } else {
      reject(
        new AbandonedError(
          `Process ${name} ended without a result, as after Deno.exit() or self.close()`,
        ),
      );
    }
  }
}

class Current implements CurrentProcess {
  readonly name: string;
  readonly pid: number;
  readonly parent: AgentInfo | undefined;
  readonly #domain: Domain;

  constructor(domain: Domain) {
    this.#domain = domain;
    this.name = nameOf(domain, domain.id);
    this.pid = pidOf(domain.id);
    const parent = parentOf(domain, domain.id);
    this.parent = parent === 0
      ? undefined
      : { name: isAlive(domain, parent) ? nameOf(domain, parent) : "", pid: pidOf(parent) };
  }

  get stopRequested(): boolean {
    self.looksForStop = true;
    return stopRequested(this.#domain);
  }

  throwIfStopRequested(): void {
    if (this.stopRequested) {
      throw new TerminatedError("Cannot go on: this agent is being terminated");
    }
  }
}

let current: Current | undefined;

// Not a timer where there is another way: it would look as if a test had left it behind.
const later = (globalThis as { setImmediate?: (task: () => void) => void }).setImmediate ??
  ((task: () => void) => setTimeout(task, 0));

function defaultName(): string {
  const number = ++made;
  const domain = home();
  return parentOf(domain, domain.id) === 0
    ? `Process-${number}`
    : `${nameOf(domain, domain.id)}:${number}`;
}

function urlOf(module: unknown): string {
  if (module instanceof URL) return module.href;
  if (typeof module === "string" && URL.canParse(module)) return module;
  throw new TypeError(
    `Cannot create Process as the module must be an absolute URL, such as import.meta.url or import.meta.resolve("./module.ts"): current value is ${
      show(module)
    }`,
  );
}

function graceOf(options: TerminateOptions | undefined, action: string): number {
  const grace: unknown = options?.grace;
  if (grace === undefined) return GRACE;
  const message = `Cannot ${action} as grace must be a number of milliseconds: current value is ${
    show(grace)
  }`;
  if (typeof grace !== "number") throw new TypeError(message);
  if (Number.isNaN(grace)) throw new RangeError(message);
  return Math.max(grace, 0);
}

function textOf(error: unknown): string {
  return error instanceof Error || error instanceof DOMException
    ? `${error.name}: ${error.message}`
    : show(error);
}
