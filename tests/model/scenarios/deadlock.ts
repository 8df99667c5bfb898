// Copyright 2026 the Sabre authors. MIT license.

// Agents that block each other: `_exclusive.ts` and `_sharing.ts` over `_wait.ts` and `_report.ts`.
// Whoever is told of a deadlock is in one, exactly one of its agents is told, and the others go on.

import { bury, claimSlot, type Domain, home, requestStop, settle } from "../../../_agent.ts";
import { Exclusive } from "../../../_exclusive.ts";
import { crowd, isTaken, MUTEX_WORDS } from "../../../_mutex.ts";
import {
  crowd as crowdOfPermits,
  EVERYTHING,
  freeNow,
  initPermits,
  PERMITS_WORDS,
} from "../../../_permits.ts";
import { isBlocked } from "../../../_report.ts";
import { type Demand, Sharing } from "../../../_sharing.ts";
import { assert, awaitDeath, named, oracle, type Scenario, step } from "../scenario.ts";

type Words = Int32Array<SharedArrayBuffer>;

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly locks: readonly Words[];
  /** By lock, then by agent: how it holds it, see below; 0: it does not. */
  readonly held: Int32Array;
  /** By agent: one more than the lock that it waits for, 0: none. */
  readonly wanted: Int32Array;
  /** By agent: how it wants it. */
  readonly ways: Int32Array;
  /** How many were told of a deadlock. */
  readonly found: Int32Array;
  /** Whether a wait may end in another way than by the lock, which may come right after the look. */
  readonly isLenient: boolean;
}

/**
 * What an agent acquires: lock 0, or a read-write lock for reading ("r0") or writing ("w0"). Or ";": it
 * gives back all that it has.
 */
type Act = number | `r${number}` | `w${number}` | ";";

/** What is explored. */
export interface DeadlockOptions {
  /** By agent: what it acquires, one within the other. */
  readonly orders: readonly (readonly Act[])[];
  /** Milliseconds, by agent; default: for ever. */
  readonly timeouts?: readonly number[];
  /** How often each does it. */
  readonly rounds?: number;
  /** An agent asks agent 0 to end. */
  readonly stops?: boolean;
  readonly deaths?: boolean;
  /** Nobody can be told, as there is a fixed order. */
  readonly ordered?: boolean;
  /** An agent reads again: it goes on as soon as the writer leaves the line, before that one is told. */
  readonly rereads?: boolean;
}

const EXCLUSIVE = 1;
const READ = 2;
const WRITE = 3;

const DEMANDS: Record<number, Demand> = {
  [READ]: { need: 1, recovers: false, call: "read" },
  [WRITE]: { need: EVERYTHING, recovers: true, call: "write" },
};

function wayOf(act: Act): number {
  return typeof act === "number" || act === ";" ? EXCLUSIVE : act.startsWith("r") ? READ : WRITE;
}

function numberOf(act: Act): number {
  return typeof act === "number" ? act : Number(act.slice(1) || 0);
}

/** Whether the agent cannot go on, even if all that can go on do. */
function isStuck({ held, wanted, ways }: Shared, me: number): boolean {
  const count = wanted.length;
  let free = 0;
  for (let round = 0; round < count; round++) {
    for (let agent = 0; agent < count; agent++) {
      if ((free >> agent & 1) !== 0) continue;
      let isKept = false;
      const lock = wanted[agent]! - 1;
      for (let other = 0; lock >= 0 && other < count; other++) {
        if (other === agent || (free >> other & 1) !== 0) continue;
        const has = held[lock * count + other]!;
        const isReader = ways[agent] === READ;
        // A writer that waits may be ahead of a reader.
        const isAhead = isReader && wanted[other] === lock + 1 && ways[other] === WRITE;
        if ((has !== 0 && !(isReader && has === READ)) || isAhead) isKept = true;
      }
      if (!isKept) free |= 1 << agent;
    }
  }
  return (free >> me & 1) === 0;
}

interface Agent {
  readonly domain: Domain;
  readonly exclusives: readonly Exclusive[];
  readonly sharings: readonly Sharing[];
  readonly me: number;
  readonly timeout: number;
}

