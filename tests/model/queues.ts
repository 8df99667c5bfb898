// Copyright 2026 the Sabre authors. MIT license.

// The shipped queue for exploration, and its scenarios in few words.

import type { ExploreOptions } from "./explore.ts";
import type { Act, QueueOptions } from "./scenarios/queue.ts";
import { holds, shipped } from "./shipped.ts";

export const queues = await shipped("queue");
/** Over a latch by its specification. */
export const composed = await shipped("queue", "specified");

export const get: Act = { get: true };
export const close: Act = { close: true };
export const put = (value: number): Act => ({ put: value });

/** Explores what each agent does, over the latch by its specification. */
export function composedQueue(
  acts: readonly (readonly Act[])[],
  options: QueueOptions = {},
  bounds: ExploreOptions = {},
): void {
  holds(composed, "queue", [acts, options], bounds);
}
