// Copyright 2026 the Sabre authors. MIT license.

/**
 * Events: a flag that agents can wait for.
 *
 * - `set()` releases everyone who waits, in all agents; while it is set, nobody waits.
 * - A `set()` that is followed at once by `clear()` still releases every waiter of that moment, whether
 *   it runs in between or not.
 * - State, not a message: however often it is set, there is nothing to take.
 * - Called `SharedEvent` as `Event` is taken by the platform.
 *
 * @example Tell others to stop
 * ```ts
 * import { SharedEvent } from "@sabre/ipc/event";
 * import { assertEquals } from "@std/assert";
 *
 * const stop = new SharedEvent();
 * let rounds = 0;
 * async function work() {
 *   while (!(await stop.wait({ timeout: 1 }))) if (++rounds === 3) stop.set();
 * }
 * await work();
 * assertEquals(rounds, 3);
 * ```
 *
 * @module
 */

import { type Domain, home } from "./_agent.ts";
import {
  clear,
  EVENT_WORDS,
  forget,
  hasHappened,
  isSet,
  type Pulse,
  set,
  stateOf,
  want,
} from "./_event.ts";
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
import { signalOf, type SyncWaitOptions, timeoutOf, type WaitOptions } from "./_options.ts";
import { type What, whatOf } from "./_report.ts";
import { NEWS, type News, waitAsync, waitSync } from "./_wait.ts";

export type { Handle, SyncWaitOptions, WaitOptions };

/**
 * A flag that agents can wait for.
 *
 * - Any agent may call anything, at any time. Setting and clearing never block.
 * - `set()` is seen by every agent when it has returned.
 * - A waiter that was released returns `true` even if the event is cleared by then.
 *
 * @example
 * ```ts
 * import { SharedEvent } from "@sabre/ipc/event";
 * import { assertEquals } from "@std/assert";
 *
 * const ready = new SharedEvent();
 * const waiting = ready.wait();
 * ready.set();
 * assertEquals(await waiting, true);
 * ```
 */
export class SharedEvent {
  /** What crosses to other agents; see {@linkcode SharedEvent.from}. */
  readonly handle: Handle;
  readonly #waits: Waits;

  static {
    registerKind("SharedEvent", (handle) => SharedEvent.from(handle));
    Object.defineProperty(SharedEvent.prototype, PRIMITIVE, { value: "SharedEvent" });
    Object.defineProperty(SharedEvent.prototype, NEWS, {
      value(this: SharedEvent): News {
        return new Wait(this.#waits);
      },
    });
  }

  /**
   * Creates an event that is not set.
   *
   * @example
   * ```ts
   * import { SharedEvent } from "@sabre/ipc/event";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new SharedEvent().isSet, false);
   * ```
   */
  constructor();
  constructor(given?: Handle) {
    const existing = existingOf(given);
    this.handle = existing ?? createHandle("SharedEvent", home(), EVENT_WORDS * 4);
    const domain = domainOf(this.handle);
    const words = new Int32Array(this.handle.memory);
    this.#waits = {
      face: this,
      what: whatOf("SharedEvent", this.handle.serial, "wait"),
      pulse: { domain, words, base: this.handle.offset / 4 },
      count: 0,
    };
    remember(this.handle, domain, this);
  }

  /**
   * The event of this agent for a handle, or for what structured clone made of an event. The same
   * object each time.
   *
   * @param value An event, its handle, or what arrived of it in a message.
   * @returns The event on the same memory.
   * @throws {TypeError} If it is not a handle of a `SharedEvent` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { SharedEvent } from "@sabre/ipc/event";
   * import { assertEquals } from "@std/assert";
   *
   * const event = new SharedEvent();
   * event.set();
   * assertEquals(SharedEvent.from(structuredClone(event)).isSet, true);
   * ```
   */
  static from(value: unknown): SharedEvent {
    const handle = handleOf(value, "SharedEvent", EVENT_WORDS * 4);
    const known = recall(handle, domainOf(handle));
    return known instanceof SharedEvent
      ? known
      : Reflect.construct(SharedEvent, [handle]) as SharedEvent;
  }

