// Copyright 2026 the Sabre authors. MIT license.

// The engine against the model's assumptions. Ten times as long: tests/stress/litmus_test.ts.

import { registerLitmus } from "./_litmus.ts";

registerLitmus(100_000, 60_000);
