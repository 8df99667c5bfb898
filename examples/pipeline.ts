// Copyright 2026 the Sabre authors. MIT license.

// Three stages, each an agent of its own, with bounded queues between them: numbers are made, taken
// apart into their factors, and checked. A stage that is too fast waits, so that however long the
// input is, only a few items are under way.

import { delay } from "@std/async";
import { Process, Queue, SharedValue } from "@sabre/ipc";

const NUMBERS = 1_000;
const MAX_ITEMS = 4; // that each of the two queues holds
/** All that can be under way: what the queues hold, and one in the hands of each of two stages. */
const MOST = 2 * MAX_ITEMS + 2;

export interface Factored {
  number: number;
  factors: number[];
}

export function produce(output: Queue<number>, made: SharedValue<"u32">, last: number): void {
  // Closing tells the next stage that no more comes, whatever ended this one.
  using _output = output;
  for (let number = 1; number <= last; number++) {
    made.add(1);
    output.putSync(number);
  }
}

export function factorise(input: Queue<number>, output: Queue<Factored>): void {
  // Closing the input too, so that the stage before does not wait for ever if this one fails.
  using _input = input;
  using _output = output;
  for (const number of input) output.putSync({ number, factors: factorsOf(number) });
}

export function factorsOf(number: number): number[] {
  const factors: number[] = [];
  let rest = number;
  for (let factor = 2; factor * factor <= rest; factor++) {
    for (; rest % factor === 0; rest /= factor) factors.push(factor);
  }
  if (rest > 1) factors.push(rest);
  return factors;
}

export interface Outcome {
  /** How many numbers had been made when nobody had taken any, and both queues were full. */
  stuffed: number;
  /** How many numbers came out. */
  taken: number;
  /** The most that were under way at a time. */
  most: number;
  primes: number;
  /** Whether each number came, in its turn, and was the product of its factors. */
  correct: boolean;
}

export async function main(last: number = NUMBERS): Promise<Outcome> {
  using numbers = new Queue<number>({ maxItems: MAX_ITEMS });
  using results = new Queue<Factored>({ maxItems: MAX_ITEMS });
  const made = new SharedValue("u32");
  const module = import.meta.url;
  await using producer = new Process(module, { target: produce, args: [numbers, made, last] })
    .start();
  await using worker = new Process(module, { target: factorise, args: [numbers, results] }).start();

  while (made.value < Math.min(MOST, last) && producer.alive) await delay(1);
  const outcome: Outcome = { stuffed: made.value, taken: 0, most: 0, primes: 0, correct: true };
  console.log(`nobody takes: ${outcome.stuffed} of ${last} numbers were made`);

  for await (const { number, factors } of results) {
    outcome.taken++;
    outcome.most = Math.max(outcome.most, made.value - outcome.taken);
    if (factors.length === 1) outcome.primes++;
    const product = factors.reduce((product, factor) => product * factor, 1);
    if (number !== outcome.taken || product !== number) outcome.correct = false;
  }
  await Promise.all([producer.result, worker.result]);
  if (outcome.taken !== last || outcome.most > MOST) outcome.correct = false;
  console.log(
    `${outcome.taken} numbers came out, ${outcome.primes} of them primes:`,
    outcome.correct ? `never more than ${MOST} were under way` : "SOMETHING WENT WRONG",
  );
  return outcome;
}

if (import.meta.main) {
  const { correct } = await main();
  if (!correct) Deno.exitCode = 1;
}
