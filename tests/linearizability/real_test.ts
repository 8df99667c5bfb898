// Copyright 2026 the Sabre authors. MIT license.

// Histories of real workers: random programs of a few calls each, and millions of queue operations.

import { assert, assertEquals } from "@std/assert";
import { Barrier } from "../../barrier.ts";
import { SharedEvent } from "../../event.ts";
import { Lock } from "../../lock.ts";
import { pipe } from "../../pipe.ts";
import { Queue } from "../../queue.ts";
import { Semaphore } from "../../semaphore.ts";
import { Peer } from "../_workers.ts";
import type { Batch, Kind } from "../testdata/history_worker.ts";
import { type Call, Recorder, threw } from "./history.ts";
import { runFifo } from "./runs.ts";
import { barrier, event, lock, pipeOf, queueOf, semaphore } from "./specifications.ts";
import { check, type Specification } from "./wing_gong.ts";

const WORKER = new URL("../testdata/history_worker.ts", import.meta.url);
const LIMIT = { timeout: 60_000 };
/** A new one each time, so that runs add up; printed, as the schedule is not reproducible anyway. */
const SEED = Math.floor(Math.random() * 1e6);

class Crew implements Disposable {
  readonly peers: Peer[] = [];

  static async start(size: number): Promise<Crew> {
    const crew = new Crew();
    for (let i = 0; i < size; i++) crew.peers.push(await Peer.start(WORKER));
    return crew;
  }

  [Symbol.dispose](): void {
    for (const peer of this.peers) peer[Symbol.dispose]();
  }
}

interface Round {
  /** What is sent, and what it must behave like. */
  readonly object: unknown;
  // deno-lint-ignore no-explicit-any
  readonly spec: Specification<any>;
  /** What the main thread does when all are through. */
  readonly after?: (recorder: Recorder) => void;
}

interface Played {
  readonly histories: Call[][];
  readonly calls: number;
  readonly width: number;
}

/** Plays rounds on the crew and checks each of them. */
async function play(
  crew: Crew,
  kind: Kind,
  rounds: readonly Round[],
  options: { calls: number; seed: number; victim?: number; deathAt?: number },
): Promise<Played> {
  const clock = new SharedArrayBuffer(4);
  const batch: Batch = {
    kind,
    objects: rounds.map((round) => round.object),
    clock,
    gate: new SharedArrayBuffer(4 * rounds.length),
    agents: crew.peers.length,
    ...options,
  };
  const played = crew.peers.map((peer, i) => peer.run<Call[][]>("play", batch, i));
  const burials: Call[] = [];
  if (options.victim !== undefined) {
    await played[options.victim];
    const recorder = new Recorder(clock, 99);
    // Nothing of it is seen any more: the others go on without it from here on.
    recorder.run("die", options.victim, () => crew.peers[options.victim!]!.die());
    burials.push(...recorder.calls);
  }
  const logs = await Promise.all(played);
  let calls = 0;
  let width = 0;
  const histories: Call[][] = [];
  for (const [i, round] of rounds.entries()) {
    const after = new Recorder(clock, 100);
    round.after?.(after);
    const history = [
      ...logs.flatMap((log) => log[i] ?? []),
      ...after.calls,
      ...(kind === "lock" ? burials : []),
    ];
    if (kind === "pipe") {
      // It rejects when its own end is closed, also if some of it went through before.
      for (const call of history) {
        if (call.op === "putMany" && call.result === threw("ClosedError")) {
          call.fate = "pending";
          call.result = undefined;
        }
      }
    }
    const verdict = check(round.spec, history);
    assert(verdict.ok, `Seed ${options.seed}, round ${i}: ${verdict.report}`);
    calls += history.length;
    width = Math.max(width, verdict.width);
    histories.push(history);
  }
  return { histories, calls, width };
}

function drain(queue: Queue<number>): (recorder: Recorder) => void {
  return (recorder) => {
    recorder.run("size", undefined, () => queue.size);
    recorder.run("full", undefined, () => queue.full);
    for (let more = true; more;) {
      recorder.run("tryGet", undefined, () => {
        const item = queue.tryGet();
        more = item.state === "ok";
        return item.state === "ok" ? item.value : item.state;
      });
    }
  };
}

