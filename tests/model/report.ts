// Copyright 2026 the Sabre authors. MIT license.

// Stands for `_report.ts` in the model of everything but deadlocks: nobody tells anything, which keeps
// the number of states small. No wait depends on it.

import type { Domain } from "../../_agent.ts";
import type { Cycle, Linked, Told, What } from "../../_report.ts";

export function whatOf(_kind: string, serial: number, _call: string): What {
  return { word: 0, serial, isLock: false };
}

export function tellBlocked(): number {
  return 0;
}

export function tellAwake(): void {}

export function tellPromise(): void {}

export function toldBy(): Told | undefined {
  return undefined;
}

export function isBlocked(): boolean {
  return false;
}

export function findDeadlock(_domain: Domain, _wait: Linked): Cycle | undefined {
  return undefined;
}

export function describeCycle(): string {
  return "";
}
