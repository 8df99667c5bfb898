// Copyright 2026 the Sabre authors. MIT license.

// The machine: memory, views, wait lists and agents as the explorer sees them.
//
// An agent's code is a generator that yields operations. What it does next depends on nothing but
// the values it was given so far, so that its behaviour is a tree: nodes are pending operations, edges
// are results. The tree is grown as it is walked (running the generator again from the start where
// it has to branch) and a state is memory, wait lists and one node per agent. Going back is a copy of
// a few integers, not a replay.
//
// At a loop head the transform reports all locals of all frames. Where nothing in them is opaque, two
// nodes with equal reports are one node: equal code with equal data does equal things.

import {
  ACQUIRE,
  ADD,
  AND,
  AWAIT,
  CAS,
  CHOOSE,
  CLOCK,
  COPY_RUN,
  DEATH,
  EXCHANGE,
  GET,
  LAST_ATOMIC,
  LATE,
  LOAD,
  NAMES,
  NOTIFY,
  type Op,
  OR,
  READ_RUN,
  RELEASE,
  SET,
  sites,
  SPIN,
  STEP,
  STORE,
  SUB,
  SUMMARY,
  type Value,
  WAIT,
  WAIT_ASYNC,
  WRITE_RUN,
  XOR,
} from "./operations.ts";
import type { AgentOf, Ending, Scenario } from "./scenario.ts";
import {
  AgentRun,
  deepFreeze,
  type Heap,
  host,
  MAX_BYTES,
  type ModelBuffer,
  type Program,
  runtime,
  type Steps,
} from "./runtime.ts";

const NONE = Symbol("none");

/** One point of an agent's behaviour. */
class Node {
  readonly id: number;
  readonly parent: Node | undefined;
  readonly value: Value;
  readonly op: Op | undefined;
  /** What the code threw. */
  readonly error: unknown;
  readonly failed: boolean;
  /** A generator that stands here, if one still does. */
  run: AgentRun | undefined;
  value0: Value | typeof NONE = NONE;
  node0: Node | undefined;
  others: Map<Value, Node> | undefined;

  constructor(
    id: number,
    parent: Node | undefined,
    value: Value,
    op: Op | undefined,
    failed: boolean,
    error: unknown,
  ) {
    this.id = id;
    this.parent = parent;
    this.value = value;
    this.op = op;
    this.failed = failed;
    this.error = error;
  }
}

// -- The machine ---------------------------------------------------------------------------------

/** What was violated, and how. */
export class Violation extends Error {
  readonly kind: "assertion" | "deadlock" | "livelock" | "race" | "endless";

