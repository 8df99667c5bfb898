// Copyright 2026 the Sabre authors. MIT license.

// What the platform does, as far as the design leans on it: one short test for each fact. When one
// fails on a new version of the runtime, so may everything else.

import {
  assert,
  assertEquals,
  assertFalse,
  assertNotStrictEquals,
  assertThrows,
} from "@std/assert";
import { MessageChannel, receiveMessageOnPort, Worker as NodeWorker } from "node:worker_threads";
import { Agent, block, settlesSoon, turn, until } from "./_helpers.ts";

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/platform_worker.ts", import.meta.url);

async function start(): Promise<Agent> {
  const agent = new Agent(WORKER);
  await agent.ready;
  return agent;
}

function words(length = 4): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(length * 4));
}

/** A ticket, which must not have been answered at once. */
function ticketOn(cells: Int32Array<SharedArrayBuffer>, index: number): Promise<string> {
  const ticket = Atomics.waitAsync(cells, index, 0);
  assert(ticket.async);
  return ticket.value as Promise<string>;
}

// -- Waiting and waking ------------------------------------------------------------------------

Deno.test("Atomics.wait() is allowed on the main thread", () => {
  assertEquals(Atomics.wait(words(), 0, 0, 1), "timed-out");
  assertEquals(Atomics.wait(words(), 0, 1, 1_000), "not-equal");
});

Deno.test("Atomics.waitAsync() answers at once when the word differs or there is no time", () => {
  assertEquals(Atomics.waitAsync(words(), 0, 1), { async: false, value: "not-equal" });
  assertEquals(Atomics.waitAsync(words(), 0, 0, 0), { async: false, value: "timed-out" });
});

Deno.test("Atomics.notify() wakes tickets in the order in which they were drawn", async () => {
  const cells = words();
  const order: number[] = [];
  const tickets = [0, 1, 2, 3].map((i) => ticketOn(cells, 0).then(() => order.push(i)));
  for (let i = 0; i < 4; i++) {
    assertEquals(Atomics.notify(cells, 0, 1), 1);
    await until(() => order.length === i + 1);
  }
  await Promise.all(tickets);
  assertEquals(order, [0, 1, 2, 3]);
  assertEquals(Atomics.notify(cells, 0), 0);
});

Deno.test({
  name: "Atomics.notify() serves blocked threads and tickets in one order",
  ...LIMIT,
  async fn() {
    using first = await start();
    using second = await start();
    const cells = words();
    const order: string[] = [];
    const sleep = (agent: Agent, name: string) =>
      agent.run("sleep", cells.buffer, 0, 15_000).then(() => order.push(name));
    const calls = [sleep(first, "first")];
    await arrival(cells, 1);
    calls.push(ticketOn(cells, 0).then(() => order.push("ticket")));
    calls.push(sleep(second, "second"));
    await arrival(cells, 2);
    for (let i = 0; i < 3; i++) {
      assertEquals(Atomics.notify(cells, 0, 1), 1);
      await until(() => order.length === i + 1);
    }
    await Promise.all(calls);
    assertEquals(order, ["first", "ticket", "second"]);
  },
});

/**
 * Waits until so many threads are about to sleep, and a little longer: that they do cannot be seen
 * without waking them.
 */
async function arrival(cells: Int32Array, count: number): Promise<void> {
  await until(() => Atomics.load(cells, cells.length - 1) === count);
  block(20);
}

Deno.test("A forgotten ticket eats a notify of one that was meant for a live waiter", async () => {
  const cells = words();
  const forgotten = ticketOn(cells, 0);
  const live = ticketOn(cells, 0);
  assertEquals(Atomics.notify(cells, 0, 1), 1);
  // A pending ticket keeps no event loop alive: something else has to.
  assert(await settlesSoon(forgotten));
  assertFalse(await settlesSoon(live));
  Atomics.notify(cells, 0);
  assert(await settlesSoon(live));
});

