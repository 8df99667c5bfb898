// Copyright 2026 the Sabre authors. MIT license.

// A campaign of killing: rounds in which children use one primitive and die at random instants, killed
// by this agent or by themselves. After each death those that are left must get on within two seconds,
// and at the end everything must add up.

import { assert, assertEquals } from "@std/assert";
import {
  Barrier,
  ClosedError,
  Condition,
  type Guard,
  Lock,
  pipe,
  Process,
  Queue,
  RLock,
  RwLock,
  Semaphore,
  SharedArray,
  SharedEvent,
  SharedValue,
} from "../../mod.ts";
import { randomOf, turn, until } from "../_helpers.ts";
import { type Fate, type Item, MOST } from "../testdata/kill_targets.ts";

/** How long whoever is left may take to get on, in milliseconds. */
const LIMIT = 2_000;
const TARGETS = new URL("../testdata/kill_targets.ts", import.meta.url);

/** What a campaign saw. */
export interface Report {
  rounds: number;
  /** Children that ended, by how. */
  kills: Record<string, number>;
  /** The longest time that those who were left took to get on, in milliseconds, and where. */
  longest: number;
  where: string;
}

/** Runs rounds for so many seconds, or just one round. */
export async function campaign(
  { seed, seconds, only, scenario }: {
    seed: number;
    seconds: number;
    only?: number;
    scenario?: string;
  },
): Promise<Report> {
  const report: Report = { rounds: 0, kills: {}, longest: 0, where: "" };
  const names = Object.keys(scenarios).filter((name) =>
    scenario === undefined || name === scenario
  );
  const end = performance.now() + seconds * 1_000;
  for (let number = only ?? 0; only === undefined || number === only; number++) {
    if (performance.now() >= end) break;
    const name = names[number % names.length]!;
    const round = new Round(seed * 1_000 + number, report, name);
    try {
      await scenarios[name]!(round);
      await round.end();
    } catch (cause) {
      throw new Error(`seed ${seed}, round ${number} (${name})`, { cause });
    }
    report.rounds++;
  }
  return report;
}

interface Killable {
  readonly process: Process;
  readonly fate: Fate;
  isCounted: boolean;
}

class Round {
  readonly random: () => number;
  readonly children: Killable[] = [];
  readonly #report: Report;
  readonly #name: string;

  constructor(seed: number, report: Report, name: string) {
    this.random = randomOf(seed);
    this.#report = report;
    this.#name = name;
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  /** Starts a child with a fate; some of them as the child of a child. */
  start(target: string, args: unknown[], hows: Fate["how"][] = HOWS): Killable {
    const fate: Fate = {
      seed: this.below(2 ** 31),
      how: hows[this.below(hows.length)]!,
      steps: 1 + this.below(this.random() < 0.3 ? 10 : 500),
    };
    const all = [fate, ...args];
    const process = this.random() < 0.15
      ? new Process(TARGETS, { target: "above", args: [target, all] })
      : new Process(TARGETS, { target, args: all });
    process.start();
    // Asked for, so that it is not printed.
    process.result.catch(() => {});
    const child = { process, fate, isCounted: false };
    this.children.push(child);
    return child;
  }

  async sleep(milliseconds: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, milliseconds * this.random()));
  }

  /** Kills one after the other, those first that may spin with something in their hands. */
  async killAll(children: Killable[], probe: () => Promise<unknown>, rest = 0): Promise<void> {
    await this.sleep(250);
    const order = children.toSorted((a, b) => rank(a) - rank(b));
    for (const child of order.slice(0, order.length - rest)) {
      const isLast = child.fate.how !== "spin";
      await this.kill(child);
      if (isLast) await this.within("probe", probe());
      await this.sleep(40);
    }
  }

  async kill(child: Killable): Promise<void> {
    const grace = this.random() < 0.7 ? 0 : 40;
    await this.within("terminate", child.process.terminate({ grace }));
    await this.within("join", child.process.join());
    this.count(child);
  }

  count(child: Killable): void {
    if (child.isCounted) return;
    child.isCounted = true;
    const { exitCode } = child.process;
    assert(exitCode === -15 || exitCode === 1 || exitCode === 0, `exit code ${exitCode}`);
    const how = exitCode === -15 ? "terminated" : exitCode === 0 ? "returned" : child.fate.how;
    this.#report.kills[how] = (this.#report.kills[how] ?? 0) + 1;
  }

  /** Waits for something that must come soon. */
  async within<T>(what: string, promise: Promise<T>): Promise<T> {
    const start = performance.now();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${what}: nothing for ${LIMIT} ms`)), LIMIT);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
      const time = performance.now() - start;
      if (time > this.#report.longest) {
        this.#report.longest = time;
        this.#report.where = `${this.#name}, ${what}`;
      }
    }
  }

  async end(): Promise<void> {
    for (const child of this.children) {
      await child.process.terminate({ grace: 0 });
      this.count(child);
    }
  }
}

const HOWS: Fate["how"][] = ["live", "live", "live", "exit", "close", "throw", "spin"];
const ENDS: Fate["how"][] = ["exit", "close", "throw"];

