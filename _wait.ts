// Copyright 2026 the Sabre authors. MIT license.

// Waiting calls: what a call does between "not yet" and "done", whether it blocks the thread or is a
// promise. Here, once for all primitives, are the deadline, the abort, and the termination of the agent.
//
// Every agent sleeps on one word of its own, PARK, whatever it waits for. A sleeper reads PARK, then
// looks at what it waits for, then sleeps if PARK is still the same; a waker changes what is waited
// for, then PARK, then notifies. So no change can fall between the look and the sleep.

import { type Domain, joinedDomains, setParked, stopRequested } from "./_agent.ts";
import { millis } from "./_clock.ts";
import { holdLoop, releaseLoop } from "./_hold.ts";
import { canBlock, park, parkAsync, whileBlocked } from "./_park.ts";
import {
  type Cycle,
  describeCycle,
  findDeadlock,
  type Linked,
  tellAwake,
  tellBlocked,
  tellPromise,
  toldBy,
  type What,
} from "./_report.ts";
import { DeadlockError, TerminatedError } from "./errors.ts";

/** One waiting call, as the primitive that it waits at sees it. */
export interface Waiter {
  /**
   * Looks whether the wait is over, and then says `true` for ever. Throws if it ended without what
   * was waited for. Called after every wake-up, which may be for nothing.
   */
  poll(): boolean;
  /**
   * Withdraws, leaving no trace. `false` if the wait was over just before: `poll` then says so, and
   * what it brought has to be taken.
   */
  withdraw(): boolean;
  /** What is waited for, for those who ask what this agent does. A lock's wait is {@linkcode Linked}. */
  readonly what?: What | undefined;
}

/** A wait that takes nothing and stands in nobody's way, for those who wait for several things. */
export interface News extends Waiter {
  readonly domain: Domain;
  /** Whether it would be over at once. Registers nothing. */
  isReady(): boolean;
}

/** On the prototype of what `select` can wait for: how to wait for news of it. */
export const NEWS: unique symbol = Symbol("sabre.news");

/** Longest sleep of a blocked thread: how late it may notice what nobody told it, in milliseconds. */
const SLICE = 1_000;
/** The same for an agent in several domains, whose stop word wakes it in one of them only. */
const SHORT_SLICE = 100;
/** How long a blocked thread sleeps at first, before it tells others of the wait, in milliseconds. */
const SILENCE = 10;
/** How long a lock's wait lasts before it looks whether it can ever end, in milliseconds. */
const PATIENCE = 100;
/** Longest delay that timers take. */
const MAX_DELAY = 2 ** 31 - 1;

/**
 * Blocks the thread until the wait is over (`true`) or `timeout` milliseconds have passed (`false`:
 * withdrawn). `call` names the asynchronous form, for the error where blocking is forbidden.
 */
export function waitSync(
  domain: Domain,
  waiter: Waiter,
  timeout: number,
  call: string,
): boolean {
  // The clock, and to tell others, costs as much as all else of a short wait: it does without them.
  let start = timeout !== Infinity || whileBlocked.counts ? performance.now() : undefined;
  let hasSlept = false;
  // Milliseconds that have certainly passed before the clock is looked at.
  let silence = 0;
  const isLinked = timeout === Infinity && waiter.what?.isLock === true;
  // Of this wait, for others: 0 until it is told of.
  let number = 0;
  const pump = pumpOf(domain);
  pump.blocked++;
  setParked(domain, 1);
  try {
    for (;;) {
      const epoch = Atomics.load(domain.words, domain.park);
      if (waiter.poll()) return true;
      if (stopRequested(domain)) {
        if (waiter.withdraw()) throw terminated();
        continue;
      }
      let left = Infinity;
      let waited = 0;
      if (hasSlept || timeout !== Infinity) {
        const now = performance.now();
        start ??= now - silence;
        waited = now - start;
        left = timeout - waited;
      }
      if (left <= 0) {
        if (waiter.withdraw()) return false;
        continue;
      }
      if (!canBlock) {
        if (waiter.withdraw()) throw mayNotBlock(call);
        continue;
      }
      let slice = SILENCE;
      if (hasSlept) {
        slice = joinedDomains().length > 1 ? SHORT_SLICE : SLICE;
        number = tellBlocked(domain, number, waiter.what, isLinked, start);
        if (isLinked && waited < PATIENCE) {
          slice = Math.min(slice, PATIENCE - waited);
        } else if (isLinked) {
          const cycle = findDeadlock(domain, waiter as Waiter & Linked);
          if (cycle !== undefined) {
            if (waiter.withdraw()) throw deadlock(domain, call, cycle);
            continue;
          }
        }
      }
      slice = Math.min(left, slice, whileBlocked.look(waited));
      hasSlept = true;
      if (park(domain.words, domain.park, epoch, slice)) silence = slice;
    }
  } finally {
    if (number !== 0) awake(domain, number);
    if (hasSlept && whileBlocked.counts) whileBlocked.leave(performance.now() - start!);
    // Not if this wait was made by the input of another one, which will sleep again.
    if (--pump.blocked === 0 && !pump.armed) setParked(domain, 0);
  }
}

