// Copyright 2026 the Sabre authors. MIT license.

// Deaths at chosen moments, for tests of what others make of what is left behind.

const OPERATIONS = [
  "add",
  "and",
  "compareExchange",
  "exchange",
  "load",
  "notify",
  "or",
  "store",
  "sub",
] as const;

/** Makes a view whose plain accesses count as well. */
export type Spy = (words: Int32Array<SharedArrayBuffer>) => Int32Array<SharedArrayBuffer>;

/**
 * Does what an agent does until it dies: at its operation on shared memory of that number, counted
 * from 1, which throws instead, as do all after it. Returns whether it died; `false`: it was through.
 */
export function diesAt(moment: number, run: (spy: Spy) => unknown): boolean {
  const atomics = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const real = OPERATIONS.map((name) => atomics[name]!);
  const views = new WeakMap<object, Int32Array>();
  const death = new Error("this agent died");
  let count = 0;
  const live = () => {
    if (++count >= moment) throw death;
  };
  OPERATIONS.forEach((name, i) => {
    atomics[name] = (words, ...args) => {
      live();
      return real[i]!(views.get(words as object) ?? words, ...args);
    };
  });
  const spy: Spy = (words) => {
    const view = new Proxy(words, {
      get: (target, key) => {
        if (isIndex(key)) live();
        return Reflect.get(target, key, target);
      },
      set: (target, key, value) => {
        live();
        return Reflect.set(target, key, value, target);
      },
    });
    views.set(view, words);
    return view;
  };
  try {
    run(spy);
    return false;
  } catch (error) {
    if (error !== death) throw error;
    return true;
  } finally {
    OPERATIONS.forEach((name, i) => atomics[name] = real[i]!);
  }
}

function isIndex(key: string | symbol): boolean {
  return typeof key === "string" && /^\d+$/.test(key);
}
