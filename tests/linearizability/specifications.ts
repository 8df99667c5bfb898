// Copyright 2026 the Sabre authors. MIT license.

// What each primitive promises, as a sequential object. The calls are named as those of the classes,
// without `Sync`: the forms of a call differ in how they wait, not in what they do.

import { type Call, threw } from "./history.ts";
import type { Specification } from "./wing_gong.ts";

const CLOSED = threw("ClosedError");

// -- Queue and pipe ------------------------------------------------------------------------------

interface Items {
  readonly items: readonly number[];
  /** Room set aside for puts that were served and have not stored yet. */
  readonly reserved: number;
  /** Gets that were assigned their item and have not copied it yet: its bytes are not free. */
  readonly held: number;
  /** The side that puts, or all, has closed. */
  readonly closed: boolean;
  /** What was assigned to calls of an agent that died, in its order: each may come back. */
  readonly due: readonly Due[];
  /** The order of those that came back and are the first of the items. */
  readonly back: readonly number[];
  /** Calls of the dead that do nothing any more. */
  readonly ended: readonly number[];
  /** The side that gets has closed. */
  readonly gone: boolean;
}

/** An item that a call was assigned, and where it was: it was before those with a greater order. */
interface Due {
  readonly call: number;
  readonly order: number;
  readonly item: number;
}

/** How a queue is bounded. */
export interface QueueBounds {
  /** @default {Infinity} */
  readonly maxItems?: number;
  /** Whether bytes bound it as well: it may then be full whenever something is in it. */
  readonly isSmall?: boolean;
}

/**
 * A queue. Waiting for room has two moments: room is set aside, then the item is there. That room is
 * taken for everybody else, without being an item yet. Waiting for an item has two moments, too: it is
 * assigned, then copied. Nobody else can have it in between, and its bytes are not free. A `tryPut`,
 * `tryGet` or `full` of an agent that has a promise pending there may answer for itself: it would have to
 * go ahead of it.
 */
export function queueOf({ maxItems = Infinity, isSmall = false }: QueueBounds = {}): Specification<
  Items
