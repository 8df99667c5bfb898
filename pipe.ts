// Copyright 2026 the Sabre authors. MIT license.

/**
 * Pipes: a connection between exactly two agents, each of which has one end.
 *
 * - Messages are values: encoded when sent, received in the order in which they were sent.
 * - An end belongs to the first agent that uses it, or to the process it was passed to. Use by a
 *   second agent while that one lives is a `TypeError`.
 * - `send` waits while the storage is full, `receive` while it is empty. Each call has three forms:
 *   a promise, a `Sync` form that blocks the thread, and a `try` form that never waits.
 * - After the other end closed, or its agent died, what was sent before is still received; then
 *   `receive` throws {@linkcode ClosedError} and iteration ends.
 * - The deadlock to know: two agents that both send more than the storage holds before either
 *   receives wait for each other.
 *
 * @example Ask and answer
 * ```ts
 * import { pipe } from "@sabre/ipc/pipe";
 * import { assertEquals } from "@std/assert";
 *
 * const [here, there] = pipe<string>();
 * await here.send("ping");
 * assertEquals(await there.receive(), "ping");
 * there.close();
 * ```
 *
 * @module
 */

import { type Domain, home, isAlive, nameOf, pidOf } from "./_agent.ts";
import {
  CHANNEL_WORDS,
  isReaderClosed,
  isWriterClosed,
  leaveIndex,
  readerOf,
  type Side,
  takeIndex,
  writerOf,
} from "./_channel.ts";
import {
  createHandle,
  domainOf,
  GIVE,
  type Handle,
  handleOf,
  recall,
  registerKind,
  remember,
} from "./_handle.ts";
import { PRIMITIVE } from "./_primitive.ts";
import {
  booleanOf,
  checkOptions,
  iterableOf,
  positiveInteger,
  show,
  signalOf,
  type SyncWaitOptions,
  timeoutOf,
  type WaitOptions,
} from "./_options.ts";
import type { Call, Calls } from "./_calls.ts";
import { EMPTY, Receiver } from "./_receiver.ts";
import { type RunArray, runType, targetOf } from "./_record.ts";
import { damaged, isRingSize, ringAt, ringWords } from "./_ring.ts";
import { Sender } from "./_sender.ts";
import { whatOf } from "./_report.ts";
import { plainArray } from "./_views.ts";
import { NEWS, type News } from "./_wait.ts";
import { ClosedError, DeadlockError } from "./errors.ts";

export type { Handle, RunArray, SyncWaitOptions, WaitOptions };

// Word layout of a pipe, in Int32 units.
//
//   0 header of the handle | 8 OWNER[2] | 10 DUPLEX | 11 SIZE | 32 channel[2] | 289 ring[1 or 2]
//
// Channel 0 and its ring lead from end 0 to end 1, channel 1 from end 1 to end 0. A simplex pipe has
// the latter only, with the ring in the first place.
const OWNER = 8; // id of the agent that owns the end, 0: nobody yet. By CAS; goes on when passed
const DUPLEX = 10; // 1 or 0, written once before anybody else has the memory
const SIZE = 11; // words of each ring, likewise
const CHANNELS = 32;
const RINGS = CHANNELS + 2 * CHANNEL_WORDS + 1; // odd, as a ring wants it

/**
 * What a `try` form of a receiving call answers: a value, nothing yet, or nothing ever again.
 *
 * @typeParam T The type of the values.
 * @example
 * ```ts
 * import { pipe, type Received } from "@sabre/ipc/pipe";
 * import { assertEquals } from "@std/assert";
 *
 * const [here, there] = pipe<number>();
 * const before: Received<number> = there.tryReceive();
 * here.trySend(1);
 * assertEquals([before, there.tryReceive()], [{ state: "empty" }, { state: "ok", value: 1 }]);
 * ```
 */
export type Received<T> =
  | { state: "ok"; value: T }
  | { state: "empty" }
  | { state: "closed" };

/**
 * How a pipe is made.
 *
 * @example
 * ```ts
 * import { pipe, type PipeOptions } from "@sabre/ipc/pipe";
 * import { assertThrows } from "@std/assert";
 *
 * const options: PipeOptions = { duplex: false };
 * const [receiver] = pipe(options);
 * assertThrows(() => receiver.sendSync(1), TypeError);
 * ```
 */
export interface PipeOptions {
  /**
   * Whether messages go both ways. If not, the first end only receives and the second only sends.
   *
   * @default {true}
   */
  duplex?: boolean;
  /**
   * Bytes of storage for each direction, rounded up to a power of two. A larger message is sent in
   * pieces, while the other end receives it.
   *
   * @default {65536}
   */
  capacity?: number;
}

