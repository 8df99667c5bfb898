// Copyright 2026 the Sabre authors. MIT license.

// The explorer refutes what is wrong: one mistake at a time is planted into the shipped source, and must
// be found, with its trace.

import { assert, assertEquals } from "@std/assert";
import { explore, type ExploreOptions, replay } from "../explore.ts";
import { DEATH, shipped } from "../shipped.ts";
import type { Act, QueueOptions } from "../scenarios/queue.ts";
import type { PipeOptions, Receiving, Sending } from "../scenarios/pipe.ts";

interface Mutant {
  readonly name: string;
  readonly file: string;
  /** What is replaced, by what: the first occurrence each. */
  readonly edits: readonly (readonly [string, string])[];
  readonly scenario: string;
  readonly args: readonly unknown[];
  readonly bounds?: ExploreOptions;
  /** The kinds of violations that it may show as. */
  readonly shows: string;
}

const LATE: ExploreOptions = { timeouts: 1, late: 1 };
const get: Act = { get: true };
const put = (value: number): Act => ({ put: value });
const receive: Receiving = { receive: true };
const send = (value: number): Sending => ({ send: value });

function queue(acts: readonly (readonly Act[])[], options: QueueOptions = {}): unknown[] {
  return [acts, options];
}

function pipe(
  sending: readonly Sending[],
  receiving: readonly Receiving[],
  options: PipeOptions = {},
): unknown[] {
  return [sending, receiving, options];
}

