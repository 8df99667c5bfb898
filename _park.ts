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
 * began, as far as they are known, `leave` with all of them, as long as it `counts` them. `look` does
 * what the event loop cannot do meanwhile, and returns for how long it need not be called again.
 */
export const whileBlocked: {
  look: (waited: number) => number;
  leave: (waited: number) => void;
  /** Goes from `true` to `false` once and for all. */
  counts: boolean;
} = { look: () => Infinity, leave: () => {}, counts: false };

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

/** Pauses between two looks at what others hold for as long as they like: at first, and at the most. */
export const FIRST_PAUSES = 8;
export const MOST_PAUSES = 32;

/**
 * Pauses `turns` times, and returns how many times to do so before the look after the next: twice as many,
 * `most` at the most. Every look takes the memory from whoever is about to change it, and so puts off what is
 * waited for.
 */
export function backOff(turns: number, most: number): number {
  for (let i = 0; i < turns; i++) pause();
  return Math.min(turns * 2, most);
}

/**
 * Spins until the position in `words[index]` is `least` or more beyond `from`, for less time than going to
 * sleep would take: more room, rather than some. Who fills each word as it becomes free is at the heels of
 * who frees it, and both wait for the memory that the other has just touched. Returns whether it got there.
 */
export function spinUntilBeyond(
  words: Int32Array,
  index: number,
  from: number,
  least: number,
): boolean {
  let turns = FIRST_PAUSES;
  for (let spent = 0; spent < spinLimit; spent += turns) {
    if (((Atomics.load(words, index) - from) | 0) >= least) return true;
    turns = backOff(turns, MOST_PAUSES);
  }
  return false;
}

/** How long a {@linkcode Spinner} rests, in pauses: at least, and at the most. */
const LEAST_REST = 64;
const MOST_REST = 256;
/** Turns of a spin within which news comes as soon as in a stream. */
const SOON = 64;
/** How many times at the most it does not try to rest after it has done so in vain. */
const MOST_SKIPS = 256;

/** Looks in a row that found little after which a {@linkcode Spinner} keeps away. */
const CLOSE = 8;
/** How long it then does, in pauses. */
const AWAY = Math.min(spinLimit, 64);

/**
 * Spins for the news of a stream, such as the position of a ring's other side. If it comes soon, the
 * memory is then left alone for a moment in which more may come: cheaper for both sides than to take it
 * from each other for every item. Where nothing more comes, as in a conversation, it is hardly ever tried.
 * The same for who does not wait, but finds little each time it looks: it is at the heels of the other side.
 * Private to one agent.
 */
export class Spinner {
  #rest = LEAST_REST;
  /** News after which it does not rest: as many as after the last vain try, and how many are left. */
  #skips = 1;
  #left = 0;
  /** How many looks in a row found little. */
  #close = 0;

  /** To be called before a look: lets more come if the last ones found little. */
  keepAway(): void {
    if (this.#close >= CLOSE) backOff(AWAY, AWAY);
  }

  /** To be called after a look: whether it found anything, and whether that was little. */
  note(isFound: boolean, isLittle: boolean): void {
    const wasAway = this.#close >= CLOSE;
    // If little has come meanwhile either, it does not keep away again soon.
    if (!isFound || isLittle === wasAway) this.#close = 0;
    else if (isLittle) this.#close++;
  }

  /** Spins as {@linkcode spinWhile} does. */
  spin(words: Int32Array, index: number, value: number): boolean {
    for (let i = 0; i < spinLimit; i++) {
      const now = Atomics.load(words, index);
      if (now !== value) {
        if (i < SOON && this.#left-- <= 0) this.#leaveAlone(words, index, now);
        return true;
      }
      pause();
    }
    return false;
  }

  #leaveAlone(words: Int32Array, index: number, value: number): void {
    for (let i = 0; i < this.#rest; i++) pause();
    if (Atomics.load(words, index) !== value) {
      this.#rest = Math.min(this.#rest * 2, MOST_REST);
      this.#skips = 1;
      this.#left = 0;
    } else {
      this.#rest = LEAST_REST;
      this.#skips = Math.min(this.#skips * 2, MOST_SKIPS);
      this.#left = this.#skips;
    }
  }
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
