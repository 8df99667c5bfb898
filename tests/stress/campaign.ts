// Copyright 2026 the Sabre authors. MIT license.

// A campaign of killing: rounds in which children use one primitive, or all of them, and die at random
// instants, killed by this agent, by another or by themselves. After each death those that are left
// must get on within two seconds, and at the end everything must add up.
//
// In one mode this agent awaits what it does. In the other it blocks: between a death and the proof that
// the others get on its event loop does not turn.

import { assert, assertEquals } from "@std/assert";
import {
  Barrier,
  ClosedError,
  Condition,
  type Guard,
  Lock,
  pipe,
  Pool,
  Process,
  Queue,
  type QueueOptions,
  RLock,
  RwLock,
  selectSync,
  Semaphore,
  SharedArray,
  SharedEvent,
  SharedValue,
} from "../../mod.ts";
import { home, livingAgents, pidOf } from "../../_agent.ts";
import { waitSync } from "../../_wait.ts";
import { Agent, block, randomOf, turn, until } from "../_helpers.ts";
import { type Fate, type Item, MOST, openItem, type Things } from "../testdata/kill_targets.ts";

/** How long whoever is left may take to get on, in milliseconds: the limit, not the goal. */
const LIMIT = 2_000;
/** How long children may take to start, which says nothing about those that die. */
const START_LIMIT = 20_000;
const TARGETS = new URL("../testdata/kill_targets.ts", import.meta.url);

/** What a campaign saw. */
export interface Report {
  rounds: number;
  /** Children that were killed, by whom, or that ended themselves, by how. */
  kills: Record<string, number>;
  /** All of them. */
  killed: number;
  /** The longest time that those who were left took to get on, in milliseconds, and where. */
  longest: number;
  where: string;
}

/** What a campaign consists of. It ends with whichever comes first. */
export interface CampaignOptions {
  readonly seed: number;
  /** Whether this agent blocks. */
  readonly isBlocked: boolean;
  readonly seconds?: number | undefined;
  readonly kills?: number | undefined;
  /** The number of the one round to run. */
  readonly only?: number | undefined;
  /** The name of the scenario to run, instead of one after the other. */
  readonly scenario?: string | undefined;
  /** Called after each round, and before the first. */
  readonly onProgress?: (report: Report) => void;
}

/** Runs rounds. Throws at the first one that fails, with what replays it. */
export async function campaign(options: CampaignOptions): Promise<Report> {
  const { seed, isBlocked, seconds = Infinity, kills = Infinity, only, scenario } = options;
  const report: Report = { rounds: 0, kills: {}, killed: 0, longest: 0, where: "nowhere" };
  const names = Object.keys(scenarios).filter((name) =>
    scenario === undefined || name === scenario
  );
  if (names.length === 0) throw new RangeError(`There is no scenario "${scenario}"`);
  const end = performance.now() + seconds * 1_000;
  for (let number = only ?? 0; only === undefined || number === only; number++) {
    options.onProgress?.(report);
    if (performance.now() >= end || report.killed >= kills) break;
    // Short campaigns begin with different ones.
    const name = names[(seed + number) % names.length]!;
    const round = new Round(seed * 100_003 + number, report, `round ${number}, ${name}`, isBlocked);
    try {
      await scenarios[name]!(round);
      await round.end();
    } catch (cause) {
      const replay = [
        `--part=${isBlocked ? "blocked" : "campaign"} --seed=${seed} --only=${number}`,
        ...scenario === undefined ? [] : [`--scenario=${scenario}`],
      ].join(" ");
      const text = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
      throw new Error(`${name} failed: replay it with ${replay}\n${text}`, { cause });
    }
    report.rounds++;
  }
  options.onProgress?.(report);
  return report;
}

/** A child that runs a target: a process, a process of a process, or a worker of the user's. */
abstract class Child {
  readonly fate: Fate;
  /** Whether it was asked to end. */
  isDoomed = false;

  constructor(fate: Fate) {
    this.fate = fate;
  }

  /** Whether something of it may still run. Never waits, and does not need the event loop. */
  get isAlive(): boolean {
    const pid = this.fate.pid.value;
    // One that never began to run its target.
    return pid === 0 ? this.isStarting : isLiving(pid);
  }

  /** Whether it has begun to run its target. Before it holds nothing, and ends when it has started. */
  get hasBegun(): boolean {
    return this.fate.pid.value > 0;
  }

  /** Whether it is at work, and nothing is about to end it. */
  get isRunning(): boolean {
    return this.fate.how === "live" && !this.isDoomed && this.hasBegun && this.isAlive;
  }

