// Copyright 2026 the Sabre authors. MIT license.

import {
  assert,
  assertEquals,
  assertFalse,
  assertMatch,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { bury, type Domain, home, pidOf, requestStop } from "../_agent.ts";
import { Exclusive, exclusiveOf } from "../_exclusive.ts";
import { lockLatch, unlockLatch } from "../_latch.ts";
import { GRANTED } from "../_line.ts";
import {
  BUSY,
  giveBack,
  POISONED,
  pollTake,
  recover,
  TAKEN,
  takeOrLineUp,
  tryTake,
  withdrawTake,
} from "../_mutex.ts";
import { AbandonedError, DeadlockError } from "../errors.ts";
import { type Guard, Lock, RLock } from "../lock.ts";
import { Queue } from "../queue.ts";
import { SharedArray, SharedValue } from "../shared.ts";
import { diesAt } from "./_death.ts";
import { block, settlesSoon, turn, until } from "./_helpers.ts";
import { crowdOf, errorName, ghost, Peer } from "./_workers.ts";

// deno-lint-ignore no-explicit-any
type Any = any;
type AnyLock = Lock | RLock;

const LIMIT = { timeout: 20_000 };
const WORKER = new URL("./testdata/lock_worker.ts", import.meta.url);
const KINDS = [["Lock", () => new Lock()], ["RLock", () => new RLock()]] as const;

/** The word of a lock that guards its bookkeeping. */
const LATCH = 4;
/** The first of the words that say whose turn in line it is. */
const PLACE = 64 + 16;

/** Registers one test for each of the two classes. */
function both(name: string, run: (lock: AnyLock) => void | Promise<void>, options = {}): void {
  for (const [kind, create] of KINDS) {
    Deno.test({ name: `${kind}${name}`, fn: () => run(create()), ...options });
  }
}

/** Checks that nobody holds the lock or waits for it, and that it can be acquired in every way. */
async function assertFree(lock: AnyLock): Promise<void> {
  assertFalse(lock.locked);
  assertEquals(crowdOf(lock), 0);
  lock.tryAcquire()!.release();
  lock.acquireSync({ timeout: 0 }).release();
  (await lock.acquire({ timeout: 0 })).release();
  assertFalse(lock.locked);
}

/** Lets the waiters become so old that the lock is handed to them. */
function age(): void {
  block(3);
}

// -- Acquire and release -----------------------------------------------------------------------

both(" is free when it is new", async (lock) => {
  assertFalse(lock.locked);
  await assertFree(lock);
});

both(".acquire() returns a held guard", async (lock) => {
  const guard = await lock.acquire();
  assertEquals([guard.held, guard.abandoned, lock.locked], [true, false, true]);
  guard.release();
  assertEquals([guard.held, guard.abandoned, lock.locked], [false, false, false]);
});

both(".acquire() returns a promise and takes a free lock at once", async (lock) => {
  const promise = lock.acquire();
  assert(promise instanceof Promise);
  assert(lock.locked);
  (await promise).release();
});

both(".acquireSync() returns a held guard", (lock) => {
  const guard = lock.acquireSync();
  assertEquals([guard.held, guard.abandoned, lock.locked], [true, false, true]);
  guard.release();
  assertEquals([guard.held, lock.locked], [false, false]);
});

both(".tryAcquire() returns a held guard", (lock) => {
  const guard = lock.tryAcquire();
  assertEquals([guard?.held, guard?.abandoned, lock.locked], [true, false, true]);
  guard?.release();
  assertFalse(lock.locked);
});

both(".tryAcquire() returns undefined while an asynchronous guard holds it", async (lock) => {
  using _guard = await lock.acquire();
  assertStrictEquals(lock.tryAcquire(), undefined);
  assertStrictEquals(lock.tryAcquire({ recover: true }), undefined);
});

Deno.test("Lock.tryAcquire() returns undefined while any guard holds it", () => {
  const lock = new Lock();
  {
    using _guard = lock.acquireSync();
    assertStrictEquals(lock.tryAcquire(), undefined);
  }
  using _guard = lock.tryAcquire();
  assertStrictEquals(lock.tryAcquire(), undefined);
});

both(" can be acquired with recover although nobody died", async (lock) => {
  for (
    const guard of [
      await lock.acquire({ recover: true }),
    ]
  ) {
    assertFalse(guard.abandoned);
    guard.release();
  }
  using _ = {
    [Symbol.dispose]: () => assertFalse(lock.locked),
  };
  lock.withLockSync((guard) => assertFalse(guard.abandoned), { recover: true });
  await lock.withLock((guard) => assertFalse(guard.abandoned), { recover: true });
});

both(" instances are independent", (lock) => {
  const other = lock instanceof RLock ? new RLock() : new Lock();
  using _guard = lock.acquireSync();
  assertFalse(other.locked);
  other.acquireSync().release();
  assert(lock.locked);
});

// -- Guards ------------------------------------------------------------------------------------

for (const form of ["acquire", "acquireSync", "tryAcquire"] as const) {
  both(`: releasing a guard of ${form}() twice is a TypeError`, async (lock) => {
    const guard = (await lock[form]())!;
    guard.release();
    assertThrows(() => guard.release(), TypeError, "released");
    await assertFree(lock);
  });

  both(`: disposing of a guard of ${form}() twice does nothing`, async (lock) => {
    const guard = (await lock[form]())!;
    guard[Symbol.dispose]();
    assertFalse(guard.held);
    guard[Symbol.dispose]();
    await assertFree(lock);
  });
}

both(": a guard disposed of after its release does not release anew", (lock) => {
  const first = lock.acquireSync();
  first.release();
  const second = lock.acquireSync();
  first[Symbol.dispose]();
  assertThrows(() => first.release(), TypeError);
  assert(second.held);
  assert(lock.locked);
  second.release();
});

both(": releasing a guard that was disposed of is a TypeError", (lock) => {
  const guard = lock.acquireSync();
  guard[Symbol.dispose]();
  assertThrows(() => guard.release(), TypeError);
});

both(": using releases the guard at the end of the block", async (lock) => {
  {
    using _guard = await lock.acquire();
    assert(lock.locked);
  }
  await assertFree(lock);
});

// -- withLock ----------------------------------------------------------------------------------

both(".withLock() passes a held guard and returns what the function resolves to", async (lock) => {
  const value = await lock.withLock(async (guard) => {
    await turn();
    assert(guard.held);
    assert(lock.locked);
    return 7;
  });
  assertEquals(value, 7);
  await assertFree(lock);
});

both(".withLock() takes a function that is not asynchronous", async (lock) => {
  assertEquals(await lock.withLock(() => 7), 7);
  await assertFree(lock);
});

both(".withLock() releases when the function throws or rejects", async (lock) => {
  const error = new Error("mine");
  const thrown = await assertRejects(() =>
    lock.withLock(() => {
      throw error;
    })
  );
  assertStrictEquals(thrown, error);
  await assertFree(lock);
  const rejected = await assertRejects(() => lock.withLock(() => Promise.reject(error)));
  assertStrictEquals(rejected, error);
  await assertFree(lock);
});

both(".withLock() allows to release inside", async (lock) => {
  await lock.withLock(async (guard) => {
    guard.release();
    await assertFree(lock);
    using _other = await lock.acquire();
    assert(lock.locked);
  });
  await assertFree(lock);
});

both(".withLock() waits, times out and aborts like acquire(), without a call", async (lock) => {
  let calls = 0;
  const fn = () => calls++;
  const guard = await lock.acquire();
  await assertRejects(() => lock.withLock(fn, { timeout: 1 }), DOMException, "1 ms");
  assertEquals(await errorName(() => lock.withLock(fn, { timeout: 0 })), "TimeoutError");
  await assertRejects(() => lock.withLock(fn, { timeout: NaN }), RangeError);
  await assertRejects(() => lock.withLock(fn, { timeout: "1" as Any }), TypeError);
  assertEquals(
    await errorName(() => lock.withLock(fn, { signal: AbortSignal.abort() })),
    "AbortError",
  );
  guard.release();
  assertEquals(
    await errorName(() => lock.withLock(fn, { signal: AbortSignal.abort() })),
    "AbortError",
  );
  assertEquals(calls, 0);
  await assertFree(lock);
});

both(".withLockSync() passes a held guard and returns what the function returns", async (lock) => {
  assertEquals(lock.withLockSync((guard) => [guard.held, lock.locked]), [true, true]);
  await assertFree(lock);
});

both(".withLockSync() releases when the function throws", async (lock) => {
  const error = new Error("mine");
  const fail = () => {
    throw error;
  };
  assertStrictEquals(assertThrows(() => lock.withLockSync(fail)), error);
  await assertFree(lock);
});

both(".withLockSync() allows to release inside", async (lock) => {
  lock.withLockSync((guard) => {
    guard.release();
    lock.acquireSync().release();
  });
  await assertFree(lock);
});

both(".withLockSync() times out like acquireSync(), without a call", async (lock) => {
  let calls = 0;
  const guard = await lock.acquire();
  for (const timeout of [0, 1]) {
    const error = assertThrows(
      () => lock.withLockSync(() => calls++, { timeout }),
      DOMException,
    );
    assertEquals(error.name, "TimeoutError");
  }
  assertThrows(() => lock.withLockSync(() => calls++, { timeout: NaN }), RangeError);
  assertEquals(calls, 0);
  guard.release();
});

// -- Timeouts ----------------------------------------------------------------------------------

both(": a timeout of NaN is a RangeError, one that is no number a TypeError", async (lock) => {
  await assertRejects(() => lock.acquire({ timeout: NaN }), RangeError, "NaN");
  assertThrows(() => lock.acquireSync({ timeout: NaN }), RangeError, "NaN");
  for (const timeout of ["5", null, 5n, {}, [], true, Symbol("s"), () => 5]) {
    const options = { timeout } as Any;
    await assertRejects(() => lock.acquire(options), TypeError, "timeout");
    assertThrows(() => lock.acquireSync(options), TypeError, "timeout");
  }
  await assertFree(lock);
});

both(".acquire() rejects on a bad argument and does not throw", async (lock) => {
  for (const options of [{ timeout: NaN }, { timeout: "1" }, { signal: {} }, { signal: null }]) {
    const promise = lock.acquire(options as Any);
    assert(promise instanceof Promise);
    await assertRejects(() => promise);
    const locking = lock.withLock(() => {}, options as Any);
    assert(locking instanceof Promise);
    await assertRejects(() => locking);
  }
  await assertFree(lock);
});

both(": a timeout of undefined or Infinity waits", async (lock) => {
  for (const options of [{}, { timeout: Infinity }, { timeout: undefined }]) {
    const guard = await lock.acquire();
    const call = lock.acquire(options as Any);
    assertFalse(await settlesSoon(call));
    guard.release();
    (await call).release();
  }
  await assertFree(lock);
});

both(": a timeout of 0 or less takes a free lock", async (lock) => {
  for (const timeout of [0, -0, -5, -Infinity]) {
    (await lock.acquire({ timeout })).release();
    lock.acquireSync({ timeout }).release();
  }
  await assertFree(lock);
});

both(": a timeout of 0 or less does not wait for a held lock", async (lock) => {
  const guard = await lock.acquire();
  for (const timeout of [0, -0, -5, -Infinity]) {
    const error = await assertRejects(() => lock.acquire({ timeout }), DOMException);
    assertEquals(error.name, "TimeoutError");
    const thrown = assertThrows(() => lock.acquireSync({ timeout }), DOMException);
    assertEquals(thrown.name, "TimeoutError");
    assertEquals(crowdOf(lock), 0);
  }
  guard.release();
  await assertFree(lock);
});

both(".acquire() that timed out rejects with a TimeoutError and leaves the line", async (lock) => {
  const guard = await lock.acquire();
  const start = performance.now();
  const error = await assertRejects(() => lock.acquire({ timeout: 12.5 }), DOMException);
  assert(performance.now() - start >= 12.5);
  assertEquals(error.name, "TimeoutError");
  assertEquals(crowdOf(lock), 0);
  assert(guard.held);
  guard.release();
  await assertFree(lock);
});

both(".acquireSync() that timed out throws a TimeoutError and leaves the line", async (lock) => {
  const guard = await lock.acquire();
  const start = performance.now();
  const error = assertThrows(() => lock.acquireSync({ timeout: 12.5 }), DOMException);
  const elapsed = performance.now() - start;
  assert(elapsed >= 12.5 && elapsed < 500, `took ${elapsed} ms`);
  assertEquals(error.name, "TimeoutError");
  assertEquals(crowdOf(lock), 0);
  guard.release();
  await assertFree(lock);
});

both(": a timeout longer than timers can be does not fire", async (lock) => {
  const guard = await lock.acquire();
  const call = lock.acquire({ timeout: 2 ** 40 });
  assertFalse(await settlesSoon(call));
  guard.release();
  (await call).release();
});

both(": a waiter that timed out keeps nobody from being served", async (lock) => {
  const guard = await lock.acquire();
  const late = lock.acquire({ timeout: 3 });
  const next = lock.acquire();
  await assertRejects(() => late, DOMException);
  assertEquals(crowdOf(lock), 1);
  guard.release();
  (await next).release();
  await assertFree(lock);
});

// -- Aborts ------------------------------------------------------------------------------------

both(
  ".acquire() with an aborted signal rejects with its reason, although it is free",
  async (lock) => {
    for (const reason of [new Error("mine"), "text", 7, null]) {
      const signal = AbortSignal.abort(reason);
      const seen = await lock.acquire({ signal }).then(() => "none", (error) => error);
      assertStrictEquals(seen, reason);
      assertStrictEquals(await lock.withLock(() => {}, { signal }).catch((error) => error), reason);
    }
    await assertFree(lock);
  },
);

both(
  ".acquire() with an aborted signal rejects before anything else is looked at",
  async (lock) => {
    const signal = AbortSignal.abort("reason");
    const released = lock.acquireSync();
    released.release();
    for (
      const more of [{ timeout: NaN }, { timeout: "x" }, { timeout: 0 }, { within: released }, {
        within: 7,
      }]
    ) {
      const seen = await lock.acquire({ signal, ...more } as Any).catch((error) => error);
      assertStrictEquals(seen, "reason");
    }
    using _guard = lock.acquireSync();
    assertStrictEquals(await lock.acquire({ signal }).catch((error) => error), "reason");
    assertStrictEquals(
      await lock.acquire({ signal, timeout: 0 }).catch((error) => error),
      "reason",
    );
  },
);

both(": what is no boolean does not say whether to recover", async (lock) => {
  for (const recover of [null, 0, 1, "x", {}]) {
    const options = { recover } as Any;
    await assertRejects(() => lock.acquire(options), TypeError, "recover must be a boolean");
    await assertRejects(() => lock.withLock(() => {}, options), TypeError, "recover");
    assertThrows(() => lock.acquireSync(options), TypeError, "recover");
    assertThrows(() => lock.withLockSync(() => {}, options), TypeError, "recover");
    assertThrows(() => lock.tryAcquire(options), TypeError, "recover");
    if (lock instanceof RLock) {
      using within = lock.acquireSync();
      await assertRejects(() => lock.acquire({ ...options, within }), TypeError, "recover");
      assertThrows(() => lock.acquireSync(options), TypeError, "recover");
      assertThrows(() => lock.tryAcquire(options), TypeError, "recover");
    }
  }
  await assertFree(lock);
});

both(": a signal that is none is a TypeError", async (lock) => {
  for (const signal of [null, {}, "x", new AbortController(), new EventTarget()]) {
    await assertRejects(() => lock.acquire({ signal } as Any), TypeError, "signal");
  }
  await assertFree(lock);
});

both(".acquire() that is aborted rejects with the reason and leaves the line", async (lock) => {
  const guard = await lock.acquire();
  for (const reason of [new Error("mine"), "text", 0]) {
    const controller = new AbortController();
    const call = lock.acquire({ signal: controller.signal, timeout: 60_000 });
    assertEquals(crowdOf(lock), 1);
    controller.abort(reason);
    assertEquals(crowdOf(lock), 0);
    assertStrictEquals(await call.catch((error) => error), reason);
  }
  guard.release();
  await assertFree(lock);
});

both(": an abort after the lock was acquired changes nothing", async (lock) => {
  const controller = new AbortController();
  const guard = await lock.acquire({ signal: controller.signal });
  controller.abort();
  await turn();
  assert(guard.held);
  guard.release();
  await assertFree(lock);
});

both(
  ": an abort when the lock was handed over already has no effect or loses nothing",
  async (lock) => {
    const guard = await lock.acquire();
    const controller = new AbortController();
    const first = lock.acquire({ signal: controller.signal });
    const second = lock.acquire();
    age();
    guard.release();
    // Handed over, but its promise could not settle yet.
    controller.abort(new Error("too late"));
    await first.then((got) => got.release(), () => {});
    (await second).release();
    await assertFree(lock);
  },
);

both(": an abort of the first waiter, woken for a free lock, passes it on", async (lock) => {
  const guard = await lock.acquire();
  const controller = new AbortController();
  const first = lock.acquire({ signal: controller.signal });
  const second = lock.acquire();
  // Not old enough to be handed the lock: it is freed, and the first one woken.
  guard.release();
  controller.abort("reason");
  await first.then((got) => got.release(), (reason) => assertStrictEquals(reason, "reason"));
  (await second).release();
  await assertFree(lock);
});

both(" leaves no listener on a signal", async (lock) => {
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Any) => {
    listeners++;
    (add as Any)(...args);
  };
  signal.removeEventListener = (...args: Any) => {
    listeners--;
    (remove as Any)(...args);
  };
  (await lock.acquire({ signal })).release();
  const guard = await lock.acquire();
  await assertRejects(() => lock.acquire({ signal, timeout: 1 }), DOMException);
  const call = lock.acquire({ signal });
  guard.release();
  (await call).release();
  assertEquals(listeners, 0);
});

