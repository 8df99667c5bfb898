// Copyright 2026 the Sabre authors. MIT license.

// Values to bytes and back, in the spirit of structured clone: a message is a value, not a reference.
// Every message stands alone, so any agent can read it without having seen an earlier one. What the
// two sides remember between messages, lists of property keys, only saves time.
//
// Message layout, little-endian and unaligned. `u8`, `u32`, `f64` are numbers of that width; `value`
// is any tagged value, `string` is a value that is a string.
//
//   message    primitive, or ROOT or ROOT_SHARED, value, then what was put off (see LATER)
//   0x00..0x7F the integers 0 to 127
//   0x80..0x9F the integers -32 to -1
//   0xA0..0xBF a string of 0 to 31 Latin-1 characters, one byte each
//   0xC0..     the tags below, each followed by what its comment says
//
// Objects are numbered in the order in which they first appear, on both sides alike; REFERENCE names
// such a number. A view takes two numbers, one for itself and one for its buffer.

import { revive } from "./_handle.ts";
import { PRIMITIVE } from "./_primitive.ts";
import {
  ELEMENT_BYTES,
  getterOf,
  optionalGetterOf,
  typedArrayBuffer,
  typedArrayBytes,
  typedArrayName,
  typedArrayOffset,
  TypedArrayPrototype,
  VIEW_KINDS,
  VIEW_NAMES,
  VIEWS,
} from "./_views.ts";

const FIRST_NEGATIVE = 0x80;
const FIRST_STRING = 0xA0;
const FIRST_TAG = 0xC0;
const UNDEFINED = 0xC0;
const NULL = 0xC1;
const FALSE = 0xC2;
const TRUE = 0xC3;
const INT32 = 0xC4; // i32
const DOUBLE = 0xC5; // f64
const BIGINT64 = 0xC6; // i64
const BIGINT = 0xC7; // u8: 1 if negative, string of hexadecimal digits
const LATIN1 = 0xC8; // u8 length, bytes
const ASCII = 0xC9; // u32 length, bytes
const UTF8 = 0xCA; // u32 length, bytes
const UTF16 = 0xCB; // u32 number of units, two bytes each; the form that keeps lone surrogates
const OBJECT = 0xCC; // u8 keys, u16 words, u32 hash, key block of so many words, values
const OBJECT_AGAIN = 0xCD; // u16: which key block of this message, values
const OBJECT_LOOSE = 0xCE; // u32 count, (string, value) pairs
const ARRAY = 0xCF; // u32 length, values, HOLE where there is none
const ARRAY_LOOSE = 0xD0; // u32 length, u32 count, u32 extras, (u32 index, value), (string, value)
const MAP = 0xD1; // u32 count, (value, value)
const SET = 0xD2; // u32 count, values
const DATE = 0xD3; // f64
const REGEXP = 0xD4; // string source, string flags
const BOXED = 0xD5; // a primitive value
const BUFFER = 0xD6; // u32 length, bytes
const VIEW = 0xD7; // u8 kind, u32 length, bytes: a view that is alone on its buffer
const VIEW_WHOLE = 0xD8; // u8 kind, u32 buffer length, u32 offset, u32 length, bytes of the buffer
const VIEW_OF = 0xD9; // u8 kind, u32 offset, u32 length, value: the buffer
const ERROR = 0xDA; // u8 class, u8 parts, then those parts in the order of their bits
const DOM_EXCEPTION = 0xDB; // string name, string message, value: the stack
const REFERENCE = 0xDC; // u32 number of the object
const ATTACHED = 0xDD; // u32 index: shared memory, or a view on it
const ATTACHED_PRIMITIVE = 0xDE; // u32 index: a handle
const HOLE = 0xDF; // no element here; no property here, as a getter deleted it meanwhile
const LATER = 0xE0; // u8 OBJECT, ARRAY, MAP or SET: what it holds comes after the root value
const ROOT = 0xE1;
const ROOT_SHARED = 0xE2; // as ROOT, and REFERENCE occurs, so the reader has to number objects

// Parts of an ERROR.
const HAS_MESSAGE = 1;
const HAS_NAME = 2;
const HAS_STACK = 4;
const HAS_CAUSE = 8;
const CAUSE_LATER = 16;

// Containers nested deeper than this are put off: an empty one stands in their place and what they
// hold follows after the root value. Neither side then uses more than about 100 KB of stack, however
// deep a value is, so a reader whose stack is half used still reads what a writer could write.
const MAX_DEPTH = 100;

// Room that writeValue() guarantees before it dispatches: the longest fixed part of any record and a
// string of SHORT_STRING characters both fit.
const SLACK = 128;
const FIRST_CAPACITY = 16_384;
// Output larger than this is given back some messages later, input at once.
const KEPT_CAPACITY = 1_048_576;
const MAX_CAPACITY = 0x7FFF_FFF8;

// Up to here a loop over characters beats a call into the text encoder or decoder (measured).
const SHORT_STRING = 64;
// Strings of such a length are left to `node:buffer`, which takes half of the text decoder's time
// (measured): for shorter ones a loop is quicker, for longer ones the two are equal. It takes some
// milliseconds to load where nothing else needed it, so not for a program that reads few of them.
const MIN_BUFFERED = 12;
const MAX_BUFFERED = 65_536;
const FEW_BUFFERED = 1_000;

// Bounds of the caches. An object with more keys is a dictionary and writes its keys one by one.
const MAX_KEYS = 32;
const MAX_NODES = 2_048;
const MAX_KEY_LENGTH = 64;
const CACHED_BLOCKS = 512; // a power of two
const MAX_CACHED_WORDS = 256;
const BLOCK = 8; // where the key block begins, counted from the tag OBJECT

// Identity: a scan of up to NEAR objects, then a native scan of up to FAR, then a Map (measured: a Map has to
// give every object a hash, which costs more than scanning a few hundred pointers).
const NEAR = 16;
const FAR = 512;

// Arrays up to this length are looked at by key, longer ones by value, to find holes and extra keys.
const SMALL_ARRAY = 16;
const SMALL_INDICES = Array.from({ length: SMALL_ARRAY }, (_, index) => String(index));

// Kinds of objects that have internal slots. SHARED and up never occur on the wire.
const KIND_PLAIN = 0;
const KIND_MAP = 1;
const KIND_SET = 2;
const KIND_DATE = 3;
const KIND_REGEXP = 4;
const KIND_BOXED = 5;
const KIND_BUFFER = 6;
const KIND_ERROR = 7;
const KIND_DOM_EXCEPTION = 8;
const KIND_SHARED = 9;
const KIND_PRIMITIVE = 10;

// Users may override methods and getters on subclasses of built-in classes; structured clone does
// not call them, and neither do we.
const ObjectPrototype = Object.prototype;
const { getPrototypeOf, hasOwn, keys: keysOf } = Object;
const toStringTag = ObjectPrototype.toString;
const typedArrayAt = TypedArrayPrototype.at as (this: unknown, index: number) => unknown;
const dataViewBuffer = getterOf(DataView.prototype, "buffer");
const dataViewOffset = getterOf(DataView.prototype, "byteOffset");
const dataViewBytes = getterOf(DataView.prototype, "byteLength");
const bufferBytes = getterOf(ArrayBuffer.prototype, "byteLength");
const bufferDetached = optionalGetterOf(ArrayBuffer.prototype, "detached");
const sharedBytes = typeof SharedArrayBuffer === "undefined"
  ? undefined
  : getterOf(SharedArrayBuffer.prototype, "byteLength");
const sharedGrowable = sharedBytes && optionalGetterOf(SharedArrayBuffer.prototype, "growable");
const mapSize = getterOf(Map.prototype, "size");
const mapForEach = Map.prototype.forEach;
const mapSet = Map.prototype.set;
const setSize = getterOf(Set.prototype, "size");
const setForEach = Set.prototype.forEach;
const setAdd = Set.prototype.add;
const boxes = [Number, String, Boolean, BigInt, Symbol].map(
  ({ prototype }) => prototype.valueOf as (this: unknown) => unknown,
);
const dateTime = Date.prototype.getTime;
const regExpSource = getterOf(RegExp.prototype, "source");
const regExpFlags = ([
  ["d", "hasIndices"],
  ["g", "global"],
  ["i", "ignoreCase"],
  ["m", "multiline"],
  ["s", "dotAll"],
  ["u", "unicode"],
  ["v", "unicodeSets"],
  ["y", "sticky"],
] as const).map(([letter, name]) => [letter, optionalGetterOf(RegExp.prototype, name)] as const);
const domExceptionName = optionalGetterOf(globalThis.DOMException?.prototype, "name");
const domExceptionMessage = optionalGetterOf(globalThis.DOMException?.prototype, "message");
const { fromCharCode } = String;
const isView = ArrayBuffer.isView;
const isError = (Error as { isError?: (value: unknown) => boolean }).isError;

