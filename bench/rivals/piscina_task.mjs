// Copyright 2026 the Sabre authors. MIT license.

/** What piscina's workers run. */
export default function square(x) {
  return x * x;
}
