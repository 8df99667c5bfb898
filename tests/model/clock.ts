// Copyright 2026 the Sabre authors. MIT license.

// Stands for `_clock.ts` in the model: whether time has passed is a choice.

import { choose } from "./scenario.ts";

export function micros(): number {
  return 0;
}

export function millis(): number {
  return 0;
}

export function hasPassed(_since: number, _now: number, _span: number): boolean {
  return choose(2) === 1;
}
