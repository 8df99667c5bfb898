// Copyright 2026 the Sabre authors. MIT license.

// What the processes of stress/soak_test.ts run.

import type { Connection, Queue } from "../../mod.ts";

/** Messages between two looks at the memory, and numbers sent at a time. */
export const BATCH = 1_000;

/** Sends numbers in their order, as runs, one by one and within objects, until the time is over. */
export function sendNumbers(connection: Connection<unknown, never>, milliseconds: number): number {
  return countUp(
    milliseconds,
    (values) => connection.sendManySync(values),
    (value) => connection.sendSync(value),
    () => connection.close(),
  );
}

/** Puts them into a queue likewise. */
export function putNumbers(queue: Queue<unknown>, milliseconds: number): number {
  return countUp(
    milliseconds,
    (values) => queue.putManySync(values),
    (value) => queue.putSync(value),
    () => queue.close(),
  );
}

function countUp(
  milliseconds: number,
  many: (values: Float64Array) => void,
  one: (value: unknown) => void,
  close: () => void,
): number {
  const end = performance.now() + milliseconds;
  let next = 0;
  while (performance.now() < end) {
    for (let round = 0; round < 20; round++) {
      many(Float64Array.from({ length: BATCH }, () => next++));
    }
    for (let i = 0; i < BATCH; i++) one(next++);
    for (let i = 0; i < BATCH; i++) one({ number: next++, text: "x".repeat(next % 50) });
  }
  close();
  return next;
}
