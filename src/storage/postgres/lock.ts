// The lock of the head: the session that has it is the only one that commits.

import { headColumns, headIn, type LogHead } from "./log-head.ts";
import type { DbSession } from "./session.ts";

const lockHead = { name: "lock-head", text: `SELECT ${headColumns} FROM head h FOR UPDATE` };

/** Begins a transaction and takes the lock of the head. */
export async function beginCommit(session: DbSession): Promise<LogHead> {
  const [, rows] = await Promise.all([session.run("BEGIN"), session.rows(lockHead)]);
  const [row] = rows;
  if (row === undefined) throw new Error("the head of the log is missing");
  return headIn(row);
}
