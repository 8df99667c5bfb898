// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals, assertFalse, assertMatch, assertStringIncludes } from "@std/assert";
import { bury, home } from "../_agent.ts";
import { Exclusive } from "../_exclusive.ts";
import { Barrier } from "../barrier.ts";
import { Condition } from "../condition.ts";
import { type AgentState, diagnose, type WaitState } from "../diagnostics.ts";
import { SharedEvent } from "../event.ts";
import { Lock, RLock } from "../lock.ts";
import { pipe } from "../pipe.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { RwLock } from "../rwlock.ts";
import { select } from "../select.ts";
import { Semaphore } from "../semaphore.ts";
import { SharedArray } from "../shared.ts";
import { abortable, Agent, block, turn, until } from "./_helpers.ts";
import { ghost, Peer } from "./_workers.ts";
import { churn } from "./testdata/deadlock_targets.ts";

const LIMIT = { timeout: 20_000 };
const TARGETS = new URL("./testdata/deadlock_targets.ts", import.meta.url);

const ME = { pid: Process.current.pid, name: "Main" };

function agentOf(pid: number): AgentState | undefined {
  return diagnose().agents.find((agent) => agent.pid === pid);
}

function own(): readonly WaitState[] {
  return agentOf(ME.pid)!.waits;
}

/** The lines about a primitive. */
function linesOf(primitive: { handle: { sabre: string; serial: number } }): string[] {
  const { sabre, serial } = primitive.handle;
  return String(diagnose()).split("\n").filter((line) => line.startsWith(`${sabre} #${serial} `));
}

function holdsOf({ handle }: { handle: { sabre: string; serial: number } }): unknown[] {
  return diagnose().holds
    .filter(({ kind, serial }) => kind === handle.sabre && serial === handle.serial)
    .map(({ holder, call, permits, abandoned, waiting }) => [
      holder?.pid,
      call,
      permits,
      abandoned,
      waiting,
    ]);
}

/** Until the worker is blocked for longer than it takes to find out who keeps it waiting. */
async function untilBlocked(peer: Peer, milliseconds = 0): Promise<WaitState> {
  const { pid } = pidOf(peer);
  await until(() => {
    const wait = agentOf(pid)?.waits[0];
    return wait?.blocked === true && wait.milliseconds >= milliseconds;
  });
  return agentOf(pid)!.waits[0]!;
}

function pidOf(peer: Peer): { pid: number } {
  return { pid: peer.id >>> 7 };
}

// -- The snapshot --------------------------------------------------------------------------------

Deno.test("diagnose() is plain data, frozen through and through", () => {
  const lock = new Lock();
  using _guard = lock.acquireSync();
  const diagnosis = diagnose();
  assertEquals(Object.keys(diagnosis), ["agents", "holds", "cycles"]);
  assertEquals(Object.getPrototypeOf(diagnosis), Object.prototype);
  assert(Object.isFrozen(diagnosis) && Object.isFrozen(diagnosis.agents[0]!.waits));
  assert(Object.isFrozen(diagnosis.holds) && Object.isFrozen(diagnosis.holds[0]));
  const { agents, holds, cycles } = diagnosis;
  assertEquals(structuredClone({ agents, holds, cycles }), { agents, holds, cycles });
  assertEquals(JSON.parse(JSON.stringify(diagnosis)).cycles, []);
});

Deno.test("diagnose() shows itself to console.log as its text", () => {
  const diagnosis = diagnose();
  assertEquals(Deno.inspect(diagnosis), String(diagnosis));
  assertEquals(`${diagnosis}`, diagnosis.toString());
});

Deno.test("diagnose() is a snapshot: it does not change later", () => {
  const lock = new Lock();
  const guard = lock.acquireSync();
  const before = diagnose();
  guard.release();
  const { serial } = lock.handle;
  const isHeld = (state: typeof before) => state.holds.some((hold) => hold.serial === serial);
  assertEquals([isHeld(before), isHeld(diagnose())], [true, false]);
});

Deno.test("diagnose() joins nothing: alone it says so", LIMIT, async () => {
  using agent = new Agent(TARGETS);
  assertEquals(await agent.run<unknown>("diagnoseAlone"), [
    0,
    "Nothing of this package is in use yet",
  ]);
});

