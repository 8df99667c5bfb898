// Copyright 2026 the Sabre authors. MIT license.

/**
 * Conditions: waiting, in the middle of a critical section, until another agent says that something
 * has changed.
 *
 * - A condition goes with a lock. Whoever waits gives the lock back while it waits, and holds it again
 *   when the call is over, whatever ended it: a notification, the time, an abort or a death.
 * - `notify()` wakes those who have waited longest. It takes effect once the lock is released.
 * - A notification is not remembered: it is for those who wait at that moment. So look at what you wait
 *   for before you wait, and again afterwards; {@linkcode Condition.waitFor} does both.
 * - No notification is lost: that of a waiter which died or was aborted before it could use it goes on
 *   to the next one.
 * - The deadlock to know: a condition that nobody notifies. Change what others wait for and notify
 *   under the same guard.
 *
 * @example Wait for a state
 * ```ts
 * import { Condition } from "@sabre/ipc/condition";
 * import { assertEquals } from "@std/assert";
 *
 * const condition = new Condition();
 * const items: string[] = [];
 * async function take() {
 *   using guard = await condition.lock.acquire();
 *   await condition.waitFor(guard, () => items.length > 0);
 *   return items.shift();
 * }
 * const taken = take();
 * {
 *   using _guard = await condition.lock.acquire();
 *   items.push("apple");
 *   condition.notify();
 * }
 * assertEquals(await taken, "apple");
 * ```
 *
 * @module
 */

