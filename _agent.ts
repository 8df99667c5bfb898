// Copyright 2026 the Sabre authors. MIT license.

// Who exists: the table of the agents of one program, in shared memory that every primitive's handle
// carries. An agent joins the table of a primitive it meets; the first table is its home, where its
// own primitives are made.
//
// Word layout of a domain, in Int32 units.
//
//   0 MAGIC | 1 VERSION | 2..5 UUID | 6 SEQUENCE | 7 DEATHS | 8 TOP | 9 SERIAL | 10 SIGNED |
//   11 WARDEN
//   64 + 64 * slot: STATE | PARK | PARKED | STOP | PARENT | NAME_LENGTH | BRANCH | SIGN | 6 words for
//     the wait | LOST | unused | NAME ...

import { parkAsync, wakeAll } from "./_park.ts";
import { threadKind } from "./_threads.ts";

/** What the first word of every memory of this package says: "SABR". */
export const MAGIC = 0x53414252;
/** Version of all memory layouts together; a handle of another version is refused. */
export const VERSION = 1;

const UUID = 2; // four random words, written once: which domain this is
const SEQUENCE = 6; // counts the agents that ever joined
const DEATHS = 7; // counts the agents that ended
const TOP = 8; // one more than the highest slot ever used; never goes back
const SERIAL = 9; // counts the primitives made in this domain
const SIGNED = 10; // raised by whoever needs the domain's watchers, which sleep on it, after its SIGN
const WARDEN = 11; // thread that watches the domain, 0: none yet, -1: none ever. See appointWarden

const STATE = 0; // id of the agent that lives here, 0: free. Claimed by CAS
const PARK = 1; // raised before every wake-up of this agent; what it sleeps on
const PARKED = 2; // 1 while the agent sleeps or has a ticket: only then a notify is needed
const STOP = 3; // id of the agent that is asked to end: a later tenant of the slot is not meant
const PARENT = 4; // id of the agent that started this one, 0: none. Written before STATE's owner runs
const NAME_LENGTH = 5; // bytes
const BRANCH = 6; // id of the child of the root that this agent descends from, or is. Written with PARENT
const SIGN = 7; // how its end shows to those that did not start it. Written by itself, before SIGNED
const WAIT = 8; // what it waits for: see `_report.ts`. The first is only ever raised; odd: it says that it is blocked
const LOST = 14; // id of the last agent here that ended otherwise than by returning. By who declares it dead, before STATE
const NAME = 16; // UTF-8, cut to what fits

const HEADER_WORDS = 64;
const SLOT_WORDS = 64; // 256 bytes: no two agents share a cache line, nor its neighbour
const NAME_BYTES = (SLOT_WORDS - NAME) * 4;

/** How many agents one domain can hold. An agent's id carries its slot in the low seven bits. */
export const MAX_AGENTS = 128;
const SLOT_BITS = 7;
const SEQUENCE_LIMIT = 1 << 22; // so that an id has at most 29 bits, and a lock word room for two flags

/** One table of agents, as one agent sees it. */
export interface Domain {
  readonly memory: SharedArrayBuffer;
  readonly words: Int32Array<SharedArrayBuffer>;
  /** This agent's id in it. */
  readonly id: number;
  /** Index of this agent's PARK word. */
  readonly park: number;
  /** Which agents to wake when the latch is free again; private to this agent. */
  readonly wakes: number[];
}

/** The slot of an agent's id. */
export function slotOf(id: number): number {
  return id & (MAX_AGENTS - 1);
}

/** The number that people see for an id: agents are counted from 1. */
export function pidOf(id: number): number {
  return id >>> SLOT_BITS;
}

/** Whether the agent has not ended. */
export function isAlive(domain: Domain, id: number): boolean {
  return Atomics.load(domain.words, stateIndex(id)) === id;
}

/** Whether the agent, which has ended, is known to have ended otherwise than by returning. */
export function wasLost(domain: Domain, id: number): boolean {
  return Atomics.load(domain.words, stateIndex(id) + LOST - STATE) === id;
}

/** How many agents ended so far: as long as it stays the same, nobody died. */
export function deaths(domain: Domain): number {
  return Atomics.load(domain.words, DEATHS);
}

/** One more than the highest slot that was ever used. */
export function topSlot(domain: Domain): number {
  // At most all of them, even if somebody has written over the word: loops end by it.
  return Math.min(Atomics.load(domain.words, TOP) & 0xff, MAX_AGENTS);
}

/** A number that no other primitive of the domain has. */
export function nextSerial(domain: Domain): number {
  return Atomics.add(domain.words, SERIAL, 1) + 1;
}

