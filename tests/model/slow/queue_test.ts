// Copyright 2026 the Sabre authors. MIT license.

// What takes too long for every day: three and four agents at a queue, over a latch by its specification.

import type { ExploreOptions } from "../explore.ts";
import type { Act, QueueOptions } from "../scenarios/queue.ts";
import { DEATH, holds, shipped } from "../shipped.ts";

const queues = await shipped("queue");
const composed = await shipped("queue", "specified");

const get: Act = { get: true };
const close: Act = { close: true };
const put = (value: number): Act => ({ put: value });
const LATE: ExploreOptions = { timeouts: 1, late: 1 };

function queue(
  acts: readonly (readonly Act[])[],
  options: QueueOptions = {},
  bounds: ExploreOptions = {},
): void {
  holds(composed, "queue", [acts, options], bounds);
}

Deno.test("two putters and two getters", () => {
  queue([[put(1)], [put(2)], [get], [get]]);
});

Deno.test("a putter and two getters", () => {
  queue([[put(1), put(2)], [get], [get]]);
});

Deno.test("three agents and the order of items", () => {
  queue([[put(1), put(2)], [put(3)], [get, get, get]], { ordered: true });
  queue([[put(1), put(2)], [get], [get]], { ordered: true });
});

Deno.test("two agents over the real latch, three items and a limit", () => {
  holds(queues, "queue", [[[put(1), put(2), put(3)], [get, get, get]], { maxItems: 1 }]);
  holds(queues, "queue", [[[put(1), put(2)], [get, get]], { maxItems: 1, deaths: true }], DEATH);
});

Deno.test("three items over a ring of one, in order", () => {
  queue([[put(1), put(2), put(3)], [get, get, get]], { ordered: true, size: 2 });
});

Deno.test("an item that is larger than the ring, and a death", () => {
  holds(queues, "queue", [[[{ large: 1 }], [get]], { deaths: true }], DEATH);
});

Deno.test("items that are larger than the ring, beside others", () => {
  queue([[{ large: 1 }], [put(2)], [get, get]]);
  queue([[{ large: 1 }], [{ large: 2 }], [get, get]]);
  queue([[{ large: 1 }], [get], [{ get: true, timeout: 5 }]], {}, LATE);
  queue([[{ large: 1, timeout: 5 }], [put(2)], [get]], {}, LATE);
});

Deno.test("one of three gives up", () => {
  queue([[put(1)], [{ put: 2, timeout: 5 }], [get, get]], { maxItems: 1 }, LATE);
});

Deno.test("one of three closes", () => {
  queue([[put(1)], [put(2)], [get, close]], { maxItems: 1 });
  queue([[put(1), put(2)], [close], [get]], { maxItems: 1 });
  queue([[{ large: 1 }], [close], [get]], { maxItems: 1 });
});

Deno.test("one of three dies", () => {
  queue([[put(1)], [get], [get]], { deaths: 1 }, DEATH);
  for (const deaths of [0, 2]) {
    queue([[put(1)], [put(2)], [get]], { deaths, maxItems: 1 }, DEATH);
  }
});

Deno.test("one of three dies around an item that is larger than the ring", () => {
  // With two switches at the most, else it takes too long.
  const bounds = { ...DEATH, preemptions: 2 };
  queue([[{ large: 1 }], [get], [get]], { deaths: 1 }, bounds);
  queue([[{ large: 1 }, put(2)], [get, get]], { deaths: true }, DEATH);
});

Deno.test("two of three die, the second one while it mends", () => {
  const bounds = { ...DEATH, kills: 2, preemptions: 1 };
  queue([[put(1)], [get], [get]], { deaths: true }, bounds);
  queue([[{ large: 1 }], [get], [get]], { deaths: true }, { ...bounds, preemptions: 0 });
  queue([[put(1), put(2)], [get], [get]], { deaths: true, size: 2 }, { ...bounds, preemptions: 0 });
});

Deno.test("a death and the end", () => {
  queue([[put(1), close], [get, get]], { deaths: true }, DEATH);
  queue([[put(1), put(2)], [get, close]], { deaths: true, maxItems: 1 }, DEATH);
});

Deno.test("promises of one agent, with a call that blocks and without", () => {
  queue([[put(1), put(2)], [{ getLater: true }, get]], { maxItems: 1 });
  queue([[put(1), put(2)], [{ getLater: true }, { getLater: true }]]);
});
