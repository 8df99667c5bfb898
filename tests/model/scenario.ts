// Copyright 2026 the Sabre authors. MIT license.

// What a scenario may say beside ordinary code. The transform turns each of these calls into an
// operation of the machine; run outside of it they throw.

import type { Domain } from "../../_agent.ts";
import type { Waiter } from "../../_wait.ts";

/** One agent of a scenario. */
export interface AgentOf<S> {
  readonly name: string;
  /** What the agent does. Runs from the start again and again: keep all state in locals. */
  readonly run: (shared: S) => void;
  /** Need not end: a reaper that waits in {@linkcode awaitDeath}. Never killed. */
  readonly daemon?: boolean;
  /** Kills may hit it. Default: every agent that is not a daemon. */
  readonly mortal?: boolean;
}

/** How a run ended, by agent. */
export interface Ending {
  readonly fates: readonly ("done" | "blocked" | "dead")[];
}

/** A closed program, with what must be true of it. */
export interface Scenario<S> {
  readonly name: string;
  /** Allocates and initialises. What it returns is frozen: agents share nothing but memory. */
  readonly setup: () => S;
  readonly agents: readonly AgentOf<S>[];
  /** Runs in one step when nobody can go on, on a copy of memory: it may repair, and drain, what is left. */
  readonly atEnd?: (shared: S, ending: Ending) => void;
  /** Runs in one step in every state. */
  readonly invariant?: (shared: S) => void;
  /** Whether the agent is right to be blocked for ever. Default: nobody is. On a copy of memory, too. */
  readonly mayBlock?: (shared: S, agent: number) => boolean;
}

/** A point at which others may go first. A critical section without one has no width. */
export function step(): void {
  outside("step");
}

/** All of 0..n-1: the run is explored once for each. */
export function choose(_n: number): number {
  return outside("choose");
}

/**
 * Memory of the test itself, zeroed: accesses to it belong to the step before them, are seen by all
 * agents, and no race is looked for.
 */
export function oracle(_words: number): Int32Array {
  return outside("oracle");
}

/** Gives memory made by the scenario a name for traces. */
export function named(_name: string, _buffer: SharedArrayBuffer): SharedArrayBuffer {
  return outside("named");
}

/** Says that nothing but `live` matters to what this agent does from here on. */
export function summary(_label: string, ..._live: unknown[]): void {
  outside("summary");
}

/** Waits until another word of memory has changed since the last time: the body of a spin loop. */
export function spin(): void {
  outside("spin");
}

/** For a reaper: waits for the certificate of the next death and returns the agent's index. */
export function awaitDeath(): number {
  return outside("awaitDeath");
}

/**
 * Waits until the latch is free or its owner is not in the table any more, and makes it `mine`. Returns what
 * was there. Of the table: its view, where its slots begin, how long they are, and a mask for ids.
 */
export function acquireLatch(
  _words: Int32Array,
  _index: number,
  _mine: number,
  _table: Int32Array,
  _slots: number,
  _length: number,
  _mask: number,
): number {
  return outside("acquireLatch");
}

/** Gives back a latch that was taken by {@linkcode acquireLatch}. */
export function releaseLatch(_words: Int32Array, _index: number): void {
  outside("releaseLatch");
}

/** Starts a coroutine of this agent. It runs when the others of the agent have ended or await. */
export function task(_run: (...args: never[]) => void, ..._args: unknown[]): void {
  outside("task");
}

/** Ends the current turn until the ticket (the `value` of a `waitAsync`) is notified. */
export function awaitTicket(_ticket: unknown): void {
  outside("awaitTicket");
}

/** Throws unless the condition holds. */
export function assert(condition: boolean, message = "assertion failed"): asserts condition {
  if (!condition) throw new Error(message);
}

function outside(name: string): never {
  throw new Error(`Cannot call "${name}" outside of the explorer`);
}

/** `waitAsync` as the transform leaves it: no promise, but functions to call. */
export type Wait = (
  domain: Domain,
  waiter: Waiter,
  timeout: number,
  signal: undefined,
  holds: boolean,
  resolve: () => void,
  reject: (reason: unknown) => void,
) => void;
