// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertNotStrictEquals,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { Lock, RLock } from "../lock.ts";
import { type Kind, type KindValue, SharedArray, SharedValue } from "../shared.ts";
import { until } from "./_helpers.ts";
import { Peer } from "./_workers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/shared_worker.ts", import.meta.url);

const INTEGERS = ["i8", "u8", "i16", "u16", "i32", "u32"] as const;
const BIGS = ["i64", "u64"] as const;
const FLOATS = ["f32", "f64"] as const;
const KINDS = [...INTEGERS, ...BIGS, ...FLOATS, "bool"] as const;

const VIEWS = {
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  f32: Float32Array,
  f64: Float64Array,
  bool: Uint8Array,
} as const;

/** What is no value of the kind but of a wrong type. */
function wrongTypes(kind: Kind): unknown[] {
  const all: unknown[] = ["1", null, {}, [], Symbol("s"), () => 1, new Date(0), Object(1)];
  if (kind === "bool") return [...all, 0, 1, 1n];
  if (kind === "i64" || kind === "u64") return [...all, 0, 1, NaN, true];
  return [...all, 1n, true];
}

/** Numbers that no integer kind takes. */
const NO_INTEGERS = [0.5, -1.5, 1e-300, NaN, Infinity, -Infinity];

/** What storing the value in a typed array makes of it. */
function wrap<K extends Kind>(kind: K, value: KindValue<K>): KindValue<K> {
  if (kind === "bool") return value;
  const view = new VIEWS[kind](1) as Any;
  view[0] = value;
  return view[0];
}

/** Values of the kind with all edges. */
function samples<K extends Kind>(kind: K): KindValue<K>[] {
  const numbers = [0, -0, 1, -1, 127, 128, -128, -129, 255, 256, 32_767, 32_768, 65_535, 65_536];
  const large = [2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53];
  const huge = [2 ** 60, 1e300, -1e300, Number.MAX_VALUE];
  const floats = [0.1, -1.5, NaN, Infinity, -Infinity, 5e-324, 3.5e38, 1e-46];
  const list: unknown[] = kind === "bool" ? [true, false] : kind === "i64" || kind === "u64"
    ? [
      0n,
      1n,
      -1n,
      2n ** 63n - 1n,
      2n ** 63n,
      -(2n ** 63n) - 1n,
      2n ** 64n - 1n,
      2n ** 64n,
      2n ** 200n,
    ]
    : kind === "f32" || kind === "f64"
    ? [...numbers, ...large, ...huge, ...floats]
    : [...numbers, ...large, ...huge];
  return list as KindValue<K>[];
}

function zero<K extends Kind>(kind: K): KindValue<K> {
  return (kind === "bool" ? false : kind === "i64" || kind === "u64" ? 0n : 0) as KindValue<K>;
}

/** Like assertEquals for a value or a list of values, but 0 is not -0. */
function assertSame(actual: unknown, expected: unknown, message?: string): void {
  const [a, b] = [actual, expected].map((x) => Array.isArray(x) ? x : [x]) as [
    unknown[],
    unknown[],
  ];
  const same = a.length === b.length && a.every((x, i) => Object.is(x, b[i]));
  assert(same, `${message ?? ""} ${Deno.inspect(a)} is not ${Deno.inspect(b)}`);
}

// -- SharedValue -------------------------------------------------------------------------------

for (const kind of KINDS) {
  Deno.test(`SharedValue("${kind}") is zero by default`, () => {
    assertStrictEquals(new SharedValue(kind).value, zero(kind));
    assertStrictEquals(new SharedValue(kind, undefined).value, zero(kind));
  });

  Deno.test(`SharedValue("${kind}") stores what a typed array would`, () => {
    const value = new SharedValue(kind);
    for (const sample of samples(kind)) {
      // Atomic operations on integers know no -0.
      const expected = Object.is(wrap(kind, sample), -0) && kind[0] !== "f"
        ? 0
        : wrap(kind, sample);
      assertSame(new SharedValue(kind, sample).value, expected);
      value.value = sample;
      assertSame(value.value, expected);
      assertSame(value.exchange(zero(kind)), expected);
      assertSame(value.compareExchange(zero(kind), sample), zero(kind));
      assertSame(value.value, expected);
      assertSame(value.compareExchange(sample, zero(kind)), expected);
      assertSame(value.value, zero(kind));
      assertSame(value.update(() => sample), zero(kind));
      assertSame(value.exchange(zero(kind)), expected);
    }
  });

  Deno.test(`SharedValue("${kind}") refuses values of another type`, () => {
    const value = new SharedValue(kind) as Any;
    const one = kind === "bool" ? true : kind === "i64" || kind === "u64" ? 1n : 1;
    value.value = one;
    for (const wrong of [...wrongTypes(kind), undefined]) {
      const calls = [
        () => wrong === undefined ? value.add(wrong) : new SharedValue(kind, wrong as Any),
        () => value.value = wrong,
        () => value.add(wrong),
        () => value.sub(wrong),
        () => value.exchange(wrong),
        () => value.compareExchange(wrong, one),
        () => value.compareExchange(one, wrong),
        () => value.update(() => wrong),
      ];
      for (const call of calls) assertThrows(call, TypeError, "Cannot");
    }
    assertStrictEquals(value.value, one);
  });
}

