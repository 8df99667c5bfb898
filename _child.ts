// Copyright 2026 the Sabre authors. MIT license.

// What runs in a child: it becomes the agent that its parent made room for, imports the user's module,
// calls the target, reports how that ended, and ends.
//
// The end, when it comes through code of this file, is one synchronous step in which the agent also
// declares itself dead, so that others need not wait for its parent to notice, which may be blocked.
// That is sound because nothing of this package runs after it. The handlers of `exit` and `unload`
// have run before, and Deno breaks off a loop in a worker that has closed itself, without any `finally`.
// What it may still run is the rest of the turn of the event loop, timers for example, and only if the
// end came in a microtask. For those `Atomics` is taken away, without which no primitive does anything.

import { bury, type Domain, joinedDomains, parentOf, settle } from "./_agent.ts";
import { lookNow } from "./_wait.ts";
import {
  ABANDONED,
  type Beside,
  ENDED,
  FAILED,
  livingChildren,
  LOCKED,
  OUTCOME,
  RETURNED,
  RUNNING,
  type Seed,
  self,
  TERMINATED,
} from "./_spawn.ts";
import type { Stop } from "./_watch.ts";
import { loadModule, targetIn } from "./_target.ts";
import { give, pack, type Parcel, unpack } from "./_parcel.ts";

/** What is used of the global object, whichever runtime it is. */
interface Scope {
  self?: unknown;
  process?: NodeProcess;
  Deno?: { exit: unknown };
  close?: () => void;
  setImmediate?: (task: () => void) => void;
  postMessage?: (message: unknown, transfer?: unknown[]) => void;
  onmessage?: ((event: MessageEvent) => void) | null;
}

interface NodeProcess {
  _exiting?: boolean;
  exit: (code?: number) => void;
  reallyExit: (code?: number) => void;
  emit: (event: string, code: number) => void;
  listenerCount?: (event: string) => number;
  removeAllListeners: (event: string) => void;
}

const scope = globalThis as unknown as Scope;
// Before the user's code can replace or call them.
const { close, process } = scope;
const exit = process?.exit;
const later = scope.setImmediate ?? ((task: () => void) => setTimeout(task, 0));
const isDeno = scope.Deno !== undefined;

/** Runs the target. `isLocked`: this agent holds the Web Lock by which it can be stopped. */
export function run(seed: Seed, isLocked: boolean): void {
  new Main(seed, isLocked).run();
}

class Main {
  readonly #seed: Seed;
  readonly #domain: Domain;
  readonly #control: Int32Array<SharedArrayBuffer>;
  /** Milliseconds that are left for the end, from the last time that somebody asked for it. */
  #grace = Infinity;
  #isFinishing = false;
  #hasEnded = false;

  constructor(seed: Seed, isLocked: boolean) {
    this.#seed = seed;
    this.#control = new Int32Array(seed.control);
    this.#domain = settle(seed.domain, seed.id);
    self.watcher = seed.watcher;
    this.#listen(isLocked);
    this.#guardExits();
    this.#guardErrors();
  }

  async run(): Promise<void> {
    const { module, target, orNamed, args } = this.#seed;
    try {
      if (this.#isStopped) return this.#finish(TERMINATED);
      const exports = await loadModule(module);
      const run = targetIn(exports, target, module, orNamed);
      const values = await unpack(args) as unknown[];
      const result = await run(...values);
      // A turn of the event loop, for rejections that nobody handles to be found.
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.#finish(RETURNED, result);
    } catch (error) {
      this.#finish(FAILED, error);
    }
  }

  get #isStopped(): boolean {
    return Atomics.load(this.#control, OUTCOME) === TERMINATED;
  }

  #listen(isLocked: boolean): void {
    const { port, watcher } = this.#seed;
    const onMessage = (message: Stop | Beside) => {
      if ("beside" in message) self.onBeside?.(message);
      else this.#onStop(message.stop);
    };
    self.sendBeside = (message) =>
      port === undefined ? scope.postMessage!(message) : port.postMessage(message);
    if (port === undefined) {
      scope.onmessage = ({ data }) => onMessage(data);
      if (isLocked) scope.postMessage!(LOCKED);
    } else {
      // Both stay open and referenced to the end: that they close is the proof of it.
      port.on("message", onMessage);
      watcher?.on("message", onMessage);
    }
  }

