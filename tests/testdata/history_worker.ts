// Copyright 2026 the Sabre authors. MIT license.

// What workers of the tests in `linearizability/` do: random programs of calls, recorded, and long runs.

import { join as joinDomain } from "../../_agent.ts";
import { Barrier } from "../../barrier.ts";
import { SharedEvent } from "../../event.ts";
import { type Guard, Lock } from "../../lock.ts";
import { Connection } from "../../pipe.ts";
import { Queue } from "../../queue.ts";
import { Semaphore } from "../../semaphore.ts";
import { randomOf } from "../_helpers.ts";
import { type Call, Death, dieAt, died, isDead, Recorder } from "../linearizability/history.ts";

/** What a round is about. */
export type Kind = "queue" | "pipe" | "lock" | "semaphore" | "event" | "barrier";

/** Several rounds of one kind. */
export interface Batch {
  readonly kind: Kind;
  /** By round: the primitive as messages bring it; for pipes, the two ends. */
  readonly objects: readonly unknown[];
  readonly clock: SharedArrayBuffer;
  /** A word for each round, in which agents count themselves in. */
  readonly gate: SharedArrayBuffer;
  readonly agents: number;
  readonly seed: number;
  /** Calls of an agent in a round. */
  readonly calls: number;
  /** The agent that dies, and at which of its operations on shared memory. */
  readonly victim?: number;
  readonly deathAt?: number;
}

/** A round's program, as one agent goes through it. */
interface Script {
  readonly recorder: Recorder;
  readonly random: () => number;
  readonly agent: number;
  readonly open: Promise<unknown>[];
  values: number;
}

export function join(memory: SharedArrayBuffer): number {
  return joinDomain(memory).id;
}

/** Goes through all rounds, and returns the calls of each. */
export async function play(batch: Batch, agent: number): Promise<Call[][]> {
  const gate = new Int32Array(batch.gate);
  const histories: Call[][] = [];
  for (let round = 0; round < batch.objects.length; round++) {
    const recorder = new Recorder(batch.clock, agent);
    const random = randomOf(batch.seed * 1_000_003 + round * 101 + agent);
    const script: Script = { recorder, random, agent, open: [], values: 0 };
    histories.push(recorder.calls);
    const next = programs[batch.kind](batch.objects[round], script);
    Atomics.add(gate, round, 1);
    Atomics.notify(gate, round);
    for (let here; (here = Atomics.load(gate, round)) < batch.agents;) {
      Atomics.wait(gate, round, here, 100);
    }
    if (batch.victim === agent) dieAt(batch.deathAt!);
    try {
      for (let i = 0; i < batch.calls; i++) {
        spin(random() * 400);
        const made = next();
        if (made instanceof Promise) {
          made.catch(() => {});
          if (script.open.push(made) > 2 || random() < 0.4) await settle(script);
        }
      }
      await settle(script);
    } catch (error) {
      if (!isDead()) throw error;
      return histories;
    }
  }
  return histories;
}

/** Waits for the open calls, unless this agent dies. */
async function settle(script: Script): Promise<void> {
  await Promise.race([Promise.all(script.open.splice(0)), died]);
  if (isDead()) throw new Death();
}

function spin(times: number): void {
  for (let i = 0; i < times; i++) Math.random();
}

/** How to wait: a short while at the most. */
function timeoutOf(random: () => number): number {
  const part = random();
  return part < 0.2 ? 0 : part < 0.8 ? 1 : 3;
}

/** A timeout, or a signal that fires soon, or both. */
function limits(random: () => number): { timeout: number; signal?: AbortSignal } {
  const timeout = timeoutOf(random);
  if (random() < 0.7) return { timeout };
  const controller = new AbortController();
  const fire = (): void => controller.abort(new DOMException("", "AbortError"));
  if (random() < 0.5) queueMicrotask(() => queueMicrotask(fire));
  else setTimeout(fire, 0);
  return { timeout, signal: controller.signal };
}

type Program = (object: unknown, script: Script) => () => unknown;

