// Copyright 2026 the Sabre authors. MIT license.

// What a process of a pool runs: it takes tasks from a pipe, one at a time, until the pipe ends.

import { loadModule, targetIn } from "./_target.ts";
import type { Connection } from "./pipe.ts";
import type { SharedArray } from "./shared.ts";

/** How many tasks a process can have been sent and not answered. A power of two. */
export const WINDOW = 512;

/** A task was sent, and not begun: it can still be taken back. */
export const SENT = 0;
/** It is running, or was. */
export const BEGUN = 1;
/** It was taken back. */
export const REVOKED = 2;

/** One call of the target, with these arguments. */
export const CALL = 0;
/** One call of the target for each item. */
export const CHUNK = 1;

/** What is sent to a process: the number of the task, its kind, the target's export name, arguments or items. */
export type Task = [number: number, kind: number, target: string, values: unknown[]];

/**
 * What comes back: the number of the task, its result or results, the milliseconds that it took, and
 * the error that ended it, if one did.
 */
export type Answer = [number: number, value: unknown, time: number, error?: [unknown]];

/** The first answer, once the process is ready. */
export const READY = -1;

/** Serves a pool: the target of its processes. */
export async function serve(
  module: string,
  connection: Connection<Answer, Task>,
  states: SharedArray<"i32">,
  initializer: string | undefined,
  initializerArgs: unknown[],
): Promise<void> {
  const exports = await loadModule(module);
  if (initializer !== undefined) {
    await targetIn(exports, initializer, module, true)(...initializerArgs);
  }
  await connection.send([READY, undefined, 0]);
  for await (const [number, kind, name, values] of connection) {
    // Between sent and begun the pool may take it back, for another process or because it was aborted.
    if (states.compareExchange(number & (WINDOW - 1), SENT, BEGUN) !== SENT) continue;
    const start = performance.now();
    const answer: Answer = [number, undefined, 0];
    const results: unknown[] = [];
    try {
      const target = targetIn(exports, name, module, true);
      if (kind === CALL) {
        answer[1] = await target(...values);
      } else {
        answer[1] = results;
        for (const item of values) {
          const result = target(item);
          results.push(isThenable(result) ? await result : result);
        }
      }
    } catch (error) {
      answer[3] = [error];
    }
    answer[2] = performance.now() - start;
    await reply(connection, answer);
  }
}

/** Sends the answer, or that it cannot be sent. */
async function reply(connection: Connection<Answer, Task>, answer: Answer): Promise<void> {
  try {
    await connection.send(answer);
  } catch (error) {
    if (!isDataCloneError(error)) throw error;
    const [number, value, time, thrown] = answer;
    // Of a chunk, what can be sent is.
    const results = Array.isArray(value) && thrown === undefined ? passable(value) : undefined;
    await connection.send([number, results, time, [
      thrown === undefined ? error : unsendable(thrown),
    ]]);
  }
}

function passable(values: unknown[]): unknown[] {
  const end = values.findIndex((value) => {
    try {
      structuredClone(value);
      return false;
    } catch {
      return true;
    }
  });
  return values.slice(0, Math.max(end, 0));
}

/** What is said of an error that cannot travel. */
function unsendable([error]: [unknown]): Error {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new Error(`The task threw what cannot be passed: ${text}`);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value;
}

function isDataCloneError(error: unknown): boolean {
  return error instanceof DOMException && error.name === "DataCloneError";
}
