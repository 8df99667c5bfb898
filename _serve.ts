// Copyright 2026 the Sabre authors. MIT license.

// What a process of a pool runs: it takes tasks from a pipe, one at a time, until the pipe ends.
//
// What has to be passed by reference, such as a primitive, cannot travel through a pipe. Then a message
// beside the pipe brings it, sent before and found by the number of the task.

import { home, parentOf, stopRequested } from "./_agent.ts";
import { give, pack, type Parcel, unpack } from "./_parcel.ts";
import { type Beside, self } from "./_spawn.ts";
import { loadModule, targetIn } from "./_target.ts";
import { ClosedError, TerminatedError } from "./errors.ts";
import type { Connection } from "./pipe.ts";
import type { SharedArray } from "./shared.ts";

/** How many tasks a process can have been sent and not answered. A power of two. */
export const WINDOW = 512;

// What became of a task is in the word of its number, modulo the window: the number times 4, plus one
// of these. So a task that was taken back never begins, however late it is found in the pipe.

/** A task was sent, and not begun: it can still be taken back. */
export const SENT = 0;
/** It is running, or was. */
export const BEGUN = 1;
/** It was taken back. */
export const REVOKED = 2;

/** The word for a task. */
export function stateOf(number: number, state: number): number {
  return (number << 2 | state) | 0;
}

/** One call of the target, with these arguments. */
export const CALL = 0;
/** One call of the target for each item. */
export const CHUNK = 1;
/** Added to the kind: of the target only the name is known, under which it need not be exported. */
export const OR_NAMED = 2;

/**
 * What is sent to a process: the number of the task, its kind, the target's name, and the arguments or
 * items: as they are, encoded, or `undefined` if they come beside the pipe.
 */
export type Task = [
  number: number,
  kind: number,
  target: string,
  values: unknown[] | ArrayBuffer | undefined,
];

/**
 * What comes back: the number of the task, the milliseconds that it took, its result or results, and
 * the error that ended it, if one did. The first two only, if the rest comes beside the pipe.
 */
export type Answer = [number: number, time: number, value?: unknown, error?: [unknown] | undefined];

/** The first answer, once the process is ready. */
export const READY = -1;

/** Milliseconds of work after which the event loop gets a turn, whatever else there is to do. */
const TURN = 20;
const later = (globalThis as { setImmediate?: (task: () => void) => void }).setImmediate ??
  ((task: () => void) => setTimeout(task, 0));

/** What came beside a pipe, and who waits for it. */
export class Besides {
  readonly #parcels = new Map<number, PromiseWithResolvers<Parcel>>();

  put({ beside, parcel }: Beside): void {
    this.#at(beside).resolve(parcel);
  }

  /** The value of the number, which was sent or will never come. */
  async take(number: number): Promise<unknown> {
    const parcel = await this.#at(number).promise;
    this.#parcels.delete(number);
    return await unpack(parcel);
  }

  /** Nothing more will come. */
  end(): void {
    for (const { reject } of this.#parcels.values()) {
      reject(new Error("Cannot take: it never came"));
    }
  }

  #at(number: number): PromiseWithResolvers<Parcel> {
    let parcel = this.#parcels.get(number);
    if (parcel === undefined) this.#parcels.set(number, parcel = Promise.withResolvers());
    return parcel;
  }
}

/** Serves a pool: the target of its processes. */
export async function serve(
  module: string,
  connection: Connection<Answer, Task>,
  states: SharedArray<"i32">,
  initializer: [name: string, orNamed: boolean] | undefined,
  initializerArgs: unknown[],
): Promise<void> {
  const besides = new Besides();
  self.onBeside = (message) => besides.put(message);
  const exports = await loadModule(module);
  if (initializer !== undefined) {
    const [name, orNamed] = initializer;
    await targetIn(exports, name, module, orNamed)(...initializerArgs);
  }
  await connection.send([READY, 0]);
  // Of a name that was decoded, the last equal one: the engine finds it much faster.
  let known = "";
  let turned = performance.now();
  for await (const first of connection) {
    // Those that are there already need no promise.
    for (let task: Task | undefined = first; task !== undefined; task = nextOf(connection)) {
      const [number, kind, name, sent]: Task = task;
      // Before all else: what comes beside the pipe has to be taken in any case.
      const brought = sent === undefined ? besides.take(number) : undefined;
      brought?.catch(() => {});
      // Between sent and begun the pool may take it back, for another process or because it was aborted.
      const from = stateOf(number, SENT);
      const to = stateOf(number, BEGUN);
      if (states.compareExchange(number & (WINDOW - 1), from, to) !== from) continue;
      const start = performance.now();
      let value: unknown;
      let error: [unknown] | undefined;
      try {
        if (name !== known) known = name;
        const target = targetIn(exports, known, module, kind >= OR_NAMED);
        const values = brought !== undefined
          ? await brought as unknown[]
          : Array.isArray(sent)
          ? sent
          : unpack({ bytes: sent!, attachments: [] }) as unknown[];
        if ((kind & CHUNK) === 0) {
          value = await target(...values);
        } else {
          const results: unknown[] = value = [];
          for (const item of values) {
            const result = target(item);
            results.push(isThenable(result) ? await result : result);
          }
        }
      } catch (thrown) {
        error = [thrown];
      }
      const end = performance.now();
      await reply(connection, task, end - start, value, error);
      if (end - turned > TURN) {
        await new Promise<void>((resolve) => later(resolve));
        turned = performance.now();
      }
    }
  }
}

/** The next task, if there is one. */
function nextOf(connection: Connection<Answer, Task>): Task | undefined {
  const received = connection.tryReceive();
  return received.state === "ok" ? received.value : undefined;
}

/** Sends the answer; beside the pipe, and as far as it can be passed, if it cannot travel through it. */
async function reply(
  connection: Connection<Answer, Task>,
  [number, kind]: Task,
  time: number,
  value: unknown,
  error: [unknown] | undefined,
): Promise<void> {
  try {
    await connection.send(
      error === undefined ? [number, time, value] : [number, time, value, error],
    );
  } catch (reason) {
    // Of the pipe's own end or of this agent's: a value can throw the same.
    const isOurs = reason instanceof ClosedError
      ? "value" in reason && Array.isArray(reason.value) && reason.value[0] === number
      : reason instanceof TerminatedError && stopRequested(home());
    if (isOurs) throw reason;
    self.sendBeside!({ beside: number, parcel: parcelOf(kind, value, error) });
    await connection.send([number, time]);
  }
}

function parcelOf(kind: number, value: unknown, error: [unknown] | undefined): Parcel {
  try {
    const parcel = pack([value, error]);
    give(parcel.attachments, parentOf(home(), home().id));
    return parcel;
  } catch (reason) {
    if ((kind & CHUNK) === 0) return pack([undefined, [passable((error ?? [reason])[0])]]);
    // Of a chunk, the results before the first that cannot be passed.
    const results = value as unknown[];
    const end = results.findIndex((result) => !isPassable(result));
    return end < 0 && error !== undefined
      ? pack([results, [passable(error[0])]])
      : pack([results.slice(0, Math.max(end, 0)), [passable(reason)]]);
  }
}

function isPassable(value: unknown): boolean {
  try {
    pack(value);
    return true;
  } catch {
    return false;
  }
}

/** The error, or what can be told of one that cannot be passed. */
function passable(error: unknown): unknown {
  if (isPassable(error)) return error;
  let text = "nothing that can be described";
  try {
    text = String(error);
  } catch {
    // That has to do.
  }
  return new Error(`The task threw what cannot be passed: ${text}`);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value;
}
