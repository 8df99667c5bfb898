// Copyright 2026 the Sabre authors. MIT license.

// Arguments and results: bytes, and beside them what is passed by reference.

import { home } from "./_agent.ts";
import { decode, encode, output } from "./_codec.ts";
import { domainOf, GIVE, type Handle, isRegistered, recall } from "./_handle.ts";

/** What crosses: the bytes are transferred, the attachments are cloned. */
export interface Parcel {
  readonly bytes: ArrayBuffer;
  readonly attachments: unknown[];
}

// Where each kind of primitive lives. Whoever uses one has loaded its module; whoever only passes it
// on, or is handed one by the target of a module that imports none, has not.
const HOMES: Record<string, () => string> = {
  Barrier: () => import.meta.resolve("./barrier.ts"),
  Condition: () => import.meta.resolve("./condition.ts"),
  Connection: () => import.meta.resolve("./pipe.ts"),
  Lock: () => import.meta.resolve("./lock.ts"),
  Queue: () => import.meta.resolve("./queue.ts"),
  RLock: () => import.meta.resolve("./lock.ts"),
  RwLock: () => import.meta.resolve("./rwlock.ts"),
  Semaphore: () => import.meta.resolve("./semaphore.ts"),
  SharedArray: () => import.meta.resolve("./shared.ts"),
  SharedEvent: () => import.meta.resolve("./event.ts"),
  SharedValue: () => import.meta.resolve("./shared.ts"),
};

/** Encodes a value. Throws a `DataCloneError` if something in it cannot travel. */
export function pack(value: unknown): Parcel {
  const attachments: unknown[] = [];
  const length = encode(value, attachments);
  return { bytes: output.bytes.slice(0, length).buffer, attachments };
}

/** Decodes a value. A promise only if the module of some primitive has to be loaded first. */
export function unpack({ bytes, attachments }: Parcel): unknown {
  const read = () => decode(new Uint8Array(bytes), 0, bytes.byteLength, attachments);
  const missing = new Set<() => string>();
  for (const attachment of attachments) {
    const kind = isHandle(attachment) ? attachment.sabre : "";
    const address = isRegistered(kind) || !Object.hasOwn(HOMES, kind) ? undefined : HOMES[kind];
    if (address !== undefined) missing.add(address);
  }
  if (missing.size === 0) return read();
  return Promise.all(Array.from(missing, (address) => import(address()))).then(read);
}

/**
 * Hands what belongs to one agent, among the attachments, to the agent with the id. All or nothing.
 *
 * @returns How to take everything back.
 */
export function give(attachments: readonly unknown[], id: number): () => void {
  const undos: (() => void)[] = [];
  const undo = () => {
    for (const step of undos.splice(0).reverse()) step();
  };
  try {
    for (const attachment of attachments) {
      if (!isHandle(attachment)) continue;
      const domain = domainOf(attachment);
      // In another domain the receiver has another id, which nobody knows yet.
      if (domain !== home()) continue;
      const instance = recall(attachment, domain) as
        | { [GIVE]?: (id: number) => () => void }
        | undefined;
      const step = instance?.[GIVE]?.(id);
      if (step !== undefined) undos.push(step);
    }
  } catch (error) {
    undo();
    throw error;
  }
  return undo;
}

function isHandle(value: unknown): value is Handle {
  return typeof value === "object" && value !== null && "sabre" in value &&
    typeof value.sabre === "string";
}
