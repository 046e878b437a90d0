// The identity of a store: a file written before the store's database exists, and again where a new
// epoch begins. Without it nothing is opened or created. Otherwise, LevelDB would create an empty
// database where CURRENT is missing, and delete the existing tables.
//
//   <folder>/IDENTITY   JSON { magic, formatVersion, storeId, createdAt, created, epochs, crc32 },
//                       durable; one line exactly as written here: any other byte counts as
//                       damage. `epochs` is left out in the store's first epoch. The copy of a
//                       follower has `isCopy` before `crc32`
//   <folder>/MARK       high-water-mark.ts
//   <folder>/log/       the LevelDB database
//   <folder>/log/STORE  the id of the store that the database belongs to, one line
//   <folder>/guard-*    folder-lock.ts
//   <folder>/ACCEPTED-LOSSES   accepted-losses.ts, only if a loss was accepted
//   <folder>/DAMAGED-TABLES    suspects.ts, only if a table was found damaged
//   <folder>/SECRET     store-secret.ts
//   <folder>/TERMS      state/kept-terms.ts, while the store is closed
//   <folder>/UNFINISHED-RESTORE   restore.ts, until a restore is finished

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { firstEpoch, isEpochId, type Epoch, type History } from "../../../domain/epoch.ts";
import { formatVersion } from "../format/chunk.ts";
import { writeDurably } from "./durable-file.ts";
import { isLockName } from "./folder-lock.ts";
import { StoreRefused, StoreTooNew } from "./store-refused.ts";

const magic = "annals store";
const ownerName = "STORE";
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export const unfinishedRestore = "UNFINISHED-RESTORE";

export interface Identity {
  readonly storeId: string;
  /** Microseconds since 1970, UTC. */
  readonly createdAt: number;
  readonly formatVersion: number;
  /** False: the creation of the store did not finish. Nothing was ever acknowledged. */
  readonly created: boolean;
  /** The epochs that began after the first one, the oldest first. Absent: none did. */
  readonly epochs?: readonly Epoch[];
  /** The folder has a copy of the store: it follows another server. Absent: it has the store. */
  readonly isCopy?: true;
}

/** Epochs that are remembered, beside the first. Positions of forgotten ones are refused. */
const epochsMax = 1_000;

export function historyOf({ storeId, createdAt, epochs = [] }: Identity): History {
  return [firstEpoch(storeId, createdAt), ...epochs];
}

/** The identity with a new epoch, which has its own random id. */
export function withNewEpoch(identity: Identity, begun: Omit<Epoch, "id">): Identity {
  const id = Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString("hex");
  const epochs = [...(identity.epochs ?? []), { id, ...begun }];
  const [oldest, next] = epochs;
  if (epochs.length > epochsMax && oldest !== undefined && next !== undefined) {
    // What the first epoch shares with the later ones is bounded by the forgotten one as well.
    epochs.splice(0, 2, { ...next, after: Math.min(oldest.after, next.after) });
  }
  // Nobody else writes what belongs to the new epoch.
  const { isCopy: _, ...own } = identity;
  return { ...own, epochs };
}

/** Without the epoch of an accepted loss whose start did not finish. */
export function withoutUnsettledEpoch(identity: Identity): Identity {
  const last = identity.epochs?.at(-1);
  if (last?.cause !== "accepted-loss" || last.after > 0) return identity;
  return { ...identity, epochs: identity.epochs?.slice(0, -1) ?? [] };
}

/** The identity of the store in a folder. Undefined if the folder is empty. */
export async function readIdentity(folder: string): Promise<Identity | undefined> {
  const path = join(folder, "IDENTITY");
  const contents = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (contents === undefined) {
    const others = (await readdir(folder)).filter((name) => !isOfUnfinishedStore(name));
    if (others.includes(unfinishedRestore)) {
      throw new StoreRefused(folder, [
        "a restore into it has not finished: run annals restore BACKUP STORE again",
      ]);
    }
    if (others.length === 0) return undefined;
    const some = others.slice(0, 3).join(", ");
    throw new StoreRefused(folder, [
      `it holds ${some} but no IDENTITY: it is not a store, or it lost its identity`,
    ]);
  }
  const identity = parseIdentity(contents);
  if (!identity) throw new StoreRefused(folder, ["IDENTITY is corrupted"]);
  if (identity.formatVersion > formatVersion) {
    throw new StoreTooNew(folder, identity.formatVersion, formatVersion);
  }
  return identity;
}

