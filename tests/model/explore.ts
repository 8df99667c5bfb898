// Copyright 2026 the Sabre authors. MIT license.

// The explorer: visits every state of a scenario, or walks it at random, and says what went wrong.
//
// To explore a new primitive, write one small file of ordinary TypeScript in tests/model/scenarios/,
// with an exported function that returns a `Scenario` (see scenario.ts):
//
//   import { lock, unlock } from "../../../_mutex.ts";
//   import { assert, oracle, type Scenario, step } from "../scenario.ts";
//
//   interface Shared { words: Int32Array; inside: Int32Array }
//
//   function worker(shared: Shared, rounds: number): void {
//     for (let i = 0; i < rounds; i++) {
//       lock(shared.words, 0);
//       assert(shared.inside[0]! === 0, "two are inside");
//       shared.inside[0] = 1;
//       step(); // gives the critical section a width
//       shared.inside[0] = 0;
//       unlock(shared.words, 0);
//     }
//   }
//
//   export function mutex(agents: number, rounds: number): Scenario<Shared> {
//     return {
//       name: `mutex ${agents} x ${rounds}`,
//       setup: () => ({ words: new Int32Array(new SharedArrayBuffer(64)), inside: oracle(1) }),
//       agents: Array.from({ length: agents }, (_, i) => ({
//         name: `agent ${i}`,
//         run: (shared: Shared) => worker(shared, rounds),
//       })),
//       atEnd: (shared) => assert(shared.words[0] === 0, "the lock is held"),
//     };
//   }
//
// and a test:
//
//   const module = await load(new URL("./scenarios/mutex.ts", import.meta.url), { replace, constants });
//   const result = explore(module.scenario("mutex", 2, 3), { kills: 1 });
//   assertEquals(result.violation, undefined, result.report);
//
// `replace` puts park.ts and clock.ts in the place of `_park.ts` and `_clock.ts`, `constants` sets the
// number of spins to 0; lock_test.ts has both.
//
// The scenario file goes through the transform like the shipped modules that it imports. An agent
// may use all shipped functions and what scenario.ts declares; its locals are its own. Oracles belong into
// `oracle` memory, never into variables that agents share. An access to it happens together with the
// operation before it. To have an agent killed, give `kills`, and the scenario a reaper: an agent with
// `daemon` that calls `awaitDeath` in a loop and then whatever declares the agent dead. A zombie is the
// same as a death later on, as nothing can tell before the certificate, and so needs no flavour.

import {
  describeOp,
  describeSite,
  EATEN_OF,
  type Faults,
  KILL_OF,
  Machine,
  type Observer,
  SPURIOUS_OF,
  STEP_OF,
  TIMEOUT_OF,
  Violation,
} from "./machine.ts";
import {
  AWAIT,
  CHOOSE,
  CLOCK,
  COPY_RUN,
  GET,
  LAST_ATOMIC,
  NOTIFY,
  type Op,
  type Value,
  WAIT,
} from "./operations.ts";
import type { Program } from "./runtime.ts";
import { RaceDetector } from "./race.ts";

/** What to explore and how far. */
export interface ExploreOptions extends Faults {
  /** Stop after so many states. @default {10_000_000} */
  readonly maxStates?: number;
  /** Stop after so long, in milliseconds. @default {600_000} */
  readonly maxTime?: number;
  /** Make every atomic operation a scheduling point, also where agents cannot conflict. */
  readonly fine?: boolean;
  /** Random walks before the search, which look for races as well. @default {200} */
  readonly walks?: number;
  /** The longest that the walks may take, in milliseconds. @default {5_000} */
  readonly walkTime?: number;
  /** Seed of these walks. */
  readonly seed?: number;
  /** Looking for races in the walks. @default {true} */
  readonly races?: boolean;
  /** Look for the same kind of violation with at most two preemptions, to print. @default {true} */
  readonly simplify?: boolean;
  /** Whether a cycle that nobody leaves is a violation. @default {true} */
  readonly livelocks?: boolean;
}

