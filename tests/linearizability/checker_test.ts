// Copyright 2026 the Sabre authors. MIT license.

// The checkers themselves: what they must accept, and broken histories that they must refute.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { randomOf } from "../_helpers.ts";
import { checkFifo, type Column } from "./fifo_monitor.ts";
import { type Call, threw } from "./history.ts";
import { barrier, called, event, lock, pipeOf, queueOf, semaphore } from "./specifications.ts";
import { check, type Specification } from "./wing_gong.ts";

type Row = readonly [agent: number, op: string, arg: unknown, result: unknown, number, number];

const TIMEOUT = threw("TimeoutError");
const CLOSED = threw("ClosedError");
const DIED = Infinity;

function accepts<S>(spec: Specification<S>, rows: readonly Row[]): void {
  const verdict = check(spec, rows.map((row) => called(...row)));
  assert(verdict.ok, verdict.report);
}

function refutes<S>(spec: Specification<S>, rows: readonly Row[]): void {
  const verdict = check(spec, rows.map((row) => called(...row)));
  assert(!verdict.ok, "was accepted");
  assertStringIncludes(verdict.report, "Not linearizable");
}

Deno.test("check() accepts a queue whose overlapping puts are got in either order", () => {
  for (const [a, b] of [[1, 2], [2, 1]]) {
    accepts(queueOf(), [
      [0, "put", 1, undefined, 0, 3],
      [1, "put", 2, undefined, 1, 2],
      [2, "get", undefined, a, 4, 5],
      [2, "get", undefined, b, 6, 7],
    ]);
  }
});

Deno.test("check() refutes a queue that swaps, loses, doubles or invents", () => {
  const puts: Row[] = [[0, "put", 1, undefined, 0, 1], [0, "put", 2, undefined, 2, 3]];
  accepts(queueOf(), [...puts, [1, "get", 0, 1, 4, 5], [1, "get", 0, 2, 6, 7]]);
  refutes(queueOf(), [...puts, [1, "get", 0, 2, 4, 5], [1, "get", 0, 1, 6, 7]]);
  refutes(queueOf(), [...puts, [1, "get", 0, 2, 4, 5]]);
  refutes(queueOf(), [...puts, [1, "get", 0, 1, 4, 5], [1, "get", 0, 1, 6, 7]]);
  refutes(queueOf(), [...puts, [1, "get", 0, 3, 4, 5]]);
  refutes(queueOf(), [...puts, [1, "get", 0, 1, 4, 5], [1, "tryGet", 0, "empty", 6, 7]]);
});

Deno.test("check() refutes a stale empty and accepts one that overlaps the put", () => {
  refutes(queueOf(), [[0, "put", 1, undefined, 0, 1], [1, "tryGet", 0, "empty", 2, 3]]);
  accepts(queueOf(), [[0, "put", 1, undefined, 0, 3], [1, "tryGet", 0, "empty", 1, 2]]);
  refutes(queueOf(), [[0, "put", 1, undefined, 0, 1], [1, "size", 0, 0, 2, 3]]);
});

Deno.test("check() knows the bounds of a queue", () => {
  const two: Row[] = [[0, "put", 1, undefined, 0, 1], [0, "put", 2, undefined, 2, 3]];
  refutes(queueOf({ maxItems: 1 }), two);
  accepts(queueOf({ maxItems: 2 }), [...two, [0, "tryPut", 3, false, 4, 5]]);
  refutes(queueOf({ maxItems: 3 }), [...two, [0, "tryPut", 3, false, 4, 5]]);
  accepts(queueOf({ maxItems: 2 }), [...two, [0, "full", 0, true, 4, 5]]);
  refutes(queueOf({ maxItems: 2 }), [...two, [0, "full", 0, false, 4, 5]]);
});

