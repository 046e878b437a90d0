// The lock of the head: the session that has it is the only one that commits. And the lock of the
// store as a whole, which servers share while they serve it, and which a copy has alone.

import { headColumns, headIn, type LogHead } from "./log-head.ts";
import type { DbSession } from "../sessions/session.ts";

const lockHead = { name: "lock-head", text: `SELECT ${headColumns} FROM head h FOR UPDATE` };

const serve = {
  name: "lock-to-serve",
  text: "SELECT pg_try_advisory_lock_shared(hashtextextended('annals store ' || $1, 0))",
};
const own = {
  name: "lock-to-own",
  text: "SELECT pg_try_advisory_lock(hashtextextended('annals store ' || $1, 0))",
};

/** Whether a session has the store of a schema from now on: with others that serve it, or alone. */
export async function lockStore(
  session: DbSession,
  schema: string,
  isAlone: boolean,
): Promise<boolean> {
  const [row] = await session.rows<[boolean]>(isAlone ? own : serve, [schema]);
  return row?.[0] === true;
}

/** Begins a transaction and takes the lock of the head. */
export async function beginCommit(session: DbSession): Promise<LogHead> {
  const [, rows] = await Promise.all([session.run("BEGIN"), session.rows(lockHead)]);
  const [row] = rows;
  if (row === undefined) throw new Error("the head of the log is missing");
  return headIn(row);
}
