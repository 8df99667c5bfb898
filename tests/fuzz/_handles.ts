// Copyright 2026 the Sabre authors. MIT license.

// Handles that are not what they say, and what may come of attaching them, and of calls on what was
// attached.

import { assert } from "@std/assert";
import { Barrier } from "../../barrier.ts";
import { Condition } from "../../condition.ts";
import { SharedEvent } from "../../event.ts";
import { Lock, RLock } from "../../lock.ts";
import { Connection, pipe } from "../../pipe.ts";
import { Queue } from "../../queue.ts";
import { RwLock } from "../../rwlock.ts";
import { Semaphore } from "../../semaphore.ts";
import { SharedArray, SharedValue } from "../../shared.ts";
import { randomOf } from "../_helpers.ts";
import { anyWord, below, pick, type Random } from "./_mutate.ts";
import { attempt } from "./_storage.ts";

const WAIT = { timeout: 1 };

/** A kind of primitive: how to make one, attach a handle, and call everything it has. */
interface Subject {
  readonly name: string;
  readonly make: () => { readonly handle: Raw };
  readonly from: (handle: unknown) => unknown;
  // deno-lint-ignore no-explicit-any
  readonly calls: ((item: any, random: Random) => unknown)[];
}

type Raw = { readonly [key: string]: unknown } | object;

/** Acquires and gives back, which may fail as well. */
function hold(guard: { release(): void } | undefined): void {
  guard?.release();
}

/** The calls of both kinds of locks. */
const lockCalls: Subject["calls"] = [
  (lock) => hold(lock.tryAcquire()),
  (lock) => hold(lock.tryAcquire({ recover: true })),
  (lock) => hold(lock.acquireSync(WAIT)),
  (lock) => hold(lock.acquireSync({ ...WAIT, recover: true })),
  async (lock) => hold(await lock.acquire(WAIT)),
  (lock) => lock.withLockSync(() => 1, WAIT),
  (lock) => lock.locked,
];

/** A lock of a condition that nobody damages. */
const sound = new RLock();

function needsSound(condition: Condition): RLock {
  if (condition.lock !== sound) throw new TypeError("Cannot wait: the lock is another one");
  return sound;
}

const SUBJECTS: Subject[] = [
  { name: "Lock", make: () => new Lock(), from: Lock.from, calls: lockCalls },
  { name: "RLock", make: () => new RLock(), from: RLock.from, calls: lockCalls },
  {
    name: "RwLock",
    make: () => new RwLock(),
    from: RwLock.from,
    calls: [
      (lock) => hold(lock.tryRead()),
      (lock) => hold(lock.tryWrite()),
      (lock) => hold(lock.readSync(WAIT)),
      (lock) => hold(lock.writeSync({ ...WAIT, recover: true })),
      async (lock) => hold(await lock.write(WAIT)),
      async (lock) => hold(await lock.read(WAIT)),
    ],
  },
  {
    name: "Semaphore",
    make: () => new Semaphore(2, { max: 5 }),
    from: Semaphore.from,
    calls: [
      (semaphore) => hold(semaphore.tryAcquire()),
      (semaphore) => hold(semaphore.acquireSync(WAIT)),
      async (semaphore) => hold(await semaphore.acquire({ ...WAIT, permits: 2 })),
      (semaphore) => semaphore.release(),
      (semaphore) => semaphore.available,
    ],
  },
  {
    name: "Condition",
    make: () => new Condition(),
    from: Condition.from,
    calls: [
      (condition) => condition.notify(),
      (condition) => condition.notify(1_000_000),
      (condition) => condition.notifyAll(),
      (condition) => condition.lock.tryAcquire()?.release(),
    ],
  },
  {
    name: "Condition",
    // Waiting acquires the lock again, without a limit: it has to be sound.
    make: () => new Condition(sound),
    from: Condition.from,
    calls: [
      (condition) => condition.notifyAll(),
      (condition) => needsSound(condition).withLockSync((guard) => condition.waitSync(guard, WAIT)),
      (condition) => needsSound(condition).withLock((guard) => condition.wait(guard, WAIT)),
    ],
  },
  {
    name: "SharedEvent",
    make: () => new SharedEvent(),
    from: SharedEvent.from,
    calls: [
      (event) => event.isSet,
      (event) => event.waitSync(WAIT),
      (event) => event.wait(WAIT),
      (event) => event.set(),
      (event) => event.clear(),
    ],
  },
  {
    name: "Barrier",
    make: () => new Barrier(2),
    from: Barrier.from,
    calls: [
      (barrier) => barrier.waitSync(WAIT),
      (barrier) => barrier.wait(WAIT),
      (barrier) => barrier.abort(),
      (barrier) => barrier.reset(),
      (barrier) => `${barrier.waiting} ${barrier.broken} ${barrier.parties}`,
    ],
  },
  {
    name: "Connection",
    make: () => pipe({ capacity: 64 })[0],
    from: Connection.from,
    calls: [
      (end) => end.tryReceive(),
      (end) => end.receiveSync(WAIT),
      (end) => end.receiveManySync(1e6, WAIT),
      (end) => end.receiveManyIntoSync(new Int32Array(10), WAIT),
      (end) => end.trySend([1]),
      (end) => end.sendSync(1, WAIT),
      (end) => end.sendManySync(new Int8Array(200), WAIT),
      (end) => end.send(new Uint8Array(300), WAIT),
      (end) => end.close(),
    ],
  },
  {
    name: "Queue",
    make: () => new Queue({ capacity: 64 }),
    from: Queue.from,
    calls: [
      (queue) => queue.tryGet(),
      (queue) => queue.getSync(WAIT),
      (queue) => queue.getManySync(1e6, WAIT),
      (queue) => queue.getManyIntoSync(new Int32Array(10), WAIT),
      (queue) => queue.tryPut([1]),
      (queue) => queue.putSync(1, WAIT),
      (queue) => queue.putManySync(new Int8Array(200), WAIT),
      (queue) => queue.put(new Uint8Array(300), WAIT),
      (queue) => queue.taskDone(),
      (queue) => queue.joinSync(WAIT),
      (queue) => queue.close(),
    ],
  },
  {
    name: "SharedValue",
    make: () => new SharedValue("f64", 1),
    from: SharedValue.from,
    calls: [
      (value) => value.value,
      (value) => value.add(1),
      (value) => value.update((n: number) => n + 1),
      (value) => hold(value.lock.tryAcquire()),
    ],
  },
  {
    name: "SharedArray",
    make: () => new SharedArray("i16", 9),
    from: SharedArray.from,
    calls: [
      (array) => array.get(0),
      (array) => array.at(-1),
      (array) => array.set(3, 1),
      (array) => array.slice(),
      (array) => array.fill(1),
      (array) => array.view.length,
      (array) => hold(array.lock.tryAcquire()),
    ],
  },
];

