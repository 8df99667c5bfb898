// Copyright 2026 the Sabre authors. MIT license.

// The permits under `Semaphore` and `RwLock`: never more held than there are, no lost wake-up, nothing
// left behind, with cancelled waits and with deaths; and the order in line.

import { bury, claimSlot, type Domain, home, setParked, settle } from "../../../_agent.ts";
import { park } from "../../../_park.ts";
import {
  ABANDONED,
  BUSY,
  crowd,
  freeNow,
  giveBack,
  initPermits,
  isPoisoned,
  type Permits,
  PERMITS_WORDS,
  permitsAt,
  pollTake,
  putIn,
  type Request,
  takeOrLineUp,
  tryTake,
  withdrawTake,
} from "../../../_permits.ts";
import { assert, awaitDeath, choose, named, oracle, type Scenario, step } from "../scenario.ts";

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array<SharedArrayBuffer>;
  /** By agent: how many permits it holds. */
  readonly held: Int32Array;
  /** By agent: 1 once it has given up. */
  readonly gaveUp: Int32Array;
}

/** What is explored. */
export interface PermitsOptions {
  readonly total: number;
  /** By agent: what it asks for. */
  readonly needs: readonly number[];
  readonly rounds?: number;
  /** How many of the agents may give up. */
  readonly cancelling?: number;
  /** Whether asking for everything is writing. */
  readonly isLock?: boolean;
  /** Whether the last agent keeps what it gets: then those that may give up may wait in vain. */
  readonly keeps?: boolean;
  /** An agent that puts this many in, without a guard. */
  readonly puts?: number;
  readonly deaths?: boolean;
  /** With deaths: nobody dies but an agent that takes nothing. */
  readonly bystander?: boolean;
}

function take(domain: Domain, permits: Permits, request: Request, mayCancel: boolean): number {
  const taken = tryTake(permits, request.need, request.recovers);
  if (taken !== BUSY) return taken;
  setParked(domain, 1);
  for (;;) {
    const epoch = Atomics.load(domain.words, domain.park);
    const outcome = request.place < 0 && request.ticket === 0
      ? takeOrLineUp(permits, request)
      : pollTake(permits, request);
    if (outcome !== BUSY) {
      setParked(domain, 0);
      return outcome;
    }
    if (mayCancel && choose(2) === 1 && withdrawTake(permits, request)) {
      setParked(domain, 0);
      return BUSY;
    }
    park(domain.words, domain.park, epoch, Infinity);
  }
}

function worker(shared: Shared, me: number, options: PermitsOptions): void {
  const { memory, ids, words, held, gaveUp } = shared;
  const { rounds = 1, needs, cancelling = 0, total, puts = 0, isLock = false } = options;
  const domain = settle(memory, ids[me]!);
  const permits = permitsAt(domain, words, 0);
  const need = needs[me]!;
  for (let i = 0; i < rounds; i++) {
    const request = { need, recovers: isLock && need === total, ticket: 0, place: -1 };
    const outcome = take(domain, permits, request, me < cancelling);
    if (outcome === ABANDONED) return;
    if (outcome === BUSY) {
      gaveUp[me] = 1;
      continue;
    }
    held[me] = need;
    let sum = 0;
    for (let other = 0; other < needs.length; other++) sum += held[other]!;
    assert(sum <= total + puts, "more is held than there is");
    step();
    if (options.keeps === true && me === needs.length - 1) return;
    held[me] = 0;
    giveBack(permits, need);
  }
}

function reaper(shared: Shared): void {
  const { memory, ids, held } = shared;
  const domain = settle(memory, ids[ids.length - 1]!);
  for (;;) {
    const dead = awaitDeath();
    held[dead] = 0;
    bury(domain, ids[dead]!);
  }
}

export function permits(options: PermitsOptions): Scenario<Shared> {
  const { total, needs, isLock = false, puts = 0, deaths = false } = options;
  const { cancelling = 0, keeps = false, bystander = false } = options;
  const agents = needs.length;
  return {
    name: `permits ${JSON.stringify(options)}`,
    setup: () => {
      const { memory, words, id } = home();
      named("domain", memory);
      // The first one lives in slot 0.
      const ids = [id];
      for (let i = 1; i < agents + 2; i++) ids.push(claimSlot(words, `agent ${i}`, 0));
      const buffer = named("permits", new SharedArrayBuffer(PERMITS_WORDS * 4));
      const view = new Int32Array(buffer);
      initPermits(view, 0, total, 0, isLock ? total : 0);
      return { memory, ids, words: view, held: oracle(agents + 2), gaveUp: oracle(agents) };
    },
    agents: [
      ...needs.map((_, i) => ({
        name: `agent ${i}`,
        mortal: !bystander,
        run: (shared: Shared) => worker(shared, i, options),
      })),
      ...(bystander ? [{ name: "bystander", run: (): void => step() }] : []),
      ...(puts > 0
        ? [{
          name: "putter",
          mortal: false,
          run: (shared: Shared) => {
            const domain = settle(shared.memory, shared.ids[agents]!);
            putIn(permitsAt(domain, shared.words, 0), puts);
          },
        }]
        : []),
      ...(deaths ? [{ name: "reaper", daemon: true, run: reaper }] : []),
    ],
    mayBlock: (shared, agent) => {
      if (!keeps) return false;
      for (let i = 0; i < cancelling; i++) if (shared.gaveUp[i] === 0) return agent < agents - 1;
      return false;
    },
    atEnd: (shared) => {
      if (keeps) return;
      const domain = settle(shared.memory, shared.ids[agents + 1]!);
      const view = permitsAt(domain, shared.words, 0);
      assert(freeNow(view) === total + puts, "permits are lost");
      assert(crowd(view) === 0, "somebody is in line");
      assert(!isPoisoned(view) || deaths, "poisoned without a death");
    },
  };
}
