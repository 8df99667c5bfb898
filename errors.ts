// Copyright 2026 the Sabre authors. MIT license.

/**
 * The errors that only a package like this one can raise. Everything else is a built-in class: a
 * `TypeError` or `RangeError` for a bad argument, a `DOMException` named `TimeoutError` when time
 * ran out, `DataCloneError` for a value that cannot travel, and the signal's own reason for an abort.
 *
 * @example Tell a closed queue from other failures
 * ```ts
 * import { ClosedError } from "@sabre/ipc/errors";
 * import { Queue } from "@sabre/ipc/queue";
 * import { assert, assertEquals, assertThrows } from "@std/assert";
 *
 * const queue = new Queue<string>();
 * queue.close();
 * const error = assertThrows(() => queue.putSync("late"), ClosedError);
 * assert(error instanceof ClosedError);
 * assertEquals(error.value, "late");
 * ```
 *
 * @module
 */

import { CAUSED } from "./_origin.ts";

/**
 * The queue or connection is closed. Raised by a call that would send into it, or receive from it
 * once nothing is left.
 *
 * @example Get the unsent value back
 * ```ts
 * import { ClosedError } from "@sabre/ipc/errors";
 * import { assertEquals } from "@std/assert";
 *
 * const error = new ClosedError("Cannot put into a closed Queue", { value: 7 });
 * assertEquals(error.value, 7);
 * ```
 */
export class ClosedError extends Error {
  /** Always `"ClosedError"`. */
  override readonly name = "ClosedError";
  /** The value that was not sent; `undefined` when the call was not sending one. */
  readonly value: unknown;

  /**
   * Creates the error.
   *
   * @param message What could not be done and why.
   * @param options The unsent value, and the usual `cause`.
   */
  constructor(message: string, options: ErrorOptions & { value?: unknown } = {}) {
    super(message, options);
    this.value = options.value;
  }
}

/**
 * The agent that held a lock, ran a function or was to answer died first. What the lock guards may
 * be half-changed.
 *
 * @example
 * ```ts
 * import { AbandonedError } from "@sabre/ipc/errors";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(new AbandonedError("Agent 7 died").name, "AbandonedError");
 * ```
 */
export class AbandonedError extends Error {
  /** Always `"AbandonedError"`. */
  override readonly name = "AbandonedError";
}

/**
 * The barrier was broken: by a party that timed out, was aborted, died or was reset while others
 * waited, or by `abort()`.
 *
 * @example
 * ```ts
 * import { BrokenBarrierError } from "@sabre/ipc/errors";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(new BrokenBarrierError("Barrier is broken").name, "BrokenBarrierError");
 * ```
 */
export class BrokenBarrierError extends Error {
  /** Always `"BrokenBarrierError"`. */
  override readonly name = "BrokenBarrierError";
}

/**
 * This agent is being terminated. Thrown by calls that wait, so that `finally` blocks and `using`
 * declarations run before the agent ends.
 *
 * @example
 * ```ts
 * import { TerminatedError } from "@sabre/ipc/errors";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(new TerminatedError("Agent is being terminated").name, "TerminatedError");
 * ```
 */
export class TerminatedError extends Error {
  /** Always `"TerminatedError"`. */
  override readonly name = "TerminatedError";
}

/**
 * The wait could never have ended, because what it waits for is held by the one who would wait, or by
 * agents that are blocked by what that one holds. The message names who holds what.
 *
 * @example A lock is not re-entrant
 * ```ts
 * import { DeadlockError } from "@sabre/ipc/errors";
 * import { Lock } from "@sabre/ipc/lock";
 * import { assertThrows } from "@std/assert";
 *
 * const lock = new Lock();
 * using _guard = lock.acquireSync();
 * assertThrows(() => lock.acquireSync(), DeadlockError);
 * ```
 */
export class DeadlockError extends Error {
  /** Always `"DeadlockError"`. */
  override readonly name = "DeadlockError";
}

/**
 * An error that was thrown in another agent. `cause` is the original, as it arrived here; `stack`
 * shows both sides.
 *
 * @example
 * ```ts
 * import { RemoteError } from "@sabre/ipc/errors";
 * import { assertEquals } from "@std/assert";
 *
 * const original = new RangeError("too far");
 * const error = new RemoteError("Process-1 threw: too far", { cause: original });
 * assertEquals(error.cause, original);
 * ```
 */
export class RemoteError extends Error {
  /** Always `"RemoteError"`. */
  override readonly name = "RemoteError";

  /**
   * Creates the error and appends the stack of its cause to its own.
   *
   * @param message What failed, and in which agent.
   * @param options The original error as `cause`.
   */
  constructor(message: string, options: ErrorOptions = {}) {
    super(message, options);
    const { cause } = options;
    if (cause instanceof Error && typeof cause.stack === "string") {
      this.stack = `${this.stack}${CAUSED}${cause.stack}`;
    }
  }
}
