// Copyright 2026 the Sabre authors. MIT license.

// The getting half of a queue, as one agent uses it: records are copied under the latch and become
// messages after it.

import { deaths, type Domain } from "./_agent.ts";
import { Call, Calls } from "./_calls.ts";
import { ENDED, freeServed } from "./_line.ts";
import { show } from "./_options.ts";
import { Spinner } from "./_park.ts";
import {
  countIn,
  FLOAT,
  INT_HEADER,
  Lifted,
  readElement,
  readMessage,
  readRunInto,
  RUN,
  type RunArray,
  typeIn,
} from "./_record.ts";
import { damaged, readWord } from "./_ring.ts";
import {
  assignedTo,
  attendPutters,
  commitGet,
  DAMAGED,
  drawTicket,
  enterGet,
  exitGet,
  gettable,
  hasOffer,
  indexOf,
  isClosedNow,
  isOffered,
  ITEM,
  leave,
  lineUp,
  NEWS as ANY_NEWS,
  nextHeader,
  nextOf,
  offerOf,
  orphanOf,
  passAssigned,
  placeState,
  serveGets,
  spinForPut,
  type Store,
  TOLD,
  useAssigned,
  useOffer,
} from "./_store.ts";
import type { News } from "./_wait.ts";
import { ClosedError } from "./errors.ts";

/** Nothing is there yet. */
export const EMPTY: unique symbol = Symbol("empty");
/** Nothing will be there any more. */
export const END: unique symbol = Symbol("end");

/** What is found where an item that is larger than the storage is offered. */
const LARGE = "larger than the storage";

/** Items that are few to find at a look. */
const FEW = 4;

/** What was copied under a latch that this agent holds; empty at all other times. */
const lifted = new Lifted();

export class Getting {
  readonly store: Store;
  readonly calls: Calls;
  readonly overflow: SharedArrayBuffer;
  readonly #waiting = new Set<GetCall>();
  readonly #spinner = new Spinner();
  #isCrowded = false;
  /** How many items were there at the last look and were not taken by this agent since. */
  #known = 0;

