// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals } from "@std/assert";
import {
  backOff,
  parkAsync,
  spinLimit,
  Spinner,
  spinUntilBeyond,
  spinWhile,
  wakeAll,
} from "../_park.ts";
import { until } from "./_helpers.ts";

const LIMIT = { timeout: 20_000 };

Deno.test("parkAsync() returns undefined when the word does not hold what is expected", () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  assertEquals(parkAsync(words, 1, 1), undefined);
});

Deno.test("wakeAll() wakes everybody who sleeps on the word, and nobody else", LIMIT, async () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const awake: number[] = [];
  for (const index of [1, 0, 1, 1]) parkAsync(words, index, 0)!.then(() => awake.push(index));
  wakeAll(words, 1);
  await until(() => awake.length >= 3);
  assertEquals(awake, [1, 1, 1]);
  wakeAll(words, 0);
  await until(() => awake.length === 4);
});

Deno.test("Spinner.spin() and spinWhile() give up soon when nothing changes, and end at once when it has", () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const spinner = new Spinner();
  const times = { idle: Infinity, news: Infinity };
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    spinner.spin(words, 1, 0);
    assertEquals(spinWhile(words, 1, 0), false);
    const middle = performance.now();
    spinner.spin(words, 1, 5);
    assertEquals(spinWhile(words, 1, 5), true);
    times.idle = Math.min(times.idle, middle - start);
    times.news = Math.min(times.news, performance.now() - middle);
  }
  // Two spins of 300 pauses; none, but perhaps a rest of some pauses.
  assert(times.idle < 5, `${times.idle} ms`);
  assert(times.news < times.idle || times.idle < 0.01, `${times.news} of ${times.idle} ms`);
});

Deno.test("a wait spins for no more than 50 microseconds, with all its rests", () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const { load } = Atomics;
  const leastOf = (what: () => void) => {
    let least = Infinity;
    for (let i = 0; i < 2_000; i++) {
      const start = performance.now();
      what();
      least = Math.min(least, performance.now() - start);
    }
    return least;
  };
  const spinner = new Spinner();
  const none = leastOf(() => spinner.spin(words, 1, 0));
  let resting: number;
  try {
    // Whenever it looks there is news, so that it rests for longer and longer.
    let news = 0;
    Atomics.load = (() => ++news) as unknown as typeof load;
    for (let i = 0; i < 10; i++) spinner.spin(words, 1, 0);
    resting = leastOf(() => spinner.spin(words, 1, 0));
  } finally {
    Atomics.load = load;
  }
  for (let i = 0; i < 8; i++) spinner.note(true, true);
  const away = leastOf(() => spinner.keepAway());
  assert(none + resting + away < 0.05, `${none} + ${resting} + ${away} ms`);
});

Deno.test("backOff() doubles the pauses, up to a limit", () => {
  assertEquals(backOff(1, 8), 2);
  assertEquals(backOff(4, 8), 8);
  assertEquals(backOff(8, 8), 8);
});

Deno.test("spinUntilBeyond() ends at once when enough is free, and gives up soon when it is not", () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const times = { enough: Infinity, little: Infinity };
  for (const from of [-4, 0, 2 ** 31 - 3]) {
    words[1] = from + 4;
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      spinUntilBeyond(words, 1, from, 4);
      const middle = performance.now();
      spinUntilBeyond(words, 1, from, 5);
      times.enough = Math.min(times.enough, middle - start);
      times.little = Math.min(times.little, performance.now() - middle);
    }
  }
  assert(times.little < 5, `${times.little} ms`);
  assert(times.enough < times.little || spinLimit === 0, `${times.enough} of ${times.little} ms`);
});

Deno.test("Spinner.keepAway() takes time once little was found in a row, as long as that helps", () => {
  const spinner = new Spinner();
  const leastOf = (what: () => void) => {
    let least = Infinity;
    for (let i = 0; i < 10; i++) {
      const start = performance.now();
      for (let j = 0; j < 100; j++) what();
      least = Math.min(least, performance.now() - start);
    }
    return least;
  };
  // A pause takes a nanosecond or thirty, as the processor likes.
  const takesTime = () => leastOf(() => spinner.keepAway()) > leastOf(() => void backOff(32, 32));
  const littleFound = (times: number) => {
    for (let i = 0; i < times; i++) spinner.note(true, true);
  };
  assertEquals(takesTime(), false);
  littleFound(7);
  assertEquals(takesTime(), false);
  // Much was found, or nothing: it begins anew.
  for (const isFound of [true, false]) {
    spinner.note(isFound, !isFound);
    littleFound(7);
    assertEquals(takesTime(), false);
  }
  littleFound(1);
  const isSlow = spinLimit > 0;
  assertEquals(takesTime(), isSlow);
  spinner.note(true, false);
  assertEquals(takesTime(), isSlow);
  // It did not help.
  spinner.note(true, true);
  assertEquals(takesTime(), false);
});
