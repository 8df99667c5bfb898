// Copyright 2026 the Sabre authors. MIT license.

// How a thread sleeps and is woken: the only file that calls `Atomics.wait`, `Atomics.waitAsync` and
// `Atomics.notify`. It knows words and the values expected in them, never what they mean.
//
// Every wake-up is for all who sleep on the word: a sleeper that died, or a ticket whose call was
// cancelled, can then swallow nothing that was meant for somebody else.

/** Whether this thread may block: not so on the main thread of a browser. */
export const canBlock: boolean = mayBlock();

/**
 * Sleeps until `words[index]` is notified or `milliseconds` have passed. Returns at once when the
 * word does not hold `expected`. May return early for no reason: look at the state again. Returns
 * whether the time has passed.
 */
export function park(
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  expected: number,
  milliseconds: number,
): boolean {
  return Atomics.wait(words, index, expected, milliseconds) === "timed-out";
}

/**
 * Like {@linkcode park} without blocking the thread: the promise resolves at the next notification.
 * `undefined` when the word does not hold `expected`.
 */
export function parkAsync(
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  expected: number,
): Promise<unknown> | undefined {
  // Without a timeout on purpose: the engine's is coarse and outlives its use.
  const ticket = Atomics.waitAsync(words, index, expected);
  return ticket.async ? ticket.value : undefined;
}

/** Wakes everyone who sleeps on `words[index]`. */
export function wakeAll(words: Int32Array<SharedArrayBuffer>, index: number): void {
  Atomics.notify(words, index);
}

/**
 * Called by whoever blocks the thread: `look` before each sleep, with the milliseconds since the wait
 * began, `leave` with all of them. `look` does what the event loop cannot do meanwhile, and returns for
 * how long it need not be called again.
 */
export const whileBlocked: {
  look: (waited: number) => number;
  leave: (waited: number) => void;
} = { look: () => Infinity, leave: () => {} };

/**
 * How many pauses, of about 30 nanoseconds each, are worth more than going to sleep: what a park and
 * an unpark cost together, far below 50 microseconds. None on a single core, where whoever would make
 * the change cannot run meanwhile.
 */
export const spinLimit: number = (globalThis.navigator?.hardwareConcurrency ?? 2) > 1 ? 300 : 0;

/** Tells the processor that this is a busy loop. */
export const pause: () => void = (Atomics as { pause?: () => void }).pause ?? (() => {});

/**
 * Spins until `words[index]` no longer holds `value`, for less time than going to sleep would take.
 * Returns whether it changed.
 */
export function spinWhile(words: Int32Array, index: number, value: number): boolean {
  for (let i = 0; i < spinLimit; i++) {
    if (Atomics.load(words, index) !== value) return true;
    pause();
  }
  return false;
}

function mayBlock(): boolean {
  try {
    // The value differs, so that this never sleeps; where blocking is forbidden it throws even so.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}
