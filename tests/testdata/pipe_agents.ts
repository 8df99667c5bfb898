// Copyright 2026 the Sabre authors. MIT license.

// What the workers of `pipe_test.ts` do. Each gets what structured clone makes of an end of a pipe.

import { home } from "../../_agent.ts";
import { Connection } from "../../pipe.ts";
import { digestOf, mixedValue, patternOf, randomOf, textOf } from "../_helpers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

/** Ends a worker that waits for what never comes, so that a failed test can end. */
const LIMIT = { timeout: 20_000 };

/** Makes every kind of call on an end that another agent has; returns the errors. */
export async function useForeign(clone: unknown): Promise<string[]> {
  const end = Connection.from<Any, Any>(clone);
  const bytes = new Uint8Array(1);
  const calls: (() => unknown)[] = [
    () => end.trySend(1),
    () => end.sendSync(1),
    () => end.send(1),
    () => end.sendManySync([1]),
    () => end.sendBytesSync(bytes),
    () => end.tryReceive(),
    () => end.receiveSync(),
    () => end.receive(),
    () => end.receiveManySync(1),
    () => end.receiveManyIntoSync(bytes),
    () => end.receiveBytesSync(),
    () => end.receiveBytesIntoSync(bytes),
    () => end.pollSync(),
    () => [...end],
  ];
  const errors: string[] = [];
  for (const call of calls) {
    try {
      errors.push(`no error: ${await call()}`);
    } catch (error) {
      errors.push(String(error));
    }
  }
  // Without effect, as it is not this agent's.
  end.close();
  return errors;
}

