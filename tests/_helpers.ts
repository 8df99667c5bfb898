// Copyright 2026 the Sabre authors. MIT license.

// What several test files share: workers that are ended with the test, as the sanitizers of
// `deno test` do not see those that are not, and small conditions to wait for.

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

/** A worker that runs exported functions of one module, and is terminated at the end of the block. */
export class Agent implements Disposable {
  readonly #worker: Worker;
  readonly #module: string;
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  /** Resolves once the worker runs. */
  readonly ready: Promise<unknown>;
  #ids = 0;

  constructor(module: URL) {
    this.#module = module.href;
    this.ready = this.#expect(0);
    this.#worker = new Worker(new URL("./testdata/worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#settle(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      for (const id of this.#calls.keys()) this.#settle({ id, error: event.message });
    };
  }

  /** Runs the export `target` in the worker. Rejects if it throws there. */
  run<T = void>(target: string, ...args: unknown[]): Promise<T> {
    const id = ++this.#ids;
    const result = this.#expect(id);
    this.#worker.postMessage({ id, module: this.#module, target, args });
    return result as Promise<T>;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }

  #expect(id: number): Promise<unknown> {
    const call = Promise.withResolvers<unknown>();
    this.#calls.set(id, call);
    return call.promise;
  }

  #settle({ id, value, error }: Answer): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (error === undefined) call?.resolve(value);
    else call?.reject(new Error(`In the worker: ${error}`));
  }
}

/** Waits for a state that another agent brings about, one turn of the event loop after the other. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Whether a promise settles within a few turns of the event loop, which it gets in any case. */
export async function settlesSoon(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  promise.then(() => settled = true, () => settled = true);
  for (let i = 0; i < 8 && !settled; i++) await turn();
  return settled;
}

/** Keeps the thread busy, so that timers come due before anything else runs. */
export function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** The options that make a promise of a call end by an abort, and the abort. */
export function abortable(): { signal: AbortSignal; abort: (reason?: unknown) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}

/** A number generator with a seed, the same in every agent. */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    // Mulberry32, by Tommy Ettinger.
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes that tell a number, and are of no other one. */
export function patternOf(number: number, length: number): Uint8Array {
  const bytes = Uint8Array.from({ length: 4 + length }, (_, i) => number * 7 + i);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

/** Value number `index` of an endless list with every supported type in it; the same in every agent. */
export function mixedValue(index: number): unknown {
  const n = index * 7919;
  switch (index % 32) {
    case 0:
      return index;
    case 1:
      return index / 3;
    case 2:
      return -0;
    case 3:
      return NaN;
    case 4:
      return undefined;
    case 5:
      return null;
    case 6:
      return index % 64 === 6;
    case 7:
      return BigInt(n) ** BigInt(1 + index % 5);
    case 8:
      return `text ${index}`;
    case 9:
      return `\ud800 alone ${index} \u{1F600}`;
    case 10:
      return new Date(n);
    case 11:
      return new RegExp(`a${index}+`, "giu");
    case 12:
      return new Map<unknown, unknown>([[index, "a"], ["b", { c: index }]]);
    case 13:
      return new Set([index, "x", -1]);
    case 14:
      return new Uint8Array([index, index >> 8, 3]).buffer;
    case 15:
      return new Uint8Array(index % 50).fill(index);
    case 16:
      return new Float64Array([index, 0.5, -Infinity]);
    case 17:
      return new BigUint64Array([BigInt(index)]);
    case 18:
      return new DataView(new Uint8Array([1, 2, index]).buffer);
    case 19:
      return { id: index, name: `n${index}`, tags: ["a", "b"], at: { x: index / 7 } };
    case 20:
      return [1, , index];
    case 21:
      return Object.assign([index], { extra: "e" });
    case 22: {
      const cyclic: { id: number; self?: unknown } = { id: index };
      cyclic.self = cyclic;
      return cyclic;
    }
    case 23: {
      const shared = { s: index };
      return [shared, shared, new Map([[shared, shared]])];
    }
    case 24:
      return new RangeError(`error ${index}`, { cause: { code: index } });
    case 25:
      return Infinity;
    case 26:
      return "";
    case 27:
      return "x".repeat(index % 2_000);
    case 28:
      return 2 ** 31 + index;
    case 29:
      return Object(`boxed ${index}`);
    case 30:
      return new Int16Array([index, -1]).subarray(1);
    default:
      return [[], {}, [index, [index]]];
  }
}

/** A text that is the same for values that are the same, down to holes, classes and cycles. */
export function textOf(value: unknown): string {
  if (Object.is(value, -0)) return "-0";
  if (value instanceof Error) {
    return `${value.name} ${value.message} ${textOf(value.cause)} ${typeof value.stack}`;
  }
  return `${typeof value} ${
    Deno.inspect(value, { depth: 20, iterableLimit: 1e4, strAbbreviateSize: 1e4, compact: true })
  }`;
}

/** A checksum of a list of texts that does not depend on their order. */
export function digestOf(text: string): number {
  let hash = 0x811C9DC5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
