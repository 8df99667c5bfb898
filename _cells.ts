// Copyright 2026 the Sabre authors. MIT license.

// Cells: elements of one kind in shared memory, each read and changed atomically. What has no atomic
// operation in the engine goes through the integers of the same width.

import { show } from "./_options.ts";

/**
 * What a shared value or an element of a shared array is: integers by sign and width, floats by width,
 * and booleans.
 *
 * @example
 * ```ts
 * import { type Kind, SharedValue } from "@sabre/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const kind: Kind = "u8";
 * assertEquals(new SharedValue(kind, 257).value, 1);
 * ```
 */
export type Kind =
  | "i8"
  | "u8"
  | "i16"
  | "u16"
  | "i32"
  | "u32"
  | "i64"
  | "u64"
  | "f32"
  | "f64"
  | "bool";

/**
 * The JavaScript type of a kind: `bigint` for 64-bit integers, `boolean` for `"bool"`, else `number`.
 *
 * @typeParam K The kind.
 * @example
 * ```ts
 * import type { KindValue } from "@sabre/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const value: KindValue<"i64"> = 1n;
 * assertEquals(typeof value, "bigint");
 * ```
 */
export type KindValue<K extends Kind> = K extends "i64" | "u64" ? bigint
  : K extends "bool" ? boolean
  : number;

/**
 * The view of a shared array's memory.
 *
 * @typeParam K The kind of the elements.
 * @example
 * ```ts
 * import { type KindView, SharedArray } from "@sabre/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const view: KindView<"f32"> = new SharedArray("f32", 2).view;
 * assertEquals(view.length, 2);
 * ```
 */
export type KindView<K extends Kind> = K extends "i8" ? Int8Array<SharedArrayBuffer>
  : K extends "u8" | "bool" ? Uint8Array<SharedArrayBuffer>
  : K extends "i16" ? Int16Array<SharedArrayBuffer>
  : K extends "u16" ? Uint16Array<SharedArrayBuffer>
  : K extends "i32" ? Int32Array<SharedArrayBuffer>
  : K extends "u32" ? Uint32Array<SharedArrayBuffer>
  : K extends "i64" ? BigInt64Array<SharedArrayBuffer>
  : K extends "u64" ? BigUint64Array<SharedArrayBuffer>
  : K extends "f32" ? Float32Array<SharedArrayBuffer>
  : Float64Array<SharedArrayBuffer>;

/** All kinds, in the order of the codes by which they are known in memory. */
export const KINDS: readonly Kind[] = [
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "i64",
  "u64",
  "f32",
  "f64",
  "bool",
];

/** Atomic access to elements of one kind. Every operation returns what was there before. */
export interface Cells<T> {
  /** The same memory, for plain access. */
  readonly view: ArrayBufferView<SharedArrayBuffer>;
  /** The value if it is one of this kind; throws otherwise. */
  check(value: unknown, action: string): T;
  load(index: number): T;
  store(index: number, value: T): void;
  exchange(index: number, value: T): T;
  compareExchange(index: number, expected: T, value: T): T;
  add(index: number, value: T): T;
  sub(index: number, value: T): T;
}

/** Bytes of one element of the kind. */
export function bytesOf(kind: Kind): number {
  return kind === "bool" ? 1 : Number.parseInt(kind.slice(1)) / 8;
}

/** The cells of `length` elements of the kind at an offset. */
export function cellsAt(
  kind: Kind,
  memory: SharedArrayBuffer,
  offset: number,
  length: number,
): Cells<unknown> {
  switch (kind) {
    case "i8":
      return new IntegerCells(kind, new Int8Array(memory, offset, length));
    case "u8":
      return new IntegerCells(kind, new Uint8Array(memory, offset, length));
    case "i16":
      return new IntegerCells(kind, new Int16Array(memory, offset, length));
    case "u16":
      return new IntegerCells(kind, new Uint16Array(memory, offset, length));
    case "i32":
      return new IntegerCells(kind, new Int32Array(memory, offset, length));
    case "u32":
      return new IntegerCells(kind, new Uint32Array(memory, offset, length));
    case "i64":
      return new BigCells(kind, new BigInt64Array(memory, offset, length));
    case "u64":
      return new BigCells(kind, new BigUint64Array(memory, offset, length));
    case "f32":
      return new SingleCells(memory, offset, length);
    case "f64":
      return new DoubleCells(memory, offset, length);
    case "bool":
      return new BooleanCells(memory, offset, length);
  }
}

