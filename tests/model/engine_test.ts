// Copyright 2026 the Sabre authors. MIT license.

// The explorer explores what it should: known-good programs pass, known-bad ones fail, each for its
// own reason, in about the known number of states.

import { assert, assertEquals } from "@std/assert";
import { explore, type ExploreOptions, replay, type Result } from "./explore.ts";
import { exercise } from "./fixtures/syntax.ts";
import { load } from "./transform.ts";

const mutexes = await load(new URL("./fixtures/mutex.ts", import.meta.url));
const rings = await load(new URL("./fixtures/ring.ts", import.meta.url));
const waits = await load(new URL("./fixtures/waiting.ts", import.meta.url));
const refusals = await load(new URL("./fixtures/refused.ts", import.meta.url));

type Module = typeof mutexes;

/** Explores by search alone, and by search and walks; replays what was found. */
function verdict(
  module: Module,
  name: string,
  args: unknown[],
  options: ExploreOptions = {},
): Result {
  const start = module.scenario(name, ...args);
  const result = explore(start, { walks: 100, ...options });
  if (result.violation?.kind === "livelock") {
    // A schedule has no end to compare.
  } else if (result.schedule !== undefined) {
    const again = replay(start, result.schedule, options);
    assertEquals(again.violation?.message, result.violation?.message, result.report);
  } else {
    assert(result.complete, result.report);
  }
  return result;
}

function passes(
  module: Module,
  name: string,
  args: unknown[],
  states: number,
  options: ExploreOptions = {},
): void {
  const result = verdict(module, name, args, options);
  assertEquals(result.violation, undefined, result.report);
  assert(
    Math.abs(result.states - states) <= states / 10,
    `${result.report}, and not about ${states}`,
  );
}

function fails(
  module: Module,
  name: string,
  args: unknown[],
  kind: string,
  options: ExploreOptions = {},
): void {
  const result = verdict(module, name, args, options);
  assertEquals(result.violation?.kind, kind, result.report);
}

Deno.test("a mutex passes, and fails without its exchange, its order or its wake-up", () => {
  passes(mutexes, "mutex", [2, 1, "good"], 70);
  passes(mutexes, "mutex", [2, 2, "good"], 777);
  passes(mutexes, "mutex", [3, 1, "good"], 3182);
  passes(mutexes, "mutex", [3, 2, "good"], 67_426);
  for (const kind of ["torn", "early", "silent"]) {
    fails(mutexes, "mutex", [2, 2, kind], "deadlock");
    fails(mutexes, "mutex", [2, 2, kind], "deadlock", { walks: 0 });
  }
  fails(mutexes, "mutex", [2, 1, "plain"], "race");
  fails(mutexes, "mutex", [2, 1, "good", false], "assertion");
});

Deno.test("ring protocols C, D and P pass", () => {
  passes(rings, "ring", ["C", 3, 1], 1039);
  passes(rings, "ring", ["D", 3, 1], 1218);
  passes(rings, "ring", ["D", 8, 3], 12_169);
  passes(rings, "ring", ["P", 6, 2], 108_119);
});

Deno.test("ring protocols A and B, and mutants of D and P, fail", () => {
  for (const protocol of ["A", "B", "Dnotify", "Ddata", "Padd", "Plook"]) {
    fails(rings, "ring", [protocol, 3, 1], "deadlock");
    fails(rings, "ring", [protocol, 3, 1], "deadlock", { walks: 0 });
  }
  fails(rings, "ring", ["Dplain", 3, 1], "race");
});

Deno.test("a condition needs a sequence word", () => {
  passes(waits, "condition", [true], 144);
  fails(waits, "condition", [false], "deadlock");
});

Deno.test("a cancelled waiter must pass its wake-up on", () => {
  passes(waits, "cancelled", [true], 196);
  fails(waits, "cancelled", [false], "deadlock");
});

Deno.test("a dead waiter eats the notify of one, not of all", () => {
  passes(waits, "eaten", [true], 42, { kills: 1, eaten: true });
  passes(waits, "eaten", [false], 33, { kills: 1 });
  fails(waits, "eaten", [false], "deadlock", { kills: 1, eaten: true });
});

