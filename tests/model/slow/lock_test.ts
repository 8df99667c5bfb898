// Copyright 2026 the Sabre authors. MIT license.

// What takes too long for every day: three agents at a lock, with deaths.

import { DEATH, holds, shipped } from "../shipped.ts";

const mutexes = await shipped("mutex");
const composed = await shipped("mutex", "specified");
const exclusives = await shipped("exclusive");

Deno.test("three that may give up, over the real latch", () => {
  holds(mutexes, "mutex", [3, 1, 3]);
});

Deno.test("a death among three", () => {
  holds(composed, "mutex", [3, 1, 0, true], DEATH);
});

Deno.test("a death and waiters that give up", () => {
  holds(composed, "mutex", [2, 2, 2, true], DEATH);
  holds(exclusives, "exclusive", [2, 1, { nested: true, deaths: true }], DEATH);
});

Deno.test("two deaths", () => {
  holds(composed, "mutex", [2, 2, 0, true], { ...DEATH, kills: 2 });
});
