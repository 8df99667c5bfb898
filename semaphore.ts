// Copyright 2026 the Sabre authors. MIT license.

/**
 * Semaphores: a number of permits, which agents take and give back.
 *
 * - Whoever acquires gets a {@linkcode Guard}; `using` gives its permits back at the end of the block.
 * - Strictly in order of arrival: a big request at the head of the line makes smaller ones behind it
 *   wait, so that it is not starved; when it gives up, those behind it that can be served are.
 * - `release()` without a guard puts permits in that nobody took, up to `max`.
 * - When an agent ends, the permits of its guards come back.
 * - The deadlock to know: two agents that each hold part of the permits and wait for more.
 *
 * @example At most two at a time
 * ```ts
 * import { Semaphore } from "@sabre/ipc/semaphore";
 * import { assertEquals } from "@std/assert";
 *
 * const semaphore = new Semaphore(2);
 * let running = 0;
 * let most = 0;
 * async function work() {
 *   using _guard = await semaphore.acquire();
 *   most = Math.max(most, ++running);
 *   await Promise.resolve();
 *   running--;
 * }
 * await Promise.all([work(), work(), work(), work()]);
 * assertEquals(most, 2);
 * ```
 *
 * @module
 */

import { home } from "./_agent.ts";
import type { Guard } from "./_exclusive.ts";
import {
  createHandle,
  domainOf,
  existingOf,
  type Handle,
  handleOf,
  HOLDINGS,
  type Holdings,
  recall,
  registerKind,
  remember,
} from "./_handle.ts";
import { PRIMITIVE } from "./_primitive.ts";
import {
  checkOptions,
  positiveInteger,
  signalOf,
  type SyncWaitOptions,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";
import { crowd, freeNow, initPermits, maxOf, PERMITS_WORDS, putIn } from "./_permits.ts";
import { type Demand, Sharing } from "./_sharing.ts";

export type { Guard, Handle, SyncWaitOptions, WaitOptions };

const LIMIT = 2 ** 31 - 1; // what a word holds
const ONE: Demand = { need: 1, recovers: false, call: "acquire" };

/**
 * How a semaphore is made.
 *
 * @example
 * ```ts
 * import { Semaphore, type SemaphoreOptions } from "@sabre/ipc/semaphore";
 * import { assertThrows } from "@std/assert";
 *
 * const options: SemaphoreOptions = { max: 1 };
 * assertThrows(() => new Semaphore(1, options).release(), RangeError);
 * ```
 */
export interface SemaphoreOptions {
  /**
   * How many permits may exist, held or not.
   *
   * @default {Infinity}
   */
  max?: number;
}

/**
 * How many permits a call takes.
 *
 * @example
 * ```ts
 * import { type PermitOptions, Semaphore } from "@sabre/ipc/semaphore";
 * import { assertEquals } from "@std/assert";
 *
 * const options: PermitOptions = { permits: 2 };
 * const semaphore = new Semaphore(3);
 * using _guard = semaphore.acquireSync(options);
 * assertEquals(semaphore.available, 1);
 * ```
 */
export interface PermitOptions {
  /**
   * All of them are taken at once, or none.
   *
   * @default {1}
   */
  permits?: number;
}

/**
 * A number of permits that agents share.
 *
 * - Any agent may call anything, at any time; calls of one agent take effect in their order.
 * - Served in order of arrival, whoever could be served sooner: see the module.
 * - A call that timed out or was aborted kept no permit.
 * - An agent that ends gives back what its guards hold, less what it put back by `release()` while it
 *   held them: whoever pairs `acquire` with `release()`, as in Python, gives back nothing twice.
 *
 * @example Take and give back
 * ```ts
 * import { Semaphore } from "@sabre/ipc/semaphore";
 * import { assertEquals } from "@std/assert";
 *
 * const semaphore = new Semaphore(3);
 * {
 *   using _guard = semaphore.acquireSync({ permits: 2 });
 *   assertEquals(semaphore.available, 1);
 * }
 * assertEquals(semaphore.available, 3);
 * ```
 */
export class Semaphore {
  /** What crosses to other agents; see {@linkcode Semaphore.from}. */
  readonly handle: Handle;
  readonly #sharing: Sharing;
  readonly #max: number;

  static {
    registerKind("Semaphore", (handle) => Semaphore.from(handle));
    Object.defineProperty(Semaphore.prototype, PRIMITIVE, { value: "Semaphore" });
    Object.defineProperty(Semaphore.prototype, HOLDINGS, {
      value(this: Semaphore): Holdings {
        return this.#sharing.holdings(this.handle);
      },
    });
  }

  /**
   * Creates a semaphore.
   *
   * @param permits How many permits there are at first.
   * @param options How many there may be.
   * @throws {RangeError} If `permits` or `max` is not a positive integer, or `permits` is above `max`
   * or above 2^31 - 1.
   * @throws {TypeError} If one of them is not a number, or the options are no object.
   * @example
   * ```ts
   * import { Semaphore } from "@sabre/ipc/semaphore";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Semaphore().available, 1);
   * ```
   */
  constructor(permits?: number, options?: SemaphoreOptions);
  constructor(permits?: number, options?: SemaphoreOptions, given?: Handle) {
    const existing = existingOf(given);
    this.handle = existing ?? create(permits, options);
    const domain = domainOf(this.handle);
    const words = new Int32Array(this.handle.memory);
    this.#sharing = new Sharing(
      "Semaphore",
      domain,
      words,
      this.handle.offset / 4,
      this.handle.serial,
    );
    this.#sharing.face = this;
    this.#max = maxOf(this.#sharing.permits) || Infinity;
    remember(this.handle, domain, this);
  }

  /**
   * The semaphore of this agent for a handle, or for what structured clone made of a semaphore. The
   * same object each time.
   *
   * @param value A semaphore, its handle, or what arrived of it in a message.
   * @returns The semaphore on the same memory.
   * @throws {TypeError} If it is not a handle of a `Semaphore` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { Semaphore } from "@sabre/ipc/semaphore";
   * import { assertEquals } from "@std/assert";
   *
   * const semaphore = new Semaphore(2);
   * using _guard = semaphore.acquireSync();
   * assertEquals(Semaphore.from(structuredClone(semaphore)).available, 1);
   * ```
   */
  static from(value: unknown): Semaphore {
    const handle = handleOf(value, "Semaphore", PERMITS_WORDS * 4);
    const known = recall(handle, domainOf(handle));
    return known instanceof Semaphore
      ? known
      : Reflect.construct(Semaphore, [undefined, undefined, handle]) as Semaphore;
  }

  /**
   * Takes permits, waiting for its turn and until there are enough. Does not block the thread.
   *
   * @param options How many permits; how long to wait, in milliseconds; what may abort the wait.
   * @returns The guard that gives them back.
   * @throws {RangeError} If `permits` is not a positive integer or above `max`.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; no permit was taken.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { Semaphore } from "@sabre/ipc/semaphore";
   * import { assertEquals } from "@std/assert";
   *
   * const semaphore = new Semaphore(1);
   * const first = await semaphore.acquire();
   * const second = semaphore.acquire({ timeout: 1_000 });
   * first.release();
   * using guard = await second;
   * assertEquals(guard.held, true);
   * ```
   */
  async acquire(options?: WaitOptions & PermitOptions): Promise<Guard> {
    const signal = signalOf(options, "acquire Semaphore");
    const timeout = timeoutOf(options, "acquire Semaphore");
    return await this.#sharing.acquire(this.#demand(options), timeout, signal);
  }

  /**
   * Takes permits, blocking the thread until it is its turn and there are enough.
   *
   * @param options How many permits; how long to wait, in milliseconds.
   * @returns The guard that gives them back.
   * @throws {RangeError} If `permits` is not a positive integer or above `max`.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed, `InvalidStateError` if it would
   * have to block the main thread of a browser; no permit was taken.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { Semaphore } from "@sabre/ipc/semaphore";
   * import { assertThrows } from "@std/assert";
   *
   * const semaphore = new Semaphore(2);
   * using _guard = semaphore.acquireSync();
   * assertThrows(() => semaphore.acquireSync({ permits: 2, timeout: 1 }), DOMException);
   * ```
   */
  acquireSync(options?: SyncWaitOptions & PermitOptions): Guard {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "acquire Semaphore");
    return this.#sharing.acquireSync(this.#demand(options), timeout);
  }

  /**
   * Takes permits if that needs no wait.
   *
   * @param options How many permits.
   * @returns The guard that gives them back, or `undefined` if there are too few, or others wait.
   * @throws {RangeError} If `permits` is not a positive integer or above `max`.
   * @example
   * ```ts
   * import { Semaphore } from "@sabre/ipc/semaphore";
   * import { assertEquals } from "@std/assert";
   *
   * const semaphore = new Semaphore(1);
   * using guard = semaphore.tryAcquire();
   * assertEquals([guard?.held, semaphore.tryAcquire()], [true, undefined]);
   * ```
   */
  tryAcquire(options?: PermitOptions): Guard | undefined {
    return this.#sharing.tryAcquire(this.#demand(options));
  }

  /**
   * Puts in permits that nobody took, and serves those who wait for them. Does not block. To give back
   * what a guard holds, release the guard.
   *
   * @param permits How many.
   * @throws {RangeError} If `permits` is not a positive integer, or there would be more than `max`,
   * held ones included; then none is put in.
   * @example Signal that something is there
   * ```ts
   * import { Semaphore } from "@sabre/ipc/semaphore";
   * import { assertEquals } from "@std/assert";
   *
   * const semaphore = new Semaphore(1);
   * semaphore.release(2);
   * assertEquals(semaphore.available, 3);
   * ```
   */
  release(permits = 1): void {
    positiveInteger(permits, "release Semaphore", "permits");
    const excess = putIn(this.#sharing.permits, permits);
    if (excess === 0) return;
    throw new RangeError(
      `Cannot release Semaphore as it would have more than ${
        this.#max === Infinity ? LIMIT : this.#max
      } permits, held ones included: it would have ${excess}`,
    );
  }

  /**
   * How many permits nobody holds. Exact when read, possibly old when you look; never waits. Requests
   * in line may be waiting for more than that.
   *
   * @example
   * ```ts
   * import { Semaphore } from "@sabre/ipc/semaphore";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Semaphore(3).available, 3);
   * ```
   */
  get available(): number {
    return freeNow(this.#sharing.permits);
  }

  /**
   * How many permits may exist; `Infinity` without a limit.
   *
   * @example
   * ```ts
   * import { Semaphore } from "@sabre/ipc/semaphore";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Semaphore(1, { max: 5 }).max, 5);
   * ```
   */
  get max(): number {
    return this.#max;
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    const { available, max } = this;
    const limit = max === Infinity ? "" : `max: ${max}, `;
    return `Semaphore { available: ${available}, ${limit}waiting: ${
      crowd(this.#sharing.permits)
    } }`;
  }

  #demand(options: PermitOptions | undefined): Demand {
    if (options?.permits === undefined) return ONE;
    const need = positiveInteger(options.permits, "acquire Semaphore", "permits");
    checkLimit(need, this.#max, "acquire Semaphore");
    return { need, recovers: false, call: "acquire" };
  }
}

function create(permits = 1, options: SemaphoreOptions | undefined): Handle {
  checkOptions(options, "create Semaphore");
  const max = options?.max === undefined || options.max === Infinity
    ? 0
    : positiveInteger(options.max, "create Semaphore", "max");
  if (max > LIMIT) {
    throw new RangeError(
      `Cannot create Semaphore as max must be at most ${LIMIT}: current value is ${max}`,
    );
  }
  positiveInteger(permits, "create Semaphore", "permits");
  checkLimit(permits, max || Infinity, "create Semaphore");
  const handle = createHandle("Semaphore", home(), PERMITS_WORDS * 4);
  initPermits(new Int32Array(handle.memory), 0, permits, max, 0);
  return handle;
}

function checkLimit(permits: number, max: number, action: string): void {
  const limit = Math.min(max, LIMIT);
  if (permits <= limit) return;
  throw new RangeError(
    `Cannot ${action} as permits must be at most ${limit}: current value is ${permits}`,
  );
}