function queueRounds(count: number): Round[] {
  return Array.from({ length: count }, (_, i) => {
    const isSmall = i % 4 === 3;
    const maxItems = [1, 2, 3, Infinity][i % 4]!;
    const queue = new Queue<number>({ maxItems, ...(isSmall ? { capacity: 32 } : {}) });
    return {
      object: { handle: queue.handle },
      spec: queueOf({ maxItems, isSmall }),
      after: drain(queue),
    };
  });
}

function roundsOf(kind: Kind, count: number, agents: number): Round[] {
  if (kind === "queue") return queueRounds(count);
  return Array.from({ length: count }, (_, i): Round => {
    switch (kind) {
      case "pipe": {
        const ends = pipe<number>({ capacity: i % 2 === 0 ? 32 : 1024 });
        return { object: ends.map(({ handle }) => ({ handle })), spec: pipeOf() };
      }
      case "lock": {
        const one = new Lock();
        const after = (recorder: Recorder) =>
          void recorder.run("locked", undefined, () => one.locked);
        return { object: { handle: one.handle }, spec: lock(), after };
      }
      case "semaphore": {
        const permits = 2 + i % 2;
        const one = new Semaphore(permits);
        const after = (recorder: Recorder) =>
          void recorder.run("available", undefined, () => one.available);
        return { object: { handle: one.handle }, spec: semaphore(permits), after };
      }
      case "event":
        return { object: { handle: new SharedEvent().handle }, spec: event() };
      default:
        return { object: { handle: new Barrier(agents).handle }, spec: barrier(agents) };
    }
  });
}

/** Registers a test that plays random programs. */
function programs(kind: Kind, agents: number, rounds: number, calls: number): void {
  Deno.test({
    name: `${kind}: random programs of ${agents} agents are linearizable`,
    ...LIMIT,
    async fn() {
      using crew = await Crew.start(agents);
      const start = performance.now();
      const played = await play(crew, kind, roundsOf(kind, rounds, agents), { calls, seed: SEED });
      console.log(
        `${kind}: ${rounds} rounds, ${played.calls} calls, up to ${played.width} configurations, ${
          Math.round(performance.now() - start)
        } ms, seed ${SEED}`,
      );
    },
  });
}

programs("queue", 3, 250, 12);
programs("queue", 4, 100, 8);
programs("pipe", 2, 150, 16);
programs("lock", 3, 100, 12);
programs("semaphore", 3, 100, 12);
programs("event", 3, 100, 12);
programs("barrier", 3, 100, 10);
programs("barrier", 2, 100, 12);

/** Registers a test in which an agent dies at one of its operations on shared memory. */
function deaths(kind: Kind, agents: number, times: number): void {
  Deno.test({
    name: `${kind}: histories with a death in them are linearizable`,
    ...LIMIT,
    async fn() {
      let inside = 0;
      for (let i = 0; i < times; i++) {
        using crew = await Crew.start(agents);
        const deathAt = 1 + (SEED + i * 37) % (kind === "lock" ? 40 : 150);
        const { histories } = await play(crew, kind, roundsOf(kind, 1, agents), {
          calls: 12,
          seed: SEED + i,
          victim: i % agents,
          deathAt,
        });
        if (histories[0]!.some(({ fate }) => fate === "pending")) inside++;
      }
      assert(inside > 0, "nobody died inside a call");
      console.log(`${kind}: ${times} deaths, ${inside} of them inside a call`);
    },
  });
}

deaths("queue", 3, 15);
deaths("lock", 3, 10);

Deno.test({
  name: "queue: a million operations of 2 producers and 2 consumers keep their order",
  ...LIMIT,
  async fn() {
    let operations = 0;
    const start = performance.now();
    using crew = await Crew.start(4);
    for (let seed = 0; seed < 10; seed++) {
      const { wrong, count } = await runFifo(crew.peers, seed, 25_000);
      assertEquals(wrong, [], `seed ${seed}`);
      operations += count;
    }
    assert(operations >= 1_000_000, `${operations} operations`);
    console.log(
      `queue: ${operations} operations, ten seeds, ${Math.round(performance.now() - start)} ms`,
    );
  },
});
