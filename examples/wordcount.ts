// Copyright 2026 the Sabre authors. MIT license.

// Counts the words of files and folders with several processes, which take paths from one queue,
// and again with one process to compare times and counts:
//
//   deno run --allow-read examples/wordcount.ts [paths...]

import { Process, Queue, SharedValue } from "@sabre/ipc";

const SKIPPED = new Set([".git", "node_modules"]);
const CHUNK = 1 << 20; // bytes read at once, so that a file of any size fits
const SNIFF = 8_192; // bytes in which a NUL makes a file look binary
const WORD = /\p{L}[\p{L}\p{M}]*(?:['’]\p{L}[\p{L}\p{M}]*)*/gu;
// One UTF-16 unit that may belong to a word; halves of a pair are of category Cs.
const WORD_UNIT = /[\p{L}\p{M}\p{Cs}'’]/u;

/** How often each word occurs, in lower case. */
export type Counts = Map<string, number>;

export interface Report {
  files: number;
  words: number;
  /** The most frequent words, and how often each occurs. */
  top: [word: string, times: number][];
  processes: number;
  /** Milliseconds that the processes took together, their start included. */
  elapsed: number;
  /** Milliseconds that one process took. */
  elapsedAlone: number;
  /** Whether both ways counted the same. */
  agree: boolean;
}

export interface Options {
  /** @default {navigator.hardwareConcurrency} */
  processes?: number;
  /** Whether to show a progress bar; on a terminal only, if not given. */
  progress?: boolean;
}

/** What a child does: it counts the files whose paths it takes, until no more come. */
export function count(paths: Queue<string>, done: SharedValue<"u32">): Counts {
  const counts: Counts = new Map();
  for (const path of paths) {
    countFile(path, counts);
    done.add(1);
  }
  return counts;
}

/** Adds the words of a file to `counts`, none if the file looks binary. */
export function countFile(path: string | URL, counts: Counts, chunk = CHUNK): void {
  using file = Deno.openSync(path);
  const decoder = new TextDecoder();
  const bytes = new Uint8Array(chunk);
  let rest = "";
  for (let first = true;; first = false) {
    const length = file.readSync(bytes);
    if (length === null) break;
    if (first && bytes.subarray(0, Math.min(length, SNIFF)).includes(0)) return;
    const text = rest + decoder.decode(bytes.subarray(0, length), { stream: true });
    // The last word may go on in the next chunk.
    let end = text.length;
    while (end > 0 && WORD_UNIT.test(text.charAt(end - 1))) end--;
    countText(text.slice(0, end), counts);
    rest = text.slice(end);
  }
  countText(rest + decoder.decode(), counts);
}

function countText(text: string, counts: Counts): void {
  for (const [word] of text.matchAll(WORD)) {
    const key = word.toLowerCase();
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
}

/** The files below the paths given, without links and without what tools have put there. */
async function* walk(paths: Iterable<string>): AsyncGenerator<string> {
  for (const path of paths) {
    const { isDirectory } = await Deno.stat(path);
    if (!isDirectory) {
      yield path;
      continue;
    }
    for await (const entry of Deno.readDir(path)) {
      const below = `${path.replace(/\/+$/, "")}/${entry.name}`;
      if (entry.isFile) yield below;
      else if (entry.isDirectory && !SKIPPED.has(entry.name)) yield* walk([below]);
    }
  }
}

async function countTogether(files: string[], processes: number, progress: boolean) {
  using paths = new Queue<string>();
  const done = new SharedValue("u32", 0);
  using _bar = progress ? await bar(files.length, () => done.value) : undefined;
  await using children = new AsyncDisposableStack();
  const results = Array.from({ length: processes }, (_, i) =>
    children.use(
      new Process(import.meta.url, {
        target: count,
        args: [paths, done],
        name: `counter ${i + 1}`,
      }).start(),
    ).result);

  const feed = paths.putMany(files).then(() => paths.close());
  // If a child fails, this ends at once, and leaving the scope ends the other children.
  const [, ...parts] = await Promise.all([feed, ...results]);
  const counts: Counts = new Map();
  for (const part of parts) {
    for (const [word, times] of part) counts.set(word, (counts.get(word) ?? 0) + times);
  }
  return counts;
}

/** A bar that follows `value` until it is disposed of. Only the parent ever loads its library. */
async function bar(total: number, value: () => number): Promise<Disposable> {
  const { default: progress } = await import("cli-progress");
  const format = "counting {bar} {value}/{total} files";
  const single = new progress.SingleBar({ format }, progress.Presets.shades_classic);
  single.start(total, 0);
  const timer = setInterval(() => single.update(value()), 50);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      single.update(value());
      single.stop();
    },
  };
}

function agree(a: Counts, b: Counts): boolean {
  return a.size === b.size && [...a].every(([word, times]) => b.get(word) === times);
}

export async function main(paths: string[], options: Options = {}): Promise<Report> {
  const files: string[] = [];
  for await (const file of walk(paths)) files.push(file);
  const wanted = options.processes ?? navigator.hardwareConcurrency;
  const processes = Math.max(1, Math.min(wanted, files.length));
  const progress = options.progress ?? Deno.stderr.isTerminal();
  if (!progress) console.log(`counting the words of ${files.length} files`);

  const start = performance.now();
  const counts = await countTogether(files, processes, progress);
  const middle = performance.now();
  const alone: Counts = new Map();
  for (const file of files) countFile(file, alone);
  const end = performance.now();

  const report: Report = {
    files: files.length,
    words: counts.values().reduce((sum, times) => sum + times, 0),
    top: [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, 20),
    processes,
    elapsed: middle - start,
    elapsedAlone: end - middle,
    agree: agree(counts, alone),
  };
  print(report);
  return report;
}

function print(report: Report): void {
  for (const [word, times] of report.top) console.log(`${String(times).padStart(8)} ${word}`);
  const seconds = (milliseconds: number) => `${(milliseconds / 1_000).toFixed(2)} s`;
  console.log(
    `${report.words} words in ${report.files} files;`,
    `${seconds(report.elapsed)} with ${report.processes} started for it,`,
    `${seconds(report.elapsedAlone)} with one that ran already;`,
    report.agree ? "both counts agree" : "THE COUNTS DIFFER",
  );
}

if (import.meta.main) {
  const { agree } = await main(Deno.args.length > 0 ? Deno.args : ["."]);
  if (!agree) Deno.exitCode = 1;
}
