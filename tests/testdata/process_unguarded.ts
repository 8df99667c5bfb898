// Copyright 2026 the Sabre authors. MIT license.

// A program that forgot `if (import.meta.main)`.

import { Process } from "../../process.ts";

export function target(): void {}

new Process(import.meta.url, { target }).start();
