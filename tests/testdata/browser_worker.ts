// Copyright 2026 the Sabre authors. MIT license.

// A worker that may not block, like the main thread of a browser.

import type { Guard } from "../../lock.ts";

let guard: Guard | undefined;

/** Forbids to block before any module of the package is loaded, and joins. */
export async function join(memory: SharedArrayBuffer): Promise<number> {
  Atomics.wait = () => {
    throw new TypeError("Atomics.wait cannot be called in this context");
  };
  const agent = await import("../../_agent.ts");
  return agent.join(memory).id;
}

/** How acquiring ended. */
export async function acquire(
  message: unknown,
  form: "async" | "sync",
  options: { timeout?: number },
): Promise<string> {
  const { Lock } = await import("../../lock.ts");
  const lock = Lock.from(message);
  try {
    guard = form === "sync" ? lock.acquireSync(options) : await lock.acquire(options);
    return "held";
  } catch (error) {
    return String(error);
  }
}

/** Releases what was acquired. */
export function release(): void {
  guard?.release();
}
