// Copyright 2026 the Sabre authors. MIT license.

/**
 * Diagnostics for the day on which a program hangs: who holds what, and who waits for what.
 *
 * - {@linkcode diagnose} takes a snapshot, which `console.log` shows as lines to read.
 * - It waits for nothing, takes no lock and changes nothing: it works while everybody else is blocked,
 *   from any agent that is not.
 * - It knows of what this agent has objects for, and of what the others say they wait for.
 * - What it tells of other agents is what they have said about themselves: a moment old, and no more
 *   than one wait of each.
 * - Agents that block each other with locks for ever need no look from outside: one of them gets a
 *   `DeadlockError` that names them all.
 *
 * @example Who keeps the lock?
 * ```ts
 * import { diagnose } from "@sabre/ipc/diagnostics";
 * import { Lock } from "@sabre/ipc/lock";
 * import { assertEquals } from "@std/assert";
 *
 * const lock = new Lock();
 * using _guard = lock.acquireSync();
 * const [hold] = diagnose().holds;
 * assertEquals([hold?.kind, hold?.holder?.name], ["Lock", "Main"]);
 * ```
 *
 * @example Print the state of a program that hangs
 * ```ts
 * import { diagnose } from "@sabre/ipc/diagnostics";
 *
 * const timer = setInterval(() => console.log(diagnose()), 10_000);
 * // The program.
 * clearInterval(timer);
 * ```
 *
 * @module
 */

import { type Domain, joinedDomains, livingAgents, nameOf, parentOf, pidOf } from "./_agent.ts";
import { millis } from "./_clock.ts";
import { type Holdings, knownHoldings } from "./_handle.ts";
import { isCircle, toldBy, wordsOf } from "./_report.ts";
import { pendingWaits } from "./_wait.ts";
import type { AgentInfo } from "./process.ts";

export type { AgentInfo };

/**
 * What an agent waits for.
 *
 * @example
 * ```ts
 * import { diagnose, type WaitState } from "@sabre/ipc/diagnostics";
 * import { Queue } from "@sabre/ipc/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<number>();
 * const item = queue.get();
 * const waits: readonly WaitState[] = diagnose().agents[0]!.waits;
 * assertEquals([waits[0]!.kind, waits[0]!.call, waits[0]!.blocked], ["Queue", "get", false]);
 * queue.putSync(1);
 * assertEquals(await item, 1);
 * ```
 */
export interface WaitState {
  /** The kind of primitive, such as `"Lock"`; `"Process"` and `"Pool"` too, `"select"`, or `""`. */
  readonly kind: string;
  /** The number of the primitive, as in its `handle`; the `pid` for a process, 0 if it has none. */
  readonly serial: number;
  /** The asynchronous form of the call that waits, such as `"get"`; `""` if that is not known. */
  readonly call: string;
  /** For how long, in milliseconds. */
  readonly milliseconds: number;
  /** Whether the thread is blocked. Otherwise a promise waits. */
  readonly blocked: boolean;
  /** Of a lock: who keeps the agent waiting, if that is known. */
  readonly holder: AgentInfo | undefined;
}

/**
 * An agent, and what it waits for.
 *
 * @example
 * ```ts
 * import { type AgentState, diagnose } from "@sabre/ipc/diagnostics";
 * import { Process } from "@sabre/ipc/process";
 * import { SharedEvent } from "@sabre/ipc/event";
 * import { assertEquals } from "@std/assert";
 *
 * const event = new SharedEvent();
 * assertEquals(event.isSet, false);
 * const agents: readonly AgentState[] = diagnose().agents;
 * assertEquals(agents.some(({ pid }) => pid === Process.current.pid), true);
 * ```
 */
export interface AgentState extends AgentInfo {
  /** Who started it, if that is known. */
  readonly parent: AgentInfo | undefined;
  /**
   * Of the agent that asks: all of its calls that wait, in their order. Of another: the call in which it
   * is blocked, else the oldest of its promises that wait.
   */
  readonly waits: readonly WaitState[];
}