  toString(): string {
    const { pid, how } = this.fate;
    return `${this.constructor.name} ${pid.value} (${how}) is ${this.isAlive ? "alive" : "dead"}`;
  }

  protected abstract readonly isStarting: boolean;
  /** Asks for its end: all of that happens before this returns. Resolves when it was seen to. */
  abstract kill(grace: number): Promise<void>;
  /** How it ended, `undefined`: by itself, and normally. */
  abstract get end(): string | undefined;
  /** Ends what is left of it and of its helpers. */
  abstract cleanUp(): Promise<void>;
}

class ProcessChild extends Child {
  readonly process: Process;
  readonly #isAbove: boolean;

  constructor(fate: Fate, process: Process, isAbove: boolean) {
    super(fate);
    this.process = process;
    this.#isAbove = isAbove;
  }

  protected get isStarting(): boolean {
    return isLiving(this.process.pid);
  }

  kill(grace: number): Promise<void> {
    return this.process.terminate({ grace });
  }

  get end(): string | undefined {
    const { exitCode } = this.process;
    assert(exitCode === -15 || exitCode === 1 || exitCode === 0, `exit code ${exitCode}`);
    if (exitCode === -15) return "terminated";
    if (exitCode === 1) return this.fate.how;
    // Its parent returns, however it ended itself.
    return this.#isAbove && this.fate.how !== "live" ? this.fate.how : undefined;
  }

  async cleanUp(): Promise<void> {
    await this.process.terminate({ grace: 0 });
    try {
      await this.process.result;
    } catch (error) {
      if (!isPlanned(error, this.fate)) throw error;
    }
  }
}

/** One whose own parent kills it when it is told to. */
class OrphanChild extends ProcessChild {
  readonly #order: SharedEvent;

  constructor(fate: Fate, process: Process, order: SharedEvent) {
    super(fate, process, true);
    this.#order = order;
  }

  override kill(): Promise<void> {
    this.#order.set();
    return Promise.resolve();
  }

  override get end(): string {
    return this.fate.how === "live" || this.fate.how === "spin" ? "orphaned" : this.fate.how;
  }
}

/** Whether a process may have ended so. Anything else is something that it has found to be wrong. */
function isPlanned(error: unknown, { how }: Fate): boolean {
  const { name, message } = error as Error;
  if (name === "TerminatedError") return true;
  if (name === "AbandonedError") return how === "exit" || how === "close";
  return how === "throw" && message.includes("as planned");
}

/** A worker that this test has started, of which nobody but itself tells the others. */
class WorkerChild extends Child {
  readonly #agent: Agent;
  #isEnded = false;
  #error: unknown;

  constructor(fate: Fate, target: string, args: unknown[]) {
    super(fate);
    this.#agent = new Agent(TARGETS);
    // Never settles if the worker ends in the middle, as it should.
    this.#agent.run("attached", target, args).catch((error) => this.#error = error);
  }

  protected get isStarting(): boolean {
    return !this.#isEnded;
  }

  kill(): Promise<void> {
    this.#isEnded = true;
    this.#agent[Symbol.dispose]();
    return Promise.resolve();
  }

  get end(): string {
    return `worker ${this.fate.how === "live" ? "terminated" : this.fate.how}`;
  }

  async cleanUp(): Promise<void> {
    await this.kill();
    if (this.#error !== undefined) throw this.#error;
  }
}

interface StartOptions {
  readonly hows?: Fate["how"][] | undefined;
  /** Whether it may only be a process that is a child of this agent, whose end is known at once. */
  readonly isDirect?: boolean;
  /** Whether the target can do without blocking, so that it may be a worker of the user's. */
  readonly isAsync?: boolean;
}

class Round {
  readonly random: () => number;
  readonly isBlocked: boolean;
  readonly children: Child[] = [];
  /** What a probe of several things is at. */
  stage = "";
  readonly #report: Report;
  readonly #name: string;
  readonly #agents: number = livingAgents(home()).length;
  /** Ends that were asked for and not awaited, because this thread was to block. */
  readonly #ends: Promise<void>[] = [];

