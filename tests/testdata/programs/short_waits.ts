// Copyright 2026 the Sabre authors. MIT license.

// The main thread blocks again and again, each time for a moment, and its event loop never turns. The
// end of its child is noticed all the same.

import { Lock, Process, SharedEvent } from "@sabre/ipc";

export function closeWith(lock: Lock, event: SharedEvent): void {
  lock.acquireSync();
  event.set();
  close();
}

if (import.meta.main) {
  const lock = new Lock();
  const event = new SharedEvent();
  new Process(import.meta.url, { target: closeWith, args: [lock, event] }).start();
  await event.wait();
  for (let end = ""; end === "";) {
    try {
      lock.acquireSync({ timeout: 2 });
    } catch (error) {
      const { name } = error as Error;
      if (name !== "TimeoutError") console.log(end = name);
    }
  }
  Deno.exit();
}
