// Copyright 2026 the Sabre authors. MIT license.

// A worker of `node:worker_threads` that a user starts, which takes a lock and keeps it.

import { parentPort, workerData } from "node:worker_threads";
import { Lock } from "../../lock.ts";

const { lock, isIdle } = workerData as { lock: unknown; isIdle: boolean };
const guard = Lock.from(lock).acquireSync();
// Idle or about to end of its own accord, as nothing keeps it.
if (isIdle) parentPort!.on("message", () => guard.release());
else setTimeout(() => {}, 300);
