// Copyright 2026 the Sabre authors. MIT license.

// ringbuf.js 0.4.0: a ring for one producer and one consumer which poll, as it does not wait.

import { RingBuffer } from "npm:ringbuf.js@0.4.0";
import type { Line } from "../_harness.ts";
import type { Input, Peer } from "../_peer.ts";

const LENGTH = 1 << 14;

/** Integers, `batch` of them with each call at both ends. */
export function ringbufLine(peer: Peer, batch: number, count: number): Line {
  return {
    name: `ringbuf.js 0.4.0${batch === 1 ? "" : `, batches of ${batch}`}, both spin`,
    count,
    async run(items) {
      const total = Math.ceil(items / batch) * batch;
      const memory = RingBuffer.getStorageForCapacity(LENGTH, Int32Array as never);
      const ring = new RingBuffer(memory, Int32Array as never);
      const target = new Int32Array(batch);
      const done = peer.run("fillRingbuf", { memory, count: total, batch });
      let seen = 0;
      const take = () => {
        const taken = ring.pop(target, batch);
        if (taken > 0 && target[taken - 1] !== seen + taken - 1) throw new Error("Arrived wrong");
        seen += taken;
      };
      while (seen === 0) take();
      const first = seen;
      const start = performance.now();
      while (seen < total) take();
      const time = performance.now() - start;
      await done;
      return { count: total - first, time };
    },
  };
}

/** The other side. */
export function fillRingbuf({ memory, count, batch }: Input): void {
  const ring = new RingBuffer(memory, Int32Array as never);
  const values = new Int32Array(batch);
  for (let i = 0; i < count; i += batch) {
    for (let j = 0; j < batch; j++) values[j] = i + j;
    for (let pushed = 0; pushed < batch;) {
      pushed += ring.push(values, batch - pushed, pushed);
    }
  }
}
