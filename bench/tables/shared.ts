// Copyright 2026 the Sabre authors. MIT license.

// Addition to a number in shared memory.

import { SharedValue } from "@sabre/ipc";
import { check, loopLine, type Table } from "../_harness.ts";

export const tables: Table[] = [
  {
    name: "one addition",
    unit: "ns",
    lines() {
      const value = new SharedValue("i32");
      const words = new Int32Array(new SharedArrayBuffer(4));
      return [
        loopLine("SharedValue i32", 2_000_000, (count) => {
          const before = value.value;
          for (let i = 0; i < count; i++) value.add(1);
          check(value.value === ((before + count) | 0));
        }),
        loopLine("bare Atomics.add", 2_000_000, (count) => {
          for (let i = 0; i < count; i++) Atomics.add(words, 0, 1);
        }),
      ];
    },
  },
  {
    name: "one addition of floats",
    unit: "ns",
    lines() {
      const value = new SharedValue("f64");
      const words = new BigInt64Array(new SharedArrayBuffer(8));
      return [
        loopLine("SharedValue f64", 1_000_000, (count) => {
          const before = value.value;
          for (let i = 0; i < count; i++) value.add(1);
          check(value.value === before + count);
        }),
        loopLine("bare compareExchange of 64 bits", 1_000_000, (count) => addFloats(words, count)),
      ];
    },
  },
];

/** There are no atomic floats: their bits are replaced if they are still the same. */
function addFloats(words: BigInt64Array<SharedArrayBuffer>, count: number): void {
  const bits = new BigInt64Array(1);
  const float = new Float64Array(bits.buffer);
  for (let i = 0; i < count; i++) {
    for (;;) {
      const before = Atomics.load(words, 0);
      bits[0] = before;
      float[0]! += 1;
      if (Atomics.compareExchange(words, 0, before, bits[0]) === before) break;
    }
  }
}