/**
 * What an agent holds, or what nobody does since its holder died.
 *
 * @example
 * ```ts
 * import { diagnose, type HoldState } from "@sabre/ipc/diagnostics";
 * import { Semaphore } from "@sabre/ipc/semaphore";
 * import { assertEquals } from "@std/assert";
 *
 * const semaphore = new Semaphore(3);
 * using _guard = semaphore.acquireSync({ permits: 2 });
 * const hold: HoldState | undefined = diagnose().holds.find(({ serial }) =>
 *   serial === semaphore.handle.serial
 * );
 * assertEquals([hold?.kind, hold?.permits, hold?.waiting], ["Semaphore", 2, 0]);
 * ```
 */
export interface HoldState {
  /** The kind of primitive. */
  readonly kind: string;
  /** The number of the primitive, as in its `handle`. */
  readonly serial: number;
  /** Who holds it; `undefined` if its last holder died and nobody has recovered it. */
  readonly holder: AgentInfo | undefined;
  /** How it is held: the asynchronous form of the call. */
  readonly call: "acquire" | "read" | "write";
  /** How many permits of a semaphore, or read guards; 1 otherwise, 0 if nobody holds it. */
  readonly permits: number;
  /** Whether its last holder died and nobody has recovered it. */
  readonly abandoned: boolean;
  /** How many calls wait for the primitive; `undefined` if this agent does not know it. */
  readonly waiting: number | undefined;
}

/**
 * Agents each of which waits for a lock that the next one holds, and the last for one of the first.
 *
 * @example
 * ```ts
 * import { type CycleState, diagnose } from "@sabre/ipc/diagnostics";
 * import { assertEquals } from "@std/assert";
 *
 * const cycles: readonly CycleState[] = diagnose().cycles;
 * assertEquals(cycles, []);
 * ```
 */
export interface CycleState {
  /** The agents, in the order in which they wait for each other. */
  readonly agents: readonly AgentInfo[];
  /**
   * Whether all of them are blocked in calls without a timeout: one is about to get a `DeadlockError`.
   * Where promises wait, another task may still release what is held.
   */
  readonly certain: boolean;
}

/**
 * A snapshot of the program: plain data, frozen. As a text, and for `console.log`, it is one line for
 * each agent, each thing held, and each cycle.
 *
 * @example
 * ```ts
 * import { diagnose, type Diagnosis } from "@sabre/ipc/diagnostics";
 * import { RwLock } from "@sabre/ipc/rwlock";
 * import { assertMatch } from "@std/assert";
 *
 * const lock = new RwLock();
 * using _guard = lock.readSync();
 * const diagnosis: Diagnosis = diagnose();
 * assertMatch(String(diagnosis), /^RwLock #\d+ is held for reading by Main \(pid \d+\)$/m);
 * ```
 */
export interface Diagnosis {
  /** The agents that have not ended, in the order of their slots. */
  readonly agents: readonly AgentState[];
  /**
   * What is held of the locks and semaphores that the agent that asks has an object for, and of the
   * locks in which others have been blocked for a while.
   */
  readonly holds: readonly HoldState[];
  /** Who waits for each other, as far as it shows in the above, and for 100 ms or longer. */
  readonly cycles: readonly CycleState[];
  /** The same as lines to read. */
  toString(): string;
}

/**
 * Takes a snapshot of who holds what and who waits for what. Any agent may call it, at any time. Never
 * waits, never throws, and takes no lock; others go on meanwhile, so that it may be a moment old. What a
 * blocked thread waits for shows once it has waited for 10 ms.
 *
 * @returns The snapshot, for programs and for `console.log`.
 * @example A promise that waits for a lock
 * ```ts
 * import { diagnose } from "@sabre/ipc/diagnostics";
 * import { Lock } from "@sabre/ipc/lock";
 * import { assertMatch } from "@std/assert";
 *
 * const lock = new Lock();
 * const guard = lock.acquireSync();
 * const next = lock.acquire();
 * assertMatch(String(diagnose()), /waits 0\.0 s in a promise for Lock #\d+, held by Main/);
 * guard.release();
 * (await next).release();
 * ```
 */
