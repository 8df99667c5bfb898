// Copyright 2026 the Sabre authors. MIT license.

// Makes mutants of a module: one small change each, where agents meet.

import ts from "../model/_typescript.ts";

/** One change of one file. */
export interface Mutant {
  /** The same for the same change as long as the function around it is: file, function, kind and text. */
  readonly id: string;
  readonly file: string;
  readonly line: number;
  readonly kind: string;
  /** What stood there, and what stands there now, cut short. */
  readonly before: string;
  readonly after: string;
  /** The function, or the like, that it is in, as it was, without comments. */
  readonly context: string;
  /** The whole changed module. */
  readonly source: string;
}

/** Calls that wake somebody, or let others in. */
const WAKES = new Set([
  ..."wakeAll unpark unparkSlot wakeLater flushWakes wakeSide wakePeer unlockLatch exit".split(" "),
  ..."exitPut exitGet attendGetters attendPutters serve serveAll servePuts serveGets".split(" "),
  ..."hintOldest announce setParked".split(" "),
]);

/** What stands in for an operation that is no longer atomic. */
const WEAK = `
function weakSet(words: Int32Array, index: number, value: number): number {
  const old = Atomics.load(words, index);
  Atomics.store(words, index, value);
  return old;
}
function weakAdd(words: Int32Array, index: number, value: number): number {
  const old = Atomics.load(words, index);
  Atomics.store(words, index, old + value);
  return old;
}
function weakSub(words: Int32Array, index: number, value: number): number {
  const old = Atomics.load(words, index);
  Atomics.store(words, index, old - value);
  return old;
}
function weakOr(words: Int32Array, index: number, value: number): number {
  const old = Atomics.load(words, index);
  Atomics.store(words, index, old | value);
  return old;
}
function weakAnd(words: Int32Array, index: number, value: number): number {
  const old = Atomics.load(words, index);
  Atomics.store(words, index, old & value);
  return old;
}
function weakCas(words: Int32Array, index: number, expected: number, value: number): number {
  const old = Atomics.load(words, index);
  if (old === expected) Atomics.store(words, index, value);
  return old;
}
function blindCas(words: Int32Array, index: number, expected: number, value: number): number {
  Atomics.store(words, index, value);
  return expected;
}
`;
const WEAK_OF: Readonly<Record<string, readonly (readonly [kind: string, name: string])[]>> = {
  exchange: [["exchange to load and store", "weakSet"]],
  add: [["add to load and store", "weakAdd"]],
  sub: [["sub to load and store", "weakSub"]],
  or: [["or to load and store", "weakOr"]],
  and: [["and to load and store", "weakAnd"]],
  compareExchange: [["CAS to load and store", "weakCas"], ["CAS to store", "blindCas"]],
};
const COMPARISONS: Readonly<Record<string, string>> = {
  "===": "!==",
  "!==": "===",
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
};

/** The kinds that change what a branch depends on, beside those of operations and wake-ups. */
export const CONDITIONS: ReadonlySet<string> = new Set(["compare", "drop operand", "skip branch"]);

