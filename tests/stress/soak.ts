// Copyright 2026 the Sabre authors. MIT license.

// Many millions of messages through a pipe and through queues, in all forms of the calls: none is lost,
// all come in order, and the memory does not grow.

import { assertEquals } from "@std/assert";
import { ClosedError, type Connection, pipe, Process, Queue, SharedEvent } from "../../mod.ts";
import {
  BATCH,
  PLAN,
  PRODUCERS,
  putMine,
  type Section,
  sendAll,
  takeAll,
} from "../testdata/soak_targets.ts";

const TARGETS = new URL("../testdata/soak_targets.ts", import.meta.url);
/** The part of the time in which several processes share one queue. */
const SHARED_PART = 0.2;

/** Figures of a soak. */
export interface Soak {
  /** Messages that arrived, in order. */
  moved: number;
  /** Those that were sent and never arrived. */
  lost: number;
  /** Bytes in use when all was warm, and at the end. */
  memory: { start: number; end: number };
  seconds: number;
}

/** What a soak needs to know. */
export interface SoakOptions {
  readonly seconds: number;
  /** Called now and then. */
  readonly onProgress?: (soak: Soak) => void;
}

/** Moves messages for so long. Throws if one comes out of order. */
export async function soak({ seconds, onProgress }: SoakOptions): Promise<Soak> {
  const begin = performance.now();
  const figures: Soak = { moved: 0, lost: 0, memory: { start: 0, end: 0 }, seconds: 0 };
  const note = () => {
    figures.seconds = (performance.now() - begin) / 1_000;
    figures.memory.end = Deno.memoryUsage().rss;
    onProgress?.(figures);
  };
  const milliseconds = seconds * 1_000;

  const [here, there] = pipe<unknown>();
  const queue = new Queue<unknown>();
  const shared = new Queue<number>();
  const [start, startShared] = [new SharedEvent(), new SharedEvent()];
  // All of them from the beginning, so that no thread is added to the memory later.
  await using sender = new Process(TARGETS, {
    target: sendAll,
    args: [there as never, queue, start, milliseconds * (1 - SHARED_PART)],
  }).start();
  const args = [shared, startShared, milliseconds * SHARED_PART] as const;
  const producers = Array.from(
    { length: PRODUCERS },
    (_, by) => new Process(TARGETS, { target: putMine, args: [...args, by] }).start(),
  );
  await using consumer = new Process(TARGETS, { target: takeAll, args: [shared] }).start();

  start.set();
  const next = { pipe: 0, queue: 0 };
  const target = new Float64Array(BATCH);
  for (let round = 0;; round++) {
    if (!await drainPlan(here, queue, next, target)) break;
    figures.moved = next.pipe + next.queue;
    // Two rounds of all forms: code is compiled, buffers have grown.
    if (round === 1) figures.memory.start = Deno.memoryUsage().rss;
    note();
  }
  figures.lost = await sender.result - figures.moved;
  here.close();

  startShared.set();
  const others = Promise.all(producers.map(({ result }) => result));
  others.then(() => shared.close(), () => shared.close());
  const mine = await takeAsync(shared);
  const sent = (await others).reduce((sum, count) => sum + count, 0);
  const taken = mine + await consumer.result;
  figures.moved += taken;
  figures.lost += sent - taken;
  for (const producer of producers) await producer.join();
  await sender.join();
  await consumer.join();
  assertEquals([queue.size, shared.size], [0, 0]);
  note();
  return figures;
}

/** Receives what one round of the plan brings. `false`: that was all. */
async function drainPlan(
  here: Connection<never, unknown>,
  queue: Queue<unknown>,
  next: Record<Section["channel"], number>,
  target: Float64Array<ArrayBuffer>,
): Promise<boolean> {
  for (const { channel, form, count } of PLAN) {
    const isPipe = channel === "pipe";
    const last = next[channel] + count;
    let number = next[channel];
    const see = (value: unknown) => {
      const seen = typeof value === "number" ? value : (value as { number: number }).number;
      if (seen !== number) throw new Error(`${seen} came in place of ${number} by a ${channel}`);
      number++;
    };
    try {
      while (number < last) {
        const max = Math.min(BATCH, last - number);
        if (form === "typed") {
          const into = max < BATCH ? target.subarray(0, max) : target;
          const taken = isPipe ? here.receiveManyIntoSync(into) : queue.getManyIntoSync(into);
          for (let i = 0; i < taken; i++) {
            if (target[i] === number) number++;
            else see(target[i]);
          }
        } else if (form === "list") {
          for (const value of isPipe ? here.receiveManySync(max) : queue.getManySync(max)) {
            see(value);
          }
        } else if (form === "async") {
          see(await (isPipe ? here.receive() : queue.get()));
        } else {
          see(isPipe ? here.receiveSync() : queue.getSync());
        }
      }
    } catch (error) {
      // Only between two rounds.
      if (error instanceof ClosedError && number === next.pipe && channel === "pipe") return false;
      throw error;
    }
    next[channel] = last;
  }
  return true;
}

/** Takes until the queue is closed, without blocking the thread that is to close it. */
async function takeAsync(queue: Queue<number>): Promise<number> {
  const target = new Float64Array(BATCH / 8);
  const last: number[] = Array(PRODUCERS).fill(-1);
  let count = 0;
  for (;;) {
    try {
      const taken = await queue.getManyInto(target);
      for (let i = 0; i < taken; i++) {
        const by = target[i]! % PRODUCERS;
        if (target[i]! <= last[by]!) throw new Error(`${target[i]} came after ${last[by]}`);
        last[by] = target[i]!;
      }
      count += taken;
    } catch (error) {
      if (error instanceof ClosedError) return count;
      throw error;
    }
  }
}
