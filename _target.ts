// Copyright 2026 the Sabre authors. MIT license.

// What a process runs: an exported function of a module, which travels by name.

import { show } from "./_options.ts";

/** The name under which a function is looked for in its module, if it can be found there at all. */
export function targetName(target: unknown, action: string): string {
  if (typeof target === "string") return target;
  if (typeof target !== "function") {
    throw new TypeError(
      `Cannot ${action} as the target must be an exported function or its name: current value is ${
        show(target)
      }`,
    );
  }
  const { name } = target;
  if (name === "" || name.startsWith("bound ")) {
    throw new TypeError(
      `Cannot ${action} as the target must be an exported function, which travels by name: current value is ${
        name === "" ? "an anonymous function" : `the bound function "${name.slice(6)}"`
      }`,
    );
  }
  return name;
}

/**
 * The function that a module exports under the name. With `orNamed`, also one that has this name and
 * is exported under another one: all that is known of a function that was passed is its name.
 */
export function targetIn(
  exports: Record<string, unknown>,
  name: string,
  module: string,
  orNamed = false,
): (...args: unknown[]) => unknown {
  // A module has no prototype; to ask it what is its own would take longer than all else here.
  const isOwn = Object.getPrototypeOf(exports) === null || Object.hasOwn(exports, name);
  let target = isOwn ? exports[name] : undefined;
  if (orNamed && typeof target !== "function") {
    target = Object.values(exports).find((value) =>
      typeof value === "function" && value.name === name
    ) ?? target;
  }
  if (typeof target === "function") return target as (...args: unknown[]) => unknown;
  throw new TypeError(
    target === undefined
      ? `Cannot run "${name}": the module ${module} does not export it, and an inline function cannot travel`
      : `Cannot run "${name}": the module ${module} exports ${show(target)} under this name`,
  );
}

let loading = 0;

/** Imports the module of a target. Meanwhile {@linkcode isLoading} says so. */
export async function loadModule(module: string): Promise<Record<string, unknown>> {
  loading++;
  try {
    return await import(module);
  } finally {
    loading--;
  }
}

/** Whether this agent is still evaluating the module of its target. */
export function isLoading(): boolean {
  return loading > 0;
}
