// Copyright 2026 the Sabre authors. MIT license.

// What the processes of process_test.ts run.

import { TerminatedError } from "../../errors.ts";
import type { SharedEvent } from "../../event.ts";
import type { Lock } from "../../lock.ts";
import type { Connection } from "../../pipe.ts";
import { pipe } from "../../pipe.ts";
import { type AgentInfo, Process } from "../../process.ts";
import { Queue } from "../../queue.ts";
import type { Semaphore } from "../../semaphore.ts";
import type { SharedArray, SharedValue } from "../../shared.ts";

export const isMain = import.meta.main;

export function wasMain(): boolean {
  return isMain;
}

export function echo<T>(value: T): T {
  return value;
}

export function add(a: number, b: number): number {
  return a + b;
}

export async function addLater(a: number, b: number): Promise<number> {
  await later(5);
  return a + b;
}

export default function standard(): string {
  return "default";
}

function renamed(): string {
  return "renamed";
}
export { renamed as otherName };

export const notAFunction = 7;

export function throws(message = "no"): never {
  throw new RangeError(message, { cause: "a cause" });
}

export function throwsString(): never {
  throw "just text";
}

export function throwsUnsendable(): never {
  throw Object.assign(new Error("unsendable"), { cause: () => {} });
}

export function returnsFunction(): unknown {
  return () => {};
}

export function returnsQueue(): unknown {
  const queue = new Queue<string>();
  queue.putSync("inside");
  return new Map([["list", [queue]]]);
}

export function returnsEnd(): unknown {
  const [here, there] = pipe<string>();
  there.sendSync("before the end");
  there.close();
  return { here };
}

export function getAll(queue: Queue<number>): number[] {
  return [...queue];
}

export function putMany(queue: Queue<number>, count: number): void {
  for (let i = 0; i < count; i++) queue.putSync(i);
}

export function hello(queue: Queue<string>): void {
  queue.putSync("hello");
}

export function answer(connection: Connection<string, string>): void {
  for (const text of connection) connection.sendSync(text.toUpperCase());
}

export async function passOn(connection: Connection<string, string>): Promise<void> {
  await using child = new Process(import.meta.url, { target: answer, args: [connection] }).start();
  await child.result;
}

export function ignore(): void {}

export function addTo(map: Map<string, SharedValue<"i32">[]>, n: number): void {
  map.get("count")![0]!.add(n);
}

export function aboutSelf(): { name: string; pid: number; parent: AgentInfo | undefined } {
  const { name, pid, parent } = Process.current;
  return { name, pid, parent };
}

export async function aboutChild(module: string): Promise<unknown> {
  await using child = new Process(module, { target: aboutSelf }).start();
  return [aboutSelf(), await child.result];
}

// -- Ends --------------------------------------------------------------------------------------

export function exitsByDeno(): void {
  Deno.exit(0);
}

export async function exitsByProcess(): Promise<void> {
  const { default: process } = await import("node:process");
  process.exit(0);
}

export function closesItself(): void {
  self.close();
}

/** Nothing of it runs after the end: neither what follows, nor `finally`, nor a microtask. */
export function closesThenCounts(how: string, count: SharedValue<"i32">): void {
  queueMicrotask(() => count.add(1));
  setTimeout(() => count.add(1), 0);
  try {
    if (how === "close") self.close();
    else Deno.exit();
    count.add(1);
  } finally {
    count.add(1);
  }
}

export function exitHandlers(count: SharedValue<"i32">): void {
  addEventListener("unload", () => count.add(1));
  self.close();
}

export async function lostRejection(): Promise<void> {
  Promise.reject(new RangeError("lost"));
  await new Promise(() => {});
}

export function rejectionAtTheEnd(): void {
  Promise.reject(new RangeError("lost"));
}

export async function timerThrows(): Promise<void> {
  setTimeout(() => {
    throw new RangeError("in a timer");
  }, 0);
  await new Promise(() => {});
}

export async function handlesRejection(): Promise<string> {
  let seen = "nothing";
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    seen = event.reason.message;
  });
  Promise.reject(new Error("handled"));
  await later(20);
  return seen;
}

export async function holdsAndEnds(lock: Lock, how: string): Promise<void> {
  lock.acquireSync();
  if (how === "exit") Deno.exit();
  if (how === "throw") throw new Error("with a guard");
  if (how === "reject") {
    Promise.reject(new Error("with a guard"));
    await new Promise(() => {});
  }
}

export function signalThenHold(lock: Lock, ready: SharedEvent): void {
  lock.acquireSync();
  ready.set();
  for (;;);
}

