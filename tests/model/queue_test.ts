// Copyright 2026 the Sabre authors. MIT license.

// Every interleaving of the shipped queue, in small bounds: all of two agents, over the real latch.

import { assertEquals } from "@std/assert";
import { explore, type ExploreOptions } from "./explore.ts";
import type { Act, QueueOptions } from "./scenarios/queue.ts";
import { close, composed, composedQueue, get, put, queues } from "./queues.ts";
import { DEATH, holds, shipped, SHORT_RUNS } from "./shipped.ts";

const shortRuns = await shipped("queue", "real", undefined, SHORT_RUNS);

/** One wait may time out, or all of two. */
const LATE: ExploreOptions = { timeouts: 2, late: 2 };

function queue(
  acts: readonly (readonly Act[])[],
  options: QueueOptions = {},
  bounds: ExploreOptions = {},
): void {
  holds(queues, "queue", [acts, options], bounds);
}

Deno.test("the scenarios of the queue need nothing that is refused", () => {
  // Clocks and timers of promises, and what only a call with a time limit that is a promise uses.
  for (const { file } of queues.refused) assertEquals(file, "_wait.ts");
});

Deno.test("a latch by its specification, and what it spares, change no outcome", () => {
  const args = [[[put(1), put(2)], [get, get]], { maxItems: 1 }];
  const quick = explore(composed.scenario("queue", ...args));
  const fine = explore(composed.scenario("queue", ...args), { fine: true });
  assertEquals([quick.complete, fine.complete], [true, true], quick.report);
  assertEquals(quick.ends, fine.ends);
});

Deno.test("a queue passes items on in their order, with waiters on both sides", () => {
  queue([[put(1), put(2)], [get, get]], { ordered: true });
  queue([[put(1), put(2)], [get, get]], { ordered: true, maxItems: 1 });
  composedQueue([[put(1), put(2), put(3)], [get, get, get]], { ordered: true });
  queue([[put(1)], [{ look: true }, get]], { ordered: true });
});

Deno.test("a queue's counts and positions may overflow", () => {
  queue([[put(1), put(2)], [get, get]], { ordered: true, from: 0x7ffffffe, counts: 0x7ffffffe });
  queue([[put(1), put(2)], [get, get]], {
    ordered: true,
    from: -2,
    counts: 0x7fffffff,
    maxItems: 1,
  });
});

Deno.test("a queue takes and gives many at once, also in part", () => {
  queue([[{ many: [1, 2, 3] }], [{ upTo: 2 }, { upTo: 1 }]], { ordered: true });
  queue([[{ run: [1, 2, 3] }], [{ into: 2 }, { into: 1 }]], { ordered: true });
  queue([[{ run: [1, 2, 3] }], [{ upTo: 2 }, get]], { ordered: true });
});

Deno.test("a queue takes a typed array in several records", () => {
  const cut = (acts: Act[][], options: QueueOptions, bounds: ExploreOptions = {}) =>
    holds(shortRuns, "queue", [acts, options], bounds);
  cut([[{ run: [1, 2, 3, 4, 5] }], [{ into: 3 }, { into: 2 }]], { ordered: true });
  cut([[{ run: [1, 2, 3, 4, 5] }], [{ into: 3 }, { into: 2 }]], { ordered: true, size: 8 });
  cut([[{ run: [1, 2, 3] }, put(4)], [{ upTo: 3 }, get]], { ordered: true, size: 8 });
  cut([[{ run: [1, 2, 3] }], [{ upTo: 2 }, { upTo: 1 }]], { deaths: true, size: 8 }, DEATH);
});

Deno.test("a queue passes on items that are larger than its ring", () => {
  queue([[{ large: 1 }], [get]]);
  composedQueue([[{ large: 1 }, put(2)], [get, get]], { ordered: true });
  composedQueue([[{ large: 1, timeout: 5 }, put(2)], [get]], {}, LATE);
  queue([[{ large: 1 }], [get, close]]);
});

Deno.test("a call that gives up has no effect", () => {
  queue([[put(1)], [{ get: true, timeout: 5 }]], {}, LATE);
  queue([[put(1), { put: 2, timeout: 5 }], [get, close]], { maxItems: 1 }, LATE);
  queue([[put(1), { large: 2, length: 12, timeout: 5 }], [put(3)]], {}, LATE);
  composedQueue([[put(1)], [{ get: true, timeout: 5 }], [get]], {}, { timeouts: 1, late: 1 });
});

Deno.test("closing a queue ends its waiters and keeps its items", () => {
  queue([[put(1), close], [get, get]]);
  queue([[put(1), put(2)], [get, close]], { maxItems: 1 });
  queue([[put(1), put(2)], [close]], { maxItems: 1 });
  composedQueue([[put(1)], [close], [get, get]], { maxItems: 1 });
});

Deno.test("a queue survives a death anywhere", () => {
  queue([[put(1)], [get]], { deaths: true }, { ...DEATH, eaten: true });
  composedQueue([[{ large: 1 }], [get]], { deaths: true }, DEATH);
  queue([[{ run: [1, 2, 3] }], [{ upTo: 2 }, { upTo: 1 }]], { deaths: true }, DEATH);
  composedQueue([[put(1)], [{ get: true, timeout: 5 }]], { deaths: true }, {
    kills: 1,
    timeouts: 1,
    late: 1,
  });
});

Deno.test("room that the dead had freed is found by putters who wait for it", () => {
  composedQueue([[put(1), put(2)], [get, get]], { deaths: true, size: 2 }, DEATH);
  // What is set aside for one is not given to the other when somebody else has died.
  composedQueue([[{ run: [1, 2] }], [put(3)], [get, get]], { deaths: 2, size: 2 }, {
    ...DEATH,
    preemptions: 0,
  });
});

Deno.test("two putters and a getter", () => {
  composedQueue([[put(1)], [put(2)], [get, get]], { maxItems: 1 });
});

Deno.test("a call that blocks and a promise of the same agent", () => {
  composedQueue([[put(1)], [{ getLater: true }]]);
  composedQueue([[put(1), put(2)], [{ getLater: true }, get]]);
});

Deno.test("who waits for news is told of them, and takes nothing from who gets", () => {
  const select: Act = { select: true };
  queue([[put(1)], [select, get]]);
  composedQueue([[put(1), close], [select, get, select]]);
  composedQueue([[put(1)], [select], [get]]);
  composedQueue([[put(1)], [select, { look: true }]], { deaths: true }, DEATH);
});
