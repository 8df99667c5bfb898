// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertFalse,
  assertNotEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  appointWarden,
  bury,
  callWatchers,
  claimSlot,
  countSigned,
  deaths,
  type Domain,
  flushWakes,
  giveSign,
  hasDescendants,
  home,
  isAlive,
  join,
  joinedDomains,
  livingAgents,
  LOCK_IS_PROOF,
  MAGIC,
  MAX_AGENTS,
  nameOf,
  nextSerial,
  NO_SIGN,
  parentOf,
  pidOf,
  requestStop,
  setParked,
  signOf,
  slotOf,
  stopRequested,
  topSlot,
  unpark,
  untilSigned,
  untilWarden,
  VERSION,
  waitWords,
  wakeLater,
  wardenOf,
  wasLost,
} from "../_agent.ts";
import { isBlocked, tellBlocked, toldBy, whatOf } from "../_report.ts";
import { diesAt } from "./_death.ts";
import { ghost, Peer } from "./_workers.ts";
import { Agent, settlesSoon } from "./_helpers.ts";

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/wait_worker.ts", import.meta.url);
/** Where the words of a slot begin, and the first of them: `_agent.ts` has the map. */
const HEADER_WORDS = 64;
const SLOT_WORDS = 64;

/** An empty table, as nobody's domain. */
function table(): Domain {
  const words = new Int32Array(new SharedArrayBuffer(home().memory.byteLength));
  words[0] = MAGIC;
  words[1] = VERSION;
  return { memory: words.buffer, words, id: 0, park: 0, wakes: [] };
}

/** What of the slot of an agent says where it sleeps. */
function parkOf(id: number): number {
  return HEADER_WORDS + SLOT_WORDS * slotOf(id) + 1;
}

// -- Identity ----------------------------------------------------------------------------------

Deno.test("claimSlot() gives each agent an id of its own, with its slot in it", () => {
  const domain = table();
  const ids = Array.from({ length: MAX_AGENTS }, (_, i) => claimSlot(domain.words, `a${i}`, 0));
  assertEquals(new Set(ids).size, MAX_AGENTS);
  assertEquals(ids.map(slotOf), Array.from({ length: MAX_AGENTS }, (_, i) => i));
  assertEquals(ids.map(pidOf), Array.from({ length: MAX_AGENTS }, (_, i) => i + 1));
  assertEquals(livingAgents(domain), ids);
  assertEquals(topSlot(domain), MAX_AGENTS);
  assert(ids.every((id) => id > 0 && isAlive(domain, id)));
});

Deno.test("claimSlot() with all slots taken is a RangeError, and works again after a death", () => {
  const domain = table();
  const ids = Array.from({ length: MAX_AGENTS }, () => claimSlot(domain.words, "a", 0));
  assertThrows(() => claimSlot(domain.words, "one too many", 0), RangeError, "128");
  bury(domain, ids[7]!);
  const next = claimSlot(domain.words, "next", 0);
  assertEquals(slotOf(next), 7);
  assertFalse(ids.includes(next));
  assertFalse(isAlive(domain, ids[7]!));
  assert(isAlive(domain, next));
});

Deno.test("claimSlot() is refused after 2^22 agents, so that ids stay unique", () => {
  const domain = table();
  domain.words[6] = 2 ** 22 - 2;
  const last = claimSlot(domain.words, "last", 0);
  assertEquals(pidOf(last), 2 ** 22 - 1);
  // A lock word has room for it and two flags.
  assertEquals(((last << 2) | 3) >> 2, last);
  assertThrows(() => claimSlot(domain.words, "one too many", 0), RangeError);
  assertEquals(livingAgents(domain), [last]);
});

Deno.test("nameOf() is the name, cut between characters to what fits", () => {
  const domain = table();
  const name = (text: string) => nameOf(domain, claimSlot(domain.words, text, 0));
  for (const text of ["", "a", "Process-1", "äöü €", "名前", "\u{1F600}", "x".repeat(191)]) {
    assertEquals(name(text), text);
  }
  assertEquals(name("x".repeat(1_000)), "x".repeat(192));
  assertEquals(name("€".repeat(100)), "€".repeat(64));
  assertEquals(name("\u{1F600}".repeat(100)), "\u{1F600}".repeat(48));
  assertEquals(name("\ud800"), "\ufffd");
});

