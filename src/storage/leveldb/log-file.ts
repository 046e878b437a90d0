// LevelDB's log format, read by us before LevelDB does: it drops what fails its CRC without a word,
// and goes on. Used for the write-ahead logs and for the MANIFEST. A file is blocks of 32 KiB; a
// record never spans the end of a block, a longer one is cut into fragments:
//
//   4  CRC-32C of type and payload, masked    2  length
//   1  type: 1 full, 2 first, 3 middle, 4 last
//
// Numbers are little-endian. Source: doc/log_format.md of google/leveldb.

import { crc32c, unmask } from "./crc32c.ts";

const blockBytes = 32 * 1024;
const headerBytes = 7;
const typeFull = 1;
const typeFirst = 2;
const typeLast = 4;

export interface LogContents {
  /** The whole records before the first fault. */
  readonly records: readonly Uint8Array[];
  /** Where the first fault lies; absent: the file is sound to its end. */
  readonly faultOffset: number | undefined;
  /**
   * Whether a whole new record begins somewhere behind the fault. Writes are synced one by one, so
   * a record behind a fault proves that what is at fault had been durable: bytes were bent. Without
   * one, the fault is the torn end of a write that was never acknowledged.
   */
  readonly recordBehindFault: boolean;
}

interface Fragment {
  readonly type: number;
  readonly start: number;
  readonly end: number;
}

export function readLog(file: Uint8Array): LogContents {
  const records: Uint8Array[] = [];
  let parts: Uint8Array[] = [];
  let recordStart = 0;
  let offset = 0;
  const fault = (at: number): LogContents => ({
    records,
    faultOffset: at,
    recordBehindFault: recordBeginsBehind(file, at),
  });
  while (offset < file.length) {
    const room = blockBytes - (offset % blockBytes);
    if (room < headerBytes) {
      offset += room;
      continue;
    }
    const fragment = fragmentAt(file, offset);
    if (!fragment) return fault(offset);
    const { type, start, end } = fragment;
    const begins = type === typeFull || type === typeFirst;
    // A record begins although the one before is not complete, or goes on although none began.
    if (begins !== (parts.length === 0)) return fault(begins ? recordStart : offset);
    if (begins) recordStart = offset;
    parts.push(file.subarray(start, end));
    if (type === typeFull || type === typeLast) {
      records.push(parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts));
      parts = [];
    }
    offset = end;
  }
  return parts.length > 0
    ? fault(recordStart)
    : { records, faultOffset: undefined, recordBehindFault: false };
}

/** The fragment that begins at an offset, if a sound one does. */
function fragmentAt(file: Uint8Array, offset: number): Fragment | undefined {
  const blockEnd = offset - (offset % blockBytes) + blockBytes;
  const start = offset + headerBytes;
  if (start > file.length) return undefined;
  const type = file[offset + 6] as number;
  const end = start + ((file[offset + 4] as number) | ((file[offset + 5] as number) << 8));
  if (type < typeFull || type > typeLast) return undefined;
  if (end > file.length || end > blockEnd) return undefined;
  return unmask(littleEndian32(file, offset)) === crc32c(file, offset + 6, end)
    ? { type, start, end }
    : undefined;
}

/** Looks behind a fault: at every offset of its block, then by the fragments of later blocks. */
function recordBeginsBehind(file: Uint8Array, fault: number): boolean {
  const blockEnd = fault - (fault % blockBytes) + blockBytes;
  // The fragment at the fault itself may be sound: then it is the torn record's own beginning.
  const first = fragmentAt(file, fault);
  for (let at = first ? first.end : fault + 1; at < Math.min(blockEnd, file.length); at++) {
    const fragment = fragmentAt(file, at);
    if (!fragment) continue;
    if (fragment.type === typeFull || fragment.type === typeFirst) return true;
    at = fragment.end - 1;
  }
  for (let block = blockEnd; block < file.length; block += blockBytes) {
    let at = block;
    while (at < Math.min(block + blockBytes, file.length)) {
      const fragment = fragmentAt(file, at);
      if (!fragment) break;
      if (fragment.type === typeFull || fragment.type === typeFirst) return true;
      at = fragment.end;
    }
  }
  return false;
}

export function littleEndian32(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset] as number) |
      ((bytes[offset + 1] as number) << 8) |
      ((bytes[offset + 2] as number) << 16) |
      ((bytes[offset + 3] as number) << 24)) >>>
    0
  );
}
