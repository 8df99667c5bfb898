// Copyright 2026 the Sabre authors. MIT license.

// What the processes of select_test.ts run.

import type { SharedEvent } from "../../event.ts";
import type { Connection } from "../../pipe.ts";
import type { Queue } from "../../queue.ts";
import { select, selectSync } from "../../select.ts";
import type { SharedValue } from "../../shared.ts";

export function nothing(): void {}

export async function waitFor(event: SharedEvent): Promise<void> {
  await event.wait();
}

export function exit(): never {
  Deno.exit(1);
}

export function put(queue: Queue<number>, value: number): void {
  queue.putSync(value);
}

export function send(connection: Connection<number, never>, value: number): void {
  connection.sendSync(value);
}

export function set(event: SharedEvent): void {
  event.set();
}

/** Takes what it selects until the queue ends. Returns how much that was. */
export function takeSync(
  queue: Queue<number>,
  begun: SharedValue<"i32">,
  stop: SharedEvent,
): number {
  let count = 0;
  begun.add(1);
  for (;;) {
    for (const ready of selectSync([queue, stop])) {
      if (ready === stop) return count;
      if (queue.tryGet().state === "ok") count++;
    }
  }
}

/** The same with promises. */
export async function take(
  queue: Queue<number>,
  begun: SharedValue<"i32">,
  stop: SharedEvent,
): Promise<number> {
  let count = 0;
  begun.add(1);
  for (;;) {
    for (const ready of await select([queue, stop])) {
      if (ready === stop) return count;
      if (queue.tryGet().state === "ok") count++;
    }
  }
}

/** Waits until it is stopped. */
export function block(queue: Queue<number>, begun: SharedValue<"i32">): void {
  begun.add(1);
  try {
    selectSync([queue]);
  } catch (error) {
    begun.add((error as Error).name === "TerminatedError" ? 10 : 100);
    throw error;
  }
}
