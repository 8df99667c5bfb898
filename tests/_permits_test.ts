// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals } from "@std/assert";
import { bury, deaths, home, slotOf } from "../_agent.ts";
import {
  BUSY,
  freeNow,
  giveBack,
  initPermits,
  type Permits,
  PERMITS_WORDS,
  permitsAt,
  putIn,
  TAKEN,
  tryTake,
} from "../_permits.ts";
import { diesAt } from "./_death.ts";
import { fillSlots, ghost } from "./_workers.ts";

const SEEN = 5; // as in `_permits.ts`
const FREE = 32;

function newPermits(total: number): Int32Array<SharedArrayBuffer> {
  const words = new Int32Array(new SharedArrayBuffer(PERMITS_WORDS * 4));
  initPermits(words, 0, total, 0, 0);
  return words;
}

/** Checks that all can be had, also by the next tenant of a slot, and that none are left over when it dies. */
function assertWhole(permits: Permits, total: number, slot: number): void {
  assertEquals(freeNow(permits), total);
  const tenant = ghost();
  assertEquals(slotOf(tenant.id), slot);
  const theirs = permitsAt(tenant, permits.words, 0);
  assertEquals(tryTake(theirs, total, true), TAKEN);
  assertEquals([freeNow(permits), tryTake(permits, 1, true)], [0, BUSY]);
  giveBack(theirs, total);
  assertEquals(freeNow(permits), total);
  bury(home(), tenant.id);
  assertEquals(freeNow(permits), total);
}

Deno.test("an agent may die anywhere while it takes permits, puts some in and gives them back", () => {
  let isThrough = false;
  let isRaised = false;
  for (let moment = 1; !isThrough; moment++) {
    const words = newPermits(3);
    const dead = ghost();
    isThrough = !diesAt(moment, (spy) => {
      const permits = permitsAt(dead, spy(words), 0);
      tryTake(permits, 2, true);
      putIn(permits, 1);
      giveBack(permits, 1);
      giveBack(permits, 1);
      putIn(permits, 1);
    });
    const seen = words[FREE]!;
    bury(home(), dead.id);
    const permits = permitsAt(home(), words, 0);
    const total = freeNow(permits);
    // What it put in while it held others was only lent, until it gave those back.
    assert(total >= 3 && total <= 5, String(total));
    assert(!isRaised || total > 3, "an earlier death counts for more");
    assert(seen <= total, "permits that could be had are not there any more");
    isRaised ||= total > 3;
    assertWhole(permits, total, slotOf(dead.id));
  }
  assert(isRaised);
});

Deno.test("one may die anywhere while it looks after the dead", () => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const words = newPermits(3);
    const dead = ghost();
    const mender = ghost();
    const theirs = permitsAt(dead, words, 0);
    tryTake(theirs, 2, true);
    putIn(theirs, 1);
    bury(home(), dead.id);
    isThrough = !diesAt(moment, (spy) => freeNow(permitsAt(mender, spy(words), 0)));
    // Once a death is said to be seen to, what was held is free.
    if (words[SEEN] === deaths(home())) assertEquals(words[FREE], 3);
    bury(home(), mender.id);
    assertWhole(permitsAt(home(), words, 0), 3, slotOf(dead.id));
  }
});

Deno.test("with agents in all slots, one of which dies, nobody else loses anything", () => {
  const ghosts = fillSlots();
  const words = newPermits(3);
  const permits = permitsAt(home(), words, 0);
  const last = permitsAt(ghosts.at(-1)!, words, 0);
  assertEquals([tryTake(permits, 1, true), tryTake(last, 1, true)], [TAKEN, TAKEN]);
  for (const { id } of ghosts.slice(0, 2)) {
    bury(home(), id);
    assertEquals(freeNow(permits), 1);
  }
  bury(home(), last.domain.id);
  assertEquals(freeNow(permits), 2);
  giveBack(permits, 1);
  assertEquals(freeNow(permits), 3);
  for (const { id } of ghosts.slice(2, -1)) bury(home(), id);
});
