// Copyright 2026 the Sabre authors. MIT license.

/**
 * How much shared memory each primitive takes, as it is created.
 *
 * `deno run bench/memory.ts` prints it; `figures.ts` writes it into the guide.
 */

import {
  Barrier,
  Condition,
  Lock,
  pipe,
  Queue,
  RLock,
  RwLock,
  Semaphore,
  SharedArray,
  SharedEvent,
  SharedValue,
} from "@sabre/ipc";

/** What is created, and its handle. */
const CREATED: readonly [name: string, handle: unknown][] = [
  ["`Lock`, `RLock`", new Lock().handle],
  ["`RwLock`", new RwLock().handle],
  ["`Semaphore`", new Semaphore(1).handle],
  ["`Condition`, beside its lock", withoutLock(new Condition(new RLock()).handle)],
  ["`SharedEvent`", new SharedEvent().handle],
  ["`Barrier`", new Barrier(2).handle],
  ["`SharedValue`, with its lock", new SharedValue("f64").handle],
  ["`SharedArray` of 1,000 `f64`, with its lock", new SharedArray("f64", 1_000).handle],
  ["`Queue`", new Queue().handle],
  ["`Queue` with `capacity: 1024`", new Queue({ capacity: 1_024 }).handle],
  ["`Queue` with `capacity: 1048576`", new Queue({ capacity: 1 << 20 }).handle],
  ["`pipe()`, both ends", pipe()[0].handle],
  ["`pipe()` with `duplex: false`", pipe({ duplex: false })[0].handle],
  ["`pipe()` with `capacity: 1024`", pipe({ capacity: 1_024 })[0].handle],
  ["`pipe()` with `capacity: 1048576`", pipe({ capacity: 1 << 20 })[0].handle],
];

function withoutLock(handle: unknown): unknown {
  return { ...(handle as object), lock: undefined };
}

/** Each primitive with its bytes of shared memory. */
export function memoryOf(): [name: string, bytes: number][] {
  return CREATED.map(([name, handle]) => {
    const { domain } = handle as { domain: SharedArrayBuffer };
    return [name, bytesOf(handle, domain)];
  });
}

/** The bytes of the table of agents, of which all primitives of a program share one. */
export function domainBytes(): number {
  return (new Lock().handle as unknown as { domain: SharedArrayBuffer }).domain.byteLength;
}

/** The bytes of all buffers in a handle but that of `domain`. */
function bytesOf(handle: unknown, domain: SharedArrayBuffer): number {
  if (typeof handle !== "object" || handle === null || handle === domain) return 0;
  if (handle instanceof SharedArrayBuffer) return handle.byteLength;
  return Object.values(handle).reduce((sum, value) => sum + bytesOf(value, domain), 0);
}

if (import.meta.main) {
  for (const [name, bytes] of memoryOf()) console.log(`${name.padEnd(48)}${bytes}`);
  console.log(`${"the table of agents, once".padEnd(48)}${domainBytes()}`);
}
