// Copyright 2026 the Sabre authors. MIT license.

/** Squares a number: the smallest function for a pool. */
export function square(x: number): number {
  return x * x;
}