for (const kind of INTEGERS) {
  Deno.test(`SharedValue("${kind}") refuses fractions, NaN and infinities`, () => {
    const value = new SharedValue(kind, 1);
    for (const wrong of NO_INTEGERS) {
      const calls = [
        () => new SharedValue(kind, wrong),
        () => value.value = wrong,
        () => value.add(wrong),
        () => value.sub(wrong),
        () => value.exchange(wrong),
        () => value.compareExchange(wrong, 1),
        () => value.compareExchange(1, wrong),
        () => value.update(() => wrong),
      ];
      for (const call of calls) assertThrows(call, RangeError, String(wrong));
    }
    assertEquals(value.value, 1);
  });
}

for (const kind of [...INTEGERS, ...BIGS, ...FLOATS]) {
  Deno.test(`SharedValue("${kind}").add() and sub() return the previous value and wrap`, () => {
    const list = samples(kind) as Any[];
    for (const start of list) {
      for (const n of list) {
        const value = new SharedValue(kind, start) as SharedValue<Any>;
        const before = value.value as Any;
        assertSame(value.add(n), before);
        assertSame(value.value, plus(kind, before, n));
        assertSame(value.exchange(start), plus(kind, before, n));
        assertSame(value.sub(n), before);
        assertSame(value.value, plus(kind, before, minus(n)));
      }
    }
  });
}

/** The sum as the kind holds it. Integers count modulo a power of two, which doubles do not. */
function plus(kind: Kind, a: number | bigint, b: number | bigint): unknown {
  if (typeof a === "bigint" || typeof b === "bigint") return wrap(kind, (a as Any) + (b as Any));
  if (kind === "f32") return Math.fround(a + Math.fround(b));
  if (kind === "f64") return a + b;
  const view = new VIEWS[kind](1) as Any;
  view[0] = Number(BigInt.asIntN(32, BigInt(a) + BigInt(b)));
  return view[0];
}

function minus(n: number | bigint): number | bigint {
  return -n;
}

for (const kind of FLOATS) {
  Deno.test(`SharedValue("${kind}").compareExchange() compares like Object.is`, () => {
    const value = new SharedValue(kind, NaN);
    assertSame(value.compareExchange(NaN, -0), NaN);
    assertSame(value.value, -0);
    assertSame(value.compareExchange(0, 5), -0);
    assertSame(value.value, -0);
    assertSame(value.compareExchange(-0, 0), -0);
    assertSame(value.value, 0);
    assertSame(value.compareExchange(-0, 5), 0);
    assertSame(value.compareExchange(0, Infinity), 0);
    assertSame(value.compareExchange(NaN, 5), Infinity);
    assertSame(value.compareExchange(Infinity, 5), Infinity);
    assertSame(value.value, 5);
  });

  Deno.test(`SharedArray("${kind}").compareExchange() finds a NaN of any bit pattern`, () => {
    const array = new SharedArray(kind, 1);
    const words = new Uint32Array(array.view.buffer, array.view.byteOffset, kind === "f32" ? 1 : 2);
    words[words.length - 1] = kind === "f32" ? 0xFFC0_1234 : 0xFFF8_1234;
    assertSame(array.compareExchange(0, NaN, 1), NaN);
    assertSame(array.get(0), 1);
    words[words.length - 1] = kind === "f32" ? 0x7FC0_4321 : 0x7FF8_4321;
    assertSame(array.update(0, (x) => Number.isNaN(x) ? 2 : 3), NaN);
    assertSame(array.get(0), 2);
  });

  Deno.test(`SharedValue("${kind}").update() ends for NaN and -0`, () => {
    const value = new SharedValue(kind, NaN);
    assertSame(value.update(() => -0), NaN);
    assertSame(value.update((x) => x), -0);
    assertSame(value.value, -0);
    assertSame(value.update(() => NaN), -0);
    assertSame(value.update((x) => x), NaN);
  });
}

Deno.test('SharedValue("f32").compareExchange() compares after rounding to f32', () => {
  const value = new SharedValue("f32", 0.1);
  assertSame(value.value, Math.fround(0.1));
  assertSame(value.compareExchange(0.1, 0.2), Math.fround(0.1));
  assertSame(value.value, Math.fround(0.2));
  assertSame(value.compareExchange(Math.fround(0.2), 1e40), Math.fround(0.2));
  assertSame(value.compareExchange(Infinity, 1), Infinity);
});

Deno.test("SharedValue.compareExchange() of integers wraps what is expected", () => {
  const value = new SharedValue("u8", 44);
  assertSame(value.compareExchange(300, -1), 44);
  assertSame(value.value, 255);
  const big = new SharedValue("u64", 2n ** 64n - 1n);
  assertSame(big.compareExchange(-1n, 2n ** 64n + 5n), 2n ** 64n - 1n);
  assertSame(big.value, 5n);
});

