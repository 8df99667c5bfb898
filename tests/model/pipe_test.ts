// Copyright 2026 the Sabre authors. MIT license.

// Every interleaving of one direction of the shipped pipe, in small bounds.

import { assertEquals } from "@std/assert";
import type { ExploreOptions } from "./explore.ts";
import type { PipeOptions, Receiving, Sending } from "./scenarios/pipe.ts";
import { DEATH, holds, shipped, SHORT_RUNS } from "./shipped.ts";

const pipes = await shipped("pipe");
const shortRuns = await shipped("pipe", "real", undefined, SHORT_RUNS);

const receive: Receiving = { receive: true };
const all: Receiving = { all: true };
const close = { close: true } as const;
const send = (value: number): Sending => ({ send: value });
const small = (value: number): Sending => ({ small: value });
const sendAll = (...values: number[]): Sending[] => values.map(send);

function pipe(
  sending: readonly Sending[],
  receiving: readonly Receiving[],
  options: PipeOptions = {},
  bounds: ExploreOptions = {},
): void {
  holds(pipes, "pipe", [sending, receiving, options], bounds);
}

Deno.test("the scenarios of the pipe need nothing that is refused", () => {
  const files = new Set(pipes.refused.map((each) => each.file));
  // Timers of promises, and an accessor that only `tryOp` asks.
  assertEquals([...files].sort(), ["_sender.ts", "_wait.ts"]);
});

Deno.test("six messages over a ring of four", () => {
  const sending = [1, 2, 3, 4, 5, 6].map((value): Sending => ({ bytes: [value, 12] }));
  pipe(sending, new Array(6).fill(receive), { size: 16 });
});

Deno.test("memory that is fetched ahead is free", () => {
  const sending = [1, 2, 3, 4].map((value): Sending => ({ bytes: [value, 4], plain: true }));
  pipe([...sending, close], [all]);
  pipe([...sending, close], [all], { size: 8 });
  pipe([send(1), ...sending.slice(1), close], [receive, all], { deaths: true }, DEATH);
});

Deno.test("numbers of one word, and what begins at an odd position after them", () => {
  pipe([1, 2, 3, 4, 5, 6].map(small), new Array(6).fill(receive));
  pipe([small(1), send(2), small(3), small(4), send(5), close], [all]);
  pipe([small(1), { run: [2, 3, 4] }, close], [{ into: 2 }, all]);
  // One word is left, in which a run has no place.
  pipe([small(1), small(2), small(3), { run: [4, 5] }, close], [receive, all]);
  pipe([small(1), { many: [2, 3] }, small(4), close], [{ upTo: 2 }, all]);
  pipe(
    [small(1), { bytes: [2, 4], plain: true }, small(3)],
    [receive, close],
    { deaths: true },
    DEATH,
  );
});

Deno.test("what was sent before the end is received, then comes the end", () => {
  pipe([...sendAll(1, 2, 3), close], [all]);
  pipe([...sendAll(1, 2, 3), close], [{ poll: true }, all]);
});

Deno.test("a reader that closes ends the writer", () => {
  pipe(sendAll(1, 2, 3, 4), [receive, receive, close]);
  // While the writer waits for room.
  pipe(sendAll(1, 2, 3, 4), [receive, close]);
  pipe(sendAll(1, 2, 3), [close]);
});

Deno.test("positions may overflow", () => {
  pipe([...sendAll(1, 2, 3), close], [all], { from: 2 ** 29 - 4 });
  pipe([...sendAll(1, 2, 3), close], [all], { from: -4 });
  pipe([small(1), send(2), small(3), close], [all], { from: -1 });
});

Deno.test("a message that is larger than the ring arrives in pieces", () => {
  pipe([{ bytes: [1, 53] }, send(2), close], [all], { size: 16 });
});

Deno.test("a message that is given up half-way is never seen", () => {
  const bounds = { timeouts: 1, late: 1 };
  pipe([{ bytes: [1, 53], timeout: 5 }, close], [all], { size: 16 }, bounds);
});

Deno.test("many messages at once", () => {
  pipe([{ many: [1, 2, 3, 4] }, close], [{ upTo: 2 }, { upTo: 3 }, all]);
  pipe([{ run: [1, 2, 3, 4, 5] }, close], [{ into: 2 }, { into: 3 }, all]);
});

Deno.test("a typed array in several records", () => {
  const cut = (
    sending: Sending[],
    receiving: Receiving[],
    size: number,
    options = {},
    bounds = {},
  ) => holds(shortRuns, "pipe", [sending, receiving, { size, ...options }], bounds);
  cut([{ run: [1, 2, 3, 4, 5] }, close], [{ into: 3 }, { into: 2 }, all], 4);
  cut([{ run: [1, 2, 3, 4, 5] }, close], [{ into: 3 }, { into: 2 }, all], 8);
  cut([small(1), { run: [2, 3, 4, 5, 6] }, close], [receive, { into: 3 }, all], 8);
  cut([{ run: [1, 2, 3, 4, 5] }, close], [all], 8, { deaths: true }, DEATH);
});

Deno.test("a side survives the death of the other one anywhere", () => {
  pipe([...sendAll(1, 2, 3), close], [all], { deaths: true }, { ...DEATH, eaten: true });
  pipe([{ bytes: [1, 53] }, close], [all], { deaths: true, size: 16 }, DEATH);
});
