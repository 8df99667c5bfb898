// Copyright 2026 the Sabre authors. MIT license.

// What transformed code sees: views on the model's memory, the hooks that make operations of what the
// code does, and the reports of its local state.

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
  LOAD,
  makeOp,
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
  TURN,
  type Value,
  WAIT,
  WAIT_ASYNC,
  WRITE_RUN,
  XOR,
} from "./operations.ts";
import type { Scenario } from "./scenario.ts";

// -- Memory as the code sees it ------------------------------------------------------------------

const KINDS: Readonly<Record<string, readonly [number, boolean]>> = {
  Int8Array: [1, true],
  Uint8Array: [1, false],
  Int16Array: [2, true],
  Uint16Array: [2, false],
  Int32Array: [4, true],
  Uint32Array: [4, false],
};
const REAL: Readonly<Record<string, new (...args: never[]) => object>> = {
  Int8Array,
  Uint8Array,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  Uint8ClampedArray,
  DataView,
};

/** Stands for a SharedArrayBuffer. */
export class ModelBuffer {
  readonly byteLength: number;
  readonly $base: number;
  readonly $ghost: boolean;

  constructor(byteLength: number, ghost = false) {
    const { heap } = host;
    if (heap === undefined) {
      throw new Error("Cannot allocate shared memory outside of setup");
    }
    this.byteLength = byteLength;
    this.$base = heap.bytes;
    this.$ghost = ghost;
    heap.bytes += (byteLength + 7) & ~7;
    if (heap.bytes > MAX_BYTES) throw new RangeError(`A scenario has ${MAX_BYTES} bytes at most`);
    heap.buffers.push({
      name: ghost ? "oracle" : `m${heap.buffers.length}`,
      buffer: this,
    });
    Object.freeze(this);
  }

  slice(): never {
    throw new Error("Cannot copy shared memory past the transform");
  }
}

/** Stands for a typed array on shared memory. Whatever reaches it unhooked fails or finds nothing. */
export class ModelView {
  readonly buffer: ModelBuffer;
  readonly byteOffset: number;
  readonly length: number;
  readonly byteLength: number;
  readonly BYTES_PER_ELEMENT: number;
  readonly $kind: string;
  readonly $signed: boolean;
  readonly $base: number;

  constructor(kind: string, buffer: ModelBuffer, byteOffset = 0, length?: number) {
    const shape = KINDS[kind];
    if (shape === undefined) {
      throw new TypeError(`The explorer knows no shared ${kind}`);
    }
    const size = shape[0];
    const count = length ?? Math.floor((buffer.byteLength - byteOffset) / size);
    if (byteOffset % size !== 0) {
      throw new RangeError("start offset is not aligned");
    }
    if (byteOffset < 0 || count < 0 || byteOffset + count * size > buffer.byteLength) {
      throw new RangeError("Invalid typed array length");
    }
    this.buffer = buffer;
    this.byteOffset = byteOffset;
    this.length = count;
    this.byteLength = count * size;
    this.BYTES_PER_ELEMENT = size;
    this.$kind = kind;
    this.$signed = shape[1];
    this.$base = buffer.$base + byteOffset;
    Object.freeze(this);
  }

  subarray(begin = 0, end = this.length): ModelView {
    const first = clampIndex(begin, this.length);
    const last = Math.max(first, clampIndex(end, this.length));
    const offset = this.byteOffset + first * this.BYTES_PER_ELEMENT;
    return new ModelView(this.$kind, this.buffer, offset, last - first);
  }

  [Symbol.iterator](): never {
    throw new Error("Cannot iterate over shared memory past the transform");
  }

  [Symbol.toPrimitive](): never {
    throw new Error("Cannot convert a shared view past the transform");
  }
}

function clampIndex(index: number, length: number): number {
  return index < 0 ? Math.max(0, length + index) : Math.min(index, length);
}

/** How much memory a scenario can have. */
export const MAX_BYTES = 1 << 20;

export interface Heap {
  bytes: number;
  readonly buffers: { name: string; readonly buffer: ModelBuffer }[];
}

/** What the running generator talks to. One thread, so one variable. */
export const host: { heap: Heap | undefined; run: AgentRun | undefined } = {
  heap: undefined,
  run: undefined,
};