const programs: Record<Kind, Program> = {
  queue(object, script) {
    const { recorder, random, agent } = script;
    const queue = Queue.from<number>(object);
    // Some mostly put, some mostly get.
    const puts = 0.15 + 0.6 * random();
    const asyncs = random() < 0.3 ? 0 : random();
    const value = (): number => agent * 1_000 + ++script.values;
    return () => {
      const part = random();
      const isAsync = random() < asyncs;
      if (part < 0.75 * puts) {
        if (random() < 0.3) {
          const one = value();
          return recorder.run("tryPut", one, () => queue.tryPut(one));
        }
        if (random() < 0.3) {
          const many = [value(), value()];
          return isAsync
            ? recorder.runAsync("putMany", many, () => queue.putMany(many, limits(random)))
            : recorder.run(
              "putMany",
              many,
              () => queue.putManySync(many, { timeout: timeoutOf(random) }),
            );
        }
        const one = value();
        return isAsync
          ? recorder.runAsync("put", one, () => queue.put(one, limits(random)))
          : recorder.run("put", one, () => queue.putSync(one, { timeout: timeoutOf(random) }));
      }
      if (part < 0.75) {
        if (random() < 0.3) {
          return recorder.run("tryGet", undefined, () => {
            const item = queue.tryGet();
            return item.state === "ok" ? item.value : item.state;
          });
        }
        if (random() < 0.3) {
          return isAsync
            ? recorder.runAsync("getMany", 2, () => queue.getMany(2, limits(random)))
            : recorder.run(
              "getMany",
              2,
              () => queue.getManySync(2, { timeout: timeoutOf(random) }),
            );
        }
        return isAsync
          ? recorder.runAsync("get", undefined, () => queue.get(limits(random)))
          : recorder.run(
            "get",
            undefined,
            () => queue.getSync({ timeout: timeoutOf(random) }),
          );
      }
      if (part < 0.83) return recorder.run("size", undefined, () => queue.size);
      if (part < 0.9) return recorder.run("full", undefined, () => queue.full);
      if (part < 0.94) return recorder.run("empty", undefined, () => queue.empty);
      if (part < 0.985) return recorder.run("closed", undefined, () => queue.closed);
      return recorder.run("close", undefined, () => queue.close());
    };
  },

  pipe(object, script) {
    const { recorder, random, agent } = script;
    const end = Connection.from<number, number>((object as unknown[])[agent]);
    const asyncs = random();
    const value = (): number => ++script.values;
    return () => {
      const isAsync = random() < asyncs;
      const part = random();
      if (agent === 0) {
        if (part < 0.05) return recorder.run("close", undefined, () => end.close());
        const one = value();
        if (part < 0.3) return recorder.run("tryPut", one, () => end.trySend(one));
        if (part < 0.5) {
          const many = [one, value(), value()];
          return isAsync
            ? recorder.runAsync("putMany", many, () => end.sendMany(many, limits(random)))
            : recorder.run(
              "putMany",
              many,
              () => end.sendManySync(many, { timeout: timeoutOf(random) }),
            );
        }
        return isAsync
          ? recorder.runAsync("put", one, () => end.send(one, limits(random)))
          : recorder.run("put", one, () => end.sendSync(one, { timeout: timeoutOf(random) }));
      }
      if (part < 0.03) return recorder.run("leave", undefined, () => end.close());
      if (part < 0.3) {
        return recorder.run("tryGet", undefined, () => {
          const item = end.tryReceive();
          return item.state === "ok" ? item.value : item.state;
        });
      }
      if (part < 0.5) {
        return isAsync
          ? recorder.runAsync("getMany", 3, () => end.receiveMany(3, limits(random)))
          : recorder.run(
            "getMany",
            3,
            () => end.receiveManySync(3, { timeout: timeoutOf(random) }),
          );
      }
      return isAsync
        ? recorder.runAsync("get", undefined, () => end.receive(limits(random)))
        : recorder.run("get", undefined, () => end.receiveSync({ timeout: timeoutOf(random) }));
    };
  },

  lock(object, script) {
    const { recorder, random } = script;
    const lock = Lock.from(object);
    const asyncs = random();
    return () => {
      if (random() < 0.1) return recorder.run("locked", undefined, () => lock.locked);
      const recover = random() < 0.5;
      let guard: Guard | undefined;
      const keep = (got: Guard | undefined): unknown => {
        guard = got;
        return got === undefined ? "busy" : got.abandoned;
      };
      const release = (): void => {
        if (guard === undefined) return;
        spin(random() * 200);
        recorder.run("release", undefined, () => guard!.release());
      };
      const part = random();
      if (part < 0.3) {
        recorder.run("tryAcquire", undefined, () => keep(lock.tryAcquire({ recover })));
      } else if (random() < asyncs) {
        const options = { ...limits(random), recover };
        // One at a time, as a task that holds it keeps the others of its agent out.
        return Promise.all(script.open.splice(0))
          .then(() =>
            recorder.runAsync("acquire", undefined, async () => keep(await lock.acquire(options)))
          )
          .then(release);
      } else {
        const timeout = timeoutOf(random);
        recorder.run("acquire", undefined, () => keep(lock.acquireSync({ timeout, recover })));
      }
      release();
    };
  },

  semaphore(object, script) {
    const { recorder, random } = script;
    const semaphore = Semaphore.from(object);
    const asyncs = random();
    return () => {
      if (random() < 0.1) return recorder.run("available", undefined, () => semaphore.available);
      const permits = random() < 0.7 ? 1 : 2;
      let guard: Guard | undefined;
      const keep = (got: Guard | undefined): boolean => (guard = got) !== undefined;
      const release = (): void => {
        if (guard === undefined) return;
        spin(random() * 200);
        recorder.run("release", permits, () => guard!.release());
      };
      if (random() < 0.3) {
        recorder.run("tryAcquire", permits, () => keep(semaphore.tryAcquire({ permits })));
      } else if (random() < asyncs) {
        const options = { ...limits(random), permits };
        return recorder.runAsync(
          "acquire",
          permits,
          async () => keep(await semaphore.acquire(options)),
        )
          .then(release);
      } else {
        const timeout = timeoutOf(random);
        recorder.run("acquire", permits, () => keep(semaphore.acquireSync({ timeout, permits })));
      }
      release();
    };
  },

  event(object, script) {
    const { recorder, random } = script;
    const event = SharedEvent.from(object);
    const asyncs = random();
    return () => {
      const part = random();
      if (part < 0.2) return recorder.run("set", undefined, () => event.set());
      if (part < 0.45) return recorder.run("clear", undefined, () => event.clear());
      if (part < 0.55) return recorder.run("isSet", undefined, () => event.isSet);
      return random() < asyncs
        ? recorder.runAsync("wait", undefined, () => event.wait(limits(random)))
        : recorder.run("wait", undefined, () => event.waitSync({ timeout: timeoutOf(random) }));
    };
  },

  barrier(object, script) {
    const { recorder, random } = script;
    const barrier = Barrier.from(object);
    const asyncs = random();
    return () => {
      const part = random();
      if (part < 0.12) return recorder.run("reset", undefined, () => barrier.reset());
      if (part < 0.14) return recorder.run("abort", undefined, () => barrier.abort());
      if (part < 0.2) return recorder.run("broken", undefined, () => barrier.broken);
      if (part < 0.26) return recorder.run("waiting", undefined, () => barrier.waiting);
      // Not 0: such a call returns an index even if the round broke while it gave up.
      const some = (options: { timeout: number; signal?: AbortSignal }) => ({
        ...options,
        timeout: options.timeout || 1,
      });
      return random() < asyncs
        ? recorder.runAsync("wait", undefined, () => barrier.wait(some(limits(random))))
        : recorder.run(
          "wait",
          undefined,
          () => barrier.waitSync(some({ timeout: timeoutOf(random) })),
        );
    };
  },
};

