// Copyright 2026 the Sabre authors. MIT license.

/// <reference lib="deno.worker" />

self.postMessage("ready");