function rank({ fate }: Killable): number {
  return fate.how === "spin" ? 0 : 1;
}

function isRunning({ process, fate }: Killable): boolean {
  return fate.how === "live" && process.alive;
}

/** Acquires, by recovery if it must. */
async function acquireAnyhow(lock: Lock | RLock | RwLock): Promise<Guard> {
  try {
    return "write" in lock ? await lock.write() : await lock.acquire();
  } catch (error) {
    assertEquals((error as Error).name, "AbandonedError");
    return "write" in lock
      ? await lock.write({ recover: true })
      : await lock.acquire({ recover: true });
  }
}

async function excluding(round: Round, lock: Lock | RLock | RwLock): Promise<void> {
  const pair = new SharedArray("i32", 4);
  const children = Array.from({ length: 3 }, () => round.start("exclude", [lock, pair]));
  await round.killAll(children, async () => {
    using guard = await acquireAnyhow(lock);
    if (!guard.abandoned) assertEquals([pair.get(0), pair.get(2)], [pair.get(1), 0]);
    pair.set(1, pair.get(0));
    pair.set(2, 0);
  });
  // Nobody is left: the last one out has left it open, whatever it did.
  const guard = await round.within("last", acquireAnyhow(lock));
  guard.release();
  const again = "write" in lock ? lock.tryWrite() : lock.tryAcquire();
  assertEquals(again?.abandoned, false);
  again?.release();
  assertEquals(pair.get(3), 0);
  assertEquals("locked" in lock ? lock.locked : false, false);
}

