// Copyright 2026 the Sabre authors. MIT license.

// What one agent knows of a lock: whether it holds it, how deep and by which kind of call, and which
// of its own calls wait. `_mutex.ts` keeps agents apart; here are its tasks, the guards, and errors.

import { type Domain, isAlive, nameOf, pidOf, unpark } from "./_agent.ts";
import {
  BUSY,
  crowd,
  giveBack,
  glanceAtMutex,
  holderOf,
  isTaken,
  keeperOf,
  lastDead,
  type LockWait,
  MAY_INHERIT,
  MAY_LINE_UP,
  MAY_TAKE,
  type Mutex,
  mutexAt,
  POISONED,
  pollTake,
  recover,
  REFUSED,
  spinTake,
  TAKEN,
  tryTake,
  withdrawTake,
} from "./_mutex.ts";
import type { Handle, Holding, Holdings } from "./_handle.ts";
import { PRIMITIVE } from "./_primitive.ts";
import { GRANTED, placeState } from "./_line.ts";
import { show, timeoutError } from "./_options.ts";
import { type Linked, type What, whatOf } from "./_report.ts";
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
  /** What those who wait for it wait for. */
  readonly what: What;
  /** How many guards of this agent hold it. */
  depth = 0;
  /** How many of them are of calls that block or never wait: by those the whole agent holds it. */
  syncDepth = 0;
  abandoned = false;
  /** The public lock, which lives as long as a guard or a wait: the one object for this memory. */
  face: object | undefined;
  /** Which of this agent's turns at holding it this is: its guards are those of this turn. */
  turn = 0;
  /** How many turns there were. */
  #turns = 0;
  /** The calls of this agent that wait, in their order. */
  readonly #waits = new Set<Wait>();

  constructor(kind: string, domain: Domain, words: Int32Array, base: number, serial = 0) {
    this.kind = kind;
    this.domain = domain;
    this.mutex = mutexAt(domain, words, base);
    this.what = whatOf(kind, serial, "acquire");
  }

  /** Takes it if that needs no wait. `undefined`: it does. */
  tryAcquire(recovering: boolean, bySync: boolean): Guard | undefined {
    // Calls of one agent are served in their order, so that this one may not pass those that wait.
    if (this.#waits.size > 0) return undefined;
    const outcome = tryTake(this.mutex, recovering);
    return outcome === BUSY ? undefined : this.#hold(outcome, recovering, bySync);
  }

  acquireSync(timeout: number, recovering: boolean): Guard {
    return this.#acquireSync(timeout, recovering, "in order");
  }

  #acquireSync(timeout: number, recovering: boolean, turn: Turn): Guard {
    const guard = this.tryAcquire(recovering, true);
    if (guard !== undefined) return guard;
    if (timeout === Infinity) this.assertNoDeadlock();
    if (timeout === 0) throw timeoutError(`acquire ${this.kind}`, 0);
    if (this.#waits.size === 0) {
      const outcome = spinTake(this.mutex, recovering);
      if (outcome !== BUSY) return this.#hold(outcome, recovering, true);
    }
    const wait = new Wait(this, turn, timeout === Infinity);
    this.#waits.add(wait);
    try {
      if (!waitSync(this.domain, wait, timeout, "acquire")) {
        throw timeoutError(`acquire ${this.kind}`, timeout);
      }
    } finally {
      this.forget(wait);
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
    const wait = new Wait(this, "of the loop", false);
    this.#waits.add(wait);
    try {
      if (!await waitAsync(this.domain, wait, timeout, signal)) {
        throw timeoutError(`acquire ${this.kind}`, timeout);
      }
    } finally {
      this.forget(wait);
    }
    return this.#hold(wait.outcome, recovering, false);
  }

  /** One more guard for what this agent holds. */
  reenter(bySync: boolean): Guard {
    this.depth++;
    if (bySync) this.syncDepth++;
    return new ExclusiveGuard(this, this.turn, bySync, this.abandoned);
  }

  /** Gives one guard's share back. */
  leave(bySync: boolean): void {
    if (bySync) this.syncDepth--;
    if (--this.depth === 0) giveBack(this.mutex);
  }

  /** What a call of this agent may do, so that those made before it are served before it. */
  rightsOf(wait: Wait): number {
    let rights = MAY_TAKE;
    for (const other of this.#waits) {
      if (other === wait) break;
      if (other.outcome !== BUSY) continue;
      if (other.place < 0) return MAY_INHERIT;
      rights = MAY_LINE_UP;
    }
    return rights;
  }

  /** Looks after the calls that were made before this one, which blocks the thread. */
  serveBefore(wait: Wait): void {
    for (const other of this.#waits) {
      if (other === wait) return;
      other.poll();
    }
  }

  /** Gives all of it back for a while: its guards do not hold it until it is resumed. */
  suspend(): Suspended {
    const { turn, depth, syncDepth } = this;
    this.turn = 0;
    this.depth = 0;
    this.syncDepth = 0;
    giveBack(this.mutex);
    return { turn, depth, syncDepth };
  }

  /**
   * Acquires again what was suspended, by recovery if need be, blocking the thread. Returns whether
   * the lock was recovered.
   */
  resumeSync(suspended: Suspended): boolean {
    return this.#restore(this.#acquireSync(Infinity, true, "first"), suspended);
  }

  /** The same without blocking the thread. */
  async resume(suspended: Suspended): Promise<boolean> {
    return this.#restore(await this.acquire(Infinity, undefined, true), suspended);
  }

  #restore(guard: Guard, { turn, depth, syncDepth }: Suspended): boolean {
    this.turn = turn;
    this.depth = depth;
    this.syncDepth = syncDepth;
    return guard.abandoned;
  }

  /** The guard if it holds this lock now. */
  check(guard: unknown, action: string): ExclusiveGuard {
    if (!(guard instanceof ExclusiveGuard) || !guard.isOf(this)) {
      throw new TypeError(
        `Cannot ${action} as the guard must be one of this ${this.kind}: current value is ${
          show(guard)
        }`,
      );
    }
    if (!guard.held) throw new TypeError(`Cannot ${action}: the guard is not held`);
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
    const abandoned = glanceAtMutex(this.mutex).isAbandoned ? ", abandoned: true" : "";
    return `${this.kind} { ${by}${abandoned}, waiting: ${crowd(this.mutex)} }`;
  }

  /** What is held of it, at a glance. */
  holdings(handle: Handle): Holdings {
    const { holder, isAbandoned } = glanceAtMutex(this.mutex);
    const held: Holding[] = holder === 0 ? [] : [{ id: holder, call: "acquire", permits: 1 }];
    return { handle, held, isAbandoned, waiting: crowd(this.mutex) };
  }

  #hold(outcome: number, recovering: boolean, bySync: boolean): Guard {
    if (outcome === REFUSED || outcome === POISONED) {
      if (!recovering) {
        if (outcome === POISONED) giveBack(this.mutex);
        throw new AbandonedError(
          `Cannot acquire ${this.kind}: agent ${lastDead(this.mutex)} died while holding it`,
        );
      }
      recover(this.mutex);
    }
    this.depth = 1;
    this.syncDepth = bySync ? 1 : 0;
    this.abandoned = outcome === POISONED;
    this.turn = ++this.#turns;
    return new ExclusiveGuard(this, this.turn, bySync, this.abandoned);
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

  /** Forgets a call that waits no more. May be said again. */
  forget(wait: Wait): void {
    if (!this.#waits.delete(wait)) return;
    // A place is free again: calls of this agent that found none look once more.
    if (this.#waits.size > 0) unpark(this.domain, this.domain.id);
  }
}

/**
 * How a call stands to those of its agent that were made before it. Of the loop: they come first, and the
 * event loop asks for each. In order: likewise, but it blocks the loop, and so asks for them itself. First:
 * it has held the lock before, and passes them.
 */
type Turn = "of the loop" | "in order" | "first";

class Wait implements Waiter, Linked, LockWait {
  ticket = 0;
  place = -1;
  outcome: number = BUSY;
  readonly what: What;
  readonly #owner: Exclusive;
  readonly #turn: Turn;
  readonly #findsDeadlock: boolean;

  constructor(owner: Exclusive, turn: Turn, findsDeadlock: boolean) {
    this.what = owner.what;
    this.#owner = owner;
    this.#turn = turn;
    this.#findsDeadlock = findsDeadlock;
  }

  poll(): boolean {
    if (this.outcome !== BUSY) return true;
    const { mutex } = this.#owner;
    if (this.#turn === "in order") this.#owner.serveBefore(this);
    const rights = this.#turn === "first" ? MAY_TAKE : this.#owner.rightsOf(this);
    // Behind one of this agent that has no place either, it has its ticket and nothing to look at.
    if (rights === MAY_INHERIT && this.place < 0 && this.ticket !== 0) return false;
    this.outcome = pollTake(mutex, this, rights);
    if (this.outcome !== BUSY) return true;
    if (this.#findsDeadlock) {
      try {
        this.#owner.assertNoDeadlock();
      } catch (error) {
        if (this.withdraw()) throw error;
      }
    }
    return false;
  }

  withdraw(): boolean {
    if (this.outcome !== BUSY || !withdrawTake(this.#owner.mutex, this)) return false;
    // At once: other calls of this agent must not stand behind it, nor look at what was its place.
    this.#owner.forget(this);
    return true;
  }

  keeper(): number {
    return keeperOf(this.#owner.mutex);
  }
}

/** A lock that its holder gave back for a while: see {@linkcode Exclusive.suspend}. */
export interface Suspended {
  readonly turn: number;
  readonly depth: number;
  readonly syncDepth: number;
}

/** What guards of all kinds have: they hold for one agent, and so cannot travel; and a line of state. */
export function finishGuards(prototype: Guard): void {
  Object.defineProperty(prototype, PRIMITIVE, { value: "none" });
  Object.defineProperty(prototype, Symbol.for("Deno.customInspect"), {
    value(this: Guard): string {
      return `Guard { held: ${this.held}, abandoned: ${this.abandoned} }`;
    },
  });
}

export class ExclusiveGuard implements Guard {
  static {
    finishGuards(ExclusiveGuard.prototype);
  }

  readonly #lock: Exclusive;
  readonly #turn: number;
  readonly #bySync: boolean;
  #abandoned: boolean;
  #isReleased = false;

  constructor(lock: Exclusive, turn: number, bySync: boolean, abandoned: boolean) {
    this.#lock = lock;
    this.#turn = turn;
    this.#bySync = bySync;
    this.#abandoned = abandoned;
  }

  get held(): boolean {
    return !this.#isReleased && this.#lock.turn === this.#turn;
  }

  get abandoned(): boolean {
    return this.#abandoned;
  }

  /** It was suspended, and the one who held the lock meanwhile died. */
  abandon(): void {
    this.#abandoned = true;
  }

  isOf(lock: Exclusive): boolean {
    return this.#lock === lock;
  }

  release(): void {
    if (!this.held) {
      throw new TypeError(
        `Cannot release ${this.#lock.kind}: the guard ${
          this.#isReleased ? "was released before" : "does not hold it now"
        }`,
      );
    }
    this.#isReleased = true;
    this.#lock.leave(this.#bySync);
  }

  [Symbol.dispose](): void {
    if (this.held) this.release();
  }
}

const exclusives = new WeakMap<object, Exclusive>();

/** Lets private modules find what is behind a public lock. */
export function expose(lock: object, exclusive: Exclusive): void {
  exclusives.set(lock, exclusive);
  exclusive.face = lock;
}

/** What is behind a public lock. */
export function exclusiveOf(lock: object): Exclusive | undefined {
  return exclusives.get(lock);
}

export { TAKEN };