  constructor(seed: number, report: Report, name: string, isBlocked: boolean) {
    this.random = randomOf(seed);
    this.#report = report;
    this.#name = name;
    this.isBlocked = isBlocked;
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  /** Starts a child with a fate: not always as a child of this agent. */
  start(target: string, args: unknown[], options: StartOptions = {}): Child {
    const { hows = HOWS, isDirect = false } = options;
    const kind = this.random();
    const isWorker = kind < 0.2 && !isDirect && options.isAsync === true;
    let how = hows[this.below(hows.length)]!;
    // A thread of a worker of the user's goes on after an error, and nobody can end it while it spins.
    if (isWorker && (how === "spin" || how === "throw")) how = "live";
    const fate: Fate = {
      seed: this.below(2 ** 31),
      how,
      steps: 1 + this.below(this.random() < 0.3 ? 10 : 500),
      isAsync: isWorker,
      pid: new SharedValue("i32"),
    };
    const all = [fate, ...args];
    const child = isWorker
      ? new WorkerChild(fate, target, all)
      : this.#startProcess(fate, target, all, isDirect ? 1 : kind);
    this.children.push(child);
    return child;
  }

  #startProcess(fate: Fate, target: string, args: unknown[], kind: number): ProcessChild {
    const launch = (target: string, args: unknown[]) => {
      const process = new Process(TARGETS, { target, args }).start();
      // Asked for, so that it is not printed.
      process.result.catch(() => {});
      return process;
    };
    if (kind < 0.35) {
      const order = new SharedEvent();
      const [grace, isWaiting] = [this.#grace(), this.random() < 0.5];
      const process = launch("killer", [target, args, order, grace, isWaiting]);
      return new OrphanChild(fate, process, order);
    }
    if (kind < 0.5) return new ProcessChild(fate, launch("above", [target, args]), true);
    return new ProcessChild(fate, launch(target, args), false);
  }

  #grace(): number {
    return this.random() < 0.7 ? 0 : 40;
  }

