// Copyright 2026 the Sabre authors. MIT license.

// Every table, in the order in which they are measured and shown.

import type { Table } from "../_harness.ts";
import { tables as bytes } from "./bytes.ts";
import { tables as growth } from "./growth.ts";
import { tables as integers } from "./integers.ts";
import { tables as locks } from "./locks.ts";
import { tables as operations } from "./operations.ts";
import { tables as pools } from "./pools.ts";
import { tables as queues } from "./queues.ts";
import { tables as resources } from "./resources.ts";
import { tables as shared } from "./shared.ts";
import { tables as starts } from "./starts.ts";
import { tables as trips } from "./trips.ts";
import { tables as values } from "./values.ts";

/** All tables. */
export const TABLES: readonly Table[] = [
  ...integers,
  ...values,
  ...bytes,
  ...queues,
  ...trips,
  ...locks,
  ...shared,
  ...pools,
  ...operations,
  ...starts,
  ...resources,
  ...growth,
];
