// Copyright 2026 the Sabre authors. MIT license.

// What the agents of a litmus test do: `tests/_litmus.ts` says what must not come of it.

/** Memory of a test: a word for each variable and result of each round. */
export interface Field {
  readonly memory: SharedArrayBuffer;
  readonly rounds: number;
  readonly agents: number;
}

/** Variables and results, by index of the array in the memory. */
const X = 0;
const Y = 1;
const R = 2; // R, R + 1, ... one for each result

/** How many arrays a field has. */
export const ARRAYS = 8;
/** Words before the first array: who has come to which round. */
export const HEADER = 32 * 4;

type Body = (
  words: Int32Array,
  x: number,
  y: number,
  r: (index: number) => number,
  agent: number,
) => void;

const { load, store } = Atomics;

/** Each body is one round of one agent. Everything is atomic unless said otherwise. */
const bodies: Record<string, Body> = {
  storeBuffering(words, x, y, r, agent) {
    store(words, agent === 0 ? x : y, 1);
    words[r(agent)] = load(words, agent === 0 ? y : x);
  },
  /** The same with plain accesses, which may be reordered: shows that the test can see it. */
  plainStoreBuffering(words, x, y, r, agent) {
    words[agent === 0 ? x : y] = 1;
    words[r(agent)] = words[agent === 0 ? y : x]!;
  },
  loadBuffering(words, x, y, r, agent) {
    words[r(agent)] = load(words, agent === 0 ? x : y);
    store(words, agent === 0 ? y : x, 1);
  },
  /** The data is plain, as what a record holds is. */
  messagePassing(words, x, y, r, agent) {
    if (agent === 0) {
      words[x] = 1;
      store(words, y, 1);
    } else {
      const flag = load(words, y);
      words[r(0)] = flag;
      words[r(1)] = flag === 1 ? words[x]! : 0;
    }
  },
  /** The flag is raised by a read-modify-write. */
  messagePassingByAdd(words, x, y, r, agent) {
    if (agent === 0) {
      words[x] = 1;
      Atomics.add(words, y, 1);
    } else {
      const flag = Atomics.compareExchange(words, y, 1, 1);
      words[r(0)] = flag;
      words[r(1)] = flag === 1 ? words[x]! : 0;
    }
  },
  /** Independent reads of independent writes: 0 and 1 write, 2 and 3 read in opposite order. */
  iriw(words, x, y, r, agent) {
    if (agent === 0) store(words, x, 1);
    else if (agent === 1) store(words, y, 1);
    else {
      const first = load(words, agent === 2 ? x : y);
      const second = load(words, agent === 2 ? y : x);
      words[r(2 * agent - 4)] = first;
      words[r(2 * agent - 3)] = second;
    }
  },
  /** One location: what was read once is not unread, and both readers see the writes in one order. */
  coherence(words, x, _y, r, agent) {
    if (agent === 0) store(words, x, 1);
    else if (agent === 1) store(words, x, 2);
    else {
      words[r(2 * agent - 4)] = load(words, x);
      words[r(2 * agent - 3)] = load(words, x);
    }
  },
  /** Of two exchanges one sees the other, whichever came first. */
  exchange(words, x, _y, r, agent) {
    words[r(agent)] = Atomics.exchange(words, x, agent + 1);
  },
};

/** Goes through all rounds, close to the other agents. */
export function litmus(field: Field, name: string, agent: number): void {
  const { rounds, agents } = field;
  const words = new Int32Array(field.memory);
  const body = bodies[name]!;
  const at = (array: number, round: number): number => HEADER + array * rounds + round;
  for (let round = 0; round < rounds; round++) {
    store(words, 32 * agent, round + 1);
    // Waits for the others, but not long: with fewer cores than agents they cannot all be here.
    for (let other = 0; other < agents; other++) {
      for (let i = 0; i < 200 && load(words, 32 * other) <= round; i++);
    }
    body(words, at(X, round), at(Y, round), (i) => at(R + i, round), agent);
  }
}

// -- Waiting -------------------------------------------------------------------------------------

/**
 * Two agents take turns: each waits until the turn is its own, then checks and changes plain data. How
 * many waits ended by time, which none may.
 */
export function turns(memory: SharedArrayBuffer, agent: number, rounds: number): number {
  const words = new Int32Array(memory);
  const [turn, data] = [0, 32];
  let late = 0;
  for (let round = 0; round < rounds; round++) {
    const mine = 2 * round + agent;
    for (let now; (now = load(words, turn)) !== mine;) {
      if (Atomics.wait(words, turn, now, 2_000) === "timed-out") late++;
    }
    if (words[data] !== mine) throw new Error(`Saw ${words[data]} instead of ${mine}`);
    words[data] = mine + 1;
    store(words, turn, mine + 1);
    Atomics.notify(words, turn);
  }
  return late;
}

/**
 * The same by the protocol of `_wait.ts`: each agent sleeps on a word of its own, which a waker raises
 * after the change, and is only notified if it says that it may sleep.
 */
export function parkingTurns(memory: SharedArrayBuffer, agent: number, rounds: number): number {
  const words = new Int32Array(memory);
  const turn = 0;
  const park = (of: number): number => 32 + 64 * of;
  const parked = (of: number): number => 64 + 64 * of;
  let late = 0;
  for (let round = 0; round < rounds; round++) {
    const mine = 2 * round + agent;
    store(words, parked(agent), 1);
    for (;;) {
      const epoch = load(words, park(agent));
      if (load(words, turn) === mine) break;
      if (Atomics.wait(words, park(agent), epoch, 2_000) === "timed-out") late++;
    }
    store(words, parked(agent), 0);
    store(words, turn, mine + 1);
    const other = 1 - agent;
    Atomics.add(words, park(other), 1);
    if (load(words, parked(other)) !== 0) Atomics.notify(words, park(other));
  }
  return late;
}
