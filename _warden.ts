// Copyright 2026 the Sabre authors. MIT license.

// What runs in the warden, the thread that watches for the ends of agents while those whose part that
// is may block: see _watch.ts. It is no agent itself, and nothing waits for it.

import { observe, unpark } from "./_agent.ts";
import { wakeAll } from "./_park.ts";
import { findThreads } from "./_threads.ts";
import { obey, obeyStranger, READY, type WardenSeed } from "./_watch.ts";

/** What is used of it. */
interface Process {
  on(event: "workerMessage", listener: (message: never) => void): void;
}

/** Watches what it is sent, until its host ends. */
export function run({ state, domain, host }: WardenSeed): void {
  findThreads()!.parentPort!.on("message", obey);
  (globalThis as unknown as { process: Process }).process.on("workerMessage", obeyStranger);
  Atomics.store(state, 0, READY);
  wakeAll(state, 0);
  // It may be blocked.
  unpark(observe(domain), host);
}
