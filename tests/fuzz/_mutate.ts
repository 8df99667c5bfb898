// Copyright 2026 the Sabre authors. MIT license.

// What is damaged, and how: bytes and words are changed at random from a seed, so that every case can
// be run again.

/** Numbers from 0 to 1, from a seed: `randomOf` of the helpers. */
export type Random = () => number;

/** Words that lengths, counts and positions do not expect. */
export const EXTREMES: readonly number[] = [
  0,
  1,
  2,
  3,
  0x7F,
  0x80,
  0xFF,
  0x100,
  0xFFFF,
  0x1_0000,
  0xFF_FFFF,
  0x3FFF_FFFF,
  0x4000_0000,
  0x7FFF_FFFE,
  0x7FFF_FFFF,
  0x8000_0000,
  0x8000_0001,
  0xFFFF_FFFE,
  0xFFFF_FFFF,
];

/** An integer from 0 to `end - 1`. */
export function below(random: Random, end: number): number {
  return Math.floor(random() * end);
}

/** One of the items. */
export function pick<T>(random: Random, items: readonly T[]): T {
  return items[below(random, items.length)]!;
}

/** A word of any size: small, large, or none that was ever meant. */
export function anyWord(random: Random): number {
  switch (below(random, 4)) {
    case 0:
      return below(random, 64);
    case 1:
      return pick(random, EXTREMES) | 0;
    case 2:
      return 1 << below(random, 32);
    default:
      return (random() * 2 ** 32) | 0;
  }
}

/** A damaged copy of a message; `other` is another one, for pieces of it. */
export function mutate(bytes: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let mutant = new Uint8Array(bytes);
  for (let times = 1 + below(random, 3); times > 0; times--) {
    mutant = mutateOnce(mutant, other, random);
  }
  return mutant;
}

function mutateOnce(
  bytes: Uint8Array<ArrayBuffer>,
  other: Uint8Array,
  random: Random,
): Uint8Array<ArrayBuffer> {
  if (bytes.length === 0) return new Uint8Array([below(random, 256)]);
  const at = below(random, bytes.length);
  switch (below(random, 10)) {
    case 0:
      bytes[at]! ^= 1 << below(random, 8);
      return bytes;
    case 1:
      bytes[at] = below(random, 256);
      return bytes;
    case 2: // tags
      bytes[at] = 0xC0 + below(random, 0x24);
      return bytes;
    case 3:
      return bytes.slice(0, at);
    case 4:
      return joined(bytes, noise(random, 1 + below(random, 16)));
    case 5:
      return joined(bytes.subarray(0, at), other.subarray(below(random, other.length)));
    case 6: { // where a length may be
      const length = pick(random, EXTREMES);
      for (let i = 0; i < 4 && at + i < bytes.length; i++) bytes[at + i] = length >>> (8 * i);
      return bytes;
    }
    case 7: {
      const size = Math.min(bytes.length - at, 1 + below(random, 8));
      bytes.set(noise(random, size), at);
      return bytes;
    }
    case 8: // a part, twice
      return joined(bytes.subarray(0, at), bytes.subarray(below(random, at + 1)));
    default: // without a part
      return joined(
        bytes.subarray(0, at),
        bytes.subarray(Math.min(bytes.length, at + 1 + below(random, 8))),
      );
  }
}

/** Random bytes. */
export function noise(random: Random, size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, () => below(random, 256));
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
