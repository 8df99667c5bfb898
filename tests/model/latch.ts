// Copyright 2026 the Sabre authors. MIT license.

// Stands for `_latch.ts` in the model of what is built on it: a latch by its specification, which keeps
// the number of states small. The real one is explored with the lock and with two agents at a queue.

import type { Domain } from "../../_agent.ts";
import { acquireLatch, releaseLatch } from "./scenario.ts";

// Of the table of agents, see `_agent.ts`.
const HEADER_WORDS = 64;
const SLOT_WORDS = 64;
const SLOTS = 8; // as options.ts says

export function lockLatch(domain: Domain, words: Int32Array, index: number): boolean {
  const { id, words: table } = domain;
  return acquireLatch(words, index, id << 2, table, HEADER_WORDS, SLOT_WORDS, SLOTS - 1) !== 0;
}

export function unlockLatch(words: Int32Array, index: number): void {
  releaseLatch(words, index);
}
