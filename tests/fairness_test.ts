// Copyright 2026 the Sabre authors. MIT license.

// Nobody starves while others, which never sleep, take the same thing again and again.

import { assert } from "@std/assert";
import type { Guard } from "../lock.ts";
import { Lock, RLock } from "../lock.ts";
import { Process } from "../process.ts";
import { RwLock } from "../rwlock.ts";
import { Semaphore } from "../semaphore.ts";
import { SharedArray } from "../shared.ts";
import { block, until } from "./_helpers.ts";
import { barge } from "./testdata/fairness_targets.ts";

const TARGETS = new URL("./testdata/fairness_targets.ts", import.meta.url);
/** How often this agent takes its turn. */
const TURNS = 60;

type Kind = Lock | RLock | RwLock | Semaphore;

const KINDS: Record<string, [Kind, (kind: Kind) => Guard, (kind: Kind) => Promise<Guard>]> = {
  "Lock": [new Lock(), (kind) => (kind as Lock).acquireSync(), (kind) => (kind as Lock).acquire()],
  "RLock": [
    new RLock(),
    (kind) => (kind as RLock).acquireSync(),
    (kind) => (kind as RLock).acquire(),
  ],
  "Semaphore": [
    new Semaphore(1),
    (kind) => (kind as Semaphore).acquireSync(),
    (kind) => (kind as Semaphore).acquire(),
  ],
  "RwLock, reading": [
    new RwLock(),
    (kind) => (kind as RwLock).readSync(),
    (kind) => (kind as RwLock).read(),
  ],
  "RwLock, writing": [
    new RwLock(),
    (kind) => (kind as RwLock).writeSync(),
    (kind) => (kind as RwLock).write(),
  ],
};

for (const [name, [kind, takeSync, take]] of Object.entries(KINDS)) {
  Deno.test(`nobody starves among agents that barge: ${name}`, { timeout: 60_000 }, async () => {
    const state = new SharedArray("i32", 4);
    const children = [2, 3].map((own) =>
      new Process(TARGETS, { target: barge, args: [kind, state, own] }).start()
    );
    await until(() => state.get(2) > 100 && state.get(3) > 100);
    const waits: number[] = [];
    for (let turn = 0; turn < TURNS; turn++) {
      const start = performance.now();
      const guard = turn % 2 === 0 ? takeSync(kind) : await take(kind);
      waits.push(performance.now() - start);
      guard.release();
      block(turn % 3);
    }

    // A promise that has waited for more than a millisecond is served at the next release. It does not run
    // while this thread is blocked, and so nobody else gets a turn, but for one that was under way.
    const promise = take(kind);
    block(100);
    const before = state.get(2) + state.get(3);
    block(50);
    const after = state.get(2) + state.get(3);
    (await promise).release();

    state.set(0, 1);
    const counts = await Promise.all(children.map((child) => child.result));
    await Promise.all(children.map((child) => child.join()));
    const longest = Math.max(...waits);
    console.log(
      `${name}: longest wait ${longest.toFixed(1)} ms beside ${counts.join(" and ")} turns`,
    );
    assert(after - before <= children.length, `${after - before} newcomers were served first`);
    assert(Math.min(...counts) > TURNS, `only ${counts} turns`);
    assert(longest < 1_000, `waited for ${longest} ms`);
  });
}