Deno.test("nameOf() shows nothing of the slot's tenant before", () => {
  const domain = table();
  const first = claimSlot(domain.words, "a long name", 0);
  bury(domain, first);
  const second = claimSlot(domain.words, "b", 0);
  assertEquals(slotOf(second), slotOf(first));
  assertEquals(nameOf(domain, second), "b");
});

Deno.test("claimSlot() leaves nothing of what the slot's tenant before said of itself", () => {
  const domain = table();
  const first = claimSlot(domain.words, "first", 0);
  const asFirst = { ...domain, id: first, park: parkOf(first) };
  setParked(asFirst, 1);
  giveSign(asFirst, LOCK_IS_PROOF);
  const number = tellBlocked(asFirst, 0, whatOf("Lock", 7, "acquire"), true);
  assertEquals(toldBy(domain, first)?.serial, 7);
  bury(domain, first);
  const second = claimSlot(domain.words, "second", 0);
  assertEquals(slotOf(second), slotOf(first));
  // Otherwise each wake-up would notify nobody until it sleeps for the first time.
  assertEquals(domain.words[parkOf(second) + 1], 0);
  assertEquals(signOf(domain, second), NO_SIGN);
  assertEquals([isBlocked(domain, second), toldBy(domain, second)], [false, undefined]);
  // Nor can it be in the call in which that one was.
  assert(domain.words[waitWords(slotOf(second))]! > number);
});

Deno.test("The longest name fills its slot and touches no other one, the last slot's either", () => {
  const domain = table();
  const ids = Array.from({ length: MAX_AGENTS }, (_, i) => claimSlot(domain.words, `a${i}`, 0));
  for (const slot of [0, 6, MAX_AGENTS - 1]) {
    bury(domain, ids[slot]!);
    for (const length of [189, 190, 191, 192]) {
      const id = claimSlot(domain.words, "x".repeat(length), 0);
      assertEquals([slotOf(id), nameOf(domain, id)], [slot, "x".repeat(length)]);
      bury(domain, id);
    }
    ids[slot] = claimSlot(domain.words, `a${slot}`, 0);
    assertEquals(livingAgents(domain), ids);
    assertEquals(ids.map((id) => nameOf(domain, id)), ids.map((_, i) => `a${i}`));
  }
});

Deno.test("parentOf() is the id of the agent that started it", () => {
  const domain = table();
  const parent = claimSlot(domain.words, "parent", 0);
  const child = claimSlot(domain.words, "child", parent);
  assertEquals([parentOf(domain, parent), parentOf(domain, child)], [0, parent]);
});

Deno.test("hasDescendants() says whether any agent below a child of the root lives", () => {
  const domain = table();
  const start = (parent: number) => claimSlot(domain.words, "a", parent);
  const root = start(0);
  const [child, other] = [start(root), start(root)];
  const grandchild = start(child);
  const greatGrandchild = start(grandchild);
  const has = () => [child, other, root].map((id) => hasDescendants(domain, id));
  assertEquals(has(), [true, false, false]);
  bury(domain, grandchild);
  assertEquals(has(), [true, false, false]);
  bury(domain, greatGrandchild);
  assertEquals(has(), [false, false, false]);
  // Not of what the last tenant of the slot descended from.
  const stranger = start(0);
  assertEquals(slotOf(stranger), slotOf(grandchild));
  assertEquals(has(), [false, false, false]);
});

Deno.test("livingAgents() leaves out one whose slot is being claimed", () => {
  const domain = table();
  const first = claimSlot(domain.words, "first", 0);
  const second = claimSlot(domain.words, "second", 0);
  // What claimSlot writes before the slot is complete.
  Atomics.store(domain.words, HEADER_WORDS + SLOT_WORDS * slotOf(second), -9);
  assertEquals(livingAgents(domain), [first]);
});

Deno.test("nextSerial() never gives a number twice", () => {
  const domain = table();
  const serials = Array.from({ length: 100 }, () => nextSerial(domain));
  assertEquals(new Set(serials).size, 100);
  assert(serials.every((serial) => serial > 0));
});

// -- Death -------------------------------------------------------------------------------------

Deno.test("bury() declares one agent dead, and saying so again harms nobody", () => {
  const domain = table();
  const first = claimSlot(domain.words, "first", 0);
  const second = claimSlot(domain.words, "second", 0);
  const before = deaths(domain);
  bury(domain, first);
  assertNotEquals(deaths(domain), before);
  assertEquals([isAlive(domain, first), isAlive(domain, second)], [false, true]);
  assertEquals(livingAgents(domain), [second]);
  const third = claimSlot(domain.words, "third", 0);
  assertEquals(slotOf(third), slotOf(first));
  // Not the next tenant of the slot.
  bury(domain, first);
  assert(isAlive(domain, third));
});

