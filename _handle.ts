// Copyright 2026 the Sabre authors. MIT license.

// Handles: the form in which a primitive crosses to another agent, and how it becomes a primitive
// again there. One agent has one object for one primitive, however often its handle arrives: what
// an agent knows of a primitive locally, such as how deep it holds a lock, is then in one place.
//
// The first words of every primitive, in Int32 units: 0 MAGIC | 1 VERSION | 2 KIND | 3 SERIAL.

import { type Domain, join, MAGIC, nextSerial, VERSION } from "./_agent.ts";
import { show } from "./_options.ts";
import { attend } from "./_watch.ts";

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

/**
 * On a primitive that belongs to one agent: hands it to the agent that is about to start, and returns
 * how to take it back if that fails.
 */
export const GIVE: unique symbol = Symbol("sabre.give");

/** What one agent holds of a primitive. */
export interface Holding {
  /** Id of the agent. */
  readonly id: number;
  /** The asynchronous form of the call that it got it by. */
  readonly call: "acquire" | "read" | "write";
  /** How many permits; 1 for a lock. */
  readonly permits: number;
}

/** What is held of a primitive. */
export interface Holdings {
  readonly handle: Handle;
  readonly held: readonly Holding[];
  /** Whether its last holder died and nobody has recovered it. */
  readonly isAbandoned: boolean;
  /** How many calls wait. */
  readonly waiting: number;
}

/**
 * On the prototype of what can be held: what is held of it, at a glance. Takes no latch, so that it may
 * be wrong about what changes at the same time.
 */
export const HOLDINGS: unique symbol = Symbol("sabre.holdings");

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
  return make(value as Handle);
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
  attend(domain);
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

/** What is held of each primitive of the domain that this agent has an object for. */
export function knownHoldings(domain: Domain): Holdings[] {
  const found: Holdings[] = [];
  for (const known of instances.get(domain)?.values() ?? []) {
    const instance = known.deref() as { [HOLDINGS]?: () => Holdings } | undefined;
    const holdings = instance?.[HOLDINGS]?.();
    if (holdings !== undefined) found.push(holdings);
  }
  return found;
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
  sound.add(handle);
  return handle;
}

/** The handles that were found to be sound. */
const sound = new WeakSet<object>();

/**
 * What a constructor was given beyond its declared parameters, if that is a handle which `from` has
 * looked at. Anything else that a user passes there is ignored.
 */
export function existingOf(value: unknown): Handle | undefined {
  return typeof value === "object" && value !== null && sound.has(value)
    ? value as Handle
    : undefined;
}

/** Joins the domain of a handle; refuses memory that is not one. */
export function domainOf(handle: Handle): Domain {
  const domain = join(handle.domain);
  attend(domain);
  return domain;
}

/** A copy of the handle: each of its fields is looked at once, whatever the object is. */
function handleIn(value: unknown, action: string): Handle {
  let handle: Raw | undefined;
  let shown = "";
  try {
    handle = copyOf(value);
    if (typeof handle?.sabre !== "string") shown = show(value);
  } catch (cause) {
    throw new TypeError(`Cannot ${action}: the handle cannot be read`, { cause });
  }
  if (handle === undefined || typeof handle.sabre !== "string") {
    throw new TypeError(`Cannot ${action}: expected a handle, got ${shown}`);
  }
  const { domain, memory, offset, overflow, lock } = handle;
  if (handle.version !== VERSION) {
    throw new TypeError(
      `Cannot ${action}: the handle is of version ${
        show(handle.version)
      }, and this is version ${VERSION}`,
    );
  }
  if (
    !(domain instanceof SharedArrayBuffer) || !(memory instanceof SharedArrayBuffer) ||
    memory.byteLength % 4 !== 0 || !isNatural(offset) || offset % 8 !== 0 ||
    !Number.isInteger(handle.serial) || !isNatural(handle.detail) ||
    (overflow !== undefined && !(overflow instanceof SharedArrayBuffer))
  ) {
    throw new TypeError(`Cannot ${action}: the handle is damaged`);
  }
  if (lock !== undefined) handle.lock = handleIn(lock, action);
  return handle as Handle;
}

/** The fields of a handle that nobody has looked at. */
type Raw = { -readonly [K in keyof Handle]: unknown };

function copyOf(value: unknown, isInner = false): Raw | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const from = ("handle" in value ? value.handle : value) as Partial<Handle> | null;
  if (typeof from !== "object" || from === null) return undefined;
  const { sabre, version, serial, domain, memory, offset, detail, overflow, lock } = from;
  const handle = { sabre, version, serial, domain, memory, offset, detail };
  return {
    ...handle,
    ...(overflow === undefined ? {} : { overflow }),
    // A lock has no lock.
    ...(lock === undefined || isInner ? {} : { lock: copyOf(lock, true) ?? {} }),
  };
}

function isNatural(value: unknown): value is number {
  return Number.isInteger(value) && value as number >= 0;
}

function kindHash(kind: string): number {
  let hash = 0;
  for (let i = 0; i < kind.length; i++) hash = (hash * 31 + kind.charCodeAt(i)) | 0;
  return hash;
}

function keyOf(handle: Handle): string {
  return `${handle.sabre} ${handle.serial} ${handle.offset} ${handle.detail}`;
}
