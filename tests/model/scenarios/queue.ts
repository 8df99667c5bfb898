// Copyright 2026 the Sabre authors. MIT license.

// The queue as its users call it: `_putting.ts` and `_getting.ts` over `_store.ts`. Nothing lost, nothing
// twice, first in first out, nobody forgotten, with time running out, with `close` and with deaths.

import { bury, claimSlot, type Domain, home, settle, slotOf } from "../../../_agent.ts";
import { whileServing } from "../../../_calls.ts";
import { EMPTY, emptyQueue, END, Getting, type OneCall } from "../../../_getting.ts";
import { Putting } from "../../../_putting.ts";
import {
  closeStore,
  initStore,
  isClosed,
  placeState,
  refreshGets,
  refreshPuts,
  sizeOf,
  type Store,
  STORE_WORDS,
  storeAt,
} from "../../../_store.ts";
import { waitAsync, waitSync } from "../../../_wait.ts";
import {
  assert,
  awaitDeath,
  type Ending,
  named,
  oracle,
  type Scenario,
  step,
  task,
  type Wait,
} from "../scenario.ts";

/** Something that an agent does. Values are 1 to 15. */
export interface Act {
  /** Puts the value. */
  readonly put?: number;
  /** Puts these, as an array. */
  readonly many?: readonly number[];
  /** Puts these, as a typed array. */
  readonly run?: readonly number[];
  /** Puts an item that is larger than the ring, or has `length` bytes. */
  readonly large?: number;
  readonly length?: number;
  /** Gets one. */
  readonly get?: true;
  /** Gets so many at the most. */
  readonly upTo?: number;
  /** Gets so many at the most, into an array. */
  readonly into?: number;
  /** Gets one as a promise does, while the agent goes on. */
  readonly getLater?: true;
  /** Gets one if there is one. */
  readonly look?: true;
  /** Waits until there is something to get, or the end, as `select` does. */
  readonly select?: true;
  readonly close?: true;
  /** Milliseconds. */
  readonly timeout?: number;
}

export interface QueueOptions {
  readonly maxItems?: number;
  /** Words of the ring. An item takes 2. @default {4} */
  readonly size?: number;
  /** Whether agents may die: which one, or all. */
  readonly deaths?: boolean | number;
  /** Checks the order. */
  readonly ordered?: boolean;
  /** Where positions begin. */
  readonly from?: number;
  /** What counts begin with. */
  readonly counts?: number;
}

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array;
  readonly overflow: SharedArrayBuffer;
  /** By value: one of the states below. */
  readonly puts: Int32Array;
  /** By value: how often it was got. */
  readonly gets: Int32Array;
  /** By value: a bit for each value that was put before putting this began. */
  readonly before: Int32Array;
  /** Bits: [0] of values that were put, [1] of values that were got. */
  readonly bits: Int32Array;
  /** By agent: how many items it takes at once, if it dies now. */
  readonly grasps: Int32Array;
  /** By agent: how many of its calls, and of its main program, are not through. */
  readonly busy: Int32Array;
  readonly ordered: boolean;
  /** What counts began with, -1: items go other ways than through the ring. */
  readonly counts: number;
}

const BEGUN = 1;
const PUT = 2;
const REFUSED = 3;
const VALUES = 16;
const LARGE_BYTES = 68;

// Words of the store, see there.
const PUT_LATCH = 32;
const TAIL = 33;
const RESERVED = 36;
const RESERVED_ITEMS = 37;
const OFFERING = 38;
const PUTS = 64;
const GET_LATCH = 96;
const NEXT = 97;
const OUTSTANDING = 102;
const GETS = 128;
const ORPHANS = 129;
const HEAD = 160;
const OFFER = 192;

/** One agent's queue. */
interface Mine {
  readonly putting: Putting;
  readonly getting: Getting;
  readonly store: Store;
}

function open(shared: Shared, id: number): Mine {
  const domain = settle(shared.memory, id);
  const store = storeAt(domain, shared.words);
  return {
    putting: new Putting(store, shared.overflow),
    getting: new Getting(store, shared.overflow),
    store,
  };
}

/** As `Queue.putSync`. */
function putSync(mine: Mine, value: unknown, timeout: number): void {
  const { putting } = mine;
  if (putting.tryPut(value)) return;
  putting.calls.runSync(putting.putCall(value, true), timeout, "put", "put");
}

/** As `Queue.putManySync`. */
function putManySync(mine: Mine, values: Iterable<number> | Int32Array, timeout: number): number {
  const { putting } = mine;
  const call = putting.putManyCall(values);
  putting.calls.runSync(call, timeout, "put", "putMany");
  return call.count;
}

