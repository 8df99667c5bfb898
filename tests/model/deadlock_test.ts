// Copyright 2026 the Sabre authors. MIT license.

// Every interleaving of agents that block each other, in small bounds.

import { assertEquals } from "@std/assert";
import type { ExploreOptions } from "./explore.ts";
import { deadlocks, holds } from "./shipped.ts";

const module = await deadlocks();

Deno.test("the scenario of deadlocks needs nothing that is refused", () => {
  assertEquals(module.refused.filter(({ file }) => file === "_report.ts"), []);
});

Deno.test("two agents that take two locks in opposite orders: one is told, the other goes on", () => {
  holds(module, "deadlock", [{ orders: [[0, 1], [1, 0]] }]);
});

Deno.test("who has a timeout is told of nothing, and neither is whom it keeps waiting", () => {
  const late: ExploreOptions = { late: 2, timeouts: "rest", livelocks: false };
  holds(module, "deadlock", [{ orders: [[0, 1], [1, 0]], timeouts: [Infinity, 5] }], late);
});

Deno.test("who gave a lock back and then blocks keeps nobody waiting for it", () => {
  holds(module, "deadlock", [{ orders: [[1, 0], [0, ";", 1]], ordered: true }]);
});

Deno.test("readers and writers that block each other: one is told, the other goes on", () => {
  holds(module, "deadlock", [{ orders: [["w0", "w1"], ["w1", "w0"]] }]);
  holds(module, "deadlock", [{ orders: [["r0", "w1"], ["r1", "w0"]] }]);
  holds(module, "deadlock", [{ orders: [["r0", "r0"], ["w0"]], rereads: true }]);
});
