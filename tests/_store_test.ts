// Copyright 2026 the Sabre authors. MIT license.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { bury, claimSlot, type Domain, home, isAlive } from "../_agent.ts";
import { Call, Calls } from "../_calls.ts";
import { EMPTY, END, type GetCall, Getting } from "../_getting.ts";
import { drawTicket, GRANTED, LINE_WORDS, lineUp, placeState, waiting } from "../_line.ts";
import { type PutCall, Putting } from "../_putting.ts";
import { newPacket, pack, packetWords } from "../_record.ts";
import {
  assignedTo,
  closeStore,
  enterGet,
  enterPut,
  exitGet,
  exitPut,
  finishOne,
  hasOffer,
  initStore,
  isFull,
  ITEM,
  openOffer,
  refreshGets,
  refreshPuts,
  sizeOf,
  type Store,
  STORE_WORDS,
  storeAt,
  unfinishedOf,
  useAssigned,
  useOffer,
  zerosOf,
} from "../_store.ts";
import { ClosedError } from "../errors.ts";
import { diesAt } from "./_death.ts";
import { ghost } from "./_workers.ts";

const SIZE = 16;

// Words of the store, see there.
const PUT_LATCH = 32;
const PUT_SIDE = [33, 34, 35, 36, 37, 38, 64];
const GET_LATCH = 96;
const GET_SIDE = [97, 98, 99, 100, 101, 102, 128, 129, 160];
const PUT_LINE = 224;
const GET_LINE = PUT_LINE + LINE_WORDS;
const CLOSED = 4;
const HEAD = 160;
const OFFER = 192;
const OFFER_LENGTH = 193;
const NONE = 0;
const OPEN = 1;
/** Words of the domain, see `_agent.ts`: the first slot, and a slot's size. */
const SLOTS = 64;

/** By word of a queue: the latch under which alone it may be changed, or read plainly; 0: none. */
const LATCH_OF = new Int32Array(STORE_WORDS);
for (const index of PUT_SIDE) LATCH_OF[index] = PUT_LATCH;
for (const index of GET_SIDE) LATCH_OF[index] = GET_LATCH;
LATCH_OF.fill(PUT_LATCH, PUT_LINE, GET_LINE);
LATCH_OF.fill(GET_LATCH, GET_LINE);

/** What an agent without a thread can do with a queue. */
interface Actor {
  readonly domain: Domain;
  readonly store: Store;
  readonly putting: Putting;
  readonly getting: Getting;
}

interface WorldOptions {
  readonly size?: number;
  readonly maxItems?: number;
  readonly overflow?: number;
}

/** A queue in a domain of its own, whose agents have no thread: the first one lives in slot 0. */
class World {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly overflow: SharedArrayBuffer;
  readonly #domain: Int32Array<SharedArrayBuffer>;
  readonly #actors: Actor[] = [];

  constructor({ size = SIZE, maxItems = 0, overflow = 1_024 }: WorldOptions = {}) {
    this.words = new Int32Array(new SharedArrayBuffer((STORE_WORDS + size) * 4));
    initStore(this.words, size, maxItems);
    this.overflow = new SharedArrayBuffer(16, { maxByteLength: overflow });
    const { words } = home();
    this.#domain = new Int32Array(new SharedArrayBuffer(words.byteLength));
    // The mark and the version.
    this.#domain.set(words.subarray(0, 2));
  }

