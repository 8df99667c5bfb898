// Copyright 2026 the Sabre authors. MIT license.

/**
 * Queues: bounded first-in first-out buffers between any number of agents.
 *
 * - One order for everybody: if `put(a)` returned before `put(b)` began, `a` is got before `b`.
 * - `put` waits while the queue is full, `get` while it is empty; waiters are served in the order in
 *   which they came. Each call has three forms: a promise, a `Sync` form that blocks the thread, and
 *   a `try` form that never waits.
 * - Items are values: encoded when put. No item is lost, doubled or torn, whoever dies or gives up.
 * - `close()` is for everybody: later puts throw {@linkcode ClosedError}, gets drain what is left and
 *   then throw it, loops end.
 * - The deadlock to know: an agent that both puts and gets, blocking, can wait for room that only it
 *   could make.
 *
 * @example Produce and consume
 * ```ts
 * import { Queue } from "@sabre/ipc/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<number>({ maxItems: 2 });
 * const producer = (async () => {
 *   for (let i = 0; i < 5; i++) await queue.put(i);
 *   queue.close();
 * })();
 * const got: number[] = [];
 * for await (const item of queue) got.push(item);
 * await producer;
 * assertEquals(got, [0, 1, 2, 3, 4]);
 * ```
 *
 * @module
 */

import { type Domain, home, slotOf, unpark } from "./_agent.ts";
import { EMPTY, emptyQueue, END, Getting } from "./_getting.ts";
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
  checkOptions,
  iterableOf,
  positiveInteger,
  signalOf,
  type SyncWaitOptions,
  timeoutError,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";
import { closedQueue, Putting } from "./_putting.ts";
import { type RunArray, targetOf } from "./_record.ts";
import { isRingSize, ringWords } from "./_ring.ts";
import {
  closeStore,
  finishOne,
  forgetZero,
  initStore,
  isClosed,
  isFull,
  limitsOf,
  sizeOf,
  type Store,
  STORE_WORDS,
  storeAt,
  unfinishedOf,
  wantZero,
  zerosOf,
} from "./_store.ts";
import { whatOf } from "./_report.ts";
import { NEWS, type News, waitAsync, type Waiter, waitSync } from "./_wait.ts";
import { ClosedError } from "./errors.ts";
import type { Received } from "./pipe.ts";

export type { Handle, Received, RunArray, SyncWaitOptions, WaitOptions };

/** Largest item that can be put, in bytes: what the overflow memory may grow to. */
const MAX_OVERFLOW = 2 ** 31;
/** Words of the smallest record of a value: what `full` asks for. */
const SMALL = 2;

/**
 * How a queue is made.
 *
 * @example
 * ```ts
 * import { Queue, type QueueOptions } from "@sabre/ipc/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const options: QueueOptions = { maxItems: 1 };
 * const queue = new Queue<number>(options);
 * assertEquals([queue.tryPut(1), queue.tryPut(2)], [true, false]);
 * ```
 */
export interface QueueOptions {
  /**
   * How many items it holds at the most.
   *
   * @default {Infinity}
   */
  maxItems?: number;
  /**
   * Bytes of storage, rounded up to a power of two. A larger item is handed over directly: `put` then
   * resolves once somebody takes it.
   *
   * @default {65536}
   */
  capacity?: number;
}

/**
 * A bounded first-in first-out buffer for many producers and many consumers.
 *
 * - `maxItems` bounds the items; `capacity` is bytes of storage, not items.
 * - Any agent may call anything, at any time; calls of one agent take effect in their order.
 * - A consumer that dies before its `get` returned leaves the item for another one; a producer that
 *   dies before its `put` returned leaves no trace, or a whole item.
 * - `size`, `empty`, `full` and `unfinished` are exact when read, and never wait.
 * - `taskDone()` and `join()` tell when everything that was put has also been worked off.
 *
 * @typeParam T The type of the items.
 * @example Put and get
 * ```ts
 * import { Queue } from "@sabre/ipc/queue";
 * import { assertEquals } from "@std/assert";
 *
 * using queue = new Queue<string>();
 * await queue.put("hello");
 * assertEquals(queue.getSync(), "hello");
 * ```
 */
