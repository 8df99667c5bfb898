// Copyright 2026 the Sabre authors. MIT license.

// One measurement of `resources.ts`: `deno run -A resources_child.ts <what> <count>`.

import { cpuUsage, memoryUsage } from "node:process";
import { pipe, Process, Queue } from "@sabre/ipc";
import { type Input, Peer, postLine, scope } from "../_peer.ts";
import { OBJECT } from "../_values.ts";
import { putInts, sendInts, sendValues } from "./_ours.ts";

export { putInts, sendInts, sendValues };

/** Processor time of the whole program while something waits for `seconds`, in milliseconds. */
async function cpu(seconds: number, wait: (ms: number) => unknown): Promise<number> {
  // Once before it counts, so that nothing has to be compiled.
  await wait(100);
  await pause(300);
  const before = cpuUsage();
  await wait(seconds * 1_000);
  const { user, system } = cpuUsage(before);
  return (user + system) / 1_000;
}

/** How much memory `work` leaves behind, in MiB, after the same work was done once on a small scale. */
async function growth(
  count: number,
  work: (peer: Peer, count: number) => Promise<void>,
): Promise<number> {
  const peer = await Peer.start(import.meta.url);
  await work(peer, 20_000);
  await pause(300);
  const before = memoryUsage().rss;
  await work(peer, count);
  await pause(300);
  return (memoryUsage().rss - before) / 2 ** 20;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits for what never comes. */
function expires(call: () => unknown): void {
  try {
    call();
  } catch {
    return;
  }
  throw new Error("Nothing was to arrive");
}

async function receiveAll(
  peer: Peer,
  job: string,
  input: Record<string, unknown>,
  count: number,
): Promise<void> {
  const [here, there] = pipe();
  const done = peer.run(job, { ...input, handle: there.handle, count });
  for (let i = 0; i < count; i++) here.receiveSync();
  await done;
}

const nothing = new Queue();

const works: Record<string, (count: number) => Promise<number>> = {
  getSync: (seconds) => cpu(seconds, (timeout) => expires(() => nothing.getSync({ timeout }))),
  get: (seconds) => cpu(seconds, (timeout) => nothing.get({ timeout }).catch(() => {})),
  wait(seconds) {
    const words = new Int32Array(new SharedArrayBuffer(4));
    return cpu(seconds, (ms) => Atomics.wait(words, 0, 0, ms));
  },
  timer: (seconds) => cpu(seconds, pause),
  async child(seconds) {
    const child = new Process(import.meta.url, { target: waitForItem, args: [nothing] }).start();
    await pause(300);
    const used = await cpu(seconds, pause);
    nothing.putSync(1);
    await child.join();
    return used;
  },
  rssQueue: (count) =>
    growth(count, async (peer, count) => {
      const queue = new Queue();
      const done = peer.run("putInts", { handle: queue.handle, count });
      for (let i = 0; i < count; i++) queue.getSync();
      await done;
    }),
  rssPipe: (count) => growth(count, (peer, count) => receiveAll(peer, "sendInts", {}, count)),
  rssObjects: (count) =>
    growth(count, (peer, count) => receiveAll(peer, "sendValues", { value: OBJECT }, count)),
  rssPost: (count) =>
    growth(count, async (peer, count) => {
      await postLine("", peer, "postSlowly", { value: OBJECT }, 0, () => true).run(count);
    }),
  async rssProcess(count) {
    const children: Process[] = [];
    const used = await perOne(count, async () => {
      const child = new Process(import.meta.url, { target: waitForItem, args: [nothing] }).start();
      children.push(child);
      await pause(200);
    });
    for (const _ of children) nothing.putSync(1);
    for (const child of children) await child.join();
    return used;
  },
  rssWorker: (count) => perOne(count, async () => void await Peer.start(import.meta.url)),
};

/** The memory that each of `count` takes, in MiB. */
async function perOne(count: number, start: () => Promise<void>): Promise<number> {
  await start();
  const before = memoryUsage().rss;
  for (let i = 0; i < count; i++) await start();
  return (memoryUsage().rss - before) / 2 ** 20;
}

// -- Jobs --

export function waitForItem(queue: Queue): void {
  queue.getSync();
}

/** Posts in portions: without an end, `postMessage` piles up whatever it is given. */
export async function postSlowly({ count, value }: Input): Promise<void> {
  for (let i = 0; i < count; i++) {
    scope.postMessage(value);
    if (i % 1_000 === 999) await pause(1);
  }
}

if (import.meta.main) {
  const [what, text] = Deno.args;
  const count = Number(text);
  const time = await works[what!]!(count);
  const isTotal = what!.startsWith("rss") && what !== "rssProcess" && what !== "rssWorker";
  console.log(JSON.stringify({ count: isTotal ? 1 : count, time }));
  Deno.exit();
}