  actor(): Actor {
    const id = claimSlot(this.#domain, "ghost", 0);
    const park = SLOTS + this.#actors.length * SLOTS + 1;
    const { buffer } = this.#domain;
    const domain = { memory: buffer, words: this.#domain, id, park, wakes: [] };
    const store = storeAt(domain, this.words);
    const actor = {
      domain,
      store,
      putting: new Putting(store, this.overflow),
      getting: new Getting(store, this.overflow),
    };
    this.#actors.push(actor);
    return actor;
  }

  actors(count: number): Actor[] {
    return Array.from({ length: count }, () => this.actor());
  }

  bury(actor: Actor): void {
    bury({ ...actor.domain, id: 0 }, actor.domain.id);
  }

  /**
   * Does something in the name of agents, and makes sure that they keep to the latches: what belongs to
   * a side is changed, and read plainly, under that side's latch only; that of the get side is taken
   * inside the other one and never the other way round; none is held at the end, and nobody who was
   * served is left to be woken. What is free is overwritten in that moment, as somebody may do who is quick.
   */
  act<T>(run: () => T): T {
    const { words } = this;
    const check = (index: number): void => {
      const latch = LATCH_OF[index] ?? 0;
      assert(latch === 0 || words[latch] !== 0, `word ${index} is used without its latch`);
      const isUnder = words[PUT_LATCH] !== 0 || words[GET_LATCH] !== 0;
      assert(index !== CLOSED || isUnder, "CLOSED is read plainly without a latch");
    };
    const { domain } = this.#actors[0]!;
    // Or its holder has died: then it can be taken over.
    const isFree = (latch: number): boolean => {
      return words[latch] === 0 || !isAlive(domain, words[latch]! >> 2);
    };
    const view = new Proxy(words, {
      get: (target, key) => {
        if (typeof key === "string" && /^\d+$/.test(key)) check(Number(key));
        return Reflect.get(target, key, target);
      },
      set: (target, key, value) => {
        check(Number(key));
        return Reflect.set(target, key, value, target);
      },
    });
    let offered: Uint8Array | undefined;
    const overwrite = (index: number, value: number): void => {
      if (index === CLOSED) {
        assert(words[PUT_LATCH]! * words[GET_LATCH]! !== 0, "closed under one latch");
      }
      if (index === OFFER && value === OPEN) offered = new Uint8Array(this.overflow).slice();
      if (index === OFFER && value === NONE) new Uint8Array(this.overflow).fill(0xff);
      if (index !== HEAD) return;
      const mask = words.length - STORE_WORDS - 1;
      for (let at = words[HEAD]!; at !== value; at++) words[STORE_WORDS + (at & mask)] = -1;
    };
    const atomics = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
    const names = ["add", "and", "compareExchange", "exchange", "load", "notify", "or", "store"];
    const real = new Map([...names, "sub"].map((name) => [name, atomics[name]!]));
    for (const [name, operation] of real) {
      atomics[name] = (target, index, ...args) => {
        if (target !== view) return operation(target, index, ...args);
        if (index === PUT_LATCH || index === GET_LATCH) {
          if (name === "compareExchange") {
            assert(isFree(index), "a latch is taken by who has it");
            assert(isFree(GET_LATCH), "a latch is taken inside that of the get side");
          }
        } else if (name !== "load") {
          check(index as number);
          if (name === "store") overwrite(index as number, args[0] as number);
        }
        return operation(words, index, ...args);
      };
    }
    const stores = this.#actors.map(({ store }) =>
      store as { -readonly [K in keyof Store]: Store[K] }
    );
    for (const store of stores) {
      store.words = view;
      for (const line of [store.puts, store.gets]) (line as { words: Int32Array }).words = view;
    }
    let result: T;
    try {
      result = run();
    } finally {
      for (const [name, operation] of real) atomics[name] = operation;
      for (const store of stores) {
        store.words = words;
        for (const line of [store.puts, store.gets]) (line as { words: Int32Array }).words = words;
      }
    }
    assert(isFree(PUT_LATCH) && isFree(GET_LATCH), "a latch is held");
    if (words[OFFER] === OPEN && offered !== undefined) {
      assertEquals(new Uint8Array(this.overflow), offered, "it was offered before it was there");
    }
    for (const { domain } of this.#actors) {
      if (isAlive(domain, domain.id)) assertEquals(domain.wakes, [], "somebody still sleeps");
    }
    return result;
  }

  /** The same, and makes sure that it wakes the agents. */
  wakes<T>(woken: readonly Actor[], run: () => T): T {
    const counts = woken.map(({ domain: { words, park } }) => words[park]);
    const result = this.act(run);
    woken.forEach(({ domain: { words, park } }, i) =>
      assert(words[park] !== counts[i], "not woken")
    );
    return result;
  }

  /** What can be got, in its order. */
  drain({ getting }: Actor): unknown[] {
    const got: unknown[] = [];
    for (let item: unknown; (item = getting.tryGet()) !== EMPTY && item !== END;) got.push(item);
    return got;
  }
}

/** Makes a call that waits, as a promise does. */
function start<C extends Call>(calls: Calls, call: C): C {
  calls.waiting.push(call);
  assertEquals(call.poll(), false);
  return call;
}

function startGet({ getting }: Actor): GetCall & { readonly value: unknown } {
  return start(getting.calls, getting.getCall());
}

function startPut({ putting }: Actor, value: unknown): PutCall {
  assertEquals(putting.tryPut(value), false);
  return start(putting.calls, putting.putCall(value, false));
}

/** Puts an item that somebody takes at once. */
function putLarge({ putting }: Actor, value: unknown): boolean {
  assertEquals(putting.tryPut(value), false);
  const call = putting.putCall(value, false);
  putting.calls.waiting.push(call);
  return call.poll();
}

/** An item that is larger than the ring. */
function large(length = 100): Uint8Array {
  return new Uint8Array(length).fill(length);
}

function newStore(): Int32Array<SharedArrayBuffer> {
  const words = new Int32Array(new SharedArrayBuffer((STORE_WORDS + SIZE) * 4));
  initStore(words, SIZE, 0);
  return words;
}

/** Whether there is an offer to take. */
function isOffered(store: Store): boolean {
  enterGet(store);
  const isThere = hasOffer(store);
  exitGet(store);
  return isThere;
}

Deno.test("an offer is there still, or counts as taken, wherever the one who takes it dies", () => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const words = newStore();
    const mine = storeAt(home(), words);
    enterPut(mine);
    openOffer(mine, 0, 4);
    exitPut(mine);
    const dead = ghost();
    isThrough = !diesAt(moment, (spy) => {
      const theirs = storeAt(dead, spy(words));
      enterGet(theirs);
      if (hasOffer(theirs)) useOffer(theirs, -1);
      exitGet(theirs);
    });
    bury(home(), dead.id);
    const isThere = isOffered(mine);
    assert(isThere || unfinishedOf(mine) === 1, `it is lost at ${moment}`);
    assert(!isThrough || !isThere);
  }
});

Deno.test("one that waits for room is served, wherever the one who looks after the dead dies", () => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const words = newStore();
    const [dead, mender, waiter] = [ghost(), ghost(), ghost()];
    // It was given all the room, and had not used it.
    const first = storeAt(dead, words);
    lineUp(first.puts, drawTicket(first.puts), SIZE, 0);
    refreshPuts(first);
    const next = storeAt(waiter, words);
    const place = lineUp(next.puts, drawTicket(next.puts), SIZE, 0);
    refreshPuts(next);
    assert(placeState(next.puts, place) > 0);
    bury(home(), dead.id);
    isThrough = !diesAt(moment, (spy) => refreshPuts(storeAt(mender, spy(words))));
    bury(home(), mender.id);
    refreshPuts(next);
    assertEquals(placeState(next.puts, place), GRANTED);
    bury(home(), waiter.id);
  }
});

// -- Who is served, and under which latch ----------------------------------------------------------

Deno.test("who waits for an item is served and woken by who puts it", () => {
  const world = new World();
  const [first, second, putter] = world.actors(3) as [Actor, Actor, Actor];
  const [one, two] = world.act(() => [startGet(first), startGet(second)]);
  // Calls that look or line up once more keep the place that they have.
  world.act(() => assertEquals([one.poll(), one.poll()], [false, false]));
  world.act(() => first.getting.calls.announce());
  assertEquals(waiting(first.store.gets), 2);
  world.wakes([first], () => putter.putting.tryPut(1));
  world.wakes([second], () => putter.putting.tryPut(2));
  world.act(() => assertEquals([one.poll(), two.poll()], [true, true]));
  assertEquals([one.value, two.value, sizeOf(first.store)], [1, 2, 0]);
});