// -- What transformed code calls ---------------------------------------------------------------

/** A transformed function at work. */
export type Steps = Generator<Op, unknown, Value>;
type Frame = (() => unknown[]) | null;

function at(view: unknown, index: number, call: string): number {
  if (!(view instanceof ModelView)) {
    throw new TypeError(`Atomics.${call} on memory that is not shared in the model`);
  }
  if (!(index >= 0 && index < view.length)) {
    throw new RangeError(`Atomics.${call}: index ${index} is outside of 0..${view.length - 1}`);
  }
  return view.$base + index * view.BYTES_PER_ELEMENT;
}

const ATOMICS: Readonly<Record<string, number>> = {
  load: LOAD,
  store: STORE,
  add: ADD,
  sub: SUB,
  and: AND,
  or: OR,
  xor: XOR,
  exchange: EXCHANGE,
  compareExchange: CAS,
  wait: WAIT,
  notify: NOTIFY,
  waitAsync: WAIT_ASYNC,
};

/** The names of `Atomics` that the transform may rewrite. */
export const KNOWN_ATOMICS: ReadonlySet<string> = new Set(Object.keys(ATOMICS));

/** The methods of typed arrays that touch elements and have a hook. */
export const VIEW_METHODS: ReadonlySet<string> = new Set(["set", "fill", "copyWithin", "slice"]);

