// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals } from "@std/assert";
import { bury, home } from "../_agent.ts";
import { drawTicket, GRANTED, lineUp, placeState } from "../_line.ts";
import {
  enterGet,
  enterPut,
  exitGet,
  exitPut,
  hasOffer,
  initStore,
  openOffer,
  refreshPuts,
  type Store,
  STORE_WORDS,
  storeAt,
  unfinishedOf,
  useOffer,
} from "../_store.ts";
import { diesAt } from "./_death.ts";
import { ghost } from "./_workers.ts";

const SIZE = 16;

function newStore(): Int32Array<SharedArrayBuffer> {
  const words = new Int32Array(new SharedArrayBuffer((STORE_WORDS + SIZE) * 4));
  initStore(words, SIZE, 0);
  return words;
}

/** Whether there is an offer to take. */
function isOffered(store: Store): boolean {
  enterGet(store);
  const isThere = hasOffer(store);
  exitGet(store);
  return isThere;
}

Deno.test("an offer is there still, or counts as taken, wherever the one who takes it dies", () => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const words = newStore();
    const mine = storeAt(home(), words);
    enterPut(mine);
    openOffer(mine, 0, 4);
    exitPut(mine);
    const dead = ghost();
    isThrough = !diesAt(moment, (spy) => {
      const theirs = storeAt(dead, spy(words));
      enterGet(theirs);
      if (hasOffer(theirs)) useOffer(theirs, -1);
      exitGet(theirs);
    });
    bury(home(), dead.id);
    const isThere = isOffered(mine);
    assert(isThere || unfinishedOf(mine) === 1, `it is lost at ${moment}`);
    assert(!isThrough || !isThere);
  }
});

Deno.test("one that waits for room is served, wherever the one who looks after the dead dies", () => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const words = newStore();
    const [dead, mender, waiter] = [ghost(), ghost(), ghost()];
    // It was given all the room, and had not used it.
    const first = storeAt(dead, words);
    lineUp(first.puts, drawTicket(first.puts), SIZE, 0);
    refreshPuts(first);
    const next = storeAt(waiter, words);
    const place = lineUp(next.puts, drawTicket(next.puts), SIZE, 0);
    refreshPuts(next);
    assert(placeState(next.puts, place) > 0);
    bury(home(), dead.id);
    isThrough = !diesAt(moment, (spy) => refreshPuts(storeAt(mender, spy(words))));
    bury(home(), mender.id);
    refreshPuts(next);
    assertEquals(placeState(next.puts, place), GRANTED);
    bury(home(), waiter.id);
  }
});
