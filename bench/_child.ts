// Copyright 2026 the Sabre authors. MIT license.

/** What a process runs that is timed for its start and end alone. */
export function nothing(): void {}
