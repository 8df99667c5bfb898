// Copyright 2026 the Sabre authors. MIT license.

// The TypeScript compiler as a library, under `--allow-read` alone: with `process.browser` set it
// looks for no environment variable and no file system.

import "./_browser.ts";
import ts from "npm:typescript@5.9.3";

export default ts;
