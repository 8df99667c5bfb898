// Copyright 2026 the Sabre authors. MIT license.

// One direction of a pipe as its users call it: `_sender.ts` and `_receiver.ts` over `_channel.ts`. All
// that was sent arrives, once, in order and whole, then comes the end, also if one side dies.

import { bury, claimSlot, home, settle } from "../../../_agent.ts";
import { CHANNEL_WORDS, readerOf, type Side, writerOf } from "../../../_channel.ts";
import { EMPTY, Receiver } from "../../../_receiver.ts";
import { runType } from "../../../_record.ts";
import { ringAt } from "../../../_ring.ts";
import { Sender } from "../../../_sender.ts";
import { assert, awaitDeath, type Ending, named, oracle, type Scenario } from "../scenario.ts";

/** Something that the writer does. Values are 1 to 15, in rising order. */
export interface Sending {
  /** Sends the value, as a number of two words. */
  readonly send?: number;
  /** Sends the value, as one of one word. */
  readonly small?: number;
  /** Sends so many bytes of that value. */
  readonly bytes?: readonly [value: number, length: number];
  /** Sends them as any value. */
  readonly plain?: true;
  /** Sends these, as an array. */
  readonly many?: readonly number[];
  /** Sends these, as a typed array. */
  readonly run?: readonly number[];
  readonly close?: true;
  readonly timeout?: number;
}

/** Something that the reader does. */
export interface Receiving {
  /** Receives one. */
  readonly receive?: true;
  /** Receives so many at the most. */
  readonly upTo?: number;
  /** Receives so many at the most, into an array. */
  readonly into?: number;
  /** Receives until the end. */
  readonly all?: true;
  /** Waits for news. */
  readonly poll?: true;
  readonly close?: true;
  readonly timeout?: number;
}

export interface PipeOptions {
  /** Words of the ring, of which one is not for messages of two words and more. @default {4} */
  readonly size?: number;
  readonly deaths?: boolean;
  /** Where positions begin. */
  readonly from?: number;
}

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array;
  readonly size: number;
  /** By value: one of the states below. */
  readonly sends: Int32Array;
  /** [0] the last value that was received, [1] how many were, [2] whether the end was seen. */
  readonly seen: Int32Array;
  /** Whether the reader closes its end, so that something may be left. */
  readonly closes: boolean;
}

const TAIL = 0;
const HEAD = 32;
const OWNERS = CHANNEL_WORDS; // of the writing side, of the reading side
const RING = OWNERS + 2;

const BEGUN = 1;
const SENT = 2;
const REFUSED = 3;
const VALUES = 16;
/** Added to a value, so that it takes two words. */
const WIDE = 2 ** 26;