/** Index of the 6 words in which the agent of the slot says what it waits for. */
export function waitWords(slot: number): number {
  return HEADER_WORDS + slot * SLOT_WORDS + WAIT;
}

/** The id of the agent that lives in the slot, 0 if none does. */
export function tenantOf(domain: Domain, slot: number): number {
  const id = Atomics.load(domain.words, HEADER_WORDS + slot * SLOT_WORDS + STATE);
  // Negative: its agent is not complete yet.
  return id > 0 ? id : 0;
}

/** Makes the agent look at its waits again. It need not sleep, nor be alive. */
export function unpark(domain: Domain, id: number): void {
  const index = parkIndex(id);
  // Raised first: one who is about to sleep finds the word changed, one who sleeps is notified.
  Atomics.add(domain.words, index, 1);
  if (Atomics.load(domain.words, index + PARKED - PARK) !== 0) wakeAll(domain.words, index);
}

/** Wakes whoever lives in the slot, if anybody. */
export function unparkSlot(domain: Domain, slot: number): void {
  unpark(domain, slot);
}

/** Remembers to wake the agent once this one is out of its critical section. */
export function wakeLater(domain: Domain, id: number): void {
  domain.wakes.push(id);
}

/** Wakes whom {@linkcode wakeLater} remembered. */
export function flushWakes(domain: Domain): void {
  while (domain.wakes.length > 0) unpark(domain, domain.wakes.pop()!);
}

/** Whether this agent was asked to end: in this domain, or in another one that it is in. */
export function stopRequested(domain: Domain): boolean {
  if (hasStop(domain)) return true;
  // Whoever asks knows this agent in one domain, which need not be that of the wait.
  for (const other of domains) if (hasStop(other)) return true;
  return false;
}

function hasStop({ words, park, id }: Domain): boolean {
  return Atomics.load(words, park + STOP - PARK) === id;
}

/** Whether another agent was asked to end, as far as this domain knows. */
export function isAskedToEnd(domain: Domain, id: number): boolean {
  return Atomics.load(domain.words, parkIndex(id) + STOP - PARK) === id;
}

/** Asks the agent to end: every call of its that waits, or would, ends with `TerminatedError`. */
export function requestStop(domain: Domain, id: number): void {
  Atomics.store(domain.words, parkIndex(id) + STOP - PARK, id);
  unpark(domain, id);
}

/**
 * Declares the agent dead, which must be certain: from now on others repair what it left behind.
 * May be said more than once, by several, and again after somebody died saying it. `hasReturned`: it has
 * done what it was started for, as only the first one knows that says so.
 */
export function bury(domain: Domain, id: number, hasReturned = false): void {
  const index = stateIndex(id);
  if (!hasReturned && Atomics.load(domain.words, index) === id) {
    Atomics.store(domain.words, index + LOST - STATE, id);
  }
  Atomics.compareExchange(domain.words, index, id, 0);
  Atomics.add(domain.words, DEATHS, 1);
  // Whoever waits looks again, finds DEATHS changed and repairs. This also makes up for wake-ups
  // that the dead agent owed.
  const top = topSlot(domain);
  for (let slot = 0; slot < top; slot++) {
    const index = HEADER_WORDS + slot * SLOT_WORDS + PARK;
    Atomics.add(domain.words, index, 1);
    wakeAll(domain.words, index);
  }
}

/** Says whether this agent may be asleep: 1 or 0. */
export function setParked(domain: Domain, parked: number): void {
  Atomics.store(domain.words, domain.park + PARKED - PARK, parked);
}

/** The name that an agent was given, cut to what its slot holds. */
export function nameOf(domain: Domain, id: number): string {
  const slot = HEADER_WORDS + slotOf(id) * SLOT_WORDS;
  const length = Math.min(Atomics.load(domain.words, slot + NAME_LENGTH) & 0xffff, NAME_BYTES);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    bytes[i] = Atomics.load(domain.words, slot + NAME + (i >> 2)) >> ((i & 3) * 8);
  }
  return new TextDecoder().decode(bytes);
}

/** The id of the agent that started this one, 0 if that is not known. */
export function parentOf(domain: Domain, id: number): number {
  return Atomics.load(domain.words, HEADER_WORDS + slotOf(id) * SLOT_WORDS + PARENT);
}

/** Whether an agent that descends from a child of the root, other than itself, has not ended. */
export function hasDescendants(domain: Domain, child: number): boolean {
  for (const id of livingAgents(domain)) {
    if (id !== child && branchOf(domain, id) === child) return true;
  }
  return false;
}

