// Copyright 2026 the Sabre authors. MIT license.

// What the stack of another agent's error shows of this one: not where the news of it came in, but where
// its user had asked for what failed.

/** What stands between the two stacks. */
export const CAUSED = "\nCaused in the other agent by: ";

/**
 * Has the stack of a `RemoteError` show where `origin` was made instead of where itself was. Returns the
 * error; any other value as it is.
 */
export function showOrigin(error: unknown, origin: Error): unknown {
  if (!(error instanceof Error) || error.name !== "RemoteError") return error;
  const stack = String(error.stack);
  const caused = stack.indexOf(CAUSED);
  // Some engines begin with the name.
  const frames = String(origin.stack).replace(/^Error\n/, "");
  error.stack = `${error.name}: ${error.message}\n${frames}${
    caused < 0 ? "" : stack.slice(caused)
  }`;
  return error;
}
