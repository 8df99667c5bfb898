// Copyright 2026 the Sabre authors. MIT license.

// Who waits until all items of a queue are done: `_store.ts` as `Queue.taskDone` and `Queue.join` use it.
// Everybody who waits while the last one is said to be done is released, whatever is put after that.

import { claimSlot, home, setParked, settle, slotOf } from "../../../_agent.ts";
import { park } from "../../../_park.ts";
import {
  enterGet,
  enterPut,
  exitGet,
  exitPut,
  finishOne,
  forgetZero,
  initStore,
  STORE_WORDS,
  storeAt,
  unfinishedOf,
  wantZero,
  zerosOf,
} from "../../../_store.ts";
import { assert, named, type Scenario, spin } from "../scenario.ts";

/** What a doer does: an item is put and taken at once. */
export type Step = "put" | "finish" | "await one done" | "await joiners";

export interface JoinOptions {
  readonly joiners: number;
  /** Items that were put and taken before. */
  readonly items: number;
  readonly doers: readonly (readonly Step[])[];
}

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array;
  /** 0: how many have called `join`. */
  readonly counts: Int32Array;
}

const DONE = 5; // as in `_store.ts`, as are these
const PUTS = 64;
const GETS = 128;
const SIZE = 2;

/** As `Queue.joinSync`. */
function joiner(shared: Shared, me: number): void {
  const { memory, ids, words, counts } = shared;
  const domain = settle(memory, ids[me]!);
  const store = storeAt(domain, words);
  const slot = slotOf(domain.id);
  const zeros = zerosOf(store);
  Atomics.add(counts, 0, 1);
  setParked(domain, 1);
  for (;;) {
    const epoch = Atomics.load(domain.words, domain.park);
    wantZero(store, slot);
    if (unfinishedOf(store) === 0 || zerosOf(store) !== zeros) break;
    park(domain.words, domain.park, epoch, Infinity);
  }
  setParked(domain, 0);
  forgetZero(store, slot);
}

function doer(shared: Shared, me: number, steps: readonly Step[], joiners: number): void {
  const { memory, ids, words, counts } = shared;
  const store = storeAt(settle(memory, ids[me]!), words);
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i]!;
    if (step === "put") {
      enterPut(store);
      Atomics.add(words, PUTS, 2);
      exitPut(store);
      enterGet(store);
      Atomics.add(words, GETS, 2);
      exitGet(store);
    } else if (step === "finish") {
      assert(finishOne(store), "an item that was taken cannot be done");
    } else if (step === "await one done") {
      while (Atomics.load(words, DONE) === 0) spin();
    } else {
      while (Atomics.load(counts, 0) < joiners) spin();
    }
  }
}

export function join(options: JoinOptions): Scenario<Shared> {
  const { joiners, items, doers } = options;
  let done = 0;
  let put = items;
  for (const steps of doers) {
    done += steps.filter((step) => step === "finish").length;
    put += steps.filter((step) => step === "put").length;
  }
  return {
    name: `join ${JSON.stringify(options)}`,
    setup: () => {
      const { memory, words: table, id } = home();
      named("domain", memory);
      // The first one lives in slot 0.
      const ids = [id];
      for (let i = 1; i <= joiners + doers.length; i++) ids.push(claimSlot(table, `agent ${i}`, 0));
      const words = new Int32Array(
        named("queue", new SharedArrayBuffer((STORE_WORDS + SIZE) * 4)),
      );
      initStore(words, SIZE, 0);
      words[PUTS] = items * 2;
      words[GETS] = items * 2;
      const counts = new Int32Array(named("counts", new SharedArrayBuffer(4)));
      return { memory, ids, words, counts };
    },
    agents: [
      ...Array.from({ length: joiners }, (_, i) => ({
        name: `joiner ${i}`,
        run: (shared: Shared) => joiner(shared, i),
      })),
      ...doers.map((steps, i) => ({
        name: `doer ${i}`,
        run: (shared: Shared) => doer(shared, joiners + i, steps, joiners),
      })),
    ],
    atEnd: ({ memory, ids, words }) => {
      const store = storeAt(settle(memory, ids[ids.length - 1]!), words);
      assert(words[DONE] === done, "an item was said to be done, and is not");
      assert(unfinishedOf(store) === put - done, "the count of what is to be done is wrong");
      for (let i = done; i < put; i++) assert(finishOne(store), "an item cannot be done");
      assert(!finishOne(store), "more is done than was taken");
    },
  };
}