// -- The tasks of one agent --------------------------------------------------------------------

both(" keeps the tasks of one agent apart", async (lock) => {
  let inside = 0;
  let most = 0;
  await Promise.all(Array.from({ length: 20 }, async () => {
    using _guard = await lock.acquire();
    most = Math.max(most, ++inside);
    await turn();
    inside--;
  }));
  assertEquals(most, 1);
  await assertFree(lock);
});

both(" serves calls of one agent in the order in which they were made", async (lock) => {
  const guard = await lock.acquire();
  const order: number[] = [];
  const calls = Array.from({ length: 10 }, async (_, i) => {
    using _guard = await lock.acquire();
    order.push(i);
  });
  guard.release();
  await Promise.all(calls);
  assertEquals(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await assertFree(lock);
});

both(": a call made after a release comes after those that wait", async (lock) => {
  const guard = await lock.acquire();
  const order: string[] = [];
  const take = async (name: string) => {
    using _guard = await lock.acquire();
    order.push(name);
  };
  const first = take("before the release");
  guard.release();
  assertStrictEquals(lock.tryAcquire(), undefined);
  const second = take("after the release");
  await Promise.all([first, second]);
  assertEquals(order, ["before the release", "after the release"]);
});

both(
  " serves a call that blocks after those of its agent that were made before it",
  async (lock) => {
    for (const isOld of [false, true]) {
      for (const timeout of [0, 20, Infinity]) {
        const guard = lock.acquireSync();
        const order: string[] = [];
        const calls = ["first", "second"].map(async (name) => {
          using _guard = await lock.acquire();
          order.push(name);
        });
        if (isOld) age();
        guard.release();
        const error = assertThrows(() => lock.acquireSync({ timeout })) as Error;
        assertEquals(error.name, timeout === Infinity ? "DeadlockError" : "TimeoutError");
        assertEquals(order, []);
        await Promise.all(calls);
        assertEquals(order, ["first", "second"]);
        await assertFree(lock);
      }
    }
  },
);

both(" serves more calls of one agent than it has places in line, in order", async (lock) => {
  const guard = await lock.acquire();
  const order: number[] = [];
  const calls: Promise<void>[] = [];
  const take = async (i: number) => {
    using _guard = await lock.acquire();
    order.push(i);
    // One that comes while others are being served.
    if (i < 50) calls.push(take(200 + i));
    if (i % 7 === 0) await turn();
  };
  for (let i = 0; i < 100; i++) calls.push(take(i));
  age();
  guard.release();
  await until(() => order.length === 150);
  await Promise.all(calls);
  assertEquals(order, [
    ...Array.from({ length: 100 }, (_, i) => i),
    ...Array.from({ length: 50 }, (_, i) => 200 + i),
  ]);
  await assertFree(lock);
});

both(" serves in order when the tickets of its line wrap", async (lock) => {
  const { mutex } = exclusiveOf(lock)!;
  const { words, base } = mutex.line;
  const guard = await lock.acquire();
  words[base] = 2 ** 30 - 4; // the last ticket drawn
  const order: number[] = [];
  const calls = Array.from({ length: 8 }, async (_, i) => {
    using _guard = await lock.acquire();
    order.push(i);
  });
  assertEquals(words[base], 5);
  age();
  guard.release();
  await Promise.all(calls);
  assertEquals(order, [0, 1, 2, 3, 4, 5, 6, 7]);
});

both(": of many calls, any may be aborted", async (lock) => {
  const guard = await lock.acquire();
  const controllers: AbortController[] = [];
  const order: number[] = [];
  const calls = Array.from({ length: 80 }, async (_, i) => {
    const controller = controllers[i] = new AbortController();
    using _guard = await lock.acquire({ signal: controller.signal });
    order.push(i);
  });
  for (let i = 0; i < 80; i++) if (i % 3 !== 0) controllers[i]!.abort("no");
  age();
  guard.release();
  const results = await Promise.allSettled(calls);
  const served = results.flatMap(({ status }, i) => status === "fulfilled" ? [i] : []);
  assertEquals(served, Array.from({ length: 27 }, (_, i) => i * 3));
  assertEquals(order, served);
  await assertFree(lock);
});

both(": calls without a place in line find one when those before them give up", async (lock) => {
  const guard = await lock.acquire();
  const controller = new AbortController();
  const { signal } = controller;
  const gone = Array.from({ length: 33 }, () => lock.acquire({ signal }));
  const calls = Array.from({ length: 7 }, () => lock.acquire());
  assertEquals(crowdOf(lock), 33);
  controller.abort();
  await Promise.allSettled(gone);
  await until(() => crowdOf(lock) === 7);
  guard.release();
  for (const call of calls) (await call).release();
  await assertFree(lock);
});

both(": a later call does not pass those that have no place in line yet", async (lock) => {
  const guard = await lock.acquire();
  const controller = new AbortController();
  const order: number[] = [];
  const take = async (i: number, signal?: AbortSignal) => {
    using _guard = await lock.acquire(signal === undefined ? {} : { signal });
    order.push(i);
  };
  const gone = Array.from({ length: 33 }, () => take(0, controller.signal));
  const calls = Array.from({ length: 7 }, (_, i) => take(i + 1));
  controller.abort();
  // Places are free, and those that need one could not look yet.
  calls.push(take(8));
  age();
  guard.release();
  await Promise.allSettled(gone);
  await Promise.all(calls);
  assertEquals(order, [1, 2, 3, 4, 5, 6, 7, 8]);
  await assertFree(lock);
});

// -- Deadlocks ---------------------------------------------------------------------------------

Deno.test("Lock.acquireSync() by the agent that holds a Sync guard throws DeadlockError", async () => {
  const lock = new Lock();
  for (const guard of [lock.acquireSync(), undefined]) {
    if (guard === undefined) break;
    const error = assertThrows(() => lock.acquireSync(), DeadlockError);
    assertStringIncludes(error.message, "Lock");
    assertStringIncludes(error.message, String(pidOf(home().id)));
    assertThrows(() => lock.acquireSync({ timeout: Infinity }), DeadlockError);
    assertThrows(() => lock.withLockSync(() => {}), DeadlockError);
    assert(guard.held);
    guard.release();
  }
  await assertFree(lock);
});

Deno.test("Lock.acquireSync() by the agent that holds a guard of tryAcquire() throws DeadlockError", async () => {
  const lock = new Lock();
  using guard = lock.tryAcquire();
  assertThrows(() => lock.acquireSync(), DeadlockError);
  guard!.release();
  await assertFree(lock);
});

Deno.test("Lock.acquireSync() inside withLockSync() throws DeadlockError", async () => {
  const lock = new Lock();
  assertThrows(() => lock.withLockSync(() => lock.acquireSync()), DeadlockError);
  await assertFree(lock);
});

both(
  ".acquireSync() while a task of the same agent holds it throws DeadlockError",
  async (lock) => {
    const guard = await lock.acquire();
    assertThrows(() => lock.acquireSync(), DeadlockError);
    guard.release();
    await assertFree(lock);
  },
);

both(
  ".acquireSync() before the promise that got it could settle throws DeadlockError",
  async (lock) => {
    const call = lock.acquire();
    assertThrows(() => lock.acquireSync(), DeadlockError);
    (await call).release();
    const guard = await lock.acquire();
    const next = lock.acquire();
    age();
    guard.release();
    assertThrows(() => lock.acquireSync(), DeadlockError);
    (await next).release();
    await assertFree(lock);
  },
);

both(".acquireSync() with a timeout by its holder throws TimeoutError", async (lock) => {
  const guard = lock instanceof RLock ? await lock.acquire() : lock.acquireSync();
  for (const timeout of [0, 5]) {
    assertEquals(await errorName(() => lock.acquireSync({ timeout })), "TimeoutError");
  }
  guard.release();
  await assertFree(lock);
});

Deno.test("Lock.tryAcquire() by its holder returns undefined", () => {
  const lock = new Lock();
  using _guard = lock.acquireSync();
  assertStrictEquals(lock.tryAcquire(), undefined);
});

both(
  ".acquireSync() whose lock goes to an earlier promise of its agent throws DeadlockError",
  async (lock) => {
    using peer = await Peer.start(WORKER);
    const holding = peer.run("holdUntil", lock, 2);
    await until(() => lock.locked);
    const first = lock.acquire();
    assertThrows(() => lock.acquireSync(), DeadlockError);
    await holding;
    (await first).release();
    await assertFree(lock);
  },
  LIMIT,
);

both(
  ".acquireSync() with a timeout whose lock goes to an earlier promise times out",
  async (lock) => {
    using peer = await Peer.start(WORKER);
    const holding = peer.run("holdUntil", lock, 2);
    await until(() => lock.locked);
    const first = lock.acquire();
    assertEquals(await errorName(() => lock.acquireSync({ timeout: 100 })), "TimeoutError");
    await holding;
    (await first).release();
    await assertFree(lock);
  },
  LIMIT,
);

// -- Re-entrance -------------------------------------------------------------------------------

Deno.test("RLock.acquireSync() by the agent that holds a Sync guard acquires it again", async () => {
  const lock = new RLock();
  for (const first of [lock.acquireSync(), undefined]) {
    if (first === undefined) break;
    const second = lock.acquireSync();
    const third = lock.acquireSync({ timeout: 0 });
    const fourth = lock.tryAcquire()!;
    assertNotStrictEquals(first, second);
    for (const guard of [fourth, third, second]) {
      guard.release();
      assert(lock.locked);
      assertThrows(() => guard.release(), TypeError);
    }
    first.release();
  }
  await assertFree(lock);
});

Deno.test("RLock.tryAcquire() by the agent that holds a try guard acquires it again", async () => {
  const lock = new RLock();
  const first = lock.tryAcquire()!;
  const second = lock.tryAcquire()!;
  const third = lock.acquireSync();
  first.release();
  second.release();
  assert(lock.locked);
  third.release();
  await assertFree(lock);
});

Deno.test("RLock: nested guards may be released in any order", async () => {
  const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  for (const order of orders) {
    const lock = new RLock();
    const guards = [lock.acquireSync(), lock.acquireSync(), lock.acquireSync()];
    const late = lock.acquire();
    for (const i of order) {
      assertFalse(await settlesSoon(late));
      guards[i]!.release();
    }
    (await late).release();
    await assertFree(lock);
  }
});

Deno.test("RLock.withLockSync() nests", async () => {
  const lock = new RLock();
  assertEquals(lock.withLockSync(() => lock.withLockSync(() => lock.tryAcquire()!.held)), true);
  assert(lock.locked); // by the last guard, which was dropped
  await Promise.resolve();
});

Deno.test("RLock.acquire() without within waits, also while its agent holds a Sync guard", async () => {
  const lock = new RLock();
  const guard = lock.acquireSync();
  const call = lock.acquire();
  assertFalse(await settlesSoon(call));
  assertEquals(await errorName(() => lock.acquire({ timeout: 0 })), "TimeoutError");
  assertEquals(await errorName(() => lock.acquire({ timeout: 2 })), "TimeoutError");
  guard.release();
  (await call).release();
  await assertFree(lock);
});

Deno.test("RLock.acquire() with within acquires it again at once", async () => {
  const lock = new RLock();
  const outer = await lock.acquire();
  const waiting = lock.acquire();
  const inner = await lock.acquire({ within: outer, timeout: 0 });
  const innermost = await lock.acquire({ within: inner });
  const sync = lock.acquireSync({ within: outer });
  const tried = lock.tryAcquire({ within: outer })!;
  for (const guard of [outer, innermost, sync, tried]) guard.release();
  assert(inner.held);
  assertFalse(await settlesSoon(waiting));
  inner.release();
  (await waiting).release();
  await assertFree(lock);
});

Deno.test("RLock.withLock() and withLockSync() take within", async () => {
  const lock = new RLock();
  await lock.withLock(async (within) => {
    assertEquals(await lock.withLock((guard) => guard.held, { within }), true);
    assertEquals(lock.withLockSync((guard) => guard.held, { within }), true);
    assert(lock.locked);
  });
  await assertFree(lock);
});

Deno.test("RLock: guards of Sync and async calls are interchangeable as within", async () => {
  const lock = new RLock();
  const sync = lock.acquireSync();
  const inner = await lock.acquire({ within: sync });
  const tried = lock.tryAcquire({ within: inner })!;
  for (const guard of [sync, inner, tried]) guard.release();
  await assertFree(lock);
});

for (const holds of ["nothing", "a Sync guard", "an async guard"]) {
  Deno.test(`RLock: within a released or foreign guard is a TypeError, holding ${holds}`, async () => {
    const lock = new RLock();
    const other = new RLock();
    const plain = new Lock();
    const released = lock.acquireSync();
    released.release();
    using foreign = other.acquireSync();
    using ofLock = plain.acquireSync();
    const guard = holds === "nothing"
      ? undefined
      : holds === "a Sync guard"
      ? lock.acquireSync()
      : await lock.acquire();
    const copy = { release() {}, held: true, abandoned: false, [Symbol.dispose]() {} };
    for (const within of [released, foreign, ofLock, copy, null, 7, "guard", lock]) {
      const options = { within } as Any;
      assertThrows(() => lock.acquireSync(options), TypeError);
      assertThrows(() => lock.tryAcquire(options), TypeError);
      assertThrows(() => lock.withLockSync(() => {}, options), TypeError);
      const call = lock.acquire(options);
      await assertRejects(() => call, TypeError);
      await assertRejects(() => lock.withLock(() => {}, options), TypeError);
    }
    guard?.release();
    await assertFree(lock);
  });
}

Deno.test("RLock held by an asynchronous guard keeps out Sync and try calls of the same agent", async () => {
  const lock = new RLock();
  const guard = await lock.acquire();
  assertStrictEquals(lock.tryAcquire(), undefined);
  assertThrows(() => lock.acquireSync(), DeadlockError);
  assertEquals(await errorName(() => lock.acquireSync({ timeout: 1 })), "TimeoutError");
  guard.release();
  await assertFree(lock);
});

Deno.test("RLock keeps Sync calls out once only an asynchronous guard is left", async () => {
  const lock = new RLock();
  const outer = lock.acquireSync();
  const inner = await lock.acquire({ within: outer });
  lock.tryAcquire()!.release();
  outer.release();
  assertStrictEquals(lock.tryAcquire(), undefined);
  assertThrows(() => lock.acquireSync(), DeadlockError);
  inner.release();
  await assertFree(lock);
});

Deno.test("RLock lets Sync calls in while a Sync guard is held within an asynchronous one", async () => {
  const lock = new RLock();
  const outer = await lock.acquire();
  {
    using _sync = lock.acquireSync({ within: outer });
    lock.acquireSync().release();
    lock.tryAcquire()!.release();
  }
  assertStrictEquals(lock.tryAcquire(), undefined);
  outer.release();
  await assertFree(lock);
});

// -- Handles -----------------------------------------------------------------------------------

both(".from() is the same object for the lock, its handle and their clones", (lock) => {
  const { from } = lock.constructor as Any;
  for (const form of [lock, lock.handle, structuredClone(lock), structuredClone(lock.handle)]) {
    assertStrictEquals(from(form), lock);
  }
  assertEquals(Object.keys(lock), ["handle"]);
});

both(".from() refuses everything that is no handle of its kind", (lock) => {
  const Class = lock.constructor as Any;
  const other = lock instanceof RLock ? new Lock() : new RLock();
  const { handle } = lock;
  const bytes = handle.memory.byteLength;
  const truncated = new SharedArrayBuffer(bytes - 64);
  new Uint8Array(truncated).set(new Uint8Array(handle.memory, 0, bytes - 64));
  const odd = new SharedArrayBuffer(bytes + 1);
  new Uint8Array(odd).set(new Uint8Array(handle.memory));
  const wiped = new SharedArrayBuffer(bytes);
  const values: unknown[] = [
    undefined,
    null,
    0,
    "Lock",
    Symbol("s"),
    () => {},
    {},
    [],
    new Map(),
    { handle: null },
    { handle: 7 },
    { handle: {} },
    Class,
    other,
    other.handle,
    structuredClone(other),
    new SharedValue("i32"),
    { ...handle, sabre: "Mutex" },
    { ...handle, sabre: other.handle.sabre },
    { ...handle, version: handle.version + 1 },
    { ...handle, version: undefined },
    { ...handle, version: String(handle.version) },
    { ...handle, serial: handle.serial + 1 },
    { ...handle, serial: NaN },
    { ...handle, memory: truncated },
    { ...handle, memory: wiped },
    { ...handle, memory: odd },
    { ...handle, memory: new SharedArrayBuffer(0) },
    { ...handle, memory: new ArrayBuffer(bytes) },
    { ...handle, memory: undefined },
    { ...handle, memory: other.handle.memory },
    { ...handle, domain: undefined },
    { ...handle, domain: new SharedArrayBuffer(8) },
    { ...handle, domain: new SharedArrayBuffer(handle.domain.byteLength) },
    { ...handle, domain: handle.memory },
    { ...handle, offset: 8 },
    { ...handle, offset: 4 },
    { ...handle, offset: -8 },
    { ...handle, offset: 1e300 },
    { ...handle, offset: NaN },
    { ...handle, offset: undefined },
    { sabre: handle.sabre },
  ];
  for (const value of values) {
    assertThrows(() => Class.from(value), TypeError, "Cannot", Deno.inspect(value));
  }
  assertStrictEquals(Class.from(handle), lock);
});

both(" shows a useful line in console.log", async (lock) => {
  const kind = lock.constructor.name;
  const line = Deno.inspect(lock);
  assertMatch(line, new RegExp(`^${kind} \\{ .*\\}$`));
  assertStringIncludes(line, "locked: false");
  const guard = await lock.acquire();
  const calls = Array.from({ length: 40 }, () => lock.acquire({ timeout: 60_000 }));
  const busy = Deno.inspect(lock);
  assertStringIncludes(busy, "locked: true");
  assertStringIncludes(busy, `holder: ${pidOf(home().id)}`);
  assertMatch(busy, /waiting: \d+/);
  assert(busy.length <= 240 && !busy.includes("\n"));
  guard.release();
  for (const call of calls) (await call).release();
});

both(": a held lock is the same lock after its object was collected", async (lock) => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const Class = lock.constructor as Any;
  const handle = structuredClone((new Class() as AnyLock).handle);
  const seen = () => new WeakRef(Class.from(handle));
  const guard = (() => Class.from(handle).acquireSync() as Guard)();
  const reference = seen();
  for (let i = 0; i < 5; i++) {
    await turn();
    collect();
  }
  assert(reference.deref() !== undefined, "what this agent knows of the lock was lost");
  if (Class === RLock) RLock.from(handle).tryAcquire()!.release();
  else assertThrows(() => Lock.from(handle).acquireSync(), DeadlockError);
  guard.release();
});

