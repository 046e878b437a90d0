// A table with a damaged key in a block that has its CRC: what LevelDB leaves when it merges damage.
import { readFileSync, writeFileSync } from "node:fs";
import { crc32c } from "../../../../src/storage/leveldb/files/crc32c.ts";
import { handlesIn, trailerBytes } from "../../../../src/storage/leveldb/files/table-blocks.ts";
import {
  footerBytes,
  openFooter,
  openIndex,
} from "../../../../src/storage/leveldb/files/table-file.ts";

/**
 * Gives an entry of the table a kind that LevelDB does not know. `key` must be in the file as it is:
 * it is the first one of its block, which does not compress. Answers where the block begins.
 */
export function resealWithoutKind(path: string, key: Uint8Array): number {
  const bytes = readFileSync(path);
  const at = bytes.indexOf(key);
  if (at < 0) throw new Error("the key is not in the table as it is");
  const { index } = openFooter(bytes.subarray(bytes.length - footerBytes), bytes.length);
  const block = bytes.subarray(index.offset, index.offset + index.size + trailerBytes);
  const found = handlesIn(openIndex(block)).findLast(({ offset }) => offset <= at);
  const { offset = 0, size = 0 } = found ?? {};
  bytes[at + key.length] = 7;
  const end = offset + size;
  const crc = crc32c(bytes, offset, end + 1);
  bytes.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0, end + 1);
  writeFileSync(path, bytes);
  return offset;
}
