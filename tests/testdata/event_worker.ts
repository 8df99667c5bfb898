// Copyright 2026 the Sabre authors. MIT license.

// What workers of `event_test.ts` do.

import { join as joinDomain } from "../../_agent.ts";
import { SharedEvent } from "../../event.ts";
import { SharedArray } from "../../shared.ts";
import { until } from "../_helpers.ts";

export function join(memory: SharedArrayBuffer): number {
  return joinDomain(memory).id;
}

/** Waits once, after having added 1 to element 0. */
export async function wait(
  message: unknown,
  counts: unknown,
  form: "async" | "sync",
  options: { timeout?: number } = {},
): Promise<string> {
  const event = SharedEvent.from(message);
  try {
    if (form === "sync") {
      SharedArray.from<"i32">(counts).add(0, 1);
      return String(event.waitSync(options));
    }
    const waiting = event.wait(options);
    SharedArray.from<"i32">(counts).add(0, 1);
    return String(await waiting);
  } catch (error) {
    return (error as Error).name;
  }
}

/** Many tasks wait at once; says how many were released. */
export async function waitMany(message: unknown, counts: unknown, tasks: number): Promise<number> {
  const event = SharedEvent.from(message);
  const waits = Array.from({ length: tasks }, () => event.wait());
  SharedArray.from<"i32">(counts).add(0, 1);
  return (await Promise.all(waits)).filter((released) => released).length;
}

export function set(message: unknown): void {
  SharedEvent.from(message).set();
}

/** Answers each of `rounds` pulses of one event with a pulse of the other. */
export async function answer(
  pingMessage: unknown,
  pongMessage: unknown,
  counts: unknown,
  rounds: number,
): Promise<void> {
  const ping = SharedEvent.from(pingMessage);
  const pong = SharedEvent.from(pongMessage);
  for (let i = 0; i < rounds; i++) {
    const waiting = ping.wait();
    SharedArray.from<"i32">(counts).add(0, 1);
    await waiting;
    // Or the same pulse might be seen twice.
    await until(() => !ping.isSet);
    pong.set();
    pong.clear();
  }
}
