// Copyright 2026 the Sabre authors. MIT license.

// The codec beside structured clone and JSON, in one agent: `deno bench bench/codec_bench.ts`. For
// structured clone and JSON a message is what they make of the value; both ways are timed where the
// two cannot be told apart.

import { decode, encode, output } from "../_codec.ts";

const object = (id: number) => ({
  id,
  name: "abc",
  pos: { x: 1.5, y: 2.5 },
  tags: ["a", "b"],
  ok: true,
});

const VALUES: Record<string, unknown> = {
  "integer": 7,
  "64-character string": "x".repeat(64),
  "nested object": object(1),
  "array of 100 nested objects": Array.from({ length: 100 }, (_, i) => object(i)),
};

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder();

for (const [group, value] of Object.entries(VALUES)) {
  const message = output.bytes.slice(0, encode(value));
  const text = JSON.stringify(value);
  const textBytes = textEncoder.encode(text);
  const room = new Uint8Array(textBytes.length);
  // Checked before it is timed.
  if (JSON.stringify(decode(message, 0, message.length)) !== text) throw new Error(group);

  Deno.bench({ group, baseline: true, name: `codec, both ways: ${group}` }, () => {
    decode(output.bytes, 0, encode(value));
  });
  Deno.bench({ group, name: `codec, encode: ${group}` }, () => {
    encode(value);
  });
  Deno.bench({ group, name: `codec, decode: ${group}` }, () => {
    decode(message, 0, message.length);
  });
  Deno.bench({ group, name: `structuredClone: ${group}` }, () => {
    structuredClone(value);
  });
  Deno.bench({ group, name: `JSON and bytes, encode: ${group}` }, () => {
    textEncoder.encodeInto(JSON.stringify(value), room);
  });
  Deno.bench({ group, name: `JSON and bytes, decode: ${group}` }, () => {
    JSON.parse(textDecoder.decode(textBytes));
  });
}
