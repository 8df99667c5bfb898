// Copyright 2026 the Sabre authors. MIT license.

/**
 * Locks: at most one holder at a time, among all agents.
 *
 * - {@linkcode Lock} is not re-entrant; {@linkcode RLock} is.
 * - Whoever acquires gets a {@linkcode Guard}; `using` gives it back at the end of the block.
 * - A running agent may take a lock that was just released ahead of sleeping waiters, but whoever has
 *   waited for a millisecond is next, and waiters are served in the order in which they came.
 * - When a holder dies, the lock reports it: every acquire throws {@linkcode AbandonedError} until one
 *   with `recover: true` gets a guard whose `abandoned` is `true`. Releasing that guard makes the lock
 *   ordinary again.
 * - The deadlock to know: a task that awaits something while it holds a guard keeps everybody out,
 *   including the other tasks of its own agent. A Sync acquire that could only be served by its own
 *   agent throws {@linkcode DeadlockError} instead of hanging.
 * - The other one: agents that take the same locks in different orders. Where all agents of such a
 *   circle are blocked, in Sync calls without a `timeout`, exactly one of them gets a `DeadlockError`
 *   that names them all, within about two seconds; when it gives back what it holds, the others go on.
 *
 * @example Guard a critical section
 * ```ts
 * import { Lock } from "@sabre/ipc/lock";
 * import { assertEquals } from "@std/assert";
 *
 * const lock = new Lock();
 * const order: number[] = [];
 * async function enter(id: number) {
 *   using _guard = await lock.acquire();
 *   order.push(id);
 *   await Promise.resolve();
 *   order.push(id);
 * }
 * await Promise.all([enter(1), enter(2)]);
 * assertEquals(order, [1, 1, 2, 2]);
 * ```
 *
 * @module
 */