export class Queue<T = unknown> implements AsyncIterable<T>, Iterable<T>, Disposable {
  /** What crosses to other agents; see {@linkcode Queue.from}. */
  readonly handle: Handle;
  readonly #domain: Domain;
  readonly #store: Store;
  readonly #putting: Putting;
  readonly #getting: Getting;
  readonly #maxItems: number;
  #joins = 0;

  static {
    registerKind("Queue", (handle) => Queue.from(handle));
    Object.defineProperty(Queue.prototype, PRIMITIVE, { value: "Queue" });
    Object.defineProperty(Queue.prototype, NEWS, {
      value(this: Queue): News {
        return this.#getting.news();
      },
    });
  }

  /**
   * Creates an empty queue.
   *
   * @param options How many items and how many bytes it holds.
   * @throws {RangeError} If `maxItems` or `capacity` is not a positive integer, or `capacity` is above
   * 2^30.
   * @throws {TypeError} If one of them is not a number, or the options are no object.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Queue({ maxItems: 10 }).maxItems, 10);
   * ```
   */
  constructor(options?: QueueOptions);
  constructor(options?: QueueOptions, given?: Handle) {
    const existing = existingOf(given);
    this.handle = existing ?? create(options);
    this.#domain = domainOf(this.handle);
    const words = new Int32Array(this.handle.memory);
    const overflow = this.handle.overflow!;
    this.#store = storeAt(this.#domain, words);
    this.#putting = new Putting(this.#store, overflow);
    this.#getting = new Getting(this.#store, overflow);
    this.#putting.calls.what = whatOf("Queue", this.handle.serial, "put");
    this.#getting.calls.what = whatOf("Queue", this.handle.serial, "get");
    this.#maxItems = limitsOf(words).maxItems || Infinity;
    remember(this.handle, this.#domain, this);
  }

  /**
   * The queue of this agent for a handle, or for what structured clone made of a queue. The same
   * object each time.
   *
   * @typeParam T The type of the items.
   * @param value A queue, its handle, or what arrived of it in a message.
   * @returns The queue on the same memory.
   * @throws {TypeError} If it is not a handle of a `Queue` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putSync(1);
   * assertEquals(Queue.from<number>(structuredClone(queue)).getSync(), 1);
   * ```
   */
  static from<T = unknown>(value: unknown): Queue<T> {
    const handle = handleOf(value, "Queue", STORE_WORDS * 4);
    const { size, maxItems } = limitsOf(new Int32Array(handle.memory, 0, STORE_WORDS));
    const bytes = (STORE_WORDS + size) * 4;
    if (
      handle.memory.byteLength !== bytes || handle.offset !== 0 || !isRingSize(size) ||
      maxItems < 0 || !(handle.overflow instanceof SharedArrayBuffer) ||
      !handle.overflow.growable || handle.overflow.maxByteLength !== MAX_OVERFLOW
    ) {
      throw new TypeError(
        `Cannot attach Queue: its memory has ${handle.memory.byteLength} bytes instead of ${bytes}, or lacks its overflow`,
      );
    }
    const known = recall(handle, domainOf(handle));
    return known instanceof Queue
      ? known
      : Reflect.construct(Queue, [undefined, handle]) as Queue<T>;
  }

  // -- Putting ---------------------------------------------------------------------------------

  /**
   * Puts an item at the end, waiting for room while the queue is full. Any agent may call it, many at
   * once. Does not block the thread.
   *
   * @param value The item; encoded before this returns, so that later changes are not seen.
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns Resolves once the item is stored, and visible to every agent.
   * @throws {ClosedError} If the queue is closed; `value` is the item.
   * @throws {DOMException} Named `DataCloneError` if the value cannot travel, `TimeoutError` if
   * `timeout` passed; nothing was put.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number[]>();
   * const item = [1];
   * const put = queue.put(item);
   * item.push(2);
   * await put;
   * assertEquals(await queue.get(), [1]);
   * ```
   */
  async put(value: T, options?: WaitOptions): Promise<void> {
    const signal = signalOf(options, "put into Queue");
    const timeout = timeoutOf(options, "put into Queue");
    const putting = this.#putting;
    if (putting.tryPut(value)) return;
    await putting.calls.run(putting.putCall(value, false), timeout, signal, "put into Queue");
  }

  /**
   * Puts an item at the end, blocking the thread while the queue is full.
   *
   * @param value The item.
   * @param options How long to wait, in milliseconds.
   * @throws {ClosedError} If the queue is closed; `value` is the item.
   * @throws {DOMException} Named `DataCloneError` if the value cannot travel, `TimeoutError` if
   * `timeout` passed, `InvalidStateError` if it would have to block the main thread of a browser;
   * nothing was put.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<Map<string, Date>>();
   * queue.putSync(new Map([["epoch", new Date(0)]]));
   * assertEquals(queue.getSync().get("epoch"), new Date(0));
   * ```
   */
  putSync(value: T, options?: SyncWaitOptions): void {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "put into Queue");
    const putting = this.#putting;
    if (putting.tryPut(value)) return;
    const call = putting.putCall(value, true);
    if (timeout > 0 && !putting.isTooLarge()) putting.spin();
    putting.calls.runSync(call, timeout, "put into Queue", "put");
  }