export function diagnose(): Diagnosis {
  const agents: AgentState[] = [];
  const holds: HoldState[] = [];
  const cycles: CycleState[] = [];
  const lines: string[] = [];
  for (const domain of joinedDomains()) {
    const view = new View(domain);
    // Where this agent is alone it is only once more the same.
    if (joinedDomains().length > 1 && view.isIdle) continue;
    agents.push(...view.agents);
    holds.push(...view.holds);
    cycles.push(...view.cycles);
    lines.push(...view.lines());
  }
  const text = lines.join("\n") || "Nothing of this package is in use yet";
  const show = { value: () => text };
  const diagnosis = { agents, holds, cycles };
  // Not enumerable: the data stays plain.
  Object.defineProperties(diagnosis, {
    toString: show,
    [Symbol.for("Deno.customInspect")]: show,
    [Symbol.for("nodejs.util.inspect.custom")]: show,
  });
  return freeze(diagnosis);
}

/** Milliseconds after which a wait counts as a part of a cycle. */
const LONG = 100;

/** What there is to see in one domain. */
class View {
  readonly agents: AgentState[] = [];
  readonly holds: HoldState[] = [];
  readonly cycles: CycleState[] = [];
  readonly #domain: Domain;
  readonly #known: Holdings[];
  readonly #infos = new Map<number, AgentInfo>();
  readonly #ids = new Map<AgentState, number>();

  constructor(domain: Domain) {
    this.#domain = domain;
    this.#known = knownHoldings(domain);
    const ids = livingAgents(domain);
    for (const id of ids) {
      const parent = parentOf(domain, id);
      const waits = this.#waitsOf(id);
      const agent = {
        ...this.#infoOf(id),
        parent: parent === 0 ? undefined : this.#infoOf(parent),
        waits,
      };
      this.agents.push(agent);
      this.#ids.set(agent, id);
    }
    this.#findHolds();
    this.#findCycles();
  }

  /** Whether there is nobody but this agent, which waits for nothing and holds nothing. */
  get isIdle(): boolean {
    return this.agents.length === 1 && this.agents[0]!.waits.length + this.holds.length === 0;
  }

