// Copyright 2026 the Sabre authors. MIT license.

/**
 * Writes what `bench/results.json` holds into the README.
 *
 * `deno run --allow-read --allow-write --allow-run bench/figures.ts`; a whole run of the benchmarks does so too.
 */

import type { Result } from "./_harness.ts";

const README = new URL("../README.md", import.meta.url);
const BEGIN = "<!-- figures: written by bench/figures.ts -->";
const END = "<!-- end of figures -->";

/** What a whole run writes. */
export interface Figures {
  readonly machine: { readonly deno: string; readonly target: string; readonly cpu: string };
  readonly rounds: number;
  readonly results: readonly Result[];
}

/** The table of the README. */
export function tableOf({ machine, rounds, results }: Figures): string {
  const rows = [["work", "ours", "beside it, in the same run", "ours is"], Array(4).fill("---")];
  for (const [name, lines] of Map.groupBy(results, ({ table }) => table)) {
    const [first, ...others] = lines;
    for (const { line, unit, median, ratio } of others) {
      const [middle, least, most] = ratio.map((value) => value.toFixed(2));
      rows.push([
        `${name}: ${first!.line}`,
        show(first!.median, first!.unit),
        `${line}: ${show(median, unit)}`,
        `${middle} x (${least} to ${most})`,
      ]);
    }
  }
  const table = rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  return `Medians of ${rounds} rounds in which the lines of each comparison alternate; in parentheses the ` +
    `least and the most of the ratio. Deno ${machine.deno}, ${machine.target}, ${machine.cpu} with two ` +
    `virtual cores.\n\n${table}`;
}

function show(value: number, unit: string): string {
  if (unit !== "per second") return `${value.toFixed(value < 100 ? 1 : 0)} ${unit}`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M/s`;
  return `${(value / 1e3).toFixed(0)} k/s`;
}

/** The README with the figures in their place. */
export function insert(readme: string, figures: Figures): string {
  const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (from < 0 || to < from) throw new Error("README.md has no place for the figures");
  return `${readme.slice(0, from + BEGIN.length)}\n\n${tableOf(figures)}\n\n${readme.slice(to)}`;
}

/** Writes the figures of the last whole run into the README. */
export async function writeFigures(): Promise<void> {
  const results = new URL("./results.json", import.meta.url);
  const figures: Figures = JSON.parse(Deno.readTextFileSync(results));
  Deno.writeTextFileSync(README, insert(Deno.readTextFileSync(README), figures));
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", README.pathname] }).output();
}

if (import.meta.main) await writeFigures();
