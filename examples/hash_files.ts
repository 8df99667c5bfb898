// Copyright 2026 the Sabre authors. MIT license.

// Hashes files in a pool, with a progress bar, and prints what `sha256sum` would:
//
//   deno run --allow-read examples/hash_files.ts [paths...]

import { Pool } from "@sabre/ipc";

export interface Options {
  /** How many processes. @default {navigator.hardwareConcurrency} */
  processes?: number;
  /** Whether to show a progress bar; on a terminal only, if not given. */
  progress?: boolean;
}

/** What a process of the pool does: the SHA-256 of one file, in hexadecimal. */
export async function hash(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  return new Uint8Array(digest).toHex();
}

/** The files below the paths given, in the order of their names, without links and hidden folders. */
async function* walk(paths: Iterable<string>): AsyncGenerator<string> {
  for (const path of paths) {
    const { isDirectory } = await Deno.stat(path);
    if (!isDirectory) {
      yield path;
      continue;
    }
    const entries = await Array.fromAsync(Deno.readDir(path));
    entries.sort((a, b) => a.name < b.name ? -1 : 1);
    for (const { name, isFile, isDirectory } of entries) {
      const below = `${path.replace(/\/+$/, "")}/${name}`;
      if (isFile) yield below;
      else if (isDirectory && !name.startsWith(".")) yield* walk([below]);
    }
  }
}

/** A bar to call with what is done. Only the parent ever loads its library. */
async function bar(total: number): Promise<((done: number) => void) & Disposable> {
  const { default: progress } = await import("cli-progress");
  const format = "hashing {bar} {value}/{total} files";
  const single = new progress.SingleBar({ format }, progress.Presets.shades_classic);
  single.start(total, 0);
  return Object.assign((done: number) => single.update(done), {
    [Symbol.dispose]: () => single.stop(),
  });
}

/** Hashes everything and returns the hash of each path. */
export async function main(paths: string[], options: Options = {}): Promise<Map<string, string>> {
  const files = await Array.fromAsync(walk(paths));
  const hashes = await hashAll(files, options);
  files.forEach((file, i) => console.log(`${hashes[i]}  ${file}`));
  return new Map(files.map((file, i) => [file, hashes[i]!]));
}

async function hashAll(files: string[], options: Options): Promise<string[]> {
  const { processes, progress = Deno.stderr.isTerminal() } = options;
  await using pool = new Pool(import.meta.url, processes === undefined ? {} : { size: processes });
  using update = progress ? await bar(files.length) : undefined;
  // A file is worth a message of its own, and the bar moves with each.
  return await pool.map(hash, files, { chunkSize: 1, onProgress: (done) => update?.(done) });
}

if (import.meta.main) await main(Deno.args.length > 0 ? Deno.args : ["."]);
