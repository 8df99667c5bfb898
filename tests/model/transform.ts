// Copyright 2026 the Sabre authors. MIT license.

// Loads shipped modules so that every operation on shared memory is a yield.
//
// - `Atomics.f(...)` and what scenario.ts declares become operations. A function that reaches one becomes a
//   generator, its callers delegate to it, and so on up.
// - `x[i]`, `x[i] = v`, `x[i]++` and the methods of typed arrays become hooks, which find out at run
//   time whether `x` is shared. Hence no rule about names or types is needed, and nothing is missed.
// - At loop heads all locals in scope are reported, around calls those of the caller, see machine.ts.
// - Typed arrays, `SharedArrayBuffer` and `performance.now` are the model's.
//
// Total: whatever cannot be rewritten (an operation in a constructor, getter, async function, or in
// a callback of the host) is refused: listed in `refused`, and it throws if it is ever called. Imports
// that lead out of the scope fail, unless something was put in their place. A shared view is no
// array: what gets past the hooks finds nothing to iterate, and the host refuses it.

import type { Scenario } from "./scenario.ts";
import { type Site, sites } from "./operations.ts";
import {
  CALLING,
  KNOWN_ATOMICS,
  type Program,
  runtime,
  VIEW_METHODS,
  VisibleMap,
  VisibleRef,
  VisibleRegistry,
  VisibleSet,
  YIELDING,
} from "./runtime.ts";
import ts from "./_typescript.ts";

/** How to load. */
export interface LoadOptions {
  /** Modules to put in the place of others, by file name: `{"_park.ts": "tests/model/park.ts"}`. */
  readonly replace?: Readonly<Record<string, URL>>;
  /** New values of top-level constants, by file name and name: `{"_latch.ts": {SPINS: 1}}`. */
  readonly constants?: Readonly<
    Record<string, Readonly<Record<string, number | boolean>>>
  >;
  /** Changes the source before it is parsed, for mutants. */
  readonly edit?: (file: string, source: string) => string;
}

/** Code that the explorer cannot run, and why. */
export interface Refused {
  readonly file: string;
  readonly line: number;
  readonly reason: string;
}

type FunctionNode =
  | ts.FunctionDeclaration
  | ts.FunctionExpression
  | ts.ArrowFunction
  | ts.MethodDeclaration
  | ts.ConstructorDeclaration
  | ts.GetAccessorDeclaration
  | ts.SetAccessorDeclaration;

interface Module {
  readonly key: string;
  readonly file: string;
  readonly source: ts.SourceFile;
  /** Local name to module and name there. */
  readonly imports: Map<string, { module: string; name: string }>;
  /** Local names of what scenario.ts declares. */
  readonly intrinsics: Map<string, string>;
  /** Local name or `default`-less re-export: exported name to where it comes from. */
  readonly reexports: { module: string; name: string; as: string }[];
  /** Top-level functions, also as constants. */
  readonly functions: Map<string, FunctionNode>;
  readonly classes: Map<string, ts.ClassDeclaration>;
  code: ((...args: unknown[]) => Instance) | undefined;
  mutable: boolean;
}

interface Instance {
  readonly exports: Record<string, unknown>;
  readonly state: () => unknown[];
}

const VIEWS: ReadonlySet<string> = new Set([
  ..."Int8Array Uint8Array Int16Array Uint16Array Int32Array Uint32Array".split(" "),
  ..."Float32Array Float64Array BigInt64Array BigUint64Array Uint8ClampedArray DataView"
    .split(" "),
]);
/** Host objects whose methods neither call back nor look into what they are given. */
const HOSTS: ReadonlySet<string> = new Set([
  ..."Math Number String Object Array JSON Symbol Map Set BigInt Reflect Promise console crypto"
    .split(" "),
]);

// Every run must be like the last, and what modules keep must be visible to reports.
const crypto = {
  getRandomValues(array: Int32Array): Int32Array {
    for (let i = 0; i < array.length; i++) array[i] = 0x1234567 * (i + 1);
    return array;
  },
};

const globals = [crypto, VisibleMap, VisibleSet, VisibleRef, VisibleRegistry];
const PARAMETERS = [
  ..."$ $imports $shared crypto WeakMap WeakSet WeakRef FinalizationRegistry".split(" "),
];

const sources = new Map<string, string>();

/** Modules that were transformed together. */
export class Loaded {
  /** What was left out. */
  readonly refused: readonly Refused[];
  /** How many operations became yields, for the totality check. */
  readonly operations: number;
  readonly #modules: Map<string, Module>;
  readonly #entry: string;
  readonly #mutable: boolean;
  readonly #spins: boolean;
  #first: ReturnType<Loaded["instantiate"]> | undefined;

