// Copyright 2026 the Sabre authors. MIT license.

/// <reference lib="deno.worker" />

// A worker that runs named exports of other modules on what is posted to it: see `_helpers.ts`.

interface Order {
  readonly id: number;
  readonly module: string;
  readonly target: string;
  readonly args: readonly unknown[];
}

self.onmessage = async ({ data }: MessageEvent<Order>) => {
  const { id, module, target, args } = data;
  try {
    const functions: Record<string, (...args: readonly unknown[]) => unknown> = await import(
      module
    );
    const run = functions[target];
    if (run === undefined) {
      throw new TypeError(`Cannot run "${target}": ${module} has no such export`);
    }
    self.postMessage({ id, value: await run(...args) });
  } catch (error) {
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    self.postMessage({ id, error: text });
  }
};

// So that whoever started this worker can tell when it answers at once.
self.postMessage({ id: 0, value: undefined });
