// Copyright 2026 the Sabre authors. MIT license.

// Tests the tests: changes the shipped source in one place at a time and records which of these mutants
// the tests notice.
//
//   deno run -A tests/mutation/run.ts [--file=_latch.ts,_line.ts] [--id=text] [--all] [--again]
//     [--new] [--parallel=2] [--without=model/queue_test.ts] [--list] [--report]
//
// Without `--all` these are mutants of operations on shared memory, of wake-ups, and of comparisons by
// one; with it also those of other conditions. `--id` takes those whose id contains the text.
//
// For each mutant the tests named in PLAN run, quickest and sharpest first, in a copy of the tree, until
// one fails. Outcomes are added to results.json one by one: a run may be ended at any time, and the next
// one goes on. What was killed is taken over as long as the function around it says the same; what survived
// is tried again, as there may be new tests, unless `--new` is given. `--without` leaves out tests, such as
// slow ones in a first round, after which those that survived are tried with all. `--again` takes over
// nothing, `--list` prints what would run, and `--report` only prints what is recorded, and writes the table
// of all into docs/proof.md.
//
// Survivors that were reviewed and found to be equivalent stand, with the reason, in equivalent.json by
// their id; they do not run and are not counted.

import { CONDITIONS, type Mutant, mutantsOf } from "./mutants.ts";

/**
 * Which test files, in which order, for which module. None that plants mistakes by their text itself, as it
 * fails when it does not find that.
 */
const PLAN: Readonly<Record<string, readonly string[]>> = {
  "_park.ts": ["_park_test.ts", "_wait_test.ts", "lock_test.ts"],
  "_latch.ts": ["model/spin_test.ts", "lock_test.ts", "model/lock_test.ts"],
  "_line.ts": [
    "_line_test.ts",
    "model/spin_test.ts",
    "semaphore_test.ts",
    "lock_test.ts",
    "model/lock_test.ts",
    "queue_test.ts",
    "model/family_test.ts",
  ],
  "_mutex.ts": [
    "_mutex_test.ts",
    "model/spin_test.ts",
    "lock_test.ts",
    "condition_test.ts",
    "model/lock_test.ts",
    "_report_test.ts",
    "model/deadlock_test.ts",
    "model/slow/lock_test.ts",
  ],
  "_channel.ts": ["reentry_test.ts", "pipe_test.ts", "model/pipe_test.ts"],
  "_wait.ts": [
    "_wait_test.ts",
    "model/agents_test.ts",
    "lock_test.ts",
    "pipe_test.ts",
    "queue_test.ts",
    "model/lock_test.ts",
  ],
  "_agent.ts": [
    "_agent_test.ts",
    "model/agents_test.ts",
    "_report_test.ts",
    "model/spin_test.ts",
    "_wait_test.ts",
    "lock_test.ts",
    "watch_test.ts",
    "model/lock_test.ts",
  ],
  "_calls.ts": [
    "_store_test.ts",
    "reentry_test.ts",
    "pipe_test.ts",
    "queue_test.ts",
    "mutation/sharp_queue.ts",
    "model/pipe_test.ts",
    "model/queue_test.ts",
  ],
  "_exclusive.ts": ["lock_test.ts", "model/lock_test.ts"],
  "_store.ts": [
    "_store_test.ts",
    "queue_test.ts",
    "select_test.ts",
    "model/join_test.ts",
    "mutation/sharp_queue.ts",
    "model/queue_test.ts",
    "linearizability/real_test.ts",
  ],
  "_putting.ts": [
    "_store_test.ts",
    "reentry_test.ts",
    "queue_test.ts",
    "mutation/sharp_queue.ts",
    "model/queue_test.ts",
    "linearizability/real_test.ts",
  ],
  "_getting.ts": [
    "_store_test.ts",
    "reentry_test.ts",
    "queue_test.ts",
    "select_test.ts",
    "mutation/sharp_queue.ts",
    "model/queue_test.ts",
    "linearizability/real_test.ts",
  ],
  "_sender.ts": [
    "reentry_test.ts",
    "pipe_test.ts",
    "model/pipe_test.ts",
    "linearizability/real_test.ts",
  ],
  "_receiver.ts": [
    "reentry_test.ts",
    "pipe_test.ts",
    "fuzz/storage_test.ts",
    "model/pipe_test.ts",
    "linearizability/real_test.ts",
  ],
  "_permits.ts": [
    "_permits_test.ts",
    "semaphore_test.ts",
    "rwlock_test.ts",
    "_report_test.ts",
    "diagnostics_test.ts",
    "model/family_test.ts",
    "model/deadlock_test.ts",
    "linearizability/real_test.ts",
    "model/slow/family_test.ts",
  ],
  "_event.ts": ["event_test.ts", "model/family_test.ts", "linearizability/real_test.ts"],
  "_barrier.ts": [
    "barrier_test.ts",
    "model/family_test.ts",
    "linearizability/real_test.ts",
    "model/slow/family_test.ts",
  ],
  "_condition.ts": ["condition_test.ts", "model/family_test.ts", "model/slow/family_test.ts"],
  "_sharing.ts": [
    "semaphore_test.ts",
    "rwlock_test.ts",
    "diagnostics_test.ts",
    "_report_test.ts",
    "model/deadlock_test.ts",
  ],
  "_cells.ts": ["shared_test.ts"],
  "shared.ts": ["shared_test.ts"],
  "_report.ts": ["_report_test.ts", "diagnostics_test.ts", "model/deadlock_test.ts"],
  "_handle.ts": ["lock_test.ts", "pipe_test.ts", "fuzz/handles_test.ts", "process_test.ts"],
  "pipe.ts": ["reentry_test.ts", "pipe_test.ts", "select_test.ts", "process_test.ts"],
  "queue.ts": ["queue_test.ts", "select_test.ts"],
  "_watch.ts": ["watch_test.ts", "process_test.ts", "python_hangs_test.ts"],
  "_warden.ts": ["watch_test.ts", "process_test.ts"],
  "_spawn.ts": ["process_test.ts", "watch_test.ts", "pool_test.ts", "python_hangs_test.ts"],
  "_child.ts": ["process_test.ts", "watch_test.ts", "pool_test.ts", "python_hangs_test.ts"],
};

