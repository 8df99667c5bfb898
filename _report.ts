// Copyright 2026 the Sabre authors. MIT license.

// What every agent tells of its waits, for people who look for the one that hangs, and how agents that
// block each other find out: each says in its slot of the table who keeps it waiting, and follows
// what the others say. Nothing here is needed for a wait to end.
//
// Word layout, within the words of an agent's slot that are for the wait.
//
//   0 WAIT | 1 WHAT | 2 SERIAL | 3 SINCE | 4 KEEPER | 5 EDGE
//
// Each is written by the agent of the slot alone, and read by anyone. WAIT is written last when a wait
// begins, and first when it ends.
//
// - WAIT is odd while the agent is blocked, but for the first moments, which nobody is told of. It only
//   grows: while it has one odd value, the agent is in one call, runs no code of its user's, and so
//   gives nothing back that it holds.
// - EDGE = WAIT of the keeper << 7 | slot of the keeper; 0: none. It says that the keeper was in that
//   call when it kept this agent from going on. As long as it is in that call, it still does.
//
// So agents that are in the calls of which each other's EDGE tells, in a circle, can never go on: none
// of them moves before the next one does. This is certain although nothing is read under a latch: all
// were in these calls between the first and the second time that their words were read.

import {
  type Domain,
  isAlive,
  isAskedToEnd,
  MAX_AGENTS,
  nameOf,
  pidOf,
  slotOf,
  tenantOf,
  unpark,
  waitWords,
} from "./_agent.ts";
import { millis } from "./_clock.ts";

const WAIT = 0; // see above. Also raised by the next tenant of the slot, before it lives
const WHAT = 1; // kind | call << 8 | LINKED. 0: it waits for nothing, or nothing is known
const SERIAL = 2; // of the primitive
const SINCE = 3; // milliseconds modulo 2^32
const KEEPER = 4; // id of the agent that kept it waiting when it last looked, for people; 0: not known
const EDGE = 5; // see above

const LINKED = 1 << 16; // the call has no timeout, and tells who keeps it waiting

const SLOT_BITS = Math.log2(MAX_AGENTS);

const KINDS: readonly string[] =
  "|Lock|RLock|RwLock|Semaphore|Condition|SharedEvent|Barrier|Queue|Connection|select|Process|Pool"
    .split("|");
const CALLS: readonly string[] = "|acquire|read|write|wait|put|get|join|send|receive|poll".split(
  "|",
);

/** What is waited for. */
export interface What {
  readonly word: number;
  readonly serial: number;
  /** Whether the wait can say who keeps it waiting. */
  readonly isLock: boolean;
}

/** Describes a wait: the kind of the primitive, its serial, and the asynchronous form of the call. */
export function whatOf(kind: string, serial: number, call: string): What {
  const word = Math.max(KINDS.indexOf(kind), 0) | (Math.max(CALLS.indexOf(call), 0) << 8);
  return { word, serial, isLock: kind === "Lock" || kind === "RLock" || kind === "RwLock" };
}

/** One wait as others see it. */
export interface Told {
  readonly kind: string;
  readonly serial: number;
  readonly call: string;
  /** When it began, in milliseconds modulo 2^32. */
  readonly since: number;
  /** Whether the thread is blocked. */
  readonly isBlocked: boolean;
  /** Id of the agent that kept it waiting when it last looked; 0: not known. */
  readonly keeper: number;
}

/**
 * Says that this agent blocks, since the moment `since` of its own clock. Returns the number of the
 * wait, and does nothing if that is `number`, the one that this wait was given before.
 */
export function tellBlocked(
  domain: Domain,
  number: number,
  what: What | undefined,
  isLinked: boolean,
  since?: number,
): number {
  const { words } = domain;
  const base = waitWords(slotOf(domain.id));
  const last = Atomics.load(words, base + WAIT);
  // Another one: a call within this one, made by the input of a third, was told of meanwhile.
  if (last === number && number !== 0) return number;
  tell(domain, what, isLinked ? LINKED : 0, millis(since ?? performance.now()));
  const next = (last + 1) | 1;
  // Last: whoever finds this agent in the call finds what belongs to it.
  Atomics.store(words, base + WAIT, next);
  return next;
}