type IntegerView =
  | Int8Array<SharedArrayBuffer>
  | Uint8Array<SharedArrayBuffer>
  | Int16Array<SharedArrayBuffer>
  | Uint16Array<SharedArrayBuffer>
  | Int32Array<SharedArrayBuffer>
  | Uint32Array<SharedArrayBuffer>;

class IntegerCells implements Cells<number> {
  readonly view: IntegerView;
  readonly #kind: Kind;

  constructor(kind: Kind, view: IntegerView) {
    this.#kind = kind;
    this.view = view;
  }

  check(value: unknown, action: string): number {
    if (typeof value !== "number") throw wrongType(action, this.#kind, "a number", value);
    if (!Number.isInteger(value)) {
      throw new RangeError(
        `Cannot ${action} of kind "${this.#kind}" as an integer is needed: current value is ${value}`,
      );
    }
    return value;
  }

  load(index: number): number {
    return Atomics.load(this.view, index);
  }

  store(index: number, value: number): void {
    Atomics.store(this.view, index, value);
  }

  exchange(index: number, value: number): number {
    return Atomics.exchange(this.view, index, value);
  }

  compareExchange(index: number, expected: number, value: number): number {
    return Atomics.compareExchange(this.view, index, expected, value);
  }

  add(index: number, value: number): number {
    return Atomics.add(this.view, index, value);
  }

  sub(index: number, value: number): number {
    return Atomics.sub(this.view, index, value);
  }
}

type BigView = BigInt64Array<SharedArrayBuffer> | BigUint64Array<SharedArrayBuffer>;

class BigCells implements Cells<bigint> {
  readonly view: BigView;
  readonly #kind: Kind;

  constructor(kind: Kind, view: BigView) {
    this.#kind = kind;
    this.view = view;
  }

  check(value: unknown, action: string): bigint {
    if (typeof value !== "bigint") throw wrongType(action, this.#kind, "a bigint", value);
    return value;
  }

  load(index: number): bigint {
    return Atomics.load(this.view, index);
  }

  store(index: number, value: bigint): void {
    Atomics.store(this.view, index, value);
  }

  exchange(index: number, value: bigint): bigint {
    return Atomics.exchange(this.view, index, value);
  }

  compareExchange(index: number, expected: bigint, value: bigint): bigint {
    return Atomics.compareExchange(this.view, index, expected, value);
  }

  add(index: number, value: bigint): bigint {
    return Atomics.add(this.view, index, value);
  }

  sub(index: number, value: bigint): bigint {
    return Atomics.sub(this.view, index, value);
  }
}

const single = new Float32Array(1);
const singleBits = new Int32Array(single.buffer);
const double = new Float64Array(1);
const doubleBits = new BigInt64Array(double.buffer);

class SingleCells implements Cells<number> {
  readonly view: Float32Array<SharedArrayBuffer>;
  readonly #bits: Int32Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer, offset: number, length: number) {
    this.view = new Float32Array(memory, offset, length);
    this.#bits = new Int32Array(memory, offset, length);
  }

  check(value: unknown, action: string): number {
    if (typeof value !== "number") throw wrongType(action, "f32", "a number", value);
    return Math.fround(value);
  }

