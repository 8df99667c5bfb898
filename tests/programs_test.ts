// Copyright 2026 the Sabre authors. MIT license.

// Whole programs: what keeps one alive, and what lets it end.

import { assert, assertEquals } from "@std/assert";

interface Ending {
  code: number;
  output: string;
  errors: string;
  /** Milliseconds from the start to the end. */
  time: number;
}

/** Runs a program, with the one permission that the package needs unless it needs more itself. */
async function run(name: string, permission = "--allow-read"): Promise<Ending> {
  const config = new URL("../deno.json", import.meta.url).pathname;
  const program = new URL(`./testdata/programs/${name}.ts`, import.meta.url).pathname;
  const start = performance.now();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", permission, `--config=${config}`, program],
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return {
    code,
    output: decoder.decode(stdout).trim(),
    errors: decoder.decode(stderr).trim(),
    time: performance.now() - start,
  };
}

Deno.test("a program that only waits stays alive until the wait ends", {
  timeout: 60_000,
}, async () => {
  const { code, output, errors, time } = await run("pending_get");
  assertEquals([code, output, errors], [0, "TimeoutError", ""]);
  assert(time >= 700, `it ended after ${time} ms`);
});

Deno.test("a program that only waits for what a daemon puts stays alive until then", {
  timeout: 60_000,
}, async () => {
  const { code, output, errors } = await run("pending_for_child");
  assertEquals([code, output, errors], [0, "from the daemon", ""]);
});

Deno.test("a program with nothing pending ends by itself", { timeout: 60_000 }, async () => {
  const { code, output, errors } = await run("nothing_pending");
  assertEquals([code, output, errors], [0, "through", ""]);
});

Deno.test("a program ends by itself after it terminated children that were blocked", {
  timeout: 60_000,
}, async () => {
  const { code, output, errors } = await run("blocked_children");
  assertEquals([code, output, errors], [0, `8 ${Array(8).fill(-15).join()}`, ""]);
});

Deno.test("a program ends although a daemon spins", { timeout: 60_000 }, async () => {
  const { code, output, errors } = await run("daemon");
  assertEquals([code, output, errors], [0, "through", ""]);
});

Deno.test("200 cycles of starting, using and ending a process leave no threads and no memory", {
  timeout: 120_000,
}, async () => {
  const { code, output, errors } = await run("cycles", "--allow-all");
  assertEquals([code, errors], [0, ""]);
  const { threads, megabytes } = JSON.parse(output);
  assert(threads <= 1, `${threads} threads more than before`);
  assert(megabytes <= 32, `${megabytes} MiB more than before`);
});

Deno.test("a program ends by itself after workers of its own took part, and one of them died", {
  timeout: 60_000,
}, async () => {
  const { code, output, errors } = await run("own_workers");
  assertEquals([code, output, errors], [0, "node web AbandonedError", ""]);
});

Deno.test("a program ends by itself after 100 children died that waited in calls of every kind", {
  timeout: 120_000,
}, async () => {
  const { code, output, errors } = await run("blocked_calls");
  assertEquals([code, output, errors], [0, "100 are gone", ""]);
});

Deno.test("a program that only blocks for a moment each time notices that its child has ended", {
  timeout: 60_000,
}, async () => {
  const { code, output, errors } = await run("short_waits");
  assertEquals([code, output, errors], [0, "AbandonedError", ""]);
});
