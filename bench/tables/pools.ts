// Copyright 2026 the Sabre authors. MIT license.

// Pools of two: one call at a time, and many items.

import { Pool } from "@sabre/ipc";
import * as Comlink from "npm:comlink@4.4.2";
import { Piscina } from "npm:piscina@5.3.2";
import { check, type Line, type Table, timed } from "../_harness.ts";
import { type Outside, outsideLine } from "../_outside.ts";

/** How many items a map has. */
const ITEMS = 200_000;
/** Calls after which the engine has compiled what a call runs through, on both sides. */
const WARM_UP = 20_000;

export const tables: Table[] = [
  { name: "pool of two, one call at a time", unit: "us", lines: callLines },
  {
    name: "pool of two, one call at a time, on one core",
    unit: "us",
    pinned: true,
    lines: callLines,
  },
  {
    name: "pool of two, items squared",
    unit: "per second",
    async lines({ python }) {
      return [
        await mapLine("Pool.map", undefined),
        outsideLine("Python Pool.map", python, ["map"], ITEMS, true),
      ];
    },
  },
  {
    name: "pool of two, items squared, each a task",
    unit: "per second",
    async lines({ python, node }) {
      const piscina = await startPiscina();
      return [
        await mapLine("Pool.map, chunkSize 1", 1),
        outsideLine("Python Pool.map, chunksize=1", python, ["map1"], ITEMS, true),
        {
          name: "piscina 5.3.2, a promise for each",
          count: 5_000,
          run: (count) =>
            timed(count, async () => {
              const numbers = Array.from({ length: count }, (_, i) => i);
              const squares = await Promise.all(numbers.map((number) => piscina.run(number)));
              check(squares[7] === 49);
            }),
        },
        outsideLine("piscina 5.3.2 in Node, a promise for each", node, ["all"], 5_000),
      ];
    },
  },
];

async function callLines({ node, python }: Outside): Promise<Line[]> {
  const pool = await startPool();
  const piscina = await startPiscina();
  const remote = await startComlink();
  return [
    callLine("Pool.run", (i) => pool.run("square", [i])),
    callLine("comlink 4.4.2", (i) => remote.square(i)),
    callLine("piscina 5.3.2", (i) => piscina.run(i)),
    outsideLine("piscina 5.3.2 in Node", node, ["run"], 2_000),
    outsideLine("Python Pool.apply", python, ["apply"], 500),
  ];
}

function callLine(name: string, call: (value: number) => Promise<unknown>): Line {
  return {
    name,
    count: 1_000,
    warmUp: WARM_UP,
    run: (count) =>
      timed(count, async () => {
        for (let i = 0; i < count; i++) check(await call(i) === i * i);
      }),
  };
}

async function mapLine(name: string, chunkSize: number | undefined): Promise<Line> {
  const pool = await startPool();
  const options = chunkSize === undefined ? {} : { chunkSize };
  return {
    name,
    count: ITEMS,
    fixed: true,
    run(count) {
      const numbers = Array.from({ length: count }, (_, i) => i);
      return timed(count, async () => {
        check((await pool.map<number, number>("square", numbers, options))[7] === 49);
      });
    },
  };
}

async function startPool(): Promise<Pool> {
  const pool = new Pool(import.meta.resolve("../../examples/squares.ts"), { size: 2 });
  await pool.map("square", [1, 2]);
  return pool;
}

async function startPiscina(): Promise<Piscina> {
  const filename = import.meta.resolve("../rivals/piscina_task.mjs");
  const piscina = new Piscina({ filename, minThreads: 2, maxThreads: 2 });
  await piscina.run(1);
  return piscina;
}

async function startComlink(): Promise<Comlink.Remote<{ square(x: number): number }>> {
  const worker = new Worker(import.meta.resolve("../rivals/comlink.ts"), { type: "module" });
  await new Promise<void>((resolve) => {
    worker.addEventListener("message", () => resolve(), { once: true });
  });
  // Comlink's types do not know Deno's worker. A proxy must not be what an async function returns.
  const remote = Comlink.wrap<{ square(x: number): number }>(worker as unknown as Comlink.Endpoint);
  return { square: (x: number) => remote.square(x) } as typeof remote;
}
