// Copyright 2026 the Sabre authors. MIT license.

// The putting half of a queue, as one agent uses it: messages become records, records wait for room
// in line. User code runs while values are encoded, so never under a latch.

import { Call, Calls, isUntouched } from "./_calls.ts";
import { ENDED, freeServed, GRANTED, needOf as needOfPlace } from "./_line.ts";
import {
  countFor,
  elementSize,
  fairRun,
  isPlainArray,
  keep,
  longestRun,
  MAX_PAYLOAD,
  newPacket,
  pack,
  type Packet,
  packetWords,
  recordWords,
  type RunArray,
  runType,
  writePacket,
  writeRun,
} from "./_record.ts";
import { copyIn, type Ring } from "./_ring.ts";
import {
  ACCEPTANCE,
  attendGetters,
  canPut,
  commitPut,
  drawTicket,
  enterPut,
  exitPut,
  fetchAhead,
  isClosedNow,
  isSpare,
  leave,
  limitsOf,
  lineUp,
  openOffer,
  placeState,
  servePuts,
  spareItems,
  spareWords,
  spinForRoom,
  type Store,
  tailOf,
  TURN,
  useReserved,
  withdrawOffer,
} from "./_store.ts";
import { steadyArray } from "./_views.ts";
import { ClosedError } from "./errors.ts";

const OPEN = 0;
const ACCEPTED = 1;
const REFUSED = 2;

/** Only within one call that runs no user code. */
const packet = newPacket();

/** Items of an array that are committed together at the most, and words that they may take. */
const BATCH = 64;
const STAGE_WORDS = 1 << 12;

export class Putting {
  readonly store: Store;
  readonly calls: Calls;
  readonly overflow: SharedArrayBuffer;
  /** The calls that wait, in their order. */
  readonly #waiting = new Set<PutCall>();
  #isCrowded = false;

  constructor(store: Store, overflow: SharedArrayBuffer) {
    this.store = store;
    this.overflow = overflow;
    this.calls = new Calls(store.domain, () => this.#lineUp());
  }

  /** Puts the value if no call waits and there is room. */
  tryPut(value: unknown): boolean {
    // First, as the calls that proceed use the same packet.
    const isFree = this.calls.isFree();
    pack(packet, value);
    if (!isFree || this.calls.waiting.length > 0) return false;
    const { store } = this;
    const words = packetWords(packet);
    enterPut(store);
    try {
      if (isClosedNow(store)) throw closedQueue(value);
      // A header holds no more, however large the storage is.
      if (packet.length > MAX_PAYLOAD || !canPut(store, words)) return false;
      fetchAhead(store);
      writePacket(store.ring, tailOf(store), packet);
      commitPut(store, words, 1);
    } finally {
      exitPut(store);
    }
    attendGetters(store);
    return true;
  }

  /** Whether the item that could not be put just now is larger than the whole storage. */
  isTooLarge(): boolean {
    return needOf(packet, this.store) === TURN;
  }

  /** Waits a little for room, as that is quicker than going to sleep. */
  spin(): void {
    if (this.calls.waiting.length === 0) spinForRoom(this.store);
  }

  /** A call that puts what the last try could not. Copies it, unless nobody can touch it meanwhile. */
  putCall(value: unknown, blocks: boolean): PutCall {
    const own = blocks && isUntouched(packet.bytes) ? packet : keep(packet);
    return new PutCall(this, new SingleSource(value, own, this.store));
  }

  putManyCall(values: Iterable<unknown> | RunArray): PutCall {
    const type = runType(values);
    return new PutCall(
      this,
      type === undefined
        ? new IterableSource(values as Iterable<unknown>, this.store)
        : new RunSource(steadyArray(values as RunArray), type, this.store),
    );
  }

  /** Remembers a call that waits, in the order of the calls. */
  add(call: PutCall): void {
    this.#waiting.add(call);
  }

  forget(call: PutCall): void {
    this.#waiting.delete(call);
    this.#isCrowded = false;
  }

  /** Whether there is no place in line for another call of this agent, until one of them is through. */
  get isCrowded(): boolean {
    return this.#isCrowded;
  }

  #lineUp(): void {
    const { store } = this;
    enterPut(store);
    for (const call of this.#waiting) {
      this.#isCrowded = !call.lineUp();
      // What it will need next is not known: those behind it may not be served before.
      if (this.#isCrowded || call.needsMore) break;
    }
    servePuts(store);
    exitPut(store);
  }
}

/** What a call has to put, record by record. */
interface Source {
  /** Whether there may be another record after the next one. */
  readonly isMany: boolean;
  /** Words of the next record, `TURN` if it is larger than the ring. */
  readonly need: number;
  /** The next item, for the error if it cannot be put. */
  readonly value: unknown;
  /** Makes the next record. `false`: there is none. May run user code. */
  prepare(): boolean;
  /** Writes records, the first of which fits, and returns how many items that were. Under the latch. */
  write(store: Store): number;
  /** The next item, larger than the ring, which is done with by this. */
  takeLarge(): Packet;
  /** Ends it early. */
  stop(): void;
}

/** A call that puts something. */
export class PutCall extends Call {
  /** Items that went through. */
  count = 0;
  readonly #putting: Putting;
  readonly #store: Store;
  readonly #source: Source;
  #place = -1;
  #ticket = 0;
  /** Whether the next item lies in the overflow memory, for somebody to take. */
  #isOffered = false;
  #offered: unknown;
  /** Whether the input is asked for more, which may do anything. */
  #isPreparing = false;
  #isWithdrawn = false;
  /** Whether more was set aside for it than it uses, as its input was cut meanwhile. */
  #leavesRoom = false;
  /** How far it had come when it last waited a little for room. */
  #spunAt = -1;

