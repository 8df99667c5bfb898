// Copyright 2026 the Sabre authors. MIT license.

/**
 * Measures this package beside `postMessage` and beside the least that the machine can do.
 *
 * `deno task bench [--quick] [--only=text]`
 */

import { Lock, pipe, Pool, Process, Queue, SharedValue } from "@sabre/ipc";
import * as Comlink from "npm:comlink@4.4.2";
import { Piscina } from "npm:piscina@5.3.2";
import { OBJECT, TEXT } from "./_values.ts";
import { measure, print, quiet, type Result, type Table, timed } from "./_harness.ts";

const isQuick = Deno.args.includes("--quick");
const only = Deno.args.find((arg) => arg.startsWith("--only="))?.slice(7) ?? "";
const rounds = isQuick ? 3 : 7;
const scale = isQuick ? 0.1 : 1;

/** What the worker is told; see `_worker.ts`. */
type Job = Record<string, unknown> & { job: string };

const worker = new Worker(import.meta.resolve("./_worker.ts"), { type: "module" });
await next();

/** The next message of the worker. */
function next(): Promise<unknown> {
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
  });
}

/** Starts a job of the worker; the promise is there when it has ended. */
function start(job: Job): Promise<unknown> {
  const done = next();
  worker.postMessage(job);
  return done;
}

function check(condition: boolean): void {
  if (!condition) throw new Error("A value arrived wrong");
}

/** Messages of the worker, counted until all are there. */
async function post(job: Job, count: number): Promise<{ count: number; time: number }> {
  let begin = 0;
  await new Promise<void>((resolve) => {
    let seen = 0;
    worker.onmessage = ({ data }) => {
      if (seen === 0) begin = performance.now();
      if (data === "done") resolve();
      else seen++;
    };
    worker.postMessage({ ...job, count });
  });
  return { count, time: performance.now() - begin };
}

function postLine(name: string, job: Job, count: number) {
  return { name, run: () => post(job, Math.ceil(count * scale)) };
}

/** Receives what a job sends through a pipe. */
function pipeLine(name: string, job: Job, count: number, isRight: (value: unknown) => boolean) {
  return {
    name,
    async run() {
      const items = Math.ceil(count * scale);
      const [here, there] = pipe<unknown>();
      const done = start({ ...job, handle: there.handle, count: items });
      check(isRight(here.receiveSync()));
      const result = await timed(items, () => {
        let last: unknown;
        for (let i = 1; i < items; i++) last = here.receiveSync();
        check(isRight(last));
      });
      await done;
      return result;
    },
  };
}

function queueLine(name: string, job: Job, count: number, isRight: (value: unknown) => boolean) {
  return {
    name,
    async run() {
      const items = Math.ceil(count * scale);
      const queue = new Queue<unknown>();
      const done = start({ ...job, handle: queue.handle, count: items });
      check(isRight(queue.getSync()));
      const result = await timed(items, () => {
        let last: unknown;
        for (let i = 1; i < items; i++) last = queue.getSync();
        check(isRight(last));
      });
      await done;
      return result;
    },
  };
}

const numbers = Array.from({ length: Math.ceil(200_000 * scale) }, (_, i) => i);
const pool = new Pool(import.meta.resolve("../examples/squares.ts"), { size: 2 });
const linked = new Worker(import.meta.resolve("./_comlink.ts"), { type: "module" });
await new Promise<void>((resolve) => {
  linked.addEventListener("message", () => resolve(), { once: true });
});
// Comlink's types do not know Deno's worker.
const remote = Comlink.wrap<{ square(x: number): number }>(linked as unknown as Comlink.Endpoint);
const piscina = new Piscina({
  filename: new URL("./_piscina.mjs", import.meta.url).href,
  minThreads: 2,
  maxThreads: 2,
});

const isObject = (value: unknown) => (value as typeof OBJECT).pos.z === -0.5;
const isText = (value: unknown) => value === TEXT;
const isNumber = (value: unknown) => typeof value === "number";
const KIB = 1_024;
const isKib = (value: unknown) => (value as Uint8Array).length === KIB;

