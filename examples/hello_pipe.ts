// Copyright 2026 the Sabre authors. MIT license.

// A child sends a list through a pipe, and the parent prints it.

import { type Connection, pipe, Process } from "@sabre/ipc";

export function child(connection: Connection<string[], never>): void {
  connection.sendSync(["hello world"]);
  connection.close();
}

export async function main(): Promise<string[]> {
  const [here, there] = pipe<never, string[]>();
  using _end = here;
  await using process = new Process(import.meta.url, { target: child, args: [there] }).start();
  const words = await here.receive();
  console.log(words);
  await process.join();
  return words;
}

if (import.meta.main) await main();