  /** Ends an idle child at once. One that may be cleaning up, or is about to, gets its time. */
  #onStop(grace: number): void {
    this.#grace = Math.min(this.#grace, grace);
    if (lookNow() || self.looksForStop) return;
    this.#finish(TERMINATED);
  }

  /** Whatever the user's code ends the agent by is an end of ours. */
  #guardExits(): void {
    // Workers of node:worker_threads lack it in Deno.
    if (scope.self === undefined) {
      Object.defineProperty(globalThis, "self", {
        value: globalThis,
        configurable: true,
        writable: true,
      });
    }
    const end = () => this.#end(ABANDONED);
    if (scope.Deno !== undefined) replace(scope.Deno, "exit", end);
    if (process !== undefined) {
      replace(process, "exit", end);
      replace(process, "reallyExit", end);
    }
    if (close !== undefined) replace(globalThis, "close", end);
  }

  /** An error outside the target ends the child as one of the target does. */
  #guardErrors(): void {
    addEventListener("unhandledrejection", (event) => {
      const { reason } = event;
      // The runtime calls those of the user only if nobody claims the event.
      if (hasListeners("unhandledRejection")) return;
      this.#unlessHandled(event, () => {
        // Waits that nobody awaits end as well when the agent is to end.
        if (!this.#isStopped) this.#finish(FAILED, reason);
      });
    });
    addEventListener("error", (event) => {
      const { error, message } = event;
      this.#unlessHandled(event, () => this.#finish(FAILED, error ?? new Error(message)));
    });
  }

  /** Keeps the runtime from dealing with the event, and does so here unless a handler of the user did. */
  #unlessHandled(event: Event, otherwise: () => void): void {
    event.preventDefault();
    let isHandled = false;
    Object.defineProperty(event, "preventDefault", { value: () => isHandled = true });
    queueMicrotask(() => {
      if (!isHandled && !hasListeners("uncaughtException")) otherwise();
    });
  }

  /** Ends the children of this agent, and then this agent. Only the first call counts. */
  async #finish(outcome: number, value?: unknown): Promise<void> {
    if (this.#isFinishing) return;
    this.#isFinishing = true;
    self.isEnding = true;
    const living = livingChildren();
    if (living.length > 0) {
      // Less than what is left to this one.
      const grace = this.#isStopped && this.#grace < Infinity ? this.#grace / 2 : 500;
      for (const child of living) child.stop(grace);
      await Promise.allSettled(living.map((child) => child.stopped()));
    }
    // As a task of its own: see above.
    later(() => this.#end(outcome, value));
  }

  /** Ends this agent. Does not return where the runtime can break off what runs. */
  #end(outcome: number, value?: unknown): void {
    // Only what is left of the turn can come here again. There is no second way to leave.
    if (this.#hasEnded) throw new TypeError("Cannot go on: this agent has ended");
    this.#hasEnded = true;
    this.#isFinishing = true;
    this.#runExitHandlers(outcome);
    this.#report(outcome, value);
    if (isDeno || close === undefined) {
      Atomics.store(this.#control, ENDED, 1);
      const hasReturned = Atomics.load(this.#control, OUTCOME) === RETURNED;
      for (const domain of joinedDomains()) bury(domain, domain.id, hasReturned);
      muzzle();
    }
    leave(outcome !== ABANDONED);
  }

  #runExitHandlers(outcome: number): void {
    try {
      if (process !== undefined && !process._exiting) {
        process._exiting = true;
        process.emit("exit", outcome === RETURNED ? 0 : 1);
      }
    } catch {
      // There is nobody left to tell.
    }
    try {
      if (isDeno) dispatchEvent(new Event("unload"));
    } catch {
      // Likewise.
    }
  }

  #report(outcome: number, value: unknown): void {
    const parent = parentOf(this.#domain, this.#domain.id);
    let packed: Parcel;
    try {
      packed = pack(value);
      if (outcome === RETURNED && !this.#isStopped) give(packed.attachments, parent);
    } catch (error) {
      packed = packError(outcome === RETURNED ? error : value);
      outcome = outcome === RETURNED ? FAILED : outcome;
    }
    // From here on the outcome is what it is, whoever asks for another.
    Atomics.compareExchange(this.#control, OUTCOME, RUNNING, outcome);
    const { port } = this.#seed;
    if (port !== undefined) port.postMessage(packed, [packed.bytes]);
    else scope.postMessage!(packed, [packed.bytes]);
  }
}

/** An error, or what can be told of one that cannot travel. */
function packError(error: unknown): Parcel {
  try {
    return pack(error);
  } catch {
    const plain = new Error(error instanceof Error ? String(error.message) : describe(error));
    try {
      if (error instanceof Error) {
        plain.name = String(error.name);
        plain.stack = String(error.stack);
      }
    } catch {
      // A getter threw: what there is has to do.
    }
    return pack(plain);
  }
}

function describe(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "an object that cannot be described";
  }
}

function hasListeners(event: string): boolean {
  return (process?.listenerCount?.(event) ?? 0) > 0;
}

/** Makes every primitive of this agent throw. */
function muzzle(): void {
  const refuse = () => {
    throw new TypeError("Cannot go on: this agent has ended");
  };
  for (const name of Object.getOwnPropertyNames(Atomics)) replace(Atomics, name, refuse);
}

/** Milliseconds within which Deno breaks off what runs in a thread that has closed itself. */
const BREAK_OFF = 100;

/** Ends the thread. `mayReturn`: what is left of the turn is ours, and harmless. */
function leave(mayReturn: boolean): void {
  if (isDeno) {
    close!();
    // Deno breaks this off: nothing of the user's or ours runs after it. Not so if a forced stop came
    // at the same time, which has taken effect already: then the thread ends with its turn.
    const end = performance.now() + BREAK_OFF;
    while (!mayReturn || performance.now() < end);
    return;
  }
  if (exit !== undefined) {
    process!.removeAllListeners("exit");
    exit.call(process);
  }
  close?.();
}

function replace(object: object, name: string, value: () => void): void {
  Object.defineProperty(object, name, { value, configurable: true, writable: true });
}