// -- Long runs -----------------------------------------------------------------------------------

/** How an agent of a long run makes its calls. */
export type Form = "sync" | "async" | "try" | "many" | "mixed";

const SINGLE = ["sync", "async", "try"] as const;

/** What an agent recorded. */
export interface Log {
  readonly values: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** Of calls that said "empty". */
  readonly emptyStarts: Int32Array;
  readonly emptyEnds: Int32Array;
}

/** Columns that grow no more. */
class Columns {
  readonly values: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly emptyStarts = new Int32Array(100_000);
  readonly emptyEnds = new Int32Array(100_000);
  empties = 0;
  count = 0;

  constructor(size: number) {
    this.values = new Int32Array(size);
    this.starts = new Int32Array(size);
    this.ends = new Int32Array(size);
  }

  add(value: number, start: number, end: number): void {
    this.values[this.count] = value;
    this.starts[this.count] = start;
    this.ends[this.count++] = end;
  }

  addEmpty(start: number, end: number): void {
    if (this.empties === this.emptyStarts.length) return;
    this.emptyStarts[this.empties] = start;
    this.emptyEnds[this.empties++] = end;
  }

  log(): Log {
    const { count, empties } = this;
    return {
      values: this.values.slice(0, count),
      starts: this.starts.slice(0, count),
      ends: this.ends.slice(0, count),
      emptyStarts: this.emptyStarts.slice(0, empties),
      emptyEnds: this.emptyEnds.slice(0, empties),
    };
  }
}

