// Copyright 2026 the Sabre authors. MIT license.

// What one agent knows of permits: how many its guards hold, and which of its calls wait. `_permits.ts`
// keeps agents apart; here are the guards, the calls in their order, and errors.

import { type Domain, nameOf, pidOf, unpark } from "./_agent.ts";
import { finishGuards, type Guard } from "./_exclusive.ts";
import type { Handle, Holding, Holdings } from "./_handle.ts";
import { GRANTED, placeState } from "./_line.ts";
import { timeoutError } from "./_options.ts";
import {
  ABANDONED,
  BUSY,
  crowd,
  EVERYTHING,
  giveBack,
  glanceAtHolders,
  isLock,
  isPoisoned,
  keeperOf,
  lastDead,
  type Permits,
  permitsAt,
  pollTake,
  RECOVERED,
  type Request,
  spinTake,
  takeOrLineUp,
  tryTake,
  withdrawTake,
} from "./_permits.ts";
import { type Linked, type What, whatOf } from "./_report.ts";
import { waitAsync, type Waiter, waitSync } from "./_wait.ts";
import { AbandonedError, DeadlockError } from "./errors.ts";

/** What a call asks for, and how it is called in messages. */
export interface Demand {
  /** How many permits. */
  readonly need: number;
  readonly recovers: boolean;
  /** The asynchronous form of the call. */
  readonly call: string;
}

/** Permits as one agent holds them or waits for them. */
export class Sharing {
  readonly kind: string;
  readonly domain: Domain;
  readonly permits: Permits;
  /** The number of the primitive, for those who ask what is waited for. */
  readonly serial: number;
  /** The public object, which lives as long as a guard or a wait: the one for this memory. */
  face: object | undefined;
  readonly #isLock: boolean;
  /** How many permits the guards of this agent hold. */
  #held = 0;
  /** The calls that wait, in their order. */
  readonly #waits = new Set<Wait>();
  /** Those of them for which there was no place in line yet. */
  readonly #unplaced: Wait[] = [];
  /** Whether there is none still, as far as this agent knows. */
  #isFull = false;

  constructor(kind: string, domain: Domain, words: Int32Array, base: number, serial = 0) {
    this.kind = kind;
    this.serial = serial;
    this.domain = domain;
    this.permits = permitsAt(domain, words, base);
    this.#isLock = isLock(this.permits);
  }