  constructor(modules: Map<string, Module>, entry: string, refused: Refused[], operations: number) {
    this.#modules = modules;
    this.#entry = entry;
    this.refused = refused;
    this.operations = operations;
    this.#spins = [...modules.values()].some((each) =>
      [...each.intrinsics.values()].includes("spin")
    );
    this.#mutable = [...modules.values()].some((each) => each.mutable);
  }

  /** Runs the modules' top levels, as a new agent does. */
  instantiate(): {
    exports: Record<string, unknown>;
    state: (() => unknown[]) | undefined;
  } {
    const instances = new Map<string, Instance>();
    const states: (() => unknown[])[] = [];
    // The map is in the order of dependencies.
    for (const [key, module] of this.#modules) {
      const imports: Record<string, unknown> = {};
      for (const [local, from] of module.imports) {
        imports[local] = instances.get(from.module)?.exports[from.name];
      }
      const again: Record<string, unknown> = {};
      for (const { module: from, name, as } of module.reexports) {
        const { exports } = instances.get(from)!;
        if (name === "*") Object.assign(again, exports);
        else again[as] = exports[name];
      }
      const instance = module.code!(runtime, imports, !this.#mutable, ...globals);
      Object.assign(instance.exports, again);
      instances.set(key, instance);
      if (module.mutable) states.push(instance.state);
    }
    const { exports } = instances.get(this.#entry)!;
    return {
      exports,
      state: states.length === 0 ? undefined : () => states.map((each) => each()),
    };
  }

  /**
   * The scenario that an exported function of the entry module makes, as often as it is needed:
   * modules that keep state are run again for each agent, as in a worker.
   */
  scenario(name: string, ...args: unknown[]): () => Program {
    const make = (): Program => {
      const { exports, state } = this.#mutable
        ? this.instantiate()
        : this.#first ??= this.instantiate();
      const factory = exports[name] as (...args: unknown[]) => Scenario<unknown>;
      if (typeof factory !== "function") {
        throw new Error(`No function "${name}" is exported`);
      }
      const scenario = factory(...args);
      if (runtime.isSteps(scenario)) {
        throw new Error(`"${name}" touches memory: only setup may`);
      }
      return { scenario, state, spins: this.#spins };
    };
    if (this.#mutable) return make;
    const program = make();
    return () => program;
  }
}

/** Loads a module and all it imports. The same load is done once. */
export function load(entry: URL, options: LoadOptions = {}): Promise<Loaded> {
  if (options.edit !== undefined) return transformAll(entry, options);
  const key = JSON.stringify([entry, options]);
  let loading = loads.get(key);
  if (loading === undefined) loads.set(key, loading = transformAll(entry, options));
  return loading;
}

const loads = new Map<string, Promise<Loaded>>();

async function transformAll(entry: URL, options: LoadOptions): Promise<Loaded> {
  const modules = new Map<string, Module>();
  await visit(entry.href, options, modules, []);
  const transform = new Transform(modules, options);
  transform.run();
  return new Loaded(modules, entry.href, transform.refused, transform.operations);
}

async function visit(
  key: string,
  options: LoadOptions,
  modules: Map<string, Module>,
  path: string[],
): Promise<void> {
  if (modules.has(key)) return;
  if (path.includes(key)) {
    throw new Error(`Modules import each other in a circle: ${key}`);
  }
  const file = fileOf(key);
  let text = sources.get(key);
  if (text === undefined) {
    text = await Deno.readTextFile(new URL(key));
    sources.set(key, text);
  }
  if (options.edit !== undefined) text = options.edit(file, text);
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const module: Module = {
    key,
    file,
    source,
    imports: new Map(),
    intrinsics: new Map(),
    reexports: [],
    functions: new Map(),
    classes: new Map(),
    code: undefined,
    mutable: false,
  };
  for (const statement of source.statements) {
    const isImport = ts.isImportDeclaration(statement);
    if (!isImport && !ts.isExportDeclaration(statement)) {
      collect(module, statement);
      continue;
    }
    if (statement.moduleSpecifier === undefined) {
      for (
        const each of ((statement as ts.ExportDeclaration).exportClause as ts.NamedExports).elements
      ) {
        if (each.isTypeOnly || (statement as ts.ExportDeclaration).isTypeOnly) {
          continue;
        }
        module.reexports.push({
          module: "",
          name: (each.propertyName ?? each.name).text,
          as: each.name.text,
        });
      }
      continue;
    }
    const specifier = (statement.moduleSpecifier as ts.StringLiteral).text;
    const typeOnly = isImport
      ? statement.importClause?.isTypeOnly === true
      : (statement as ts.ExportDeclaration).isTypeOnly;
    if (typeOnly) continue;
    const names = isImport ? statement.importClause?.namedBindings : statement.exportClause;
    if (names !== undefined && (ts.isNamedImports(names) || ts.isNamedExports(names))) {
      if (names.elements.length > 0 && names.elements.every((each) => each.isTypeOnly)) continue;
    }
    if (/(^|\/)scenario\.ts$/.test(specifier)) {
      for (const each of (names as ts.NamedImports).elements) {
        if (!each.isTypeOnly) {
          module.intrinsics.set(each.name.text, (each.propertyName ?? each.name).text);
        }
      }
      continue;
    }
    if (!/^\.{0,2}\//.test(specifier) && !specifier.startsWith("file:")) {
      throw new Error(`${file} imports "${specifier}", which is outside of the scope`);
    }
    let target = new URL(specifier, key).href;
    const replacement = options.replace?.[fileOf(target)];
    if (replacement !== undefined) target = replacement.href;
    await visit(target, options, modules, [...path, key]);
    if (names === undefined) {
      if (!isImport) {
        module.reexports.push({ module: target, name: "*", as: "*" });
      }
    } else if (ts.isNamedImports(names)) {
      for (const each of names.elements) {
        if (each.isTypeOnly) continue;
        const name = (each.propertyName ?? each.name).text;
        module.imports.set(each.name.text, { module: target, name });
      }
    } else if (ts.isNamedExports(names)) {
      for (const each of names.elements) {
        if (each.isTypeOnly) continue;
        const name = (each.propertyName ?? each.name).text;
        module.reexports.push({ module: target, name, as: each.name.text });
      }
    } else {
      throw new Error(`${file} imports a namespace, which the transform does not know`);
    }
  }
  modules.set(key, module);
}

function fileOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

function collect(module: Module, statement: ts.Statement): void {
  if (ts.isFunctionDeclaration(statement) && statement.name !== undefined) {
    if (statement.body !== undefined) {
      module.functions.set(statement.name.text, statement);
    }
  } else if (ts.isClassDeclaration(statement) && statement.name !== undefined) {
    module.classes.set(statement.name.text, statement);
  } else if (ts.isVariableStatement(statement)) {
    for (const each of statement.declarationList.declarations) {
      const { initializer } = each;
      if (initializer === undefined || !ts.isIdentifier(each.name)) continue;
      if (ts.isArrowFunction(initializer) || ts.isFunctionExpression(initializer)) {
        module.functions.set(each.name.text, initializer);
      }
    }
  }
}

// -- The rewriting -------------------------------------------------------------------------------

const { factory: f } = ts;

class Transform {
  readonly refused: Refused[] = [];
  operations = 0;
  readonly #modules: Map<string, Module>;
  readonly #options: LoadOptions;
  /** Functions that became generators. */
  readonly #steps = new Set<ts.Node>();
  /** Those of them that surely do something that yields, rather than to touch what may be shared. */
  readonly #strong = new Set<ts.Node>();
  /** Names of methods of which at least one became a generator. */
  readonly #names = new Set<string>(VIEW_METHODS);
  #module!: Module;
  #temps: string[] = [];
  #tempCount = 0;

  constructor(modules: Map<string, Module>, options: LoadOptions) {
    this.#modules = modules;
    this.#options = options;
  }

  run(): void {
    this.#findSteps();
    for (const module of this.#modules.values()) this.#compile(module);
  }

  // -- Which functions yield --

  #findSteps(): void {
    for (const module of this.#modules.values()) {
      // Whatever function such a field holds.
      const look = (node: ts.Node): void => {
        if (
          (ts.isPropertyDeclaration(node) || ts.isPropertySignature(node)) &&
          node.type !== undefined && ts.isFunctionTypeNode(node.type)
        ) this.#names.add((node.name as ts.Identifier).text);
        ts.forEachChild(node, look);
      };
      look(module.source);
    }
    this.#spread(this.#strong, true);
    this.#spread(this.#steps, false);
  }

  #spread(set: Set<ts.Node>, strongly: boolean): void {
    for (let changed = true; changed;) {
      changed = false;
      for (const module of this.#modules.values()) {
        this.#module = module;
        const look = (node: ts.Node): void => {
          ts.forEachChild(node, look);
          if (!isFunctionNode(node) || set.has(node) || node.body === undefined) return;
          if (!this.#reaches(node, strongly)) return;
          // One that cannot yield is refused later, so its callers need not.
          if (!canYield(node)) return;
          set.add(node);
          const name = nameOfMethod(node);
          if (!strongly && name !== undefined) this.#names.add(name);
          changed = true;
        };
        look(module.source);
      }
    }
  }

  /** Whether the function itself, without those inside it, does something that yields. */
  #reaches(node: FunctionNode, strongly: boolean): boolean {
    let found = false;
    const look = (child: ts.Node): void => {
      if (found || isFunctionNode(child) || ts.isTypeNode(child)) return;
      if (this.#isOperation(child, node, strongly)) found = true;
      else ts.forEachChild(child, look);
    };
    for (const parameter of node.parameters) {
      if (parameter.initializer) look(parameter.initializer);
    }
    if (ts.isBlock(node.body!)) ts.forEachChild(node.body, look);
    else look(node.body!);
    return found;
  }

  #isOperation(node: ts.Node, within: FunctionNode, strongly: boolean): boolean {
    // A small callback of the host only looks at private data, and is guarded.
    const ofHost = isCallback(within) && !this.#goesToScope(within);
    if (ts.isElementAccessExpression(node)) return !strongly && !ofHost;
    if (!ts.isCallExpression(node)) return false;
    const kind = this.#kindOfCall(node);
    if (kind === "maybe" || kind === "view") return !strongly && !ofHost;
    if (kind === "steps") {
      const target = this.#targetOf(node)!;
      return this.#strong.has(target) || !strongly && !ofHost;
    }
    return kind !== "plain" && kind !== "calling";
  }

  /** The function that a call by name reaches. */
  #targetOf(node: ts.CallExpression): FunctionNode | undefined {
    const callee = bare(node.expression);
    if (!ts.isIdentifier(callee)) return undefined;
    const declared = declarationOf(callee);
    if (declared === "local") return undefined;
    return declared ?? this.#resolve(this.#module, callee.text);
  }

  #kindOfCall(node: ts.CallExpression):
    | "atomic"
    | "clock"
    | "yielding"
    | "calling"
    | "steps"
    | "view"
    | "maybe"
    | "plain" {
    const callee = bare(node.expression);
    if (ts.isIdentifier(callee)) {
      const name = callee.text;
      const declared = declarationOf(callee);
      if (declared === "local") return "maybe";
      if (declared !== undefined) {
        return this.#isSteps(declared) ? "steps" : "plain";
      }
      const intrinsic = this.#module.intrinsics.get(name);
      if (intrinsic !== undefined) {
        if (YIELDING.has(intrinsic)) return "yielding";
        return CALLING.has(intrinsic) ? "calling" : "plain";
      }
      const target = this.#resolve(this.#module, name);
      if (target === undefined) return "plain";
      return this.#isSteps(target) ? "steps" : "plain";
    }
    if (ts.isPropertyAccessExpression(callee)) {
      const name = callee.name.text;
      const object = bare(callee.expression);
      if (ts.isIdentifier(object) && declarationOf(object) === undefined) {
        if (object.text === "Atomics") {
          return KNOWN_ATOMICS.has(name) ? "atomic" : "plain";
        }
        if (object.text === "performance" && name === "now") return "clock";
        if (HOSTS.has(object.text) && !this.#module.imports.has(object.text)) {
          return "plain";
        }
      }
      if (VIEW_METHODS.has(name) && object.kind !== ts.SyntaxKind.SuperKeyword) return "view";
      return this.#names.has(name) ? "maybe" : "plain";
    }
    return ts.isElementAccessExpression(callee) ? "maybe" : "plain";
  }

  #isSteps(node: ts.Node): boolean {
    return this.#steps.has(node) || this.#strong.has(node);
  }

  /** The top-level function behind a name of the module. */
  #resolve(module: Module, name: string): FunctionNode | undefined {
    const own = module.functions.get(name);
    if (own !== undefined) return own;
    const from = module.imports.get(name);
    if (from === undefined) return undefined;
    return this.#resolveExport(this.#modules.get(from.module)!, from.name);
  }

  #resolveExport(module: Module, name: string): FunctionNode | undefined {
    for (const each of module.reexports) {
      if (each.name !== "*" && each.as !== name) continue;
      const source = each.module === "" ? undefined : this.#modules.get(each.module)!;
      const inner = each.name === "*" ? name : each.name;
      const found = source === undefined
        ? this.#resolve(module, inner)
        : this.#resolveExport(source, inner);
      if (found !== undefined) return found;
    }
    return this.#resolve(module, name);
  }

  // -- Output --

  #compile(module: Module): void {
    this.#module = module;
    const names: string[] = [];
    const functions: string[] = [];
    const state: string[] = [];
    const frozen: string[] = [];
    for (const statement of module.source.statements) {
      if (ts.isVariableStatement(statement)) {
        for (const each of statement.declarationList.declarations) {
          const isLet = (statement.declarationList.flags & ts.NodeFlags.Const) === 0;
          for (const name of namesIn(each.name)) {
            names.push(name);
            if (isLet || isMutable(each.initializer)) {
              state.push(name);
              module.mutable = true;
            } else if (isLiteralObject(each.initializer)) {
              frozen.push(name);
            }
            if (module.functions.has(name) || isSymbol(each.initializer)) functions.push(name);
          }
        }
      } else if (
        (ts.isFunctionDeclaration(statement) ||
          ts.isClassDeclaration(statement)) &&
        statement.name !== undefined
      ) {
        if (ts.isFunctionDeclaration(statement) && statement.body === undefined) continue;
        names.push(statement.name.text);
        functions.push(statement.name.text);
      }
    }
    const transformer: ts.TransformerFactory<ts.SourceFile> = (context) => (source) => {
      this.#temps = [];
      const visitor = this.#visitor(context, undefined);
      const statements: ts.Statement[] = [];
      for (const statement of source.statements) {
        if (ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)) continue;
        const result = ts.visitNode(statement, visitor) as ts.Statement;
        if (result !== undefined) statements.push(withoutExport(result));
      }
      const temps = this.#declareTemps();
      return f.updateSourceFile(source, [...temps, ...statements]);
    };
    const outputText = emit(module.source, transformer);
    const own = module.reexports.filter((each) => each.module === "");
    const rest = own.map((each) => `${JSON.stringify(each.as)}: ${each.name}`);
    module.reexports.splice(
      0,
      module.reexports.length,
      ...module.reexports.filter((each) => each.module !== ""),
    );
    const imported = [...module.imports.keys()];
    const intrinsics = [...module.intrinsics].map(([local, name]) =>
      name === "assert"
        ? `const ${local} = (condition, message = "assertion failed") => { if (!condition) throw new Error(message); };`
        : ""
    );
    const body = [
      `"use strict";`,
      imported.length === 0 ? "" : `const { ${imported.join(", ")} } = $imports;`,
      ...intrinsics,
      outputText.replace(/^export \{\};?$/gm, ""),
      `$.known(${JSON.stringify(module.file)}, { ${functions.join(", ")} });`,
      frozen.length === 0
        ? ""
        : `if ($shared) for (const each of [${frozen.join(", ")}]) $.freeze(each);`,
      `return { exports: { ${[...names, ...rest].join(", ")} }, state: () => [${
        state.join(", ")
      }] };`,
    ].join("\n");
    try {
      module.code = new Function(...PARAMETERS, body) as Module["code"];
    } catch (error) {
      throw new Error(`The transform of ${module.file} is not valid: ${body}`, {
        cause: error,
      });
    }
  }

  #declareTemps(): ts.Statement[] {
    if (this.#temps.length === 0) return [];
    const declarations = this.#temps.map((name) => f.createVariableDeclaration(name));
    this.#temps = [];
    return [
      f.createVariableStatement(
        undefined,
        f.createVariableDeclarationList(declarations, ts.NodeFlags.Let),
      ),
    ];
  }

  #temp(): ts.Identifier {
    const name = `$${++this.#tempCount}`;
    this.#temps.push(name);
    return f.createIdentifier(name);
  }

  #site(node: ts.Node): ts.Expression {
    const { line } = this.#module.source.getLineAndCharacterOfPosition(node.getStart());
    const text = node.getText().replace(/\s+/g, " ").slice(0, 100);
    const site: Site = { file: this.#module.file, line: line + 1, text };
    sites.push(site);
    return f.createNumericLiteral(sites.length - 1);
  }

  #refuse(node: ts.Node, reason: string): ts.Expression {
    const { line } = this.#module.source.getLineAndCharacterOfPosition(node.getStart());
    this.refused.push({ file: this.#module.file, line: line + 1, reason });
    return call("refuse", [f.createStringLiteral(`${this.#module.file}:${line + 1}: ${reason}`)]);
  }

  /** Rewrites what stands in `within`, the nearest function, or at the top level. */
  #visitor(context: ts.TransformationContext, within: FunctionNode | undefined): ts.Visitor {
    const yields = within !== undefined && this.#steps.has(within);
    const visitor: ts.Visitor = (node) => {
      if (
        ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) ||
        ts.isTypeAliasDeclaration(node)
      ) {
        return node;
      }
      if (isFunctionNode(node)) return this.#function(context, node, within);
      if (ts.isPrivateIdentifier(node)) {
        return f.createIdentifier(`$p_${node.text.slice(1)}`);
      }
      if (ts.isVariableDeclaration(node) && within === undefined) {
        const replaced = this.#constant(node);
        if (replaced !== undefined) return replaced;
      }
      if (ts.isCallExpression(node)) {
        return this.#call(node, visitor, within, yields);
      }
      if (ts.isNewExpression(node) && ts.isIdentifier(node.expression)) {
        const name = node.expression.text;
        if (VIEWS.has(name)) {
          const args = (node.arguments ?? []).map((each) =>
            ts.visitNode(each, visitor) as ts.Expression
          );
          return call("make", [f.createStringLiteral(name), f.createArrayLiteralExpression(args)]);
        }
      }
      if (ts.isIdentifier(node)) return this.#identifier(node);
      if (ts.isElementAccessExpression(node)) {
        return this.#element(node, visitor, yields);
      }
      if (ts.isBinaryExpression(node) && isAssignment(node.operatorToken.kind)) {
        const left = bare(node.left);
        if (ts.isElementAccessExpression(left)) {
          return this.#assign(node, left, visitor, yields);
        }
      }
      if (
        (ts.isPrefixUnaryExpression(node) ||
          ts.isPostfixUnaryExpression(node)) &&
        (node.operator === ts.SyntaxKind.PlusPlusToken ||
          node.operator === ts.SyntaxKind.MinusMinusToken)
      ) {
        const target = bare(node.operand);
        if (ts.isElementAccessExpression(target)) {
          return this.#increment(node, target, visitor, yields);
        }
      }
      if (
        ts.isVariableStatement(node) &&
        (node.declarationList.flags & ts.NodeFlags.Using) === ts.NodeFlags.Using
      ) {
        return f.createExpressionStatement(this.#refuse(node, "the end of a `using` is no call"));
      }
      if (
        ts.isPropertyDeclaration(node) && node.initializer !== undefined &&
        ts.isArrowFunction(node.initializer)
      ) {
        const result = ts.visitEachChild(node, visitor, context);
        return f.updatePropertyDeclaration(
          result,
          result.modifiers,
          result.name,
          undefined,
          undefined,
          call("field", [result.initializer!]),
        );
      }
      if (ts.isIterationStatement(node, false) && yields) {
        return this.#loop(context, node, visitor);
      }
      if (ts.isTryStatement(node) && yields) {
        return this.#try(context, node, visitor);
      }
      return ts.visitEachChild(node, visitor, context);
    };
    return visitor;
  }

  #constant(node: ts.VariableDeclaration): ts.Node | undefined {
    if (!ts.isIdentifier(node.name)) return undefined;
    const value = this.#options.constants?.[this.#module.file]
      ?.[node.name.text];
    if (value === undefined) return undefined;
    const literal = typeof value === "boolean"
      ? value ? f.createTrue() : f.createFalse()
      : value < 0
      ? f.createPrefixMinus(f.createNumericLiteral(-value))
      : f.createNumericLiteral(value);
    return f.updateVariableDeclaration(node, node.name, undefined, undefined, literal);
  }

  #identifier(node: ts.Identifier): ts.Node {
    const { parent } = node;
    const isName = ts.isPropertyAccessExpression(parent) && parent.name === node ||
      ts.isPropertyAssignment(parent) && parent.name === node ||
      ts.isMethodDeclaration(parent) || ts.isPropertyDeclaration(parent);
    if (isName) return node;
    if (node.text === "SharedArrayBuffer") return access("SharedArrayBuffer");
    if (node.text === "Atomics" && declarationOf(node) === undefined) {
      // Every known use is a call and was taken above; `pause` is a hint that shares nothing.
      if (ts.isPropertyAccessExpression(parent) && parent.name.text === "pause") return node;
      return this.#refuse(node, "Atomics is used other than by a call of a known operation");
    }
    if (
      declarationOf(node) === undefined &&
      (/^(setTimeout|setInterval|queueMicrotask)$/.test(node.text) && ts.isCallExpression(parent) ||
        node.text === "Date" &&
          (ts.isPropertyAccessExpression(parent) && parent.name.text === "now" ||
            ts.isNewExpression(parent) && parent.arguments?.length === 0))
    ) return this.#refuse(node, `"${node.text}" makes runs differ`);
    if (this.#isFunctionValue(node)) {
      // A generator as a value is fine: whoever calls it looks at what comes back. The host would not.
      if (!this.#goesToScope(node)) {
        return this.#refuse(node, `"${node.text}" is handed to the host`);
      }
    }
    if (ts.isShorthandPropertyAssignment(parent)) return node;
    return node;
  }

  #isFunctionValue(node: ts.Identifier): boolean {
    const { parent } = node;
    if (!ts.isCallExpression(parent) || !parent.arguments.includes(node)) {
      return false;
    }
    if (declarationOf(node) === "local") return false;
    const target = this.#resolve(this.#module, node.text);
    return target !== undefined && this.#steps.has(target);
  }

  /** Whether an argument goes to a function that this transform has rewritten. */
  #goesToScope(argument: ts.Node): boolean {
    const { parent } = argument;
    if (ts.isNewExpression(parent)) {
      return ts.isIdentifier(parent.expression) &&
        (this.#module.classes.has(parent.expression.text) ||
          this.#module.imports.has(parent.expression.text));
    }
    if (!ts.isCallExpression(parent)) return true;
    const callee = bare(parent.expression);
    if (ts.isIdentifier(callee)) {
      return declarationOf(callee) !== undefined ||
        this.#module.intrinsics.has(callee.text) ||
        this.#module.imports.has(callee.text) ||
        this.#module.functions.has(callee.text);
    }
    if (!ts.isPropertyAccessExpression(callee)) return false;
    return callee.name.text === "then" || this.#names.has(callee.name.text);
  }

  #function(
    context: ts.TransformationContext,
    node: FunctionNode,
    outer: FunctionNode | undefined,
  ): ts.Node {
    const yields = this.#steps.has(node);
    const saved = this.#temps;
    this.#temps = [];
    const visitor = this.#visitor(context, node);
    const parameters = node.parameters.map((each) =>
      ts.visitNode(each, visitor) as ts.ParameterDeclaration
    );
    let body: ts.Block | undefined;
    if (node.body !== undefined) {
      if (ts.isBlock(node.body)) {
        body = ts.visitEachChild(node.body, visitor, context);
      } else {
        const value = ts.visitNode(node.body, visitor) as ts.Expression;
        body = f.createBlock([f.createReturnStatement(value)]);
      }
      body = f.updateBlock(body, [...this.#declareTemps(), ...body.statements]);
    }
    this.#temps = saved;
    const star = yields ? f.createToken(ts.SyntaxKind.AsteriskToken) : undefined;
    if (ts.isFunctionDeclaration(node)) {
      return f.updateFunctionDeclaration(
        node,
        node.modifiers,
        star ?? node.asteriskToken,
        node.name,
        undefined,
        parameters,
        undefined,
        body,
      );
    }
    if (ts.isMethodDeclaration(node)) {
      const name = ts.visitNode(node.name, visitor) as ts.PropertyName;
      return f.updateMethodDeclaration(
        node,
        node.modifiers?.filter((each) => !isTypeModifier(each)),
        star ?? node.asteriskToken,
        name,
        undefined,
        undefined,
        parameters,
        undefined,
        body,
      );
    }
    if (ts.isConstructorDeclaration(node)) {
      return f.updateConstructorDeclaration(node, undefined, parameters, body);
    }
    if (ts.isGetAccessorDeclaration(node)) {
      const name = ts.visitNode(node.name, visitor) as ts.PropertyName;
      return f.updateGetAccessorDeclaration(
        node,
        node.modifiers,
        name,
        parameters,
        undefined,
        body,
      );
    }
    if (ts.isSetAccessorDeclaration(node)) {
      const name = ts.visitNode(node.name, visitor) as ts.PropertyName;
      return f.updateSetAccessorDeclaration(node, node.modifiers, name, parameters, body);
    }
    if (!yields) {
      if (ts.isFunctionExpression(node)) {
        return f.updateFunctionExpression(
          node,
          node.modifiers,
          node.asteriskToken,
          node.name,
          undefined,
          parameters,
          undefined,
          body!,
        );
      }
      const arrow = f.updateArrowFunction(
        node,
        node.modifiers,
        undefined,
        parameters,
        undefined,
        node.equalsGreaterThanToken,
        body!,
      );
      return this.#closure(node, arrow);
    }
    if (!this.#goesToScope(node)) {
      return this.#refuse(node, "a function that touches shared memory is handed to the host");
    }
    void outer;
    const generator = f.createFunctionExpression(
      undefined,
      star,
      undefined,
      undefined,
      parameters,
      undefined,
      body!,
    );
    if (!ts.isArrowFunction(node)) return generator;
    if (!usesThis(node)) return this.#closure(node, generator);
    const bound = f.createCallExpression(
      f.createPropertyAccessExpression(f.createParenthesizedExpression(generator), "bind"),
      undefined,
      [f.createThis()],
    );
    return this.#closure(node, bound);
  }

  /** An arrow function that code in scope keeps: reports tell it by its place and what it closes over. */
  #closure(node: ts.ArrowFunction, value: ts.Expression): ts.Expression {
    const isKept = isCallback(node)
      ? this.#goesToScope(node)
      : !ts.isPropertyDeclaration(node.parent) && !isConstant(node);
    if (!isKept) return value;
    const names = variablesAt(node);
    if (names === undefined) return value;
    return call("closure", [value, this.#locals(node, names, this.#site(node))]);
  }

  #call(
    node: ts.CallExpression,
    visitor: ts.Visitor,
    within: FunctionNode | undefined,
    yields: boolean,
  ): ts.Node {
    const kind = this.#kindOfCall(node);
    const args = (): ts.Expression[] =>
      node.arguments.map((each) => ts.visitNode(each, visitor) as ts.Expression);
    const callee = bare(node.expression);
    if (kind === "calling") {
      return call(
        this.#module.intrinsics.get((callee as ts.Identifier).text)!,
        [this.#site(node), ...args()],
      );
    }
    if (kind === "plain") {
      if (ts.isPropertyAccessExpression(callee) && ts.isIdentifier(bare(callee.expression))) {
        const object = bare(callee.expression) as ts.Identifier;
        if (object.text === "Math" && callee.name.text === "random") {
          return this.#refuse(node, "Math.random makes runs differ");
        }
        if (
          object.text === "Atomics" && declarationOf(object) === undefined &&
          callee.name.text !== "pause"
        ) {
          return this.#refuse(node, `the explorer does not know Atomics.${callee.name.text}`);
        }
      }
      const result = ts.visitEachChild(node, visitor, undefined);
      // Total: what yields after all must not go unnoticed.
      return ts.isPropertyAccessExpression(callee) && !isHost(callee.expression)
        ? call("whole", [result])
        : result;
    }
    if (!yields) {
      const target = kind === "steps" ? this.#targetOf(node)! : undefined;
      if (kind === "maybe" || target !== undefined && !this.#strong.has(target)) {
        return call("atOnce", [ts.visitEachChild(node, visitor, undefined) as ts.Expression]);
      }
      if (kind === "view") {
        const target = callee as ts.PropertyAccessExpression;
        const object = ts.visitNode(target.expression, visitor) as ts.Expression;
        const checked = args().map((each) =>
          ts.isSpreadElement(each) ? each : call("plain", [each])
        );
        return f.createCallExpression(
          f.createPropertyAccessExpression(call("plain", [object]), target.name as ts.Identifier),
          undefined,
          checked,
        );
      }
      const where = within === undefined ? "the top level of a module" : describe(within);
      return this.#refuse(
        node,
        `${node.expression.getText()}(...) touches shared memory in ${where}`,
      );
    }
    switch (kind) {
      case "atomic": {
        this.operations++;
        const name = (callee as ts.PropertyAccessExpression).name.text;
        const op = call("atomic", [this.#site(node), f.createStringLiteral(name), ...args()]);
        const result = f.createParenthesizedExpression(f.createYieldExpression(undefined, op));
        return name === "waitAsync" ? call("ticket", [result]) : result;
      }
      case "clock":
        return f.createParenthesizedExpression(
          f.createYieldExpression(undefined, call("clock", [this.#site(node)])),
        );
      case "yielding": {
        const name = this.#module.intrinsics.get((callee as ts.Identifier).text)!;
        const op = call(name, [this.#site(node), ...args()]);
        return f.createParenthesizedExpression(f.createYieldExpression(undefined, op));
      }
      case "steps": {
        const plain = ts.visitNode(node.expression, visitor) as ts.Expression;
        return this.#framed(node, delegate(f.createCallExpression(plain, undefined, args())));
      }
      case "view": {
        const target = callee as ts.PropertyAccessExpression;
        const object = ts.visitNode(target.expression, visitor) as ts.Expression;
        const method = call("method", [
          this.#site(node),
          object,
          f.createStringLiteral(target.name.text),
          f.createArrayLiteralExpression(args()),
        ]);
        return this.#framed(node, delegate(method));
      }
      default: {
        const plain = ts.visitEachChild(node, visitor, undefined);
        const temp = this.#temp();
        return this.#framed(
          node,
          f.createConditionalExpression(
            call("isSteps", [f.createAssignment(temp, plain)]),
            undefined,
            delegate(temp),
            undefined,
            temp,
          ),
        );
      }
    }
  }

  /** The call, with what the caller will still need told to reports that the callee makes. */
  #framed(node: ts.CallExpression, value: ts.Expression): ts.Expression {
    const names = isClean(node) ? variablesAt(node) : undefined;
    const frame = names === undefined
      ? f.createNull()
      : this.#locals(node, names, this.#site(node));
    return f.createParenthesizedExpression(
      f.createCommaListExpression([call("push", [frame]), call("pop", [value])]),
    );
  }

  /** `() => [site, ...all variables in scope]`. */
  #locals(node: ts.Node, variables: readonly string[], site: ts.Expression): ts.Expression {
    const names = variables.map((name) => f.createIdentifier(name) as ts.Expression);
    if (hasThis(node)) names.push(f.createThis());
    return f.createArrowFunction(
      undefined,
      undefined,
      [],
      undefined,
      f.createToken(ts.SyntaxKind.EqualsGreaterThanToken),
      f.createArrayLiteralExpression([site, ...names]),
    );
  }

  #loop(
    context: ts.TransformationContext,
    node: ts.IterationStatement,
    visitor: ts.Visitor,
  ): ts.Node {
    const result = ts.visitEachChild(node, visitor, context) as ts.IterationStatement;
    if (ts.isForOfStatement(node) || ts.isForInStatement(node) || isHidden(node)) return result;
    const names = variablesAt(node.statement);
    if (names === undefined) return result;
    const site = this.#site(node);
    const head = f.createExpressionStatement(
      f.createYieldExpression(
        undefined,
        call("head", [site, this.#locals(node.statement, names, f.createNumericLiteral(0))]),
      ),
    );
    const body = result.statement;
    const block = f.createBlock(ts.isBlock(body) ? [head, ...body.statements] : [head, body]);
    if (ts.isForStatement(result)) {
      return f.updateForStatement(
        result,
        result.initializer,
        result.condition,
        result.incrementor,
        block,
      );
    }
    if (ts.isWhileStatement(result)) {
      return f.updateWhileStatement(result, result.expression, block);
    }
    return f.updateDoStatement(
      result as ts.DoStatement,
      block,
      (result as ts.DoStatement).expression,
    );
  }

  #try(context: ts.TransformationContext, node: ts.TryStatement, visitor: ts.Visitor): ts.Node {
    const result = ts.visitEachChild(node, visitor, context);
    const depth = this.#temp();
    const unwind = f.createExpressionStatement(call("unwind", [depth]));
    const prefix = (block: ts.Block): ts.Block =>
      f.updateBlock(block, [unwind, ...block.statements]);
    const { catchClause, finallyBlock } = result;
    return f.createBlock([
      f.createExpressionStatement(f.createAssignment(depth, call("depth", []))),
      f.updateTryStatement(
        result,
        result.tryBlock,
        catchClause &&
          f.updateCatchClause(
            catchClause,
            catchClause.variableDeclaration,
            prefix(catchClause.block),
          ),
        finallyBlock && prefix(finallyBlock),
      ),
    ]);
  }

  // -- Plain accesses --

  #element(node: ts.ElementAccessExpression, visitor: ts.Visitor, yields: boolean): ts.Node {
    const object = ts.visitNode(node.expression, visitor) as ts.Expression;
    const index = ts.visitNode(node.argumentExpression, visitor) as ts.Expression;
    if (!yields) {
      return f.updateElementAccessExpression(node, call("plain", [object]), index);
    }
    const view = this.#temp();
    const key = this.#temp();
    return f.createParenthesizedExpression(f.createCommaListExpression([
      f.createAssignment(view, object),
      f.createAssignment(key, index),
      f.createConditionalExpression(
        call("isView", [view]),
        undefined,
        f.createYieldExpression(undefined, call("get", [this.#site(node), view, key])),
        undefined,
        node.questionDotToken !== undefined
          ? f.createElementAccessChain(view, node.questionDotToken, key)
          : f.createElementAccessExpression(view, key),
      ),
    ]));
  }

  #assign(
    node: ts.BinaryExpression,
    left: ts.ElementAccessExpression,
    visitor: ts.Visitor,
    yields: boolean,
  ): ts.Node {
    const object = ts.visitNode(left.expression, visitor) as ts.Expression;
    const index = ts.visitNode(left.argumentExpression, visitor) as ts.Expression;
    const right = ts.visitNode(node.right, visitor) as ts.Expression;
    if (!yields) {
      const guarded = f.createElementAccessExpression(call("plain", [object]), index);
      return f.createBinaryExpression(guarded, node.operatorToken, right);
    }
    const view = this.#temp();
    const key = this.#temp();
    const value = this.#temp();
    const site = this.#site(node);
    const operator = COMPOUND.get(node.operatorToken.kind);
    if (operator === undefined && node.operatorToken.kind !== ts.SyntaxKind.EqualsToken) {
      return this.#refuse(node, "a logical assignment to an element");
    }
    const read = f.createParenthesizedExpression(f.createConditionalExpression(
      call("isView", [view]),
      undefined,
      f.createYieldExpression(undefined, call("get", [site, view, key])),
      undefined,
      f.createElementAccessExpression(view, key),
    ));
    return f.createParenthesizedExpression(f.createCommaListExpression([
      f.createAssignment(view, object),
      f.createAssignment(key, index),
      f.createAssignment(
        value,
        operator === undefined ? right : f.createBinaryExpression(
          read,
          operator,
          f.createParenthesizedExpression(right),
        ),
      ),
      this.#write(site, view, key, value),
      value,
    ]));
  }

  #increment(
    node: ts.PrefixUnaryExpression | ts.PostfixUnaryExpression,
    target: ts.ElementAccessExpression,
    visitor: ts.Visitor,
    yields: boolean,
  ): ts.Node {
    const object = ts.visitNode(target.expression, visitor) as ts.Expression;
    const index = ts.visitNode(target.argumentExpression, visitor) as ts.Expression;
    const operator = node.operator === ts.SyntaxKind.PlusPlusToken
      ? ts.SyntaxKind.PlusToken
      : ts.SyntaxKind.MinusToken;
    if (!yields) {
      const guarded = f.createElementAccessExpression(call("plain", [object]), index);
      return ts.isPrefixUnaryExpression(node)
        ? f.createPrefixUnaryExpression(node.operator, guarded)
        : f.createPostfixUnaryExpression(guarded, node.operator);
    }
    const view = this.#temp();
    const key = this.#temp();
    const old = this.#temp();
    const now = this.#temp();
    const site = this.#site(node);
    const read = f.createConditionalExpression(
      call("isView", [view]),
      undefined,
      f.createYieldExpression(undefined, call("get", [site, view, key])),
      undefined,
      f.createElementAccessExpression(view, key),
    );
    return f.createParenthesizedExpression(f.createCommaListExpression([
      f.createAssignment(view, object),
      f.createAssignment(key, index),
      f.createAssignment(old, read),
      f.createAssignment(now, f.createBinaryExpression(old, operator, f.createNumericLiteral(1))),
      this.#write(site, view, key, now),
      ts.isPrefixUnaryExpression(node) ? now : old,
    ]));
  }

  #write(
    site: ts.Expression,
    view: ts.Expression,
    key: ts.Expression,
    value: ts.Expression,
  ): ts.Expression {
    return f.createConditionalExpression(
      call("isView", [view]),
      undefined,
      f.createYieldExpression(undefined, call("set", [site, view, key, value])),
      undefined,
      f.createAssignment(f.createElementAccessExpression(view, key), value),
    );
  }
}

/** JavaScript for the very tree that was analysed: nodes are known by identity. */
function emit(source: ts.SourceFile, transformer: ts.TransformerFactory<ts.SourceFile>): string {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ESNext,
    module: ts.ModuleKind.ESNext,
    verbatimModuleSyntax: true,
    useDefineForClassFields: true,
    removeComments: true,
    noLib: true,
    noResolve: true,
    allowImportingTsExtensions: true,
    noEmitOnError: false,
  };
  let output = "";
  const host: ts.CompilerHost = {
    getSourceFile: (name) => name === source.fileName ? source : undefined,
    writeFile: (_name, text) => void (output = text),
    getDefaultLibFileName: () => "lib.d.ts",
    useCaseSensitiveFileNames: () => true,
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => "",
    getNewLine: () => "\n",
    fileExists: (name) => name === source.fileName,
    readFile: () => "",
    directoryExists: () => true,
    getDirectories: () => [],
  };
  const program = ts.createProgram([source.fileName], options, host);
  program.emit(source, undefined, undefined, false, { before: [transformer] });
  if (output === "") {
    throw new Error(`The compiler gave nothing for ${source.fileName}`);
  }
  return output;
}

const COMPOUND: ReadonlyMap<ts.SyntaxKind, ts.BinaryOperator> = new Map([
  [ts.SyntaxKind.PlusEqualsToken, ts.SyntaxKind.PlusToken],
  [ts.SyntaxKind.MinusEqualsToken, ts.SyntaxKind.MinusToken],
  [ts.SyntaxKind.AsteriskEqualsToken, ts.SyntaxKind.AsteriskToken],
  [ts.SyntaxKind.BarEqualsToken, ts.SyntaxKind.BarToken],
  [ts.SyntaxKind.AmpersandEqualsToken, ts.SyntaxKind.AmpersandToken],
  [ts.SyntaxKind.CaretEqualsToken, ts.SyntaxKind.CaretToken],
  [ts.SyntaxKind.LessThanLessThanEqualsToken, ts.SyntaxKind.LessThanLessThanToken],
  [ts.SyntaxKind.GreaterThanGreaterThanEqualsToken, ts.SyntaxKind.GreaterThanGreaterThanToken],
  [
    ts.SyntaxKind.GreaterThanGreaterThanGreaterThanEqualsToken,
    ts.SyntaxKind.GreaterThanGreaterThanGreaterThanToken,
  ],
]);

function access(name: string): ts.Expression {
  return f.createPropertyAccessExpression(f.createIdentifier("$"), name);
}

function call(name: string, args: readonly ts.Expression[]): ts.Expression {
  return f.createCallExpression(access(name), undefined, args);
}

function delegate(value: ts.Expression): ts.Expression {
  return f.createYieldExpression(f.createToken(ts.SyntaxKind.AsteriskToken), value);
}

/** Without parentheses, `!`, `as` and `satisfies`. */
function bare(node: ts.Expression): ts.Expression {
  let inner = node;
  while (
    ts.isParenthesizedExpression(inner) || ts.isNonNullExpression(inner) ||
    ts.isAsExpression(inner) ||
    ts.isSatisfiesExpression(inner)
  ) inner = inner.expression;
  return inner;
}

function isFunctionNode(node: ts.Node): node is FunctionNode {
  return ts.isFunctionDeclaration(node) || ts.isFunctionExpression(node) ||
    ts.isArrowFunction(node) ||
    ts.isMethodDeclaration(node) || ts.isConstructorDeclaration(node) ||
    ts.isGetAccessorDeclaration(node) || ts.isSetAccessorDeclaration(node);
}

function canYield(node: FunctionNode): boolean {
  if (
    ts.isConstructorDeclaration(node) || ts.isGetAccessorDeclaration(node) ||
    ts.isSetAccessorDeclaration(node)
  ) return false;
  if (node.asteriskToken !== undefined) return false;
  return !node.modifiers?.some((each) => each.kind === ts.SyntaxKind.AsyncKeyword);
}

/** An arrow or function that is an argument of a call. */
function isCallback(node: FunctionNode): boolean {
  if (!ts.isArrowFunction(node) && !ts.isFunctionExpression(node)) return false;
  return ts.isCallExpression(node.parent) || ts.isNewExpression(node.parent);
}

function nameOfMethod(node: FunctionNode): string | undefined {
  if (ts.isMethodDeclaration(node)) return (node.name as ts.Identifier).text;
  if (!ts.isArrowFunction(node) && !ts.isFunctionExpression(node)) {
    return undefined;
  }
  const { parent } = node;
  if (ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent)) {
    return (parent.name as ts.Identifier).text;
  }
  return undefined;
}

function describe(node: FunctionNode): string {
  if (ts.isConstructorDeclaration(node)) return "a constructor";
  if (ts.isGetAccessorDeclaration(node) || ts.isSetAccessorDeclaration(node)) {
    return "an accessor";
  }
  return "an async function, a generator or a callback";
}

function isAssignment(kind: ts.SyntaxKind): boolean {
  return kind >= ts.SyntaxKind.FirstAssignment &&
    kind <= ts.SyntaxKind.LastAssignment;
}

function isTypeModifier(node: ts.ModifierLike): boolean {
  return node.kind !== ts.SyntaxKind.StaticKeyword &&
    node.kind !== ts.SyntaxKind.AsyncKeyword;
}

function withoutExport(node: ts.Statement): ts.Statement {
  if (!ts.canHaveModifiers(node)) return node;
  const modifiers = ts.getModifiers(node)?.filter((each) =>
    each.kind !== ts.SyntaxKind.ExportKeyword &&
    each.kind !== ts.SyntaxKind.DeclareKeyword
  );
  if (ts.isFunctionDeclaration(node)) {
    return f.updateFunctionDeclaration(
      node,
      modifiers,
      node.asteriskToken,
      node.name,
      undefined,
      node.parameters,
      undefined,
      node.body,
    );
  }
  if (ts.isClassDeclaration(node)) {
    return f.updateClassDeclaration(
      node,
      modifiers,
      node.name,
      undefined,
      node.heritageClauses,
      node.members,
    );
  }
  if (ts.isVariableStatement(node)) {
    return f.updateVariableStatement(node, modifiers, node.declarationList);
  }
  return node;
}

function namesIn(name: ts.BindingName): string[] {
  if (ts.isIdentifier(name)) return [name.text];
  return name.elements.flatMap((each) => ts.isOmittedExpression(each) ? [] : namesIn(each.name));
}

/** Where an identifier was declared inside of a function: the function it names, or something else. */
function declarationOf(node: ts.Identifier): FunctionNode | "local" | undefined {
  const name = node.text;
  let child: ts.Node = node;
  for (
    let parent = node.parent;
    parent !== undefined;
    child = parent, parent = parent.parent
  ) {
    if (ts.isSourceFile(parent)) return undefined;
    if (isFunctionNode(parent)) {
      for (const each of parent.parameters) {
        if (namesIn(each.name).includes(name)) return "local";
      }
    } else if (ts.isBlock(parent) || ts.isCaseClause(parent) || ts.isDefaultClause(parent)) {
      for (const statement of parent.statements) {
        if (ts.isFunctionDeclaration(statement) && statement.name?.text === name) return statement;
        if (!ts.isVariableStatement(statement)) continue;
        for (const each of statement.declarationList.declarations) {
          if (namesIn(each.name).includes(name)) return "local";
        }
      }
    } else if (
      ts.isForStatement(parent) || ts.isForOfStatement(parent) ||
      ts.isForInStatement(parent)
    ) {
      const { initializer } = parent;
      if (initializer !== undefined && ts.isVariableDeclarationList(initializer)) {
        for (const each of initializer.declarations) {
          if (namesIn(each.name).includes(name)) return "local";
        }
      }
    } else if (ts.isCatchClause(parent) && parent.variableDeclaration !== undefined) {
      if (namesIn(parent.variableDeclaration.name).includes(name)) {
        return "local";
      }
    }
    void child;
  }
  return undefined;
}

/**
 * The variables that exist when control is at the node, of all functions around it. `undefined` if one
 * hides another, which could then not be told.
 */
function variablesAt(node: ts.Node): string[] | undefined {
  const names: string[] = [];
  let child = node;
  for (
    let parent = node.parent;
    !ts.isSourceFile(parent);
    child = parent, parent = parent.parent
  ) {
    if (isFunctionNode(parent)) {
      for (const each of parent.parameters) names.push(...namesIn(each.name));
    } else if (ts.isBlock(parent) || ts.isCaseClause(parent) || ts.isDefaultClause(parent)) {
      for (const statement of parent.statements) {
        if (statement.pos >= child.pos) break;
        if (!ts.isVariableStatement(statement)) continue;
        for (const each of statement.declarationList.declarations) {
          names.push(...namesIn(each.name));
        }
      }
    } else if (ts.isCaseBlock(parent)) {
      // Declared in another case, and perhaps not alive: then there is no report.
      for (const clause of parent.clauses) {
        if (clause === child) break;
        for (const statement of clause.statements) {
          if (!ts.isVariableStatement(statement)) continue;
          for (const each of statement.declarationList.declarations) {
            names.push(...namesIn(each.name));
          }
        }
      }
    } else if (ts.isForStatement(parent) && child !== parent.initializer) {
      const { initializer } = parent;
      if (initializer !== undefined && ts.isVariableDeclarationList(initializer)) {
        for (const each of initializer.declarations) {
          names.push(...namesIn(each.name));
        }
      }
    } else if (ts.isCatchClause(parent) && parent.variableDeclaration !== undefined) {
      names.push(...namesIn(parent.variableDeclaration.name));
    }
  }
  return new Set(names).size === names.length ? names : undefined;
}

function hasThis(node: ts.Node): boolean {
  for (
    let parent = node.parent;
    !ts.isSourceFile(parent);
    parent = parent.parent
  ) {
    if (ts.isMethodDeclaration(parent) || ts.isConstructorDeclaration(parent)) return true;
    if (ts.isPropertyDeclaration(parent)) return true;
    if (ts.isFunctionDeclaration(parent) || ts.isFunctionExpression(parent)) {
      return false;
    }
  }
  return false;
}

function usesThis(node: ts.Node): boolean {
  let found = false;
  const look = (child: ts.Node): void => {
    if (child.kind === ts.SyntaxKind.ThisKeyword) found = true;
    else if (!found) ts.forEachChild(child, look);
  };
  look(node);
  return found;
}

/** Whether the engine holds state here that no variable shows: an iterator, a pending completion. */
function isHidden(node: ts.Node): boolean {
  let child = node;
  for (
    let parent = node.parent;
    !ts.isSourceFile(parent);
    child = parent, parent = parent.parent
  ) {
    if (
      (ts.isForOfStatement(parent) || ts.isForInStatement(parent)) &&
      child === parent.statement
    ) {
      return true;
    }
    if (ts.isTryStatement(parent) && child === parent.finallyBlock) return true;
    if (isFunctionNode(parent)) return false;
  }
  return false;
}

/**
 * Whether nothing that was computed before in the same statement is still needed after the call,
 * apart from variables.
 */
function isClean(node: ts.Node): boolean {
  if (isHidden(node)) return false;
  let child: ts.Node = node;
  for (let parent = node.parent;; child = parent, parent = parent.parent) {
    if (
      ts.isExpressionStatement(parent) || ts.isReturnStatement(parent) ||
      ts.isIfStatement(parent)
    ) return true;
    if (
      ts.isWhileStatement(parent) || ts.isDoStatement(parent) ||
      ts.isThrowStatement(parent)
    ) return true;
    if (ts.isForStatement(parent)) return child !== parent.initializer;
    if (ts.isArrowFunction(parent)) return true;
    if (ts.isSwitchStatement(parent)) return true;
    if (ts.isVariableDeclaration(parent)) {
      const list = parent.parent;
      if (!ts.isVariableDeclarationList(list) || !ts.isVariableStatement(list.parent)) return false;
      return list.declarations[0] === parent;
    }
    if (
      ts.isParenthesizedExpression(parent) || ts.isNonNullExpression(parent) ||
      ts.isAsExpression(parent) ||
      ts.isPrefixUnaryExpression(parent) || ts.isConditionalExpression(parent)
    ) continue;
    if (ts.isBinaryExpression(parent)) {
      const { kind } = parent.operatorToken;
      if (child === parent.left && !isAssignment(kind)) continue;
      if (
        kind === ts.SyntaxKind.AmpersandAmpersandToken ||
        kind === ts.SyntaxKind.BarBarToken ||
        kind === ts.SyntaxKind.QuestionQuestionToken ||
        kind === ts.SyntaxKind.CommaToken
      ) continue;
      if (isSettled(parent.left) || isSettledTarget(parent)) continue;
      return false;
    }
    if (ts.isCallExpression(parent)) {
      if (!ts.isIdentifier(bare(parent.expression)) && !isAtomicsCall(parent)) {
        return false;
      }
      if (
        parent.arguments.slice(0, parent.arguments.indexOf(child as ts.Expression)).every(isSettled)
      ) continue;
      return false;
    }
    return false;
  }
}

function isHost(node: ts.Expression): boolean {
  const object = bare(node);
  return object.kind === ts.SyntaxKind.SuperKeyword ||
    ts.isIdentifier(object) && (HOSTS.has(object.text) || object.text === "Atomics");
}

function isAtomicsCall(node: ts.CallExpression): boolean {
  const callee = node.expression;
  return ts.isPropertyAccessExpression(callee) &&
    ts.isIdentifier(callee.expression) &&
    callee.expression.text === "Atomics";
}

/** Whether it assigns to a property of what a variable holds. */
function isSettledTarget(node: ts.BinaryExpression): boolean {
  if (node.operatorToken.kind !== ts.SyntaxKind.EqualsToken) return false;
  const left = bare(node.left);
  if (!ts.isPropertyAccessExpression(left)) return false;
  const object = bare(left.expression);
  return ts.isIdentifier(object) || object.kind === ts.SyntaxKind.ThisKeyword;
}

/** A variable or a literal: read early or late, it is the same, as nothing closes over variables. */
function isSettled(node: ts.Expression): boolean {
  const inner = bare(node);
  if (ts.isNumericLiteral(inner) || ts.isStringLiteral(inner)) return true;
  if (!ts.isIdentifier(inner)) return false;
  if (declarationOf(inner) !== undefined) return true;
  // A variable of the module may be changed by the call.
  return !inner.getSourceFile().statements.some((each) =>
    ts.isVariableStatement(each) && (each.declarationList.flags & ts.NodeFlags.Const) === 0 &&
    each.declarationList.declarations.some((one) => namesIn(one.name).includes(inner.text))
  );
}

function isMutable(node: ts.Expression | undefined): boolean {
  if (node === undefined) return false;
  const inner = bare(node);
  // What a class or a function of the module makes may change: it is reported with the rest.
  if (ts.isNewExpression(inner)) return true;
  if (ts.isCallExpression(inner)) return !isSymbol(inner);
  if (ts.isArrayLiteralExpression(inner)) return inner.elements.length === 0;
  if (ts.isObjectLiteralExpression(inner)) return true;
  return false;
}

/** Whether it is what a constant of the module holds. */
function isConstant(node: ts.Node): boolean {
  const { parent } = node;
  return ts.isVariableDeclaration(parent) && ts.isVariableStatement(parent.parent.parent) &&
    ts.isSourceFile(parent.parent.parent.parent);
}

function isSymbol(node: ts.Expression | undefined): boolean {
  if (node === undefined) return false;
  const inner = bare(node);
  return ts.isCallExpression(inner) && ts.isIdentifier(inner.expression) &&
    inner.expression.text === "Symbol";
}

function isLiteralObject(node: ts.Expression | undefined): boolean {
  if (node === undefined) return false;
  const inner = bare(node);
  return ts.isArrayLiteralExpression(inner) ||
    ts.isObjectLiteralExpression(inner);
}
