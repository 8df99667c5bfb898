// Copyright 2026 the Sabre authors. MIT license.

// The table of agents, `_agent.ts`, with the waits of `_wait.ts`: nobody sleeps through a wake-up, a death, a
// request to end or a sign, and what several do to the table at once is done for each of them.

import {
  appointWarden,
  bury,
  claimSlot,
  countSigned,
  deaths,
  type Domain,
  giveSign,
  home,
  isAlive,
  livingAgents,
  nameOf,
  nextSerial,
  observe,
  pidOf,
  requestStop,
  settle,
  signOf,
  slotOf,
  topSlot,
  unpark,
  untilSigned,
  untilWarden,
  wardenOf,
} from "../../../_agent.ts";
import { waitAsync, type Waiter, waitSync } from "../../../_wait.ts";
import { assert, awaitTicket, named, type Scenario, type Wait } from "../scenario.ts";

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly ids: readonly number[];
  readonly words: Int32Array;
}

/** A table of that many agents, and words for the scenario. */
function table(agents: number): Shared {
  const { memory, words, id } = home();
  named("domain", memory);
  // The first one lives in slot 0.
  const ids = [id];
  for (let i = 1; i < agents; i++) ids.push(claimSlot(words, `agent ${i}`, 0));
  return { memory, ids, words: new Int32Array(named("words", new SharedArrayBuffer(32))) };
}

/** That many agents of one kind. */
function times(count: number, run: (i: number) => (shared: Shared) => void, name: string) {
  return Array.from({ length: count }, (_, i) => ({ name: `${name} ${i}`, run: run(i) }));
}

// -- Wake-ups ------------------------------------------------------------------------------------

const CHANGES = 0;
const SERVED = 1; // how many waits of the sleeper have ended

/** How the sleeper waits: blocked, by a promise, or blocked while a promise of its waits as well. */
export type Form = "sync" | "async" | "both";

/** Waits until the word holds the number. */
class Sum implements Waiter {
  readonly words: Int32Array;
  readonly wanted: number;

  constructor(words: Int32Array, wanted: number) {
    this.words = words;
    this.wanted = wanted;
  }

  poll(): boolean {
    return Atomics.load(this.words, CHANGES) >= this.wanted;
  }

  withdraw(): boolean {
    return true;
  }
}

function fail(): void {
  throw new Error("a promise was rejected");
}

function sleeper({ memory, ids, words }: Shared, form: Form, wanted: number): void {
  const domain = settle(memory, ids[0]!);
  if (form !== "sync") {
    const wait = waitAsync as unknown as Wait;
    const done = () => void Atomics.add(words, SERVED, 1);
    wait(domain, new Sum(words, wanted), Infinity, undefined, false, done, fail);
  }
  if (form !== "async") {
    waitSync(domain, new Sum(words, 1), Infinity, "wait");
    waitSync(domain, new Sum(words, wanted), Infinity, "wait");
    Atomics.add(words, SERVED, 1);
  }
}

function waker({ memory, ids, words }: Shared, count: number): void {
  const domain = observe(memory);
  for (let i = 0; i < count; i++) {
    Atomics.add(words, CHANGES, 1);
    unpark(domain, ids[0]!);
  }
}

/** Each waker makes so many changes, and wakes the sleeper each time, which waits for all of them. */
export function wakeUps(form: Form, wakers: readonly number[]): Scenario<Shared> {
  let sum = 0;
  for (const count of wakers) sum += count;
  return {
    name: `wake-ups ${form} ${JSON.stringify(wakers)}`,
    setup: () => table(1),
    agents: [
      { name: "sleeper", run: (shared) => sleeper(shared, form, sum) },
      ...times(wakers.length, (i) => (shared) => waker(shared, wakers[i]!), "waker"),
    ],
    // A ticket is left where a promise waited: for the next one.
    mayBlock: ({ words }) => form !== "sync" && words[SERVED] === (form === "both" ? 2 : 1),
  };
}

