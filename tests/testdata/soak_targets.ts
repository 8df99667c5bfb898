// Copyright 2026 the Sabre authors. MIT license.

// What the processes of stress/soak.ts run. Whoever sends and whoever receives follow the same plan of
// sections, in each of which messages go one way; all numbers of a channel are 0, 1, 2 ...

import { ClosedError } from "../../errors.ts";
import type { Connection, Queue, SharedEvent } from "../../mod.ts";

/** Numbers that go in one call. */
export const BATCH = 4_096;

/** How the messages of a section are sent. */
export type Form = "typed" | "list" | "single" | "object" | "async";

/** A part of the plan: so many messages, through a pipe or a queue. */
export interface Section {
  readonly channel: "pipe" | "queue";
  readonly form: Form;
  readonly count: number;
}

/** Repeated until the time is over. */
export const PLAN: readonly Section[] = [
  { channel: "pipe", form: "typed", count: 500 * BATCH },
  { channel: "queue", form: "typed", count: 250 * BATCH },
  { channel: "pipe", form: "list", count: 20 * BATCH },
  { channel: "queue", form: "list", count: 20 * BATCH },
  { channel: "pipe", form: "single", count: 100_000 },
  { channel: "queue", form: "single", count: 50_000 },
  { channel: "pipe", form: "object", count: 10_000 },
  { channel: "queue", form: "object", count: 10_000 },
  { channel: "pipe", form: "async", count: 2_000 },
  { channel: "queue", form: "async", count: 2_000 },
];

/** Follows the plan from the start until so many milliseconds have passed. Returns how many were sent. */
export async function sendAll(
  connection: Connection<unknown, never>,
  queue: Queue<unknown>,
  start: SharedEvent,
  milliseconds: number,
): Promise<number> {
  start.waitSync();
  const end = performance.now() + milliseconds;
  const values = new Float64Array(BATCH);
  const next = { pipe: 0, queue: 0 };
  while (performance.now() < end) {
    for (const { channel, form, count } of PLAN) {
      const isPipe = channel === "pipe";
      let number = next[channel];
      const last = number + count;
      while (number < last) {
        if (form === "typed" || form === "list") {
          for (let i = 0; i < BATCH; i++) values[i] = number++;
          const many = form === "typed" ? values : Array.from(values);
          if (isPipe) connection.sendManySync(many);
          else queue.putManySync(many);
          continue;
        }
        const value = form === "object"
          ? { number: number++, text: "x".repeat(number % 50) }
          : number++;
        if (form === "async") await (isPipe ? connection.send(value) : queue.put(value));
        else if (isPipe) connection.sendSync(value);
        else queue.putSync(value);
      }
      next[channel] = last;
    }
  }
  connection.close();
  queue.close();
  return next.pipe + next.queue;
}

/** How many producers share one queue. */
export const PRODUCERS = 2;

/** Puts numbers that tell who put them, in many and one by one. Returns how many. */
export function putMine(
  queue: Queue<number>,
  start: SharedEvent,
  milliseconds: number,
  by: number,
): number {
  start.waitSync();
  const end = performance.now() + milliseconds;
  const values = new Float64Array(BATCH / 8);
  let number = 0;
  while (performance.now() < end) {
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < values.length; i++) values[i] = number++ * PRODUCERS + by;
      queue.putManySync(values);
    }
    for (let i = 0; i < values.length; i++) queue.putSync(number++ * PRODUCERS + by);
  }
  return number;
}

/** Takes them until the queue is closed; each producer's must come in order. Returns how many came. */
export function takeAll(queue: Queue<number>): number {
  const target = new Float64Array(BATCH / 8);
  const last: number[] = Array(PRODUCERS).fill(-1);
  let count = 0;
  for (;;) {
    let taken: number;
    try {
      taken = queue.getManyIntoSync(target);
    } catch (error) {
      if (error instanceof ClosedError) return count;
      throw error;
    }
    for (let i = 0; i < taken; i++) {
      const by = target[i]! % PRODUCERS;
      const number = (target[i]! - by) / PRODUCERS;
      if (number <= last[by]!) throw new Error(`${number} of ${by} came after ${last[by]}`);
      last[by] = number;
    }
    count += taken;
  }
}
