// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { bury, type Domain, home, MAX_AGENTS, slotOf } from "../_agent.ts";
import {
  drawTicket,
  dropDeadWaiters,
  freeServed,
  GRANTED,
  leave,
  type Line,
  LINE_WORDS,
  lineUp,
  nextUnused,
  oldest,
  ownerOf,
  placeState,
  serve,
  serveAll,
  waiting,
} from "../_line.ts";
import { ghost } from "./_workers.ts";

/** Places that belong to no slot. */
const EXTRA = 32;

/** Calls the function with a line of which all extra places are taken by an agent that has one of its own. */
function whileFull(run: (line: Line, theirs: Line, places: readonly number[]) => void): void {
  const words = new Int32Array(new SharedArrayBuffer(LINE_WORDS * 4));
  const viewOf = (domain: Domain): Line => ({ domain, words, base: 0 });
  const other = ghost();
  try {
    const line = viewOf(home());
    const theirs = viewOf(other);
    // So late that ids are older than tickets.
    for (let i = 0; i < 1_000; i++) drawTicket(line);
    const places: number[] = [];
    for (let i = 0; i <= EXTRA; i++) places.push(lineUp(theirs, drawTicket(theirs), 7, 0));
    run(line, theirs, places);
  } finally {
    home().wakes.length = 0;
    other.wakes.length = 0;
    bury(home(), other.id);
  }
}

Deno.test("lineUp() gives an agent its own place, then all extra ones, then none", () => {
  whileFull((line, theirs, places) => {
    assertEquals(places[0], slotOf(theirs.domain.id));
    assertEquals(places.slice(1), Array.from({ length: EXTRA }, (_, i) => MAX_AGENTS + i));
    assertEquals(lineUp(theirs, drawTicket(theirs), 7, 0), -1);
    assertEquals([waiting(line), ownerOf(line, 0)], [EXTRA + 1, 0]);
    // Another agent always finds one.
    assertEquals(lineUp(line, drawTicket(line), 7, 0), slotOf(home().id));
    assertEquals([leave(theirs, places[9]!), leave(theirs, places[9]!)], [true, false]);
    assertEquals(waiting(line), EXTRA + 1);
    assertEquals(lineUp(theirs, drawTicket(theirs), 7, 0), places[9]);
  });
});

Deno.test("oldest() is the one that came first, also when all places are taken", () => {
  whileFull((line, _theirs, places) => {
    const last = lineUp(line, drawTicket(line), 7, 0);
    for (const place of [...places, last]) {
      assertEquals(oldest(line), place);
      serve(line, place, GRANTED);
    }
    assertEquals([oldest(line), waiting(line)], [-1, 0]);
  });
});

Deno.test("oldest() does not depend on whose place it is", () => {
  const words = new Int32Array(new SharedArrayBuffer(LINE_WORDS * 4));
  const domains = [home(), ghost(), ghost()];
  for (let first = 0; first < 3; first++) {
    const order = [0, 1, 2].map((i) => ({ domain: domains[(first + i) % 3]!, words, base: 0 }));
    const places = order.map((line) => lineUp(line, drawTicket(line), 0, 0));
    for (const [i, line] of order.entries()) {
      assertEquals(oldest(line), places[i]);
      leave(line, places[i]!);
    }
  }
  for (const { id } of domains.slice(1)) bury(home(), id);
});

Deno.test("serveAll() serves those who wait and changes nothing else, also when all places are taken", () => {
  whileFull((line, _theirs, places) => {
    const mine = lineUp(line, drawTicket(line), 7, 0);
    serveAll(line, GRANTED);
    for (const place of [...places, mine]) assertEquals(placeState(line, place), GRANTED);
    assertEquals([waiting(line), ownerOf(line, mine)], [0, home().id]);
  });
});

Deno.test("dropDeadWaiters() drops the dead and nobody else, also when all places are taken", () => {
  whileFull((line, theirs, places) => {
    const mine = lineUp(line, drawTicket(line), 7, 0);
    const state = placeState(line, mine);
    serve(line, places[3]!, GRANTED);
    dropDeadWaiters(line);
    assertEquals(waiting(line), EXTRA + 1);
    bury(home(), theirs.domain.id);
    dropDeadWaiters(line);
    assertEquals([waiting(line), placeState(line, mine)], [1, state]);
    assertEquals([ownerOf(line, mine), placeState(line, places[3]!)], [home().id, GRANTED]);
    assertNotEquals(state, 0);
  });
});

Deno.test("nextUnused() passes over a place that is used, and its agent dead, while it is looked at", () => {
  const { load } = Atomics;
  let step = 1;
  for (let isEarly = true; isEarly; step++) {
    const words = new Int32Array(new SharedArrayBuffer(LINE_WORDS * 4));
    const other = ghost();
    const [line, theirs] = [home(), other].map((domain): Line => ({ domain, words, base: 0 }));
    const place = lineUp(theirs!, drawTicket(theirs!), 7, 0);
    serve(line!, place, GRANTED);
    home().wakes.length = 0;
    isEarly = false;
    let steps = 0;
    Atomics.load = ((words: Int32Array, index: number) => {
      if (++steps === step) {
        isEarly = true;
        freeServed(theirs!, place);
        bury(home(), other.id);
      }
      return load(words, index);
    }) as typeof load;
    try {
      assertEquals(nextUnused(line!, -1), -1, `at step ${step}`);
    } finally {
      Atomics.load = load;
    }
    bury(home(), other.id);
  }
  assert(step > 4);
});
