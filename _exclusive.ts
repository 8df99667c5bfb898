// Copyright 2026 the Sabre authors. MIT license.

// What one agent knows of a lock: whether it holds it, how deep and by which kind of call, and which
// of its own calls wait. `_mutex.ts` keeps agents apart; here are its tasks, the guards, and errors.

import { type Domain, isAlive, nameOf, pidOf, unpark } from "./_agent.ts";
import {
  BUSY,
  crowd,
  giveBack,
  holderOf,
  isTaken,
  lastDead,
  type LockWait,
  type Mutex,
  mutexAt,
  POISONED,
  pollTake,
  recover,
  spinTake,
  TAKEN,
  takeOrLineUp,
  tryTake,
  withdrawTake,
} from "./_mutex.ts";
import { GRANTED, placeState } from "./_line.ts";
import { show, timeoutError } from "./_options.ts";
import { waitAsync, type Waiter, waitSync } from "./_wait.ts";
import { AbandonedError, DeadlockError } from "./errors.ts";

/**
 * Proof that something is held: a lock, a share of it, permits. Belongs to the agent that acquired it.
 *
 * @example Hold a lock for the rest of the block
 * ```ts
 * import { Lock } from "@sabre/ipc/lock";
 * import { assertEquals } from "@std/assert";
 *
 * const lock = new Lock();
 * {
 *   using guard = lock.acquireSync();
 *   assertEquals(guard.held, true);
 * }
 * assertEquals(lock.locked, false);
 * ```
 */
export interface Guard extends Disposable {
  /**
   * Gives back what is held. Does not block.
   *
   * @throws {TypeError} If it was given back before.
   */
  release(): void;
  /** Whether it is still held. */
  readonly held: boolean;
  /** Whether the last holder died while holding it, so that what it guards may be half-changed. */
  readonly abandoned: boolean;
}

/** A lock as one agent holds it or waits for it. */
export class Exclusive {
  readonly kind: string;
  readonly domain: Domain;
  readonly mutex: Mutex;
  /** How many guards of this agent hold it. */
  depth = 0;
  /** Whether they go back to a call that blocks or never waits, which the whole agent holds it by. */
  bySync = false;
  abandoned = false;
  /** The calls of this agent that wait, in their order. */
  readonly #waits = new Set<Wait>();

  constructor(kind: string, domain: Domain, words: Int32Array, base: number) {
    this.kind = kind;
    this.domain = domain;
    this.mutex = mutexAt(domain, words, base);
  }