/** What was found. */
export interface Result {
  readonly name: string;
  readonly states: number;
  readonly transitions: number;
  /** How many different memories runs end with. */
  readonly ends: number;
  /** Nodes of the agents' behaviour. */
  readonly nodes: number;
  readonly milliseconds: number;
  /** Whether nothing is left to visit, within the bounds on faults. */
  readonly complete: boolean;
  readonly violation: Violation | undefined;
  /** How to get there, for {@linkcode replay}. */
  readonly schedule: string | undefined;
  /** The violation with its trace, or one line of figures. */
  readonly report: string;
}

/** Visits every state that the bounds allow. */
export function explore(start: () => Program, options: ExploreOptions = {}): Result {
  const begin = performance.now();
  const machine = new Machine(start, options);
  const search = new Search(machine, options, begin);
  let found = options.walks === 0
    ? undefined
    : search.walk(options.walks ?? 200, options.seed ?? 1);
  found ??= search.run();
  const milliseconds = performance.now() - begin;
  const figures = {
    name: machine.scenario.name,
    states: search.states,
    transitions: search.transitions,
    ends: search.ends.size,
    nodes: machine.nodeCount,
    milliseconds,
    complete: search.complete && found === undefined,
  };
  if (found === undefined) {
    const rate = Math.round(search.states / milliseconds);
    const report = `${figures.name}: ${search.states} states, ${search.transitions} transitions, ${
      Math.round(milliseconds)
    } ms (${rate} per ms)${search.complete ? "" : ", not complete"}`;
    return { ...figures, violation: undefined, schedule: undefined, report };
  }
  // The same fault with few switches reads best.
  const { kind } = found.violation;
  const simple = options.simplify !== false && (kind === "deadlock" || kind === "assertion");
  let best = { machine, found };
  for (
    let bound = 0;
    bound < 3 && simple;
    bound++
  ) {
    const bounded = {
      ...options,
      preemptions: bound,
      maxStates: 100_000,
      maxTime: 2_000,
    };
    const again = new Machine(start, bounded);
    const simpler = new Search(again, bounded, performance.now()).run();
    if (simpler?.violation.kind !== kind) continue;
    best = { machine: again, found: simpler };
    break;
  }
  const { violation, moves } = best.found;
  const trace = traceOf(best.machine, kind === "race", (tracer) => {
    for (const move of moves) best.machine.move(move);
    if (kind === "livelock") cycle(best.machine, tracer);
    else rest(best.machine);
  });
  const report = `${figures.name}: ${violation.kind}: ${violation.message}\n${trace.text}\n` +
    `found after ${search.states} states; replay: ${trace.schedule}`;
  return { ...figures, violation, schedule: trace.schedule, report };
}

/** What is checked in the state that a schedule leads to. */
function rest(machine: Machine): void {
  machine.checkInvariant();
  const buffer = new Int32Array(256);
  const end = machine.moves(buffer, 0);
  if (isRest(machine, buffer, 0, end)) machine.checkEnd();
}

/** Whether nothing but faults can happen. Faults need not: such a state is an end. */
function isRest(machine: Machine, moves: Int32Array, start: number, end: number): boolean {
  return start === end || !machine.isOwn(moves[start]!);
}

/** Goes round once in a state that is never left. */
function cycle(machine: Machine, tracer: Tracer): void {
  tracer.lines.push("  from here on, for instance:");
  const seen = new Set<string>();
  const buffer = new Int32Array(256);
  for (let i = 0; i < 100; i++) {
    machine.hash();
    const state = `${machine.hash1} ${machine.hash2}`;
    if (seen.has(state)) return;
    seen.add(state);
    machine.moves(buffer, 0);
    machine.move(buffer[0]!);
  }
}

/** Random walks only: for programs that are too large to visit as a whole. */
export function walk(
  start: () => Program,
  runs: number,
  seed: number,
  options: ExploreOptions = {},
): Result {
  return explore(start, { ...options, walks: runs, seed, maxStates: 0 });
}