/** Says that the wait is over. First of all: from now on this agent may give back what it holds. */
export function tellAwake({ words, id }: Domain, number: number): void {
  const base = waitWords(slotOf(id));
  if (Atomics.load(words, base + WAIT) !== number) return;
  Atomics.store(words, base + WAIT, number + 1);
  Atomics.store(words, base + WHAT, 0);
}

/** Says what a promise of this agent waits for, while the thread is not blocked. */
export function tellPromise(domain: Domain, what: What | undefined, since: number): void {
  if (!isBlocked(domain, domain.id)) tell(domain, what, 0, since);
}

function tell({ words, id }: Domain, what: What | undefined, flags: number, since: number): void {
  const base = waitWords(slotOf(id));
  Atomics.store(words, base + WHAT, 0);
  Atomics.store(words, base + EDGE, 0);
  Atomics.store(words, base + KEEPER, 0);
  if (what === undefined) return;
  Atomics.store(words, base + SERIAL, what.serial);
  Atomics.store(words, base + SINCE, since);
  Atomics.store(words, base + WHAT, what.word | flags);
}

/** Whether the agent says that it is blocked in a call. */
export function isBlocked(domain: Domain, id: number): boolean {
  return (Atomics.load(domain.words, waitWords(slotOf(id)) + WAIT) & 1) !== 0;
}

/** What the agent says that it waits for. May be old when you look. */
export function toldBy({ words }: Domain, id: number): Told | undefined {
  const base = waitWords(slotOf(id));
  // It may begin another wait meanwhile. Whoever waits in earnest is found at the first try.
  for (let tries = 0; tries < 3; tries++) {
    const wait = Atomics.load(words, base + WAIT);
    const what = Atomics.load(words, base + WHAT);
    const serial = Atomics.load(words, base + SERIAL);
    const since = Atomics.load(words, base + SINCE);
    const keeper = Atomics.load(words, base + KEEPER);
    if (Atomics.load(words, base + WHAT) !== what || Atomics.load(words, base + WAIT) !== wait) {
      continue;
    }
    if (what === 0 && (wait & 1) === 0) return undefined;
    return { ...wordsOf(what), serial, since, keeper, isBlocked: (wait & 1) !== 0 };
  }
  return undefined;
}

/** What the word says. */
export function wordsOf(word: number): { kind: string; call: string } {
  return { kind: KINDS[word & 0xff] ?? "", call: CALLS[(word >> 8) & 0xff] ?? "" };
}

// -- Deadlocks -----------------------------------------------------------------------------------

/** A wait that can say who keeps this agent waiting. */
export interface Linked {
  /**
   * The id of an agent such that this wait cannot end while that agent is in the call in which it is
   * now; 0 if no single one is known. Exact at some moment during the call.
   */
  keeper(): number;
}

/** Ids of agents, each of which waits for the next, and the last for the first. */
export type Cycle = readonly number[];

/**
 * Looks who keeps this agent waiting, says so, and follows what the others say. Returns the agents of
 * a deadlock, this one first, if it is the one to end it: that with the greatest id.
 */
export function findDeadlock(domain: Domain, wait: Linked): Cycle | undefined {
  const { words, id } = domain;
  const base = waitWords(slotOf(id));
  const edge = lookForKeeper(domain, wait);
  const isNew = Atomics.load(words, base + EDGE) !== edge;
  if (isNew) Atomics.store(words, base + EDGE, edge);
  if (edge === 0) return undefined;
  const way: Step[] = [];
  const again: Step[] = [];
  if (!follow(domain, edge, way, isNew) || !follow(domain, edge, again, false)) return undefined;
  if (way.length !== again.length) return undefined;
  let greatest = id;
  for (let i = 0; i < way.length; i++) {
    if (way[i]!.edge !== again[i]!.edge) return undefined;
    if (way[i]!.id > greatest) greatest = way[i]!.id;
  }
  if (greatest === id) return way.map((step) => step.id);
  // It may not know yet.
  unpark(domain, greatest);
  return undefined;
}