/** The stamps of a run: 0 always if nothing is to disturb it. */
function stampsOf(clock: SharedArrayBuffer | undefined): () => number {
  if (clock === undefined) return () => 0;
  const words = new Int32Array(clock);
  return () => Atomics.add(words, 0, 1);
}

/** Puts `count` values, counted up from `first`. */
export async function produce(
  message: unknown,
  clock: SharedArrayBuffer | undefined,
  first: number,
  count: number,
  form: Form,
  seed: number,
): Promise<Log> {
  const queue = Queue.from<number>(message);
  const stamp = stampsOf(clock);
  const random = randomOf(seed);
  const columns = new Columns(count);
  for (let i = 0; i < count;) {
    const value = first + i;
    const now = form === "mixed" ? SINGLE[random() * 50 | 0] ?? "sync" : form;
    const start = stamp();
    if (now === "many") {
      const many: number[] = [];
      for (let j = 0; j < 16 && i + j < count; j++) many.push(value + j);
      queue.putManySync(many);
      const end = stamp();
      for (const each of many) columns.add(each, start, end);
      i += many.length;
      continue;
    }
    if (now === "async") await queue.put(value);
    else if (now === "sync" || !queue.tryPut(value)) queue.putSync(value);
    columns.add(value, start, stamp());
    i++;
  }
  return columns.log();
}

/** Gets until the queue is closed. */
export async function consume(
  message: unknown,
  clock: SharedArrayBuffer | undefined,
  most: number,
  form: Form,
  seed: number,
): Promise<Log> {
  const queue = Queue.from<number>(message);
  const stamp = stampsOf(clock);
  const random = randomOf(seed);
  const columns = new Columns(most);
  try {
    for (;;) {
      const now = form === "mixed" ? SINGLE[random() * 50 | 0] ?? "sync" : form;
      const start = stamp();
      if (now === "many") {
        const many = queue.getManySync(16);
        const end = stamp();
        for (const each of many) columns.add(each, start, end);
        continue;
      }
      if (now === "try") {
        const item = queue.tryGet();
        const end = stamp();
        if (item.state === "ok") {
          columns.add(item.value, start, end);
          continue;
        }
        if (item.state === "empty") columns.addEmpty(start, end);
      }
      const again = stamp();
      const value = now === "async" ? await queue.get() : queue.getSync();
      columns.add(value, again, stamp());
    }
  } catch (error) {
    if ((error as Error).name !== "ClosedError") throw error;
  }
  return columns.log();
}
