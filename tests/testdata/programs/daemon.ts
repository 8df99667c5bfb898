// Copyright 2026 the Sabre authors. MIT license.

// A program that ends although its daemon does not.

import { Process, SharedEvent } from "@sabre/ipc";

export function spin(event: SharedEvent): never {
  event.set();
  for (;;);
}

if (import.meta.main) {
  const event = new SharedEvent();
  new Process(import.meta.url, { target: spin, args: [event], daemon: true }).start();
  await event.wait();
  console.log("through");
}