import { type Domain, home } from "./_agent.ts";
import { Exclusive, expose, type Guard } from "./_exclusive.ts";
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
import { MUTEX_WORDS } from "./_mutex.ts";
import {
  recoverOf,
  signalOf,
  type SyncWaitOptions,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";

export type { Guard, Handle, SyncWaitOptions, WaitOptions };

/**
 * How a lock may be acquired when its last holder died.
 *
 * @example
 * ```ts
 * import { Lock, type RecoverOptions } from "@sabre/ipc/lock";
 * import { assertEquals } from "@std/assert";
 *
 * const options: RecoverOptions = { recover: true };
 * using guard = new Lock().acquireSync(options);
 * assertEquals(guard.abandoned, false);
 * ```
 */
export interface RecoverOptions {
  /**
   * Whether to take a lock over whose last holder died. The guard then says `abandoned`, and what it
   * guards may be half-changed.
   *
   * @default {false}
   */
  recover?: boolean;
}

/**
 * How an {@linkcode RLock} may be acquired again by a task that holds it.
 *
 * @example
 * ```ts
 * import { RLock, type WithinOptions } from "@sabre/ipc/lock";
 * import { assertEquals } from "@std/assert";
 *
 * const lock = new RLock();
 * using outer = await lock.acquire();
 * const options: WithinOptions = { within: outer };
 * using inner = await lock.acquire(options);
 * assertEquals(inner.held, true);
 * ```
 */
export interface WithinOptions {
  /** A guard of the same lock that the caller holds: the lock is acquired once more at once. */
  within?: Guard;
}

/**
 * Mutual exclusion between agents, and between the tasks of one agent. Not re-entrant.
 *
 * - One holder at a time; any number of agents may wait, with any of the three forms of acquire.
 * - Served in order of arrival, except that a running agent may take a lock that was just released
 *   ahead of those who have waited for less than a millisecond.
 * - An agent that ends with a guard unreleased has abandoned the lock; see {@linkcode Lock.acquire}.
 * - Uncontended, acquire and release are one atomic operation each.
 *
 * @example Count together
 * ```ts
 * import { Lock } from "@sabre/ipc/lock";
 * import { assertEquals } from "@std/assert";
 *
 * const lock = new Lock();
 * let count = 0;
 * lock.withLockSync(() => count++);
 * assertEquals([count, lock.locked], [1, false]);
 * ```
 */
export class Lock {
  /** What crosses to other agents; see {@linkcode Lock.from}. */
  readonly handle: Handle;
  readonly #exclusive!: Exclusive;

  static {
    registerKind("Lock", (handle) => Lock.from(handle));
    Object.defineProperty(Lock.prototype, PRIMITIVE, { value: "Lock" });
    Object.defineProperty(Lock.prototype, HOLDINGS, {
      value(this: Lock): Holdings {
        return this.#exclusive.holdings(this.handle);
      },
    });
  }

  /**
   * Creates a lock that nobody holds.
   *
   * @example
   * ```ts
   * import { Lock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Lock().locked, false);
   * ```
   */
  constructor();
  constructor(given?: Handle) {
    const existing = existingOf(given);
    const domain = existing === undefined ? home() : domainOf(existing);
    this.handle = existing ?? createHandle("Lock", domain, MUTEX_WORDS * 4);
    this.#exclusive = attach(this, this.handle, domain);
  }

  /**
   * The lock of this agent for a handle, or for what structured clone made of a lock. The same object
   * each time.
   *
   * @param value A lock, its handle, or what arrived of it in a message.
   * @returns The lock on the same memory.
   * @throws {TypeError} If it is not a handle of a `Lock` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { Lock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new Lock();
   * using _guard = lock.acquireSync();
   * assertEquals(Lock.from(structuredClone(lock)).locked, true);
   * ```
   */
  static from(value: unknown): Lock {
    const handle = handleOf(value, "Lock", MUTEX_WORDS * 4);
    const known = recall(handle, domainOf(handle));
    return known instanceof Lock ? known : Reflect.construct(Lock, [handle]) as Lock;
  }

  /**
   * Acquires the lock. Does not block the thread: see {@linkcode Lock.acquireSync} for that.
   *
   * @param options How long to wait, in milliseconds; what may abort the wait; whether to recover.
   * @returns The guard to release.
   * @throws {AbandonedError} If the last holder died and `recover` is not set.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; the lock was not taken.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example Take over after a holder died
   * ```ts
   * import { Lock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new Lock();
   * using guard = await lock.acquire({ timeout: 1_000, recover: true });
   * assertEquals(guard.abandoned, false);
   * ```
   */
  async acquire(options?: WaitOptions & RecoverOptions): Promise<Guard> {
    const signal = signalOf(options, "acquire Lock");
    const timeout = timeoutOf(options, "acquire Lock");
    return await this.#exclusive.acquire(timeout, signal, recoverOf(options, "acquire Lock"));
  }

  /**
   * Acquires the lock, blocking the thread while another holds it.
   *
   * @param options How long to wait, in milliseconds; whether to recover.
   * @returns The guard to release.
   * @throws {AbandonedError} If the last holder died and `recover` is not set.
   * @throws {DeadlockError} If this agent holds the lock itself, or is to get it first by an
   * `acquire()` that was called before, or agents that are blocked like this
   * one wait for each other in a circle, and no `timeout` is given. The lock was not taken.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; the lock was not taken. Named
   * `InvalidStateError` on the main thread of a browser, if it would have to wait.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { Lock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new Lock();
   * const guard = lock.acquireSync();
   * assertEquals(lock.locked, true);
   * guard.release();
   * ```
   */
  acquireSync(options?: SyncWaitOptions & RecoverOptions): Guard {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "acquire Lock");
    return this.#exclusive.acquireSync(timeout, recoverOf(options, "acquire Lock"));
  }

  /**
   * Acquires the lock if that needs no wait.
   *
   * @param options Whether to recover.
   * @returns The guard to release, or `undefined` if the lock is held or awaited by this agent.
   * @throws {AbandonedError} If the last holder died and `recover` is not set.
   * @example
   * ```ts
   * import { Lock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new Lock();
   * using _guard = lock.acquireSync();
   * assertEquals(lock.tryAcquire(), undefined);
   * ```
   */
  tryAcquire(options?: RecoverOptions): Guard | undefined {
    return this.#exclusive.tryAcquire(recoverOf(options, "acquire Lock"), true);
  }

  /**
   * Calls the function while holding the lock, and releases it whatever happens.
   *
   * @typeParam R What the function returns.
   * @param fn Gets the guard, which it may release early.
   * @param options As for {@linkcode Lock.acquire}.
   * @returns What `fn` returned or resolved to.
   * @throws What `acquire` and `fn` throw.
   * @example
   * ```ts
   * import { Lock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(await new Lock().withLock(async () => await Promise.resolve(7)), 7);
   * ```
   */
  async withLock<R>(
    fn: (guard: Guard) => R | Promise<R>,
    options?: WaitOptions & RecoverOptions,
  ): Promise<R> {
    using guard = await this.acquire(options);
    return await fn(guard);
  }

  /**
   * Calls the function while holding the lock, and releases it whatever happens. Blocks the thread
   * while another holds the lock.
   *
   * @typeParam R What the function returns.
   * @param fn Gets the guard, which it may release early. Not an async function: the lock is released
   * when it returns.
   * @param options As for {@linkcode Lock.acquireSync}.
   * @returns What `fn` returned.
   * @throws What `acquireSync` and `fn` throw.
   * @example
   * ```ts
   * import { Lock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Lock().withLockSync((guard) => guard.held), true);
   * ```
   */
  withLockSync<R>(fn: (guard: Guard) => R, options?: SyncWaitOptions & RecoverOptions): R {
    using guard = this.acquireSync(options);
    return fn(guard);
  }

  /**
   * Whether somebody holds the lock. Exact when read, possibly old when you look; never waits.
   *
   * @example
   * ```ts
   * import { Lock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Lock().locked, false);
   * ```
   */
  get locked(): boolean {
    return this.#exclusive.locked;
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.#exclusive.describe();
  }
}

