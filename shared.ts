// Copyright 2026 the Sabre authors. MIT license.

/**
 * Values and arrays in shared memory, which all agents read and change in place.
 *
 * - Every read and write of a value or an element is atomic: never torn, whatever its kind.
 * - `add`, `sub`, `exchange`, `compareExchange` and `update` are atomic as a whole. `value += 1` is
 *   not: it reads, then writes, and another agent may write in between. Use `add(1)`.
 * - For more than one element at a time there is `lock`, which all users of the memory have to take.
 * - Integers that are too large wrap, as in typed arrays; a fraction or `NaN` where an integer is
 *   needed is a `RangeError`, another type a `TypeError`.
 *
 * @example Count together
 * ```ts
 * import { SharedValue } from "@sabre/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const counter = new SharedValue("i32");
 * counter.add(1);
 * assertEquals(counter.value, 1);
 * ```
 *
 * @module
 */

import { home } from "./_agent.ts";
import {
  bytesOf,
  type Cells,
  cellsAt,
  type Kind,
  KINDS,
  type KindValue,
  type KindView,
} from "./_cells.ts";
import {
  createHandle,
  domainOf,
  existingOf,
  type Handle,
  handleOf,
  recall,
  registerKind,
  remember,
  serialAt,
} from "./_handle.ts";
import { PRIMITIVE } from "./_primitive.ts";
import { MUTEX_WORDS } from "./_mutex.ts";
import { show } from "./_options.ts";
import { type Guard, RLock } from "./lock.ts";

export type { Guard, Handle, Kind, KindValue, KindView };

// Byte layout of values and arrays.
//
//   0 header of the handle | 16 KIND | 20 LENGTH | 32 the value | 64 lock | DATA the elements
const KIND = 4; // code of the kind, in Int32 units. Written once before anybody else has the memory
const LENGTH = 5; // elements of an array, likewise
const VALUE = 32;
const LOCK = 64;
const DATA = Math.ceil((LOCK + MUTEX_WORDS * 4) / 128) * 128;

/**
 * One value in shared memory.
 *
 * - Any agent may read and change it, at any time; nothing here ever waits, except on `lock`.
 * - Reads and writes are atomic for every kind, and in one order for all agents.
 *
 * @typeParam K The kind of the value.
 * @example A float that many add to
 * ```ts
 * import { SharedValue } from "@sabre/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = new SharedValue("f64", 1.5);
 * assertEquals(sum.add(0.25), 1.5);
 * assertEquals(sum.value, 1.75);
 * ```
 */
export class SharedValue<K extends Kind> {
  /** What crosses to other agents; see {@linkcode SharedValue.from}. */
  readonly handle: Handle;
  readonly #cells: Cells<KindValue<K>>;
  readonly #kind: K;
  #lock: RLock | undefined;

  static {
    registerKind("SharedValue", (handle) => SharedValue.from(handle));
    Object.defineProperty(SharedValue.prototype, PRIMITIVE, { value: "SharedValue" });
  }

  /**
   * Creates a value.
   *
   * @param kind What it is.
   * @param initial What it holds; by default 0, `0n` or `false`.
   * @throws {RangeError} If an integer is needed and `initial` is none.
   * @throws {TypeError} If there is no such kind, or `initial` is of another type.
   * @example
   * ```ts
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new SharedValue("bool").value, false);
   * assertEquals(new SharedValue("u64", 1n).value, 1n);
   * ```
   */
  constructor(kind: K, initial?: KindValue<K>);
  constructor(kind: K, initial?: KindValue<K>, given?: Handle) {
    const existing = existingOf(given);
    this.#kind = existing === undefined ? checkKind(kind, "create SharedValue") : kind;
    if (initial !== undefined) {
      // Before anything is made of it.
      cellsAt(kind, new SharedArrayBuffer(8), 0, 1).check(initial, "create SharedValue");
    }
    this.handle = existing ?? create("SharedValue", kind, 1, LOCK + MUTEX_WORDS * 4);
    this.#cells = cellsAt(kind, this.handle.memory, VALUE, 1) as Cells<KindValue<K>>;
    remember(this.handle, domainOf(this.handle), this);
    if (initial !== undefined) this.value = initial;
  }

