// Copyright 2026 the Sabre authors. MIT license.

// Damaged messages: whatever the bytes are, what comes of them is a value of the classes that messages
// have, or a TypeError, in time and memory in proportion to their number.
//
// Another seed or number of cases: SABRE_FUZZ_SEED=7 SABRE_FUZZ_CASES=1000000, with --allow-env. A case
// that fails names its own seed, with which it alone is run: SABRE_FUZZ_SEED=<seed> SABRE_FUZZ_CASES=1.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { decode } from "../../_codec.ts";
import { check, decodeBeside, fuzzMessages, MAX_TIME, messages, walk } from "./_messages.ts";
import { setting } from "./_settings.ts";

const SEED = setting("SABRE_FUZZ_SEED", 1);
const CASES = setting("SABRE_FUZZ_CASES", 50_000);

Deno.test("a message with any bytes changed is a TypeError or a value, nothing else", () => {
  fuzzMessages(SEED, CASES);
});

Deno.test("every truncation of every message, and every byte set to every tag", () => {
  for (const { bytes, attachments } of messages) {
    const step = Math.ceil(bytes.length / 16);
    for (let end = 0; end < bytes.length; end += step) {
      const { error } = decodeBeside(bytes.subarray(0, end), attachments, 0xDF);
      assert(error !== undefined, `${end} bytes of ${bytes.length} are a message`);
    }
    for (let at = 0; at < bytes.length; at += step) {
      const copy = bytes.slice();
      for (let tag = 0xC0; tag <= 0xE3; tag++) {
        copy[at] = tag;
        check(copy, attachments);
      }
    }
  }
});

// -- What costs more than it has bytes ------------------------------------------------------------

const ROOT = 0xE1;
const ARRAY = 0xCF;

function word(value: number): number[] {
  return [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];
}

function text(value: string): number[] {
  return [0xA0 + value.length, ...new TextEncoder().encode(value)];
}

/** A message that holds the same bytes `count` times over. */
function repeated(head: number[], unit: number[], count: number, tail: number[] = []): Uint8Array {
  const bytes = new Uint8Array(head.length + unit.length * count + tail.length);
  bytes.set(head);
  for (let i = 0; i < count; i++) bytes.set(unit, head.length + unit.length * i);
  bytes.set(tail, head.length + unit.length * count);
  return bytes;
}

const MANY = 50_000;
const LIST = [ROOT, ARRAY, ...word(MANY)];
const FAR_KEY = [...text("1000"), 0, 0, 0];
const COSTLY: Record<string, Uint8Array> = {
  "bigints in place of the digits of bigints": repeated([], [0xC7, 0], MANY),
  "bigints in place of keys": repeated([ROOT, 0xCE, ...word(1)], [0xC7, 0], MANY),
  "lists in lists": repeated([ROOT], [ARRAY, ...word(1)], MANY),
  "maps in the keys of maps": repeated([ROOT], [0xD1, ...word(1)], MANY),
  "causes of causes": repeated([ROOT], [0xDA, 0, 8], MANY),
  "views of views": repeated([ROOT], [0xD9, 1, ...word(0), ...word(0)], MANY),
  "what is put off, in what is put off": repeated([ROOT, 0xE0, ARRAY], [
    ARRAY,
    1,
    0,
    0,
    0,
    0xE0,
    ARRAY,
  ], MANY),
  "holes": repeated(LIST, [0xDF], MANY),
  "lists that claim the greatest length": repeated(LIST, [
    0xD0,
    ...word(-1),
    ...word(0),
    ...word(0),
  ], MANY),
  "lists with an element far out": repeated(LIST, [
    0xD0,
    ...word(1_023),
    ...word(1),
    ...word(0),
    ...word(1_022),
    1,
  ], MANY),
  "objects with an element far out": repeated(LIST, [0xCE, ...word(1), ...text("1000"), 1], MANY),
  "the same, by a list of keys": repeated(
    [ROOT, ARRAY, ...word(MANY + 1), 0xCC, 1, 2, 0, ...word(0), ...FAR_KEY, 1],
    [0xCD, 0, 0, 1],
    MANY,
  ),
  "objects with elements ever further out": repeated(
    LIST,
    [0xCE, ...word(3), ...text("9"), 1, ...text("900"), 1, ...text("1800"), 1],
    MANY,
  ),
  "empty maps": repeated(LIST, [0xD1, ...word(0)], MANY),
  "errors": repeated(LIST, [0xDA, 0, 0], MANY),
  "empty buffers": repeated(LIST, [0xD6, ...word(0)], MANY),
  "lists of keys that claim the same hash": repeated(
    LIST,
    [],
    0,
    Array.from({ length: MANY }, (_, i) => {
      const key = text(`k${i}`);
      while (key.length % 4 > 0) key.push(0);
      return [0xCC, 1, key.length / 4, 0, ...word(0), ...key, 1];
    }).flat(),
  ),
  "an open bracket, over and over, in a regular expression": repeated(
    [ROOT, 0xD4, 0xC9, ...word(MANY)],
    [0x28],
    MANY,
    text("v"),
  ),
  "a large count in a regular expression": repeated(
    [ROOT, 0xD4],
    text("(?:(?:a{9999}){9999}){9999}"),
    1,
    text("u"),
  ),
};

for (const [name, bytes] of Object.entries(COSTLY)) {
  Deno.test(`a hostile message costs no more than its bytes: ${name}`, () => {
    const before = Deno.memoryUsage();
    const start = performance.now();
    const { value } = decodeBeside(bytes, [], 0xDF);
    const time = performance.now() - start;
    const after = Deno.memoryUsage();
    assert(time < MAX_TIME, `it took ${time} ms`);
    // The smallest objects of an engine are some hundred bytes, of which a message needs two or three.
    // That of the engine may count in what is not yet collected.
    const growth = after.heapTotal + after.external - before.heapTotal - before.external;
    assert(growth < 100_000_000 + 300 * bytes.length, `${growth} bytes for ${bytes.length}`);
    if (value !== undefined) walk(value, []);
  });
}

Deno.test("an own `__proto__` is an own property, wherever a message may have one", () => {
  const key = text("__proto__");
  const object = [0xCE, ...word(0)];
  const block = [0xCC, 1, 3, 0, ...word(0), ...key, 0, 0];
  for (
    const bytes of [
      [ROOT, 0xCE, ...word(1), ...key, ...object],
      [ROOT, ...block, ...object],
      [ROOT, 0xD0, ...word(0), ...word(0), ...word(1), ...key, ...object],
      [ROOT, 0xE0, 0xCC, ...block, ...object],
    ]
  ) {
    const value = decode(new Uint8Array(bytes), 0, bytes.length) as object;
    assert(Object.hasOwn(value, "__proto__"));
    assertEquals(
      Object.getPrototypeOf(value),
      Array.isArray(value) ? Array.prototype : Object.prototype,
    );
  }
});

Deno.test("attachments that are not what a message says are a TypeError", () => {
  const hostile = [undefined, null, 1, {}, [], () => {}, new ArrayBuffer(8), { sabre: "Lock" }];
  for (const tag of [0xDD, 0xDE]) {
    for (const attachment of hostile) {
      for (const index of [0, 1, 0xFFFF_FFFF]) {
        const bytes = new Uint8Array([ROOT, tag, ...word(index)]);
        assertThrows(() => decode(bytes, 0, bytes.length, [attachment]), TypeError, "Cannot ");
      }
    }
  }
});
