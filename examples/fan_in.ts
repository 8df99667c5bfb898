// Copyright 2026 the Sabre authors. MIT license.

// Several children send what they measure, each through a pipe of its own, and the parent takes from
// whichever has something: slow ones hold up nobody, and each may end when it likes.

import { type Connection, pipe, Process, select } from "@sabre/ipc";

const SENSORS = ["north", "east", "south"];
const READINGS = 200; // of the first sensor; each of the others sends twice as many as the last

export interface Reading {
  index: number;
  value: number;
}

export interface Summary {
  sensor: string;
  readings: number;
  sum: number;
  /** Whether the readings came in the order in which they were sent. */
  ordered: boolean;
}

export function measure(connection: Connection<Reading, never>, readings: number): void {
  for (let index = 0; index < readings; index++) {
    connection.sendSync({ index, value: index % 10 });
  }
  connection.close();
}

export async function main(readings: number = READINGS): Promise<Summary[]> {
  await using children = new AsyncDisposableStack();
  const open = new Map<Connection<never, Reading>, Summary>();
  SENSORS.forEach((sensor, i) => {
    const [here, there] = pipe<never, Reading>();
    const args: Parameters<typeof measure> = [there, readings * 2 ** i];
    children.use(new Process(import.meta.url, { target: measure, args, name: sensor }).start());
    open.set(here, { sensor, readings: 0, sum: 0, ordered: true });
  });
  const summaries = [...open.values()];

  while (open.size > 0) {
    // All that are ready get their turn before any gets the next one.
    for (const connection of await select(open.keys())) {
      const summary = open.get(connection)!;
      const received = connection.tryReceive();
      if (received.state === "ok") add(summary, received.value);
      if (received.state === "closed") {
        open.delete(connection);
        connection.close();
      }
    }
  }
  for (const { sensor, readings, sum, ordered } of summaries) {
    const mean = sum / readings;
    console.log(`${sensor}: ${readings} readings${ordered ? "" : " OUT OF ORDER"}, mean ${mean}`);
  }
  return summaries;
}

function add(summary: Summary, { index, value }: Reading): void {
  if (index !== summary.readings) summary.ordered = false;
  summary.readings++;
  summary.sum += value;
}

if (import.meta.main) {
  const summaries = await main();
  if (!summaries.every(({ ordered }) => ordered)) Deno.exitCode = 1;
}
