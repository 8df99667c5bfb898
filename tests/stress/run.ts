// Copyright 2026 the Sabre authors. MIT license.

// The long runs:
//
//   deno task test:stress [--seconds=60] [--kills=2000] [--seed=N] [--part=NAME] ...
//
// --part      campaign: children die at random instants, and this thread never blocks;
//             blocked: the same, and it blocks from before a death until the others have got on;
//             calls: 100 children that wait in each kind of call are terminated;
//             soak: many millions of messages. Several may be named; all of them without.
// --seed      of the campaigns. A new one if none is given; it is printed.
// --kills     how many each campaign is to see, 2000 if nothing else ends it.
// --seconds   how long each campaign lasts at most, and the soak, which takes 60 without.
// --children  how many wait in each kind of call, 100 if there is room for them.
// --only      the number of the one round to run, and
// --scenario  the name of the one scenario: what replays a failure, which says so. The random
//             decisions are the same then, although the instants are not to the microsecond.
//
// Ends by itself, with 0 if all was well.

import { campaign, type Report } from "./campaign.ts";
import { soak } from "./soak.ts";
import { KINDS, roomFor, terminateAll } from "../testdata/programs/blocked_calls.ts";

/** Milliseconds in which others have to get on after a death: the goal. */
const GOAL = 1_000;
/** Messages that a soak of a minute has to move. */
const PER_MINUTE = 100_000_000;
/** Bytes more that may be in use at its end. */
const GROWTH = 64 * 2 ** 20;
/** Milliseconds in which the program has to end by itself. */
const EXIT_LIMIT = 10_000;

const PARTS = ["campaign", "blocked", "calls", "soak"];
const OPTIONS = ["seconds", "kills", "seed", "children", "only"];

interface Settings {
  readonly parts: readonly string[];
  readonly numbers: Readonly<Record<string, number | undefined>>;
  readonly scenario: string | undefined;
}

function parse(args: readonly string[]): Settings {
  const parts: string[] = [];
  const numbers: Record<string, number> = {};
  let scenario: string | undefined;
  for (const arg of args) {
    if (arg === "--") continue;
    const [, name = "", value = ""] = /^--(\w+)=(.+)$/.exec(arg) ?? [];
    const number = Number(value);
    if (name === "part") parts.push(...value.split(","));
    else if (name === "scenario") scenario = value;
    else if (OPTIONS.includes(name) && number >= 0) numbers[name] = number;
    else throw new RangeError(`Cannot run with ${arg}: see the head of tests/stress/run.ts`);
  }
  for (const part of parts) {
    if (!PARTS.includes(part)) throw new RangeError(`Cannot run "${part}": there is ${PARTS}`);
  }
  return { parts: parts.length > 0 ? parts : PARTS, numbers, scenario };
}

/** A line that overwrites the one before on a terminal, and that is printed now and then elsewhere. */
class Progress {
  readonly #isTerminal = Deno.stderr.isTerminal();
  readonly #interval = this.#isTerminal ? 1_000 : 10_000;
  #last = -Infinity;

  show(text: string): void {
    const now = performance.now();
    if (now - this.#last < this.#interval) return;
    this.#last = now;
    const line = this.#isTerminal ? `\r\x1b[K${text}` : `${text}\n`;
    Deno.stderr.writeSync(new TextEncoder().encode(line));
  }

  end(text: string): void {
    if (this.#isTerminal) Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));
    console.log(text);
  }
}

function lineOf({ rounds, killed, longest, where }: Report): string {
  return `${rounds} rounds, ${killed} kills, longest recovery ${longest.toFixed()} ms (${where})`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed()} MiB`;
}

function millions(count: number): string {
  return `${(count / 1e6).toFixed(1)} million`;
}

async function runCampaign(isBlocked: boolean, settings: Settings, seed: number): Promise<boolean> {
  const { numbers: { seconds, kills, only }, scenario } = settings;
  const name = isBlocked ? "campaign with a blocked main thread" : "campaign";
  console.log(`${name}, seed ${seed}`);
  const progress = new Progress();
  const before = Deno.memoryUsage().rss;
  const begin = performance.now();
  const report = await campaign({
    seed,
    isBlocked,
    seconds,
    kills: kills ?? (seconds === undefined ? 2_000 : undefined),
    only,
    scenario,
    onProgress: (report) =>
      progress.show(`${lineOf(report)}, memory ${megabytes(Deno.memoryUsage().rss)}`),
  });
  const time = ((performance.now() - begin) / 1_000).toFixed();
  const memory = `memory ${megabytes(before)}, then ${megabytes(Deno.memoryUsage().rss)}`;
  progress.end(`${name}: ${lineOf(report)} in ${time} s; ${memory}`);
  console.log(Object.entries(report.kills).map(([how, count]) => `  ${how}: ${count}`).join("\n"));
  if (report.longest < GOAL) return true;
  console.log(`FAILED: the longest recovery, ${report.where}, is not below ${GOAL} ms`);
  return false;
}

async function runCalls({ numbers: { children } }: Settings): Promise<boolean> {
  const progress = new Progress();
  let all = 0;
  for (const kind of KINDS) {
    const count = Math.min(children ?? Infinity, roomFor(kind));
    progress.show(`${all} children are gone; ${count} in ${kind}`);
    await terminateAll([kind], count);
    all += count;
  }
  progress.end(`calls: ${all} children that waited in ${KINDS.length} kinds of calls are gone`);
  return true;
}

async function runSoak({ numbers: { seconds = 60 } }: Settings): Promise<boolean> {
  const progress = new Progress();
  const { moved, lost, memory: { start, end }, seconds: time } = await soak({
    seconds,
    onProgress: ({ moved, memory: { end } }) =>
      progress.show(`${millions(moved)} messages, memory ${megabytes(end)}`),
  });
  progress.end(
    `soak: ${millions(moved)} messages moved in ${time.toFixed()} s, ${lost} lost, memory ${
      megabytes(start)
    } at the start, ${megabytes(end)} at the end`,
  );
  const least = PER_MINUTE * Math.min(1, seconds / 60);
  const complaints = [
    ...lost !== 0 ? ["messages were lost"] : [],
    ...moved < least ? [`fewer than ${millions(least)} messages`] : [],
    ...start === 0 || end - start > GROWTH ? ["the memory grows"] : [],
  ];
  for (const complaint of complaints) console.log(`FAILED: ${complaint}`);
  return complaints.length === 0;
}

async function main(args: readonly string[]): Promise<boolean> {
  const settings = parse(args);
  const seed = settings.numbers.seed ?? Math.floor(Math.random() * 100_000);
  const runs: Record<string, () => Promise<boolean>> = {
    campaign: () => runCampaign(false, settings, seed),
    blocked: () => runCampaign(true, settings, seed),
    calls: () => runCalls(settings),
    soak: () => runSoak(settings),
  };
  let isWell = true;
  for (const part of settings.parts) {
    try {
      isWell = await runs[part]!() && isWell;
    } catch (error) {
      isWell = false;
      console.log(`FAILED: ${error instanceof Error ? error.message : error}`);
    }
  }
  return isWell;
}

if (import.meta.main) {
  if (!await main(Deno.args)) Deno.exitCode = 1;
  // The program has to end by itself: nothing that waited or was killed keeps it.
  const timer = setTimeout(() => {
    console.log("FAILED: the program does not end by itself");
    Deno.exit(1);
  }, EXIT_LIMIT);
  Deno.unrefTimer(timer);
}