const mutants: readonly Mutant[] = [
  {
    name: "a writer that does not wake the reader",
    file: "_channel.ts",
    edits: [["if (bits !== 0) wakeSide(writer, TAIL, bits);", ""]],
    scenario: "pipe",
    args: pipe([send(1)], [receive]),
    shows: "deadlock",
  },
  {
    name: "a writer that looks whom to wake before it publishes",
    file: "_channel.ts",
    edits: [[
      "const bits = Atomics.add(writer.words, writer.base + TAIL, count << BIT_COUNT) & BITS;",
      "const bits = Atomics.load(writer.words, writer.base + TAIL) & BITS;\n" +
      "Atomics.add(writer.words, writer.base + TAIL, count << BIT_COUNT);",
    ]],
    scenario: "pipe",
    args: pipe([send(1)], [receive]),
    shows: "deadlock",
  },
  {
    name: "a plain store of an index",
    file: "_channel.ts",
    edits: [[
      "Atomics.add(writer.words, writer.base + TAIL, count << BIT_COUNT) & BITS",
      "((writer.words[writer.base + TAIL]! += count << BIT_COUNT), 0)",
    ]],
    scenario: "pipe",
    args: pipe([send(1)], [receive]),
    shows: "race",
  },
  {
    name: "a writer that fetches memory which is not free",
    file: "_ring.ts",
    edits: [[" || free < AHEAD", ""]],
    scenario: "pipe",
    args: pipe(
      [{ bytes: [1, 4], plain: true }, { bytes: [2, 4], plain: true }],
      [receive, receive],
    ),
    shows: "race assertion",
  },
  {
    name: "a putter that fetches memory which is not free",
    file: "_ring.ts",
    edits: [[" || free < AHEAD", ""]],
    scenario: "queue",
    args: queue([[put(1), put(2)], [get, get]]),
    shows: "race assertion",
  },
  {
    name: "a reader that frees a record before it has copied it",
    file: "_receiver.ts",
    edits: [[
      "const value = readInt(side.ring, side.own, header);\n        release(side, wordsOfInt(header, side.own));",
      "const at = side.own;\n        release(side, wordsOfInt(header, at));\n        const value = readInt(side.ring, at, header);",
    ]],
    scenario: "pipe",
    args: pipe([send(1), send(2), send(3)], [receive, receive, receive]),
    shows: "race assertion",
  },
  {
    name: "a wish to be woken that is dropped after the wake-up",
    file: "_channel.ts",
    edits: [
      [
        "  Atomics.and(side.words, side.base + which, ~WANTS);\n  wakePeer(side);",
        "  wakePeer(side);\n  Atomics.and(side.words, side.base + which, ~WANTS);",
      ],
    ],
    scenario: "pipe",
    args: pipe([send(1), send(2), send(3)], [receive, receive, receive]),
    shows: "deadlock",
  },
  {
    name: "waking those who sleep on another word than the waiter's",
    file: "_agent.ts",
    edits: [["!== 0) wakeAll(domain.words, index);", "!== 0) wakeAll(domain.words, index + 1);"]],
    scenario: "pipe",
    args: pipe([send(1)], [receive]),
    shows: "deadlock",
  },
  {
    name: "a notify before the word that the sleeper compares was changed",
    file: "_agent.ts",
    edits: [
      ["  Atomics.add(domain.words, index, 1);\n  if (", "  if ("],
      [
        "!== 0) wakeAll(domain.words, index);\n",
        "!== 0) wakeAll(domain.words, index);\n  Atomics.add(domain.words, index, 1);\n",
      ],
    ],
    scenario: "pipe",
    args: pipe([send(1)], [receive]),
    shows: "deadlock",
  },
  {
    name: "a call that does not look again after it has lined up",
    file: "_calls.ts",
    edits: [[
      "    this.#calls.announce();\n    // Once more: what came before the announcement wakes nobody.\n    this.#calls.advance(this);",
      "    this.#calls.announce();",
    ]],
    scenario: "pipe",
    args: pipe([send(1)], [receive]),
    shows: "deadlock",
  },
  {
    name: "an end that does not wake the other one",
    file: "_channel.ts",
    edits: [[
      "  Atomics.or(writer.words, writer.base + HEAD, GONE);\n  wakePeer(writer);",
      "  Atomics.or(writer.words, writer.base + HEAD, GONE);",
    ]],
    scenario: "pipe",
    args: pipe([send(1), { close: true }], [{ all: true }]),
    shows: "deadlock",
  },
  {
    name: "a look for the end after the last look for messages",
    file: "_receiver.ts",
    edits: [[
      "const isAtEnd = isWriterGone(this.side) && !this.isReady();",
      "const isAtEnd = !this.isReady() && isWriterGone(this.side);",
    ]],
    scenario: "pipe",
    args: pipe([send(1), { close: true }], [{ all: true }]),
    shows: "assertion",
  },
  {
    name: "pieces of a message that was given up, kept for the next one",
    file: "_receiver.ts",
    edits: [["this.clear();\n    this.total = total;", "this.total = total;"]],
    scenario: "pipe",
    args: pipe(
      [{ bytes: [1, 64], timeout: 5 }, { bytes: [2, 64] }, { close: true }],
      [{ all: true }],
      { size: 16 },
    ),
    bounds: LATE,
    shows: "assertion",
  },
  {
    name: "an item that is committed before it is written",
    file: "_putting.ts",
    edits: [[
      "writePacket(store.ring, tailOf(store), packet);\n      commitPut(store, words, 1);",
      "const at = tailOf(store);\n      commitPut(store, words, 1);\n      writePacket(store.ring, at, packet);",
    ]],
    scenario: "queue",
    args: queue([[put(1)], [get]]),
    shows: "race assertion",
  },
  {
    name: "a putter that serves no getters",
    file: "_putting.ts",
    edits: [["    attendGetters(store);\n    return true;", "    return true;"]],
    scenario: "queue",
    args: queue([[put(1)], [get]]),
    shows: "deadlock",
  },
  {
    name: "a getter that serves no putters",
    file: "_getting.ts",
    edits: [["    attendPutters(store);\n    return number", "    return number"]],
    scenario: "queue",
    args: queue([[put(1), put(2)], [get, get]], { maxItems: 1 }),
    shows: "deadlock",
  },
  {
    name: "room that is freed before the item was copied",
    file: "_getting.ts",
    edits: [[
      "getting.liftAssigned(assigned);\n    useAssigned(store, assigned);",
      "useAssigned(store, assigned);\n    getting.liftAssigned(assigned);",
    ]],
    scenario: "queue",
    args: queue([[put(1), put(2), put(3)], [get, get, get]], { size: 2 }),
    shows: "race assertion",
  },
  {
    name: "a closed queue that leaves its putters waiting",
    file: "_store.ts",
    edits: [["  serveAll(store.puts, ENDED);\n", ""]],
    scenario: "queue",
    args: queue([[put(1), put(2)], [{ close: true }]], { maxItems: 1 }),
    shows: "deadlock",
  },
  {
    name: "a putter that gives up and serves nobody behind it",
    file: "_putting.ts",
    edits: [["if (left) servePuts(store);", ""]],
    scenario: "queue",
    args: queue([[put(1), { large: 2, length: 12, timeout: 5 }], [put(3)]]),
    bounds: LATE,
    shows: "deadlock",
  },
  {
    name: "room that a putter who was served keeps when it gives up",
    file: "_putting.ts",
    edits: [["if (!left) return false;", ""]],
    scenario: "queue",
    args: queue([[put(1), { put: 2, timeout: 5 }], [get]], { maxItems: 1 }),
    bounds: LATE,
    shows: "assertion deadlock",
  },
  {
    name: "an offer that stays when its putter gives up",
    file: "_store.ts",
    edits: [["if (open) Atomics.store(store.words, OFFER, NONE);", ""]],
    scenario: "queue",
    args: queue([[{ large: 1, timeout: 5 }], [get]]),
    bounds: LATE,
    shows: "assertion",
  },
  {
    name: "an item that is counted as got before it was assigned",
    file: "_store.ts",
    edits: [
      [
        "      serve(gets, place, GRANTED);\n      assign(store, readWord(ring, position), 1);",
        "      assign(store, readWord(ring, position), 1);\n      serve(gets, place, GRANTED);",
      ],
    ],
    scenario: "queue",
    args: queue([[put(1)], [get]], { deaths: true }),
    bounds: DEATH,
    shows: "assertion deadlock",
  },
  {
    name: "a recovery that does not look for what was assigned and not counted",
    file: "_store.ts",
    edits: [["if (isNext(store, place)) {", "if (false as boolean) {"]],
    scenario: "queue",
    args: queue([[put(1)], [get]], { deaths: true }),
    bounds: DEATH,
    shows: "assertion deadlock",
  },
  {
    name: "a recovery that forgets what the dead had been assigned",
    file: "_store.ts",
    edits: [["if (words[ORPHANS]! === 0) return -1;", "return -1;"]],
    scenario: "queue",
    args: queue([[put(1)], [get]], { deaths: true }),
    bounds: DEATH,
    shows: "assertion",
  },
  {
    name: "a recovery of the put side that knows nothing of the get side",
    file: "_store.ts",
    edits: [[
      "  enterGet(store);\n  if (deaths(domain) !== words[GET_SEEN]!) mendGets(store);\n  exitGet(store);\n",
      "",
    ]],
    scenario: "queue",
    args: queue([[put(1), put(2)], [get, get]], { deaths: true, size: 2 }),
    bounds: DEATH,
    shows: "deadlock",
  },
  {
    name: "a recovery that leaves an offer assigned to nobody",
    file: "_store.ts",
    edits: [["isAssigned ? ASSIGNED : OPEN", "Atomics.load(words, OFFER)"]],
    scenario: "queue",
    args: queue([[{ large: 1 }], [get]], { deaths: true }),
    bounds: DEATH,
    shows: "assertion deadlock",
  },
  {
    name: "a recovery that does not see that an item was assigned anew",
    file: "_store.ts",
    edits: [["if (state === ORPHAN && isTwice(store, place))", "if (false as boolean)"]],
    scenario: "queue",
    args: queue([[put(1)], [get], [get]], { deaths: true }),
    bounds: { ...DEATH, kills: 2, preemptions: 1 },
    shows: "assertion deadlock",
  },
  {
    name: "a recovery that does not see it when the second one is dead as well",
    file: "_store.ts",
    edits: [[" || state === ORPHAN && place < orphan", ""]],
    scenario: "queue",
    args: queue([[put(1)], [get], [get]], { deaths: true }),
    bounds: { ...DEATH, kills: 2, preemptions: 1 },
    shows: "assertion deadlock",
  },
  {
    name: "a recovery that acts on a stale snapshot of who died",
    file: "_store.ts",
    edits: [["  words[PUT_SEEN] = count;\n", "  words[PUT_SEEN] = deaths(domain);\n"]],
    scenario: "queue",
    args: queue([[put(1)], [put(2)], [put(3)]], { deaths: true, maxItems: 1 }),
    bounds: { ...DEATH, kills: 2 },
    shows: "deadlock assertion",
  },
  {
    name: "a lock given back without a wake-up",
    file: "_mutex.ts",
    edits: [["    wakeLater(mutex.domain, ownerOf(line, place));\n  }\n}", "  }\n}"]],
    scenario: "mutex",
    args: [2, 2],
    shows: "deadlock",
  },
  {
    name: "a lock freed by a plain store",
    file: "_mutex.ts",
    edits: [["Atomics.store(words, base + LOCK, poison);", "words[base + LOCK] = poison;"]],
    scenario: "mutex",
    args: [2, 2],
    shows: "race",
  },
  {
    name: "a cancelled waiter that swallows a wake-up",
    file: "_mutex.ts",
    edits: [["if (left && lockWord(mutex) >> 2 === 0) hintOldest(mutex);", ""]],
    scenario: "mutex",
    args: [3, 1, 1],
    shows: "deadlock",
  },
  {
    name: "a dead owner's latch that is taken without a second look",
    file: "_latch.ts",
    edits: [[
      "if (Atomics.compareExchange(words, index, word, mine | SLEEPERS) === word) return true;",
      "Atomics.store(words, index, mine | SLEEPERS); return true;",
    ]],
    scenario: "mutex",
    args: [3, 1, 0, true],
    bounds: DEATH,
    shows: "assertion deadlock race livelock",
  },
];

for (const mutant of mutants) {
  Deno.test(`found: ${mutant.name}`, async () => {
    const used = new Set<string>();
    const { scenario, bounds = {} } = mutant;
    const module = await shipped(scenario, "real", (file, source) => {
      if (file !== mutant.file) return source;
      let text = source;
      for (const [from, to] of mutant.edits) {
        if (text.includes(from)) used.add(from);
        text = text.replace(from, () => to);
      }
      return text;
    });
    for (const [from] of mutant.edits) assert(used.has(from), `not in ${mutant.file}: ${from}`);
    const start = module.scenario(scenario, ...mutant.args);
    const result = explore(start, { maxTime: 60_000, ...bounds });
    const { violation, schedule, report } = result;
    if (violation === undefined) throw new Error(`survived: ${report}`);
    assert(mutant.shows.split(" ").includes(violation.kind), report);
    // The trace is one that can be gone through again.
    if (violation.kind === "livelock") return;
    assertEquals(replay(start, schedule!, bounds).violation?.kind, violation.kind);
    console.log(`${violation.kind} after ${result.states} states`);
  });
}