function nest(shared: Shared, agent: Agent, order: readonly Act[], depth: number): void {
  if (depth === order.length || order[depth] === ";") return;
  const { held, wanted, ways, found } = shared;
  const { me, timeout } = agent;
  const number = numberOf(order[depth]!);
  const way = wayOf(order[depth]!);
  const mine = number * wanted.length + me;
  wanted[me] = number + 1;
  ways[me] = way;
  let guard;
  try {
    if (way === EXCLUSIVE) guard = agent.exclusives[number]!.acquireSync(timeout, true);
    else guard = agent.sharings[number]!.acquireSync(DEMANDS[way]!, timeout);
  } catch (error) {
    const { name } = error as Error;
    if (name === "DeadlockError") {
      assert(shared.isLenient || isStuck(shared, me), "there is no deadlock");
      assert(timeout === Infinity, "it would have ended");
      found[0] = found[0]! + 1;
    } else if (name === "TimeoutError") {
      assert(timeout !== Infinity, "there is no timeout");
    } else if (name !== "TerminatedError") {
      throw error;
    }
    wanted[me] = 0;
    return;
  }
  for (let other = 0; other < wanted.length; other++) {
    const has = held[number * wanted.length + other]!;
    assert(has === 0 || (has === READ && way === READ), "two have it");
  }
  const before = held[mine]!;
  held[mine] = way;
  wanted[me] = 0;
  step();
  nest(shared, agent, order, depth + 1);
  held[mine] = before;
  guard.release();
}

function worker(
  shared: Shared,
  me: number,
  order: readonly Act[],
  rounds: number,
  timeout: number,
): void {
  const { memory, ids, locks } = shared;
  const domain = settle(memory, ids[me]!);
  const exclusives = locks.map((words, serial) => new Exclusive("Lock", domain, words, 0, serial));
  const sharings: Sharing[] = [];
  if (order.some((act) => wayOf(act) !== EXCLUSIVE)) {
    for (let i = 0; i < locks.length; i++) {
      sharings.push(new Sharing("RwLock", domain, locks[i]!, 0, i));
    }
  }
  const agent: Agent = { domain, exclusives, sharings, me, timeout };
  for (let i = 0; i < rounds; i++) {
    nest(shared, agent, order, 0);
    for (let j = 0; j < order.length; j++) {
      if (order[j] === ";") nest(shared, agent, order, j + 1);
    }
  }
}

function reaper(shared: Shared): void {
  const { memory, ids, held, wanted } = shared;
  const domain = settle(memory, ids[ids.length - 1]!);
  for (;;) {
    const dead = awaitDeath();
    wanted[dead] = 0;
    for (let i = dead; i < held.length; i += wanted.length) held[i] = 0;
    bury(domain, ids[dead]!);
  }
}

export function deadlock(options: DeadlockOptions): Scenario<Shared> {
  const {
    orders,
    timeouts = [],
    rounds = 1,
    stops = false,
    deaths = false,
    ordered = false,
    rereads = false,
  } = options;
  const agents = orders.length;
  const acts = orders.flat();
  const count = Math.max(...acts.map((act) => numberOf(act))) + 1;
  const isShared = acts.some((act) => wayOf(act) !== EXCLUSIVE);
  return {
    name: `deadlock ${JSON.stringify(options)}`,
    setup: () => {
      const { memory, words, id } = home();
      named("domain", memory);
      // The first one lives in slot 0.
      const ids = [id];
      for (let i = 1; i <= agents; i++) ids.push(claimSlot(words, `agent ${i}`, 0));
      const locks: Words[] = [];
      for (let i = 0; i < count; i++) {
        const bytes = (isShared ? PERMITS_WORDS : MUTEX_WORDS) * 4;
        const lock = new Int32Array(named(`lock ${i}`, new SharedArrayBuffer(bytes)));
        if (isShared) initPermits(lock, 0, EVERYTHING, 0, EVERYTHING);
        locks.push(lock);
      }
      return {
        memory,
        ids,
        locks,
        held: oracle(count * agents),
        wanted: oracle(agents),
        ways: oracle(agents),
        found: oracle(1),
        isLenient: stops || deaths || rereads,
      };
    },
    agents: [
      ...orders.map((order, i) => ({
        name: `agent ${i}`,
        run: (shared: Shared) => worker(shared, i, order, rounds, timeouts[i] ?? Infinity),
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
      assert(shared.found[0]! <= (ordered ? 0 : rounds), "too many were told");
      assert(shared.found[0] === 0 || timeouts.length === 0, "a timeout would have ended it");
      const domain = settle(shared.memory, shared.ids[agents]!);
      for (let i = 0; i < agents; i++) {
        if (fates[i] === "done") {
          assert(!isBlocked(domain, shared.ids[i]!), "it says it is blocked");
        }
      }
      if (fates.includes("dead")) return;
      for (const words of shared.locks) {
        if (isShared) {
          const { permits } = new Sharing("RwLock", domain, words, 0);
          assert(freeNow(permits) === EVERYTHING, "a lock is held");
          assert(crowdOfPermits(permits) === 0, "somebody is in line");
        } else {
          const { mutex } = new Exclusive("Lock", domain, words, 0);
          assert(!isTaken(mutex), "a lock is held");
          assert(crowd(mutex) === 0, "somebody is in line");
        }
      }
    },
  };
}
