// Copyright 2026 the Sabre authors. MIT license.

// What the children of stress/campaign.ts run: endless work on one primitive, or on all, until they are
// killed or end themselves where it hurts most.

import { BrokenBarrierError, ClosedError } from "../../errors.ts";
import {
  Barrier,
  Condition,
  Connection,
  Lock,
  Process,
  Queue,
  RLock,
  RwLock,
  select,
  selectSync,
  Semaphore,
  SharedArray,
  SharedEvent,
  SharedValue,
} from "../../mod.ts";
import { randomOf } from "../_helpers.ts";

/** How a child is to end: by another agent, or by itself after so many steps. */
export interface Fate {
  readonly seed: number;
  readonly how: "live" | "exit" | "throw" | "spin" | "close";
  readonly steps: number;
  /** Whether it must not block: a worker of the user's can only be terminated while it is idle. */
  readonly isAsync: boolean;
  /** What it writes its number into when it begins. */
  readonly pid: SharedValue<"i32">;
}

/** An item of a queue or message of a pipe: who sent it, and its number there. */
export interface Item {
  readonly by: number;
  readonly number: number;
  readonly pad?: string;
}

/** How many items one producer can put in one round. */
export const MOST = 4_000;

/** Counts steps, and ends the agent at the last. */
class Fated {
  readonly random: () => number;
  readonly #fate: Fate;
  #steps = 0;

  constructor(fate: Fate) {
    this.#fate = fate;
    this.random = randomOf(fate.seed);
    fate.pid.value = Process.current.pid;
  }

  /** Whether the next call is to block. */
  get isSync(): boolean {
    return this.random() < 0.5 && !this.#fate.isAsync;
  }

  /** The number of a form of a call: of those from `first` to `last` only if it may block. */
  form(limit: number, first: number, last = first): number {
    const form = this.below(limit);
    return this.#fate.isAsync && form >= first && form <= last ? 0 : form;
  }