> {
  const used = (state: Items): number => state.items.length + state.reserved;
  const put = (state: Items, value: number): Items[] =>
    state.closed || state.gone || used(state) >= maxItems
      ? []
      : [{ ...state, items: [...state.items, value] }];
  const reserve = (state: Items): Items[] =>
    state.closed || state.gone || used(state) >= maxItems
      ? []
      : [{ ...state, reserved: state.reserved + 1 }];
  // A close in between ends it: what was set aside is of no use.
  const store = (state: Items, value: number): Items[] =>
    state.closed || state.gone
      ? []
      : [{ ...state, reserved: state.reserved - 1, items: [...state.items, value] }];
  // What was set aside for a dead agent is free again, once somebody looks.
  const storeOrEnd = (state: Items, value: number, { start, fate }: Call): Items[] => {
    if (fate !== "pending") return store(state, value);
    const ended = [...state.ended, start];
    return [...store(state, value), { ...state, reserved: state.reserved - 1, ended }];
  };
  const reserveNext = (state: Items, { start }: Call): Items[] =>
    state.ended.includes(start) ? [] : reserve(state);
  const take = (state: Items, value: unknown): Items[] =>
    state.items.length === 0 || (value !== undefined && state.items[0] !== value)
      ? []
      : [drop(state, 1)];
  const drop = (state: Items, count: number): Items => {
    return { ...state, items: state.items.slice(count), back: state.back.slice(count) };
  };
  // It may have been served, and then found that the queue was closed.
  const refuse = (state: Items, step: number): Items[] =>
    step === 0 ? [state, ...reserve(state)] : only(state, state.closed || state.gone);
  // What a call was assigned and had not copied when its agent died is there again, where it was.
  const assign = (state: Items, call: number): Items[] => {
    const order = state.back[0] ?? 1 + Math.max(0, ...state.due.map((each) => each.order));
    return take(state, undefined).map((after) =>
      hold({ ...after, due: [...state.due, { call, order, item: state.items[0]! }] })
    );
  };
  // Or it had, with some more of what was there if it wanted many.
  const endOf = (state: Items, call: number, max = 1): Items[] => {
    const due = state.due.filter((each) => each.call !== call);
    const after = { ...state, due, held: state.held - 1 };
    const ends: Items[] = [];
    const own = state.due.find((each) => each.call === call);
    if (own !== undefined) {
      const at = state.back.filter((order) => order < own.order).length;
      ends.push({
        ...after,
        items: state.items.toSpliced(at, 0, own.item),
        back: state.back.toSpliced(at, 0, own.order),
      });
    }
    for (let more = 0; more < max; more++) ends.push(drop(after, more));
    return ends;
  };
  const hold = (state: Items): Items => ({ ...state, held: state.held + 1 });
  const isTight = (state: Items): boolean => isSmall && used(state) + state.held > 0;
  const only = (state: Items, condition: boolean): Items[] => condition ? [state] : [];
  const isOfPut = ({ op }: Call): boolean => op === "put" || op === "putMany" || op === "tryPut";
  const isOfGet = ({ op }: Call): boolean => op === "get" || op === "getMany" || op === "tryGet";
  const steps = (call: Call): number => {
    if (call.fate === "refused") return 0;
    const isPending = call.fate === "pending";
    switch (call.op) {
      case "put":
        return 2;
      case "putMany":
        if (call.result === CLOSED) return 2;
        if (isPending) return 2 * (call.arg as number[]).length;
        // The next one may have been served, and ended by a close.
        return 2 * (call.result as number) +
          (call.result === (call.arg as number[]).length ? 0 : 1);
      case "get":
        return call.result === CLOSED ? 1 : 2;
      case "getMany":
        if (call.result === CLOSED) return 1;
        return isPending ? 2 : 1 + (call.result as number[]).length;
      default:
        return 1;
    }
  };
  const isOver = (state: Items): boolean => state.gone || state.closed && state.items.length === 0;

  return {
    name: `a queue of ${maxItems}${isSmall ? ", small" : ""}`,
    initial: {
      items: [],
      due: [],
      back: [],
      reserved: 0,
      held: 0,
      ended: [],
      closed: false,
      gone: false,
    },
    key({ items, due, back, reserved, held, ended, closed, gone }) {
      const parts = [items.join()];
      if (back.length > 0) parts.push(`back ${back}`);
      for (const { call, order, item } of due) parts.push(`(${call} ${order} ${item})`);
      if (reserved > 0) parts.push(`+${reserved}`);
      if (held > 0) parts.push(`-${held}`);
      if (ended.length > 0) parts.push(`ended ${ended}`);
      if (closed) parts.push("closed");
      if (gone) parts.push("gone");
      return parts.join(" ");
    },
    steps,
    // Calls of one agent take effect in their order.
    mayOvertake(earlier, done, call, step) {
      if (earlier.result === CLOSED || call.result === CLOSED || call.result === false) return true;
      // Its agent may have given it up, and died before it said so.
      if (earlier.fate === "pending" && done === 0) return true;
      if (isOfPut(earlier) && isOfPut(call)) return done >= (step === 0 ? 1 : steps(earlier));
      if (isOfGet(earlier) && isOfGet(call)) {
        // Of many, only the first: the others are those that are there when it looks.
        return call.result === "empty" || call.result === "closed" || done >= 1;
      }
      return true;
    },
    apply(state, call, step) {
      const { op, arg, result } = call;
      const isPending = call.fate === "pending";
      switch (op) {
        case "put":
          if (result === CLOSED) return refuse(state, step);
          return step === 0 ? reserve(state) : storeOrEnd(state, arg as number, call);
        case "putMany":
          if (result === CLOSED) return refuse(state, step);
          if (step === 2 * (result as number)) return [state, ...reserve(state)];
          return step % 2 === 0
            ? reserveNext(state, call)
            : storeOrEnd(state, (arg as number[])[step >> 1]!, call);
        case "tryPut":
          if (isPending || result === true) return put(state, arg as number);
          if (result === CLOSED) return only(state, state.closed || state.gone);
          return only(state, call.behind || used(state) >= maxItems || isTight(state));
        case "get":
          if (result === CLOSED) return only(state, isOver(state));
          if (step === 1) {
            return isPending ? endOf(state, call.start) : [{ ...state, held: state.held - 1 }];
          }
          return isPending ? assign(state, call.start) : take(state, result).map(hold);
        case "getMany": {
          if (result === CLOSED) return only(state, isOver(state));
          if (isPending) {
            return step === 0 ? assign(state, call.start) : endOf(state, call.start, arg as number);
          }
          const count = (result as number[]).length;
          if (step === count) return [{ ...state, held: state.held - 1 }];
          const after = take(state, (result as number[])[step]);
          return step === 0 ? after.map(hold) : after;
        }
        case "tryGet":
          if (result === "empty") {
            return only(state, call.behind || !isOver(state) && state.items.length === 0);
          }
          if (result === "closed") return only(state, isOver(state));
          return take(state, result);
        case "size":
          return only(state, isPending || state.items.length === result);
        case "empty":
          return only(state, isPending || (state.items.length === 0) === result);
        case "full":
          // It says what `tryPut` would.
          if (isPending || call.behind || isTight(state)) return [state];
          // Of a queue that was closed it means nothing.
          if (state.closed) return [state];
          // Room that was set aside is not seen while it turns into an item.
          return only(
            state,
            result === true ? used(state) >= maxItems : state.items.length < maxItems,
          );
        case "closed":
          return only(state, isPending || state.closed === result);
        case "close":
          return [{ ...state, closed: true, reserved: 0 }];
        case "leave":
          return [{ ...state, gone: true, reserved: 0 }];
        default:
          throw new TypeError(`A queue has no "${op}"`);
      }
    },
  };
}

