// Copyright 2026 the Sabre authors. MIT license.

/**
 * Writes what `bench/results.json` holds into the README and the guide, and draws the charts.
 *
 * `deno run -A bench/figures.ts`; a whole run of the benchmarks does so too.
 */

import { isComparable, type Result, show, showRatio, type Skipped } from "./_harness.ts";
import { chartsOf } from "./charts.ts";
import { domainBytes, memoryOf } from "./memory.ts";

/** The documents, from the root of the package, that show figures. */
export const DOCUMENTS = ["README.md", "docs/performance.md"];

/** What figures were measured on. */
export interface Machine {
  readonly deno: string;
  readonly v8?: string;
  readonly target: string;
  readonly cpu: string;
  readonly cores: number;
  readonly rustc?: string;
  readonly python?: string;
  readonly node?: string;
  /** How busy it was before the noisiest table, up to 1. */
  readonly busy?: number;
}

/** What a whole run writes. */
export interface Figures {
  readonly machine: Machine;
  readonly rounds: number;
  readonly results: readonly Result[];
  readonly skipped?: readonly Skipped[];
}

/** The machine, in one sentence. */
export function sentenceOf({ deno, target, cpu, cores, rustc, python, node }: Machine): string {
  const programs = [
    `Deno ${deno}`,
    ...(rustc === undefined ? [] : [`rustc ${rustc}`]),
    ...(python === undefined ? [] : [`Python ${python}`]),
    ...(node === undefined ? [] : [`Node ${node}`]),
  ];
  return `${cpu}, ${cores} cores, ${target}; ${programs.join(", ")}`;
}

/** A share, up to 1, as a whole percentage. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

/** The tables that the README shows; the guide shows all. */
const HEADLINES = [
  "integers, one at a time",
  "integers, batches of 64",
  "small nested objects",
  "strings of 64 characters",
  "bytes, 1 KiB",
  "bytes, 64 KiB",
  "queue, integers, 1 producer and 1 consumer",
  "queue, integers, 2 producers and 2 consumers",
  "round trip on one core",
  "round trip on one core, promises",
  "one uncontended acquireSync and release",
  "a lock that two threads want",
  "one addition",
  "pool of two, one call at a time, on one core",
  "pool of two, items squared",
  "pool of two, items squared, each a task",
  "start of a process, and its end",
];

/** How the figures were taken. */
function methodOf({ machine, rounds, skipped = [] }: Figures): string {
  const noise = machine.busy === undefined || machine.busy < 0.1
    ? ""
    : ` Something else used the machine meanwhile: up to ${percent(machine.busy)} of it.`;
  const left = skipped.length === 0
    ? ""
    : ` Left out: ${skipped.map(({ line, why }) => `${line} (${why})`).join("; ")}.`;
  return `Measured on: ${sentenceOf(machine)}. Medians of ${rounds} rounds in which the lines of ` +
    `each comparison alternate; in parentheses the least and the most of the ratio.${noise}${left}`;
}

/** The comparisons of the README, one a row. */
function headlinesOf({ results }: Figures): string {
  const rows = [["work", "ours", "beside it, in the same run", "ours is"], Array(4).fill("---")];
  for (const [name, lines] of Map.groupBy(results, ({ table }) => table)) {
    if (!HEADLINES.includes(name)) continue;
    const [first, ...others] = lines;
    for (const { line, unit, median, ratio } of others) {
      rows.push([
        `${name}: ${first!.line}`,
        show(first!.median, unit),
        `${line}: ${show(median, unit)}`,
        ratioOf(ratio),
      ]);
    }
  }
  return tableOf(rows);
}

/** Tables in full, each under its name. */
function tablesOf({ results }: Figures, names: string[]): string {
  const groups = Map.groupBy(results, ({ table }) => table);
  return names.map((name) => {
    const lines = groups.get(name);
    if (lines === undefined) return `_${name}: not measured yet._`;
    const { unit, line: first } = lines[0]!;
    const isRatio = isComparable(unit);
    const rows = [
      [name, "median", "least to most", ...(isRatio ? ["the first is"] : [])],
      Array(isRatio ? 4 : 3).fill("---"),
      ...lines.map(({ line, median, min, max, ratio }) => [
        line,
        show(median, unit),
        `${show(min, unit)} to ${show(max, unit)}`,
        ...(isRatio ? [line === first ? "" : ratioOf(ratio)] : []),
      ]),
    ];
    return tableOf(rows);
  }).join("\n\n");
}

function ratioOf([middle, least, most]: Result["ratio"]): string {
  return `${showRatio(middle)} x (${showRatio(least)} to ${showRatio(most)})`;
}

function memoryTable(): string {
  return tableOf([
    ["primitive", "bytes of shared memory"],
    ["---", "---:"],
    ...memoryOf().map(([name, bytes]) => [name, bytes.toLocaleString("en-US")]),
    ["the table of agents, once in a program", domainBytes().toLocaleString("en-US")],
  ]);
}

function tableOf(rows: string[][]): string {
  return rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** What stands at a place called `method`, `headlines`, `memory`, a chart, or tables by name. */
function contentOf(place: string, figures: Figures, folder: string): string {
  if (place === "method") return methodOf(figures);
  if (place === "headlines") return headlinesOf(figures);
  if (place === "memory") return memoryTable();
  if (place.endsWith(".svg")) {
    return place.split(" ").map((file) => {
      const chart = chartsOf(figures.results).find((chart) => chart.file === file);
      return chart === undefined
        ? `_${file}: not measured yet._`
        : `![${chart.alt}](${folder}${file})`;
    }).join("\n\n");
  }
  return tablesOf(figures, place.split("; "));
}

const PLACE = /(<!-- figures: (.+?) -->)[^]*?(<!-- end of figures -->)/g;

/** A document with the figures in their places, `folder` being where it finds the charts. */
export function insert(text: string, figures: Figures, folder: string): string {
  return text.replaceAll(
    PLACE,
    (_, begin, place, end) => `${begin}\n\n${contentOf(place, figures, folder)}\n\n${end}`,
  );
}

/** Where a document finds the charts. */
export function folderOf(document: string): string {
  return document.includes("/") ? "../bench/" : "./bench/";
}

/** Writes the figures of the last whole run into the documents, and draws the charts. */
export async function writeFigures(): Promise<void> {
  const results = new URL("./results.json", import.meta.url);
  const figures: Figures = JSON.parse(Deno.readTextFileSync(results));
  // Only here: whoever just compares needs no library that asks for the environment.
  const { draw } = await import("./draw.ts");
  const paths: string[] = [];
  const write = (url: URL, text: string) => {
    Deno.writeTextFileSync(url, text);
    paths.push(decodeURIComponent(url.pathname));
  };
  for (const chart of chartsOf(figures.results)) {
    write(new URL(chart.file, import.meta.url), draw(chart));
  }
  for (const document of DOCUMENTS) {
    const url = new URL(`../${document}`, import.meta.url);
    write(url, insert(Deno.readTextFileSync(url), figures, folderOf(document)));
  }
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", ...paths] }).output();
}

if (import.meta.main) await writeFigures();
