// Copyright 2026 the Sabre authors. MIT license.

// A module that cannot be evaluated.

export function target(): void {}

throw new RangeError("while loading");
