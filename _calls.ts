// Copyright 2026 the Sabre authors. MIT license.

// The calls of one agent that wait at one place, such as an end of a pipe: they take effect in the
// order in which they were made, whichever of them wait as promises and which block the thread.

import { type Domain, stopRequested, unpark } from "./_agent.ts";
import { isAbort, timeoutError } from "./_options.ts";
import type { What } from "./_report.ts";
import { waitAsync, type Waiter, waitSync } from "./_wait.ts";
import { DeadlockError, TerminatedError } from "./errors.ts";

/** Milliseconds for which a call goes on at the most before its agent looks at other things. */
const TURN = 5;

/** Where calls wait. */
export class Calls {
  readonly domain: Domain;
  /** Makes sure that this agent is woken when there is news. */
  readonly announce: () => void;
  /** The calls that wait; a new one may go ahead only if there is none. */
  readonly waiting: Call[] = [];
  /** What they wait for. */
  what: What | undefined;
  /** Whether one of the calls is proceeding. */
  isAdvancing = false;

  constructor(domain: Domain, announce: () => void) {
    this.domain = domain;
    this.announce = announce;
  }

  /** Lets calls proceed in their order, until one cannot. */
  advance(caller: Call | undefined): void {
    // The input of a call may be user code that calls again, while the first call is not through.
    if (this.isAdvancing) return;
    this.isAdvancing = true;
    try {
      for (;;) {
        const first = this.waiting[0];
        if (first === undefined || !first.proceed()) return;
        if (this.waiting[0] === first) this.waiting.shift();
        // It was not woken itself: it has to look before its promise can resolve.
        if (first !== caller) unpark(this.domain, this.domain.id);
      }
    } finally {
      this.isAdvancing = false;
    }
  }

  /** Whether a new call may go ahead now, those before it having proceeded as far as they can. */
  isFree(): boolean {
    if (this.waiting.length === 0) return true;
    this.advance(undefined);
    return this.waiting.length === 0;
  }

  /** Serves the calls that wait as promises, for their agent is about to block. */
  serve(): void {
    this.advance(undefined);
    if (this.waiting.length === 0) return;
    this.announce();
    this.advance(undefined);
  }

  /** Ends all calls with an error, for which each says what it had not sent. */
  fail(errorFor: (unsent: unknown) => unknown): void {
    for (const call of this.waiting.splice(0)) call.fail(errorFor(call.unsent));
    unpark(this.domain, this.domain.id);
  }

  remove(call: Call): void {
    const index = this.waiting.indexOf(call);
    if (index >= 0) this.waiting.splice(index, 1);
    // It may have left the line when it went through: those behind it wait still.
    if (this.waiting.length === 0) crowded.delete(this);
    // They may be able to proceed now.
    else if (index >= 0) unpark(this.domain, this.domain.id);
  }

  /** Makes the call, blocking the thread until it is through. */
  runSync(call: Call, timeout: number, action: string, name: string): void {
    this.waiting.push(call);
    const deadline = timeout === Infinity ? timeout : performance.now() + timeout;
    try {
      // The first look is free: it needs no registration.
      call.press(deadline);
      if (call.isOver()) return;
      if (this.isAdvancing && timeout === Infinity && call.withdraw()) throw selfWait(action);
      const left = timeout === Infinity ? timeout : deadline - performance.now();
      const served = left > 0
        ? waitSync(this.domain, whileServing(call, () => call.pollSync(deadline)), left, name)
        // What it was served meanwhile counts, be it an error.
        : !call.withdraw() && call.isOver();
      if (!served && !call.isPartial) throw timeoutError(action, timeout);
    } catch (error) {
      if (mustThrow(call, error)) throw error;
    } finally {
      this.remove(call);
    }
  }

  /** Makes the call without blocking the thread. */
  async run(
    call: Call,
    timeout: number,
    signal: AbortSignal | undefined,
    action: string,
  ): Promise<void> {
    this.waiting.push(call);
    try {
      this.advance(call);
      if (call.isOver()) return;
      crowded.add(this);
      const served = timeout > 0
        ? await waitAsync(this.domain, call, timeout, signal)
        // What it was served meanwhile counts, be it an error.
        : !call.withdraw() && call.isOver();
      if (!served && !call.isPartial) throw timeoutError(action, timeout);
    } catch (error) {
      if (mustThrow(call, error, signal)) throw error;
    } finally {
      this.remove(call);
    }
  }

  /** Makes the call if it needs no wait. Returns whether it went through. */
  attempt(call: Call): boolean {
    this.waiting.push(call);
    try {
      this.advance(call);
      while (!call.isOver()) {
        const epoch = Atomics.load(this.domain.words, this.domain.park);
        serveCrowded();
        this.advance(call);
        // Whatever one of them did for the other woke this agent.
        if (epoch === Atomics.load(this.domain.words, this.domain.park)) break;
      }
      if (call.isOver() || !call.withdraw()) return true;
      if (call.isPartial) call.conclude();
      return call.isPartial;
    } finally {
      this.remove(call);
    }
  }
}