/** All mutants of a module, in the order of its text. */
export function mutantsOf(file: string, text: string): Mutant[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const mutants: Mutant[] = [];
  const counts = new Map<string, number>();

  const printer = ts.createPrinter({ removeComments: true });
  let context = "";
  let owner = "";

  const add = (kind: string, from: number, to: number, after: string, appended = ""): void => {
    const before = text.slice(from, to);
    const name = `${file}: ${owner === "" ? "" : `${owner}: `}${kind}: ${shorten(before)}`;
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    mutants.push({
      id: count === 1 ? name : `${name} #${count}`,
      file,
      line: source.getLineAndCharacterOfPosition(from).line + 1,
      kind,
      before: shorten(before),
      after: shorten(after),
      context,
      source: text.slice(0, from) + after + text.slice(to) + appended,
    });
  };

  const look = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || ts.isImportDeclaration(node)) return;
    if (node.parent === source || ts.isClassElement(node)) {
      context = printer.printNode(ts.EmitHint.Unspecified, node, source);
      owner = nameOf(node);
    }
    const from = node.getStart(source);
    const to = node.getEnd();
    if (ts.isExpressionStatement(node)) {
      if (isAtomics(node.expression)) add("drop", from, to, ";");
      else if (isWake(node.expression)) add("drop wake-up", from, to, ";");
      else if (isStore(node.expression)) add("drop store", from, to, ";");
    } else if (ts.isCallExpression(node) && isAtomics(node)) {
      const name = (node.expression as ts.PropertyAccessExpression).name;
      for (const [kind, weak] of WEAK_OF[name.text] ?? []) {
        add(kind, from, node.expression.getEnd(), weak, WEAK);
      }
      if (name.text === "compareExchange") {
        const expected = node.arguments[2]!;
        add(
          "expect one more",
          expected.getStart(source),
          expected.getEnd(),
          `(${expected.getText(source)}) + 1`,
        );
      }
      if (name.text === "notify" && node.arguments.length === 2) {
        add("notify one", from, to, `${text.slice(from, to - 1)}, 1)`);
      }
    } else if (ts.isBinaryExpression(node)) {
      const operator = node.operatorToken;
      const other = COMPARISONS[operator.getText(source)];
      if (other !== undefined) {
        add(
          operator.getText(source).endsWith("==") ? "compare" : "off by one",
          from,
          to,
          `${node.left.getText(source)} ${other} ${node.right.getText(source)}`,
        );
      } else if (isLogical(operator.kind)) {
        add("drop operand", from, to, node.left.getText(source));
      }
    } else if (ts.isIfStatement(node)) {
      const { expression, thenStatement } = node;
      // What the branch does is dropped; where it only leaves, the check is.
      const body = shorten(thenStatement.getText(source));
      const start = expression.getStart(source);
      const before = expression.getText(source);
      if (before !== "true" && body !== "") add("skip branch", start, expression.getEnd(), "false");
    }
    if (ts.isBlock(node) || ts.isSourceFile(node) || ts.isCaseOrDefaultClause(node)) {
      node.statements.forEach((first, i) => {
        const second = node.statements[i + 1];
        if (second === undefined || !isEffect(first) || !isEffect(second)) return;
        const [start, end] = [first.getStart(source), second.getEnd()];
        add("swap", start, end, `${second.getText(source)} ${first.getText(source)}`);
      });
    }
    ts.forEachChild(node, look);
  };
  look(source);
  return mutants.sort((a, b) => a.line - b.line);
}

/** The name of a function, or of a class and its member. */
function nameOf(node: ts.Node): string {
  if (ts.isClassElement(node) && ts.isClassLike(node.parent)) {
    const name = node.name?.getText() ?? "constructor";
    return `${node.parent.name?.text}.${name}`;
  }
  return ts.isFunctionDeclaration(node) ? node.name?.text ?? "" : "";
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s*\/\/.*\n/g, " ").replaceAll(/\s+/g, " ").trim();
  return line.length > 100 ? `${line.slice(0, 97)}...` : line;
}

function isAtomics(node: ts.Node): node is ts.CallExpression {
  return ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) &&
    ts.isIdentifier(node.expression.expression) && node.expression.expression.text === "Atomics";
}

function isWake(node: ts.Node): boolean {
  if (!ts.isCallExpression(node)) return false;
  const callee = node.expression;
  if (ts.isIdentifier(callee)) return WAKES.has(callee.text);
  return ts.isPropertyAccessExpression(callee) && WAKES.has(callee.name.text);
}

/** Whether it assigns to an element, such as a word of shared memory. */
function isStore(node: ts.Node): boolean {
  return ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken &&
    ts.isElementAccessExpression(node.left);
}

function isEffect(node: ts.Node): boolean {
  return ts.isExpressionStatement(node) &&
    (isAtomics(node.expression) || isWake(node.expression) || isStore(node.expression) ||
      ts.isCallExpression(node.expression));
}

function isLogical(kind: ts.SyntaxKind): boolean {
  return kind === ts.SyntaxKind.AmpersandAmpersandToken || kind === ts.SyntaxKind.BarBarToken;
}