// -- A model -----------------------------------------------------------------------------------

interface Model {
  readonly reentrant: boolean;
  guards: boolean[]; // whether each is of a Sync or try call
  waiting: number;
}

interface Real {
  readonly lock: AnyLock;
  readonly guards: Guard[];
  readonly waits: { call: Promise<Guard>; controller: AbortController }[];
}

type Command = fc.AsyncCommand<Model, Real>;

function mayEnter(model: Model): boolean {
  return model.guards.length === 0 || (model.reentrant && model.guards.includes(true));
}

class TryAcquire implements Command {
  check = () => true;
  run(model: Model, { lock, guards }: Real): Promise<void> {
    const guard = lock.tryAcquire();
    assertEquals(guard !== undefined, mayEnter(model));
    if (guard !== undefined) {
      guards.push(guard);
      model.guards.push(true);
    }
    return Promise.resolve();
  }
  toString = () => "tryAcquire()";
}

class AcquireSync implements Command {
  constructor(readonly timeout: number) {}
  check = () => true;
  async run(model: Model, { lock, guards }: Real): Promise<void> {
    const { timeout } = this;
    const name = await errorName(() => guards.push(lock.acquireSync({ timeout })));
    const refusal = timeout === Infinity ? "DeadlockError" : "TimeoutError";
    assertEquals(name, mayEnter(model) ? "none" : refusal);
    if (name === "none") model.guards.push(true);
  }
  toString = () => `acquireSync(${this.timeout})`;
}

