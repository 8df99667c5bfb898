// Copyright 2026 the Sabre authors. MIT license.

/// <reference lib="deno.worker" />

import * as Comlink from "npm:comlink@4.4.2";
import { square } from "../../examples/squares.ts";

Comlink.expose({ square }, self as unknown as Comlink.Endpoint);
self.postMessage("ready");
