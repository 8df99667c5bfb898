// Copyright 2026 the Sabre authors. MIT license.

// A worker that a program starts itself, of either kind: a global one keeps a lock.

import { workerData } from "node:worker_threads";
import { Lock, Queue } from "../../mod.ts";

const kept: unknown[] = [];

function takePart([lock, queue]: [unknown, unknown], name: string): void {
  if (name === "web") kept.push(Lock.from(lock).acquireSync());
  Queue.from(queue).putSync(name);
}

if (workerData) takePart(workerData, "node");
else addEventListener("message", (event) => takePart((event as MessageEvent).data, "web"));