Deno.test("who waits for room is served and woken by who gets, or gives up its place", () => {
  const world = new World({ maxItems: 1 });
  const [first, second, getter] = world.actors(3) as [Actor, Actor, Actor];
  getter.putting.tryPut(0);
  const [one, two] = world.act(() => [startPut(first, 1), startPut(second, 2)]);
  world.act(() => assertEquals([one.poll(), one.poll()], [false, false]));
  world.act(() => first.putting.calls.announce());
  assertEquals(waiting(first.store.puts), 2);
  assertEquals(world.act(() => isFull(getter.store, 2)), true);
  assertEquals(world.wakes([first], () => getter.getting.tryGet()), 0);
  assertEquals(world.act(() => one.poll()), true);
  const get = getter.getting.getCall();
  getter.getting.calls.waiting.push(get);
  assertEquals(world.wakes([second], () => get.poll()), true);
  assertEquals([get.value, world.act(() => two.poll())], [1, true]);
  assertEquals(world.drain(getter), [2]);
});

Deno.test("who needs less and waits behind one that gives up is served and woken", () => {
  const world = new World();
  const [first, second] = world.actors(2) as [Actor, Actor];
  first.putting.tryPut(large(40));
  const one = world.act(() => startPut(first, large(30)));
  const two = world.act(() => startPut(second, 2));
  assertEquals(world.wakes([second], () => one.withdraw()), true);
  assertEquals(world.act(() => two.poll()), true);
});

Deno.test("a call that ends with nothing to put gives its room to who waits behind it", () => {
  const world = new World({ maxItems: 2 });
  const [first, second, getter] = world.actors(3) as [Actor, Actor, Actor];
  getter.putting.tryPut(0);
  getter.putting.tryPut(0);
  const { putting } = first;
  const one = world.act(() => startPut(first, 1));
  const none = world.act(() => start(putting.calls, putting.putManyCall([])));
  const two = world.act(() => startPut(second, 2));
  world.act(() => world.drain(getter));
  assertEquals(world.wakes([second], () => one.poll()), true);
  assertEquals([none.poll(), world.act(() => two.poll())], [true, true]);
  assertEquals(world.drain(getter), [1, 2]);
});

Deno.test("who lines up when there is room is served at once, and keeps nobody else out", () => {
  const world = new World({ maxItems: 2 });
  const [first, second] = world.actors(2) as [Actor, Actor];
  for (const item of [1, 2]) second.putting.tryPut(item);
  first.putting.tryPut(3);
  const { putting } = first;
  const call = putting.putCall(3, false);
  putting.calls.waiting.push(call);
  putting.calls.advance(call);
  // Nobody waits yet, so that nobody is served.
  world.drain(second);
  world.act(() => putting.calls.announce());
  assertEquals(world.act(() => second.putting.tryPut(4)), true);
  assertEquals(world.act(() => call.poll()), true);
  assertEquals(world.drain(second), [4, 3]);
});

Deno.test("an item larger than the storage is handed over, and those behind it are served", () => {
  const world = new World();
  const [first, second, third] = world.actors(3) as [Actor, Actor, Actor];
  const one = world.act(() => startPut(first, large()));
  const two = world.act(() => startPut(second, 2));
  const got = world.wakes([first, second], () => third.getting.tryGet());
  assertEquals(got, large());
  assertEquals(world.act(() => [one.poll(), two.poll()]), [true, true]);
  assertEquals(world.act(() => world.drain(third)), [2]);
  // To one that waits, in the first slot.
  const get = world.act(() => startGet(first));
  assertEquals(world.wakes([first], () => putLarge(second, large(101))), true);
  assertEquals([world.act(() => get.poll()), get.value], [true, large(101)]);
  assertEquals(placeState(first.store.gets, 0), 0);
});

Deno.test("an item larger than the storage is taken back, and those behind it are served", () => {
  const world = new World();
  const [first, second] = world.actors(2) as [Actor, Actor];
  const one = world.act(() => startPut(first, large()));
  const two = world.act(() => startPut(second, 2));
  assertEquals(world.wakes([second], () => one.withdraw()), true);
  assertEquals(world.act(() => two.poll()), true);
  assertEquals(world.drain(second), [2]);
});

Deno.test("a put that fails for lack of memory gives its turn to who waits behind it", () => {
  const world = new World({ overflow: 150 });
  const [first, second, third] = world.actors(3) as [Actor, Actor, Actor];
  const put = startPut(third, large(100));
  const one = world.act(() => startPut(first, large(200)));
  const two = world.act(() => startPut(second, 2));
  assertEquals(world.wakes([first, third], () => third.getting.tryGet()), large(100));
  world.wakes([second], () => assertThrows(() => one.poll(), RangeError));
  assertEquals(world.act(() => [put.poll(), two.poll()]), [true, true]);
  assertEquals(world.drain(third), [2]);
});

Deno.test("an item that one cannot take goes to who waits behind it, in another agent", () => {
  for (const item of ["text", large()]) {
    const world = new World();
    const [first, second, putter] = world.actors(3) as [Actor, Actor, Actor];
    const { getting } = first;
    const into = getting.getManyIntoCall(new Int32Array(1));
    world.act(() => start(getting.calls, into));
    const get = world.act(() => startGet(second));
    world.wakes(
      [first],
      () => typeof item === "string" ? putter.putting.tryPut(item) : putLarge(putter, item),
    );
    world.wakes([second], () => assertThrows(() => into.poll(), TypeError));
    assertEquals([world.act(() => get.poll()), get.value], [true, item]);
  }
});

Deno.test("whoever comes later does not pass one who waits, and has not been served yet", () => {
  const world = new World();
  const [first, second] = world.actors(2) as [Actor, Actor];
  const get = world.act(() => startGet(first));
  // Its putter is slow: it has not served anybody yet.
  const { words } = second.store;
  const WAITING = GET_LINE + 1;
  words[WAITING] = 0;
  second.putting.tryPut(1);
  words[WAITING] = 1;
  assertEquals(world.wakes([first], () => second.getting.tryGet()), EMPTY);
  assertEquals([world.act(() => get.poll()), get.value], [true, 1]);
});

