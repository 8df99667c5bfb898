// Copyright 2026 the Sabre authors. MIT license.

// Two hundred processes, one after the other, are started, used and ended.

import { Process, Queue } from "@sabre/ipc";

export function echo(queue: Queue<number>, answers: Queue<number>): number {
  for (const item of queue) answers.putSync(item + 1);
  return 7;
}

function threads(): number {
  return Number(/Threads:\s*(\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))?.[1]);
}

function megabytes(): number {
  return Number(/VmRSS:\s*(\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))?.[1]) / 1_024;
}

if (import.meta.main) {
  const figures: [number, number][] = [];
  for (let i = 0; i < 200; i++) {
    using queue = new Queue<number>();
    using answers = new Queue<number>();
    await using child = new Process(import.meta.url, { target: echo, args: [queue, answers] });
    child.start();
    await queue.put(i);
    if (await answers.get() !== i + 1) throw new Error("A wrong answer");
    queue.close();
    if (await child.result !== 7) throw new Error("A wrong result");
    if (i === 49 || i === 199) figures.push([threads(), megabytes()]);
  }
  const [[early, small], [late, large]] = figures as [[number, number], [number, number]];
  console.log(JSON.stringify({ threads: late - early, megabytes: Math.round(large - small) }));
}