Deno.test("SharedValue.compareExchange() changes nothing unless the value is as expected", () => {
  const value = new SharedValue("i32", 1);
  assertEquals([value.compareExchange(2, 3), value.value], [1, 1]);
  assertEquals([value.compareExchange(1, 3), value.value], [1, 3]);
  const flag = new SharedValue("bool", true);
  assertEquals([flag.compareExchange(false, false), flag.value], [true, true]);
  assertEquals([flag.compareExchange(true, false), flag.value], [true, false]);
});

Deno.test('SharedValue("bool").add() and sub() are TypeErrors', () => {
  const flag = new SharedValue("bool", true) as Any;
  const flags = new SharedArray("bool", [true]) as Any;
  for (const n of [true, false, 1, 1n]) {
    assertThrows(() => flag.add(n), TypeError);
    assertThrows(() => flag.sub(n), TypeError);
    assertThrows(() => flags.add(0, n), TypeError);
    assertThrows(() => flags.sub(0, n), TypeError);
  }
  assertEquals([flag.value, flags.get(0)], [true, true]);
});

Deno.test("SharedValue.update() calls its function again when the value changed meanwhile", () => {
  const value = new SharedValue("i32", 1);
  const seen: number[] = [];
  const before = value.update((x) => {
    seen.push(x);
    if (seen.length < 3) value.add(10);
    return x + 1;
  });
  assertEquals(seen, [1, 11, 21]);
  assertEquals([before, value.value], [21, 22]);
});

Deno.test("SharedValue.update() throws what its function throws and changes nothing", () => {
  const value = new SharedValue("f32", 1.5);
  const error = new Error("mine");
  const thrown = assertThrows(() =>
    value.update(() => {
      throw error;
    })
  );
  assertStrictEquals(thrown, error);
  assertThrows(() => value.update(7 as Any), TypeError);
  assertThrows(() => value.update((() => Promise.resolve(1)) as Any), TypeError);
  assertEquals(value.value, 1.5);
});

Deno.test("SharedValue.update() may use other values of the same kind inside", () => {
  for (const kind of FLOATS) {
    const value = new SharedValue(kind, 2);
    const other = new SharedValue(kind, 100);
    value.update((x) => x * other.add(1) + other.value);
    assertEquals(value.value, 301);
  }
});

Deno.test("SharedValue refuses kinds that do not exist", () => {
  for (const kind of ["i128", "", "I32", "float", null, undefined, 1, {}, "__proto__", "bool "]) {
    assertThrows(() => new SharedValue(kind as Any), TypeError, "kind");
    assertThrows(() => new SharedArray(kind as Any, 1), TypeError, "kind");
    assertThrows(() => new SharedArray(kind as Any, [1]), TypeError, "kind");
  }
});

Deno.test("SharedValue.lock is an RLock, the same each time, that the value does not look at", () => {
  const value = new SharedValue("i32", 2);
  assertInstanceOf(value.lock, RLock);
  assertStrictEquals(value.lock, value.lock);
  assertNotStrictEquals(value.lock, new SharedValue("i32").lock);
  using _guard = value.lock.acquireSync();
  using _again = value.lock.acquireSync();
  value.value = 3;
  assertEquals(value.add(1), 3);
  assertStrictEquals(RLock.from(structuredClone(value.lock)), value.lock);
  assertStrictEquals(SharedValue.from(structuredClone(value)).lock, value.lock);
  assert(value.lock.locked);
});

// -- SharedArray: making -----------------------------------------------------------------------

for (const kind of KINDS) {
  Deno.test(`SharedArray("${kind}") takes a length or values`, () => {
    const list = samples(kind) as Any[];
    const expected = list.map((x) => new SharedValue(kind, x).value);
    assertSame([...new SharedArray(kind, 3)], [zero(kind), zero(kind), zero(kind)]);
    assertSame([...new SharedArray(kind, list)], expected);
    assertEquals([...new SharedArray(kind, new Set(list))].length, new Set(list).size);
    assertSame([...new SharedArray(kind, list.values())], expected);
    assertSame([...new SharedArray(kind, new SharedArray(kind, list))], expected);
    for (const empty of [0, [], new Set<Any>()]) {
      const array = new SharedArray(kind, empty as Any);
      assertEquals([array.length, [...array], array.slice(), array.view.length], [0, [], [], 0]);
    }
  });

  Deno.test(`SharedArray("${kind}").view shows the memory itself`, () => {
    const array = new SharedArray(kind, 3);
    const one = kind === "bool" ? true : kind === "i64" || kind === "u64" ? 1n : 1;
    const view: Any = array.view;
    assertEquals(view.constructor, VIEWS[kind]);
    assertInstanceOf(view.buffer, SharedArrayBuffer);
    assertEquals(view.length, 3);
    array.set(1, one as Any);
    assertEquals([...view].map(Number), [0, 1, 0]);
    view[2] = view[1];
    assertStrictEquals(array.get(2), one as Any);
    assertEquals(array.view.byteOffset, view.byteOffset);
  });

  Deno.test(`SharedArray("${kind}") refuses elements of another type`, () => {
    const one = kind === "bool" ? true : kind === "i64" || kind === "u64" ? 1n : 1;
    const array = new SharedArray(kind, [one, one] as Any) as Any;
    for (const wrong of wrongTypes(kind)) {
      const calls = [
        () => new SharedArray(kind, [one, wrong] as Any),
        () => array.set(0, wrong),
        () => array.fill(wrong),
        () => array.assign([zero(kind), wrong]),
        () => array.add(0, wrong),
        () => array.sub(0, wrong),
        () => array.exchange(0, wrong),
        () => array.compareExchange(0, wrong, one),
        () => array.compareExchange(0, one, wrong),
        () => array.update(0, () => wrong),
      ];
      for (const call of calls) assertThrows(call, TypeError, "Cannot");
    }
    assertEquals([...array], [one, one]);
  });
}

