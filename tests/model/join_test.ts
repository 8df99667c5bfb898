// Copyright 2026 the Sabre authors. MIT license.

// Every interleaving, in small bounds, of saying that items of a queue are done, and of waiting for that.

import { holds, shipped } from "./shipped.ts";

const joins = await shipped("join");

Deno.test("who joins a queue is released when all is done, whatever is put after that", () => {
  holds(joins, "join", [{ joiners: 1, items: 2, doers: [["finish"], ["finish"]] }]);
  const again = ["finish", "put", "await joiners", "finish", "put"];
  holds(joins, "join", [{ joiners: 2, items: 1, doers: [again] }]);
  holds(joins, "join", [{
    joiners: 1,
    items: 1,
    doers: [
      ["finish"],
      ["await one done", "put", "finish", "put", "await joiners", "finish", "put"],
    ],
  }]);
  holds(joins, "join", [{
    joiners: 1,
    items: 1,
    doers: [["await joiners", "finish"], ["await one done", "put"]],
  }]);
});
