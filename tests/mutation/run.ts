// Copyright 2026 the Sabre authors. MIT license.

// Tests the tests: changes the shipped source in one place at a time and reports which of these mutants
// the tests notice.
//
//   deno run -A tests/mutation/run.ts [--quick] [--file=_latch.ts,_line.ts] [--id=text] [--list]
//     [--parallel=2]
//
// `--quick` takes every fifth mutant, `--id` those whose id contains the text; `--list` prints them and
// runs nothing. For each mutant the tests named in PLAN run, quickest and sharpest first, in a copy of the
// tree, until one fails or takes far longer than without the change. Survivors that were reviewed and found
// to be equivalent stand, with the reason, in equivalent.json by their id; they are not counted.

import { type Mutant, mutantsOf } from "./mutants.ts";

/** Which test files, in which order, for which module. Those that do not exist are left out. */
const PLAN: Readonly<Record<string, readonly string[]>> = {
  "_latch.ts": ["model/spin_test.ts", "model/lock_test.ts", "lock_test.ts"],
  "_line.ts": [
    "model/spin_test.ts",
    "model/lock_test.ts",
    "semaphore_test.ts",
    "lock_test.ts",
    "model/family_test.ts",
    "queue_test.ts",
    "model/queue_test.ts",
  ],
  "_mutex.ts": ["model/spin_test.ts", "model/lock_test.ts", "lock_test.ts", "condition_test.ts"],
  "_channel.ts": ["model/pipe_test.ts", "pipe_test.ts"],
  "_wait.ts": [
    "_wait_test.ts",
    "model/lock_test.ts",
    "model/wait_test.ts",
    "lock_test.ts",
    "pipe_test.ts",
    "queue_test.ts",
  ],
  "_agent.ts": ["_agent_test.ts", "model/lock_test.ts", "_wait_test.ts", "lock_test.ts"],
  "_calls.ts": ["pipe_test.ts", "queue_test.ts", "model/pipe_test.ts", "model/queue_test.ts"],
  "_exclusive.ts": ["lock_test.ts", "model/lock_test.ts"],
  "_store.ts": ["queue_test.ts", "model/queue_test.ts", "linearizability/real_test.ts"],
  "_putting.ts": ["queue_test.ts", "model/queue_test.ts", "linearizability/real_test.ts"],
  "_getting.ts": ["queue_test.ts", "model/queue_test.ts", "linearizability/real_test.ts"],
  "_sender.ts": ["pipe_test.ts", "model/pipe_test.ts", "linearizability/real_test.ts"],
  "_receiver.ts": ["pipe_test.ts", "model/pipe_test.ts", "linearizability/real_test.ts"],
  "_permits.ts": ["semaphore_test.ts", "model/family_test.ts", "linearizability/real_test.ts"],
  "_event.ts": ["event_test.ts", "model/family_test.ts", "linearizability/real_test.ts"],
  "_barrier.ts": ["barrier_test.ts", "model/family_test.ts", "linearizability/real_test.ts"],
  "_condition.ts": ["condition_test.ts", "model/family_test.ts"],
};

const root = new URL("../../", import.meta.url);
/** Longest that a test file may take, in milliseconds: this much, or four times what it takes otherwise. */
const LEAST_LIMIT = 15_000;

type Fate = "killed" | "timed out" | "survived";

interface Outcome {
  readonly mutant: Mutant;
  readonly fate: Fate;
  readonly by: string;
}

/** A copy of the tree in which one mutant at a time lives. */
class Bench implements Disposable {
  readonly path: string;

  constructor() {
    this.path = Deno.makeTempDirSync({ prefix: "sabre-mutation-" });
    copy(root.pathname, this.path);
  }

