// Copyright 2026 the Sabre authors. MIT license.

// The least that a question and its answer can be: a word for each direction.

const ASKED = 0;
const ANSWERED = 32;

/** Memory for one. */
export function tripMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(64 * 4);
}

/** How a side waits for a word to become `value`: `"nap"` is to sleep with a timeout. */
export type Wait = "spin" | "sleep" | "nap";

/** Milliseconds of a nap, which never pass. */
const NAP = 1_000;

/** Asks `count` times, and waits for each answer. */
export function ask(words: Int32Array<SharedArrayBuffer>, count: number, wait: Wait): void {
  for (let i = 1; i <= count; i++) {
    set(words, ASKED, i, wait);
    until(words, ANSWERED, i, wait);
  }
}

/** Answers `count` times. */
export function answer(words: Int32Array<SharedArrayBuffer>, count: number, wait: Wait): void {
  for (let i = 1; i <= count; i++) {
    until(words, ASKED, i, wait);
    set(words, ANSWERED, i, wait);
  }
}

/** As `ask`, waiting as a promise. */
export async function askAsync(
  words: Int32Array<SharedArrayBuffer>,
  count: number,
): Promise<void> {
  for (let i = 1; i <= count; i++) {
    set(words, ASKED, i, "sleep");
    await untilAsync(words, ANSWERED, i);
  }
}

/** As `answer`, waiting as a promise. */
export async function answerAsync(
  words: Int32Array<SharedArrayBuffer>,
  count: number,
): Promise<void> {
  for (let i = 1; i <= count; i++) {
    await untilAsync(words, ASKED, i);
    set(words, ANSWERED, i, "sleep");
  }
}

function set(words: Int32Array<SharedArrayBuffer>, index: number, value: number, wait: Wait): void {
  Atomics.store(words, index, value);
  if (wait !== "spin") Atomics.notify(words, index);
}

function until(
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  value: number,
  wait: Wait,
): void {
  for (;;) {
    const now = Atomics.load(words, index);
    if (now === value) return;
    if (wait === "sleep") Atomics.wait(words, index, now);
    else if (wait === "nap") Atomics.wait(words, index, now, NAP);
  }
}

async function untilAsync(
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  value: number,
): Promise<void> {
  for (;;) {
    const now = Atomics.load(words, index);
    if (now === value) return;
    const ticket = Atomics.waitAsync(words, index, now);
    if (ticket.async) await ticket.value;
  }
}
