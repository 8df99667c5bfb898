// Copyright 2026 the Sabre authors. MIT license.

// Ends of pipes of which only the handle is kept, so that their objects are collected. Needs
// --v8-flags=--expose-gc. Prints what it finds, as JSON.

import { GIVE } from "../../_handle.ts";
import { Connection, pipe } from "../../pipe.ts";
import { ghost } from "../_workers.ts";

const { gc } = globalThis as unknown as { gc: () => void };

async function collect(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function halfRun() {
  const [here, there] = pipe<number>({ capacity: 64 });
  here.sendManySync(new Int32Array([1, 2, 3, 4]));
  there.receiveSync();
  return [here, there.handle] as const;
}

function halfMessage() {
  const [here, there] = pipe<string>({ capacity: 64 });
  const sent = here.send("x".repeat(200));
  there.pollSync({ timeout: 0 });
  return [sent, there.handle] as const;
}

/** One that has gathered a single piece, for more of which there was no room. */
function onePiece() {
  const [here, there] = pipe<string>({ capacity: 64 });
  here.sendBytesSync(new Uint8Array(24));
  const sent = here.send("x".repeat(200));
  there.receiveBytesSync();
  there.pollSync({ timeout: 0 });
  return [sent, there.handle] as const;
}

/** One that has thrown away what it had gathered, as the message was given up. */
async function givenUp() {
  const [here, there] = pipe<string>({ capacity: 64 });
  const controller = new AbortController();
  const sent = here.send("x".repeat(200), { signal: controller.signal }).catch(() => {});
  there.pollSync({ timeout: 0 });
  controller.abort();
  await sent;
  here.sendSync("y");
  const received = there.receiveSync();
  return [received, new WeakRef(there), here] as const;
}

function closed() {
  const [here, there] = pipe<number>({ duplex: false });
  here.close();
  const [other, end] = pipe<number>();
  other.close();
  return [here.handle, other.handle, there, end] as const;
}

/** One that looked for more of a message whose sender has gone. */
function brokenOff() {
  const [here, there] = pipe<string>({ capacity: 64 });
  here.send("x".repeat(200)).catch(() => {});
  there.pollSync({ timeout: 0 });
  here.close();
  there.tryReceive();
  return new WeakRef(there);
}

/** One that was given away in the middle of a run, taken back and read to its end. */
function returned() {
  const [here, there] = pipe<number>({ capacity: 64 });
  here.sendManySync(new Int32Array([1, 2, 3, 4]));
  there.receiveSync();
  const give = (there as unknown as { [GIVE](id: number): () => void })[GIVE];
  give.call(there, ghost().id)();
  there.receiveManySync(3);
  here.sendManySync(new Int32Array([5, 6, 7, 8]));
  return [here, there.handle] as const;
}

const results: unknown[] = [];
const [here, run] = halfRun();
await collect();
results.push(Connection.from(run).receiveManySync(9));
const [sent, message] = halfMessage();
await collect();
results.push(await Connection.from<string, string>(message).receive().then((text) => text.length));
await sent;
const [onItsWay, piece] = onePiece();
await collect();
results.push(await Connection.from<string, string>(piece).receive().then((text) => text.length));
await onItsWay;
const [received, object, writer] = await givenUp();
await collect();
results.push(received, object.deref() === undefined);
const lost = brokenOff();
await collect();
results.push(lost.deref() === undefined);
const [simplex, duplex, ...peers] = closed();
await collect();
results.push(Connection.from(simplex).closed, Connection.from(duplex).closed);
const [giver, back] = returned();
await collect();
results.push(Connection.from(back).receiveManySync(9));
console.log(JSON.stringify(results));
// Those stay.
[here, giver, writer, ...peers].forEach((end) => end.close());
Deno.exit(0);