class Acquire implements Command {
  constructor(readonly timeout: number) {}
  check = () => true;
  async run(model: Model, { lock, guards }: Real): Promise<void> {
    const { timeout } = this;
    const name = await errorName(async () => guards.push(await lock.acquire({ timeout })));
    assertEquals(name, model.guards.length === 0 ? "none" : "TimeoutError");
    if (name === "none") model.guards.push(false);
  }
  toString = () => `acquire(${this.timeout})`;
}

class Wait implements Command {
  check = (model: Readonly<Model>) => model.guards.length > 0;
  async run(model: Model, { lock, waits }: Real): Promise<void> {
    const controller = new AbortController();
    const call = lock.acquire({ signal: controller.signal });
    waits.push({ call, controller });
    model.waiting++;
    await Promise.resolve();
  }
  toString = () => "acquire()";
}

class Within implements Command {
  constructor(readonly index: number, readonly form: "acquire" | "acquireSync" | "tryAcquire") {}
  check = (model: Readonly<Model>) => model.reentrant && model.guards.length > 0;
  async run(model: Model, { lock, guards }: Real): Promise<void> {
    const within = guards[this.index % guards.length]!;
    guards.push((await (lock as RLock)[this.form]({ within }))!);
    model.guards.push(this.form !== "acquire");
  }
  toString = () => `${this.form}(within ${this.index})`;
}

