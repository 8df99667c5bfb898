// Copyright 2026 the Sabre authors. MIT license.

// The only thing that this program does is to wait for an item, which a daemon puts at last.

import { Process, Queue } from "@sabre/ipc";

export async function put(queue: Queue<string>): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 500));
  queue.putSync("from the daemon");
}

if (import.meta.main) {
  const queue = new Queue<string>();
  new Process(import.meta.url, { target: put, args: [queue], daemon: true }).start();
  console.log(await queue.get());
}
