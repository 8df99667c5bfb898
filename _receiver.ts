// Copyright 2026 the Sabre authors. MIT license.

// The receiving half of a pipe's end: records become messages, pieces are gathered.

import { unpark } from "./_agent.ts";
import { decode } from "./_codec.ts";
import { Call, Calls, isUntouched, whileServing } from "./_calls.ts";
import {
  closeReader,
  hasRecord,
  isWriterGone,
  newsIndex,
  release,
  seenWord,
  type Side,
  wantRecord,
  wordsThere,
} from "./_channel.ts";
import { show } from "./_options.ts";
import {
  BYTES,
  countIn,
  FIRST_BYTES,
  FIRST_HEAD,
  FIRST_VALUE,
  isIntHeader,
  isSound,
  lengthIn,
  PIECE,
  readElement,
  readInt,
  readInto,
  readMessage,
  readPayload,
  readRunInto,
  RUN,
  type RunArray,
  totalIn,
  typeIn,
  VALUE,
  wordsOf,
  wordsOfInt,
} from "./_record.ts";
import { damaged, readWord } from "./_ring.ts";
import { Spinner, spinWhile } from "./_park.ts";
import { type News, waitAsync, waitSync } from "./_wait.ts";
import { ClosedError } from "./errors.ts";

/** Nothing is there yet. */
export const EMPTY: unique symbol = Symbol("empty");

/** What must not be collected, as it alone knows how far a record or a message was received. */
const unfinished = new Set<object>();

/** Words that are little to find at a look. */
const LITTLE = 64;

export class Receiver {
  readonly side: Side;
  /** The public object, which lives as long as something is half received: the one for this end. */
  readonly #face: object;
  readonly calls: Calls;
  /** What came of a message that is larger than the ring. */
  readonly #pieces = new Pieces();
  readonly #spinner = new Spinner();
  #isClosed = false;

  constructor(side: Side, face: object) {
    const { ring, own, index } = side;
    // Written by the last owner of this end.
    if (index !== 0 && !isSound(ring, readWord(ring, own), index)) throw damaged("read");
    this.side = side;
    this.#face = face;
    this.calls = new Calls(side.domain, () => wantRecord(side));
    this.#hold();
  }

  /** The next message if no call waits and one is there, else `EMPTY`. */
  tryReceive(): unknown {
    if (!this.calls.isFree()) return EMPTY;
    const { side } = this;
    // The shortest way for the most frequent message. All else comes to the same.
    if (!this.isHalfway && this.#hasRecord()) {
      const header = readWord(side.ring, side.own);
      if (isIntHeader(header)) {
        const value = readInt(side.ring, side.own, header);
        release(side, wordsOfInt(header, side.own));
        return value;
      }
    }
    return this.take();
  }

  /** The same for a message that must be bytes. */
  tryReceiveBytes(): Uint8Array | typeof EMPTY {
    return this.calls.isFree() ? this.takeBytes() : EMPTY;
  }

  /** The same for bytes that go into memory of the caller; their length. */
  tryReceiveBytesInto(target: Uint8Array, isLent: boolean): number | typeof EMPTY {
    return this.calls.isFree() ? this.takeBytesInto(target, isLent) : EMPTY;
  }

  /** Fills the target from its start with numbers if no call waits and some are there; how many. */
  tryReceiveManyInto(target: RunArray): number {
    return this.calls.isFree() ? this.takeInto(target) : 0;
  }

  /** Whether nothing more will come. */
  isAtEnd(): boolean {
    // In this order: what was sent before the end is still received.
    const isAtEnd = isWriterGone(this.side) && !this.isReady();
    // The rest of a message of which a part has come will not.
    if (isAtEnd && this.isHalfway) this.#dropPieces();
    return isAtEnd;
  }

  /** Whether there is a whole message to take. */
  isReady(): boolean {
    return this.#front() >= 0;
  }

  /** Whether a message is half received, so that the end cannot change hands. */
  get isHalfway(): boolean {
    return this.#pieces.isBegun;
  }

  receiveCall(): ValueCall {
    return new ValueCall(this, () => this.take());
  }

  receiveManyCall(max: number): ManyCall {
    return new ManyCall(this, max);
  }

  receiveManyIntoCall(target: RunArray): IntoCall {
    return new IntoCall(this, target);
  }

  receiveBytesCall(): ValueCall {
    return new ValueCall(this, () => this.takeBytes());
  }

  receiveBytesIntoCall(target: Uint8Array, isLent: boolean): ValueCall {
    return new ValueCall(this, () => this.takeBytesInto(target, isLent));
  }