/**
 * Creates a pipe and returns its two ends. Does not block.
 *
 * @typeParam A What the first end sends and the second receives.
 * @typeParam B What the second end sends and the first receives.
 * @param options Whether it goes both ways, and how much it stores, in bytes.
 * @returns The two ends, of which each belongs to the first agent that uses it.
 * @throws {RangeError} If `capacity` is not a positive integer, or above 2^30.
 * @throws {TypeError} If `capacity` is not a number, `duplex` no boolean, or the options are no object.
 * @example
 * ```ts
 * import { pipe } from "@sabre/ipc/pipe";
 * import { assertEquals } from "@std/assert";
 *
 * const [here, there] = pipe<string, number>();
 * here.sendSync("three");
 * there.sendSync(3);
 * assertEquals([there.receiveSync(), here.receiveSync()], ["three", 3]);
 * ```
 */
export function pipe<A = unknown, B = A>(
  options?: PipeOptions,
): [Connection<A, B>, Connection<B, A>] {
  checkOptions(options, "create pipe");
  const capacity = options?.capacity === undefined
    ? 65_536
    : positiveInteger(options.capacity, "create pipe", "capacity");
  const size = ringWords(capacity, "create pipe");
  const duplex = booleanOf(options?.duplex, "create pipe", "duplex", true);
  const first = createHandle(
    "Connection",
    home(),
    (RINGS + (duplex ? 2 : 1) * size) * 4,
  );
  const words = new Int32Array(first.memory);
  // Nobody else has the memory yet.
  Atomics.store(words, DUPLEX, duplex ? 1 : 0);
  Atomics.store(words, SIZE, size);
  return [
    Connection.from<A, B>(first),
    Connection.from<B, A>({ ...first, detail: 1 }),
  ];
}

/**
 * One end of a pipe.
 *
 * - What one end sends the other receives, in the same order, each message once.
 * - Belongs to one agent: the first that uses it, or the process that it was passed to.
 * - Calls of that agent take effect in the order in which they are made, whichever form they have.
 * - `close()` ends both directions for this end; the other one still receives what was sent.
 * - A message larger than the storage is sent in pieces: `send` resolves when the last is stored.
 *
 * @typeParam Out The type of what is sent.
 * @typeParam In The type of what is received.
 * @example Send from a promise, receive in a loop
 * ```ts
 * import { pipe } from "@sabre/ipc/pipe";
 * import { assertEquals } from "@std/assert";
 *
 * const [here, there] = pipe<number>();
 * await here.sendMany([1, 2, 3]);
 * here.close();
 * const got: number[] = [];
 * for await (const value of there) got.push(value);
 * assertEquals(got, [1, 2, 3]);
 * ```
 */
export class Connection<Out, In> implements Disposable, AsyncIterable<In>, Iterable<In> {
  /** What crosses to other agents; see {@linkcode Connection.from}. */
  readonly handle: Handle;
  readonly #domain: Domain;
  readonly #words: Int32Array;
  readonly #end: number;
  #owned = false;
  #closed = false;
  #sender: Sender | undefined;
  #receiver: Receiver | undefined;
  #readable: ReadableStream<In> | undefined;
  #writable: WritableStream<Out> | undefined;

  static {
    registerKind("Connection", (handle) => Connection.from(handle));
    Object.defineProperty(Connection.prototype, PRIMITIVE, { value: "Connection" });
    Object.defineProperty(Connection.prototype, GIVE, {
      value(this: Connection<unknown, unknown>, child: number): () => void {
        return this.#give(child);
      },
    });
    Object.defineProperty(Connection.prototype, NEWS, {
      value(this: Connection<unknown, unknown>): News {
        return this.#toReceive("select").news();
      },
    });
  }