/** Makes a new epoch durable. Returns the identity that has it. */
export async function beginEpoch(
  folder: string,
  identity: Identity,
  begun: Omit<Epoch, "id">,
): Promise<Identity> {
  const next = withNewEpoch(identity, begun);
  await writeIdentity(folder, next);
  return next;
}

export async function writeIdentity(folder: string, identity: Identity): Promise<void> {
  await writeDurably(join(folder, "IDENTITY"), composeIdentity(identity));
}

/**
 * Why a database may not be opened as that of the store. Undefined: it belongs to the store, or
 * does not say whose it is.
 */
export async function ownerFault(database: string, storeId: string): Promise<string | undefined> {
  const owner = await ownerOf(database);
  if (owner === undefined || owner === storeId) return undefined;
  if (!uuid.test(owner)) {
    return (
      "log/STORE is corrupted: if IDENTITY is that of this store, delete log/STORE, and the next " +
      "start writes it again"
    );
  }
  return (
    `IDENTITY says that it is store ${storeId}, but its database belongs to store ${owner}: ` +
    "put back the IDENTITY of that store"
  );
}

/** Makes the database say whose it is, unless it does. */
export async function writeOwner(database: string, storeId: string): Promise<void> {
  if ((await ownerOf(database)) === storeId) return;
  await writeDurably(join(database, ownerName), `${storeId}\n`);
}

/** Undefined: the database does not say. The first builds did not write it. */
async function ownerOf(database: string): Promise<string | undefined> {
  const contents = await readFile(join(database, ownerName), "latin1").catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    },
  );
  return contents?.replace(/\n$/, "");
}

/** Whether a file may be in the folder of a store whose creation did not finish. */
export function isOfUnfinishedStore(name: string): boolean {
  return name === "IDENTITY.new" || name === "lost+found" || isLockName(name);
}

function composeIdentity({
  storeId,
  createdAt,
  formatVersion: version,
  created,
  epochs = [],
  isCopy,
}: Identity): string {
  const listed = epochs.map(({ id, after, beganAt, cause }) => ({ id, after, beganAt, cause }));
  const begun = listed.length > 0 && { epochs: listed };
  const copy = isCopy === true && { isCopy };
  const fields = { magic, formatVersion: version, storeId, createdAt, created, ...begun, ...copy };
  const crc = crc32(JSON.stringify(fields)).toString(16).padStart(8, "0");
  return `${JSON.stringify({ ...fields, crc32: crc })}\n`;
}

function parseIdentity(contents: string): Identity | undefined {
  try {
    const { storeId, createdAt, formatVersion: version, created, ...rest } = JSON.parse(contents);
    if (rest.magic !== magic || !Number.isSafeInteger(version)) return undefined;
    const epochs = epochsIn(rest.epochs);
    const kept = rest.isCopy === true && { isCopy: true as const };
    const identity = { storeId, createdAt, formatVersion: version, created, epochs, ...kept };
    // A later version may have other fields. Only its version number is needed to refuse it.
    if (version > formatVersion) return identity;
    return composeIdentity(identity) === contents ? identity : undefined;
  } catch {
    return undefined;
  }
}

/** Throws if the list is malformed. Its bytes are covered by the CRC. */
export function epochsIn(list: unknown): readonly Epoch[] {
  if (list === undefined) return [];
  const isEpoch = ({ id, after, beganAt }: Epoch): boolean =>
    isEpochId(id) && Number.isSafeInteger(after) && Number.isSafeInteger(beganAt);
  if (!Array.isArray(list) || !list.every(isEpoch)) throw new RangeError("not a list of epochs");
  return list as Epoch[];
}
