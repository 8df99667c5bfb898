// Copyright 2026 the Sabre authors. MIT license.

// Finds data races in a run: two accesses to a byte by different agents, at least one of them a
// write, that nothing orders, where one is plain or their sizes differ.
//
// After FastTrack (C. Flanagan and S. Freund, PLDI 2009), with whole vectors in place of epochs. What
// orders: an atomic read after the atomic write whose value it read; a notify before the return of
// the wait that it ended; a death before its certificate. As in the memory model of JavaScript a store
// does not pass on what the store that it replaced had published, so a word's clock is replaced, and
// joined by read-modify-writes only, which have read it.

import { describeOp, describeSite, type Machine, type Observer, Violation } from "./machine.ts";
import { ACQUIRE, LAST_ATOMIC, type Op, RELEASE, WAIT, WAIT_ASYNC } from "./operations.ts";

/** Who accessed a byte last, by agent. */
interface Shadow {
  readonly plainRead: Int32Array;
  readonly plainWrite: Int32Array;
  readonly atomicRead: Int32Array;
  readonly atomicWrite: Int32Array;
  /** Size of the agent's last atomic access, 0: none. */
  readonly size: Int32Array;
  /** The agent's last operation, by kind in the order above. */
  readonly ops: (Op | undefined)[];
}

/** Watches one run. */
export class RaceDetector implements Observer {
  readonly #machine: Machine;
  readonly #count: number;
  readonly #clocks: Int32Array[];
  readonly #published = new Map<number, Int32Array>(); // by address of the word
  readonly #shadows = new Map<number, Shadow>();

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#count = machine.agents.length;
    this.#clocks = machine.agents.map((_, agent) => {
      const clock = new Int32Array(this.#count);
      clock[agent] = 1;
      return clock;
    });
  }

  access(
    agent: number,
    op: Op,
    address: number,
    count: number,
    writes: boolean,
    reads: boolean,
  ): void {
    const atomic = op.code <= LAST_ATOMIC || op.code === WAIT || op.code === WAIT_ASYNC ||
      op.code === ACQUIRE || op.code === RELEASE;
    const clock = this.#clocks[agent]!;
    if (atomic && reads) {
      const published = this.#published.get(address);
      if (published !== undefined) join(clock, published);
    }
    for (let i = 0; i < op.size * count; i++) {
      this.#touch(agent, op, address + i, atomic, writes, reads);
    }
    if (atomic && writes) {
      this.#published.set(address, clock.slice());
      clock[agent]!++;
    }
  }

  edge(from: number, to: number): void {
    join(this.#clocks[to]!, this.#clocks[from]!);
    this.#clocks[from]![from]!++;
  }

  done(): void {}

  #touch(
    agent: number,
    op: Op,
    byte: number,
    atomic: boolean,
    writes: boolean,
    reads: boolean,
  ): void {
    const count = this.#count;
    let shadow = this.#shadows.get(byte);
    if (shadow === undefined) {
      shadow = {
        plainRead: new Int32Array(count),
        plainWrite: new Int32Array(count),
        atomicRead: new Int32Array(count),
        atomicWrite: new Int32Array(count),
        size: new Int32Array(count),
        ops: new Array(4 * count).fill(undefined),
      };
      this.#shadows.set(byte, shadow);
    }
    const clock = this.#clocks[agent]!;
    for (let other = 0; other < count; other++) {
      if (other === agent) continue;
      const known = clock[other]!;
      const { ops } = shadow;
      if (shadow.plainWrite[other]! > known) {
        this.#report(agent, op, other, ops[4 * other + 1]!, byte);
      }
      if (writes && shadow.plainRead[other]! > known) {
        this.#report(agent, op, other, ops[4 * other]!, byte);
      }
      if (!atomic || (shadow.size[other] !== 0 && shadow.size[other] !== op.size)) {
        if (shadow.atomicWrite[other]! > known) {
          this.#report(agent, op, other, ops[4 * other + 3]!, byte);
        }
        if (writes && shadow.atomicRead[other]! > known) {
          this.#report(agent, op, other, ops[4 * other + 2]!, byte);
        }
      }
    }
    const now = clock[agent]!;
    const kind = atomic ? 2 : 0;
    if (reads) {
      (atomic ? shadow.atomicRead : shadow.plainRead)[agent] = now;
      shadow.ops[4 * agent + kind] = op;
    }
    if (writes) {
      (atomic ? shadow.atomicWrite : shadow.plainWrite)[agent] = now;
      shadow.ops[4 * agent + kind + 1] = op;
    }
    if (atomic) shadow.size[agent] = op.size;
  }

  #report(agent: number, op: Op, other: number, before: Op, byte: number): never {
    const machine = this.#machine;
    const say = (who: number, what: Op): string =>
      `${machine.agents[who]!.name} (${describeOp(machine, what)} at ${describeSite(what.site)})`;
    throw new Violation(
      "race",
      `Nothing orders ${say(agent, op)} and ${say(other, before)} at ${machine.describe(byte)}`,
    );
  }
}

function join(into: Int32Array, from: Int32Array): void {
  for (let i = 0; i < into.length; i++) {
    if (from[i]! > into[i]!) into[i] = from[i]!;
  }
}
