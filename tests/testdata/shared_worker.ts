// Copyright 2026 the Sabre authors. MIT license.

// What workers of `shared_test.ts` do.

import { join as joinDomain } from "../../_agent.ts";
import { type Kind, type KindValue, SharedArray, SharedValue } from "../../shared.ts";

export function join(memory: SharedArrayBuffer): number {
  return joinDomain(memory).id;
}

/** Adds to a value, and to every element of an array. */
export function addMany(value: unknown, array: unknown, n: KindValue<Kind>, rounds: number): void {
  const sum = SharedValue.from(value);
  const sums = SharedArray.from(array);
  for (let i = 0; i < rounds; i++) {
    sum.add(n);
    for (let j = 0; j < sums.length; j++) sums.sub(j, n);
  }
}

/** Updates with a function, and by comparing and exchanging. */
export function updateMany(value: unknown, array: unknown, rounds: number): void {
  const product = SharedValue.from<"f64">(value);
  const counts = SharedArray.from<"f32">(array);
  for (let i = 0; i < rounds; i++) {
    product.update((x) => x + 1);
    counts.update(0, (x) => x + 2);
    for (let seen = counts.get(1);;) {
      const now = counts.compareExchange(1, seen, seen + 1);
      if (Object.is(now, seen)) break;
      seen = now;
    }
  }
}

/** Takes the token by exchange, as often as it finds it there. */
export function takeTokens(token: unknown, rounds: number): number {
  const flag = SharedValue.from<"bool">(token);
  let taken = 0;
  for (let i = 0; i < rounds; i++) {
    flag.value = true;
    if (flag.exchange(false)) taken++;
  }
  return taken;
}

/** Writes two bit patterns in turn, both to a value and to an element, until told to stop. */
export function alternate(
  value: unknown,
  array: unknown,
  first: KindValue<Kind>,
  second: KindValue<Kind>,
  stop: unknown,
): void {
  const cell = SharedValue.from(value);
  const cells = SharedArray.from(array);
  const stopped = SharedValue.from<"bool">(stop);
  while (!stopped.value) {
    for (const next of [first, second]) {
      cell.value = next;
      cells.set(1, next);
    }
  }
}

/** Moves an amount between elements under the lock. */
export function transfer(array: unknown, rounds: number): void {
  const accounts = SharedArray.from<"i32">(array);
  for (let i = 0; i < rounds; i++) {
    accounts.lock.withLockSync(() => {
      const { view } = accounts;
      const from = i % view.length;
      const to = (i * 7 + 1) % view.length;
      view[from] = view[from]! - i;
      view[to] = view[to]! + i;
    });
  }
}

/** Reads everything that there is to read, as it arrived. */
export function read(value: unknown, array: unknown): unknown[] {
  const cell = SharedValue.from(value);
  const cells = SharedArray.from(array);
  return [cell.value, [...cells], cells.length, cells.view.constructor.name];
}

/** Sets a value and negates an array under their locks. */
export function classic(value: unknown, array: unknown): void {
  const number = SharedValue.from<"f64">(value);
  const numbers = SharedArray.from<"i32">(array);
  number.lock.withLockSync(() => number.value = 3.1415927);
  numbers.lock.withLockSync(() => {
    for (let i = 0; i < numbers.length; i++) numbers.set(i, -numbers.get(i));
  });
}
