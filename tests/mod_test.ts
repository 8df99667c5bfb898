// Copyright 2026 the Sabre authors. MIT license.

// The shape of the package: what is public, what is loaded by address, and which way imports point.

import { assert, assertEquals } from "@std/assert";
import config from "../deno.json" with { type: "json" };

// Bottom up. A file imports values from layers above it in this list only, so never from its own.
// Types may come from anywhere, as long as no cycle arises. A new file needs a place here; a file
// that does not exist yet may have one.
const LAYERS: readonly (readonly string[])[] = [
  ["_origin.ts"],
  [
    "errors.ts",
    "_options.ts",
    "_clock.ts",
    "_hold.ts",
    "_park.ts",
    "_ring.ts",
    "_flow.ts",
    "_threads.ts",
    "_primitive.ts",
    "_views.ts",
  ],
  ["_agent.ts", "_cells.ts"],
  ["_latch.ts", "_line.ts", "_report.ts"],
  ["_wait.ts"],
  ["_watch.ts"],
  ["_warden.ts", "_handle.ts"],
  [
    "_mutex.ts",
    "_permits.ts",
    "_condition.ts",
    "_event.ts",
    "_barrier.ts",
    "_codec.ts",
    "_calls.ts",
    "_channel.ts",
  ],
  ["_exclusive.ts", "_record.ts", "_target.ts", "_parcel.ts", "_spawn.ts"],
  ["_sharing.ts", "_receiver.ts", "_sender.ts", "_store.ts"],
  ["_getting.ts", "_putting.ts"],
  ["lock.ts", "semaphore.ts", "event.ts", "barrier.ts", "pipe.ts"],
  ["rwlock.ts", "condition.ts", "queue.ts", "shared.ts"],
  ["process.ts"],
  ["_child.ts", "_serve.ts", "select.ts", "diagnostics.ts"],
  ["pool.ts"],
  ["mod.ts"],
];

const ROOT = new URL("../", import.meta.url);

interface Import {
  specifier: string;
  kind: "value" | "type" | "dynamic";
}

/** What each published module says, without its comments, by file name. */
const sources = new Map<string, string>();
for (const { name, isFile } of Deno.readDirSync(ROOT)) {
  if (isFile && name.endsWith(".ts")) {
    sources.set(name, withoutComments(Deno.readTextFileSync(new URL(name, ROOT))));
  }
}

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

function importsOf(source: string): Import[] {
  const found: Import[] = [];
  const statement =
    /^(?:import|export)\s+(type\s+)?((?:\*(?:\s+as\s+\w+)?|\w+)?,?\s*(?:\{[^}]*\})?)\s*from\s*["']([^"']+)["']/gm;
  for (const [, type, names = "", specifier = ""] of source.matchAll(statement)) {
    const braces = /^\{([^}]*)\}$/.exec(names.trim())?.[1];
    const named = braces?.split(",").map((name) => name.trim()).filter((name) => name !== "");
    const typesOnly = type !== undefined ||
      (named !== undefined && named.length > 0 && named.every((name) => name.startsWith("type ")));
    found.push({ specifier, kind: typesOnly ? "type" : "value" });
  }
  for (const [, specifier = ""] of source.matchAll(/^import\s*["']([^"']+)["']/gm)) {
    found.push({ specifier, kind: "value" });
  }
  const call = /\b(?:import|getBuiltinModule\??\.?)\s*\(\s*["'`]([^"'`]+)["'`]/g;
  for (const [, specifier = ""] of source.matchAll(call)) {
    found.push({ specifier, kind: "dynamic" });
  }
  return found;
}

function layerOf(file: string): number {
  return LAYERS.findIndex((layer) => layer.includes(file));
}

Deno.test("deno.json exports every public module, and nothing that is not there", () => {
  const modules = [...sources.keys()].filter((file) => !file.startsWith("_"));
  const expected = modules.map((file) =>
    file === "mod.ts" ? [".", "./mod.ts"] : [`./${file.slice(0, -3)}`, `./${file}`]
  );
  assertEquals(config.exports, Object.fromEntries(expected));
});

Deno.test("mod.ts is one export line for each public module, in order, and nothing else", () => {
  const lines = (sources.get("mod.ts") ?? "").split("\n").filter((line) => line.trim() !== "");
  const expected = [...sources.keys()]
    .filter((file) => !file.startsWith("_") && file !== "mod.ts")
    .sort()
    .map((file) => `export * from "./${file}";`);
  assertEquals(lines, expected);
});

Deno.test("each file that a published module loads by its address exists", () => {
  const address =
    /import\.meta\.resolve\(\s*["'`]([^"'`]+)["'`]|new URL\(\s*["'`]([^"'`]+)["'`],\s*import\.meta\.url/g;
  for (const [file, source] of sources) {
    for (const [, resolved, joined] of source.matchAll(address)) {
      const path = resolved ?? joined ?? "";
      // What a message tells the user to write.
      if (path === "./module.ts") continue;
      assert(
        path.startsWith("./") && sources.has(path.slice(2)),
        `${file} refers to "${path}", which is not a module in the root`,
      );
    }
  }
});

