// Copyright 2026 the Sabre authors. MIT license.

// The sending half of a pipe's end: messages become records, records wait for room.

import { Call, Calls, isUntouched } from "./_calls.ts";
import {
  closeWriter,
  fetchAhead,
  hasRoom,
  isReaderGone,
  publish,
  room,
  roomIndex,
  seenWord,
  type Side,
  spinForRoom,
  wantRoom,
} from "./_channel.ts";
import {
  countFor,
  elementSize,
  fairRun,
  FIRST_HEAD,
  intWords,
  isInt,
  isPlainArray,
  keep,
  longestRun,
  MAX_PAYLOAD,
  newPacket,
  pack,
  packBytes,
  type Packet,
  payloadWithin,
  recordWords,
  type RunArray,
  runType,
  shortestWords,
  writeFirst,
  writeInt,
  writePiece,
  writeRun,
  writeShortest,
} from "./_record.ts";
import { spinWhile } from "./_park.ts";
import { steadyArray, typedArrayBuffer } from "./_views.ts";
import { ClosedError } from "./errors.ts";

/** Messages of a batch that are published together at the most. */
const BATCH = 64;

/** Only within one call that runs no user code. */
const packet = newPacket();

export class Sender {
  readonly side: Side;
  readonly calls: Calls;

  /** Whether this agent has closed the end, or given it away. */
  #isOver = false;

  constructor(side: Side) {
    this.side = side;
    this.calls = new Calls(side.domain, () => wantRoom(side));
  }

