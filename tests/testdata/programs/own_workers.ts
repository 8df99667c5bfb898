// Copyright 2026 the Sabre authors. MIT license.

// Workers that the program starts itself take part, and one dies with a lock. Nothing that watches them
// keeps the program alive, nor the workers of `node:worker_threads`, which end by themselves.

import { Worker as NodeWorker } from "node:worker_threads";
import { Lock, Queue } from "../../../mod.ts";

const lock = new Lock();
const queue = new Queue<string>();
const web = new Worker(new URL("../own_worker.ts", import.meta.url), { type: "module" });
web.postMessage([lock, queue]);
const node = new NodeWorker(new URL("../own_worker.ts", import.meta.url), {
  workerData: [lock.handle, queue.handle],
});
const ended = new Promise((resolve) => node.on("exit", resolve));

const words = [await queue.get(), await queue.get()].sort();
await ended;
web.terminate();
const death = await lock.acquire({ timeout: 5_000 }).catch((error: Error) => error.name);
console.log(...words, death);
