// Copyright 2026 the Sabre authors. MIT license.

// What takes longer of agents that block each other, and mistakes that must be found.

import { assert, assertEquals } from "@std/assert";
import { explore } from "../explore.ts";
import { deadlocks, DEATH, holds } from "../shipped.ts";
import type { DeadlockOptions } from "../scenarios/deadlock.ts";

const module = await deadlocks();

Deno.test("agents that block each other: three in a circle, a third in line, a stop, a death", () => {
  holds(module, "deadlock", [{ orders: [[0, 1], [1, 2], [2, 0]] }]);
  holds(module, "deadlock", [{ orders: [[0, 1], [1, 0], [0]] }]);
  holds(module, "deadlock", [{ orders: [[0, 1], [1, 0]], stops: true }]);
  holds(module, "deadlock", [{ orders: [[0, 1], [1, 0]], deaths: true }], DEATH);
  holds(module, "deadlock", [{ orders: [[0, 1], [1, 0]], rounds: 2 }], { maxStates: 20_000_000 });
  holds(module, "deadlock", [{ orders: [["w0", "w1"], ["w1", "w0"], ["r0"]] }]);
  holds(module, "deadlock", [{ orders: [["r0", "r0"], ["w0"], ["r0"]], rereads: true }]);
});

Deno.test("a third agent in line for a lock changes nothing", () => {
  holds(module, "deadlock", [{ orders: [[0, 1], [1, 2], [2]], ordered: true }]);
});

Deno.test("readers and writers that wait, but not in a circle, are told of nothing", () => {
  holds(module, "deadlock", [{ orders: [["w0"], ["r0"], ["w0"]], ordered: true }]);
});

// -- Mistakes that the explorer must find --------------------------------------------------------

const OPPOSITE: DeadlockOptions = { orders: [[0, 1], [1, 0]] };
const PASSING: DeadlockOptions = { orders: [[1, 0], [0, ";", 1]], ordered: true };

const MISTAKES: readonly [string, string, string, string, DeadlockOptions][] = [
  [
    "whoever finds a deadlock is told",
    "_report.ts",
    "if (greatest === id) return",
    "if (greatest > 0) return",
    OPPOSITE,
  ],
  [
    "who is at the end of the way is not woken",
    "_report.ts",
    "if (isNew && (Atomics.load(words, base + WHAT) & LINKED) !== 0) unpark(domain, next);",
    "",
    OPPOSITE,
  ],
  [
    "the one that is to be told is not woken",
    "_report.ts",
    "unpark(domain, greatest);",
    "",
    OPPOSITE,
  ],
  [
    "what the last wait said stays",
    "_report.ts",
    "Atomics.store(words, base + EDGE, 0);",
    "",
    { ...OPPOSITE, rounds: 2 },
  ],
  [
    "the keeper is not asked for again",
    "_report.ts",
    "linked.keeper() === suspect",
    "suspect !== 0",
    PASSING,
  ],
  [
    "the keeper is not the heir",
    "_mutex.ts",
    "place < 0 ? holderOf(mutex) : ownerOf(mutex.line, place)",
    "place < 1e9 ? holderOf(mutex) : 0",
    PASSING,
  ],
  [
    "a request that was met has a keeper",
    "_permits.ts",
    "place >= 0 && placeState(permits.line, place) > 0",
    "place >= 0",
    { orders: [["w0"], ["r0"], ["w0"]], ordered: true },
  ],
];

for (const [name, file, from, to, options] of MISTAKES) {
  Deno.test(`the explorer finds the mistake that ${name}`, async () => {
    const edits: string[] = [];
    const mutant = await deadlocks((current, source) => {
      if (current !== file) return source;
      assertEquals(source.split(from).length, 2, "the source has changed");
      edits.push(file);
      return source.replace(from, to);
    });
    assertEquals(edits, [file]);
    const { violation } = explore(mutant.scenario("deadlock", options), {
      walks: 50,
      simplify: false,
    });
    assert(violation !== undefined);
  });
}
