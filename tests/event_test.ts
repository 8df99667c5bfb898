// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertFalse,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { bury, home, requestStop } from "../_agent.ts";
import { EVENT_WORDS } from "../_event.ts";
import { SharedEvent } from "../event.ts";
import { select, selectSync } from "../select.ts";
import { SharedArray } from "../shared.ts";
import { abortable, settlesSoon, turn, until } from "./_helpers.ts";
import { Peer } from "./_workers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/event_worker.ts", import.meta.url);

/** Whether any agent is registered as waiting: the words of `_event.ts`. */
function isAwaited(event: SharedEvent): boolean {
  const words = new Int32Array(event.handle.memory);
  return words[32] !== 0 || words[33] !== 0;
}

// -- Setting and waiting -------------------------------------------------------------------------

// The first test: the end of any agent makes everybody look, also that of a worker of a test before.
Deno.test("SharedEvent: whoever waits is woken if the one who sets it dies before it wakes anybody", async () => {
  const event = new SharedEvent();
  const waiting = event.wait();
  // As if an agent had died between the two.
  Atomics.store(new Int32Array(event.handle.memory), 4, 3);
  assertFalse(await settlesSoon(waiting));
  bury(home(), 0x7fff);
  assertEquals(await waiting, true);
});

Deno.test("SharedEvent is not set when it is new; set() and clear() may be said twice", () => {
  const event = new SharedEvent();
  assertFalse(event.isSet);
  event.clear();
  for (let i = 0; i < 2; i++) {
    event.set();
    assert(event.isSet);
  }
  for (let i = 0; i < 2; i++) {
    event.clear();
    assertFalse(event.isSet);
  }
});

Deno.test("SharedEvent: nobody waits while it is set", async () => {
  const event = new SharedEvent();
  event.set();
  assertEquals(await event.wait(), true);
  assertEquals(event.waitSync(), true);
  assertEquals(await event.wait({ timeout: 0 }), true);
  assertEquals(event.waitSync({ timeout: -1 }), true);
});

Deno.test("SharedEvent: set() releases everyone who waits", async () => {
  const event = new SharedEvent();
  const waits = Array.from({ length: 200 }, () => event.wait());
  assertFalse(await settlesSoon(waits[0]!));
  event.set();
  assertEquals(await Promise.all(waits), Array(200).fill(true));
  assertFalse(isAwaited(event));
});

Deno.test("SharedEvent: a wait that times out is false", async () => {
  const event = new SharedEvent();
  assertEquals(event.waitSync({ timeout: 2 }), false);
  assertEquals(await event.wait({ timeout: 2 }), false);
  assertEquals(event.waitSync({ timeout: 0 }), false);
  assertEquals(await event.wait({ timeout: 0 }), false);
  assertFalse(isAwaited(event));
});

Deno.test("SharedEvent: an aborted wait rejects with the reason", async () => {
  const event = new SharedEvent();
  const { signal, abort } = abortable();
  const reason = { why: "enough" };
  const waiting = event.wait({ signal });
  const other = event.wait();
  abort(reason);
  assertStrictEquals(await waiting.catch((error) => error), reason);
  event.set();
  assertEquals(await other, true);
  event.clear();
  for (const options of [{ timeout: NaN }, {}, { timeout: 0 }]) {
    const signal = AbortSignal.abort(reason);
    assertStrictEquals(await event.wait({ ...options, signal }).catch((error) => error), reason);
  }
  event.set();
  // Also when there is nothing to wait for.
  assertStrictEquals(await event.wait({ signal }).catch((error) => error), reason);
  assertFalse(isAwaited(event));
});

Deno.test("SharedEvent: a pulse releases every waiter of that moment, in the same tick too", async () => {
  const event = new SharedEvent();
  for (let i = 0; i < 3; i++) {
    const waits = [event.wait(), event.wait({ timeout: 5_000 })];
    if (i > 0) await turn();
    waits.push(event.wait());
    event.set();
    event.clear();
    const late = event.wait({ timeout: 1 });
    assertEquals(await Promise.all(waits), [true, true, true]);
    assertFalse(event.isSet);
    assertEquals(await late, false);
  }
  assertFalse(isAwaited(event));
});

Deno.test("SharedEvent: of pulses and waits in any order, each wait sees exactly those after it (property)", async () => {
  const step = fc.constantFrom("wait", "set", "clear", "pulse", "turn");
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const event = new SharedEvent();
      const waits: { expected: boolean; result: Promise<boolean> }[] = [];
      const { signal, abort } = abortable();
      let isSet = false;
      for (const each of steps) {
        if (each === "wait") {
          const result = event.wait({ signal }).catch(() => false);
          waits.push({ expected: isSet, result });
        } else if (each === "turn") {
          await turn();
        } else {
          if (each !== "clear") {
            event.set();
            for (const wait of waits) wait.expected = true;
          }
          if (each !== "set") event.clear();
          isSet = each === "set";
        }
        assertEquals(event.isSet, isSet);
      }
      abort();
      for (const { expected, result } of waits) assertEquals(await result, expected);
      assertFalse(isAwaited(event));
    }),
    { numRuns: 60 },
  );
});

Deno.test("SharedEvent counts across 2^31 sets", async () => {
  const event = new SharedEvent();
  const words = new Int32Array(event.handle.memory);
  for (const state of [2 ** 31 - 2, -2]) {
    Atomics.store(words, 4, state);
    const waiting = event.wait();
    event.set();
    event.clear();
    assertEquals(await waiting, true);
    assertFalse(event.isSet);
  }
});

