// Copyright 2026 the Sabre authors. MIT license.

// piscina in the runtime it was made for: `node node_piscina.mjs <folder> <what> <count>`, where the
// folder is the one that piscina is installed in.

import { createRequire } from "node:module";
import process from "node:process";

const [, , folder, what, text] = process.argv;
const { Piscina } = createRequire(`${folder}/`)("piscina");
const pool = new Piscina({
  filename: new URL("./piscina_task.mjs", import.meta.url).href,
  minThreads: 2,
  maxThreads: 2,
});

async function run(count) {
  for (let i = 0; i < count; i++) {
    if (await pool.run(i) !== i * i) throw new Error("A value arrived wrong");
  }
}

async function all(count) {
  const numbers = Array.from({ length: count }, (_, i) => i);
  const squares = await Promise.all(numbers.map((number) => pool.run(number)));
  if (squares[7] !== 49) throw new Error("A value arrived wrong");
}

const work = { run, all }[what];
await work(what === "run" ? 20_000 : 500);
const count = Math.max(10, Number(text));
const start = performance.now();
await work(count);
console.log(JSON.stringify({ count, time: performance.now() - start }));
await pool.destroy();
