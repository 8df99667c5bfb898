// Copyright 2026 the Sabre authors. MIT license.

// What the stack of another agent's error shows of this one: not where the news of it came in, but where
// its user had asked for what failed.

/** What stands between the two stacks. */
export const CAUSED = "\nCaused in the other agent by: ";

/** Has the stack of a `RemoteError` show where `origin` was made instead of where itself was. */
export function setOrigin(error: Error, origin: Error): void {
  const stack = String(error.stack);
  const caused = stack.indexOf(CAUSED);
  // Some engines begin with the name.
  const frames = String(origin.stack).replace(/^Error\n/, "");
  error.stack = `${error.name}: ${error.message}\n${frames}${
    caused < 0 ? "" : stack.slice(caused)
  }`;
}

/** Errors on their way to the one who asked for what failed. */
const unplaced = new WeakSet<object>();

/** Says that the error goes to one alone, who has still to show where that was asked for. Returns it. */
export function place<E extends Error>(error: E): E {
  unplaced.add(error);
  return error;
}

/** Shows `origin` in an error that is to be placed. Returns the error; anything else as it is. */
export function showOrigin(error: unknown, origin: Error): unknown {
  if (error instanceof Error && unplaced.delete(error)) setOrigin(error, origin);
  return error;
}