for (const kind of INTEGERS) {
  Deno.test(`SharedArray("${kind}") refuses fractions, NaN and infinities`, () => {
    const array = new SharedArray(kind, [1, 1]);
    for (const wrong of NO_INTEGERS) {
      const calls = [
        () => new SharedArray(kind, [1, wrong]),
        () => array.set(0, wrong),
        () => array.fill(wrong),
        () => array.assign([2, wrong]),
        () => array.add(0, wrong),
        () => array.sub(0, wrong),
        () => array.exchange(0, wrong),
        () => array.compareExchange(0, wrong, 1),
        () => array.compareExchange(0, 1, wrong),
        () => array.update(0, () => wrong),
      ];
      for (const call of calls) assertThrows(call, RangeError);
    }
    assertEquals([...array], [1, 1]);
  });
}

Deno.test("SharedArray refuses a length that is no integer of at least 0", () => {
  for (const length of [-1, 1.5, NaN, Infinity, -Infinity, 2 ** 53, 2 ** 40]) {
    assertThrows(() => new SharedArray("u8", length), RangeError, undefined, String(length));
  }
  for (const length of [undefined, null, true, 5n, {}, Symbol("s"), () => 3, new Date()]) {
    assertThrows(() => new SharedArray("u8", length as Any), TypeError);
  }
  assertThrows(() => new SharedArray("u8", "12" as Any), TypeError);
  assertThrows(() => new SharedArray("u8", [1, , 2] as Any), TypeError);
});

Deno.test("SharedArray throws what the iteration of its values throws", () => {
  const error = new Error("mine");
  function* values() {
    yield 1;
    throw error;
  }
  assertStrictEquals(assertThrows(() => new SharedArray("u8", values())), error);
  const array = new SharedArray("u8", [7, 7, 7]);
  assertStrictEquals(assertThrows(() => array.assign(values())), error);
  assertEquals([...array], [7, 7, 7]);
});

// -- SharedArray: indices ----------------------------------------------------------------------

const BAD_INDICES = [3, 4, -1, -3, -4, 0.5, 2.5, NaN, Infinity, -Infinity, 2 ** 32, 2 ** 53];

Deno.test("SharedArray: an index out of range is a RangeError for every method", () => {
  const array = new SharedArray("i32", [1, 2, 3]);
  for (const index of BAD_INDICES) {
    const calls = [
      () => array.get(index),
      () => array.set(index, 9),
      () => array.add(index, 9),
      () => array.sub(index, 9),
      () => array.exchange(index, 9),
      () => array.compareExchange(index, 1, 9),
      () => array.update(index, () => 9),
    ];
    for (const call of calls) assertThrows(call, RangeError, String(index));
  }
  assertEquals([...array], [1, 2, 3]);
  const empty = new SharedArray("i32", 0);
  assertThrows(() => empty.get(0), RangeError);
  assertThrows(() => empty.at(0), RangeError);
  assertThrows(() => empty.at(-1), RangeError);
});

Deno.test("SharedArray: an index that is no number is a TypeError", () => {
  const array = new SharedArray("i32", [1, 2, 3]) as Any;
  for (const index of ["0", null, undefined, 0n, true, {}, [], Symbol("s")]) {
    const calls = [
      () => array.get(index),
      () => array.at(index),
      () => array.set(index, 9),
      () => array.add(index, 9),
      () => array.sub(index, 9),
      () => array.exchange(index, 9),
      () => array.compareExchange(index, 1, 9),
      () => array.update(index, () => 9),
    ];
    for (const call of calls) assertThrows(call, TypeError);
  }
  for (const offset of ["0", null, 0n, true, {}]) {
    assertThrows(() => array.assign([9], offset), TypeError);
  }
  assertEquals([...array], [1, 2, 3]);
});

Deno.test("SharedArray.at() counts from the end for a negative index", () => {
  const array = new SharedArray("u8", [1, 2, 3]);
  assertEquals([0, 1, 2, -0, -1, -2, -3].map((i) => array.at(i)), [1, 2, 3, 1, 3, 2, 1]);
  for (const index of [3, -4, 0.5, -0.5, NaN, Infinity, -Infinity]) {
    const error = assertThrows(() => array.at(index), RangeError);
    assertStringIncludes(error.message, String(index));
  }
});