// The classes that structured clone knows, in the order of their numbers on the wire.
const ERRORS: ErrorConstructor[] = [
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
];
const ERROR_NAMES = ERRORS.map((constructor) => constructor.name);
const ERROR_PROTOTYPES: object[] = ERRORS.map((constructor) => constructor.prototype);

// What the prototype of an object suggests it is; hasSlots() has the last word.
const BUILT_INS = new Map<object, number>([
  [Map.prototype, KIND_MAP],
  [Set.prototype, KIND_SET],
  [Date.prototype, KIND_DATE],
  [RegExp.prototype, KIND_REGEXP],
  [Boolean.prototype, KIND_BOXED],
  [Number.prototype, KIND_BOXED],
  [String.prototype, KIND_BOXED],
  [BigInt.prototype, KIND_BOXED],
  [Symbol.prototype, KIND_BOXED],
  [ArrayBuffer.prototype, KIND_BUFFER],
  [Error.prototype, KIND_ERROR],
]);
if (domExceptionName) BUILT_INS.set(DOMException.prototype, KIND_DOM_EXCEPTION);
if (sharedBytes) BUILT_INS.set(SharedArrayBuffer.prototype, KIND_SHARED);

// Classes of users that were looked at once and have no internal slots anywhere in their chain.
const ordinary = new WeakSet<object>();

/** What only the engine can tell. Without it nothing is taken for a proxy. */
interface Probes {
  isProxy(value: unknown): boolean;
  isMap(value: unknown): boolean;
  isSet(value: unknown): boolean;
  isAnyArrayBuffer(value: unknown): boolean;
}
const { isProxy, isMap, isSet, isAnyArrayBuffer } = findProbes();

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** The method of `node:buffer` that makes a string of bytes in Latin-1, once it is worth its loading. */
let latin1Slice: ((this: Uint8Array, start: number, end: number) => string) | undefined;
/** How many strings were read that it could have made. */
let buffered = 0;

/**
 * Where {@linkcode encode} leaves its bytes. Both views are replaced when the output grows; they
 * begin at the start of their buffer, whose length is a multiple of 8.
 */
export const output: {
  /** The bytes of the last message, and room. */
  bytes: Uint8Array<ArrayBuffer>;
  /** The same memory in words. */
  words: Int32Array<ArrayBuffer>;
} = allocate(FIRST_CAPACITY);

// -- Encoding --

/** One step in the tree of key lists: the keys from the root to here, in order. */
interface KeyNode {
  /** The key seen first after these, and where it leads; most nodes need no more. */
  key: string | undefined;
  next: KeyNode | undefined;
  /** The other keys seen after these. */
  more: Map<string, KeyNode> | undefined;
  readonly keys: string[];
  shape: Shape | undefined;
}

/** A key list, ready to be written. */
interface Shape {
  readonly keys: string[];
  /** Everything from the tag OBJECT to the end of the key block: whole words. */
  readonly head: Int32Array;
  /** The last message that wrote the key block, and the number it has there. */
  message: number;
  slot: number;
}

/** A view that went alone, and might have to take its whole buffer along after all. */
interface LoneView {
  readonly buffer: ArrayBuffer;
  readonly offset: number;
  readonly length: number;
  /** Where its record begins. */
  at: number;
}

// State of the message that is being written. A getter may start another one: see encodeNested().
let busy = false;
let bytes = output.bytes;
let view = new DataView(bytes.buffer);
let limit = bytes.length - SLACK;
// Where the text of a message that is one string goes: a new view costs nearly as much as the encoder.
let afterHead = bytes.subarray(5);
let attached: unknown[] | undefined;
let near: unknown[] = new Array(NEAR).fill(undefined);
let far: unknown[] = [];
let table: Map<unknown, number> | undefined;
let seen = 0; // objects numbered so far
let shared = false; // a REFERENCE was written
let later: unknown[] = []; // containers, and errors for their cause, that were put off
let laterKinds: number[] = [];
let loneViews: LoneView[] = [];
let slots = 0; // key blocks written
let message = 0; // never the same for two messages
let polluted = false; // Object.prototype has enumerable properties, which for-in would find

let messages = 0;
let sinceGrown = 0;
let root = newNode([]);
let nodes = 0;

/**
 * Encodes a value into `output.bytes`, from its start. The bytes stay until this agent calls
 * `encode` again.
 *
 * @param value What to encode.
 * @param attachments Takes what travels beside the bytes: shared memory and handles of primitives.
 * Without it these cannot be encoded.
 * @returns How many bytes were written; at least 1.
 * @throws {DOMException} Named `DataCloneError`, if something in the value cannot travel.
 * @throws {RangeError} If the message would be larger than 2 GiB.
 */
export function encode(value: unknown, attachments?: unknown[]): number {
  if (busy) return encodeNested(value, attachments);
  if (bytes.length > KEPT_CAPACITY) releaseOutput();
  if (typeof value !== "object" || value === null) return writeValue(value, 0, 0);
  return encodeObject(value, attachments);
}

function encodeObject(value: object, attachments: unknown[] | undefined): number {
  busy = true;
  attached = attachments;
  message = ++messages;
  polluted = false;
  for (const _ in ObjectPrototype) polluted = true;
  const attachedBefore = attachments === undefined ? 0 : attachments.length;
  let done = false;
  try {
    bytes[0] = ROOT;
    let at = writeObject(value, 1, 0);
    for (let i = 0; i < later.length; i++) at = writeLater(later[i], laterKinds[i]!, at);
    if (shared) bytes[0] = ROOT_SHARED;
    done = true;
    return at;
  } finally {
    if (!done && attachments !== undefined) attachments.length = attachedBefore;
    forget();
    busy = false;
    // An inner message may have put its own bytes there.
    if (output.bytes !== bytes) publish();
  }
}

/** Lets go of everything that belongs to the user. */
function forget(): void {
  const used = seen < NEAR ? seen : NEAR;
  for (let i = 0; i < used; i++) near[i] = undefined;
  if (seen > NEAR) far = [];
  table = undefined;
  attached = undefined;
  if (later.length > 0) {
    later = [];
    laterKinds = [];
  }
  if (loneViews.length > 0) loneViews = [];
  seen = 0;
  slots = 0;
  shared = false;
}

/**
 * Encodes while another message is half-written, which happens when a getter sends something. The
 * inner message gets an output of its own, and the outer one goes on in the old.
 */
function encodeNested(value: unknown, attachments: unknown[] | undefined): number {
  const outer = [bytes, view, limit, attached, near, far, table, seen, shared] as const;
  const outerMore = [later, laterKinds, loneViews, slots, message, polluted] as const;
  near = new Array(NEAR).fill(undefined);
  far = [];
  table = undefined;
  later = [];
  laterKinds = [];
  loneViews = [];
  seen = 0;
  slots = 0;
  shared = false;
  use(allocate(FIRST_CAPACITY));
  try {
    busy = false;
    return encode(value, attachments);
  } finally {
    // `output` stays with the inner message; it is the outer's again at its next encode().
    busy = true;
    [bytes, view, limit, attached, near, far, table, seen, shared] = outer;
    [later, laterKinds, loneViews, slots, message, polluted] = outerMore;
  }
}

function allocate(capacity: number) {
  const buffer = new ArrayBuffer(capacity);
  return { bytes: new Uint8Array(buffer), words: new Int32Array(buffer) };
}

function use(memory: ReturnType<typeof allocate>): void {
  bytes = memory.bytes;
  view = new DataView(bytes.buffer);
  limit = bytes.length - SLACK;
  afterHead = bytes.subarray(5);
  output.bytes = memory.bytes;
  output.words = memory.words;
}

function publish(): void {
  output.bytes = bytes;
  output.words = new Int32Array(bytes.buffer);
}

/**
 * Gives the memory of a large message back, some messages later. If those were large too it is made
 * anew, which costs little beside filling it 64 times.
 */
function releaseOutput(): void {
  if (++sinceGrown < 64) return;
  sinceGrown = 0;
  use(allocate(FIRST_CAPACITY));
}

/** Makes room for `more` bytes after the first `used`, and for SLACK. */
function reserve(used: number, more: number): void {
  if (used + more <= limit) return;
  const needed = used + more + SLACK;
  if (needed > MAX_CAPACITY) {
    throw new RangeError(
      `Cannot encode a message of more than 2 GiB: at least ${needed} bytes are needed`,
    );
  }
  const old = bytes;
  const capacity = Math.min(Math.max(needed + 7 & ~7, bytes.length * 2), MAX_CAPACITY);
  use(allocate(capacity));
  bytes.set(used === old.length ? old : old.subarray(0, used));
  sinceGrown = 0;
}