  /** Ends are made by {@linkcode pipe} and {@linkcode Connection.from}. */
  private constructor(handle: Handle) {
    this.handle = handle;
    this.#domain = domainOf(handle);
    this.#words = new Int32Array(handle.memory);
    this.#end = handle.detail as number;
    this.#closed = this.#wasClosed();
    remember(handle, this.#domain, this);
  }

  /**
   * The end of this agent for a handle, or for what structured clone made of an end. The same object
   * each time. Using it is what makes it this agent's.
   *
   * @typeParam Out The type of what is sent.
   * @typeParam In The type of what is received.
   * @param value A connection, its handle, or what arrived of it in a message.
   * @returns The end on the same memory.
   * @throws {TypeError} If it is not a handle of a `Connection` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { Connection, pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<string>();
   * here.sendSync("hello");
   * assertEquals(Connection.from(structuredClone(there)).receiveSync(), "hello");
   * ```
   */
  static from<Out = unknown, In = unknown>(value: unknown): Connection<Out, In> {
    const handle = handleOf(value, "Connection", RINGS * 4);
    const words = new Int32Array(handle.memory, 0, RINGS);
    const duplex = Atomics.load(words, DUPLEX);
    const size = Atomics.load(words, SIZE);
    const bytes = (RINGS + (1 + duplex) * size) * 4;
    if (
      handle.memory.byteLength !== bytes || handle.offset !== 0 || !isRingSize(size) ||
      (duplex !== 0 && duplex !== 1)
    ) {
      throw new TypeError(
        `Cannot attach Connection: its memory has ${handle.memory.byteLength} bytes instead of ${bytes}`,
      );
    }
    if (handle.detail !== 0 && handle.detail !== 1) {
      throw new TypeError(
        `Cannot attach Connection: there is no end ${show(handle.detail)} of a pipe`,
      );
    }
    const known = recall(handle, domainOf(handle));
    return known instanceof Connection ? known : new Connection<Out, In>(handle);
  }

  // -- Sending ---------------------------------------------------------------------------------

  /**
   * Sends a message, waiting for room while the storage is full. Does not block the thread.
   *
   * @param value What to send; encoded before this returns, so that later changes are not seen.
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns Resolves once the message is stored, and visible to the other end.
   * @throws {ClosedError} If either end is closed; `value` is the unsent one.
   * @throws {DOMException} Named `DataCloneError` if the value cannot travel, `TimeoutError` if
   * `timeout` passed; nothing was sent.
   * @throws {TypeError} If the end belongs to another agent or only receives.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe();
   * await here.send({ id: 1 }, { timeout: 1_000 });
   * assertEquals(await there.receive(), { id: 1 });
   * ```
   */
  async send(value: Out, options?: WaitOptions): Promise<void> {
    const signal = signalOf(options, "send");
    const timeout = timeoutOf(options, "send");
    const sender = this.#toSend("send", value);
    if (sender.trySend(value)) return;
    await sender.calls.run(sender.sendCall(value, false), timeout, signal, "send");
  }

  /**
   * Sends a message, blocking the thread while the storage is full.
   *
   * @param value What to send.
   * @param options How long to wait, in milliseconds.
   * @throws {ClosedError} If either end is closed; `value` is the unsent one.
   * @throws {DeadlockError} If only this agent could make room, and no `timeout` is given.
   * @throws {DOMException} Named `DataCloneError` if the value cannot travel, `TimeoutError` if
   * `timeout` passed, `InvalidStateError` if it would have to block the main thread of a browser;
   * nothing was sent.
   * @throws {TypeError} If the end belongs to another agent or only receives.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe();
   * here.sendSync([1, undefined, -0]);
   * assertEquals(there.receiveSync(), [1, undefined, -0]);
   * ```
   */
  sendSync(value: Out, options?: SyncWaitOptions): void {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "send");
    const sender = this.#toSend("send", value);
    if (sender.trySend(value)) return;
    const call = sender.sendCall(value, true);
    this.#assertNoDeadlock(timeout, call, sender.calls, "send");
    if (!sender.isTooLarge()) sender.spin();
    sender.calls.runSync(call, timeout, "send", "send");
  }

  /**
   * Sends a message if there is room for it now.
   *
   * @param value What to send.
   * @returns Whether it was sent: `false` means no room just now.
   * @throws {ClosedError} If either end is closed; `value` is the unsent one.
   * @throws {RangeError} If the message is larger than the whole storage, less the 12 bytes that may go with
   * it.
   * @throws {DOMException} Named `DataCloneError` if the value cannot travel.
   * @throws {TypeError} If the end belongs to another agent or only receives.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>({ capacity: 64 });
   * let sent = 0;
   * while (here.trySend(sent)) sent++;
   * assertEquals(there.receiveSync(), 0);
   * assertEquals(here.trySend(sent), true);
   * ```
   */
  trySend(value: Out): boolean {
    const sender = this.#toSend("send", value);
    if (sender.trySend(value)) return true;
    if (sender.isPeerGone) {
      throw new ClosedError("Cannot send: the other end is closed", { value });
    }
    if (sender.isTooLarge()) {
      throw new RangeError(
        `Cannot send without waiting as the message is larger than the storage: that takes up to ${sender.longest} bytes at once`,
      );
    }
    return false;
  }

  /**
   * Sends many messages, as so many calls of `send` would. Does not block the thread. Reads the input
   * at most one item ahead.
   *
   * @param values The messages; of a typed array each element is one, and they travel in bulk.
   * @param options How long to wait in all, in milliseconds, and what may abort the wait.
   * @returns How many went through: all, unless the time ran out, the signal fired or the other end
   * closed after at least one had.
   * @throws What `send` throws, if not even the first went through; what reading the input or encoding
   * an item throws, after the items before it went through.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * assertEquals(await here.sendMany(new Float64Array([0.5, 1.5])), 2);
   * assertEquals(await there.receiveMany(10), [0.5, 1.5]);
   * ```
   */
  async sendMany(values: Iterable<Out> | RunArray, options?: WaitOptions): Promise<number> {
    const signal = signalOf(options, "send");
    const timeout = timeoutOf(options, "send");
    const sender = this.#toSend("send", undefined);
    const call = sender.sendManyCall(iterableOf(values, "send"));
    await sender.calls.run(call, timeout, signal, "send");
    return call.count;
  }

