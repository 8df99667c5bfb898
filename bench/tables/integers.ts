// Copyright 2026 the Sabre authors. MIT license.

// Integers from one agent to another: one at a time, and many with each call.

import { Connection, pipe } from "@sabre/ipc";
import { check, type Line, type Table, timed } from "../_harness.ts";
import { outsideLine } from "../_outside.ts";
import { type Input, Peer, postLine } from "../_peer.ts";
import { drainRing, fillRing, ringMemory } from "../raw/ring.ts";
import { fillRingbuf, ringbufLine } from "../rivals/ringbuf.ts";
import { pipeLine, postInts, putInts, queueLine, sendInts } from "./_ours.ts";

export { fillRingbuf, postInts, putInts, sendInts };

const isIndex = (value: unknown, index: number) => value === index;
const isNumber = (value: unknown) => typeof value === "number";

export const tables: Table[] = [
  {
    name: "integers, one at a time",
    unit: "per second",
    async lines({ rust, python }) {
      const peer = await Peer.start(import.meta.url);
      return [
        pipeLine("pipe, sendSync and receiveSync", peer, "sendInts", {}, 1_000_000, isIndex),
        queueLine("queue, putSync and getSync", peer, "putInts", {}, 500_000, isIndex),
        ringLine(peer),
        outsideLine("Rust sync_channel(16384)", rust, ["sync_channel"], 2_000_000),
        outsideLine("Rust channel()", rust, ["channel"], 2_000_000),
        ringbufLine(peer, 1, 500_000),
        postLine("postMessage", peer, "postInts", {}, 50_000, isNumber),
        outsideLine("Python Pipe", python, ["pipe"], 20_000),
      ];
    },
  },
  ...[64, 1_024].map((batch): Table => ({
    name: `integers, batches of ${batch}`,
    unit: "per second",
    async lines() {
      const peer = await Peer.start(import.meta.url);
      return [batchLine(peer, batch), ringbufLine(peer, batch, 4_000_000)];
    },
  })),
];

/** A store for each item, written by hand. */
function ringLine(peer: Peer): Line {
  return {
    name: "bare ring, one store an item, both spin",
    count: 4_000_000,
    async run(items) {
      const memory = ringMemory();
      const done = peer.run("fillBareRing", { memory, count: items });
      const take = drainRing(memory);
      check(take() === 0);
      const result = await timed(items - 1, () => {
        for (let i = 1; i < items; i++) check(take() === i);
      });
      await done;
      return result;
    },
  };
}

/** Numbers in arrays, `batch` of them with each call at both ends. */
export function batchLine(peer: Peer, batch: number): Line {
  return {
    name: "pipe, sendManySync and receiveManyIntoSync",
    count: 20_000 * Math.min(batch, 200),
    async run(items) {
      const total = Math.ceil(items / batch) * batch;
      const [here, there] = pipe<number>();
      const done = peer.run("sendBatches", { handle: there.handle, count: total, batch });
      const target = new Int32Array(batch);
      const first = here.receiveManyIntoSync(target);
      const result = await timed(total - first, () => {
        for (let seen = first; seen < total;) {
          const taken = here.receiveManyIntoSync(target);
          seen += taken;
          check(target[taken - 1] === seen - 1);
        }
      });
      await done;
      return result;
    },
  };
}

// -- Jobs --

export function fillBareRing({ memory, count }: Input): void {
  fillRing(memory, count);
}

export function sendBatches({ handle, count, batch }: Input): void {
  const connection = Connection.from<number>(handle);
  const values = new Int32Array(batch);
  for (let i = 0; i < count; i += batch) {
    for (let j = 0; j < batch; j++) values[j] = i + j;
    connection.sendManySync(values);
  }
}