  /**
   * The value of this agent for a handle, or for what structured clone made of a value. The same
   * object each time.
   *
   * @typeParam K The kind of the value.
   * @param value A shared value, its handle, or what arrived of it in a message.
   * @returns The value on the same memory.
   * @throws {TypeError} If it is not a handle of a `SharedValue` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const flag = new SharedValue("bool", true);
   * assertEquals(SharedValue.from<"bool">(structuredClone(flag)).value, true);
   * ```
   */
  static from<K extends Kind = Kind>(value: unknown): SharedValue<K> {
    const handle = handleOf(value, "SharedValue", LOCK + MUTEX_WORDS * 4);
    const kind = kindIn(handle, "SharedValue");
    const known = recall(handle, domainOf(handle));
    return (known ?? Reflect.construct(SharedValue, [kind, undefined, handle])) as SharedValue<K>;
  }

  /**
   * What the value is now. Setting it is atomic too, but `value += 1` is a read and then a write: use
   * {@linkcode SharedValue.add}.
   *
   * @throws {RangeError} If an integer is needed and another number is set.
   * @throws {TypeError} If a value of another type is set.
   * @example
   * ```ts
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals, assertThrows } from "@std/assert";
   *
   * const level = new SharedValue("u8");
   * level.value = 7;
   * assertEquals(level.value, 7);
   * assertThrows(() => level.value = 0.5, RangeError);
   * ```
   */
  get value(): KindValue<K> {
    return this.#cells.load(0);
  }
  set value(value: KindValue<K>) {
    this.#cells.store(0, this.#cells.check(value, "set a value"));
  }

  /**
   * Adds atomically.
   *
   * @param n How much.
   * @returns The value before.
   * @throws {RangeError} If an integer is needed and `n` is none.
   * @throws {TypeError} If `n` is of another type, or the kind is `"bool"`.
   * @example
   * ```ts
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const counter = new SharedValue("i8", 127);
   * assertEquals([counter.add(1), counter.value], [127, -128]);
   * ```
   */
  add(n: KindValue<K>): KindValue<K> {
    return this.#cells.add(0, this.#numeric(n, "add to a value"));
  }

  /**
   * Subtracts atomically.
   *
   * @param n How much.
   * @returns The value before.
   * @throws {RangeError} If an integer is needed and `n` is none.
   * @throws {TypeError} If `n` is of another type, or the kind is `"bool"`.
   * @example
   * ```ts
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const counter = new SharedValue("i64", 1n);
   * assertEquals([counter.sub(2n), counter.value], [1n, -1n]);
   * ```
   */
  sub(n: KindValue<K>): KindValue<K> {
    return this.#cells.sub(0, this.#numeric(n, "subtract from a value"));
  }

  /**
   * Sets the value and returns what it was, atomically.
   *
   * @param value The new value.
   * @returns The value before.
   * @throws {RangeError} If an integer is needed and `value` is none.
   * @throws {TypeError} If `value` is of another type.
   * @example
   * ```ts
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new SharedValue("bool").exchange(true), false);
   * ```
   */
  exchange(value: KindValue<K>): KindValue<K> {
    return this.#cells.exchange(0, this.#cells.check(value, "exchange a value"));
  }

  /**
   * Sets the value if it is what is expected, atomically. Floats are compared as by `Object.is`.
   *
   * @param expected What it must be.
   * @param value What it then becomes.
   * @returns The value before: it was set if that is `expected`.
   * @throws {RangeError} If an integer is needed and one of them is none.
   * @throws {TypeError} If one of them is of another type.
   * @example
   * ```ts
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const state = new SharedValue("f64", NaN);
   * assertEquals([state.compareExchange(NaN, 1), state.value], [NaN, 1]);
   * ```
   */
  compareExchange(expected: KindValue<K>, value: KindValue<K>): KindValue<K> {
    const cells = this.#cells;
    return cells.compareExchange(
      0,
      cells.check(expected, "compare a value"),
      cells.check(value, "exchange a value"),
    );
  }