  /** Says that what was lent is the caller's again: what has come of a message is kept elsewhere. */
  giveBack(): void {
    if (this.#pieces.isLent) this.#pieces.giveBack();
  }

  /** Whether there is something to take, or the end, before the time is over. */
  async poll(timeout: number, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#isNews()) return true;
    return timeout > 0 && await waitAsync(this.side.domain, this.news(), timeout, signal);
  }

  pollSync(timeout: number): boolean {
    if (this.#isNews()) return true;
    return timeout > 0 &&
      waitSync(this.side.domain, whileServing(this.news()), timeout, "poll");
  }

  /** A wait for something to take, or the end, that takes nothing and stands in nobody's way. */
  news(): News {
    return {
      domain: this.side.domain,
      isReady: () => this.#isNews(),
      poll: () => {
        if (this.#isNews()) return true;
        wantRecord(this.side);
        return this.#isNews();
      },
      withdraw: () => true,
      what: this.calls.what,
    };
  }

  #isNews(): boolean {
    if (this.#isClosed) {
      throw new ClosedError("Cannot poll: this end of the pipe was closed, or given away");
    }
    return this.isReady() || isWriterGone(this.side);
  }

  /** Waits a little for news, as that is quicker than going to sleep. */
  spin(): void {
    if (this.calls.waiting.length > 0) return;
    const index = newsIndex(this.side);
    this.#spinner.spin(this.side.words, index, seenWord(this.side, index));
  }

  close(): void {
    this.end();
    closeReader(this.side);
  }

  /** Looks at it no more, also those who poll: it is closed, or another agent's. */
  end(): void {
    this.#isClosed = true;
    unfinished.delete(this.#face);
    unpark(this.side.domain, this.side.domain.id);
  }

  /** The next message, or `EMPTY`. A damaged one is dropped, if the caller can say so. */
  take(mayDrop = true): unknown {
    const type = this.#front();
    if (type < 0) return EMPTY;
    if (this.#pieces.isWhole) return this.#takePieces(mayDrop);
    const { side } = this;
    const header = readWord(side.ring, side.own);
    if (type >= RUN) {
      const element = readElement(side.ring, side.own, type, side.index);
      this.#taken(header, 1);
      return element;
    }
    let message: unknown;
    try {
      message = readMessage(side.ring, side.own, header);
    } catch (error) {
      // What is damaged stays so. A message that was too deep for this stack may fit another one.
      if (mayDrop && error instanceof TypeError) {
        release(side, wordsOf(side.ring, header, side.own));
      }
      throw error;
    }
    release(side, wordsOf(side.ring, header, side.own));
    return message;
  }

  /** The next message as bytes, or `EMPTY`. Any other message stays. */
  takeBytes(): Uint8Array | typeof EMPTY {
    const type = this.#front();
    if (type < 0) return EMPTY;
    this.#checkBytes(type);
    if (this.#pieces.isWhole) return this.#takePieces(true) as Uint8Array;
    const { side } = this;
    const header = readWord(side.ring, side.own);
    const bytes = readPayload(side.ring, side.own, lengthIn(side.ring, header));
    release(side, wordsOf(side.ring, header, side.own));
    return bytes;
  }

  /**
   * Copies the next message to the target and returns its length, or `EMPTY`. The pieces of a message
   * may go straight into a target that is lent until `giveBack`.
   */
  takeBytesInto(target: Uint8Array, isLent: boolean): number | typeof EMPTY {
    const type = this.#front(isLent ? target : undefined);
    if (type < 0) return EMPTY;
    this.#checkBytes(type);
    const { side } = this;
    const pieces = this.#pieces;
    const header = pieces.isWhole ? 0 : readWord(side.ring, side.own);
    const length = pieces.isWhole ? pieces.length : lengthIn(side.ring, header);
    if (length > target.length) {
      throw new RangeError(
        `Cannot receive bytes into the target as the message has ${length} bytes: the target has ${target.length}`,
      );
    }
    if (pieces.isWhole) {
      if (pieces.bytes !== target) target.set(pieces.bytes.subarray(0, length));
      this.#dropPieces();
    } else {
      readInto(side.ring, side.own, 0, target, 0, length);
      release(side, wordsOf(side.ring, header, side.own));
    }
    return length;
  }

  /** Up to `max` messages that are there. */
  takeMany(max: number, into: unknown[]): void {
    while (into.length < max) {
      let message: unknown;
      try {
        message = this.take(into.length === 0);
      } catch (error) {
        // It stays in front, so that the next call reports it.
        if (into.length === 0) throw error;
        return;
      }
      if (message === EMPTY) return;
      into.push(message);
    }
  }

  /** Fills the target from its start with numbers that are there; returns how many. */
  takeInto(target: RunArray): number {
    // Its memory was detached while the call waited.
    if (target.length === 0) {
      throw new TypeError("Cannot receive into the target: it has no room any more");
    }
    let at = 0;
    try {
      while (at < target.length) {
        const next = this.#takeRecordInto(target, at);
        if (next === at) break;
        at = next;
      }
    } catch (error) {
      // It stays in front, so that the next call reports it.
      if (at === 0) throw error;
    }
    return at;
  }

  /** Copies numbers of the record in front to `target[at..]`; returns where it stopped. */
  #takeRecordInto(target: RunArray, at: number): number {
    const { side } = this;
    const wanted: string = typeof target[0];
    const type = this.#front();
    if (type < 0) return at;
    if (this.#pieces.isWhole) {
      // Only a bigint is as long as that.
      const message = this.#pieces.isBytes ? undefined : this.#pieces.read();
      if (!isOf(message, wanted)) throw notNumber(wanted, this.#pieces.isBytes, message);
      target[at] = message as bigint;
      this.#dropPieces();
      return at + 1;
    }
    const header = readWord(side.ring, side.own);
    if (type < RUN) {
      const message = type === BYTES ? undefined : readMessage(side.ring, side.own, header);
      if (!isOf(message, wanted)) throw notNumber(wanted, type === BYTES, message);
      target[at] = message as number;
      release(side, wordsOf(side.ring, header, side.own));
      return at + 1;
    }
    const left = countIn(side.ring, header) - side.index;
    if (left <= 0) throw damaged("read");
    const count = Math.min(left, target.length - at);
    if (readRunInto(side.ring, side.own, type, side.index, target, at, count)) {
      this.#taken(header, count);
      return at + count;
    }
    const element = readElement(side.ring, side.own, type, side.index);
    if (!isOf(element, wanted)) throw notNumber(wanted, false, element);
    target[at] = element;
    this.#taken(header, 1);
    return at + 1;
  }

  /** Whether a record is there. */
  #hasRecord(): boolean {
    return wordsThere(this.side) > 0 || this.#look();
  }

  #look(): boolean {
    this.#spinner.keepAway();
    const isFound = hasRecord(this.side);
    this.#spinner.note(isFound, wordsThere(this.side) < LITTLE);
    return isFound;
  }

  /** The type of the record in front, having gathered pieces on the way; -1: nothing whole is there. */
  #front(lent?: Uint8Array): number {
    const { side } = this;
    const pieces = this.#pieces;
    for (;;) {
      if (pieces.isWhole) return pieces.isBytes ? BYTES : VALUE;
      if (!this.#hasRecord()) return -1;
      const header = readWord(side.ring, side.own);
      const type = typeIn(header);
      // What is past the end was never written: reading on there might find no end at all.
      if (wordsOf(side.ring, header, side.own) > wordsThere(side)) throw damaged("read");
      if (type < FIRST_VALUE || type >= RUN) {
        // The writer gave up the message that these pieces were of.
        if (pieces.isBegun) this.#dropPieces();
        return type;
      }
      const skip = type === PIECE ? 0 : FIRST_HEAD;
      const length = lengthIn(side.ring, header) - skip;
      const total = type === PIECE ? pieces.total : totalIn(side.ring, side.own);
      // A first piece is never the whole.
      const left = type === PIECE ? total - pieces.length : total - 1;
      if (length < 0 || length > left) throw damaged("read");
      if (type !== PIECE) pieces.begin(type === FIRST_BYTES, total, lent);
      pieces.makeRoom(length);
      readInto(side.ring, side.own, skip, pieces.bytes, pieces.length, length);
      // Only now, as the copy may fail and is made again then.
      pieces.length += length;
      // First, as what was released is nowhere else.
      this.#hold();
      release(side, wordsOf(side.ring, header, side.own));
    }
  }

  #takePieces(mayDrop: boolean): unknown {
    let message: unknown;
    try {
      message = this.#pieces.read();
    } catch (error) {
      // As of any other message.
      if (mayDrop && error instanceof TypeError) this.#dropPieces();
      throw error;
    }
    this.#dropPieces();
    return message;
  }

  #dropPieces(): void {
    this.#pieces.clear();
    this.#hold();
  }

  /** Has the public object live as long as there is something to know that the memory does not tell. */
  #hold(): void {
    if (this.side.index !== 0 || this.isHalfway) unfinished.add(this.#face);
    else unfinished.delete(this.#face);
  }

  #taken(header: number, count: number): void {
    const { side } = this;
    const isFirst = side.index === 0;
    side.index += count;
    const isWhole = side.index >= countIn(side.ring, header);
    if (isWhole) side.index = 0;
    if (isFirst !== isWhole) this.#hold();
    if (!isWhole) return;
    release(side, wordsOf(side.ring, header, side.own));
  }

  #checkBytes(type: number): void {
    if (type !== BYTES) {
      throw new TypeError("Cannot receive bytes: the next message is of another kind");
    }
  }
}