Deno.test("SharedArray.update() looks at the index before it calls its function", () => {
  const array = new SharedArray("u8", 1);
  let calls = 0;
  assertThrows(() => array.update(1, () => ++calls), RangeError);
  assertEquals(calls, 0);
});

// -- SharedArray: many elements ----------------------------------------------------------------

Deno.test("SharedArray.fill() and slice() take ranges as arrays do", () => {
  const bounds = [
    undefined,
    0,
    -0,
    1,
    2,
    4,
    5,
    9,
    -1,
    -2,
    -5,
    -9,
    1.7,
    -1.7,
    NaN,
    Infinity,
    -Infinity,
  ];
  for (const start of bounds) {
    for (const end of bounds) {
      const array = new SharedArray("u8", [1, 2, 3, 4, 5]);
      const plain = [1, 2, 3, 4, 5];
      assertEquals(array.slice(start, end), plain.slice(start, end), `slice(${start}, ${end})`);
      assertStrictEquals(array.fill(9, start, end), array);
      assertEquals([...array], plain.fill(9, start, end), `fill(9, ${start}, ${end})`);
    }
  }
});

Deno.test("SharedArray.slice() is a plain array of its own", () => {
  const array = new SharedArray("i64", [1n, 2n]);
  const copy = array.slice();
  assert(Array.isArray(copy));
  copy[0] = 9n;
  assertEquals(array.get(0), 1n);
});

Deno.test("SharedArray.assign() writes values at an offset", () => {
  const array = new SharedArray("u8", 5);
  array.assign([1, 2]);
  assertEquals([...array], [1, 2, 0, 0, 0]);
  array.assign(new Set([3, 260]), 3);
  assertEquals([...array], [1, 2, 0, 3, 4]);
  array.assign(new Float64Array([7]), 2);
  array.assign([], 5);
  array.assign([].values());
  assertEquals([...array], [1, 2, 7, 3, 4]);
  array.assign(array.slice(1), 0);
  assertEquals([...array], [2, 7, 3, 4, 4]);
});

Deno.test("SharedArray.assign() reads all of its input before it writes", () => {
  const array = new SharedArray("u8", [1, 2, 3, 4, 5]);
  array.assign(array.view.subarray(0, 4), 1);
  assertEquals([...array], [1, 1, 2, 3, 4]);
  function* values() {
    yield array.get(0) + 10;
    yield array.get(0) + 20;
  }
  array.assign(values());
  assertEquals([...array], [11, 21, 2, 3, 4]);
});

Deno.test("SharedArray.assign() reads no more of its input than shows that it does not fit", () => {
  const array = new SharedArray("i32", 4);
  let read = 0;
  let returned = 0;
  function* endless() {
    try {
      for (;;) yield read++;
    } finally {
      returned++;
    }
  }
  assertThrows(() => array.assign(endless(), 1), RangeError, "more than 3 elements at 1");
  assertThrows(
    () => array.assign(endless(), 5),
    RangeError,
    "offset must be an integer from 0 to 4",
  );
  assertEquals([read, returned, ...array], [4, 1, 0, 0, 0, 0]);
});

Deno.test("SharedArray.assign() that does not fit is a RangeError and writes nothing", () => {
  const array = new SharedArray("u8", [1, 2, 3]);
  const cases: [number[], number][] = [
    [[9, 9, 9, 9], 0],
    [[9], 3],
    [[9, 9], 2],
    [[9], -1],
    [[], -1],
    [[], 4],
    [[9], 0.5],
    [[9], NaN],
    [[9], Infinity],
    [[], NaN],
  ];
  for (const [values, offset] of cases) {
    assertThrows(() => array.assign(values, offset), RangeError, undefined, `${values}, ${offset}`);
  }
  for (const values of [undefined, null, 7, {}, "99", Symbol("s")]) {
    assertThrows(() => array.assign(values as Any), TypeError);
  }
  assertEquals([...array], [1, 2, 3]);
});

Deno.test("SharedArray can be iterated many times, with destructuring and spread", () => {
  const array = new SharedArray("bool", [true, false]);
  const [first, second, third] = array;
  assertEquals([first, second, third], [true, false, undefined]);
  assertEquals([[...array], Array.from(array)], [[true, false], [true, false]]);
  const iterator = array[Symbol.iterator]();
  array.set(1, true);
  assertEquals([iterator.next(), iterator.next(), iterator.next().done], [
    { value: true, done: false },
    { value: true, done: false },
    true,
  ]);
});

Deno.test("SharedArray.lock is an RLock, the same each time, that the array does not look at", () => {
  const array = new SharedArray("i32", [1, 2]);
  assertInstanceOf(array.lock, RLock);
  assertStrictEquals(array.lock, array.lock);
  assertStrictEquals(SharedArray.from(structuredClone(array)).lock, array.lock);
  array.lock.withLockSync(() => array.lock.withLockSync(() => array.set(0, 5)));
  assertEquals([...array], [5, 2]);
});

