// Copyright 2026 the Sabre authors. MIT license.

// Damaged messages, and what may come of them.

import { assert, assertEquals } from "@std/assert";
import { decode, encode, output } from "../../_codec.ts";
import { Lock } from "../../lock.ts";
import { Queue } from "../../queue.ts";
import { mixedValue, randomOf, textOf } from "../_helpers.ts";
import { mutate, noise, pick } from "./_mutate.ts";

/** Longer than any decoding of these messages takes, on a machine that is busy. */
export const MAX_TIME = 5_000;

/** What lies beside every message: if any of it is read, two decodings differ. */
const BESIDE = [0xDF, 0x01, 0xC4, 0xA1];

export interface Message {
  readonly bytes: Uint8Array;
  readonly attachments: unknown[];
}

export function messageOf(value: unknown): Message {
  const attachments: unknown[] = [];
  const length = encode(value, attachments);
  return { bytes: output.bytes.slice(0, length), attachments };
}

/** Values with every tag in them. */
function corpus(): Message[] {
  const values: unknown[] = Array.from({ length: 96 }, (_, index) => mixedValue(index));
  const buffer = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]).buffer;
  const key = { key: true };
  const memory = new SharedArrayBuffer(32);
  const growable = new SharedArrayBuffer(8, { maxByteLength: 64 });
  let deep: unknown = [];
  let deepMap: unknown = new Map();
  let deepError = new Error("innermost");
  for (let i = 0; i < 130; i++) {
    deep = i % 2 ? [deep] : { deep };
    deepMap = i % 2 ? new Map([[1, deepMap]]) : new Set([deepMap]);
    deepError = new TypeError(`at ${i}`, { cause: deepError });
  }
  const rows = Array.from({ length: 20 }, (_, id) => ({ id, name: `row ${id}`, price: id / 3 }));
  values.push(
    deep,
    deepMap,
    deepError,
    rows,
    new Map(rows.map((row) => [row.id, row])),
    new Set(rows),
    JSON.parse('{"__proto__": 1, "constructor": 2, "toString": {"__proto__": null}}'),
    Object.assign(Object.create(null), { a: 1, b: { c: [2] } }),
    Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`key ${i}`, i])),
    { 5: "five", 1000: "thousand", 4294967294: 1, "-1": 2, length: 3 },
    Object.assign([], { length: 4_000_000_000, 7: "seven", 3_999_999_999: "last" }),
    Object.assign([1, 2, 3], { extra: [4], __proto__: Array.prototype }),
    [new Uint8Array(buffer, 2, 4), new Uint32Array(buffer, 4, 2), buffer, new DataView(buffer, 1)],
    [new Float32Array(buffer), new Float64Array(buffer), new BigInt64Array(buffer)],
    [new Int8Array(3), new Uint8ClampedArray(2), new Int32Array(1), new Uint16Array(2)],
    [key, key, new Map([[key, [key]]]), new Set([key]), { key }],
    [new Date(NaN), new Date(0), /(?<year>\d{4})-\w+/dgv, /[/\\]/s],
    [Object(1), Object("s"), Object(true), Object(-0), Object(3n)],
    [2n ** 200n, -(2n ** 64n), 0n, -1n, 2n ** 63n, -(2n ** 63n)],
    [
      "",
      "é".repeat(20),
      "x".repeat(31),
      "y".repeat(300),
      "\u{1F600}".repeat(50),
      "\ud800x".repeat(9),
    ],
    [new DOMException("text", "AbortError"), new AggregateError([1], "many")],
    Object.assign(new Error("named", { cause: [key, key] }), { name: "Custom" }),
    [NaN, -0, 2 ** 53, -(2 ** 31), 2 ** 31, 1e300, 127, 128, -32, -33],
    [memory, new Int32Array(memory, 8, 4), memory, new DataView(memory)],
    [new Uint8Array(growable), growable],
    { lock: new Lock(), queue: new Queue(), memory, again: { lock: new Lock() } },
    [, , 1, , undefined, null, , ,],
  );
  return values.map(messageOf);
}

/** Messages with every tag in them. */
export const messages = corpus();

const PROTOTYPES = new Set<unknown>([
  Object.prototype,
  Array.prototype,
  Map.prototype,
  Set.prototype,
  Date.prototype,
  RegExp.prototype,
  Number.prototype,
  String.prototype,
  Boolean.prototype,
  BigInt.prototype,
  ArrayBuffer.prototype,
  SharedArrayBuffer.prototype,
  DataView.prototype,
  DOMException.prototype,
  ...[Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError],
  ...[Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array],
  ...[Float32Array, Float64Array, BigInt64Array, BigUint64Array, Float16Array],
].map((item) => typeof item === "function" ? item.prototype : item));

/**
 * Walks a value. Throws if it is not what messages are made of; returns how many bytes of content it
 * has at least, to compare with those of the message.
 */
