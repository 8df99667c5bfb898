// Copyright 2026 the Sabre authors. MIT license.

/**
 * Read-write locks: many readers at a time, or one writer.
 *
 * - Whoever reads or writes gets a {@linkcode Guard}; `using` gives it back at the end of the block.
 * - Neither side starves: all wait in one line, in the order in which they came. A writer that waits
 *   makes later readers wait; after it, all readers up to the next writer are served together.
 * - When a writer dies, the lock reports it: reading and writing throw {@linkcode AbandonedError} until
 *   one `write({ recover: true })` gets a guard whose `abandoned` is `true`. Releasing that guard makes
 *   the lock ordinary again. A reader that dies leaves no trace.
 * - The deadlock to know: reading again while holding a read guard, when a writer waits in between. Read
 *   once, and pass the guard on. Of agents that are blocked by each other for ever, in Sync calls
 *   without a `timeout`, one gets a `DeadlockError`, as with a `Lock`; where several readers keep a
 *   writer waiting it may go unnoticed.
 *
 * @example Many readers, one writer
 * ```ts
 * import { RwLock } from "@sabre/ipc/rwlock";
 * import { assertEquals } from "@std/assert";
 *
 * const lock = new RwLock();
 * const first = await lock.read();
 * const second = await lock.read();
 * assertEquals([lock.readers, lock.tryWrite()], [2, undefined]);
 * first.release();
 * second.release();
 * using _writer = await lock.write();
 * assertEquals([lock.writing, lock.tryRead()], [true, undefined]);
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
  recoverOf,
  signalOf,
  type SyncWaitOptions,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";
import { crowd, EVERYTHING, freeNow, initPermits, isPoisoned, PERMITS_WORDS } from "./_permits.ts";
import { type Demand, Sharing } from "./_sharing.ts";
import type { RecoverOptions } from "./lock.ts";

export type { Guard, Handle, RecoverOptions, SyncWaitOptions, WaitOptions };

const READ: Demand = { need: 1, recovers: false, call: "read" };
const WRITE: Demand = { need: EVERYTHING, recovers: false, call: "write" };
const RECOVER: Demand = { need: EVERYTHING, recovers: true, call: "write" };

/**
 * A lock that many may hold for reading, or one for writing.
 *
 * - Any agent may call anything, at any time; calls of one agent are served in their order.
 * - Not re-entrant, and a read guard does not become a write guard: release it first.
 * - An agent that ends with a write guard unreleased has abandoned the lock; one that ends with a read
 *   guard gives it back.
 *
 * @example Read together
 * ```ts
 * import { RwLock } from "@sabre/ipc/rwlock";
 * import { assertEquals } from "@std/assert";
 *
 * const lock = new RwLock();
 * using _one = lock.readSync();
 * using _two = lock.readSync();
 * assertEquals([lock.readers, lock.locked, lock.writing], [2, true, false]);
 * ```
 */
export class RwLock {
  /** What crosses to other agents; see {@linkcode RwLock.from}. */
  readonly handle: Handle;
  readonly #sharing!: Sharing;

  static {
    registerKind("RwLock", (handle) => RwLock.from(handle));
    Object.defineProperty(RwLock.prototype, PRIMITIVE, { value: "RwLock" });
    Object.defineProperty(RwLock.prototype, HOLDINGS, {
      value(this: RwLock): Holdings {
        return this.#sharing.holdings(this.handle);
      },
    });
  }

