// Copyright 2026 the Sabre authors. MIT license.

// What the pools of pool_test.ts run.

import { ClosedError } from "../../errors.ts";
import type { SharedEvent } from "../../event.ts";
import type { Lock } from "../../lock.ts";
import type { Connection } from "../../pipe.ts";
import { pipe } from "../../pipe.ts";
import { Process } from "../../process.ts";
import { Pool } from "../../pool.ts";
import { Queue } from "../../queue.ts";
import type { SharedArray, SharedValue } from "../../shared.ts";

export function square(n: number): number {
  return n * n;
}

export async function squareLater(n: number): Promise<number> {
  await Promise.resolve();
  return n * n;
}

export function echo<T>(value: T): T {
  return value;
}

export function count(...values: unknown[]): number {
  return values.length;
}

export function lengthOf(value: unknown[]): number {
  return value.length;
}

function renamed(): string {
  return "renamed";
}
export { renamed as otherName };

export const notAFunction = 7;

export function pid(): number {
  return Process.current.pid;
}

export function name(): string {
  return Process.current.name;
}

/** Throws for those above a limit, otherwise squares. */
export function squareBelow([n, limit]: [n: number, limit: number]): number {
  if (n >= limit) throw new RangeError(`${n} is too large`, { cause: n });
  return n * n;
}

export function throws(message: string): never {
  throw new RangeError(message, { cause: "a cause" });
}

export function throwsUnsendable(): never {
  throw Object.assign(new Error("unsendable"), { cause: () => {} });
}

export function throwsQueue(): never {
  const queue = new Queue<string>();
  queue.putSync("inside");
  throw new Error("with a queue", { cause: queue });
}

/** What cannot be passed, for odd numbers. */
export function functionIfOdd(n: number): unknown {
  return n % 2 === 0 ? n : () => {};
}

export function exit(): never {
  Deno.exit(3);
}

export function exitIf(fatal: boolean): string {
  if (fatal) Deno.exit(1);
  return "lives";
}

export async function waitFor(event: SharedEvent, value?: unknown): Promise<unknown> {
  await event.wait();
  return value;
}

/** Says that it has begun, and waits to be let go. */
export async function gated(
  begun: SharedValue<"i32">,
  gate: SharedEvent,
  value?: unknown,
): Promise<unknown> {
  begun.add(1);
  await gate.wait();
  return value;
}

/** The same for one item. */
export async function gatedItem(
  { begun, gate, value, fails }: {
    begun: SharedValue<"i32">;
    gate?: SharedEvent;
    value: number;
    fails?: boolean;
  },
): Promise<number> {
  begun.add(1);
  await gate?.wait();
  if (fails) throw new Error(`item ${value}`);
  return value;
}

export function spin(begun: SharedValue<"i32">): never {
  begun.add(1);
  for (;;);
}

export function touch(counter: SharedValue<"i32">, by = 1): number {
  return counter.add(by);
}

export function fillBuffer(buffer: SharedArrayBuffer): SharedArrayBuffer {
  Atomics.store(new Int32Array(buffer), 0, 42);
  return buffer;
}

export function nested(
  value: { deep: [Map<string, { queue: Queue<string>; lock: Lock }>] },
): { again: Queue<string>[] } {
  const { queue, lock } = value.deep[0].get("key")!;
  using _guard = lock.acquireSync();
  queue.putSync("from the pool");
  return { again: [queue] };
}

export function queueOf(n: number): Queue<number> {
  const queue = new Queue<number>();
  queue.putSync(n);
  return queue;
}

export function sendOn(connection: Connection<string, never>, text: string): void {
  connection.sendSync(text);
}

export function endOf(): Connection<string, string> {
  const [here, there] = pipe<string>();
  here.sendSync("kept");
  return there;
}

let initial: unknown;

export function initialize(value: unknown): void {
  initial = value;
}

export async function failInitializing(starts?: SharedValue<"i32">): Promise<void> {
  starts?.add(1);
  await Promise.resolve();
  throw new SyntaxError("no start");
}

export function initialized(): unknown {
  return initial;
}

export function addTo(array: SharedArray<"i32">): void {
  array.add(0, 1);
}

/** A process with a pool of its own, at work until it is stopped. */
export async function ownPool(begun: SharedValue<"i32">, gate: SharedEvent): Promise<string> {
  await using pool = new Pool(import.meta.url, { size: 1 });
  try {
    await pool.run(gated, [begun, gate]);
    return "ended";
  } catch (error) {
    begun.add((error as Error).name === "TerminatedError" ? 10 : 100);
    throw error;
  }
}

export function later(): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve("later"), 1));
}

export function closes(): void {
  self.close();
}

export async function rejectsBeside(): Promise<void> {
  Promise.reject(new Error("beside"));
  await new Promise(() => {});
}

/** Leaves a timer behind that throws. */
export function throwsLater(): string {
  setTimeout(() => {
    throw new RangeError("in a timer");
  }, 20);
  return "fine";
}

/** Throws what has no text. */
export function throwTextless(): void {
  throw { toString: 1 };
}

/** Returns what cannot be passed, as reading it throws an error of this package. */
export function returnThrower(): unknown {
  return {
    get x() {
      throw new ClosedError("mine");
    },
  };
}
