// Copyright 2026 the Sabre authors. MIT license.

// Every interleaving, in small bounds, of the table of agents: wake-ups, deaths, requests to end, signs, and
// what several do to the table at once.

import { holds, shipped } from "./shipped.ts";

const agents = await shipped("agents");

// A count that is raised in two steps comes back to what a sleeper has seen if one of them is raised twice
// meanwhile. Hence "two and one" below.

Deno.test("nobody sleeps through a wake-up, blocked or not, whoever else wakes it", () => {
  holds(agents, "wakeUps", ["sync", [2, 1]]);
  holds(agents, "wakeUps", ["async", [2, 1]]);
  holds(agents, "wakeUps", ["both", [1, 1]]);
});

Deno.test("nobody sleeps through a request to end", () => {
  holds(agents, "stops", []);
});

Deno.test("nobody sleeps through a death, and each death shows in the count", () => {
  holds(agents, "ends", [[2, 1]]);
});

Deno.test("whoever is declared dead twice leaves its slot to the next one", () => {
  holds(agents, "twice", []);
});

Deno.test("agents that join at once have ids and slots of their own", () => {
  holds(agents, "claims", [2]);
  holds(agents, "claims", [3]);
});

Deno.test("primitives that are made at once have numbers of their own", () => {
  holds(agents, "serials", [2]);
});

Deno.test("no sign escapes those who watch", () => {
  holds(agents, "signs", [false, [2, 1]]);
  holds(agents, "signs", [true, [2, 1]]);
});

Deno.test("the warden is the first that was appointed, or one that lasts", () => {
  holds(agents, "wardens", [[[2, false], [3, false]]]);
  holds(agents, "wardens", [[[2, false], [3, true]]]);
});