Deno.test("check() knows that a closed queue is drained and takes nothing more", () => {
  const rows: Row[] = [[0, "put", 1, undefined, 0, 1], [0, "close", 0, undefined, 2, 3]];
  accepts(queueOf(), [...rows, [1, "get", 0, 1, 4, 5], [1, "get", 0, CLOSED, 6, 7]]);
  refutes(queueOf(), [...rows, [1, "get", 0, CLOSED, 4, 5]]);
  refutes(queueOf(), [...rows, [0, "put", 2, undefined, 4, 5]]);
  refutes(queueOf(), [[0, "put", 1, CLOSED, 0, 1]]);
});

Deno.test("check() tells calls of the dead, which may count, from those given up, which must not", () => {
  const get: Row = [1, "get", 0, 1, 4, 5];
  const empty: Row = [1, "tryGet", 0, "empty", 4, 5];
  for (const after of [get, empty]) {
    accepts(queueOf(), [[0, "put", 1, undefined, 0, DIED], after]);
  }
  accepts(queueOf(), [[0, "put", 1, TIMEOUT, 0, 3], empty]);
  refutes(queueOf(), [[0, "put", 1, TIMEOUT, 0, 3], get]);
  const put: Row = [0, "put", 1, undefined, 0, 1];
  accepts(queueOf(), [put, [2, "get", 0, undefined, 2, DIED], empty]);
  accepts(queueOf(), [put, [2, "get", 0, undefined, 2, DIED], get]);
  refutes(queueOf(), [put, [2, "get", 0, TIMEOUT, 2, 3], empty]);
});

Deno.test("check() knows that what several calls of a dead agent were assigned comes back in its order", () => {
  const put: Row = [0, "putMany", [1, 2, 3], 3, 2, 3];
  const dead: Row[] = [[2, "get", 0, undefined, 0, DIED], [2, "get", 0, undefined, 1, DIED]];
  const get = (value: number, from: number): Row => [1, "get", 0, value, from, from + 1];
  accepts(queueOf(), [...dead, put, get(3, 4), get(1, 6), get(2, 8)]);
  accepts(queueOf(), [...dead, put, get(1, 4), get(3, 6), get(2, 8)]);
  accepts(queueOf(), [...dead, put, get(3, 4), get(2, 6), [1, "tryGet", 0, "empty", 8, 9]]);
  refutes(queueOf(), [...dead, put, get(2, 4), get(3, 6), get(2, 8)]);
  refutes(queueOf(), [...dead.slice(1), put, get(3, 4)]);
});

Deno.test("check() knows that a dead agent may have given up a call and gone on with the next one", () => {
  const waiting: Row = [0, "putMany", [2, 3], undefined, 0, DIED];
  const next: Row = [0, "tryPut", 4, true, 1, 2];
  accepts(queueOf({ maxItems: 1 }), [waiting, next, [1, "get", 0, 4, 3, 4]]);
  refutes(queueOf({ maxItems: 1 }), [waiting, next, [1, "tryGet", 0, "empty", 3, 4]]);
  refutes(queueOf({ maxItems: 1 }), [[0, "put", 2, undefined, 0, 5], next]);
});

Deno.test("check() knows that room that was set aside for a dead agent becomes free", () => {
  const dead: Row = [0, "putMany", [1, 2, 3], undefined, 0, DIED];
  const rows: Row[] = [dead, [1, "tryGet", 0, 1, 1, 2], [1, "tryPut", 4, false, 3, 4]];
  accepts(queueOf({ maxItems: 1 }), [...rows, [1, "tryPut", 4, true, 5, 6]]);
  accepts(queueOf({ maxItems: 1 }), [...rows, [1, "tryGet", 0, 2, 5, 6], [
    1,
    "tryGet",
    0,
    3,
    7,
    8,
  ]]);
  refutes(queueOf({ maxItems: 1 }), [...rows, [1, "tryGet", 0, 3, 5, 6]]);
  refutes(queueOf({ maxItems: 1 }), rows.slice(1));
});

Deno.test("check() accepts part of what a dead agent put at once, as long as it is the first part", () => {
  const many: Row = [0, "putMany", [1, 2, 3], undefined, 0, DIED];
  accepts(queueOf(), [many, [1, "getMany", 3, [1, 2], 1, 2], [1, "tryGet", 0, "empty", 3, 4]]);
  refutes(queueOf(), [many, [1, "getMany", 3, [1, 3], 1, 2]]);
  refutes(queueOf(), [many, [1, "getMany", 3, [2], 1, 2]]);
});

