// Reads LevelDB's write batches, as they are in the write-ahead log: which chunks they contain, and
// whether they are consecutive. Source: db/write_batch.cc of google/leveldb.
//
//   8  sequence number of the first entry    4  count of entries
//   entries: 1 put key value | 0 delete key

import { WireReader } from "../../../domain/wire.ts";
import type { Range } from "../../storage.ts";
import { prefixChunk, readUint64 } from "../format/keys.ts";
import { littleEndian32 } from "./log-file.ts";
import type { Version } from "./table-blocks.ts";

const batchHeaderBytes = 12;

export interface LoggedBatch {
  readonly sequence: number;
  readonly count: number;
  /** The positions of the chunks that the batch adds to the log, in order. */
  readonly chunks: readonly Range[];
}

/** Throws `RangeError` on a malformed batch. */
export function readBatch(record: Uint8Array): LoggedBatch {
  const { sequence, count } = headerOf(record);
  const chunks: Range[] = [];
  for (const { key, value } of versionsOf(record)) {
    if (key[0] !== prefixChunk || key.length !== 9) continue;
    if (value === undefined) continue;
    // What a batch rewrites comes behind what it adds. A follower may add rewritten chunks.
    const last = readUint64(key, 1);
    if (last > (chunks.at(-1)?.last ?? 0)) chunks.push({ first: readUint64(value, 8), last });
  }
  return { sequence, count, chunks };
}

/** The numbers of a batch's first entry and of its entries. Throws `RangeError`. */
export function headerOf(record: Uint8Array): { sequence: number; count: number } {
  if (record.length < batchHeaderBytes) throw new RangeError("write batch: cut off");
  const sequence = littleEndian32(record, 0) + littleEndian32(record, 4) * 0x1_0000_0000;
  return { sequence, count: littleEndian32(record, 8) };
}

/** The entries of a batch, in order. Throws `RangeError` where the batch is malformed or ends. */
export function* versionsOf(record: Uint8Array): Generator<Version> {
  const { sequence, count } = headerOf(record);
  const reader = new WireReader(record, batchHeaderBytes);
  for (let i = 0; i < count; i++) yield versionAt(reader, sequence + i);
  if (!reader.done) throw new RangeError("write batch: too long");
}

function versionAt(reader: WireReader, sequence: number): Version {
  const kind = reader.varint();
  if (kind > 1) throw new RangeError("write batch: unknown entry");
  const key = reader.view();
  return { key, sequence, value: kind === 0 ? undefined : reader.view() };
}

/** Chunks in bytes of a batch whose beginning is lost. `isProved` tells them from other bytes. */
export function looseChunks(
  bytes: Uint8Array,
  isProved: (key: Uint8Array, value: Uint8Array) => boolean,
): Version[] {
  const found: Version[] = [];
  for (let at = 0; at + 2 < bytes.length; at++) {
    if (bytes[at] !== 1 || bytes[at + 1] !== 9 || bytes[at + 2] !== prefixChunk) continue;
    try {
      const reader = new WireReader(bytes, at);
      const version = versionAt(reader, 0);
      if (version.value === undefined || !isProved(version.key, version.value)) continue;
      found.push(version);
      at = reader.offset - 1;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  return found;
}
