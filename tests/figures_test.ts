// Copyright 2026 the Sabre authors. MIT license.

// The figures of the documents are those that the benchmarks wrote.

import { assertEquals } from "@std/assert";
import { DOCUMENTS, type Figures, folderOf, insert } from "../bench/figures.ts";
import figures from "../bench/results.json" with { type: "json" };

/** What it says, whatever the formatter has made of it. */
function wordsOf(text: string): string[] {
  return text.replaceAll(/-{3,}:?/g, "---").split(/\s+/);
}

for (const document of DOCUMENTS) {
  Deno.test(`${document} shows the figures of bench/results.json`, () => {
    const text = Deno.readTextFileSync(new URL(`../${document}`, import.meta.url));
    const expected = insert(text, figures as unknown as Figures, folderOf(document));
    assertEquals(wordsOf(text), wordsOf(expected), "run bench/figures.ts");
  });

  Deno.test(`${document} shows charts that are there`, () => {
    const text = Deno.readTextFileSync(new URL(`../${document}`, import.meta.url));
    for (const [, path] of text.matchAll(/!\[.+?\]\((.+?)\)/g)) {
      const svg = Deno.readTextFileSync(new URL(path!, new URL(`../${document}`, import.meta.url)));
      assertEquals(svg.startsWith("<svg "), true, path);
    }
  });
}

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
