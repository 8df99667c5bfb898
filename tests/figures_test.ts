// Copyright 2026 the Sabre authors. MIT license.

// The figures of the README are those that the benchmarks wrote.

import { assertEquals } from "@std/assert";
import { type Figures, tableOf } from "../bench/figures.ts";
import figures from "../bench/results.json" with { type: "json" };

/** What it says, whatever the formatter has made of it. */
function wordsOf(text: string): string[] {
  return text.replaceAll(/-{3,}/g, "---").split(/\s+/);
}

Deno.test("README.md shows the figures of bench/results.json", () => {
  const readme = Deno.readTextFileSync(new URL("../README.md", import.meta.url));
  const words = wordsOf(readme).join(" ");
  const expected = wordsOf(tableOf(figures as unknown as Figures)).join(" ");
  assertEquals(words.includes(expected), true, "run bench/figures.ts");
});

Deno.test("README.md has its sections", () => {
  const readme = Deno.readTextFileSync(new URL("../README.md", import.meta.url));
  const sections = [...readme.matchAll(/^## (.+)$/gm)].map(([, name]) => name);
  assertEquals(sections, [
    "Install",
    "The smallest whole program",
    "Try it",
    "Which primitive do I pick?",
    "Permissions",
    "How terminating works, and what no library can stop",
    "How it works",
    "Testing",
    "Benchmarks",
    "License",
  ]);
});