/**
 * A lock that its holder may acquire again. It is free again once it was released as often.
 *
 * - An agent that holds it by a Sync or try call may acquire it again by either.
 * - Asynchronous code shares its agent with other tasks, so it re-enters by showing its guard:
 *   `acquire({ within: guard })`. Without it, it waits like everyone.
 * - While an asynchronous guard holds it, Sync and try calls of the same agent are kept out.
 * - Guards may be released in any order. All else is as for {@linkcode Lock}.
 *
 * @example Call a locking function while holding the lock
 * ```ts
 * import { RLock } from "@sabre/ipc/lock";
 * import { assertEquals } from "@std/assert";
 *
 * const lock = new RLock();
 * function size() {
 *   using _guard = lock.acquireSync();
 *   return 3;
 * }
 * using _guard = lock.acquireSync();
 * assertEquals(size(), 3);
 * ```
 */
export class RLock {
  /** What crosses to other agents; see {@linkcode RLock.from}. */
  readonly handle: Handle;
  readonly #exclusive!: Exclusive;

  static {
    registerKind("RLock", (handle) => RLock.from(handle));
    Object.defineProperty(RLock.prototype, PRIMITIVE, { value: "RLock" });
    Object.defineProperty(RLock.prototype, HOLDINGS, {
      value(this: RLock): Holdings {
        return this.#exclusive.holdings(this.handle);
      },
    });
  }

  /**
   * Creates a lock that nobody holds.
   *
   * @example
   * ```ts
   * import { RLock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new RLock().locked, false);
   * ```
   */
  constructor();
  constructor(given?: Handle) {
    const existing = existingOf(given);
    const domain = existing === undefined ? home() : domainOf(existing);
    this.handle = existing ?? createHandle("RLock", domain, MUTEX_WORDS * 4);
    this.#exclusive = attach(this, this.handle, domain);
  }

  /**
   * The lock of this agent for a handle, or for what structured clone made of a lock. The same object
   * each time.
   *
   * @param value A lock, its handle, or what arrived of it in a message.
   * @returns The lock on the same memory.
   * @throws {TypeError} If it is not a handle of an `RLock` of this version.
   * @example
   * ```ts
   * import { RLock } from "@sabre/ipc/lock";
   * import { assertStrictEquals } from "@std/assert";
   *
   * const lock = new RLock();
   * assertStrictEquals(RLock.from(lock.handle), lock);
   * ```
   */
  static from(value: unknown): RLock {
    const handle = handleOf(value, "RLock", MUTEX_WORDS * 4);
    const known = recall(handle, domainOf(handle));
    return known instanceof RLock ? known : Reflect.construct(RLock, [handle]) as RLock;
  }

  /**
   * Acquires the lock. Does not block the thread: see {@linkcode RLock.acquireSync} for that.
   *
   * @param options How long to wait, in milliseconds; what may abort the wait; whether to recover; the
   * guard within which to acquire it again.
   * @returns The guard to release.
   * @throws {AbandonedError} If the last holder died and `recover` is not set.
   * @throws {TypeError} If `within` is not a held guard of this lock.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; the lock was not taken.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example Re-enter asynchronously
   * ```ts
   * import { RLock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RLock();
   * const outer = await lock.acquire();
   * const inner = await lock.acquire({ within: outer });
   * outer.release();
   * assertEquals(lock.locked, true);
   * inner.release();
   * ```
   */
  async acquire(options?: WaitOptions & RecoverOptions & WithinOptions): Promise<Guard> {
    const signal = signalOf(options, "acquire RLock");
    const timeout = timeoutOf(options, "acquire RLock");
    const recovering = recoverOf(options, "acquire RLock");
    return this.#within(options, false) ??
      await this.#exclusive.acquire(timeout, signal, recovering);
  }

