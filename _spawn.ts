// Copyright 2026 the Sabre authors. MIT license.

// Agents of ours, from their start to the proof of their end, as the agent that started them sees it.
//
// A child is a worker of `node:worker_threads` wherever there are such, because that is the only kind
// that Deno can stop by force while it spins, and only while it holds a Web Lock: so each child holds
// one. The proof that its thread has ended is the `close` event of a port whose other end the child
// holds and never closes; everything else comes earlier than the end or not at all.
//
// Where there are no such workers, in browsers, a child is a global `Worker`, and the proof is that
// the lock that it held becomes free.
//
// Others hear of its end from whoever watches it: see _watch.ts.
//
// Control words of a child, in Int32 units: 0 OUTCOME | 1 ENDED.

import {
  bury,
  callWatchers,
  type Domain,
  hasDescendants,
  home,
  isAlive,
  lockName,
  requestStop,
} from "./_agent.ts";
import { holdLoop, releaseLoop } from "./_hold.ts";
import { whileBlocked } from "./_park.ts";
import type { Parcel } from "./_parcel.ts";
import { findLocks, findThreads, type NodeWorker, type Port, type Threads } from "./_threads.ts";
import { lookNow, waitAsync } from "./_wait.ts";
import { type Adoption, endWatch, hurryWatch, keepWatch, type Stop } from "./_watch.ts";

/**
 * What became of the child: set once, by compare-and-swap, by whichever of it and its parent is first. Only
 * the parent corrects it, once the child has ended and its report turns out to be missing or unreadable.
 */
export const OUTCOME = 0;
/** 1 once the child has given up running anything, as it says itself in its last steps. */
export const ENDED = 1;
const CONTROL_WORDS = 2;

export const RUNNING = 0;
/** The target returned, and its result could be passed. */
export const RETURNED = 1;
/** The target or something beside it threw, or it could not be run. */
export const FAILED = 2;
/** The agent ended by itself: `Deno.exit()`, `self.close()`, or for a reason that nobody knows. */
export const ABANDONED = 3;
/** It was terminated. */
export const TERMINATED = 4;

/** Milliseconds after which a stop by force that has shown no effect is reported. */
const OVERDUE = 2_000;
/** Milliseconds in which an event loop hears what has happened while it was blocked. */
const TURN = 50;
const MAX_DELAY = 2 ** 31 - 1;

/** What the worker is told to run. */
export interface Task {
  readonly module: string;
  readonly target: string;
  /** Whether the target was given as a function, of which only the name is known. */
  readonly orNamed: boolean;
  readonly args: Parcel;
}

/** Everything that a child is sent at its start. */
export interface Seed extends Task {
  /** The address of the module that runs it. */
  readonly child: string;
  readonly name: string;
  readonly domain: SharedArrayBuffer;
  readonly id: number;
  readonly control: SharedArrayBuffer;
  /** The name of the Web Lock that it holds. */
  readonly lock: string;
  /** To its parent; in a global `Worker` messages go by `postMessage`. */
  readonly port?: Port;
  /** To whoever watches for its end. */
  readonly watcher?: Port;
}

/** To or from the process of a pool: what belongs to one of its tasks, by its number. */
export interface Beside {
  readonly beside: number;
  readonly parcel: Parcel;
}

// The text is constant: the runtime checks and caches it once, and it says nothing that publishing
// would have to rewrite. The lock comes before everything else that a child does, as until then it
// could not be stopped.
const BOOTSTRAP = "data:text/javascript," + encodeURIComponent(`
const seed = globalThis.process?.getBuiltinModule?.("node:worker_threads")?.workerData ??
  await new Promise((resolve) => globalThis.onmessage = (event) => resolve(event.data));
const locks = globalThis.navigator?.locks;
const locked = new Promise((resolve, reject) => {
  if (locks === undefined) resolve(false);
  else locks.request(seed.lock, () => (resolve(true), new Promise(() => {}))).catch(reject);
});
(await import(seed.child)).run(seed, await locked);
`);

/** What this agent knows of itself if it was started by us. */
export const self: {
  /** To whoever watches for its end. */
  watcher: Port | undefined;
  /** Whether the target looks for a stop by itself, and so must be given the time to find it. */
  looksForStop: boolean;
  /** Whether it has nothing left to do but to end its children. */
  isEnding: boolean;
  /** Sends a message to the pool that this agent belongs to. */
  sendBeside: ((message: Beside) => void) | undefined;
  /** Takes such a message. */
  onBeside: ((message: Beside) => void) | undefined;
} = {
  watcher: undefined,
  looksForStop: false,
  isEnding: false,
  sendBeside: undefined,
  onBeside: undefined,
};

/** On the prototype of a process: the child that it has started. */
export const CHILD: unique symbol = Symbol("sabre.child");

/** Prints an error of a process that nobody would hear of otherwise. */
export function printError(name: string, error: Error): void {
  console.error(`Uncaught error in Process ${name}:`, error);
}