export function walk(value: unknown, attachments: readonly unknown[]): number {
  let size = 0;
  const seen = new Set<unknown>();
  const left: unknown[] = [value];
  while (left.length > 0) {
    const item = left.pop();
    if (typeof item === "string") size += item.length;
    assert(typeof item !== "function" && typeof item !== "symbol", `a ${typeof item} came`);
    if (typeof item === "bigint") size += item.toString(16).length / 2;
    if (typeof item !== "object" || item === null || seen.has(item)) continue;
    seen.add(item);
    if (item instanceof Lock || item instanceof Queue) continue;
    assert(PROTOTYPES.has(Object.getPrototypeOf(item)), `an object of a foreign class came`);
    // One byte at least came for each.
    size++;
    if (item instanceof Map) { for (const entry of item) left.push(...entry); }
    if (item instanceof Set) left.push(...item);
    if (ArrayBuffer.isView(item)) {
      left.push(item.buffer);
      continue;
    }
    if (item instanceof ArrayBuffer) size += item.byteLength;
    if (item instanceof SharedArrayBuffer) {
      assert(isPassed(item, attachments), "shared memory came that was not passed");
    }
    // Made by the runtime, with symbols of its own.
    if (item instanceof DOMException) continue;
    const isBoxed = item instanceof String;
    for (const key of Reflect.ownKeys(item)) {
      assert(typeof key === "string", "a symbol came");
      const descriptor = Object.getOwnPropertyDescriptor(item, key)!;
      // An accessor of the engine, where the stack is one.
      if (item instanceof Error && key === "stack") continue;
      if (isBoxed && !(Number.isNaN(Number(key)) && key !== "length")) continue;
      assert("value" in descriptor, `an accessor "${String(key)}" came`);
      left.push(descriptor.value);
    }
  }
  return size;
}

function isPassed(memory: SharedArrayBuffer, attachments: readonly unknown[]): boolean {
  return attachments.some((item) =>
    item === memory || (ArrayBuffer.isView(item) && item.buffer === memory)
  );
}

export interface Outcome {
  readonly value?: unknown;
  readonly error?: string;
}

/** Decodes a message that lies between bytes of somebody else. */
export function decodeBeside(bytes: Uint8Array, attachments: unknown[], beside: number): Outcome {
  const surrounded = new Uint8Array(bytes.length + 40).fill(beside);
  surrounded.set(bytes, 20);
  try {
    return { value: decode(surrounded, 20, 20 + bytes.length, attachments) };
  } catch (error) {
    assert(error instanceof TypeError, `${error} is no TypeError`);
    const { message } = error as TypeError;
    assert(/^Cannot (decode a message|pass a primitive): /.test(message), message);
    assert(message.length < 400, "the error is longer than that is of use");
    return { error: message };
  }
}

export function check(bytes: Uint8Array, attachments: unknown[]): boolean {
  const start = performance.now();
  const outcome = decodeBeside(bytes, attachments, pick(Math.random, BESIDE));
  assert(performance.now() - start < MAX_TIME, "it takes too long");
  const other = decodeBeside(bytes, attachments, 0);
  assertEquals(outcome.error, other.error, "what lies beside the message matters");
  if (outcome.error !== undefined) return false;
  const size = walk(outcome.value, attachments);
  assert(size <= 4 * bytes.length + 64, `${size} bytes came of ${bytes.length}`);
  assertEquals(walk(other.value, attachments), size, "what lies beside the message matters");
  return true;
}

/** Decodes so many damaged messages. Throws with the seed of the first that does not end as it must. */
export function fuzzMessages(seed: number, cases: number): void {
  const names = Object.getOwnPropertyNames(Object.prototype).join();
  const arrayNames = Object.getOwnPropertyNames(Array.prototype).join();
  let values = 0;
  for (let i = 0; i < cases; i++) {
    const random = randomOf(seed + i);
    const message = pick(random, messages);
    const bytes = random() < 0.02
      ? noise(random, 1 + Math.floor(random() * 64))
      : mutate(message.bytes, pick(random, messages).bytes, random);
    try {
      if (check(bytes, message.attachments)) values++;
    } catch (error) {
      throw new Error(`Case ${seed + i}: [${bytes.subarray(0, 200)}]`, { cause: error });
    }
  }
  assertEquals(Object.getOwnPropertyNames(Object.prototype).join(), names);
  assertEquals(Object.getOwnPropertyNames(Array.prototype).join(), arrayNames);
  // Both happen, or the cases are no good.
  if (cases >= 1_000) assert(values > cases / 20 && values < cases * 0.9, `${values} values`);
  // And nothing of it stays: what is sound still comes out as it was.
  for (let i = 0; i < 96; i++) {
    const { bytes, attachments } = messageOf(mixedValue(i));
    assertEquals(textOf(decodeBeside(bytes, attachments, 0).value), textOf(mixedValue(i)));
  }
}
