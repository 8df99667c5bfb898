// Copyright 2026 the Sabre authors. MIT license.

// All examples, one after the other:
//
//   deno task demo [paths...]
//
// The paths are those of files and folders whose words to count: without any, the current folder,
// which for a task is this repository.

import * as helloPipe from "./hello_pipe.ts";
import * as helloQueue from "./hello_queue.ts";
import * as producerConsumer from "./producer_consumer.ts";
import * as sharedMemory from "./shared_memory.ts";
import * as wordcount from "./wordcount.ts";

/** Runs everything and tells whether all checks passed. */
export async function main(paths: string[], options?: wordcount.Options): Promise<boolean> {
  console.log("A child sends a list through a pipe:");
  await helloPipe.main();
  console.log("\nA child puts a string on a queue:");
  await helloQueue.main();
  console.log("\nA child changes a shared number and a shared array:");
  await sharedMemory.main();
  console.log("\nProducers and consumers share a queue:");
  const { correct } = await producerConsumer.main();
  console.log("\nProcesses count words:");
  const { agree } = await wordcount.main(paths, options);
  return correct && agree;
}

if (import.meta.main) {
  const passed = await main(Deno.args.length > 0 ? Deno.args : ["."]);
  if (!passed) Deno.exitCode = 1;
}
