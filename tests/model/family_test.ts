// Copyright 2026 the Sabre authors. MIT license.

// Every interleaving, in small bounds, of the shipped permits (Semaphore, RwLock), conditions, events
// and barriers; and mutants of them, which must be caught.

import { assert, assertEquals } from "@std/assert";
import { explore, type ExploreOptions } from "./explore.ts";
import { DEATH, holds, options } from "./shipped.ts";
import { load, type Loaded } from "./transform.ts";

type Edit = (file: string, source: string) => string;

function family(name: string, edit?: Edit): Promise<Loaded> {
  return load(new URL(`./scenarios/${name}.ts`, import.meta.url), {
    ...options,
    constants: { ...options.constants, "_condition.ts": { PLACES: 10 } },
    ...(edit === undefined ? {} : { edit }),
  });
}

const permits = await family("permits");
const conditions = await family("condition");
const events = await family("event");
const barriers = await family("barrier");

Deno.test("the scenarios of the family need nothing that is refused", () => {
  for (const module of [permits, conditions, events, barriers]) assertEquals(module.refused, []);
});

Deno.test("permits: never more are held than there are, and everybody is served", () => {
  holds(permits, "permits", [{ total: 1, needs: [1, 1], rounds: 2 }]);
  holds(permits, "permits", [{ total: 1, needs: [1, 1, 1] }]);
  holds(permits, "permits", [{ total: 1, needs: [1, 1], puts: 1 }]);
});

Deno.test("permits survive requests that give up: those behind them that fit are served", () => {
  holds(permits, "permits", [{ total: 2, needs: [2, 1], cancelling: 2 }]);
  holds(permits, "permits", [{ total: 2, needs: [2, 1, 1], cancelling: 1 }]);
  holds(permits, "permits", [{ total: 2, needs: [2, 1, 1], cancelling: 1, keeps: true }]);
});

Deno.test("permits survive a death anywhere", () => {
  holds(permits, "permits", [{ total: 1, needs: [1, 1], deaths: true }], DEATH);
  holds(permits, "permits", [{ total: 2, needs: [2, 1], cancelling: 2, deaths: true }], DEATH);
  holds(permits, "permits", [{ total: 4, needs: [4, 1], isLock: true, deaths: true }], DEATH);
});

Deno.test("conditions lose no notification, whoever gives up or dies", () => {
  holds(conditions, "condition", [{ waiters: 1 }]);
  holds(conditions, "condition", [{ waiters: 1, cancelling: 1 }]);
  holds(conditions, "condition", [{ waiters: 1, deaths: true }], DEATH);
});

Deno.test("events release everyone who waits, by a pulse too, whoever dies", () => {
  holds(events, "event", [{ waiters: 2 }]);
  holds(events, "event", [{ waiters: 2, pulse: true }]);
  holds(events, "event", [{ waiters: 1, setters: 2, pulse: true }]);
  holds(events, "event", [{ waiters: 2, pulse: true, deaths: true }], DEATH);
});

Deno.test("barriers let all or none through, each with its index", () => {
  holds(barriers, "barrier", [{ parties: 2, rounds: 2 }]);
  holds(barriers, "barrier", [{ parties: 3 }]);
  holds(barriers, "barrier", [{ parties: 3, cancelling: 3 }]);
  holds(barriers, "barrier", [{ parties: 2, resets: true }]);
});

Deno.test("barriers break when a party dies, wherever it is", () => {
  holds(barriers, "barrier", [{ parties: 2, cancelling: 1, deaths: true }], DEATH);
  holds(barriers, "barrier", [{ parties: 3, deaths: true }], DEATH);
});

// -- Mutants -----------------------------------------------------------------------------------

const MUTANTS: [string, string, string, string, object, ExploreOptions?][] = [
  [
    "permits",
    "one that gives up does not serve those behind it",
    "if (left) serveLine(permits);",
    "",
    { total: 2, needs: [2, 1, 1], cancelling: 1, keeps: true },
  ],
  [
    "permits",
    "giving back serves nobody",
    "  setFree(permits, words[base + FREE]! + count);\n  serveLine(permits);\n  exit(permits);\n}\n\n/**\n * Puts",
    "  setFree(permits, words[base + FREE]! + count);\n  exit(permits);\n}\n\n/**\n * Puts",
    { total: 1, needs: [1, 1] },
  ],
  [
    "permits",
    "what is granted and not claimed is not counted after a death",
    "if (placeState(line, place) === GRANTED) used += needOf(line, place);",
    "",
    { total: 1, needs: [1, 1, 1], deaths: true },
    DEATH,
  ],
  [
    "permits",
    "who holds permits is not noted",
    "words[base + HELD + slot] = words[base + HELD + slot]! + need;",
    "",
    { total: 1, needs: [1, 1], deaths: true },
    DEATH,
  ],
  [
    "condition",
    "a dead waiter's notification is dropped",
    "if (heir >= 0) serve(line, heir, GRANTED);",
    "",
    { waiters: 2, cancelling: 1, times: 1 },
    { walks: 5_000 },
  ],
  [
    "event",
    "the count of sets does not matter",
    "isSet(state) || state >> 1 !== since >> 1",
    "isSet(state)",
    { waiters: 1, pulse: true },
  ],
  [
    "event",
    "setting wakes nobody",
    "unparkSlot(domain, part * 32 + 31 - Math.clz32(bits & -bits));",
    "",
    { waiters: 1 },
  ],
  [
    "barrier",
    "the round is committed last",
    "Atomics.store(words, base + STATE, COMPLETE);\n    complete(rounds);",
    "complete(rounds);",
    { parties: 3, deaths: true },
    DEATH,
  ],
  [
    "barrier",
    "a dead waiter does not break it",
    "if (Atomics.load(words, base + MARK + slot) > 0) breakUp(rounds);",
    "",
    { parties: 2, deaths: true },
    DEATH,
  ],
  [
    "barrier",
    "one that waits does not look after the dead",
    "if (deaths(domain) === Atomics.load(words, base + SEEN)) return;",
    "if (base === 0) return;",
    { parties: 2, deaths: true },
    DEATH,
  ],
];

for (const [name, what, from, to, scenario, bounds = {}] of MUTANTS) {
  Deno.test(`mutant of ${name}: ${what}`, async () => {
    let isChanged = false;
    const module = await family(name, (file, source) => {
      if (!source.includes(from) || !file.includes(name)) return source;
      isChanged = true;
      return source.replace(from, to);
    });
    assert(isChanged, "the source has changed: adapt the mutant");
    const { violation } = explore(module.scenario(name, scenario), { ...bounds, simplify: false });
    assert(violation !== undefined, "not caught");
    console.log(violation!.message);
  });
}