function branchOf({ words }: Domain, id: number): number {
  return Atomics.load(words, HEADER_WORDS + slotOf(id) * SLOT_WORDS + BRANCH);
}

/** The ids of all agents that have not ended. */
export function livingAgents(domain: Domain): number[] {
  const ids: number[] = [];
  for (let slot = 0; slot < topSlot(domain); slot++) {
    const id = Atomics.load(domain.words, HEADER_WORDS + slot * SLOT_WORDS + STATE);
    // Negative: its agent is not complete yet.
    if (id > 0) ids.push(id);
  }
  return ids;
}

/** Takes a free slot for an agent that is about to start, or for this one. */
export function claimSlot(
  words: Int32Array<SharedArrayBuffer>,
  name: string,
  parent: number,
): number {
  const sequence = Atomics.add(words, SEQUENCE, 1) + 1;
  if (sequence >= SEQUENCE_LIMIT) {
    throw new RangeError(`Cannot add an agent: ${SEQUENCE_LIMIT} were started in this program`);
  }
  // Not CLAIMED by its id at once: a name that is being written must belong to nobody.
  const claim = -sequence;
  for (let slot = 0; slot < MAX_AGENTS; slot++) {
    const base = HEADER_WORDS + slot * SLOT_WORDS;
    if (Atomics.compareExchange(words, base + STATE, 0, claim) !== 0) continue;
    const id = (sequence << SLOT_BITS) | slot;
    Atomics.store(words, base + PARKED, 0);
    Atomics.store(words, base + PARENT, parent);
    Atomics.store(words, base + BRANCH, parent === 0 ? 0 : branchBelow(words, parent, id));
    Atomics.store(words, base + SIGN, NO_SIGN);
    // Another number than the last tenant's, and even: this one is not blocked, and waits for nothing.
    Atomics.store(words, base + WAIT, (Atomics.load(words, base + WAIT) | 1) + 1);
    Atomics.store(words, base + WAIT + 1, 0);
    writeName(words, base, name);
    let top = Atomics.load(words, TOP);
    while (top <= slot) {
      const seen = Atomics.compareExchange(words, TOP, top, slot + 1);
      top = seen === top ? slot + 1 : seen;
    }
    Atomics.store(words, base + STATE, id);
    return id;
  }
  throw new RangeError(
    `Cannot add an agent: a program can have ${MAX_AGENTS} at a time, and all slots are taken`,
  );
}

/** The branch of a child of the agent `parent`, which lives: it is this agent. */
function branchBelow(words: Int32Array, parent: number, id: number): number {
  const branch = Atomics.load(words, HEADER_WORDS + slotOf(parent) * SLOT_WORDS + BRANCH);
  return branch === 0 ? id : branch;
}

function writeName(words: Int32Array<SharedArrayBuffer>, base: number, name: string): void {
  const bytes = new Uint8Array(NAME_BYTES);
  // encodeInto never cuts a character in two.
  const { written } = new TextEncoder().encodeInto(name, bytes);
  for (let i = 0; i < written; i += 4) {
    const word = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    Atomics.store(words, base + NAME + (i >> 2), word);
  }
  Atomics.store(words, base + NAME_LENGTH, written);
}

function stateIndex(id: number): number {
  return HEADER_WORDS + slotOf(id) * SLOT_WORDS + STATE;
}

function parkIndex(id: number): number {
  return HEADER_WORDS + slotOf(id) * SLOT_WORDS + PARK;
}

// -- How the end of an agent shows ---------------------------------------------------------------

/** Whoever started the agent watches it, or it cannot end before the program does. */
export const NO_SIGN = 0;
/** It holds the Web Lock {@linkcode lockName} until nothing of it can run any more. */
export const LOCK_IS_PROOF = 1;
/** It holds that lock, which becomes free a moment before the last of it has run. */
export const LOCK_IS_HINT = 2;

/** Publishes how the end of this agent shows, which it must already do, to those who watch. */
export function giveSign(domain: Domain, sign: number): void {
  Atomics.store(domain.words, domain.park - PARK + SIGN, sign);
  callWatchers(domain);
}

/** Makes those who watch over the domain look. */
export function callWatchers(domain: Domain): void {
  Atomics.add(domain.words, SIGNED, 1);
  wakeAll(domain.words, SIGNED);
  // The one that made the domain may be blocked, and is the one to see to it.
  unparkSlot(domain, 0);
}

/** How the end of the agent shows: one of the above. */
export function signOf(domain: Domain, id: number): number {
  return Atomics.load(domain.words, HEADER_WORDS + slotOf(id) * SLOT_WORDS + SIGN);
}