Deno.test("A forgotten ticket eats nothing of a notify of all", async () => {
  const cells = words();
  ticketOn(cells, 0);
  const live = ticketOn(cells, 0);
  assertEquals(Atomics.notify(cells, 0), 2);
  assertEquals(await live, "ok");
});

Deno.test({
  name: "A forgotten ticket does not keep a notify of all from a blocked thread",
  ...LIMIT,
  async fn() {
    using agent = await start();
    const cells = words();
    ticketOn(cells, 0);
    const call = agent.run("sleep", cells.buffer, 0, 10_000);
    let woken = 0;
    while (!await settlesSoon(call)) woken += Atomics.notify(cells, 0);
    assertEquals(woken, 2);
    assertEquals(await call, "ok");
  },
});

Deno.test({
  name: "A ticket is settled by a notify from another thread",
  ...LIMIT,
  async fn() {
    using agent = await start();
    const cells = words();
    const ticket = ticketOn(cells, 1);
    assertEquals(await agent.run("notify", cells.buffer, 1), 1);
    assertEquals(await ticket, "ok");
  },
});

Deno.test("A pending ticket alone keeps nothing for the sanitizers to find", () => {
  ticketOn(words(), 0);
});

Deno.test("Atomics on float arrays throw", () => {
  // deno-lint-ignore no-explicit-any
  const floats = new Float64Array(new SharedArrayBuffer(8)) as any;
  assertThrows(() => Atomics.load(floats, 0), TypeError);
});

Deno.test("The atomic operations on integers wrap what they are given", () => {
  const cells = new Uint8Array(new SharedArrayBuffer(1));
  Atomics.store(cells, 0, 300);
  assertEquals(Atomics.load(cells, 0), 44);
  assertEquals(Atomics.compareExchange(cells, 0, 300, -1), 44);
  assertEquals(Atomics.add(cells, 0, 1e300), 255);
});

// -- Memory ------------------------------------------------------------------------------------

Deno.test({
  name: "Plain writes before an atomic store are seen after the atomic load of it",
  ...LIMIT,
  async fn() {
    using writer = await start();
    using reader = await start();
    const rounds = 100_000;
    const memory = new SharedArrayBuffer(rounds * 20);
    const [, stale] = await Promise.all([
      writer.run("write", memory, rounds),
      reader.run("read", memory, rounds),
    ]);
    assertEquals(stale, 0);
  },
});

Deno.test({
  name: "Of two agents that write atomically and then read each other's word, one sees the other",
  ...LIMIT,
  async fn() {
    using first = await start();
    using second = await start();
    const rounds = 100_000;
    const memory = new SharedArrayBuffer(64 + rounds * 8);
    const [a, b] = await Promise.all([
      first.run<Uint8Array>("dekker", memory, 0, rounds),
      second.run<Uint8Array>("dekker", memory, 1, rounds),
    ]);
    let neither = 0;
    for (let i = 0; i < rounds; i++) if (a![i] === 0 && b![i] === 0) neither++;
    assertEquals(neither, 0);
  },
});

// -- Time --------------------------------------------------------------------------------------

Deno.test({
  name: "performance.timeOrigin + performance.now() agrees between agents to within a millisecond",
  ...LIMIT,
  async fn() {
    const now = () => performance.timeOrigin + performance.now();
    for (let i = 0; i < 2; i++) {
      using agent = await start();
      // Of some exchanges the fastest tells most: the other's clock lies within it.
      let off = Infinity;
      for (let j = 0; j < 50; j++) {
        const before = now();
        const there = await agent.run<number>("now");
        const after = now();
        off = Math.min(off, Math.max(before - there, there - after, 0));
      }
      assert(off < 1, `${off} ms`);
    }
  },
});

Deno.test("performance.now() has a resolution of a tenth of a millisecond or better", () => {
  const start = performance.now();
  let next = start;
  while (next === start) next = performance.now();
  assert(next - start <= 0.1, `${next - start} ms`);
});

Deno.test("A timer never takes more than 2^31 - 1 milliseconds", async () => {
  let fired = false;
  const timer = setTimeout(() => fired = true, 2 ** 31 - 1);
  await turn();
  await turn();
  clearTimeout(timer);
  assertFalse(fired);
});

