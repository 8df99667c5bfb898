// Copyright 2026 the Sabre authors. MIT license.

// A child changes a number and an array where they are, and the parent prints both.

import { Process, SharedArray, SharedValue } from "@sabre/ipc";

export function child(number: SharedValue<"f64">, numbers: SharedArray<"i32">): void {
  number.lock.withLockSync(() => {
    number.value = 3.1415927;
  });
  numbers.lock.withLockSync(() => {
    for (let i = 0; i < numbers.length; i++) numbers.set(i, -numbers.get(i));
  });
}

export async function main(): Promise<{ number: number; numbers: number[] }> {
  const number = new SharedValue("f64", 0);
  const numbers = new SharedArray("i32", [1, 2, 3, 4, 5]);
  const args: Parameters<typeof child> = [number, numbers];
  await using process = new Process(import.meta.url, { target: child, args }).start();
  await process.join();
  console.log(number.value);
  console.log(numbers.slice());
  return { number: number.value, numbers: numbers.slice() };
}

if (import.meta.main) await main();
