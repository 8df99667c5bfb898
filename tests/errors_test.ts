// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals, assertStrictEquals, assertStringIncludes } from "@std/assert";
import * as errors from "../errors.ts";
import {
  AbandonedError,
  BrokenBarrierError,
  ClosedError,
  DeadlockError,
  RemoteError,
  TerminatedError,
} from "../errors.ts";

const classes = {
  AbandonedError,
  BrokenBarrierError,
  ClosedError,
  DeadlockError,
  RemoteError,
  TerminatedError,
};

Deno.test("errors.ts exports the six classes and nothing else", () => {
  assertEquals(Object.keys(errors).sort(), Object.keys(classes).sort());
});

for (const [name, Class] of Object.entries(classes)) {
  Deno.test(`${name} is an Error with its own name, message and stack`, () => {
    const error = new Class("It went wrong");
    assert(error instanceof Error);
    assert(error instanceof Class);
    assertEquals(error.name, name);
    assertEquals(error.message, "It went wrong");
    assertEquals(String(error), `${name}: It went wrong`);
    assertStringIncludes(error.stack!, "errors_test.ts");
    assertStringIncludes(Deno.inspect(error), `${name}: It went wrong`);
    assert(!("cause" in error));
  });

  Deno.test(`${name} carries a cause`, () => {
    const cause = { code: 7 };
    assertStrictEquals(new Class("It went wrong", { cause }).cause, cause);
  });
}

Deno.test("ClosedError.value is the unsent value itself, or undefined", () => {
  const value = { nested: [1] };
  assertStrictEquals(new ClosedError("Closed", { value }).value, value);
  assertStrictEquals(new ClosedError("Closed").value, undefined);
  assertStrictEquals(new ClosedError("Closed", { value: null }).value, null);
});

Deno.test("RemoteError.stack shows this side and the other", () => {
  const cause = new RangeError("too far");
  cause.stack = "RangeError: too far\n    at there (file:///child.ts:7:3)";
  const { stack } = new RemoteError("Process-1 threw", { cause });
  assertStringIncludes(stack!, "Process-1 threw");
  assertStringIncludes(stack!, "errors_test.ts");
  assertStringIncludes(stack!, "RangeError: too far\n    at there (file:///child.ts:7:3)");
});

Deno.test("RemoteError takes any cause", () => {
  for (
    const cause of [
      "text",
      7,
      null,
      undefined,
      { stack: 1 },
      Object.assign(new Error("x"), { stack: 5 }),
    ]
  ) {
    const error = new RemoteError("Process-1 threw", { cause });
    assertStrictEquals(error.cause, cause);
    assertStringIncludes(error.stack!, "Process-1 threw");
  }
});