/** Runs one schedule again and returns its trace and what it violates. */
export function replay(
  start: () => Program,
  schedule: string,
  options: ExploreOptions = {},
): { violation: Violation | undefined; report: string } {
  const machine = new Machine(start, { ...options, preemptions: -1 });
  machine.conflicts.fill(1);
  machine.latched.fill(0);
  const run = (): void => {
    const buffer = new Int32Array(256);
    for (const each of schedule.split(" ")) {
      const match = /^(\d+)([tske]?)(?::(\d+))?(?:\*(\d+))?$/.exec(each);
      if (match === null) {
        if (each !== "") throw new SyntaxError(`"${each}" is no move`);
        continue;
      }
      const kind = " tske".indexOf(match[2] === "" ? " " : match[2]!);
      const move = Number(match[1]) | (Number(match[3] ?? 0) << 8) |
        (kind << 16);
      for (let i = 0; i < Number(match[4] ?? 1); i++) {
        const end = machine.moves(buffer, 0);
        if (!buffer.subarray(0, end).includes(move)) {
          throw new Error(`"${each}" is not possible now`);
        }
        machine.move(move);
      }
    }
    rest(machine);
  };
  let trace = traceOf(machine, false, run);
  if (trace.violation === undefined) trace = traceOf(machine, true, run);
  return { violation: trace.violation, report: trace.text };
}

interface Trace {
  readonly text: string;
  readonly schedule: string;
  readonly violation: Violation | undefined;
}

/** Writes down what happens from the first state on. */
class Tracer implements Observer {
  readonly lines: string[] = [];
  readonly moves: string[] = [];
  readonly #machine: Machine;
  readonly #detector: RaceDetector | undefined;

  constructor(machine: Machine, detector: RaceDetector | undefined) {
    this.#machine = machine;
    this.#detector = detector;
  }

  access(
    agent: number,
    op: Op,
    address: number,
    count: number,
    writes: boolean,
    reads: boolean,
  ): void {
    if (op.code >= GET && op.code <= COPY_RUN) {
      const where = this.#machine.describe(address);
      const value = writes && count === 1 ? ` ${op.a}` : "";
      const size = count === 1 ? "" : ` (${count} x ${op.size} bytes)`;
      this.#line(
        agent,
        op.site,
        `  plain ${writes ? "write" : "read"} ${where}${value}${size}`,
        "",
      );
    }
    try {
      this.#detector?.access(agent, op, address, count, writes, reads);
    } catch (error) {
      if (op.code < GET) {
        this.moves.push(`${agent}`);
        this.#line(agent, op.site, describeOp(this.#machine, op), "");
      }
      throw error;
    }
  }

  edge(from: number, to: number): void {
    this.#detector?.edge(from, to);
  }

  done(agent: number, op: Op | undefined, kind: number, result: Value): void {
    const machine = this.#machine;
    const site = op?.site ?? 0;
    if (kind === KILL_OF || kind === EATEN_OF) {
      this.moves.push(`${agent}${kind === KILL_OF ? "k" : "e"}`);
      const last = op === undefined ? "" : ` before ${describeOp(machine, op)}`;
      this.#line(
        agent,
        site,
        `dies${last}${kind === EATEN_OF ? ", still on the wait list" : ""}`,
        "",
      );
      return;
    }
    if (op === undefined) return;
    if (kind === TIMEOUT_OF || kind === SPURIOUS_OF) {
      this.moves.push(`${agent}${kind === TIMEOUT_OF ? "t" : "s"}`);
      this.#line(
        agent,
        site,
        kind === TIMEOUT_OF ? "wait times out" : "wait ends for no reason",
        "",
      );
      return;
    }
    if (op.code === WAIT && result === "ok") {
      this.#line(agent, site, "is woken", "");
      return;
    }
    let choice = 0;
    if (op.code === CHOOSE || op.code === AWAIT) choice = result as number;
    if (op.code === CLOCK) choice = result === 0 ? 0 : 1;
    this.moves.push(choice === 0 ? `${agent}` : `${agent}:${choice}`);
    // What nobody else can notice is told by `replay` only.
    if (op.code <= LAST_ATOMIC && machine.conflicts[op.address >> 2] === 0) return;
    if (op.code === WAIT && result === undefined) {
      this.#line(agent, site, describeOp(machine, op), "sleeps");
    } else {
      const text = op.code === NOTIFY
        ? `${result} woken`
        : result === undefined
        ? ""
        : String(result);
      this.#line(agent, site, describeOp(machine, op), text);
    }
  }

  #line(agent: number, site: number, what: string, result: string): void {
    const name = this.#machine.agents[agent]!.name;
    const arrow = result === "" ? "" : ` = ${result}`;
    this.lines.push(`  ${name.padEnd(12)} ${describeSite(site).padEnd(24)} ${what}${arrow}`);
  }
}

