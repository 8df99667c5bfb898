// Copyright 2026 the Sabre authors. MIT license.

// Two producers and two consumers share one queue. Nobody counts items to know when to stop: the
// parent closes the queue once the producers have ended, and the consumers take what is left.

import { Process, Queue } from "@sabre/ipc";

const PRODUCERS = 2;
const CONSUMERS = 2;
const ITEMS = 10_000; // of each producer

export interface Item {
  producer: number;
  value: number;
}

export interface Taken {
  items: number;
  sum: number;
  /** Whether the items of each producer came in the order in which it had put them. */
  ordered: boolean;
}

export function produce(queue: Queue<Item>, producer: number, items: number): void {
  for (let value = 1; value <= items; value++) queue.putSync({ producer, value });
}

export function consume(queue: Queue<Item>): Taken {
  const latest = new Map<number, number>();
  const taken: Taken = { items: 0, sum: 0, ordered: true };
  for (const { producer, value } of queue) {
    if (value <= (latest.get(producer) ?? 0)) taken.ordered = false;
    latest.set(producer, value);
    taken.items++;
    taken.sum += value;
  }
  return taken;
}

export async function main(items: number = ITEMS): Promise<Taken & { correct: boolean }> {
  using queue = new Queue<Item>({ maxItems: 64 });
  await using processes = new AsyncDisposableStack();
  const module = import.meta.url;
  const consumers = Array.from({ length: CONSUMERS }, (_, i) =>
    processes.use(
      new Process(module, { target: consume, args: [queue], name: `consumer ${i + 1}` }).start(),
    ));
  const producers = Array.from({ length: PRODUCERS }, (_, i) =>
    processes.use(
      new Process(module, {
        target: produce,
        args: [queue, i, items],
        name: `producer ${i + 1}`,
      }).start(),
    ));

  await Promise.all(producers.map((producer) => producer.result));
  queue.close();
  const parts = await Promise.all(consumers.map((consumer) => consumer.result));

  const total: Taken = {
    items: parts.reduce((items, part) => items + part.items, 0),
    sum: parts.reduce((sum, part) => sum + part.sum, 0),
    ordered: parts.every((part) => part.ordered),
  };
  const expected = PRODUCERS * items * (items + 1) / 2;
  const correct = total.ordered && total.items === PRODUCERS * items && total.sum === expected;
  console.log(
    `${total.items} items from ${PRODUCERS} producers to ${CONSUMERS} consumers:`,
    `the order of each producer was ${total.ordered ? "kept" : "broken"},`,
    `the sum is ${total.sum} and should be ${expected}`,
  );
  return { ...total, correct };
}

if (import.meta.main) {
  const { correct } = await main();
  if (!correct) Deno.exitCode = 1;
}