function writeValue(value: unknown, at: number, depth: number): number {
  if (at > limit) reserve(at, SLACK);
  if (typeof value === "number") {
    const int = value | 0;
    if (int === value && (int !== 0 || Object.is(value, 0))) {
      if (int >= -32 && int < 0x80) {
        bytes[at] = int >= 0 ? int : FIRST_STRING + int;
        return at + 1;
      }
      bytes[at] = INT32;
      view.setInt32(at + 1, int, true);
      return at + 5;
    }
    bytes[at] = DOUBLE;
    view.setFloat64(at + 1, value, true);
    return at + 9;
  }
  if (typeof value === "string") return writeString(value, at);
  if (typeof value === "boolean") {
    bytes[at] = value ? TRUE : FALSE;
    return at + 1;
  }
  if (value === undefined || value === null) {
    bytes[at] = value === null ? NULL : UNDEFINED;
    return at + 1;
  }
  if (typeof value === "object") return writeObject(value, at, depth);
  if (typeof value === "bigint") return writeBigInt(value, at);
  throw refusal(typeof value === "function" ? "a function" : "a symbol");
}

function refusal(what: string): DOMException {
  return new DOMException(
    `Cannot encode a message: ${what} cannot travel to another agent`,
    "DataCloneError",
  );
}

function writeString(text: string, at: number): number {
  const length = text.length;
  if (length > SHORT_STRING) return writeLongString(text, at);
  if (at > limit) reserve(at, SLACK);
  const body = length < FIRST_TAG - FIRST_STRING ? at + 1 : at + 2;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0xFF) return writeUnits(text, at);
    bytes[body + i] = code;
  }
  if (body === at + 1) {
    bytes[at] = FIRST_STRING + length;
  } else {
    bytes[at] = LATIN1;
    bytes[at + 1] = length;
  }
  return body + length;
}

function writeLongString(text: string, at: number): number {
  const length = text.length;
  reserve(at, length + 5);
  const body = at + 5;
  let { read, written } = textEncoder.encodeInto(text, roomFrom(body));
  while (read < length) {
    // Not ASCII, and the room was made for that: three bytes are the most that a unit can take.
    reserve(body + written, (length - read) * 3);
    const rest = textEncoder.encodeInto(text.slice(read), bytes.subarray(body + written));
    read += rest.read;
    written += rest.written;
  }
  if (written === length) {
    bytes[at] = ASCII;
  } else if (text.isWellFormed()) {
    bytes[at] = UTF8;
  } else {
    return writeUnits(text, at);
  }
  view.setUint32(at + 1, written, true);
  return body + written;
}

function roomFrom(at: number): Uint8Array {
  if (at !== 5) return bytes.subarray(at);
  // Not so if a getter started another message meanwhile.
  if (afterHead.buffer !== bytes.buffer) afterHead = bytes.subarray(5);
  return afterHead;
}

function writeUnits(text: string, at: number): number {
  const length = text.length;
  reserve(at, length * 2 + 5);
  bytes[at] = UTF16;
  view.setUint32(at + 1, length, true);
  at += 5;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    bytes[at++] = code;
    bytes[at++] = code >> 8;
  }
  return at;
}

function writeBigInt(value: bigint, at: number): number {
  if (at > limit) reserve(at, SLACK);
  if (BigInt.asIntN(64, value) === value) {
    bytes[at] = BIGINT64;
    view.setBigInt64(at + 1, value, true);
    return at + 9;
  }
  bytes[at] = BIGINT;
  bytes[at + 1] = value < 0n ? 1 : 0;
  return writeString((value < 0n ? -value : value).toString(16), at + 2);
}

function writeObject(value: object, at: number, depth: number): number {
  if (at > limit) reserve(at, SLACK);
  if (isProxy(value)) throw refusal("a Proxy");
  const number = numberOf(value);
  if (number >= 0) return writeReference(value, number, at);
  if (Array.isArray(value)) {
    remember(value);
    if (depth >= MAX_DEPTH) return putOff(value, ARRAY, at);
    return writeArray(value, at, depth);
  }
  const prototype = getPrototypeOf(value);
  if (prototype === ObjectPrototype && !polluted) {
    remember(value);
    if (depth >= MAX_DEPTH) return putOff(value, OBJECT, at);
    return writePlain(value as Record<string, unknown>, at, depth);
  }
  return writeOther(value, prototype, at, depth);
}

/** The number of an object that is in the message already, or -1. */
function numberOf(value: unknown): number {
  if (seen > NEAR) {
    return table === undefined ? far.indexOf(value) : table.get(value) ?? -1;
  }
  for (let i = 0; i < seen; i++) if (near[i] === value) return i;
  return -1;
}

function remember(value: unknown): void {
  if (seen < NEAR) {
    near[seen++] = value;
    return;
  }
  if (seen === NEAR) far = near.slice();
  if (table !== undefined) table.set(value, seen);
  else far.push(value);
  seen++;
  if (seen !== FAR) return;
  table = new Map();
  for (let i = 0; i < FAR; i++) table.set(far[i], i);
}

function writeReference(value: unknown, number: number, at: number): number {
  if (loneViews.length > 0) at = bringBuffer(value, at);
  shared = true;
  bytes[at] = REFERENCE;
  view.setUint32(at + 1, number, true);
  return at + 5;
}

function putOff(value: object, kind: number, at: number): number {
  later.push(value);
  laterKinds.push(kind);
  bytes[at] = LATER;
  bytes[at + 1] = kind;
  return at + 2;
}

function writeLater(value: unknown, kind: number, at: number): number {
  if (at > limit) reserve(at, SLACK);
  switch (kind) {
    case OBJECT:
      return writeKeyed(value as Record<string, unknown>, at, 0);
    case ARRAY:
      return writeArray(value as unknown[], at, 0);
    case MAP:
      return writeMap(value as Map<unknown, unknown>, at, 0);
    case SET:
      return writeSet(value as Set<unknown>, at, 0);
    default: // the cause of an error
      return writeValue(value, at, 0);
  }
}

// Plain objects. The key list goes first, as one block that is copied rather than encoded, so the
// reader can recognize it as one block too.

function writePlain(value: Record<string, unknown>, at: number, depth: number): number {
  let node = root;
  for (const key in value) {
    const next = node.key === key ? node.next : stepTo(node, key);
    if (next === undefined) return writeLoose(value, keysOf(value), at, depth);
    node = next;
  }
  const shape = node.shape ?? (node.shape = newShape(node.keys));
  if (shape.keys[0] === "0") refuseArguments(value);
  at = writeHead(shape, at);
  const keys = shape.keys;
  let i = 0;
  // The same walk again. A key that a getter deleted meanwhile does not come up; one that it added
  // does not either.
  for (const key in value) {
    if (keys[i] !== key) {
      const missing = keys.indexOf(key, i) - i;
      if (missing < 0) continue;
      at = writeHoles(missing, at);
      i += missing;
    }
    i++;
    at = writeValue(value[key], at, depth + 1);
  }
  return i < keys.length ? writeHoles(keys.length - i, at) : at;
}

function writeHoles(count: number, at: number): number {
  reserve(at, count);
  bytes.fill(HOLE, at, at + count);
  return at + count;
}

/** As writePlain(), for objects whose prototype might be in the way of for-in. */
function writeKeyed(value: Record<string, unknown>, at: number, depth: number): number {
  const keys = keysOf(value);
  if (keys[0] === "0") refuseArguments(value);
  let node: KeyNode | undefined = root;
  for (let i = 0; i < keys.length && node !== undefined; i++) {
    const key = keys[i]!;
    node = node.key === key ? node.next : stepTo(node, key);
  }
  if (node === undefined) return writeLoose(value, keys, at, depth);
  at = writeHead(node.shape ?? (node.shape = newShape(node.keys)), at);
  for (const key of keys) at = writeProperty(value, key, at, depth);
  return at;
}

function writeLoose(
  value: Record<string, unknown>,
  keys: string[],
  at: number,
  depth: number,
): number {
  if (keys[0] === "0") refuseArguments(value);
  bytes[at] = OBJECT_LOOSE;
  view.setUint32(at + 1, keys.length, true);
  at += 5;
  for (const key of keys) {
    at = writeString(key, at);
    at = writeProperty(value, key, at, depth);
  }
  return at;
}

function writeProperty(value: object, key: string, at: number, depth: number): number {
  if (hasOwn(value, key)) {
    return writeValue((value as Record<string, unknown>)[key], at, depth + 1);
  }
  return writeHoles(1, at);
}

/** The arguments object looks plain but for its tag. */
function refuseArguments(value: object): void {
  if (!hasOwn(value, Symbol.toStringTag) && toStringTag.call(value) === "[object Arguments]") {
    throw refusal("an arguments object");
  }
}

function writeHead(shape: Shape, at: number): number {
  if (shape.message === message) {
    if (at > limit) reserve(at, SLACK);
    bytes[at] = OBJECT_AGAIN;
    view.setUint16(at + 1, shape.slot, true);
    return at + 3;
  }
  const { head } = shape;
  const length = head.length;
  reserve(at, length << 2);
  for (let i = 0; i < length; i++) view.setInt32(at + (i << 2), head[i]!, true);
  if (slots <= 0xFFFF) {
    shape.message = message;
    shape.slot = slots;
  }
  slots++;
  return at + (length << 2);
}

