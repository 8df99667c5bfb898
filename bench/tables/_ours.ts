// Copyright 2026 the Sabre authors. MIT license.

// Lines of one producer and one consumer over a pipe or a queue, and the jobs of the producer.

import { Connection, pipe, Queue } from "@sabre/ipc";
import { check, type Line, timed } from "../_harness.ts";
import { type Input, type Peer, scope } from "../_peer.ts";

/** Receives, with `receiveSync`, what a job sends through a pipe. */
export function pipeLine(
  name: string,
  peer: Peer,
  job: string,
  input: Record<string, unknown>,
  count: number,
  isRight: (value: unknown, index: number) => boolean,
): Line {
  return {
    name,
    count,
    async run(items) {
      const [here, there] = pipe<unknown>();
      const done = peer.run(job, { ...input, handle: there.handle, count: items });
      check(isRight(here.receiveSync(), 0));
      const result = await timed(items - 1, () => {
        for (let i = 1; i < items; i++) check(isRight(here.receiveSync(), i));
      });
      await done;
      return result;
    },
  };
}

/** Gets, with `getSync`, what a job puts into a queue. */
export function queueLine(
  name: string,
  peer: Peer,
  job: string,
  input: Record<string, unknown>,
  count: number,
  isRight: (value: unknown, index: number) => boolean,
): Line {
  return {
    name,
    count,
    async run(items) {
      const queue = new Queue<unknown>();
      const done = peer.run(job, { ...input, handle: queue.handle, count: items });
      check(isRight(queue.getSync(), 0));
      const result = await timed(items - 1, () => {
        for (let i = 1; i < items; i++) check(isRight(queue.getSync(), i));
      });
      await done;
      return result;
    },
  };
}

// -- Jobs --

export function sendInts({ handle, count }: Input): void {
  const connection = Connection.from<number>(handle);
  for (let i = 0; i < count; i++) connection.sendSync(i);
}

export function sendValues({ handle, count, value }: Input): void {
  const connection = Connection.from(handle);
  for (let i = 0; i < count; i++) connection.sendSync(value);
}

export function putInts({ handle, count }: Input): void {
  const queue = Queue.from<number>(handle);
  for (let i = 0; i < count; i++) queue.putSync(i);
}

export function putValues({ handle, count, value }: Input): void {
  const queue = Queue.from(handle);
  for (let i = 0; i < count; i++) queue.putSync(value);
}

export function postInts({ count }: Input): void {
  for (let i = 0; i < count; i++) scope.postMessage(i);
}

export function postValues({ count, value }: Input): void {
  for (let i = 0; i < count; i++) scope.postMessage(value);
}

export function postBytes({ count, size, transfer }: Input): void {
  const bytes = new Uint8Array(size).fill(7);
  for (let i = 0; i < count; i++) {
    // What is transferred is gone: the next one needs bytes of its own.
    if (transfer) {
      const fresh = bytes.slice();
      scope.postMessage(fresh, [fresh.buffer]);
    } else {
      scope.postMessage(bytes);
    }
  }
}
