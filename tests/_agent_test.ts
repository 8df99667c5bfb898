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
  bury,
  claimSlot,
  deaths,
  type Domain,
  flushWakes,
  home,
  isAlive,
  join,
  joinedDomains,
  livingAgents,
  MAGIC,
  MAX_AGENTS,
  nameOf,
  nextSerial,
  parentOf,
  pidOf,
  requestStop,
  setParked,
  slotOf,
  stopRequested,
  topSlot,
  unpark,
  VERSION,
  wakeLater,
} from "../_agent.ts";
import { ghost, Peer } from "./_workers.ts";
import { Agent } from "./_helpers.ts";

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

Deno.test("parentOf() is the id of the agent that started it", () => {
  const domain = table();
  const parent = claimSlot(domain.words, "parent", 0);
  const child = claimSlot(domain.words, "child", parent);
  assertEquals([parentOf(domain, parent), parentOf(domain, child)], [0, parent]);
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
