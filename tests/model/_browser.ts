// Copyright 2026 the Sabre authors. MIT license.

// See _typescript.ts, which imports this first.

import process from "node:process";

(process as { browser?: boolean }).browser = true;