/** The places of this agent at which promises wait. */
const crowded = new Set<Calls>();

/**
 * The waiter, for an agent that blocks: it serves its own promises meanwhile, without which what it
 * waits for might never come.
 */
export function whileServing(waiter: Waiter, poll = (): boolean => waiter.poll()): Waiter {
  return {
    poll: () => {
      serveCrowded();
      return poll();
    },
    withdraw: () => waiter.withdraw(),
    what: waiter.what,
  };
}

/**
 * Whether the bytes stay as they are while this agent blocks: none of its promises is served meanwhile,
 * whose input could change them, and they are not shared with others.
 */
export function isUntouched(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return crowded.size === 0 && bytes.buffer instanceof ArrayBuffer;
}

function serveCrowded(): void {
  for (const calls of crowded) calls.serve();
}

/** Whether the moment of this agent's clock has not come. */
function isAhead(deadline: number): boolean {
  return deadline === Infinity || performance.now() < deadline;
}

function selfWait(action: string): DeadlockError {
  return new DeadlockError(
    `Cannot ${action}: the call is made by the input of another one, behind which it has to wait`,
  );
}

/** Whether the error counts although part of the call may have gone through. */
function mustThrow(call: Call, error: unknown, signal?: AbortSignal): boolean {
  const isEnd = error instanceof TerminatedError && !isAbort(signal, error);
  return call.hasFailed || !call.isPartial || isEnd;
}

/** One call. */
export abstract class Call implements Waiter {
  readonly #calls: Calls;
  #over = false;
  /** When its turn began, if it has asked; how often it has. */
  #turn = 0;
  #asked = 0;
  #error: { reason: unknown } | undefined;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /** Does what can be done now. Returns whether that was all. Throws to fail. */
  protected abstract step(): boolean;

  /**
   * To be asked by a step before each of many items: whether it may do that one as well. If it may not, as it has
   * gone on for a while and its agent should look at the time and at all else, it returns `false` and
   * is called again at once. The clock is looked at each `mask + 1` times; the first is always
   * granted, so that a step gets on.
   */
  protected mayGoOn(mask: number): boolean {
    if ((++this.#asked & mask) !== 0) return true;
    const now = performance.now();
    if (this.#turn === 0) this.#turn = now;
    if (now - this.#turn < TURN) return true;
    unpark(this.#calls.domain, this.#calls.domain.id);
    return false;
  }

  /** Whether part of it went through, so that giving up now still is a success. */
  get isPartial(): boolean {
    return false;
  }

  /** Whether this agent is sure to be woken when the call can proceed. */
  protected get isAnnounced(): boolean {
    return false;
  }

  get what(): What | undefined {
    return this.#calls.what;
  }

  /**
   * Spins a little if the other side may be at work on what is waited for, and nobody has done so. Returns
   * whether there is news.
   */
  protected spin(): boolean {
    return false;
  }

  /**
   * Goes on as far as that needs no sleep, for a call that blocks: before it asks to be woken. The other side
   * may keep up for ever, but until the deadline, or until this agent is to end.
   */
  press(deadline: number): void {
    const { domain } = this.#calls;
    do this.#calls.advance(this); while (
      !this.#over && !this.#calls.isAdvancing && isAhead(deadline) && this.spin() &&
      !stopRequested(domain)
    );
  }

  /** What had not gone through if it ended now. */
  get unsent(): unknown {
    return undefined;
  }

  /** Whether it is over, however it ended. */
  get hasEnded(): boolean {
    return this.#over;
  }

  get hasFailed(): boolean {
    return this.#error !== undefined;
  }

  /** Whether it is over; throws if it failed. */
  isOver(): boolean {
    if (this.#error !== undefined) throw this.#error.reason;
    return this.#over;
  }

  proceed(): boolean {
    if (this.#over) return true;
    this.#turn = 0;
    try {
      // Not back to false: user code on the way may have ended it.
      if (this.step()) this.#over = true;
    } catch (error) {
      this.fail(error);
    }
    return this.#over;
  }

  /** Ends it with what went through so far. */
  conclude(): void {
    this.#over = true;
  }

  fail(reason: unknown): void {
    this.#over = true;
    this.#error = { reason };
  }

  poll(): boolean {
    if (!this.#over) this.#calls.advance(this);
    return this.#settle();
  }

  /** The same for a call that blocks. */
  pollSync(deadline: number): boolean {
    this.press(deadline);
    return this.#settle();
  }

  /** Sees to it that this agent is woken, if it has to wait, and looks again. */
  #settle(): boolean {
    if (!this.#over && !this.isAnnounced) {
      this.#calls.announce();
      // Once more: what came before the announcement wakes nobody.
      this.#calls.advance(this);
    }
    return this.isOver();
  }

  withdraw(): boolean {
    if (this.#over) return false;
    this.#calls.remove(this);
    return true;
  }
}
