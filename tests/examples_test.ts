// Copyright 2026 the Sabre authors. MIT license.

// The programs in examples/ print what the README says.

import { assert, assertEquals, assertRejects } from "@std/assert";
import * as demo from "../examples/demo.ts";
import * as helloPipe from "../examples/hello_pipe.ts";
import * as helloQueue from "../examples/hello_queue.ts";
import * as producerConsumer from "../examples/producer_consumer.ts";
import * as sharedMemory from "../examples/shared_memory.ts";
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
