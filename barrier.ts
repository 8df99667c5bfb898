// Copyright 2026 the Sabre authors. MIT license.

/**
 * Barriers: a number of parties wait for each other, and go on together.
 *
 * - Each call gets its index of arrival, from 0 to one less than there are parties, once per round. Use
 *   one of them to have something done once. Then the next round begins, with the same barrier.
 * - A party is a call, not an agent: several tasks of one agent may wait.
 * - A party that times out or is aborted breaks the barrier: all others, and all that come later, get
 *   {@linkcode BrokenBarrierError}, until `reset()`. So does an agent that dies while it waits, and a
 *   `Process` that was in the last round and ends otherwise than by returning.
 * - The deadlock to know: fewer calls than parties. Give a `timeout` where one may fail to come.
 *
 * @example Two parties
 * ```ts
 * import { Barrier } from "@sabre/ipc/barrier";
 * import { assertEquals } from "@std/assert";
 *
 * const barrier = new Barrier(2);
 * const log: string[] = [];
 * async function party(name: string) {
 *   log.push(`${name} first`);
 *   await barrier.wait();
 *   log.push(`${name} second`);
 * }
 * await Promise.all([party("a"), party("b")]);
 * assertEquals(log.slice(0, 2), ["a first", "b first"]);
 * assertEquals(log.length, 4);
 * ```
 *
 * @module
 */