/** Where one more key leads, or undefined if an object with so many keys is not worth a shape. */
function stepTo(node: KeyNode, key: string): KeyNode | undefined {
  const known = node.more?.get(key);
  if (known !== undefined) return known;
  if (node.keys.length >= MAX_KEYS || key.length > MAX_KEY_LENGTH) return undefined;
  if (nodes >= MAX_NODES) {
    // Start afresh. Shapes in use live on until their message is written.
    nodes = 0;
    root = newNode([]);
  }
  nodes++;
  const next = newNode([...node.keys, key]);
  if (node.key === undefined) {
    node.key = key;
    node.next = next;
  } else {
    (node.more ??= new Map()).set(key, next);
  }
  return next;
}

function newNode(keys: string[]): KeyNode {
  return { key: undefined, next: undefined, more: undefined, keys, shape: undefined };
}

/** Encodes a key list once and for all. The output is borrowed to do so. */
function newShape(keys: string[]): Shape {
  const outer = [bytes, view, limit] as const;
  const outerOutput = [output.bytes, output.words] as const;
  use(allocate(1024));
  try {
    let end = BLOCK;
    for (const key of keys) end = writeString(key, end);
    reserve(end, SLACK);
    const words = end - BLOCK + 3 >> 2;
    bytes.fill(0, end, BLOCK + words * 4);
    bytes[0] = OBJECT;
    bytes[1] = keys.length;
    view.setUint16(2, words, true);
    view.setInt32(4, hashOf(view, BLOCK, words), true);
    const head = new Int32Array(words + BLOCK / 4);
    for (let i = 0; i < head.length; i++) head[i] = view.getInt32(i * 4, true);
    return { keys, head, message: 0, slot: 0 };
  } finally {
    [bytes, view, limit] = outer;
    [output.bytes, output.words] = outerOutput;
  }
}

// Only finds equal blocks quickly: whoever uses it compares the blocks too.
function hashOf(words: DataView, at: number, count: number): number {
  let hash = count;
  for (let i = 0; i < count; i++) {
    hash = Math.imul(hash ^ words.getInt32(at + (i << 2), true), 0x0100_0193);
    hash ^= hash >>> 15;
  }
  return hash;
}

// Arrays. Nothing in the language tells cheaply whether an array has holes or other properties than
// its elements, so that the common case, neither, is made sure of in two ways that measured best.

function writeArray(value: unknown[], at: number, depth: number): number {
  if (!isDense(value)) return writeSparse(value, at, depth);
  const length = value.length;
  bytes[at] = ARRAY;
  view.setUint32(at + 1, length, true);
  at += 5;
  for (let i = 0; i < length; i++) {
    const element = value[i];
    // A getter further in may have deleted it.
    if (element === undefined && !hasOwn(value, i)) at = writeHoles(1, at);
    else at = writeValue(element, at, depth + 1);
  }
  return at;
}

function isDense(value: unknown[]): boolean {
  const length = value.length;
  if (length <= SMALL_ARRAY) {
    const keys = keysOf(value);
    return keys.length === length &&
      (length === 0 || keys[length - 1] === SMALL_INDICES[length - 1]);
  }
  return Object.values(value).length === length && !value.includes(undefined);
}

function writeSparse(value: unknown[], at: number, depth: number): number {
  const length = value.length;
  const keys = keysOf(value);
  let count = 0;
  while (count < keys.length && isIndex(keys[count]!)) count++;
  if (count === keys.length && length - count <= count * 4 + SMALL_ARRAY) {
    bytes[at] = ARRAY;
    view.setUint32(at + 1, length, true);
    at += 5;
    let next = 0;
    for (let i = 0; i < length; i++) {
      if (next < count && Number(keys[next]) === i) {
        at = writeProperty(value, keys[next++]!, at, depth);
      } else {
        at = writeHoles(1, at);
      }
    }
    return at;
  }
  bytes[at] = ARRAY_LOOSE;
  view.setUint32(at + 1, length, true);
  view.setUint32(at + 5, count, true);
  view.setUint32(at + 9, keys.length - count, true);
  at += 13;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    if (i < count) {
      reserve(at, 4);
      view.setUint32(at, Number(key), true);
      at += 4;
    } else {
      at = writeString(key, at);
    }
    at = writeProperty(value, key, at, depth);
  }
  return at;
}

function isIndex(key: string): boolean {
  const index = Number(key) >>> 0;
  return index !== 0xFFFF_FFFF && String(index) === key;
}

function writeMap(value: Map<unknown, unknown>, at: number, depth: number): number {
  // A copy: getters of what is in the map may change the map.
  const entries: unknown[] = [];
  mapForEach.call(value, (item, key) => entries.push(key, item));
  bytes[at] = MAP;
  view.setUint32(at + 1, entries.length / 2, true);
  at += 5;
  for (let i = 0; i < entries.length; i++) at = writeValue(entries[i], at, depth + 1);
  return at;
}

function writeSet(value: Set<unknown>, at: number, depth: number): number {
  const entries: unknown[] = [];
  setForEach.call(value, (item) => entries.push(item));
  bytes[at] = SET;
  view.setUint32(at + 1, entries.length, true);
  at += 5;
  for (let i = 0; i < entries.length; i++) at = writeValue(entries[i], at, depth + 1);
  return at;
}

// Everything else that is an object.

function writeOther(value: object, prototype: object | null, at: number, depth: number): number {
  const kind = kindOf(value, prototype);
  switch (kind) {
    case KIND_SHARED:
      remember(value);
      return attach(value, ATTACHED, at);
    case KIND_PRIMITIVE:
      return writePrimitive(value as { handle?: unknown }, at);
    case KIND_BOXED: {
      // Before it is numbered: a boxed symbol is refused.
      const primitive = unbox(value);
      if (typeof primitive === "symbol") throw refusal("a boxed symbol");
      remember(value);
      bytes[at] = BOXED;
      return writeValue(primitive, at + 1, depth);
    }
  }
  if (isView(value)) return writeView(value, at);
  remember(value);
  switch (kind) {
    case KIND_MAP:
      if (depth >= MAX_DEPTH) return putOff(value, MAP, at);
      return writeMap(value as Map<unknown, unknown>, at, depth);
    case KIND_SET:
      if (depth >= MAX_DEPTH) return putOff(value, SET, at);
      return writeSet(value as Set<unknown>, at, depth);
    case KIND_DATE:
      bytes[at] = DATE;
      view.setFloat64(at + 1, dateTime.call(value as Date), true);
      return at + 9;
    case KIND_REGEXP:
      bytes[at] = REGEXP;
      at = writeString(regExpSource.call(value) as string, at + 1);
      return writeString(flagsOf(value), at);
    case KIND_BUFFER: {
      const length = lengthOf(value as ArrayBuffer);
      reserve(at, length + 5);
      bytes[at] = BUFFER;
      view.setUint32(at + 1, length, true);
      return writeBytes(value as ArrayBuffer, 0, length, at + 5);
    }
    case KIND_ERROR:
      return writeError(value, at, depth);
    case KIND_DOM_EXCEPTION:
      bytes[at] = DOM_EXCEPTION;
      at = writeString(domExceptionName!.call(value) as string, at + 1);
      at = writeString(domExceptionMessage!.call(value) as string, at);
      return writeStack(value, at);
    default:
      if (depth >= MAX_DEPTH) return putOff(value, OBJECT, at);
      return writeKeyed(value as Record<string, unknown>, at, depth);
  }
}

function attach(value: unknown, tag: number, at: number): number {
  if (attached === undefined) {
    throw new DOMException(
      "Cannot encode a message: shared memory cannot travel inside a message, pass it in the " +
        "arguments of a Process or Pool",
      "DataCloneError",
    );
  }
  reserve(at, 5);
  bytes[at] = tag;
  view.setUint32(at + 1, attached.length, true);
  attached.push(value);
  return at + 5;
}

function writePrimitive(value: { handle?: unknown }, at: number): number {
  const kind = (value as { [PRIMITIVE]?: string })[PRIMITIVE];
  if (kind === "none" || value.handle === undefined) {
    throw refusal("a Process, Pool or guard");
  }
  if (attached === undefined) {
    throw new DOMException(
      `Cannot encode a message: a ${kind} cannot travel inside a message, pass it in the ` +
        "arguments of a Process or Pool",
      "DataCloneError",
    );
  }
  remember(value);
  return attach(value.handle, ATTACHED_PRIMITIVE, at);
}

/** The primitive in a box, or undefined. */
function unbox(value: object): unknown {
  for (const valueOf of boxes) {
    try {
      return valueOf.call(value);
    } catch {
      // Another of them.
    }
  }
  return undefined;
}

