// Copyright 2026 the Sabre authors. MIT license.

// The operations that code under test yields, and what they look like.

export const LOAD = 0;
export const STORE = 1;
export const ADD = 2;
export const SUB = 3;
export const AND = 4;
export const OR = 5;
export const XOR = 6;
export const EXCHANGE = 7;
export const CAS = 8;
export const LAST_ATOMIC = 8;
export const WAIT = 9;
export const NOTIFY = 10;
export const WAIT_ASYNC = 11;
export const GET = 12; // plain
export const SET = 13; // plain
export const READ_RUN = 14; // plain, several elements
export const WRITE_RUN = 15; // plain, several elements
export const COPY_RUN = 16; // plain, several elements from memory to memory
export const STEP = 17;
export const CHOOSE = 18;
export const SUMMARY = 19;
export const AWAIT = 20; // for any of several tickets, between two turns of an agent
export const DEATH = 21;
export const SPIN = 22;
export const TURN = 23; // a task awaits a ticket: never leaves the agent
export const CLOCK = 24; // 0, or LATE
export const ACQUIRE = 25; // of a latch, once it is free or its owner is dead
export const RELEASE = 26; // of a latch

export const NAMES: readonly string[] = [
  ..."load store add sub and or xor exchange compareExchange wait notify waitAsync"
    .split(" "),
  ..."get set read write copy step choose summary await awaitDeath spin turn clock acquire release"
    .split(" "),
];

/** What the clock says once everything that can time out has: milliseconds. */
export const LATE = 1e9;

/** What an operation gave back. */
export type Value = number | string | undefined | readonly number[];

/** One operation, as the code asked for it. */
export interface Op {
  readonly code: number;
  /** Byte address, -1 if the operation has none. */
  readonly address: number;
  /** Bytes of one element. */
  readonly size: number;
  readonly signed: boolean;
  /** Operand; the number of elements for runs. */
  readonly a: number;
  /** Second operand: replacement of a compare-exchange, milliseconds of a wait, source of a copy. */
  readonly b: number;
  /** Elements to write, tickets to await. */
  readonly list: readonly number[] | undefined;
  readonly site: number;
  /** Of a summary: the key, `undefined` if something was opaque. */
  readonly key: string | undefined;
}

/** Makes one: always the same shape, for speed. */
export function makeOp(
  code: number,
  address: number,
  size: number,
  signed: boolean,
  a: number,
  b: number,
  site: number,
  list?: readonly number[],
  key?: string,
): Op {
  return { code, address, size, signed, a, b, list, site, key };
}

/** Where in the source an operation stands. */
export interface Site {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** By number. */
export const sites: Site[] = [{ file: "(engine)", line: 0, text: "" }];