// -- Agents and waits ----------------------------------------------------------------------------

Deno.test("diagnose() tells name, pid and parent of every agent that lives", () => {
  const one = ghost("some child");
  const pid = one.id >>> 7;
  const { name, parent, waits } = agentOf(pid)!;
  assertEquals([name, parent, waits], ["some child", ME, []]);
  assertEquals(agentOf(ME.pid)!.parent, undefined);
  assertStringIncludes(String(diagnose()), `some child (pid ${pid}) waits for nothing`);
  bury(home(), one.id);
  assertEquals(agentOf(pid), undefined);
});

Deno.test("diagnose() tells of all promises of its own agent, oldest first", async () => {
  const { signal, abort } = abortable();
  const [lock, rwlock, semaphore] = [new Lock(), new RwLock(), new Semaphore(1)];
  const [queue, event, barrier] = [
    new Queue<number>({ maxItems: 1 }),
    new SharedEvent(),
    new Barrier(2),
  ];
  const condition = new Condition();
  const [near, far] = pipe();
  const guards = [lock.acquireSync(), rwlock.writeSync(), semaphore.acquireSync()];
  queue.putSync(1);
  const promises = [
    lock.acquire({ signal }),
    rwlock.read({ signal }),
    rwlock.write({ signal }),
    semaphore.acquire({ signal }),
    queue.put(2, { signal }),
    queue.join({ signal }),
    event.wait({ signal }),
    barrier.wait({ signal }),
    near.receive({ signal }),
    far.poll({ signal }),
    select([event], { signal }),
    condition.lock.acquire().then((guard) => condition.wait(guard, { signal })),
  ];
  for (const promise of promises) promise.catch(() => {});
  await turn();
  const waits = own();
  assertEquals(waits.map(({ kind, call }) => `${kind} ${call}`), [
    "Lock acquire",
    "RwLock read",
    "RwLock write",
    "Semaphore acquire",
    "Queue put",
    "Queue join",
    "SharedEvent wait",
    "Barrier wait",
    "Connection receive",
    "Connection receive",
    "select ",
    "Condition wait",
  ]);
  assertEquals(waits[0]!.serial, lock.handle.serial);
  assertEquals([waits[0]!.holder, waits[1]!.holder, waits[3]!.holder], [ME, ME, undefined]);
  assert(waits.every(({ blocked, milliseconds }) => !blocked && milliseconds >= 0));
  abort();
  await Promise.allSettled(promises);
  for (const guard of guards) guard.release();
  assertEquals(own(), []);
});

Deno.test("diagnose() tells for how long", async () => {
  const queue = new Queue<number>();
  const item = queue.get();
  block(60);
  const { milliseconds } = own()[0]!;
  assert(milliseconds >= 55 && milliseconds < 5_000, `${milliseconds} ms`);
  queue.putSync(1);
  await item;
});

for (
  const [kind, make, release] of [
    ["Lock", () => new Lock(), () => {}],
    ["Queue", () => new Queue<number>(), (queue: unknown) => (queue as Queue<number>).putSync(1)],
    ["SharedEvent", () => new SharedEvent(), (event: unknown) => (event as SharedEvent).set()],
    ["Condition", () => new Condition(), (value: unknown) => {
      const condition = value as Condition;
      condition.lock.withLockSync(() => condition.notifyAll());
    }],
  ] as const
) {
  Deno.test(`diagnose() tells that another agent is blocked at a ${kind}`, LIMIT, async () => {
    using peer = await Peer.start(TARGETS);
    const primitive = make();
    const guard = primitive instanceof Lock ? primitive.acquireSync() : undefined;
    const done = peer.run("blockIn", kind, { handle: primitive.handle });
    const wait = await untilBlocked(peer, 20);
    assertEquals([wait.kind, wait.serial], [kind, primitive.handle.serial]);
    assertEquals(wait.holder, guard === undefined ? undefined : ME);
    assertMatch(
      String(diagnose()),
      new RegExp(`^Worker \\(pid \\d+\\) waits \\d+\\.\\d s for ${kind} #`, "m"),
    );
    release(primitive);
    guard?.release();
    await done;
    await until(() => agentOf(pidOf(peer).pid)!.waits.length === 0);
  });
}