class Release implements Command {
  constructor(readonly index: number, readonly aged: boolean) {}
  check = (model: Readonly<Model>) => model.guards.length > 0;
  async run(model: Model, { guards, waits }: Real): Promise<void> {
    const index = this.index % guards.length;
    if (this.aged) age();
    guards[index]!.release();
    guards.splice(index, 1);
    model.guards.splice(index, 1);
    if (model.guards.length > 0 || model.waiting === 0) return;
    guards.push(await waits.shift()!.call);
    model.guards.push(false);
    model.waiting--;
  }
  toString = () => `release(${this.index}${this.aged ? ", aged" : ""})`;
}

class Abort implements Command {
  constructor(readonly index: number) {}
  check = (model: Readonly<Model>) => model.waiting > 0;
  async run(model: Model, { waits }: Real): Promise<void> {
    const [{ call, controller }] = waits.splice(this.index % waits.length, 1) as [Real["waits"][0]];
    controller.abort("reason");
    assertStrictEquals(await call.catch((error) => error), "reason");
    model.waiting--;
  }
  toString = () => `abort(${this.index})`;
}

class Look implements Command {
  check = () => true;
  run(model: Model, { lock, guards }: Real): Promise<void> {
    assertEquals(lock.locked, model.guards.length > 0);
    assert(guards.every((guard) => guard.held && !guard.abandoned));
    assertEquals(crowdOf(lock), model.waiting);
    return Promise.resolve();
  }
  toString = () => "look";
}

for (const [kind, create] of KINDS) {
  Deno.test({
    name: `${kind} behaves like a list of guards and a queue of waiting calls`,
    ...LIMIT,
    async fn() {
      const index = fc.nat(9);
      const commands = fc.commands([
        fc.constant(new TryAcquire()),
        fc.constantFrom(0, 1, Infinity).map((timeout) => new AcquireSync(timeout)),
        fc.constantFrom(0, 1).map((timeout) => new Acquire(timeout)),
        fc.constant(new Wait()),
        fc.constant(new Wait()),
        fc.tuple(index, fc.constantFrom("acquire", "acquireSync", "tryAcquire"))
          .map(([i, form]) => new Within(i, form as "acquire")),
        fc.tuple(index, fc.boolean()).map(([i, aged]) => new Release(i, aged)),
        fc.tuple(index, fc.boolean()).map(([i, aged]) => new Release(i, aged)),
        index.map((i) => new Abort(i)),
        fc.constant(new Look()),
      ], { maxCommands: 40 });
      await fc.assert(
        fc.asyncProperty(commands, async (list) => {
          const real: Real = { lock: create(), guards: [], waits: [] };
          const model = { reentrant: real.lock instanceof RLock, guards: [], waiting: 0 };
          await fc.asyncModelRun(() => ({ model, real }), list);
          for (const guard of real.guards) guard.release();
          for (const { call } of real.waits) (await call).release();
          await assertFree(real.lock);
        }),
        { numRuns: 60 },
      );
    },
  });
}

// -- Across agents -----------------------------------------------------------------------------

for (const [kind, create] of KINDS) {
  for (const forms of [["sync", "sync", "sync"], ["sync", "async", "sync"]] as const) {
    Deno.test({
      name: `${kind} excludes three workers and this agent from a plain counter (${forms})`,
      ...LIMIT,
      async fn() {
        const lock = create();
        const counter = new SharedArray("f64", 1);
        using first = await Peer.start(WORKER);
        using second = await Peer.start(WORKER);
        using third = await Peer.start(WORKER);
        const rounds = { sync: 8_000, async: 800 };
        const calls = [first, second, third].map((peer, i) =>
          peer.run("count", lock, counter, rounds[forms[i]!], forms[i])
        );
        for (let i = 0; i < 200; i++) await lock.withLock(() => counter.view[0]!++);
        await Promise.all(calls);
        const expected = forms.reduce((sum, form) => sum + rounds[form], 200);
        assertEquals(counter.get(0), expected);
        await assertFree(lock);
      },
    });
  }
}

