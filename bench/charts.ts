// Copyright 2026 the Sabre authors. MIT license.

// The charts of the README and of the guide, drawn from the figures of a whole run.

import { isComparable, type Result, show, showRatio } from "./_harness.ts";

/** A chart: what file it is in, and what it shows for who cannot see it. `draw.ts` draws it. */
export interface Chart {
  readonly file: string;
  readonly alt: string;
  readonly bars: Bars;
}

/** Horizontal bars on a logarithmic scale. */
export interface Bars {
  readonly names: readonly string[];
  readonly series: readonly {
    readonly name: string;
    readonly color: string;
    readonly values: readonly (number | undefined)[];
  }[];
  /** The color of each bar, if they differ within a series. */
  readonly colors?: readonly string[];
  readonly axis: string;
  readonly label: (value: number) => string;
  /** Where the bars begin; in the middle, at 1, if undefined. */
  readonly base: number | undefined;
}

/** Every chart for which there are figures. */
export function chartsOf(results: readonly Result[]): Chart[] {
  return [messages(results), trips(results), ratios(results), sizes(results)]
    .filter((chart) => chart !== undefined);
}

const OURS = "#2563eb";
const OURS_TOO = "#7dd3fc";
const BESIDE = "#a1a1aa";

/** What is sent, the table it is measured in, and the lines of pipe, queue and `postMessage`. */
const MESSAGES: readonly [kind: string, table: string, lines: readonly string[]][] = [
  ["integer", "integers, one at a time", [
    "pipe, sendSync and receiveSync",
    "queue",
    "postMessage",
  ]],
  ["string, 64 characters", "strings of 64 characters", ["pipe", "queue", "postMessage"]],
  ["small nested object", "small nested objects", ["pipe", "queue", "postMessage"]],
  ["bytes, 1 KiB", "bytes, 1 KiB", ["pipe", "queue", "postMessage, copied"]],
  ["bytes, 64 KiB", "bytes, 64 KiB", ["pipe", "queue", "postMessage, copied"]],
  ["bytes, 1 MiB", "bytes, 1 MiB", ["pipe", "queue", "postMessage, copied"]],
];

function messages(results: readonly Result[]): Chart | undefined {
  const kinds = MESSAGES.filter(([, table]) => results.some((result) => result.table === table));
  if (kinds.length === 0) return undefined;
  const medians = kinds.map(([, table, lines]) =>
    lines.map((line) => find(results, table, line)?.median)
  );
  const alt = "Messages per second through a pipe, a queue and postMessage, on a logarithmic scale";
  return {
    file: "messages.svg",
    alt,
    bars: {
      names: kinds.map(([kind]) => kind),
      series: [["pipe", OURS], ["queue", OURS_TOO], ["postMessage", BESIDE]].map(
        ([name, color], index) => ({
          name: name!,
          color: color!,
          values: medians.map((lines) => lines[index]),
        }),
      ),
      axis: "messages per second",
      label: (value) => show(value, "per second"),
      base: 100,
    },
  };
}

function trips(results: readonly Result[]): Chart | undefined {
  const of = (table: string) => results.filter((result) => result.table === table);
  const rows = [
    ...of("round trip on one core"),
    ...of("round trip on one core, promises"),
    ...of("pool of two, one call at a time, on one core"),
  ];
  if (rows.length === 0) return undefined;
  return {
    file: "trips.svg",
    alt: "Microseconds from a question to its answer, all threads on one core",
    bars: {
      names: rows.map(({ line }) => line),
      colors: rows.map(({ line }) => isOurs(line) ? OURS : BESIDE),
      series: [{ name: "", color: OURS, values: rows.map(({ median }) => median) }],
      axis: "microseconds, on one core: less is better",
      label: (value) => show(value, "us"),
      base: 1,
    },
  };
}

function isOurs(line: string): boolean {
  return line.startsWith("pipe, ") || line.startsWith("Pool.");
}

/** The lines that others are compared with in this chart, by table. */
const RATIOS: readonly [what: string, table: string, line: string][] = [
  ["pipe, integers : postMessage", "integers, one at a time", "postMessage"],
  ["pipe, integers : ringbuf.js", "integers, one at a time", "ringbuf.js"],
  ["pipe, integers : Rust sync_channel", "integers, one at a time", "Rust sync_channel"],
  ["pipe, integers : a bare ring", "integers, one at a time", "bare ring"],
  ["pipe, batches of 64 : ringbuf.js", "integers, batches of 64", "ringbuf.js"],
  ["pipe, objects : postMessage", "small nested objects", "postMessage"],
  ["pipe, strings : postMessage", "strings of 64 characters", "postMessage"],
  ["pipe, 64 KiB : postMessage", "bytes, 64 KiB", "postMessage, copied"],
  ["queue : multithreading", "queue, integers, 1 producer", "multithreading"],
  ["queue : Rust, Mutex and Condvar", "queue, integers, 1 producer", "Rust"],
  ["queue : a bare ring of Vyukov", "queue, integers, 1 producer", "bare ring"],
  ["Lock, contended : multithreading", "a lock that two threads want", "multithreading"],
  ["Lock, contended : a bare word", "a lock that two threads want", "a bare word"],
  ["Lock, uncontended : bare CAS", "one uncontended", "two bare"],
  ["SharedValue, add : Atomics.add", "one addition", "bare Atomics.add"],
  ["Pool.run : comlink, on one core", "pool of two, one call at a time, on one core", "comlink"],
  ["Pool.map : Python", "pool of two, items squared", "Python"],
  ["Pool.map, chunkSize 1 : Python", "pool of two, items squared, each a task", "Python"],
  ["Process : a bare Worker", "start of a process", "bare Worker"],
];

function ratios(results: readonly Result[]): Chart | undefined {
  const rows = RATIOS.flatMap(([what, table, line]) => {
    const result = results.find((result) =>
      result.table.startsWith(table) && result.line.startsWith(line) && isComparable(result.unit)
    );
    return result === undefined ? [] : [{ what, ratio: result.ratio[0] }];
  });
  if (rows.length === 0) return undefined;
  rows.sort((a, b) => b.ratio - a.ratio);
  return {
    file: "ratios.svg",
    alt: "How many times faster ours is than what stands beside it",
    bars: {
      names: rows.map(({ what }) => what),
      colors: rows.map(({ ratio }) => ratio >= 1 ? OURS : BESIDE),
      series: [{ name: "", color: OURS, values: rows.map(({ ratio }) => ratio) }],
      axis: "times faster, logarithmic; left of 1 is slower",
      label: (value) => `${showRatio(value)} x`,
      base: undefined,
    },
  };
}

function sizes(results: readonly Result[]): Chart | undefined {
  const rows = results.filter(({ table }) => table === "pipe, bytes, by size of a message");
  if (rows.length === 0) return undefined;
  const values = rows.map(({ line, median }) => bytesOf(line) / median * 1e6 / 2 ** 20);
  return {
    file: "sizes.svg",
    alt: "MiB per second through a pipe, by the size of a message",
    bars: {
      names: rows.map(({ line }) => line),
      series: [{ name: "", color: OURS, values }],
      axis: "MiB per second, logarithmic",
      label: (value) => value < 100 ? value.toFixed(1) : value.toFixed(0),
      base: 1,
    },
  };
}

function bytesOf(size: string): number {
  const [number, unit] = size.split(" ");
  return Number(number) * (unit === "MiB" ? 2 ** 20 : unit === "KiB" ? 2 ** 10 : 1);
}

function find(results: readonly Result[], table: string, line: string): Result | undefined {
  return results.find((result) => result.table === table && result.line.startsWith(line));
}