function flagsOf(value: object): string {
  let flags = "";
  for (const [letter, has] of regExpFlags) if (has?.call(value) === true) flags += letter;
  return flags;
}

function lengthOf(value: ArrayBuffer): number {
  const length = bufferBytes.call(value) as number;
  if (length === 0 && bufferDetached?.call(value) === true) {
    throw refusal("a detached ArrayBuffer");
  }
  return length;
}

function writeBytes(buffer: ArrayBuffer, offset: number, length: number, at: number): number {
  bytes.set(new Uint8Array(buffer, offset, length), at);
  return at + length;
}

function writeView(value: ArrayBufferView, at: number): number {
  const name = typedArrayName.call(value) as string | undefined;
  const kind = name === undefined ? 0 : VIEW_KINDS.get(name);
  if (kind === undefined) throw refusal(`a ${name}`);
  let buffer: ArrayBufferLike;
  let offset: number;
  let length: number;
  try {
    if (name === undefined) {
      // These throw if the buffer has gone or has become too short.
      length = dataViewBytes.call(value) as number;
      offset = dataViewOffset.call(value) as number;
      buffer = dataViewBuffer.call(value) as ArrayBufferLike;
    } else {
      length = typedArrayBytes.call(value) as number;
      offset = typedArrayOffset.call(value) as number;
      buffer = typedArrayBuffer.call(value) as ArrayBufferLike;
      if (length === 0) typedArrayAt.call(value, 0); // and so does this
    }
  } catch {
    throw refusal("a view of a detached or shrunk ArrayBuffer");
  }
  remember(value);
  const isShared = !hasSlots(buffer, KIND_BUFFER);
  if (isShared && sharedGrowable?.call(buffer) === true) {
    // Whether it follows the growth of its buffer, only structured clone can tell.
    remember(buffer);
    return attach(value, ATTACHED, at);
  }
  const number = numberOf(buffer);
  if (number < 0 && !isShared) {
    remember(buffer);
    reserve(at, length + 6);
    loneViews.push({ buffer: buffer as ArrayBuffer, offset, length, at });
    bytes[at] = VIEW;
    bytes[at + 1] = kind;
    view.setUint32(at + 2, length, true);
    return writeBytes(buffer as ArrayBuffer, offset, length, at + 6);
  }
  // Bringing the buffer moves what is written already, so that comes first.
  if (number >= 0) at = bringBuffer(buffer, at);
  reserve(at, 10);
  bytes[at] = VIEW_OF;
  bytes[at + 1] = kind;
  view.setUint32(at + 2, offset, true);
  view.setUint32(at + 6, length, true);
  if (number >= 0) return writeReference(buffer, number, at + 10);
  remember(buffer);
  return attach(buffer, ATTACHED, at + 10);
}

/**
 * Something else refers to the buffer of a view that went with its own bytes only: its record is
 * replaced by one that has the whole buffer. Records further on move, which is harmless, as nothing
 * in a message says where in the message something is.
 */
function bringBuffer(buffer: unknown, at: number): number {
  const index = loneViews.findIndex((lone) => lone.buffer === buffer);
  if (index < 0) return at;
  const lone = loneViews.splice(index, 1)[0]!;
  const whole = lengthOf(lone.buffer);
  if (lone.offset + lone.length > whole) {
    throw refusal("a view of a detached or shrunk ArrayBuffer");
  }
  const end = lone.at + 6 + lone.length;
  const shift = 14 + whole - (6 + lone.length);
  reserve(at, shift);
  bytes.copyWithin(end + shift, end, at);
  for (const other of loneViews) if (other.at > lone.at) other.at += shift;
  bytes[lone.at] = VIEW_WHOLE;
  view.setUint32(lone.at + 2, whole, true);
  view.setUint32(lone.at + 6, lone.offset, true);
  view.setUint32(lone.at + 10, lone.length, true);
  writeBytes(lone.buffer, 0, whole, lone.at + 14);
  return at + shift;
}

function writeError(value: object, at: number, depth: number): number {
  const error = value as { name: unknown; stack: unknown };
  const name = error.name;
  let number = ERROR_NAMES.indexOf(name as string);
  let ownName: string | undefined;
  if (number < 0) {
    number = nearestError(value);
    if (typeof name === "string" && !isBuiltInError(value, name)) ownName = name;
  }
  // As structured clone: an accessor is no message and no cause.
  const text = Object.getOwnPropertyDescriptor(value, "message");
  const hasMessage = text !== undefined && hasOwn(text, "value");
  const messageText = hasMessage ? String(text.value) : "";
  const stack = error.stack;
  const cause = Object.getOwnPropertyDescriptor(value, "cause");
  const hasCause = cause !== undefined && hasOwn(cause, "value");
  const causeLater = hasCause && depth >= MAX_DEPTH;
  reserve(at, 3);
  bytes[at] = ERROR;
  bytes[at + 1] = number;
  bytes[at + 2] = (hasMessage ? HAS_MESSAGE : 0) | (ownName !== undefined ? HAS_NAME : 0) |
    (typeof stack === "string" ? HAS_STACK : 0) | (hasCause ? HAS_CAUSE : 0) |
    (causeLater ? CAUSE_LATER : 0);
  at += 3;
  if (hasMessage) at = writeString(messageText, at);
  if (ownName !== undefined) at = writeString(ownName, at);
  if (typeof stack === "string") at = writeString(stack, at);
  if (!hasCause) return at;
  if (!causeLater) return writeValue(cause.value, at, depth + 1);
  later.push(cause.value);
  laterKinds.push(ERROR);
  return at;
}

/** The number of the closest built-in class that structured clone knows. */
function nearestError(value: object): number {
  for (let p = getPrototypeOf(value); p !== null; p = getPrototypeOf(p)) {
    const number = ERROR_PROTOTYPES.indexOf(p);
    if (number >= 0) return number;
  }
  return 0;
}

/** Whether it is of a class, such as AggregateError, that is no user's and becomes an Error. */
function isBuiltInError(value: object, name: string): boolean {
  const constructor = (globalThis as unknown as Record<string, unknown>)[name];
  return typeof constructor === "function" && !hasOwn(value, "name") &&
    getPrototypeOf(value) === constructor.prototype;
}

function writeStack(value: object, at: number): number {
  const { stack } = value as { stack?: unknown };
  return writeValue(typeof stack === "string" ? stack : undefined, at, 0);
}

/** What an object that is neither an array nor evidently plain is. Throws if it cannot travel. */
function kindOf(value: object, prototype: object | null): number {
  if (isView(value)) return KIND_PLAIN; // the caller looks again
  if (prototype !== null && ordinary.has(prototype)) return KIND_PLAIN;
  const tag = toStringTag.call(value);
  const hidden = isMap(value) || isSet(value) || isAnyArrayBuffer(value);
  // A dictionary.
  if (prototype === null && tag === "[object Object]" && !hidden) return KIND_PLAIN;
  let scripted = true; // every class in the chain is written in JavaScript
  let pure = true; // and evidently a user's
  let ours = false; // the chain ends in our own Object.prototype
  let steps = 0;
  for (let p = prototype; p !== null; p = getPrototypeOf(p)) {
    const kind = BUILT_INS.get(p);
    if (kind !== undefined && hasSlots(value, kind)) return kind;
    if (p === ObjectPrototype) {
      ours = true;
    } else if (scripted) {
      const constructor = isProxy(p) ? undefined : constructorOf(p);
      scripted = constructor !== undefined && !isNative(constructor);
      pure &&= scripted && !isGlobal(constructor!);
    }
    // The prototype of a proxy may be anything, the proxy included.
    if (++steps > 1_000) throw refusal("an object with an endless chain of prototypes");
  }
  if (PRIMITIVE in value) return KIND_PRIMITIVE;
  if (hidden || tag !== "[object Object]") {
    // Of another realm, or its prototype was replaced. Only the slots can tell.
    for (let kind = KIND_MAP; kind <= KIND_SHARED; kind++) {
      if (hasSlots(value, kind)) return kind;
    }
  }
  const marked = Object.getOwnPropertySymbols(value).length > 0;
  if (pure && ours && !marked) {
    ordinary.add(prototype!);
    return KIND_PLAIN;
  }
  if (prototype !== ObjectPrototype) askPlatform(value, scripted && ours && marked);
  return KIND_PLAIN;
}

type Constructor = { readonly name: string };

function constructorOf(prototype: object): Constructor | undefined {
  const constructor = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
  return typeof constructor === "function" ? constructor : undefined;
}

function isNative(constructor: Constructor): boolean {
  return Function.prototype.toString.call(constructor).includes("[native code]");
}

/** Classes of the platform are global, also where they are written in JavaScript. */
function isGlobal(constructor: Constructor): boolean {
  const name = Object.getOwnPropertyDescriptor(constructor, "name")?.value;
  return (globalThis as unknown as Record<string, unknown>)[String(name)] === constructor;
}