Deno.test("wasLost() tells those that ended otherwise than by returning, by what was said first", () => {
  const domain = table();
  const [lost, returned] = [0, 0].map(() => claimSlot(domain.words, "a", 0)) as [number, number];
  bury(domain, lost);
  bury(domain, lost, true);
  bury(domain, returned, true);
  bury(domain, returned);
  assertEquals([wasLost(domain, lost), wasLost(domain, returned)], [true, false]);
  const heir = claimSlot(domain.words, "a", 0);
  assertEquals(slotOf(heir), slotOf(lost));
  bury(domain, heir, true);
  assertEquals([wasLost(domain, lost), wasLost(domain, heir)], [true, false]);
});

Deno.test("bury() makes everybody look again", () => {
  const domain = table();
  const ids = Array.from({ length: 5 }, () => claimSlot(domain.words, "a", 0));
  const before = ids.map((id) => domain.words[parkOf(id)]);
  bury(domain, ids[2]!);
  for (const [i, id] of ids.entries()) assertNotEquals(domain.words[parkOf(id)], before[i]);
});

// -- Waking ------------------------------------------------------------------------------------

Deno.test("unpark() raises the word on which the agent sleeps, whether it sleeps or not", () => {
  const domain = table();
  const id = claimSlot(domain.words, "a", 0);
  const other = claimSlot(domain.words, "b", 0);
  const before = domain.words[parkOf(id)]!;
  unpark(domain, id);
  unpark(domain, id);
  assertEquals(domain.words[parkOf(id)], before + 2);
  assertEquals(domain.words[parkOf(other)], 0);
});

Deno.test("unpark() goes on when the word wraps", () => {
  const domain = table();
  const id = claimSlot(domain.words, "a", 0);
  domain.words[parkOf(id)] = 2 ** 31 - 1;
  unpark(domain, id);
  assertEquals(domain.words[parkOf(id)], -(2 ** 31));
});

Deno.test("unpark() settles a ticket of an agent that says it is parked", async () => {
  const ghostly = ghost();
  setParked(ghostly, 1);
  const word = Atomics.load(ghostly.words, ghostly.park);
  const ticket = Atomics.waitAsync(ghostly.words, ghostly.park, word);
  unpark(home(), ghostly.id);
  assertEquals(await ticket.value, "ok");
  bury(home(), ghostly.id);
});

Deno.test("flushWakes() wakes whom wakeLater() remembered, once", () => {
  const domain = table();
  const ids = [0, 1, 2].map(() => claimSlot(domain.words, "a", 0));
  const words = () => ids.map((id) => domain.words[parkOf(id)]);
  wakeLater(domain, ids[0]!);
  wakeLater(domain, ids[2]!);
  assertEquals(words(), [0, 0, 0]);
  flushWakes(domain);
  assertEquals(words(), [1, 0, 1]);
  flushWakes(domain);
  assertEquals(words(), [1, 0, 1]);
});

Deno.test("requestStop() asks one agent, not a later tenant of its slot", () => {
  const domain = table();
  const first = claimSlot(domain.words, "first", 0);
  const asFirst = { ...domain, id: first, park: parkOf(first) };
  const second = claimSlot(domain.words, "second", 0);
  const asSecond = { ...domain, id: second, park: parkOf(second) };
  assertFalse(stopRequested(asFirst));
  const before = domain.words[parkOf(first)];
  requestStop(domain, first);
  assertEquals([stopRequested(asFirst), stopRequested(asSecond)], [true, false]);
  assertNotEquals(domain.words[parkOf(first)], before);
  bury(domain, first);
  const third = claimSlot(domain.words, "third", 0);
  assertEquals(slotOf(third), slotOf(first));
  assertFalse(stopRequested({ ...domain, id: third, park: parkOf(third) }));
});

// -- Watching ----------------------------------------------------------------------------------

Deno.test("giveSign() says how the end shows, and calls the watchers", async () => {
  const domain = table();
  const maker = claimSlot(domain.words, "maker", 0);
  const id = claimSlot(domain.words, "a", 0);
  const news = untilSigned(domain, countSigned(domain))!;
  giveSign({ ...domain, id, park: parkOf(id) }, LOCK_IS_PROOF);
  assert(await settlesSoon(news));
  assertEquals([signOf(domain, maker), signOf(domain, id)], [NO_SIGN, LOCK_IS_PROOF]);
  assertEquals([countSigned(domain), untilSigned(domain, 0)], [1, undefined]);
  // The maker may be blocked.
  assertEquals([domain.words[parkOf(maker)], domain.words[parkOf(id)]], [1, 0]);
});

