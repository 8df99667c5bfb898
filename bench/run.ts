// Copyright 2026 the Sabre authors. MIT license.

/**
 * Measures this package beside its rivals and beside the least that the machine can do.
 *
 * `deno task bench [--quick] [--only=text]`: `--quick` shows within a minute or two that everything
 * runs, and its figures are worth little; `--only` takes the tables whose name contains the text. A
 * whole run writes `results.json`, the charts, and the figures in the README and in the guide.
 */

import { type Outcome, type Result, type Skipped, type Table, textOf, TIME } from "./_harness.ts";
import { findOutside, type Outside } from "./_outside.ts";
import { quiet } from "./_quiet.ts";
import { type Machine, percent, sentenceOf, writeFigures } from "./figures.ts";
import { TABLES } from "./tables/all.ts";

const isQuick = Deno.args.includes("--quick");
const only = Deno.args.find((arg) => arg.startsWith("--only="))?.slice(7) ?? "";
const rounds = isQuick ? 3 : 7;
const time = isQuick ? 40 : TIME;
/** How long a table waits for a quiet machine, in milliseconds. */
const patience = isQuick ? 0 : 30_000;
/** How long a table may take, in milliseconds. */
const LIMIT = 300_000;

const folder = Deno.makeTempDirSync({ prefix: "sabre-bench-" });
let isWhole = !isQuick && only === "";
try {
  await main();
} finally {
  Deno.removeSync(folder, { recursive: true });
}

async function main(): Promise<void> {
  const tables = TABLES.filter(({ name }) => name.includes(only));
  if (tables.length === 0) throw new Error(`No table has "${only}" in its name`);
  const outside = await findOutside(folder);
  const machine = machineOf(outside);
  console.log(`${sentenceOf(machine)}; ${rounds} rounds, medians, least to most`);
  for (const { missing } of Object.values(outside)) {
    if (missing !== undefined) console.log(`Left out: ${missing}`);
  }
  const begin = performance.now();
  const results: Result[] = [];
  const skipped: Skipped[] = [];
  let noise = 0;
  for (const [index, table] of tables.entries()) {
    const busy = await quiet(patience);
    noise = Math.max(noise, busy);
    console.log(`\n${table.name} (${table.unit})`);
    if (!isQuick && busy >= 0.1) console.log(`  the machine was ${percent(busy)} busy before`);
    const outcome = await measureApart(table, outside, `${index + 1} of ${tables.length}, `);
    console.log(textOf(outcome));
    results.push(...outcome.results);
    skipped.push(...outcome.skipped);
  }
  console.log(`\nTook ${((performance.now() - begin) / 60_000).toFixed(1)} minutes`);
  if (!isWhole) return;
  const figures = { machine: { ...machine, busy: noise }, rounds, results, skipped };
  const file = new URL("./results.json", import.meta.url);
  Deno.writeTextFileSync(file, `${JSON.stringify(figures, null, 2)}\n`);
  await writeFigures();
}

/** Measures a table in a process of its own. */
async function measureApart(table: Table, outside: Outside, title: string): Promise<Outcome> {
  const skip = (why: string): Outcome => ({
    results: [],
    skipped: [{ table: table.name, line: table.name, why }],
  });
  if (table.pinned && outside.taskset.missing !== undefined) return skip(outside.taskset.missing);
  const order = JSON.stringify({ name: table.name, title, outside, rounds, time });
  const program = new URL("./_table.ts", import.meta.url).href;
  const command = [
    ...(table.pinned ? outside.taskset.command! : []),
    Deno.execPath(),
    ...["run", "-A", "--quiet", program, order],
  ];
  const child = new Deno.Command(command[0]!, {
    args: command.slice(1),
    stdout: "piped",
    stderr: "inherit",
    signal: AbortSignal.timeout(LIMIT),
  }).spawn();
  const { success, stdout } = await child.output();
  if (success) return JSON.parse(new TextDecoder().decode(stdout));
  // The others are still worth having, but not as the figures of a whole run.
  isWhole = false;
  Deno.exitCode = 1;
  return skip("it failed");
}

function machineOf({ rust, python, node }: Outside): Machine {
  return {
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    target: Deno.build.target,
    cpu: cpuName(),
    cores: navigator.hardwareConcurrency,
    ...(rust.version === undefined ? {} : { rustc: rust.version }),
    ...(python.version === undefined ? {} : { python: python.version }),
    ...(node.version === undefined ? {} : { node: node.version }),
  };
}

function cpuName(): string {
  try {
    const text = Deno.readTextFileSync("/proc/cpuinfo");
    return text.match(/model name\s*: (.*)/)?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}
