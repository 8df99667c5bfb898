// Copyright 2026 the Sabre authors. MIT license.

// The latch of `_latch.ts` alone, which is small enough for three agents and a death: mutual exclusion, also
// among those who take it over, and nobody sleeps on a free one.

import { bury, claimSlot, home, settle } from "../../../_agent.ts";
import { lockLatch, unlockLatch } from "../../../_latch.ts";
import {
  assert,
  awaitDeath,
  type Ending,
  named,
  oracle,
  type Scenario,
  step,
} from "../scenario.ts";

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array;
  /** By agent: 1 while it is inside. */
  readonly inside: Int32Array;
  /** [0] how often the latch was taken over, [1] how many died inside. */
  readonly counts: Int32Array;
}

/** A word that is not at the beginning of its memory, as in every primitive. */
const LATCH = 1;

function worker(shared: Shared, me: number, rounds: number): void {
  const { memory, ids, words, inside, counts } = shared;
  const domain = settle(memory, ids[me]!);
  for (let i = 0; i < rounds; i++) {
    const isTakenOver = lockLatch(domain, words, LATCH);
    for (let other = 0; other < ids.length; other++) {
      assert(inside[other]! === 0, "two are inside");
    }
    inside[me] = 1;
    if (isTakenOver) counts[0] = counts[0]! + 1;
    step();
    inside[me] = 0;
    unlockLatch(words, LATCH);
  }
}

function reaper(shared: Shared): void {
  const { memory, ids, inside, counts } = shared;
  const domain = settle(memory, ids[ids.length - 1]!);
  for (;;) {
    const dead = awaitDeath();
    if (inside[dead]! === 1) counts[1] = counts[1]! + 1;
    inside[dead] = 0;
    bury(domain, ids[dead]!);
  }
}

export function latch(agents: number, rounds: number, deaths = false): Scenario<Shared> {
  return {
    name: `latch ${agents} x ${rounds}${deaths ? ", deaths" : ""}`,
    setup: () => {
      const { memory, words, id } = home();
      named("domain", memory);
      // The first one lives in slot 0.
      const ids = [id];
      for (let i = 1; i <= agents; i++) ids.push(claimSlot(words, `agent ${i}`, 0));
      const memoryOfLatch = named("latch", new SharedArrayBuffer(8));
      return {
        memory,
        ids,
        words: new Int32Array(memoryOfLatch),
        inside: oracle(agents + 1),
        counts: oracle(2),
      };
    },
    agents: [
      ...Array.from({ length: agents }, (_, i) => ({
        name: `agent ${i}`,
        run: (shared: Shared) => worker(shared, i, rounds),
      })),
      ...(deaths ? [{ name: "reaper", daemon: true, run: reaper }] : []),
    ],
    atEnd: ({ words, counts }: Shared, { fates }: Ending) => {
      assert(words[LATCH] === 0 || fates.includes("dead"), "the latch is held");
      // Before it is declared dead nobody can take over from it, and later on not more than once.
      assert(counts[0]! <= 1 && (deaths || counts[0] === 0), "it was taken over from nobody");
    },
  };
}
