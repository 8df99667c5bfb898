// Copyright 2026 the Sabre authors. MIT license.

// How figures are taken: the lines of one table alternate, round by round, so that a machine whose
// speed drifts slows all of them alike; what is quoted is the median and the ratio within a round.

import type { Outside } from "./_outside.ts";

/** What a run did: how many operations in how many milliseconds, or how much it used. */
export interface Sample {
  readonly count: number;
  readonly time: number;
}

/** One line of a table. */
export interface Line {
  readonly name: string;
  /** How many operations are about a tenth of a second, or, if `fixed`, the right number. */
  readonly count: number;
  /** Whether every run does `count` operations, however long that takes; a tenth in a quick run. */
  readonly fixed?: boolean;
  /** Operations that it does before it is measured, if the usual few would measure the compiler. */
  readonly warmUp?: number;
  /** Whether it gets warm by itself in every run, as a program of its own does. */
  readonly isWarm?: boolean;
  /** Does about `count` operations and says how many they were. */
  run(count: number): Promise<Sample> | Sample;
  /** Why it cannot run on this machine. */
  readonly skip?: string | undefined;
}

/** What a figure means: operations per second, time per operation, or an amount. */
export type Unit = "per second" | "ns" | "us" | "ms" | "ms/s" | "MiB";

/** One table: its first line is ours, the others are compared with it. */
export interface Table {
  readonly name: string;
  readonly unit: Unit;
  /** Whether all its threads and programs share one core; it is left out where that is impossible. */
  readonly pinned?: boolean;
  /** Whether it is about ours alone: the first line is the base of the others. */
  readonly growth?: boolean;
  lines(outside: Outside): Line[] | Promise<Line[]>;
}

/** What came of a line. */
export interface Result {
  readonly table: string;
  readonly line: string;
  readonly unit: Unit;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** How much better the first line of the table is: median, least and most over the rounds. */
  readonly ratio: [number, number, number];
}

/** A line that did not run, and why. */
export interface Skipped {
  readonly table: string;
  readonly line: string;
  readonly why: string;
}

/** What came of a table. */
export interface Outcome {
  readonly results: Result[];
  readonly skipped: Skipped[];
}

/** How long a line runs in each round, in milliseconds; a quick run takes less. */
export const TIME = 300;

/** Measures a table: `rounds` rounds, in which each line runs for about `time` milliseconds. */
export async function measure(
  table: Table,
  outside: Outside,
  rounds: number,
  time: number,
  onProgress: (text: string) => void,
): Promise<Outcome> {
  const skipped: Skipped[] = [];
  const lines: { line: Line; count: number; figures: number[] }[] = [];
  const all = await table.lines(outside);
  const leaveOut = (line: Line, error: unknown) => {
    // What is ours has to run; what somebody else wrote may fail.
    if (line === all[0]) throw error;
    skipped.push({ table: table.name, line: line.name, why: `failed: ${reason(error)}` });
  };
  for (const line of all) {
    onProgress(`${line.name}, getting warm`);
    if (line.skip !== undefined) {
      skipped.push({ table: table.name, line: line.name, why: line.skip });
      continue;
    }
    try {
      // There are many of them, and they are for information.
      const share = table.growth ? time / 2 : time;
      lines.push({ line, count: await calibrate(line, share), figures: [] });
    } catch (error) {
      leaveOut(line, error);
    }
  }
  for (let round = 1; round <= rounds; round++) {
    for (const entry of [...lines]) {
      const { line, count, figures } = entry;
      onProgress(`${line.name}, round ${round} of ${rounds}`);
      try {
        figures.push(figure(table.unit, await line.run(count)));
      } catch (error) {
        leaveOut(line, error);
        lines.splice(lines.indexOf(entry), 1);
      }
    }
  }
  const base = lines[0]!.figures;
  const results = lines.map(({ line, figures }): Result => {
    const ratios = figures.map((value, round) =>
      table.unit === "per second" ? base[round]! / value : value / base[round]!
    );
    return {
      table: table.name,
      line: line.name,
      unit: table.unit,
      median: median(figures),
      min: Math.min(...figures),
      max: Math.max(...figures),
      ratio: [median(ratios), Math.min(...ratios), Math.max(...ratios)],
    };
  });
  return { results, skipped };
}

/** Warms a line and finds how many of its operations take `time` milliseconds. */
async function calibrate(line: Line, time: number): Promise<number> {
  if (line.fixed) {
    const count = time < TIME / 2 ? Math.ceil(line.count / 10) : line.count;
    if (!line.isWarm) await line.run(count);
    return count;
  }
  if (line.warmUp !== undefined && time >= TIME / 2) await line.run(line.warmUp);
  let count = Math.ceil(line.count / 4);
  for (let turn = 0; turn < 2; turn++) {
    const sample = await line.run(count);
    count = Math.ceil(sample.count * time / Math.max(sample.time, 0.1) / (2 - turn));
    // A hiccup while it was warming must not make the runs endless, or nothing.
    count = Math.min(Math.max(count, Math.ceil(line.count / 20)), line.count * 20);
  }
  return count;
}

/** The results of one table, as text. */
export function textOf({ results, skipped }: Outcome): string {
  const first = results[0];
  const rows = results.map(({ line, unit, median, min, max, ratio }) => {
    const range = `${show(min, unit)} to ${show(max, unit)}`;
    const told = line === first?.line || !isComparable(unit)
      ? ""
      : `${showRatio(ratio[0])} x (${showRatio(ratio[1])} to ${showRatio(ratio[2])})`;
    return `  ${line.padEnd(52)}${show(median, unit).padStart(12)}  ${range.padEnd(26)}${told}`
      .trimEnd();
  });
  const left = skipped.map(({ line, why }) => `  ${line}: left out, ${why}`);
  return [...rows, ...left].join("\n");
}

/** Whether a ratio of two such figures says something. */
export function isComparable(unit: Unit): boolean {
  return unit !== "ms/s" && unit !== "MiB";
}

/** A figure with its unit, as short as is honest. */
export function show(value: number, unit: Unit): string {
  if (unit !== "per second") {
    const symbol = unit === "us" ? "µs" : unit;
    return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${symbol}`;
  }
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M/s`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(0)} k/s`;
  return value >= 1e3 ? `${(value / 1e3).toFixed(1)} k/s` : `${value.toFixed(0)}/s`;
}

/** A ratio, as short as is honest. */
export function showRatio(value: number): string {
  return value < 0.095 ? value.toPrecision(2) : value.toFixed(value < 100 ? 2 : 0);
}

/** Times a function. */
export async function timed(count: number, fn: () => unknown): Promise<Sample> {
  const start = performance.now();
  await fn();
  return { count, time: performance.now() - start };
}

/** A line whose runs are one loop in this thread, without a promise between its turns. */
export function loopLine(name: string, count: number, loop: (count: number) => void): Line {
  return {
    name,
    count,
    run(turns) {
      const start = performance.now();
      loop(turns);
      return { count: turns, time: performance.now() - start };
    },
  };
}

/** Throws unless what arrived is right: a figure counts only then. */
export function check(condition: boolean): void {
  if (!condition) throw new Error("A value arrived wrong");
}

/** The middle one. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

/** What is said of a failure: one line, without the folders of this machine. */
export function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return (text.split("\n")[0] ?? "").replaceAll(/(file:\/\/)?\/[^\s:]+\//g, "").slice(0, 120);
}

function figure(unit: Unit, { count, time }: Sample): number {
  if (unit === "per second") return count / time * 1_000;
  const factor = unit === "ns" ? 1e6 : unit === "us" ? 1e3 : 1;
  return time * factor / count;
}
