// Copyright 2026 the Sabre authors. MIT license.

// Messages so large that they need hundreds of megabytes: not for every run.

import { assert, assertEquals } from "@std/assert";
import { pipe } from "../../pipe.ts";
import { Queue } from "../../queue.ts";

/** More than the length in a record's header can say. */
const LENGTH = 2 ** 27 + 5;

function assertIntact(bytes: Uint8Array): void {
  assertEquals(bytes.length, LENGTH);
  assert(bytes[0] === 1 && bytes[LENGTH >> 1] === 2 && bytes[LENGTH - 1] === 3);
}

for (const capacity of [65_536, 2 ** 28]) {
  Deno.test(`a message of 128 MiB passes a pipe and a queue of ${capacity} bytes`, async () => {
    const bytes = new Uint8Array(LENGTH);
    bytes[0] = 1;
    bytes[LENGTH >> 1] = 2;
    bytes[LENGTH - 1] = 3;
    const [here, there] = pipe<Uint8Array>({ capacity });
    const sent = here.send(bytes);
    assertIntact(await there.receive());
    await sent;
    const queue = new Queue<Uint8Array>({ capacity });
    const put = queue.put(bytes);
    assertIntact(await queue.get());
    await put;
    const many = queue.putMany([bytes]);
    assertIntact(await queue.get());
    assertEquals(await many, 1);
  });
}