/**
 * Objects of the platform (a Promise, a MessagePort, a Blob) have slots that nothing in the language
 * shows, so that structured clone has to judge. Classes that the runtime wrote in JavaScript mark
 * their objects with symbols: for those a hollow copy is judged, which calls no getter of the user.
 */
function askPlatform(value: object, marked: boolean): void {
  let asked = value;
  if (marked) {
    asked = Object.create(getPrototypeOf(value));
    for (const symbol of Object.getOwnPropertySymbols(value)) {
      Object.defineProperty(asked, symbol, Object.getOwnPropertyDescriptor(value, symbol)!);
    }
  }
  let clone: unknown;
  try {
    clone = structuredClone(asked);
  } catch (error) {
    if (error instanceof RangeError) return; // too deep for it, which says nothing about the object
    if (!(error instanceof DOMException) || error.name !== "DataCloneError") throw error;
    throw new DOMException(`Cannot encode a message: ${error.message}`, "DataCloneError");
  }
  const prototype = typeof clone === "object" && clone !== null && getPrototypeOf(clone);
  if (prototype !== ObjectPrototype) {
    const name = prototype && prototype.constructor?.name;
    throw refusal(name ? `a ${name}` : "an object of the platform");
  }
}

function hasSlots(value: object, kind: number): boolean {
  try {
    switch (kind) {
      case KIND_MAP:
        return mapSize.call(value) !== undefined;
      case KIND_SET:
        return setSize.call(value) !== undefined;
      case KIND_DATE:
        return dateTime.call(value as Date) !== undefined;
      case KIND_REGEXP:
        // The one object without the slots for which the getter does not throw.
        return value !== RegExp.prototype && regExpSource.call(value) !== undefined;
      case KIND_BOXED:
        return unbox(value) !== undefined;
      case KIND_BUFFER:
        return bufferBytes.call(value) !== undefined;
      case KIND_ERROR:
        return isError !== undefined
          ? isError(value)
          : toStringTag.call(value) === "[object Error]" && !(Symbol.toStringTag in value);
      case KIND_DOM_EXCEPTION:
        return domExceptionName !== undefined && domExceptionName.call(value) !== undefined;
      default:
        return sharedBytes !== undefined && sharedBytes.call(value) !== undefined;
    }
  } catch {
    return false;
  }
}

// -- Decoding --

/** A key list, as it was once read. */
interface KnownKeys {
  /** The bytes it was read from: from the tag OBJECT to the end of the block. */
  readonly words: Int32Array;
  readonly keys: string[];
  /** A key has a meaning on Object.prototype, so that assigning to it might not define it. */
  readonly special: boolean;
  /** Some keys are indices, far apart. */
  readonly sparse: boolean;
}

const NOT_YET: unknown = Symbol("not yet decoded");

// State of the message that is being read.
let reading = false;
let source: Uint8Array<ArrayBuffer> = new Uint8Array(0);
let sourceView = new DataView(source.buffer);
let position = 0;
let sourceEnd = 0;
let references: unknown[] | undefined; // undefined: nothing refers to them
let passed: readonly unknown[] | undefined;
let shells: unknown[] = []; // what was put off, still empty
let shellKinds: number[] = [];
let blocks: KnownKeys[] = []; // the key blocks of this message, and what earlier ones left behind
let blockCount = 0;

const knownKeys: (KnownKeys | undefined)[] = new Array(CACHED_BLOCKS).fill(undefined);

/**
 * Decodes `bytes[start..end)`, which must be private memory that holds one whole message.
 *
 * @param bytes Where the message is.
 * @param start Where it begins.
 * @param end Where it ends.
 * @param attachments What {@linkcode encode} put into its attachments.
 * @returns The value.
 * @throws {TypeError} If the bytes are not a message. Whatever they are, it takes time and memory in
 * proportion to their number.
 */
export function decode(
  bytes: Uint8Array<ArrayBuffer>,
  start: number,
  end: number,
  attachments?: readonly unknown[],
): unknown {
  if (reading) return decodeNested(bytes, start, end, attachments);
  if (bytes !== source) readFrom(bytes);
  if (!(start >= 0 && start < end && end <= bytes.length)) throw damage("it is empty");
  position = start;
  sourceEnd = end;
  const tag = bytes[start]!;
  if (tag === ROOT || tag === ROOT_SHARED) return decodeRoot(tag, attachments);
  const value = readValue(MAX_DEPTH);
  if (position !== end) throw damage("bytes are left over");
  if (bytes.length > KEPT_CAPACITY) readFrom(new Uint8Array(0));
  return value;
}