/** The `$` of transformed modules. */
export const runtime = {
  SharedArrayBuffer: ModelBuffer,

  /** An operation of `Atomics`. */
  atomic(site: number, name: string, view: ModelView, index: number, a?: number, b?: number): Op {
    const code = ATOMICS[name]!;
    const address = at(view, index, name);
    const size = view.BYTES_PER_ELEMENT;
    let first = a ?? (name === "notify" ? Infinity : 0);
    if (code !== NOTIFY) first |= 0;
    const waits = code === WAIT || code === WAIT_ASYNC;
    let second = waits ? b ?? Infinity : (b ?? 0) | 0;
    if (Number.isNaN(second)) second = Infinity;
    return makeOp(code, address, size, view.$signed, first, second, site);
  },

  /** What `Atomics.waitAsync` returns. */
  ticket(value: Value): { async: boolean; value: unknown } {
    if (typeof value === "string") return { async: false, value };
    return { async: true, value: new ModelTicket(value as number) };
  },

  isView(value: unknown): value is ModelView {
    return value instanceof ModelView;
  },

  get(site: number, view: ModelView, index: number): Op {
    if (!(index >= 0 && index < view.length)) {
      throw new RangeError(`Read of element ${index} of a shared view of ${view.length}`);
    }
    const size = view.BYTES_PER_ELEMENT;
    return makeOp(GET, view.$base + index * size, size, view.$signed, 0, 0, site);
  },

  set(site: number, view: ModelView, index: number, value: number): Op {
    if (!(index >= 0 && index < view.length)) {
      throw new RangeError(`Write of element ${index} of a shared view of ${view.length}`);
    }
    const size = view.BYTES_PER_ELEMENT;
    return makeOp(SET, view.$base + index * size, size, view.$signed, value | 0, 0, site);
  },

  /** Lets through what is not shared: the guard where a hook is impossible. */
  plain<T>(value: T): T {
    if (value instanceof ModelView) {
      throw new Error("Shared memory is touched past the transform");
    }
    return value;
  },

  isSteps(value: unknown): value is Steps {
    return typeof value === "object" && value !== null &&
      (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] ===
        "Generator";
  },

  /** What a call gave that is not known to yield. */
  whole<T>(value: T): T {
    if (runtime.isSteps(value)) {
      throw new Error("A call that touches shared memory was not rewritten");
    }
    return value;
  },

  /** Ends at once what cannot yield where it stands, if it touches nothing shared. */
  atOnce(value: unknown): unknown {
    if (!runtime.isSteps(value)) return value;
    for (;;) {
      const next = value.next(undefined);
      if (next.done) return next.value;
      if (next.value.code !== SUMMARY) {
        const { file, line } = sites[next.value.site]!;
        throw new Error(`${file}:${line} touches shared memory where the explorer cannot stop`);
      }
    }
  },

  /** A call of a method that typed arrays have as well. */
  *method(site: number, target: unknown, name: string, args: unknown[]): Steps {
    if (target instanceof ModelView) {
      return yield* viewMethod(site, target, name, args);
    }
    const source = args[0];
    if (name === "set" && source instanceof ModelView) {
      (target as Int32Array).set(
        (yield readRun(site, source, 0, source.length)) as number[],
        args[1] as number,
      );
      return undefined;
    }
    const result = (target as Record<string, (...args: unknown[]) => unknown>)[name]!(...args);
    return runtime.isSteps(result) ? yield* result : result;
  },

  /** `new` of a typed array. */
  make(kind: string, args: unknown[]): object {
    if (args[0] instanceof ModelBuffer) {
      return new ModelView(kind, args[0], args[1] as number, args[2] as number);
    }
    if (args[0] instanceof ModelView) {
      throw new Error(`Shared memory is copied past the transform by "new ${kind}"`);
    }
    return new REAL[kind]!(...args as never[]);
  },

  push(frame: Frame): void {
    host.run?.frames.push(frame);
  },

  pop<T>(value: T): T {
    host.run?.frames.pop();
    return value;
  },

  depth(): number {
    return host.run?.frames.length ?? 0;
  },

  unwind(depth: number): void {
    if (host.run !== undefined) host.run.frames.length = depth;
  },

  /** At a loop head: the local state in full, if it can be told. */
  head(site: number, locals: () => unknown[]): Op {
    return makeOp(SUMMARY, -1, 0, true, 0, 0, site, undefined, host.run?.report(locals));
  },

  /** Code that the transform refused. */
  refuse(reason: string): never {
    throw new Error(`This code is outside of what the explorer understands: ${reason}`);
  },

  /** Top-level functions, classes and symbols: these are told apart by name. */
  known(file: string, values: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(values)) {
      if (typeof value === "function" || typeof value === "symbol") {
        knownValues.set(value as object, `${file}#${name}`);
      }
    }
  },

  /** An arrow function, with what it closes over. */
  closure<T extends object>(value: T, locals: () => unknown[]): T {
    closures.set(value, locals);
    return value;
  },

  /** An arrow function that a class declares as a field. */
  field<T extends object>(value: T): T {
    fieldFunctions.add(value);
    return value;
  },

  /** Makes the constants of a module that all agents share immutable. */
  freeze(value: unknown): void {
    deepFreeze(value);
  },

  // -- What scenario.ts declares --

  step: (site: number): Op => makeOp(STEP, -1, 0, true, 0, 0, site),
  choose: (site: number, n: number): Op => makeOp(CHOOSE, -1, 0, true, n, 0, site),
  clock: (site: number): Op => makeOp(CLOCK, -1, 0, true, 0, 0, site),
  spin: (site: number): Op => makeOp(SPIN, -1, 0, true, 0, 0, site),
  awaitDeath: (site: number): Op => makeOp(DEATH, -1, 0, true, 0, 0, site),
  awaitTicket(site: number, ticket: ModelTicket): Op {
    return makeOp(TURN, -1, 0, true, ticket.$number, 0, site);
  },
  acquireLatch(
    site: number,
    view: ModelView,
    index: number,
    mine: number,
    table: ModelView,
    slots: number,
    length: number,
    mask: number,
  ): Op {
    const list = [table.$base + slots * 4, length * 4, mask];
    return makeOp(ACQUIRE, at(view, index, "acquire"), 4, true, mine, 0, site, list);
  },
  releaseLatch: (site: number, view: ModelView, index: number): Op =>
    makeOp(RELEASE, at(view, index, "release"), 4, true, 0, 0, site),
  summary(site: number, label: string, ...live: unknown[]): Op {
    const key = new Reporter().report([label, live]);
    return makeOp(SUMMARY, -1, 0, true, 0, 0, site, undefined, key);
  },
  oracle(_site: number, words: number): ModelView {
    return new ModelView("Int32Array", new ModelBuffer(words * 4, true));
  },
  named(_site: number, name: string, buffer: ModelBuffer): ModelBuffer {
    const entry = host.heap?.buffers.find((each) => each.buffer === buffer);
    if (entry !== undefined) entry.name = name;
    return buffer;
  },
  task(_site: number, run: (...args: unknown[]) => unknown, ...args: unknown[]): void {
    if (host.run === undefined) {
      throw new Error("Cannot start a task outside of an agent");
    }
    host.run.spawn(() => run(...args), -1);
  },
};

