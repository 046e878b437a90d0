// `annals promote postgres://...`: begins a new epoch of a store in a database. After a restore of
// the database, positions behind its head may be given to other events than before: a client that
// has read further is then refused, and does not skip any.

import { currentEpoch } from "../../domain/epoch.ts";
import { Database, hostOf, urlsOf } from "./sessions/database.ts";
import { DatabaseRefused } from "./sessions/database-refused.ts";
import { beginCommit, lockStore } from "./head/lock.ts";
import { assertFit, knownStore, refusal } from "./tables/schema.ts";
import type { DbSession } from "./sessions/session.ts";

const addEpoch = {
  name: "add-epoch",
  text: "UPDATE store SET history = history || jsonb_build_array($1::jsonb)",
};

export interface PromotedDatabase {
  readonly storeId: string;
  /** The epoch that begins behind `head`. */
  readonly epoch: string;
  readonly head: number;
  readonly isExact: true;
}

/** Throws DatabaseRefused. No server may serve the store meanwhile. */
export async function promoteDatabase(url: string, schema: string): Promise<PromotedDatabase> {
  const urls = urlsOf(url);
  const database = new Database({ urls, schema, readersMax: 1, lost: () => {} });
  let session: DbSession | undefined;
  try {
    ({ session } = await database.find((found) => assertFit(found, false)));
    return await begin(session, schema);
  } catch (error) {
    const where = urls.map(hostOf).join(", ");
    const { message } = refusal(error, schema) as Error;
    throw new DatabaseRefused(`the database in ${where}: ${message}`, { cause: error });
  } finally {
    session?.end();
    database.leave("it was only looked for");
  }
}

async function begin(session: DbSession, schema: string): Promise<PromotedDatabase> {
  if (!(await lockStore(session, schema, true))) {
    throw new DatabaseRefused("servers use the store: stop them first");
  }
  const { storeId, isCopy } = await knownStore(session);
  if (isCopy) throw new DatabaseRefused("a copy into it has not finished: run annals copy again");
  const { position: head } = await beginCommit(session);
  const id = Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString("hex");
  const epoch = { id, after: head, beganAt: Date.now() * 1_000, cause: "restore" } as const;
  await session.rows(addEpoch, [JSON.stringify(epoch)]);
  await session.commit();
  return { storeId, epoch: currentEpoch([epoch]), head, isExact: true };
}