Deno.test("check() knows a pipe", () => {
  const rows: Row[] = [[0, "put", 1, undefined, 0, 1], [0, "close", 0, undefined, 2, 3]];
  accepts(pipeOf(), [...rows, [1, "get", 0, 1, 4, 5], [1, "tryGet", 0, "closed", 6, 7]]);
  refutes(pipeOf(), [...rows, [1, "tryGet", 0, "closed", 4, 5]]);
  refutes(pipeOf(), [[0, "tryPut", 1, false, 0, 1]]);
  refutes(pipeOf(), [[1, "leave", 0, undefined, 0, 1], [0, "put", 1, undefined, 2, 3]]);
});

Deno.test("check() knows a lock", () => {
  const held: Row = [0, "acquire", 0, false, 0, 1];
  accepts(lock(), [held, [0, "release", 0, undefined, 2, 5], [1, "acquire", 0, false, 3, 4]]);
  refutes(lock(), [held, [1, "acquire", 0, false, 2, 3]]);
  refutes(lock(), [[1, "tryAcquire", 0, "busy", 2, 3]]);
  refutes(lock(), [held, [1, "locked", 0, false, 2, 3]]);
  const dead: Row[] = [held, [9, "die", 0, undefined, 2, 3]];
  accepts(lock(), [...dead, [1, "acquire", 0, threw("AbandonedError"), 4, 5]]);
  accepts(lock(), [...dead, [1, "acquire", 0, true, 4, 5]]);
  refutes(lock(), [held, [1, "acquire", 0, true, 4, 5]]);
  refutes(lock(), [[1, "acquire", 0, threw("AbandonedError"), 4, 5]]);
});

Deno.test("check() knows that a lock is abandoned until one has recovered it", () => {
  const dead: Row[] = [[0, "acquire", 0, false, 0, 1], [9, "die", 0, undefined, 2, 3]];
  const heir: Row = [1, "acquire", 0, true, 4, 11];
  const busy: Row = [2, "tryAcquire", 0, "busy", 5, 6];
  const abandoned: Row = [2, "acquire", 0, threw("AbandonedError"), 7, 8];
  // Already taken, but not mended yet.
  accepts(lock(), [...dead, heir, busy, abandoned]);
  accepts(lock(), [...dead, heir, busy, [1, "release", 0, undefined, 12, 13]]);
  // Mended before.
  refutes(lock(), [...dead, heir, [2, "acquire", 0, threw("AbandonedError"), 12, 13]]);
  refutes(lock(), [...dead, heir, [1, "release", 0, undefined, 12, 13], [
    2,
    "acquire",
    0,
    threw("AbandonedError"),
    14,
    15,
  ]]);
  // Taken by one, and so by nobody else.
  refutes(lock(), [...dead, heir, [2, "acquire", 0, true, 5, 6]]);
  // Handed to one that will not have it.
  const told: Row = [1, "acquire", 0, threw("AbandonedError"), 4, 11];
  accepts(lock(), [...dead, told, busy, [2, "acquire", 0, true, 12, 13]]);
  refutes(lock(), [...dead, told, [2, "tryAcquire", 0, "busy", 12, 13]]);
  // Dead before it had mended it, or after.
  const died: Row[] = [[1, "acquire", 0, undefined, 4, DIED], [9, "die", 1, undefined, 5, 6]];
  accepts(lock(), [...dead, ...died, [2, "acquire", 0, true, 7, 8]]);
  accepts(lock(), [...dead, ...died, [2, "acquire", 0, threw("AbandonedError"), 7, 8]]);
  refutes(lock(), [...dead, ...died, [2, "tryAcquire", 0, "busy", 7, 8]]);
});