  /**
   * Acquires the lock, blocking the thread while another holds it. At once if this agent holds it by a
   * Sync or try call.
   *
   * @param options How long to wait, in milliseconds; whether to recover; the guard within which to
   * acquire it again.
   * @returns The guard to release.
   * @throws {AbandonedError} If the last holder died and `recover` is not set.
   * @throws {DeadlockError} If a task of this agent holds the lock, or is to get it first by an
   * `acquire()` that was called before, or agents that are blocked like this
   * one wait for each other in a circle, and no `timeout` is given. The lock was not taken.
   * @throws {TypeError} If `within` is not a held guard of this lock.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; the lock was not taken. Named
   * `InvalidStateError` on the main thread of a browser, if it would have to wait.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { RLock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RLock();
   * using _outer = lock.acquireSync();
   * using inner = lock.acquireSync();
   * assertEquals(inner.held, true);
   * ```
   */
  acquireSync(options?: SyncWaitOptions & RecoverOptions & WithinOptions): Guard {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "acquire RLock");
    const recovering = recoverOf(options, "acquire RLock");
    return this.#again(options) ?? this.#exclusive.acquireSync(timeout, recovering);
  }

  /**
   * Acquires the lock if that needs no wait.
   *
   * @param options Whether to recover; the guard within which to acquire it again.
   * @returns The guard to release, or `undefined` if another agent or task holds the lock.
   * @throws {AbandonedError} If the last holder died and `recover` is not set.
   * @throws {TypeError} If `within` is not a held guard of this lock.
   * @example
   * ```ts
   * import { RLock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RLock();
   * using _outer = lock.acquireSync();
   * using inner = lock.tryAcquire();
   * assertEquals(inner?.held, true);
   * ```
   */
  tryAcquire(options?: RecoverOptions & WithinOptions): Guard | undefined {
    const recovering = recoverOf(options, "acquire RLock");
    return this.#again(options) ?? this.#exclusive.tryAcquire(recovering, true);
  }

  /**
   * Calls the function while holding the lock, and releases it whatever happens.
   *
   * @typeParam R What the function returns.
   * @param fn Gets the guard, which it may release early or acquire within.
   * @param options As for {@linkcode RLock.acquire}.
   * @returns What `fn` returned or resolved to.
   * @throws What `acquire` and `fn` throw.
   * @example
   * ```ts
   * import { RLock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RLock();
   * const held = await lock.withLock((within) => lock.withLock((guard) => guard.held, { within }));
   * assertEquals(held, true);
   * ```
   */
  async withLock<R>(
    fn: (guard: Guard) => R | Promise<R>,
    options?: WaitOptions & RecoverOptions & WithinOptions,
  ): Promise<R> {
    using guard = await this.acquire(options);
    return await fn(guard);
  }

  /**
   * Calls the function while holding the lock, and releases it whatever happens. Blocks the thread
   * while another holds the lock.
   *
   * @typeParam R What the function returns.
   * @param fn Gets the guard, which it may release early. Not an async function: the lock is released
   * when it returns.
   * @param options As for {@linkcode RLock.acquireSync}.
   * @returns What `fn` returned.
   * @throws What `acquireSync` and `fn` throw.
   * @example
   * ```ts
   * import { RLock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RLock();
   * assertEquals(lock.withLockSync(() => lock.withLockSync(() => 7)), 7);
   * ```
   */
  withLockSync<R>(
    fn: (guard: Guard) => R,
    options?: SyncWaitOptions & RecoverOptions & WithinOptions,
  ): R {
    using guard = this.acquireSync(options);
    return fn(guard);
  }

  /**
   * Whether somebody holds the lock. Exact when read, possibly old when you look; never waits.
   *
   * @example
   * ```ts
   * import { RLock } from "@sabre/ipc/lock";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new RLock().locked, false);
   * ```
   */
  get locked(): boolean {
    return this.#exclusive.locked;
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.#exclusive.describe();
  }

  #within(options: WithinOptions | undefined, bySync: boolean): Guard | undefined {
    if (options?.within === undefined) return undefined;
    this.#exclusive.check(options.within, "acquire RLock");
    return this.#exclusive.reenter(bySync);
  }

  #again(options: WithinOptions | undefined): Guard | undefined {
    const exclusive = this.#exclusive;
    return this.#within(options, true) ??
      (exclusive.syncDepth > 0 ? exclusive.reenter(true) : undefined);
  }
}

function attach(lock: object, handle: Handle, domain: Domain): Exclusive {
  const words = new Int32Array(handle.memory);
  const exclusive = new Exclusive(handle.sabre, domain, words, handle.offset / 4, handle.serial);
  expose(lock, exclusive);
  remember(handle, domain, lock);
  return exclusive;
}
