// Copyright 2026 the Sabre authors. MIT license.

// How cost grows: with the size of a message, with the storage, with the number of agents, and with
// what is already waiting in a queue. Nobody else's code; the first line is the base.

import { pipe, Queue } from "@sabre/ipc";
import { check, type Line, loopLine, type Table, timed } from "../_harness.ts";
import { Peer } from "../_peer.ts";
import { bytesLine, sendBytes } from "./bytes.ts";
import { batchLine, sendBatches } from "./integers.ts";
import { getRun, pairsLine, putRun } from "./queues.ts";
import { putInts, sendInts, sendValues } from "./_ours.ts";

export { getRun, putInts, putRun, sendBatches, sendBytes, sendInts, sendValues };

const KIB = 1_024;

export const tables: Table[] = [
  {
    name: "pipe, bytes, by size of a message",
    unit: "us",
    growth: true,
    async lines() {
      const peer = await Peer.start(import.meta.url);
      return [16, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, KIB * KIB].map((size) =>
        bytesLine(sizeOf(size), peer, size, Math.ceil(1e8 / (size + 1_000)), "into")
      );
    },
  },
  {
    name: "pipe, strings, by length",
    unit: "us",
    growth: true,
    async lines() {
      const peer = await Peer.start(import.meta.url);
      return [8, 64, 512, 4_096, 32_768].map((length) => textLine(peer, length));
    },
  },
  {
    name: "pipe, integers, by capacity",
    unit: "per second",
    growth: true,
    async lines() {
      const peer = await Peer.start(import.meta.url);
      return [KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, KIB * KIB].map((capacity) =>
        capacityLine(peer, capacity)
      );
    },
  },
  {
    name: "pipe, integers, by numbers in a call of sendManySync",
    unit: "per second",
    growth: true,
    async lines() {
      const peer = await Peer.start(import.meta.url);
      return [1, 4, 16, 64, 256, KIB, 4 * KIB, 64 * KIB].map((batch) => ({
        ...batchLine(peer, batch),
        name: String(batch),
      }));
    },
  },
  {
    name: "queue, integers, by producers and consumers",
    unit: "per second",
    growth: true,
    async lines() {
      const peers: Peer[] = [];
      for (let i = 0; i < 8; i++) peers.push(await Peer.start(import.meta.url));
      return [1, 2, 4].map((pairs) => pairsLine(`${pairs} and ${pairs}`, peers, pairs, 300_000));
    },
  },
  {
    name: "queue, one put and one get, by items that wait in it",
    unit: "ns",
    growth: true,
    lines: () => [0, 10, 100, 1_000, 4_000].map(depthLine),
  },
];

function sizeOf(bytes: number): string {
  if (bytes >= KIB * KIB) return `${bytes / KIB / KIB} MiB`;
  return bytes >= KIB ? `${bytes / KIB} KiB` : `${bytes} bytes`;
}

function textLine(peer: Peer, length: number): Line {
  const value = "x".repeat(length);
  return {
    name: `${length} characters`,
    count: Math.ceil(5e7 / (length + 500)),
    async run(items) {
      const [here, there] = pipe<string>();
      const done = peer.run("sendValues", { handle: there.handle, count: items, value });
      check(here.receiveSync() === value);
      const result = await timed(items - 1, () => {
        for (let i = 1; i < items; i++) check(here.receiveSync() === value);
      });
      await done;
      return result;
    },
  };
}

function capacityLine(peer: Peer, capacity: number): Line {
  return {
    name: sizeOf(capacity),
    count: 500_000,
    async run(items) {
      const [here, there] = pipe<number>({ capacity });
      const done = peer.run("sendInts", { handle: there.handle, count: items });
      check(here.receiveSync() === 0);
      const result = await timed(items - 1, () => {
        for (let i = 1; i < items; i++) check(here.receiveSync() === i);
      });
      await done;
      return result;
    },
  };
}

function depthLine(depth: number): Line {
  const queue = new Queue<number>();
  for (let i = 0; i < depth; i++) queue.putSync(i);
  return loopLine(String(depth), 500_000, (count) => {
    for (let i = 0; i < count; i++) {
      queue.putSync(i);
      queue.getSync();
    }
  });
}