const root = new URL("../../", import.meta.url);
const RESULTS = new URL("results.json", import.meta.url);
/** Longest that a test file may take, in milliseconds: this much, or four times what it takes otherwise. */
const LEAST_LIMIT = 10_000;

/** What became of a mutant, and the test that noticed it. */
interface Outcome {
  readonly fate: "killed" | "survived";
  readonly by?: string;
  /** A hash of the text around the mutant. */
  readonly context: string;
}

/** By module and id. */
type Results = Record<string, Record<string, Outcome>>;

/** A copy of the tree in which one mutant at a time lives. */
class Bench implements Disposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "sabre-mutation-" });

  constructor() {
    copy(root.pathname, this.path);
  }

  /** Runs a test file: how long it took if it passed, or the test that failed. */
  async run(test: string, limit: number): Promise<number | string> {
    const start = performance.now();
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "test",
        "--allow-read",
        "--allow-run",
        "--no-check",
        "--no-lock",
        "--fail-fast",
        `tests/${test}`,
      ],
      cwd: this.path,
      env: { NO_COLOR: "1" },
      stdout: "piped",
      stderr: "null",
    }).spawn();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, limit);
    const { success, stdout } = await child.output();
    clearTimeout(timer);
    if (isLate) return LATE;
    if (success) return performance.now() - start;
    return /^(.+?) => \.\//m.exec(new TextDecoder().decode(stdout))?.[1] ?? "it does not run";
  }

  write(file: string, text: string): void {
    Deno.writeTextFileSync(`${this.path}/${file}`, text);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

const LATE = "it does not end";

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

async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).toHex().slice(0, 16);
}

function readResults(): Results {
  try {
    return JSON.parse(Deno.readTextFileSync(RESULTS));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return {};
    throw error;
  }
}

/** A number that says nothing of the text. */
function weigh(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x9E3779B1);
  return hash ^ (hash >>> 15);
}

/** Adds an outcome to what is recorded now, perhaps by another run. */
function note({ file, id }: Mutant, outcome: Outcome): void {
  const results = readResults();
  results[file] = sorted({ ...results[file], [id]: outcome });
  Deno.writeTextFileSync(RESULTS, `${JSON.stringify(sorted(results), undefined, 2)}\n`);
}

function sorted<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1));
}