// -- Cloning and modules -----------------------------------------------------------------------

Deno.test("structuredClone() keeps own data and the identity of shared memory, and drops the rest", () => {
  class Primitive {
    readonly handle = { kind: "x", memory: new SharedArrayBuffer(8), offset: 0 };
    readonly #secret = 7;
    get secret(): number {
      return this.#secret;
    }
  }
  const original = new Primitive();
  const clone = structuredClone(original) as unknown as Record<string, unknown>;
  assertEquals(Object.keys(clone), ["handle"]);
  assertEquals(Object.getPrototypeOf(clone), Object.prototype);
  const { memory } = clone["handle"] as { memory: SharedArrayBuffer };
  assert(memory instanceof SharedArrayBuffer);
  assertNotStrictEquals(memory, original.handle.memory);
  new Int32Array(memory)[0] = 5;
  assertEquals(new Int32Array(original.handle.memory)[0], 5);
});

Deno.test({
  name: "postMessage() passes shared memory by reference, also nested",
  ...LIMIT,
  async fn() {
    using agent = await start();
    const memory = new SharedArrayBuffer(8);
    const seen = await agent.run<Record<string, unknown>>("lookAt", { memory, n: 1 });
    assertEquals([seen["keys"], seen["isShared"]], [["memory", "n"], true]);
    assertEquals(new Int32Array(memory)[0], 1);
    new Int32Array(seen["memory"] as SharedArrayBuffer)[0] = 9;
    assertEquals(new Int32Array(memory)[0], 9);
  },
});

Deno.test({
  name: "import.meta.main is false in a module that a worker imports",
  ...LIMIT,
  async fn() {
    using agent = await start();
    assertEquals(await agent.run("isMain"), false);
  },
});

// -- The end of a worker -----------------------------------------------------------------------

Deno.test({
  name: "A port of node:worker_threads closes when the worker that holds the other end has ended",
  ...LIMIT,
  async fn() {
    const code = `
      const { parentPort, workerData } = require("node:worker_threads");
      workerData.port.on("message", () => {});
      parentPort.postMessage("ready");
    `;
    const { port1, port2 } = new MessageChannel();
    const worker = new NodeWorker(code, {
      eval: true,
      workerData: { port: port2 },
      transferList: [port2],
    });
    let isClosed = false;
    port1.on("close", () => isClosed = true);
    // One that was not started never tells.
    port1.start();
    await new Promise((resolve) => worker.once("message", resolve));
    await turn();
    assertFalse(isClosed);
    await worker.terminate();
    await until(() => isClosed);
  },
});

// -- What the watch over agents leans on ---------------------------------------------------------

Deno.test("A port that nobody listens to moves at once, with its messages and its end", async () => {
  const { port1, port2 } = new MessageChannel();
  const worker = new NodeWorker(
    `const { port } = require("node:worker_threads").workerData;
    port.on("message", () => {});
    port.postMessage("before the end");
    setTimeout(() => process.exit(), 20);`,
    { eval: true, workerData: { port: port2 }, transferList: [port2] },
  );
  await new Promise((resolve) => worker.on("exit", resolve));
  const road = new MessageChannel();
  road.port1.postMessage(port1, [port1]);
  const moved = receiveMessageOnPort(road.port2)!.message as typeof port1;
  const seen: unknown[] = [];
  moved.on("message", (message) => seen.push(message));
  await new Promise((resolve) => moved.on("close", () => resolve(undefined)));
  assertEquals(seen, ["before the end"]);
  road.port1.close();
  road.port2.close();
});

Deno.test("A Web Lock that is free is held before request() returns", async () => {
  const { locks } = navigator as unknown as {
    locks: { request(name: string, callback: () => unknown): Promise<unknown> };
  };
  let isHeld = false;
  const release = Promise.withResolvers<void>();
  const request = locks.request("sabre platform test", () => {
    isHeld = true;
    return release.promise;
  });
  assert(isHeld);
  release.resolve();
  await request;
});
