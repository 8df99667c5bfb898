// Copyright 2026 the Sabre authors. MIT license.

// Whether a long history of puts and gets of distinct values is one of a first-in first-out queue, in
// O(n log n). Without bounds there are four ways not to be (T. Henzinger, A. Sezgin, V. Vafeiadis,
// "Aspect-Oriented Linearizability Proofs", CONCUR 2013): a value got that was not put, one got twice,
// two got in the wrong order, and "empty" said while something was in it all the time.

/** One call for each index. */
export interface Column {
  readonly values: ArrayLike<number>;
  readonly starts: ArrayLike<number>;
  /** 2^31 - 1 and above: its agent died in it. */
  readonly ends: ArrayLike<number>;
}

/** A history, in any order. Calls that timed out or were aborted are left out. */
export interface FifoHistory {
  readonly puts: Column;
  readonly gets: Column;
  /** Gets that answered "empty"; their values do not matter. */
  readonly empties?: Column;
  /** How many agents died while they took a value that nobody knows. @default {0} */
  readonly lostGets?: number;
  /** Whether the queue is empty in the end. @default {true} */
  readonly drained?: boolean;
}

const NEVER = 2 ** 31 - 1;

/** What is wrong, one line for each of the first few; nothing if nothing is. */
export function checkFifo(history: FifoHistory): string[] {
  const { puts, gets, empties, lostGets = 0, drained = true } = history;
  const wrong: string[] = [];
  const count = puts.values.length;
  const byValue = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const value = puts.values[i]!;
    if (byValue.has(value)) throw new RangeError(`The value ${value} was put twice`);
    byValue.set(value, i);
  }
  const getOf = new Int32Array(count).fill(-1);
  for (let i = 0; i < gets.values.length; i++) {
    const value = gets.values[i]!;
    const put = byValue.get(value);
    if (put === undefined) wrong.push(`${value} was got, but never put`);
    else if (getOf[put]! >= 0) wrong.push(`${value} was got twice`);
    else {
      getOf[put] = i;
      if (gets.ends[i]! < puts.starts[put]!) wrong.push(`${value} was got before it was put`);
    }
  }
  // When it may have left first and last; of what a dead agent may have taken, nothing is known.
  const lost: number[] = [];
  for (let i = 0; i < count; i++) if (getOf[i]! < 0 && puts.ends[i]! < NEVER) lost.push(i);
  if (drained && lost.length > lostGets) {
    wrong.push(`${lost.length} values were lost, ${puts.values[lost[0]!]} among them`);
  }
  const mayBeTaken = lostGets > 0;
  const leaves = (put: number): number => {
    const get = getOf[put]!;
    return get >= 0 ? gets.starts[get]! : mayBeTaken ? -1 : Infinity;
  };
  // A value put before this one began must not begin to be got after this one was got.
  const byEnd = sorted(puts.ends);
  const byStart = sorted(puts.starts);
  let next = 0;
  let latest = -1;
  let of = -1;
  for (const put of byStart) {
    const start = puts.starts[put]!;
    for (; next < count && puts.ends[byEnd[next]!]! < start; next++) {
      const at = leaves(byEnd[next]!);
      if (at > latest) {
        latest = at;
        of = byEnd[next]!;
      }
    }
    const get = getOf[put]!;
    if (get >= 0 && latest > gets.ends[get]!) {
      wrong.push(`${puts.values[put]} was got before ${puts.values[of]}, which was put before it`);
      if (wrong.length > 10) return wrong;
    }
  }
  if (empties !== undefined && empties.starts.length > 0) {
    wrong.push(...checkEmpties(history, byEnd, leaves));
  }
  return wrong.slice(0, 10);
}

/** A get may say "empty" if at some moment of it nothing was surely in the queue. */
function checkEmpties(
  { puts, empties }: FifoHistory,
  byEnd: Uint32Array,
  leaves: (put: number) => number,
): string[] {
  // Stretches in which something was surely in it, merged, in order.
  const froms: number[] = [];
  const tos: number[] = [];
  for (const put of byEnd) {
    const from = puts.ends[put]!;
    const to = leaves(put);
    if (from >= NEVER || to <= from) continue;
    const last = tos.length - 1;
    if (last >= 0 && from < tos[last]!) tos[last] = Math.max(tos[last]!, to);
    else {
      froms.push(from);
      tos.push(to);
    }
  }
  const wrong: string[] = [];
  for (let i = 0; i < empties!.starts.length; i++) {
    const start = empties!.starts[i]!;
    let low = 0;
    for (let high = froms.length; low < high;) {
      const middle = (low + high) >> 1;
      if (froms[middle]! < start) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && tos[low - 1]! > empties!.ends[i]!) {
      wrong.push(`"empty" was said in [${start}, ${empties!.ends[i]}], but it never was`);
    }
  }
  return wrong;
}

function sorted(stamps: ArrayLike<number>): Uint32Array {
  const order = new Uint32Array(stamps.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  return order.sort((a, b) => stamps[a]! - stamps[b]!);
}