/** The intrinsics that yield: the others are calls. */
export const YIELDING: ReadonlySet<string> = new Set([
  "step",
  "choose",
  "spin",
  "awaitDeath",
  "awaitTicket",
  "summary",
  "acquireLatch",
  "releaseLatch",
]);
/** Intrinsics that are calls. */
export const CALLING: ReadonlySet<string> = new Set(["oracle", "named", "task"]);

function readRun(site: number, view: ModelView, first: number, count: number): Op {
  const size = view.BYTES_PER_ELEMENT;
  return makeOp(READ_RUN, view.$base + first * size, size, view.$signed, count, 0, site);
}

function writeRun(site: number, view: ModelView, first: number, list: readonly number[]): Op {
  const size = view.BYTES_PER_ELEMENT;
  if (first < 0 || first + list.length > view.length) {
    throw new RangeError("offset is out of bounds");
  }
  const address = view.$base + first * size;
  return makeOp(WRITE_RUN, address, size, view.$signed, list.length, 0, site, list);
}

function copyRun(
  site: number,
  target: ModelView,
  first: number,
  source: ModelView,
  from: number,
  count: number,
): Op {
  const size = target.BYTES_PER_ELEMENT;
  if (source.$kind !== target.$kind) {
    throw new Error("Copies between kinds of views are not modelled");
  }
  if (first < 0 || first + count > target.length) {
    throw new RangeError("offset is out of bounds");
  }
  const address = target.$base + first * size;
  const b = source.$base + from * size;
  return makeOp(COPY_RUN, address, size, target.$signed, count, b, site);
}

function* viewMethod(site: number, view: ModelView, name: string, args: unknown[]): Steps {
  const { length } = view;
  switch (name) {
    case "set": {
      const source = args[0];
      const first = (args[1] as number | undefined) ?? 0;
      if (source instanceof ModelView) {
        yield copyRun(site, view, first, source, 0, source.length);
      } else {yield writeRun(
          site,
          view,
          first,
          Array.from(source as ArrayLike<number>),
        );}
      return undefined;
    }
    case "fill": {
      const first = clampIndex((args[1] as number | undefined) ?? 0, length);
      const last = clampIndex((args[2] as number | undefined) ?? length, length);
      const list = new Array(Math.max(0, last - first)).fill(args[0] as number);
      yield writeRun(site, view, first, list);
      return view;
    }
    case "copyWithin": {
      const target = clampIndex(args[0] as number, length);
      const first = clampIndex(args[1] as number, length);
      const last = clampIndex((args[2] as number | undefined) ?? length, length);
      const count = Math.max(0, Math.min(last - first, length - target));
      yield copyRun(site, view, target, view, first, count);
      return view;
    }
    case "slice": {
      const first = clampIndex((args[0] as number | undefined) ?? 0, length);
      const last = clampIndex((args[1] as number | undefined) ?? length, length);
      const values = yield readRun(site, view, first, Math.max(0, last - first));
      return new REAL[view.$kind]!(values as never);
    }
    default:
      throw new Error(`No hook for the method "${name}" of a shared view`);
  }
}

/** The promise of a `waitAsync`. */
class ModelTicket {
  readonly $number: number;

  constructor(number: number) {
    this.$number = number;
    Object.freeze(this);
  }

  /** As of a promise, but for what it returns. */
  then(run: (value: string) => unknown): void {
    host.run!.spawn(() => run("ok"), this.$number);
  }
}

/** Freezes what agents share, so that nothing but memory can connect them. */
export function deepFreeze(value: unknown): void {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) {
    return;
  }
  if (ArrayBuffer.isView(value)) return;
  Object.freeze(value);
  for (const key of Reflect.ownKeys(value)) {
    deepFreeze((value as Record<PropertyKey, unknown>)[key]);
  }
}