Deno.test("news are told without taking anything, and looking for them leaves nothing behind", () => {
  const world = new World();
  const [first, second, third] = world.actors(3) as [Actor, Actor, Actor];
  const news = first.getting.news();
  assertEquals(world.act(() => news.isReady()), false);
  // What is put before the wish to be told of it wakes nobody, and is seen all the same.
  second.putting.tryPut(1);
  assertEquals(world.act(() => news.poll()), true);
  assertEquals(world.act(() => [news.poll(), news.withdraw()]), [true, false]);
  assertEquals(world.act(() => world.drain(second)), [1]);
  const [more, other] = [first.getting.news(), third.getting.news()];
  world.act(() => assertEquals([more.poll(), more.poll(), other.poll()], [false, false, false]));
  assertEquals(waiting(first.store.gets), 2);
  assertEquals(world.act(() => more.withdraw()), true);
  assertEquals(waiting(first.store.gets), 1);
  world.wakes([third], () => second.putting.tryPut(2));
  // Told, but it never looked.
  assertEquals(world.act(() => other.withdraw()), true);
  const last = first.getting.news();
  world.act(() => world.drain(second));
  assertEquals(world.act(() => last.poll()), false);
  world.wakes([first], () => closeStore(second.store));
  assertEquals(world.act(() => [last.poll(), last.isReady()]), [true, true]);
  for (const place of [0, 1, 2]) assertEquals(placeState(first.store.gets, place), 0);
});

Deno.test("whoever waits is woken by the end", () => {
  const world = new World({ maxItems: 1 });
  const [first, second, third] = world.actors(3) as [Actor, Actor, Actor];
  third.putting.tryPut(0);
  const put = world.act(() => startPut(first, 1));
  world.wakes([first], () => closeStore(third.store));
  world.act(() => assertThrows(() => put.poll(), ClosedError));
  assertEquals(world.act(() => world.drain(third)), [0]);
  const empty = new World();
  const [one, two, closer] = empty.actors(3) as [Actor, Actor, Actor];
  const gets = empty.act(() => [startGet(one), startGet(two)]);
  empty.wakes([one, two], () => closeStore(closer.store));
  for (const get of gets) empty.act(() => assertThrows(() => get.poll(), ClosedError));
  assertEquals([waiting(second.store.puts), waiting(one.store.gets)], [0, 0]);
});

Deno.test("what is done is said under both latches, always taken in the same order", () => {
  const world = new World();
  const actor = world.actor();
  for (const item of [1, 2]) actor.putting.tryPut(item);
  assertEquals(world.drain(actor), [1, 2]);
  assertEquals(world.act(() => [finishOne(actor.store), finishOne(actor.store)]), [true, true]);
  assertEquals(world.act(() => finishOne(actor.store)), false);
  assertEquals([unfinishedOf(actor.store), zerosOf(actor.store)], [0, 1]);
});

// -- Deaths ------------------------------------------------------------------------------------------

Deno.test("an item whose agent died reaches who waits, wherever the one who hands it on dies", () => {
  for (const isFirst of [true, false]) {
    let isThrough = false;
    for (let moment = 1; !isThrough; moment++) {
      const world = new World();
      if (!isFirst) world.actor();
      const [dead, mender, waiter] = world.actors(3) as [Actor, Actor, Actor];
      mender.putting.tryPut(6);
      assertEquals(mender.getting.tryGet(), 6);
      startGet(dead);
      mender.putting.tryPut(7);
      const get = startGet(waiter);
      world.bury(dead);
      isThrough = !diesAt(moment, (spy) => {
        refreshGets(storeAt(mender.domain, spy(world.words)));
      });
      world.bury(mender);
      assertEquals(world.act(() => get.poll()), true, `it is lost at ${moment}`);
      assertEquals([get.value, sizeOf(waiter.store)], [7, 0]);
      assertEquals(world.drain(waiter), []);
      assertEquals([isFull(waiter.store, SIZE), unfinishedOf(waiter.store)], [false, 2]);
    }
  }
});

Deno.test("items reach who waits for them in their order, wherever the one who serves dies", () => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const world = new World();
    const [first, second, server] = world.actors(3) as [Actor, Actor, Actor];
    const { putting } = server;
    // One record, and one more item.
    const call = putting.putManyCall(new Int32Array([1, 2, 3]));
    putting.calls.waiting.push(call);
    assertEquals([call.poll(), putting.tryPut(4)], [true, true]);
    const places = [first, second].map(({ store }) => {
      enterGet(store);
      const place = lineUp(store.gets, drawTicket(store.gets), ITEM, 0);
      exitGet(store);
      return place;
    });
    isThrough = !diesAt(moment, (spy) => {
      refreshGets(storeAt(server.domain, spy(world.words)));
    });
    world.bury(server);
    world.act(() => refreshGets(first.store));
    places.forEach((place, index) => {
      assertEquals(placeState(first.store.gets, place), GRANTED, `it is lost at ${moment}`);
      assertEquals(assignedTo(first.store, place), { position: 0, index });
    });
    enterGet(first.store);
    for (const place of places) useAssigned(first.store, place);
    exitGet(first.store);
    assertEquals([sizeOf(first.store), world.drain(first)], [2, [3, 4]]);
    assertEquals(isFull(first.store, SIZE), false);
  }
});

Deno.test("an item whose agent died stays, in its place, whatever happens before it is got", () => {
  const gets: ((actor: Actor) => unknown)[] = [
    ({ getting }) => [getting.tryGet(), getting.tryGet()].filter((item) => item !== EMPTY),
    ({ getting }) => {
      const call = getting.getManyCall(2);
      getting.calls.waiting.push(call);
      // Before it stands in line.
      getting.calls.advance(call);
      assert(call.hasEnded);
      return call.values;
    },
    ({ getting }) => {
      const target = new Int32Array(2);
      const call = getting.getManyIntoCall(target);
      getting.calls.waiting.push(call);
      getting.calls.advance(call);
      assert(call.hasEnded);
      return [...target.subarray(0, call.count)];
    },
  ];
  for (const get of gets) {
    for (const isFirst of [true, false]) {
      for (const isMore of [true, false]) {
        const world = new World();
        if (!isFirst) world.actor();
        const [dead, other, getter] = world.actors(3) as [Actor, Actor, Actor];
        startGet(dead);
        getter.putting.tryPut(1);
        if (isMore) getter.putting.tryPut(2);
        world.bury(dead);
        world.act(() => refreshGets(getter.store));
        // Another death, in which there is nothing more to mend.
        world.bury(other);
        world.act(() => refreshGets(getter.store));
        assertEquals(sizeOf(getter.store), isMore ? 2 : 1);
        assertEquals(world.act(() => getter.getting.isNews()), true);
        assertEquals(world.act(() => getter.getting.news().poll()), true);
        assertEquals(world.act(() => get(getter)), isMore ? [1, 2] : [1]);
        assertEquals([sizeOf(getter.store), isFull(getter.store, SIZE)], [0, false]);
      }
    }
  }
});

