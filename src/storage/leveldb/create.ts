// Creates a store in an empty folder, in steps of which each is durable before the next: identity,
// database, high-water mark, and the statement in the identity that the store was created. After a
// crash in between, creation starts over.

import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { currentEpoch, type History } from "../../domain/epoch.ts";
import { firstHash, formatVersion } from "./format/chunk.ts";
import { syncFolder } from "./folder/durable-file.ts";
import { logEndOf } from "./state/open-store.ts";
import {
  historyOf,
  readIdentity,
  withNewEpoch,
  writeIdentity,
  writeOwner,
  type Identity,
} from "./folder/identity.ts";
import type { Kv } from "./kv/kv.ts";
import { openLevelKv } from "./kv/level-kv.ts";
import { createHighWaterMark } from "./folder/high-water-mark.ts";
import { StoreRefused, StoreTooNew } from "./folder/store-refused.ts";

export function databaseOf(folder: string): string {
  return join(folder, "log");
}

export function highWaterMarkPath(folder: string): string {
  return join(folder, "MARK");
}

/** Writes a new store's identity. It is durable before anything else exists. */
async function beginStore(folder: string, createdAt: number): Promise<Identity> {
  const storeId = crypto.randomUUID();
  const identity = { storeId, createdAt, formatVersion, created: false };
  await writeIdentity(folder, identity);
  return identity;
}

/** Writes the identity of a folder that will have a copy of a store. */
async function beginCopy(folder: string, store: CopiedIdentity): Promise<Identity> {
  const { storeId, createdAt, formatVersion: version, history } = store;
  if (version > formatVersion) throw new StoreTooNew(folder, version, formatVersion);
  const [, ...epochs] = history;
  const identity = { storeId, createdAt, formatVersion, created: false, epochs };
  const copy = { ...identity, isCopy: true as const };
  await writeIdentity(folder, copy);
  return copy;
}

export interface CopiedIdentity {
  readonly storeId: string;
  /** Microseconds since 1970, UTC. */
  readonly createdAt: number;
  readonly formatVersion: number;
  readonly history: History;
}

/**
 * The identity of the store in a folder, or a new one. `copied`: the folder is to have a copy of
 * that store. Throws StoreRefused where it is not what it is to be.
 */
export async function requireIdentity(
  folder: string,
  createdAt: number,
  copied: (() => Promise<CopiedIdentity>) | undefined,
): Promise<Identity> {
  const identity = await readIdentity(folder);
  if (identity === undefined) {
    return copied === undefined ? beginStore(folder, createdAt) : beginCopy(folder, await copied());
  }
  if (copied === undefined && identity.isCopy) {
    throw new StoreRefused(folder, [
      "it is a follower's copy: start it with --follow, or run annals promote",
    ]);
  }
  if (copied !== undefined && !identity.isCopy) {
    throw new StoreRefused(folder, [
      `it holds store ${identity.storeId} itself and no copy: it may have been promoted; start ` +
        "it without --follow, or give --follow an empty folder",
    ]);
  }
  return identity;
}

/**
 * Makes the store one of this program's format version, before anything is written that earlier
 * programs do not know: they refuse it from then on. Not yet, if its database is open for reading
 * only. Closes the database if that fails.
 */
export async function raiseFormat(folder: string, identity: Identity, kv: Kv): Promise<Identity> {
  if (identity.formatVersion === formatVersion || kv.neededBytes !== undefined) return identity;
  try {
    const raised = { ...((await readIdentity(folder)) ?? identity), formatVersion };
    await writeIdentity(folder, raised);
    return raised;
  } catch (error) {
    await kv.close();
    throw error;
  }
}

/** Takes over the epochs that a copied store has begun. */
export async function adoptEpochs(folder: string, history: History): Promise<void> {
  const identity = await readIdentity(folder);
  const [, ...epochs] = history;
  if (identity?.isCopy) await writeIdentity(folder, { ...identity, epochs });
}

/** Makes a copy a store of its own. Returns the store's id and its new epoch. */
export async function promoteCopy(folder: string, after: number): Promise<[string, string]> {
  const identity = await readIdentity(folder);
  if (!identity?.isCopy) throw new StoreRefused(folder, ["it is no follower's copy"]);
  const begun = { after, beganAt: Date.now() * 1_000, cause: "promotion" } as const;
  const promoted = withNewEpoch(identity, begun);
  await writeIdentity(folder, promoted);
  return [identity.storeId, currentEpoch(historyOf(promoted))];
}

/** Creates the database. Until the identity says `created`, nothing was ever acknowledged. */
export async function createDatabase(folder: string, identity: Identity): Promise<Identity> {
  const kv = await openAnew(databaseOf(folder));
  try {
    const { head } = await logEndOf(kv);
    if (head.position > 0) {
      throw new StoreRefused(folder, [
        `IDENTITY says that store ${identity.storeId} was never created, but it holds events`,
      ]);
    }
  } finally {
    await kv.close();
  }
  await writeOwner(databaseOf(folder), identity.storeId);
  createHighWaterMark(highWaterMarkPath(folder), { position: 0, sequence: 0, hash: firstHash });
  await syncFolder(folder);
  const created = { ...identity, created: true };
  await writeIdentity(folder, created);
  return created;
}

/**
 * Opens an empty database. If a crash during creation left one that does not open and has no data,
 * it is deleted first.
 */
async function openAnew(database: string): Promise<Kv> {
  try {
    return await openLevelKv(database, true);
  } catch (error) {
    for (const name of await readdir(database)) {
      const { size } = await stat(join(database, name));
      if (/\.(ldb|sst)$/.test(name) || (name.endsWith(".log") && size > 0)) throw error;
    }
    await rm(database, { recursive: true });
    return openLevelKv(database, true);
  }
}
