// Copyright 2026 the Sabre authors. MIT license.

// A program that has used everything once and is through.

import {
  Barrier,
  Condition,
  Lock,
  pipe,
  Pool,
  Queue,
  RLock,
  RwLock,
  Semaphore,
  SharedArray,
  SharedEvent,
  SharedValue,
} from "@sabre/ipc";

const queue = new Queue<number>();
const aborter = new AbortController();
const aborted = queue.get({ signal: aborter.signal }).catch(() => {});
aborter.abort();
await aborted;
await queue.get({ timeout: 5 }).catch(() => {});
await queue.put(1);
await queue.get();
const [here, there] = pipe<number>();
await here.send(1);
await there.receive();
for (const lock of [new Lock(), new RLock()]) await lock.withLock(() => {});
(await new RwLock().read()).release();
(await new Semaphore().acquire()).release();
const condition = new Condition();
(condition.lock as RLock).acquireSync().release();
const event = new SharedEvent();
const waiting = event.wait();
event.set();
await waiting;
await new Barrier(1).wait();
new SharedValue("i32").add(1);
new SharedArray("f64", 2).fill(1);
// Open, idle, and not waited for.
new Pool(new URL("../../../examples/squares.ts", import.meta.url), { size: 1 });
console.log("through");
