// Copyright 2026 the Sabre authors. MIT license.

// The start of a process, and its end.

import { Process } from "@sabre/ipc";
import { MessageChannel, Worker as Thread } from "node:worker_threads";
import { type Table, timed } from "../_harness.ts";
import { outsideLine } from "../_outside.ts";

export const tables: Table[] = [
  {
    name: "start of a process, and its end",
    unit: "ms",
    lines({ python }) {
      return [
        {
          name: "Process, start and join",
          count: 5,
          run: (count) =>
            timed(count, async () => {
              for (let i = 0; i < count; i++) {
                await new Process(import.meta.resolve("../_child.ts"), { target: "nothing" })
                  .start().join();
              }
            }),
        },
        {
          name: "bare Worker, start, answer and terminate",
          count: 5,
          run: (count) =>
            timed(count, async () => {
              for (let i = 0; i < count; i++) {
                const file = import.meta.resolve("../rivals/bare_worker.ts");
                const bare = new Worker(file, { type: "module" });
                await new Promise((resolve) => bare.onmessage = resolve);
                bare.terminate();
              }
            }),
        },
        {
          name: "bare worker of node:worker_threads, start and certain end",
          count: 5,
          run: (count) =>
            timed(count, async () => {
              for (let i = 0; i < count; i++) await runThread();
            }),
        },
        outsideLine("Python Process, start and join", python, ["starts"], 20),
      ];
    },
  },
];

/** Starts the only kind of worker that Deno stops whatever it does, and waits until it has ended. */
async function runThread(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  // Keeps the event loop alive, which the wait for its end alone does not.
  port1.on("message", () => {});
  const ended = new Promise<void>((resolve) => port1.on("close", resolve));
  new Thread(new URL("data:text/javascript,close()"), {
    workerData: { port2 },
    transferList: [port2],
  });
  await ended;
}
