// Copyright 2026 the Sabre authors. MIT license.

// What the platform takes for the single operations of which all calls consist: no call can take less
// than those that it cannot do without.

import { check, type Line, loopLine, type Table } from "../_harness.ts";

export const tables: Table[] = [
  {
    name: "single operations",
    unit: "ns",
    lines() {
      const words = new Int32Array(new SharedArrayBuffer(64 * 4));
      return [
        loopLine("Atomics.load", 1_000_000, (count) => {
          let sum = 0;
          for (let i = 0; i < count; i++) sum += Atomics.load(words, 0);
          check(sum === 0);
        }),
        loopLine("Atomics.store", 1_000_000, (count) => {
          for (let i = 0; i < count; i++) Atomics.store(words, 32, i);
        }),
        loopLine("Atomics.compareExchange", 1_000_000, (count) => {
          for (let i = 0; i < count; i++) Atomics.compareExchange(words, 0, 0, 0);
        }),
        loopLine("Atomics.notify, nobody waits", 200_000, (count) => {
          for (let i = 0; i < count; i++) Atomics.notify(words, 0);
        }),
        loopLine("Atomics.wait, which need not", 200_000, (count) => {
          for (let i = 0; i < count; i++) Atomics.wait(words, 0, 1, 1_000);
        }),
        loopLine("Atomics.pause", 200_000, (count) => {
          for (let i = 0; i < count; i++) Atomics.pause();
        }),
        loopLine("performance.now", 200_000, (count) => {
          let sum = 0;
          for (let i = 0; i < count; i++) sum += performance.now();
          check(sum > 0);
        }),
        loopLine("a timer, set and cleared", 20_000, (count) => {
          for (let i = 0; i < count; i++) clearInterval(setInterval(() => {}, 1_000_000));
        }),
        awaitLine(200_000),
      ];
    },
  },
];

function awaitLine(count: number): Line {
  return {
    name: "await of what is there",
    count,
    async run(turns) {
      const start = performance.now();
      for (let i = 0; i < turns; i++) await undefined;
      return { count: turns, time: performance.now() - start };
    },
  };
}