Deno.test("items of one record whose agents died are got in their order, wherever these stood", () => {
  for (const isFirst of [true, false]) {
    for (const isReversed of [true, false]) {
      const world = new World();
      if (!isFirst) world.actor();
      const both = world.actors(2);
      const getter = world.actor();
      for (const actor of isReversed ? both.toReversed() : both) startGet(actor);
      const { putting } = getter;
      const call = putting.putManyCall(new Int32Array([1, 2, 3]));
      putting.calls.waiting.push(call);
      assertEquals([call.poll(), sizeOf(getter.store)], [true, 1]);
      for (const actor of both) world.bury(actor);
      world.act(() => refreshGets(getter.store));
      const { getting } = getter;
      const got: number[] = [];
      while (got.length < 3) {
        const target = new Int32Array(3);
        const into = getting.getManyIntoCall(target);
        getting.calls.waiting.push(into);
        assert(world.act(() => into.poll()));
        got.push(...target.subarray(0, into.count));
      }
      assertEquals(got, [1, 2, 3]);
      assertEquals(isFull(getter.store, SIZE), false);
    }
  }
});

Deno.test("what was set aside for the first of all agents is free again after its death", () => {
  const world = new World({ maxItems: 1 });
  const [dead, getter] = world.actors(2) as [Actor, Actor];
  getter.putting.tryPut(0);
  startPut(dead, 1);
  assertEquals([getter.getting.tryGet(), isFull(getter.store, 2)], [0, true]);
  world.bury(dead);
  assertEquals(world.act(() => isFull(getter.store, 2)), false);
  assertEquals([world.act(() => getter.putting.tryPut(2)), world.drain(getter)], [true, [2]]);
});

Deno.test("what the dead put is there as a whole or not at all, wherever it died, and reaches who waits", () => {
  for (const waits of [true, false]) {
    let isThrough = false;
    for (let moment = 1; !isThrough; moment++) {
      const world = new World();
      const [getter, dead] = world.actors(2) as [Actor, Actor];
      const get = waits ? startGet(getter) : undefined;
      isThrough = !diesAt(moment, (spy) => {
        new Putting(storeAt(dead.domain, spy(world.words)), world.overflow).tryPut(7);
      });
      world.bury(dead);
      const isThere = get === undefined ? false : world.act(() => get.poll());
      const got = isThere ? [get!.value] : world.act(() => world.drain(getter));
      assert(got.length === 0 || got[0] === 7 && got.length === 1, `${got} at ${moment}`);
      assert(!isThrough || got.length === 1);
      assertEquals([unfinishedOf(getter.store), sizeOf(getter.store)], [got.length, 0]);
      if (get !== undefined && !isThere) {
        world.act(() => getter.putting.tryPut(8));
        assertEquals([world.act(() => get.poll()), get.value], [true, 8]);
      }
      assertEquals(isFull(getter.store, SIZE), false);
    }
  }
});

Deno.test("the room of what the dead got is free, wherever it died, for who waits for it", () => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const world = new World({ size: 2 });
    const [putter, dead] = world.actors(2) as [Actor, Actor];
    putter.putting.tryPut(1);
    const put = startPut(putter, 2);
    isThrough = !diesAt(moment, (spy) => {
      new Getting(storeAt(dead.domain, spy(world.words)), world.overflow).tryGet();
    });
    world.bury(dead);
    const isTaken = sizeOf(putter.store) === 0;
    assert(isTaken || !isThrough);
    assertEquals(world.act(() => put.poll()), isTaken);
    const [first] = world.act(() => world.drain(putter));
    assertEquals(first, isTaken ? 2 : 1);
    assertEquals([world.act(() => put.poll()), world.drain(putter)], [true, isTaken ? [] : [2]]);
    assertEquals([isFull(putter.store, 2), unfinishedOf(putter.store)], [false, 2]);
  }
});

// -- Room and damage ---------------------------------------------------------------------------------

Deno.test("all of the storage can be used, again and again", () => {
  const world = new World();
  const [putter, getter] = world.actors(2) as [Actor, Actor];
  for (let round = 0; round < 3; round++) {
    const put: number[] = [];
    while (putter.putting.tryPut(put.length)) put.push(put.length);
    assertEquals([put.length, world.act(() => putter.putting.tryPut(0))], [SIZE / 2, false]);
    assertEquals(world.act(() => world.drain(getter)), put);
    const run = Int32Array.from({ length: SIZE - 1 }, (_, i) => i);
    const call = putter.putting.putManyCall(run);
    putter.putting.calls.waiting.push(call);
    assertEquals([call.poll(), putter.putting.tryPut(0)], [true, false]);
    assertEquals(world.act(() => world.drain(getter)), [...run]);
  }
});

Deno.test("an item that just fits in the storage waits for room, and is not larger than it", () => {
  const world = new World();
  const [putter, getter] = world.actors(2) as [Actor, Actor];
  const packet = newPacket();
  let length = 1;
  do pack(packet, large(length)); while (packetWords(packet) < SIZE && length++ < 100);
  assertEquals(packetWords(packet), SIZE);
  getter.putting.tryPut(1);
  const put = world.act(() => startPut(putter, large(length)));
  assertEquals(world.wakes([putter], () => getter.getting.tryGet()), 1);
  assertEquals([world.act(() => put.poll()), sizeOf(getter.store)], [true, 1]);
  assertEquals(world.act(() => world.drain(getter)), [large(length)]);
});

