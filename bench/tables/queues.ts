// Copyright 2026 the Sabre authors. MIT license.

// Integers through a queue: beside other queues for many producers and consumers, with two of each,
// and taken as promises.

import { Queue } from "@sabre/ipc";
import { check, type Line, type Table, timed } from "../_harness.ts";
import { denoLine, outsideLine } from "../_outside.ts";
import { type Input, Peer, postLine, together, waitAtGate } from "../_peer.ts";
import { tryGet, tryPut, vyukovMemory } from "../raw/vyukov.ts";
import { postInts, putInts, queueLine } from "./_ours.ts";

export { postInts, putInts };

const isIndex = (value: unknown, index: number) => value === index;
const isNumber = (value: unknown) => typeof value === "number";

export const tables: Table[] = [
  {
    name: "queue, integers, 1 producer and 1 consumer",
    unit: "per second",
    async lines({ rust, python }) {
      const peer = await Peer.start(import.meta.url);
      return [
        queueLine("queue, putSync and getSync", peer, "putInts", {}, 500_000, isIndex),
        vyukovLine(peer),
        outsideLine("Rust queue of Mutex and Condvar", rust, ["queue", "1"], 500_000),
        denoLine(
          "multithreading 0.3.52, channel",
          "./rivals/multithreading.ts",
          ["ints"],
          20_000,
        ),
        outsideLine("Python Queue", python, ["queue"], 20_000),
      ];
    },
  },
  {
    name: "queue, integers, 2 producers and 2 consumers",
    unit: "per second",
    async lines({ rust }) {
      const peers = [];
      for (let i = 0; i < 4; i++) peers.push(await Peer.start(import.meta.url));
      return [
        pairsLine("queue, putSync and getSync", peers, 2, 500_000),
        pairsLine("the same, 1 producer and 1 consumer", peers, 1, 500_000),
        outsideLine("Rust queue of Mutex and Condvar", rust, ["queue", "2"], 500_000),
      ];
    },
  },
  {
    name: "integers, taken as promises",
    unit: "per second",
    async lines() {
      const peer = await Peer.start(import.meta.url);
      return [
        asyncLine(peer),
        postLine("postMessage", peer, "postInts", {}, 50_000, isNumber),
      ];
    },
  },
];

function vyukovLine(peer: Peer): Line {
  return {
    name: "bare ring of Vyukov, both spin",
    count: 1_000_000,
    async run(items) {
      const memory = vyukovMemory();
      const words = new Int32Array(memory);
      const done = peer.run("fillVyukov", { memory, count: items });
      const take = () => {
        let value;
        while ((value = tryGet(words)) < 0);
        return value;
      };
      check(take() === 0);
      const result = await timed(items - 1, () => {
        for (let i = 1; i < items; i++) check(take() === i);
      });
      await done;
      return result;
    },
  };
}

/** Several pairs of threads over one queue, begun together. */
export function pairsLine(name: string, peers: Peer[], pairs: number, count: number): Line {
  return {
    name,
    count,
    async run(items) {
      const each = Math.ceil(items / pairs);
      const queue = new Queue<number>();
      const input = { handle: queue.handle, count: each };
      const sums = new Float64Array(new SharedArrayBuffer(8 * pairs));
      const time = await together(
        Array.from(
          { length: 2 * pairs },
          (_, i) => [peers[i]!, i < pairs ? "putRun" : "getRun", { ...input, sums, i: i - pairs }],
        ),
      );
      check(sums.reduce((sum, part) => sum + part) === pairs * each * (each - 1) / 2);
      return { count: pairs * each, time };
    },
  };
}

function asyncLine(peer: Peer): Line {
  return {
    name: "await queue.get()",
    count: 200_000,
    async run(items) {
      const queue = new Queue<number>();
      const done = peer.run("putInts", { handle: queue.handle, count: items });
      check(await queue.get() === 0);
      const result = await timed(items - 1, async () => {
        for (let i = 1; i < items; i++) check(await queue.get() === i);
      });
      await done;
      return result;
    },
  };
}

// -- Jobs --

export function fillVyukov({ memory, count }: Input): void {
  const words = new Int32Array(memory as SharedArrayBuffer);
  for (let i = 0; i < count; i++) while (!tryPut(words, i));
}

export function putRun({ handle, count, gate }: Input): void {
  const queue = Queue.from<number>(handle);
  waitAtGate(gate);
  for (let i = 0; i < count; i++) queue.putSync(i);
}

export function getRun({ handle, count, gate, sums, i }: Input): void {
  const queue = Queue.from<number>(handle);
  waitAtGate(gate);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += queue.getSync();
  sums[i] = sum;
}