  lines(): string[] {
    return [
      ...this.agents.flatMap(linesOfAgent),
      ...this.holds.map(lineOfHold),
      ...this.cycles.map((cycle) => this.#lineOfCycle(cycle)),
    ];
  }

  #infoOf(id: number): AgentInfo {
    let info = this.#infos.get(id);
    if (info === undefined) {
      info = { pid: pidOf(id), name: nameOf(this.#domain, id) };
      this.#infos.set(id, info);
    }
    return info;
  }

  #waitsOf(id: number): WaitState[] {
    const domain = this.#domain;
    const told = toldBy(domain, id);
    if (id === domain.id && !told?.isBlocked) {
      return pendingWaits(domain).map(({ what, since }) => {
        const { kind, call } = wordsOf(what.word);
        return this.#wait(kind, call, what.serial, since, false, 0);
      });
    }
    if (told === undefined) return [];
    const { kind, call, serial, since, isBlocked, keeper } = told;
    const wait = this.#wait(kind, call, serial, since, isBlocked, keeper);
    return [wait];
  }

  #wait(
    kind: string,
    call: string,
    serial: number,
    since: number,
    blocked: boolean,
    keeper: number,
  ): WaitState {
    const milliseconds = Math.max((millis() - since) | 0, 0);
    const known = this.#known.find(({ handle }) =>
      handle.sabre === kind && handle.serial === serial
    );
    // What can be seen now is newer than what the one who waits has seen. But a reader may wait for a
    // writer that waits itself.
    const isSeen = known !== undefined && kind !== "Semaphore" &&
      (kind !== "RwLock" || keeper === 0);
    const id = isSeen ? known.held[0]?.id ?? 0 : keeper;
    const holder = id === 0 ? undefined : this.#infoOf(id);
    return { kind, serial, call, milliseconds, blocked, holder };
  }

  #findHolds(): void {
    for (const { handle, held, isAbandoned, waiting } of this.#known) {
      const { sabre: kind, serial } = handle;
      const rest = { abandoned: isAbandoned, waiting };
      for (const { id, call, permits } of held) {
        this.holds.push({ kind, serial, holder: this.#infoOf(id), call, permits, ...rest });
      }
      if (isAbandoned) {
        const call = kind === "RwLock" ? "write" : "acquire";
        this.holds.push({ kind, serial, holder: undefined, call, permits: 0, ...rest });
      }
    }
    for (const { waits } of this.agents) {
      for (const { kind, serial, holder } of waits) {
        // Of a read-write lock it may be one who waits as well.
        if (holder === undefined || kind === "RwLock") continue;
        if (this.holds.some((hold) => hold.kind === kind && hold.serial === serial)) continue;
        const call = "acquire";
        const rest = { abandoned: false, waiting: undefined };
        this.holds.push({ kind, serial, holder, call, permits: 1, ...rest });
      }
    }
  }

  #findCycles(): void {
    const byPid = new Map(this.agents.map((agent) => [agent.pid, agent]));
    const done = new Set<number>();
    const path: { agent: AgentState; wait: WaitState }[] = [];
    const visit = (agent: AgentState): void => {
      const start = path.findIndex((step) => step.agent === agent);
      if (start >= 0) {
        const steps = path.slice(start);
        // Whoever has just been served may still look as if it waited, for itself even.
        if (steps.some(({ wait }) => wait.milliseconds < LONG)) return;
        this.cycles.push({
          agents: steps.map(({ agent: { pid, name } }) => ({ pid, name })),
          certain: isCircle(this.#domain, steps.map(({ agent }) => this.#ids.get(agent)!)),
        });
        return;
      }
      if (done.has(agent.pid)) return;
      for (const wait of agent.waits) {
        const next = wait.holder === undefined ? undefined : byPid.get(wait.holder.pid);
        // Its own task holds it, which can go on unless the thread is blocked.
        if (next === undefined || (next === agent && !wait.blocked)) continue;
        path.push({ agent, wait });
        visit(next);
        path.pop();
      }
      done.add(agent.pid);
    };
    for (const agent of this.agents) visit(agent);
  }

  #lineOfCycle({ agents, certain }: CycleState): string {
    const names = [...agents, agents[0]!].map(textOf).join(" waits for ");
    return `${certain ? "Deadlock" : "A deadlock, unless a task can go on"}: ${names}`;
  }
}

function linesOfAgent({ waits, ...agent }: AgentState): string[] {
  if (waits.length === 0) return [`${textOf(agent)} waits for nothing`];
  return waits.map(({ kind, serial, call, milliseconds, blocked, holder }) => {
    const what = kind === ""
      ? "something"
      : kind === "Process"
      ? `the end of pid ${serial}`
      : `${serial === 0 ? kind : `${kind} #${serial}`}${isNoun(kind, call) ? "" : ` (${call})`}`;
    const by = holder === undefined ? "" : `, held by ${textOf(holder)}`;
    const time = `${(milliseconds / 1_000).toFixed(1)} s`;
    return `${textOf(agent)} waits ${time}${blocked ? "" : " in a promise"} for ${what}${by}`;
  });
}

/** Whether the call goes without saying. */
function isNoun(kind: string, call: string): boolean {
  return call === "acquire" || call === "wait" || call === "" || kind === "Pool";
}

function lineOfHold({ kind, serial, holder, call, permits, waiting }: HoldState): string {
  const crowd = !waiting ? "" : `, ${waiting} waiting`;
  if (holder === undefined) {
    return `${kind} #${serial} is abandoned: its holder died, and nobody has recovered it${crowd}`;
  }
  const how = call === "read"
    ? "held for reading"
    : call === "write"
    ? "held for writing"
    : kind === "Semaphore"
    ? `held with ${permits} ${permits === 1 ? "permit" : "permits"}`
    : "held";
  return `${kind} #${serial} is ${how} by ${textOf(holder)}${crowd}`;
}

function textOf({ pid, name }: AgentInfo): string {
  return `${name} (pid ${pid})`;
}

function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) freeze(part);
  }
  return value;
}