/** One direction of a pipe: `close` is by the sender, `leave` by the receiver. */
export function pipeOf(): Specification<Items> {
  return { ...queueOf({ isSmall: true }), name: "a pipe" };
}

// -- Lock ----------------------------------------------------------------------------------------

interface Held {
  /** 0: nobody; else one more than the agent. */
  readonly owner: number;
  readonly poisoned: boolean;
  /** Its holder died, and nobody has looked since: `locked` may not know yet. */
  readonly stale: boolean;
  /** One more than the agent that died last, which does nothing any more. */
  readonly dead: number;
}

const ABANDONED = threw("AbandonedError");

function diedOf(state: Held, dead: number): Held[] {
  if (state.owner !== dead) return [{ ...state, dead }];
  const free = { ...state, owner: 0, stale: true, dead };
  return [{ ...free, poisoned: true }, free];
}

/**
 * A lock. `acquire` and `tryAcquire` return what the guard says of `abandoned`. One that recovers has two
 * moments: it takes the lock, and declares it mended. Until then the lock is both taken and abandoned. One
 * that is told of the abandonment may have been handed the lock, and gives it back.
 */
export function lock(): Specification<Held> {
  return {
    name: "a lock",
    initial: { owner: 0, poisoned: false, stale: false, dead: 0 },
    key: ({ owner, poisoned, stale, dead }) =>
      `${owner}${poisoned ? " poisoned" : ""}${stale ? " stale" : ""} ${dead}`,
    steps(call) {
      if (call.fate === "refused") return 0;
      if (call.op !== "acquire" && call.op !== "tryAcquire") return 1;
      return call.result === false || call.result === "busy" ? 1 : 2;
    },
    apply(state, call, step) {
      const me = call.agent + 1;
      const { owner, poisoned } = state;
      if (me === state.dead) return [];
      switch (call.op) {
        case "acquire":
        case "tryAcquire": {
          if (call.result === "busy") return owner !== 0 ? [state] : [];
          if (call.result === ABANDONED) {
            if (step === 1) return [owner === me ? { ...state, owner: 0 } : state];
            const taken = owner === 0 ? [{ ...state, owner: me, stale: false }] : [];
            return poisoned ? [state, ...taken] : [];
          }
          if (step === 1) return owner === me ? [{ ...state, poisoned: false }] : [];
          if (owner !== 0) return [];
          if (call.fate !== "pending" && call.result !== poisoned) return [];
          return [{ ...state, owner: me, stale: false }];
        }
        case "release":
          return owner === me ? [{ ...state, owner: 0, poisoned: false, stale: false }] : [];
        case "locked":
          if (call.fate === "pending" || state.stale && call.result === true) return [state];
          return (owner !== 0) === call.result ? [state] : [];
        case "die":
          // Of the agent in `arg`. An heir that never ran is no loss.
          return diedOf(state, (call.arg as number) + 1);
        default:
          throw new TypeError(`A lock has no "${call.op}"`);
      }
    },
  };
}

// -- Semaphore -----------------------------------------------------------------------------------

interface Permits {
  readonly available: number;
  /** Calls in line, oldest first, by start stamp, and how much each wants. */
  readonly line: readonly (readonly [number, number])[];
}

/** A semaphore, strictly in order: who comes is served at once, or lines up and is served as the first. */
export function semaphore(permits: number): Specification<Permits> {
  return {
    name: `a semaphore of ${permits}`,
    initial: { available: permits, line: [] },
    key: ({ available, line }) => `${available} | ${line.join(" ")}`,
    steps: (call) => call.op === "acquire" ? 2 : 1,
    // Calls of one agent line up in their order.
    mayOvertake: (earlier, done, call, step) =>
      earlier.op !== "acquire" || call.op !== "acquire" || step > 0 || done > 0,
    apply(state, call, step) {
      const { available, line } = state;
      const wanted = call.arg as number;
      switch (call.op) {
        case "acquire": {
          if (step === 0) return [{ available, line: [...line, [call.start, wanted]] }];
          if (call.fate === "refused") {
            return [{ available, line: line.filter(([id]) => id !== call.start) }];
          }
          if (line[0]![0] !== call.start || available < wanted) return [];
          return [{ available: available - wanted, line: line.slice(1) }];
        }
        case "tryAcquire":
          if (call.result === false) {
            return available < wanted || line.length > 0 ? [state] : [];
          }
          return available >= wanted && line.length === 0
            ? [{ available: available - wanted, line }]
            : [];
        case "release":
          return [{ available: available + wanted, line }];
        case "available":
          return call.result === available ? [state] : [];
        default:
          throw new TypeError(`A semaphore has no "${call.op}"`);
      }
    },
  };
}

