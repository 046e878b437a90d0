// `annals copy`: moves a store from a folder into a database, or back, or between two of a kind,
// with every position, version, time, id and side value. An attempt that was cut off is continued.
// In its new place the store has a new epoch: what the old place may record beyond is not part of
// it.

import type { CopiedStore } from "../copy.ts";
import { Database, hostOf, urlsOf } from "../postgres/sessions/database.ts";
import { DatabaseRefused } from "../postgres/sessions/database-refused.ts";
import { assertFit, refusal } from "../postgres/tables/schema.ts";
import type { DbSession } from "../postgres/sessions/session.ts";
import { databaseSource } from "./database-source.ts";
import { databaseTarget } from "./database-target.ts";
import type { MoveContext, Moved, SourceEnd, TargetEnd } from "./ends.ts";
import { folderSource, folderTarget } from "./folder-ends.ts";

/** A folder, or a schema of a database. */
export type StorePlace =
  | { readonly folder: string }
  | { readonly url: string; readonly schema: string };

export interface MoveOutcome extends Moved {
  /** False: everything was copied, but servers may still write to the source. */
  readonly isFinished: boolean;
}

/** Throws what refuses either place, and CopyRefused. */
export async function moveStore(
  from: StorePlace,
  to: StorePlace,
  context: MoveContext,
): Promise<MoveOutcome | { readonly isFinished: false; readonly head: number }> {
  const source = await sourceAt(from);
  try {
    const target = await targetAt(to, source.store, context);
    try {
      const head = await copyAll(source, target, context);
      if (await source.isInUse()) return { isFinished: false, head };
      return { isFinished: true, ...(await target.finish()) };
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function copyAll(
  source: SourceEnd,
  target: TargetEnd,
  { progress, signal }: MoveContext,
): Promise<number> {
  const start = await target.start();
  let { head } = source.store;
  for await (const part of source.open(start, signal)) {
    signal.throwIfAborted();
    await target.receive(part);
    if (part.kind === "commits") ({ head } = part.commits);
    if (part.kind === "state") progress("copied", part.state.position, head);
  }
  return head;
}

async function sourceAt(place: StorePlace): Promise<SourceEnd> {
  if ("folder" in place) return folderSource(place.folder);
  const { url, schema } = place;
  return inSession(url, schema, (session) => databaseSource(session, schema));
}

async function targetAt(
  place: StorePlace,
  store: CopiedStore,
  context: MoveContext,
): Promise<TargetEnd> {
  if ("folder" in place) return folderTarget(place.folder, store, context);
  const { url, schema } = place;
  return inSession(url, schema, (session) =>
    databaseTarget({ url, schema, session }, store, context),
  );
}

/** Opens a session at the primary, which `use` keeps. Throws DatabaseRefused. */
async function inSession<T>(
  url: string,
  schema: string,
  use: (session: DbSession) => Promise<T>,
): Promise<T> {
  const urls = urlsOf(url);
  const database = new Database({ urls, schema, readersMax: 1, lost: () => {} });
  let session: DbSession | undefined;
  try {
    ({ session } = await database.find((found) => assertFit(found, false)));
    return await use(session);
  } catch (error) {
    session?.end();
    const where = urls.map(hostOf).join(", ");
    const { message } = refusal(error, schema) as Error;
    throw new DatabaseRefused(`the database in ${where}: ${message}`, { cause: error });
  }
}
