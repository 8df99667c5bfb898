// Copyright 2026 the Sabre authors. MIT license.

// Results of a stream of items, several at a time in work: reading is never further ahead of the
// results than allowed, and waits neither for slow results nor they for slow input.

import { showOrigin } from "./_origin.ts";

/** How items flow, and who does the work. */
export interface Flow<T, J> {
  readonly chunkSize: number;
  /** Items read and not given out as results at the most. */
  readonly bufferSize: number;
  readonly ordered: boolean;
  readonly signal: AbortSignal | undefined;
  /** Fires with the reason if nothing can be begun any more whatever the input says. */
  readonly over: AbortSignal;
  /**
   * Begins with a chunk; `settle` gets its results, and the error that ended it, if one did. Throws
   * if nothing can be begun.
   */
  add(
    values: T[],
    settle: (value: unknown, error: { reason: unknown } | undefined) => void,
  ): J;
  /** Skips those chunks that were not begun. */
  drop(jobs: J[]): void;
}

/** A chunk on its way: what came of it, in order. */
interface Chunk<R, J> {
  job: J | undefined;
  results: R[];
  error: { reason: unknown } | undefined;
  isDone: boolean;
}

/** The results of the items. */
export async function* flowThrough<T, R, J>(
  items: Iterable<T> | AsyncIterable<T>,
  begin: () => Flow<T, J>,
): AsyncGenerator<R, void, undefined> {
  const flow = begin();
  const { signal, over } = flow;
  const input = iteratorOf(items);
  /** Chunks in the order in which their results are given out. */
  const chunks: Chunk<R, J>[] = [];
  /** Chunks in work. */
  const open = new Set<Chunk<R, J>>();
  let batch: T[] = [];
  let buffered = 0;
  /** Whether nothing more is to be read. */
  let isAtEnd = false;
  /** Whether the input has said so itself. */
  let isExhausted = false;
  let isReading = false;
  /** What the results end with once all of them are given out. */
  let failure: { reason: unknown } | undefined;
  let wake = Promise.withResolvers<void>();
  const onAbort = () => wake.resolve();
  signal?.addEventListener("abort", onAbort);
  over.addEventListener("abort", onAbort);

  const fail = (reason: unknown) => {
    isAtEnd = true;
    failure ??= { reason };
  };
  const flush = () => {
    const values = batch;
    batch = [];
    if (values.length > 0) send(values);
  };
  const send = (values: T[]) => {
    const chunk: Chunk<R, J> = { job: undefined, results: [], error: undefined, isDone: false };
    try {
      chunk.job = flow.add(values, (value, error) => {
        chunk.results = (value ?? []) as R[];
        chunk.error = error;
        chunk.isDone = true;
        open.delete(chunk);
        if (!flow.ordered) chunks.push(chunk);
        wake.resolve();
      });
    } catch (reason) {
      // Those before the one that cannot be passed are still done.
      if (values.length === 1) return fail(reason);
      for (const value of values) if (failure === undefined) send([value]);
      return;
    }
    if (!chunk.isDone) open.add(chunk);
    if (flow.ordered) chunks.push(chunk);
  };
  const take = (result: IteratorResult<T>) => {
    if (result.done) isAtEnd = isExhausted = true;
    if (isAtEnd) return flush();
    buffered++;
    batch.push(result.value);
    if (batch.length >= flow.chunkSize) flush();
  };
  const failInput = (reason: unknown) => {
    isExhausted = true;
    flush();
    fail(reason);
  };
  const read = () => {
    while (!isAtEnd && !isReading && buffered < flow.bufferSize) {
      try {
        const next = input.next();
        if (!(next instanceof Promise)) {
          take(next);
          continue;
        }
        isReading = true;
        next.then(take).catch(failInput).then(() => {
          isReading = false;
          wake.resolve();
        });
      } catch (reason) {
        failInput(reason);
      }
    }
    // What was read need not wait for more if nobody has anything to do.
    if (open.size === 0) flush();
  };
  const stop = async () => {
    signal?.removeEventListener("abort", onAbort);
    over.removeEventListener("abort", onAbort);
    flow.drop(Array.from(open, (chunk) => chunk.job!));
    isAtEnd = true;
    batch = [];
    if (isExhausted) return;
    isExhausted = true;
    const returned = input.return?.();
    // An input that is asked for more may never answer.
    if (isReading) Promise.resolve(returned).catch(() => {});
    else await returned;
  };

  try {
    for (;;) {
      signal?.throwIfAborted();
      read();
      const chunk = chunks[0];
      if (chunk?.isDone) {
        chunks.shift();
        for (const result of chunk.results) {
          yield result;
          buffered--;
          signal?.throwIfAborted();
          read();
        }
        if (chunk.error !== undefined) throw showOrigin(chunk.error.reason, new Error());
      } else if (isAtEnd && chunk === undefined && open.size === 0) {
        if (failure !== undefined) throw failure.reason;
        return;
      } else {
        over.throwIfAborted();
        await wake.promise;
        wake = Promise.withResolvers();
      }
    }
  } catch (error) {
    // What is thrown here counts, not what the input says to that.
    await stop().catch(() => {});
    throw error;
  } finally {
    await stop();
  }
}

interface Input<T> {
  next(): IteratorResult<T> | Promise<IteratorResult<T>>;
  return?(): unknown;
}

function iteratorOf<T>(items: Iterable<T> | AsyncIterable<T>): Input<T> {
  if (Symbol.asyncIterator in Object(items)) {
    const iterator = (items as AsyncIterable<T>)[Symbol.asyncIterator]();
    return {
      next: () => Promise.resolve(iterator.next()),
      return: () => iterator.return?.(),
    };
  }
  const iterator = (items as Iterable<T>)[Symbol.iterator]();
  return { next: () => iterator.next(), return: () => iterator.return?.() };
}
