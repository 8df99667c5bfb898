// Copyright 2026 the Sabre authors. MIT license.

// Two children work until they are told to stop: one computes and looks at the event as it goes, the
// other does something now and then and waits for the event in between. Both end in good order.

import { Process, Queue, SharedEvent } from "@sabre/ipc";

const ENOUGH = 3; // rounds after which a child reports that it is under way

/** Computes: looking at an event costs next to nothing. */
export function compute(stop: SharedEvent, reports: Queue<string>): number {
  let rounds = 0;
  let sum = 0;
  while (!stop.isSet) {
    for (let i = 0; i < 100_000; i++) sum += Math.sqrt(i);
    if (++rounds === ENOUGH) reports.putSync("computing");
  }
  return sum > 0 ? rounds : NaN;
}

/** Ticks every few milliseconds. The wait is the pause, and ends at once when the event is set. */
export function tick(stop: SharedEvent, reports: Queue<string>): number {
  let rounds = 0;
  while (!stop.waitSync({ timeout: 5 })) {
    if (++rounds === ENOUGH) reports.putSync("ticking");
  }
  return rounds;
}

export interface Outcome {
  reports: string[];
  rounds: number[];
  exitCodes: (number | undefined)[];
}

export async function main(): Promise<Outcome> {
  const stop = new SharedEvent();
  using reports = new Queue<string>();
  await using children = new AsyncDisposableStack();
  const processes = [compute, tick].map((target) =>
    children.use(new Process(import.meta.url, { target, args: [stop, reports] }).start())
  );

  const first = await reports.get();
  const heard = [first, await reports.get()].sort();
  console.log(`${heard.join(" and ")}: stop`);
  stop.set();

  const rounds = await Promise.all(processes.map((process) => process.result));
  await Promise.all(processes.map((process) => process.join()));
  const exitCodes = processes.map((process) => process.exitCode);
  console.log(`stopped after ${ENOUGH} rounds or more, with exit codes ${exitCodes.join(" and ")}`);
  return { reports: heard, rounds, exitCodes };
}

if (import.meta.main) await main();