/** A sleeper that waits for what never comes is asked to end. */
export function stops(): Scenario<Shared> {
  return {
    name: "stops",
    setup: () => table(1),
    agents: [
      {
        name: "sleeper",
        run: ({ memory, ids, words }) => {
          let name = "";
          try {
            waitSync(settle(memory, ids[0]!), new Sum(words, 1), Infinity, "wait");
          } catch (error) {
            name = (error as Error).name;
          }
          assert(name === "TerminatedError", "the wait did not end by the request");
        },
      },
      { name: "asker", run: ({ memory, ids }) => requestStop(observe(memory), ids[0]!) },
    ],
  };
}

// -- Ends ----------------------------------------------------------------------------------------

/** Waits until all agents but the first have ended. Looks only when somebody died since its last look. */
class Alone implements Waiter {
  readonly domain: Domain;
  readonly ids: readonly number[];
  seen = 0;

  constructor(domain: Domain, ids: readonly number[]) {
    this.domain = domain;
    this.ids = ids;
  }

  poll(): boolean {
    const count = deaths(this.domain);
    if (count === this.seen) return false;
    this.seen = count;
    for (let i = 1; i < this.ids.length; i++) {
      if (isAlive(this.domain, this.ids[i]!)) return false;
    }
    return true;
  }

  withdraw(): boolean {
    return true;
  }
}

/** Each of them declares so many agents dead, which the sleeper waits for. */
export function ends(buriers: readonly number[]): Scenario<Shared> {
  const first: number[] = [];
  let sum = 1;
  for (const count of buriers) {
    first.push(sum);
    sum += count;
  }
  return {
    name: `ends ${JSON.stringify(buriers)}`,
    setup: () => table(sum),
    agents: [
      {
        name: "sleeper",
        run: ({ memory, ids }) => {
          const domain = settle(memory, ids[0]!);
          waitSync(domain, new Alone(domain, ids), Infinity, "wait");
        },
      },
      ...times(buriers.length, (i) => ({ memory, ids }) => {
        const domain = observe(memory);
        for (let j = 0; j < buriers[i]!; j++) bury(domain, ids[first[i]! + j]!);
      }, "burier"),
    ],
  };
}

/** Two declare the same agent dead, one of which then makes room for another one, in its slot. */
export function twice(): Scenario<Shared> {
  return {
    name: "twice",
    setup: () => table(2),
    agents: [
      { name: "burier", run: ({ memory, ids }) => bury(observe(memory), ids[1]!) },
      {
        name: "heir",
        run: ({ memory, ids, words }) => {
          const domain = observe(memory);
          bury(domain, ids[1]!);
          words[0] = claimSlot(domain.words, "heir", 0);
        },
      },
    ],
    atEnd: ({ memory, ids, words }) => {
      const domain = observe(memory);
      assert(slotOf(words[0]!) === slotOf(ids[1]!), "the slot of a dead agent is not free");
      assert(isAlive(domain, words[0]!), "an agent was declared dead as the last one in its slot");
      assert(!isAlive(domain, ids[1]!), "a dead agent lives");
    },
  };
}

// -- What nobody else has --------------------------------------------------------------------------

/** As many agents as that join at the same time. */
export function claims(agents: number): Scenario<Shared> {
  return {
    name: `claims ${agents}`,
    setup: () => table(1),
    agents: times(agents, (i) => ({ memory, words }) => {
      const domain = observe(memory);
      const id = claimSlot(domain.words, `claimer ${i}`, 0);
      words[i] = id;
      assert(isAlive(domain, id), "it has joined, and does not live");
      assert(topSlot(domain) > slotOf(id), "others do not look at its slot");
      assert(nameOf(domain, id) === `claimer ${i}`, "it has the name of another one");
    }, "claimer"),
    atEnd: ({ memory, ids, words }) => {
      const domain = observe(memory);
      const all = [ids[0]!];
      for (let i = 0; i < agents; i++) all.push(words[i]!);
      assert(new Set(all.map(pidOf)).size === all.length, "two have the same number");
      assert(new Set(all.map(slotOf)).size === all.length, "two have the same slot");
      assert(livingAgents(domain).length === all.length, "somebody is not in the table");
    },
  };
}

