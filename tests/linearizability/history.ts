// Copyright 2026 the Sabre authors. MIT license.

// What agents did and saw, each call with two stamps from one counter that all of them share: a call
// whose return stamp is below another's call stamp came before it, for everybody.

/** How a call ended. */
export type Fate =
  /** It returned, or threw what tells of the state (`ClosedError` and the like). */
  | "done"
  /** It timed out or was aborted: it must not have happened. */
  | "refused"
  /** Its agent died in it: it may have happened, or not, or in part. */
  | "pending";

/** One call. */
export interface Call {
  readonly agent: number;
  readonly op: string;
  /** What it was called with, as plain data. */
  readonly arg: unknown;
  /** What it returned, as plain data, or the name of what it threw. */
  result: unknown;
  readonly start: number;
  /** `Infinity` while pending. */
  end: number;
  fate: Fate;
  /** Whether another call of its agent was open when it began. */
  readonly behind: boolean;
}

/** What a call threw, as a result. */
export function threw(name: string): string {
  return `threw ${name}`;
}

/** Thrown by every operation on shared memory of an agent that is dead, see {@linkcode dieAt}. */
export class Death extends Error {
  override readonly name = "Death";
}

/** Records the calls of one agent. */
export class Recorder {
  readonly calls: Call[] = [];
  readonly #clock: Int32Array;
  readonly #agent: number;

  constructor(clock: SharedArrayBuffer, agent: number) {
    this.#clock = new Int32Array(clock);
    this.#agent = agent;
  }

  /** Makes a call that returns at once or blocks. */
  run(op: string, arg: unknown, make: () => unknown): unknown {
    const call = this.#begin(op, arg);
    try {
      call.result = make();
    } catch (error) {
      this.#fail(call, error);
    }
    return this.#finish(call);
  }

  /** Makes a call that is a promise. */
  async runAsync(op: string, arg: unknown, make: () => Promise<unknown>): Promise<unknown> {
    const call = this.#begin(op, arg);
    try {
      call.result = await make();
    } catch (error) {
      this.#fail(call, error);
    }
    return this.#finish(call);
  }

  #begin(op: string, arg: unknown): Call {
    const start = add(this.#clock, 0, 1);
    const call: Call = {
      agent: this.#agent,
      op,
      arg,
      result: undefined,
      start,
      end: Infinity,
      fate: "pending",
      behind: this.calls.some((each) => each.fate === "pending"),
    };
    this.calls.push(call);
    return call;
  }

  #fail(call: Call, error: unknown): void {
    if (isDead()) throw error;
    const name = error instanceof Error ? error.name : String(error);
    call.result = threw(name);
    if (name === "TimeoutError" || name === "AbortError") call.fate = "refused";
  }

  #finish(call: Call): unknown {
    // What died in a call that caught it has not returned.
    if (isDead()) throw new Death();
    call.end = add(this.#clock, 0, 1);
    if (call.fate === "pending") call.fate = "done";
    return call.result;
  }
}

// -- Dying ---------------------------------------------------------------------------------------

const add = Atomics.add;
let left = Infinity;
const death = Promise.withResolvers<void>();

/** Resolves when this agent dies: what it waits for then never comes. */
export const died: Promise<void> = death.promise;

/**
 * Makes this agent die at its `step`th operation on shared memory from now: that one and all later ones
 * throw, so that nobody else ever sees anything of it again. Whoever knows of it may bury it.
 */
export function dieAt(step: number): void {
  left = step;
  // What timers and signals start dies as well, and nobody is told.
  for (const type of ["error", "unhandledrejection"]) {
    globalThis.addEventListener(type, (event) => {
      if (isDead()) event.preventDefault();
    });
  }
  const atomics = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of Object.getOwnPropertyNames(Atomics)) {
    const real = atomics[name]!;
    if (typeof real !== "function" || name === "pause" || name === "isLockFree") continue;
    atomics[name] = (...args) => {
      if (--left <= 0) {
        death.resolve();
        throw new Death();
      }
      return real(...args);
    };
  }
}

/** Whether it has come to that. */
export function isDead(): boolean {
  return left <= 0;
}

// -- Printing ------------------------------------------------------------------------------------

/** The calls in the order in which they began, for reports. */
export function print(calls: readonly Call[]): string {
  return [...calls].sort((a, b) => a.start - b.start).map(printCall).join("\n");
}

/** One line for one call. */
export function printCall(call: Call): string {
  const end = call.end === Infinity ? "..." : String(call.end);
  const result = call.fate === "pending" ? "(died)" : JSON.stringify(call.result) ?? "-";
  return `[${call.start}, ${end}] agent ${call.agent}: ${call.op}(${
    JSON.stringify(call.arg) ?? ""
  }) ${result}`;
}
