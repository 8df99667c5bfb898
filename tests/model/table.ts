// Copyright 2026 the Sabre authors. MIT license.

// Writes the table of docs/proof.md: what the explorer visits, and how many states that takes.
//
//   deno run -A tests/model/table.ts [--slow] [--print]
//
// It runs the tests and takes the figures from what they print, so that the table cannot differ from
// what is tested. `--slow` adds those in tests/model/slow, `--print` prints instead of writing.

interface Row {
  readonly test: string;
  readonly name: string;
  readonly states: number;
  readonly milliseconds: number;
}

const BEGIN = "<!-- table: written by tests/model/table.ts -->";
const END = "<!-- end of table -->";
const root = new URL("../../", import.meta.url);

function testFiles(folder: string): string[] {
  const files: string[] = [];
  try {
    for (const { name } of Deno.readDirSync(new URL(folder, root))) {
      if (name.endsWith("_test.ts") && !/^(engine|mutants)_/.test(name)) {
        files.push(`${folder}/${name}`);
      }
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return files.sort();
}

/** Runs one test file and reads the reports of `explore` in what it prints; nothing if it fails. */
async function rowsOf(file: string): Promise<Row[] | undefined> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "--allow-read", "--no-check", file],
    cwd: root.pathname,
    env: { NO_COLOR: "1" },
    stderr: "null",
  }).output();
  if (!success) return undefined;
  const rows: Row[] = [];
  const test = file.slice(file.lastIndexOf("/") + 1).replace("_test.ts", "");
  for (const line of new TextDecoder().decode(stdout).split("\n")) {
    const match = /^(.+): (\d+) states, \d+ transitions, (\d+) ms/.exec(line);
    if (match === null) continue;
    const [, name, states, milliseconds] = match;
    rows.push({ test, name: name!, states: Number(states), milliseconds: Number(milliseconds) });
  }
  return rows;
}

function tableOf(rows: readonly Row[]): string {
  const lines = ["| Test | Configuration | States | Time (ms) |", "|---|---|---|---|"];
  for (const { test, name, states, milliseconds } of rows) {
    // A bar would end the cell.
    const text = name.replaceAll("|", "/").replaceAll('"', "");
    lines.push(`| ${test} | ${text} | ${states.toLocaleString("en")} | ${milliseconds} |`);
  }
  const sum = rows.reduce((total, row) => total + row.states, 0);
  const time = rows.reduce((total, row) => total + row.milliseconds, 0);
  lines.push(`| all | ${rows.length} configurations | ${sum.toLocaleString("en")} | ${time} |`);
  return lines.join("\n");
}

async function main(): Promise<void> {
  const files = testFiles("tests/model");
  if (Deno.args.includes("--slow")) files.push(...testFiles("tests/model/slow"));
  const rows: Row[] = [];
  for (const file of files) {
    const some = await rowsOf(file);
    if (some !== undefined) rows.push(...some);
    else {
      Deno.exitCode = 1;
      console.error(`${file} fails, and is left out`);
    }
  }
  const table = tableOf(rows);
  if (Deno.args.includes("--print")) return console.log(table);
  const path = new URL("docs/proof.md", root);
  const text = await Deno.readTextFile(path);
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error("docs/proof.md has no place for the table");
  await Deno.writeTextFile(
    path,
    `${text.slice(0, from + BEGIN.length)}\n\n${table}\n\n${text.slice(to)}`,
  );
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", path.pathname] }).output();
  console.log(`${rows.length} configurations of ${files.length} files`);
}

if (import.meta.main) await main();