Deno.test("check() knows a semaphore, and who was first in line", () => {
  const one: Row = [0, "acquire", 1, true, 0, 1];
  accepts(semaphore(2), [one, [1, "acquire", 1, true, 2, 3], [0, "available", 0, 0, 4, 5]]);
  refutes(semaphore(1), [one, [1, "acquire", 1, true, 2, 3]]);
  refutes(semaphore(2), [one, [1, "tryAcquire", 1, false, 2, 3]]);
  refutes(semaphore(2), [one, [1, "acquire", 1, TIMEOUT, 2, 3], [0, "available", 0, 0, 4, 5]]);
  // A big one is not passed by a small one, until it gives up.
  accepts(semaphore(2), [one, [1, "acquire", 2, TIMEOUT, 2, 5], [2, "tryAcquire", 1, false, 3, 4]]);
  refutes(semaphore(2), [one, [1, "acquire", 2, TIMEOUT, 2, 3], [2, "tryAcquire", 1, false, 4, 5]]);
});

Deno.test("check() knows an event, whose set releases all who wait", () => {
  const wait: Row = [0, "wait", 0, true, 0, 7];
  const set: Row = [1, "set", 0, undefined, 1, 2];
  const clear: Row = [1, "clear", 0, undefined, 3, 4];
  accepts(event(), [wait, set, clear, [1, "isSet", 0, false, 5, 6]]);
  refutes(event(), [[0, "wait", 0, true, 0, 1], set]);
  refutes(event(), [set, [0, "wait", 0, false, 3, 4]]);
  refutes(event(), [set, clear, [0, "wait", 0, true, 5, 6]]);
  refutes(event(), [set, [1, "isSet", 0, false, 5, 6]]);
});

Deno.test("check() knows a barrier", () => {
  accepts(barrier(2), [[0, "wait", 0, 0, 0, 3], [1, "wait", 0, 1, 1, 2]]);
  refutes(barrier(2), [[0, "wait", 0, 0, 0, 1], [1, "wait", 0, 1, 2, 3]]);
  refutes(barrier(2), [[0, "wait", 0, 0, 0, 3], [1, "wait", 0, 0, 1, 2]]);
  const broken = threw("BrokenBarrierError");
  accepts(barrier(3), [[0, "wait", 0, TIMEOUT, 0, 3], [1, "wait", 0, broken, 1, 4]]);
  refutes(barrier(3), [[0, "wait", 0, TIMEOUT, 0, 3], [1, "broken", 0, false, 4, 5]]);
  refutes(barrier(3), [[1, "wait", 0, broken, 1, 4]]);
});

// -- Random histories, broken on purpose -----------------------------------------------------------

/** A history of a true queue in which calls overlap: each takes effect somewhere within its stamps. */
function makeHistory(seed: number, length: number, agents: number): Call[] {
  const random = randomOf(seed);
  const history: Call[] = [];
  const items: number[] = [];
  const free = new Array<number>(agents).fill(0);
  let value = 0;
  for (let i = 0; i < length; i++) {
    const agent = Math.floor(random() * agents);
    // Stamps are a hundred apart, so that a call reaches over a few effects of others.
    const moment = (i + 1) * 100;
    const start = Math.max(free[agent]!, moment - Math.floor(random() * 300)) + random() / 4;
    const end = moment + random() * 90 + 1;
    if (start >= moment) continue;
    free[agent] = end;
    if (random() < 0.5) {
      items.push(++value);
      history.push(called(agent, "put", value, undefined, start, end));
    } else {
      const item = items.shift();
      history.push(called(agent, "tryGet", undefined, item ?? "empty", start, end));
    }
  }
  return history;
}

