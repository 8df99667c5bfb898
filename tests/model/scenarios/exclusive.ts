// Copyright 2026 the Sabre authors. MIT license.

// The blocking form of a lock as its users call it: `_exclusive.ts` over `_wait.ts`, with timeouts, a
// request to stop and deaths.

import { bury, claimSlot, home, requestStop, settle } from "../../../_agent.ts";
import { Exclusive } from "../../../_exclusive.ts";
import { crowd, isTaken, MUTEX_WORDS } from "../../../_mutex.ts";
import { assert, awaitDeath, named, oracle, type Scenario, step } from "../scenario.ts";

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array<SharedArrayBuffer>;
  /** By agent: 1 while it is inside. */
  readonly inside: Int32Array;
}

/** What the scenario adds to agents that acquire and release. */
export interface ExclusiveOptions {
  /** Milliseconds, by agent; default: for ever. */
  readonly timeouts?: readonly number[];
  /** An agent asks agent 0 to end. */
  readonly stops?: boolean;
  readonly deaths?: boolean;
  /** Who holds it takes it once more, as an `RLock`. */
  readonly nested?: boolean;
}

function worker(
  shared: Shared,
  me: number,
  rounds: number,
  timeout: number,
  nested: boolean,
): void {
  const { memory, ids, words, inside } = shared;
  const domain = settle(memory, ids[me]!);
  const lock = new Exclusive("Lock", domain, words, 0);
  for (let i = 0; i < rounds; i++) {
    try {
      const guard = lock.acquireSync(timeout, true);
      for (let other = 0; other < ids.length; other++) {
        assert(inside[other] === 0, "two are inside");
      }
      inside[me] = 1;
      step();
      if (nested) {
        const inner = lock.reenter(true);
        // In the wrong order, which is allowed: the last one gives it back.
        guard.release();
        assert(lock.depth === 1 && isTaken(lock.mutex), "the lock is free too early");
        step();
        inside[me] = 0;
        inner.release();
      } else {
        inside[me] = 0;
        guard.release();
      }
    } catch (error) {
      const { name } = error as Error;
      if (name === "TerminatedError") return;
      if (name !== "TimeoutError" || timeout === Infinity) throw error;
    }
  }
}

function reaper(shared: Shared): void {
  const { memory, ids, inside } = shared;
  const domain = settle(memory, ids[ids.length - 1]!);
  for (;;) {
    const dead = awaitDeath();
    inside[dead] = 0;
    bury(domain, ids[dead]!);
  }
}

export function exclusive(
  agents: number,
  rounds: number,
  options: ExclusiveOptions = {},
): Scenario<Shared> {
  const { timeouts = [], stops = false, deaths = false, nested = false } = options;
  return {
    name: `exclusive ${agents} x ${rounds}${timeouts.length > 0 ? ", timeouts" : ""}${
      stops ? ", stop" : ""
    }${deaths ? ", deaths" : ""}${nested ? ", nested" : ""}`,
    setup: () => {
      const { memory, words, id } = home();
      named("domain", memory);
      // The first one lives in slot 0.
      const ids = [id];
      for (let i = 1; i <= agents; i++) ids.push(claimSlot(words, `agent ${i}`, 0));
      const lock = named("lock", new SharedArrayBuffer(MUTEX_WORDS * 4));
      return { memory, ids, words: new Int32Array(lock), inside: oracle(agents + 1) };
    },
    agents: [
      ...Array.from({ length: agents }, (_, i) => ({
        name: `agent ${i}`,
        run: (shared: Shared) => worker(shared, i, rounds, timeouts[i] ?? Infinity, nested),
      })),
      ...(stops
        ? [{
          name: "stopper",
          mortal: false,
          run: (shared: Shared) => {
            requestStop(settle(shared.memory, shared.ids[agents]!), shared.ids[0]!);
          },
        }]
        : []),
      ...(deaths ? [{ name: "reaper", daemon: true, run: reaper }] : []),
    ],
    atEnd: (shared, { fates }) => {
      if (fates.includes("dead")) return;
      const domain = settle(shared.memory, shared.ids[agents]!);
      const { mutex } = new Exclusive("Lock", domain, shared.words, 0);
      assert(!isTaken(mutex), "the lock is held");
      assert(crowd(mutex) === 0, "somebody is in line");
    },
  };
}