// -- Reports of local state ----------------------------------------------------------------------

/** Arrow functions that classes declare as fields: they close over `this` alone. */
const fieldFunctions = new WeakSet<object>();
/** Functions, classes and symbols by name. Programs are made again and again, so they are held weakly. */
const knownValues = new WeakMap<object, string>();
const closures = new WeakMap<object, () => unknown[]>();

/** Stands for a WeakMap: a report can look into it. */
export class VisibleMap extends Map {}
/** Stands for a WeakSet. */
export class VisibleSet extends Set {}
/** Stands for a WeakRef: nothing is collected during a run. */
export class VisibleRef {
  readonly target: unknown;

  constructor(target: unknown) {
    this.target = target;
  }

  deref(): unknown {
    return this.target;
  }
}
/** Stands for a FinalizationRegistry. */
export class VisibleRegistry {
  register(): void {}
  unregister(): void {}
}
knownValues.set(VisibleRef, "WeakRef");
knownValues.set(VisibleRegistry, "FinalizationRegistry");

const OPAQUE = Symbol("opaque");

/** Writes values down so that equal text means equal behaviour. */
class Reporter {
  readonly #seen = new Map<object, number>();
  #text = "";

  report(values: readonly unknown[]): string | undefined {
    try {
      this.#put(values);
      return this.#text;
    } catch (error) {
      if (error === OPAQUE || error instanceof ReferenceError) return undefined;
      throw error;
    }
  }

  #put(value: unknown): void {
    switch (typeof value) {
      case "number":
        this.#text += Object.is(value, -0) ? "-0," : `${value},`;
        return;
      case "string":
        this.#text += `${JSON.stringify(value)},`;
        return;
      case "undefined":
      case "boolean":
        this.#text += `${value},`;
        return;
      case "bigint":
        this.#text += `${value}n,`;
        return;
      case "function": {
        const name = knownValues.get(value);
        if (name !== undefined) {
          this.#text += `${name},`;
          return;
        }
        const locals = closures.get(value);
        if (locals === undefined) throw OPAQUE;
        const seen = this.#seen.get(value);
        if (seen !== undefined) {
          this.#text += `^${seen},`;
          return;
        }
        this.#seen.set(value, this.#seen.size);
        return this.#putAll("closure(", locals(), ")");
      }
      case "symbol": {
        const name = knownValues.get(value as never);
        if (name === undefined) throw OPAQUE;
        this.#text += `${name},`;
        return;
      }
    }
    if (value === null) this.#text += "null,";
    else this.#putObject(value as object);
  }

  #putObject(value: object): void {
    const seen = this.#seen.get(value);
    if (seen !== undefined) {
      this.#text += `^${seen},`;
      return;
    }
    this.#seen.set(value, this.#seen.size);
    if (value instanceof ModelView) {
      this.#text += `${value.$kind}@${value.$base}+${value.length},`;
      return;
    }
    if (value instanceof ModelBuffer) {
      this.#text += `buffer@${value.$base},`;
      return;
    }
    if (value instanceof ModelTicket) {
      this.#text += `ticket${value.$number},`;
      return;
    }
    if (Array.isArray(value)) return this.#putAll("[", value, "]");
    if (value instanceof Map) {
      return this.#putAll("Map(", [...value].flat(), ")");
    }
    if (value instanceof Set) return this.#putAll("Set(", [...value], ")");
    if (value instanceof ArrayBuffer) {
      // Its views share it, so that it must be told apart from others, and written down once.
      return this.#put(new Uint8Array(value));
    }
    if (value instanceof Error) {
      this.#text += `${value.name}:${JSON.stringify(value.message)},`;
      return;
    }
    if (ArrayBuffer.isView(value)) {
      if (value instanceof DataView) throw OPAQUE;
      // Buffers are large and mostly zero.
      const elements = [...value as Int32Array];
      let end = elements.length;
      while (end > 0 && elements[end - 1] === 0) end--;
      return this.#putAll(
        `${value.constructor.name}${elements.length}(`,
        elements.slice(0, end),
        ")",
      );
    }
    const proto = Object.getPrototypeOf(value);
    const plain = proto === Object.prototype || proto === null;
    const name = plain ? "" : String(proto.constructor?.name);
    // Host objects keep what they know to themselves. A class of the code under test shows all its
    // fields, since the transform makes private names public.
    if (!plain && !knownValues.has(proto.constructor)) throw OPAQUE;
    this.#text += `${name}{`;
    for (const key of Object.keys(value)) {
      const field = (value as Record<string, unknown>)[key];
      if (typeof field === "function" && fieldFunctions.has(field)) continue;
      this.#text += `${key}:`;
      this.#put(field);
    }
    this.#text += "}";
  }

  #putAll(open: string, values: readonly unknown[], close: string): void {
    this.#text += open;
    for (const value of values) this.#put(value);
    this.#text += close;
  }
}