  constructor(store: Store, overflow: SharedArrayBuffer) {
    this.store = store;
    this.overflow = overflow;
    this.calls = new Calls(store.domain, () => this.#lineUp());
  }

  /** The next item, `EMPTY` or `END`. */
  tryGet(): unknown {
    if (!this.calls.isFree()) return EMPTY;
    const { store } = this;
    let number: unknown;
    const looks = --this.#known < 0;
    if (looks) this.#spinner.keepAway();
    enterGet(store);
    // Damaged storage throws, and must not leave the latch behind.
    try {
      const count = gettable(store);
      if (looks) {
        this.#known = count - 1;
        this.#spinner.note(count > 0, count < FEW);
      }
      if (count === 0 || orphanOf(store) >= 0) {
        if (!liftOne(this, -1)) return isClosedNow(store) ? END : EMPTY;
      } else {
        const position = nextOf(store);
        const header = nextHeader(store);
        if (header === INT_HEADER) number = readWord(store.ring, position + 1);
        else if (typeIn(header) === FLOAT) number = readMessage(store.ring, position, header);
        else lifted.add(store.ring, position, indexOf(store));
        commitGet(store, header, 1);
      }
    } finally {
      exitGet(store);
    }
    attendPutters(store);
    return number === undefined ? lifted.shift() : number;
  }

  getCall(): OneCall {
    return new OneCall(this);
  }

  getManyCall(max: number): ManyCall {
    return new ManyCall(this, max);
  }

  getManyIntoCall(target: RunArray): IntoCall {
    return new IntoCall(this, target);
  }

  /** A wait for something to get, or the end, that gets nothing. */
  news(): News {
    return new ItemNews(this);
  }

  /** Whether there is something to get, or the end. */
  isNews(): boolean {
    const { store } = this;
    enterGet(store);
    try {
      return gettable(store) > 0 || orphanOf(store) >= 0 || hasOffer(store) || isClosedNow(store);
    } finally {
      exitGet(store);
    }
  }

  /** Waits a little for news, as that is quicker than going to sleep. Returns whether there are any. */
  spin(): boolean {
    return spinForPut(this.store, this.#spinner);
  }

  add(call: GetCall): void {
    this.#waiting.add(call);
  }

  forget(call: GetCall): void {
    this.#waiting.delete(call);
    this.#isCrowded = false;
  }

  /** Whether there is no place in line for another call of this agent, until one of them is through. */
  get isCrowded(): boolean {
    return this.#isCrowded;
  }

  liftAssigned(place: number): void {
    const { position, index } = assignedTo(this.store, place);
    lifted.add(this.store.ring, position, index);
  }

  liftOffer(): void {
    const bytes = new Uint8Array(this.overflow);
    const { length, type } = offerOf(this.store, bytes.length);
    lifted.addBytes(type, bytes, length);
  }

  #lineUp(): void {
    const { store } = this;
    enterGet(store);
    for (const call of this.#waiting) {
      this.#isCrowded = !call.lineUp();
      if (this.#isCrowded) break;
    }
    // What was put before this agent was in line woke nobody.
    serveGets(store);
    exitGet(store);
  }
}

/** A call that gets something. */
export abstract class GetCall extends Call {
  protected readonly getting: Getting;
  protected readonly store: Store;
  #hasSpun: boolean;
  #place = -1;
  #ticket = 0;

  /** `hasSpun`: whether whoever makes the call has waited a little before. */
  constructor(getting: Getting, hasSpun: boolean) {
    super(getting.calls);
    this.getting = getting;
    this.#hasSpun = hasSpun;
    this.store = getting.store;
    getting.add(this);
  }

  /** Takes a place in line unless it has one. Under the latch. `false`: there is none. */
  lineUp(): boolean {
    if (this.#place >= 0) return true;
    const { gets } = this.store;
    if (this.#ticket === 0) this.#ticket = drawTicket(gets);
    this.#place = lineUp(gets, this.#ticket, ITEM, 0);
    return this.#place >= 0;
  }

  protected override get isAnnounced(): boolean {
    return this.#place >= 0 || this.getting.isCrowded;
  }

  /**
   * Copies what a served place was assigned, or what is there for a newcomer, and more of it if it
   * wants. Under the latch. Returns whether anything was.
   */
  protected abstract take(place: number): boolean;

  /** Makes of the copies what the call returns. After the latch. */
  protected abstract finish(): void;

  /** Waits a little for news, once. */
  protected override spin(): boolean {
    if (this.#hasSpun) return false;
    this.#hasSpun = true;
    return this.getting.spin();
  }

  protected step(): boolean {
    const { store } = this;
    const place = this.#place;
    // Cheap and without the latch, as this is asked at every wake-up of the agent.
    if (place >= 0 && placeState(store.gets, place) > 0 && !this.#mayBeMended()) return false;
    enterGet(store);
    try {
      if (place >= 0 && placeState(store.gets, place) > 0) serveGets(store);
      if (place >= 0 && placeState(store.gets, place) > 0) return false;
      if (place >= 0 && placeState(store.gets, place) === ENDED) {
        freeServed(store.gets, place);
        this.#place = -1;
        throw emptyQueue();
      }
      if (place >= 0 && placeState(store.gets, place) === DAMAGED) {
        freeServed(store.gets, place);
        this.#place = -1;
        throw damaged("read");
      }
      if (!this.take(place)) {
        if (isClosedNow(store)) throw emptyQueue();
        return false;
      }
      this.#place = -1;
    } catch (error) {
      // What could not be copied, or is not wanted, stays, and so does what is said of it.
      lifted.clear();
      this.#passOn();
      throw error;
    } finally {
      exitGet(store);
    }
    attendPutters(store);
    this.getting.forget(this);
    this.finish();
    return true;
  }

  override fail(reason: unknown): void {
    this.getting.forget(this);
    super.fail(reason);
  }

  override withdraw(): boolean {
    if (this.#place >= 0) {
      const { store } = this;
      enterGet(store);
      const left = leave(store.gets, this.#place);
      exitGet(store);
      if (!left) return false;
      this.#place = -1;
    }
    if (!super.withdraw()) return false;
    this.getting.forget(this);
    return true;
  }

  /** Lets the next one have what this place was assigned. Under the latch. */
  #passOn(): void {
    if (this.#place < 0) return;
    passAssigned(this.store, this.#place);
    this.#place = -1;
  }

  #mayBeMended(): boolean {
    return deaths(this.store.domain) !== this.#deaths &&
      (this.#deaths = deaths(this.store.domain)) >= 0;
  }

  #deaths = -1;
}

/** Copies one item: what the place was assigned, or what is there for a newcomer. */
function liftOne(getting: Getting, place: number): boolean {
  const { store } = getting;
  if (place >= 0 && isOffered(store, place)) {
    getting.liftOffer();
    useOffer(store, place);
    return true;
  }
  const isOpen = hasOffer(store);
  const assigned = place >= 0 ? place : gettable(store) >= 0 ? orphanOf(store) : -1;
  if (assigned >= 0) {
    getting.liftAssigned(assigned);
    useAssigned(store, assigned);
    return true;
  }
  if (gettable(store) > 0) {
    const header = nextHeader(store);
    lifted.add(store.ring, nextOf(store), indexOf(store));
    commitGet(store, header, 1);
    return true;
  }
  // Who waits, and was served by `gettable`, may have it now.
  if (!isOpen || !hasOffer(store)) return false;
  getting.liftOffer();
  useOffer(store, -1);
  return true;
}

/** A call that gets one item. */
export class OneCall extends GetCall {
  value: unknown = EMPTY;

  constructor(getting: Getting) {
    super(getting, true);
  }

  protected take(place: number): boolean {
    return liftOne(this.getting, place);
  }

  protected finish(): void {
    this.value = lifted.shift();
  }
}

/** A call that gets up to `max` items. */
export class ManyCall extends GetCall {
  readonly values: unknown[] = [];
  readonly #max: number;

  constructor(getting: Getting, max: number) {
    super(getting, false);
    this.#max = max;
  }

  override get isPartial(): boolean {
    return this.values.length > 0;
  }

  protected take(place: number): boolean {
    if (!liftOne(this.getting, place)) return false;
    // What else is there belongs to the calls of this agent behind it, if there are any.
    if (this.getting.calls.waiting.length > 1) return true;
    try {
      while (lifted.count < this.#max && liftOne(this.getting, -1));
    } catch {
      // Those before what is damaged go through. It stays, so that the next call tells of it.
    }
    return true;
  }

  protected finish(): void {
    let error: { reason: unknown } | undefined;
    while (lifted.count > 0) {
      try {
        this.values.push(lifted.shift());
      } catch (reason) {
        error ??= { reason };
      }
    }
    if (error !== undefined && this.values.length === 0) throw error.reason;
  }
}

/** A call that fills an array with numbers. */
export class IntoCall extends GetCall {
  count = 0;
  readonly #target: RunArray;
  readonly #wanted: string;

  constructor(getting: Getting, target: RunArray) {
    super(getting, false);
    this.#target = target;
    this.#wanted = typeof target[0];
  }

  protected take(place: number): boolean {
    const { store } = this;
    // Its memory was detached while the call waited.
    if (this.#target.length === 0) {
      throw new TypeError("Cannot get into the target: it has no room any more");
    }
    const isOpen = hasOffer(store);
    const assigned = place >= 0 ? place : gettable(store) >= 0 ? orphanOf(store) : -1;
    if (assigned >= 0) {
      const isLarge = isOffered(store, assigned);
      const value = isLarge ? undefined : this.#assignedValue(assigned);
      if (!this.#accept(value)) this.#refuse(isLarge ? LARGE : show(value));
      useAssigned(store, assigned);
    }
    // What else is there belongs to the calls of this agent behind it, if there are any.
    if (this.count > 0 && this.getting.calls.waiting.length > 1) return true;
    try {
      while (this.count < this.#target.length && orphanOf(store) < 0 && gettable(store) > 0) {
        if (!this.#takeNext()) break;
      }
    } catch (error) {
      // Those before what is damaged go through. It stays, so that the next call tells of it.
      if (this.count === 0) throw error;
    }
    if (this.count === 0 && isOpen && hasOffer(store)) this.#refuse(LARGE);
    return this.count > 0;
  }

  protected finish(): void {}

  #takeNext(): boolean {
    const { store } = this;
    const target = this.#target;
    const position = nextOf(store);
    const header = nextHeader(store);
    const type = typeIn(header);
    const index = indexOf(store);
    if (type >= RUN) {
      const count = Math.min(countIn(store.ring, header) - index, target.length - this.count);
      if (readRunInto(store.ring, position, type, index, target, this.count, count)) {
        this.count += count;
        commitGet(store, header, count);
        return true;
      }
    }
    const value = this.#valueAt(position, index);
    if (!this.#accept(value)) {
      if (this.count === 0) this.#refuse(show(value));
      return false;
    }
    commitGet(store, header, 1);
    return true;
  }

  #assignedValue(place: number): unknown {
    const { position, index } = assignedTo(this.store, place);
    return this.#valueAt(position, index);
  }

  #valueAt(position: number, index: number): unknown {
    const { ring } = this.store;
    const header = readWord(ring, position);
    const type = typeIn(header);
    return type >= RUN
      ? readElement(ring, position, type, index)
      : readMessage(ring, position, header);
  }

  #accept(value: unknown): boolean {
    const type: string = typeof value;
    if (type !== this.#wanted) return false;
    this.#target[this.count++] = value as number;
    return true;
  }

  #refuse(found: string): never {
    throw new TypeError(
      `Cannot get into the target as the next item must be a ${this.#wanted}: it is ${found}`,
    );
  }
}

/** A wait for something to get, or the end: it stands in line, but takes nothing. */
class ItemNews implements News {
  readonly domain: Domain;
  readonly #getting: Getting;
  readonly #store: Store;
  #place = -1;
  #isOver = false;

  constructor(getting: Getting) {
    this.#getting = getting;
    this.#store = getting.store;
    this.domain = getting.store.domain;
  }

  isReady(): boolean {
    return this.#getting.isNews();
  }

  poll(): boolean {
    const store = this.#store;
    if (this.#isOver) return true;
    if (this.#place < 0) {
      enterGet(store);
      this.#place = lineUp(store.gets, drawTicket(store.gets), ANY_NEWS, 0);
      exitGet(store);
    }
    enterGet(store);
    serveGets(store);
    const state = this.#place < 0 ? 1 : placeState(store.gets, this.#place);
    if (state === TOLD || state === ENDED || state === DAMAGED) {
      freeServed(store.gets, this.#place);
      this.#isOver = true;
    }
    exitGet(store);
    return this.#isOver;
  }

  withdraw(): boolean {
    const store = this.#store;
    if (this.#isOver) return false;
    enterGet(store);
    if (this.#place >= 0 && !leave(store.gets, this.#place)) freeServed(store.gets, this.#place);
    exitGet(store);
    return true;
  }
}

/** The error of a call that can get nothing any more. */
export function emptyQueue(): ClosedError {
  return new ClosedError("Cannot get from a closed Queue: nothing is left in it");
}