Deno.test("an item that is larger than a batch, and not than the storage, is put as it is", () => {
  const world = new World({ size: 1 << 13 });
  const actor = world.actor();
  const items = [1, large(20_000), 2];
  const call = actor.putting.putManyCall(items);
  actor.putting.calls.waiting.push(call);
  assertEquals([world.act(() => call.poll()), sizeOf(actor.store)], [true, 3]);
  assertEquals(world.act(() => world.drain(actor)), items);
});

Deno.test("a typed array that waits goes on once a quarter of the storage is free", () => {
  const world = new World();
  const [putter, getter] = world.actors(2) as [Actor, Actor];
  while (getter.putting.tryPut(0));
  const call = putter.putting.putManyCall(new Int32Array(20));
  world.act(() => start(putter.putting.calls, call));
  const counts: number[] = [];
  for (let i = 0; i < 4; i++) {
    assertEquals(getter.getting.tryGet(), 0);
    assertEquals(world.act(() => call.poll()), false);
    counts.push(call.count);
  }
  // The first goes as a single one would.
  assertEquals(counts, [1, 1, 1, 6]);
});

Deno.test("a putter is served once there are fewer items, also if their getter has not come for them", () => {
  const world = new World({ maxItems: 1 });
  const [first, second, getter] = world.actors(3) as [Actor, Actor, Actor];
  getter.putting.tryPut(0);
  const many = world.act(() => start(first.putting.calls, first.putting.putManyCall([1])));
  const one = world.act(() => startPut(second, 2));
  assertEquals(world.act(() => getter.getting.tryGet()), 0);
  const get = world.act(() => startGet(getter));
  // The item goes to the getter that waits, and makes room for the other putter.
  assertEquals(world.wakes([second], () => world.act(() => many.poll())), true);
  assertEquals([sizeOf(first.store), world.act(() => one.poll())], [0, true]);
  assertEquals([world.act(() => get.poll()), get.value], [true, 1]);
  assertEquals(world.act(() => world.drain(getter)), [2]);
});

Deno.test("what was assigned stays until its agent has copied it, whatever is put and got meanwhile", () => {
  const world = new World();
  const [first, second] = world.actors(2) as [Actor, Actor];
  const get = world.act(() => startGet(first));
  for (const item of [1, 2, 3]) world.act(() => second.putting.tryPut(item));
  assertEquals(world.act(() => world.drain(second)), [2, 3]);
  while (world.act(() => second.putting.tryPut(9)));
  assertEquals([world.act(() => get.poll()), get.value], [true, 1]);
});

Deno.test("what was offered and assigned stays until its agent has copied it", () => {
  const world = new World();
  const [first, second, third] = world.actors(3) as [Actor, Actor, Actor];
  const get = world.act(() => startGet(first));
  assertEquals(world.act(() => putLarge(second, large(100))), true);
  const put = world.act(() => startPut(third, large(101)));
  assertEquals([world.act(() => get.poll()), get.value], [true, large(100)]);
  assertEquals(world.act(() => put.poll()), false);
  assertEquals(world.act(() => second.getting.tryGet()), large(101));
  assertEquals(world.act(() => put.poll()), true);
});

Deno.test("a call that gives up leaves the line, in whichever slot its agent lives", () => {
  const world = new World();
  for (const actor of world.actors(2)) {
    const get = world.act(() => startGet(actor));
    assertEquals([waiting(actor.store.gets), world.act(() => get.withdraw())], [1, true]);
    assertEquals(waiting(actor.store.gets), 0);
  }
});

Deno.test("all calls of an agent stand in line, as long as there are places", () => {
  const world = new World({ size: 256 });
  const [getter, putter] = world.actors(2) as [Actor, Actor];
  const { getting } = getter;
  const gets = Array.from({ length: 33 }, () => startGet(getter));
  assertEquals(waiting(getter.store.gets), 33);
  const target = new Int32Array(1);
  const into = start(getting.calls, getting.getManyIntoCall(target));
  const last = startGet(getter);
  assertEquals(waiting(getter.store.gets), 33);
  for (let item = 0; item < 33; item++) putter.putting.tryPut(item);
  assertEquals(world.act(() => gets.map((get) => get.poll())), gets.map(() => true));
  assertEquals([into.poll(), last.poll(), waiting(getter.store.gets)], [false, false, 2]);
  for (const item of [33, 34]) putter.putting.tryPut(item);
  assertEquals([into.poll(), last.poll()], [true, true]);
  assertEquals([gets.map(({ value }) => value), target[0], last.value], [[...gets.keys()], 33, 34]);
});

Deno.test("a waiting call fills an array with numbers of every kind", () => {
  for (const values of [new Int8Array([1, 2]), new Float64Array([1, 2]), [1, 2], [0.5, 2]]) {
    const world = new World();
    const [getter, putter] = world.actors(2) as [Actor, Actor];
    const target = new Float64Array(2);
    const into = start(getter.getting.calls, getter.getting.getManyIntoCall(target));
    const put = putter.putting.putManyCall(values);
    putter.putting.calls.waiting.push(put);
    assertEquals([put.poll(), into.poll(), [...target]], [true, true, [...values]]);
  }
});

Deno.test("damage is told to all who wait and all who come, and takes nothing away", () => {
  const world = new World();
  const [first, second, third] = world.actors(3) as [Actor, Actor, Actor];
  const [one, two] = [startGet(first), startGet(second)];
  const WAITING = GET_LINE + 1;
  world.words[WAITING] = 0;
  third.putting.tryPut(1);
  world.words[WAITING] = 2;
  // The header of the record.
  world.words[STORE_WORDS] = -1;
  world.wakes([first, second], () => refreshGets(third.store));
  for (const get of [one, two]) {
    world.act(() => assertThrows(() => get.poll(), TypeError, "damaged"));
  }
  for (const place of [0, 1]) assertEquals(placeState(first.store.gets, place), 0);
  world.act(() => assertThrows(() => third.getting.tryGet(), TypeError, "damaged"));
  assertEquals(sizeOf(third.store), 1);
});

