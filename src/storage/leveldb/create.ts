// Creates a store in an empty folder, in steps of which each is durable before the next: identity,
// database, high-water mark, and the statement in the identity that the store was created. After a
// crash in between, creation starts over.

import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { firstHash, formatVersion } from "./format/chunk.ts";
import { syncFolder } from "./folder/durable-file.ts";
import { logEndOf } from "./state/open-store.ts";
import { writeIdentity, writeOwner, type Identity } from "./folder/identity.ts";
import type { Kv } from "./kv/kv.ts";
import { openLevelKv } from "./kv/level-kv.ts";
import { createHighWaterMark } from "./folder/high-water-mark.ts";
import { StoreRefused } from "./folder/store-refused.ts";

export function databaseOf(folder: string): string {
  return join(folder, "log");
}

export function highWaterMarkPath(folder: string): string {
  return join(folder, "MARK");
}

/** Writes a new store's identity. It is durable before anything else exists. */
export async function beginStore(folder: string, createdAt: number): Promise<Identity> {
  const storeId = crypto.randomUUID();
  const identity = { storeId, createdAt, formatVersion, created: false };
  await writeIdentity(folder, identity);
  return identity;
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