// -- One run of one agent ------------------------------------------------------------------------

interface Task {
  start: (() => unknown) | undefined;
  steps: Steps | undefined;
  frames: Frame[];
  /** The ticket that it awaits, -1: it can go on. */
  ticket: number;
}

/** A program that can be started again and again. */
export interface Program {
  readonly scenario: Scenario<unknown>;
  /** Whether `spin` is called anywhere. */
  readonly spins: boolean;
  /** What the modules keep at their top level, for reports. */
  readonly state: (() => unknown[]) | undefined;
}

/** The generators of one agent, from its start to where they stand. */
export class AgentRun {
  frames: Frame[] = [];
  /** Whether nobody wants reports, as it only gets back to where it was. */
  isReplayed = false;
  readonly #state: (() => unknown[]) | undefined;
  #tasks: Task[] = [];
  #current: Task | undefined;

  constructor(program: Program, agent: number, shared: unknown) {
    this.#state = program.state;
    const { run } = program.scenario.agents[agent]!;
    this.spawn(() => run(shared), -1);
  }

  spawn(start: () => unknown, ticket: number): void {
    this.#tasks.push({ start, steps: undefined, frames: [], ticket });
  }

  report(locals: () => unknown[]): string | undefined {
    if (this.isReplayed || this.#tasks.length !== 1) return undefined;
    const stack: unknown[] = [];
    try {
      for (const frame of this.frames) {
        if (frame === null) return undefined;
        stack.push(frame());
      }
      stack.push(locals());
      if (this.#state !== undefined) stack.push(this.#state());
    } catch (error) {
      // A variable that is in scope but not yet alive.
      if (error instanceof ReferenceError) return undefined;
      throw error;
    }
    return new Reporter().report(stack);
  }

  /** The next operation, `undefined` at the end of all tasks. */
  resume(value: Value): Op | undefined {
    const outer = host.run;
    host.run = this;
    try {
      return this.#resume(value);
    } finally {
      host.run = outer;
    }
  }

  #resume(value: Value): Op | undefined {
    let given: Value = value;
    for (;;) {
      let current = this.#current;
      if (current === undefined) {
        current = this.#tasks.find((each) => each.ticket < 0);
        if (current === undefined) {
          // The value names the ticket that was notified.
          if (typeof given === "number") {
            const ticket = given;
            current = this.#tasks.find((each) => each.ticket === ticket)!;
            current.ticket = -1;
            given = undefined;
          } else if (this.#tasks.length === 0) {
            return undefined;
          } else {
            const tickets = this.#tasks.map((each) => each.ticket);
            return makeOp(AWAIT, -1, 0, true, 0, 0, 0, tickets);
          }
        } else {
          given = undefined;
        }
        this.#current = current;
        this.frames = current.frames;
        if (current.start !== undefined) {
          const started = current.start();
          current.start = undefined;
          if (!runtime.isSteps(started)) {
            this.#finish(current);
            continue;
          }
          current.steps = started;
        }
      }
      const result = current.steps!.next(given);
      given = undefined;
      if (result.done) {
        this.#finish(current);
      } else if (result.value.code === TURN) {
        current.ticket = result.value.a;
        this.#current = undefined;
      } else {
        return result.value;
      }
    }
  }

  #finish(task: Task): void {
    this.#tasks = this.#tasks.filter((each) => each !== task);
    this.#current = undefined;
  }
}
