// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals } from "@std/assert";
import { bury, deaths, type Domain, home, pidOf, slotOf } from "../_agent.ts";
import {
  BUSY,
  EVERYTHING,
  freeNow,
  giveBack,
  glanceAtHolders,
  initPermits,
  keeperOf,
  lastDead,
  type Permits,
  PERMITS_WORDS,
  permitsAt,
  putIn,
  type Request,
  TAKEN,
  takeOrLineUp,
  tryTake,
} from "../_permits.ts";
import { diesAt } from "./_death.ts";
import { fillSlots, ghost } from "./_workers.ts";

const LATCH = 4; // as in `_permits.ts`, as are these
const SEEN = 5;
const FREE = 32;

function newPermits(total: number, max = 0): Int32Array<SharedArrayBuffer> {
  const words = new Int32Array(new SharedArrayBuffer(PERMITS_WORDS * 4));
  initPermits(words, 0, total, max, 0);
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
  // Counted anew, that is the same.
  bury(home(), ghost().id);
  assertEquals(freeNow(permits), 0);
  giveBack(theirs, total);
  assertEquals(freeNow(permits), total);
  bury(home(), tenant.id);
  assertEquals(freeNow(permits), total);
}

Deno.test("what is lent counts for the limit, once", () => {
  const words = newPermits(1, 3);
  const permits = permitsAt(home(), words, 0);
  assertEquals(tryTake(permits, 1, true), TAKEN);
  assertEquals([putIn(permits, 1), putIn(permits, 2)], [0, 4]);
  // What is too much changes nothing, and leaves the latch.
  assertEquals([freeNow(permits), words[LATCH]], [1, 0]);
  giveBack(permits, 1);
  assertEquals([putIn(permits, 1), putIn(permits, 1)], [0, 4]);
  assertEquals([freeNow(permits), words[LATCH]], [3, 0]);
});

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

Deno.test("what a dead agent had lent counts for the limit no more", () => {
  const words = newPermits(1, 3);
  const permits = permitsAt(home(), words, 0);
  const dead = ghost();
  const theirs = permitsAt(dead, words, 0);
  assertEquals(tryTake(theirs, 1, true), TAKEN);
  assertEquals(putIn(theirs, 1), 0);
  bury(home(), dead.id);
  assertEquals(freeNow(permits), 1);
  assertEquals([putIn(permits, 2), putIn(permits, 1)], [0, 4]);
});

// -- Who keeps whom waiting ------------------------------------------------------------------------

/** A read-write lock, as agents see it. */
function newLock(): (domain: Domain) => Permits {
  const words = new Int32Array(new SharedArrayBuffer(PERMITS_WORDS * 4));
  initPermits(words, 0, EVERYTHING, 0, EVERYTHING);
  return (domain) => permitsAt(domain, words, 0);
}

/** A request that waits in line. */
function lineUp(permits: Permits, need: number): Request {
  const request: Request = { need, recovers: false, ticket: 0, place: -1 };
  assertEquals(takeOrLineUp(permits, request), BUSY);
  return request;
}

function assertFree({ words, base }: Permits): void {
  assertEquals(words[base + LATCH], 0);
}

Deno.test("a writer that holds all keeps a reader waiting, and one reader a writer", () => {
  for (const [held, need] of [[EVERYTHING, 1], [1, EVERYTHING]] as const) {
    const seenBy = newLock();
    const holder = ghost();
    const permits = seenBy(home());
    assertEquals(tryTake(seenBy(holder), held, false), TAKEN);
    const request = lineUp(permits, need);
    // Its own place, which is that of the first agent.
    assertEquals(request.place, 0);
    assertEquals(keeperOf(permits, request), holder.id);
    assertFree(permits);
    assertEquals(keeperOf(permits, { ...request, place: -1 }), 0);
    assertEquals(keeperOf(permits, { ...request, place: 5 }), 0);
    giveBack(seenBy(holder), held);
    // Met by now.
    assertEquals(keeperOf(permits, request), 0);
    bury(home(), holder.id);
  }
});

Deno.test("whoever was granted a reader's guard and has not run keeps a writer waiting", () => {
  const seenBy = newLock();
  const [reader, writer] = [ghost(), ghost()];
  const permits = seenBy(home());
  assertEquals(tryTake(permits, EVERYTHING, false), TAKEN);
  lineUp(seenBy(reader), 1);
  giveBack(permits, EVERYTHING);
  const request = lineUp(seenBy(writer), EVERYTHING);
  assertEquals(keeperOf(seenBy(writer), request), reader.id);
  for (const { id } of [reader, writer]) bury(home(), id);
});

Deno.test("a writer that waits keeps those behind it waiting", () => {
  const seenBy = newLock();
  const [holder, reader] = [ghost(), ghost()];
  assertEquals(tryTake(seenBy(holder), 1, false), TAKEN);
  lineUp(seenBy(home()), EVERYTHING);
  const request = lineUp(seenBy(reader), 1);
  assertEquals(keeperOf(seenBy(reader), request), home().id);
  for (const { id } of [holder, reader]) bury(home(), id);
});

Deno.test("a glance shows who holds something, and who died with all of it", () => {
  const seenBy = newLock();
  const permits = seenBy(home());
  const dead = ghost();
  const glance = () => {
    const seen: [number, number][] = [];
    glanceAtHolders(permits, (id, count) => seen.push([id, count]));
    return seen;
  };
  assertEquals(tryTake(seenBy(dead), EVERYTHING, false), TAKEN);
  assertEquals(glance(), [[dead.id, EVERYTHING]]);
  bury(home(), dead.id);
  assertEquals(glance(), []);
  assertEquals(freeNow(permits), EVERYTHING);
  assertEquals(lastDead(permits), pidOf(dead.id));
  assertEquals(tryTake(permits, EVERYTHING, true), 2);
  giveBack(permits, EVERYTHING);
  // It did, once.
  assertEquals(glance(), []);
});

Deno.test("as many permits as an agent's id are not taken for another holder", () => {
  const { id } = home();
  const permits = permitsAt(home(), newPermits(id), 0);
  // Of the first slot, the first word behind the holders.
  assertEquals([slotOf(id), tryTake(permits, id, true), putIn(permits, 1)], [0, TAKEN, 0]);
  const held: [number, number][] = [];
  glanceAtHolders(permits, (holder, count) => held.push([holder, count]));
  assertEquals(held, [[id, id]]);
});
