// Copyright 2026 the Sabre authors. MIT license.

// A thread that does jobs for a measurement, and what two of them need to begin at the same time.

import type { Line } from "./_harness.ts";

/** What a job gets: handles and counts, by structured clone. */
// deno-lint-ignore no-explicit-any
export type Input = any;

/** The worker that a job runs in. */
export const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(value: unknown, transfer?: Transferable[]): void;
};

/** A worker that does the jobs which a module exports. */
export class Peer {
  readonly worker: Worker;
  readonly #port: MessagePort;

  private constructor(worker: Worker, port: MessagePort) {
    this.worker = worker;
    this.#port = port;
  }

  /** Starts one for the jobs of a module, and waits until it has loaded that. */
  static async start(module: string): Promise<Peer> {
    const worker = new Worker(import.meta.resolve("./_worker.ts"), { type: "module" });
    await new Promise((resolve) => worker.onmessage = resolve);
    const { port1, port2 } = new MessageChannel();
    const peer = new Peer(worker, port1);
    const ready = peer.#next();
    worker.postMessage({ module, port: port2 }, [port2]);
    await ready;
    return peer;
  }

  /** Has a job done; the promise is there when it has ended. */
  run(job: string, input: Input): Promise<unknown> {
    const done = this.#next();
    this.#port.postMessage({ job, input });
    return done;
  }

  #next(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#port.onmessage = ({ data: { value, error } }) => {
        if (error === undefined) resolve(value);
        else reject(new Error(error));
      };
    });
  }
}

/** A line of messages posted by a job of a peer, counted until all are there. */
export function postLine(
  name: string,
  peer: Peer,
  job: string,
  input: Record<string, unknown>,
  count: number,
  isRight: (value: unknown) => boolean,
): Line {
  return {
    name,
    count,
    async run(items) {
      let begin = 0;
      const done = Promise.withResolvers<void>();
      let seen = 0;
      peer.worker.onmessage = ({ data }) => {
        if (seen === 0) begin = performance.now();
        if (++seen < items) return;
        if (isRight(data)) done.resolve();
        else done.reject(new Error("A value arrived wrong"));
      };
      const sent = peer.run(job, { ...input, count: items });
      await done.promise;
      const time = performance.now() - begin;
      await sent;
      return { count: items, time };
    },
  };
}

/** Has several peers do a job each, lets them begin together, and times until the last has ended. */
export async function together(
  peers: [peer: Peer, job: string, input: Record<string, unknown>][],
): Promise<number> {
  const gate = new Int32Array(new SharedArrayBuffer(8));
  const done = Promise.all(peers.map(([peer, job, input]) => peer.run(job, { ...input, gate })));
  while (Atomics.load(gate, 1) < peers.length) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const start = performance.now();
  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
  await done;
  return performance.now() - start;
}

/** Waits, in a job, until the others are there too. */
export function waitAtGate(gate: Int32Array<SharedArrayBuffer>): void {
  Atomics.add(gate, 1, 1);
  Atomics.wait(gate, 0, 0);
}