const tables: Table[] = [
  {
    name: "integers, one at a time",
    unit: "per second",
    lines: [
      pipeLine("pipe, sendSync and receiveSync", { job: "pipeInts" }, 10_000_000, isNumber),
      queueLine("queue, putSync and getSync", { job: "queueInts" }, 3_000_000, isNumber),
      postLine("postMessage", { job: "postValues", value: 7 }, 200_000),
      {
        name: "bare ring, one store an item, both spin",
        async run() {
          const count = Math.ceil(10_000_000 * scale);
          const memory = new SharedArrayBuffer(1 << 17);
          const words = new Int32Array(memory);
          const done = start({ job: "rawRing", memory, count });
          const mask = (1 << 14) - 1;
          let head = 0;
          let seen = 0;
          const take = () => {
            while (seen === head) seen = Atomics.load(words, 0);
            const value = words[256 + (head & mask)]!;
            head = (head + 1) | 0;
            Atomics.store(words, 32, head);
            return value;
          };
          check(take() === 0);
          const result = await timed(count, () => {
            for (let i = 1; i < count; i++) check(take() === i);
          });
          await done;
          return result;
        },
      },
    ],
  },
  {
    name: "small nested objects",
    unit: "per second",
    lines: [
      pipeLine("pipe", { job: "pipeValues", value: OBJECT }, 500_000, isObject),
      queueLine("queue", { job: "queueValues", value: OBJECT }, 500_000, isObject),
      postLine("postMessage", { job: "postValues", value: OBJECT }, 100_000),
    ],
  },
  {
    name: "strings of 64 characters",
    unit: "per second",
    lines: [
      pipeLine("pipe", { job: "pipeValues", value: TEXT }, 1_000_000, isText),
      queueLine("queue", { job: "queueValues", value: TEXT }, 1_000_000, isText),
      postLine("postMessage", { job: "postValues", value: TEXT }, 200_000),
    ],
  },
  {
    name: "bytes, 1 KiB",
    unit: "per second",
    lines: [
      pipeLine("pipe, sendBytes", { job: "pipeBytes", size: KIB }, 1_000_000, isKib),
      queueLine(
        "queue",
        { job: "queueValues", value: new Uint8Array(KIB) },
        500_000,
        isKib,
      ),
      postLine("postMessage, copied", { job: "postBytes", size: KIB, transfer: false }, 100_000),
      postLine("postMessage, transferred", { job: "postBytes", size: KIB, transfer: true }, 50_000),
    ],
  },
  {
    name: "one uncontended acquireSync and release",
    unit: "ns",
    lines: [
      {
        name: "Lock",
        run() {
          const lock = new Lock();
          const count = Math.ceil(5_000_000 * scale);
          return timed(count, () => {
            for (let i = 0; i < count; i++) lock.acquireSync().release();
          });
        },
      },
      {
        name: "two bare compareExchange",
        run() {
          const words = new Int32Array(new SharedArrayBuffer(4));
          const count = Math.ceil(5_000_000 * scale);
          return timed(count, () => {
            for (let i = 0; i < count; i++) {
              Atomics.compareExchange(words, 0, 0, 1);
              Atomics.compareExchange(words, 0, 1, 0);
            }
          });
        },
      },
    ],
  },
  {
    name: "one addition",
    unit: "ns",
    lines: [
      {
        name: "SharedValue i32",
        run() {
          const value = new SharedValue("i32");
          const count = Math.ceil(5_000_000 * scale);
          return timed(count, () => {
            for (let i = 0; i < count; i++) value.add(1);
          });
        },
      },
      {
        name: "bare Atomics.add",
        run() {
          const words = new Int32Array(new SharedArrayBuffer(4));
          const count = Math.ceil(5_000_000 * scale);
          return timed(count, () => {
            for (let i = 0; i < count; i++) Atomics.add(words, 0, 1);
          });
        },
      },
    ],
  },
  {
    name: "round trip",
    unit: "us",
    lines: [
      {
        name: "pipe, Sync at both ends",
        async run() {
          const count = Math.ceil(100_000 * scale);
          const [here, there] = pipe<number>();
          const done = start({ job: "pipeEcho", handle: there.handle, count });
          const result = await timed(count, () => {
            for (let i = 0; i < count; i++) {
              here.sendSync(i);
              check(here.receiveSync() === i);
            }
          });
          await done;
          return result;
        },
      },
      {
        name: "pipe, promises at both ends",
        async run() {
          const count = Math.ceil(20_000 * scale);
          const [here, there] = pipe<number>();
          const done = start({ job: "pipeEchoAsync", handle: there.handle, count });
          const result = await timed(count, async () => {
            for (let i = 0; i < count; i++) {
              await here.send(i);
              check(await here.receive() === i);
            }
          });
          await done;
          return result;
        },
      },
      {
        name: "postMessage",
        async run() {
          const count = Math.ceil(20_000 * scale);
          await start({ job: "postEcho" });
          const result = await timed(count, async () => {
            for (let i = 0; i < count; i++) {
              const answer = next();
              worker.postMessage(i);
              check(await answer === i);
            }
          });
          worker.postMessage("stop");
          return result;
        },
      },
    ],
  },
  {
    name: "pool of two, one call at a time",
    unit: "us",
    lines: [
      {
        name: "Pool.run",
        run() {
          const count = Math.ceil(5_000 * scale);
          return timed(count, async () => {
            for (let i = 0; i < count; i++) check(await pool.run("square", [i]) === i * i);
          });
        },
      },
      {
        name: "comlink 4.4.2",
        run() {
          const count = Math.ceil(5_000 * scale);
          return timed(count, async () => {
            for (let i = 0; i < count; i++) check(await remote.square(i) === i * i);
          });
        },
      },
      {
        name: "piscina 5.3.2",
        run() {
          const count = Math.ceil(5_000 * scale);
          return timed(count, async () => {
            for (let i = 0; i < count; i++) check(await piscina.run(i) === i * i);
          });
        },
      },
    ],
  },
  {
    name: "pool of two, items squared",
    unit: "per second",
    lines: [
      {
        name: "Pool.map",
        run() {
          return timed(numbers.length, async () => {
            check((await pool.map<number, number>("square", numbers))[7] === 49);
          });
        },
      },
      {
        name: "Pool.map, chunkSize 1",
        run() {
          return timed(numbers.length, async () => {
            const options = { chunkSize: 1 };
            check((await pool.map<number, number>("square", numbers, options))[7] === 49);
          });
        },
      },
      {
        name: "piscina 5.3.2, a promise for each",
        run() {
          const some = numbers.slice(0, Math.ceil(20_000 * scale));
          return timed(some.length, async () => {
            check((await Promise.all(some.map((n) => piscina.run(n))))[7] === 49);
          });
        },
      },
    ],
  },
  {
    name: "start of a process, and its end",
    unit: "ms",
    lines: [
      {
        name: "Process, start and join",
        run() {
          const count = isQuick ? 3 : 10;
          return timed(count, async () => {
            for (let i = 0; i < count; i++) {
              const child = new Process(import.meta.resolve("./_child.ts"), { target: "nothing" });
              await child.start().join();
            }
          });
        },
      },
      {
        name: "bare Worker, start, answer and terminate",
        run() {
          const count = isQuick ? 3 : 10;
          return timed(count, async () => {
            for (let i = 0; i < count; i++) {
              const bare = new Worker(import.meta.resolve("./_bare.ts"), { type: "module" });
              await new Promise((resolve) => bare.onmessage = resolve);
              bare.terminate();
            }
          });
        },
      },
    ],
  },
];

console.log(
  `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}, ${Deno.build.target}, ` +
    `${navigator.hardwareConcurrency} cores; ${rounds} rounds, medians, least and most`,
);
const all: Result[] = [];
for (const table of tables) {
  if (!table.name.includes(only)) continue;
  await quiet();
  const results = await measure(table, rounds);
  print(results);
  all.push(...results);
}
worker.terminate();
linked.terminate();
await pool.terminate();
await piscina.destroy();
if (!isQuick && only === "") {
  const cpu = Deno.readTextFileSync("/proc/cpuinfo").match(/model name\s*: (.*)/)?.[1] ?? "unknown";
  const machine = { deno: Deno.version.deno, target: Deno.build.target, cpu };
  const file = new URL("./results.json", import.meta.url);
  Deno.writeTextFileSync(file, `${JSON.stringify({ machine, rounds, results: all }, null, 2)}\n`);
}
