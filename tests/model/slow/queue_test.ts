// Copyright 2026 the Sabre authors. MIT license.

// What takes too long for every day: three and four agents at a queue, over a latch by its specification.

import type { ExploreOptions } from "../explore.ts";
import { close, composedQueue, get, put, queues } from "../queues.ts";
import { holds } from "../shipped.ts";

const LATE: ExploreOptions = { timeouts: 1, late: 1 };

Deno.test("two putters and two getters", () => {
  composedQueue([[put(1)], [put(2)], [get], [get]]);
});

Deno.test("a putter and two getters", () => {
  composedQueue([[put(1), put(2)], [get], [get]]);
});

Deno.test("three agents and the order of items", () => {
  composedQueue([[put(1), put(2)], [put(3)], [get, get, get]], { ordered: true });
  composedQueue([[put(1), put(2)], [get], [get]], { ordered: true });
});

Deno.test("two agents over the real latch, three items and a limit", () => {
  holds(queues, "queue", [[[put(1), put(2), put(3)], [get, get, get]], { maxItems: 1 }]);
});

Deno.test("three items over a ring of one, in order", () => {
  composedQueue([[put(1), put(2), put(3)], [get, get, get]], { ordered: true, size: 2 });
});

Deno.test("items that are larger than the ring, beside others", () => {
  composedQueue([[{ large: 1 }], [put(2)], [get, get]]);
  composedQueue([[{ large: 1 }], [{ large: 2 }], [get, get]]);
  composedQueue([[{ large: 1 }], [get], [{ get: true, timeout: 5 }]], {}, LATE);
  composedQueue([[{ large: 1, timeout: 5 }], [put(2)], [get]], {}, LATE);
});

Deno.test("one of three gives up", () => {
  composedQueue([[put(1)], [{ put: 2, timeout: 5 }], [get, get]], { maxItems: 1 }, LATE);
});

Deno.test("one of three closes", () => {
  composedQueue([[put(1)], [put(2)], [get, close]], { maxItems: 1 });
  composedQueue([[put(1), put(2)], [close], [get]], { maxItems: 1 });
  composedQueue([[{ large: 1 }], [close], [get]], { maxItems: 1 });
});

Deno.test("promises of one agent, with a call that blocks and without", () => {
  composedQueue([[put(1), put(2)], [{ getLater: true }, get]], { maxItems: 1 });
  composedQueue([[put(1), put(2)], [{ getLater: true }, { getLater: true }]]);
});