/** Agents that make primitives at the same time. */
export function serials(agents: number): Scenario<Shared> {
  return {
    name: `serials ${agents}`,
    setup: () => table(1),
    agents: times(agents, (i) => ({ memory, words }) => {
      words[i] = nextSerial(observe(memory));
    }, "maker"),
    atEnd: ({ words }) => {
      const all: number[] = [];
      for (let i = 0; i < agents; i++) all.push(words[i]!);
      assert(new Set(all).size === agents, "two primitives have the same number");
    },
  };
}

// -- Signs ---------------------------------------------------------------------------------------

/** Whether each has given as many signs as it does. */
function allSigned(domain: Domain, ids: readonly number[], counts: readonly number[]): boolean {
  for (let i = 0; i < counts.length; i++) {
    if (signOf(domain, ids[i + 1]!) !== counts[i]!) return false;
  }
  return true;
}

/** Waits until all have said their last. Looks only when the watchers were called since its last look. */
class Signed implements Waiter {
  readonly domain: Domain;
  readonly ids: readonly number[];
  readonly counts: readonly number[];
  seen = 0;

  constructor(domain: Domain, ids: readonly number[], counts: readonly number[]) {
    this.domain = domain;
    this.ids = ids;
    this.counts = counts;
  }

  poll(): boolean {
    const count = countSigned(this.domain);
    if (count === this.seen) return false;
    this.seen = count;
    return allSigned(this.domain, this.ids, this.counts);
  }

  withdraw(): boolean {
    return true;
  }
}

/** As `watchLocks` of `_watch.ts` does. */
function watcher({ memory, ids }: Shared, counts: readonly number[]): void {
  const domain = observe(memory);
  for (;;) {
    const count = countSigned(domain);
    if (allSigned(domain, ids, counts)) return;
    const news = untilSigned(domain, count);
    if (news !== undefined) awaitTicket(news);
  }
}

/** Each signer gives so many signs, for a watcher, or for the one that made the domain and is blocked. */
export function signs(isBlocked: boolean, signers: readonly number[]): Scenario<Shared> {
  return {
    name: `signs ${isBlocked ? "blocked " : ""}${JSON.stringify(signers)}`,
    setup: () => table(1 + signers.length),
    agents: [
      isBlocked
        ? {
          name: "maker",
          run: ({ memory, ids }) => {
            const domain = settle(memory, ids[0]!);
            waitSync(domain, new Signed(domain, ids, signers), Infinity, "wait");
          },
        }
        : { name: "watcher", run: (shared) => watcher(shared, signers) },
      ...times(signers.length, (i) => ({ memory, ids }) => {
        const domain = settle(memory, ids[i + 1]!);
        for (let sign = 1; sign <= signers[i]!; sign++) giveSign(domain, sign);
      }, "signer"),
    ],
  };
}

// -- The warden --------------------------------------------------------------------------------

/** A warden that is appointed: its thread, and whether it ends with the program. */
export type Appointment = readonly [thread: number, isLasting: boolean];

/** All are appointed at the same time, and somebody waits for one. */
export function wardens(appointments: readonly Appointment[]): Scenario<Shared> {
  return {
    name: `wardens ${JSON.stringify(appointments)}`,
    setup: () => table(1),
    agents: [
      {
        name: "stranger",
        run: ({ memory }) => {
          const domain = observe(memory);
          const news = untilWarden(domain);
          if (news !== undefined) awaitTicket(news);
          assert(wardenOf(domain) !== 0, "there is no warden");
        },
      },
      ...times(appointments.length, (i) => ({ memory, words }) => {
        const domain = observe(memory);
        const [thread, isLasting] = appointments[i]!;
        appointWarden(domain, thread, isLasting);
        words[i] = wardenOf(domain);
      }, "host"),
    ],
    atEnd: ({ memory, words }) => {
      const last = wardenOf(observe(memory));
      const lasting = appointments.find(([, isLasting]) => isLasting);
      if (lasting !== undefined) {
        assert(last === lasting[0], "one that may end was preferred to one that lasts");
        return;
      }
      for (let i = 0; i < appointments.length; i++) {
        assert(words[i] === last, "the one that was there first was put away");
      }
    },
  };
}
