// Copyright 2026 the Sabre authors. MIT license.

// Litmus tests: whether the engine's `Atomics` and waiting behave as the model of `tests/model` says,
// that is, as if all operations happened one after the other. A pass proves nothing about other hardware.

import { assertEquals } from "@std/assert";
import { Agent } from "./_helpers.ts";
import { ARRAYS, type Field, HEADER } from "./testdata/litmus_worker.ts";

const WORKER = new URL("./testdata/litmus_worker.ts", import.meta.url);
const R = 2;

interface Litmus {
  readonly name: string;
  readonly agents: number;
  /** Whether these results must never be seen. */
  readonly isForbidden: (r: readonly number[]) => boolean;
}

const TESTS: readonly Litmus[] = [
  { name: "storeBuffering", agents: 2, isForbidden: ([a, b]) => a === 0 && b === 0 },
  { name: "loadBuffering", agents: 2, isForbidden: ([a, b]) => a === 1 && b === 1 },
  { name: "messagePassing", agents: 2, isForbidden: ([flag, data]) => flag === 1 && data === 0 },
  {
    name: "messagePassingByAdd",
    agents: 2,
    isForbidden: ([flag, data]) => flag === 1 && data === 0,
  },
  {
    name: "iriw",
    agents: 4,
    isForbidden: ([x, y, y2, x2]) => x === 1 && y === 0 && y2 === 1 && x2 === 0,
  },
  {
    name: "coherence",
    agents: 4,
    isForbidden: ([a, b, c, d]) =>
      (a !== 0 && b === 0) || (c !== 0 && d === 0) ||
      (a !== 0 && b !== 0 && a !== b && c === b && d === a),
  },
  {
    name: "exchange",
    agents: 2,
    isForbidden: ([a, b]) => !(a === 0 && b === 1) && !(a === 2 && b === 0),
  },
];

/** How often each outcome was seen. */
async function run(
  agents: readonly Agent[],
  name: string,
  rounds: number,
): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  // In parts, so that the memory stays small.
  for (let left = rounds; left > 0; left -= 50_000) {
    const part = Math.min(left, 50_000);
    const memory = new SharedArrayBuffer(4 * (HEADER + ARRAYS * part));
    const field: Field = { memory, rounds: part, agents: agents.length };
    await Promise.all(agents.map((agent, i) => agent.run("litmus", field, name, i)));
    const words = new Int32Array(memory);
    for (let round = 0; round < part; round++) {
      let text = "";
      for (let i = 0; i < 4; i++) text += words[HEADER + (R + i) * part + round];
      seen.set(text, (seen.get(text) ?? 0) + 1);
    }
  }
  return seen;
}

/** Registers all litmus tests, with so many rounds each. */
export function registerLitmus(rounds: number, timeout: number): void {
  for (const { name, agents: count, isForbidden } of TESTS) {
    Deno.test({
      name: `litmus: ${name} behaves as if in sequence, ${rounds} times`,
      timeout,
      async fn() {
        const agents = Array.from({ length: count }, () => new Agent(WORKER));
        using stack = new DisposableStack();
        for (const agent of agents) stack.use(agent);
        const seen = await run(agents, name, rounds);
        const forbidden = [...seen].filter(([text]) => isForbidden([...text].map(Number)));
        assertEquals(forbidden, [], `outcomes: ${Deno.inspect(seen)}`);
      },
    });
  }

  Deno.test({
    name: "litmus: a race between plain accesses shows whether agents overlap at all",
    timeout,
    async fn() {
      using first = new Agent(WORKER);
      using second = new Agent(WORKER);
      const seen = await run([first, second], "plainStoreBuffering", rounds);
      // Not asserted: a loaded machine may run one after the other, and other hardware not reorder.
      console.log(`store buffering without atomics, results and how often: ${Deno.inspect(seen)}`);
    },
  });

  for (const form of ["turns", "parkingTurns"]) {
    Deno.test({
      name: `litmus: nobody sleeps through a change (${form}), ${rounds} times`,
      timeout,
      async fn() {
        using first = new Agent(WORKER);
        using second = new Agent(WORKER);
        const memory = new SharedArrayBuffer(1024);
        const half = rounds / 2;
        const late = await Promise.all([
          first.run<number>(form, memory, 0, half),
          second.run<number>(form, memory, 1, half),
        ]);
        assertEquals(late, [0, 0], "waits that ended by time");
      },
    });
  }
}