  /**
   * Puts an item at the end if there is room for it now.
   *
   * @param value The item.
   * @returns Whether it was put: `false` means that the queue is full.
   * @throws {ClosedError} If the queue is closed; `value` is the item.
   * @throws {RangeError} If the item is larger than the whole storage.
   * @throws {DOMException} Named `DataCloneError` if the value cannot travel.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>({ maxItems: 1 });
   * assertEquals([queue.tryPut(1), queue.tryPut(2)], [true, false]);
   * ```
   */
  tryPut(value: T): boolean {
    const putting = this.#putting;
    if (putting.tryPut(value)) return true;
    if (this.closed) throw closedQueue(value);
    if (putting.isTooLarge()) {
      throw new RangeError(
        `Cannot put into Queue without waiting as the item is larger than the storage: that has ${
          (this.#store.ring.mask + 1) * 4
        } bytes`,
      );
    }
    return false;
  }

  /**
   * Puts many items, as so many calls of `put` would. Does not block the thread. Reads the input at
   * most one item ahead.
   *
   * @param values The items; of a typed array each element is one, and they travel in bulk.
   * @param options How long to wait in all, in milliseconds, and what may abort the wait.
   * @returns How many went through: all, unless the time ran out, the signal fired or the queue was
   * closed after at least one had.
   * @throws What `put` throws, if not even the first went through; what reading the input or encoding
   * an item throws, after the items before it went through.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * assertEquals(await queue.putMany([1, 2, 3]), 3);
   * assertEquals(await queue.getMany(10), [1, 2, 3]);
   * ```
   */
  async putMany(values: Iterable<T> | RunArray, options?: WaitOptions): Promise<number> {
    const signal = signalOf(options, "put into Queue");
    const timeout = timeoutOf(options, "put into Queue");
    const putting = this.#putting;
    const call = putting.putManyCall(iterableOf(values, "put into Queue"));
    await putting.calls.run(call, timeout, signal, "put into Queue");
    return call.count;
  }

  /**
   * Puts many items, blocking the thread while the queue is full.
   *
   * @param values The items; of a typed array each element is one, and they travel in bulk.
   * @param options How long to wait in all, in milliseconds.
   * @returns How many went through, as for {@linkcode Queue.putMany}.
   * @throws What `putSync` throws, if not even the first went through; what reading the input or
   * encoding an item throws, after the items before it went through.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * assertEquals(queue.putManySync(new Int16Array([1, 2])), 2);
   * assertEquals(queue.size, 2);
   * ```
   */
  putManySync(values: Iterable<T> | RunArray, options?: SyncWaitOptions): number {
    const timeout = timeoutOf(options, "put into Queue");
    const putting = this.#putting;
    const call = putting.putManyCall(iterableOf(values, "put into Queue"));
    putting.calls.runSync(call, timeout, "put into Queue", "putMany");
    return call.count;
  }

  // -- Getting ---------------------------------------------------------------------------------