function awake(domain: Domain, number: number): void {
  tellAwake(domain, number);
  // What was told of a promise has been overwritten.
  if (told !== undefined) tell(told);
}

function deadlock(domain: Domain, call: string, cycle: Cycle): DeadlockError {
  const { kind, serial } = toldBy(domain, domain.id)!;
  return new DeadlockError(
    `Cannot ${call} ${kind} #${serial}: deadlock: ${describeCycle(domain, cycle)}`,
  );
}

/**
 * Resolves once the wait is over (`true`) or `timeout` milliseconds have passed (`false`: withdrawn).
 * Rejects with the signal's reason, with `TerminatedError`, or with what `poll` throws. Keeps the
 * event loop alive meanwhile, unless told not to.
 */
export function waitAsync(
  domain: Domain,
  waiter: Waiter,
  timeout: number,
  signal: AbortSignal | undefined,
  holds = true,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    add(new Pending(domain, waiter, resolve, reject, timeout, signal, holds));
  });
}

/** Whether a call of this agent was ended because the agent is to end. */
let noticed = false;

/**
 * Lets every pending call look at once. Returns whether any call, now or before, was ended because
 * this agent is to end: then there may be clean-up that runs.
 */
export function lookNow(): boolean {
  for (const pending of pendings) pending.look();
  return noticed;
}

function terminated(): TerminatedError {
  noticed = true;
  return new TerminatedError("Cannot wait any longer: this agent is being terminated");
}

/** The error of a call that would block where that is forbidden. */
export function mayNotBlock(call: string): DOMException {
  return new DOMException(
    `Cannot block the main thread of a browser: call "${call}" instead of "${call}Sync"`,
    "InvalidStateError",
  );
}

// -- Asynchronous waits ------------------------------------------------------------------------

class Pending {
  /** Whether the event loop stays alive for it. */
  readonly holds: boolean;
  readonly domain: Domain;
  /** When it began, as {@linkcode millis} says. */
  readonly since: number = millis();
  readonly #waiter: Waiter;
  readonly #resolve: (served: boolean) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #deadline: number;
  readonly #signal: AbortSignal | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #onAbort: (() => void) | undefined;

  constructor(
    domain: Domain,
    waiter: Waiter,
    resolve: (served: boolean) => void,
    reject: (reason: unknown) => void,
    timeout: number,
    signal: AbortSignal | undefined,
    holds: boolean,
  ) {
    this.holds = holds;
    this.domain = domain;
    this.#waiter = waiter;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#signal = signal;
    this.#deadline = Infinity;
    if (timeout !== Infinity) {
      this.#deadline = performance.now() + timeout;
      this.#setTimer(timeout);
    }
    if (signal !== undefined) {
      this.#onAbort = () => this.#giveUp(() => this.#reject(signal.reason));
      signal.addEventListener("abort", this.#onAbort);
    }
  }

  get what(): What | undefined {
    return this.#waiter.what;
  }

  /** Settles the call if its wait is over or must end. */
  look(): void {
    try {
      if (this.#waiter.poll()) {
        this.#end();
        this.#resolve(true);
      } else if (stopRequested(this.domain)) {
        this.#giveUp(() => this.#reject(terminated()));
      }
    } catch (error) {
      this.#end();
      this.#reject(error);
    }
  }

  #giveUp(settle: () => void): void {
    let isOut: boolean;
    try {
      isOut = this.#waiter.withdraw();
    } catch (error) {
      // Such as of damaged storage: whoever awaits it must not wait for ever.
      this.#end();
      this.#reject(error);
      return;
    }
    if (isOut) {
      this.#end();
      settle();
    } else {
      this.look();
    }
  }

