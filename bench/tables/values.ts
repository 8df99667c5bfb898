// Copyright 2026 the Sabre authors. MIT license.

// Values that have to be encoded, from one agent to another.

import type { Table } from "../_harness.ts";
import { Peer, postLine } from "../_peer.ts";
import { OBJECT, TEXT } from "../_values.ts";
import { pipeLine, postValues, putValues, queueLine, sendValues } from "./_ours.ts";

export { postValues, putValues, sendValues };

const isObject = (value: unknown) => (value as typeof OBJECT).pos.z === -0.5;
const isText = (value: unknown) => value === TEXT;

function tableOf(name: string, value: unknown, isRight: (value: unknown) => boolean): Table {
  return {
    name,
    unit: "per second",
    async lines() {
      const peer = await Peer.start(import.meta.url);
      return [
        pipeLine("pipe", peer, "sendValues", { value }, 100_000, isRight),
        queueLine("queue", peer, "putValues", { value }, 100_000, isRight),
        postLine("postMessage", peer, "postValues", { value }, 20_000, isRight),
      ];
    },
  };
}

export const tables: Table[] = [
  tableOf("small nested objects", OBJECT, isObject),
  tableOf("strings of 64 characters", TEXT, isText),
];
