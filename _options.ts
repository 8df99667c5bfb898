// Copyright 2026 the Sabre authors. MIT license.

// What a call may be given beside its value, checked in one place so that every module words a bad
// argument alike.

/**
 * How long a blocking call may wait.
 *
 * @example
 * ```ts
 * import { Queue, type SyncWaitOptions } from "@sabre/ipc";
 * import { assertThrows } from "@std/assert";
 *
 * const options: SyncWaitOptions = { timeout: 5 };
 * assertThrows(() => new Queue().getSync(options), DOMException);
 * ```
 */
export interface SyncWaitOptions {
  /**
   * Milliseconds. Zero or less tries once and never waits.
   *
   * @default {Infinity}
   */
  timeout?: number;
}

/**
 * How long a call may wait, and what may end the wait early.
 *
 * @example
 * ```ts
 * import { Queue, type WaitOptions } from "@sabre/ipc";
 * import { assertRejects } from "@std/assert";
 *
 * const options: WaitOptions = { timeout: 1_000, signal: AbortSignal.abort() };
 * await assertRejects(() => new Queue().get(options), DOMException);
 * ```
 */
export interface WaitOptions extends SyncWaitOptions {
  /** Aborting it rejects the call with the signal's reason; the call then had no effect. */
  signal?: AbortSignal;
}

/** Refuses what is in the place of options and is none, such as a number of milliseconds. */
export function checkOptions(options: unknown, action: string): void {
  if (options === undefined || typeof options === "object") return;
  throw new TypeError(
    `Cannot ${action} as the options must be an object: current value is ${show(options)}`,
  );
}

/** Milliseconds that `options` allow to wait: `Infinity`, or at least 0. */
export function timeoutOf(options: SyncWaitOptions | undefined, action: string): number {
  checkOptions(options, action);
  const timeout = options?.timeout;
  if (timeout === undefined) return Infinity;
  if (typeof timeout !== "number") {
    throw new TypeError(
      `Cannot ${action} as timeout must be a number of milliseconds: current value is ${
        show(timeout)
      }`,
    );
  }
  if (Number.isNaN(timeout)) {
    throw new RangeError(
      `Cannot ${action} as timeout must be a number of milliseconds: current value is NaN`,
    );
  }
  return timeout > 0 ? timeout : 0;
}

/** Whether the error is that of an abort, whose reason can be any error. */
export function isAbort(signal: AbortSignal | undefined, error: unknown): boolean {
  return signal?.aborted === true && error === signal.reason;
}

/** The signal of `options`, after making sure that it has not fired and is one. */
export function signalOf(
  options: WaitOptions | undefined,
  action: string,
): AbortSignal | undefined {
  checkOptions(options, action);
  const signal = options?.signal;
  if (signal === undefined) return undefined;
  if (!(signal instanceof AbortSignal)) {
    throw new TypeError(
      `Cannot ${action} as signal must be an AbortSignal: current value is ${show(signal)}`,
    );
  }
  signal.throwIfAborted();
  return signal;
}

/** `value` if it is an integer of at least 1. */
export function positiveInteger(value: unknown, action: string, name: string): number {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot ${action} as ${name} must be a positive integer: current value is ${show(value)}`,
    );
  }
  if (!Number.isInteger(value) || value < 1) {
    throw new RangeError(
      `Cannot ${action} as ${name} must be a positive integer: current value is ${value}`,
    );
  }
  return value;
}

/** `value` if it is a boolean, `fallback` if it was not given. */
export function booleanOf(
  value: unknown,
  action: string,
  name: string,
  fallback = false,
): boolean {
  if (typeof value === "boolean") return value;
  if (value === undefined) return fallback;
  throw new TypeError(
    `Cannot ${action} as ${name} must be a boolean: current value is ${show(value)}`,
  );
}

/** Whether `options` say that an abandoned lock is to be recovered. */
export function recoverOf(options: { recover?: boolean } | undefined, action: string): boolean {
  return booleanOf(options?.recover, action, "recover");
}

/** The `DOMException` of a call that ran out of time. */
export function timeoutError(action: string, timeout: number): DOMException {
  return new DOMException(`Cannot ${action}: ${timeout} ms passed`, "TimeoutError");
}

/** What is to be iterated, if it can be. */
export function iterableOf<T>(values: T, action: string): T {
  if (
    (typeof values === "object" || typeof values === "string") && values !== null &&
    Symbol.iterator in Object(values)
  ) return values;
  throw new TypeError(
    `Cannot ${action} as an iterable is needed: current value is ${show(values)}`,
  );
}

/** `value` in the few characters that an error message can spare. */
export function show(value: unknown): string {
  switch (typeof value) {
    case "string":
      return value.length > 40 ? `"${value.slice(0, 40)}..."` : `"${value}"`;
    case "bigint":
      return `${value}n`;
    case "function":
      return value.name === "" ? "an anonymous function" : `the function "${value.name}"`;
    case "object":
      return value === null ? "null" : `an object of class ${className(value)}`;
    default:
      return String(value);
  }
}

function className(value: object): string {
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
  return typeof name === "string" && name !== "" ? name : "Object";
}