/** A view is made once for all messages that lie in the same array. */
function readFrom(bytes: Uint8Array<ArrayBuffer>): void {
  source = bytes;
  sourceView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function decodeRoot(tag: number, attachments: readonly unknown[] | undefined): unknown {
  reading = true;
  passed = attachments;
  if (tag === ROOT_SHARED) references = [];
  try {
    position++;
    const value = readValue(0);
    for (let i = 0; i < shells.length; i++) fillShell(shells[i], shellKinds[i]!);
    if (position !== sourceEnd) throw damage("bytes are left over");
    return value;
  } catch (error) {
    // Cut, as it quotes the whole source of a regular expression.
    if (isRefusal(error)) throw damage(error.message.slice(0, 200));
    throw error;
  } finally {
    reading = false;
    passed = references = undefined;
    if (shells.length > 0) {
      shells = [];
      shellKinds = [];
    }
    if (blockCount > 64) blocks = [];
    blockCount = 0;
    if (source.length > KEPT_CAPACITY) readFrom(new Uint8Array(0));
  }
}

/** Decodes while another message is half-read, which a primitive may do when it is revived. */
function decodeNested(
  bytes: Uint8Array<ArrayBuffer>,
  start: number,
  end: number,
  attachments: readonly unknown[] | undefined,
): unknown {
  const outer = [source, sourceView, position, sourceEnd, references] as const;
  const outerMore = [passed, shells, shellKinds, blocks, blockCount] as const;
  shells = [];
  shellKinds = [];
  blocks = [];
  blockCount = 0;
  references = undefined;
  reading = false;
  try {
    return decode(bytes, start, end, attachments);
  } finally {
    reading = true;
    [source, sourceView, position, sourceEnd, references] = outer;
    [passed, shells, shellKinds, blocks, blockCount] = outerMore;
  }
}

/**
 * Whether it is what the engine says of a damaged argument, or of a size that it does not have: a Map of
 * too many entries. That the stack is used up says nothing about the message.
 */
function isRefusal(error: unknown): error is Error {
  return error instanceof SyntaxError ||
    (error instanceof RangeError && !error.message.includes("call stack"));
}

function damage(what: string): TypeError {
  return new TypeError(`Cannot decode a message: ${what}`);
}

/** Steps over so many bytes, which are there, and says where they began. */
function take(count: number): number {
  const at = position;
  if (count > sourceEnd - at) throw damage("it is truncated");
  position = at + count;
  return at;
}

function takeUint32(): number {
  return sourceView.getUint32(take(4), true);
}

/** A count of things that take at least so many bytes each. */
function takeCount(size: number): number {
  const count = takeUint32();
  if (count * size > sourceEnd - position) throw damage("it is truncated");
  return count;
}

/** Gives an object the next number. */
function enlist(value: unknown): void {
  if (references !== undefined) references.push(value);
}

function readValue(depth: number): unknown {
  if (position >= sourceEnd) throw damage("it is truncated");
  const tag = source[position++]!;
  if (tag < FIRST_TAG) {
    if (tag < FIRST_NEGATIVE) return tag;
    if (tag < FIRST_STRING) return tag - FIRST_STRING;
    return readLatin1(tag - FIRST_STRING);
  }
  switch (tag) {
    case UNDEFINED:
      return undefined;
    case NULL:
      return null;
    case FALSE:
      return false;
    case TRUE:
      return true;
    case INT32:
      return sourceView.getInt32(take(4), true);
    case DOUBLE:
      return sourceView.getFloat64(take(8), true);
    case BIGINT64:
      return sourceView.getBigInt64(take(8), true);
    case BIGINT:
      return readBigInt();
    case LATIN1:
      return readLatin1(source[take(1)]!);
    case ASCII:
      return readAscii(takeUint32());
    case UTF8:
      return readText(takeUint32());
    case UTF16:
      return readUnits();
  }
  if (!reading) throw damage("an object stands alone");
  return readObject(tag, depth);
}

function readObject(tag: number, depth: number): unknown {
  switch (tag) {
    case OBJECT:
    case OBJECT_AGAIN:
    case OBJECT_LOOSE:
      return fill({}, tag, depth, true);
    case ARRAY:
    case ARRAY_LOOSE:
      return fill([], tag, depth, true);
    case MAP:
      return fill(new Map(), tag, depth, true);
    case SET:
      return fill(new Set(), tag, depth, true);
    case LATER:
      return readShell();
    case REFERENCE:
      return readReference();
    case ATTACHED:
      return readAttached();
    case ERROR:
      return readError(depth);
    case VIEW:
    case VIEW_WHOLE:
    case VIEW_OF:
      return readView(tag);
  }
  const value = readLeaf(tag);
  enlist(value);
  return value;
}

/** Reads what a container holds into it. */
function fill(target: object, tag: number, depth: number, isNew: boolean): object {
  if (depth >= MAX_DEPTH) throw damage("it is nested too deeply");
  // Before what it holds, which may refer to it.
  if (isNew) enlist(target);
  switch (tag) {
    case OBJECT:
      fillPlain(target as Record<string, unknown>, readKeys(), depth);
      break;
    case OBJECT_AGAIN: {
      const slot = sourceView.getUint16(take(2), true);
      if (slot >= blockCount) throw damage("it refers to keys that it does not have");
      fillPlain(target as Record<string, unknown>, blocks[slot]!, depth);
      break;
    }
    case OBJECT_LOOSE:
      fillLoose(target as Record<string, unknown>, depth);
      break;
    case ARRAY:
      fillArray(target as unknown[], depth);
      break;
    case ARRAY_LOOSE:
      fillSparse(target as unknown[], depth);
      break;
    case MAP:
      for (let count = takeCount(2); count > 0; count--) {
        const key = readValue(depth + 1);
        mapSet.call(target as Map<unknown, unknown>, key, readValue(depth + 1));
      }
      break;
    default: // SET
      for (let count = takeCount(1); count > 0; count--) {
        setAdd.call(target as Set<unknown>, readValue(depth + 1));
      }
  }
  return target;
}

function fillLoose(target: Record<string, unknown>, depth: number): void {
  const count = takeCount(2);
  let isSpread = false;
  for (let i = 0; i < count; i++) {
    const key = readString();
    if (skipHole()) continue;
    const value = readValue(depth + 1);
    if (!isSpread && isFarIndex(key, i)) {
      isSpread = true;
      spread(target);
    }
    if (key in ObjectPrototype) define(target, key, value, true);
    else target[key] = value;
  }
}

/** Whether the key is an index that would make room for many more elements than were there before it. */
function isFarIndex(key: string, before: number): boolean {
  const first = key.charCodeAt(0);
  return first >= 0x31 && first <= 0x39 && isIndex(key) && Number(key) > before * 4 + SMALL_ARRAY;
}

/** Makes the object keep its elements in a table for good: it takes no room for those in between. */
function spread(target: Record<string, unknown>): void {
  // That far out only a table will do, and the object stays with it.
  define(target, "4294967294", undefined, true);
  delete target["4294967294"];
}

function fillPlain(target: Record<string, unknown>, known: KnownKeys, depth: number): void {
  const { keys, special, sparse } = known;
  if (sparse) spread(target);
  for (let i = 0; i < keys.length; i++) {
    if (source[position] === HOLE && position < sourceEnd) {
      position++;
      continue;
    }
    const value = readValue(depth + 1);
    if (special) define(target, keys[i]!, value, true);
    else target[keys[i]!] = value;
  }
}

function fillArray(target: unknown[], depth: number): void {
  // Grown as elements come, as a count is only a claim until they have.
  const length = takeCount(1);
  const end = sourceEnd;
  for (let i = 0; i < length; i++) {
    const tag = source[position]!;
    // The three forms of numbers here as well, for long lists of them.
    if (tag < FIRST_NEGATIVE && position < end) {
      position++;
      target[i] = tag;
    } else if (tag === INT32 && position + 5 <= end) {
      target[i] = sourceView.getInt32(position + 1, true);
      position += 5;
    } else if (tag === DOUBLE && position + 9 <= end) {
      target[i] = sourceView.getFloat64(position + 1, true);
      position += 9;
    } else if (tag === HOLE && position < end) {
      position++;
      target.length = i + 1;
    } else {
      target[i] = readValue(depth + 1);
    }
  }
}

function fillSparse(target: unknown[], depth: number): void {
  const length = takeUint32();
  const count = takeCount(5);
  const extras = takeCount(2);
  // Such a length is remembered without room being made for the elements, and stays so when it
  // shrinks: a message of a few bytes cannot make a large allocation.
  if (length > count * 4 + SMALL_ARRAY) target.length = 0xFFFF_FFFF;
  target.length = length;
  for (let i = 0; i < count; i++) {
    const index = takeUint32();
    if (index >= length) throw damage("an element is past the end of its array");
    if (!skipHole()) target[index] = readValue(depth + 1);
  }
  for (let i = 0; i < extras; i++) {
    const key = readString();
    if (key === "length" || isIndex(key)) throw damage("a property of an array is an element");
    if (!skipHole()) define(target, key, readValue(depth + 1), true);
  }
}

/** Defines what assignment might hand to a setter, or to `__proto__`. */
function define(target: object, key: string, value: unknown, enumerable: boolean): void {
  // Without a prototype: a polluted Object.prototype has no say in it.
  const descriptor = { __proto__: null, value, writable: true, enumerable, configurable: true };
  Object.defineProperty(target, key, descriptor as PropertyDescriptor);
}

function skipHole(): boolean {
  if (source[position] !== HOLE || position >= sourceEnd) return false;
  position++;
  return true;
}

function readKeys(): KnownKeys {
  const at = take(BLOCK - 1) - 1;
  const words = sourceView.getUint16(at + 2, true);
  const hash = sourceView.getInt32(at + 4, true);
  take(words << 2);
  const slot = hash & CACHED_BLOCKS - 1;
  let known = knownKeys[slot];
  if (known === undefined || !isSameBlock(known.words, at, words)) {
    known = parseKeys(at, words);
    if (words <= MAX_CACHED_WORDS) knownKeys[slot] = known;
  }
  blocks[blockCount++] = known;
  return known;
}

/** The hash is a claim of the sender, so all bytes are compared. */
function isSameBlock(known: Int32Array, at: number, words: number): boolean {
  if (known.length !== words + BLOCK / 4) return false;
  for (let i = 0; i < known.length; i++) {
    if (sourceView.getInt32(at + (i << 2), true) !== known[i]) return false;
  }
  return true;
}

function parseKeys(at: number, count: number): KnownKeys {
  const outerEnd = sourceEnd;
  sourceEnd = position;
  position = at + BLOCK;
  const keys: string[] = [];
  // Without a prototype, so that any key is just a key.
  const probe: Record<string, unknown> = Object.create(null);
  for (let i = source[at + 1]!; i > 0; i--) {
    const key = readString();
    keys.push(key);
    probe[key] = undefined;
  }
  if (sourceEnd - position > 3) throw damage("a list of keys has bytes left over");
  position = sourceEnd;
  sourceEnd = outerEnd;
  // The same strings, but internalized by the engine: much faster to assign to.
  const internalized = keysOf(probe);
  if (internalized.length !== keys.length) throw damage("a key occurs twice");
  const words = new Int32Array(count + BLOCK / 4);
  for (let i = 0; i < words.length; i++) words[i] = sourceView.getInt32(at + (i << 2), true);
  return {
    words,
    keys: keys.every((key, i) => key === internalized[i]) ? internalized : keys,
    special: keys.some((key) => key in ObjectPrototype),
    sparse: keys.some(isFarIndex),
  };
}

function readShell(): object {
  const kind = source[take(1)]!;
  let shell: object;
  if (kind === OBJECT) shell = {};
  else if (kind === ARRAY) shell = [];
  else if (kind === MAP) shell = new Map();
  else if (kind === SET) shell = new Set();
  else throw damage(`nothing of kind ${kind} can be put off`);
  enlist(shell);
  shells.push(shell);
  shellKinds.push(kind);
  return shell;
}

function fillShell(shell: unknown, kind: number): void {
  if (kind === ERROR) {
    define(shell as object, "cause", readValue(0), false);
    return;
  }
  const tag = source[take(1)]!;
  const fits = tag === kind || (kind === ARRAY && tag === ARRAY_LOOSE) ||
    (kind === OBJECT && (tag === OBJECT_AGAIN || tag === OBJECT_LOOSE));
  if (!fits) throw damage("what was put off is of another kind");
  fill(shell as object, tag, 0, false);
}

function readReference(): unknown {
  const index = takeUint32();
  const value = references === undefined || index >= references.length
    ? NOT_YET
    : references[index];
  if (value === NOT_YET) throw damage("it refers to an object that it does not have");
  return value;
}

function readError(depth: number): object {
  const constructor = ERRORS[source[take(1)]!];
  if (constructor === undefined) throw damage("an error has no class");
  const parts = source[take(1)]!;
  const error = parts & HAS_MESSAGE ? new constructor(readString()) : new constructor();
  if (parts & HAS_NAME) define(error, "name", readString(), false);
  setStack(error, parts & HAS_STACK ? readString() : undefined);
  enlist(error);
  if (parts & CAUSE_LATER) {
    shells.push(error);
    shellKinds.push(ERROR);
  } else if (parts & HAS_CAUSE) {
    if (depth >= MAX_DEPTH) throw damage("it is nested too deeply");
    define(error, "cause", readValue(depth + 1), false);
  }
  return error;
}

/** Where `stack` is an accessor it is set through it; where it cannot be set, it stays ours. */
function setStack(error: object, stack: unknown): void {
  Reflect.set(error, "stack", stack);
}

function readView(tag: number): ArrayBufferView {
  const slot = references === undefined ? 0 : references.length;
  enlist(NOT_YET);
  const kind = source[take(1)]!;
  let buffer: ArrayBufferLike;
  let offset = 0;
  let length: number;
  if (tag === VIEW) {
    length = takeUint32();
    buffer = readBuffer(length);
    enlist(buffer);
  } else if (tag === VIEW_WHOLE) {
    const whole = takeUint32();
    offset = takeUint32();
    length = takeUint32();
    buffer = readBuffer(whole);
    enlist(buffer);
  } else {
    offset = takeUint32();
    length = takeUint32();
    const next = source[take(1)];
    const value = next === REFERENCE
      ? readReference()
      : next === ATTACHED
      ? readAttached()
      : undefined;
    if (!isAnyBuffer(value)) throw damage("a view has no buffer");
    buffer = value;
  }
  const value = newView(kind, buffer, offset, length);
  if (references !== undefined) references[slot] = value;
  return value;
}

function newView(
  kind: number,
  buffer: ArrayBufferLike,
  offset: number,
  length: number,
): ArrayBufferView {
  const constructor = VIEWS[kind];
  if (constructor === undefined) {
    throw damage(`views of kind ${VIEW_NAMES[kind] ?? kind} do not exist here`);
  }
  const size = ELEMENT_BYTES[kind]!;
  if (offset % size !== 0 || length % size !== 0 || offset + length > buffer.byteLength) {
    throw damage("a view does not fit its buffer");
  }
  return new constructor(buffer, offset, length / size);
}

function isAnyBuffer(value: unknown): value is ArrayBufferLike {
  return typeof value === "object" && value !== null &&
    (hasSlots(value, KIND_BUFFER) || hasSlots(value, KIND_SHARED));
}

function readBuffer(length: number): ArrayBuffer {
  const at = take(length);
  const copy = new Uint8Array(length);
  copy.set(source.subarray(at, at + length));
  return copy.buffer;
}

function readAttachment(): unknown {
  const index = takeUint32();
  if (passed === undefined || index >= passed.length) {
    throw damage("it refers to an attachment that is not there");
  }
  return passed[index];
}

function readAttached(): object {
  const value = readAttachment();
  const isObject = typeof value === "object" && value !== null;
  if (isObject && isView(value)) {
    enlist(value);
    enlist(value.buffer);
    return value;
  }
  if (!isObject || !hasSlots(value, KIND_SHARED)) {
    throw damage("what is attached is no shared memory");
  }
  enlist(value);
  return value;
}

/** Objects that hold no other objects. */
function readLeaf(tag: number): unknown {
  switch (tag) {
    case DATE:
      return new Date(sourceView.getFloat64(take(8), true));
    case REGEXP: {
      const pattern = readString();
      return new RegExp(pattern, readString());
    }
    case BOXED: {
      const primitive = readPrimitive();
      if (primitive === undefined || primitive === null) throw damage("a box is empty");
      return Object(primitive);
    }
    case BUFFER:
      return readBuffer(takeUint32());
    case DOM_EXCEPTION: {
      const name = readString();
      const exception = new DOMException(readString(), name);
      setStack(exception, readPrimitive());
      return exception;
    }
    case ATTACHED_PRIMITIVE:
      return revive(readAttachment());
    default:
      throw damage(`no value begins with ${tag}`);
  }
}

function readPrimitive(): unknown {
  if (position < sourceEnd && source[position]! > UTF16) throw damage("a primitive is missing");
  return readValue(MAX_DEPTH);
}

function readString(): string {
  if (position >= sourceEnd) throw damage("it is truncated");
  const tag = source[position]!;
  // By the tag and not by what comes of it: a bigint has a string, so that they might nest without end.
  if (tag < FIRST_STRING || (tag >= FIRST_TAG && tag < LATIN1) || tag > UTF16) {
    throw damage("a string is missing");
  }
  return readValue(MAX_DEPTH) as string;
}

function readBigInt(): bigint {
  const negative = source[take(1)] !== 0;
  const digits = readString();
  let value: bigint;
  try {
    value = BigInt("0x" + digits);
  } catch (error) {
    throw isRefusal(error) ? damage("a bigint has other characters than digits") : error;
  }
  return negative ? -value : value;
}

// One call with many characters beats many calls; a switch over the rest was not faster.
function readLatin1(length: number): string {
  let at = take(length);
  const b = source;
  if (length >= MIN_BUFFERED && isBuffered()) return latin1Slice!.call(b, at, at + length);
  let text = "";
  for (; length >= 8; length -= 8, at += 8) {
    text += fromCharCode(
      b[at]!,
      b[at + 1]!,
      b[at + 2]!,
      b[at + 3]!,
      b[at + 4]!,
      b[at + 5]!,
      b[at + 6]!,
      b[at + 7]!,
    );
  }
  if (length >= 4) {
    text += fromCharCode(b[at]!, b[at + 1]!, b[at + 2]!, b[at + 3]!);
    length -= 4;
    at += 4;
  }
  if (length === 3) return text + fromCharCode(b[at]!, b[at + 1]!, b[at + 2]!);
  if (length === 2) return text + fromCharCode(b[at]!, b[at + 1]!);
  if (length === 1) return text + fromCharCode(b[at]!);
  return text;
}

function readAscii(length: number): string {
  if (length > MAX_BUFFERED || !isBuffered()) return readText(length);
  const at = take(length);
  return latin1Slice!.call(source, at, at + length);
}

function readText(length: number): string {
  const at = take(length);
  try {
    return textDecoder.decode(source.subarray(at, at + length));
  } catch (error) {
    throw error instanceof TypeError ? damage("a string is too long") : error;
  }
}

function readUnits(): string {
  const length = takeUint32();
  let at = take(length * 2);
  let text = "";
  const units = new Uint16Array(Math.min(length, 2_048));
  for (let left = length; left > 0;) {
    const count = Math.min(left, units.length);
    for (let i = 0; i < count; i++, at += 2) units[i] = source[at]! | source[at + 1]! << 8;
    try {
      text += fromCharCode.apply(null, units.subarray(0, count) as unknown as number[]);
    } catch (error) {
      throw isRefusal(error) ? damage("a string is too long") : error;
    }
    left -= count;
  }
  return text;
}

// -- Set-up --

/** Whether `node:buffer` makes the string that is being read. */
function isBuffered(): boolean {
  if (latin1Slice !== undefined) return true;
  if (buffered > FEW_BUFFERED) return false;
  if (++buffered > FEW_BUFFERED) latin1Slice = findLatin1Slice();
  return latin1Slice !== undefined;
}

/** It is not documented, so it has to show what it does. */
function findLatin1Slice(): typeof latin1Slice {
  const { process } = globalThis as {
    process?: { getBuiltinModule?(name: string): { Buffer?: { prototype: object } } | undefined };
  };
  const prototype = process?.getBuiltinModule?.("node:buffer")?.Buffer?.prototype as
    | { latin1Slice?: typeof latin1Slice }
    | undefined;
  const slice = prototype?.latin1Slice;
  return slice?.call(Uint8Array.of(0, 65, 233, 0), 1, 3) === "A\u00E9" ? slice : undefined;
}

/**
 * Deno's core has the probes at hand; its `node:util` has them too, but takes 20 ms to load, which is
 * longer than a worker takes to start. Other runtimes have `node:util`, browsers have nothing.
 */
function findProbes(): Probes {
  const deno = (globalThis as { Deno?: { internal?: symbol } & Record<symbol, unknown> }).Deno;
  const internals = deno?.internal && deno[deno.internal] as { core?: Partial<Probes> } | undefined;
  if (internals?.core !== undefined && isComplete(internals.core)) return internals.core;
  const { process } = globalThis as {
    process?: { getBuiltinModule?(name: string): { types?: Partial<Probes> } | undefined };
  };
  const types = process?.getBuiltinModule?.("node:util")?.types;
  if (types !== undefined && isComplete(types)) return types;
  const no = () => false;
  return { isProxy: no, isMap: no, isSet: no, isAnyArrayBuffer: no };
}

function isComplete(probes: Partial<Probes>): probes is Probes {
  return ["isProxy", "isMap", "isSet", "isAnyArrayBuffer"].every((name) =>
    typeof probes[name as keyof Probes] === "function"
  );
}