Deno.test("callWatchers(): one that dies in it has called those who only listen first", async () => {
  // The maker, if it is blocked, looks by itself after a while.
  let died = true;
  for (let moment = 1; died; moment++) {
    const domain = table();
    const maker = claimSlot(domain.words, "maker", 0);
    const news = untilSigned(domain, countSigned(domain))!;
    died = diesAt(moment, () => callWatchers(domain));
    const isMakerWoken = domain.words[parkOf(maker)] !== 0;
    assert(died || isMakerWoken);
    if (isMakerWoken) assert(await settlesSoon(news), `it died at moment ${moment}`);
  }
});

Deno.test("appointWarden() wakes who waits for one, and prefers one that lasts", async () => {
  for (const isLasting of [false, true]) {
    const domain = table();
    assertEquals(wardenOf(domain), 0);
    const news = untilWarden(domain)!;
    appointWarden(domain, 7, isLasting);
    assert(await settlesSoon(news));
    assertEquals([wardenOf(domain), untilWarden(domain)], [7, undefined]);
    // There is one already.
    appointWarden(domain, -1, false);
    assertEquals(wardenOf(domain), 7);
    appointWarden(domain, 8, true);
    assertEquals(wardenOf(domain), 8);
  }
});

// -- Domains -----------------------------------------------------------------------------------

Deno.test("home() is one domain, in which this agent lives", () => {
  const domain = home();
  assertStrictEquals(home(), domain);
  assertStrictEquals(join(domain.memory), domain);
  assertStrictEquals(join(structuredClone(domain.memory)), domain);
  assert(isAlive(domain, domain.id));
  assertEquals(nameOf(domain, domain.id), "Main");
  assertEquals(parentOf(domain, domain.id), 0);
  assertStrictEquals(joinedDomains()[0], domain);
});

Deno.test("join() refuses memory that is no domain, and is in none of them then", () => {
  const { byteLength } = home().memory;
  const { length } = joinedDomains();
  const foreign = table();
  foreign.words[0] = 0;
  const older = table();
  older.words[1] = VERSION + 1;
  for (
    const memory of [
      new SharedArrayBuffer(0),
      new SharedArrayBuffer(byteLength - 4),
      new SharedArrayBuffer(byteLength - 1),
      new SharedArrayBuffer(byteLength + 64),
      new SharedArrayBuffer(byteLength),
      foreign.memory,
      older.memory,
    ]
  ) assertThrows(() => join(memory), TypeError, "Cannot join");
  assertEquals(joinedDomains().length, length);
});

Deno.test({
  name: "An agent that made primitives first is in two domains, with one id in each",
  ...LIMIT,
  async fn() {
    using worker = new Agent(WORKER);
    await worker.ready;
    const [memory, id] = await worker.run<[SharedArrayBuffer, number]>("foundDomain");
    const here = await worker.run<number>("join", home().memory);
    assertEquals(await worker.run("join", home().memory), here);
    assertEquals(await worker.run("foundDomain"), [memory, id]);
    assert(isAlive(home(), here));
    assertEquals(nameOf(home(), here), "Worker");
    const there = join(memory);
    assertStrictEquals(join(memory), there);
    assert(isAlive(there, id));
    assertNotEquals(there.id, id);
    assertEquals(livingAgents(there), [id, there.id]);
    assertStrictEquals(joinedDomains()[0], home());
    bury(home(), here);
  },
});

Deno.test({
  name: "claimSlot() in two workers and here at the same time gives all different slots and ids",
  ...LIMIT,
  async fn() {
    using first = await Peer.start(WORKER);
    using second = await Peer.start(WORKER);
    const domain = table();
    const { words, memory } = domain;
    const calls = [first, second].map((peer) => peer.run<number[]>("claimMany", memory, 20));
    const mine = Array.from({ length: 20 }, () => claimSlot(words, "here", 0));
    const ids = [...mine, ...(await Promise.all(calls)).flat()];
    assertEquals(new Set(ids).size, 60);
    assertEquals(new Set(ids.map(slotOf)).size, 60);
    assertEquals(livingAgents(domain).sort((a, b) => a - b), ids.sort((a, b) => a - b));
    assertEquals(topSlot(domain), 60);
  },
});