function sideOf(shared: Shared, which: number): Side {
  const { words, size } = shared;
  const domain = settle(shared.memory, shared.ids[which]!);
  const ring = ringAt(words, RING, size);
  return which === 0
    ? writerOf(domain, words, ring, 0, OWNERS + 1)
    : readerOf(domain, words, ring, 0, OWNERS);
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

function isExpected(error: unknown, timeout: number | undefined): boolean {
  const { name } = error as Error;
  return name === "ClosedError" || name === "TimeoutError" && timeout !== undefined;
}

/** As `Connection.sendSync` and `sendBytesSync`, which spin a little in between. */
function sendSync(sender: Sender, value: unknown, isPlain: boolean, timeout: number): void {
  const isSent = isPlain ? sender.trySend(value) : sender.trySendBytes(value as Uint8Array);
  if (isSent) return;
  const call = sender.sendCall(value, true);
  sender.calls.runSync(call, timeout, "send", "send");
}

/** As `Connection.sendManySync`, likewise. */
function sendManySync(sender: Sender, values: number[] | Int32Array, timeout: number): number {
  const type = runType(values);
  if (type !== undefined && sender.trySendRun(values as Int32Array, type)) return values.length;
  const call = sender.sendManyCall(values);
  sender.calls.runSync(call, timeout, "send", "sendMany");
  return call.count;
}

/** As `Connection.receiveManyIntoSync`, likewise. */
function receiveManyIntoSync(receiver: Receiver, target: Int32Array, timeout: number): number {
  const count = receiver.tryReceiveManyInto(target);
  if (count > 0) return count;
  const call = receiver.receiveManyIntoCall(target);
  receiver.calls.runSync(call, timeout, "receive", "receiveManyInto");
  return call.count;
}

function writer(shared: Shared, acts: readonly Sending[]): void {
  const { sends, seen } = shared;
  const sender = new Sender(sideOf(shared, 0));
  for (let i = 0; i < acts.length; i++) {
    const act = acts[i]!;
    if (act.close !== undefined) {
      sender.close();
      continue;
    }
    const { timeout = Infinity } = act;
    const values = act.many ?? act.run ?? [act.send ?? act.small ?? act.bytes![0]];
    for (const value of values) sends[value] = BEGUN;
    let count = 0;
    try {
      if (act.send !== undefined || act.small !== undefined) {
        sendSync(sender, act.small ?? WIDE + act.send!, true, timeout);
        count = 1;
      } else if (act.bytes !== undefined) {
        const bytes = new Uint8Array(act.bytes[1]).fill(act.bytes[0]);
        sendSync(sender, bytes, act.plain !== undefined, timeout);
        count = 1;
      } else {
        const list = act.run === undefined
          ? new Listed(values.map((value) => WIDE + value))
          : new Int32Array(values);
        count = sendManySync(sender, list, timeout);
      }
    } catch (error) {
      if (!isExpected(error, act.timeout)) throw error;
      // What is gone is gone for good, and for a reason.
      if ((error as Error).name === "ClosedError") {
        assert(shared.closes || seen[3] === 1, "the reader is said to be gone");
      }
    }
    for (let j = 0; j < values.length; j++) {
      const value = values[j]!;
      sends[value] = j < count ? SENT : REFUSED;
      // Not so when the other end is gone: nobody knows how much of it was read.
      const isGone = shared.closes || seen[3] === 1;
      assert(j < count || seen[0]! < value || isGone, "a message came that was not sent");
    }
  }
}

function take(shared: Shared, message: unknown): void {
  const { sends, seen } = shared;
  let value: number;
  if (typeof message === "number") {
    value = message < WIDE ? message : message - WIDE;
  } else {
    const bytes = message as Uint8Array;
    value = bytes[0]!;
    for (let i = 1; i < bytes.length; i++) assert(bytes[i] === value, "a message is torn");
  }
  assert(value > 0 && value < VALUES && sends[value] !== 0, "a message came that nobody sent");
  assert(sends[value] !== REFUSED || shared.closes, "a message came that could not be sent");
  assert(value > seen[0]!, "a message came twice or out of order");
  for (let other = seen[0]! + 1; other < value; other++) {
    assert(sends[other] !== SENT, `message ${other} was left out`);
  }
  seen[0] = value;
  seen[1] = seen[1]! + 1;
}

/** As `Connection.receiveSync`. */
function receiveSync(receiver: Receiver, timeout: number): unknown {
  const message = receiver.tryReceive();
  if (message !== EMPTY) return message;
  const call = receiver.receiveCall();
  receiver.calls.runSync(call, timeout, "receive", "receive");
  return call.value;
}

function receiveOnce(shared: Shared, receiver: Receiver, act: Receiving): void {
  const { timeout = Infinity } = act;
  if (act.upTo !== undefined) {
    const call = receiver.receiveManyCall(act.upTo);
    receiver.calls.runSync(call, timeout, "receive", "receiveMany");
    const { values } = call;
    assert(values.length > 0 && values.length <= act.upTo, "a number of messages is wrong");
    for (const value of values) take(shared, value);
  } else if (act.into !== undefined) {
    const target = new Int32Array(act.into);
    const count = receiveManyIntoSync(receiver, target, timeout);
    for (let i = 0; i < count; i++) take(shared, target[i]!);
  } else if (act.poll !== undefined) {
    receiver.pollSync(timeout);
  } else {
    const message = receiveSync(receiver, timeout);
    take(shared, message);
  }
}

function reader(shared: Shared, acts: readonly Receiving[]): void {
  const { seen } = shared;
  const receiver = new Receiver(sideOf(shared, 1), {});
  for (let i = 0; i < acts.length; i++) {
    const act = acts[i]!;
    if (act.close !== undefined) {
      receiver.close();
      continue;
    }
    do {
      try {
        receiveOnce(shared, receiver, act);
      } catch (error) {
        if (!isExpected(error, act.timeout)) throw error;
        if ((error as Error).name === "ClosedError") seen[2] = 1;
      }
    } while (act.all !== undefined && seen[2] === 0);
  }
}

function reaper(shared: Shared): void {
  const { memory, ids, seen } = shared;
  const domain = settle(memory, ids[2]!);
  for (;;) {
    const dead = awaitDeath();
    if (dead === 1) seen[3] = 1;
    bury(domain, ids[dead]!);
  }
}

function audit(shared: Shared, { fates }: Ending): void {
  const { sends, seen, words } = shared;
  if (seen[2] === 1 && fates[1] === "done" && !shared.closes) {
    // The end was seen: then everything before it was.
    for (let value = 1; value < VALUES; value++) {
      assert(sends[value] !== SENT || value <= seen[0]!, `message ${value} was lost`);
    }
    // Beside the bits of both sides.
    assert(((words[HEAD]! ^ words[TAIL]!) & ~3) === 0, "something was left behind the end");
  }
  if (fates.includes("dead") || shared.closes || seen[2] === 1) return;
  assert(!fates.includes("blocked"), "a side is blocked");
}

export function pipe(
  sending: readonly Sending[],
  receiving: readonly Receiving[],
  options: PipeOptions = {},
): Scenario<Shared> {
  const { size = 4, deaths = false, from = 0 } = options;
  const name = [sending, receiving].map((each) =>
    each.map((act) => Object.entries(act).map(([key, value]) => `${key} ${value}`).join(" ")).join(
      ", ",
    )
  ).join(" | ");
  const closes = receiving.some((act) => act.close !== undefined);
  return {
    name: `pipe of ${size} words: ${name}${deaths ? "; deaths" : ""}`,
    setup: () => {
      const { memory, words: table, id } = home();
      named("domain", memory);
      const ids = [id, claimSlot(table, "reader", 0), claimSlot(table, "reaper", 0)];
      const words = new Int32Array(named("pipe", new SharedArrayBuffer((RING + size) * 4)));
      words[TAIL] = words[HEAD] = from << 2;
      words[OWNERS] = ids[0]!;
      words[OWNERS + 1] = ids[1]!;
      return { memory, ids, words, size, sends: oracle(VALUES), seen: oracle(4), closes };
    },
    agents: [
      { name: "writer", run: (shared: Shared) => writer(shared, sending) },
      { name: "reader", run: (shared: Shared) => reader(shared, receiving) },
      ...(deaths ? [{ name: "reaper", daemon: true, run: reaper }] : []),
    ],
    atEnd: audit,
  };
}
