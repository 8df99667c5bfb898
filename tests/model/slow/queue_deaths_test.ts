// Copyright 2026 the Sabre authors. MIT license.

// What takes too long for every day: deaths of those who share a queue. Beside queue_test.ts, so that both run
// at the same time.

import { close, composedQueue, get, put, queues } from "../queues.ts";
import { DEATH, holds } from "../shipped.ts";

Deno.test("two agents over the real latch and a limit, and a death", () => {
  holds(queues, "queue", [[[put(1), put(2)], [get, get]], { maxItems: 1, deaths: true }], DEATH);
});

Deno.test("an item that is larger than the ring, and a death", () => {
  holds(queues, "queue", [[[{ large: 1 }], [get]], { deaths: true }], DEATH);
});

Deno.test("one of three dies", () => {
  composedQueue([[put(1)], [get], [get]], { deaths: 1 }, DEATH);
  for (const deaths of [0, 2]) {
    composedQueue([[put(1)], [put(2)], [get]], { deaths, maxItems: 1 }, DEATH);
  }
});

Deno.test("one of three dies around an item that is larger than the ring", () => {
  // With two switches at the most, else it takes too long.
  const bounds = { ...DEATH, preemptions: 2 };
  composedQueue([[{ large: 1 }], [get], [get]], { deaths: 1 }, bounds);
  composedQueue([[{ large: 1 }, put(2)], [get, get]], { deaths: true }, DEATH);
});

Deno.test("two of three die, the second one while it mends", () => {
  const bounds = { ...DEATH, kills: 2, preemptions: 1 };
  composedQueue([[put(1)], [get], [get]], { deaths: true }, bounds);
  composedQueue([[{ large: 1 }], [get], [get]], { deaths: true }, { ...bounds, preemptions: 0 });
  composedQueue([[put(1), put(2)], [get], [get]], { deaths: true, size: 2 }, {
    ...bounds,
    preemptions: 0,
  });
});

Deno.test("a death and the end", () => {
  composedQueue([[put(1), close], [get, get]], { deaths: true }, DEATH);
  composedQueue([[put(1), put(2)], [get, close]], { deaths: true, maxItems: 1 }, DEATH);
});