/** The EDGE of this agent as it is now. */
function lookForKeeper(domain: Domain, linked: Linked): number {
  const { words, id } = domain;
  const suspect = linked.keeper();
  Atomics.store(words, waitWords(slotOf(id)) + KEEPER, suspect);
  if (suspect === 0 || suspect === id) return 0;
  const wait = Atomics.load(words, waitWords(slotOf(suspect)) + WAIT);
  // It lives, so that the number is its own.
  if ((wait & 1) === 0 || !isAlive(domain, suspect)) return 0;
  // Asked again: if it still is the one, it was so while in that call, as long as it is in it later on.
  return linked.keeper() === suspect ? (wait << SLOT_BITS) | slotOf(suspect) : 0;
}

/** An agent, and what it says who keeps it waiting. */
interface Step {
  readonly id: number;
  readonly edge: number;
}

/** Whether the edges lead back to this agent; `way` is then how. */
function follow(domain: Domain, edge: number, way: Step[], isNew: boolean): boolean {
  const { words } = domain;
  let last = domain.id;
  // One round at most: there may be a circle that this agent is not in.
  for (let steps = 0; steps <= MAX_AGENTS; steps++) {
    way.push({ id: last, edge });
    const slot = slotOf(edge);
    const base = waitWords(slot);
    const next = tenantOf(domain, slot);
    if (((Atomics.load(words, base + WAIT) << SLOT_BITS) | slot) !== edge || next === 0) {
      // Who said so does not know what is new, and finds the rest of the way.
      if (isNew && last !== domain.id) unpark(domain, last);
      return false;
    }
    // Its call ends in another way.
    if (isAskedToEnd(domain, next)) return false;
    if (next === domain.id) return true;
    edge = Atomics.load(words, base + EDGE);
    last = next;
    if (edge === 0) {
      if (isNew && (Atomics.load(words, base + WHAT) & LINKED) !== 0) unpark(domain, next);
      return false;
    }
  }
  return false;
}

/** Whether each of these agents says that it waits for the next one, and the last for the first. */
export function isCircle(domain: Domain, ids: readonly number[]): boolean {
  // All at one moment: as none of them moves between the two looks.
  return looksLikeCircle(domain, ids) && looksLikeCircle(domain, ids);
}

function looksLikeCircle({ words }: Domain, ids: readonly number[]): boolean {
  for (let i = 0; i < ids.length; i++) {
    const next = slotOf(ids[(i + 1) % ids.length]!);
    const wait = Atomics.load(words, waitWords(next) + WAIT);
    const edge = Atomics.load(words, waitWords(slotOf(ids[i]!)) + EDGE);
    if ((wait & 1) === 0 || edge !== ((wait << SLOT_BITS) | next)) return false;
  }
  return true;
}

/** The deadlock in words, as seen by its first agent. */
export function describeCycle(domain: Domain, cycle: Cycle): string {
  let text = "";
  for (let i = 0; i < cycle.length; i++) {
    const { kind, serial } = toldBy(domain, cycle[i]!) ?? { kind: "a lock", serial: 0 };
    const holder = describeAgent(domain, cycle[(i + 1) % cycle.length]!);
    text += i === 0 ? `${describeAgent(domain, cycle[0]!)} waits` : ", which waits";
    text += ` for ${kind} #${serial}, held by ${holder}`;
  }
  return text;
}

/** An agent as people know it. */
export function describeAgent(domain: Domain, id: number): string {
  return `${nameOf(domain, id)} (pid ${pidOf(id)})`;
}
