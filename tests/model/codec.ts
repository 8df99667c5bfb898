// Copyright 2026 the Sabre authors. MIT license.

// Stands for `_codec.ts` in the model: numbers and bytes need no codec, and the scenarios send no more.

export const output = { bytes: new Uint8Array(0), words: new Int32Array(0) };

export function encode(_value: unknown): number {
  throw new Error("The model sends numbers and bytes only");
}

export function decode(_bytes: Uint8Array, _from: number, _end: number): unknown {
  throw new Error("The model sends numbers and bytes only");
}