/** What no field of a handle should be. */
function junk(random: Random): unknown {
  const memory = (bytes: number) => new SharedArrayBuffer(bytes);
  return pick<() => unknown>(random, [
    () => undefined,
    () => null,
    () => -1,
    () => 0.5,
    () => NaN,
    () => Infinity,
    () => 2 ** 53,
    () => 2 ** 31,
    () => 4,
    () => 8,
    () => anyWord(random),
    () => 10n,
    () => "",
    () => "Lock",
    () => "x".repeat(10_000),
    () => "__proto__",
    () => true,
    () => Symbol("junk"),
    () => () => 1,
    () => ({}),
    () => [],
    () => ({ valueOf: () => 8, toString: () => "Lock" }),
    () => new Proxy({}, {}),
    () => new ArrayBuffer(1_024),
    () => memory(0),
    () => memory(16),
    () => memory(6),
    () => memory(4_096),
    () => memory(33_024),
    () => new SharedArrayBuffer(8, { maxByteLength: 16 }),
    () => new Int32Array(memory(1_024)),
    () => new Lock(),
    () => pick(random, SUBJECTS).make().handle,
  ])();
}

/** Objects that do something when they are looked at. */
function trap(handle: Raw, random: Random): unknown {
  const fail = () => {
    throw new EvalError("trapped");
  };
  const key = pick(random, FIELDS);
  return pick<() => unknown>(random, [
    () => new Proxy(handle, { get: fail }),
    () => new Proxy(handle, { has: fail }),
    () => new Proxy(handle, { getPrototypeOf: fail }),
    () => new Proxy({}, { getPrototypeOf: fail }),
    () => new Proxy(handle, { ownKeys: fail, getOwnPropertyDescriptor: fail }),
    () => {
      const { proxy, revoke } = Proxy.revocable(handle, {});
      revoke();
      return proxy;
    },
    () => Object.defineProperty({ ...handle }, key, { get: fail }),
    // Another answer each time.
    () => Object.defineProperty({ ...handle }, key, { get: () => junk(random) }),
    () => {
      let times = 0;
      const sound = (handle as Record<string, unknown>)[key];
      return Object.defineProperty({ ...handle }, key, {
        get: () => times++ < 1 ? sound : junk(random),
      });
    },
    () => ({ handle }),
    () => ({ handle: { handle } }),
    () => ({ handle: new Proxy(handle, { get: fail }) }),
    () => ({
      get handle() {
        return fail();
      },
    }),
    () => Object.create(handle),
    () => Object.assign(() => {}, handle),
    () => junk(random),
  ])();
}