/** As `Queue.getSync`, which spins a little in between. */
function getSync(mine: Mine, timeout: number): unknown {
  const { getting } = mine;
  const item = getting.tryGet();
  if (item === END) throw emptyQueue();
  if (item !== EMPTY) return item;
  const call = getting.getCall();
  getting.calls.runSync(call, timeout, "get", "get");
  return call.value;
}

/** As `Queue.getManySync`. */
function getManySync(mine: Mine, max: number, timeout: number): unknown[] {
  const { getting } = mine;
  const call = getting.getManyCall(max);
  getting.calls.runSync(call, timeout, "get", "getMany");
  return call.values;
}

/** As `Queue.getManyIntoSync`. */
function getManyIntoSync(mine: Mine, target: Int32Array, timeout: number): number {
  const { getting } = mine;
  const call = getting.getManyIntoCall(target);
  getting.calls.runSync(call, timeout, "get", "getManyInto");
  return call.count;
}

/** An array whose iterator the explorer can look into. */
class Listed extends Array<number> {
  constructor(values: readonly number[]) {
    super();
    for (const value of values) this.push(value);
  }

  override [Symbol.iterator](): ArrayIterator<number> {
    return new Items(this) as never;
  }
}

class Items {
  readonly #list: readonly number[];
  #index = 0;

  constructor(list: readonly number[]) {
    this.#list = list;
  }

  next(): { done: boolean; value: number } {
    const index = this.#index++;
    return { done: index >= this.#list.length, value: this.#list.at(index)! };
  }
}

function largeItem(value: number, length = LARGE_BYTES): Uint8Array {
  return new Uint8Array(length).fill(value);
}

function valueOf(item: unknown): number {
  if (typeof item === "number") return item;
  const bytes = item as Uint8Array;
  for (let i = 1; i < bytes.length; i++) assert(bytes[i] === bytes[0], "an item is torn");
  return bytes[0]!;
}

/** Whether the error is one that the call may end with. */
function isExpected(error: unknown, act: Act): boolean {
  const { name } = error as Error;
  return name === "ClosedError" || name === "TimeoutError" && act.timeout !== undefined;
}

function putAll(shared: Shared, mine: Mine, act: Act): void {
  const { puts, before, bits, ordered } = shared;
  const { put, large, timeout = Infinity } = act;
  if (ordered) step();
  const values = act.many ?? act.run ?? [put ?? large!];
  for (const value of values) {
    puts[value] = BEGUN;
    before[value] = ordered ? bits[0]! : 0;
  }
  let count = 0;
  try {
    if (act.many !== undefined) count = putManySync(mine, new Listed(values), timeout);
    else if (act.run !== undefined) count = putManySync(mine, new Int32Array(values), timeout);
    else {
      putSync(mine, large === undefined ? put! : largeItem(large, act.length), timeout);
      count = 1;
    }
  } catch (error) {
    if (!isExpected(error, act)) throw error;
  }
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (i < count) {
      puts[value] = PUT;
      if (ordered) bits[0] = bits[0]! | (1 << value);
    } else {
      puts[value] = REFUSED;
      assert(shared.gets[value] === 0, "an item was got that could not be put");
    }
  }
}

function getAll(shared: Shared, mine: Mine, me: number, act: Act): void {
  const { gets, puts, before, bits, ordered } = shared;
  const { timeout = Infinity } = act;
  if (ordered) step();
  const got = ordered ? bits[1]! : 0;
  shared.grasps[me] = act.upTo ?? act.into ?? 1;
  let items: unknown[] = [];
  try {
    if (act.upTo !== undefined) items = getManySync(mine, act.upTo, timeout);
    else if (act.into !== undefined) {
      const target = new Int32Array(act.into);
      const count = getManyIntoSync(mine, target, timeout);
      for (let i = 0; i < count; i++) items.push(target[i]!);
    } else if (act.look !== undefined) {
      const item = mine.getting.tryGet();
      if (item !== EMPTY && item !== END) items.push(item);
    } else {
      const item = getSync(mine, timeout);
      items.push(item);
    }
  } catch (error) {
    if (!isExpected(error, act)) throw error;
  }
  shared.grasps[me] = 0;
  let last = 0;
  for (const item of items) {
    const value = valueOf(item);
    assert(value > 0 && value < VALUES && puts[value] !== 0, "an item was got that nobody put");
    assert(puts[value] !== REFUSED, "an item was got that could not be put");
    gets[value] = gets[value]! + 1;
    assert(gets[value] === 1, "an item was got twice");
    if (!ordered) continue;
    // A value that was got before this get began, but put after this value was.
    for (let other = 1; other < VALUES; other++) {
      const isEarlier = ((before[other]! >> value) & 1) === 1;
      assert(!isEarlier || ((got >> other) & 1) === 0, `${other} was got before ${value}`);
    }
    if (last > 0) assert(((before[last]! >> value) & 1) === 0, `${last} came before ${value}`);
    bits[1] = bits[1]! | (1 << value);
    last = value;
  }
}

