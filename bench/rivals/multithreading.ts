// Copyright 2026 the Sabre authors. MIT license.

// multithreading 0.3.52, which needs a process of its own: it burns a core while it waits, and does
// not let its process end. `deno run -A multithreading.ts <what> <count>`. Its channel is given a
// heap far above its 64 KiB, with which it does not corrupt integers.

import { cpuUsage } from "node:process";
import { channel, drop, move, Mutex, shutdown, spawn } from "npm:multithreading@0.3.52";

const [what, text] = Deno.args;
const count = Number(text);

/** Integers through a channel, received here. */
async function ints(count: number): Promise<number> {
  const [sender, receiver] = channel<number>(1_024, { size: 64 << 20 });
  const handle = spawn(move(sender, count), (sender, count) => {
    for (let i = 0; i < count; i++) sender.blockingSend(i);
  });
  let begin = 0;
  for (let i = 0; i < count; i++) {
    const result = await receiver.recv();
    if (i === 0) begin = performance.now();
    if (!result.ok || result.value !== i) throw new Error("A value arrived wrong");
  }
  const time = performance.now() - begin;
  await handle.join();
  drop(receiver);
  return time;
}

/** Two threads that take a mutex in turn. */
async function mutex(count: number): Promise<number> {
  const memory = new Int32Array(new SharedArrayBuffer(16));
  const mutex = new Mutex(memory);
  const gate = new Int32Array(new SharedArrayBuffer(8));
  const contend = () =>
    spawn(move(mutex, gate.buffer, count / 2), (mutex, memory, count) => {
      const gate = new Int32Array(memory as unknown as SharedArrayBuffer);
      Atomics.add(gate, 1, 1);
      Atomics.wait(gate, 0, 0);
      for (let i = 0; i < count; i++) {
        const guard = mutex.blockingLock();
        guard.value[0]! += 1;
        guard.dispose();
      }
    });
  const handles = [contend(), contend()];
  while (Atomics.load(gate, 1) < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  const begin = performance.now();
  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
  for (const handle of handles) await handle.join();
  const time = performance.now() - begin;
  if (memory[0] !== count) throw new Error("A value arrived wrong");
  return time;
}

/** The milliseconds of processor time that waiting for `count` seconds takes. */
async function idle(count: number): Promise<number> {
  const [, receiver] = channel<number>(16);
  void receiver.recv();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const before = cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, count * 1_000));
  const { user, system } = cpuUsage(before);
  return (user + system) / 1_000;
}

const works: Record<string, (count: number) => Promise<number>> = { ints, mutex, idle };
if (what === "ints") await ints(1_000);
if (what === "mutex") await mutex(1_000);
const even = what === "idle" ? count : Math.max(2, 2 * Math.ceil(count / 2));
const time = await works[what!]!(even);
console.log(JSON.stringify({ count: even, time }));
shutdown();
Deno.exit();
