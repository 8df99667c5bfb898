// Copyright 2026 the Sabre authors. MIT license.

// The explorer refutes what is wrong with permits, conditions, events and barriers: mistakes planted into
// the shipped source one at a time. Those of the other modules are in slow/mutants_test.ts.

import { assert } from "@std/assert";
import { explore, type ExploreOptions } from "./explore.ts";
import { DEATH, family } from "./shipped.ts";

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
    "if (isMissed || Atomics.load(words, base + MARK + slot) > 0) breakUp(rounds);",
    "",
    { parties: 2, deaths: true },
    DEATH,
  ],
  [
    "barrier",
    "one that died after the last round does not break it",
    "isMissed || ",
    "",
    { parties: 2, rounds: 2, deaths: true },
    DEATH,
  ],
  [
    "barrier",
    "the last one of a round is none of its parties",
    "words[base + OWNER + slot] = domain.id | (parentOf(domain, domain.id) === 0 ? 0 : PARTY);\n  if",
    "if",
    { parties: 2, rounds: 2, deaths: true },
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
