// Copyright 2026 the Sabre authors. MIT license.

// How a value says that it crosses to other agents in a way of its own, or never does.

/** On the prototype of every primitive: its kind, or `"none"` for what can never be passed. */
export const PRIMITIVE: unique symbol = Symbol("sabre.primitive");