Deno.test("SharedArray: its lock's words and its elements do not overlap", async () => {
  const array = new SharedArray("u8", 1_000).fill(255);
  const guard = array.lock.acquireSync();
  const calls = Array.from({ length: 40 }, () => array.lock.acquire());
  array.fill(255);
  guard.release();
  for (const call of calls) (await call).release();
  assertEquals([...array], Array(1_000).fill(255));
  const value = new SharedValue("u64", 2n ** 64n - 1n);
  value.lock.acquireSync().release();
  assertEquals(value.value, 2n ** 64n - 1n);
});

// -- Handles -----------------------------------------------------------------------------------

for (
  const [name, create] of [
    ["SharedValue", () => new SharedValue("i64", 5n)],
    ["SharedArray", () => new SharedArray("u8", 100).fill(5)],
  ] as const
) {
  Deno.test(`${name}.from() is the same object for it, its handle and their clones`, () => {
    const shared = create();
    const { from } = shared.constructor as Any;
    for (
      const form of [shared, shared.handle, structuredClone(shared), structuredClone(shared.handle)]
    ) {
      assertStrictEquals(from(form), shared);
    }
    assertEquals(Object.keys(shared), ["handle"]);
  });

  Deno.test(`${name}.from() refuses everything that is no handle of its kind`, () => {
    const shared = create();
    const Class = shared.constructor as Any;
    const other = name === "SharedValue" ? new SharedArray("i64", 1) : new SharedValue("u8");
    const { handle } = shared;
    const bytes = handle.memory.byteLength;
    const cut = (length: number) => {
      const memory = new SharedArrayBuffer(length);
      new Uint8Array(memory).set(new Uint8Array(handle.memory).subarray(0, length));
      return memory;
    };
    const changed = (index: number, word: number) => {
      const memory = cut(bytes);
      new Int32Array(memory)[index] = word;
      return memory;
    };
    const KIND = 4;
    const values: unknown[] = [
      undefined,
      null,
      0,
      name,
      {},
      [],
      { handle: null },
      { handle: {} },
      Class,
      other,
      other.handle,
      structuredClone(other),
      shared.lock,
      new Lock(),
      { ...handle, sabre: "RLock" },
      { ...handle, version: handle.version + 1 },
      { ...handle, version: 0 },
      { ...handle, serial: handle.serial + 1 },
      { ...handle, memory: new SharedArrayBuffer(bytes) },
      { ...handle, memory: cut(0) },
      { ...handle, memory: cut(16) },
      { ...handle, memory: cut(20) },
      { ...handle, memory: cut(64) },
      { ...handle, memory: cut(bytes - 8) },
      { ...handle, memory: cut(bytes - 4) },
      { ...handle, memory: cut(bytes - 1) },
      { ...handle, memory: changed(KIND, -1) },
      { ...handle, memory: changed(KIND, 11) },
      { ...handle, memory: changed(0, 0) },
      { ...handle, memory: changed(1, 77) },
      { ...handle, memory: new Uint8Array(bytes) },
      { ...handle, domain: null },
      { ...handle, domain: cut(bytes) },
      { ...handle, offset: 8 },
      { ...handle, offset: -8 },
      { ...handle, offset: "0" },
    ];
    for (const value of values) {
      assertThrows(() => Class.from(value), TypeError, "Cannot", Deno.inspect(value));
    }
    if (name === "SharedArray") {
      for (const length of [99_999, -1, 1, 2 ** 31 - 1]) {
        const memory = changed(KIND + 1, length);
        assertThrows(() => Class.from({ ...handle, memory }), TypeError, "length");
      }
    }
    assertStrictEquals(Class.from(handle), shared);
  });
}

// -- console.log -------------------------------------------------------------------------------

Deno.test("SharedValue shows its kind and value in one line", () => {
  const shown = (value: unknown) => Deno.inspect(value);
  assertEquals(shown(new SharedValue("i32", 7)), 'SharedValue { kind: "i32", value: 7 }');
  assertEquals(shown(new SharedValue("u64", 7n)), 'SharedValue { kind: "u64", value: 7n }');
  assertEquals(shown(new SharedValue("f64", -0)), 'SharedValue { kind: "f64", value: -0 }');
  assertEquals(shown(new SharedValue("bool", true)), 'SharedValue { kind: "bool", value: true }');
});

Deno.test("SharedArray shows its kind, length and first elements in one line", () => {
  const small = Deno.inspect(new SharedArray("f32", [0.5, -0, NaN]));
  assertEquals(small, 'SharedArray { kind: "f32", length: 3, values: [0.5, -0, NaN] }');
  assertStringIncludes(Deno.inspect(new SharedArray("u8", 0)), "length: 0, values: []");
  // As many as fit into 160 characters.
  assertStringIncludes(Deno.inspect(new SharedArray("u8", 54)), "0, 0]");
  assertStringIncludes(Deno.inspect(new SharedArray("u8", 55)), "0, 0, ...]");
  for (const kind of KINDS) {
    const extreme: Any = kind === "bool"
      ? false
      : kind === "i64" || kind === "u64"
      ? -(2n ** 63n)
      : kind === "f64" || kind === "f32"
      ? -1.2345678901234567e-300
      : -(2 ** 31);
    const line = Deno.inspect(new SharedArray(kind, 100_000).fill(extreme));
    assert(line.length <= 240 && !line.includes("\n"), line);
    assertMatch(line, /^SharedArray \{ kind: ".*", length: 100000, values: \[.*, \.\.\.\] \}$/);
  }
});

