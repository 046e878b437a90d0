// What is read of a store before anything is done with it.

import { headColumnCount, headColumns, headIn, type LogHead } from "./log-head.ts";
import type { KnownStore } from "../tables/schema.ts";
import type { DbSession } from "../sessions/session.ts";

export const headAndTime = {
  name: "head-and-time",
  text: `SELECT ${headColumns}, t.time FROM head h CROSS JOIN store_time t`,
};

export interface Begun {
  readonly store: KnownStore;
  readonly head: LogHead;
  /** By which ages were measured last. */
  readonly time: number;
}

export async function beginning(session: DbSession, store: KnownStore): Promise<Begun> {
  const [row = []] = await session.rows(headAndTime);
  return { store, head: headIn(row), time: row[headColumnCount] as number };
}
