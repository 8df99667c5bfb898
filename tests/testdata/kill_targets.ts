// Copyright 2026 the Sabre authors. MIT license.

// What the processes of stress/kill_test.ts run: endless work on one primitive, until they are killed
// or end themselves where it hurts most.

import { BrokenBarrierError, ClosedError } from "../../errors.ts";
import {
  type Barrier,
  type Condition,
  type Connection,
  type Lock,
  Process,
  type Queue,
  type RwLock,
  type Semaphore,
  type SharedArray,
  type SharedEvent,
  type SharedValue,
} from "../../mod.ts";
import { randomOf } from "../_helpers.ts";

/** How a child is to end: by its parent, or by itself after so many steps. */
export interface Fate {
  readonly seed: number;
  readonly how: "live" | "exit" | "throw" | "spin" | "close";
  readonly steps: number;
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
  child.result.catch(() => {});
  await child.join();
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

/** Puts numbered items; `log` has for each producer how many it began to put and how many it has put. */
export async function produce(
  fate: Fate,
  queue: Queue<Item>,
  log: SharedArray<"i32">,
  by: number,
): Promise<void> {
  const fated = new Fated(fate);
  for (let number = 1; number <= MOST - 8;) {
    const count = 1 + fated.below(6);
    const form = fated.below(5);
    log.set(2 * by, form === 3 ? number + count - 1 : number);
    if (form === 0) await queue.put(itemOf(fated, by, number));
    if (form === 1) queue.putSync(itemOf(fated, by, number));
    if (form === 2 && !queue.tryPut({ by, number })) queue.putSync({ by, number });
    if (form === 3) {
      const first = number;
      // Fewer than there were if this agent was asked to end meanwhile.
      number += queue.putManySync(function* () {
        for (let i = 0; i < count; i++) yield itemOf(fated, by, first + i);
      }()) - 1;
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
  queue: Queue<Item>,
  taken: SharedArray<"u8">,
  late: SharedValue<"i32">,
): Promise<void> {
  const fated = new Fated(fate);
  const last = new Map<number, number>();
  for (;;) {
    fated.step();
    const form = fated.below(4);
    let item: Item | undefined;
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
    taken.add(item.by * MOST + item.number, 1);
    if (item.number < (last.get(item.by) ?? 0)) late.add(1);
    else last.set(item.by, item.number);
  }
}

/** Sends back what comes, in every form. Returns how many did; the end of the pipe is a normal end. */
export async function echo(fate: Fate, connection: Connection<Item, Item>): Promise<number> {
  const fated = new Fated(fate);
  let count = 0;
  try {
    for (;;) {
      const item = fated.random() < 0.5 ? await connection.receive() : connection.receiveSync();
      const answer = itemOf(fated, item.by, item.number);
      if (fated.random() < 0.5) await connection.send(answer);
      else connection.sendSync(answer);
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
      if (fated.random() < 0.5) await connection.send(itemOf(fated, 0, number));
      else connection.sendSync(itemOf(fated, 0, number));
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
    let item: Item;
    try {
      item = fated.random() < 0.5 ? await connection.receive() : connection.receiveSync();
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
    const isSync = fated.random() < 0.5;
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
    if (fated.random() < 0.4) guard = semaphore.acquireSync({ permits });
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
    inside.set(by, 0);
    guard.release();
  }
}

/** Uses up tokens as they come: `tokens` has how many there are and how many were used. */
export async function useTokens(
  fate: Fate,
  condition: Condition,
  tokens: SharedArray<"i32">,
): Promise<void> {
  const fated = new Fated(fate);
  for (;;) {
    using guard = condition.lock.acquireSync({ recover: true });
    fated.step();
    const there = () => tokens.get(0) > 0;
    const form = fated.below(3);
    if (form === 0) condition.waitForSync(guard, there);
    if (form === 1) await condition.waitFor(guard, there);
    if (form === 2 && !condition.waitForSync(guard, there, { timeout: 1 })) continue;
    tokens.sub(0, 1);
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
      const index = fated.random() < 0.5 ? barrier.waitSync() : await barrier.wait();
      if (round < arrivals.length) arrivals.add(round, 1 << (8 * index));
    } catch (error) {
      if (error instanceof BrokenBarrierError) return round;
      throw error;
    }
  }
}

/** Counts the pulses of an event that it sees. */
export async function watch(
  fate: Fate,
  event: SharedEvent,
  seen: SharedValue<"i32">,
): Promise<void> {
  const fated = new Fated(fate);
  for (;;) {
    fated.step();
    if (fated.random() < 0.5) event.waitSync();
    else await event.wait();
    seen.add(1);
    while (event.isSet) await new Promise((resolve) => setTimeout(resolve, 1));
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