// -- Properties --------------------------------------------------------------------------------

/** Values of the kind, as fast-check makes them. */
function arbitrary(kind: Kind): fc.Arbitrary<Any> {
  if (kind === "bool") return fc.boolean();
  if (kind === "i64" || kind === "u64") return fc.bigInt(-(2n ** 66n), 2n ** 66n);
  if (kind === "f32") return fc.float();
  if (kind === "f64") return fc.double();
  return fc.oneof(fc.integer(), fc.maxSafeInteger());
}

for (const kind of KINDS) {
  Deno.test(`SharedArray("${kind}") behaves like a typed array`, () => {
    const value = arbitrary(kind);
    const index = fc.nat(7);
    const step = fc.oneof(
      fc.record({ op: fc.constant("set" as const), index, value }),
      fc.record({ op: fc.constant("exchange" as const), index, value }),
      fc.record({ op: fc.constant("compareExchange" as const), index, value, guess: index }),
      fc.record({ op: fc.constant("add" as const), index, value }),
      fc.record({ op: fc.constant("sub" as const), index, value }),
      fc.record({ op: fc.constant("update" as const), index, value }),
      fc.record({
        op: fc.constant("fill" as const),
        index,
        value,
        guess: fc.integer({ min: -9, max: 9 }),
      }),
      fc.record({ op: fc.constant("assign" as const), index, value }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const array = new SharedArray(kind, 8) as SharedArray<Any>;
        const model = new VIEWS[kind](8) as Any;
        const read = (i: number) => kind === "bool" ? model[i] !== 0 : model[i];
        for (const step of steps) {
          const { op, index: i, value: v } = step;
          const before = read(i);
          if (op === "set") {
            array.set(i, v);
            model[i] = v;
          } else if (op === "exchange") {
            assertSame(array.exchange(i, v), before);
            model[i] = v;
          } else if (op === "compareExchange") {
            const expected = read(step.guess);
            assertSame(array.compareExchange(i, expected, v), before);
            if (Object.is(before, expected)) model[i] = v;
          } else if (op === "add" || op === "sub") {
            if (kind === "bool") assertThrows(() => array[op](i, v), TypeError);
            else {
              assertSame(array[op](i, v), before);
              model[i] = plus(kind, before, op === "add" ? v : minus(v));
            }
          } else if (op === "update") {
            assertSame(array.update(i, () => v), before);
            model[i] = v;
          } else if (op === "fill") {
            array.fill(v, step.guess, i);
            model.fill(v, step.guess, i);
          } else {
            const values = [v, array.get(0)];
            if (i > 6) assertThrows(() => array.assign(values, i), RangeError);
            else {
              array.assign(values, i);
              model.set([v, read(0)], i);
            }
          }
          assertSame([...array.view as Any], [...model], `${op} ${i}`);
          assertSame([...array], [...model.keys()].map(read));
        }
      }),
      { numRuns: 50 },
    );
  });
}

// -- Across agents -----------------------------------------------------------------------------

for (const kind of ["f64", "f32", "i64", "u64", "i32", "u8"] as const) {
  Deno.test({
    name: `SharedValue("${kind}").add() and SharedArray.sub() lose nothing in two workers and here`,
    ...LIMIT,
    async fn() {
      const big = kind === "i64" || kind === "u64";
      const n: Any = big ? 3n : kind === "f32" || kind === "f64" ? 0.5 : 3;
      const sum = new SharedValue(kind) as SharedValue<Any>;
      const sums = new SharedArray(kind, 3) as SharedArray<Any>;
      using first = await Peer.start(WORKER);
      using second = await Peer.start(WORKER);
      const calls = [first, second].map((peer) => peer.run("addMany", sum, sums, n, 10_000));
      for (let i = 0; i < 10_000; i++) sum.add(n);
      await Promise.all(calls);
      const once: Any = big ? n * 30_000n : n * 30_000;
      const twice: Any = big ? n * -20_000n : n * -20_000;
      assertEquals(sum.value, wrap(kind, once));
      assertEquals([...sums], Array(3).fill(wrap(kind, twice)));
    },
  });
}

Deno.test({
  name:
    "SharedValue.update() and SharedArray.compareExchange() lose nothing in two workers and here",
  ...LIMIT,
  async fn() {
    const value = new SharedValue("f64");
    const array = new SharedArray("f32", 2);
    using first = await Peer.start(WORKER);
    using second = await Peer.start(WORKER);
    const calls = [first, second].map((peer) => peer.run("updateMany", value, array, 10_000));
    for (let i = 0; i < 10_000; i++) value.update((x) => x + 1);
    await Promise.all(calls);
    assertEquals([value.value, ...array], [30_000, 40_000, 20_000]);
  },
});