  /** Takes it if that needs no wait. `undefined`: it does. */
  tryAcquire(recovering: boolean, bySync: boolean): Guard | undefined {
    // Calls of one agent are served in their order, so that this one may not pass those that wait.
    if (this.#waits.size > 0) return undefined;
    const outcome = tryTake(this.mutex);
    return outcome === BUSY ? undefined : this.#hold(outcome, recovering, bySync);
  }

  acquireSync(timeout: number, recovering: boolean): Guard {
    const guard = this.tryAcquire(recovering, true);
    if (guard !== undefined) return guard;
    if (timeout === Infinity) this.assertNoDeadlock();
    if (timeout === 0) throw timeoutError(`acquire ${this.kind}`, 0);
    if (this.#waits.size === 0) {
      const outcome = spinTake(this.mutex);
      if (outcome !== BUSY) return this.#hold(outcome, recovering, true);
    }
    const wait = new Wait(this, timeout === Infinity);
    this.#waits.add(wait);
    try {
      if (!waitSync(this.domain, wait, timeout, "acquire")) {
        throw timeoutError(`acquire ${this.kind}`, timeout);
      }
    } finally {
      this.#forget(wait);
    }
    return this.#hold(wait.outcome, recovering, true);
  }

  async acquire(
    timeout: number,
    signal: AbortSignal | undefined,
    recovering: boolean,
  ): Promise<Guard> {
    const guard = this.tryAcquire(recovering, false);
    if (guard !== undefined) return guard;
    if (timeout === 0) throw timeoutError(`acquire ${this.kind}`, 0);
    const wait = new Wait(this, false);
    this.#waits.add(wait);
    try {
      if (!await waitAsync(this.domain, wait, timeout, signal)) {
        throw timeoutError(`acquire ${this.kind}`, timeout);
      }
    } finally {
      this.#forget(wait);
    }
    return this.#hold(wait.outcome, recovering, false);
  }

  /** One more guard for what this agent holds. */
  reenter(): Guard {
    this.depth++;
    return new ExclusiveGuard(this, this.abandoned);
  }

  /** Gives one guard's share back. */
  leave(): void {
    if (--this.depth === 0) giveBack(this.mutex);
  }

  /** The guard if it holds this lock now. */
  check(guard: unknown, action: string): Guard {
    if (!(guard instanceof ExclusiveGuard) || !guard.isOf(this)) {
      throw new TypeError(
        `Cannot ${action} as the guard must be one of this ${this.kind}: current value is ${
          show(guard)
        }`,
      );
    }
    if (!guard.held) throw new TypeError(`Cannot ${action}: the guard was released`);
    return guard;
  }

  /** Throws if this agent, once blocked, could never be given the lock. */
  assertNoDeadlock(): void {
    if (!this.#isOurs()) return;
    const { domain } = this;
    throw new DeadlockError(
      `Cannot acquire ${this.kind}: agent ${pidOf(domain.id)} ("${
        nameOf(domain, domain.id)
      }") holds it already and would wait for itself`,
    );
  }

  get locked(): boolean {
    return isTaken(this.mutex);
  }

  /** The one-line state for `console.log`. */
  describe(): string {
    const holder = holderOf(this.mutex);
    const by = holder === 0
      ? "locked: false"
      : `locked: true, holder: ${pidOf(holder)}${isAlive(this.domain, holder) ? "" : " (dead)"}`;
    return `${this.kind} { ${by}, waiting: ${crowd(this.mutex)} }`;
  }

  #hold(outcome: number, recovering: boolean, bySync: boolean): Guard {
    if (outcome === POISONED) {
      if (!recovering) {
        giveBack(this.mutex);
        throw new AbandonedError(
          `Cannot acquire ${this.kind}: agent ${lastDead(this.mutex)} died while holding it`,
        );
      }
      recover(this.mutex);
    }
    this.depth = 1;
    this.bySync = bySync;
    this.abandoned = outcome === POISONED;
    return new ExclusiveGuard(this, this.abandoned);
  }

  /** Whether a guard of this agent holds it, or one of its promises was given it just now. */
  #isOurs(): boolean {
    if (this.depth > 0) return true;
    for (const wait of this.#waits) {
      if (wait.outcome !== BUSY) return true;
      if (wait.place >= 0 && placeState(this.mutex.line, wait.place) === GRANTED) return true;
    }
    return false;
  }

  #forget(wait: Wait): void {
    this.#waits.delete(wait);
    // A place is free again: calls of this agent that found none look once more.
    if (this.#waits.size > 0) unpark(this.domain, this.domain.id);
  }
}

class Wait implements Waiter, LockWait {
  ticket = 0;
  place = -1;
  outcome: number = BUSY;
  readonly #owner: Exclusive;
  readonly #findsDeadlock: boolean;

  constructor(owner: Exclusive, findsDeadlock: boolean) {
    this.#owner = owner;
    this.#findsDeadlock = findsDeadlock;
  }

  poll(): boolean {
    if (this.outcome !== BUSY) return true;
    const { mutex } = this.#owner;
    this.outcome = this.ticket === 0 ? takeOrLineUp(mutex, this) : pollTake(mutex, this);
    if (this.outcome !== BUSY) return true;
    if (this.#findsDeadlock) {
      try {
        this.#owner.assertNoDeadlock();
      } catch (error) {
        if (withdrawTake(mutex, this)) throw error;
      }
    }
    return false;
  }

  withdraw(): boolean {
    return this.outcome === BUSY && withdrawTake(this.#owner.mutex, this);
  }
}

class ExclusiveGuard implements Guard {
  readonly abandoned: boolean;
  readonly #lock: Exclusive;
  #held = true;

  constructor(lock: Exclusive, abandoned: boolean) {
    this.#lock = lock;
    this.abandoned = abandoned;
  }

  get held(): boolean {
    return this.#held;
  }

  isOf(lock: Exclusive): boolean {
    return this.#lock === lock;
  }

  release(): void {
    if (!this.#held) {
      throw new TypeError(`Cannot release ${this.#lock.kind}: the guard was released before`);
    }
    this.#held = false;
    this.#lock.leave();
  }

  [Symbol.dispose](): void {
    if (this.#held) this.release();
  }
}

const exclusives = new WeakMap<object, Exclusive>();

/** Lets private modules find what is behind a public lock. */
export function expose(lock: object, exclusive: Exclusive): void {
  exclusives.set(lock, exclusive);
}

/** What is behind a public lock. */
export function exclusiveOf(lock: object): Exclusive | undefined {
  return exclusives.get(lock);
}

export { TAKEN };
