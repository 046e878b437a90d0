// Reads LevelDB's log format, which the write-ahead logs and the MANIFEST have. It is read before
// LevelDB opens it, because LevelDB silently drops a record that fails its CRC and continues. A
// file consists of blocks of 32 KiB. A record never spans the end of a block; a longer one is split
// into fragments:
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
  /** The complete records before the first fault. */
  readonly records: readonly Uint8Array[];
  /** The offset of the first fault. Absent: the file is valid to its end. */
  readonly faultOffset: number | undefined;
  /**
   * Whether a new record begins after the fault. Writes are synced one by one, so that a record
   * after the fault proves that the damaged bytes had been durable: they were corrupted later.
   * Without one, the fault is the torn end of a write that was never acknowledged.
   */
  readonly recordBehindFault: boolean;
  /** The complete records after the fault, with which LevelDB would continue. */
  readonly recordsBehind: readonly Uint8Array[];
}

interface Fragment {
  readonly type: number;
  readonly start: number;
  readonly end: number;
}

/** Reads a file as LevelDB does, and remembers the first fault. */
export function readLog(file: Uint8Array): LogContents {
  const records: Uint8Array[] = [];
  const recordsBehind: Uint8Array[] = [];
  let faultOffset: number | undefined;
  let beginsBehind = false;
  let parts: Uint8Array[] = [];
  let recordStart = 0;
  let offset = 0;
  const fault = (at: number): void => {
    faultOffset ??= at;
    parts = [];
  };
  while (offset < file.length) {
    const room = blockBytes - (offset % blockBytes);
    const fragment = room < headerBytes ? undefined : fragmentAt(file, offset);
    if (!fragment) {
      // Fewer bytes than a header are padding. After a corrupted fragment, LevelDB skips the rest
      // of its block.
      if (room >= headerBytes) fault(parts.length > 0 ? recordStart : offset);
      offset += room;
      continue;
    }
    const { type, start, end } = fragment;
    const begins = type === typeFull || type === typeFirst;
    // A record begins although the previous one is incomplete, or continues although none began.
    if (begins !== (parts.length === 0)) fault(begins ? recordStart : offset);
    if (begins) recordStart = offset;
    offset = end;
    if (!begins && parts.length === 0) continue;
    if (begins) beginsBehind ||= faultOffset !== undefined;
    parts.push(file.subarray(start, end));
    if (type !== typeFull && type !== typeLast) continue;
    const record = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
    (faultOffset === undefined ? records : recordsBehind).push(record);
    parts = [];
  }
  if (parts.length > 0) fault(recordStart);
  const recordBehindFault =
    beginsBehind || (faultOffset !== undefined && beginsInBlock(file, faultOffset));
  return { records, faultOffset, recordBehindFault, recordsBehind };
}

/** Bytes of a record whose beginning or end is lost. */
export interface TornRecord {
  readonly bytes: Uint8Array;
  /** Whether the record begins here. */
  readonly begins: boolean;
}

/** Everything that can be read of a log, whatever is damaged: each fragment that is valid. */
export function readTornLog(file: Uint8Array): { whole: Uint8Array[]; torn: TornRecord[] } {
  const whole: Uint8Array[] = [];
  const torn: TornRecord[] = [];
  let parts: Uint8Array[] = [];
  let begins = false;
  const cut = (): void => {
    if (parts.length > 0) torn.push({ bytes: Buffer.concat(parts), begins });
    parts = [];
  };
  for (let offset = 0; offset < file.length;) {
    const room = blockBytes - (offset % blockBytes);
    const fragment = room < headerBytes ? undefined : fragmentAt(file, offset);
    if (fragment === undefined) {
      if (room >= headerBytes) cut();
      offset += room < headerBytes ? room : 1;
      continue;
    }
    const { type, start, end } = fragment;
    if (type === typeFull || type === typeFirst) {
      cut();
      begins = true;
    } else if (parts.length === 0) begins = false;
    parts.push(file.subarray(start, end));
    offset = end;
    if (type !== typeFull && type !== typeLast) continue;
    if (begins) whole.push(Buffer.concat(parts));
    else cut();
    parts = [];
  }
  cut();
  return { whole, torn };
}

/** The fragment at an offset. Undefined if there is no valid one. */
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

/**
 * Whether a record begins after the fault within the blocks that LevelDB skips. The length field of
 * a corrupted fragment cannot be trusted, so that every offset is examined.
 */
function beginsInBlock(file: Uint8Array, faultOffset: number): boolean {
  // Fragments at the fault itself may be valid: they are the beginning of the torn record.
  let from = faultOffset;
  for (let own = fragmentAt(file, from); own; own = fragmentAt(file, from)) {
    from = own.end;
    if (blockBytes - (from % blockBytes) < headerBytes) from += blockBytes - (from % blockBytes);
  }
  const end = Math.min(from - (from % blockBytes) + blockBytes, file.length);
  for (let at = from + 1; at < end; at++) {
    const fragment = fragmentAt(file, at);
    if (!fragment) continue;
    if (fragment.type === typeFull || fragment.type === typeFirst) return true;
    at = fragment.end - 1;
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