  /**
   * Creates a lock that nobody holds.
   *
   * @example
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new RwLock().locked, false);
   * ```
   */
  constructor();
  constructor(given?: Handle) {
    const existing = existingOf(given);
    this.handle = existing ?? create();
    const domain = domainOf(this.handle);
    const words = new Int32Array(this.handle.memory);
    this.#sharing = new Sharing(
      "RwLock",
      domain,
      words,
      this.handle.offset / 4,
      this.handle.serial,
    );
    this.#sharing.face = this;
    remember(this.handle, domain, this);
  }

  /**
   * The lock of this agent for a handle, or for what structured clone made of a lock. The same object
   * each time.
   *
   * @param value A lock, its handle, or what arrived of it in a message.
   * @returns The lock on the same memory.
   * @throws {TypeError} If it is not a handle of a `RwLock` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RwLock();
   * using _guard = lock.readSync();
   * assertEquals(RwLock.from(structuredClone(lock)).readers, 1);
   * ```
   */
  static from(value: unknown): RwLock {
    const handle = handleOf(value, "RwLock", PERMITS_WORDS * 4);
    const known = recall(handle, domainOf(handle));
    return known instanceof RwLock ? known : Reflect.construct(RwLock, [handle]) as RwLock;
  }

  /**
   * Acquires the lock for reading, together with other readers. Does not block the thread.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns The guard to release.
   * @throws {AbandonedError} If a writer died and nobody has recovered the lock.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; the lock was not taken.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RwLock();
   * using _guard = await lock.read({ timeout: 1_000 });
   * assertEquals(lock.readers, 1);
   * ```
   */
  async read(options?: WaitOptions): Promise<Guard> {
    const signal = signalOf(options, "read RwLock");
    const timeout = timeoutOf(options, "read RwLock");
    return await this.#sharing.acquire(READ, timeout, signal);
  }

  /**
   * Acquires the lock for reading, blocking the thread while a writer holds it or waits before it.
   *
   * @param options How long to wait, in milliseconds.
   * @returns The guard to release.
   * @throws {AbandonedError} If a writer died and nobody has recovered the lock.
   * @throws {DeadlockError} If this agent holds the lock for writing and no `timeout` is given, or holds
   * it for reading while an earlier `write` of its own waits; or if agents that are blocked like this
   * one wait for each other in a circle.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; the lock was not taken. Named
   * `InvalidStateError` on the main thread of a browser, if it would have to wait.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RwLock();
   * const guard = lock.readSync();
   * assertEquals(guard.held, true);
   * guard.release();
   * ```
   */
  readSync(options?: SyncWaitOptions): Guard {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "read RwLock");
    return this.#sharing.acquireSync(READ, timeout);
  }

  /**
   * Acquires the lock for reading if that needs no wait.
   *
   * @returns The guard to release, or `undefined` if a writer holds the lock or somebody waits for it.
   * @throws {AbandonedError} If a writer died and nobody has recovered the lock.
   * @example
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RwLock();
   * using _guard = lock.writeSync();
   * assertEquals(lock.tryRead(), undefined);
   * ```
   */
  tryRead(): Guard | undefined {
    return this.#sharing.tryAcquire(READ);
  }

  /**
   * Acquires the lock for writing, alone. Does not block the thread.
   *
   * @param options How long to wait, in milliseconds; what may abort the wait; whether to recover.
   * @returns The guard to release.
   * @throws {AbandonedError} If the last writer died and `recover` is not set.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; the lock was not taken.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example Take over after a writer died
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RwLock();
   * using guard = await lock.write({ recover: true });
   * assertEquals(guard.abandoned, false);
   * ```
   */
  async write(options?: WaitOptions & RecoverOptions): Promise<Guard> {
    const signal = signalOf(options, "write RwLock");
    const timeout = timeoutOf(options, "write RwLock");
    return await this.#sharing.acquire(demandOf(options), timeout, signal);
  }

  /**
   * Acquires the lock for writing, blocking the thread while others hold it or wait before it.
   *
   * @param options How long to wait, in milliseconds; whether to recover.
   * @returns The guard to release.
   * @throws {AbandonedError} If the last writer died and `recover` is not set.
   * @throws {DeadlockError} If this agent holds the lock itself, in either way, and no `timeout` is
   * given; or if agents that are blocked like this one wait for each other in a circle.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; the lock was not taken. Named
   * `InvalidStateError` on the main thread of a browser, if it would have to wait.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { DeadlockError } from "@sabre/ipc/errors";
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertThrows } from "@std/assert";
   *
   * const lock = new RwLock();
   * using _reader = lock.readSync();
   * assertThrows(() => lock.writeSync(), DeadlockError);
   * ```
   */
  writeSync(options?: SyncWaitOptions & RecoverOptions): Guard {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "write RwLock");
    return this.#sharing.acquireSync(demandOf(options), timeout);
  }

  /**
   * Acquires the lock for writing if that needs no wait.
   *
   * @param options Whether to recover.
   * @returns The guard to release, or `undefined` if others hold the lock.
   * @throws {AbandonedError} If the last writer died and `recover` is not set.
   * @example
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RwLock();
   * using guard = lock.tryWrite();
   * assertEquals([guard?.held, lock.tryWrite()], [true, undefined]);
   * ```
   */
  tryWrite(options?: RecoverOptions): Guard | undefined {
    return this.#sharing.tryAcquire(demandOf(options));
  }

  /**
   * How many read guards are held. Exact when read, possibly old when you look; never waits.
   *
   * @example
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RwLock();
   * using _guard = lock.readSync();
   * assertEquals(lock.readers, 1);
   * ```
   */
  get readers(): number {
    const free = freeNow(this.#sharing.permits);
    return free === 0 ? 0 : EVERYTHING - free;
  }

  /**
   * Whether somebody holds the lock for writing. Exact when read, possibly old when you look; never
   * waits.
   *
   * @example
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * const lock = new RwLock();
   * using _guard = lock.writeSync();
   * assertEquals(lock.writing, true);
   * ```
   */
  get writing(): boolean {
    return freeNow(this.#sharing.permits) === 0;
  }

  /**
   * Whether somebody holds the lock, in either way. Exact when read, possibly old when you look; never
   * waits.
   *
   * @example
   * ```ts
   * import { RwLock } from "@sabre/ipc/rwlock";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new RwLock().locked, false);
   * ```
   */
  get locked(): boolean {
    return freeNow(this.#sharing.permits) !== EVERYTHING;
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    const { permits } = this.#sharing;
    const { readers, writing } = this;
    const abandoned = isPoisoned(permits) ? "abandoned: true, " : "";
    return `RwLock { readers: ${readers}, writing: ${writing}, ${abandoned}waiting: ${
      crowd(permits)
    } }`;
  }
}

function create(): Handle {
  const handle = createHandle("RwLock", home(), PERMITS_WORDS * 4);
  initPermits(new Int32Array(handle.memory), 0, EVERYTHING, 0, EVERYTHING);
  return handle;
}

function demandOf(options: RecoverOptions | undefined): Demand {
  return recoverOf(options, "write RwLock") ? RECOVER : WRITE;
}