  constructor(kind: Violation["kind"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** Which faults may happen, how often in one run. */
export interface Faults {
  /** Deaths. */
  readonly kills?: number;
  /** Also a death that leaves the wait list only when a `notify` has counted it. */
  readonly eaten?: boolean;
  /**
   * Timed waits that end by themselves: a number of times, or `"rest"`: as often as it takes, but only
   * when nobody else can go on.
   */
  readonly timeouts?: number | "rest";
  /** Waits that end for no reason. */
  readonly spurious?: number;
  /** Readings of the clock that find every deadline passed. The others find no time passed at all. */
  readonly late?: number;
  /** Switches away from an agent that could go on. */
  readonly preemptions?: number;
  /** `false`: nodes with equal reports stay apart. To check the reports, not to explore with. */
  readonly summaries?: boolean;
}

export const STEP_OF = 0;
export const TIMEOUT_OF = 1;
export const SPURIOUS_OF = 2;
export const KILL_OF = 3;
export const EATEN_OF = 4;

const RUNNING = 0;
const BLOCKED = 1;
const ENDED = 2;
const DEAD = 3;
const SPINNING = 4;
const DIRTY = 8; // somebody else changed memory since this agent's last spin()

const MAX_WAITERS = 24;
const MAX_TICKETS = 15;
const CHECKER = 15; // stands for an agent in the masks: the scenario's checks
const RUN_LIMIT = 100_000;
const PRIVATE_LIMIT = 1_000;

/** Sees every access, for races and traces. */
export interface Observer {
  /** Plain and atomic accesses. `count` elements of `size` bytes. */
  access(
    agent: number,
    op: Op,
    address: number,
    count: number,
    writes: boolean,
    reads: boolean,
  ): void;
  /** `from` notified `to`, or died and `to` learnt of it. */
  edge(from: number, to: number): void;
  /** Every operation that is not plain, after it. */
  done(agent: number, op: Op | undefined, kind: number, result: Value): void;
}

function mix(index: number, value: number): number {
  let h = Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(value, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return h ^ (h >>> 15);
}

function mix2(index: number, value: number): number {
  let h = Math.imul(index + 0x51ed, 0xc2b2ae35) + Math.imul(value, 0x27d4eb2f);
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

/** The state of one scenario, with its moves. */
export class Machine {
  readonly scenario: Scenario<unknown>;
  readonly agents: readonly AgentOf<unknown>[];
  readonly shared: unknown;
  readonly buffers: readonly {
    readonly name: string;
    readonly buffer: ModelBuffer;
  }[];
  readonly memory: Int32Array;
  /**
   * Everything that is not memory: node, status and tickets of each agent, then the counters below,
   * then the wait lists, ordered by address.
   */
  readonly control: Int32Array;
  /** Words on which agents conflict: only these make scheduling points. See {@linkcode adopt}. */
  readonly conflicts: Uint8Array;
  /**
   * By word: a bit for each latch under which alone it is accessed. While an agent holds it, others
   * cannot tell when the agent accesses the word: no scheduling point, unless the agent may die there.
   * After R. Lipton, "Reduction: A Method of Proving Properties of Parallel Programs" (1975).
   */
  readonly latched: Uint8Array;
  /** Whether a conflict was found on a word that was not known to have one. */
  grew = false;
  observer: Observer | undefined;
  /** Two halves of the hash, after {@linkcode hash}. */
  hash1 = 0;
  hash2 = 0;

  readonly #restart: () => Program;
  readonly #faults: Faults;
  readonly #ghosts: Uint8Array; // by word
  readonly #accessed: Uint16Array; // by word: a bit for each agent
  readonly #written: Uint16Array;
  readonly #locksets: Uint8Array; // by word: latches that were held at every access so far
  readonly #latches: number[] = []; // words
  readonly #owners: number[] = []; // by agent: what it writes into a latch
  readonly #initialMemory: Int32Array;
  readonly #nodes: Node[] = [];
  readonly #canonical = new Map<string, Node>();
  readonly #count: number;
  readonly #waiters: number; // index in control of the number of waiters; the list follows
  readonly #usesSpin: boolean;
  #memoryHash1 = 0;
  #memoryHash2 = 0;
  #undo = new Int32Array(1024);
  #undoTop = 0;
  #roots: Node[] = [];

  constructor(restart: () => Program, faults: Faults) {
    this.#restart = restart;
    this.#faults = faults;
    const program = restart();
    this.scenario = program.scenario;
    this.#usesSpin = program.spins;
    this.agents = program.scenario.agents;
    const count = this.agents.length;
    if (count > 12) throw new RangeError("Cannot explore more than 12 agents");
    this.#count = count;
    this.#waiters = 3 * count + 7;
    this.control = new Int32Array(this.#waiters + 1 + 2 * MAX_WAITERS);

    const heap: Heap = { bytes: 0, buffers: [] };
    // Setup runs on memory that grows while it allocates.
    const scratch = new Int32Array(MAX_BYTES / 4);
    host.heap = heap;
    try {
      this.shared = finish(program.scenario.setup(), scratch);
    } finally {
      host.heap = undefined;
    }
    deepFreeze(this.shared);
    this.buffers = heap.buffers;
    const words = heap.bytes >> 2;
    this.memory = scratch.slice(0, words);
    this.#initialMemory = this.memory.slice();
    this.conflicts = new Uint8Array(words);
    this.#accessed = new Uint16Array(words);
    this.#written = new Uint16Array(words);
    this.#locksets = new Uint8Array(words).fill(0xff);
    this.latched = new Uint8Array(words);
    this.#ghosts = new Uint8Array(words);
    for (const { buffer } of heap.buffers) {
      if (buffer.$ghost) {
        this.#ghosts.fill(1, buffer.$base >> 2, (buffer.$base + buffer.byteLength + 3) >> 2);
      }
    }
  }

  /** How many nodes of agents' behaviour are known. */
  get nodeCount(): number {
    return this.#nodes.length;
  }

  /** A hash of memory alone. */
  get memoryHash(): string {
    return `${this.#memoryHash1} ${this.#memoryHash2}`;
  }

  /** Goes to the first state. */
  reset(): void {
    this.memory.set(this.#initialMemory);
    this.#memoryHash1 = 0;
    this.#memoryHash2 = 0;
    this.#undoTop = 0;
    const { control } = this;
    const count = this.#count;
    control.fill(0);
    const {
      kills = 0,
      timeouts = 0,
      spurious = 0,
      late = 0,
      preemptions = -1,
    } = this.#faults;
    control[3 * count] = kills;
    control[3 * count + 1] = timeouts === "rest" ? 0 : timeouts;
    control[3 * count + 2] = spurious;
    control[3 * count + 3] = preemptions;
    control[3 * count + 4] = -1; // the agent that moved last, if preemptions count
    control[3 * count + 6] = late;
    control[3 * count + 5] = 0; // a bit for each dead agent that nobody was told of
    for (let agent = 0; agent < count; agent++) {
      this.#roots[agent] ??= this.#grow(agent, undefined, undefined);
      control[agent] = this.#roots[agent]!.id;
      control[count + agent] = this.#usesSpin ? RUNNING | DIRTY : RUNNING;
    }
    for (let agent = 0; agent < count; agent++) this.#settle(agent);
  }

  /**
   * Takes the conflicts that were found into account from the next start on; within a run they would
   * change what a move is. Sound once a search has found no more: the first conflict on a word that
   * is treated as private is met all the same, as treating it so only moves accesses to it forward.
   */
  adopt(): void {
    this.grew = false;
    for (let word = 0; word < this.conflicts.length; word++) {
      const accessed = this.#accessed[word]!;
      if (this.#written[word] !== 0 && (accessed & (accessed - 1)) !== 0) this.conflicts[word] = 1;
      this.latched[word] = this.#locksets[word]! & ((1 << this.#latches.length) - 1);
    }
  }

  /** Where to come back to. */
  mark(): number {
    return this.#undoTop;
  }

  /** Takes memory back to what it was at the mark. */
  undo(mark: number): void {
    const { memory } = this;
    while (this.#undoTop > mark) {
      this.#undoTop -= 2;
      const word = this.#undo[this.#undoTop]!;
      const old = this.#undo[this.#undoTop + 1]!;
      this.#memoryHash1 += mix(word, old) - mix(word, memory[word]!);
      this.#memoryHash2 += mix2(word, old) - mix2(word, memory[word]!);
      memory[word] = old;
    }
    this.#memoryHash1 |= 0;
    this.#memoryHash2 |= 0;
  }

  /** How much of `control` is in use. */
  controlLength(): number {
    return this.#waiters + 1 + 2 * this.control[this.#waiters]!;
  }

  /** Computes the hash of the state. */
  hash(): void {
    let h1 = this.#memoryHash1;
    let h2 = this.#memoryHash2;
    const length = this.controlLength();
    const { control } = this;
    for (let i = 0; i < length; i++) {
      const value = control[i]!;
      h1 = Math.imul(h1 ^ value, 0x9e3779b1);
      h1 ^= h1 >>> 15;
      h2 = Math.imul(h2 ^ (value + 0x7f4a7c15), 0x85ebca6b);
      h2 ^= h2 >>> 13;
    }
    this.hash1 = h1 | 0;
    this.hash2 = (h2 ^ (h1 >>> 7)) | 0;
  }

  /** Puts the moves that are possible into `moves` from `start` on; returns their end. */
  moves(moves: Int32Array, start: number): number {
    const { control } = this;
    const count = this.#count;
    let end = start;
    // What one agent chooses does not touch the others.
    for (let agent = 0; agent < count; agent++) {
      if ((control[count + agent]! & 7) !== RUNNING) continue;
      const op = this.#nodes[control[agent]!]!.op!;
      if (op.code !== CHOOSE && op.code !== CLOCK) continue;
      const choices = op.code === CLOCK ? 2 : op.a;
      for (let i = 0; i < choices; i++) moves[end++] = agent | (i << 8);
      return end;
    }
    const preemptions = control[3 * count + 3]!;
    let only = -1;
    if (preemptions === 0) {
      const last = control[3 * count + 4]!;
      if (last >= 0 && this.#canStep(last)) only = last;
    }
    for (let agent = 0; agent < count; agent++) {
      if (only >= 0 && agent !== only) continue;
      if ((control[count + agent]! & 7) !== RUNNING) continue;
      const op = this.#nodes[control[agent]!]!.op!;
      if (op.code === AWAIT) {
        const tickets = control[2 * count + agent]!;
        for (const ticket of op.list!) {
          if (((tickets >> (2 * ticket)) & 3) === 2) {
            moves[end++] = agent | (ticket << 8);
          }
        }
      } else if (op.code === DEATH) {
        if (control[3 * count + 5] !== 0) moves[end++] = agent;
      } else if (op.code === ACQUIRE) {
        if (this.#isFree(op)) moves[end++] = agent;
      } else {
        moves[end++] = agent;
      }
    }
    if (end === start && this.#faults.timeouts === "rest") {
      for (let agent = 0; agent < count; agent++) {
        if (this.#isTimed(agent)) moves[end++] = agent | (TIMEOUT_OF << 16);
      }
    }
    if (control[3 * count + 1]! > 0) {
      for (let agent = 0; agent < count; agent++) {
        if (this.#isTimed(agent)) moves[end++] = agent | (TIMEOUT_OF << 16);
      }
    }
    if (control[3 * count + 2]! > 0) {
      for (let agent = 0; agent < count; agent++) {
        if ((control[count + agent]! & 7) === BLOCKED) {
          moves[end++] = agent | (SPURIOUS_OF << 16);
        }
      }
    }
    if (control[3 * count]! > 0) {
      for (let agent = 0; agent < count; agent++) {
        const { mortal, daemon } = this.agents[agent]!;
        if (!(mortal ?? !daemon)) continue;
        const status = control[count + agent]! & 7;
        if (status === ENDED || status === DEAD) continue;
        moves[end++] = agent | (KILL_OF << 16);
        if (this.#faults.eaten && status === BLOCKED) {
          moves[end++] = agent | (EATEN_OF << 16);
        }
      }
    }
    return end;
  }

  /** Whether the program makes the move by itself, so that it happens sooner or later. */
  isOwn(move: number): boolean {
    const kind = move >> 16;
    return kind === STEP_OF || kind === TIMEOUT_OF && this.#faults.timeouts === "rest";
  }

  #isTimed(agent: number): boolean {
    const { control } = this;
    if ((control[this.#count + agent]! & 7) !== BLOCKED) return false;
    return this.#nodes[control[agent]!]!.op!.b !== Infinity;
  }

  #canStep(agent: number): boolean {
    const { control } = this;
    const count = this.#count;
    if ((control[count + agent]! & 7) !== RUNNING) return false;
    const op = this.#nodes[control[agent]!]!.op!;
    if (op.code === DEATH) return control[3 * count + 5] !== 0;
    if (op.code === ACQUIRE) return this.#isFree(op);
    if (op.code === AWAIT) {
      const tickets = control[2 * count + agent]!;
      return op.list!.some((ticket) => ((tickets >> (2 * ticket)) & 3) === 2);
    }
    return true;
  }

  /** Whether the latch can be taken: nobody has it, or somebody who is not in the table any more. */
  #isFree(op: Op): boolean {
    const word = this.memory[op.address >> 2]!;
    return word === 0 || this.memory[ownerAddress(op, word) >> 2] !== word >> 2;
  }

  #mayDie(agent: number): boolean {
    if (this.control[3 * this.#count]! === 0) return false;
    const { mortal, daemon } = this.agents[agent]!;
    return mortal ?? !daemon;
  }

  /** Makes one move. Throws a {@linkcode Violation}. */
  move(move: number): void {
    const agent = move & 0xff;
    const choice = (move >> 8) & 0xff;
    const kind = move >> 16;
    const { control } = this;
    const count = this.#count;
    const node = this.#nodes[control[agent]!]!;
    const op = node.op!;
    switch (kind) {
      case TIMEOUT_OF:
        if (this.#faults.timeouts !== "rest") control[3 * count + 1]!--;
        this.#leave(agent);
        control[count + agent] = control[count + agent]! & DIRTY;
        this.observer?.done(agent, op, kind, "timed-out");
        this.#advance(agent, "timed-out");
        this.#settle(agent);
        return;
      case SPURIOUS_OF:
        control[3 * count + 2]!--;
        this.#leave(agent);
        control[count + agent] = control[count + agent]! & DIRTY;
        this.observer?.done(agent, op, kind, "ok");
        this.#advance(agent, "ok");
        this.#settle(agent);
        return;
      case KILL_OF:
      case EATEN_OF:
        control[3 * count]!--;
        control[3 * count + 5]! |= 1 << agent;
        if (kind === KILL_OF) this.#leaveAll(agent);
        control[count + agent] = DEAD;
        control[agent] = -1;
        control[2 * count + agent] = 0;
        this.observer?.done(agent, op, kind, undefined);
        return;
    }
    const preemptions = control[3 * count + 3]!;
    if (preemptions >= 0 && op.code !== CHOOSE && op.code !== CLOCK) {
      const last = control[3 * count + 4]!;
      if (last >= 0 && last !== agent && this.#canStep(last)) {
        control[3 * count + 3]!--;
      }
      control[3 * count + 4] = agent;
    }
    this.#step(agent, op, choice);
  }

  #step(agent: number, op: Op, choice: number): void {
    const { control } = this;
    const count = this.#count;
    switch (op.code) {
      case WAIT:
        this.#note(agent, op.address, op.size, false);
        this.observer?.access(agent, op, op.address, 1, false, true);
        if (this.#read(op.address, op.size, op.signed) !== op.a) {
          this.#finishStep(agent, op, "not-equal");
        } else if (op.b <= 0) {
          this.#finishStep(agent, op, "timed-out");
        } else {
          this.#enqueue(op.address, agent, 15);
          control[count + agent] = (control[count + agent]! & DIRTY) | BLOCKED;
          this.observer?.done(agent, op, STEP_OF, undefined);
        }
        return;
      case WAIT_ASYNC: {
        this.#note(agent, op.address, op.size, false);
        this.observer?.access(agent, op, op.address, 1, false, true);
        if (this.#read(op.address, op.size, op.signed) !== op.a) {
          this.#finishStep(agent, op, "not-equal");
          return;
        }
        const tickets = control[2 * count + agent]!;
        let ticket = 0;
        while (((tickets >> (2 * ticket)) & 3) !== 0) ticket++;
        if (ticket >= MAX_TICKETS) {
          throw new Violation("endless", "An agent has 15 async tickets");
        }
        control[2 * count + agent] = tickets | (1 << (2 * ticket));
        this.#enqueue(op.address, agent, ticket);
        this.#finishStep(agent, op, ticket);
        return;
      }
      case NOTIFY:
        this.#notify(agent, op);
        return;
      case AWAIT:
        control[2 * count + agent]! &= ~(3 << (2 * choice));
        this.#finishStep(agent, op, choice);
        return;
      case DEATH: {
        const dead = 31 -
          Math.clz32(control[3 * count + 5]! & -control[3 * count + 5]!);
        control[3 * count + 5]! &= ~(1 << dead);
        this.observer?.edge(dead, agent);
        this.#finishStep(agent, op, dead);
        return;
      }
      case CHOOSE:
        this.#finishStep(agent, op, choice);
        return;
      case CLOCK:
        control[3 * count + 6]! -= choice;
        this.#finishStep(agent, op, choice * LATE);
        return;
      case STEP:
        this.#finishStep(agent, op, undefined);
        return;
      case ACQUIRE: {
        const latch = op.address >> 2;
        if (!this.#latches.includes(latch)) {
          if (this.#latches.length === 8) throw new RangeError("More than 8 latches");
          this.#latches.push(latch);
        }
        this.#owners[agent] = op.a;
        const word = this.memory[latch]!;
        if (word !== 0) {
          const owner = ownerAddress(op, word);
          this.#note(agent, owner, 4, false);
          // That the owner is dead was learnt from the table.
          this.observer?.access(agent, { ...op, code: LOAD }, owner, 1, false, true);
        }
        this.#note(agent, op.address, 4, true);
        this.observer?.access(agent, op, op.address, 1, true, true);
        this.#write(agent, op.address, 4, op.a);
        this.#finishStep(agent, op, word);
        return;
      }
      case RELEASE:
        this.#release(agent, op);
        this.#finishStep(agent, op, undefined);
        return;
      case SPIN:
        control[count + agent] = RUNNING;
        this.#finishStep(agent, op, undefined);
        return;
      default:
        this.#finishStep(agent, op, this.#atomic(agent, op));
    }
  }

  #finishStep(agent: number, op: Op, result: Value): void {
    this.observer?.done(agent, op, STEP_OF, result);
    this.#advance(agent, result);
    this.#settle(agent);
  }

  /** Does everything of the agent that is no scheduling point. */
  #settle(agent: number): void {
    const { control } = this;
    const count = this.#count;
    let atomics = 0;
    for (let i = 0; i < RUN_LIMIT; i++) {
      const node = this.#nodes[control[agent]!]!;
      const { op } = node;
      if (op === undefined) {
        if (node.failed) {
          const { error } = node;
          if (error instanceof Violation) throw error;
          const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
          throw new Violation(
            "assertion",
            `${this.agents[agent]!.name} threw ${text}`,
            {
              cause: error,
            },
          );
        }
        control[count + agent] = ENDED;
        return;
      }
      if (op.code >= GET && op.code <= COPY_RUN) {
        this.#advance(agent, this.#plain(agent, op));
      } else if (op.code === RELEASE && !this.#mayDie(agent)) {
        // Nobody can tell when, either.
        this.#release(agent, op);
        this.observer?.done(agent, op, STEP_OF, undefined);
        this.#advance(agent, undefined);
      } else if (
        op.code <= LAST_ATOMIC &&
        (this.conflicts[op.address >> 2] === 0 ||
          (this.latched[op.address >> 2]! & this.#held(agent)) !== 0 && !this.#mayDie(agent)) &&
        // Without end if it waits for what nobody has done so far.
        ++atomics <= PRIVATE_LIMIT
      ) {
        const result = this.#atomic(agent, op);
        this.observer?.done(agent, op, STEP_OF, result);
        this.#advance(agent, result);
      } else if (
        op.code === CHOOSE && op.a === 1 ||
        op.code === CLOCK && control[3 * count + 6] === 0
      ) {
        this.#advance(agent, 0);
      } else {
        if (op.code === SPIN && (control[count + agent]! & 7) === RUNNING) {
          // Its own writes do not count: `#write` sets DIRTY for the others only.
          if ((control[count + agent]! & DIRTY) === 0) {
            control[count + agent] = SPINNING;
          }
        }
        return;
      }
    }
    throw new Violation(
      "endless",
      `${this.agents[agent]!.name} runs on without a scheduling point`,
    );
  }

  #advance(agent: number, value: Value): void {
    const node = this.#nodes[this.control[agent]!]!;
    let next: Node | undefined;
    const key = typeof value === "object" ? value.join() : value;
    if (node.value0 === key) next = node.node0;
    else next = node.others?.get(key);
    if (next === undefined) {
      next = this.#grow(agent, node, value);
      if (node.value0 === NONE) {
        node.value0 = key;
        node.node0 = next;
      } else {
        node.others ??= new Map();
        node.others.set(key, next);
      }
    }
    this.control[agent] = next.id;
  }

  /** Runs code to see what comes after `value`. */
  #grow(agent: number, parent: Node | undefined, value: Value): Node {
    let run = parent?.run;
    if (run === undefined) run = this.#rerun(agent, parent);
    else parent!.run = undefined;
    const keys: string[] = [];
    let op: Op | undefined;
    let error: unknown;
    let failed = false;
    try {
      op = run.resume(fresh(value));
      while (op !== undefined && op.code === SUMMARY) {
        if (op.key !== undefined && this.#faults.summaries !== false) {
          const key = `${agent} ${op.site} ${op.key}`;
          const known = this.#canonical.get(key);
          if (known !== undefined) return known;
          keys.push(key);
        }
        op = run.resume(undefined);
      }
    } catch (thrown) {
      // Perhaps right after a report.
      op = undefined;
      failed = true;
      error = thrown;
    }
    const node = new Node(this.#nodes.length, parent, value, op, failed, error);
    this.#nodes.push(node);
    if (op !== undefined) node.run = run;
    for (const key of keys) this.#canonical.set(key, node);
    return node;
  }

  /** A generator that stands at the node. */
  #rerun(agent: number, node: Node | undefined): AgentRun {
    const run = new AgentRun(this.#restart(), agent, this.shared);
    if (node === undefined) return run;
    const values: Value[] = [];
    for (
      let each: Node | undefined = node;
      each !== undefined;
      each = each.parent
    ) {
      values.push(each.value);
    }
    run.isReplayed = true;
    for (let i = values.length - 1; i >= 0; i--) {
      let op = run.resume(fresh(values[i]));
      while (op !== undefined && op.code === SUMMARY) {
        op = run.resume(undefined);
      }
    }
    run.isReplayed = false;
    return run;
  }

  // -- Memory --

  #read(address: number, size: number, signed: boolean): number {
    return readFrom(this.memory, address, size, signed);
  }

  #write(agent: number, address: number, size: number, value: number): void {
    const word = address >> 2;
    const old = this.memory[word]!;
    const now = merge(old, address, size, value);
    if (now === old) return;
    if (this.#undoTop + 2 > this.#undo.length) {
      const larger = new Int32Array(this.#undo.length * 2);
      larger.set(this.#undo);
      this.#undo = larger;
    }
    this.#undo[this.#undoTop++] = word;
    this.#undo[this.#undoTop++] = old;
    this.#memoryHash1 = (this.#memoryHash1 + mix(word, now) - mix(word, old)) |
      0;
    this.#memoryHash2 = (this.#memoryHash2 + mix2(word, now) - mix2(word, old)) | 0;
    this.memory[word] = now;
    if (this.#usesSpin && this.#ghosts[word] === 0) this.#stir(agent);
  }

  #stir(agent: number): void {
    const { control } = this;
    const count = this.#count;
    for (let other = 0; other < count; other++) {
      if (other === agent) continue;
      const status = control[count + other]!;
      if ((status & 7) === SPINNING) control[count + other] = RUNNING;
      else if ((status & 7) < ENDED) control[count + other] = status | DIRTY;
    }
  }

  #release(agent: number, op: Op): void {
    this.observer?.access(agent, op, op.address, 1, true, false);
    this.#write(agent, op.address, 4, 0);
  }

  /** A bit for each latch that the agent holds. */
  #held(agent: number): number {
    const owner = this.#owners[agent];
    if (owner === undefined) return 0;
    let held = 0;
    for (let i = 0; i < this.#latches.length; i++) {
      if (this.memory[this.#latches[i]!] === owner) held |= 1 << i;
    }
    return held;
  }

  #note(agent: number, address: number, bytes: number, writes: boolean): void {
    const last = (address + bytes - 1) >> 2;
    const others = agent === CHECKER ? 0 : ~this.#held(agent);
    for (let word = address >> 2; word <= last; word++) {
      if ((this.#locksets[word]! & others) !== 0) {
        this.#locksets[word]! &= ~others;
        if ((this.latched[word]! & others) !== 0) this.grew = true;
      }
      if (this.conflicts[word] !== 0) continue;
      const accessed = this.#accessed[word]! | (1 << agent);
      this.#accessed[word] = accessed;
      if (writes) this.#written[word]! |= 1 << agent;
      if (this.#written[word] !== 0 && (accessed & (accessed - 1)) !== 0) this.grew = true;
    }
  }

  #atomic(agent: number, op: Op): number {
    const { address, size } = op;
    this.#note(agent, address, size, op.code !== LOAD);
    const old = this.#read(address, size, op.signed);
    let now = old;
    switch (op.code) {
      case LOAD:
        this.observer?.access(agent, op, address, 1, false, true);
        return old;
      case STORE:
        this.observer?.access(agent, op, address, 1, true, false);
        this.#write(agent, address, size, op.a);
        return op.a;
      case ADD:
        now = (old + op.a) | 0;
        break;
      case SUB:
        now = (old - op.a) | 0;
        break;
      case AND:
        now = old & op.a;
        break;
      case OR:
        now = old | op.a;
        break;
      case XOR:
        now = old ^ op.a;
        break;
      case EXCHANGE:
        now = op.a;
        break;
      case CAS: {
        const hit = old === convert(op.a, size, op.signed);
        this.observer?.access(agent, op, address, 1, hit, true);
        if (hit) this.#write(agent, address, size, op.b);
        return old;
      }
    }
    this.observer?.access(agent, op, address, 1, true, true);
    this.#write(agent, address, size, now);
    return old;
  }

  #plain(agent: number, op: Op): Value {
    const { address, size } = op;
    const ghost = this.#ghosts[address >> 2] === 1;
    const observer = ghost ? undefined : this.observer;
    switch (op.code) {
      case GET:
        if (!ghost) this.#note(agent, address, size, false);
        observer?.access(agent, op, address, 1, false, true);
        return this.#read(address, size, op.signed);
      case SET:
        if (!ghost) this.#note(agent, address, size, true);
        observer?.access(agent, op, address, 1, true, false);
        this.#write(agent, address, size, op.a);
        return undefined;
      case READ_RUN: {
        if (!ghost && op.a > 0) this.#note(agent, address, size * op.a, false);
        observer?.access(agent, op, address, op.a, false, true);
        const list: number[] = [];
        for (let i = 0; i < op.a; i++) {
          list.push(this.#read(address + i * size, size, op.signed));
        }
        return list;
      }
      case WRITE_RUN:
        if (!ghost && op.a > 0) this.#note(agent, address, size * op.a, true);
        observer?.access(agent, op, address, op.a, true, false);
        for (let i = 0; i < op.a; i++) {
          this.#write(agent, address + i * size, size, op.list![i]!);
        }
        return undefined;
      default: {
        if (op.a > 0) {
          this.#note(agent, op.b, size * op.a, false);
          this.#note(agent, address, size * op.a, true);
        }
        observer?.access(agent, op, op.b, op.a, false, true);
        observer?.access(agent, op, address, op.a, true, false);
        const list: number[] = [];
        for (let i = 0; i < op.a; i++) {
          list.push(this.#read(op.b + i * size, size, op.signed));
        }
        for (let i = 0; i < op.a; i++) {
          this.#write(agent, address + i * size, size, list[i]!);
        }
        return undefined;
      }
    }
  }

  // -- Wait lists: pairs of address and agent | ticket << 4, ordered by address, then by arrival --

  #enqueue(address: number, agent: number, ticket: number): void {
    const { control } = this;
    const base = this.#waiters + 1;
    const length = control[this.#waiters]!;
    if (length === MAX_WAITERS) {
      throw new Violation("endless", "More than 24 waiters");
    }
    let i = length;
    for (; i > 0 && control[base + 2 * i - 2]! > address; i--) {
      control[base + 2 * i] = control[base + 2 * i - 2]!;
      control[base + 2 * i + 1] = control[base + 2 * i - 1]!;
    }
    control[base + 2 * i] = address;
    control[base + 2 * i + 1] = agent | (ticket << 4);
    control[this.#waiters]!++;
  }

  #removeAt(i: number): void {
    const { control } = this;
    const base = this.#waiters + 1;
    const length = --control[this.#waiters]!;
    for (let j = i; j < length; j++) {
      control[base + 2 * j] = control[base + 2 * j + 2]!;
      control[base + 2 * j + 1] = control[base + 2 * j + 3]!;
    }
  }

  #leave(agent: number): void {
    const { control } = this;
    const base = this.#waiters + 1;
    for (let i = 0; i < control[this.#waiters]!; i++) {
      if (control[base + 2 * i + 1] === (agent | (15 << 4))) {
        return this.#removeAt(i);
      }
    }
  }

  #leaveAll(agent: number): void {
    const { control } = this;
    const base = this.#waiters + 1;
    for (let i = control[this.#waiters]! - 1; i >= 0; i--) {
      if ((control[base + 2 * i + 1]! & 15) === agent) this.#removeAt(i);
    }
  }

  #notify(agent: number, op: Op): void {
    const { control } = this;
    const count = this.#count;
    const base = this.#waiters + 1;
    const woken: number[] = [];
    let notified = 0;
    for (let i = 0; i < control[this.#waiters]! && notified < op.a;) {
      if (control[base + 2 * i] !== op.address) {
        i++;
        continue;
      }
      const who = control[base + 2 * i + 1]!;
      this.#removeAt(i);
      notified++;
      const sleeper = who & 15;
      const ticket = who >> 4;
      const status = control[count + sleeper]!;
      if ((status & 7) === DEAD) continue;
      this.observer?.edge(agent, sleeper);
      if (ticket === 15) {
        control[count + sleeper] = status & DIRTY;
        woken.push(sleeper);
      } else {
        control[2 * count + sleeper]! += 1 << (2 * ticket);
      }
    }
    this.#finishStep(agent, op, notified);
    for (const sleeper of woken) {
      const waiting = this.#nodes[control[sleeper]!]!.op;
      this.observer?.done(sleeper, waiting, STEP_OF, "ok");
      this.#advance(sleeper, "ok");
      this.#settle(sleeper);
    }
  }

  // -- What must hold --

  /** Runs the invariant. */
  checkInvariant(): void {
    const { invariant } = this.scenario;
    if (invariant !== undefined) {
      this.#check("invariant", () => invariant(this.shared));
    }
  }

  /** To be called when no move is left. */
  checkEnd(): void {
    const count = this.#count;
    const fates: Ending["fates"][number][] = [];
    const stuck: string[] = [];
    for (let agent = 0; agent < count; agent++) {
      const status = this.control[count + agent]! & 7;
      const { name, daemon } = this.agents[agent]!;
      if (status === DEAD) {
        fates.push("dead");
      } else if (status === ENDED) {
        fates.push("done");
      } else {
        fates.push("blocked");
        const op = this.#nodes[this.control[agent]!]!.op!;
        if (daemon && (op.code === DEATH || op.code === AWAIT)) continue;
        const { mayBlock } = this.scenario;
        let allowed: unknown = false;
        if (mayBlock !== undefined) {
          this.#check("mayBlock", () => {
            const asked: unknown = mayBlock(this.shared, agent);
            return (function* (): Steps {
              allowed = runtime.isSteps(asked) ? yield* asked : asked;
              return undefined;
            })();
          }, this.memory.slice());
        }
        if (!allowed) {
          stuck.push(`${name} in ${describeOp(this, op)} at ${describeSite(op.site)}`);
        }
      }
    }
    if (stuck.length > 0) {
      throw new Violation(
        "deadlock",
        `Nobody can go on, and blocked for ever: ${stuck.join("; ")}`,
      );
    }
    const { atEnd } = this.scenario;
    if (atEnd !== undefined) {
      this.#check("at the end", () => atEnd(this.shared, { fates }), this.memory.slice());
    }
  }

  #check(what: string, check: () => unknown, memory = this.memory): void {
    try {
      finish(check(), memory, (op) => {
        // What is checked where somebody dies must not be taken for private.
        const bytes = op.size * (op.code === READ_RUN ? op.a : 1);
        if (op.address >= 0 && bytes > 0 && this.#ghosts[op.address >> 2] === 0) {
          this.#note(CHECKER, op.address, bytes, false);
        }
      });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      throw new Violation("assertion", `${what}: ${text}`, { cause: error });
    }
  }

  /** Name of the place in memory. */
  describe(address: number): string {
    for (const { name, buffer } of this.buffers) {
      const offset = address - buffer.$base;
      if (offset < 0 || offset >= buffer.byteLength) continue;
      return offset % 4 === 0 ? `${name}[${offset / 4}]` : `${name}+${offset}`;
    }
    return `?${address}`;
  }
}

/** Address of the word of the table that has the id of a latch's owner, if that lives. */
function ownerAddress(op: Op, word: number): number {
  const [slots, length, mask] = op.list!;
  return slots! + ((word >> 2) & mask!) * length!;
}

function fresh(value: Value): Value {
  return typeof value === "object" ? [...value] : value;
}

/** Runs code to its end in one step, on the memory given. */
function finish(result: unknown, memory: Int32Array, seen?: (op: Op) => void): unknown {
  if (!runtime.isSteps(result)) return result;
  let value: Value;
  for (;;) {
    const next = result.next(value);
    if (next.done) return next.value;
    seen?.(next.value);
    value = atOnce(next.value, memory);
  }
}

function atOnce(op: Op, memory: Int32Array): Value {
  const { address, size, signed } = op;
  const read = (): number => readFrom(memory, address, size, signed);
  const write = (now: number): void => {
    memory[address >> 2] = merge(memory[address >> 2]!, address, size, now);
  };
  const old = address >= 0 ? read() : 0;
  switch (op.code) {
    case LOAD:
    case GET:
      return old;
    case STORE:
    case SET:
      write(op.a);
      return op.a;
    case EXCHANGE:
      write(op.a);
      return old;
    case ADD:
      write(old + op.a);
      return old;
    case SUB:
      write(old - op.a);
      return old;
    case AND:
      write(old & op.a);
      return old;
    case OR:
      write(old | op.a);
      return old;
    case XOR:
      write(old ^ op.a);
      return old;
    case CAS:
      if (old === convert(op.a, size, signed)) write(op.b);
      return old;
    case NOTIFY:
      return 0;
    case READ_RUN:
    case COPY_RUN: {
      const from = op.code === READ_RUN ? address : op.b;
      const list: number[] = [];
      for (let i = 0; i < op.a; i++) {
        list.push(readFrom(memory, from + i * size, size, signed));
      }
      if (op.code === READ_RUN) return list;
      return writeList(memory, address, size, list);
    }
    case WRITE_RUN:
      return writeList(memory, address, size, op.list!);
    case STEP:
    case SUMMARY:
      return undefined;
    case ACQUIRE:
      if (old !== 0 && memory[ownerAddress(op, old) >> 2] === old >> 2) {
        throw new Error("A latch is held");
      }
      write(op.a);
      return old;
    case RELEASE:
      write(0);
      return undefined;
    default:
      throw new Error(`Cannot "${NAMES[op.code]}" in code that runs in one step`);
  }
}

function writeList(
  memory: Int32Array,
  address: number,
  size: number,
  list: readonly number[],
): undefined {
  for (let i = 0; i < list.length; i++) {
    const to = address + i * size;
    memory[to >> 2] = merge(memory[to >> 2]!, to, size, list[i]!);
  }
  return undefined;
}

function readFrom(memory: Int32Array, address: number, size: number, signed: boolean): number {
  const word = memory[address >> 2]!;
  if (size === 4) return signed ? word : word >>> 0;
  return convert(word >> ((address & 3) * 8), size, signed);
}

function merge(old: number, address: number, size: number, value: number): number {
  if (size === 4) return value | 0;
  const shift = (address & 3) * 8;
  const mask = (size === 1 ? 0xff : 0xffff) << shift;
  return (old & ~mask) | ((value << shift) & mask);
}

function convert(value: number, size: number, signed: boolean): number {
  if (size === 4) return signed ? value | 0 : value >>> 0;
  const bits = 32 - size * 8;
  return signed ? (value << bits) >> bits : (value << bits) >>> bits;
}

/** `file:line`. */
export function describeSite(site: number): string {
  const { file, line } = sites[site]!;
  return `${file}:${line}`;
}

/** The operation with its operands. */
export function describeOp(machine: Machine, op: Op): string {
  const name = NAMES[op.code]!;
  if (op.address < 0) return op.code === CHOOSE ? `choose(${op.a})` : name;
  const where = machine.describe(op.address);
  switch (op.code) {
    case LOAD:
    case GET:
      return `${name} ${where}`;
    case CAS:
      return `${name} ${where} ${op.a} -> ${op.b}`;
    case WAIT:
      return `${name} ${where} while ${op.a}${op.b === Infinity ? "" : `, ${op.b} ms`}`;
    case WAIT_ASYNC:
      return `${name} ${where} while ${op.a}`;
    case NOTIFY:
      return `${name} ${where}${op.a === Infinity ? "" : ` ${op.a}`}`;
    case READ_RUN:
    case WRITE_RUN:
    case COPY_RUN:
      return `${name} ${op.a} x ${op.size} bytes at ${where}`;
    default:
      return `${name} ${where} ${op.a}`;
  }
}
