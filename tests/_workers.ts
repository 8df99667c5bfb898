// Copyright 2026 the Sabre authors. MIT license.

// Agents for tests that look below the public modules: workers that tell their id and can be declared
// dead, and agents that have no thread at all.

import { bury, claimSlot, type Domain, home, requestStop, slotOf } from "../_agent.ts";
import { crowd } from "../_mutex.ts";
import { exclusiveOf } from "../_exclusive.ts";
import { Agent } from "./_helpers.ts";

/** A worker that shares the domain of this agent. Ended and buried at the end of the block. */
export class Peer extends Agent {
  /** Its id in the domain. */
  id = 0;

  /** Starts one that runs exports of the module, `join` among them, and waits until it has joined. */
  static async start(module: URL): Promise<Peer> {
    const peer = new Peer(module);
    await peer.ready;
    peer.id = await peer.run<number>("join", home().memory);
    return peer;
  }

  /** Ends the worker, which must be idle, and declares it dead. */
  die(): void {
    super[Symbol.dispose]();
    bury(home(), this.id);
  }

  override [Symbol.dispose](): void {
    // A worker that is blocked cannot be terminated: its call throws instead, and then it is idle.
    if (this.id !== 0) requestStop(home(), this.id);
    super[Symbol.dispose]();
    if (this.id !== 0) bury(home(), this.id);
  }
}

/** An agent of this domain without a thread: it does what the test does in its name. */
export function ghost(name = "ghost"): Domain {
  const real = home();
  const id = claimSlot(real.words, name, real.id);
  // Slots are 64 words apart.
  const park = real.park + (slotOf(id) - slotOf(real.id)) * 64;
  return { memory: real.memory, words: real.words, id, park, wakes: [] };
}

/** Ghosts in all slots that are free. */
export function fillSlots(): Domain[] {
  const ghosts: Domain[] = [];
  for (;;) {
    try {
      ghosts.push(ghost());
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return ghosts;
    }
  }
}

/** How many calls of all agents stand in line for a lock. */
export function crowdOf(lock: object): number {
  return crowd(exclusiveOf(lock)!.mutex);
}

/** The name of what the function throws or rejects with, or `"none"`. */
export async function errorName(run: () => unknown): Promise<string> {
  try {
    await run();
    return "none";
  } catch (error) {
    return (error as Error).name;
  }
}
