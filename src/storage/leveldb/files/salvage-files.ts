// All that can be read of LevelDB's files in a folder, whatever they have lost: every table and
// write-ahead log that is there, also those that the MANIFEST does not name. What is damaged is
// passed over and told. The newest version of a key that proves itself counts.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { AnnalsError } from "../../../domain/errors.ts";
import { scanPlacement } from "../../../domain/record.ts";
import type { Acknowledged } from "../folder/high-water-mark.ts";
import { frameOffsets, openChunk, recordOf } from "../format/chunk.ts";
import { prefixChunk, readUint64, unseal } from "../format/keys.ts";
import { openFilesKv, sourceOf, type FilesKv } from "./files-kv.ts";
import { readTornLog, type TornRecord } from "./log-file.ts";
import type { Version } from "./table-blocks.ts";
import { RestingTables, TableReader, type VersionSource } from "./table-reader.ts";
import { headerOf, looseChunks, versionsOf } from "./write-batch.ts";

const chunkKeyBytes = 9;

/**
 * `damaged` is called with each damage that is met. What is only half there counts up to what is
 * `acknowledged`: the rest of a write that nobody was promised does not.
 */
export async function openSalvageFiles(
  database: string,
  acknowledged: Acknowledged | undefined,
  damaged: (damage: string) => void,
): Promise<FilesKv> {
  const names = (await readdir(database)).toSorted();
  const resting = new RestingTables();
  const sources: VersionSource[] = names
    .filter((name) => /^\d+\.(ldb|sst)$/.test(name))
    .map((name) => new TableReader(join(database, name), { damaged, resting }));
  const logs = new TornLogs();
  for (const name of names.filter((each) => /^\d+\.log$/.test(each))) {
    if (logs.add(await readFile(join(database, name)))) damaged(`${name} is damaged or cut off`);
  }
  sources.push(sourceOf(logs.versions(acknowledged)));
  return openFilesKv(sources, isProved);
}

/** Whether a value is what was once written under the key. */
function isProved(key: Uint8Array, value: Uint8Array): boolean {
  if (key[0] !== prefixChunk) return unseal(key, value) !== undefined;
  if (key.length !== chunkKeyBytes) return false;
  try {
    const chunk = openChunk(key, value);
    const offsets = frameOffsets(chunk);
    for (let i = 0; i < chunk.count; i++) {
      const record = recordOf(chunk.records.subarray(offsets[i], offsets[i + 1]));
      if (scanPlacement(record).position !== chunk.first + i) return false;
    }
    return true;
  } catch (error) {
    if (error instanceof AnnalsError || error instanceof RangeError) return false;
    throw error;
  }
}

/** The write-ahead logs of a store, whole records and the pieces of others. */
class TornLogs {
  private readonly whole: Version[] = [];
  private readonly torn: TornRecord[] = [];
  private sequence = 0;
  private position = 0;

  /** Whether a part of the file is damaged. */
  add(file: Uint8Array): boolean {
    const { whole, torn } = readTornLog(file);
    let isDamaged = torn.length > 0;
    for (const record of whole) {
      try {
        this.addBatch([...versionsOf(record)]);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        isDamaged = true;
      }
    }
    this.torn.push(...torn);
    return isDamaged;
  }

  private addBatch(versions: readonly Version[]): void {
    for (const version of versions) {
      const { key, sequence } = version;
      this.whole.push(version);
      this.sequence = Math.max(this.sequence, sequence);
      if (isChunkKey(key)) this.position = Math.max(this.position, readUint64(key, 1));
    }
  }

  /**
   * The versions that were durable. A torn write was, if others followed it or the high-water mark
   * includes it.
   */
  versions(acknowledged: Acknowledged | undefined): Version[] {
    const sequence = Math.max(this.sequence, acknowledged?.sequence ?? 0);
    const position = Math.max(this.position, acknowledged?.position ?? 0);
    const versions = [...this.whole];
    for (const { bytes, begins } of this.torn) {
      if (begins) {
        const some = beginningOf(bytes);
        if (lastOf(bytes) <= sequence) versions.push(...some);
      } else {
        const chunks = looseChunks(bytes, isProved);
        versions.push(...chunks.filter(({ key }) => readUint64(key, 1) <= position));
      }
    }
    return versions;
  }
}

function isChunkKey(key: Uint8Array): boolean {
  return key[0] === prefixChunk && key.length === chunkKeyBytes;
}

/** The number of the last entry that a batch had. */
function lastOf(bytes: Uint8Array): number {
  try {
    const { sequence, count } = headerOf(bytes);
    return sequence + count - 1;
  } catch (error) {
    if (error instanceof RangeError) return Number.POSITIVE_INFINITY;
    throw error;
  }
}

/** The entries of a batch up to where it is cut off. */
function beginningOf(bytes: Uint8Array): Version[] {
  const versions: Version[] = [];
  try {
    for (const version of versionsOf(bytes)) versions.push(version);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return versions;
}