  /** Lets so many milliseconds pass, at most. */
  async sleep(milliseconds: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, milliseconds * this.random()));
  }

  /** Waits until the children run their targets: not always, unless they must. */
  async begin(mustRun = false): Promise<void> {
    const isLax = this.random() < 0.15 && !mustRun;
    const end = performance.now() + START_LIMIT;
    const hasBegun = (child: Child) =>
      child.hasBegun || !child.isAlive || isLax && child instanceof ProcessChild &&
        !(child instanceof OrphanChild);
    while (!this.children.every(hasBegun)) {
      assert(performance.now() < end, "the children do not start");
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await this.sleep(80);
  }

  /**
   * Kills one after the other, those first that may spin with something in their hands. `probe` proves
   * that this agent gets on: it is only asked when nobody is left that may keep things from it.
   */
  async killAll(probe: () => Promise<unknown>, probeSync: () => void): Promise<void> {
    await this.begin();
    const order = this.children.toSorted((a, b) => rank(a) - rank(b));
    const spins = order.filter(({ fate }) => fate.how === "spin").length;
    for (const [i, child] of order.entries()) {
      const isProbed = i >= spins - 1;
      this.stage = "";
      if (this.isBlocked) {
        this.killSync(child, isProbed ? probeSync : () => {});
        // Some only die by themselves if nobody does it before.
        if (this.random() < 0.3) block(60 * this.random());
        else if (this.random() < 0.5) await this.sleep(25);
      } else {
        await this.kill(child);
        if (isProbed) await this.within("probe", probe());
        await this.sleep(25);
      }
    }
    await this.#allEnded();
  }

  /** Also those that were asked to end before they had begun, and were not waited for. */
  async #allEnded(): Promise<void> {
    await this.atLast("ends", Promise.all(this.#ends));
    await this.atLast(
      "ends",
      until(() => this.children.every((child) => !child.isDoomed || !child.isAlive)),
    );
  }

  /** Kills a child and waits for its end by promises. */
  async kill(child: Child): Promise<void> {
    const { hasBegun } = child;
    child.isDoomed = true;
    const ends = [child.kill(this.#grace()), until(() => !child.isAlive)];
    if (hasBegun) await this.within("end", Promise.all(ends));
    else await this.atLast("end of one that starts", Promise.all(ends));
  }

  /** Kills a child and blocks until all have noticed. */
  killSync(child: Child, probe: () => void): void {
    const start = performance.now();
    const { isAlive: wasAlive, hasBegun } = child;
    this.killLater(child);
    try {
      probe();
      if (!hasBegun) return;
      this.blockUntilDead(child);
    } catch (error) {
      if ((error as Error).name !== "TimeoutError") throw error;
      throw this.wedged("a blocked call", LIMIT, error);
    }
    this.note(wasAlive ? "blocked" : "blocked, was dead", performance.now() - start);
  }

  /** Asks for the end of a child, and awaits it at the end of the round. */
  killLater(child: Child): void {
    child.isDoomed = true;
    const end = child.kill(this.#grace());
    end.catch(() => {});
    this.#ends.push(end);
  }

  /** Waits for something that must come soon. */
  async within<T>(what: string, promise: Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await this.#race(what, promise, LIMIT);
    } finally {
      this.note(what, performance.now() - start);
    }
  }

  /** Waits for something that must come, but takes its time, as it is not all about deaths. */
  atLast<T>(what: string, promise: Promise<T>): Promise<T> {
    return this.#race(what, promise, START_LIMIT);
  }

  async #race<T>(what: string, promise: Promise<T>, limit: number): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(this.wedged(what, limit)), limit);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Blocks until something is so that must be so soon; `news` is set when it may be. */
  blockUntil(what: string, condition: () => boolean, news = NEVER): void {
    const start = performance.now();
    while (!condition()) {
      if (performance.now() - start > LIMIT) throw this.wedged(what);
      news.waitSync({ timeout: A_WHILE });
      news.clear();
    }
    this.note(what, performance.now() - start);
  }

  /** Blocks until a child has ended and this agent knows. */
  blockUntilDead(child: Child): void {
    const waiter = { poll: () => !child.isAlive, withdraw: () => true };
    if (!waitSync(home(), waiter, LIMIT, "wait")) throw this.wedged("end");
  }

  /** The error that says that nothing comes, and who might know why. */
  wedged(what: string, limit = LIMIT, cause?: unknown): Error {
    const children = this.children.map(String).join("; ");
    const at = this.stage === "" ? "" : ` (${this.stage})`;
    return new Error(`${what}${at}: nothing for ${limit} ms; children: ${children}`, { cause });
  }

  /** Remembers how long something took. */
  note(what: string, time: number): void {
    if (time <= this.#report.longest) return;
    this.#report.longest = time;
    this.#report.where = `${this.#name}, ${what}`;
  }

  count(how: string): void {
    const { kills } = this.#report;
    kills[how] = (kills[how] ?? 0) + 1;
    this.#report.killed++;
  }

  /** Ends what is left, and looks for what nobody has cleaned up. */
  async end(): Promise<void> {
    await this.#allEnded();
    for (const child of this.children) {
      await this.atLast(`clean up of ${child}`, child.cleanUp());
      const { end } = child;
      if (end !== undefined) this.count(end);
    }
    const isEmpty = () => livingAgents(home()).length <= this.#agents;
    await this.atLast("all gone", until(isEmpty));
  }
}

function isLiving(pid: number): boolean {
  return livingAgents(home()).some((id) => pidOf(id) === pid);
}

const HOWS: Fate["how"][] = ["live", "live", "live", "exit", "close", "throw", "spin"];
const ENDS: Fate["how"][] = ["exit", "close", "throw"];
const IN_TIME = { timeout: LIMIT };
/**
 * Milliseconds for which a thread that never turns its event loop has to block in one call for deaths
 * to be noticed without the loop, and more.
 */
const A_WHILE = 150;
/**
 * How long a blocked agent waits for room that only it can make. Not long: those who are in line already come
 * first whenever it makes some, and it must find a moment in which nobody is.
 */
const A_MOMENT = 5;
const NEVER = new SharedEvent();

function rank({ fate }: Child): number {
  return fate.how === "spin" ? 0 : 1;
}

type AnyLock = Lock | RLock | RwLock;

/** Acquires, by recovery if it must. */
async function acquireAnyhow(lock: AnyLock): Promise<Guard> {
  try {
    return "write" in lock ? await lock.write() : await lock.acquire();
  } catch (error) {
    assertEquals((error as Error).name, "AbandonedError");
    const options = { recover: true };
    return "write" in lock ? await lock.write(options) : await lock.acquire(options);
  }
}

function acquireAnyhowSync(lock: AnyLock): Guard {
  try {
    return "write" in lock ? lock.writeSync(IN_TIME) : lock.acquireSync(IN_TIME);
  } catch (error) {
    if ((error as Error).name !== "AbandonedError") throw error;
    const options = { recover: true, ...IN_TIME };
    return "write" in lock ? lock.writeSync(options) : lock.acquireSync(options);
  }
}

/** That nobody has left anything in a lock which nobody uses any more. */
async function assertFree(round: Round, lock: AnyLock): Promise<void> {
  if (round.isBlocked) acquireAnyhowSync(lock).release();
  else (await round.within("last", acquireAnyhow(lock))).release();
  const again = "write" in lock ? lock.tryWrite() : lock.tryAcquire();
  assertEquals(again?.abandoned, false);
  again?.release();
  if ("locked" in lock) assertEquals(lock.locked, false);
}

async function excluding(round: Round, lock: AnyLock): Promise<void> {
  const pair = new SharedArray("i32", 4);
  for (let i = 0; i < 3; i++) round.start("exclude", [lock, pair], { isAsync: true });
  const look = (guard: Guard) => {
    if (!guard.abandoned) assertEquals([pair.get(0), pair.get(2)], [pair.get(1), 0]);
    pair.set(1, pair.get(0));
    pair.set(2, 0);
    guard.release();
  };
  await round.killAll(
    async () => look(await acquireAnyhow(lock)),
    () => look(acquireAnyhowSync(lock)),
  );
  // Nobody is left: the last one out has left it open, whatever it did.
  await assertFree(round, lock);
  assertEquals(pair.get(3), 0);
}

/** How many small items fit: as many as into a new queue, if nobody has left anything. */
function roomOf(queue: Queue<Item | number>): number {
  let count = 0;
  while (queue.tryPut({ by: 0, number: count })) count++;
  assert(queue.full);
  for (let i = 0; queue.size > 0; i++) assertEquals(openItem(queue.getSync()).number, i);
  return count;
}

const scenarios: Record<string, (round: Round) => Promise<void>> = {
  async queue(round) {
    const capacity = round.random() < 0.5 ? 4_096 : 65_536;
    const options: QueueOptions = round.random() < 0.4
      ? { capacity, maxItems: 1 + round.below(6) }
      : { capacity };
    const queue = new Queue<Item | number>(options);
    const log = new SharedArray("i32", 6);
    const taken = new SharedArray("u8", 3 * MOST);
    const late = new SharedValue("i32");
    const producers = [1, 2].map((by) =>
      round.start("produce", [queue, log, by], { isAsync: true })
    );
    const consumers = [0, 1].map(() =>
      round.start("consume", [queue, taken, late], { isAsync: true })
    );
    const last = new Map<number, number>();
    const take = (item: Item | number) => {
      const { by, number } = openItem(item);
      taken.add(by * MOST + number, 1);
      if (number < (last.get(by) ?? 0)) late.add(1);
      else last.set(by, number);
    };
    const takeOne = () => {
      const found = queue.tryGet();
      if (found.state === "ok") take(found.value);
      return found.state === "ok";
    };
    const mine = () => {
      log.add(0, 1);
      return { by: 0, number: log.get(0) };
    };
    await round.killAll(async () => {
      let isThrough = false;
      const put = queue.put(mine()).then(() => isThrough = true);
      while (!isThrough) {
        takeOne();
        await turn();
      }
      await put;
      log.set(1, log.get(0));
    }, () => {
      round.stage = "put";
      const item = mine();
      const begin = performance.now();
      let hasTaken = false;
      for (;;) {
        // Somebody makes room, or it has to be this agent.
        const timeout = consumers.some(({ isRunning }) => isRunning) ? LIMIT : A_MOMENT;
        try {
          while (timeout < LIMIT && queue.full && takeOne()) hasTaken = true;
          queue.putSync(item, { timeout });
          break;
        } catch (error) {
          const time = performance.now() - begin;
          // If there is always somebody in line before it, it gets on by getting.
          const isBehind = hasTaken && producers.some(({ isRunning }) => isRunning);
          if (timeout < LIMIT && time > A_WHILE && isBehind) return;
          if (timeout === LIMIT || time > LIMIT) throw error;
          // It may be larger than the room of which the queue says that it is not full.
          if (takeOne()) hasTaken = true;
        }
      }
      log.set(1, item.number);
      // Nobody else can take what is there, unless one took it and died.
      round.stage = "get";
      if (!consumers.some(({ isAlive }) => isAlive) && !queue.empty) take(queue.getSync(IN_TIME));
    });
    while (takeOne());
    assertEquals([queue.size, queue.empty, queue.full], [0, true, false]);
    let lost = 0;
    for (let by = 0; by <= producers.length; by++) {
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
    roomOf(queue);
    assertEquals(roomOf(queue), roomOf(new Queue<Item | number>(options)));
  },

  async pipe(round) {
    const [here, there] = pipe<Item, Item>({ capacity: round.random() < 0.5 ? 1_024 : 65_536 });
    const child = round.start("echo", [there], { isAsync: true });
    if (round.isBlocked) return blockedPipe(round, child, here);
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
    await round.begin();
    await round.kill(child);
    assertEquals(await round.within("send", sent), "ClosedError");
    assertEquals(await round.within("receive", received), "ClosedError");
    assertEquals(here.tryReceive().state, "closed");
  },

  async selfishPipe(round) {
    const [here, there] = pipe<Item, Item>({ capacity: 1_024 });
    const child = round.start("echo", [there], { hows: ENDS, isAsync: true });
    await round.begin(true);
    // Its end has to be noticed although this thread blocks.
    if (child.fate.how !== "live") return endsPipe(round, here, Infinity, () => {});
    await blockedPipe(round, child, here);
  },

  async twoChildren(round) {
    const [one, two] = pipe<Item, Item>({ capacity: round.random() < 0.5 ? 1_024 : 65_536 });
    const isFirst = round.random() < 0.5;
    const options = (isVictim: boolean): StartOptions =>
      isVictim ? { isAsync: true } : { hows: ["live"], isDirect: true };
    const sender = round.start("send", [one], options(isFirst));
    const receiver = round.start("receive", [two], options(!isFirst));
    await round.begin(true);
    const [victim, other] = isFirst ? [sender, receiver] : [receiver, sender];
    const { process } = other as ProcessChild;
    if (round.isBlocked) {
      round.killSync(victim, () => assertEquals(selectSync([process], IN_TIME), [process]));
    } else {
      await round.kill(victim);
      await round.within("the other end", process.join());
    }
    await process.result;
    assertEquals(process.exitCode, 0);
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
    const children = [0, 1, 2, 3].map((by) =>
      round.start("take", [semaphore, inside, by], { isAsync: true })
    );
    const look = (guard: Guard) => {
      const held = children.map(({ isAlive }, by) => isAlive ? inside.get(by) : 0);
      assertEquals(held, [0, 0, 0, 0]);
      guard.release();
    };
    await round.killAll(
      async () => look(await semaphore.acquire({ permits: 4 })),
      () => look(semaphore.acquireSync({ permits: 4, ...IN_TIME })),
    );
    await round.within("permits", until(() => semaphore.available === 4));
  },

  async condition(round) {
    const lock = round.random() < 0.5 ? new Lock() : new RLock();
    const condition = new Condition(lock);
    const tokens = new SharedArray("i32", 2);
    const served = new SharedEvent();
    const children = Array.from(
      { length: 4 },
      () => round.start("useTokens", [condition, tokens, served], { isAsync: true }),
    );
    let produced = 0;
    const give = (guard: Guard) => {
      tokens.add(0, 1);
      produced++;
      if (round.random() < 0.5) condition.notifyAll();
      else condition.notify();
      guard.release();
    };
    const isServed = () => tokens.get(0) <= 0 || !children.some(({ isRunning }) => isRunning);
    await round.killAll(async () => {
      give(await acquireAnyhow(lock));
      await until(isServed);
    }, () => {
      give(acquireAnyhowSync(lock));
      round.blockUntil("token", isServed, served);
    });
    const missing = produced - tokens.get(0) - tokens.get(1);
    assert(missing >= 0 && missing <= children.length, `${missing} tokens are missing`);
    await assertFree(round, lock);
  },

  async event(round) {
    const event = new SharedEvent();
    const seen = new SharedValue("i32");
    const pulses = new SharedValue("i32");
    const heard = new SharedEvent();
    const children = Array.from(
      { length: 3 },
      () => round.start("watch", [event, seen, pulses, heard], { isAsync: true }),
    );
    const isSeen = (before: number) =>
      seen.value > before || !children.some(({ isRunning }) => isRunning);
    await round.killAll(async () => {
      const before = seen.value;
      pulses.add(1);
      event.set();
      const mine = event.wait();
      await until(() => isSeen(before));
      assertEquals(await mine, true);
      event.clear();
      await turn();
    }, () => {
      const before = seen.value;
      pulses.add(1);
      event.set();
      assertEquals(event.waitSync(IN_TIME), true);
      round.blockUntil("seen", () => isSeen(before), heard);
      event.clear();
      assertEquals(event.waitSync({ timeout: 1 }), false);
    });
  },

  async barrier(round) {
    if (round.random() < 0.4) return await brokenBarrier(round);
    const barrier = new Barrier(4);
    const arrivals = new SharedArray("i32", 20_000);
    const hows: Fate["how"][] = ["live", "live", "live", ...ENDS];
    const children = Array.from(
      { length: 4 },
      () => round.start("meet", [barrier, arrivals], { hows, isDirect: true }),
    ) as ProcessChild[];
    await round.begin(true);
    const victim = children[round.below(4)]!;
    const all = 0x01010101;
    // One that died before its first round is missed by nobody.
    const breakUp = () => {
      if (arrivals.get(0) !== all && !barrier.broken) barrier.abort();
    };
    if (round.isBlocked) {
      round.killSync(victim, () => {
        if (round.random() < 0.5) block(50);
        breakUp();
        for (const child of children) {
          const { process } = child;
          if (child === victim) continue;
          assertEquals(selectSync([process], IN_TIME), [process], "nobody hears that it is broken");
        }
      });
    } else {
      await round.kill(victim);
      await turn();
      if (round.random() < 0.5 && !barrier.broken) await round.sleep(50);
      breakUp();
    }
    for (const { process } of children) await round.within("broken", process.join());
    assertEquals(barrier.waiting, 0);
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
    for (let by = 0; by < 3; by++) round.start("count", [whole, real, log, by]);
    await round.killAll(async () => {
      whole.update((value) => value);
      (await acquireAnyhow(whole.lock)).release();
    }, () => {
      whole.update((value) => value);
      acquireAnyhowSync(whole.lock).release();
    });
    const sum = (from: number) => log.get(from) + log.get(from + 2) + log.get(from + 4);
    assert(sum(1) <= whole.value && whole.value <= sum(0), `${whole.value} of ${sum(0)}`);
    assert(sum(1) <= real.value && real.value <= sum(0), `${real.value} of ${sum(0)}`);
  },

  async mix(round) {
    const count = 4;
    const options: QueueOptions = round.random() < 0.5
      ? { capacity: 4_096 }
      : { maxItems: 1 + round.below(6) };
    const things: Things = {
      lock: new Lock(),
      rlock: new RLock(),
      rwlock: new RwLock(),
      semaphore: new Semaphore(4, { max: 4 }),
      condition: new Condition(),
      event: new SharedEvent(),
      queue: new Queue<Item>(options),
      value: new SharedValue("i64"),
      pairs: new SharedArray("i32", 7),
      log: new SharedArray("i32", 2 * (count + 1)),
      taken: new SharedArray("u8", MOST * (count + 1)),
    };
    const { lock, rlock, rwlock, semaphore, condition, event, queue, value, pairs } = things;
    for (let by = 1; by <= count; by++) round.start("mix", [things, by], { isAsync: true });
    const takeOne = () => {
      const found = queue.tryGet();
      if (found.state === "ok") things.taken.add(found.value.by * MOST + found.value.number, 1);
      return found.state === "ok";
    };
    const locks: AnyLock[] = [lock, rlock, rwlock, condition.lock];
    const look = (guard: Guard, i: number) => {
      const isHalf = i < 3 && pairs.get(2 * i) !== pairs.get(2 * i + 1);
      if (!guard.abandoned) assert(!isHalf, `the numbers of lock ${i} differ`);
      if (isHalf) pairs.set(2 * i + 1, pairs.get(2 * i));
      guard.release();
    };
    await round.killAll(async () => {
      for (const [i, lock] of locks.entries()) {
        round.stage = `lock ${i}`;
        look(await acquireAnyhow(lock), i);
      }
      round.stage = "semaphore";
      (await semaphore.acquire({ permits: 4 })).release();
      round.stage = "queue";
      while (takeOne());
      let isThrough = false;
      const put = queue.put({ by: 0, number: things.log.add(0, 1) + 1 });
      put.then(() => isThrough = true, () => {});
      while (!isThrough) {
        takeOne();
        await turn();
      }
      round.stage = "event";
      // Somebody else may clear it in between, and then end.
      do event.set(); while (!await event.wait({ timeout: A_MOMENT }));
      round.stage = "value";
      value.update((value) => value);
    }, () => {
      for (const [i, lock] of locks.entries()) look(acquireAnyhowSync(lock), i);
      semaphore.acquireSync({ permits: 4, ...IN_TIME }).release();
      while (takeOne());
      const end = performance.now() + LIMIT;
      const item = { by: 0, number: things.log.add(0, 1) + 1 };
      for (;;) {
        try {
          queue.putSync(item, { timeout: A_MOMENT });
          break;
        } catch (error) {
          if (performance.now() > end) throw error;
          while (takeOne());
        }
      }
      do {
        assert(performance.now() < end, "nobody sees that the event is set");
        event.set();
      } while (!event.waitSync({ timeout: A_MOMENT }));
      value.update((value) => value);
    });
    for (const lock of locks) await assertFree(round, lock);
    assertEquals(pairs.get(6), 0);
    await round.within("permits", until(() => semaphore.available === 4));
    while (takeOne());
    let lost = 0;
    for (let by = 1; by <= count; by++) {
      const [began, done] = [things.log.get(2 * by), things.log.get(2 * by + 1)];
      for (let number = 1; number < MOST; number++) {
        const times = things.taken.get(by * MOST + number);
        assert(times <= 1, `item ${number} of ${by} was taken ${times} times`);
        if (times === 1) assert(number <= began, `item ${number} of ${by} was never put`);
        else if (number <= done) lost++;
      }
    }
    assert(lost <= count, `${lost} items lost by ${count} that died`);
    roomOf(queue);
    assertEquals(roomOf(queue), roomOf(new Queue<Item | number>(options)));
  },

  async pool(round) {
    const pool = new Pool(TARGETS, { size: 2 });
    const lock = new Lock();
    const calls = Array.from({ length: 10 }, (_, number) => {
      const how = round.random() < 0.3 ? ENDS[round.below(ENDS.length)]! : "live";
      return {
        how,
        number,
        result: pool.run<(...args: unknown[]) => number>("work", [number, lock, how]),
      };
    });
    // All of them are asked for before the first is awaited.
    const ends = Promise.allSettled(calls.map(({ result }) => result));
    if (round.isBlocked) block(200 * round.random());
    const results = await round.atLast("tasks of a pool", ends);
    for (const [i, { how, number }] of calls.entries()) {
      const result = results[i]!;
      if (result.status === "fulfilled") {
        assertEquals([how, result.value], ["live", 2 * number]);
      } else {
        const { name } = result.reason as Error;
        assertEquals([name, how], [how === "throw" ? "RemoteError" : "AbandonedError", how]);
        if (how !== "throw") round.count(how);
      }
    }
    if (round.random() < 0.5) await round.atLast("the end of a pool", pool.terminate());
    else {
      pool.close();
      await round.atLast("the end of a pool", pool.join());
    }
    await assertFree(round, lock);
  },
};

/** Sends and receives with Sync calls until the other end is gone, which this agent kills meanwhile. */
async function blockedPipe(
  round: Round,
  child: Child,
  here: ReturnType<typeof pipe<Item, Item>>[0],
): Promise<void> {
  await round.begin();
  const isQuiet = round.random() < 0.3;
  // One that has not begun ends when it has started, and that takes as long as it does.
  const limit = child.hasBegun ? LIMIT : START_LIMIT;
  endsPipe(round, here, isQuiet ? 0 : round.random() * 100, () => round.killLater(child), limit);
  await turn();
}

/** `kill` is called after so many milliseconds, and then the end must come within `limit` of them. */
function endsPipe(
  round: Round,
  here: ReturnType<typeof pipe<Item, Item>>[0],
  milliseconds: number,
  kill: () => void,
  limit = LIMIT,
): void {
  let start = performance.now();
  let isKilled = false;
  try {
    for (let number = 1;; number++) {
      if (!isKilled && performance.now() - start >= milliseconds) {
        isKilled = true;
        start = performance.now();
        kill();
      }
      // One that spins neither receives nor answers.
      const options = { timeout: isKilled || milliseconds === Infinity ? limit : 10 };
      try {
        here.sendSync({ by: 0, number, pad: "p".repeat(number % 3_000) }, options);
        assertEquals(here.receiveSync(options).number, number);
      } catch (error) {
        if ((error as Error).name !== "TimeoutError" || isKilled) throw error;
        if (milliseconds === Infinity) throw error;
        while (performance.now() - start < milliseconds) block(1);
        isKilled = true;
        start = performance.now();
        kill();
        // What was not answered before may be answered yet.
        for (;;) here.receiveSync({ timeout: limit });
      }
    }
  } catch (error) {
    if (!(error instanceof ClosedError)) throw error;
  }
  if (isKilled && limit === LIMIT) round.note("the end of a pipe", performance.now() - start);
}

/** A barrier in which two wait for a third one, and one of them dies. */
async function brokenBarrier(round: Round): Promise<void> {
  const barrier = new Barrier(4);
  const arrivals = new SharedArray("i32", 10);
  const options: StartOptions = { hows: ["live"] };
  const victim = round.start("meet", [barrier, arrivals], { ...options, isAsync: true });
  const other = round.start("meet", [barrier, arrivals], { ...options, isDirect: true });
  const end = performance.now() + START_LIMIT;
  while (barrier.waiting < 2) {
    assert(performance.now() < end, "the children do not start");
    await turn();
  }
  const { process } = other as ProcessChild;
  const assertBroken = (error: unknown) => {
    if ((error as Error).name !== "BrokenBarrierError") throw error;
  };
  if (round.isBlocked) {
    round.killSync(victim, () => {
      try {
        barrier.waitSync(IN_TIME);
        throw new Error("nothing broke");
      } catch (error) {
        assertBroken(error);
      }
      assertEquals(selectSync([process], IN_TIME), [process], "the other one hears nothing");
    });
  } else {
    const wait = barrier.wait().then(() => {
      throw new Error("nothing broke");
    }, assertBroken);
    await round.kill(victim);
    await round.within("broken", wait);
    await round.within("the other one", process.join());
  }
  assertEquals([barrier.broken, barrier.waiting], [true, 0]);
}
