// Copyright 2026 the Sabre authors. MIT license.

// Two children count in shared memory. `value += 1` reads and then writes: what the other child adds
// in between is lost. `add(1)` is one step; and whoever holds the lock may take as many as it needs.

import { Barrier, Process, SharedValue } from "@sabre/ipc";

const CHILDREN = 2;
const ROUNDS = 20_000; // of each child

/** Wrong: how much is lost is a matter of luck. */
export function careless(count: SharedValue<"u32">, rounds: number, start: Barrier): void {
  start.waitSync();
  for (let i = 0; i < rounds; i++) count.value += 1;
}

/** The same in slow motion, with everybody between reading and writing at the same time. */
export function unlucky(count: SharedValue<"u32">, rounds: number, step: Barrier): void {
  for (let i = 0; i < rounds; i++) {
    step.waitSync();
    const seen = count.value;
    step.waitSync();
    count.value = seen + 1;
  }
}

/** Right, and the fastest. */
export function adding(count: SharedValue<"u32">, rounds: number, start: Barrier): void {
  start.waitSync();
  for (let i = 0; i < rounds; i++) count.add(1);
}

/** Right too, and the way to go when more than one value changes. */
export function locking(count: SharedValue<"u32">, rounds: number, start: Barrier): void {
  start.waitSync();
  for (let i = 0; i < rounds; i++) {
    using _guard = count.lock.acquireSync();
    count.value += 1;
  }
}

export interface Outcome {
  careless: number;
  unlucky: number;
  adding: number;
  locking: number;
}

async function count(target: typeof careless, rounds: number): Promise<number> {
  const value = new SharedValue("u32");
  const barrier = new Barrier(CHILDREN);
  await using children = new AsyncDisposableStack();
  const results = Array.from({ length: CHILDREN }, () => {
    const args: Parameters<typeof target> = [value, rounds, barrier];
    return children.use(new Process(import.meta.url, { target, args }).start()).result;
  });
  await Promise.all(results);
  const expected = CHILDREN * rounds;
  const lost = expected - value.value;
  console.log(
    `${target.name}: ${value.value} of ${expected}, ${lost === 0 ? "none" : lost} lost`,
  );
  return value.value;
}

export async function main(rounds: number = ROUNDS): Promise<Outcome> {
  return {
    careless: await count(careless, rounds),
    unlucky: await count(unlucky, Math.min(rounds, 100)),
    adding: await count(adding, rounds),
    locking: await count(locking, rounds),
  };
}

if (import.meta.main) {
  const { adding, locking } = await main();
  if (adding !== CHILDREN * ROUNDS || locking !== CHILDREN * ROUNDS) Deno.exitCode = 1;
}
