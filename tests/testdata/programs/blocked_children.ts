// Copyright 2026 the Sabre authors. MIT license.

// Children that are blocked in calls of this package are terminated, and the program ends by itself.

import {
  Barrier,
  type Connection,
  Lock,
  pipe,
  Process,
  Queue,
  Semaphore,
  SharedEvent,
  SharedValue,
} from "@sabre/ipc";

interface Things {
  started: SharedValue<"i32">;
  unwound: SharedValue<"i32">;
  queue: Queue<number>;
  full: Queue<number>;
  lock: Lock;
  semaphore: Semaphore;
  event: SharedEvent;
  barrier: Barrier;
}

export function block(kind: number, things: Things, connection: Connection<number, number>): void {
  const { started, unwound, queue, full, lock, semaphore, event, barrier } = things;
  started.add(1);
  try {
    if (kind === 0) queue.getSync();
    if (kind === 1) full.putSync(2);
    if (kind === 2) lock.acquireSync();
    if (kind === 3) semaphore.acquireSync();
    if (kind === 4) event.waitSync();
    if (kind === 5) barrier.waitSync();
    if (kind === 6) connection.receiveSync();
    if (kind === 7) { for (;;) connection.sendSync(1); }
  } finally {
    unwound.add(1);
  }
}

if (import.meta.main) {
  const things: Things = {
    started: new SharedValue("i32"),
    unwound: new SharedValue("i32"),
    queue: new Queue(),
    full: new Queue({ maxItems: 1 }),
    lock: new Lock(),
    semaphore: new Semaphore(1),
    event: new SharedEvent(),
    barrier: new Barrier(3),
  };
  things.full.putSync(1);
  const guards = [things.lock.acquireSync(), things.semaphore.acquireSync()];
  const kept: Connection<number, number>[] = [];
  const children = Array.from({ length: 8 }, (_, kind) => {
    const [here, there] = pipe<number>();
    kept.push(here);
    return new Process(import.meta.url, { target: block, args: [kind, things, there] }).start();
  });
  while (things.started.value < children.length) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(children.map((child) => child.terminate({ grace: 10_000 })));
  for (const guard of guards) guard.release();
  console.log(things.unwound.value, children.map((child) => child.exitCode).join());
}
