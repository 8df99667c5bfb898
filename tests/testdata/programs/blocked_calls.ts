// Copyright 2026 the Sabre authors. MIT license.

// Many children, each waiting in one kind of call, are terminated, and the program ends by itself.
//
//   blocked_calls.ts [children] [kind]...
//
// Without kinds the children are spread over all of them.

import {
  Barrier,
  Condition,
  type Connection,
  type Guard,
  Lock,
  pipe,
  Process,
  Queue,
  RLock,
  RwLock,
  select,
  selectSync,
  Semaphore,
  SharedEvent,
  SharedValue,
} from "@sabre/ipc";

/** What all children share. This agent holds what it can hold, and nobody ever comes. */
interface Things {
  readonly started: SharedValue<"i32">;
  readonly unwound: SharedValue<"i32">;
  readonly queue: Queue<number>;
  readonly full: Queue<number>;
  /** One in which an item is never done. */
  readonly undone: Queue<number>;
  readonly lock: Lock;
  readonly rlock: RLock;
  readonly written: RwLock;
  readonly read: RwLock;
  readonly semaphore: Semaphore;
  readonly condition: Condition;
  readonly event: SharedEvent;
  readonly value: SharedValue<"i32">;
}

interface Calls extends Things {
  /** An end of its own, to which nothing is sent and which has no room. */
  readonly end: Connection<number, number>;
}

/** Whoever is terminated at a barrier breaks it for the others: one for each child. */
const alone = new Barrier(2);

const BYTES = new Uint8Array(8);

const CALLS: Record<string, (calls: Calls) => unknown> = {
  "Connection.receiveSync": ({ end }) => end.receiveSync(),
  "Connection.receiveManySync": ({ end }) => end.receiveManySync(2),
  "Connection.receiveManyIntoSync": ({ end }) => end.receiveManyIntoSync(new Int32Array(2)),
  "Connection.receiveBytesSync": ({ end }) => end.receiveBytesSync(),
  "Connection.receiveBytesIntoSync": ({ end }) => end.receiveBytesIntoSync(BYTES),
  "Connection.sendSync": ({ end }) => forever(() => end.sendSync(1)),
  "Connection.sendManySync": ({ end }) => forever(() => end.sendManySync([1, 2])),
  "Connection.sendBytesSync": ({ end }) => forever(() => end.sendBytesSync(BYTES)),
  "Connection.pollSync": ({ end }) => end.pollSync(),
  "Connection, iterated": ({ end }) => {
    for (const value of end) throw new Error(`received ${value}`);
  },
  "Connection.receive": ({ end }) => end.receive(),
  "Connection.receiveMany": ({ end }) => end.receiveMany(2),
  "Connection.send": ({ end }) => foreverAsync(() => end.send(1)),
  "Connection.sendMany": ({ end }) => foreverAsync(() => end.sendMany([1, 2])),
  "Connection.poll": ({ end }) => end.poll(),
  "Connection.readable": ({ end }) => end.readable.getReader().read(),
  "Queue.getSync": ({ queue }) => queue.getSync(),
  "Queue.getManySync": ({ queue }) => queue.getManySync(2),
  "Queue.putSync": ({ full }) => full.putSync(1),
  "Queue.putManySync": ({ full }) => full.putManySync([1, 2]),
  "Queue.joinSync": ({ undone }) => undone.joinSync(),
  "Queue, iterated": ({ queue }) => {
    for (const value of queue) throw new Error(`took ${value}`);
  },
  "Queue.get": ({ queue }) => queue.get(),
  "Queue.put": ({ full }) => full.put(1),
  "Queue.join": ({ undone }) => undone.join(),
  "Lock.acquireSync": ({ lock }) => lock.acquireSync(),
  "Lock.withLockSync": ({ lock }) => lock.withLockSync(() => {}),
  "Lock.acquire": ({ lock }) => lock.acquire(),
  "Lock.withLock": ({ lock }) => lock.withLock(() => {}),
  "RLock.acquireSync": ({ rlock }) => rlock.acquireSync(),
  "RLock.acquire": ({ rlock }) => rlock.acquire(),
  "RwLock.readSync": ({ written }) => written.readSync(),
  "RwLock.writeSync": ({ read }) => read.writeSync(),
  "RwLock.read": ({ written }) => written.read(),
  "RwLock.write": ({ read }) => read.write(),
  "Semaphore.acquireSync": ({ semaphore }) => semaphore.acquireSync(),
  "Semaphore.acquire": ({ semaphore }) => semaphore.acquire({ permits: 2 }),
  "Condition.waitSync": ({ condition }) => condition.waitSync(condition.lock.acquireSync()),
  "Condition.waitForSync": ({ condition }) =>
    condition.waitForSync(condition.lock.acquireSync(), () => false),
  "Condition.wait": async ({ condition }) => condition.wait(await condition.lock.acquire()),
  "Condition.waitFor": async ({ condition }) =>
    condition.waitFor(await condition.lock.acquire(), () => false),
  "SharedEvent.waitSync": ({ event }) => event.waitSync(),
  "SharedEvent.wait": ({ event }) => event.wait(),
  "Barrier.waitSync": () => alone.waitSync(),
  "Barrier.wait": () => alone.wait(),
  "SharedValue.lock": ({ value }) => value.lock.acquireSync(),
  "selectSync": ({ queue, event, end }) => selectSync([queue, event, end]),
  "select": ({ queue, event, end }) => select([queue, event, end]),
  "Process.join": ({ event }) =>
    new Process(import.meta.url, { target: waitHere, args: [event] }).start().join(),
};

