// Copyright 2026 the Sabre authors. MIT license.

// How figures are taken: the lines of one table alternate, round by round, so that a machine whose
// speed drifts slows all of them alike; what is quoted is the median and the ratio within a round.

/** One line of a table: returns how many operations it did and in how many milliseconds. */
export interface Line {
  readonly name: string;
  run(): Promise<{ count: number; time: number }>;
}

/** One table: its first line is the one the others are compared with. */
export interface Table {
  readonly name: string;
  /** What a figure means: operations per second, or time per operation. */
  readonly unit: "per second" | "ns" | "us" | "ms";
  readonly lines: Line[];
}

/** What came of a line. */
export interface Result {
  readonly table: string;
  readonly line: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** How much better the first line of the table is: median, least and most over the rounds. */
  readonly ratio: [number, number, number];
}

/** Measures a table. */
export async function measure(table: Table, rounds: number): Promise<Result[]> {
  const figures = table.lines.map(() => [] as number[]);
  for (let round = 0; round < rounds; round++) {
    for (const [index, line] of table.lines.entries()) {
      progress(`${table.name}: ${line.name}, round ${round + 1} of ${rounds}`);
      const { count, time } = await line.run();
      figures[index]!.push(figure(table.unit, count, time));
    }
  }
  progress("");
  return table.lines.map((line, index) => {
    const own = figures[index]!;
    const ratios = own.map((value, round) =>
      table.unit === "per second" ? figures[0]![round]! / value : value / figures[0]![round]!
    );
    return {
      table: table.name,
      line: line.name,
      unit: table.unit,
      median: median(own),
      min: Math.min(...own),
      max: Math.max(...own),
      ratio: [median(ratios), Math.min(...ratios), Math.max(...ratios)],
    };
  });
}

/** Prints the results of one table. */
export function print(results: Result[]): void {
  const [first] = results;
  if (first === undefined) return;
  console.log(`\n${first.table} (${first.unit})`);
  for (const { line, unit, median, min, max, ratio } of results) {
    const range = `${short(min, unit)} to ${short(max, unit)}`;
    const ratios = line === first.line
      ? ""
      : `  ours is ${ratio[0].toFixed(2)} x (${ratio[1].toFixed(2)} to ${ratio[2].toFixed(2)})`;
    console.log(
      `  ${line.padEnd(44)}${short(median, unit).padStart(9)}  ${range.padEnd(20)}${ratios}`,
    );
  }
}

/** Waits until the machine has been quiet for a moment, at most ten seconds. */
export async function quiet(): Promise<void> {
  for (let i = 0; i < 10; i++) {
    const start = performance.now();
    let turns = 0;
    while (performance.now() - start < 50) turns++;
    const again = performance.now();
    let second = 0;
    while (performance.now() - again < 50) second++;
    if (Math.abs(turns - second) / Math.max(turns, second) < 0.1) return;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

/** Times a function. */
export async function timed(
  count: number,
  fn: () => unknown,
): Promise<{ count: number; time: number }> {
  const start = performance.now();
  await fn();
  return { count, time: performance.now() - start };
}

/** The middle one. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

function figure(unit: Table["unit"], count: number, time: number): number {
  if (unit === "per second") return count / time * 1_000;
  const factor = unit === "ns" ? 1e6 : unit === "us" ? 1e3 : 1;
  return time * factor / count;
}

function short(value: number, unit: string): string {
  if (unit !== "per second") return value.toFixed(value < 100 ? 1 : 0);
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  return value >= 1e3 ? `${(value / 1e3).toFixed(1)} k` : value.toFixed(1);
}

const encoder = new TextEncoder();

function progress(text: string): void {
  if (!Deno.stderr.isTerminal()) return;
  Deno.stderr.writeSync(encoder.encode(`\r\x1b[K${text}`));
}