  /** Runs a test file: how long it took if it passed, and how it failed if it did not. */
  async run(test: string, limit: number): Promise<number | "failed" | "timed out"> {
    const start = performance.now();
    const child = new Deno.Command(Deno.execPath(), {
      args: ["test", "--allow-read", "--no-check", "--no-lock", "--fail-fast", `tests/${test}`],
      cwd: this.path,
      stdout: "null",
      stderr: "null",
    }).spawn();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, limit);
    const { success } = await child.status;
    clearTimeout(timer);
    if (isLate) return "timed out";
    return success ? performance.now() - start : "failed";
  }

  write(file: string, text: string): void {
    Deno.writeTextFileSync(`${this.path}/${file}`, text);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

function copy(from: string, to: string): void {
  for (const { name, isDirectory, isFile } of Deno.readDirSync(from)) {
    if (name === ".git" || name === "coverage" || name === "bench" || name === "docs") continue;
    const [source, target] = [`${from}/${name}`, `${to}/${name}`];
    if (isDirectory) {
      Deno.mkdirSync(target);
      copy(source, target);
    } else if (isFile) {
      Deno.copyFileSync(source, target);
    }
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

async function main(): Promise<void> {
  const isQuick = Deno.args.includes("--quick");
  const valueOf = (name: string): string | undefined =>
    Deno.args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
  const files = valueOf("file")?.split(",") ?? Object.keys(PLAN);
  const parallel = Number(valueOf("parallel") ?? 2);
  const equivalent: Record<string, string> = JSON.parse(
    Deno.readTextFileSync(new URL("equivalent.json", import.meta.url)),
  );

  using stack = new DisposableStack();
  // One copy is the state of the tree at the start, for all.
  const benches = Array.from({ length: parallel }, () => stack.use(new Bench()));
  const here = benches[0]!;
  const mutants: Mutant[] = [];
  for (const file of files) {
    if (!exists(`${here.path}/${file}`)) throw new TypeError(`There is no ${file}`);
    mutants.push(...mutantsOf(file, Deno.readTextFileSync(`${here.path}/${file}`)));
  }
  const known = mutants.filter(({ id }) => equivalent[id] !== undefined);
  const part = valueOf("id") ?? "";
  let todo = mutants.filter(({ id }) => equivalent[id] === undefined && id.includes(part));
  if (isQuick) todo = todo.filter((_, i) => i % 5 === 0);
  if (Deno.args.includes("--list")) {
    for (const { id, line, after } of todo) console.log(`${line}: ${id}  ->  ${after}`);
    console.log(`${todo.length} mutants, and ${known.length} that are known to be equivalent`);
    return;
  }

  // Without a change everything must pass; what does not would kill every mutant.
  const tests = new Set(files.flatMap((file) => PLAN[file] ?? []));
  const limits = new Map<string, number>();
  for (const test of tests) {
    if (!exists(`${here.path}/tests/${test}`)) continue;
    const time = await here.run(test, 300_000);
    if (typeof time === "number") limits.set(test, Math.max(LEAST_LIMIT, 4 * time));
    console.log(
      `${test}: ${typeof time === "number" ? `${Math.round(time)} ms` : `${time}, left out`}`,
    );
  }

  const outcomes: Outcome[] = [];
  const queue = todo.map((mutant, i) => ({ mutant, i }));
  await Promise.all(benches.map(async (bench) => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { mutant } = next;
      const original = Deno.readTextFileSync(`${bench.path}/${mutant.file}`);
      bench.write(mutant.file, mutant.source);
      let fate: Fate = "survived";
      let by = "";
      for (const test of PLAN[mutant.file] ?? []) {
        const limit = limits.get(test);
        if (limit === undefined) continue;
        const result = await bench.run(test, limit);
        if (typeof result === "number") continue;
        fate = result === "failed" ? "killed" : result;
        by = test;
        break;
      }
      bench.write(mutant.file, original);
      outcomes.push({ mutant, fate, by });
      const { file, line, kind, before, after } = mutant;
      console.log(
        `${outcomes.length}/${todo.length} ${fate}${
          by && ` by ${by}`
        }: ${file}:${line} ${kind}: ${before}${fate === "survived" ? `  ->  ${after}` : ""}`,
      );
    }
  }));
  report(outcomes, known, equivalent);
}

function report(
  outcomes: readonly Outcome[],
  known: readonly Mutant[],
  equivalent: Readonly<Record<string, string>>,
): void {
  const byFile = Map.groupBy(outcomes, ({ mutant }) => mutant.file);
  console.log("\n| File | Mutants | Killed | Timed out | Survived | Ratio | Equivalent |");
  console.log("|---|---|---|---|---|---|---|");
  const row = (name: string, list: readonly Outcome[], equal: number): void => {
    const count = (fate: Fate): number => list.filter((each) => each.fate === fate).length;
    const ratio = 100 * (1 - count("survived") / Math.max(1, list.length));
    console.log(
      `| ${name} | ${list.length} | ${count("killed")} | ${count("timed out")} | ${
        count("survived")
      } | ${ratio.toFixed(1)} % | ${equal} |`,
    );
  };
  for (const [file, list] of byFile) {
    row(file, list, known.filter((each) => each.file === file).length);
  }
  row("all", outcomes, known.length);
  console.log("\nSurvivors:");
  for (const { mutant, fate } of outcomes) {
    if (fate === "survived") {
      console.log(`${mutant.file}:${mutant.line}  ${mutant.id}  ->  ${mutant.after}`);
    }
  }
  console.log("\nKnown to be equivalent:");
  for (const { id, line } of known) console.log(`${line}: ${id}: ${equivalent[id]}`);
}

if (import.meta.main) await main();