/** How often the watchers were called so far. */
export function countSigned(domain: Domain): number {
  return Atomics.load(domain.words, SIGNED);
}

/** Resolves when the watchers were called more than `seen` times; `undefined` if they already were. */
export function untilSigned(domain: Domain, seen: number): Promise<unknown> | undefined {
  return parkAsync(domain.words, SIGNED, seen);
}

/** The thread of the domain's warden; 0: there is none yet, negative: there will be none. */
export function wardenOf(domain: Domain): number {
  return Atomics.load(domain.words, WARDEN);
}

/**
 * Says which thread is the domain's warden, or that there will be none. `isLasting`: it ends with the
 * program, so that it is preferred to one that may end earlier.
 */
export function appointWarden({ words }: Domain, thread: number, isLasting: boolean): void {
  if (isLasting) Atomics.store(words, WARDEN, thread);
  else Atomics.compareExchange(words, WARDEN, 0, thread);
  wakeAll(words, WARDEN);
}

/** Resolves when there is a warden; `undefined` if there is one already. */
export function untilWarden(domain: Domain): Promise<unknown> | undefined {
  return parkAsync(domain.words, WARDEN, 0);
}

/** The name of the Web Lock that the agent holds, if it holds one. */
export function lockName(domain: Domain, id: number): string {
  return `sabre ${uuidOf(domain.words)}${id}`;
}

// -- The domains of this agent -----------------------------------------------------------------

/** Every domain that this agent has joined, by what its UUID words spell. */
const joined = new Map<string, Domain>();
const domains: Domain[] = [];

/** The domain in which this agent makes its primitives: the first that it met. */
export function home(): Domain {
  return domains[0] ?? join(createMemory());
}

/** This agent's view of the domain, which it joins if it was not in it. Refuses foreign memory. */
export function join(memory: SharedArrayBuffer): Domain {
  const words = checkMemory(memory);
  return joined.get(uuidOf(words)) ?? enter(words, claimSlot(words, defaultName(), 0));
}

/** Makes this agent the one that {@linkcode claimSlot} made room for, with that domain as its home. */
export function settle(memory: SharedArrayBuffer, id: number): Domain {
  return enter(checkMemory(memory), id);
}

/** A view of the domain for a thread that is not one of its agents. */
export function observe(memory: SharedArrayBuffer): Domain {
  const words = checkMemory(memory);
  const uuid = uuidOf(words);
  let domain = observed.get(uuid);
  if (domain === undefined) {
    domain = { memory, words, id: 0, park: parkIndex(0), wakes: [] };
    observed.set(uuid, domain);
  }
  return domain;
}

const observed = new Map<string, Domain>();

/** The domains that this agent is in: more than one only if it made primitives before it was sent any. */
export function joinedDomains(): readonly Domain[] {
  return domains;
}

function enter(words: Int32Array<SharedArrayBuffer>, id: number): Domain {
  const domain = { memory: words.buffer, words, id, park: parkIndex(id), wakes: [] };
  joined.set(uuidOf(words), domain);
  domains.push(domain);
  return domain;
}

function createMemory(): SharedArrayBuffer {
  const words = new Int32Array(new SharedArrayBuffer((HEADER_WORDS + MAX_AGENTS * SLOT_WORDS) * 4));
  // Nobody else can see this memory yet.
  const uuid = crypto.getRandomValues(new Int32Array(4));
  for (let i = 0; i < 4; i++) Atomics.store(words, UUID + i, uuid[i]!);
  Atomics.store(words, 1, VERSION);
  Atomics.store(words, 0, MAGIC);
  return words.buffer;
}

function checkMemory(memory: SharedArrayBuffer): Int32Array<SharedArrayBuffer> {
  if (memory.byteLength !== (HEADER_WORDS + MAX_AGENTS * SLOT_WORDS) * 4) {
    throw new TypeError(
      `Cannot join a domain: its memory has ${memory.byteLength} bytes, which no domain has`,
    );
  }
  const words = new Int32Array(memory);
  if (Atomics.load(words, 0) !== MAGIC || Atomics.load(words, 1) !== VERSION) {
    throw new TypeError("Cannot join a domain: the memory is of another version or not a domain");
  }
  return words;
}

function uuidOf(words: Int32Array<SharedArrayBuffer>): string {
  let text = "";
  for (let i = 0; i < 4; i++) text += `${Atomics.load(words, UUID + i)},`;
  return text;
}

function defaultName(): string {
  // Main or a worker that the user started: workers of ours are named by who starts them.
  return threadKind() === "main" ? "Main" : "Worker";
}