Deno.test({
  name: "SharedValue.exchange() gives a token to one agent only",
  ...LIMIT,
  async fn() {
    const token = new SharedValue("bool");
    using first = await Peer.start(WORKER);
    using second = await Peer.start(WORKER);
    const rounds = 20_000;
    const [a, b] = await Promise.all(
      [first, second].map((peer) => peer.run<number>("takeTokens", token, rounds)),
    );
    assert(a! + b! <= 2 * rounds && a! + b! >= rounds, `${a} + ${b}`);
    assertEquals(token.value, false);
  },
});

for (const kind of ["f64", "i64", "u64"] as const) {
  Deno.test({
    name: `SharedValue("${kind}") and SharedArray are never torn`,
    ...LIMIT,
    async fn() {
      // All 64 bits differ.
      const [first, second]: Any[] = kind === "f64"
        ? [2.2671164350131416e-74, -2.5199840254194286e+74]
        : [
          0x0F0F_0F0F_F0F0_F0F0n,
          kind === "i64" ? -0x0F0F_0F0F_F0F0_F0F1n : 0xF0F0_F0F0_0F0F_0F0Fn,
        ];
      const value = new SharedValue(kind, first) as SharedValue<Any>;
      const array = new SharedArray(kind, [first, first, first]) as SharedArray<Any>;
      const stop = new SharedValue("bool");
      using peer = await Peer.start(WORKER);
      const writing = peer.run("alternate", value, array, first, second, stop);
      await until(() => value.value === second || array.get(1) === second);
      for (let i = 0; i < 200_000; i++) {
        for (const seen of [value.value, array.get(1)]) {
          if (seen !== first && seen !== second) throw new Error(`Torn: ${seen}`);
        }
      }
      stop.value = true;
      await writing;
      assertEquals([array.get(0), array.get(2)], [first, first]);
    },
  });
}

Deno.test({
  name: "SharedArray.lock keeps changes of several elements together",
  ...LIMIT,
  async fn() {
    const accounts = new SharedArray("i32", 10).fill(1_000);
    using first = await Peer.start(WORKER);
    using second = await Peer.start(WORKER);
    const calls = [first, second].map((peer) => peer.run("transfer", accounts, 5_000));
    for (let i = 0; i < 200; i++) {
      const sum = await accounts.lock.withLock(() => accounts.view.reduce((a, b) => a + b, 0));
      assertEquals(sum, 10_000);
    }
    await Promise.all(calls);
    assertEquals(accounts.view.reduce((a, b) => a + b, 0), 10_000);
  },
});

Deno.test({
  name: "SharedValue and SharedArray of every kind arrive in a worker",
  ...LIMIT,
  async fn() {
    using peer = await Peer.start(WORKER);
    for (const kind of KINDS) {
      const value = new SharedValue(kind, samples(kind)[1] as Any);
      const array = new SharedArray(kind, samples(kind) as Any);
      const seen = await peer.run("read", value, array);
      assertEquals(seen, [value.value, [...array], array.length, VIEWS[kind].name] as Any);
      assertEquals(await peer.run("read", value.handle, array.handle), seen);
    }
  },
});

Deno.test({
  name: "A worker sets a value and negates an array under their locks",
  ...LIMIT,
  async fn() {
    const value = new SharedValue("f64");
    const array = new SharedArray("i32", [1, 2, 3, 4, 5]);
    using peer = await Peer.start(WORKER);
    await peer.run("classic", value, array);
    assertEquals([value.value, [...array]], [3.1415927, [-1, -2, -3, -4, -5]]);
  },
});

for (const kind of KINDS) {
  Deno.test(`SharedValue("${kind}"): what another agent writes in the middle of a call is not lost`, () => {
    const of = (n: number): Any =>
      kind === "bool" ? n % 2 === 1 : kind === "i64" || kind === "u64" ? BigInt(n) : n;
    const calls: Record<string, (value: SharedValue<Any>) => unknown> = {
      exchange: (value) => value.exchange(of(9)),
      compareExchange: (value) => value.compareExchange(of(1), of(9)),
      ...kind === "bool"
        ? {}
        : { add: (value) => value.add(of(3)), sub: (value) => value.sub(of(3)) },
    };
    // As it is after the call, if it held what the other agent wrote before.
    const after: Record<string, number> = { exchange: 9, compareExchange: 4, add: 7, sub: 1 };
    const { load } = Atomics;
    for (const [name, call] of Object.entries(calls)) {
      let isEarly = true;
      for (let moment = 1; isEarly; moment++) {
        const value: SharedValue<Any> = new SharedValue<Any>(kind, of(1));
        isEarly = false;
        let loads = 0;
        // Between a load and what follows from it.
        Atomics.load = ((words: Any, index: number) => {
          const found = load(words, index);
          if (++loads === moment) {
            isEarly = true;
            Atomics.load = load;
            value.value = of(4);
          }
          return found;
        }) as Any;
        try {
          assertEquals(call(value), of(isEarly ? 4 : 1), `${name} at load ${moment}`);
        } finally {
          Atomics.load = load;
        }
        if (isEarly) assertEquals(value.value, of(after[name]!), `${name} at load ${moment}`);
      }
    }
  });
}