function traceOf(machine: Machine, races: boolean, run: (tracer: Tracer) => void): Trace {
  const tracer = new Tracer(machine, races ? new RaceDetector(machine) : undefined);
  machine.observer = tracer;
  let violation: Violation | undefined;
  try {
    machine.reset();
    run(tracer);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    violation = error;
  } finally {
    machine.observer = undefined;
  }
  return {
    text: tracer.lines.join("\n"),
    schedule: compact(tracer.moves),
    violation,
  };
}

function compact(moves: readonly string[]): string {
  const out: string[] = [];
  for (let i = 0; i < moves.length;) {
    let j = i;
    while (moves[j] === moves[i]) j++;
    out.push(j - i === 1 ? moves[i]! : `${moves[i]}*${j - i}`);
    i = j;
  }
  return out.join(" ");
}

// -- The search ----------------------------------------------------------------------------------

interface Found {
  readonly violation: Violation;
  readonly moves: readonly number[];
}

class Search {
  states = 0;
  transitions = 0;
  complete = false;
  readonly ends = new Set<string>();
  readonly #machine: Machine;
  readonly #options: ExploreOptions;
  readonly #deadline: number;

  constructor(machine: Machine, options: ExploreOptions, begin: number) {
    this.#machine = machine;
    this.#options = options;
    this.#deadline = begin + (options.maxTime ?? 600_000);
    if (options.fine) {
      machine.conflicts.fill(1);
      machine.latched.fill(0);
    }
  }