Deno.test("an offer that is damaged stays, for all who look", () => {
  const world = new World();
  const [first, second] = world.actors(2) as [Actor, Actor];
  const { getting } = first;
  world.act(() => startPut(second, large()));
  world.words[OFFER_LENGTH] = 1 << 20;
  for (let i = 0; i < 2; i++) {
    world.act(() => assertThrows(() => getting.tryGet(), TypeError, "damaged"));
  }
  assertEquals(unfinishedOf(first.store), 0);
  const waits = new World();
  const [getter, putter] = waits.actors(2) as [Actor, Actor];
  const get = waits.act(() => startGet(getter));
  waits.act(() => putLarge(putter, large()));
  waits.words[OFFER_LENGTH] = 1 << 20;
  waits.act(() => assertThrows(() => get.poll(), TypeError, "damaged"));
  waits.act(() => assertThrows(() => putter.getting.tryGet(), TypeError, "damaged"));
});

// -- Calls -----------------------------------------------------------------------------------------

let isThere = false;

/** A call that waits for the variable above. */
class Waiting extends Call {
  protected step(): boolean {
    return isThere;
  }
}

Deno.test("what comes before the wish to be told of it is seen, though it wakes nobody", () => {
  isThere = false;
  const calls = new Calls(home(), () => isThere = true);
  const polled = new Waiting(calls);
  calls.waiting.push(polled);
  assertEquals([polled.poll(), calls.waiting.length], [true, 0]);
  isThere = false;
  const served = new Waiting(calls);
  calls.waiting.push(served);
  calls.serve();
  assertEquals([served.hasEnded, calls.waiting.length], [true, 0]);
});

Deno.test("a promise looks again when another call has let it go on, or is out of its way", () => {
  const world = new World();
  const actor = world.actor();
  const calls = new Calls(actor.domain, () => {});
  const [first, second, third] = [new Waiting(calls), new Waiting(calls), new Waiting(calls)];
  calls.waiting.push(first, second, third);
  isThere = false;
  world.wakes([actor], () => calls.remove(first));
  isThere = true;
  world.wakes([actor], () => calls.advance(second));
  assertEquals([second.hasEnded, third.hasEnded, calls.waiting.length], [true, true, 0]);
});

Deno.test("a call whose input fails gives up the place that it has in line", () => {
  // Also if it is the first of all.
  for (const isFirst of [false, true]) {
    const world = new World({ maxItems: 1 });
    const [actor, getter] = world.actors(2) as [Actor, Actor];
    const { putting } = actor;
    actor.putting.tryPut(0);
    const first = isFirst ? world.act(() => startPut(actor, 9)) : undefined;
    const one = world.act(() => startPut(actor, 1));
    world.act(() => first?.withdraw());
    // Lined up before it has asked for its first item.
    const bad = world.act(() => start(putting.calls, putting.putManyCall([() => {}])));
    assertEquals(world.drain(getter), [0]);
    assertEquals(world.act(() => one.poll()), true);
    world.act(() => assertThrows(() => bad.poll(), DOMException));
    assertEquals(world.drain(getter), [1]);
    assertEquals([waiting(actor.store.puts), isFull(actor.store, 2)], [0, false]);
  }
});

Deno.test("an input that puts as it is stopped does not line up the call that is over", () => {
  const world = new World({ maxItems: 1 });
  const actor = world.actor();
  const { putting } = actor;
  actor.putting.tryPut(0);
  let inner: PutCall | undefined;
  function* values(): Generator<number> {
    try {
      for (;;) yield 1;
    } finally {
      inner = startPut(actor, 9);
    }
  }
  const call = start(putting.calls, putting.putManyCall(values()));
  assertEquals(call.withdraw(), true);
  assertEquals(waiting(actor.store.puts), 1);
  assertEquals(world.drain(actor), [0]);
  assertEquals([inner!.poll(), world.drain(actor), isFull(actor.store, 2)], [true, [9], false]);
});

Deno.test("what was set aside for a call is given to nobody else while it uses that, though somebody died", () => {
  for (const values of [[101, 102], new Int32Array([101, 102])]) {
    const world = new World();
    const [first, second, getter, dead] = world.actors(4) as [Actor, Actor, Actor, Actor];
    for (let item = 1; item <= SIZE / 2; item++) getter.putting.tryPut(item);
    const { putting } = first;
    const many = start(putting.calls, putting.putManyCall(values));
    const one = startPut(second, 201);
    assertEquals(getter.getting.tryGet(), 1);
    world.bury(dead);
    world.act(() => many.poll());
    world.act(() => one.poll());
    assert(sizeOf(first.store) <= SIZE / 2);
    assertEquals(world.drain(getter).slice(0, 8), [2, 3, 4, 5, 6, 7, 8, 101]);
  }
});

Deno.test("an item whose agent is known to be dead comes before those that were put after it", () => {
  const world = new World();
  const [dead, other] = world.actors(2) as [Actor, Actor];
  startGet(dead);
  for (const item of [1, 2]) other.putting.tryPut(item);
  world.bury(dead);
  assertEquals(world.act(() => world.drain(other)), [1, 2]);
});

Deno.test("an input is stopped under no latch, also when the queue was closed", () => {
  const world = new World({ maxItems: 1 });
  const [actor, closer] = world.actors(2) as [Actor, Actor];
  const { putting } = actor;
  closer.putting.tryPut(0);
  let latch: number | undefined;
  function* values(): Generator<number> {
    try {
      for (;;) yield 1;
    } finally {
      latch = world.words[PUT_LATCH];
    }
  }
  const call = start(putting.calls, putting.putManyCall(values()));
  closeStore(closer.store);
  assertThrows(() => call.poll(), ClosedError);
  assertEquals(latch, 0);
});

Deno.test("an offer that was accepted stays so, whatever another one offers as the queue is closed", () => {
  const world = new World();
  const [first, second, getter] = world.actors(3) as [Actor, Actor, Actor];
  const one = world.act(() => startPut(first, large(100)));
  const two = world.act(() => startPut(second, large(101)));
  assertEquals(world.act(() => getter.getting.tryGet()), large(100));
  // The first one is slow to look; the second one offers.
  assertEquals(world.act(() => two.poll()), false);
  world.act(() => closeStore(getter.store));
  assertEquals(world.act(() => one.poll()), true);
  world.act(() => assertThrows(() => two.poll(), ClosedError));
});

