// Copyright 2026 the Sabre authors. MIT license.

// What workers of `barrier_test.ts` do.

import { join as joinDomain } from "../../_agent.ts";
import { Barrier } from "../../barrier.ts";
import { Queue } from "../../queue.ts";
import { SharedArray } from "../../shared.ts";

const pending: Promise<string>[] = [];

export function join(memory: SharedArrayBuffer): number {
  return joinDomain(memory).id;
}

/** Waits once; the index, or the name of the error. */
export async function wait(
  message: unknown,
  form: "async" | "sync",
  options: { timeout?: number } = {},
): Promise<string> {
  const barrier = Barrier.from(message);
  try {
    return String(form === "sync" ? barrier.waitSync(options) : await barrier.wait(options));
  } catch (error) {
    return (error as Error).name;
  }
}

/** Begins to wait asynchronously, and answers at once. */
export function begin(message: unknown): void {
  pending.push(wait(message, "async"));
}

/** As a process: takes part in one round, and ends in some way. */
export function meetOnce(barrier: Barrier, way: string): unknown {
  barrier.waitSync();
  if (way === "throw") throw new RangeError("after the round");
  if (way === "unpassable") return () => {};
  if (way === "stopped") {
    try {
      new Queue().getSync();
    } catch {
      // It returns although it was terminated.
    }
  }
  while (way === "killed");
  return way;
}

/**
 * Takes part in many rounds, with several tasks. Counts, in each round, how often each index came:
 * element `round * parties + index`; the last element counts those that were too early.
 */
export async function rounds(
  message: unknown,
  counts: unknown,
  count: number,
  tasks: number,
  form: "async" | "sync",
): Promise<void> {
  const barrier = Barrier.from(message);
  const seen = SharedArray.from<"i32">(counts);
  const { parties } = barrier;
  async function party(): Promise<void> {
    for (let round = 0; round < count; round++) {
      const index = form === "sync" ? barrier.waitSync() : await barrier.wait();
      seen.add(round * parties + index, 1);
      // Nobody gets through a round before all have left the one before the last.
      if (round > 1) {
        for (let i = 0; i < parties; i++) {
          if (seen.get((round - 2) * parties + i) !== 1) seen.add(seen.length - 1, 1);
        }
      }
    }
  }
  await Promise.all(Array.from({ length: tasks }, party));
}