  /** Random walks: half of them by priorities that change at two random points (PCT), half uniform. */
  walk(runs: number, seed: number): Found | undefined {
    const machine = this.#machine;
    const until = Math.min(this.#deadline, performance.now() + (this.#options.walkTime ?? 5_000));
    const random = randomFrom(seed);
    const buffer = new Int32Array(256);
    const count = machine.agents.length;
    for (let run = 0; run < runs && performance.now() < until; run++) {
      // The races that a scheduling point would hide do not exist, but the traces should be whole.
      const detector = this.#options.races === false ? undefined : new RaceDetector(machine);
      const priorities = Array.from({ length: count }, () => random(1 << 20));
      const changes = [random(100), random(100)];
      const byPriority = run % 2 === 1;
      const path: number[] = [];
      machine.adopt();
      machine.observer = detector;
      try {
        machine.reset();
        for (let length = 0; length < 4_000; length++) {
          const end = machine.moves(buffer, 0);
          if (isRest(machine, buffer, 0, end)) machine.checkEnd();
          if (end === 0) break;
          let move = buffer[random(end)]!;
          // Faults are rare, or no run would get anywhere.
          for (let again = 0; again < 3 && move >> 16 !== STEP_OF; again++) {
            move = buffer[random(end)]!;
          }
          if (byPriority && move >> 16 === STEP_OF) {
            if (changes.includes(length)) priorities[move & 0xff] = -length;
            let best = -Infinity;
            for (let i = 0; i < end; i++) {
              const each = buffer[i]!;
              if (each >> 16 !== STEP_OF || priorities[each & 0xff]! < best) {
                continue;
              }
              if (priorities[each & 0xff] === best && random(2) === 0) continue;
              best = priorities[each & 0xff]!;
              move = each;
            }
          }
          path.push(move);
          machine.move(move);
          machine.checkInvariant();
        }
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        machine.observer = undefined;
        return { violation: error, moves: path };
      } finally {
        machine.observer = undefined;
      }
    }
    return undefined;
  }

  /** Depth first, again from the start whenever a word turns out to be contended. */
  run(): Found | undefined {
    const machine = this.#machine;
    for (;;) {
      machine.adopt();
      const found = this.#visit();
      if (!machine.grew || found !== undefined) return found;
    }
  }

  #visit(): Found | undefined {
    const machine = this.#machine;
    const { control } = machine;
    const { maxStates = 10_000_000, livelocks = true, preemptions = -1 } = this.#options;
    const findLivelocks = livelocks && preemptions < 0;
    const seen = new StateTable();
    let low = new Int32Array(1 << 12); // by state: Tarjan's number, 0 once its component is complete
    let leaves = new Uint8Array(1 << 12); // by state: whether somebody can step out of its component
    const open: number[] = []; // Tarjan's stack
    let saved = new Int32Array(1 << 14); // control at each depth, one after the other
    let offsets = new Int32Array(257); // by depth: where in saved
    let marks = new Int32Array(256);
    let ends = new Int32Array(256);
    let nexts = new Int32Array(256);
    let ids = new Int32Array(256);
    let lengths = new Int32Array(256);
    let moves = new Int32Array(4096);
    let made = new Int32Array(256); // the move that led to the depth
    this.states = 0;
    this.transitions = 0;
    this.complete = false;
    this.ends.clear();
    let depth = -1;
    let clean = true; // whether the machine is in the state at the top
    const path = (last?: number): number[] => {
      const all = [...made.subarray(1, depth + 1)];
      if (last !== undefined) all.push(last);
      return all;
    };
    const enter = (move: number): void => {
      depth++;
      if (depth === marks.length) {
        offsets = grown(offsets, depth * 2 + 1);
        marks = grown(marks, depth * 2);
        ends = grown(ends, depth * 2);
        nexts = grown(nexts, depth * 2);
        ids = grown(ids, depth * 2);
        lengths = grown(lengths, depth * 2);
        made = grown(made, depth * 2);
      }
      const id = this.states++;
      if (id === low.length) {
        low = grown(low, id * 2);
        const larger = new Uint8Array(id * 2);
        larger.set(leaves);
        leaves = larger;
      }
      const start = depth === 0 ? 0 : ends[depth - 1]!;
      if (start + 256 > moves.length) moves = grown(moves, moves.length * 2);
      marks[depth] = machine.mark();
      const length = machine.controlLength();
      lengths[depth] = length;
      const offset = depth === 0 ? 0 : offsets[depth - 1]! + lengths[depth - 1]!;
      offsets[depth] = offset;
      if (offset + length > saved.length) saved = grown(saved, saved.length * 2);
      for (let i = 0; i < length; i++) saved[offset + i] = control[i]!;
      nexts[depth] = start;
      ends[depth] = machine.moves(moves, start);
      ids[depth] = id;
      made[depth] = move;
      low[id] = id + 1;
      open.push(id);
      clean = true;
    };
    try {
      machine.reset();
      machine.checkInvariant();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      return { violation: error, moves: [] };
    }
    machine.hash();
    seen.add(machine.hash1, machine.hash2, 0);
    enter(-1);
    if (isRest(machine, moves, 0, ends[0]!)) {
      const found = this.#atEnd(path());
      if (found !== undefined) return found;
      leaves[0] = 1;
    }
    while (depth >= 0) {
      if (nexts[depth]! < ends[depth]!) {
        const move = moves[nexts[depth]!++]!;
        if (!clean) {
          machine.undo(marks[depth]!);
          const offset = offsets[depth]!;
          const length = lengths[depth]!;
          for (let i = 0; i < length; i++) control[i] = saved[offset + i]!;
        }
        clean = false;
        this.transitions++;
        try {
          machine.move(move);
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          return { violation: error, moves: path(move) };
        }
        machine.hash();
        const known = seen.add(machine.hash1, machine.hash2, this.states);
        if (known >= 0) {
          const id = ids[depth]!;
          if (low[known] === 0) {
            if (machine.isOwn(move)) leaves[id] = 1;
          } else if (low[known]! < low[id]!) {
            low[id] = low[known]!;
          }
          continue;
        }
        enter(move);
        try {
          machine.checkInvariant();
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          return { violation: error, moves: path() };
        }
        if (isRest(machine, moves, nexts[depth]!, ends[depth]!)) {
          const found = this.#atEnd(path());
          if (found !== undefined) return found;
          leaves[ids[depth]!] = 1;
        }
        if (machine.grew) return undefined;
        if (this.states >= maxStates) return undefined;
        if ((this.states & 1023) === 0 && performance.now() > this.#deadline) {
          return undefined;
        }
        continue;
      }
      // All moves were made: close the component if this is its root.
      const id = ids[depth]!;
      if (low[id] === id + 1) {
        let escapes = false;
        let size = 0;
        for (;;) {
          const member = open.pop()!;
          if (leaves[member] === 1) escapes = true;
          low[member] = 0;
          size++;
          if (member === id) break;
        }
        if (!escapes && findLivelocks) {
          const message = size === 1
            ? "The program goes round in one state for ever"
            : `From here on ${size} states follow each other for ever and nobody ends`;
          return {
            violation: new Violation("livelock", message),
            moves: path(),
          };
        }
      }
      const closed = low[id] === 0;
      const by = made[depth]!;
      depth--;
      clean = false;
      if (depth >= 0) {
        const parent = ids[depth]!;
        if (closed) {
          if (machine.isOwn(by)) leaves[parent] = 1;
        } else if (low[id]! < low[parent]!) {
          low[parent] = low[id]!;
        }
      }
    }
    this.complete = true;
    return undefined;
  }

