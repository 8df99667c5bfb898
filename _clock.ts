// Copyright 2026 the Sabre authors. MIT license.

// The clock that all agents of a program agree on, to within the accuracy of their time origins.

/** Kept, as asking for it again costs as much as asking for the time. */
const { timeOrigin } = performance;

/** Now, in microseconds modulo 2^32, as an Int32. */
export function micros(): number {
  return ((timeOrigin + performance.now()) * 1_000) | 0;
}

/** Now, or at the moment `now` of this agent's own clock, in milliseconds modulo 2^32, as an Int32. */
export function millis(now: number = performance.now()): number {
  return (timeOrigin + now) | 0;
}

/** Whether at least `span` microseconds lie between the two times. */
export function hasPassed(since: number, now: number, span: number): boolean {
  const elapsed = (now - since) | 0;
  // Negative: more than half an hour, or clocks that differ. Either way the long wait is the safe guess.
  return elapsed < 0 || elapsed >= span;
}