/** Whether one queue's history is broken by a change that no order explains. */
Deno.test("check() accepts random histories of a queue and refutes most that were changed", () => {
  let refuted = 0;
  for (let seed = 0; seed < 200; seed++) {
    const history = makeHistory(seed, 60, 4);
    const verdict = check(queueOf(), history);
    assert(verdict.ok, verdict.report);
    const gets = history.filter(({ op, result }) => op === "tryGet" && result !== "empty");
    if (gets.length < 6) continue;
    // Two that are far apart are swapped; one is got twice; one is lost to an "empty".
    [gets[0]!.result, gets.at(-1)!.result] = [gets.at(-1)!.result, gets[0]!.result];
    const swapped = !check(queueOf(), history).ok;
    [gets[0]!.result, gets.at(-1)!.result] = [gets.at(-1)!.result, gets[0]!.result];
    const kept = gets[3]!.result;
    gets[3]!.result = gets[2]!.result;
    const doubled = !check(queueOf(), history).ok;
    gets[3]!.result = "empty";
    const lost = !check(queueOf(), history).ok;
    gets[3]!.result = kept;
    assert(swapped && doubled, `seed ${seed}: swapped ${swapped}, doubled ${doubled}`);
    if (lost) refuted++;
  }
  assert(refuted > 150, `${refuted} lost values were noticed`);
});

/** The columns of a history for the monitor. */
function columnsOf(history: readonly Call[]) {
  const column = (calls: readonly Call[], value: (call: Call) => unknown): Column => ({
    values: calls.map((call) => value(call) as number),
    starts: calls.map((call) => call.start),
    ends: calls.map((call) => call.end),
  });
  const gets = history.filter(({ op }) => op === "tryGet");
  return {
    puts: column(history.filter(({ op }) => op === "put"), (call) => call.arg),
    gets: column(gets.filter(({ result }) => result !== "empty"), (call) => call.result),
    empties: column(gets.filter(({ result }) => result === "empty"), () => 0),
    drained: false,
  };
}

Deno.test("checkFifo() and check() agree on random histories, broken or not", () => {
  const random = randomOf(7);
  const counts = [0, 0];
  for (let seed = 0; seed < 2_000; seed++) {
    const history = makeHistory(seed, 8 + seed % 30, 3);
    const gets = history.filter(({ op }) => op === "tryGet");
    if (seed % 4 !== 0 && gets.length >= 2) {
      const a = gets[Math.floor(random() * gets.length)]!;
      const b = gets[Math.floor(random() * gets.length)]!;
      if (seed % 4 === 1) [a.result, b.result] = [b.result, a.result];
      else if (seed % 4 === 2) a.result = b.result;
      else a.result = "empty";
    }
    const { ok, report } = check(queueOf(), history);
    const wrong = checkFifo(columnsOf(history));
    assertEquals(wrong.length === 0, ok, `seed ${seed}: ${wrong}\n${report}`);
    counts[ok ? 0 : 1]!++;
  }
  assert(counts[0]! > 500 && counts[1]! > 500, `accepted and refuted: ${counts}`);
});

Deno.test("checkFifo() refutes a single wrong pair among 100,000", () => {
  const count = 100_000;
  const numbers = (from: number, step: number) =>
    Float64Array.from({ length: count }, (_, i) => from + step * i);
  const puts = { values: numbers(0, 1), starts: numbers(0, 10), ends: numbers(3, 10) };
  const gets = { values: numbers(0, 1), starts: numbers(4, 10), ends: numbers(7, 10) };
  assertEquals(checkFifo({ puts, gets }), []);
  const swap = (i: number, j: number) =>
    [gets.values[i], gets.values[j]] = [gets.values[j]!, gets.values[i]!];
  swap(70_000, 70_001);
  assert(checkFifo({ puts, gets }).length > 0, "swapped");
  swap(70_000, 70_001);
  gets.values[500] = 499;
  assert(checkFifo({ puts, gets }).length > 0, "doubled");
  gets.values[500] = -5;
  assert(checkFifo({ puts, gets }).length > 0, "invented");
  gets.values[500] = 500;
  const fewer = { ...gets, values: gets.values.slice(0, -1) };
  assertEquals(checkFifo({ puts, gets: fewer }), ["1 values were lost, 99999 among them"]);
  assertEquals(checkFifo({ puts, gets: fewer, lostGets: 1 }), []);
  const empties = { values: [0], starts: [13.2], ends: [13.9] };
  assert(checkFifo({ puts, gets, empties }).length > 0, "stale empty");
  assertEquals(checkFifo({ puts, gets, empties: { ...empties, ends: [14.5] } }), []);
});