const children = new Set<Child>();

/** The children of this agent that have not ended. */
export function livingChildren(): Child[] {
  return [...children];
}

/** One child of this agent. */
export class Child {
  readonly id: number;
  readonly control: Int32Array<SharedArrayBuffer>;
  /** Resolves at the certificate, and once `settle` is through. */
  readonly ended: Promise<void>;
  /** The result or the error that it reported; there before {@linkcode ended}. */
  report: Parcel | undefined;
  /** An error that it could not report itself. */
  crash: { error: unknown } | undefined;
  hasEnded = false;
  /** Takes what comes beside the pipe of a pool. */
  onBeside: ((message: Beside) => void) | undefined;
  readonly #domain: Domain;
  readonly #host: Host;
  readonly #settle: () => void | Promise<void>;
  readonly #end = Promise.withResolvers<void>();
  readonly #overdue = Promise.withResolvers<never>();
  #isHeld = false;
  #deadline = Infinity;
  #isKilled = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Starts the agent with the id, which was claimed for it. `settle` is called at the certificate,
   * before anyone is told of it.
   */
  constructor(
    id: number,
    name: string,
    child: string,
    task: Task,
    settle: () => void | Promise<void>,
  ) {
    const domain = home();
    this.id = id;
    this.control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
    this.#domain = domain;
    this.#settle = settle;
    this.ended = this.#end.promise;
    // Nobody may be waiting.
    this.#overdue.promise.catch(() => {});
    const seed: Seed = {
      ...task,
      child,
      name,
      domain: domain.memory,
      id,
      control: this.control.buffer,
      lock: lockName(domain, id),
    };
    this.#host = startHost(seed, domain, {
      message: (message) => {
        if ("beside" in message) this.onBeside?.(message);
        else this.report = message;
      },
      crash: (error) => this.crash ??= { error },
      end: () => this.#onEnd(),
    });
    children.add(this);
  }

  /** What became of it so far. */
  get outcome(): number {
    return Atomics.load(this.control, OUTCOME);
  }

  /** Whether it still may run something. */
  get isAlive(): boolean {
    return !this.hasEnded && Atomics.load(this.control, ENDED) === 0 &&
      isAlive(this.#domain, this.id);
  }

  /** Its report cannot be read. */
  fail(): void {
    Atomics.compareExchange(this.control, OUTCOME, RETURNED, FAILED);
  }

  /** Keeps the event loop alive until it has ended. */
  hold(): void {
    if (this.#isHeld || this.hasEnded) return;
    this.#isHeld = true;
    holdLoop();
  }

  /** Sends what belongs to a task of a pool. */
  sendBeside(message: Beside): void {
    this.#host.send(message);
  }

  /** Asks it to end, and stops it by force after `grace` milliseconds. The shortest grace counts. */
  stop(grace: number): void {
    if (this.hasEnded) return;
    Atomics.compareExchange(this.control, OUTCOME, RUNNING, TERMINATED);
    requestStop(this.#domain, this.id);
    this.#host.send({ stop: grace });
    const deadline = performance.now() + grace;
    if (deadline >= this.#deadline) return;
    this.#deadline = deadline;
    clearTimeout(this.#timer);
    if (grace === 0) this.#kill();
    else if (grace <= MAX_DELAY) this.#timer = setTimeout(() => this.#kill(), grace);
  }

  /** Resolves once it has ended; rejects if it was to be stopped by force and that had no effect. */
  async stopped(): Promise<void> {
    this.hold();
    await Promise.race([this.ended, this.#overdue.promise]);
  }

  /** Stops it by force if its time is over. Returns for how long it is not, in milliseconds. */
  stopIfDue(): number {
    if (this.#isKilled || this.#deadline === Infinity) return Infinity;
    const left = this.#deadline - performance.now();
    if (left > 0) return left;
    clearTimeout(this.#timer);
    this.#kill();
    return Infinity;
  }

  #kill(): void {
    this.#isKilled = true;
    // In the last steps of an end of its own there is nothing to stop.
    if (this.outcome === TERMINATED && this.isAlive) {
      this.#host.kill();
      hurryWatch();
    }
    const giveUp = () => {
      this.#overdue.reject(
        new DOMException(
          "Cannot terminate Process: its thread runs on, as this runtime has no way to stop it or it is inside a call of the runtime",
          "NotSupportedError",
        ),
      );
    };
    this.#timer = setTimeout(() => {
      // A turn later: this agent may have been blocked, and the news of the end may be waiting.
      this.#timer = setTimeout(giveUp, TURN);
    }, OVERDUE);
  }

  async #onEnd(): Promise<void> {
    if (!children.delete(this)) return;
    clearTimeout(this.#timer);
    const fate = this.crash === undefined ? ABANDONED : FAILED;
    Atomics.compareExchange(this.control, OUTCOME, RUNNING, fate);
    // It was about to report when it was stopped.
    if (this.outcome === RETURNED && this.report === undefined) {
      Atomics.store(this.control, OUTCOME, ABANDONED);
    }
    bury(this.#domain, this.id, this.outcome === RETURNED);
    endWatch(this.#domain, this.id);
    // Those below it end with it, and it has not ended entirely before they have.
    if (hasDescendants(this.#domain, this.id)) await untilAlone(this.#domain, this.id);
    const settling = this.#settle();
    if (settling !== undefined) await settling;
    this.hasEnded = true;
    // In this order and in one go: whoever joined it goes on before anything else happens.
    lookNow();
    this.#end.resolve();
    if (this.#isHeld) releaseLoop();
  }
}

// -- The two kinds of workers ------------------------------------------------------------------

/** Milliseconds after its real end within which a worker reports its exit. */
const EXIT_DELAY = 200;

interface Host {
  send(message: Stop | Beside): void;
  kill(): void;
}

interface Events {
  message(message: Parcel | Beside): void;
  crash(error: unknown): void;
  /** The thread has ended. */
  end(): void;
}

function startHost(seed: Seed, domain: Domain, events: Events): Host {
  const threads = findThreads();
  return threads === undefined
    ? startWebWorker(seed, events)
    : startNodeWorker(threads, seed, domain, events);
}

function startNodeWorker(threads: Threads, seed: Seed, domain: Domain, events: Events): Host {
  const { port1, port2 } = new threads.MessageChannel();
  const watch = new threads.MessageChannel();
  // Before the thread starts: this agent may be killed at any moment, and its child must be watched.
  const adoption: Adoption = { adopt: seed.id, parent: domain.id, port: watch.port1 };
  if (self.watcher === undefined) {
    keepWatch(domain, adoption);
  } else {
    self.watcher.postMessage(adoption, [watch.port1]);
    // The root has to see to it.
    callWatchers(domain);
  }
  let worker: NodeWorker;
  try {
    worker = new threads.Worker(new URL(BOOTSTRAP), {
      workerData: { ...seed, port: port2, watcher: watch.port2 },
      transferList: [port2, watch.port2, seed.args.bytes],
    });
  } catch (error) {
    port1.close();
    // In the order that leaves no closed port to be handed over.
    endWatch(domain, seed.id);
    watch.port2.close();
    throw error;
  }
  port1.on("message", (message: Parcel | Beside) => events.message(message));
  let hasExited = false;
  worker.on("error", events.crash);
  worker.on("exit", () => {
    hasExited = true;
  });
  port1.on("close", () => {
    const hasSaidSo = Atomics.load(new Int32Array(seed.control), ENDED) === 1;
    if (hasSaidSo || hasExited) return events.end();
    // Of an end that the child said nothing of, the worker may: its error comes before its exit.
    const timer = setTimeout(events.end, EXIT_DELAY);
    worker.on("exit", () => {
      clearTimeout(timer);
      events.end();
    });
  });
  // What keeps the program alive is decided elsewhere.
  port1.unref();
  worker.unref();
  return {
    send: (message) => port1.postMessage(message),
    kill: () => {
      worker.terminate();
    },
  };
}

/** From a child in a global `Worker`: it holds its lock. */
export const LOCKED = "locked";

function startWebWorker(seed: Seed, events: Events): Host {
  const locks = findLocks();
  let isWatched = false;
  const watch = () => {
    if (isWatched || locks === undefined) return;
    isWatched = true;
    // Granted when the thread of the child has ended.
    locks.request(seed.lock, () => events.end());
  };
  const worker = new Worker(BOOTSTRAP, { type: "module", name: seed.name });
  worker.onmessage = ({ data }: MessageEvent<Parcel | Beside | typeof LOCKED>) => {
    if (data === LOCKED) return watch();
    events.message(data);
    // Without locks this is the closest to a proof.
    if (locks === undefined && !("beside" in data)) events.end();
  };
  worker.onerror = (event) => {
    event.preventDefault();
    events.crash(event.error ?? new Error(event.message));
    kill();
  };
  const kill = () => {
    worker.terminate();
    watch();
  };
  worker.postMessage(seed, [seed.args.bytes]);
  return { send: (message) => worker.postMessage(message), kill };
}

/** Resolves when nobody who descends from a child of this agent lives. */
async function untilAlone(domain: Domain, child: number): Promise<void> {
  const waiter = { poll: () => !hasDescendants(domain, child), withdraw: () => true };
  try {
    await waitAsync(domain, waiter, Infinity, undefined, false);
  } catch {
    // This agent is to end, and waits for nobody.
  }
}

// Stops those by force whose time is over when this thread is blocked and its timers do not run.
const { look } = whileBlocked;
whileBlocked.look = (waited) => {
  let left = look(waited);
  for (const child of children) left = Math.min(left, child.stopIfDue());
  return left;
};