const FIELDS = [
  "sabre",
  "version",
  "serial",
  "domain",
  "memory",
  "offset",
  "detail",
  "overflow",
  "lock",
];

let serials = 1 << 24;

/** A handle on a copy of the memory, which no object of this agent has yet. */
function unknownCopy(
  handle: Raw,
  bytes?: number,
): Record<string, unknown> & { memory: SharedArrayBuffer } {
  const { memory } = handle as { memory: SharedArrayBuffer };
  const copy = new SharedArrayBuffer(bytes ?? memory.byteLength);
  const size = Math.min(copy.byteLength, memory.byteLength);
  new Uint8Array(copy).set(new Uint8Array(memory, 0, size));
  const serial = ++serials;
  if (size >= 16) new Int32Array(copy, 0, 4)[3] = serial;
  return { ...handle, serial, memory: copy };
}

function overwrite(memory: SharedArrayBuffer, from: number, random: Random): void {
  const words = new Int32Array(memory);
  const count = random() < 0.3 ? words.length : 1 + below(random, 20);
  for (let i = 0; i < count; i++) {
    const at = count === words.length ? i : below(random, words.length);
    if (at >= from) words[at] = anyWord(random);
  }
}

/** A handle that is not what it says. */
function hostile(subject: Subject, random: Random): unknown {
  const { handle } = subject.make();
  switch (below(random, 8)) {
    case 0: {
      const copy = { ...handle } as Record<string, unknown>;
      for (let times = 1 + below(random, 2); times > 0; times--) {
        copy[pick(random, FIELDS)] = junk(random);
      }
      return copy;
    }
    case 1:
      return trap(handle, random);
    case 2: { // cut short, or with more than there was
      const { byteLength } = (handle as { memory: SharedArrayBuffer }).memory;
      return unknownCopy(handle, below(random, byteLength / 4 + 64) * 4);
    }
    case 3: { // of another kind
      const other = pick(random, SUBJECTS).make().handle;
      return random() < 0.5 ? other : { ...other, sabre: subject.name };
    }
    case 4: { // noise from the start
      const copy = unknownCopy(handle);
      overwrite(copy.memory, 0, random);
      return copy;
    }
    case 5: { // noise in the table of agents, which keeps its identity, so as not to be a new one each time
      const copy = unknownCopy(handle);
      const domain = new SharedArrayBuffer((copy.domain as SharedArrayBuffer).byteLength);
      const words = new Int32Array(domain);
      words.set(new Int32Array(copy.domain as SharedArrayBuffer));
      words.set(pick(random, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]), 2);
      for (let times = below(random, 100); times > 0; times--) {
        words[pick(random, [6 + below(random, 8), below(random, words.length)])] = anyWord(random);
      }
      if (random() < 0.1) words.fill(anyWord(random), 6 + below(random, 60));
      return { ...copy, domain };
    }
    case 6: { // the lock of a condition
      const lock = unknownCopy(new RLock().handle);
      overwrite(lock.memory, random() < 0.5 ? 0 : 4, random);
      return {
        ...unknownCopy(handle),
        lock: pick(random, [lock, junk(random), trap(lock, random)]),
      };
    }
    default: { // noise in everything but what says that it is one
      const copy = unknownCopy(handle);
      overwrite(copy.memory, 4, random);
      return copy;
    }
  }
}

/** Attaches so many hostile handles, of all kinds, and calls what was attached. Returns how many were. */
export async function fuzzHandles(seed: number, cases: number): Promise<number> {
  let attached = 0;
  for (let i = 0; i < cases; i++) {
    const random = randomOf(seed + i);
    const subject = SUBJECTS[i % SUBJECTS.length]!;
    try {
      if (await fuzzHandle(subject, random)) attached++;
    } catch (error) {
      throw new Error(`Case ${seed + i}: ${subject.name}`, { cause: error });
    }
  }
  return attached;
}

async function fuzzHandle(subject: Subject, random: Random): Promise<boolean> {
  const handle = hostile(subject, random);
  const found: unknown[] = [];
  await attempt(() => void found.push(subject.from(handle)));
  if (found.length === 0) return false;
  const item = found[0] as object;
  assert(item.constructor.name === subject.name, `a ${item.constructor.name} came`);
  for (let times = 3; times > 0; times--) {
    const call = pick(random, subject.calls);
    await attempt(async () => void await call(item, random));
  }
  await attempt(() => Deno.inspect(item));
  return true;
}