/** Makes the end this agent's, if it is nobody's. Says whether it is. */
export function claim(clone: unknown): boolean {
  try {
    Connection.from<Any, Any>(clone).tryReceive();
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

/**
 * Receives bytes into an array full of nines. Says who waits for them, and what has come of it; then, if
 * that was an error, receives them with calls that do not wait, while the array is full of eights.
 */
export function receiveInto(
  clone: unknown,
  timeout: number,
  gate: Int32Array,
): { error: string; target: Uint8Array; next: unknown } {
  const end = Connection.from<Any, Any>(clone);
  const target = new Uint8Array(300).fill(9);
  end.tryReceive();
  Atomics.store(gate, 0, home().id);
  Atomics.notify(gate, 0);
  let error = "";
  try {
    return {
      error,
      target: target.subarray(0, end.receiveBytesIntoSync(target, { timeout })),
      next: 0,
    };
  } catch (reason) {
    error = (reason as Error).name;
  }
  const found = target.slice();
  target.fill(8);
  Atomics.store(gate, 1, 1);
  Atomics.notify(gate, 1);
  for (const start = Date.now(); Date.now() - start < LIMIT.timeout;) {
    const next = end.tryReceive();
    if (next.state !== "empty") return { error, target: found, next };
  }
  throw new Error("nothing came");
}

/** Sends patterns of many lengths, some of which it gives up; returns the numbers of the others. */
export async function sendPatterns(clone: unknown, seed: number, count: number): Promise<number[]> {
  using end = Connection.from<Any, Any>(clone);
  const random = randomOf(seed);
  const sent: number[] = [];
  for (let number = 0; number < count; number++) {
    const bytes = patternOf(number, Math.floor(random() * (number % 2 === 0 ? 60 : 1_900)));
    const timeout = random() < 0.5 ? LIMIT.timeout : random();
    try {
      if (random() < 0.7) end.sendBytesSync(bytes, { timeout });
      else await end.sendBytes(bytes, { timeout });
      sent.push(number);
    } catch (error) {
      if ((error as Error).name !== "TimeoutError") throw error;
    }
  }
  return sent;
}

/** Uses an end once. */
export function echoOnce(clone: unknown, close: boolean): void {
  const end = Connection.from<Any, Any>(clone);
  const next = end.tryReceive();
  if (next.state === "ok") end.sendSync(next.value);
  if (close) end.close();
}

/** Sends back whatever comes, until the other end closes. */
export async function echo(clone: unknown, how: string): Promise<void> {
  using end = Connection.from<Any, Any>(clone);
  if (how === "iterate") {
    for await (const value of end) await end.send(value, LIMIT);
  } else if (how === "iterateSync") {
    for (const value of end) end.sendSync(value, LIMIT);
  } else if (how === "streams") {
    await end.readable.pipeTo(end.writable);
  } else {
    try {
      for (;;) {
        if (how === "sync") end.sendSync(end.receiveSync(LIMIT), LIMIT);
        else await end.send(await end.receive(LIMIT), LIMIT);
      }
    } catch (error) {
      if ((error as Error).name !== "ClosedError") throw error;
    }
  }
}

export async function sendMixed(clone: unknown, count: number): Promise<void> {
  using end = Connection.from<Any, Any>(clone);
  for (let i = 0; i < count; i++) {
    if (i % 1_000 === 0) await end.send(mixedValue(i), LIMIT);
    else end.sendSync(mixedValue(i), LIMIT);
  }
}

/** Whether the values are those of `sendMixed`, in order; returns how many came. */
export async function checkMixed(clone: unknown): Promise<number> {
  using end = Connection.from<Any, Any>(clone);
  let i = 0;
  // Texts are slow to make: the first of each thousand are compared so, the rest by encoding again.
  for await (const values of batches(end)) {
    for (const value of values) {
      const wanted = mixedValue(i);
      const same = typeof wanted === "object" && wanted !== null
        ? textOf(value) === textOf(wanted)
        : Object.is(value, wanted);
      if (!same) throw new Error(`value ${i} is ${textOf(value)}`);
      i++;
    }
  }
  return i;
}

async function* batches(end: Connection<Any, Any>): AsyncGenerator<unknown[]> {
  for (let round = 0;; round++) {
    try {
      yield round % 3 === 0
        ? await end.receiveMany(100, LIMIT)
        : round % 3 === 1
        ? end.receiveManySync(7, LIMIT)
        : [end.receiveSync(LIMIT)];
    } catch (error) {
      if ((error as Error).name === "ClosedError") return;
      throw error;
    }
  }
}

/** Sends the numbers below `count`, in every form of batch. */
export async function sendBatches(clone: unknown, count: number): Promise<void> {
  using end = Connection.from<Any, Any>(clone);
  let sent = 0;
  for (let round = 0; sent < count; round++) {
    const length = Math.min(count - sent, 1 + round * 17 % 300);
    const numbers = Array.from({ length }, (_, i) => sent + i);
    switch (round % 5) {
      case 0:
        sent += await end.sendMany(numbers, LIMIT);
        break;
      case 1:
        sent += end.sendManySync(new Int32Array(numbers), LIMIT);
        break;
      case 2:
        sent += await end.sendMany(new Float64Array(numbers), LIMIT);
        break;
      case 3:
        sent += end.sendManySync(new Set(numbers), LIMIT);
        break;
      default:
        end.sendSync(sent++, LIMIT);
    }
  }
}

/** Whether they come in order, in every form of batch; returns how many came. */
export async function checkBatches(clone: unknown): Promise<number> {
  using end = Connection.from<Any, Any>(clone);
  let next = 0;
  const ints = new Int32Array(100);
  const floats = new Float64Array(33);
  try {
    for (let round = 0;; round++) {
      let got: Iterable<number>;
      switch (round % 5) {
        case 0:
          got = await end.receiveMany(50, LIMIT);
          break;
        case 1:
          got = ints.subarray(0, end.receiveManyIntoSync(ints, LIMIT));
          break;
        case 2:
          got = floats.subarray(0, await end.receiveManyInto(floats, LIMIT));
          break;
        case 3:
          got = end.receiveManySync(3, LIMIT);
          break;
        default:
          got = [end.receiveSync(LIMIT)];
      }
      for (const number of got) {
        if (number !== next++) throw new Error(`${number} instead of ${next - 1}`);
      }
    }
  } catch (error) {
    if ((error as Error).name !== "ClosedError") throw error;
  }
  return next;
}

/** A checksum of everything that comes. */
export async function digestAll(clone: unknown): Promise<number> {
  using end = Connection.from<Any, Any>(clone);
  let sum = 0;
  for await (const value of end) sum = (sum + digestOf(textOf(value))) >>> 0;
  return sum;
}

export function sendNumbers(clone: unknown, count: number): void {
  using end = Connection.from<Any, Any>(clone);
  for (let i = 0; i < count; i++) end.sendSync(i % 7 === 0 ? `${i} ${"z".repeat(400)}` : i, LIMIT);
}

export function receiveThenClose(clone: unknown, count: number): void {
  using end = Connection.from<Any, Any>(clone);
  for (let i = 0; i < count; i++) end.receiveSync(LIMIT);
}

export function sendAndClose(clone: unknown, value: unknown): void {
  using end = Connection.from<Any, Any>(clone);
  end.sendSync(value, LIMIT);
  end.sendSync("last", LIMIT);
}

/** Sends and returns the id of this agent, for a parent that says it died. */
export function sendAndStop(clone: unknown): number {
  const end = Connection.from<Any, Any>(clone);
  end.sendSync("first", LIMIT);
  end.sendSync("second", LIMIT);
  return home().id;
}
