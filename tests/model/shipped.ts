// Copyright 2026 the Sabre authors. MIT license.

// What the tests of shipped modules have in common: how these are loaded, and how a result is judged.

import { assert, assertEquals } from "@std/assert";
import { explore, type ExploreOptions, type Result } from "./explore.ts";
import { load, type Loaded, type LoadOptions } from "./transform.ts";

/**
 * The shipped source but for its leaves: waiting and the clock are the model's, there is no codec and no
 * event loop, tables of agents are short, and a blocked thread relies on being woken rather than on its
 * slice.
 */
export const options: LoadOptions = {
  replace: {
    "_park.ts": new URL("./park.ts", import.meta.url),
    "_clock.ts": new URL("./clock.ts", import.meta.url),
    "_hold.ts": new URL("./hold.ts", import.meta.url),
    "_codec.ts": new URL("./codec.ts", import.meta.url),
    "_report.ts": new URL("./report.ts", import.meta.url),
    "_views.ts": new URL("./views.ts", import.meta.url),
  },
  constants: {
    "_latch.ts": { SPINS: 0 },
    "_ring.ts": { LINE: 1, AHEAD: 3 },
    "_agent.ts": { MAX_AGENTS: 8 },
    "_wait.ts": { SILENCE: Infinity, SLICE: Infinity },
    "_putting.ts": { STAGE_WORDS: 16 },
  },
};

/** What the explorer cannot run as it stands, and does not need: see `refusals` in the tests. */
function adapt(file: string, source: string): string {
  if (file === "_putting.ts") {
    // A constructor cannot yield. Runs are put without a limit of items.
    return source.replace("limitsOf(store.words).maxItems > 0", "false");
  }
  if (file === "_sharing.ts") {
    // Nor can it look into memory.
    return source.replace("isLock(this.permits)", 'kind === "RwLock"');
  }
  if (file === "_wait.ts") {
    // A promise is two functions that the caller gives.
    return source.replace("\n): Promise<boolean> {", "\n  resolve: never,\n  reject: never,\n) {")
      .replace(/return new Promise\(\(resolve, reject\) => \{\s*(add\(.*?\);)\s*\}\);/s, "$1");
  }
  return source;
}

/** The same over a latch by its specification: for more agents, where the real one takes too many states. */
const overLatch: LoadOptions = {
  ...options,
  replace: { ...options.replace, "_latch.ts": new URL("./latch.ts", import.meta.url) },
};

/** Runs in records of two numbers, as a small ring cannot have a quarter with several. */
export const SHORT_RUNS: LoadOptions["constants"] = { "_record.ts": { SHORT_RUN: 8, HEADERS: 0 } };

/** A scenario file with the shipped modules that it imports, changed by `edit` if it is a mutant. */
export function shipped(
  name: string,
  latch: "real" | "specified" = "real",
  edit?: LoadOptions["edit"],
  constants?: LoadOptions["constants"],
): Promise<Loaded> {
  const url = new URL(`./scenarios/${name}.ts`, import.meta.url);
  const base = latch === "real" ? options : overLatch;
  return load(url, {
    ...base,
    constants: { ...base.constants, ...constants },
    edit: (file, source) =>
      edit === undefined ? adapt(file, source) : edit(file, adapt(file, source)),
  });
}

/** The scenario of agents that block each other, who tell of their waits and look for a deadlock at once. */
export function deadlocks(edit?: LoadOptions["edit"]): Promise<Loaded> {
  const { "_report.ts": _, ...replace } = overLatch.replace!;
  return load(new URL("./scenarios/deadlock.ts", import.meta.url), {
    replace,
    constants: { ...options.constants, "_wait.ts": { SILENCE: 0, SLICE: Infinity, PATIENCE: 0 } },
    edit: (file, source) =>
      edit === undefined ? adapt(file, source) : edit(file, adapt(file, source)),
  });
}

/** The same for the scenarios of permits, conditions, events and barriers. */
export function family(name: string, edit?: LoadOptions["edit"]): Promise<Loaded> {
  return load(new URL(`./scenarios/${name}.ts`, import.meta.url), {
    ...options,
    constants: { ...options.constants, "_condition.ts": { PLACES: 10 } },
    ...(edit === undefined ? {} : { edit }),
  });
}

/** The same over a latch, and for conditions a lock, by their specifications: for three agents. */
export function specified(name: string): Promise<Loaded> {
  return load(new URL(`./scenarios/${name}.ts`, import.meta.url), {
    ...overLatch,
    replace: { ...overLatch.replace, "_mutex.ts": new URL("./mutex.ts", import.meta.url) },
    constants: { ...options.constants, "_condition.ts": { PLACES: 10 } },
  });
}

/** A death may leave a latch whose next taker finds out by itself, after its slice of sleep. */
export const DEATH: ExploreOptions = { kills: 1, timeouts: "rest" };

/** Explores everything within the bounds, and expects no violation. */
export function holds(
  module: Loaded,
  name: string,
  args: unknown[],
  bounds: ExploreOptions = {},
): Result {
  const result = explore(module.scenario(name, ...args), { walks: 50, ...bounds });
  assertEquals(result.violation, undefined, result.report);
  assert(result.complete, result.report);
  console.log(result.report);
  return result;
}
