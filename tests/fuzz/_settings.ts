// Copyright 2026 the Sabre authors. MIT license.

/** A number of the environment, for those who may read it: `deno task test` may not. */
export function setting(name: string, otherwise: number): number {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") {
    return otherwise;
  }
  return Number(Deno.env.get(name) ?? otherwise);
}