Deno.test("the race detector minds bytes, sizes and order", () => {
  passes(waits, "bytes", [true], 16);
  fails(waits, "bytes", [false], "race");
  passes(waits, "sizes", [false], 5);
  fails(waits, "sizes", [true], "race");
});

Deno.test("a spin loop ends by a change of memory or never", () => {
  passes(waits, "spinning", [true], 42);
  fails(waits, "spinning", [false], "deadlock");
});

Deno.test("a cycle that nobody leaves is a livelock", () => {
  passes(waits, "polite", [false], 1);
  fails(waits, "polite", [true], "livelock", { walks: 5 });
});

Deno.test("the clock may be late as often as allowed", () => {
  passes(waits, "deadline", [], 12);
  passes(waits, "deadline", [], 29, { late: 1 });
  assertEquals(verdict(waits, "deadline", []).ends, 1);
  assertEquals(verdict(waits, "deadline", [], { late: 1 }).ends, 2);
});

Deno.test("a failure right after a report is one", () => {
  passes(waits, "failure", [false], 1);
  fails(waits, "failure", [true], "assertion");
  fails(waits, "failure", [true], "assertion", { walks: 0, summaries: false });
});

Deno.test("a blocked agent runs none of its tasks", () => {
  passes(waits, "tasks", [false], 18);
  fails(waits, "tasks", [true], "deadlock");
});

Deno.test("reports at loop heads and private words change no outcome", () => {
  const programs: [Module, string, unknown[], ExploreOptions][] = [
    [mutexes, "mutex", [2, 2, "good"], {}],
    [rings, "ring", ["C", 3, 1], {}],
    [rings, "ring", ["P", 3, 1], {}],
    [waits, "cancelled", [true], {}],
    [waits, "eaten", [true], { kills: 1, eaten: true }],
    [waits, "deadline", [], { late: 2 }],
    [waits, "tasks", [false], {}],
  ];
  for (const [module, name, args, options] of programs) {
    const start = module.scenario(name, ...args);
    const quick = explore(start, options);
    for (const fine of [false, true]) {
      const slow = explore(start, { ...options, fine, summaries: false });
      assert(quick.complete && slow.complete);
      assertEquals(slow.ends, quick.ends, slow.report);
      assert(slow.states >= quick.states);
    }
  }
});

Deno.test("exploring twice gives the same figures", () => {
  for (let seed = 1; seed < 4; seed++) {
    const results = [1, 2].map(() => explore(rings.scenario("ring", "P", 3, 1), { seed }));
    assertEquals(results[0]!.states, results[1]!.states);
    assertEquals(results[0]!.transitions, results[1]!.transitions);
  }
});

Deno.test("preemptions and random walks find errors without visiting everything", () => {
  const start = rings.scenario("ring", "Padd", 6, 2);
  const bounded = explore(start, { walks: 0, preemptions: 2, maxStates: 100_000 });
  assertEquals(bounded.violation?.kind, "deadlock", bounded.report);
  const walked = explore(start, { walks: 2_000, maxStates: 0 });
  assertEquals(walked.violation?.kind, "deadlock", walked.report);
});

Deno.test("transformed code computes what the original computes", async () => {
  const module = await load(new URL("./fixtures/syntax.ts", import.meta.url));
  assertEquals(module.refused, []);
  const buffer = new SharedArrayBuffer(64);
  const expected = exercise(new Int32Array(buffer), new Uint8Array(buffer));
  for (const options of [{}, { fine: true }, { summaries: false }]) {
    const result = explore(module.scenario("syntax", expected), options);
    assertEquals(result.violation, undefined, result.report);
  }
});

Deno.test("a mutant is explored in place of the source", async () => {
  const url = new URL("./fixtures/mutex.ts", import.meta.url);
  const edit = (_file: string, source: string) =>
    source.replace("Atomics.exchange(words, 0, 0) === 2", "Atomics.exchange(words, 0, 0) === 1");
  fails(await load(url, { edit }), "mutex", [2, 2, "good"], "deadlock");
});

Deno.test("what cannot be rewritten is refused", () => {
  assertEquals(refusals.refused.map((each) => each.line), [16, 20, 30, 34, 38]);
  fails(refusals, "refused", ["box"], "assertion");
  fails(refusals, "refused", ["copied"], "assertion");
  for (const module of [mutexes, rings, waits]) assertEquals(module.refused, []);
});