  /** Sends the value if no call waits and there is room. Throws if nobody will receive it. */
  trySend(value: unknown): boolean {
    const { side } = this;
    // The shortest way for the most frequent message. All else comes to the same.
    if (typeof value === "number" && isInt(value) && this.calls.waiting.length === 0) {
      const words = intWords(value, side.own);
      if (hasRoom(side, words)) {
        writeInt(side.ring, side.own, value);
        if (!publish(side, words)) throw closedPeer(value);
        return true;
      }
    }
    // First, as the calls that proceed use the same packet.
    const isFree = this.calls.isFree();
    // Nobody else may write there: not a call of this agent's, nor one to which the end was given.
    if (isFree && !this.#isOver && typeof value !== "number") fetchAhead(side);
    pack(packet, value);
    this.assertOpen(value);
    const words = shortestWords(packet, side.own);
    if (!isFree || this.calls.waiting.length > 0) return false;
    if (!isOrdinary(side, packet) || !hasRoom(side, words)) return false;
    writeShortest(side.ring, side.own, packet);
    if (!publish(side, words)) throw closedPeer(value);
    return true;
  }

  /** The same for bytes as they are. */
  trySendBytes(bytes: Uint8Array): boolean {
    const { side } = this;
    // First, as the calls that proceed use the same packet.
    const isFree = this.calls.isFree();
    packBytes(packet, bytes);
    if (packet.length === 0) assertAttached(bytes);
    this.assertOpen(bytes);
    const words = shortestWords(packet, side.own);
    if (!isFree || !isOrdinary(side, packet) || !hasRoom(side, words)) return false;
    writeShortest(side.ring, side.own, packet);
    if (!publish(side, words)) throw closedPeer(bytes);
    return true;
  }

  /**
   * Sends all elements of an array if no call waits and there is room for them in one record. Returns how
   * many that are, 0 if they were not sent.
   */
  trySendRun(values: RunArray, type: number): number {
    const { side } = this;
    // First, as the calls that proceed move the position, and their input may change the array.
    if (!this.calls.isFree()) return 0;
    this.assertOpen(values[0]);
    // Once, as another agent may make it grow.
    const { length } = values;
    const bytes = length * elementSize(type);
    const words = recordWords(bytes, side.own);
    if (bytes === 0 || bytes > longestRun(side.ring) || !hasRoom(side, words)) return 0;
    writeRun(side.ring, side.own, type, values, 0, length);
    if (!publish(side, words)) throw closedPeer(values[0]);
    return length;
  }

  /** Whether the message that could not be sent just now is larger than the whole storage. */
  isTooLarge(): boolean {
    return !isOrdinary(this.side, packet);
  }

  /** Bytes of the longest message that can go at once. */
  get longest(): number {
    return longest(this.side);
  }

  /** Whether nobody will receive what is sent. */
  get isPeerGone(): boolean {
    return isReaderGone(this.side);
  }

  /** A call that sends what the last try could not. Copies it, unless nobody can touch it meanwhile. */
  sendCall(value: unknown, blocks: boolean): Call {
    const own = blocks && isUntouched(packet.bytes) ? packet : keep(packet);
    return new SendCall(this, value, own);
  }

  /** A call that sends many messages: those of a typed array in runs, if they can travel so. */
  sendManyCall(values: Iterable<unknown> | RunArray): ManyCall {
    const type = runType(values);
    return type === undefined
      ? new IterableCall(this, values as Iterable<unknown>)
      : new RunCall(this, steadyArray(values as RunArray), type);
  }

  /** Throws if this agent has closed the end or given it away, which user code may do at any time. */
  assertOpen(value: unknown): void {
    if (!this.#isOver) return;
    throw new ClosedError("Cannot send: this end of the pipe was closed", { value });
  }

  /** Sends no more: also not what is being encoded, which may be what ends it. */
  end(): void {
    this.#isOver = true;
  }

  /** Waits a little for room for what the last try could not send, as that is quicker than going to sleep. */
  spin(): void {
    if (this.calls.waiting.length > 0) return;
    spinForRoom(this.side);
  }

  close(): void {
    this.end();
    closeWriter(this.side);
  }
}

/** A call that sends many messages, and counts those that went through. */
export abstract class ManyCall extends Call {
  count = 0;
  protected readonly side: Side;
  #spunAt = -1;

  constructor({ calls, side }: Sender) {
    super(calls);
    this.side = side;
  }

  override get isPartial(): boolean {
    return this.count > 0;
  }

  /** Waits a little for room, if it has come further since it last did so. */
  protected override spin(): boolean {
    if (this.#spunAt === this.count) return false;
    this.#spunAt = this.count;
    return spinForRoom(this.side);
  }
}

class SendCall extends Call {
  readonly #writing: Writing;

  constructor(sender: Sender, value: unknown, packet: Packet) {
    super(sender.calls);
    this.#writing = new Writing(sender.side, value, packet);
  }

  override get unsent(): unknown {
    return this.#writing.value;
  }

  protected step(): boolean {
    return this.#writing.step();
  }

  protected override spin(): boolean {
    return this.#writing.spin();
  }
}

class IterableCall extends ManyCall {
  readonly #sender: Sender;
  readonly #iterator: Iterator<unknown>;
  /** Arrays run no user code, so that several of their items may be published together. */
  readonly #batch: number;
  #writing: Writing | undefined;
  #unpublished = 0;
  #words = 0;
  #closed = false;
  #isStopped = false;
  /** Whether it was ended from outside, which its own input may do. */
  #isEnded = false;
  #first: unknown;

  constructor(sender: Sender, values: Iterable<unknown>) {
    super(sender);
    this.#sender = sender;
    this.#batch = isPlainArray(values) ? BATCH : 1;
    this.#iterator = values[Symbol.iterator]();
  }

  override get unsent(): unknown {
    return this.#writing?.value;
  }

  protected step(): boolean {
    try {
      return this.#proceed();
    } finally {
      this.#publish();
    }
  }

  override fail(reason: unknown): void {
    // An accessor of the array may be what ends it, and then goes on to send: behind what was written.
    if (!this.#isEnded) this.#publish();
    this.#isEnded = true;
    super.fail(reason);
    this.#stop();
  }

  override withdraw(): boolean {
    if (!super.withdraw()) return false;
    // Likewise.
    this.#publish();
    this.#isEnded = true;
    this.#stop();
    return true;
  }

  /** Tells the input that nothing more is wanted of it. */
  #stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    try {
      this.#iterator.return?.();
    } catch {
      // What ended the call counts, not what the input says to that.
    }
  }

  #next(): IteratorResult<unknown> {
    // One that throws, or is done, is not told.
    this.#isStopped = true;
    const next = this.#iterator.next();
    this.#isStopped = next.done === true;
    return next;
  }

  #proceed(): boolean {
    for (;;) {
      if (this.#writing !== undefined) {
        this.#publish();
        try {
          if (!this.#writing.step()) return false;
        } catch (error) {
          this.#stop();
          if (this.count > 0 && error instanceof ClosedError) return true;
          throw error;
        }
        this.#writing = undefined;
        this.count++;
      }
      if (this.#closed) {
        this.#stop();
        return true;
      }
      if (!this.mayGoOn(this.#batch === 1 ? 3 : BATCH - 1)) return false;
      const next = this.#next();
      if (next.done) return true;
      if (!this.#isEnded) this.#send(next.value);
      if (this.#isEnded) {
        this.#stop();
        return true;
      }
    }
  }

  #send(value: unknown): void {
    const side = this.side;
    // Encoding it may run user code, which should find everything sent that was before it.
    if (typeof value === "object") this.#publish();
    pack(packet, value);
    if (this.#isEnded) return;
    this.#sender.assertOpen(value);
    const at = (side.own + this.#words) | 0;
    const words = shortestWords(packet, at);
    if (isOrdinary(side, packet) && hasRoom(side, this.#words + words)) {
      if (this.#words === 0) this.#first = value;
      writeShortest(side.ring, at, packet);
      this.#words += words;
      if (++this.#unpublished >= this.#batch) this.#publish();
    } else {
      this.#writing = new Writing(side, value, keep(packet));
    }
  }

  #publish(): void {
    if (this.#words === 0) return;
    const words = this.#words;
    const count = this.#unpublished;
    this.#words = 0;
    this.#unpublished = 0;
    if (publish(this.side, words)) {
      this.count += count;
    } else {
      this.#closed = true;
      if (this.count === 0) throw closedPeer(this.#first);
    }
  }
}

class RunCall extends ManyCall {
  readonly #values: RunArray;
  readonly #type: number;

  constructor(sender: Sender, values: RunArray, type: number) {
    super(sender);
    this.#values = values;
    this.#type = type;
  }

  override get unsent(): unknown {
    return this.#values[this.count];
  }

  protected step(): boolean {
    const side = this.side;
    const size = elementSize(this.#type);
    const { length } = this.#values;
    while (this.count < length) {
      if (!this.mayGoOn(3)) return false;
      const left = (length - this.count) * size;
      // The first goes as one would.
      const least = this.count === 0 ? size : fairRun(side.ring, left);
      if (!hasRoom(side, recordWords(least, side.own))) {
        if (isReaderGone(side)) {
          if (this.count > 0) return true;
          throw closedPeer(this.#values[0]);
        }
        if (this.count > 0 || !this.#sendFirst()) return false;
      } else if (!this.#fill(room(side))) {
        if (this.count > 0) return true;
        throw closedPeer(this.#values[0]);
      }
    }
    return true;
  }

  /** Sends what there is room for in that many words. Returns whether there is somebody to read it. */
  #fill(words: number): boolean {
    const side = this.side;
    const size = elementSize(this.#type);
    const end = side.own + words;
    for (;;) {
      const room = payloadWithin((end - side.own) | 0, side.own);
      const count = countFor(side.ring, room, this.#values.length - this.count, size);
      if (count <= 0) return true;
      writeRun(side.ring, side.own, this.#type, this.#values, this.count, count);
      if (!publish(side, recordWords(count * size, side.own))) return false;
      this.count += count;
    }
  }

  /** Sends the first element as a single number, which may take less than a run of one. */
  #sendFirst(): boolean {
    const side = this.side;
    pack(packet, this.#values[0]);
    const words = shortestWords(packet, side.own);
    if (!hasRoom(side, words)) return false;
    writeShortest(side.ring, side.own, packet);
    if (!publish(side, words)) throw closedPeer(this.#values[0]);
    this.count = 1;
    return true;
  }
}

/** One message on its way, in one record or in pieces. */
class Writing {
  readonly value: unknown;
  readonly #side: Side;
  readonly #packet: Packet;
  #isBegun = false;
  #sent = 0;

  constructor(side: Side, value: unknown, packet: Packet) {
    this.#side = side;
    this.value = value;
    this.#packet = packet;
  }

  step(): boolean {
    const side = this.#side;
    const packet = this.#packet;
    if (isReaderGone(side)) throw closedPeer(this.value);
    if (isOrdinary(side, packet)) {
      const words = shortestWords(packet, side.own);
      if (!hasRoom(side, words)) return false;
      writeShortest(side.ring, side.own, packet);
      if (!publish(side, words)) throw closedPeer(this.value);
      return true;
    }
    for (;;) {
      const left = packet.length - this.#sent;
      // Not for each freed word: a quarter of the ring, or what is left. Another quarter stays free,
      // so that a message that is given up half-way keeps no later one out.
      const quarter = (side.ring.mask + 1) >> 2;
      const free = room(side);
      // The first piece is never the last, as the reader relies on.
      const head = this.#isBegun ? 0 : FIRST_HEAD;
      const isLast = this.#isBegun && left <= MAX_PAYLOAD && recordWords(left, side.own) <= free;
      const odd = side.own & 1;
      if (!isLast && free < 2 * quarter + odd) return false;
      // No more than a quarter at once, so that the reader copies one while the next is written. By eight
      // bytes, as the next one should be aligned as well.
      const most = Math.min(payloadWithin(quarter + odd, side.own), MAX_PAYLOAD) & ~7;
      const length = isLast ? left : most - head;
      if (this.#isBegun) writePiece(side.ring, side.own, packet, this.#sent, length);
      else writeFirst(side.ring, side.own, packet, length);
      this.#isBegun = true;
      this.#sent += length;
      if (!publish(side, recordWords(length + head, side.own))) throw closedPeer(this.value);
      if (isLast) return true;
    }
  }

  /** Waits a little for room for the next piece: the reader is still busy with those before it. */
  spin(): boolean {
    const side = this.#side;
    if (isOrdinary(side, this.#packet)) return false;
    return spinWhile(side.words, roomIndex(side), seenWord(side, roomIndex(side)));
  }
}

/** Whether the packet goes in one record, if there is room. */
function isOrdinary(side: Side, packet: Packet): boolean {
  return packet.length <= longest(side);
}

/** Bytes of the longest payload of one record: with its header, and a word left empty before and behind it. */
function longest({ ring }: Side): number {
  return Math.min((ring.mask - 2) * 4, MAX_PAYLOAD);
}

/** A view on a buffer that was detached has no bytes left, which is not what was meant. */
function assertAttached(bytes: Uint8Array): void {
  const buffer = typedArrayBuffer.call(bytes);
  if (!(buffer instanceof ArrayBuffer) || !buffer.detached) return;
  throw new DOMException("Cannot send bytes: their buffer was detached", "DataCloneError");
}

function closedPeer(value: unknown): ClosedError {
  return new ClosedError("Cannot send: the other end is closed", { value });
}
