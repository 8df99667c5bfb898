// Copyright 2026 the Sabre authors. MIT license.

// Results of a stream of items, several at a time in work: reading is never further ahead of the
// results than allowed, and waits neither for slow results nor they for slow input.

/** How items flow. */
export interface Flow {
  readonly chunkSize: number;
  /** Items read and not given out as results at the most. */
  readonly bufferSize: number;
  readonly ordered: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Who does the work. */
export interface Work<T, R> {
  /** Begins with a chunk; `settle` gets its results, and the error that ended it, if one did. */
  add(
    values: T[],
    settle: (value: unknown, error: { reason: unknown } | undefined) => void,
  ): unknown;
  /** Skips those chunks that were not begun. */
  drop(chunks: unknown[]): void;
  readonly results?: R;
}

/** A chunk on its way: what came of it, in order. */
interface Chunk<R> {
  job: unknown;
  results: R[];
  error: { reason: unknown } | undefined;
  isDone: boolean;
}

/** The results of the items. */
export async function* flowThrough<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  flow: Flow,
  work: Work<T, R>,
): AsyncGenerator<R, void, undefined> {
  const input = iteratorOf(items);
  const { signal } = flow;
  signal?.throwIfAborted();
  /** Chunks in the order in which their results are given out. */
  const chunks: Chunk<R>[] = [];
  let buffered = 0;
  let batch: T[] = [];
  let isAtEnd = false;
  let inputError: { reason: unknown } | undefined;
  let reading: Promise<void> | undefined;
  let wake = Promise.withResolvers<void>();
  const onAbort = () => wake.resolve();
  signal?.addEventListener("abort", onAbort);

  const flush = () => {
    if (batch.length === 0) return;
    const chunk: Chunk<R> = { job: undefined, results: [], error: undefined, isDone: false };
    if (flow.ordered) chunks.push(chunk);
    chunk.job = work.add(batch, (value, error) => {
      chunk.results = (value ?? []) as R[];
      chunk.error = error;
      chunk.isDone = true;
      if (!flow.ordered) chunks.push(chunk);
      open.delete(chunk);
      wake.resolve();
    });
    open.add(chunk);
    batch = [];
  };
  const open = new Set<Chunk<R>>();
  const take = (result: IteratorResult<T>) => {
    if (result.done) {
      isAtEnd = true;
    } else {
      buffered++;
      batch.push(result.value);
    }
    if (isAtEnd || batch.length >= flow.chunkSize || buffered >= flow.bufferSize) flush();
  };
  const fail = (reason: unknown) => {
    isAtEnd = true;
    inputError = { reason };
    flush();
  };
  const read = () => {
    while (!isAtEnd && reading === undefined && buffered < flow.bufferSize) {
      try {
        const next = input.next();
        if (next instanceof Promise) {
          reading = next.then(take, fail).finally(() => {
            reading = undefined;
            wake.resolve();
          });
          // What was read so far need not wait for a slow input.
          if (open.size === 0) flush();
        } else {
          take(next);
        }
      } catch (error) {
        fail(error);
      }
    }
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
        if (chunk.error !== undefined) throw chunk.error.reason;
      } else if (isAtEnd && open.size === 0 && chunks.length === 0) {
        if (inputError !== undefined) throw inputError.reason;
        return;
      } else {
        await wake.promise;
        wake = Promise.withResolvers();
      }
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    work.drop(Array.from(open, (chunk) => chunk.job));
    if (!isAtEnd) await input.return?.();
  }
}

type Input<T> = {
  next(): IteratorResult<T> | Promise<IteratorResult<T>>;
  return?(): unknown;
};

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