function isOf(value: unknown, wanted: string): boolean {
  const type: string = typeof value;
  return type === wanted;
}

function notNumber(wanted: string, isBytes: boolean, found: unknown): TypeError {
  const what = isBytes ? "a Uint8Array" : show(found);
  return new TypeError(
    `Cannot receive into the target as the next message must be a ${wanted}: it is ${what}`,
  );
}

const NONE = new Uint8Array(0);
/** Bytes of memory that are kept for the next message at the most. */
const MOST_KEPT = 1 << 21;

/** The pieces of one message, in private memory that grows with what has come, or in a target. */
class Pieces {
  /** Kept for the next message, as fresh memory costs more than the copy. */
  #own = NONE;
  /** Where the pieces are: `#own`, or what was lent. */
  bytes = NONE;
  /** Bytes that have come, and that the message has; -1: none has begun. */
  length = 0;
  total = -1;
  isBytes = false;

  get isBegun(): boolean {
    return this.total >= 0;
  }

  get isWhole(): boolean {
    return this.length === this.total;
  }

  get isLent(): boolean {
    return this.bytes !== this.#own;
  }

  begin(isBytes: boolean, total: number, lent: Uint8Array | undefined): void {
    this.clear();
    this.total = total;
    this.isBytes = isBytes;
    if (lent !== undefined && isBytes && total <= lent.length && isUntouched(lent)) {
      this.bytes = lent;
    }
  }

