// Copyright 2026 the Sabre authors. MIT license.

// The programs in examples/ print what the README says.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import * as actor from "../examples/actor.ts";
import * as demo from "../examples/demo.ts";
import * as fanIn from "../examples/fan_in.ts";
import * as hashFiles from "../examples/hash_files.ts";
import * as helloPipe from "../examples/hello_pipe.ts";
import * as helloQueue from "../examples/hello_queue.ts";
import * as lostUpdate from "../examples/lost_update.ts";
import * as pipeline from "../examples/pipeline.ts";
import * as producerConsumer from "../examples/producer_consumer.ts";
import * as sharedMemory from "../examples/shared_memory.ts";
import * as stopEvent from "../examples/stop_event.ts";
import * as wordcount from "../examples/wordcount.ts";

const timeout = 30_000; // milliseconds, of every test here

const EXAMPLES = pathOf("../examples");
const LICENSE = pathOf("../LICENSE");
const QUIET = { progress: false };

function pathOf(relative: string): string {
  const path = decodeURIComponent(new URL(relative, import.meta.url).pathname);
  return Deno.build.os === "windows" ? path.slice(1) : path;
}

/** Runs `program`, and tells what it returned and what it printed. */
async function run<T>(program: () => Promise<T>): Promise<{ value: T; printed: string }> {
  const { log } = console;
  const lines: string[] = [];
  console.log = (...values: unknown[]) => {
    lines.push(
      values.map((value) => typeof value === "string" ? value : Deno.inspect(value)).join(" "),
    );
  };
  try {
    return { value: await program(), printed: lines.join("\n") };
  } finally {
    console.log = log;
  }
}

Deno.test({
  name: "hello_pipe.ts prints the list that the child sent",
  timeout,
  async fn() {
    const { value, printed } = await run(helloPipe.main);
    assertEquals(value, ["hello world"]);
    assertEquals(printed, '[ "hello world" ]');
  },
});

Deno.test({
  name: "hello_queue.ts prints the string that the child put",
  timeout,
  async fn() {
    const { value, printed } = await run(helloQueue.main);
    assertEquals(value, "hello world");
    assertEquals(printed, "hello world");
  },
});

Deno.test({
  name: "shared_memory.ts prints the number and the array that the child changed",
  timeout,
  async fn() {
    const { value, printed } = await run(sharedMemory.main);
    assertEquals(value, { number: 3.1415927, numbers: [-1, -2, -3, -4, -5] });
    assertEquals(printed, "3.1415927\n[ -1, -2, -3, -4, -5 ]");
  },
});

Deno.test({
  name: "producer_consumer.ts takes every item once and keeps the order of each producer",
  timeout,
  async fn() {
    const { value } = await run(() => producerConsumer.main(1_000));
    assertEquals(value, { items: 2_000, sum: 1_001_000, ordered: true, correct: true });
  },
});

Deno.test({
  name: "actor.ts gives each of several tasks the answer to its own question",
  timeout,
  async fn() {
    const { value, printed } = await run(actor.main);
    assertEquals(value, { ada: 70, bob: 50, refused: "ada has only 70", answered: 7 });
    assertEquals(
      printed,
      "ada has 70, bob has 50\nrefused: ada has only 70\nthe actor answered 7 questions",
    );
  },
});

Deno.test({
  name: "fan_in.ts receives everything that each child sent, in its order",
  timeout,
  async fn() {
    const { value, printed } = await run(() => fanIn.main(50));
    assertEquals(value, [
      { sensor: "north", readings: 50, sum: 225, ordered: true },
      { sensor: "east", readings: 100, sum: 450, ordered: true },
      { sensor: "south", readings: 200, sum: 900, ordered: true },
    ]);
    assert(printed.endsWith("south: 200 readings, mean 4.5"));
  },
});

Deno.test({
  name: "pipeline.ts keeps no more under way than its queues hold, and loses nothing",
  timeout,
  async fn() {
    const { value } = await run(() => pipeline.main(300));
    const { most, ...rest } = value;
    assertEquals(rest, { stuffed: 10, taken: 300, primes: 62, correct: true });
    assert(most <= 10, `${most} were under way`);
  },
});

Deno.test({
  name: "pipeline.ts comes to its end with less input than its queues hold",
  timeout,
  async fn() {
    const { value } = await run(() => pipeline.main(3));
    assertEquals([value.taken, value.primes, value.correct], [3, 2, true]);
  },
});

