// Copyright 2026 the Sabre authors. MIT license.

// Long runs of a queue on two producers and two consumers, and their verdict.

import { Queue } from "../../queue.ts";
import type { Peer } from "../_workers.ts";
import type { Form, Log } from "../testdata/history_worker.ts";
import { checkFifo, type Column } from "./fifo_monitor.ts";

const FORMS: readonly (readonly [Form, Form])[] = [
  ["sync", "sync"],
  ["mixed", "mixed"],
  ["try", "try"],
  ["many", "sync"],
  ["sync", "many"],
];
const BOUNDS = [
  { maxItems: 1 },
  { capacity: 64 },
  { maxItems: 3, capacity: 1024 },
  {},
  { capacity: 4096 },
];

/**
 * Moves `each` values from each of two producers to two consumers. Seeds differ in the forms of the
 * calls, the bounds of the queue, and whether calls are stamped: every third run is left alone, and only
 * what can be told without stamps is checked.
 */
export async function runFifo(
  peers: readonly Peer[],
  seed: number,
  each: number,
): Promise<{ wrong: string[]; count: number; empties: number }> {
  const [putForm, getForm] = FORMS[seed % 5]!;
  // Every seed of ten has another pair.
  const queue = new Queue<number>(BOUNDS[(seed + Math.floor(seed / 5)) % 5]);
  const clock = seed % 3 === 2 ? undefined : new SharedArrayBuffer(4);
  const message = { handle: queue.handle };
  const consumers = [2, 3].map((i) =>
    peers[i]!.run<Log>("consume", message, clock, 2 * each, getForm, seed * 4 + i)
  );
  const puts = await Promise.all(
    [0, 1].map((i) =>
      peers[i]!.run<Log>("produce", message, clock, i * each, each, putForm, seed * 4 + i)
    ),
  );
  queue.close();
  const gets = await Promise.all(consumers);
  const count = [...puts, ...gets].reduce((sum, log) => sum + log.values.length, 0);
  const empties = joined(gets.map(({ values, emptyStarts, emptyEnds }) => ({
    values,
    starts: emptyStarts,
    ends: emptyEnds,
  })));
  const wrong = clock === undefined
    ? checkUnstamped(puts, gets, each)
    : checkFifo({ puts: joined(puts), gets: joined(gets), empties });
  if (queue.size !== 0) wrong.push(`${queue.size} items are left`);
  return { wrong, count, empties: empties.starts.length };
}

/** Each once, and those of one producer in order at each consumer. */
function checkUnstamped(puts: readonly Log[], gets: readonly Log[], each: number): string[] {
  const wrong: string[] = [];
  const seen = new Uint8Array(2 * each);
  for (const { values } of gets) {
    const last = [-1, -1];
    for (const value of values) {
      const producer = Math.floor(value / each);
      if (puts[producer] === undefined) wrong.push(`${value} was got, but never put`);
      else if (seen[value]!++ > 0) wrong.push(`${value} was got twice`);
      else if (value < last[producer]!) wrong.push(`${value} was got after ${last[producer]}`);
      last[producer] = value;
    }
  }
  const lost = seen.indexOf(0);
  if (lost >= 0) wrong.push(`${lost} was lost`);
  return wrong.slice(0, 10);
}

function joined(columns: readonly Column[]): Column {
  const all = (key: keyof Column): Int32Array =>
    Int32Array.from(columns.flatMap((column) => Array.from(column[key])));
  return { values: all("values"), starts: all("starts"), ends: all("ends") };
}
