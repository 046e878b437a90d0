// Reads LevelDB's write batches, as they are in the write-ahead log: which chunks they contain, and
// whether they are consecutive. Source: db/write_batch.cc of google/leveldb.
//
//   8  sequence number of the first entry    4  count of entries
//   entries: 1 put key value | 0 delete key

import { WireReader } from "../../../domain/wire.ts";
import type { Range } from "../../storage.ts";
import { isRewritten } from "../format/chunk.ts";
import { prefixChunk, readUint64 } from "../format/keys.ts";
import { littleEndian32 } from "./log-file.ts";

const batchHeaderBytes = 12;

export interface LoggedBatch {
  readonly sequence: number;
  readonly count: number;
  /** The positions of the chunks that the batch adds to the log, in order. */
  readonly chunks: readonly Range[];
}

/** Throws `RangeError` on a malformed batch. */
export function readBatch(record: Uint8Array): LoggedBatch {
  if (record.length < batchHeaderBytes) throw new RangeError("write batch: cut off");
  const sequence = littleEndian32(record, 0) + littleEndian32(record, 4) * 0x1_0000_0000;
  const count = littleEndian32(record, 8);
  const chunks: Range[] = [];
  const reader = new WireReader(record, batchHeaderBytes);
  for (let i = 0; i < count; i++) {
    const kind = reader.varint();
    if (kind > 1) throw new RangeError("write batch: unknown entry");
    const key = reader.view();
    if (kind === 0) continue;
    const value = reader.view();
    if (key[0] !== prefixChunk || key.length !== 9 || isRewritten(value)) continue;
    chunks.push({ first: readUint64(value, 8), last: readUint64(key, 1) });
  }
  if (!reader.done) throw new RangeError("write batch: too long");
  return { sequence, count, chunks };
}