Deno.test({
  name: "RLock taken twice excludes other agents until it was released twice",
  ...LIMIT,
  async fn() {
    const lock = new RLock();
    const counter = new SharedArray("f64", 1);
    using first = await Peer.start(WORKER);
    using second = await Peer.start(WORKER);
    await Promise.all([first, second].map((peer) => peer.run("countTwice", lock, counter, 5_000)));
    assertEquals(counter.get(0), 10_000);
    const outer = lock.acquireSync();
    const inner = lock.acquireSync();
    assertEquals(await first.run("acquire", lock, "try"), "undefined");
    outer.release();
    assertEquals(await first.run("acquire", lock, "try"), "undefined");
    inner.release();
    assertEquals(await first.run("acquire", lock, "try"), "held");
    await first.run("release");
    await assertFree(lock);
  },
});

both(" is locked for every agent while one holds it", async (lock) => {
  using peer = await Peer.start(WORKER);
  assertEquals(await peer.run("acquire", lock, "sync"), "held");
  assert(lock.locked);
  assertStringIncludes(Deno.inspect(lock), `holder: ${pidOf(peer.id)}`);
  assertStrictEquals(lock.tryAcquire(), undefined);
  assertEquals(await errorName(() => lock.acquireSync({ timeout: 2 })), "TimeoutError");
  assertEquals(await errorName(() => lock.acquire({ timeout: 2 })), "TimeoutError");
  await peer.run("release");
  await assertFree(lock);
}, LIMIT);

both(" serves waiters of several agents in the order of their arrival", async (lock) => {
  const log = new SharedArray("i32", 12);
  using first = await Peer.start(WORKER);
  using second = await Peer.start(WORKER);
  using third = await Peer.start(WORKER);
  const guard = await lock.acquire();
  const calls: Promise<unknown>[] = [];
  const arrive = async (call: Promise<unknown>, crowd: number) => {
    calls.push(call);
    await until(() => crowdOf(lock) === crowd);
  };
  await arrive(first.run("sign", lock, log, 1, "sync"), 1);
  await arrive(second.run("signMany", lock, log, 2, 2), 3);
  await arrive(
    lock.withLock(() => {
      log.view[++log.view[0]!] = 4;
    }),
    4,
  );
  await arrive(third.run("sign", lock, log, 5, "sync"), 5);
  await arrive(second.run("signMany", lock, log, 6, 1), 6);
  await arrive(
    lock.withLock(() => {
      log.view[++log.view[0]!] = 7;
    }),
    7,
  );
  age();
  guard.release();
  await Promise.all(calls);
  assertEquals(log.slice(0, 8), [7, 1, 2, 3, 4, 5, 6, 7]);
  await assertFree(lock);
}, LIMIT);

both(" goes to a waiter of some age at the next release, before any newcomer", async (lock) => {
  using peer = await Peer.start(WORKER);
  const guard = lock.acquireSync();
  const outcome = peer.run("acquire", lock, "sync");
  await until(() => crowdOf(lock) === 1);
  block(50);
  guard.release();
  assert(lock.locked);
  assertStrictEquals(lock.tryAcquire(), undefined);
  assertEquals(await outcome, "held");
  await peer.run("release");
  await assertFree(lock);
}, LIMIT);

both(" is got in time although another agent acquires it again in a tight loop", async (lock) => {
  const stop = new SharedValue("bool");
  const rounds = new SharedValue("i32");
  using peer = await Peer.start(WORKER);
  const hammering = peer.run("hammer", lock, stop, rounds);
  await until(() => rounds.value > 1_000);
  for (let i = 0; i < 5; i++) {
    (await lock.acquire({ timeout: 2_000 })).release();
    lock.acquireSync({ timeout: 2_000 }).release();
  }
  stop.value = true;
  await hammering;
  await assertFree(lock);
}, LIMIT);

both(" survives storms of timeouts and aborts in three agents", async (lock) => {
  const counter = new SharedArray("f64", 1);
  using first = await Peer.start(WORKER);
  using second = await Peer.start(WORKER);
  using third = await Peer.start(WORKER);
  const got = await Promise.all(
    [first, second, third].map((peer, i) =>
      peer.run<number>("storm", lock, counter, 1_000 + i, 250)
    ),
  );
  assertEquals(counter.get(0), got[0]! + got[1]! + got[2]!);
  await assertFree(lock);
  assertEquals(await first.run("acquire", lock, "sync", { timeout: 0 }), "held");
  await first.run("release");
}, LIMIT);

both(": a waiter that leaves the front of the line lets the next one be served", async (lock) => {
  using peer = await Peer.start(WORKER);
  const guard = await lock.acquire();
  const controller = new AbortController();
  const first = lock.acquire({ signal: controller.signal });
  const second = peer.run("acquire", lock, "sync");
  await until(() => crowdOf(lock) === 2);
  controller.abort("reason");
  assertStrictEquals(await first.catch((error) => error), "reason");
  guard.release();
  assertEquals(await second, "held");
  await peer.run("release");
  await assertFree(lock);
}, LIMIT);

for (const form of ["sync", "async"]) {
  both(
    `: a ${form} call ends with TerminatedError when its agent is asked to end`,
    async (lock) => {
      using peer = await Peer.start(WORKER);
      const guard = await lock.acquire();
      const outcome = peer.run("acquire", lock, form);
      await until(() => crowdOf(lock) === 1);
      requestStop(home(), peer.id);
      assertEquals(await outcome, "TerminatedError");
      assertEquals(crowdOf(lock), 0);
      assertEquals(await peer.run("acquire", lock, form), "TerminatedError");
      assertEquals(await peer.run("acquire", lock, form, { timeout: 5_000 }), "TerminatedError");
      assertEquals(await peer.run("acquire", lock, "try"), "undefined");
      guard.release();
      // What need not wait still works.
      assertEquals(await peer.run("acquire", lock, form), "held");
      await peer.run("release");
      await assertFree(lock);
    },
    LIMIT,
  );
}

both(
  ": whoever sleeps before the lock's own bookkeeping is woken when it is free",
  async (lock) => {
    using peer = await Peer.start(WORKER);
    const { mutex } = exclusiveOf(lock)!;
    const guard = lock.acquireSync();
    const latch = mutex.base + LATCH;
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      assertFalse(lockLatch(home(), mutex.words, latch));
      const call = peer.run("acquire", lock, "sync", { timeout: 1 });
      await until(() => (Atomics.load(mutex.words, latch) & 1) === 1);
      const start = performance.now();
      unlockLatch(mutex.words, latch);
      assertEquals(await call, "TimeoutError");
      times.push(performance.now() - start);
    }
    // It looks by itself every 50 ms.
    assert(Math.min(...times) < 25, String(times));
    guard.release();
    await assertFree(lock);
  },
  LIMIT,
);

Deno.test({
  name: "Lock.acquireSync() where blocking is forbidden throws only if it would have to wait",
  ...LIMIT,
  async fn() {
    const lock = new Lock();
    using peer = await Peer.start(new URL("./testdata/browser_worker.ts", import.meta.url));
    assertEquals(await peer.run("acquire", lock, "sync", {}), "held");
    await peer.run("release");
    const guard = lock.acquireSync();
    for (const options of [{}, { timeout: 1_000 }]) {
      const error = await peer.run<string>("acquire", lock, "sync", options);
      assertMatch(error, /^InvalidStateError: .*"acquire"/);
      assertEquals(crowdOf(lock), 0);
    }
    assertMatch(await peer.run<string>("acquire", lock, "sync", { timeout: 0 }), /^TimeoutError/);
    const call = peer.run("acquire", lock, "async", {});
    await until(() => crowdOf(lock) === 1);
    guard.release();
    assertEquals(await call, "held");
    await peer.run("release");
    await assertFree(lock);
  },
});

// -- Death -------------------------------------------------------------------------------------

/** Checks that the lock reports abandonment in every form, then recovers it. */
async function assertAbandoned(lock: AnyLock, peer?: Peer): Promise<void> {
  for (let i = 0; i < 2; i++) {
    assertThrows(() => lock.tryAcquire(), AbandonedError);
    assertThrows(() => lock.tryAcquire({ recover: false }), AbandonedError);
    assertThrows(() => lock.acquireSync(), AbandonedError);
    assertThrows(() => lock.acquireSync({ timeout: 0 }), AbandonedError);
    assertThrows(() => lock.withLockSync(() => {}), AbandonedError);
    assertStringIncludes(Deno.inspect(lock), ", abandoned: true, waiting: ");
    await assertRejects(() => lock.acquire(), AbandonedError);
    await assertRejects(() => lock.acquire({ timeout: 5 }), AbandonedError);
    await assertRejects(() => lock.withLock(() => {}), AbandonedError);
    if (peer === undefined) continue;
    for (const form of ["try", "sync", "async"]) {
      assertEquals(await peer.run("acquire", lock, form), "AbandonedError");
    }
  }
}