  /**
   * Sets the event and releases everyone who waits for it. Nothing happens if it is set. Does not block.
   *
   * @example A pulse
   * ```ts
   * import { SharedEvent } from "@sabre/ipc/event";
   * import { assertEquals } from "@std/assert";
   *
   * const event = new SharedEvent();
   * const waits = [event.wait(), event.wait()];
   * event.set();
   * event.clear();
   * assertEquals(await Promise.all(waits), [true, true]);
   * assertEquals(event.isSet, false);
   * ```
   */
  set(): void {
    set(this.#waits.pulse);
  }

  /**
   * Clears the event: who comes from now on waits. Does not block.
   *
   * @example
   * ```ts
   * import { SharedEvent } from "@sabre/ipc/event";
   * import { assertEquals } from "@std/assert";
   *
   * const event = new SharedEvent();
   * event.set();
   * event.clear();
   * assertEquals(event.waitSync({ timeout: 1 }), false);
   * ```
   */
  clear(): void {
    clear(this.#waits.pulse);
  }

  /**
   * Whether the event is set. Exact when read, possibly old when you look; never waits.
   *
   * @example
   * ```ts
   * import { SharedEvent } from "@sabre/ipc/event";
   * import { assertEquals } from "@std/assert";
   *
   * const event = new SharedEvent();
   * event.set();
   * assertEquals(event.isSet, true);
   * ```
   */
  get isSet(): boolean {
    return isSet(stateOf(this.#waits.pulse));
  }

  /**
   * Waits until the event is set; not at all if it is. Does not block the thread.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns `true` once it was set after the call, or is; `false` if `timeout` passed before.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @throws The signal's reason if it fired.
   * @example
   * ```ts
   * import { SharedEvent } from "@sabre/ipc/event";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(await new SharedEvent().wait({ timeout: 1 }), false);
   * ```
   */
  async wait(options?: WaitOptions): Promise<boolean> {
    const signal = signalOf(options, "wait for SharedEvent");
    const timeout = timeoutOf(options, "wait for SharedEvent");
    const wait = new Wait(this.#waits);
    if (wait.isReady()) return true;
    if (timeout === 0) return false;
    try {
      return await waitAsync(wait.domain, wait, timeout, signal);
    } finally {
      wait.withdraw();
    }
  }

  /**
   * Waits until the event is set, blocking the thread; not at all if it is.
   *
   * @param options How long to wait, in milliseconds.
   * @returns `true` once it was set after the call, or is; `false` if `timeout` passed before.
   * @throws {DOMException} Named `InvalidStateError` on the main thread of a browser, if it would have
   * to wait.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { SharedEvent } from "@sabre/ipc/event";
   * import { assertEquals } from "@std/assert";
   *
   * const event = new SharedEvent();
   * assertEquals(event.waitSync({ timeout: 1 }), false);
   * event.set();
   * assertEquals(event.waitSync(), true);
   * ```
   */
  waitSync(options?: SyncWaitOptions): boolean {
    const timeout = timeoutOf(options, "wait for SharedEvent");
    const wait = new Wait(this.#waits);
    if (wait.isReady()) return true;
    if (timeout === 0) return false;
    try {
      return waitSync(wait.domain, wait, timeout, "wait");
    } finally {
      wait.withdraw();
    }
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return `SharedEvent { isSet: ${this.isSet} }`;
  }
}

/** What one agent's calls at an event have in common. */
interface Waits {
  /** The event, which lives as long as a wait: the one object that counts them. */
  readonly face: SharedEvent;
  readonly pulse: Pulse;
  /** What they wait for. */
  readonly what: What;
  /** How many calls wait. */
  count: number;
}

class Wait implements News {
  readonly domain: Domain;
  readonly #waits: Waits;
  readonly what: What;
  /** The state when the call was made: a set after that is for it. */
  readonly #since: number;
  #isRegistered = false;
  #isOver = false;

  constructor(waits: Waits) {
    this.#waits = waits;
    this.what = waits.what;
    this.domain = waits.pulse.domain;
    this.#since = stateOf(waits.pulse);
  }

  isReady(): boolean {
    return isSet(stateOf(this.#waits.pulse));
  }

  poll(): boolean {
    if (this.#isOver) return true;
    const { pulse } = this.#waits;
    if (!this.#isRegistered) {
      this.#isRegistered = true;
      this.#waits.count++;
      want(pulse);
    }
    return this.#isOver = hasHappened(pulse, this.#since);
  }

  /** Also the end of a wait that is over. May be said again. */
  withdraw(): boolean {
    if (this.#isRegistered) {
      this.#isRegistered = false;
      if (--this.#waits.count === 0) forget(this.#waits.pulse);
    }
    // A set just before it gave up counts.
    return !(this.#isOver ||= hasHappened(this.#waits.pulse, this.#since));
  }
}