  /**
   * Replaces the value by what the function makes of it, atomically.
   *
   * @param fn Gets the value and returns the new one. Called again if another agent was faster, so it
   * should do nothing else.
   * @returns The value before.
   * @throws {RangeError} If an integer is needed and `fn` returns another number.
   * @throws {TypeError} If `fn` returns a value of another type.
   * @throws What `fn` throws; nothing was changed then.
   * @example
   * ```ts
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const value = new SharedValue("f32", 3);
   * assertEquals([value.update((x) => x * x), value.value], [3, 9]);
   * ```
   */
  update(fn: (value: KindValue<K>) => KindValue<K>): KindValue<K> {
    return update(this.#cells, 0, fn);
  }

  /**
   * A lock that belongs to the value, for changes that take several steps. The value does not know
   * whether it is held.
   *
   * @example
   * ```ts
   * import { SharedValue } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const value = new SharedValue("i32", 2);
   * value.lock.withLockSync(() => value.value = value.value ** 5);
   * assertEquals(value.value, 32);
   * ```
   */
  get lock(): RLock {
    return this.#lock ??= lockOf(this.handle);
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return `SharedValue { kind: "${this.#kind}", value: ${text(this.value)} }`;
  }

  #numeric(n: KindValue<K>, action: string): KindValue<K> {
    return checkNumeric(this.#cells, this.#kind, n, action);
  }
}

/**
 * A fixed number of elements in shared memory.
 *
 * - Any agent may read and change elements, at any time; each access is atomic, several are not: hold
 *   `lock` for those.
 * - An index out of range is a `RangeError`, for reads as well.
 * - `view` gives the bare memory, without atomicity: for bulk work while holding `lock`.
 *
 * @typeParam K The kind of the elements.
 * @example Work on all elements under the lock
 * ```ts
 * import { SharedArray } from "@sabre/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const samples = new SharedArray("i32", [1, 2, 3]);
 * samples.lock.withLockSync(() => {
 *   const { view } = samples;
 *   for (let i = 0; i < view.length; i++) view[i] = -view[i]!;
 * });
 * assertEquals([...samples], [-1, -2, -3]);
 * ```
 */
export class SharedArray<K extends Kind> implements Iterable<KindValue<K>> {
  /** What crosses to other agents; see {@linkcode SharedArray.from}. */
  readonly handle: Handle;
  readonly #cells: Cells<KindValue<K>>;
  readonly #kind: K;
  readonly #length: number;
  #lock: RLock | undefined;

  static {
    registerKind("SharedArray", (handle) => SharedArray.from(handle));
    Object.defineProperty(SharedArray.prototype, PRIMITIVE, { value: "SharedArray" });
  }