both(" whose holder died reports it to everybody until it is recovered", async (lock) => {
  using other = await Peer.start(WORKER);
  using holder = await Peer.start(WORKER);
  assertEquals(await holder.run("acquire", lock, "sync"), "held");
  holder.die();
  await until(() => Deno.inspect(lock).includes(" (dead), abandoned: true, waiting: 0 }"));
  await assertAbandoned(lock, other);
  const error = assertThrows(() => lock.tryAcquire(), AbandonedError);
  assertStringIncludes(error.message, String(pidOf(holder.id)));

  const guard = await lock.acquire({ recover: true });
  assert(guard.abandoned);
  // While a recovered guard is held, others wait.
  assertEquals(await other.run("acquire", lock, "try"), "undefined");
  assertEquals(await other.run("acquire", lock, "sync", { timeout: 2 }), "TimeoutError");
  const waiting = other.run("acquire", lock, "async");
  await until(() => crowdOf(lock) === 1);
  guard.release();
  assertEquals(await waiting, "held");
  await other.run("release");
  await assertFree(lock);
}, LIMIT);

for (const form of ["acquire", "acquireSync", "tryAcquire", "withLock", "withLockSync"] as const) {
  both(`.${form}() recovers a lock whose holder died`, async (lock) => {
    const dead = ghost();
    assert(exclusiveOfGhost(lock, dead).tryAcquire(false, true) !== undefined);
    assertStrictEquals(lock.tryAcquire(), undefined);
    bury(home(), dead.id);
    const options = { recover: true };
    if (form === "withLock" || form === "withLockSync") {
      assertEquals(await lock[form]((guard) => guard.abandoned, options), true);
    } else {
      const guard = (await lock[form](options))!;
      assertEquals([guard.abandoned, guard.held, lock.locked], [true, true, true]);
      guard.release();
      assertEquals(guard.abandoned, true);
    }
    await assertFree(lock);
    lock.withLockSync((guard) => assertFalse(guard.abandoned));
  });
}

/** What a ghost knows of the lock. */
function exclusiveOfGhost(lock: AnyLock, domain: Domain): Exclusive {
  const { memory, offset, sabre } = lock.handle;
  return new Exclusive(sabre, domain, new Int32Array(memory), offset / 4);
}

both(": the death of its holder ends the waits of all", async (lock) => {
  using other = await Peer.start(WORKER);
  using third = await Peer.start(WORKER);
  using holder = await Peer.start(WORKER);
  await holder.run("acquire", lock, "async");
  const calls = [
    other.run("acquire", lock, "sync"),
    third.run("acquire", lock, "async"),
    lock.acquire().then(() => "held", (error) => error.name),
    lock.acquire({ timeout: 60_000 }).then(() => "held", (error) => error.name),
  ];
  await until(() => crowdOf(lock) === 4);
  const start = performance.now();
  holder.die();
  assertEquals(await Promise.all(calls), Array(4).fill("AbandonedError"));
  assert(performance.now() - start < 1_000);
  lock.acquireSync({ recover: true }).release();
  await assertFree(lock);
}, LIMIT);

both(": of those who wait when its holder dies, the one that recovers gets it", async (lock) => {
  using other = await Peer.start(WORKER);
  using holder = await Peer.start(WORKER);
  await holder.run("acquire", lock, "sync");
  const first = lock.acquire().then(() => "held", (error) => error.name);
  const second = other.run("acquire", lock, "sync", { recover: true });
  await until(() => crowdOf(lock) === 2);
  const third = lock.acquire();
  age();
  holder.die();
  assertEquals(await first, "AbandonedError");
  assertEquals(await second, "abandoned");
  assertFalse(await settlesSoon(third));
  await other.run("release");
  const guard = await third;
  assertFalse(guard.abandoned);
  guard.release();
  await assertFree(lock);
}, LIMIT);

both(": one that gives up after it was woken for a free lock wakes the next", (lock) => {
  const first = ghost();
  const second = ghost();
  for (;;) {
    const guard = lock.acquireSync();
    const waits = [first, second].map((domain) => {
      const { mutex } = exclusiveOfGhost(lock, domain);
      const wait = { ticket: 0, place: -1 };
      assertEquals(takeOrLineUp(mutex, wait), BUSY);
      return { mutex, wait };
    });
    const woken = () => Atomics.load(second.words, second.park);
    guard.release();
    const before = woken();
    // Unless this thread was held up for a millisecond, the lock is free now and was given to nobody.
    const isFree = !lock.locked;
    for (const { mutex, wait } of waits) {
      if (!withdrawTake(mutex, wait)) {
        assertEquals(pollTake(mutex, wait), TAKEN);
        giveBack(mutex);
      } else if (wait === waits[0]!.wait && isFree) assertEquals(woken(), before + 1);
    }
    if (isFree) break;
  }
  bury(home(), first.id);
  bury(home(), second.id);
});

both(" is abandoned again when the one who recovered it dies", async (lock) => {
  for (let i = 0; i < 3; i++) {
    const dead = ghost();
    const guard = exclusiveOfGhost(lock, dead).tryAcquire(true, true);
    assertEquals(guard?.abandoned, i > 0);
    bury(home(), dead.id);
  }
  await assertAbandoned(lock);
  lock.tryAcquire({ recover: true })!.release();
  await assertFree(lock);
});

both(" stays abandoned when one dies that would not recover it", async (lock) => {
  const dead = ghost();
  exclusiveOfGhost(lock, dead).tryAcquire(false, true);
  bury(home(), dead.id);
  const second = ghost();
  assertThrows(() => exclusiveOfGhost(lock, second).tryAcquire(false, true), AbandonedError);
  bury(home(), second.id);
  await assertAbandoned(lock);
  lock.acquireSync({ recover: true }).release();
  await assertFree(lock);
});

both(": the death of an agent that holds nothing is not an abandonment", async (lock) => {
  using peer = await Peer.start(WORKER);
  await peer.run("acquire", lock, "sync");
  await peer.run("release");
  peer.die();
  await assertFree(lock);
}, LIMIT);

both(": the death of an agent that waits lets the others pass", async (lock) => {
  using other = await Peer.start(WORKER);
  using dead = await Peer.start(WORKER);
  const guard = await lock.acquire();
  await dead.run("begin", "x", lock);
  await dead.run("begin", "y", lock);
  const next = other.run("acquire", lock, "sync");
  await until(() => crowdOf(lock) === 3);
  dead.die();
  age();
  guard.release();
  assertEquals(await next, "held");
  await other.run("release");
  await assertFree(lock);
}, LIMIT);

both(
  ": the death of the one that was woken for a free lock lets the next have it",
  async (lock) => {
    using other = await Peer.start(WORKER);
    const guard = await lock.acquire();
    const dead = ghost();
    const wait = { ticket: 0, place: -1 };
    assertEquals(takeOrLineUp(exclusiveOfGhost(lock, dead).mutex, wait), BUSY);
    const next = other.run("acquire", lock, "sync");
    await until(() => crowdOf(lock) === 2);
    guard.release();
    bury(home(), dead.id);
    assertEquals(await next, "held");
    await other.run("release");
    await assertFree(lock);
  },
  LIMIT,
);

both(": an heir that died before it ran has abandoned nothing", async (lock) => {
  using other = await Peer.start(WORKER);
  const guard = await lock.acquire();
  const dead = ghost();
  const wait = { ticket: 0, place: -1 };
  assertEquals(takeOrLineUp(exclusiveOfGhost(lock, dead).mutex, wait), BUSY);
  const next = other.run("acquire", lock, "sync");
  await until(() => crowdOf(lock) === 2);
  age();
  guard.release();
  // Handed over: nobody else gets it.
  assertStrictEquals(lock.tryAcquire(), undefined);
  assertEquals(crowdOf(lock), 1);
  bury(home(), dead.id);
  assertEquals(await next, "held");
  await other.run("release");
  await assertFree(lock);
}, LIMIT);

both(": an heir that died before it ran is not said to have abandoned it", async (lock) => {
  const guard = lock.acquireSync();
  const dead = ghost();
  takeOrLineUp(exclusiveOfGhost(lock, dead).mutex, { ticket: 0, place: -1 });
  age();
  guard.release();
  bury(home(), dead.id);
  assertFalse(Deno.inspect(lock).includes("abandoned"));
  assertFalse(exclusiveOf(lock)!.holdings((lock as Lock).handle).isAbandoned);
  using next = lock.acquireSync();
  assertFalse(next.abandoned);
  next.release();
  await assertFree(lock);
});