/** As `Queue.get`: the rest of the call runs in a later turn of the agent. */
function getLater(shared: Shared, mine: Mine, me: number): void {
  const { getting, store } = mine;
  const item = getting.tryGet();
  if (item !== EMPTY) return note(shared, item);
  const call = getting.getCall();
  getting.calls.waiting.push(call);
  getting.calls.advance(call);
  shared.busy[me] = shared.busy[me]! + 1;
  if (call.isOver()) return finishLater(shared, mine, me, call);
  // In the model this says that a promise waits there, see shipped.ts.
  whileServing(getting.calls as never);
  (waitAsync as unknown as Wait)(
    store.domain,
    call,
    Infinity,
    undefined,
    false,
    () => task(finishLater, shared, mine, me, call),
    (reason) => task(failLater, reason),
  );
}

function finishLater(shared: Shared, mine: Mine, me: number, call: OneCall): void {
  mine.getting.calls.remove(call);
  shared.busy[me] = shared.busy[me]! - 1;
  note(shared, call.value);
}

function failLater(reason: unknown): void {
  throw reason;
}

function note(shared: Shared, item: unknown): void {
  const { gets, puts } = shared;
  const value = valueOf(item);
  assert(puts[value] !== 0, "an item was got that nobody put");
  gets[value] = gets[value]! + 1;
  assert(gets[value] === 1, "an item was got twice");
}

/** As `selectSync` of one queue. */
function selectOne({ getting, store }: Mine): void {
  while (!getting.news().isReady()) {
    const news = getting.news();
    waitSync(store.domain, news, Infinity, "select");
    news.withdraw();
  }
}

function worker(shared: Shared, me: number, acts: readonly Act[]): void {
  const mine = open(shared, shared.ids[me]!);
  shared.busy[me] = 1;
  for (let i = 0; i < acts.length; i++) {
    const act = acts[i]!;
    if (act.close !== undefined) {
      if (!isClosed(mine.store)) closeStore(mine.store);
    } else if (act.getLater !== undefined) {
      getLater(shared, mine, me);
    } else if (act.select !== undefined) {
      selectOne(mine);
    } else if (
      act.put !== undefined || act.many !== undefined || act.run !== undefined ||
      act.large !== undefined
    ) putAll(shared, mine, act);
    else getAll(shared, mine, me, act);
  }
  shared.busy[me] = shared.busy[me]! - 1;
}

function reaper(shared: Shared): void {
  const { memory, ids } = shared;
  const domain: Domain = settle(memory, ids[ids.length - 1]!);
  for (;;) bury(domain, ids[awaitDeath()]!);
}

/** What must be so once nobody goes on. */
function audit(shared: Shared, ending: Ending, died: boolean): void {
  const { words, ids, puts, gets } = shared;
  const mine = open(shared, ids[ids.length - 1]!);
  const { store } = mine;
  let isIdle = true;
  for (let i = 0; i < ids.length - 1; i++) {
    if (ending.fates[i] === "blocked" && shared.busy[i] !== 0) isIdle = false;
  }
  if (!died) {
    assert(words[PUT_LATCH] === 0 && words[GET_LATCH] === 0, "a latch is held");
    assert(words[RESERVED] === 0 && words[RESERVED_ITEMS] === 0, "room is set aside for nobody");
    assert(words[OUTSTANDING] === 0 && words[ORPHANS] === 0, "an item is assigned to nobody");
    assert(!isIdle || words[OFFER] === 0, "an offer is left");
  }
  refreshPuts(store);
  refreshGets(store);
  assert(words[RESERVED] === 0 && words[RESERVED_ITEMS] === 0, "room is set aside for the dead");
  const size = sizeOf(store);
  let left = 0;
  for (;;) {
    const offered = words[OFFER] !== 0;
    const item = mine.getting.tryGet();
    if (item === EMPTY || item === END) break;
    if (!offered || typeof item === "number") left++;
    const value = valueOf(item);
    assert(puts[value] !== 0 && puts[value] !== REFUSED, "an item was left that was not put");
    gets[value] = gets[value]! + 1;
    assert(gets[value] === 1, "an item was left that was got");
  }
  assert(size === left, `the size was ${size}, but ${left} were left`);
  let lost = 0;
  for (let value = 1; value < VALUES; value++) {
    if (puts[value] === PUT && gets[value] === 0) lost++;
  }
  let total = 0;
  for (let value = 1; value < VALUES; value++) total += gets[value]!;
  // Also those that were put by who died before it could say so.
  const committed = ((words[PUTS]! >>> 1) - shared.counts) & 0x7fffffff;
  if (shared.counts >= 0) lost = Math.max(lost, committed - total);
  // Who dies while it gets takes one item along, or all of those that it gets at once.
  let grasped = 0;
  for (let i = 0; i < ids.length - 1; i++) {
    if (ending.fates[i] === "dead") grasped += shared.grasps[i]!;
  }
  assert(lost <= grasped, `${lost} items were lost, of which the dead had ${grasped} at the most`);
  const tail = words[TAIL + (words[PUTS]! & 1)]!;
  assert(words[HEAD] === tail, "room was lost");
  assert(words[NEXT + (words[GETS]! & 1)] === tail, "the next record is not where the tail is");
  assert(words[OUTSTANDING] === 0 && words[ORPHANS] === 0, "an item is assigned to the dead");
  assert(words[OFFERING] === 0 || !isIdle || words[OFFER] === 0, "an offer is left");
  for (let slot = 0; slot < ids.length - 1; slot++) {
    if (ending.fates[slot] === "blocked" && shared.busy[slot] !== 0) continue;
    const place = slotOf(ids[slot]!);
    assert(placeState(store.puts, place) === 0, "a putter's place is taken");
    assert(placeState(store.gets, place) === 0, "a getter's place is taken");
  }
}