  /**
   * Sends many messages, blocking the thread while the storage is full.
   *
   * @param values The messages; of a typed array each element is one, and they travel in bulk.
   * @param options How long to wait in all, in milliseconds.
   * @returns How many went through, as for {@linkcode Connection.sendMany}.
   * @throws What `sendSync` throws, if not even the first went through; what reading the input or
   * encoding an item throws, after the items before it went through.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<string>();
   * assertEquals(here.sendManySync(["a", "b"]), 2);
   * assertEquals(there.receiveManySync(2), ["a", "b"]);
   * ```
   */
  sendManySync(values: Iterable<Out> | RunArray, options?: SyncWaitOptions): number {
    const timeout = timeoutOf(options, "send");
    const sender = this.#toSend("send", undefined);
    const type = runType(iterableOf(values, "send"));
    if (type !== undefined) {
      const run = plainArray(values as RunArray);
      let sent = sender.trySendRun(run, type);
      if (sent === 0 && timeout > 0) {
        sender.spin();
        sent = sender.trySendRun(run, type);
      }
      if (sent > 0) return sent;
    }
    const call = sender.sendManyCall(values);
    this.#assertNoDeadlock(timeout, call, sender.calls, "send");
    sender.calls.runSync(call, timeout, "send", "sendMany");
    return call.count;
  }

  /**
   * Sends bytes as they are, with no encoding. Does not block the thread.
   *
   * @param bytes The message; copied before this returns.
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns Resolves once the message is stored.
   * @throws What `send` throws; a `TypeError` also if it is not a `Uint8Array`.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<Uint8Array>();
   * await here.sendBytes(new Uint8Array([1, 2]));
   * assertEquals(await there.receiveBytes(), new Uint8Array([1, 2]));
   * ```
   */
  async sendBytes(bytes: Uint8Array, options?: WaitOptions): Promise<void> {
    const signal = signalOf(options, "send bytes");
    const timeout = timeoutOf(options, "send bytes");
    const sender = this.#toSend("send bytes", checkBytes(bytes, "send bytes"));
    if (sender.trySendBytes(bytes)) return;
    await sender.calls.run(sender.sendCall(bytes, false), timeout, signal, "send bytes");
  }