Deno.test("published modules import each other, and beside that only node: modules when they run", () => {
  for (const [file, source] of sources) {
    for (const { specifier, kind } of importsOf(source)) {
      const own = specifier.startsWith("./") && sources.has(specifier.slice(2));
      const builtin = kind === "dynamic" && specifier.startsWith("node:");
      assert(own || builtin, `${file} imports "${specifier}"`);
    }
  }
});

Deno.test("every published module has a layer, and imports values from lower ones only", () => {
  assertEquals([...sources.keys()].filter((file) => layerOf(file) === -1), []);
  assertEquals(LAYERS.flat().length, new Set(LAYERS.flat()).size);
  for (const [file, source] of sources) {
    for (const { specifier, kind } of importsOf(source)) {
      if (kind !== "value") continue;
      assert(
        layerOf(specifier.slice(2)) < layerOf(file),
        `${file} imports "${specifier}", which is not in a lower layer`,
      );
    }
  }
});

Deno.test("once all public modules are there, so is every file of the layers", () => {
  const missing = LAYERS.flat().filter((file) => !sources.has(file));
  const isComplete = missing.every((file) => file.startsWith("_"));
  if (isComplete) assertEquals(missing, []);
});

Deno.test("imports of published modules have no cycle, not even of types", () => {
  const finished = new Set<string>();
  const visit = (file: string, path: string[]): void => {
    assert(!path.includes(file), `a cycle: ${[...path, file].join(" -> ")}`);
    if (finished.has(file)) return;
    for (const { specifier } of importsOf(sources.get(file) ?? "")) {
      if (specifier.startsWith("./")) visit(specifier.slice(2), [...path, file]);
    }
    finished.add(file);
  };
  for (const file of sources.keys()) visit(file, []);
});

Deno.test("importsOf() tells values, types and dynamic imports apart", () => {
  const source = withoutComments(`
/** import { a } from "comment"; */
// import { a } from "comment";
import { a, type B } from "./value.ts";
import {
  type C,
  type D,
} from "./type.ts"; // import("comment")
import type { E } from "./type.ts";
export type { F } from "./type.ts";
export * from "./value.ts";
import * as g from "./value.ts";
import "./value.ts";
export const text = 'x from "string"';
const util = await import("node:util"), types = process?.getBuiltinModule?.("node:util");
`);
  const texts = importsOf(source).map(({ kind, specifier }) => `${kind} ${specifier}`);
  assertEquals(texts.sort(), [
    "dynamic node:util",
    "dynamic node:util",
    "type ./type.ts",
    "type ./type.ts",
    "type ./type.ts",
    "value ./value.ts",
    "value ./value.ts",
    "value ./value.ts",
    "value ./value.ts",
  ]);
});
