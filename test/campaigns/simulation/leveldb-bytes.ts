// LevelDB's write batches as bytes, both ways, for the simulated disk.
import { WireReader } from "../../../src/domain/wire.ts";
import { littleEndian32 } from "../../../src/storage/leveldb/files/log-file.ts";
import type { Operation } from "../../../src/storage/leveldb/kv/kv.ts";
import { batchOf } from "../../storage/leveldb/files/log-files.ts";

const batchHeaderBytes = 12;

export function batchBytes(sequence: number, operations: readonly Operation[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const [key, value] of operations) {
    const put = batchOf(0, [[key, value ?? new Uint8Array()]]).subarray(batchHeaderBytes);
    // A put without its value, which here is one zero byte of length, is a deletion.
    parts.push(value === undefined ? deletion(put) : put);
  }
  const head = batchOf(sequence, []);
  head.writeUInt32LE(operations.length, 8);
  return Buffer.concat([head, ...parts]);
}

function deletion(put: Buffer): Buffer {
  const bytes = Buffer.from(put.subarray(0, put.length - 1));
  bytes[0] = 0;
  return bytes;
}

export function operationsIn(record: Uint8Array): {
  sequence: number;
  operations: Operation[];
} {
  const sequence = littleEndian32(record, 0) + littleEndian32(record, 4) * 0x1_0000_0000;
  const count = littleEndian32(record, 8);
  const reader = new WireReader(record, batchHeaderBytes);
  const operations = Array.from({ length: count }, (): Operation => {
    const kind = reader.varint();
    const key = reader.view();
    return [key, kind === 1 ? reader.view() : undefined];
  });
  return { sequence, operations };
}