/** Whether the agent waits for what is not there: nobody who looked could serve it. */
function waitsRightly(shared: Shared, me: number): boolean {
  const { ids } = shared;
  // A ticket that no call needs any more: the event loop would let the agent end.
  if (shared.busy[me] === 0) return true;
  const mine = open(shared, ids[ids.length - 1]!);
  const { store } = mine;
  const place = slotOf(ids[me]!);
  const waits = placeState(store.puts, place) > 0 || placeState(store.gets, place) > 0;
  if (isClosed(store)) return false;
  // An item that was assigned to the dead is there again after this, so that it takes room as before.
  refreshGets(store);
  refreshPuts(store);
  refreshGets(store);
  return waits && (placeState(store.puts, place) > 0 || placeState(store.gets, place) > 0);
}

export function queue(
  acts: readonly (readonly Act[])[],
  options: QueueOptions = {},
): Scenario<Shared> {
  const { maxItems = 0, size = 4, deaths = false, ordered = false, from = 0, counts = 0 } = options;
  const agents = acts.length;
  const name = acts.map((each) =>
    each.map((act) => Object.entries(act).map(([key, value]) => `${key} ${value}`).join(" ")).join(
      ", ",
    )
  ).join(" | ");
  return {
    name: `queue of ${size} words${maxItems > 0 ? `, ${maxItems} items` : ""}: ${name}${
      deaths === false ? "" : deaths === true ? "; deaths" : `; death of ${deaths}`
    }${ordered ? "; order" : ""}`,
    setup: () => {
      const { memory, words: table, id } = home();
      named("domain", memory);
      // The first one lives in slot 0.
      const ids = [id];
      for (let i = 1; i <= agents; i++) ids.push(claimSlot(table, `agent ${i}`, 0));
      const words = new Int32Array(
        named("queue", new SharedArrayBuffer((STORE_WORDS + size) * 4)),
      );
      initStore(words, size, maxItems);
      words[TAIL] = from;
      words[NEXT] = from;
      words[HEAD] = from;
      words[PUTS] = counts * 2;
      words[GETS] = counts * 2;
      const overflow = named("overflow", new SharedArrayBuffer(LARGE_BYTES));
      return {
        memory,
        ids,
        words,
        overflow,
        puts: oracle(VALUES),
        gets: oracle(VALUES),
        before: oracle(VALUES),
        bits: oracle(2),
        grasps: oracle(agents),
        busy: oracle(agents),
        ordered,
        counts: acts.some((each) => each.some((act) => act.large !== undefined)) ? -1 : counts,
      };
    },
    agents: [
      ...acts.map((each, i) => ({
        name: `agent ${i}`,
        mortal: deaths === true || deaths === i,
        run: (shared: Shared) => worker(shared, i, each),
      })),
      ...(deaths !== false ? [{ name: "reaper", daemon: true, run: reaper }] : []),
    ],
    mayBlock: waitsRightly,
    atEnd: (shared, ending) => audit(shared, ending, ending.fates.includes("dead")),
  };
}
