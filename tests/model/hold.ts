// Copyright 2026 the Sabre authors. MIT license.

// Stands for `_hold.ts` in the model, where there is no event loop to keep alive.

export function holdLoop(): void {}

export function releaseLoop(): void {}