// -- Bad input ---------------------------------------------------------------------------------

Deno.test("SharedEvent refuses bad options", async () => {
  const event = new SharedEvent();
  assertThrows(() => event.waitSync({ timeout: NaN }), RangeError);
  assertThrows(() => event.waitSync({ timeout: "1" as Any }), TypeError);
  await assertRejects(() => event.wait({ timeout: NaN }), RangeError);
  await assertRejects(() => event.wait({ signal: {} as Any }), TypeError);
});

Deno.test("SharedEvent.from() is the same object for its handle and clones, and refuses others", () => {
  const event = new SharedEvent();
  for (const value of [event, event.handle, structuredClone(event)]) {
    assertStrictEquals(SharedEvent.from(value), event);
  }
  const memory = new SharedArrayBuffer(EVENT_WORDS * 4);
  for (const bad of [null, {}, { ...event.handle, sabre: "Lock" }, { ...event.handle, memory }]) {
    assertThrows(() => SharedEvent.from(bad), TypeError);
  }
});

Deno.test("SharedEvent shows a useful line in console.log", () => {
  const event = new SharedEvent();
  assertEquals(Deno.inspect(event), "SharedEvent { isSet: false }");
  event.set();
  assertEquals(Deno.inspect({ event }), "{ event: SharedEvent { isSet: true } }");
});

// -- Select ------------------------------------------------------------------------------------

Deno.test("SharedEvent can be selected: ready while it is set", async () => {
  const event = new SharedEvent();
  const other = new SharedEvent();
  assertEquals(selectSync([event, other], { timeout: 1 }), []);
  const selected = select([other, event]);
  event.set();
  assertEquals(await selected, [event]);
  other.set();
  assertEquals(await select([event, other]), [event, other]);
  event.clear();
  assertEquals(selectSync([event, other]), [other]);
  other.clear();
  assertEquals(await select([event, other], { timeout: 1 }), []);
  const pulsed = select([event, other], { timeout: 20 });
  event.set();
  event.clear();
  assertEquals((await pulsed).length, 0);
  assertFalse(isAwaited(event) || isAwaited(other));
});

// -- Across agents -----------------------------------------------------------------------------

for (const pulse of [false, true]) {
  Deno.test({
    name: `SharedEvent: a ${pulse ? "pulse" : "set()"} releases the waiters of three agents`,
    ...LIMIT,
    async fn() {
      const event = new SharedEvent();
      const counts = new SharedArray("i32", 1);
      using one = await Peer.start(WORKER);
      using two = await Peer.start(WORKER);
      for (let round = 1; round <= 10; round++) {
        const waits = [
          one.run<number>("waitMany", event, counts, 40),
          two.run<number>("waitMany", event, counts, 40),
        ];
        const own = event.wait();
        await until(() => counts.get(0) === 2 * round);
        event.set();
        if (pulse) event.clear();
        assertEquals(await Promise.all(waits), [40, 40]);
        assertEquals(await own, true);
        event.clear();
      }
      assertFalse(isAwaited(event));
    },
  });
}

Deno.test({
  name: "SharedEvent: a blocked thread is woken by another agent",
  ...LIMIT,
  async fn() {
    const event = new SharedEvent();
    using peer = await Peer.start(WORKER);
    const set = peer.run("set", event);
    assertEquals(event.waitSync({ timeout: 10_000 }), true);
    await set;
  },
});

Deno.test({
  name: "SharedEvent: pulses answered by pulses are never missed",
  ...LIMIT,
  async fn() {
    const ping = new SharedEvent();
    const pong = new SharedEvent();
    const counts = new SharedArray("i32", 1);
    using peer = await Peer.start(WORKER);
    const answering = peer.run("answer", ping, pong, counts, 300);
    for (let i = 1; i <= 300; i++) {
      while (counts.get(0) < i) await turn();
      const waiting = pong.wait();
      ping.set();
      ping.clear();
      assertEquals(await waiting, true);
    }
    await answering;
  },
});

// -- Death and termination -----------------------------------------------------------------------

Deno.test({
  name: "SharedEvent: a waiter that dies keeps nobody from anything",
  ...LIMIT,
  async fn() {
    const event = new SharedEvent();
    const counts = new SharedArray("i32", 1);
    using peer = await Peer.start(WORKER);
    peer.run("wait", event, counts, "async").catch(() => {});
    await until(() => counts.get(0) === 1);
    const waiting = event.wait();
    peer.die();
    event.set();
    assertEquals(await waiting, true);
  },
});

Deno.test({
  name: "SharedEvent: waits of an agent that is terminated end with TerminatedError",
  ...LIMIT,
  async fn() {
    const event = new SharedEvent();
    const counts = new SharedArray("i32", 1);
    for (const [i, form] of ["async", "sync"].entries()) {
      using peer = await Peer.start(WORKER);
      const waiting = peer.run("wait", event, counts, form);
      await until(() => counts.get(0) === i + 1);
      requestStop(home(), peer.id);
      assertEquals(await waiting, "TerminatedError");
      // What need not wait still works.
      event.set();
      assertEquals(await peer.run("wait", event, counts, form), "true");
      event.clear();
      counts.set(0, i + 1);
    }
  },
});