Deno.test("one that gives up its offer takes back its own, and no other's", () => {
  const world = new World();
  const [first, second, getter] = world.actors(3) as [Actor, Actor, Actor];
  const one = startPut(first, large(100));
  const two = startPut(second, large(101));
  let got: unknown;
  // In the moment in which the latch of the put side is free for the first time.
  const { exchange } = Atomics;
  let isDone = false;
  const atomics = Atomics as unknown as Record<string, unknown>;
  atomics.exchange = (words: Int32Array, index: number, value: number) => {
    const old = exchange(words, index, value);
    if (!isDone && words === world.words && index === PUT_LATCH) {
      isDone = true;
      got = getter.getting.tryGet();
      two.poll();
    }
    return old;
  };
  let isWithdrawn: boolean;
  try {
    isWithdrawn = one.withdraw();
  } finally {
    atomics.exchange = exchange;
  }
  // Either nobody got it, or it counts as put.
  const items = [...got === EMPTY ? [] : [got], ...world.drain(getter)];
  two.poll();
  items.push(...world.drain(getter));
  assertEquals(items, isWithdrawn ? [large(101)] : [large(100), large(101)]);
  assertEquals([isWithdrawn || one.poll(), two.poll()], [true, true]);
});

Deno.test("an offer is told that the queue was closed, wherever the one who closes it dies", () => {
  let isThrough = false;
  for (let moment = 1; !isThrough; moment++) {
    const world = new World();
    const [putter, closer] = world.actors(2) as [Actor, Actor];
    const put = startPut(putter, large());
    isThrough = !diesAt(moment, (spy) => closeStore(storeAt(closer.domain, spy(world.words))));
    world.bury(closer);
    if (world.words[CLOSED] === 0) assertEquals(world.act(() => put.poll()), false);
    else world.act(() => assertThrows(() => put.poll(), ClosedError, "closed", `at ${moment}`));
  }
});

Deno.test("a call that lined up before it knew its first item puts it only where there is room", () => {
  // Also one that is larger than the storage.
  for (const item of ["x".repeat(40), large(100)]) {
    const world = new World();
    const [first, getter] = world.actors(2) as [Actor, Actor];
    const { putting } = first;
    for (let n = 1; n <= SIZE / 2; n++) getter.putting.tryPut(n);
    const one = world.act(() => startPut(first, 101));
    const many = world.act(() => start(putting.calls, putting.putManyCall([item])));
    const got: unknown[] = [];
    for (let i = 0; i < 20; i++) {
      const next = world.act(() => getter.getting.tryGet());
      if (next !== EMPTY) got.push(next);
      world.act(() => [one.poll(), many.poll()]);
    }
    assertEquals(got, [1, 2, 3, 4, 5, 6, 7, 8, 101, item]);
    assertEquals([many.poll(), isFull(first.store, SIZE)], [true, false]);
  }
});

Deno.test("a typed array that grows while it waits for room is put only where there is room", () => {
  const world = new World();
  const [first, getter] = world.actors(2) as [Actor, Actor];
  const { putting } = first;
  for (let item = 1; item < SIZE / 2; item++) getter.putting.tryPut(item);
  const buffer = new ArrayBuffer(8, { maxByteLength: 400 });
  const values = new Int32Array(buffer);
  values.set([101, 102]);
  const many = world.act(() => start(putting.calls, putting.putManyCall(values)));
  buffer.resize(400);
  const got: unknown[] = [];
  for (let i = 0; i < 20; i++) {
    const item = world.act(() => getter.getting.tryGet());
    if (item !== EMPTY) got.push(item);
    world.act(() => many.poll());
  }
  assertEquals(got.slice(0, 9), [1, 2, 3, 4, 5, 6, 7, 101, 102]);
});

Deno.test("a typed array that is cut while it waits leaves the room to those behind it", () => {
  const world = new World();
  const [first, behind, getter] = world.actors(3) as [Actor, Actor, Actor];
  const { putting } = first;
  for (let item = 1; item <= 6; item++) getter.putting.tryPut(item);
  const values = new Int32Array(new ArrayBuffer(160, { maxByteLength: 160 }));
  const many = world.act(() => start(putting.calls, putting.putManyCall(values)));
  const one = world.act(() => startPut(behind, 101));
  for (let i = 0; i < 3; i++) world.act(() => getter.getting.tryGet());
  assertEquals([world.act(() => one.poll()), many.count], [false, 3]);
  (values.buffer as ArrayBuffer).resize(16);
  const { words, park } = behind.domain;
  const before = Atomics.load(words, park);
  assertEquals(world.act(() => many.poll()), true);
  assert(Atomics.load(words, park) !== before, "it is not woken");
  assertEquals([many.count, world.act(() => one.poll())], [4, true]);
  assertEquals(world.drain(getter), [4, 5, 6, 0, 0, 0, 0, 101]);
});

Deno.test("whoever has not looked for long sees what is there, however much others put and got", () => {
  const world = new World();
  const [rare, other] = world.actors(2) as [Actor, Actor];
  assertEquals(rare.getting.tryGet(), EMPTY);
  // As if others had put and got so many.
  for (const word of [64, 128]) world.words[word] = ((2 ** 30 + 2) << 1) | (world.words[word]! & 1);
  assertEquals(world.act(() => rare.getting.isNews()), false);
  assertEquals(world.act(() => rare.getting.tryGet()), EMPTY);
  other.putting.tryPut(1);
  assertEquals(world.act(() => rare.getting.tryGet()), 1);
});

Deno.test("whoever has not put for long writes over nothing, however much others put and got", () => {
  const world = new World();
  const [rare, other] = world.actors(2) as [Actor, Actor];
  assertEquals(world.act(() => rare.putting.tryPut(0)), true);
  assertEquals(world.drain(other), [0]);
  for (let item = 1; item <= SIZE / 2; item++) other.putting.tryPut(item);
  // As if it were what it saw 2^32 words ago: a position that is behind the tail, and ahead of the head.
  rare.store.head = world.words[HEAD]! + SIZE - 2;
  assertEquals(world.act(() => rare.putting.tryPut(99)), false);
  assertEquals(world.drain(other), [1, 2, 3, 4, 5, 6, 7, 8]);
});