const scenarios: Record<string, (round: Round) => Promise<void>> = {
  async queue(round) {
    const capacity = round.random() < 0.5 ? 4_096 : 65_536;
    const queue = round.random() < 0.4
      ? new Queue<Item>({ capacity, maxItems: 1 + round.below(6) })
      : new Queue<Item>({ capacity });
    const producers = 2;
    const log = new SharedArray("i32", 2 * (producers + 1));
    const taken = new SharedArray("u8", MOST * (producers + 1));
    const late = new SharedValue("i32");
    const children: Killable[] = [];
    for (let by = 1; by <= producers; by++) {
      children.push(round.start("produce", [queue, log, by]));
    }
    const consumers = [0, 1].map(() => round.start("consume", [queue, taken, late]));
    children.push(...consumers);
    const last = new Map<number, number>();
    const takeOne = () => {
      const found = queue.tryGet();
      if (found.state !== "ok") return false;
      const { by, number } = found.value;
      taken.add(by * MOST + number, 1);
      if (number < (last.get(by) ?? 0)) late.add(1);
      else last.set(by, number);
      return true;
    };
    await round.killAll(children, async () => {
      log.add(0, 1);
      let isThrough = false;
      const put = queue.put({ by: 0, number: log.get(0) }).then(() => isThrough = true);
      while (!isThrough) {
        takeOne();
        await turn();
      }
      await put;
      log.set(1, log.get(0));
    });
    while (takeOne());
    assertEquals([queue.size, queue.empty, queue.full], [0, true, false]);
    let lost = 0;
    for (let by = 0; by <= producers; by++) {
      const [began, done] = [log.get(2 * by), log.get(2 * by + 1)];
      for (let number = 1; number < MOST; number++) {
        const times = taken.get(by * MOST + number);
        assert(times <= 1, `item ${number} of ${by} was taken ${times} times`);
        if (times === 1) assert(number <= began, `item ${number} of ${by} was never put`);
        else if (number <= done) lost++;
      }
    }
    // One that was taken, but not yet counted.
    assert(lost <= consumers.length, `${lost} items lost by ${consumers.length} dead consumers`);
    // One that was assigned to somebody who died comes late to the next.
    assert(late.value <= consumers.length, `${late.value} items came late`);
    for (let i = 0; i < 50; i++) assert(queue.tryPut({ by: 0, number: i }) || queue.full);
    for (let i = 0; queue.size > 0; i++) assertEquals(queue.getSync().number, i);
  },

  async pipe(round) {
    const [here, there] = pipe<Item, Item>({ capacity: round.random() < 0.5 ? 1_024 : 65_536 });
    const child = round.start("echo", [there]);
    const sent: Promise<string> = (async () => {
      try {
        for (let number = 1;; number++) {
          await here.send({ by: 0, number, pad: "p".repeat(number % 3_000) });
        }
      } catch (error) {
        return (error as Error).name;
      }
    })();
    const received: Promise<string> = (async () => {
      try {
        for (let number = 1;; number++) assertEquals((await here.receive()).number, number);
      } catch (error) {
        return (error as Error).name;
      }
    })();
    await round.sleep(250);
    await round.kill(child);
    assertEquals(await round.within("send", sent), "ClosedError");
    assertEquals(await round.within("receive", received), "ClosedError");
    assertEquals(here.tryReceive().state, "closed");
  },

  async blockedPipe(round) {
    const [here, there] = pipe<Item, Item>({ capacity: 1_024 });
    round.start("echo", [there], ENDS);
    // Its end has to be noticed although this thread blocks.
    try {
      for (let number = 1;; number++) {
        here.sendSync({ by: 0, number, pad: "p".repeat(number % 3_000) }, { timeout: LIMIT });
        assertEquals(here.receiveSync({ timeout: LIMIT }).number, number);
      }
    } catch (error) {
      if (!(error instanceof ClosedError)) throw error;
    }
    await turn();
  },

  async twoChildren(round) {
    const [one, two] = pipe<Item, Item>({ capacity: round.random() < 0.5 ? 1_024 : 65_536 });
    const isFirst = round.random() < 0.5;
    const sender = round.start("send", [one], isFirst ? undefined : ["live"]);
    const receiver = round.start("receive", [two], isFirst ? ["live"] : undefined);
    await round.sleep(300);
    const [victim, other] = isFirst ? [sender, receiver] : [receiver, sender];
    await round.kill(victim);
    await round.within("the other end", other.process.join());
    await other.process.result;
    assertEquals(other.process.exitCode, 0);
  },

  async lock(round) {
    await excluding(round, new Lock());
  },

  async rlock(round) {
    await excluding(round, new RLock());
  },

  async rwlock(round) {
    await excluding(round, new RwLock());
  },

  async semaphore(round) {
    const semaphore = new Semaphore(4, { max: 4 });
    const inside = new SharedArray("i32", 4);
    const children = [0, 1, 2, 3].map((by) => round.start("take", [semaphore, inside, by]));
    await round.killAll(children, async () => {
      using _guard = await semaphore.acquire({ permits: 4 });
      const held = children.map(({ process }, by) => process.alive ? inside.get(by) : 0);
      assertEquals(held, [0, 0, 0, 0]);
    });
    await round.within("permits", until(() => semaphore.available === 4));
  },

  async condition(round) {
    const lock = round.random() < 0.5 ? new Lock() : new RLock();
    const condition = new Condition(lock);
    const tokens = new SharedArray("i32", 2);
    const children = Array.from(
      { length: 4 },
      () => round.start("useTokens", [condition, tokens]),
    );
    let produced = 0;
    await round.killAll(children, async () => {
      const isAll = round.random() < 0.5;
      {
        using _guard = await acquireAnyhow(lock);
        tokens.add(0, 1);
        produced++;
        if (isAll) condition.notifyAll();
        else condition.notify();
      }
      if (children.some(isRunning)) await until(() => tokens.get(0) <= 0);
    });
    const missing = produced - tokens.get(0) - tokens.get(1);
    assert(missing >= 0 && missing <= children.length, `${missing} tokens are missing`);
  },

  async event(round) {
    const event = new SharedEvent();
    const seen = new SharedValue("i32");
    const children = Array.from({ length: 3 }, () => round.start("watch", [event, seen]));
    await round.killAll(children, async () => {
      const before = seen.value;
      event.set();
      const mine = event.wait();
      if (children.some(isRunning)) await until(() => seen.value > before);
      assertEquals(await mine, true);
      event.clear();
      await turn();
    });
  },

  async barrier(round) {
    const barrier = new Barrier(4);
    const arrivals = new SharedArray("i32", 20_000);
    const hows: Fate["how"][] = ["live", "live", "live", ...ENDS];
    const children = Array.from(
      { length: 4 },
      () => round.start("meet", [barrier, arrivals], hows),
    );
    await round.sleep(300);
    await round.kill(children[round.below(4)]!);
    // One that died on its way to the barrier is missed by nobody.
    await turn();
    if (round.random() < 0.5 && !barrier.broken) await new Promise((done) => setTimeout(done, 50));
    if (!barrier.broken) barrier.abort();
    for (const { process } of children) await round.within("broken", process.join());
    assertEquals(barrier.waiting, 0);
    const all = 0x01010101;
    let isOver = false;
    for (const [number, bits] of arrivals.slice().entries()) {
      assert((bits & ~all) === 0, `round ${number}: ${bits.toString(16)}`);
      if (isOver) assertEquals(bits, 0);
      if (bits !== all) isOver = true;
    }
    barrier.reset();
    const waits = [0, 1, 2, 3].map(() => barrier.wait());
    assertEquals((await round.within("again", Promise.all(waits))).toSorted(), [0, 1, 2, 3]);
  },

  async shared(round) {
    const whole = new SharedValue("i64");
    const real = new SharedValue("f64");
    const log = new SharedArray("i32", 6);
    const children = [0, 1, 2].map((by) => round.start("count", [whole, real, log, by]));
    await round.killAll(children, async () => {
      whole.update((value) => value);
      using _guard = await acquireAnyhow(whole.lock);
    });
    const sum = (from: number) => log.get(from) + log.get(from + 2) + log.get(from + 4);
    assert(sum(1) <= whole.value && whole.value <= sum(0), `${whole.value} of ${sum(0)}`);
    assert(sum(1) <= real.value && real.value <= sum(0), `${real.value} of ${sum(0)}`);
  },
};
