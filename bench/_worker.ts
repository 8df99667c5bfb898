// Copyright 2026 the Sabre authors. MIT license.

// The other side of each measurement: a worker that does what it is told and says when it is ready.

/// <reference lib="deno.worker" />

import { Connection, Lock, Queue, RLock, SharedValue } from "@sabre/ipc";

/** What a job gets: handles and counts, by structured clone. */
// deno-lint-ignore no-explicit-any
type Input = any;

const jobs: Record<string, (input: Input) => void | Promise<void>> = {
  pipeInts({ handle, count }) {
    const connection = Connection.from<number>(handle);
    for (let i = 0; i < count; i++) connection.sendSync(i);
  },
  pipeRuns({ handle, count, batch }) {
    const connection = Connection.from<number>(handle);
    const values = new Int32Array(batch);
    for (let i = 0; i < count; i += batch) {
      for (let j = 0; j < batch; j++) values[j] = i + j;
      connection.sendManySync(values);
    }
  },
  pipeValues({ handle, count, value }) {
    const connection = Connection.from(handle);
    for (let i = 0; i < count; i++) connection.sendSync(value);
  },
  pipeBytes({ handle, count, size }) {
    const connection = Connection.from(handle);
    const bytes = new Uint8Array(size).fill(7);
    for (let i = 0; i < count; i++) connection.sendBytesSync(bytes);
  },
  pipeEcho({ handle, count }) {
    const connection = Connection.from<number, number>(handle);
    for (let i = 0; i < count; i++) connection.sendSync(connection.receiveSync());
  },
  async pipeEchoAsync({ handle, count }) {
    const connection = Connection.from<number, number>(handle);
    for (let i = 0; i < count; i++) await connection.send(await connection.receive());
  },
  queueInts({ handle, count }) {
    const queue = Queue.from<number>(handle);
    for (let i = 0; i < count; i++) queue.putSync(i);
  },
  queueValues({ handle, count, value }) {
    const queue = Queue.from(handle);
    for (let i = 0; i < count; i++) queue.putSync(value);
  },
  queueDrain({ handle, count }) {
    const queue = Queue.from<number>(handle);
    for (let i = 0; i < count; i++) queue.getSync();
  },
  postValues({ count, value }) {
    for (let i = 0; i < count; i++) self.postMessage(value);
  },
  postBytes({ count, size, transfer }) {
    for (let i = 0; i < count; i++) {
      const bytes = new Uint8Array(size).fill(7);
      self.postMessage(bytes, transfer ? [bytes.buffer] : []);
    }
  },
  postEcho() {},
  rawRing({ memory, count }) {
    const words = new Int32Array(memory);
    const mask = (1 << 14) - 1;
    let tail = 0;
    let seen = 0;
    for (let i = 0; i < count; i++) {
      while (((tail - seen) | 0) > mask) seen = Atomics.load(words, 32);
      words[256 + (tail & mask)] = i;
      tail = (tail + 1) | 0;
      Atomics.store(words, 0, tail);
    }
  },
  lock({ handle, count }) {
    const lock = Lock.from(handle);
    for (let i = 0; i < count; i++) lock.acquireSync().release();
  },
  value({ handle, count }) {
    const value = SharedValue.from<"i32">(handle);
    for (let i = 0; i < count; i++) value.add(1);
  },
};

// Kept so that the module of every kind is loaded before anything is timed.
void RLock;

let echo = false;

self.onmessage = async ({ data }: MessageEvent<Input>) => {
  if (echo && data !== "stop") return self.postMessage(data);
  if (data === "stop") {
    echo = false;
    return;
  }
  if (data.job === "postEcho") {
    echo = true;
  } else {
    await jobs[data.job]!(data);
  }
  if (data.quiet !== true) self.postMessage("done");
};
self.postMessage("ready");
