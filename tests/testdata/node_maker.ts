// Copyright 2026 the Sabre authors. MIT license.

// A worker of `node:worker_threads` that a user starts, which makes a lock, keeps it and sends it.

import { parentPort } from "node:worker_threads";
import { Lock } from "../../lock.ts";

const lock = new Lock();
const guard = lock.acquireSync();
parentPort!.postMessage(lock.handle);
parentPort!.on("message", () => guard.release());
