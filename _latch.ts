// Copyright 2026 the Sabre authors. MIT license.

// A latch: the short mutex inside a primitive. It is held for a few hundred nanoseconds, never while
// user code runs and never across a wait, so it needs no order, no timeout and no asynchronous form.
// It survives the death of its holder: the next one in is told so, and mends what it finds.
//
// After the three-state futex mutex of Ulrich Drepper, "Futexes Are Tricky" (2011), section 6. Changed:
// the word names the owner, every sleeper is woken, and a dead owner's latch can be taken over.
//
//   word = owner's id << 2 | SLEEPERS        0: free

import { type Domain, isAlive } from "./_agent.ts";
import { backOff, canBlock, park, pause, wakeAll, whileBlocked } from "./_park.ts";

const SLEEPERS = 1; // somebody may sleep on the word
const SPINS = 100; // about 3 microseconds: longer than any critical section
const MOST_PAUSES = 8; // between two looks of a spin
const SLICE = 50; // milliseconds after which a sleeper makes sure that the owner still lives

/**
 * Takes the latch at `words[index]`, waiting for it if need be. Returns `true` if it was taken over
 * from an agent that died inside: the caller then restores the invariants first.
 */
export function lockLatch(domain: Domain, words: Int32Array, index: number): boolean {
  if (Atomics.compareExchange(words, index, 0, domain.id << 2) === 0) return false;
  return lockLatchSlow(domain, words as Int32Array<SharedArrayBuffer>, index);
}

/** Gives the latch back. Only the owner may call it. */
export function unlockLatch(words: Int32Array, index: number): void {
  const word = Atomics.exchange(words, index, 0);
  if ((word & SLEEPERS) !== 0) wakeAll(words as Int32Array<SharedArrayBuffer>, index);
}

function lockLatchSlow(
  domain: Domain,
  words: Int32Array<SharedArrayBuffer>,
  index: number,
): boolean {
  const mine = domain.id << 2;
  let turns = 1;
  for (let spent = 0; spent < SPINS; spent += turns) {
    if (Atomics.load(words, index) === 0 && Atomics.compareExchange(words, index, 0, mine) === 0) {
      return false;
    }
    turns = backOff(turns, MOST_PAUSES);
  }
  for (;;) {
    const word = Atomics.load(words, index);
    if (word === 0) {
      // Others may sleep that this one cannot see: whoever has waited must assume so.
      if (Atomics.compareExchange(words, index, 0, mine | SLEEPERS) === 0) return false;
    } else if (word >> 2 === domain.id || !isAlive(domain, word >> 2)) {
      // This agent is not inside, as it never waits there: an error ended what it began, or the word was
      // overwritten.
      if (Atomics.compareExchange(words, index, word, mine | SLEEPERS) === word) return true;
    } else if (!canBlock) {
      pause();
    } else {
      const marked = word | SLEEPERS;
      if (word === marked || Atomics.compareExchange(words, index, word, marked) === word) {
        // So late the owner may well have died, and this thread be the one that would hear of it.
        if (park(words, index, marked, SLICE)) whileBlocked.look(Infinity);
      }
    }
  }
}