// -- Waits -------------------------------------------------------------------------------------

export interface Waits {
  queue: Queue<number>;
  lock: Lock;
  event: SharedEvent;
  semaphore: Semaphore;
  connection?: Connection<number, number>;
  /** Counts those that are about to wait, and those whose `finally` ran. */
  log: SharedArray<"i32">;
}

export function waitSync(kind: string, waits: Waits): void {
  try {
    waits.log.add(0, 1);
    if (kind === "queue") waits.queue.getSync();
    else if (kind === "lock") waits.lock.acquireSync();
    else if (kind === "event") waits.event.waitSync();
    else if (kind === "semaphore") waits.semaphore.acquireSync();
    else waits.connection!.receiveSync();
  } finally {
    waits.log.add(1, 1);
  }
}

export async function waitAsync(waits: Waits): Promise<void> {
  try {
    waits.log.add(0, 1);
    await waits.queue.get();
  } finally {
    waits.log.add(1, 1);
  }
}

export function catchesTermination(waits: Waits): string {
  try {
    waits.log.add(0, 1);
    waits.queue.getSync();
  } catch (error) {
    // Calls that need not wait still work, others end at once.
    const { name } = error as Error;
    waits.log.add(1, 1);
    try {
      waits.queue.getSync();
    } catch (error) {
      if (error instanceof TerminatedError) waits.log.add(1, 1);
    }
    return name;
  }
  return "nothing";
}

export async function cleansUpSlowly(waits: Waits, milliseconds: number): Promise<void> {
  try {
    waits.log.add(0, 1);
    await waits.queue.get();
  } finally {
    await later(milliseconds);
    waits.log.add(1, 1);
  }
}

export async function idle(ready: SharedEvent): Promise<void> {
  ready.set();
  await new Promise(() => {});
}

/** Has a child that spins, and waits for it. */
export async function hasSpinningChild(ready: SharedEvent): Promise<void> {
  await new Process(import.meta.url, { target: spin, args: [ready] }).start().join();
}

/** Waits for a program that sleeps, inside a call in which no thread can be stopped. */
export function sleepOutside(ready: SharedEvent): void {
  ready.set();
  const code = "await new Promise((resolve) => setTimeout(resolve, 4_000))";
  new Deno.Command(Deno.execPath(), { args: ["eval", code] }).outputSync();
}

/** An error outside the target that this package's own handler cannot deal with. */
export async function breaksTheGuard(): Promise<void> {
  globalThis.queueMicrotask = () => {
    throw new RangeError("broken guard");
  };
  setTimeout(() => {
    throw new Error("unseen");
  }, 1);
  await new Promise(() => {});
}

export async function idleTimer(ready: SharedEvent): Promise<void> {
  ready.set();
  await later(1_000_000);
}

export function spin(ready: SharedEvent): void {
  ready.set();
  for (;;);
}

export function spinAfterClean(ready: SharedEvent, queue: Queue<number>): void {
  ready.set();
  try {
    queue.getSync();
  } finally {
    for (;;);
  }
}

export function polite(ready: SharedEvent, log: SharedArray<"i32">): void {
  ready.set();
  try {
    for (;;) Process.current.throwIfStopRequested();
  } finally {
    log.add(1, 1);
  }
}

export async function politeLater(ready: SharedEvent, log: SharedArray<"i32">): Promise<void> {
  while (!Process.current.stopRequested) {
    ready.set();
    await later(5);
  }
  log.add(1, 1);
}

export async function delayed(milliseconds: number): Promise<string> {
  await later(milliseconds);
  return "done";
}

// -- Processes of processes --------------------------------------------------------------------

/** Starts a process of its own that holds the lock, and then does what `how` says. */
export async function parent(
  module: string,
  lock: Lock,
  ready: SharedEvent,
  inner: string,
  how: string,
): Promise<void> {
  new Process(module, { target: inner, args: [lock, ready] }).start();
  await ready.wait();
  if (how === "return") return;
  if (how === "throw") throw new Error("parent threw");
  if (how === "exit") Deno.exit();
  if (how === "spin") { for (;;); }
  if (how === "block") new Queue().getSync();
  await new Promise(() => {});
}

export function lockAndBlock(lock: Lock, ready: SharedEvent): void {
  lock.acquireSync();
  ready.set();
  new Queue().getSync();
}

export async function lockAndIdle(lock: Lock, ready: SharedEvent): Promise<void> {
  lock.acquireSync();
  ready.set();
  await new Promise(() => {});
}

function later(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
