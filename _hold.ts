// Copyright 2026 the Sabre authors. MIT license.

// What keeps the event loop alive while something is awaited: a promise that waits on shared memory does
// not. One timer does, for all of this agent's waits.
//
// To set and clear a timer takes longer than all else that this package does for a short wait. So the
// timer outlives the last wait by some turns of promises, in which whoever waits in a loop begins its
// next wait; but by no turn of the event loop, so that nobody finds it who looks for what was left behind.

/** Turns of promises for which the timer outlives the last wait: more than such a loop takes. */
const TURNS = 24;
/** Longest delay that timers take. */
const MAX_DELAY = 2 ** 31 - 1;

let holds = 0;
let timer: ReturnType<typeof setInterval> | undefined;
let isLingering = false;

/** Keeps the event loop alive until {@linkcode releaseLoop} was called as often. */
export function holdLoop(): void {
  if (holds++ === 0) timer ??= setInterval(() => {}, MAX_DELAY);
}

/** The counterpart of {@linkcode holdLoop}. */
export function releaseLoop(): void {
  if (--holds === 0 && !isLingering) linger();
}

async function linger(): Promise<void> {
  isLingering = true;
  for (let i = 0; i < TURNS && holds === 0; i++) await undefined;
  isLingering = false;
  if (holds > 0) return;
  clearInterval(timer);
  timer = undefined;
}
