// Copyright 2026 the Sabre authors. MIT license.

// Measures one table, in a process of its own: what the compiler learned from another table must not
// count, and a process can be kept on one core. `run.ts` starts it; it prints JSON.

import { measure } from "./_harness.ts";
import { TABLES } from "./tables/all.ts";

/** What `run.ts` says; the names of the programs come with it, so that they are looked for once. */
const { name, title, outside, rounds, time } = JSON.parse(Deno.args[0]!);
const table = TABLES.find((table) => table.name === name)!;
const encoder = new TextEncoder();

function onProgress(text: string): void {
  if (!Deno.stderr.isTerminal()) return;
  const line = `${title}${name}: ${text}`.slice(0, (Deno.consoleSize().columns || 80) - 1);
  Deno.stderr.writeSync(encoder.encode(`\r\x1b[K${line}`));
}

const outcome = await measure(table, outside, rounds, time, onProgress);
if (Deno.stderr.isTerminal()) Deno.stderr.writeSync(encoder.encode("\r\x1b[K"));
Deno.stdout.writeSync(encoder.encode(JSON.stringify(outcome)));
// What was measured may still hold threads.
Deno.exit();
