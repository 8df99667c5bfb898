// Copyright 2026 the Sabre authors. MIT license.

// The configurations of tests/model/queue_test.ts and slow/queue_test.ts, and some more, as they find
// mistakes soonest: over the latch by its specification, with few preemptions. Only for the mutants.

import { assertEquals } from "@std/assert";
import { explore, type ExploreOptions } from "../model/explore.ts";
import type { Act, QueueOptions } from "../model/scenarios/queue.ts";
import { DEATH, shipped } from "../model/shipped.ts";

const queues = await shipped("queue", "specified");

const get: Act = { get: true };
const close: Act = { close: true };
const late: Act = { get: true, timeout: 5 };
const put = (value: number): Act => ({ put: value });

function sharp(
  acts: readonly (readonly Act[])[],
  options: QueueOptions = {},
  bounds: ExploreOptions = {},
): void {
  const scenario = queues.scenario("queue", acts, options);
  const few = { walks: 20, preemptions: 2, simplify: false, maxStates: 40_000, ...bounds };
  const { violation, report } = explore(scenario, few);
  assertEquals(violation, undefined, report);
  console.log(report);
}

const LATE: ExploreOptions = { timeouts: 1, late: 1 };
const ONE: ExploreOptions = { ...DEATH, preemptions: 1 };
const TWO: ExploreOptions = { ...DEATH, kills: 2, preemptions: 0 };

Deno.test("two agents", () => {
  const two = [[put(1), put(2)], [get, get]];
  sharp(two, { ordered: true });
  sharp(two, { ordered: true, maxItems: 1 });
  sharp(two, { ordered: true, size: 2, from: -2, counts: 0x7ffffffe });
  sharp([[{ many: [1, 2, 3] }], [{ upTo: 2 }, { upTo: 1 }]], { ordered: true });
  sharp([[{ run: [1, 2, 3] }], [{ into: 2 }, { into: 1 }]], { ordered: true });
  sharp([[{ run: [1, 2, 3] }], [{ upTo: 2 }, get]], { ordered: true });
  sharp([[{ large: 1 }, put(2)], [get, get]], { ordered: true });
  sharp([[put(1), put(2)], [{ getLater: true }, get]]);
  sharp([[put(1), close], [{ select: true }, get, { select: true }]]);
});

Deno.test("time runs out", () => {
  sharp([[put(1)], [late, get]], {}, LATE);
  sharp([[put(1), { put: 2, timeout: 5 }], [get, close]], { maxItems: 1 }, LATE);
  sharp([[put(1), { large: 2, length: 12, timeout: 5 }], [put(3)]], {}, LATE);
  sharp([[{ large: 1, timeout: 5 }, put(2)], [get]], {}, LATE);
  sharp([[{ large: 1 }], [get], [late]], {}, LATE);
  sharp([[put(1)], [{ put: 2, timeout: 5 }], [get, get]], { maxItems: 1 }, LATE);
});

Deno.test("the end", () => {
  sharp([[put(1), close], [get, get]]);
  sharp([[put(1), put(2)], [get, close]], { maxItems: 1 });
  sharp([[{ large: 1 }], [get, close]]);
  sharp([[put(1)], [close], [get, get]], { maxItems: 1 });
});

Deno.test("three agents", () => {
  sharp([[put(1)], [put(2)], [get, get]], { maxItems: 1, ordered: true });
  sharp([[put(1), put(2)], [get], [get]], { ordered: true });
  sharp([[{ large: 1 }], [put(2)], [get, get]]);
  sharp([[{ large: 1 }], [{ large: 2 }], [get, get]]);
});

Deno.test("a death", () => {
  sharp([[put(1)], [get]], { deaths: true }, ONE);
  sharp([[{ large: 1 }], [get]], { deaths: true }, ONE);
  sharp([[put(1), put(2)], [get, get]], { deaths: true, size: 2 }, ONE);
  sharp([[put(1), put(2)], [get, close]], { deaths: true, maxItems: 1 }, ONE);
  sharp([[put(1)], [get], [get]], { deaths: 1 }, ONE);
  sharp([[put(1)], [put(2)], [get]], { deaths: 0, maxItems: 1 }, ONE);
  sharp([[{ large: 1 }], [get], [get]], { deaths: 1 }, ONE);
  sharp([[put(1)], [late]], { deaths: true }, { ...ONE, ...LATE });
  sharp([[{ run: [1, 2] }], [put(3)], [get, get]], { deaths: 2, size: 2 }, {
    ...ONE,
    preemptions: 0,
  });
});

Deno.test("two deaths", () => {
  sharp([[put(1)], [get], [get]], { deaths: true }, TWO);
  sharp([[{ large: 1 }], [get], [get]], { deaths: true }, TWO);
  sharp([[put(1)], [put(2)], [put(3)]], { deaths: true, maxItems: 1 }, TWO);
  sharp([[{ run: [1, 2] }], [get], [get]], { deaths: true }, TWO);
});

Deno.test("two offers", () => {
  sharp([[{ large: 1 }], [{ large: 2 }], [get, close]]);
  sharp([[{ large: 1, timeout: 5 }], [{ large: 2 }], [get, get]], {}, LATE);
  sharp([[{ large: 1 }], [close]], { deaths: 1 }, ONE);
});
