// Copyright 2026 the Sabre authors. MIT license.

// A child puts a string on a queue, and the parent prints it.

import { Process, Queue } from "@sabre/ipc";

export function child(queue: Queue<string>): void {
  queue.putSync("hello world");
}

export async function main(): Promise<string> {
  using queue = new Queue<string>();
  await using process = new Process(import.meta.url, { target: child, args: [queue] }).start();
  const words = await queue.get();
  console.log(words);
  await process.join();
  return words;
}

if (import.meta.main) await main();