async function main(): Promise<void> {
  const valueOf = (name: string): string | undefined =>
    Deno.args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
  const has = (name: string): boolean => Deno.args.includes(`--${name}`);
  const files = valueOf("file")?.split(",") ?? Object.keys(PLAN);
  const part = valueOf("id") ?? "";
  const without = valueOf("without")?.split(",") ?? [];
  const equivalent: Readonly<Record<string, string>> = JSON.parse(
    Deno.readTextFileSync(new URL("equivalent.json", import.meta.url)),
  );

  using stack = new DisposableStack();
  // One copy is the state of the tree at the start, for all.
  const parallel = has("list") || has("report") ? 1 : Number(valueOf("parallel") ?? 2);
  const benches = Array.from({ length: parallel }, () => stack.use(new Bench()));
  const here = benches[0]!;
  const contexts = new Map<Mutant, string>();
  const mutants: Mutant[] = [];
  for (const file of files) {
    if (PLAN[file] === undefined) throw new TypeError(`There is no plan for ${file}`);
    const text = Deno.readTextFileSync(`${here.path}/${file}`);
    for (const mutant of mutantsOf(file, text)) {
      contexts.set(mutant, await digest(mutant.context));
      mutants.push(mutant);
    }
  }
  const wanted = mutants.filter(({ kind, id }) =>
    (has("all") || !CONDITIONS.has(kind)) && id.includes(part)
  );
  const outcomeOf = (mutant: Mutant, results: Results): Outcome | undefined => {
    const outcome = results[mutant.file]?.[mutant.id];
    return outcome?.context === contexts.get(mutant) ? outcome : undefined;
  };
  const before = readResults();
  const todo = has("report") ? [] : wanted.filter((mutant) => {
    if (equivalent[mutant.id] !== undefined) return false;
    const fate = outcomeOf(mutant, before)?.fate;
    return has("again") || fate === undefined || (fate === "survived" && !has("new"));
  });
  if (has("list")) {
    for (const { id, line, after } of todo) console.log(`${line}: ${id}  ->  ${after}`);
    console.log(`${todo.length} mutants`);
    return;
  }

  // What each test takes without a change. Then it must pass: otherwise it would kill every mutant.
  const limits = new Map<string, Promise<number>>();
  const limitOf = (test: string): Promise<number> => limits.getOrInsertComputed(test, measure);
  const measure = async (test: string): Promise<number> => {
    using bench = new Bench();
    const time = await bench.run(test, 300_000);
    if (typeof time === "string") {
      console.log(`${test} is left out, as it fails without a change: ${time}`);
      return 0;
    }
    console.log(`${test}: ${Math.round(time)} ms`);
    return Math.max(LEAST_LIMIT, 3 * time);
  };

  // In no order, so that a run that is ended early leaves a sample of all modules.
  const queue = todo.sort((a, b) => weigh(a.id) - weigh(b.id));
  let count = 0;
  await Promise.all(benches.map(async (bench) => {
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const { file, line, id, after } = mutant;
      const original = Deno.readTextFileSync(`${bench.path}/${file}`);
      const context = contexts.get(mutant)!;
      let outcome: Outcome = { fate: "survived", context };
      for (const test of PLAN[file]!) {
        if (without.includes(test)) continue;
        const limit = await limitOf(test);
        if (limit === 0) continue;
        bench.write(file, mutant.source);
        const result = await bench.run(test, limit);
        bench.write(file, original);
        // An explorer that does not end has found nothing: there may only be more to visit.
        if (typeof result === "number" || (result === LATE && /^(model|mutation)\//.test(test))) {
          continue;
        }
        outcome = { fate: "killed", by: `${test}: ${result}`, context };
        break;
      }
      note(mutant, outcome);
      console.log(
        `${++count}/${todo.length} ${outcome.fate}${
          outcome.by === undefined ? "" : ` by ${outcome.by}`
        }  <-  ${line}: ${id}${outcome.fate === "survived" ? `  ->  ${after}` : ""}`,
      );
    }
  }));
  const results = readResults();
  const knownOf = (mutant: Mutant) => equivalent[mutant.id] ?? outcomeOf(mutant, results);
  const table = tableOf(wanted, knownOf);
  console.log(`\n${table.join("\n")}\n\nSurvivors:`);
  for (const mutant of wanted) {
    const known = knownOf(mutant);
    if (typeof known === "object" && known.fate === "survived") {
      console.log(`${mutant.line}: ${mutant.id}  ->  ${mutant.after}`);
    }
  }
  if (
    has("report") && !["file", "id", "all"].some((name) => has(name) || valueOf(name) !== undefined)
  ) {
    writeTable(table);
  }
}

/** What is known of the mutants, as a table: why one is equivalent, what became of it, or nothing yet. */
function tableOf(
  mutants: readonly Mutant[],
  knownOf: (mutant: Mutant) => string | Outcome | undefined,
): string[] {
  const row = (name: string, list: readonly Mutant[]): string => {
    const counts = { killed: 0, survived: 0, equivalent: 0, unknown: 0 };
    for (const mutant of list) {
      const known = knownOf(mutant);
      counts[typeof known === "string" ? "equivalent" : known?.fate ?? "unknown"]++;
    }
    const { killed, survived, equivalent, unknown } = counts;
    const ratio = (100 * killed / Math.max(1, killed + survived)).toFixed(1);
    return `| ${name} | ${list.length} | ${killed} | ${survived} | ${ratio} % | ${equivalent} | ${unknown} |`;
  };
  const rows = [...Map.groupBy(mutants, (each) => each.file)];
  return [
    "| Module | Mutants | Killed | Survived | Ratio | Equivalent | Not run |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...rows.map(([file, list]) => row(`\`${file}\``, list)),
    row("all", mutants),
  ];
}

/** Puts the table into docs/proof.md. */
function writeTable(table: readonly string[]): void {
  const path = new URL("docs/proof.md", root);
  const text = Deno.readTextFileSync(path);
  const [before, , after] = text.split(/(?<=<!-- mutants: .* -->)|(?=<!-- end of mutants -->)/);
  if (after === undefined) throw new Error("docs/proof.md has no place for the table");
  Deno.writeTextFileSync(path, `${before}\n\n${table.join("\n")}\n\n${after}`);
}

if (import.meta.main) await main();
