// Copyright 2026 the Sabre authors. MIT license.

// What is used besides time: processor time while waiting, and memory after many messages. Each is
// measured in a process of its own, by `resources_child.ts`.

import type { Table } from "../_harness.ts";
import { denoLine, outsideLine } from "../_outside.ts";

const CHILD = "./tables/resources_child.ts";

export const tables: Table[] = [
  {
    name: "processor time of an agent that waits",
    unit: "ms/s",
    lines: ({ python }) => [
      denoLine("queue.getSync()", CHILD, ["getSync"], 1, true),
      denoLine("await queue.get()", CHILD, ["get"], 1, true),
      denoLine("a child process that waits in getSync()", CHILD, ["child"], 1, true),
      denoLine("bare Atomics.wait", CHILD, ["wait"], 1, true),
      denoLine("setTimeout", CHILD, ["timer"], 1, true),
      denoLine("multithreading 0.3.52, recv()", "./rivals/multithreading.ts", ["idle"], 1, true),
      outsideLine("Python Queue.get()", python, ["idle"], 1, true),
    ],
  },
  {
    name: "growth of resident memory over 500,000 messages",
    unit: "MiB",
    lines: () => [
      denoLine("queue, integers", CHILD, ["rssQueue"], 500_000, true),
      denoLine("pipe, integers", CHILD, ["rssPipe"], 500_000, true),
      denoLine("pipe, small nested objects", CHILD, ["rssObjects"], 500_000, true),
      denoLine("postMessage, small nested objects", CHILD, ["rssPost"], 500_000, true),
    ],
  },
  {
    name: "resident memory of a process",
    unit: "MiB",
    lines: () => [
      denoLine("Process, waiting", CHILD, ["rssProcess"], 4, true),
      denoLine("bare Worker, waiting", CHILD, ["rssWorker"], 4, true),
    ],
  },
];