both(": an heir that died before it ran passes an abandonment on", async (lock) => {
  const holder = ghost();
  const heir = ghost();
  exclusiveOfGhost(lock, holder).tryAcquire(false, true);
  assertEquals(takeOrLineUp(exclusiveOfGhost(lock, heir).mutex, { ticket: 0, place: -1 }), BUSY);
  age();
  bury(home(), holder.id);
  // Whoever looks hands it to the heir, which has waited longest, and is told as well.
  assertThrows(() => lock.tryAcquire(), AbandonedError);
  bury(home(), heir.id);
  await assertAbandoned(lock);
  lock.acquireSync({ recover: true }).release();
  await assertFree(lock);
});

both(
  ": a holder that died after it had handed the lock over has not abandoned it",
  async (lock) => {
    const dead = ghost();
    const guard = exclusiveOfGhost(lock, dead).tryAcquire(false, true)!;
    const next = lock.acquire();
    age();
    guard.release();
    bury(home(), dead.id);
    const mine = await next;
    assertFalse(mine.abandoned);
    mine.release();
    await assertFree(lock);
  },
);

both(": an agent that died inside the lock's own bookkeeping wedges nobody", async (lock) => {
  using other = await Peer.start(WORKER);
  const { mutex } = exclusiveOf(lock)!;
  const dead = ghost();
  assertFalse(lockLatch(dead, mutex.words, mutex.base + LATCH));
  const guard = lock.acquireSync();
  const call = other.run("acquire", lock, "sync");
  // It needs the latch to line up, and marks it before it sleeps.
  await until(() => (Atomics.load(mutex.words, mutex.base + LATCH) & 1) === 1);
  assertEquals(crowdOf(lock), 0);
  bury(home(), dead.id);
  await until(() => crowdOf(lock) === 1);
  guard.release();
  assertEquals(await call, "held");
  await other.run("release");
  await assertFree(lock);
}, LIMIT);

Deno.test("RLock that its holder held several times is recovered once", async () => {
  const lock = new RLock();
  using holder = await Peer.start(WORKER);
  for (let i = 0; i < 3; i++) await holder.run("acquire", lock, "sync");
  await holder.run("release");
  holder.die();
  await assertAbandoned(lock);
  const guard = lock.acquireSync({ recover: true });
  const inner = lock.acquireSync();
  assertEquals([guard.abandoned, inner.abandoned], [true, true]);
  guard.release();
  inner.release();
  await assertFree(lock);
});

for (
  const [name, create] of [
    ["SharedArray", () => new SharedArray("i32", 3)],
    ["SharedValue", () => new SharedValue("f64")],
  ] as const
) {
  Deno.test({
    name: `${name}.lock reports the death of its holder`,
    ...LIMIT,
    async fn() {
      const { lock } = create();
      using holder = await Peer.start(WORKER);
      assertEquals(await holder.run("acquire", lock, "async"), "held");
      holder.die();
      await assertAbandoned(lock);
      assertEquals(lock.withLockSync((guard) => guard.abandoned, { recover: true }), true);
      await assertFree(lock);
    },
  });
}

both(
  ": one that gave it back and died while others looked after the dead has not abandoned it",
  (lock) => {
    const holder = ghost();
    const guard = exclusiveOfGhost(lock, holder).tryAcquire(false, true)!;
    bury(home(), ghost().id);
    const words = new Int32Array(lock.handle.memory);
    const { load } = Atomics;
    const atomics = Atomics as unknown as { load: (...args: unknown[]) => unknown };
    const real = load as unknown as (...args: unknown[]) => unknown;
    let isDone = false;
    // Under the latch, right after the owner was read.
    atomics.load = (view, index) => {
      const value = real(view, index);
      if (
        !isDone && index === 32 && (view as Int32Array).length === words.length && words[4] !== 0
      ) {
        isDone = true;
        guard.release();
        bury(home(), holder.id);
      }
      return value;
    };
    try {
      lock.tryAcquire()?.release();
    } finally {
      atomics.load = real;
    }
    assertEquals([isDone, lock.locked], [true, false]);
    using mine = lock.acquireSync();
    assertFalse(mine.abandoned);
  },
);

both(
  ": an heir that got it and died while others looked after the dead has abandoned it",
  async (lock) => {
    const words = new Int32Array(lock.handle.memory);
    const { load } = Atomics;
    const atomics = Atomics as unknown as { load: (...args: unknown[]) => unknown };
    const real = load as unknown as (...args: unknown[]) => unknown;
    // After each time that others look whether the heir has made use of its place.
    for (let moment = 1;; moment++) {
      const guard = lock.acquireSync();
      const heir = ghost();
      const { mutex } = exclusiveOfGhost(lock, heir);
      const wait = { ticket: 0, place: -1 };
      assertEquals(takeOrLineUp(mutex, wait), BUSY);
      age();
      guard.release();
      bury(home(), ghost().id);
      let looks = 0;
      atomics.load = (view, index) => {
        const value = real(view, index);
        const isLook = index === PLACE + wait.place &&
          (view as Int32Array).length === words.length && value === GRANTED;
        if (isLook && ++looks === moment) {
          assertEquals(pollTake(mutex, wait), TAKEN);
          bury(home(), heir.id);
        }
        return value;
      };
      try {
        assertStrictEquals(lock.tryAcquire(), undefined);
      } catch (error) {
        assert(error instanceof AbandonedError, String(error));
      } finally {
        atomics.load = real;
      }
      if (looks < moment) {
        // Nobody looked that often: the heir still has it.
        assert(moment > 2);
        assertEquals(pollTake(mutex, wait), TAKEN);
        giveBack(mutex);
        bury(home(), heir.id);
        break;
      }
      await assertAbandoned(lock);
      lock.acquireSync({ recover: true }).release();
    }
    await assertFree(lock);
  },
);

both(": an heir that died is replaced once, wherever the one who does so dies", async (lock) => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const [first, heir, mender, next] = [ghost(), ghost(), ghost(), ghost()];
    const guard = exclusiveOfGhost(lock, first).tryAcquire(false, true)!;
    const wait = { ticket: 0, place: -1 };
    const { mutex } = exclusiveOfGhost(lock, next);
    assertEquals(
      takeOrLineUp(exclusiveOfGhost(lock, heir).mutex, { ticket: 0, place: -1 }),
      BUSY,
    );
    assertEquals(takeOrLineUp(mutex, wait), BUSY);
    age();
    guard.release();
    bury(home(), heir.id);
    isThrough = !diesAt(moment, () => exclusiveOfGhost(lock, mender).tryAcquire(true, true));
    bury(home(), mender.id);
    const outcome = pollTake(mutex, wait);
    // An abandonment too many is harmless.
    if (outcome === POISONED) recover(mutex);
    else assertEquals(outcome, TAKEN);
    assertStrictEquals(lock.tryAcquire(), undefined);
    giveBack(mutex);
    await assertFree(lock);
    bury(home(), first.id);
    bury(home(), next.id);
  }
});

both(": its holder's death is told, with its pid, wherever the one who notes it dies", (lock) => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const [holder, mender] = [ghost(), ghost()];
    exclusiveOfGhost(lock, holder).tryAcquire(false, true);
    bury(home(), holder.id);
    isThrough = !diesAt(moment, () => tryTake(exclusiveOfGhost(lock, mender).mutex, false));
    bury(home(), mender.id);
    const error = assertThrows(() => lock.tryAcquire(), AbandonedError);
    assertMatch(error.message, new RegExp(`\\b${pidOf(holder.id)}\\b`));
    lock.tryAcquire({ recover: true })!.release();
  }
});

Deno.test("what a constructor is given beyond its parameters is ignored, and never taken for a handle", () => {
  // deno-lint-ignore no-explicit-any
  const [AnyLock, AnyRLock] = [Lock, RLock] as any[];
  for (const extra of [{ name: "a" }, "a", 1, null, {}, new Lock().handle]) {
    assertFalse(new AnyLock(extra).locked);
    assertFalse(new AnyRLock(extra).locked);
  }
});

Deno.test("a guard cannot be passed, and shows its state", () => {
  const lock = new Lock();
  const queue = new Queue<unknown>();
  const guard = lock.acquireSync();
  assertThrows(() => queue.putSync([guard]), DOMException, "guard cannot travel");
  assertEquals(Deno.inspect(guard), "Guard { held: true, abandoned: false }");
  guard.release();
  assertEquals(Deno.inspect(guard), "Guard { held: false, abandoned: false }");
});
