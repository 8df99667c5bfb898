// Copyright 2026 the Sabre authors. MIT license.

// Views of memory, asked by the getters that are built in: what users define on a subclass could do
// anything, such as send something in the midst of a message.

/** A built-in getter, to be called on an object. */
export type Getter = (this: unknown) => unknown;

export function getterOf(prototype: object, key: string | symbol): Getter {
  const getter = optionalGetterOf(prototype, key);
  if (getter === undefined) throw new TypeError(`Cannot load: "${String(key)}" has no getter`);
  return getter;
}

export function optionalGetterOf(
  prototype: object | undefined,
  key: string | symbol,
): Getter | undefined {
  return prototype && Object.getOwnPropertyDescriptor(prototype, key)?.get;
}

const { getPrototypeOf } = Object;
/** On the prototype chain of every typed array, behind the prototype of its kind. */
export const TypedArrayPrototype = getPrototypeOf(Uint8Array.prototype);
export const typedArrayName: Getter = getterOf(TypedArrayPrototype, Symbol.toStringTag);
export const typedArrayBuffer: Getter = getterOf(TypedArrayPrototype, "buffer");
export const typedArrayOffset: Getter = getterOf(TypedArrayPrototype, "byteOffset");
export const typedArrayBytes: Getter = getterOf(TypedArrayPrototype, "byteLength");

type ViewConstructor = new (
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
) => ArrayBufferView;

/** Kinds of views, in the order of their numbers on the wire. */
export const VIEW_NAMES: readonly string[] = [
  "DataView",
  "Uint8Array",
  "Int8Array",
  "Uint8ClampedArray",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float32Array",
  "Float64Array",
  "BigInt64Array",
  "BigUint64Array",
  "Float16Array",
];
/** The class of each; `undefined` if it does not exist here. */
export const VIEWS: readonly (ViewConstructor | undefined)[] = VIEW_NAMES.map((name) =>
  (globalThis as unknown as Record<string, ViewConstructor | undefined>)[name]
);
/** Bytes of an element of each. */
export const ELEMENT_BYTES: readonly number[] = [1, 1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 2];
/** The number of each, by its name. */
export const VIEW_KINDS: ReadonlyMap<string, number> = new Map(
  VIEW_NAMES.map((name, kind) => [name, kind]),
);

/** The same elements of the same memory, as a typed array of a built-in class. Runs no code of users. */
export function plainArray<T extends ArrayBufferView>(values: T): T {
  const prototype = getPrototypeOf(values);
  // The most frequent ones first.
  if (prototype === Int32Array.prototype || prototype === Uint8Array.prototype) return values;
  if (prototype !== null && getPrototypeOf(prototype) === TypedArrayPrototype) return values;
  return viewOn(values);
}

/** The same, and of a length that no other agent can change: shared memory may grow at any moment. */
export function steadyArray<T extends ArrayBufferView>(values: T): T {
  const isGrowable = (typedArrayBuffer.call(values) as SharedArrayBuffer).growable === true;
  return isGrowable ? viewOn(values) : plainArray(values);
}

/** Another view on the same elements. */
function viewOn<T extends ArrayBufferView>(values: T): T {
  const kind = VIEW_KINDS.get(typedArrayName.call(values) as string)!;
  const View = VIEWS[kind]!;
  const bytes = typedArrayBytes.call(values) as number;
  // Where the memory was detached or cut off there are no elements, and no place for them.
  if (bytes === 0) return new View(new ArrayBuffer(0), 0, 0) as T;
  const buffer = typedArrayBuffer.call(values) as ArrayBufferLike;
  const offset = typedArrayOffset.call(values) as number;
  return new View(buffer, offset, bytes / ELEMENT_BYTES[kind]!) as T;
}