/** The kinds of waiting calls. */
export const KINDS: readonly string[] = Object.keys(CALLS);
/** The one whose children have children: there is room for half as many. */
const DOUBLE = "Process.join";

function forever(call: () => unknown): never {
  for (;;) call();
}

async function foreverAsync(call: () => Promise<unknown>): Promise<never> {
  for (;;) await call();
}

export function waitHere(event: SharedEvent): void {
  event.waitSync();
}

/** What the children run. */
export async function wait(
  kind: string,
  things: Things,
  end: Connection<number, number>,
): Promise<void> {
  things.started.add(1);
  try {
    await CALLS[kind]!({ ...things, end });
    throw new Error(`${kind} has returned`);
  } catch (error) {
    if ((error as Error).name !== "TerminatedError") throw error;
    things.unwound.add(1);
    throw error;
  }
}

/** Has so many children wait in calls of the kinds, and ends them. Throws unless all end as they should. */
export async function terminateAll(kinds: readonly string[], count: number): Promise<void> {
  const things: Things = {
    started: new SharedValue("i32"),
    unwound: new SharedValue("i32"),
    queue: new Queue(),
    full: new Queue({ maxItems: 1 }),
    undone: new Queue(),
    lock: new Lock(),
    rlock: new RLock(),
    written: new RwLock(),
    read: new RwLock(),
    semaphore: new Semaphore(1),
    condition: new Condition(),
    event: new SharedEvent(),
    value: new SharedValue("i32"),
  };
  things.full.putSync(1);
  things.undone.putSync(1);
  const guards: Guard[] = [
    things.lock.acquireSync(),
    things.rlock.acquireSync(),
    things.written.writeSync(),
    things.read.readSync(),
    things.semaphore.acquireSync(),
    things.value.lock.acquireSync(),
  ];
  const kept: Connection<number, number>[] = [];
  const children = Array.from({ length: count }, (_, i) => {
    const [here, there] = pipe<number>({ capacity: 1_024 });
    kept.push(here);
    const kind = kinds[i % kinds.length]!;
    return new Process(import.meta.url, { target: wait, args: [kind, things, there], name: kind })
      .start();
  });
  // One that cannot even begin ends at once, and says why.
  const starts = Promise.race(children.map(({ result }) => result));
  let isThere = false;
  const allThere = (async () => {
    while (things.started.value < count && !isThere) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  try {
    await Promise.race([starts, allThere]);
  } finally {
    isThere = true;
  }
  // They have said that they are about to call.
  await new Promise((resolve) => setTimeout(resolve, 100));
  await Promise.all(children.map((child) => child.terminate({ grace: 30_000 })));
  for (const { name, exitCode } of children) {
    if (exitCode !== -15) throw new Error(`${name} ended with ${exitCode}`);
  }
  const unwound = things.unwound.value;
  if (unwound !== count) throw new Error(`${count - unwound} of ${count} were not in the call`);
  for (const guard of guards) guard.release();
  for (const here of kept) here.close();
}

/** How many children of a kind there is room for. */
export function roomFor(kind: string): number {
  return kind === DOUBLE ? 50 : 100;
}

if (import.meta.main) {
  const [count = "100", ...kinds] = Deno.args;
  await terminateAll(kinds.length > 0 ? kinds : KINDS, Number(count));
  console.log(`${count} are gone`);
}
