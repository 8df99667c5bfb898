// Copyright 2026 the Sabre authors. MIT license.

// A lock that nobody else wants, and one that two threads want all the time.

import { Lock } from "@sabre/ipc";
import { check, type Line, loopLine, type Table } from "../_harness.ts";
import { denoLine, outsideLine } from "../_outside.ts";
import { type Input, Peer, together, waitAtGate } from "../_peer.ts";
import * as raw from "../raw/mutex.ts";

export const tables: Table[] = [
  {
    name: "one uncontended acquireSync and release",
    unit: "ns",
    lines({ rust }) {
      const lock = new Lock();
      const words = new Int32Array(new SharedArrayBuffer(4));
      return [
        loopLine("Lock", 1_000_000, (count) => {
          for (let i = 0; i < count; i++) lock.acquireSync().release();
        }),
        loopLine("two bare compareExchange", 1_000_000, (count) => {
          for (let i = 0; i < count; i++) {
            Atomics.compareExchange(words, 0, 0, 1);
            Atomics.compareExchange(words, 0, 1, 0);
          }
        }),
        outsideLine("Rust Mutex", rust, ["lone_mutex"], 10_000_000),
      ];
    },
  },
  {
    name: "a lock that two threads want",
    unit: "ns",
    async lines({ rust }) {
      const peers = [await Peer.start(import.meta.url), await Peer.start(import.meta.url)];
      return [
        contendedLine("Lock", peers, 500_000, () => {
          return { job: "useLock", handle: new Lock().handle };
        }),
        contendedLine("a bare word of three states", peers, 500_000, () => {
          return { job: "useWord", words: new Int32Array(new SharedArrayBuffer(4)) };
        }),
        denoLine(
          "multithreading 0.3.52, Mutex",
          "./rivals/multithreading.ts",
          ["mutex"],
          50_000,
        ),
        outsideLine("Rust Mutex", rust, ["mutex"], 1_000_000),
      ];
    },
  },
];

/** Two threads that take a lock, add one to a number beside it and release the lock. */
function contendedLine(
  name: string,
  peers: Peer[],
  count: number,
  create: () => { job: string } & Record<string, unknown>,
): Line {
  return {
    name,
    count,
    async run(turns) {
      const each = Math.ceil(turns / peers.length);
      const number = new Int32Array(new SharedArrayBuffer(4));
      const { job, ...input } = create();
      const time = await together(peers.map((peer) => [peer, job, {
        ...input,
        number,
        count: each,
      }]));
      check(number[0] === each * peers.length);
      return { count: each * peers.length, time };
    },
  };
}

// -- Jobs --

export function useLock({ handle, number, count, gate }: Input): void {
  const lock = Lock.from(handle);
  waitAtGate(gate);
  for (let i = 0; i < count; i++) {
    const guard = lock.acquireSync();
    number[0] += 1;
    guard.release();
  }
}

export function useWord({ words, number, count, gate }: Input): void {
  waitAtGate(gate);
  for (let i = 0; i < count; i++) {
    raw.lock(words);
    number[0] += 1;
    raw.unlock(words);
  }
}
