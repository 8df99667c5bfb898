// Copyright 2026 the Sabre authors. MIT license.

// A module that starts a pool whenever it is evaluated, which no process may.

import { Pool } from "../../pool.ts";

export const pool = new Pool(import.meta.url, { size: 1 });

export function nothing(): void {}