import { deaths, stopRequested } from "./_agent.ts";
import {
  CONDITION_WORDS,
  countWaiters,
  delist,
  enlist,
  finish,
  isNotified,
  notifyEveryone,
  notifyOldest,
  passOn,
  PLACES,
  type Waiters,
  waitersAt,
} from "./_condition.ts";
import {
  type Exclusive,
  type ExclusiveGuard,
  exclusiveOf,
  type Guard,
  type Suspended,
} from "./_exclusive.ts";
import {
  createHandle,
  domainOf,
  existingOf,
  type Handle,
  handleOf,
  recall,
  registerKind,
  remember,
} from "./_handle.ts";
import { PRIMITIVE } from "./_primitive.ts";
import { isAbandoned, lastDead } from "./_mutex.ts";
import {
  isAbort,
  positiveInteger,
  show,
  signalOf,
  type SyncWaitOptions,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";
import { canBlock } from "./_park.ts";
import { type What, whatOf } from "./_report.ts";
import { mayNotBlock, waitAsync, type Waiter, waitSync } from "./_wait.ts";
import { AbandonedError, TerminatedError } from "./errors.ts";
import { Lock, RLock } from "./lock.ts";

export type { Guard, Handle, SyncWaitOptions, WaitOptions };

const ACTION = "wait for Condition";

/**
 * A place to wait at for those who hold a lock.
 *
 * - Any agent that holds the lock may call anything; reading `lock` needs no guard.
 * - Waiting gives back every level of an {@linkcode RLock}, and acquires as many again.
 * - A guard of a Sync call may be used in an asynchronous wait, and the other way round.
 * - If a holder dies, waiting ends: one waiter recovers the lock and gets {@linkcode AbandonedError},
 *   with its guard held and `abandoned`; the others wait on. What the lock guards may be half-changed.
 * - After {@linkcode TerminatedError} the guard is not held.
 *
 * @example
 * ```ts
 * import { Condition } from "@sabre/ipc/condition";
 * import { assertEquals } from "@std/assert";
 *
 * const condition = new Condition();
 * using guard = condition.lock.acquireSync();
 * assertEquals(condition.waitSync(guard, { timeout: 1 }), false);
 * assertEquals(guard.held, true);
 * ```
 */
export class Condition {
  /** What crosses to other agents; see {@linkcode Condition.from}. */
  readonly handle: Handle;
  readonly #lock: Lock | RLock;
  readonly #exclusive: Exclusive;
  readonly #waiters: Waiters;
  readonly #what: What;

  static {
    registerKind("Condition", (handle) => Condition.from(handle));
    Object.defineProperty(Condition.prototype, PRIMITIVE, { value: "Condition" });
  }

  /**
   * Creates a condition at which nobody waits.
   *
   * @param lock The lock that goes with it; a new {@linkcode RLock} by default. Several conditions may
   * share one.
   * @throws {TypeError} If `lock` is neither a `Lock` nor an `RLock`.
   * @example Two conditions of one lock
   * ```ts
   * import { Condition } from "@sabre/ipc/condition";
   * import { Lock } from "@sabre/ipc/lock";
   * import { assertStrictEquals } from "@std/assert";
   *
   * const lock = new Lock();
   * const notEmpty = new Condition(lock);
   * const notFull = new Condition(lock);
   * assertStrictEquals(notEmpty.lock, notFull.lock);
   * ```
   */
  constructor(lock?: Lock | RLock);
  constructor(lock?: Lock | RLock, given?: Handle) {
    const existing = existingOf(given);
    this.#lock = lock === undefined ? new RLock() : checkLock(lock);
    this.#exclusive = exclusiveOf(this.#lock)!;
    // In the domain of the lock: who waits for the one waits for the other.
    const { domain } = this.#exclusive;
    this.handle = existing ??
      {
        ...createHandle("Condition", domain, CONDITION_WORDS * 4),
        lock: this.#lock.handle,
      };
    const words = new Int32Array(this.handle.memory);
    this.#waiters = waitersAt(domain, words, this.handle.offset / 4);
    this.#what = whatOf("Condition", this.handle.serial, "wait");
    remember(this.handle, domain, this);
  }

  /**
   * The condition of this agent for a handle, or for what structured clone made of a condition. The
   * same object each time; its lock comes with it.
   *
   * @param value A condition, its handle, or what arrived of it in a message.
   * @returns The condition on the same memory.
   * @throws {TypeError} If it is not a handle of a `Condition` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { Condition } from "@sabre/ipc/condition";
   * import { assertEquals } from "@std/assert";
   *
   * const condition = new Condition();
   * using _guard = condition.lock.acquireSync();
   * assertEquals(Condition.from(structuredClone(condition)).lock.locked, true);
   * ```
   */
  static from(value: unknown): Condition {
    const handle = handleOf(value, "Condition", CONDITION_WORDS * 4);
    const lock = lockIn(handle);
    const known = recall(handle, domainOf(handle));
    return known instanceof Condition
      ? known
      : Reflect.construct(Condition, [lock, handle]) as Condition;
  }

  /**
   * Gives the lock back, waits for a notification, and acquires the lock again. Does not block the
   * thread. The lock is free when this returns its promise.
   *
   * @param guard A guard of the lock that is held.
   * @param options How long to wait for a notification, in milliseconds, and what may abort the wait.
   * The lock is waited for without a limit.
   * @returns `true` once notified, `false` if `timeout` passed before.
   * @throws {TypeError} If the guard is not held, or not of this condition's lock.
   * @throws {AbandonedError} If the lock was abandoned meanwhile. The guard is held, by recovery.
   * @throws {RangeError} If more tasks wait than a condition has places: some four thousand in an agent.
   * @throws {TerminatedError} If this agent is being terminated. The guard is not held.
   * @throws The signal's reason if it fired. The guard is held; if a notification had come, it goes on
   * to the next waiter.
   * @example
   * ```ts
   * import { Condition } from "@sabre/ipc/condition";
   * import { assertEquals } from "@std/assert";
   *
   * const condition = new Condition();
   * const guard = await condition.lock.acquire();
   * const woken = condition.wait(guard);
   * condition.lock.withLockSync(() => condition.notify());
   * assertEquals(await woken, true);
   * assertEquals(guard.held, true);
   * guard.release();
   * ```
   */
  async wait(guard: Guard, options?: WaitOptions): Promise<boolean> {
    const signal = signalOf(options, ACTION);
    const timeout = timeoutOf(options, ACTION);
    const exclusive = this.#exclusive;
    const held = exclusive.check(guard, ACTION);
    if (timeout === 0) return false;
    const wait = new Wait(this.#waiters, exclusive, signal, this.#what);
    const deadline = performance.now() + timeout;
    for (;;) {
      const suspended = exclusive.suspend();
      let failure: { reason: unknown } | undefined;
      try {
        const left = Math.max(deadline - performance.now(), 0);
        await waitAsync(exclusive.domain, wait, left, signal);
      } catch (reason) {
        failure = { reason };
      }
      const isRecovered = !wait.isTerminated(failure) && await this.#resume(wait, suspended);
      const notified = wait.settle(held, isRecovered, failure);
      if (notified !== undefined) return notified;
    }
  }

  /**
   * Gives the lock back, waits for a notification, and acquires the lock again, blocking the thread.
   *
   * @param guard A guard of the lock that is held.
   * @param options How long to wait for a notification, in milliseconds. The lock is waited for without
   * a limit.
   * @returns `true` once notified, `false` if `timeout` passed before.
   * @throws {TypeError} If the guard is not held, or not of this condition's lock.
   * @throws {AbandonedError} If the lock was abandoned meanwhile. The guard is held, by recovery.
   * @throws {DeadlockError} If the lock was given to an `acquire` of this same agent, which cannot run
   * while this blocks, or to an agent that is blocked by what this one holds. The guard is not held.
   * @throws {DOMException} Named `InvalidStateError` on the main thread of a browser; nothing was done.
   * @throws {RangeError} If more tasks wait than a condition has places: some four thousand in an agent.
   * @throws {TerminatedError} If this agent is being terminated. The guard is not held.
   * @example
   * ```ts
   * import { Condition } from "@sabre/ipc/condition";
   * import { assertEquals, assertThrows } from "@std/assert";
   *
   * const condition = new Condition();
   * const guard = condition.lock.acquireSync();
   * assertEquals(condition.waitSync(guard, { timeout: 5 }), false);
   * guard.release();
   * assertThrows(() => condition.waitSync(guard), TypeError);
   * ```
   */
  waitSync(guard: Guard, options?: SyncWaitOptions): boolean {
    const timeout = timeoutOf(options, ACTION);
    const exclusive = this.#exclusive;
    const held = exclusive.check(guard, ACTION);
    if (timeout === 0) return false;
    if (!canBlock) throw mayNotBlock("wait");
    const wait = new Wait(this.#waiters, exclusive, undefined, this.#what);
    const deadline = performance.now() + timeout;
    for (;;) {
      const suspended = exclusive.suspend();
      let failure: { reason: unknown } | undefined;
      try {
        const left = Math.max(deadline - performance.now(), 0);
        waitSync(exclusive.domain, wait, left, "wait");
      } catch (reason) {
        failure = { reason };
      }
      const isRecovered = !wait.isTerminated(failure) && this.#resumeSync(wait, suspended);
      const notified = wait.settle(held, isRecovered, failure);
      if (notified !== undefined) return notified;
    }
  }

  /**
   * Waits until the predicate holds: asks it first, and again after each notification, always with the
   * lock held. Does not block the thread.
   *
   * @param guard A guard of the lock that is held.
   * @param predicate What is waited for: returns, or resolves to, something truthy.
   * @param options How long to wait in all, in milliseconds, and what may abort the wait.
   * @returns What the predicate last said: `false` if `timeout` passed.
   * @throws What `wait` and the predicate throw.
   * @example
   * ```ts
   * import { Condition } from "@sabre/ipc/condition";
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const condition = new Condition();
   * const count = new SharedValue("i32", 0);
   * using guard = await condition.lock.acquire();
   * const three = condition.waitFor(guard, () => count.value === 3, { timeout: 1_000 });
   * for (let i = 0; i < 3; i++) {
   *   condition.lock.withLockSync(() => {
   *     count.add(1);
   *     condition.notifyAll();
   *   });
   * }
   * assertEquals(await three, true);
   * ```
   */
  async waitFor(
    guard: Guard,
    predicate: () => unknown,
    options?: WaitOptions,
  ): Promise<boolean> {
    const signal = signalOf(options, ACTION);
    const timeout = timeoutOf(options, ACTION);
    this.#exclusive.check(guard, ACTION);
    checkPredicate(predicate);
    const deadline = performance.now() + timeout;
    for (;;) {
      const answer = predicate();
      // Without a pause if it is no promise, so that calls of one agent keep their order.
      if (isPromise(answer) ? await answer : answer) return true;
      const left = deadline - performance.now();
      if (left <= 0) return false;
      await this.wait(guard, signal === undefined ? { timeout: left } : { timeout: left, signal });
    }
  }

  /**
   * Waits until the predicate holds, blocking the thread: asks it first, and again after each
   * notification, always with the lock held.
   *
   * @param guard A guard of the lock that is held.
   * @param predicate What is waited for: returns something truthy. Not an async function.
   * @param options How long to wait in all, in milliseconds.
   * @returns What the predicate last said: `false` if `timeout` passed.
   * @throws What `waitSync` and the predicate throw.
   * @example
   * ```ts
   * import { Condition } from "@sabre/ipc/condition";
   * import { assertEquals } from "@std/assert";
   *
   * const condition = new Condition();
   * using guard = condition.lock.acquireSync();
   * assertEquals(condition.waitForSync(guard, () => true), true);
   * assertEquals(condition.waitForSync(guard, () => false, { timeout: 2 }), false);
   * ```
   */
  waitForSync(guard: Guard, predicate: () => unknown, options?: SyncWaitOptions): boolean {
    const timeout = timeoutOf(options, ACTION);
    this.#exclusive.check(guard, ACTION);
    checkPredicate(predicate);
    const deadline = performance.now() + timeout;
    for (;;) {
      if (predicate()) return true;
      const left = deadline - performance.now();
      if (left <= 0) return false;
      this.waitSync(guard, { timeout: left });
    }
  }

  /**
   * Wakes those who have waited longest. They go on once the lock is released. Does not block.
   *
   * @param n How many at the most.
   * @throws {RangeError} If `n` is not a positive integer.
   * @throws {TypeError} If no task of this agent holds the lock.
   * @example
   * ```ts
   * import { Condition } from "@sabre/ipc/condition";
   * import { assertThrows } from "@std/assert";
   *
   * const condition = new Condition();
   * condition.lock.withLockSync(() => condition.notify());
   * assertThrows(() => condition.notify(), TypeError);
   * ```
   */
  notify(n = 1): void {
    positiveInteger(n, "notify Condition", "n");
    this.#assertHeld();
    notifyOldest(this.#waiters, n);
  }

  /**
   * Wakes everyone who waits. They go on, one after the other, once the lock is released. Does not
   * block.
   *
   * @throws {TypeError} If no task of this agent holds the lock.
   * @example
   * ```ts
   * import { Condition } from "@sabre/ipc/condition";
   * import { assertEquals } from "@std/assert";
   *
   * const condition = new Condition();
   * async function wait() {
   *   using guard = await condition.lock.acquire();
   *   return await condition.wait(guard);
   * }
   * const waits = [wait(), wait()];
   * await condition.lock.withLock(() => condition.notifyAll());
   * assertEquals(await Promise.all(waits), [true, true]);
   * ```
   */
  notifyAll(): void {
    this.#assertHeld();
    notifyEveryone(this.#waiters);
  }

  /**
   * The lock that goes with the condition.
   *
   * @example
   * ```ts
   * import { Condition } from "@sabre/ipc/condition";
   * import { RLock } from "@sabre/ipc/lock";
   * import { assertInstanceOf } from "@std/assert";
   *
   * assertInstanceOf(new Condition().lock, RLock);
   * ```
   */
  get lock(): Lock | RLock {
    return this.#lock;
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return `Condition { waiting: ${
      countWaiters(this.#waiters)
    }, lock: ${this.#exclusive.describe()} }`;
  }

  async #resume(wait: Wait, suspended: Suspended): Promise<boolean> {
    try {
      return await this.#exclusive.resume(suspended);
    } catch (error) {
      wait.giveUp();
      throw error;
    }
  }

  #resumeSync(wait: Wait, suspended: Suspended): boolean {
    try {
      return this.#exclusive.resumeSync(suspended);
    } catch (error) {
      wait.giveUp();
      throw error;
    }
  }

  #assertHeld(): void {
    if (this.#exclusive.depth > 0) return;
    throw new TypeError(
      `Cannot notify Condition: no task of this agent holds its ${this.#exclusive.kind}`,
    );
  }
}

/** One call's wait, from its place in line to the end. */
class Wait implements Waiter {
  readonly #waiters: Waiters;
  readonly #exclusive: Exclusive;
  readonly #signal: AbortSignal | undefined;
  readonly #place: number;
  readonly what: What;
  /** The count of deaths up to which the lock is known not to be abandoned. */
  #deaths: number;
  /** Whether the lock was abandoned, so that the notification may never come. */
  #isWarned = false;
  #hasLeft = false;

  /** Takes a place in line. While the lock is held: who notifies after that finds it. */
  constructor(
    waiters: Waiters,
    exclusive: Exclusive,
    signal: AbortSignal | undefined,
    what: What,
  ) {
    this.what = what;
    this.#waiters = waiters;
    this.#exclusive = exclusive;
    this.#signal = signal;
    this.#deaths = deaths(waiters.domain);
    this.#place = enlist(waiters);
    if (this.#place < 0) {
      throw new RangeError(
        `Cannot ${ACTION}: all of its ${PLACES} places for waiting tasks are taken`,
      );
    }
  }

  poll(): boolean {
    if (isNotified(this.#waiters, this.#place)) return true;
    const count = deaths(this.#waiters.domain);
    if (count !== this.#deaths) {
      this.#deaths = count;
      this.#isWarned = isAbandoned(this.#exclusive.mutex);
    }
    return this.#isWarned;
  }

  withdraw(): boolean {
    this.#hasLeft = delist(this.#waiters, this.#place);
    // Notified just before the time ran out: it counts. An abort counts as well.
    if (!this.#hasLeft && (this.#signal?.aborted || stopRequested(this.#waiters.domain))) {
      this.giveUp();
    }
    return this.#hasLeft;
  }

  /** Leaves without using a notification that came. */
  giveUp(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    passOn(this.#waiters, this.#place);
  }

  isTerminated(failure: { reason: unknown } | undefined): boolean {
    return failure !== undefined && failure.reason instanceof TerminatedError &&
      !isAbort(this.#signal, failure.reason);
  }

  /**
   * What the call returns now that the lock is held again. `undefined`: it has to wait on. Throws if the
   * call fails.
   */
  settle(
    guard: ExclusiveGuard,
    isRecovered: boolean,
    failure: { reason: unknown } | undefined,
  ): boolean | undefined {
    if (isRecovered) {
      this.giveUp();
      guard.abandon();
      throw new AbandonedError(
        `Cannot ${ACTION} any longer: agent ${
          lastDead(this.#exclusive.mutex)
        } died while holding its ${this.#exclusive.kind}`,
      );
    }
    if (failure !== undefined) {
      this.giveUp();
      throw failure.reason;
    }
    if (this.#hasLeft) return false;
    if (this.#signal?.aborted) {
      // While it waited for the lock.
      this.giveUp();
      throw this.#signal.reason;
    }
    if (isNotified(this.#waiters, this.#place)) {
      finish(this.#waiters, this.#place);
      return true;
    }
    // Somebody else has recovered the lock, and will notify.
    this.#isWarned = false;
    return undefined;
  }
}

function checkLock(lock: unknown): Lock | RLock {
  if (lock instanceof Lock || lock instanceof RLock) return lock;
  throw new TypeError(
    `Cannot create Condition as lock must be a Lock or RLock: current value is ${show(lock)}`,
  );
}

function lockIn({ lock, domain }: Handle): Lock | RLock {
  if (lock?.domain === undefined || (lock.sabre !== "Lock" && lock.sabre !== "RLock")) {
    throw new TypeError("Cannot attach Condition: the handle lacks the one of its lock");
  }
  const attached = lock.sabre === "Lock" ? Lock.from(lock) : RLock.from(lock);
  // Structured clone gives each copy an object of its own, so that identity says nothing.
  if (domainOf(attached.handle) !== domainOf({ ...lock, domain })) {
    throw new TypeError("Cannot attach Condition: its lock belongs to another domain");
  }
  return attached;
}

function checkPredicate(predicate: unknown): void {
  if (typeof predicate === "function") return;
  throw new TypeError(
    `Cannot ${ACTION} as predicate must be a function: current value is ${show(predicate)}`,
  );
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value;
}
