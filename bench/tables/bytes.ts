// Copyright 2026 the Sabre authors. MIT license.

// Bytes from one agent to another: received into an array that is there, or as a new array.

import { Connection, pipe } from "@sabre/ipc";
import { check, type Line, loopLine, type Table, timed } from "../_harness.ts";
import { type Input, Peer, postLine } from "../_peer.ts";
import { copierOut, copyIn, type Places, placesFor } from "../raw/copy.ts";
import { postBytes, putValues, queueLine } from "./_ours.ts";

export { postBytes, putValues };

const KIB = 1_024;

export const tables: Table[] = [
  tableOf("bytes, 1 KiB", KIB, 100_000),
  tableOf("bytes, 64 KiB", 64 * KIB, 5_000),
  tableOf("bytes, 1 MiB", 1_024 * KIB, 200),
];

function tableOf(name: string, size: number, count: number): Table {
  return {
    name,
    unit: "per second",
    async lines() {
      const peer = await Peer.start(import.meta.url);
      const isRight = (value: unknown) => isOfSize(value as Uint8Array, size);
      const value = new Uint8Array(size).fill(7);
      return [
        bytesLine("pipe, sendBytesSync and receiveBytesIntoSync", peer, size, count, "into"),
        bytesLine("pipe, sendBytesSync and receiveBytesSync", peer, size, count, "new"),
        ...(size < 64 * KIB ? [] : [
          bytesLine(
            "the first, with a capacity of eight messages",
            peer,
            size,
            count,
            "into",
            8 * size,
          ),
        ]),
        queueLine("queue", peer, "putValues", { value }, count, isRight),
        postLine("postMessage, copied", peer, "postBytes", { size }, count / 5, isRight),
        postLine(
          "postMessage, transferred",
          peer,
          "postBytes",
          { size, transfer: true },
          count / 5,
          isRight,
        ),
        ...(size < 64 * KIB ? [] : [
          throughLine(
            "bare copies through 64 KiB, in quarters, both spin",
            peer,
            size,
            count,
            { count: 4, size: 16 * KIB },
          ),
        ]),
        throughLine(
          "bare copies through eight places, both spin",
          peer,
          size,
          count,
          { count: 8, size },
        ),
        copyLine(size, count),
      ];
    },
  };
}

function isOfSize(bytes: Uint8Array, size: number): boolean {
  return bytes.length === size && bytes[0] === 7 && bytes[size - 1] === 7;
}

/** Receives bytes; see the two ways above. */
export function bytesLine(
  name: string,
  peer: Peer,
  size: number,
  count: number,
  way: "into" | "new",
  capacity = 65_536,
): Line {
  return {
    name,
    count,
    async run(items) {
      const [here, there] = pipe<Uint8Array>({ capacity });
      const done = peer.run("sendBytes", { handle: there.handle, count: items, size });
      const target = new Uint8Array(size);
      const take = way === "into"
        ? () => check(here.receiveBytesIntoSync(target) === size && isOfSize(target, size))
        : () => check(isOfSize(here.receiveBytesSync(), size));
      take();
      const result = await timed(items - 1, () => {
        for (let i = 1; i < items; i++) take();
      });
      await done;
      return result;
    },
  };
}

/** Copies in and out of places, in two threads, written by hand; a message takes one of them or many. */
function throughLine(
  name: string,
  peer: Peer,
  size: number,
  count: number,
  shape: Pick<Places, "count" | "size">,
): Line {
  return {
    name,
    count,
    async run(items) {
      const places = placesFor(shape.count, shape.size);
      const pieces = size / shape.size;
      const done = peer.run("copyBytes", { places, count: items * pieces });
      const takePiece = copierOut(places);
      const target = new Uint8Array(size);
      const parts = Array.from(
        { length: pieces },
        (_, i) => target.subarray(i * shape.size, (i + 1) * shape.size),
      );
      const take = () => {
        for (let i = 0; i < parts.length; i++) takePiece(parts[i]!);
        check(isOfSize(target, size));
      };
      take();
      const result = await timed(items - 1, () => {
        for (let i = 1; i < items; i++) take();
      });
      await done;
      return result;
    },
  };
}

/** What one copy into shared memory takes; a message is copied in and out, in two threads. */
function copyLine(size: number, count: number): Line {
  const bytes = new Uint8Array(size).fill(7);
  const places = Math.max(1, 65_536 / size);
  const shared = new Uint8Array(new SharedArrayBuffer(places * size));
  return loopLine("a copy into shared memory, in one thread", count, (turns) => {
    for (let i = 0; i < turns; i++) shared.set(bytes, i % places * size);
    check(isOfSize(shared.subarray(0, size), size));
  });
}

// -- Jobs --

export function copyBytes({ places, count }: Input): void {
  copyIn(places, new Uint8Array(places.size).fill(7), count);
}

export function sendBytes({ handle, count, size }: Input): void {
  const connection = Connection.from<Uint8Array>(handle);
  const bytes = new Uint8Array(size).fill(7);
  for (let i = 0; i < count; i++) connection.sendBytesSync(bytes);
}