  /**
   * Takes the oldest item, waiting for one while the queue is empty. Any agent may call it, many at
   * once. Does not block the thread.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns The item.
   * @throws {ClosedError} If the queue is closed and nothing is left in it.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; no item was taken.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * const item = queue.get({ timeout: 1_000 });
   * queue.putSync(1);
   * assertEquals(await item, 1);
   * ```
   */
  async get(options?: WaitOptions): Promise<T> {
    const signal = signalOf(options, "get from Queue");
    const timeout = timeoutOf(options, "get from Queue");
    const getting = this.#getting;
    const item = getting.tryGet();
    if (item === END) throw emptyQueue();
    if (item !== EMPTY) return item as T;
    const call = getting.getCall();
    await getting.calls.run(call, timeout, signal, "get from Queue");
    return call.value as T;
  }

  /**
   * Takes the oldest item, blocking the thread while the queue is empty.
   *
   * @param options How long to wait, in milliseconds.
   * @returns The item.
   * @throws {ClosedError} If the queue is closed and nothing is left in it.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed, `InvalidStateError` if it would
   * have to block the main thread of a browser; no item was taken.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertThrows } from "@std/assert";
   *
   * assertThrows(() => new Queue().getSync({ timeout: 1 }), DOMException, "1 ms passed");
   * ```
   */
  getSync(options?: SyncWaitOptions): T {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "get from Queue");
    const getting = this.#getting;
    let item = getting.tryGet();
    if (item === EMPTY && timeout > 0 && getting.calls.waiting.length === 0) {
      getting.spin();
      item = getting.tryGet();
    }
    if (item === END) throw emptyQueue();
    if (item !== EMPTY) return item as T;
    const call = getting.getCall();
    getting.calls.runSync(call, timeout, "get from Queue", "get");
    return call.value as T;
  }

  /**
   * Takes the oldest item if there is one now.
   *
   * @returns The item, or whether there is none yet or none any more.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<null>();
   * queue.putSync(null);
   * queue.close();
   * assertEquals(queue.tryGet(), { state: "ok", value: null });
   * assertEquals(queue.tryGet(), { state: "closed" });
   * ```
   */
  tryGet(): Received<T> {
    const item = this.#getting.tryGet();
    if (item === EMPTY) return { state: "empty" };
    if (item === END) return { state: "closed" };
    return { state: "ok", value: item as T };
  }

  /**
   * Takes up to `max` items: waits for the first, then takes what is there. Does not block the thread.
   *
   * @param max How many at the most.
   * @param options How long to wait for the first, in milliseconds, and what may abort the wait.
   * @returns At least one item.
   * @throws {RangeError} If `max` is not a positive integer.
   * @throws What `get` throws.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putManySync([1, 2, 3]);
   * assertEquals(await queue.getMany(2), [1, 2]);
   * ```
   */
  async getMany(max: number, options?: WaitOptions): Promise<T[]> {
    const signal = signalOf(options, "get from Queue");
    const timeout = timeoutOf(options, "get from Queue");
    positiveInteger(max, "get from Queue", "max");
    const call = this.#getting.getManyCall(max);
    await this.#getting.calls.run(call, timeout, signal, "get from Queue");
    return call.values as T[];
  }

  /**
   * Takes up to `max` items, blocking the thread while the queue is empty.
   *
   * @param max How many at the most.
   * @param options How long to wait for the first, in milliseconds.
   * @returns At least one item.
   * @throws {RangeError} If `max` is not a positive integer.
   * @throws What `getSync` throws.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putManySync([1, 2, 3]);
   * assertEquals(queue.getManySync(10), [1, 2, 3]);
   * ```
   */
  getManySync(max: number, options?: SyncWaitOptions): T[] {
    const timeout = timeoutOf(options, "get from Queue");
    positiveInteger(max, "get from Queue", "max");
    const call = this.#getting.getManyCall(max);
    this.#getting.calls.runSync(call, timeout, "get from Queue", "getMany");
    return call.values as T[];
  }

  /**
   * Takes numbers, or bigints, into an array: waits for the first, then takes what is there. Does not
   * block the thread.
   *
   * @param target What to fill; the numbers are converted as a typed array does.
   * @param options How long to wait for the first, in milliseconds, and what may abort the wait.
   * @returns How many were taken, at least one. An item that is not a number ends the call before it,
   * and stays.
   * @throws {RangeError} If the target is empty.
   * @throws {TypeError} If the first item is not a number (for arrays of bigints: a bigint), or the
   * target was detached meanwhile; the item stays.
   * @throws What `get` throws.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putManySync([1, 2]);
   * const target = new Float64Array(4);
   * assertEquals([await queue.getManyInto(target), target[1]], [2, 2]);
   * ```
   */
  async getManyInto(target: RunArray, options?: WaitOptions): Promise<number> {
    const signal = signalOf(options, "get from Queue");
    const timeout = timeoutOf(options, "get from Queue");
    const plain = targetOf(target, "get from Queue");
    const call = this.#getting.getManyIntoCall(plain);
    await this.#getting.calls.run(call, timeout, signal, "get from Queue");
    return call.count;
  }

  /**
   * Takes numbers, or bigints, into an array, blocking the thread while the queue is empty.
   *
   * @param target What to fill; the numbers are converted as a typed array does.
   * @param options How long to wait for the first, in milliseconds.
   * @returns How many were taken, at least one.
   * @throws What `getManyInto` rejects with.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putSync(1);
   * assertEquals(queue.getManyIntoSync(new Int32Array(2)), 1);
   * ```
   */
  getManyIntoSync(target: RunArray, options?: SyncWaitOptions): number {
    const timeout = timeoutOf(options, "get from Queue");
    const plain = targetOf(target, "get from Queue");
    const call = this.#getting.getManyIntoCall(plain);
    this.#getting.calls.runSync(call, timeout, "get from Queue", "getManyInto");
    return call.count;
  }

  // -- Working off -----------------------------------------------------------------------------

  /**
   * Says that an item that was taken is worked off. Any agent may say it of any item. Does not block.
   *
   * @throws {RangeError} If it is said more often than items were taken.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals, assertThrows } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putSync(1);
   * assertThrows(() => queue.taskDone(), RangeError);
   * queue.getSync();
   * queue.taskDone();
   * assertEquals(queue.unfinished, 0);
   * ```
   */
  taskDone(): void {
    if (finishOne(this.#store)) return;
    throw new RangeError("Cannot call taskDone more often than items were taken");
  }

  /**
   * Waits until all items that were put are worked off. Does not block the thread.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns Resolves once `unfinished` is 0, or was in between.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putSync(1);
   * const joined = queue.join();
   * queue.getSync();
   * queue.taskDone();
   * await joined;
   * assertEquals(queue.unfinished, 0);
   * ```
   */
  async join(options?: WaitOptions): Promise<void> {
    const signal = signalOf(options, "join Queue");
    const timeout = timeoutOf(options, "join Queue");
    if (this.unfinished === 0) return;
    using wait = this.#joinWait();
    if (timeout > 0 && await waitAsync(this.#domain, wait, timeout, signal)) return;
    throw timeoutError("join Queue", timeout);
  }

  /**
   * Waits until all items that were put are worked off, blocking the thread.
   *
   * @param options How long to wait, in milliseconds.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed, `InvalidStateError` if it would
   * have to block the main thread of a browser.
   * @throws {TerminatedError} If this agent is being terminated and would have to wait.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertThrows } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.joinSync();
   * queue.putSync(1);
   * assertThrows(() => queue.joinSync({ timeout: 1 }), DOMException);
   * ```
   */
  joinSync(options?: SyncWaitOptions): void {
    const timeout = timeoutOf(options, "join Queue");
    if (this.unfinished === 0) return;
    using wait = this.#joinWait();
    if (waitSync(this.#domain, wait, timeout, "join")) return;
    throw timeoutError("join Queue", timeout);
  }

  /**
   * How many items were put and not worked off, whether they were taken or not. Never waits.
   *
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putSync(1);
   * queue.getSync();
   * assertEquals(queue.unfinished, 1);
   * ```
   */
  get unfinished(): number {
    return unfinishedOf(this.#store);
  }

  // -- State -----------------------------------------------------------------------------------

  /**
   * How many items are in the queue. Never waits.
   *
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putManySync([1, 2]);
   * assertEquals(queue.size, 2);
   * ```
   */
  get size(): number {
    return sizeOf(this.#store);
  }

  /**
   * How many items the queue holds at the most; `Infinity` without a limit.
   *
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Queue().maxItems, Infinity);
   * ```
   */
  get maxItems(): number {
    return this.#maxItems;
  }

  /**
   * Whether there is no item in the queue. Never waits.
   *
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Queue().empty, true);
   * ```
   */
  get empty(): boolean {
    return this.size === 0;
  }

  /**
   * Whether `tryPut` of a small item would be refused now. Never waits.
   *
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>({ maxItems: 1 });
   * queue.putSync(1);
   * assertEquals(queue.full, true);
   * ```
   */
  get full(): boolean {
    return !this.#putting.calls.isFree() || isFull(this.#store, SMALL);
  }

  /**
   * Closes the queue for everybody: whoever puts, or waits to put, gets `ClosedError`; what is in the
   * queue can still be got. Idempotent, does not block.
   *
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putSync(1);
   * queue.close();
   * assertEquals([...queue], [1]);
   * ```
   */
  close(): void {
    if (this.closed) return;
    closeStore(this.#store);
    // Calls of this agent that found no place in line.
    unpark(this.#domain, this.#domain.id);
  }

  /**
   * Whether the queue was closed, by whomever. Never waits.
   *
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new Queue().closed, false);
   * ```
   */
  get closed(): boolean {
    return isClosed(this.#store);
  }

  /**
   * Closes the queue, at the end of a `using` block.
   *
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * let kept: Queue;
   * {
   *   using queue = new Queue();
   *   kept = queue;
   * }
   * assertEquals(kept.closed, true);
   * ```
   */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Takes items until the queue is closed and empty, blocking the thread while it is only empty.
   * Leaving the loop leaves the queue open.
   *
   * @returns An iterator of the items.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putManySync([1, 2]);
   * queue.close();
   * assertEquals([...queue], [1, 2]);
   * ```
   */
  *[Symbol.iterator](): IterableIterator<T> {
    for (;;) {
      let item: T;
      try {
        item = this.getSync();
      } catch (error) {
        if (error instanceof ClosedError) return;
        throw error;
      }
      yield item;
    }
  }

  /**
   * Takes items until the queue is closed and empty, without blocking the thread. Leaving the loop
   * leaves the queue open.
   *
   * @returns An iterator of the items.
   * @example
   * ```ts
   * import { Queue } from "@sabre/ipc/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * queue.putManySync([1, 2]);
   * queue.close();
   * assertEquals(await Array.fromAsync(queue), [1, 2]);
   * ```
   */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<T> {
    for (;;) {
      let item: T;
      try {
        item = await this.get();
      } catch (error) {
        if (error instanceof ClosedError) return;
        throw error;
      }
      yield item;
    }
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    const { size, maxItems, unfinished, closed } = this;
    return `Queue { size: ${size}, maxItems: ${maxItems}, unfinished: ${unfinished}, closed: ${closed} }`;
  }

  #joinWait(): Waiter & Disposable {
    const store = this.#store;
    const slot = slotOf(this.#domain.id);
    const zeros = zerosOf(store);
    const isOver = () => unfinishedOf(store) === 0 || zerosOf(store) !== zeros;
    this.#joins++;
    return {
      poll() {
        if (isOver()) return true;
        wantZero(store, slot);
        return isOver();
      },
      withdraw: () => true,
      what: whatOf("Queue", this.handle.serial, "join"),
      [Symbol.dispose]: () => {
        if (--this.#joins === 0) forgetZero(store, slot);
      },
    };
  }
}

function create(options: QueueOptions | undefined): Handle {
  checkOptions(options, "create Queue");
  const capacity = options?.capacity === undefined
    ? 65_536
    : positiveInteger(options.capacity, "create Queue", "capacity");
  const maxItems = options?.maxItems === undefined || options.maxItems === Infinity
    ? 0
    : positiveInteger(options.maxItems, "create Queue", "maxItems");
  if (maxItems >= 2 ** 31) {
    throw new RangeError(
      `Cannot create Queue as maxItems must be below 2^31: current value is ${maxItems}`,
    );
  }
  const size = ringWords(capacity, "create Queue");
  const handle = createHandle("Queue", home(), (STORE_WORDS + size) * 4);
  initStore(new Int32Array(handle.memory), size, maxItems);
  const overflow = new SharedArrayBuffer(0, { maxByteLength: MAX_OVERFLOW });
  return { ...handle, overflow };
}
