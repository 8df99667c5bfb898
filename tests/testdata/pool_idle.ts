// Copyright 2026 the Sabre authors. MIT license.

// A program that leaves a pool open, and ends all the same.

import { Pool } from "../../pool.ts";

const pool = new Pool(import.meta.resolve("./pool_targets.ts"), { size: 2 });
if (await pool.run("square", [2]) !== 4) throw new Error("It computed something else");
