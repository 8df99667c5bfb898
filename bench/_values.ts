// Copyright 2026 the Sabre authors. MIT license.

/** One small nested object: 88 bytes as JSON. */
export const OBJECT = {
  id: 1234,
  name: "sample",
  pos: { x: 1.5, y: 2.5, z: -0.5 },
  tags: ["a", "b", "c"],
  ok: true,
  n: 17,
};

/** 64 characters. */
export const TEXT = "the quick brown fox jumps over the lazy dog, and then once more.";