  /**
   * Sends bytes as they are, blocking the thread while the storage is full.
   *
   * @param bytes The message.
   * @param options How long to wait, in milliseconds.
   * @throws What `sendSync` throws; a `TypeError` also if it is not a `Uint8Array`.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<Uint8Array>();
   * here.sendBytesSync(new TextEncoder().encode("hi"));
   * assertEquals(new TextDecoder().decode(there.receiveBytesSync()), "hi");
   * ```
   */
  sendBytesSync(bytes: Uint8Array, options?: SyncWaitOptions): void {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "send bytes");
    const sender = this.#toSend("send bytes", checkBytes(bytes, "send bytes"));
    if (sender.trySendBytes(bytes)) return;
    const call = sender.sendCall(bytes, true);
    this.#assertNoDeadlock(timeout, call, sender.calls, "send bytes");
    if (!sender.isTooLarge()) sender.spin();
    sender.calls.runSync(call, timeout, "send bytes", "sendBytes");
  }

  // -- Receiving -------------------------------------------------------------------------------

  /**
   * Receives the next message, waiting for one while there is none. Does not block the thread.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns The message.
   * @throws {ClosedError} If this end is closed, or the other one is and nothing is left.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed; nothing was taken.
   * @throws {TypeError} If the end belongs to another agent or only sends.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * const answer = there.receive();
   * await here.send(42);
   * assertEquals(await answer, 42);
   * ```
   */
  async receive(options?: WaitOptions): Promise<In> {
    const signal = signalOf(options, "receive");
    const timeout = timeoutOf(options, "receive");
    const receiver = this.#toReceive("receive");
    const message = receiver.tryReceive();
    if (message !== EMPTY) return message as In;
    const call = receiver.receiveCall();
    await receiver.calls.run(call, timeout, signal, "receive");
    return call.value as In;
  }

  /**
   * Receives the next message, blocking the thread while there is none.
   *
   * @param options How long to wait, in milliseconds.
   * @returns The message.
   * @throws {ClosedError} If this end is closed, or the other one is and nothing is left.
   * @throws {DeadlockError} If only this agent could send something, and no `timeout` is given.
   * @throws {DOMException} Named `TimeoutError` if `timeout` passed, `InvalidStateError` if it would
   * have to block the main thread of a browser; nothing was taken.
   * @throws {TypeError} If the end belongs to another agent or only sends.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<string>();
   * here.sendSync("hello");
   * assertEquals(there.receiveSync({ timeout: 1_000 }), "hello");
   * ```
   */
  receiveSync(options?: SyncWaitOptions): In {
    const timeout = options === undefined ? Infinity : timeoutOf(options, "receive");
    const receiver = this.#toReceive("receive");
    let message = receiver.tryReceive();
    if (message !== EMPTY) return message as In;
    if (timeout > 0) {
      receiver.spin();
      message = receiver.tryReceive();
      if (message !== EMPTY) return message as In;
    }
    const call = receiver.receiveCall();
    this.#assertNoDeadlock(timeout, call, receiver.calls, "receive");
    receiver.calls.runSync(call, timeout, "receive", "receive");
    return call.value as In;
  }

  /**
   * Receives the next message if one is there now.
   *
   * @returns The message, or whether there is none yet or none any more.
   * @throws {TypeError} If the end belongs to another agent or only sends.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe();
   * here.sendSync(undefined);
   * here.close();
   * assertEquals(there.tryReceive(), { state: "ok", value: undefined });
   * assertEquals(there.tryReceive(), { state: "closed" });
   * ```
   */
  tryReceive(): Received<In> {
    if (this.#closed) return { state: "closed" };
    const receiver = this.#toReceive("receive");
    const message = receiver.tryReceive();
    if (message !== EMPTY) return { state: "ok", value: message as In };
    return {
      state: receiver.calls.waiting.length === 0 && receiver.isAtEnd() ? "closed" : "empty",
    };
  }

  /**
   * Receives up to `max` messages: waits for the first, then takes what is there. Does not block the
   * thread.
   *
   * @param max How many at the most.
   * @param options How long to wait for the first, in milliseconds, and what may abort the wait.
   * @returns At least one message.
   * @throws {RangeError} If `max` is not a positive integer.
   * @throws What `receive` throws.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * here.sendManySync([1, 2, 3]);
   * assertEquals(await there.receiveMany(2), [1, 2]);
   * ```
   */
  async receiveMany(max: number, options?: WaitOptions): Promise<In[]> {
    const signal = signalOf(options, "receive");
    const timeout = timeoutOf(options, "receive");
    positiveInteger(max, "receive", "max");
    const receiver = this.#toReceive("receive");
    const call = receiver.receiveManyCall(max);
    await receiver.calls.run(call, timeout, signal, "receive");
    return call.values as In[];
  }

  /**
   * Receives up to `max` messages, blocking the thread while there is none.
   *
   * @param max How many at the most.
   * @param options How long to wait for the first, in milliseconds.
   * @returns At least one message.
   * @throws {RangeError} If `max` is not a positive integer.
   * @throws What `receiveSync` throws.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * here.sendManySync([1, 2, 3]);
   * assertEquals(there.receiveManySync(10), [1, 2, 3]);
   * ```
   */
  receiveManySync(max: number, options?: SyncWaitOptions): In[] {
    const timeout = timeoutOf(options, "receive");
    positiveInteger(max, "receive", "max");
    const receiver = this.#toReceive("receive");
    const call = receiver.receiveManyCall(max);
    this.#assertNoDeadlock(timeout, call, receiver.calls, "receive");
    if (timeout > 0 && !call.hasEnded && !receiver.isReady()) receiver.spin();
    receiver.calls.runSync(call, timeout, "receive", "receiveMany");
    return call.values as In[];
  }

  /**
   * Receives numbers, or bigints, into an array: waits for the first, then takes what is there. Does
   * not block the thread.
   *
   * @param target What to fill; the numbers are converted as a typed array does.
   * @param options How long to wait for the first, in milliseconds, and what may abort the wait.
   * @returns How many were received, at least one. A message that is not a number ends the call
   * before it, and stays.
   * @throws {RangeError} If the target is empty.
   * @throws {TypeError} If the first message is not a number (for arrays of bigints: a bigint), or the
   * target was detached meanwhile; the message stays.
   * @throws What `receive` throws.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * here.sendManySync(new Int32Array([1, 2, 3]));
   * const target = new Int32Array(8);
   * assertEquals(await there.receiveManyInto(target), 3);
   * assertEquals(target.slice(0, 3), new Int32Array([1, 2, 3]));
   * ```
   */
  async receiveManyInto(target: RunArray, options?: WaitOptions): Promise<number> {
    const signal = signalOf(options, "receive");
    const timeout = timeoutOf(options, "receive");
    const plain = targetOf(target, "receive");
    const receiver = this.#toReceive("receive");
    const call = receiver.receiveManyIntoCall(plain);
    await receiver.calls.run(call, timeout, signal, "receive");
    return call.count;
  }

  /**
   * Receives numbers, or bigints, into an array, blocking the thread while there is none.
   *
   * @param target What to fill; the numbers are converted as a typed array does.
   * @param options How long to wait for the first, in milliseconds.
   * @returns How many were received, at least one.
   * @throws What `receiveManyInto` rejects with.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * here.sendSync(1);
   * assertEquals(there.receiveManyIntoSync(new Float64Array(2)), 1);
   * ```
   */
  receiveManyIntoSync(target: RunArray, options?: SyncWaitOptions): number {
    const timeout = timeoutOf(options, "receive");
    const plain = targetOf(target, "receive");
    const receiver = this.#toReceive("receive");
    let count = receiver.tryReceiveManyInto(plain);
    if (count > 0) return count;
    if (timeout > 0) {
      receiver.spin();
      count = receiver.tryReceiveManyInto(plain);
      if (count > 0) return count;
    }
    const call = receiver.receiveManyIntoCall(plain);
    this.#assertNoDeadlock(timeout, call, receiver.calls, "receive");
    receiver.calls.runSync(call, timeout, "receive", "receiveManyInto");
    return call.count;
  }

  /**
   * Receives the next message, which must be bytes. Does not block the thread.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns The bytes.
   * @throws {TypeError} If the message is not a `Uint8Array`; it stays.
   * @throws What `receive` throws.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<Uint8Array>();
   * here.sendSync(new Uint8Array([7]));
   * assertEquals(await there.receiveBytes(), new Uint8Array([7]));
   * ```
   */
  async receiveBytes(options?: WaitOptions): Promise<Uint8Array> {
    const signal = signalOf(options, "receive bytes");
    const timeout = timeoutOf(options, "receive bytes");
    const receiver = this.#toReceive("receive bytes");
    const call = receiver.receiveBytesCall();
    await receiver.calls.run(call, timeout, signal, "receive bytes");
    return call.value as Uint8Array;
  }

  /**
   * Receives the next message, which must be bytes, blocking the thread while there is none.
   *
   * @param options How long to wait, in milliseconds.
   * @returns The bytes.
   * @throws {TypeError} If the message is not a `Uint8Array`; it stays.
   * @throws What `receiveSync` throws.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertThrows } from "@std/assert";
   *
   * const [here, there] = pipe();
   * here.sendSync("text");
   * assertThrows(() => there.receiveBytesSync(), TypeError);
   * ```
   */
  receiveBytesSync(options?: SyncWaitOptions): Uint8Array {
    const timeout = timeoutOf(options, "receive bytes");
    const receiver = this.#toReceive("receive bytes");
    let bytes = receiver.tryReceiveBytes();
    if (bytes === EMPTY && timeout > 0) {
      receiver.spin();
      bytes = receiver.tryReceiveBytes();
    }
    if (bytes !== EMPTY) return bytes;
    const call = receiver.receiveBytesCall();
    this.#assertNoDeadlock(timeout, call, receiver.calls, "receive bytes");
    receiver.calls.runSync(call, timeout, "receive bytes", "receiveBytes");
    return call.value as Uint8Array;
  }

  /**
   * Receives the next message, which must be bytes, into memory of the caller. Does not block the
   * thread.
   *
   * @param target Where the bytes go, from its beginning.
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns How many bytes the message has.
   * @throws {RangeError} If the target is too small; the message stays.
   * @throws {TypeError} If the message is not a `Uint8Array`; it stays.
   * @throws What `receive` throws.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<Uint8Array>();
   * here.sendBytesSync(new Uint8Array([1, 2, 3]));
   * assertEquals(await there.receiveBytesInto(new Uint8Array(16)), 3);
   * ```
   */
  async receiveBytesInto(target: Uint8Array, options?: WaitOptions): Promise<number> {
    const signal = signalOf(options, "receive bytes");
    const timeout = timeoutOf(options, "receive bytes");
    const bytes = plainArray(checkBytes(target, "receive bytes"));
    const receiver = this.#toReceive("receive bytes");
    const call = receiver.receiveBytesIntoCall(bytes, false);
    await receiver.calls.run(call, timeout, signal, "receive bytes");
    return call.value as number;
  }

  /**
   * Receives the next message, which must be bytes, into memory of the caller, blocking the thread
   * while there is none. Without a timeout, a message that is larger than the storage may go there as it
   * comes: what the target then holds beyond the bytes received, or after an error, is not defined.
   *
   * @param target Where the bytes go, from its beginning.
   * @param options How long to wait, in milliseconds.
   * @returns How many bytes the message has.
   * @throws What `receiveBytesInto` rejects with.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals, assertThrows } from "@std/assert";
   *
   * const [here, there] = pipe<Uint8Array>();
   * here.sendBytesSync(new Uint8Array(3));
   * assertThrows(() => there.receiveBytesIntoSync(new Uint8Array(2)), RangeError);
   * assertEquals(there.receiveBytesIntoSync(new Uint8Array(3)), 3);
   * ```
   */
  receiveBytesIntoSync(target: Uint8Array, options?: SyncWaitOptions): number {
    const timeout = timeoutOf(options, "receive bytes");
    const bytes = plainArray(checkBytes(target, "receive bytes"));
    const receiver = this.#toReceive("receive bytes");
    // A call whose time runs out must leave the target as it was.
    const isLent = timeout === Infinity;
    try {
      let length = receiver.tryReceiveBytesInto(bytes, isLent);
      if (length === EMPTY && timeout > 0) {
        receiver.spin();
        length = receiver.tryReceiveBytesInto(bytes, isLent);
      }
      if (length !== EMPTY) return length;
      const call = receiver.receiveBytesIntoCall(bytes, isLent);
      this.#assertNoDeadlock(timeout, call, receiver.calls, "receive bytes");
      receiver.calls.runSync(call, timeout, "receive bytes", "receiveBytesInto");
      return call.value as number;
    } finally {
      receiver.giveBack();
    }
  }

  /**
   * Waits until there is something to receive: a message, or the end. Consumes nothing. Does not block
   * the thread.
   *
   * @param options How long to wait, in milliseconds, and what may abort the wait.
   * @returns `false` if `timeout` passed.
   * @throws {ClosedError} If this end is closed, or given away meanwhile.
   * @throws {TypeError} If the end belongs to another agent or only sends.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * assertEquals(await there.poll({ timeout: 0 }), false);
   * here.close();
   * assertEquals(await there.poll(), true);
   * ```
   */
  async poll(options?: WaitOptions): Promise<boolean> {
    const signal = signalOf(options, "poll");
    const timeout = timeoutOf(options, "poll");
    const receiver = this.#toReceive("poll");
    return await receiver.poll(timeout, signal);
  }

  /**
   * Waits until there is something to receive, a message or the end, blocking the thread. Consumes
   * nothing.
   *
   * @param options How long to wait, in milliseconds.
   * @returns `false` if `timeout` passed.
   * @throws {ClosedError} If this end is closed, or given away meanwhile.
   * @throws {TypeError} If the end belongs to another agent or only sends.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * here.sendSync(1);
   * assertEquals([there.pollSync(), there.receiveSync()], [true, 1]);
   * ```
   */
  pollSync(options?: SyncWaitOptions): boolean {
    const timeout = timeoutOf(options, "poll");
    return this.#toReceive("poll").pollSync(timeout);
  }

  // -- Life ------------------------------------------------------------------------------------

  /**
   * The messages as a stream. The same object each time. Cancelling it closes this end.
   *
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * here.sendManySync([1, 2]);
   * here.close();
   * assertEquals(await Array.fromAsync(there.readable), [1, 2]);
   * ```
   */
  get readable(): ReadableStream<In> {
    return this.#readable ??= new ReadableStream<In>({
      pull: async (controller) => {
        try {
          controller.enqueue(await this.receive());
        } catch (error) {
          if (!(error instanceof ClosedError)) throw error;
          controller.close();
        }
      },
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  /**
   * A stream whose chunks are sent. The same object each time. Closing it closes this end.
   *
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<string>();
   * await ReadableStream.from(["a", "b"]).pipeTo(here.writable);
   * assertEquals([...there], ["a", "b"]);
   * ```
   */
  get writable(): WritableStream<Out> {
    return this.#writable ??= new WritableStream<Out>({
      // An abort does not wait for a write that waits for room.
      write: (value, { signal }) => this.send(value, { signal }),
      close: () => this.close(),
      abort: () => this.close(),
    });
  }

  /**
   * Closes this end for both directions. Calls of this agent that wait at it end with `ClosedError`;
   * the other end still receives what was sent. Idempotent, does not block.
   *
   * Without effect on the connection when this end was passed to another agent.
   *
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * here.sendSync(1);
   * here.close();
   * assertEquals([here.closed, there.closed, there.receiveSync()], [true, false, 1]);
   * ```
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#owned && !this.#take()) return;
    this.#attach();
    const errorFor = (value: unknown) =>
      new ClosedError("Cannot go on: this end of the pipe was closed", { value });
    this.#sender?.close();
    this.#receiver?.close();
    this.#sender?.calls.fail(errorFor);
    this.#receiver?.calls.fail(errorFor);
  }

  /**
   * Whether this end was closed. It stays `false` when only the other end was.
   *
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here] = pipe();
   * assertEquals(here.closed, false);
   * ```
   */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Closes this end, at the end of a `using` block.
   *
   * @example
   * ```ts
   * import { type Connection, pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * let kept: Connection<unknown, unknown>;
   * {
   *   using here = pipe()[0];
   *   kept = here;
   * }
   * assertEquals(kept.closed, true);
   * ```
   */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Receives until the end, blocking the thread while there is nothing. Leaving the loop leaves the
   * connection open.
   *
   * @returns An iterator of the messages.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * here.sendManySync([1, 2]);
   * here.close();
   * assertEquals([...there], [1, 2]);
   * ```
   */
  *[Symbol.iterator](): IterableIterator<In> {
    while (!this.#closed) {
      let value: In;
      try {
        value = this.receiveSync();
      } catch (error) {
        if (error instanceof ClosedError) return;
        throw error;
      }
      yield value;
    }
  }

  /**
   * Receives until the end, without blocking the thread. Leaving the loop leaves the connection open.
   *
   * @returns An iterator of the messages.
   * @example
   * ```ts
   * import { pipe } from "@sabre/ipc/pipe";
   * import { assertEquals } from "@std/assert";
   *
   * const [here, there] = pipe<number>();
   * here.sendManySync([1, 2]);
   * for await (const value of there) if (value === 1) break;
   * assertEquals(there.receiveSync(), 2);
   * ```
   */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<In> {
    while (!this.#closed) {
      let value: In;
      try {
        value = await this.receive();
      } catch (error) {
        if (error instanceof ClosedError) return;
        throw error;
      }
      yield value;
    }
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    const owner = this.#owner();
    const whose = owner === 0
      ? "unused"
      : owner === this.#domain.id
      ? "mine"
      : describe(this, owner);
    return `Connection { end: ${this.#end}, owner: ${whose}, closed: ${this.#closed} }`;

    function describe(self: Connection<Out, In>, id: number): string {
      const life = isAlive(self.#domain, id) ? "" : " (dead)";
      return `agent ${pidOf(id)}${life}`;
    }
  }

  #toSend(action: string, value: unknown): Sender {
    if (!this.#owned || this.#closed) this.#claim(action, value);
    if (this.#sender === undefined) {
      throw new TypeError(`Cannot ${action}: this end of the pipe only receives`);
    }
    return this.#sender;
  }

  #toReceive(action: string): Receiver {
    if (!this.#owned || this.#closed) this.#claim(action, undefined);
    if (this.#receiver === undefined) {
      throw new TypeError(`Cannot ${action}: this end of the pipe only sends`);
    }
    return this.#receiver;
  }

  #claim(action: string, value: unknown): void {
    if (this.#closed) {
      throw new ClosedError(`Cannot ${action}: this end of the pipe is closed`, { value });
    }
    if (!this.#take()) {
      const owner = this.#owner();
      if (!isAlive(this.#domain, owner)) {
        throw new ClosedError(`Cannot ${action}: agent ${pidOf(owner)}, which had this end, died`, {
          value,
        });
      }
      throw new TypeError(
        `Cannot ${action}: this end of the pipe belongs to agent ${pidOf(owner)} ("${
          nameOf(this.#domain, owner)
        }")`,
      );
    }
    this.#attach();
  }

  /** Makes the end this agent's, if it is nobody's. Returns whether it is this agent's. */
  #take(): boolean {
    const { id } = this.#domain;
    const owner = Atomics.compareExchange(this.#words, OWNER + this.#end, 0, id);
    return owner === 0 || owner === id;
  }

  /** Whether this agent has closed the end by an object that it has no more. */
  #wasClosed(): boolean {
    if (this.#owner() !== this.#domain.id) return false;
    const isSender = Atomics.load(this.#words, DUPLEX) === 1 || this.#end === 1;
    return isSender
      ? isWriterClosed(this.#words, CHANNELS + this.#end * CHANNEL_WORDS)
      : isReaderClosed(this.#words, CHANNELS + (1 - this.#end) * CHANNEL_WORDS);
  }

  #owner(): number {
    return Atomics.load(this.#words, OWNER + this.#end);
  }

  /** Picks the positions up where the last owner left them. For the owner only. */
  #attach(): void {
    if (this.#owned) return;
    this.#owned = true;
    const duplex = Atomics.load(this.#words, DUPLEX) === 1;
    const peer = OWNER + 1 - this.#end;
    if (duplex || this.#end === 1) {
      this.#sender = new Sender(this.#side(writerOf, this.#end, peer, duplex));
      this.#sender.calls.what = whatOf("Connection", this.handle.serial, "send");
    }
    if (duplex || this.#end === 0) {
      this.#receiver = new Receiver(this.#side(readerOf, 1 - this.#end, peer, duplex), this);
      takeIndex(this.#receiver.side);
      this.#receiver.calls.what = whatOf("Connection", this.handle.serial, "receive");
    }
  }

  #side(open: typeof writerOf, channel: number, peer: number, duplex: boolean): Side {
    const words = this.#words;
    const size = Atomics.load(words, SIZE);
    const start = RINGS + (duplex ? channel : 0) * size;
    // Once more: it was looked at when this end was made.
    if (!isRingSize(size) || start + size > words.length) throw damaged("read");
    const ring = ringAt(words, start, size);
    return open(this.#domain, words, ring, CHANNELS + channel * CHANNEL_WORDS, peer);
  }

  #give(child: number): () => void {
    const owned = this.#owned;
    if (this.#closed) throw new ClosedError("Cannot pass this end of a pipe: it is closed");
    if (
      owned &&
      ((this.#sender?.calls.waiting.length ?? 0) > 0 ||
        (this.#receiver?.calls.waiting.length ?? 0) > 0)
    ) {
      throw new TypeError("Cannot pass this end of a pipe: calls wait at it");
    }
    if (this.#receiver?.isHalfway) {
      throw new TypeError("Cannot pass this end of a pipe: a message is half received");
    }
    if (this.#receiver !== undefined) leaveIndex(this.#receiver.side);
    // It is this agent's also if it was given to it and not used so far.
    const from = this.#owner() === this.#domain.id ? this.#domain.id : 0;
    const owner = Atomics.compareExchange(this.#words, OWNER + this.#end, from, child);
    if (owner !== from) {
      throw new TypeError(
        `Cannot pass this end of a pipe: it belongs to agent ${pidOf(owner)} ("${
          nameOf(this.#domain, owner)
        }")`,
      );
    }
    this.#owned = false;
    this.#sender?.end();
    this.#receiver?.end();
    this.#sender = this.#receiver = undefined;
    return () => {
      Atomics.compareExchange(this.#words, OWNER + this.#end, child, from);
    };
  }

  /** A wait that only this blocked agent could end is no wait. */
  #assertNoDeadlock(timeout: number, call: Call, calls: Calls, action: string): void {
    if (timeout !== Infinity) return;
    const { id } = this.#domain;
    if (Atomics.load(this.#words, OWNER + 1 - this.#end) !== id || calls.attempt(call)) return;
    throw new DeadlockError(
      `Cannot ${action}: this agent has both ends of the pipe and would wait for itself`,
    );
  }
}

function checkBytes(bytes: unknown, action: string): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes;
  throw new TypeError(
    `Cannot ${action} as a Uint8Array is needed: current value is ${show(bytes)}`,
  );
}