  #atEnd(path: number[]): Found | undefined {
    this.ends.add(this.#machine.memoryHash);
    try {
      this.#machine.checkEnd();
      return undefined;
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      return { violation: error, moves: path };
    }
  }
}

function grown(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length);
  larger.set(array);
  return larger;
}

/** States by two hashes, in open addressing: 12 bytes a slot. */
class StateTable {
  #slots = 1 << 13;
  #table = new Int32Array(3 << 13); // hash, hash, number + 1
  #count = 0;

  /** The number of the state if it is known; else -1, and from now on it is `number`. */
  add(hash1: number, hash2: number, number: number): number {
    const mask = this.#slots - 1;
    const table = this.#table;
    for (let slot = hash1 & mask;; slot = (slot + 1) & mask) {
      const at = slot * 3;
      if (table[at + 2] === 0) {
        table[at] = hash1;
        table[at + 1] = hash2;
        table[at + 2] = number + 1;
        if (++this.#count * 4 > this.#slots * 3) this.#grow();
        return -1;
      }
      if (table[at] === hash1 && table[at + 1] === hash2) {
        return table[at + 2]! - 1;
      }
    }
  }

  #grow(): void {
    const old = this.#table;
    this.#slots *= 2;
    const table = new Int32Array(3 * this.#slots);
    const mask = this.#slots - 1;
    for (let at = 0; at < old.length; at += 3) {
      if (old[at + 2] === 0) continue;
      let slot = old[at]! & mask;
      while (table[slot * 3 + 2] !== 0) slot = (slot + 1) & mask;
      table[slot * 3] = old[at]!;
      table[slot * 3 + 1] = old[at + 1]!;
      table[slot * 3 + 2] = old[at + 2]!;
    }
    this.#table = table;
  }
}

/** `random(n)` gives 0..n-1 (xorshift). */
function randomFrom(seed: number): (n: number) => number {
  let state = (seed * 0x9e3779b1) | 0 || 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}
