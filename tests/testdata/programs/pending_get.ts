// Copyright 2026 the Sabre authors. MIT license.

// The only thing that this program does is to wait.

import { Queue } from "@sabre/ipc";

const ended = new Queue().get({ timeout: 700 });
console.log(await ended.catch((error: DOMException) => error.name));
