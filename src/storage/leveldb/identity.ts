// Who a store is: a file written once, before its database exists. Without it nothing is opened and
// nothing is created: a database whose CURRENT went missing would otherwise be started anew, and
// its tables deleted.
//
//   <folder>/IDENTITY   JSON { magic, formatVersion, storeId, createdAt, created }, durable
//   <folder>/MARK       mark.ts
//   <folder>/log/       the LevelDB database
//   <folder>/guard.sock folder-lock.ts

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatVersion } from "./chunk.ts";
import { writeDurably } from "./durable-file.ts";
import { StoreRefused } from "./store-refused.ts";

const magic = "annals store";

export interface Identity {
  readonly storeId: string;
  /** Microseconds since 1970, UTC. */
  readonly createdAt: number;
  readonly formatVersion: number;
  /** False: the store was being created when it was last seen; nothing was ever acknowledged. */
  readonly created: boolean;
}

/** The identity of the store in a folder, or undefined where the folder is empty. */
export async function readIdentity(folder: string): Promise<Identity | undefined> {
  const path = join(folder, "IDENTITY");
  const contents = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (contents === undefined) {
    const others = (await readdir(folder)).filter((name) => !isOurs(name));
    if (others.length === 0) return undefined;
    const some = others.slice(0, 3).join(", ");
    throw new StoreRefused(folder, [
      `it holds ${some} but no IDENTITY: it is not a store, or it lost its identity`,
    ]);
  }
  const identity = parseIdentity(contents);
  if (!identity) throw new StoreRefused(folder, ["IDENTITY is bent"]);
  if (identity.formatVersion > formatVersion) {
    throw new StoreRefused(folder, [
      `it has format version ${identity.formatVersion}; this server knows up to ${formatVersion}`,
    ]);
  }
  return identity;
}

export async function writeIdentity(folder: string, identity: Identity): Promise<void> {
  await writeDurably(join(folder, "IDENTITY"), `${JSON.stringify({ magic, ...identity })}\n`);
}

/** What may stand in the folder of a store that was never created. */
function isOurs(name: string): boolean {
  return name === "guard.sock" || name === "IDENTITY.new" || name === "lost+found";
}

function parseIdentity(contents: string): Identity | undefined {
  try {
    const { storeId, createdAt, formatVersion: version, created, ...rest } = JSON.parse(contents);
    const sound =
      rest.magic === magic &&
      typeof storeId === "string" &&
      /^[0-9a-f-]{36}$/.test(storeId) &&
      Number.isSafeInteger(createdAt) &&
      Number.isSafeInteger(version) &&
      typeof created === "boolean";
    return sound ? { storeId, createdAt, formatVersion: version, created } : undefined;
  } catch {
    return undefined;
  }
}
