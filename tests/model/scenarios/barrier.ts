// Copyright 2026 the Sabre authors. MIT license.

// The rounds of a barrier: each index once per round, all or none get through, nobody is left waiting,
// with parties that give up, a reset, and deaths.

import { bury, claimSlot, home, setParked, settle } from "../../../_agent.ts";
import {
  arrive,
  BARRIER_WORDS,
  breakUp,
  countWaiting,
  enter,
  exit,
  forgetOutcome,
  initRounds,
  isBroken,
  outcomeOf,
  PASSED,
  refresh,
  reset,
  type Rounds,
  WAITING,
} from "../../../_barrier.ts";
import { park } from "../../../_park.ts";
import { assert, awaitDeath, choose, named, oracle, type Scenario, step } from "../scenario.ts";

const COUNT = 33; // as in `_barrier.ts`

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array<SharedArrayBuffer>;
  /** By round and index: how many passed with it. */
  readonly passed: Int32Array;
  /** [0] how many were told that it broke. */
  readonly failed: Int32Array;
  /** By party: 1 once everybody may know that it died. */
  readonly buried: Int32Array;
}

/** What is explored. */
export interface BarrierOptions {
  readonly parties: number;
  readonly rounds?: number;
  /** How many of the parties may give up. */
  readonly cancelling?: number;
  /** They are no processes, but agents that the user started. */
  readonly strangers?: boolean;
  /** One more agent resets it. */
  readonly resets?: boolean;
  readonly deaths?: boolean;
}

/** Waits, as one call of the only task of an agent. The index, or -1 if that failed. */
function wait(rounds: Rounds, mayCancel: boolean): number {
  const { domain } = rounds;
  enter(rounds);
  if (outcomeOf(rounds) !== WAITING) forgetOutcome(rounds);
  const index = arrive(rounds);
  exit(rounds);
  if (index < 0 || index + 1 === parties(rounds)) return index;
  setParked(domain, 1);
  for (;;) {
    const epoch = Atomics.load(domain.words, domain.park);
    refresh(rounds);
    const outcome = outcomeOf(rounds);
    if (outcome !== WAITING) {
      setParked(domain, 0);
      forgetOutcome(rounds);
      return outcome === PASSED ? index : -1;
    }
    if (mayCancel && choose(2) === 1) {
      enter(rounds);
      const isWaiting = outcomeOf(rounds) === WAITING;
      if (isWaiting) breakUp(rounds);
      exit(rounds);
      if (isWaiting) {
        setParked(domain, 0);
        return -1;
      }
      continue;
    }
    park(domain.words, domain.park, epoch, Infinity);
  }
}

function parties({ words, base }: Rounds): number {
  return Atomics.load(words, base + 6);
}

function worker(shared: Shared, me: number, options: BarrierOptions): void {
  const { memory, ids, words, passed, buried } = shared;
  const domain = settle(memory, ids[me]!);
  const rounds = { domain, words, base: 0 };
  for (let round = 0; round < (options.rounds ?? 1); round++) {
    let isBroken = false;
    if (options.parties === 2 && options.deaths === true) step();
    // It had not passed: without this party no round was complete.
    for (let i = 0; i < options.parties; i++) if (buried[i] === 1) isBroken = true;
    const index = wait(rounds, me < (options.cancelling ?? 0));
    const isLast = options.rounds === undefined && options.resets !== true;
    if (isLast && options.deaths !== true && (options.cancelling ?? 0) > 0) {
      // Nobody waits any more when one is told how it ended.
      assert(Atomics.load(words, COUNT) === 0, "told before it is over");
    }
    if (index < 0) {
      shared.failed[0] = shared.failed[0]! + 1;
      return;
    }
    assert(
      !isBroken || options.rounds !== undefined || options.resets === true,
      "passed in spite of a death",
    );
    const at = round * options.parties + index;
    assert(passed[at] === 0, "two have the same index");
    passed[at] = 1;
  }
}

function reaper(shared: Shared): void {
  const { memory, ids, buried } = shared;
  const domain = settle(memory, ids[ids.length - 1]!);
  for (;;) {
    const dead = awaitDeath();
    bury(domain, ids[dead]!);
    if (dead < buried.length) buried[dead] = 1;
  }
}

export function barrier(options: BarrierOptions): Scenario<Shared> {
  const { parties, rounds = 1, cancelling = 0, resets = false, deaths = false } = options;
  return {
    name: `barrier ${JSON.stringify(options)}`,
    setup: () => {
      const { memory, words, id } = home();
      named("domain", memory);
      const ids: number[] = [];
      const parent = options.strangers === true ? 0 : id;
      for (let i = 0; i < parties + 2; i++) ids.push(claimSlot(words, `agent ${i}`, parent));
      const buffer = named("barrier", new SharedArrayBuffer(BARRIER_WORDS * 4));
      const view = new Int32Array(buffer);
      initRounds(view, 0, parties);
      return {
        memory,
        ids,
        words: view,
        passed: oracle(parties * rounds),
        failed: oracle(1),
        buried: oracle(parties),
      };
    },
    agents: [
      ...Array.from({ length: parties }, (_, i) => ({
        name: `party ${i}`,
        run: (shared: Shared) => worker(shared, i, options),
      })),
      ...(resets
        ? [{
          name: "resetter",
          run: (shared: Shared) => {
            const domain = settle(shared.memory, shared.ids[parties]!);
            const view = { domain, words: shared.words, base: 0 };
            enter(view);
            reset(view);
            exit(view);
          },
        }]
        : []),
      ...(deaths ? [{ name: "reaper", daemon: true, run: reaper }] : []),
    ],
    // After a reset, or the death of one that never came, there may be too few left for a round.
    mayBlock: () => resets || deaths,
    atEnd: (shared, { fates }) => {
      const domain = settle(shared.memory, shared.ids[parties + 1]!);
      const view = { domain, words: shared.words, base: 0 };
      if (cancelling === 0 && !resets && !fates.includes("dead")) {
        for (let i = 0; i < parties * rounds; i++) {
          assert(shared.passed[i] === 1, "an index is missing");
        }
        assert(!isBroken(view), "broken for nothing");
      }
      let blocked = 0;
      for (let i = 0; i < parties; i++) if (fates[i] === "blocked") blocked++;
      // Once one has passed, all were there.
      let count = 0;
      for (let i = 0; i < parties * rounds; i++) count += shared.passed[i]!;
      const mayMiss = resets || options.strangers === true;
      assert(mayMiss || count === 0 || blocked === 0, "one waits for a party that has died");
      const isAlone = rounds === 1 && !resets;
      assert(!isAlone || count === 0 || shared.failed[0] === 0, "one got through and another not");
      assert(
        countWaiting(view) === blocked,
        "one waits that nobody counts, or at a broken barrier",
      );
    },
  };
}