Deno.test({
  name: "lost_update.ts loses updates by value += 1, and none by add() or under the lock",
  timeout,
  async fn() {
    const { value, printed } = await run(() => lostUpdate.main(5_000));
    assertEquals([value.unlucky, value.adding, value.locking], [100, 10_000, 10_000]);
    assert(value.careless <= 10_000);
    assert(printed.includes("unlucky: 100 of 200, 100 lost\nadding: 10000 of 10000, none lost"));
  },
});

Deno.test({
  name: "hash_files.ts hashes every file of a folder, in order, as one agent would",
  timeout,
  async fn() {
    const { value, printed } = await run(() =>
      hashFiles.main([LICENSE, EXAMPLES], { processes: 2, ...QUIET })
    );
    const names = [...Deno.readDirSync(EXAMPLES)].map(({ name }) => `${EXAMPLES}/${name}`).sort();
    assertEquals([...value.keys()], [LICENSE, ...names]);
    for (const [path, hash] of value) assertEquals(hash, await hashFiles.hash(path));
    assertEquals(printed, [...value].map(([path, hash]) => `${hash}  ${path}`).join("\n"));
  },
});

Deno.test({
  name: "hash_files.ts hashes nothing where there are no files",
  timeout,
  async fn() {
    const { value, printed } = await run(() => hashFiles.main([], { processes: 1, ...QUIET }));
    assertEquals([value.size, printed], [0, ""]);
  },
});

Deno.test("hash_files.hash() is the SHA-256 of the file", async () => {
  const expected = createHash("sha256").update(Deno.readFileSync(LICENSE)).digest("hex");
  assertEquals(await hashFiles.hash(LICENSE), expected);
});

Deno.test({
  name: "stop_event.ts ends both children in good order",
  timeout,
  async fn() {
    const { value, printed } = await run(stopEvent.main);
    assertEquals(value.reports, ["computing", "ticking"]);
    assert(value.rounds.every((rounds) => rounds >= 3), `rounds: ${value.rounds}`);
    assertEquals(value.exitCodes, [0, 0]);
    assertEquals(
      printed,
      "computing and ticking: stop\nstopped after 3 rounds or more, with exit codes 0 and 0",
    );
  },
});

Deno.test({
  name: "wordcount.ts counts a folder alike with one process and with three",
  timeout,
  async fn() {
    const one = await run(() => wordcount.main([EXAMPLES], { processes: 1, ...QUIET }));
    const three = await run(() => wordcount.main([EXAMPLES], { processes: 3, ...QUIET }));
    assertEquals(one.value.processes, 1);
    assertEquals(three.value.processes, 3);
    assert(one.value.agree && three.value.agree);
    assertEquals(one.value.top, three.value.top);
    assertEquals(one.value.words, three.value.words);
    assertEquals(one.value.top.length, 20);
    assert(three.printed.endsWith("both counts agree"));
  },
});

Deno.test({
  name: "wordcount.ts counts no words where there are no files",
  timeout,
  async fn() {
    const { value } = await run(() => wordcount.main([], QUIET));
    assertEquals([value.files, value.words, value.top, value.agree], [0, 0, [], true]);
  },
});

Deno.test({
  name: "wordcount.ts refuses a path that does not exist",
  timeout,
  async fn() {
    await assertRejects(
      () => run(() => wordcount.main([`${EXAMPLES}/missing`], QUIET)),
      Deno.errors.NotFound,
    );
  },
});

Deno.test("wordcount.countFile() counts the same, whatever it reads at once", () => {
  const expected: wordcount.Counts = new Map();
  for (const [word] of Deno.readTextFileSync(LICENSE).toLowerCase().matchAll(/[a-z]+/g)) {
    expected.set(word, (expected.get(word) ?? 0) + 1);
  }
  for (const chunk of [1, 7, 100, 1 << 20]) {
    const counts: wordcount.Counts = new Map();
    wordcount.countFile(LICENSE, counts, chunk);
    assertEquals(counts, expected);
  }
});

Deno.test({
  name: "demo.ts runs all programs, and its checks pass",
  timeout,
  async fn() {
    const { value, printed } = await run(() => demo.main([LICENSE], QUIET));
    assertEquals(value, true);
    const lines = printed.split("\n");
    for (
      const line of ['[ "hello world" ]', "hello world", "3.1415927", "[ -1, -2, -3, -4, -5 ]"]
    ) {
      assert(lines.includes(line), `no line ${line}`);
    }
    assert(printed.endsWith("both counts agree"));
  },
});