import { type Domain, home } from "./_agent.ts";
import {
  arrive,
  BARRIER_WORDS,
  breakUp,
  countWaiting,
  enter,
  exit,
  FAILED,
  forgetOutcome,
  initRounds,
  isBroken,
  outcomeOf,
  partiesOf,
  PASSED,
  refresh,
  reset,
  type Rounds,
  WAITING,
} from "./_barrier.ts";
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
import {
  positiveInteger,
  signalOf,
  type SyncWaitOptions,
  timeoutError,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";
import { canBlock } from "./_park.ts";
import { type What, whatOf } from "./_report.ts";
import { mayNotBlock, waitAsync, type Waiter, waitSync } from "./_wait.ts";
import { BrokenBarrierError } from "./errors.ts";

export type { Handle, SyncWaitOptions, WaitOptions };

const ACTION = "wait for Barrier";

/**
 * A place where a number of parties wait for each other.
 *
 * - Any agent may call anything, at any time; the calls of one agent arrive in their order.
 * - `parties`, `waiting` and `broken` are exact when read, and never wait.
 * - Who was released has the others' writes from before the barrier to see.
 *
 * @example One of them cleans up
 * ```ts
 * import { Barrier } from "@sabre/ipc/barrier";
 * import { assertEquals } from "@std/assert";
 *
 * const barrier = new Barrier(3);
 * let cleanups = 0;
 * async function party() {
 *   if (await barrier.wait() === 0) cleanups++;
 * }
 * await Promise.all([party(), party(), party()]);
 * assertEquals(cleanups, 1);
 * ```
 */
export class Barrier {
  /** What crosses to other agents; see {@linkcode Barrier.from}. */
  readonly handle: Handle;
  readonly #arrivals: Arrivals;
  readonly #parties: number;

  static {
    registerKind("Barrier", (handle) => Barrier.from(handle));
    Object.defineProperty(Barrier.prototype, PRIMITIVE, { value: "Barrier" });
  }

  /**
   * Creates a barrier at which nobody waits.
   *
   * @param parties How many calls of `wait` it takes.
   * @throws {RangeError} If `parties` is not a positive integer, or above 2^31 - 1.
   * @throws {TypeError} If it is not a number.
   * @example
   * ```ts
   * import { Barrier } from "@sabre/ipc/barrier";
   * import { assertEquals, assertThrows } from "@std/assert";
   *
   * assertEquals(new Barrier(1).waitSync(), 0);
   * assertThrows(() => new Barrier(0), RangeError);
   * ```
   */
  constructor(parties: number);
  constructor(parties: number, given?: Handle) {
    const existing = existingOf(given);
    this.handle = existing ?? create(parties);
    const domain = domainOf(this.handle);
    const words = new Int32Array(this.handle.memory);
    const rounds = { domain, words, base: this.handle.offset / 4 };
    this.#arrivals = new Arrivals(this, rounds);
    this.#parties = partiesOf(rounds);
    remember(this.handle, domain, this);
  }

  /**
   * The barrier of this agent for a handle, or for what structured clone made of a barrier. The same
   * object each time.
   *
   * @param value A barrier, its handle, or what arrived of it in a message.
   * @returns The barrier on the same memory.
   * @throws {TypeError} If it is not a handle of a `Barrier` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { Barrier } from "@sabre/ipc/barrier";
   * import { assertEquals } from "@std/assert";
   *
   * const barrier = new Barrier(3);
   * assertEquals(Barrier.from(structuredClone(barrier)).parties, 3);
   * ```
   */
  static from(value: unknown): Barrier {
    const handle = handleOf(value, "Barrier", BARRIER_WORDS * 4);
    const known = recall(handle, domainOf(handle));
    return known instanceof Barrier
      ? known
      : Reflect.construct(Barrier, [undefined, handle]) as Barrier;
  }

  /**
   * Arrives, and waits until all parties have. Does not block the thread.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait. Either breaks the
   * barrier. A signal that fired before does not: the call then never arrives.
   * @returns The index of arrival: 0 for the first of the round, one less than there are parties for
   * the last.
   * @throws {BrokenBarrierError} If the barrier is broken, or breaks or is reset meanwhile.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait; that breaks the
   * barrier, too.
   * @throws The signal's reason if it fired.
   * @example
   * ```ts
   * import { Barrier } from "@sabre/ipc/barrier";
   * import { assertEquals } from "@std/assert";
   *
   * const barrier = new Barrier(2);
   * assertEquals(await Promise.all([barrier.wait(), barrier.wait()]), [0, 1]);
   * ```
   */
  async wait(options?: WaitOptions): Promise<number> {
    const signal = signalOf(options, ACTION);
    const timeout = timeoutOf(options, ACTION);
    const arrival = this.#arrivals.add();
    if (arrival.poll()) return arrival.index;
    const { domain } = this.#arrivals;
    const isOver = timeout > 0
      ? await waitAsync(domain, arrival, timeout, signal)
      : !arrival.withdraw() && arrival.poll();
    if (!isOver) throw timeoutError(ACTION, timeout);
    return arrival.index;
  }

  /**
   * Arrives, and waits until all parties have, blocking the thread.
   *
   * @param options How long to wait, in milliseconds. Waiting in vain breaks the barrier.
   * @returns The index of arrival, as for {@linkcode Barrier.wait}.
   * @throws {BrokenBarrierError} If the barrier is broken, or breaks or is reset meanwhile.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed, `InvalidStateError` if it would
   * have to block the main thread of a browser.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait; that breaks the
   * barrier, too.
   * @example
   * ```ts
   * import { Barrier } from "@sabre/ipc/barrier";
   * import { assertEquals, assertThrows } from "@std/assert";
   *
   * const barrier = new Barrier(2);
   * assertThrows(() => barrier.waitSync({ timeout: 1 }), DOMException, "1 ms passed");
   * assertEquals(barrier.broken, true);
   * ```
   */
  waitSync(options?: SyncWaitOptions): number {
    const timeout = timeoutOf(options, ACTION);
    // Before it arrives: to give up would break the barrier.
    if (!canBlock && !this.broken && this.waiting + 1 < this.#parties) throw mayNotBlock("wait");
    const arrival = this.#arrivals.add();
    if (arrival.poll()) return arrival.index;
    const { domain } = this.#arrivals;
    const isOver = timeout > 0
      ? waitSync(domain, arrival, timeout, "wait")
      : !arrival.withdraw() && arrival.poll();
    if (!isOver) throw timeoutError(ACTION, timeout);
    return arrival.index;
  }

  /**
   * Makes the barrier as new. Whoever waits gets {@linkcode BrokenBarrierError}. Does not block.
   *
   * @example
   * ```ts
   * import { Barrier } from "@sabre/ipc/barrier";
   * import { assertEquals } from "@std/assert";
   *
   * const barrier = new Barrier(2);
   * barrier.abort();
   * barrier.reset();
   * assertEquals(await Promise.all([barrier.wait(), barrier.wait()]), [0, 1]);
   * ```
   */
  reset(): void {
    this.#arrivals.change(reset);
  }

  /**
   * Breaks the barrier, as for a party that can not come. Whoever waits, or comes later, gets
   * {@linkcode BrokenBarrierError}. Does not block.
   *
   * @example
   * ```ts
   * import { Barrier } from "@sabre/ipc/barrier";
   * import { BrokenBarrierError } from "@sabre/ipc/errors";
   * import { assertRejects } from "@std/assert";
   *
   * const barrier = new Barrier(2);
   * const waiting = barrier.wait();
   * barrier.abort();
   * await assertRejects(() => waiting, BrokenBarrierError);
   * ```
   */
  abort(): void {
    this.#arrivals.change(breakUp);
  }

  /**
   * How many calls of `wait` it takes.
   *
   * @example
   * ```ts
   * import { Barrier } from "@sabre/ipc/barrier";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Barrier(4).parties, 4);
   * ```
   */
  get parties(): number {
    return this.#parties;
  }

  /**
   * How many calls wait now. Exact when read, possibly old when you look; never waits.
   *
   * @example
   * ```ts
   * import { Barrier } from "@sabre/ipc/barrier";
   * import { assertEquals } from "@std/assert";
   *
   * const barrier = new Barrier(2);
   * const first = barrier.wait();
   * assertEquals(barrier.waiting, 1);
   * await Promise.all([first, barrier.wait()]);
   * assertEquals(barrier.waiting, 0);
   * ```
   */
  get waiting(): number {
    return countWaiting(this.#arrivals.rounds);
  }

  /**
   * Whether the barrier is broken. Exact when read, possibly old when you look; never waits.
   *
   * @example
   * ```ts
   * import { Barrier } from "@sabre/ipc/barrier";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Barrier(2).broken, false);
   * ```
   */
  get broken(): boolean {
    return isBroken(this.#arrivals.rounds);
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    const { parties, waiting, broken } = this;
    return `Barrier { parties: ${parties}, waiting: ${waiting}, broken: ${broken} }`;
  }
}

/** The calls of this agent that wait in the present round. */
class Arrivals {
  readonly domain: Domain;
  readonly rounds: Rounds;
  /** The barrier, which lives as long as a wait: the one object that knows of it. */
  readonly face: Barrier;
  /** What they wait for. */
  readonly what: What;
  readonly #waiting = new Set<Arrival>();

  constructor(face: Barrier, rounds: Rounds) {
    this.face = face;
    this.what = whatOf("Barrier", face.handle.serial, "wait");
    this.rounds = rounds;
    this.domain = rounds.domain;
  }

  /** Arrives. */
  add(): Arrival {
    const { rounds } = this;
    enter(rounds);
    this.collect();
    const index = arrive(rounds);
    const arrival = new Arrival(this, index);
    if (index < 0) arrival.outcome = FAILED;
    else if (index + 1 === partiesOf(rounds)) arrival.outcome = PASSED;
    else this.#waiting.add(arrival);
    exit(rounds);
    return arrival;
  }

  /** Tells the calls how their round ended, if it has. */
  collect(): void {
    const outcome = outcomeOf(this.rounds);
    if (outcome === WAITING) return;
    for (const arrival of this.#waiting) arrival.outcome = outcome;
    this.#waiting.clear();
    forgetOutcome(this.rounds);
  }

  /** Gives up a call, which breaks the barrier. `false` if its round had ended before. */
  drop(arrival: Arrival): boolean {
    const { rounds } = this;
    enter(rounds);
    this.collect();
    const isWaiting = this.#waiting.delete(arrival);
    if (isWaiting) breakUp(rounds);
    exit(rounds);
    return isWaiting;
  }

  change(what: (rounds: Rounds) => void): void {
    enter(this.rounds);
    what(this.rounds);
    exit(this.rounds);
  }
}

/** One call. */
class Arrival implements Waiter {
  /** 0 for the first of the round. */
  readonly index: number;
  outcome: number = WAITING;
  readonly what: What;
  readonly #arrivals: Arrivals;

  constructor(arrivals: Arrivals, index: number) {
    this.#arrivals = arrivals;
    this.what = arrivals.what;
    this.index = index;
  }

  poll(): boolean {
    if (this.outcome === WAITING) {
      refresh(this.#arrivals.rounds);
      this.#arrivals.collect();
    }
    if (this.outcome === FAILED) {
      throw new BrokenBarrierError(
        `Cannot ${ACTION}: it is broken, or was reset while this call waited`,
      );
    }
    return this.outcome === PASSED;
  }

  withdraw(): boolean {
    return this.outcome === WAITING && this.#arrivals.drop(this);
  }
}

function create(parties: number): Handle {
  positiveInteger(parties, "create Barrier", "parties");
  if (parties >= 2 ** 31) {
    throw new RangeError(
      `Cannot create Barrier as parties must be below 2^31: current value is ${parties}`,
    );
  }
  const handle = createHandle("Barrier", home(), BARRIER_WORDS * 4);
  initRounds(new Int32Array(handle.memory), 0, parties);
  return handle;
}
