// The list of a backup: its files with their hashes, and the position up to which it goes. It is
// written last and replaced as a whole. A file that it does not name is not part of the backup.
//
//   <backup>/BACKUP         JSON, two lines: the list, and its SHA-256
//   <backup>/UNFINISHED     the same form, while a backup is being made: the parts that are
//                           complete, and by which process; left behind if it did not finish
//   <backup>/log-*.annals   backup-file.ts: chunks, in order; each file is written once. Where a
//                           removal has rewritten chunks since, another file takes its place
//   <backup>/side-*.annals  backup-file.ts: side values as of the last position; replaced

import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Epoch } from "../../../domain/epoch.ts";
import { BackupRefused, type FileSeal } from "./backup-file.ts";
import { writeDurably } from "../folder/durable-file.ts";
import { epochsIn, type Identity } from "../folder/identity.ts";
import { formatVersion as formatVersionOfStores } from "../format/chunk.ts";

const magic = "annals backup";
const formatVersion = 1;
/** Enough for some 300,000 files of a log. */
const listBytesMax = 64 * 1024 * 1024;

export interface LogPart extends FileSeal {
  readonly name: string;
  readonly first: number;
  readonly last: number;
  /** SHA-256 of the last chunk, which stands for all chunks before it. Hexadecimal. */
  readonly chain: string;
}

export interface BackupList {
  readonly storeId: string;
  /** The format version in the store's identity. */
  readonly storeFormatVersion: number;
  readonly storeCreatedAt: number;
  /** The store's epochs after the first one. Absent: it is in its first one. */
  readonly epochs?: readonly Epoch[];
  /** The store's time, microseconds since 1970, UTC. Absent in backups of the first builds. */
  readonly storeTime?: number;
  /** ISO 8601. */
  readonly takenAt: string;
  readonly log: readonly LogPart[];
  readonly side: FileSeal & { readonly name: string };
}

/** A backup that is being made, or that was not finished. */
export interface UnfinishedBackup {
  readonly storeId: string;
  /** The process that makes it, and its machine. */
  readonly host: string;
  readonly pid: number;
  /** Parts that are complete, those of the backup before included. */
  readonly log: readonly LogPart[];
}

export const unfinishedName = "UNFINISHED";

function listPath(folder: string): string {
  return join(folder, "BACKUP");
}

/** The list of the backup in a folder. Undefined if there is none. Throws BackupRefused. */
export async function readBackupList(folder: string): Promise<BackupList | undefined> {
  const path = listPath(folder);
  const list = await readList<BackupList>(path);
  if (list === undefined) return undefined;
  const misnamed = [...list.log, list.side].find(({ name }) => !isPartName(name));
  if (misnamed !== undefined) {
    throw new BackupRefused(
      `${path} names ${JSON.stringify(misnamed.name)}, which no backup holds`,
    );
  }
  return list;
}

/** The identity of the store that was backed up. Throws BackupRefused. */
export function identityIn(list: BackupList): Identity {
  try {
    return {
      storeId: list.storeId,
      createdAt: list.storeCreatedAt,
      // What is made of a backup is written as this program writes.
      formatVersion: Math.max(list.storeFormatVersion, formatVersionOfStores),
      created: true,
      epochs: epochsIn(list.epochs),
    };
  } catch {
    throw new BackupRefused("its list of epochs makes no sense");
  }
}

/** The list of a backup that has to be there. Throws BackupRefused. */
export async function requireBackupList(folder: string): Promise<BackupList> {
  const list = await readBackupList(folder);
  if (list) return list;
  throw new BackupRefused(
    (await readUnfinished(folder))
      ? `the backup in ${folder} was not finished: run annals backup STORE ${folder} again`
      : `${folder} holds no backup`,
  );
}

/** What is known of a backup that was not finished. Undefined if there is none in the folder. */
export async function readUnfinished(folder: string): Promise<UnfinishedBackup | undefined> {
  try {
    const list = await readList<UnfinishedBackup>(join(folder, unfinishedName));
    return list?.log.every(({ name }) => isPartName(name)) === true ? list : undefined;
  } catch (error) {
    // Its parts are written again.
    if (error instanceof BackupRefused) return undefined;
    throw error;
  }
}

export async function writeUnfinished(folder: string, list: UnfinishedBackup): Promise<void> {
  await writeList(join(folder, unfinishedName), list);
}

async function readList<List>(path: string): Promise<List | undefined> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined) return undefined;
  if (!found.isFile() || found.size > listBytesMax) {
    throw new BackupRefused(`${path} is not a list of a backup: a file of at most 64 MiB`);
  }
  const contents = await readFile(path, "utf8");
  const [text = ""] = contents.split("\n");
  if (contents !== composed(text)) throw new BackupRefused(`${path} is corrupted`);
  const list = JSON.parse(text) as List & { magic: string; formatVersion: number };
  if (list.magic !== magic || list.formatVersion !== formatVersion) {
    throw new BackupRefused(`${path} is of a kind this program does not know`);
  }
  return list;
}

/** Whether a file of a backup may have this name. Such a name is in the backup's own folder. */
export function isPartName(name: unknown): boolean {
  return (
    typeof name === "string" &&
    /^(log-\d{16}(-[0-9a-f]{8})?|side-\d{16}-[0-9a-f]{8})\.annals$/.test(name)
  );
}

export async function writeBackupList(folder: string, list: BackupList): Promise<void> {
  await writeList(listPath(folder), list);
}

async function writeList(path: string, list: object): Promise<void> {
  await writeDurably(path, composed(JSON.stringify({ magic, formatVersion, ...list })));
}

function composed(text: string): string {
  return `${text}\n${createHash("sha256").update(text).digest("hex")}\n`;
}
