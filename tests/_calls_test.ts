// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals } from "@std/assert";
import { home } from "../_agent.ts";
import { Call, Calls } from "../_calls.ts";

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