  /** Ends the call if its signal fired before it was listened to: user code of the call's own can do so. */
  lookAtSignal(): void {
    if (this.#signal?.aborted) this.#onAbort!();
  }

  #setTimer(delay: number): void {
    this.#timer = setTimeout(() => this.#onTime(), Math.min(delay, MAX_DELAY));
  }

  #onTime(): void {
    const left = this.#deadline - performance.now();
    // Timers may fire early, and have a longest delay.
    if (left > 0) this.#setTimer(Math.ceil(left));
    else this.#giveUp(() => this.#resolve(false));
  }

  #end(): void {
    remove(this);
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#onAbort !== undefined) this.#signal!.removeEventListener("abort", this.#onAbort);
  }
}

/** The pending calls of this agent, in the order in which they were made. */
const pendings = new Set<Pending>();

function add(pending: Pending): void {
  pendings.add(pending);
  if (pending.holds) holdLoop();
  // Armed before the look: what changes after the look finds the ticket. In all domains, as one call
  // may wait for primitives of several.
  for (const domain of joinedDomains()) pumpOf(domain).arm();
  pending.look();
  if (pendings.has(pending)) pending.lookAtSignal();
  if (told === undefined && pendings.has(pending) && pending.what !== undefined) tell(pending);
}

function remove(pending: Pending): void {
  if (pendings.delete(pending) && pending.holds) releaseLoop();
  if (pending === told) tellNext(pending);
}

/** The oldest of the pending calls that say what they wait for: the one that others are told of. */
let told: Pending | undefined;

function tell(pending: Pending): void {
  told = pending;
  tellPromise(pending.domain, pending.what, pending.since);
}

function tellNext({ domain }: Pending): void {
  told = undefined;
  tellPromise(domain, undefined, 0);
  for (const pending of pendings) {
    if (pending.what !== undefined) return tell(pending);
  }
}

/** What the promises of this agent wait for that say so, oldest first. */
export function pendingWaits(domain: Domain): { what: What; since: number }[] {
  const waits: { what: What; since: number }[] = [];
  for (const { domain: own, what, since } of pendings) {
    if (own === domain && what !== undefined) waits.push({ what, since });
  }
  return waits;
}

/** Lets the pending calls look again whenever this agent's PARK word in one domain is notified. */
class Pump {
  /** Whether a ticket waits on PARK. One is enough for all calls, and it serves the next ones too. */
  armed = false;
  /** How many calls block, each but the first made by the input of the one before. */
  blocked = 0;
  readonly #domain: Domain;

  constructor(domain: Domain) {
    this.#domain = domain;
  }

  arm(): void {
    if (this.armed) return;
    const { words, park } = this.#domain;
    setParked(this.#domain, 1);
    for (;;) {
      const ticket = parkAsync(words, park, Atomics.load(words, park));
      if (ticket === undefined) continue;
      this.armed = true;
      ticket.then(this.#onWake);
      return;
    }
  }

  readonly #onWake = (): void => {
    this.armed = false;
    if (pendings.size === 0) return setParked(this.#domain, 0);
    this.arm();
    // In the order of the calls: some primitives rely on it.
    for (const pending of pendings) pending.look();
  };
}

const pumps = new Map<Domain, Pump>();

function pumpOf(domain: Domain): Pump {
  let pump = pumps.get(domain);
  if (pump === undefined) {
    pump = new Pump(domain);
    pumps.set(domain, pump);
  }
  return pump;
}
