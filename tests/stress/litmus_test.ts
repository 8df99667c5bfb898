// Copyright 2026 the Sabre authors. MIT license.

import { registerLitmus } from "../_litmus.ts";

registerLitmus(1_000_000, 600_000);
