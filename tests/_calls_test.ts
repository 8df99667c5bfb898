// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { home, requestStop } from "../_agent.ts";
import { Call, Calls } from "../_calls.ts";
import { DeadlockError, TerminatedError } from "../errors.ts";

/** A call that is through once something has happened. */
class Probe extends Call {
  hasNews = false;

  protected step(): boolean {
    return this.hasNews;
  }
}

/** A place with a call, at which news comes the moment before its agent says that it wants to be woken. */
function lateNews(): { calls: Calls; call: Probe } {
  const calls = new Calls(home(), () => {
    call.hasNews = true;
  });
  const call = new Probe(calls);
  calls.waiting.push(call);
  return { calls, call };
}

Deno.test("Calls.serve() misses no news that nobody is woken for", () => {
  const { calls, call } = lateNews();
  calls.serve();
  assert(call.hasEnded);
  assertEquals(calls.waiting, []);
});

Deno.test("Call.poll() misses no news that nobody is woken for", () => {
  const { call } = lateNews();
  assert(call.poll());
});

/** A call that is never through, although there always is news. */
class Endless extends Call {
  spins = 0;

  protected step(): boolean {
    return false;
  }

  protected override spin(): boolean {
    this.spins++;
    return true;
  }
}

/** One that could go on for ever without anybody else. */
class Busy extends Call {
  protected step(): boolean {
    while (this.mayGoOn(0));
    return false;
  }
}

Deno.test("a call that could go on for ever ends with its time, its signal or its agent", async () => {
  const { words, park, id } = home();
  const calls = new Calls(home(), () => {});
  const start = performance.now();
  for (const timeout of [0, 20]) {
    assertThrows(() => calls.runSync(new Busy(calls), timeout, "go on", "goOn"), DOMException);
    const call = calls.run(new Busy(calls), timeout, undefined, "go on");
    await assertRejects(() => call, DOMException, "Cannot go on");
  }
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new Error("enough")), 20);
  const call = calls.run(new Busy(calls), Infinity, controller.signal, "go on");
  await assertRejects(() => call, Error, "enough");
  clearTimeout(timer);
  requestStop(home(), id);
  try {
    const last = new Busy(calls);
    assertThrows(() => calls.runSync(last, Infinity, "go on", "goOn"), TerminatedError);
  } finally {
    Atomics.store(words, park + 2, 0);
  }
  assert(performance.now() - start < 5_000);
  assertEquals(calls.waiting, []);
});

Deno.test("a call that blocks goes on with what comes for as long as it may wait, and no longer", () => {
  let announcements = 0;
  const calls = new Calls(home(), () => announcements++);
  for (const timeout of [-1, 0, 5]) {
    const call = new Endless(calls);
    const start = performance.now();
    assertThrows(() => calls.runSync(call, timeout, "go on", "goOn"), DOMException, "Cannot go on");
    const time = performance.now() - start;
    assert(time >= timeout && time < 1_000, `it took ${time} ms`);
    // By then its time is over, and it does not begin to wait.
    assertEquals([call.spins > 0, announcements], [timeout > 0, 0]);
    assertEquals(calls.waiting, []);
  }
});

Deno.test("a call that blocks does not go on with what comes once its agent is to end", () => {
  const { words, park, id } = home();
  const STOP = park + 2;
  const calls = new Calls(home(), () => {});
  requestStop(home(), id);
  try {
    assertEquals(words[STOP], id);
    const call = new Endless(calls);
    assertThrows(() => calls.runSync(call, Infinity, "go on", "goOn"), TerminatedError);
    assertEquals(calls.waiting, []);
  } finally {
    Atomics.store(words, STOP, 0);
  }
});

Deno.test("a call that is made by the input of another one is a DeadlockError, whatever comes", () => {
  const calls = new Calls(home(), () => {});
  const outer = new (class extends Call {
    protected step(): boolean {
      const inner = new Endless(calls);
      assertThrows(() => calls.runSync(inner, Infinity, "go on", "goOn"), DeadlockError);
      return inner.spins === 0;
    }
  })(calls);
  calls.runSync(outer, Infinity, "go on", "goOn");
  assertEquals([outer.hasEnded, calls.waiting], [true, []]);
});