  /**
   * Creates an array.
   *
   * @param kind What its elements are.
   * @param lengthOrValues How many zeros it holds, or the elements themselves.
   * @throws {RangeError} If the length is not an integer of at least 0, or an integer is needed and an
   * element is none.
   * @throws {TypeError} If there is no such kind, or an element is of another type.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals([...new SharedArray("u8", 2)], [0, 0]);
   * assertEquals(new SharedArray("f64", new Set([0.5, 1.5])).length, 2);
   * ```
   */
  constructor(kind: K, lengthOrValues: number | Iterable<KindValue<K>>);
  constructor(kind: K, lengthOrValues: number | Iterable<KindValue<K>>, given?: Handle) {
    const existing = existingOf(given);
    this.#kind = existing === undefined ? checkKind(kind, "create SharedArray") : kind;
    const values = typeof lengthOrValues === "number"
      ? undefined
      : collect(kind, lengthOrValues, "create SharedArray");
    const length = values?.length ?? checkLength(lengthOrValues);
    this.#length = length;
    this.handle = existing ??
      create("SharedArray", kind, length, DATA + Math.ceil(length * bytesOf(kind) / 8) * 8);
    this.#cells = cellsAt(kind, this.handle.memory, DATA, length) as Cells<KindValue<K>>;
    remember(this.handle, domainOf(this.handle), this);
    values?.forEach((value, index) => this.#cells.store(index, value));
  }

  /**
   * The array of this agent for a handle, or for what structured clone made of an array. The same
   * object each time.
   *
   * @typeParam K The kind of the elements.
   * @param value A shared array, its handle, or what arrived of it in a message.
   * @returns The array on the same memory.
   * @throws {TypeError} If it is not a handle of a `SharedArray` of this version.
   * @example In a worker that you started yourself
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const array = new SharedArray("i16", [1, 2]);
   * assertEquals(SharedArray.from<"i16">(structuredClone(array)).get(1), 2);
   * ```
   */
  static from<K extends Kind = Kind>(value: unknown): SharedArray<K> {
    const handle = handleOf(value, "SharedArray", DATA);
    const kind = kindIn(handle, "SharedArray");
    const length = Atomics.load(new Int32Array(handle.memory), LENGTH) >>> 0;
    if (handle.memory.byteLength !== DATA + Math.ceil(length * bytesOf(kind) / 8) * 8) {
      throw new TypeError(
        `Cannot attach SharedArray: its memory has ${handle.memory.byteLength} bytes, which does not fit its length of ${length}`,
      );
    }
    const known = recall(handle, domainOf(handle));
    return (known ?? Reflect.construct(SharedArray, [kind, length, handle])) as SharedArray<K>;
  }

  /**
   * How many elements it has.
   *
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new SharedArray("u8", 3).length, 3);
   * ```
   */
  get length(): number {
    return this.#length;
  }

  /**
   * Reads an element, counting from the end if the index is negative. Atomic.
   *
   * @param index Which one.
   * @returns The element.
   * @throws {RangeError} If there is no such element.
   * @throws {TypeError} If the index is not a number.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new SharedArray("u8", [1, 2, 3]).at(-1), 3);
   * ```
   */
  at(index: number): KindValue<K> {
    return this.#cells.load(this.#check(index < 0 ? index + this.#length : index, index));
  }

  /**
   * Reads an element. Atomic.
   *
   * @param index Which one, from 0.
   * @returns The element.
   * @throws {RangeError} If there is no such element.
   * @throws {TypeError} If the index is not a number.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertThrows } from "@std/assert";
   *
   * assertThrows(() => new SharedArray("u8", 3).get(3), RangeError);
   * ```
   */
  get(index: number): KindValue<K> {
    return this.#cells.load(this.#check(index));
  }

  /**
   * Writes an element. Atomic.
   *
   * @param index Which one, from 0.
   * @param value The new element.
   * @throws {RangeError} If there is no such element, or an integer is needed and `value` is none.
   * @throws {TypeError} If the index is not a number, or `value` is of another type.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const array = new SharedArray("bool", 1);
   * array.set(0, true);
   * assertEquals(array.get(0), true);
   * ```
   */
  set(index: number, value: KindValue<K>): void {
    this.#cells.store(this.#check(index), this.#cells.check(value, "set an element"));
  }

  /**
   * Sets elements to one value, each atomically. The range is as in `Array.prototype.fill`.
   *
   * @param value The new element.
   * @param start The first one.
   * @param end The one after the last.
   * @returns The array itself.
   * @throws {RangeError} If an integer is needed and `value` is none.
   * @throws {TypeError} If `value` is of another type.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals([...new SharedArray("u8", 3).fill(7, 1)], [0, 7, 7]);
   * ```
   */
  fill(value: KindValue<K>, start?: number, end?: number): this {
    const checked = this.#cells.check(value, "fill an array");
    const [from, to] = this.#range(start, end);
    for (let i = from; i < to; i++) this.#cells.store(i, checked);
    return this;
  }

  /**
   * Copies elements, each read atomically, to a plain array. The range is as in
   * `Array.prototype.slice`.
   *
   * @param start The first one.
   * @param end The one after the last.
   * @returns The elements.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new SharedArray("u8", [1, 2, 3]).slice(-2), [2, 3]);
   * ```
   */
  slice(start?: number, end?: number): KindValue<K>[] {
    const [from, to] = this.#range(start, end);
    const values: KindValue<K>[] = [];
    for (let i = from; i < to; i++) values.push(this.#cells.load(i));
    return values;
  }

  /**
   * Writes many elements, each atomically.
   *
   * @param values The elements.
   * @param offset Where the first one goes.
   * @throws {RangeError} If they do not fit, or an integer is needed and an element is none; nothing
   * was written then.
   * @throws {TypeError} If an element is of another type; nothing was written then.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const array = new SharedArray("i32", 4);
   * array.assign([1, 2], 1);
   * assertEquals([...array], [0, 1, 2, 0]);
   * ```
   */
  assign(values: Iterable<KindValue<K>>, offset = 0): void {
    checkIndex(offset);
    const most = this.#length - offset;
    if (!Number.isInteger(offset) || offset < 0 || most < 0) {
      throw new RangeError(
        `Cannot assign to SharedArray as offset must be an integer from 0 to ${this.#length}: current value is ${offset}`,
      );
    }
    const checked = collect(this.#kind, values, "assign to SharedArray", most);
    if (checked.length > most) {
      throw new RangeError(
        `Cannot assign to SharedArray as more than ${most} elements at ${offset} do not fit: its length is ${this.#length}`,
      );
    }
    for (let i = 0; i < checked.length; i++) this.#cells.store(offset + i, checked[i]!);
  }

  /**
   * Adds to an element atomically.
   *
   * @param index Which one, from 0.
   * @param n How much.
   * @returns The element before.
   * @throws {RangeError} If there is no such element, or an integer is needed and `n` is none.
   * @throws {TypeError} If the index or `n` is of another type, or the kind is `"bool"`.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const array = new SharedArray("f64", [0.5]);
   * assertEquals([array.add(0, 0.25), array.get(0)], [0.5, 0.75]);
   * ```
   */
  add(index: number, n: KindValue<K>): KindValue<K> {
    const i = this.#check(index);
    return this.#cells.add(i, checkNumeric(this.#cells, this.#kind, n, "add to an element"));
  }

  /**
   * Subtracts from an element atomically.
   *
   * @param index Which one, from 0.
   * @param n How much.
   * @returns The element before.
   * @throws {RangeError} If there is no such element, or an integer is needed and `n` is none.
   * @throws {TypeError} If the index or `n` is of another type, or the kind is `"bool"`.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const array = new SharedArray("u8", [0]);
   * assertEquals([array.sub(0, 1), array.get(0)], [0, 255]);
   * ```
   */
  sub(index: number, n: KindValue<K>): KindValue<K> {
    const i = this.#check(index);
    return this.#cells.sub(i, checkNumeric(this.#cells, this.#kind, n, "subtract from an element"));
  }

  /**
   * Sets an element and returns what it was, atomically.
   *
   * @param index Which one, from 0.
   * @param value The new element.
   * @returns The element before.
   * @throws {RangeError} If there is no such element, or an integer is needed and `value` is none.
   * @throws {TypeError} If the index is not a number, or `value` is of another type.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(new SharedArray("i64", [1n]).exchange(0, 2n), 1n);
   * ```
   */
  exchange(index: number, value: KindValue<K>): KindValue<K> {
    const i = this.#check(index);
    return this.#cells.exchange(i, this.#cells.check(value, "exchange an element"));
  }

  /**
   * Sets an element if it is what is expected, atomically. Floats are compared as by `Object.is`.
   *
   * @param index Which one, from 0.
   * @param expected What it must be.
   * @param value What it then becomes.
   * @returns The element before: it was set if that is `expected`.
   * @throws {RangeError} If there is no such element, or an integer is needed and a value is none.
   * @throws {TypeError} If the index is not a number, or a value is of another type.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const array = new SharedArray("u16", [5]);
   * assertEquals([array.compareExchange(0, 4, 1), array.get(0)], [5, 5]);
   * ```
   */
  compareExchange(
    index: number,
    expected: KindValue<K>,
    value: KindValue<K>,
  ): KindValue<K> {
    const i = this.#check(index);
    const cells = this.#cells;
    return cells.compareExchange(
      i,
      cells.check(expected, "compare an element"),
      cells.check(value, "exchange an element"),
    );
  }

  /**
   * Replaces an element by what the function makes of it, atomically.
   *
   * @param index Which one, from 0.
   * @param fn Gets the element and returns the new one. Called again if another agent was faster.
   * @returns The element before.
   * @throws {RangeError} If there is no such element, or an integer is needed and `fn` returns none.
   * @throws {TypeError} If the index is not a number, or `fn` returns a value of another type.
   * @throws What `fn` throws; nothing was changed then.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const array = new SharedArray("i32", [3]);
   * assertEquals([array.update(0, (x) => x * 2), array.get(0)], [3, 6]);
   * ```
   */
  update(index: number, fn: (value: KindValue<K>) => KindValue<K>): KindValue<K> {
    return update(this.#cells, this.#check(index), fn);
  }

  /**
   * The memory itself, for plain access that is neither atomic nor ordered: hold `lock` while using
   * it. The view of `"bool"` is a `Uint8Array`.
   *
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const array = new SharedArray("f32", 3);
   * using _guard = array.lock.acquireSync();
   * array.view.set([1, 2, 3]);
   * assertEquals(array.get(2), 3);
   * ```
   */
  get view(): KindView<K> {
    return this.#cells.view as KindView<K>;
  }

  /**
   * A lock that belongs to the array, for work on several elements. The array does not know whether it
   * is held.
   *
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * const array = new SharedArray("i32", [1, 2]);
   * array.lock.withLockSync(() => array.assign([array.get(1), array.get(0)]));
   * assertEquals([...array], [2, 1]);
   * ```
   */
  get lock(): RLock {
    return this.#lock ??= lockOf(this.handle);
  }

  /**
   * Reads the elements one after the other, each atomically.
   *
   * @returns An iterator of the elements.
   * @example
   * ```ts
   * import { SharedArray } from "@sabre/ipc/shared";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals([...new SharedArray("u8", [1, 2])], [1, 2]);
   * ```
   */
  *[Symbol.iterator](): IterableIterator<KindValue<K>> {
    for (let i = 0; i < this.#length; i++) yield this.#cells.load(i);
  }

  /** The one-line state for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    let list = "";
    for (let i = 0; i < this.#length; i++) {
      const next = `${i === 0 ? "" : ", "}${text(this.#cells.load(i))}`;
      if (list.length + next.length > 160) {
        list += ", ...";
        break;
      }
      list += next;
    }
    return `SharedArray { kind: "${this.#kind}", length: ${this.#length}, values: [${list}] }`;
  }

  #check(index: number, given = index): number {
    checkIndex(given);
    if (Number.isInteger(index) && index >= 0 && index < this.#length) return index;
    throw new RangeError(
      `Cannot access element ${given} of SharedArray: its length is ${this.#length}`,
    );
  }

  #range(start = 0, end = this.#length): [number, number] {
    return [clamp(start, this.#length), clamp(end, this.#length)];
  }
}

function create(name: string, kind: Kind, length: number, bytes: number): Handle {
  const domain = home();
  const handle = createHandle(name, domain, bytes);
  createHandle("RLock", domain, MUTEX_WORDS * 4, 0, handle.memory, LOCK);
  const words = new Int32Array(handle.memory);
  // Nobody else has the memory yet.
  Atomics.store(words, KIND, KINDS.indexOf(kind));
  Atomics.store(words, LENGTH, length);
  return handle;
}

function lockOf(handle: Handle): RLock {
  const serial = serialAt(handle.memory, LOCK);
  const { sabre: _, ...rest } = handle;
  return RLock.from({ ...rest, sabre: "RLock", serial, offset: LOCK });
}

function checkKind<K extends Kind>(kind: K, action: string): K {
  if (KINDS.includes(kind)) return kind;
  throw new TypeError(
    `Cannot ${action} as the kind must be one of ${KINDS.join(", ")}: current value is ${
      show(kind)
    }`,
  );
}

function kindIn(handle: Handle, name: string): Kind {
  const kind = KINDS[Atomics.load(new Int32Array(handle.memory), KIND)];
  if (kind === undefined || handle.offset !== 0) {
    throw new TypeError(`Cannot attach ${name}: its memory names no kind`);
  }
  return kind;
}

function collect<K extends Kind>(
  kind: K,
  values: unknown,
  action: string,
  most = Infinity,
): KindValue<K>[] {
  if (
    (typeof values !== "object" && typeof values !== "string") || values === null ||
    !(Symbol.iterator in Object(values))
  ) {
    throw new TypeError(
      `Cannot ${action} as an iterable is needed: current value is ${show(values)}`,
    );
  }
  const cells = cellsAt(kind, new SharedArrayBuffer(8), 0, 1) as Cells<KindValue<K>>;
  const checked: KindValue<K>[] = [];
  for (const value of values as Iterable<unknown>) {
    checked.push(cells.check(value, action));
    // It may have no end.
    if (checked.length > most) break;
  }
  return checked;
}

function checkLength(length: unknown): number {
  if (Number.isInteger(length) && length as number >= 0 && length as number <= 2 ** 31) {
    return length as number;
  }
  throw new RangeError(
    `Cannot create SharedArray as the length must be an integer of 0 to 2^31: current value is ${length}`,
  );
}

function checkIndex(index: unknown): void {
  if (typeof index === "number") return;
  throw new TypeError(
    `Cannot access SharedArray as the index must be a number: current value is ${show(index)}`,
  );
}

function checkNumeric<K extends Kind>(
  cells: Cells<KindValue<K>>,
  kind: K,
  n: unknown,
  action: string,
): KindValue<K> {
  if (kind === "bool") throw new TypeError(`Cannot ${action} of kind "bool": it is not numeric`);
  return cells.check(n, action);
}

function update<T>(cells: Cells<T>, index: number, fn: (value: T) => T): T {
  for (;;) {
    const current = cells.load(index);
    const next = cells.check(fn(current), "update a value");
    if (Object.is(cells.compareExchange(index, current, next), current)) return current;
  }
}

function clamp(index: number, length: number): number {
  const integer = Math.trunc(Number(index)) || 0;
  return integer < 0 ? Math.max(length + integer, 0) : Math.min(integer, length);
}

function text(value: unknown): string {
  return typeof value === "bigint" ? `${value}n` : Object.is(value, -0) ? "-0" : String(value);
}
