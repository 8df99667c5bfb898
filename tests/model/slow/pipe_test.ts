// Copyright 2026 the Sabre authors. MIT license.

// What takes too long for every day: long messages through a pipe, with time running out twice, and deaths.

import { DEATH, holds, shipped } from "../shipped.ts";

const pipes = await shipped("pipe");
/** States of the largest ones: more than the explorer takes on unasked. */
const MOST = 30_000_000;

Deno.test("six messages over a ring of two", () => {
  const sending = [1, 2, 3, 4, 5, 6].map((send) => ({ send }));
  holds(pipes, "pipe", [sending, new Array(6).fill({ receive: true })]);
});

Deno.test("a long message that is given up half-way is never seen", () => {
  const sending = [{ bytes: [1, 64], timeout: 5 }, { send: 2 }, { close: true }];
  holds(pipes, "pipe", [sending, [{ all: true }], { size: 16 }], {
    timeouts: 1,
    late: 1,
    maxStates: MOST,
  });
});

Deno.test("a long message that begins at an odd position arrives in pieces", () => {
  const sending = [{ small: 1 }, { bytes: [2, 64] }, { send: 3 }, { close: true }];
  holds(pipes, "pipe", [sending, [{ all: true }], { size: 16 }], { maxStates: MOST });
});

Deno.test("a side survives the death of the other one in the midst of a long message", () => {
  const sending = [{ bytes: [1, 64] }, { send: 2 }, { close: true }];
  holds(pipes, "pipe", [sending, [{ all: true }], { deaths: true, size: 16 }], {
    ...DEATH,
    maxStates: MOST,
  });
});

Deno.test("time runs out and a side dies", () => {
  const sending = [{ send: 1 }, { send: 2 }, { send: 3, timeout: 5 }, { close: true }];
  holds(pipes, "pipe", [sending, [{ all: true }], { deaths: true }], {
    kills: 1,
    timeouts: 1,
    late: 1,
  });
});