Deno.test(
  "diagnose() tells of a blocked call rather than of promises, and of these afterwards",
  LIMIT,
  async () => {
    using peer = await Peer.start(TARGETS);
    const [queue, event] = [new Queue<number>(), new SharedEvent()];
    const done = peer.run<number>("awaitAndBlock", { handle: queue.handle }, {
      handle: event.handle,
    });
    assertEquals((await untilBlocked(peer)).kind, "SharedEvent");
    event.set();
    await until(() => agentOf(pidOf(peer).pid)!.waits[0]?.kind === "Queue");
    const [wait] = agentOf(pidOf(peer).pid)!.waits;
    assertEquals([wait!.call, wait!.blocked, wait!.serial], ["get", false, queue.handle.serial]);
    assertMatch(String(diagnose()), /waits \d+\.\d s in a promise for Queue #\d+ \(get\)/);
    queue.putSync(7);
    assertEquals(await done, 7);
    await until(() => agentOf(pidOf(peer).pid)!.waits.length === 0);
  },
);

Deno.test("diagnose() tells of the end of a process that is waited for", LIMIT, async () => {
  const stop = new SharedEvent();
  const process = new Process(TARGETS, {
    target: churn,
    args: [new Lock(), new RwLock(), stop],
  }).start();
  const joined = process.join();
  const [wait] = own().filter(({ kind }) => kind === "Process");
  assertEquals([wait!.serial, wait!.call], [process.pid, "join"]);
  assertStringIncludes(String(diagnose()), `for the end of pid ${process.pid}`);
  stop.set();
  await joined;
});

// -- Who holds what ------------------------------------------------------------------------------

Deno.test("diagnose() tells who holds a lock, and how many wait", async () => {
  const [lock, rlock] = [new Lock(), new RLock()];
  assertEquals([holdsOf(lock), holdsOf(rlock)], [[], []]);
  const guard = lock.acquireSync();
  const next = lock.acquire();
  const guards = [rlock.acquireSync(), rlock.acquireSync()];
  assertEquals(holdsOf(lock), [[ME.pid, "acquire", 1, false, 1]]);
  assertEquals(holdsOf(rlock), [[ME.pid, "acquire", 1, false, 0]]);
  assertEquals(linesOf(lock), [
    `Lock #${lock.handle.serial} is held by Main (pid ${ME.pid}), 1 waiting`,
  ]);
  for (const each of [guard, ...guards]) each.release();
  (await next).release();
  assertEquals([holdsOf(lock), holdsOf(rlock)], [[], []]);
});

Deno.test("diagnose() tells readers, writers and holders of permits", () => {
  const [rwlock, semaphore] = [new RwLock(), new Semaphore(5)];
  {
    using _one = rwlock.readSync();
    using _two = rwlock.readSync();
    assertEquals(holdsOf(rwlock), [[ME.pid, "read", 2, false, 0]]);
    assertMatch(linesOf(rwlock)[0]!, /is held for reading by Main/);
  }
  {
    using _one = rwlock.writeSync();
    assertEquals(holdsOf(rwlock), [[ME.pid, "write", 1, false, 0]]);
    assertMatch(linesOf(rwlock)[0]!, /is held for writing by Main/);
  }
  using _permits = semaphore.acquireSync({ permits: 2 });
  assertEquals(holdsOf(semaphore), [[ME.pid, "acquire", 2, false, 0]]);
  assertMatch(linesOf(semaphore)[0]!, /is held with 2 permits by Main/);
  assertEquals(holdsOf(rwlock), []);
});

Deno.test("diagnose() tells that a lock is abandoned until it is recovered, and repairs nothing", () => {
  const lock = new Lock();
  const domain = ghost();
  const words = new Int32Array(lock.handle.memory);
  new Exclusive("Lock", domain, words, 0).acquireSync(0, false);
  assertEquals(holdsOf(lock), [[domain.id >>> 7, "acquire", 1, false, 0]]);
  bury(home(), domain.id);
  const before = words.slice();
  assertEquals(holdsOf(lock), [[undefined, "acquire", 0, true, 0]]);
  assertMatch(linesOf(lock)[0]!, /is abandoned: its holder died, and nobody has recovered it$/);
  assertEquals(words, before);
  using guard = lock.acquireSync({ recover: true });
  assertEquals([guard.abandoned, holdsOf(lock)], [true, [[ME.pid, "acquire", 1, false, 0]]]);
});

Deno.test(
  "diagnose() knows of a lock that only others have, once somebody waits for it",
  LIMIT,
  async () => {
    using holder = await Peer.start(TARGETS);
    using waiter = await Peer.start(TARGETS);
    const handle = await holder.run<{ serial: number }>("makeAndKeep");
    const isHeld = () =>
      diagnose().holds.some(({ kind, serial }) => kind === "Lock" && serial === handle.serial);
    assertFalse(isHeld());
    const done = waiter.run("acquire", handle);
    await until(isHeld);
    const [hold] = diagnose().holds.filter(({ serial }) => serial === handle.serial);
    assertEquals([hold!.holder!.pid, hold!.waiting], [pidOf(holder).pid, undefined]);
    await holder.run("releaseAll");
    await done;
    await waiter.run("releaseAll");
  },
);

// -- Cycles --------------------------------------------------------------------------------------

Deno.test("diagnose() shows a circle of promises, which nobody can be sure of", LIMIT, async () => {
  using peer = await Peer.start(TARGETS);
  const [one, two] = [new Lock(), new Lock()];
  await peer.run("acquire", { handle: two.handle });
  using guard = one.acquireSync();
  const blocked = peer.run("blockIn", "Lock", { handle: one.handle });
  const { signal, abort } = abortable();
  const promise = two.acquire({ signal });
  promise.catch(() => {});
  await untilBlocked(peer);
  // Whoever has waited for less may only just have been served.
  block(120);
  const { cycles } = diagnose();
  assertEquals(cycles.map(({ agents, certain }) => [agents.map(({ pid }) => pid), certain]), [
    [[ME.pid, pidOf(peer).pid], false],
  ]);
  assertMatch(
    String(diagnose()),
    /^A deadlock, unless a task can go on: Main \(pid \d+\) waits for Worker \(pid \d+\) waits for Main/m,
  );
  abort();
  guard.release();
  await blocked;
  await peer.run("releaseAll");
  assertEquals(diagnose().cycles, []);
});

Deno.test("diagnose() takes two tasks of one agent that share a lock for no circle", async () => {
  const lock = new Lock();
  const guard = await lock.acquire();
  const next = lock.acquire();
  assertEquals([own()[0]!.holder, diagnose().cycles], [ME, []]);
  guard.release();
  (await next).release();
});

Deno.test("diagnose() works while others are busy", LIMIT, async () => {
  const [lock, rwlock, stop] = [new Lock(), new RwLock(), new SharedEvent()];
  const children = [0, 1].map(() =>
    new Process(TARGETS, { target: churn, args: [lock, rwlock, stop] }).start()
  );
  await until(() => lock.locked);
  const end = performance.now() + 500;
  let texts = 0;
  while (performance.now() < end) {
    const diagnosis = diagnose();
    assert(diagnosis.agents.length >= 3);
    for (const { kind, call } of diagnosis.agents.flatMap(({ waits }) => waits)) {
      assert(kind === "Lock" || kind === "RwLock" || kind === "Process", `${kind} ${call}`);
    }
    texts += String(diagnosis).length;
  }
  assert(texts > 0);
  stop.set();
  for (const child of children) assert(await child.result > 0);
});

Deno.test(
  "diagnose() sees no deadlock where agents are served all the time",
  { timeout: 60_000 },
  async () => {
    const [first, second] = [new Lock(), new Lock()];
    const state = new SharedArray("i32", 2);
    const children = [0, 1, 2].map(() =>
      new Process(new URL("./testdata/fairness_targets.ts", import.meta.url), {
        target: "takeBoth",
        args: [first, second, state],
      }).start()
    );
    await until(() => state.get(1) === children.length);
    const end = performance.now() + 1_500;
    let looks = 0;
    const seen: unknown[] = [];
    while (performance.now() < end) {
      looks++;
      seen.push(...diagnose().cycles);
    }
    state.set(0, 1);
    await Promise.all(children.map((child) => child.join()));
    assert(looks > 10);
    assertEquals(seen, []);
  },
);