  /** A turn of the event loop now and then, without which a worker of the user's is never idle. */
  async rest(): Promise<void> {
    if (this.#fate.isAsync && this.random() < 0.5) {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  step(): void {
    if (++this.#steps !== this.#fate.steps) return;
    switch (this.#fate.how) {
      case "exit":
        return Deno.exit(3);
      case "close":
        return self.close();
      case "throw":
        throw new RangeError("as planned");
      case "spin":
        for (;;);
    }
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }
}

/** Runs another target as a child of its own. */
export async function above(target: string, args: unknown[]): Promise<void> {
  await using child = new Process(import.meta.url, { target, args }).start();
  try {
    await child.result;
  } catch (error) {
    if (isFault(error)) throw error;
  }
}

/** Whether it is neither an end that was planned nor one that somebody else made. */
function isFault(error: unknown): boolean {
  const { name, message } = error as Error;
  return name === "RemoteError" && !message.includes("as planned");
}

/** The same, but kills it when it is told to, and then blocks for ever. */
export function killer(
  target: string,
  args: unknown[],
  order: SharedEvent,
  grace: number,
  isWaiting: boolean,
): void | Promise<void> {
  const child = new Process(import.meta.url, { target, args }).start();
  child.result.catch((error) => {
    if (isFault(error)) throw error;
  });
  order.waitSync();
  const end = child.terminate({ grace });
  end.catch(() => {});
  if (isWaiting) return end.then(() => new Promise(() => {}));
  new SharedEvent().waitSync();
}

/** Runs another target in a worker of the user's, with what came there of the primitives. */
export async function attached(target: string, args: unknown[]): Promise<void> {
  const targets: Record<string, (...args: never[]) => unknown> = await import(import.meta.url);
  const values = revive(args) as unknown[];
  // An end that was not given to a process belongs to whoever uses it first: until then to nobody, whose
  // death would say nothing.
  for (const value of values) if (value instanceof Connection) value.pollSync({ timeout: 0 });
  await targets[target]!(...values as never[]);
}

const KINDS: Record<string, { from(handle: unknown): unknown }> = {
  Barrier,
  Condition,
  Connection,
  Lock,
  Queue,
  RLock,
  RwLock,
  Semaphore,
  SharedArray,
  SharedEvent,
  SharedValue,
};

function revive(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(revive);
  const { handle } = value as { handle?: { sabre: string } };
  if (handle !== undefined) return KINDS[handle.sabre]!.from(value);
  return Object.fromEntries(Object.entries(value).map(([name, value]) => [name, revive(value)]));
}

// Its getter runs while the item is encoded: a good moment to die.
function itemOf(fated: Fated, by: number, number: number): Item {
  const kind = fated.below(24);
  const pad = kind === 0
    ? "x".repeat(6_000)
    : kind < 4
    ? "y".repeat(fated.below(900))
    : kind < 12
    ? "z"
    : undefined;
  return {
    by,
    get number() {
      fated.step();
      return number;
    },
    ...pad === undefined ? {} : { pad },
  };
}

/** An item as it is, or as one number: those go in batches. */
export function openItem(item: Item | number): Item {
  return typeof item === "number" ? { by: Math.floor(item / MOST), number: item % MOST } : item;
}

/** The items from `first` on in one of the forms that `putMany` takes. */
function itemsOf(
  fated: Fated,
  by: number,
  first: number,
  count: number,
): Iterable<Item | number> | Int32Array {
  const form = fated.below(3);
  if (form === 0) {
    return function* () {
      for (let i = 0; i < count; i++) yield itemOf(fated, by, first + i);
    }();
  }
  fated.step();
  const numbers = Array.from({ length: count }, (_, i) => by * MOST + first + i);
  return form === 1 ? numbers : new Int32Array(numbers);
}

/** Puts numbered items; `log` has for each producer how many it began to put and how many it has put. */
export async function produce(
  fate: Fate,
  queue: Queue<Item | number>,
  log: SharedArray<"i32">,
  by: number,
): Promise<void> {
  const fated = new Fated(fate);
  for (let number = 1; number <= MOST - 8;) {
    await fated.rest();
    const count = 1 + fated.below(6);
    const form = fated.form(5, 1, 3);
    log.set(2 * by, form === 3 ? number + count - 1 : number);
    if (form === 0) await queue.put(itemOf(fated, by, number));
    if (form === 1) queue.putSync(itemOf(fated, by, number));
    if (form === 2 && !queue.tryPut({ by, number })) queue.putSync({ by, number });
    if (form === 3) {
      // Fewer than there were if this agent was asked to end meanwhile.
      number += queue.putManySync(itemsOf(fated, by, number, count)) - 1;
    }
    if (form === 4) {
      // Aborted and timed-out puts leave nothing behind.
      try {
        await queue.put(itemOf(fated, by, number), { timeout: fated.random() });
      } catch (error) {
        if ((error as Error).name !== "TimeoutError") throw error;
        continue;
      }
    }
    log.set(2 * by + 1, number++);
  }
}

/** Takes items one at a time, and counts each in `taken` after that. */
export async function consume(
  fate: Fate,
  queue: Queue<Item | number>,
  taken: SharedArray<"u8">,
  late: SharedValue<"i32">,
): Promise<void> {
  const fated = new Fated(fate);
  const last = new Map<number, number>();
  for (;;) {
    fated.step();
    await fated.rest();
    const form = fated.form(4, 1);
    let item: Item | number | undefined;
    if (form === 0) item = await queue.get();
    if (form === 1) item = queue.getSync();
    if (form === 2) {
      const found = queue.tryGet();
      if (found.state === "ok") item = found.value;
    }
    if (form === 3) {
      try {
        item = await queue.get({ timeout: fated.random() });
      } catch (error) {
        if ((error as Error).name !== "TimeoutError") throw error;
      }
    }
    if (item === undefined) continue;
    const { by, number } = openItem(item);
    taken.add(by * MOST + number, 1);
    if (number < (last.get(by) ?? 0)) late.add(1);
    else last.set(by, number);
  }
}

/** Sends back what comes, in every form. Returns how many did; the end of the pipe is a normal end. */
export async function echo(fate: Fate, connection: Connection<Item, Item>): Promise<number> {
  const fated = new Fated(fate);
  let count = 0;
  try {
    for (;;) {
      await fated.rest();
      const item = fated.isSync ? connection.receiveSync() : await connection.receive();
      const answer = itemOf(fated, item.by, item.number);
      if (fated.isSync) connection.sendSync(answer);
      else await connection.send(answer);
      count++;
    }
  } catch (error) {
    if (!(error instanceof ClosedError)) throw error;
  }
  return count;
}

/** Sends numbered items until the other end is gone. */
export async function send(fate: Fate, connection: Connection<Item, Item>): Promise<void> {
  const fated = new Fated(fate);
  try {
    for (let number = 1;; number++) {
      await fated.rest();
      if (fated.isSync) connection.sendSync(itemOf(fated, 0, number));
      else await connection.send(itemOf(fated, 0, number));
    }
  } catch (error) {
    if (!(error instanceof ClosedError)) throw error;
  }
}

/** Receives them. Returns how many came, all in order. */
export async function receive(fate: Fate, connection: Connection<Item, Item>): Promise<number> {
  const fated = new Fated(fate);
  let count = 0;
  for (;;) {
    fated.step();
    await fated.rest();
    let item: Item;
    try {
      item = fated.isSync ? connection.receiveSync() : await connection.receive();
    } catch (error) {
      if (error instanceof ClosedError) return count;
      throw error;
    }
    if (item.number !== ++count) throw new Error(`${item.number} came as number ${count}`);
  }
}

/** Raises two numbers together under a lock; whoever finds them different without a death complains. */
export async function exclude(
  fate: Fate,
  lock: Lock | RwLock,
  pair: SharedArray<"i32">,
): Promise<void> {
  const fated = new Fated(fate);
  for (;;) {
    const { isSync } = fated;
    await fated.rest();
    const isRead = "write" in lock && fated.random() < 0.6;
    if (isRead) {
      try {
        using _guard = isSync ? lock.readSync() : await lock.read();
        const [a, b, , violations] = pair.slice();
        if (a !== b) pair.set(3, violations! + 1);
        fated.step();
      } catch (error) {
        if ((error as Error).name !== "AbandonedError") throw error;
      }
      continue;
    }
    using guard = "write" in lock
      ? isSync ? lock.writeSync({ recover: true }) : await lock.write({ recover: true })
      : isSync
      ? lock.acquireSync({ recover: true })
      : await lock.acquire({ recover: true });
    // Who is in: nobody, unless a dead one was.
    const inside = pair.exchange(2, Process.current.pid);
    const isHalf = pair.get(0) !== pair.get(1);
    if (!guard.abandoned && (inside !== 0 || isHalf)) pair.add(3, 1);
    if (isHalf) pair.set(1, pair.get(0));
    pair.add(0, 1);
    try {
      fated.step();
      await fated.rest();
    } finally {
      pair.add(1, 1);
      pair.set(2, 0);
    }
  }
}

/** Takes and gives permits back; `inside` has how many each child holds. */
export async function take(
  fate: Fate,
  semaphore: Semaphore,
  inside: SharedArray<"i32">,
  by: number,
): Promise<void> {
  const fated = new Fated(fate);
  for (;;) {
    const permits = 1 + fated.below(3);
    let guard;
    await fated.rest();
    if (fated.isSync) guard = semaphore.acquireSync({ permits });
    else if (fated.random() < 0.5) guard = await semaphore.acquire({ permits });
    else {
      try {
        guard = await semaphore.acquire({ permits, timeout: fated.random() * 2 });
      } catch (error) {
        if ((error as Error).name !== "TimeoutError") throw error;
        continue;
      }
    }
    inside.set(by, permits);
    fated.step();
    await fated.rest();
    inside.set(by, 0);
    guard.release();
  }
}

/** Uses up tokens as they come: `tokens` has how many there are and how many were used. */
export async function useTokens(
  fate: Fate,
  condition: Condition,
  tokens: SharedArray<"i32">,
  served: SharedEvent,
): Promise<void> {
  const fated = new Fated(fate);
  for (;;) {
    await fated.rest();
    using guard = fated.isSync
      ? condition.lock.acquireSync({ recover: true })
      : await condition.lock.acquire({ recover: true });
    fated.step();
    const there = () => tokens.get(0) > 0;
    const form = fated.form(3, 1, 2);
    try {
      if (form === 0) await condition.waitFor(guard, there);
      if (form === 1) condition.waitForSync(guard, there);
      if (form === 2 && !condition.waitForSync(guard, there, { timeout: 1 })) continue;
    } catch (error) {
      // Who held the lock has died: this one has recovered it.
      if ((error as Error).name === "AbandonedError" && guard.held && guard.abandoned) continue;
      throw error;
    }
    tokens.sub(0, 1);
    served.set();
    fated.step();
    tokens.add(1, 1);
  }
}

/** Goes through rounds until the barrier breaks. Returns how many. */
export async function meet(
  fate: Fate,
  barrier: Barrier,
  arrivals: SharedArray<"i32">,
): Promise<number> {
  const fated = new Fated(fate);
  for (let round = 0;; round++) {
    fated.step();
    try {
      const index = fated.isSync ? barrier.waitSync() : await barrier.wait();
      if (round < arrivals.length) arrivals.add(round, 1 << (8 * index));
    } catch (error) {
      if (error instanceof BrokenBarrierError) return round;
      throw error;
    }
  }
}

/** Counts the pulses of an event that it sees; `pulses` is how many there were. */
export async function watch(
  fate: Fate,
  event: SharedEvent,
  seen: SharedValue<"i32">,
  pulses: SharedValue<"i32">,
  heard: SharedEvent,
): Promise<void> {
  const fated = new Fated(fate);
  for (;;) {
    fated.step();
    const pulse = pulses.value;
    if (fated.isSync) event.waitSync();
    else await event.wait();
    seen.add(1);
    heard.set();
    // Until this pulse is over, whose end may go unseen.
    while (event.isSet && pulses.value === pulse) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

/** Adds to shared numbers by every way there is. */
export function count(
  fate: Fate,
  whole: SharedValue<"i64">,
  real: SharedValue<"f64">,
  log: SharedArray<"i32">,
  by: number,
): void {
  const fated = new Fated(fate);
  for (let number = 1;; number++) {
    log.set(2 * by, number);
    if (fated.random() < 0.5) whole.add(1n);
    else {
      whole.update((value) => {
        fated.step();
        return value + 1n;
      });
    }
    real.update((value) => value + 1);
    log.set(2 * by + 1, number);
    if (fated.random() < 0.1) {
      using _guard = whole.lock.acquireSync({ recover: true });
      fated.step();
    }
  }
}

/** One of each, for programs that use them together. */
export interface Things {
  readonly lock: Lock;
  readonly rlock: RLock;
  readonly rwlock: RwLock;
  readonly semaphore: Semaphore;
  readonly condition: Condition;
  readonly event: SharedEvent;
  readonly queue: Queue<Item>;
  readonly value: SharedValue<"i64">;
  /** Two numbers for each lock, and at last how often they were found different without a death. */
  readonly pairs: SharedArray<"i32">;
  /** For each child, how many items it began to put and how many it has put. */
  readonly log: SharedArray<"i32">;
  readonly taken: SharedArray<"u8">;
}

/** Milliseconds after which a call of a random program gives up, so that it never waits for itself. */
const PATIENCE = { timeout: 3 };

/** Random calls on everything, also while it holds things. Nothing in it waits for long. */
export async function mix(fate: Fate, things: Things, by: number): Promise<void> {
  const fated = new Fated(fate);
  const { lock, rlock, rwlock, semaphore, condition, event, queue, value } = things;
  const options = { recover: true, ...PATIENCE };
  let number = 1;

  const put = async () => {
    if (number > MOST - 2) return;
    things.log.set(2 * by, number);
    const item = itemOf(fated, by, number);
    if (fated.isSync) queue.putSync(item, PATIENCE);
    else if (fated.random() < 0.5) await queue.put(item, PATIENCE);
    else if (!queue.tryPut({ by, number })) return;
    things.log.set(2 * by + 1, number++);
  };
  const get = async () => {
    let item: Item | undefined;
    const form = fated.form(4, 1);
    if (form === 0) item = await queue.get(PATIENCE);
    if (form === 1) item = queue.getSync(PATIENCE);
    if (form === 2) {
      const found = queue.tryGet();
      if (found.state === "ok") item = found.value;
    }
    if (form === 3) item = await queue.get({ signal: AbortSignal.timeout(fated.below(3)) });
    fated.step();
    if (item !== undefined) things.taken.add(item.by * MOST + item.number, 1);
  };
  const permits = async (inner: () => unknown) => {
    const wanted = { permits: 1 + fated.below(3), ...PATIENCE };
    using _guard = fated.isSync ? semaphore.acquireSync(wanted) : await semaphore.acquire(wanted);
    fated.step();
    await inner();
  };
  const small = async () => {
    await fated.rest();
    const kind = fated.below(4);
    if (kind === 0) await put();
    if (kind === 1) await get();
    if (kind === 2) value.add(1n);
    if (kind === 3) await permits(() => value.update((value) => value + 1n));
  };
  // Locks are taken in one order: this is about deaths, not about programs that block themselves.
  const exclusive = async (of: number, isAbandoned: boolean, inner: () => unknown) => {
    const { pairs } = things;
    const isHalf = pairs.get(of) !== pairs.get(of + 1);
    if (isHalf && !isAbandoned) pairs.add(6, 1);
    if (isHalf) pairs.set(of + 1, pairs.get(of));
    pairs.add(of, 1);
    try {
      fated.step();
      await inner();
    } finally {
      pairs.add(of + 1, 1);
    }
  };
  const acquire = (one: Lock | RLock) =>
    fated.isSync ? one.acquireSync(options) : one.acquire(options);
  const ofLock = async (inner: () => unknown) => {
    using guard = await acquire(lock);
    await exclusive(0, guard.abandoned, inner);
  };
  const ofRLock = async (inner: () => unknown) => {
    using guard = await acquire(rlock);
    await exclusive(2, guard.abandoned, inner);
  };
  const ofRwLock = async (inner: () => unknown) => {
    if (fated.random() < 0.6) {
      using _guard = fated.isSync ? rwlock.readSync(PATIENCE) : await rwlock.read(PATIENCE);
      if (things.pairs.get(4) !== things.pairs.get(5)) things.pairs.add(6, 1);
      return await inner();
    }
    using guard = fated.isSync ? rwlock.writeSync(options) : await rwlock.write(options);
    await exclusive(4, guard.abandoned, inner);
  };
  const ofCondition = async () => {
    using guard = await acquire(condition.lock);
    fated.step();
    if (fated.random() < 0.5) condition.notifyAll();
    else if (fated.isSync) condition.waitSync(guard, PATIENCE);
    else await condition.wait(guard, PATIENCE);
  };
  const ofEvent = async () => {
    if (fated.random() < 0.3) event.set();
    if (fated.random() < 0.3) event.clear();
    if (fated.isSync) event.waitSync(PATIENCE);
    else await event.wait(PATIENCE);
  };
  const ofSelect = async () => {
    const sources = [queue, event];
    if (fated.isSync) selectSync(sources, PATIENCE);
    else await select(sources, PATIENCE);
  };
  const programs = [
    put,
    get,
    small,
    () => permits(small),
    () => ofLock(small),
    () => ofRLock(small),
    () => ofRwLock(small),
    () => ofLock(() => ofRLock(() => ofRwLock(small))),
    () => permits(() => ofRwLock(small)),
    ofCondition,
    ofEvent,
    ofSelect,
  ];
  for (;;) {
    fated.step();
    await fated.rest();
    try {
      await programs[fated.below(programs.length)]!();
    } catch (error) {
      // To read what a dead one may have left half-changed is refused until somebody has written.
      const { name } = error as Error;
      if (name !== "TimeoutError" && name !== "AbandonedError") throw error;
    }
  }
}

/** A task of a pool: it ends its process in a step of its own, or returns the double. */
export function work(number: number, lock: Lock, how: Fate["how"]): number {
  using _guard = lock.acquireSync({ recover: true });
  if (how === "exit") Deno.exit(3);
  if (how === "close") self.close();
  if (how === "throw") throw new RangeError("as planned");
  return 2 * number;
}
