// Copyright 2026 the Sabre authors. MIT license.

/**
 * Waiting for whichever of several is ready first.
 *
 * - A {@linkcode Connection} or {@linkcode Queue} is ready when there is something to receive or to
 *   get, or the end; a {@linkcode SharedEvent} while it is set; a {@linkcode Process} once it has ended.
 * - Level-triggered: what is ready stays so until somebody takes it, and is reported every time.
 * - Nothing is consumed. If others take from the same source, use the `try` forms afterwards.
 * - The pulse of an event, `set()` and `clear()` at once, may be missed.
 *
 * @example Fan in from two pipes
 * ```ts
 * import { pipe } from "@sabre/ipc/pipe";
 * import { select } from "@sabre/ipc/select";
 * import { assertEquals } from "@std/assert";
 *
 * const [left, leftEnd] = pipe<string>();
 * const [right, rightEnd] = pipe<string>();
 * rightEnd.sendSync("from the right");
 * for (const ready of await select([left, right])) {
 *   assertEquals(ready.receiveSync(), "from the right");
 * }
 * leftEnd.close();
 * assertEquals(await select([left, right]), [left]);
 * ```
 *
 * @module
 */

import { show, signalOf, type SyncWaitOptions, timeoutOf, type WaitOptions } from "./_options.ts";
import { whatOf } from "./_report.ts";
import { NEWS, type News, waitAsync, type Waiter, waitSync } from "./_wait.ts";
import type { SharedEvent } from "./event.ts";
import type { Connection } from "./pipe.ts";
import type { Process } from "./process.ts";
import type { Queue } from "./queue.ts";

export type { SyncWaitOptions, WaitOptions };

/**
 * What {@linkcode select} can wait for.
 *
 * @example
 * ```ts
 * import { Queue } from "@sabre/ipc/queue";
 * import { type Selectable, selectSync } from "@sabre/ipc/select";
 * import { assertEquals } from "@std/assert";
 *
 * const sources: Selectable[] = [new Queue<number>(), new Queue<string>()];
 * assertEquals(selectSync(sources, { timeout: 0 }), []);
 * ```
 */
// deno-lint-ignore no-explicit-any
export type Selectable = Connection<any, any> | Queue<any> | SharedEvent | Process<any>;

/**
 * Waits until at least one of the sources is ready. Does not block the thread.
 *
 * @typeParam S The types of the sources.
 * @param sources What to wait for. Of duplicates the first counts.
 * @param options How long to wait, in milliseconds, and what may abort the wait.
 * @returns Those that are ready, in the order given; none if `timeout` passed.
 * @throws {ClosedError} If a source is a connection whose own end is closed.
 * @throws {RangeError} If there are no sources.
 * @throws {TypeError} If one of them cannot be waited for, such as a connection that only sends, or it
 * is a source itself and no list.
 * @example
 * ```ts
 * import { Queue } from "@sabre/ipc/queue";
 * import { select } from "@sabre/ipc/select";
 * import { assertEquals } from "@std/assert";
 *
 * const jobs = new Queue<number>();
 * const stop = new Queue<never>();
 * const ready = select([jobs, stop]);
 * stop.close();
 * assertEquals(await ready, [stop]);
 * ```
 */
export async function select<S extends Selectable>(
  sources: Iterable<S>,
  options?: WaitOptions,
): Promise<S[]> {
  const signal = signalOf(options, "select");
  const timeout = timeoutOf(options, "select");
  const selection = new Selection(sources);
  const deadline = performance.now() + timeout;
  for (;;) {
    const ready = selection.ready();
    const left = deadline - performance.now();
    if (ready.length > 0 || !(left > 0)) return ready;
    try {
      await waitAsync(selection.domain, selection.waiter(), left, signal);
    } finally {
      selection.withdraw();
    }
  }
}

/**
 * Waits until at least one of the sources is ready, blocking the thread.
 *
 * @typeParam S The types of the sources.
 * @param sources What to wait for. Of duplicates the first counts.
 * @param options How long to wait, in milliseconds.
 * @returns Those that are ready, in the order given; none if `timeout` passed.
 * @throws {ClosedError} If a source is a connection whose own end is closed.
 * @throws {DOMException} Named `InvalidStateError` on the main thread of a browser, if it would have
 * to wait.
 * @throws {RangeError} If there are no sources.
 * @throws {TypeError} If one of them cannot be waited for, such as a connection that only sends, or it
 * is a source itself and no list.
 * @example
 * ```ts
 * import { Queue } from "@sabre/ipc/queue";
 * import { selectSync } from "@sabre/ipc/select";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<number>();
 * queue.putSync(1);
 * assertEquals(selectSync([queue]), [queue]);
 * ```
 */
export function selectSync<S extends Selectable>(
  sources: Iterable<S>,
  options?: SyncWaitOptions,
): S[] {
  const timeout = timeoutOf(options, "select");
  const selection = new Selection(sources);
  const deadline = performance.now() + timeout;
  for (;;) {
    const ready = selection.ready();
    const left = deadline - performance.now();
    if (ready.length > 0 || !(left > 0)) return ready;
    try {
      waitSync(selection.domain, selection.waiter(), left, "select");
    } finally {
      selection.withdraw();
    }
  }
}

const SELECT = whatOf("select", 0, "");

/** The sources of one call, each with what tells of its news. */
class Selection<S extends Selectable> {
  readonly #news = new Map<S, News>();
  /** The waits that this round has registered. */
  #waits: News[] = [];

  constructor(sources: Iterable<S>) {
    // Those that are iterable would give what they hold, and block for it.
    if (NEWS in Object(sources)) {
      throw new TypeError(
        `Cannot select as the sources must be in a list: current value is ${show(sources)}`,
      );
    }
    for (const source of sources) {
      if (!this.#news.has(source)) this.#news.set(source, newsOf(source));
    }
    if (this.#news.size === 0) throw new RangeError("Cannot select: there are no sources");
  }

  /** The domain to sleep in. An agent in several is woken in each. */
  get domain(): News["domain"] {
    const [first] = this.#news.values();
    return first!.domain;
  }

  ready(): S[] {
    const ready: S[] = [];
    for (const [source, news] of this.#news) if (news.isReady()) ready.push(source);
    return ready;
  }

  waiter(): Waiter {
    this.#waits = Array.from(this.#news.keys(), newsOf);
    return {
      // All of them: each has to know that this agent wants to be woken.
      poll: () => this.#waits.map((wait) => wait.poll()).includes(true),
      withdraw: () => true,
      what: SELECT,
    };
  }

  withdraw(): void {
    for (const wait of this.#waits) wait.withdraw();
    this.#waits = [];
  }
}

function newsOf(source: unknown): News {
  const make = typeof source === "object" && source !== null
    ? (source as { [NEWS]?: () => News })[NEWS]
    : undefined;
  if (make === undefined) {
    throw new TypeError(
      `Cannot select as a source must be a Connection, Queue, SharedEvent or Process: current value is ${
        show(source)
      }`,
    );
  }
  return make.call(source);
}