  load(index: number): number {
    singleBits[0] = Atomics.load(this.#bits, index);
    return single[0]!;
  }

  store(index: number, value: number): void {
    single[0] = value;
    Atomics.store(this.#bits, index, singleBits[0]!);
  }

  exchange(index: number, value: number): number {
    single[0] = value;
    singleBits[0] = Atomics.exchange(this.#bits, index, singleBits[0]!);
    return single[0]!;
  }

  compareExchange(index: number, expected: number, value: number): number {
    for (;;) {
      const bits = Atomics.load(this.#bits, index);
      singleBits[0] = bits;
      const current = single[0]!;
      if (!Object.is(current, expected)) return current;
      single[0] = value;
      if (Atomics.compareExchange(this.#bits, index, bits, singleBits[0]!) === bits) return current;
    }
  }

  add(index: number, value: number): number {
    for (;;) {
      const bits = Atomics.load(this.#bits, index);
      singleBits[0] = bits;
      const current = single[0]!;
      single[0] = current + value;
      if (Atomics.compareExchange(this.#bits, index, bits, singleBits[0]!) === bits) return current;
    }
  }

  sub(index: number, value: number): number {
    return this.add(index, -value);
  }
}

class DoubleCells implements Cells<number> {
  readonly view: Float64Array<SharedArrayBuffer>;
  readonly #bits: BigInt64Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer, offset: number, length: number) {
    this.view = new Float64Array(memory, offset, length);
    this.#bits = new BigInt64Array(memory, offset, length);
  }

  check(value: unknown, action: string): number {
    if (typeof value !== "number") throw wrongType(action, "f64", "a number", value);
    return value;
  }

  load(index: number): number {
    doubleBits[0] = Atomics.load(this.#bits, index);
    return double[0]!;
  }

  store(index: number, value: number): void {
    double[0] = value;
    Atomics.store(this.#bits, index, doubleBits[0]!);
  }

  exchange(index: number, value: number): number {
    double[0] = value;
    doubleBits[0] = Atomics.exchange(this.#bits, index, doubleBits[0]!);
    return double[0]!;
  }

  compareExchange(index: number, expected: number, value: number): number {
    for (;;) {
      const bits = Atomics.load(this.#bits, index);
      doubleBits[0] = bits;
      const current = double[0]!;
      if (!Object.is(current, expected)) return current;
      double[0] = value;
      if (Atomics.compareExchange(this.#bits, index, bits, doubleBits[0]!) === bits) return current;
    }
  }

  add(index: number, value: number): number {
    for (;;) {
      const bits = Atomics.load(this.#bits, index);
      doubleBits[0] = bits;
      const current = double[0]!;
      double[0] = current + value;
      if (Atomics.compareExchange(this.#bits, index, bits, doubleBits[0]!) === bits) return current;
    }
  }

  sub(index: number, value: number): number {
    return this.add(index, -value);
  }
}

class BooleanCells implements Cells<boolean> {
  readonly view: Uint8Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer, offset: number, length: number) {
    this.view = new Uint8Array(memory, offset, length);
  }

  check(value: unknown, action: string): boolean {
    if (typeof value !== "boolean") throw wrongType(action, "bool", "a boolean", value);
    return value;
  }

  load(index: number): boolean {
    return Atomics.load(this.view, index) !== 0;
  }

  store(index: number, value: boolean): void {
    Atomics.store(this.view, index, value ? 1 : 0);
  }

  exchange(index: number, value: boolean): boolean {
    return Atomics.exchange(this.view, index, value ? 1 : 0) !== 0;
  }

  compareExchange(index: number, expected: boolean, value: boolean): boolean {
    for (;;) {
      // The view may hold any byte: all but 0 are true.
      const byte = Atomics.load(this.view, index);
      if ((byte !== 0) !== expected) return byte !== 0;
      if (Atomics.compareExchange(this.view, index, byte, value ? 1 : 0) === byte) return expected;
    }
  }

  add(): never {
    throw notNumeric("add to");
  }

  sub(): never {
    throw notNumeric("subtract from");
  }
}

function wrongType(action: string, kind: Kind, needed: string, value: unknown): TypeError {
  return new TypeError(
    `Cannot ${action} of kind "${kind}" as ${needed} is needed: current value is ${show(value)}`,
  );
}

function notNumeric(action: string): TypeError {
  return new TypeError(`Cannot ${action} a value of kind "bool": it is not numeric`);
}
