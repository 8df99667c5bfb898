// Copyright 2026 the Sabre authors. MIT license.

// A question and its answer. With a core for each side, waking it may cost 5 or 60 microseconds on a
// virtual machine, whatever the code does; on one core, which both sides share, it is the switch
// between them that is timed. So the ratios are those of one core, the rest is for information.

import { Connection, pipe } from "@sabre/ipc";
import { check, type Line, type Table, timed } from "../_harness.ts";
import { outsideLine } from "../_outside.ts";
import { type Input, Peer, scope } from "../_peer.ts";
import * as raw from "../raw/trip.ts";

/** Trips after which the engine has compiled what one runs through, on both sides. */
const WARM_UP = 20_000;

export const tables: Table[] = [
  {
    name: "round trip",
    unit: "us",
    async lines({ python }) {
      const peer = await Peer.start(import.meta.url);
      return [
        syncLine(peer, 20_000),
        rawLine("bare words, both spin", peer, "spin", 100_000),
        rawLine("bare Atomics.wait and notify", peer, "sleep", 2_000),
        asyncLine(peer, 2_000),
        rawAsyncLine(peer, 2_000),
        postLine(peer, 2_000),
        outsideLine("Python Pipe", python, ["trips"], 1_000),
      ];
    },
  },
  {
    name: "round trip on one core",
    unit: "us",
    pinned: true,
    async lines({ python }) {
      const peer = await Peer.start(import.meta.url);
      return [
        syncLine(peer, 5_000),
        rawLine("bare Atomics.wait and notify", peer, "sleep", 5_000),
        rawLine("the same, each wait with a timeout", peer, "nap", 5_000),
        outsideLine("Python Pipe", python, ["trips"], 1_000),
      ];
    },
  },
  {
    name: "round trip on one core, promises",
    unit: "us",
    pinned: true,
    async lines() {
      const peer = await Peer.start(import.meta.url);
      return [asyncLine(peer, 2_000), rawAsyncLine(peer, 2_000), postLine(peer, 2_000)];
    },
  },
];

function syncLine(peer: Peer, count: number): Line {
  return {
    name: "pipe, Sync at both ends",
    count,
    warmUp: WARM_UP,
    async run(trips) {
      const [here, there] = pipe<number>();
      const done = peer.run("echo", { handle: there.handle, count: trips });
      const result = await timed(trips, () => {
        for (let i = 0; i < trips; i++) {
          here.sendSync(i);
          check(here.receiveSync() === i);
        }
      });
      await done;
      return result;
    },
  };
}

function asyncLine(peer: Peer, count: number): Line {
  return {
    name: "pipe, promises at both ends",
    count,
    warmUp: WARM_UP,
    async run(trips) {
      const [here, there] = pipe<number>();
      const done = peer.run("echoAsync", { handle: there.handle, count: trips });
      const result = await timed(trips, async () => {
        for (let i = 0; i < trips; i++) {
          await here.send(i);
          check(await here.receive() === i);
        }
      });
      await done;
      return result;
    },
  };
}

function rawLine(name: string, peer: Peer, wait: raw.Wait, count: number): Line {
  return {
    name,
    count,
    warmUp: WARM_UP,
    async run(trips) {
      const words = new Int32Array(raw.tripMemory());
      const done = peer.run("answerRaw", { words, count: trips, wait });
      const result = await timed(trips, () => raw.ask(words, trips, wait));
      await done;
      return result;
    },
  };
}

function rawAsyncLine(peer: Peer, count: number): Line {
  return {
    name: "bare Atomics.waitAsync and notify",
    count,
    warmUp: WARM_UP,
    async run(trips) {
      const words = new Int32Array(raw.tripMemory());
      const done = peer.run("answerRawAsync", { words, count: trips });
      const result = await timed(trips, () => raw.askAsync(words, trips));
      await done;
      return result;
    },
  };
}

function postLine(peer: Peer, count: number): Line {
  return {
    name: "postMessage",
    count,
    warmUp: WARM_UP,
    async run(trips) {
      const { worker } = peer;
      const done = peer.run("echoPosts", { count: trips });
      await new Promise((resolve) => worker.onmessage = resolve);
      let answered: (value: unknown) => void;
      worker.onmessage = ({ data }) => answered(data);
      const result = await timed(trips, async () => {
        for (let i = 0; i < trips; i++) {
          const answer = new Promise((resolve) => answered = resolve);
          worker.postMessage(i);
          check(await answer === i);
        }
      });
      await done;
      return result;
    },
  };
}

// -- Jobs --

export function echo({ handle, count }: Input): void {
  const connection = Connection.from<number, number>(handle);
  for (let i = 0; i < count; i++) connection.sendSync(connection.receiveSync());
}

export async function echoAsync({ handle, count }: Input): Promise<void> {
  const connection = Connection.from<number, number>(handle);
  for (let i = 0; i < count; i++) await connection.send(await connection.receive());
}

export function answerRaw({ words, count, wait }: Input): void {
  raw.answer(words, count, wait);
}

export function answerRawAsync({ words, count }: Input): Promise<void> {
  return raw.answerAsync(words, count);
}

export function echoPosts({ count }: Input): Promise<void> {
  return new Promise((resolve) => {
    let left = count;
    scope.onmessage = ({ data }) => {
      scope.postMessage(data);
      if (--left === 0) resolve();
    };
    scope.postMessage("ready");
  });
}