  /** Takes what is asked for if that needs no wait. `undefined`: it does. */
  tryAcquire(demand: Demand): Guard | undefined {
    // Those in line are seen by everybody; those without a place by this agent alone.
    if (this.#unplaced.length > 0) return undefined;
    const outcome = tryTake(this.permits, demand.need, demand.recovers);
    return outcome === BUSY ? undefined : this.#hold(outcome, demand);
  }

  acquireSync(demand: Demand, timeout: number): Guard {
    const guard = this.tryAcquire(demand);
    if (guard !== undefined) return guard;
    if (timeout === 0) throw timeoutError(this.#action(demand), 0);
    if (timeout === Infinity) this.assertNoDeadlock(demand, undefined);
    if (this.#unplaced.length === 0) {
      const outcome = spinTake(this.permits, demand.need, demand.recovers);
      if (outcome !== BUSY) return this.#hold(outcome, demand);
    }
    const wait = new Wait(this, demand, true, timeout === Infinity);
    this.#add(wait);
    try {
      if (!waitSync(this.domain, wait, timeout, demand.call)) {
        throw timeoutError(this.#action(demand), timeout);
      }
    } finally {
      this.forget(wait);
    }
    return this.#hold(wait.outcome, demand);
  }

  async acquire(
    demand: Demand,
    timeout: number,
    signal: AbortSignal | undefined,
  ): Promise<Guard> {
    const guard = this.tryAcquire(demand);
    if (guard !== undefined) return guard;
    if (timeout === 0) throw timeoutError(this.#action(demand), 0);
    const wait = new Wait(this, demand, false, false);
    this.#add(wait);
    try {
      if (!await waitAsync(this.domain, wait, timeout, signal)) {
        throw timeoutError(this.#action(demand), timeout);
      }
    } finally {
      this.forget(wait);
    }
    return this.#hold(wait.outcome, demand);
  }

  /** Gives one guard's permits back. */
  release(count: number): void {
    this.#held -= count;
    giveBack(this.permits, count);
  }

  /** Lets those of this agent's calls line up for which there was no place. */
  lineUp(caller: Wait): void {
    const unplaced = this.#unplaced;
    // While this thread is blocked, those that were served do not run, and so keep their places.
    if (caller.blocks && this.#isFull) this.#claim();
    while (unplaced.length > 0 && !this.#isFull) {
      const wait = unplaced[0]!;
      if (!wait.lineUp()) {
        this.#isFull = true;
        return;
      }
      unplaced.shift();
      // It was not woken itself: it has to look before its promise can resolve.
      if (wait !== caller && wait.outcome !== BUSY) unpark(this.domain, this.domain.id);
    }
  }

  /** Forgets a call that waits no more. May be said again. */
  forget(wait: Wait): void {
    this.#waits.delete(wait);
    const index = this.#unplaced.indexOf(wait);
    if (index >= 0) this.#unplaced.splice(index, 1);
    // A place is free again.
    this.#isFull = false;
    if (this.#unplaced.length > 0) unpark(this.domain, this.domain.id);
  }

  /** Throws if this agent, once blocked by the call, could never be given what it asks for. */
  assertNoDeadlock({ need, call }: Demand, self: Wait | undefined): void {
    // Whoever gives permits back to a semaphore need not be who took them.
    if (!this.#isLock) return;
    let held = this.#held;
    let isBehindWriter = false;
    for (const wait of this.#waits) {
      if (wait === self) continue;
      if (wait.isMet) held += wait.need;
      else if (wait.outcome === BUSY && wait.need === EVERYTHING) isBehindWriter = true;
    }
    // A reader passes other readers, unless a call of its own agent stands between them.
    const isStuck = need === EVERYTHING
      ? held > 0
      : held >= EVERYTHING || (held > 0 && isBehindWriter);
    if (!isStuck) return;
    const { id } = this.domain;
    throw new DeadlockError(
      `Cannot ${call} ${this.kind}: agent ${pidOf(id)} ("${
        nameOf(this.domain, id)
      }") holds it already and would wait for itself`,
    );
  }

  /** What is held of it, at a glance. */
  holdings(handle: Handle): Holdings {
    const held: Holding[] = [];
    glanceAtHolders(this.permits, (id, permits) => {
      const isWriter = this.#isLock && permits >= EVERYTHING;
      const call = isWriter ? "write" : this.#isLock ? "read" : "acquire";
      held.push({ id, call, permits: isWriter ? 1 : permits });
    });
    const isAbandoned = held.length === 0 && isPoisoned(this.permits);
    return { handle, held, isAbandoned, waiting: crowd(this.permits) };
  }

  /** Claims what calls of this agent were granted, so that their places are free. */
  #claim(): void {
    for (const wait of this.#waits) {
      if (wait.look()) this.#isFull = false;
    }
  }

  #add(wait: Wait): void {
    this.#waits.add(wait);
    this.#unplaced.push(wait);
  }

  #hold(outcome: number, demand: Demand): Guard {
    if (outcome === ABANDONED) {
      throw new AbandonedError(
        `Cannot ${this.#action(demand)}: agent ${
          lastDead(this.permits)
        } died while holding it for writing`,
      );
    }
    this.#held += demand.need;
    return new SharingGuard(this, demand.need, outcome === RECOVERED);
  }

  #action({ call }: Demand): string {
    return `${call} ${this.kind}`;
  }
}

class Wait implements Waiter, Linked, Request {
  ticket = 0;
  place = -1;
  outcome: number = BUSY;
  readonly need: number;
  readonly recovers: boolean;
  readonly demand: Demand;
  readonly what: What;
  /** Whether it blocks the thread. */
  readonly blocks: boolean;
  readonly #owner: Sharing;
  readonly #findsDeadlock: boolean;

  constructor(owner: Sharing, demand: Demand, blocks: boolean, findsDeadlock: boolean) {
    this.#owner = owner;
    this.blocks = blocks;
    this.demand = demand;
    this.what = whatOf(owner.kind, owner.serial, demand.call);
    this.need = demand.need;
    this.recovers = demand.recovers;
    this.#findsDeadlock = findsDeadlock;
  }

  /** Whether it was given what it asks for, which may not be known here yet. */
  get isMet(): boolean {
    if (this.outcome !== BUSY) return this.outcome !== ABANDONED;
    return this.place >= 0 && placeState(this.#owner.permits.line, this.place) === GRANTED;
  }

  /** Takes a place in line, or what it asks for. `false`: there is no place. */
  lineUp(): boolean {
    this.outcome = takeOrLineUp(this.#owner.permits, this);
    return this.outcome !== BUSY || this.place >= 0;
  }

  /** Whether it was met; claims what it was granted. */
  look(): boolean {
    if (this.outcome === BUSY && this.place >= 0) {
      this.outcome = pollTake(this.#owner.permits, this);
    }
    return this.outcome !== BUSY;
  }

  poll(): boolean {
    if (this.outcome !== BUSY) return true;
    const owner = this.#owner;
    if (this.place < 0) owner.lineUp(this);
    if (this.look()) return true;
    if (this.#findsDeadlock) {
      try {
        owner.assertNoDeadlock(this.demand, this);
      } catch (error) {
        if (this.withdraw()) throw error;
      }
    }
    return false;
  }

  withdraw(): boolean {
    if (this.outcome !== BUSY) return false;
    if (!withdrawTake(this.#owner.permits, this)) return false;
    // At once: other calls of this agent must not line it up, or look at what was its place.
    this.#owner.forget(this);
    return true;
  }

  keeper(): number {
    return keeperOf(this.#owner.permits, this);
  }
}

class SharingGuard implements Guard {
  static {
    finishGuards(SharingGuard.prototype);
  }

  readonly abandoned: boolean;
  readonly #sharing: Sharing;
  readonly #count: number;
  #held = true;

  constructor(sharing: Sharing, count: number, abandoned: boolean) {
    this.#sharing = sharing;
    this.#count = count;
    this.abandoned = abandoned;
  }

  get held(): boolean {
    return this.#held;
  }

  release(): void {
    if (!this.#held) {
      throw new TypeError(`Cannot release ${this.#sharing.kind}: the guard was released before`);
    }
    this.#held = false;
    this.#sharing.release(this.#count);
  }

  [Symbol.dispose](): void {
    if (this.#held) this.release();
  }
}
