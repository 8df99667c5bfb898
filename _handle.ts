// Copyright 2026 the Sabre authors. MIT license.

// Handles: the form in which a primitive crosses to another agent, and how it becomes a primitive
// again there. One agent has one object for one primitive, however often its handle arrives: what
// an agent knows of a primitive locally, such as how deep it holds a lock, is then in one place.
//
// The first words of every primitive, in Int32 units: 0 MAGIC | 1 VERSION | 2 KIND | 3 SERIAL.

import { type Domain, join, MAGIC, nextSerial, VERSION } from "./_agent.ts";
import { show } from "./_options.ts";

const KIND = 2; // hash of the kind's name
const SERIAL = 3; // the handle's serial

/**
 * What structured clone makes of a primitive's `handle`, and what `from` accepts.
 *
 * @example Send a queue to a worker that you started yourself
 * ```ts
 * import { Queue } from "@sabre/ipc/queue";
 * import { assertEquals, assertStrictEquals } from "@std/assert";
 *
 * const queue = new Queue<number>();
 * assertEquals(queue.handle.sabre, "Queue");
 * assertStrictEquals(Queue.from(queue.handle), queue);
 * ```
 */
export interface Handle {
  /** The kind of primitive: its class name. */
  readonly sabre: string;
  /** Version of the memory layout; another one is refused. */
  readonly version: number;
  /** The number of the primitive in its domain. */
  readonly serial: number;
  /** The memory of the agents that share the primitive. */
  readonly domain: SharedArrayBuffer;
  /** The memory of the primitive. */
  readonly memory: SharedArrayBuffer;
  /** Where in that memory it begins, in bytes. */
  readonly offset: number;
  /** Which part of the primitive it is, such as the end of a pipe. */
  readonly detail: number;
  /** Memory that grows, for those that need some. */
  readonly overflow?: SharedArrayBuffer;
  /** The handle of the lock that it works with, for those that have one. */
  readonly lock?: Handle;
}

/** On the prototype of every primitive: its kind, or `"none"` for what can never be passed. */
export const PRIMITIVE: unique symbol = Symbol("sabre.primitive");

/**
 * On a primitive that belongs to one agent: hands it to the agent that is about to start, and returns
 * how to take it back if that fails.
 */
export const GIVE: unique symbol = Symbol("sabre.give");

type Revive = (handle: Handle) => object;

const revivers = new Map<string, Revive>();
const instances = new Map<Domain, Map<string, WeakRef<object>>>();
const cleanup = new FinalizationRegistry<[Domain, string]>(([domain, key]) => {
  const known = instances.get(domain);
  if (known?.get(key)?.deref() === undefined) known?.delete(key);
});

/** Makes handles of a kind revivable. Each module does so for its own kinds. */
export function registerKind(kind: string, revive: Revive): void {
  revivers.set(kind, revive);
}

/** Whether handles of the kind can be revived already. */
export function isRegistered(kind: string): boolean {
  return revivers.has(kind);
}

/** Makes a primitive of its handle. */
export function revive(value: unknown): unknown {
  const handle = handleIn(value, "pass a primitive");
  const make = revivers.get(handle.sabre);
  if (make === undefined) {
    throw new TypeError(`Cannot pass a primitive: nothing is known of the kind "${handle.sabre}"`);
  }
  return make(handle);
}

/** A handle for a new primitive of the kind, in memory of its own unless some is given. */
export function createHandle(
  kind: string,
  domain: Domain,
  bytes: number,
  detail = 0,
  memory: SharedArrayBuffer = new SharedArrayBuffer(bytes),
  offset = 0,
): Handle {
  const serial = nextSerial(domain);
  const words = new Int32Array(memory, offset, 4);
  // Nobody else has the memory yet.
  Atomics.store(words, 1, VERSION);
  Atomics.store(words, KIND, kindHash(kind));
  Atomics.store(words, SERIAL, serial);
  Atomics.store(words, 0, MAGIC);
  return { sabre: kind, version: VERSION, serial, domain: domain.memory, memory, offset, detail };
}

/** The serial of the primitive that lies at an offset of the memory. */
export function serialAt(memory: SharedArrayBuffer, offset: number): number {
  return Atomics.load(new Int32Array(memory, offset, 4), SERIAL);
}

/** Remembers the one object of this agent for the primitive. */
export function remember(handle: Handle, domain: Domain, instance: object): void {
  const key = keyOf(handle);
  let known = instances.get(domain);
  if (known === undefined) instances.set(domain, known = new Map());
  known.set(key, new WeakRef(instance));
  cleanup.register(instance, [domain, key]);
}

/** The object that this agent has for the primitive, if it has one. */
export function recall(handle: Handle, domain: Domain): object | undefined {
  return instances.get(domain)?.get(keyOf(handle))?.deref();
}

/**
 * The handle in what a user passes to `from`: a primitive, what structured clone made of one, or the
 * handle itself. Refuses other kinds, other versions and memory that is too small or not of the kind.
 */
export function handleOf(value: unknown, kind: string, minBytes: number): Handle {
  const handle = handleIn(value, `attach ${kind}`);
  if (handle.sabre !== kind) {
    throw new TypeError(`Cannot attach ${kind}: the handle is of kind ${show(handle.sabre)}`);
  }
  const { memory, offset } = handle;
  if (memory.byteLength - offset < minBytes) {
    throw new TypeError(
      `Cannot attach ${kind}: its memory is truncated to ${memory.byteLength} bytes`,
    );
  }
  const words = new Int32Array(memory, offset, 4);
  if (
    Atomics.load(words, 0) !== MAGIC || Atomics.load(words, 1) !== VERSION ||
    Atomics.load(words, KIND) !== kindHash(kind) || Atomics.load(words, SERIAL) !== handle.serial
  ) {
    throw new TypeError(`Cannot attach ${kind}: its memory holds something else`);
  }
  return handle;
}

/** Joins the domain of a handle; refuses memory that is not one. */
export function domainOf(handle: Handle): Domain {
  return join(handle.domain);
}

function handleIn(value: unknown, action: string): Handle {
  if (typeof value !== "object" || value === null) {
    throw new TypeError(`Cannot ${action}: expected a handle, got ${show(value)}`);
  }
  const handle = ("handle" in value ? value.handle : value) as Partial<Handle> | null;
  if (typeof handle !== "object" || handle === null || typeof handle.sabre !== "string") {
    throw new TypeError(`Cannot ${action}: expected a handle, got ${show(value)}`);
  }
  if (handle.version !== VERSION) {
    throw new TypeError(
      `Cannot ${action}: the handle is of version ${
        show(handle.version)
      }, and this is version ${VERSION}`,
    );
  }
  const { offset, serial } = handle;
  if (
    !(handle.domain instanceof SharedArrayBuffer) ||
    !(handle.memory instanceof SharedArrayBuffer) || handle.memory.byteLength % 4 !== 0 ||
    !Number.isInteger(serial) || !Number.isInteger(offset) || offset! < 0 || offset! % 8 !== 0
  ) {
    throw new TypeError(`Cannot ${action}: the handle is damaged`);
  }
  return handle as Handle;
}

function kindHash(kind: string): number {
  let hash = 0;
  for (let i = 0; i < kind.length; i++) hash = (hash * 31 + kind.charCodeAt(i)) | 0;
  return hash;
}

function keyOf(handle: Handle): string {
  return `${handle.sabre} ${handle.serial} ${handle.offset} ${handle.detail}`;
}
