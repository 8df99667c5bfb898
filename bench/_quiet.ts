// Copyright 2026 the Sabre authors. MIT license.

// Figures of a machine that is doing something else are worth nothing.

/** The share of all cores that is busy, up to 1, over half a second. */
export async function load(): Promise<number> {
  const before = ticks();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const after = ticks();
  const all = after.all - before.all;
  return all > 0 ? 1 - (after.idle - before.idle) / all : 0;
}

/**
 * Waits until nothing else runs on the machine, at most `patience` milliseconds; says how busy it is
 * then, up to 1.
 */
export async function quiet(patience: number): Promise<number> {
  const end = performance.now() + patience;
  for (;;) {
    const busy = await load();
    if (busy < 0.1 || performance.now() >= end) return busy;
  }
}

/** What the cores have done since the machine started. Elsewhere than on Linux it is not known. */
function ticks(): { all: number; idle: number } {
  try {
    const line = Deno.readTextFileSync("/proc/stat").split("\n")[0] ?? "";
    const fields = line.trim().split(/\s+/).slice(1, 9).map(Number);
    const all = fields.reduce((sum, field) => sum + field, 0);
    return { all, idle: (fields[3] ?? 0) + (fields[4] ?? 0) };
  } catch {
    return { all: 0, idle: 0 };
  }
}