  constructor(putting: Putting, source: Source) {
    super(putting.calls);
    this.#putting = putting;
    this.#store = putting.store;
    this.#source = source;
    putting.add(this);
  }

  override get isPartial(): boolean {
    return this.#source.isMany && this.count > 0;
  }

  /** Whether it needs something again after what it waits for. */
  get needsMore(): boolean {
    return this.#source.isMany || this.#source.need === TURN;
  }

  /** Takes a place in line unless it has one. Under the latch. `false`: there is none. */
  lineUp(): boolean {
    if (this.#place >= 0) return true;
    const { puts } = this.#store;
    if (this.#ticket === 0) this.#ticket = drawTicket(puts);
    const need = this.#isOffered ? ACCEPTANCE : this.#source.need;
    this.#place = lineUp(puts, this.#ticket, need, 0);
    return this.#place >= 0;
  }

  protected override get isAnnounced(): boolean {
    return this.#place >= 0 || this.#putting.isCrowded;
  }

  /** If it puts several items, is not in line, and has come further meanwhile: who puts one has spun before. */
  protected override spin(): boolean {
    if (!this.#source.isMany || this.#place >= 0 || this.#spunAt === this.count) return false;
    this.#spunAt = this.count;
    return spinForRoom(this.#store);
  }

  protected step(): boolean {
    const source = this.#source;
    const store = this.#store;
    for (;;) {
      if (this.#isOffered) {
        const outcome = this.#outcome();
        if (outcome === OPEN) return false;
        this.#isOffered = false;
        if (outcome === REFUSED) return this.#refuse(this.#offered);
        this.count++;
      }
      if (!this.mayGoOn(3)) return false;
      let isThere: boolean;
      this.#isPreparing = true;
      try {
        isThere = source.prepare();
      } finally {
        this.#isPreparing = false;
      }
      // By its own input.
      if (this.#isWithdrawn) return true;
      if (!isThere) {
        // It may have waited for room: the user can detach the memory of a typed array meanwhile.
        if (this.#place >= 0) this.#giveUpPlace();
        return this.#end();
      }
      enterPut(store);
      let isRefused = false;
      // What the source does may fail: for lack of memory, or because the user detached its own.
      try {
        isRefused = isClosedNow(store);
        if (isRefused) this.#leaveLine();
        else if (!this.#mayPut()) return false;
        else if (source.need === TURN) this.#offer();
        else this.count += source.write(store);
        if (this.#leavesRoom) servePuts(store);
        this.#leavesRoom = false;
      } catch (error) {
        // What was set aside for it is free again.
        servePuts(store);
        throw error;
      } finally {
        exitPut(store);
      }
      // Under no latch, as this ends the input.
      if (isRefused) return this.#refuse(source.value);
      attendGetters(store);
    }
  }

  override fail(reason: unknown): void {
    // It may be in line before it has asked its input for anything.
    if (this.#place >= 0) this.#giveUpPlace();
    this.#end();
    super.fail(reason);
  }

  override withdraw(): boolean {
    if (this.#isPreparing) {
      // By its own input: whatever it was served, it does not use it.
      if (this.#place >= 0) this.#giveUpPlace();
    } else if (!this.#withdrawNow()) {
      // It was served: it goes on with that, and withdraws from what it needs next.
      this.#putting.calls.advance(this);
      if (this.hasEnded || !this.#withdrawNow()) return false;
    }
    if (!super.withdraw()) return false;
    this.#isWithdrawn = true;
    // In this order: an input that puts something as it is stopped must not line this call up again.
    this.#end();
    this.#source.stop();
    return true;
  }

  /** Withdraws from the line, and its offer. `false` if it was served or somebody has the offer. */
  #withdrawNow(): boolean {
    if (this.#place >= 0) {
      const store = this.#store;
      const { puts } = store;
      enterPut(store);
      // Under the latch of the put side, so that it is this offer and no later one.
      const isTaken = this.#isOffered && placeState(puts, this.#place) > 0 && !withdrawOffer(store);
      const left = leave(puts, this.#place);
      // Those behind it may need less.
      if (left) servePuts(store);
      exitPut(store);
      if (!left) return false;
      this.#place = -1;
      this.#isOffered = isTaken;
    }
    // Too late: it counts as put.
    return !this.#isOffered;
  }

  /** Ends it, as the queue was closed before `value` was put. */
  #refuse(value: unknown): true {
    this.#end();
    this.#source.stop();
    if (!this.isPartial) throw closedQueue(value);
    return true;
  }

  /** Whether there is room for the next record; if so, it has to be used. Under the latch. */
  #mayPut(): boolean {
    const store = this.#store;
    const { need } = this.#source;
    while (this.#place >= 0) {
      if (placeState(store.puts, this.#place) > 0) servePuts(store);
      if (placeState(store.puts, this.#place) > 0) return false;
      const reserved = needOfPlace(store.puts, this.#place);
      useReserved(store, this.#place);
      this.#place = -1;
      if (need === reserved || (need < reserved && reserved !== TURN)) {
        this.#leavesRoom = need < reserved;
        return true;
      }
      // It lined up before it knew what it needs: once more, with the same ticket.
      if (!this.lineUp()) return false;
    }
    return canPut(store, need);
  }

  /** Offers the next item to whoever takes it first. Under the latch. */
  #offer(): void {
    this.#offered = this.#source.value;
    const { type, length, bytes } = this.#source.takeLarge();
    const { overflow } = this.#putting;
    if (overflow.byteLength < length) overflow.grow(length);
    new Uint8Array(overflow).set(bytes.subarray(0, length));
    openOffer(this.#store, type, length);
    this.#isOffered = true;
    this.lineUp();
  }

  /** What became of the offer: somebody has it, or the queue was closed before. */
  #outcome(): typeof OPEN | typeof ACCEPTED | typeof REFUSED {
    const store = this.#store;
    // Withdrawn from the line, but not from the getter who has it.
    if (this.#place < 0) return ACCEPTED;
    enterPut(store);
    if (placeState(store.puts, this.#place) > 0) servePuts(store);
    const state = placeState(store.puts, this.#place);
    // Under the latch of the put side, so that it is this offer and no later one.
    const isRefused = state === ENDED && withdrawOffer(store);
    if (state <= 0) this.#leaveLine();
    exitPut(store);
    return state > 0 ? OPEN : isRefused ? REFUSED : ACCEPTED;
  }

  /** Gives up its place under no latch, and serves those behind it. */
  #giveUpPlace(): void {
    const store = this.#store;
    enterPut(store);
    this.#leaveLine();
    servePuts(store);
    exitPut(store);
  }

  /** Gives up its place, whatever its state. Under the latch. */
  #leaveLine(): void {
    const { puts } = this.#store;
    if (this.#place < 0) return;
    if (!leave(puts, this.#place)) {
      if (placeState(puts, this.#place) === GRANTED && !this.#isOffered) {
        useReserved(this.#store, this.#place);
      } else {
        freeServed(puts, this.#place);
      }
    }
    this.#place = -1;
  }

  #end(): true {
    this.#putting.forget(this);
    return true;
  }
}

/** One value. */
class SingleSource implements Source {
  readonly isMany = false;
  readonly need: number;
  readonly value: unknown;
  readonly #packet: Packet;
  #isDone = false;

  constructor(value: unknown, kept: Packet, store: Store) {
    this.value = value;
    this.need = needOf(kept, store);
    this.#packet = kept;
  }

  prepare(): boolean {
    return !this.#isDone;
  }

  write(store: Store): number {
    writePacket(store.ring, tailOf(store), this.#packet);
    commitPut(store, packetWords(this.#packet), 1);
    this.#isDone = true;
    return 1;
  }

  takeLarge(): Packet {
    this.#isDone = true;
    return this.#packet;
  }

  stop(): void {}
}

/** The items of an iterable: several records at a time if they come from an array. */
class IterableSource implements Source {
  readonly isMany = true;
  readonly #iterator: Iterator<unknown>;
  readonly #store: Store;
  readonly #batch: number;
  /** Records that were made and not written, one after the other. */
  #stage: Ring | undefined;
  readonly #lengths: number[] = [];
  readonly #values: unknown[] = [];
  #staged = 0;
  /** An item that is larger than the stage, or than the whole storage. */
  #large: Packet | undefined;
  #isAtEnd = false;
  /** Whether the input runs: it cannot be told to end before it has answered. */
  #isRunning = false;
  #error: { reason: unknown } | undefined;

  constructor(values: Iterable<unknown>, store: Store) {
    this.#batch = isPlainArray(values) ? BATCH : 1;
    this.#store = store;
    this.#iterator = values[Symbol.iterator]();
  }

  get need(): number {
    if (this.#lengths.length > 0) return this.#lengths[0]!;
    return this.#large === undefined ? 1 : needOf(this.#large, this.#store);
  }

  get value(): unknown {
    return this.#values[0];
  }

  prepare(): boolean {
    if (this.#lengths.length > 0 || this.#large !== undefined) return true;
    if (this.#error !== undefined) throw this.#error.reason;
    this.#staged = 0;
    while (!this.#isAtEnd && this.#lengths.length < this.#batch) {
      try {
        this.#isRunning = true;
        const next = this.#iterator.next();
        this.#isRunning = false;
        if (next.done) {
          this.#isAtEnd = true;
          break;
        }
        if (this.#isAtEnd) {
          this.#tellEnd();
          break;
        }
        this.#values.push(next.value);
        pack(packet, next.value);
        if (this.#isAtEnd) break;
      } catch (error) {
        const isItsOwn = this.#isRunning;
        this.#isRunning = false;
        // Those before it go through first.
        this.#isAtEnd = true;
        this.#error = { reason: error };
        // One that throws is not told.
        if (!isItsOwn) this.#tellEnd();
        break;
      }
      const words = packetWords(packet);
      if (this.#staged + words > STAGE_WORDS || needOf(packet, this.#store) === TURN) {
        this.#large = keep(packet);
        break;
      }
      this.#stage ??= privateRing(STAGE_WORDS);
      writePacket(this.#stage, this.#staged, packet);
      this.#staged += words;
      this.#lengths.push(words);
      // Encoding objects may run user code, which should find those before sent.
      if (typeof this.#values.at(-1) === "object") break;
    }
    if (this.#lengths.length > 0 || this.#large !== undefined) return true;
    if (this.#error !== undefined) throw (this.#error as { reason: unknown }).reason;
    return false;
  }

  write(store: Store): number {
    if (this.#lengths.length === 0) {
      writePacket(store.ring, tailOf(store), this.#large!);
      commitPut(store, packetWords(this.#large!), 1);
      this.#large = undefined;
      this.#values.shift();
      return 1;
    }
    const lengths = this.#lengths;
    let count = 1;
    let words = lengths[0]!;
    const rest = lengths.reduce((sum, length) => sum + length, 0);
    if (lengths.length > 1 && isSpare(store, words)) {
      const most = Math.min(spareItems(store), lengths.length);
      const room = spareWords(store);
      while (count < most && words + lengths[count]! <= room) words += lengths[count++]!;
    }
    copyIn(store.ring, tailOf(store), this.#stage!, this.#staged - rest, words);
    commitPut(store, words, count);
    lengths.splice(0, count);
    this.#values.splice(0, count);
    return count;
  }

  takeLarge(): Packet {
    const large = this.#large!;
    this.#large = undefined;
    this.#values.shift();
    return large;
  }

  stop(): void {
    if (this.#isAtEnd) return;
    this.#isAtEnd = true;
    if (!this.#isRunning) this.#tellEnd();
  }

  #tellEnd(): void {
    try {
      this.#iterator.return?.();
    } catch {
      // What ended the call counts, not what the input says to that.
    }
  }
}

/** The elements of a typed array: as many in one record as there is room for. */
class RunSource implements Source {
  readonly isMany = true;
  readonly #values: RunArray;
  readonly #type: number;
  readonly #size: number;
  readonly #store: Store;
  readonly #isLimited: boolean;
  /** Bytes that go in one record at the most. */
  readonly #longest: number;
  #done = 0;

  constructor(values: RunArray, type: number, store: Store) {
    this.#values = values;
    this.#type = type;
    this.#size = elementSize(type);
    this.#store = store;
    this.#isLimited = limitsOf(store.words).maxItems > 0;
    this.#longest = longestRun(store.ring);
  }

  get need(): number {
    const left = (this.#values.length - this.#done) * this.#size;
    // The first goes as a single one would, and so does each if they are counted.
    const least = this.#isLimited || this.#done === 0 ? 0 : fairRun(this.#store.ring, left);
    return recordWords(Math.max(this.#size, least));
  }

  get value(): unknown {
    return this.#values[this.#done];
  }

  prepare(): boolean {
    return this.#done < this.#values.length;
  }

  write(store: Store): number {
    const first = this.need;
    let words = first;
    let items = 1;
    if (!this.#isLimited) items = Infinity;
    if (isSpare(store, first)) {
      words = Math.max(first, spareWords(store));
      items = Math.max(1, spareItems(store));
    }
    const begin = this.#done;
    do {
      const left = this.#values.length - this.#done;
      const count = Math.min(countFor(store.ring, (words - 1) * 4, left, this.#size), items);
      if (count <= 0) break;
      const length = recordWords(count * this.#size);
      writeRun(store.ring, tailOf(store), this.#type, this.#values, this.#done, count);
      commitPut(store, length, count);
      this.#done += count;
      items -= count;
      words -= length;
      // What is too little for another time goes now.
    } while (words < recordWords(this.#longest));
    return this.#done - begin;
  }

  takeLarge(): Packet {
    throw new TypeError("Cannot put an element: it is no packet");
  }

  stop(): void {}
}

/** Words of the packet's record, `TURN` if the ring cannot hold it. */
function needOf(packet: Packet, store: Store): number {
  const words = packetWords(packet);
  return words > store.ring.mask + 1 || packet.length > MAX_PAYLOAD ? TURN : words;
}

function privateRing(size: number): Ring {
  const words = new Int32Array(1 + size);
  return { words, bytes: new Uint8Array(words.buffer), start: 1, mask: size - 1 };
}

/** The error of a call that puts into a closed queue. */
export function closedQueue(value: unknown): ClosedError {
  return new ClosedError("Cannot put into a closed Queue", { value });
}