// -- Event ---------------------------------------------------------------------------------------

interface Flag {
  readonly isSet: boolean;
  /** Calls that wait, and calls that were released, by start stamp. */
  readonly waiting: readonly number[];
  readonly released: readonly number[];
}

/** An event: a set releases all who wait in that moment, also if it is cleared at once. */
export function event(): Specification<Flag> {
  return {
    name: "an event",
    initial: { isSet: false, waiting: [], released: [] },
    key: ({ isSet, waiting, released }) => `${isSet} ${waiting} | ${released}`,
    steps: (call) => call.op === "wait" ? 2 : 1,
    apply(state, call, step) {
      const { isSet, waiting, released } = state;
      const id = call.start;
      switch (call.op) {
        case "wait":
          if (step === 0) {
            return isSet
              ? [{ ...state, released: ordered(released, id) }]
              : [{ ...state, waiting: ordered(waiting, id) }];
          }
          if (call.result === true) {
            return released.includes(id)
              ? [{ ...state, released: released.filter((each) => each !== id) }]
              : [];
          }
          // Timed out or aborted: nothing was set while it waited.
          return waiting.includes(id)
            ? [{ ...state, waiting: waiting.filter((each) => each !== id) }]
            : [];
        case "set":
          return [{
            isSet: true,
            waiting: [],
            released: waiting.reduce(ordered, released),
          }];
        case "clear":
          return [{ ...state, isSet: false }];
        case "isSet":
          return isSet === call.result ? [state] : [];
        default:
          throw new TypeError(`An event has no "${call.op}"`);
      }
    },
  };
}

function ordered(list: readonly number[], id: number): readonly number[] {
  return [...list, id].sort((a, b) => a - b);
}

// -- Barrier -------------------------------------------------------------------------------------

interface Round {
  readonly broken: boolean;
  /** Calls that have arrived in this round, in order, by start stamp. */
  readonly here: readonly number[];
  /** Calls whose round is over, and how. */
  readonly passed: readonly number[];
  readonly failed: readonly number[];
}

const BROKEN = threw("BrokenBarrierError");

/** A barrier. */
export function barrier(parties: number): Specification<Round> {
  return {
    name: `a barrier of ${parties}`,
    initial: { broken: false, here: [], passed: [], failed: [] },
    key: ({ broken, here, passed, failed }) => `${broken} ${here} | ${passed} | ${failed}`,
    // While it is reset it says that it is broken.
    steps: (call) => call.op === "wait" || call.op === "reset" ? 2 : 1,
    apply(state, call, step) {
      const { broken, here, passed, failed } = state;
      const id = call.start;
      const fail = (isBroken: boolean): Round[] => [{
        broken: isBroken,
        here: [],
        passed,
        failed: here.reduce(ordered, failed),
      }];
      switch (call.op) {
        case "wait": {
          if (step === 0) {
            if (broken) return [{ ...state, failed: ordered(failed, id) }];
            if (typeof call.result === "number" && call.result !== here.length) return [];
            const all = [...here, id];
            return all.length < parties
              ? [{ ...state, here: all }]
              : [{ ...state, here: [], passed: all.reduce(ordered, passed) }];
          }
          if (typeof call.result === "number") {
            return passed.includes(id)
              ? [{ ...state, passed: passed.filter((each) => each !== id) }]
              : [];
          }
          if (call.result === BROKEN) {
            return failed.includes(id)
              ? [{ ...state, failed: failed.filter((each) => each !== id) }]
              : [];
          }
          // Timed out or aborted: that breaks it for the others.
          if (!here.includes(id)) return [];
          return [{
            broken: true,
            here: [],
            passed,
            failed: here.filter((each) => each !== id).reduce(ordered, failed),
          }];
        }
        case "reset":
          return step === 0 ? fail(true) : [{ ...state, broken: false }];
        case "abort":
          return fail(true);
        case "broken":
          return broken === call.result ? [state] : [];
        case "waiting":
          return here.length === call.result ? [state] : [];
        default:
          throw new TypeError(`A barrier has no "${call.op}"`);
      }
    },
  };
}

/** For histories made by hand: a call from its parts. */
export function called(
  agent: number,
  op: string,
  arg: unknown,
  result: unknown,
  start: number,
  end: number,
): Call {
  const isRefused = result === threw("TimeoutError") || result === threw("AbortError");
  const fate = end === Infinity ? "pending" : isRefused ? "refused" : "done";
  return { agent, op, arg, result, start, end, fate, behind: false };
}