  /** Makes room for so many bytes more. */
  makeRoom(length: number): void {
    const end = this.length + length;
    if (end <= this.bytes.length) return;
    this.#move(Math.min(Math.max(end, this.bytes.length * 2), this.total));
  }

  /** Keeps what has come in memory of its own. */
  giveBack(): void {
    this.#move(Math.max(this.length, this.#own.length));
  }

  #move(size: number): void {
    const bytes = size > this.#own.length ? new Uint8Array(size) : this.#own;
    bytes.set(this.bytes.subarray(0, this.length));
    this.bytes = this.#own = bytes;
  }

  /** The message, once it is whole. */
  read(): unknown {
    const { bytes, length } = this;
    return this.isBytes ? bytes.slice(0, length) : decode(bytes, 0, length);
  }

  clear(): void {
    if (this.#own.length > MOST_KEPT) this.#own = NONE;
    this.bytes = this.#own;
    this.length = 0;
    this.total = -1;
  }
}

/** A call that takes one message. */
export class ValueCall extends Call {
  value: unknown = EMPTY;
  readonly #receiver: Receiver;
  readonly #take: () => unknown;

  constructor(receiver: Receiver, take: () => unknown) {
    super(receiver.calls);
    this.#receiver = receiver;
    this.#take = take;
  }

  protected step(): boolean {
    this.value = this.#take();
    if (this.value !== EMPTY) return true;
    if (this.#receiver.isAtEnd()) throw atEnd();
    return false;
  }

  protected override spin(): boolean {
    const { side, isHalfway } = this.#receiver;
    return isHalfway && spinWhile(side.words, newsIndex(side), seenWord(side, newsIndex(side)));
  }
}

/** A call that takes up to `max` messages. */
export class ManyCall extends Call {
  readonly values: unknown[] = [];
  readonly #receiver: Receiver;
  readonly #max: number;

  constructor(receiver: Receiver, max: number) {
    super(receiver.calls);
    this.#receiver = receiver;
    this.#max = max;
  }

  override get isPartial(): boolean {
    return this.values.length > 0;
  }

  protected step(): boolean {
    this.#receiver.takeMany(this.#max, this.values);
    if (this.values.length > 0) return true;
    if (this.#receiver.isAtEnd()) throw atEnd();
    return false;
  }
}

/** A call that fills an array with numbers. */
export class IntoCall extends Call {
  count = 0;
  readonly #receiver: Receiver;
  readonly #target: RunArray;

  constructor(receiver: Receiver, target: RunArray) {
    super(receiver.calls);
    this.#receiver = receiver;
    this.#target = target;
  }

  protected step(): boolean {
    this.count = this.#receiver.takeInto(this.#target);
    if (this.count > 0) return true;
    if (this.#receiver.isAtEnd()) throw atEnd();
    return false;
  }
}

/** The error of a call that can receive nothing any more. */
export function atEnd(): ClosedError {
  return new ClosedError("Cannot receive: the other end is closed and nothing is left");
}
