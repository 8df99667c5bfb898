// Copyright 2026 the Sabre authors. MIT license.

// Whether a history is linearizable: whether every call can be given a moment between its start and
// its end such that, in that order, a sequential specification answers what the calls returned.
//
// After J. Wing and C. Gong, "Testing and Verifying Concurrent Objects" (1993), with the memo of G. Lowe,
// "Testing for Linearizability" (2017): what matters is the set of calls that took effect and the
// state, not the order. As in Lowe's just-in-time variant, a call is given its moment only when some
// call returns that needs it, so that what is kept is the set of all configurations that explain the
// history so far: the cost grows with the number of calls at a time, not with the length.
//
// A call may have several moments ("steps"): a call that waits arrives and is served, as in the dual
// data structures of W. Scherer and M. Scott (2004); one that moves many items moves each of them.

import { type Call, printCall } from "./history.ts";

/** A sequential specification. States are never changed. */
export interface Specification<S> {
  readonly name: string;
  readonly initial: S;
  /** A text that is the same for the same states. */
  key(state: S): string;
  /** How many moments the call has. 0: it must not have had any effect. */
  steps(call: Call): number;
  /** The states in which step number `step` of the call may leave; none if it cannot happen now. */
  apply(state: S, call: Call, step: number): readonly S[];
  /**
   * Whether a call may make that step while an earlier call of its agent is open that has made `done`
   * steps. Default: yes, as calls that overlap have no order.
   */
  mayOvertake?(earlier: Call, done: number, call: Call, step: number): boolean;
}

/** What was found. */
export interface Verdict {
  readonly ok: boolean;
  /** The largest number of configurations at a time. */
  readonly width: number;
  /** What could not be explained, with what led to it. */
  readonly report: string;
}

interface Configuration<S> {
  readonly state: S;
  /** By slot of an open call: how many of its steps were made. */
  readonly done: readonly number[];
}

/** Decides whether the history is linearizable. */
export function check<S>(
  spec: Specification<S>,
  history: readonly Call[],
  limit = 1_000_000,
): Verdict {
  const events: { at: number; call: Call; isEnd: boolean }[] = [];
  for (const call of history) {
    if (spec.steps(call) === 0) continue;
    events.push({ at: call.start, call, isEnd: false });
    if (call.fate !== "pending") events.push({ at: call.end, call, isEnd: true });
  }
  events.sort((a, b) => a.at - b.at);
  const open: (Call | undefined)[] = [];
  const slots = new Map<Call, number>();
  let current: Configuration<S>[] = [{ state: spec.initial, done: [] }];
  let width = 1;
  for (const { call, isEnd } of events) {
    if (!isEnd) {
      let slot = open.indexOf(undefined);
      if (slot < 0) slot = open.length;
      open[slot] = call;
      slots.set(call, slot);
      current = current.map(({ state, done }) => ({ state, done: set(done, slot, 0) }));
      continue;
    }
    const slot = slots.get(call)!;
    const steps = spec.steps(call);
    const seen = new Set<string>();
    const next = new Map<string, Configuration<S>>();
    const stack = current;
    const before = current.slice(0, 5);
    while (stack.length > 0) {
      const { state, done } = stack.pop()!;
      if (done[slot] === steps) {
        // The slot is free again: what is kept must not depend on it.
        const kept = set(done, slot, 0);
        next.set(keyOf(spec, state, kept), { state, done: kept });
        continue;
      }
      for (let i = 0; i < open.length; i++) {
        const other = open[i];
        if (other === undefined || done[i]! >= spec.steps(other)) continue;
        if (isBehind(spec, open, done, i)) continue;
        for (const after of spec.apply(state, other, done[i]!)) {
          const configuration = { state: after, done: set(done, i, done[i]! + 1) };
          const key = keyOf(spec, after, configuration.done);
          if (seen.has(key)) continue;
          seen.add(key);
          if (seen.size > limit) throw new RangeError(`More than ${limit} configurations`);
          stack.push(configuration);
        }
      }
    }
    if (next.size === 0) {
      return { ok: false, width, report: explain(spec, history, call, before, open) };
    }
    current = [...next.values()];
    width = Math.max(width, current.length);
    open[slot] = undefined;
    slots.delete(call);
  }
  return { ok: true, width, report: "" };
}

function isBehind<S>(
  spec: Specification<S>,
  open: readonly (Call | undefined)[],
  done: readonly number[],
  slot: number,
): boolean {
  if (spec.mayOvertake === undefined) return false;
  const call = open[slot]!;
  return open.some((earlier, i) =>
    earlier !== undefined && earlier.agent === call.agent && earlier.start < call.start &&
    !spec.mayOvertake!(earlier, done[i]!, call, done[slot]!)
  );
}

function set(done: readonly number[], slot: number, value: number): number[] {
  const copy = done.slice();
  copy[slot] = value;
  return copy;
}

function keyOf<S>(spec: Specification<S>, state: S, done: readonly number[]): string {
  return `${done.join()}/${spec.key(state)}`;
}

function explain<S>(
  spec: Specification<S>,
  history: readonly Call[],
  call: Call,
  before: readonly Configuration<S>[],
  open: readonly (Call | undefined)[],
): string {
  const lines = [`Not linearizable as ${spec.name}: no order explains ${printCall(call)}`];
  lines.push("Before it, the state was one of:");
  for (const { state, done } of before) lines.push(`  ${spec.key(state)} with steps ${done}`);
  lines.push("Open then:");
  for (const each of open) if (each !== undefined) lines.push(`  ${printCall(each)}`);
  lines.push("History:");
  for (const each of [...history].sort((a, b) => a.start - b.start)) {
    if (each.start < call.end) lines.push(`  ${printCall(each)}`);
  }
  return lines.join("\n");
}
