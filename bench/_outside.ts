// Copyright 2026 the Sabre authors. MIT license.

// Programs in other languages and runtimes, each of which measures itself, prints one line of JSON
// and ends. One that is not installed is left out, and that is said.

import type { Line, Sample } from "./_harness.ts";

/** The programs of this machine: how to start each, or why there is none. */
export interface Outside {
  readonly rust: Program;
  readonly python: Program;
  /** Node, with piscina where it finds it. */
  readonly node: Program;
  readonly taskset: Program;
}

/** How to start a program. */
export interface Program {
  readonly command?: readonly string[];
  readonly version?: string;
  readonly missing?: string;
}

/** The version of piscina, here and for Node. */
const PISCINA = "5.3.2";

const rivals = new URL("./rivals/", import.meta.url);

/** Looks for the programs and prepares them in `folder`, which the caller removes. */
export async function findOutside(folder: string): Promise<Outside> {
  const [rust, python, node, taskset] = await Promise.all([
    findRust(folder),
    findPython(),
    findNode(folder),
    findTaskset(),
  ]);
  return { rust, python, node, taskset };
}

async function findRust(folder: string): Promise<Program> {
  const version = await versionOf("rustc", "--version");
  if (version === undefined) return { missing: "rustc is not installed" };
  const program = `${folder}/rust`;
  const source = pathOf(new URL("rust.rs", rivals));
  const error = await failure("rustc", ["-O", "--edition=2021", "-o", program, source]);
  return error === undefined ? { command: [program], version } : { missing: error };
}

async function findPython(): Promise<Program> {
  const version = await versionOf("python3", "--version");
  if (version === undefined) return { missing: "python3 is not installed" };
  return { command: ["python3", pathOf(new URL("python.py", rivals))], version };
}

async function findNode(folder: string): Promise<Program> {
  // Deno plays Node where there is none.
  const version = await versionOf("node", "-p", "typeof Deno === 'object' ? '' : process.version");
  if (version === undefined) return { missing: "node is not installed" };
  // Node does not read the cache of Deno.
  const flags = ["--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--loglevel=error"];
  const args = ["install", ...flags, "--prefix", folder, `piscina@${PISCINA}`];
  const error = await failure("npm", args);
  if (error !== undefined) return { missing: error };
  return { command: ["node", pathOf(new URL("node_piscina.mjs", rivals)), folder], version };
}

async function findTaskset(): Promise<Program> {
  const error = await failure("taskset", ["-c", "0", Deno.execPath(), "--version"]);
  if (error !== undefined) return { missing: "taskset is not installed or not allowed" };
  return { command: ["taskset", "-c", "0"] };
}

/** A line that a program measures; it is given `args` and how many operations it is to do. */
export function outsideLine(
  name: string,
  program: Program,
  args: string[],
  count: number,
  fixed = false,
): Line {
  return {
    name,
    count,
    fixed,
    isWarm: true,
    skip: program.missing,
    run: (turns) => measured([...program.command!, ...args, String(turns)]),
  };
}

/** The same for a program of `rivals/` or `tables/` that Deno runs, in a process of its own. */
export function denoLine(
  name: string,
  file: string,
  args: string[],
  count: number,
  fixed = false,
): Line {
  const command = [Deno.execPath(), "run", "-A", "--quiet", import.meta.resolve(file)];
  return outsideLine(name, { command }, args, count, fixed);
}

/** How long a program may take, in milliseconds, before it is given up. */
const LIMIT = 60_000;

async function measured([program, ...args]: string[]): Promise<Sample> {
  const signal = AbortSignal.timeout(LIMIT);
  const { code, stdout, stderr } = await new Deno.Command(program!, { args, signal }).output();
  const decoder = new TextDecoder();
  if (signal.aborted) throw new Error(`it did not end within ${LIMIT / 1_000} seconds`);
  if (code !== 0) throw new Error(decoder.decode(stderr).trim().split("\n").at(-1));
  return JSON.parse(decoder.decode(stdout).trim().split("\n").at(-1)!);
}

async function versionOf(program: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args }).output();
    return success ? new TextDecoder().decode(stdout).match(/\d+(\.\d+)+/)?.[0] : undefined;
  } catch {
    return undefined;
  }
}

/** Runs a program; says why that failed, if it did. */
async function failure(program: string, args: string[]): Promise<string | undefined> {
  try {
    const { success } = await new Deno.Command(program, { args }).output();
    return success ? undefined : `${program} failed`;
  } catch {
    return `${program} is not installed`;
  }
}

function pathOf(url: URL): string {
  return decodeURIComponent(url.pathname);
}
