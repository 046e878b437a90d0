// Reads a backup and checks every file by its hash, and every chunk by its CRC, its position and
// the hash chain. `annals restore` and `annals verify BACKUP` use it.

import { join } from "node:path";
import { currentEpoch } from "../../../domain/epoch.ts";
import { AnnalsError } from "../../../domain/errors.ts";
import { BackupRefused, readBackupFile } from "./backup-file.ts";
import { identityIn, requireBackupList, type BackupList } from "./backup-list.ts";
import { historyOf } from "../folder/identity.ts";
import { firstHash, hashOf, openChunk, previousHashOf, type Chunk } from "../format/chunk.ts";
import { prefixOldSnapshot, prefixSideValue, unseal } from "../format/keys.ts";
import type { Entry } from "../kv/kv.ts";

/** All chunks of the backup, in order. Throws BackupRefused. */
export async function* chunksInBackup(folder: string, list: BackupList): AsyncGenerator<Chunk> {
  let hash = firstHash;
  let next = 1;
  for (const part of list.log) {
    for await (const entry of readBackupFile(join(folder, part.name), list.storeId, part)) {
      const chunk = opened(entry, part.name);
      if (chunk.first !== next || Buffer.compare(previousHashOf(chunk), hash) !== 0) {
        throw new BackupRefused(`${part.name}: the chain breaks at position ${next}`);
      }
      hash = hashOf(chunk);
      next = chunk.last + 1;
      yield chunk;
    }
    if (next !== part.last + 1 || Buffer.from(hash).toString("hex") !== part.chain) {
      throw new BackupRefused(`${part.name}: it does not end as the backup's list says`);
    }
  }
}

/** The side values of the backup. Throws BackupRefused. */
export async function* sideEntriesInBackup(
  folder: string,
  { side, storeId }: BackupList,
): AsyncGenerator<Entry> {
  for await (const entry of readBackupFile(join(folder, side.name), storeId, side)) {
    const [key, value] = entry;
    const known = key[0] === prefixOldSnapshot || key[0] === prefixSideValue;
    if (!known || !unseal(key, value)) {
      throw new BackupRefused(`${side.name} holds what is no sound side value`);
    }
    yield entry;
  }
}

function opened([key, value]: Entry, name: string): Chunk {
  try {
    return openChunk(key, value);
  } catch (error) {
    if (!(error instanceof AnnalsError)) throw error;
    throw new BackupRefused(`${name}: ${error.message}`, { cause: error });
  }
}

export interface BackupContents {
  readonly storeId: string;
  readonly epoch: string;
  readonly takenAt: string;
  /** The last position. */
  readonly head: number;
  /** SHA-256 of the last chunk. Hexadecimal. */
  readonly chain: string;
  readonly chunks: number;
  readonly sideEntries: number;
}

export interface CheckBackupOptions {
  /** Called with the last position that was checked, and the last one there is. */
  readonly progress?: (position: number, last: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Reads a whole backup. Throws BackupRefused at any fault. */
export async function checkBackup(
  folder: string,
  { progress, signal }: CheckBackupOptions = {},
): Promise<BackupContents> {
  const list = await requireBackupList(folder);
  const end = list.log.at(-1);
  const head = end?.last ?? 0;
  let chunks = 0;
  for await (const chunk of chunksInBackup(folder, list)) {
    signal?.throwIfAborted();
    chunks++;
    progress?.(chunk.last, head);
  }
  let sideEntries = 0;
  for await (const _ of sideEntriesInBackup(folder, list)) sideEntries++;
  const { storeId, takenAt } = list;
  const chain = end?.chain ?? Buffer.from(firstHash).toString("hex");
  const epoch = currentEpoch(historyOf(identityIn(list)));
  return { storeId, epoch, takenAt, head, chain, chunks, sideEntries };
}
