// Copyright 2026 the Sabre authors. MIT license.

// What is used of the runtime's threads and of its Web Locks, and what kind of thread this is. Each is
// looked up when it is needed: no runtime has all of it, and browsers could not resolve an import.

/** A message port of `node:worker_threads`. */
export interface Port {
  on(event: "message", listener: (message: never) => void): void;
  on(event: "close", listener: () => void): void;
  postMessage(message: unknown, transfer?: readonly unknown[]): void;
  close(): void;
  unref(): void;
}

/** A worker of `node:worker_threads`. */
export interface NodeWorker {
  on(event: "error" | "exit", listener: (value: unknown) => void): void;
  postMessage(message: unknown, transfer?: readonly unknown[]): void;
  terminate(): Promise<unknown>;
  unref(): void;
}

/** The module `node:worker_threads`. */
export interface Threads {
  readonly Worker: new (url: URL, options: Record<string, unknown>) => NodeWorker;
  readonly MessageChannel: new () => { port1: Port; port2: Port };
  readonly isMainThread: boolean;
  readonly parentPort: Port | null;
  readonly threadId: number;
  readonly receiveMessageOnPort: (port: Port) => { message: unknown } | undefined;
  readonly postMessageToThread?: (
    thread: number,
    message: unknown,
    transfer: readonly unknown[],
  ) => Promise<void>;
}

/** `navigator.locks`. */
export interface LockManager {
  request(name: string, callback: () => unknown): Promise<unknown>;
}

/** The module `node:worker_threads`, where there is one. */
export function findThreads(): Threads | undefined {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  return process?.getBuiltinModule?.("node:worker_threads") as Threads | undefined;
}

/** The Web Locks, where there are some. */
export function findLocks(): LockManager | undefined {
  return (globalThis.navigator as { locks?: LockManager } | undefined)?.locks;
}

/** The main thread, a global `Worker`, or a worker of `node:worker_threads`. */
export type ThreadKind = "main" | "worker" | "node";

/** What kind of thread this is. */
export function threadKind(): ThreadKind {
  if ("WorkerGlobalScope" in globalThis) return "worker";
  // A worker of `node:worker_threads` in Deno, which takes its global worker for a main thread.
  if ("Deno" in globalThis) return "postMessage" in globalThis ? "node" : "main";
  return findThreads()?.isMainThread === false ? "node" : "main";
}
