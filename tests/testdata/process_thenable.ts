// Copyright 2026 the Sabre authors. MIT license.

// A module that is imported as something else, which is an object with a prototype.

export function then(resolve: (exports: object) => void): void {
  resolve({ target: () => 7 });
}
