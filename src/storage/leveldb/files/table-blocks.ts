// The blocks of a LevelDB table and the entries in them. A block is proved by its CRC before its
// entries are read. Source: doc/table_format.md and table/block_builder.cc of google/leveldb.
//
//   block   entries, restart offsets (4 each), their number (4)
//   entry   varint shared: bytes of its key that are those of the key before
//           varint count of the other bytes of the key, varint bytes of the value, key, value
//   key     the key as it was written, then (little-endian) 1 kind: 0 deleted, 1 put
//           and 7 sequence number of the write

import { WireReader } from "../../../domain/wire.ts";
import { crc32c, extendCrc32c, unmask } from "./crc32c.ts";
import { littleEndian32 } from "./log-file.ts";
import { internalBytes } from "./manifest.ts";
import { snappyDecompress } from "./snappy.ts";

/** The kind of a block, and its CRC. They follow its contents. */
export const trailerBytes = 5;

const contentsBytesMax = 256 * 1024 * 1024;
/** A lost block's successor is looked for with the length of an ordinary block. */
const strayBytesMax = 64 * 1024;
const blockBytesMin = 8;

export interface BlockHandle {
  readonly offset: number;
  /** Without the trailer. */
  readonly size: number;
}

/** What a write has left: a key with its value, or the word that the key was deleted. */
export interface Version {
  readonly key: Uint8Array;
  readonly sequence: number;
  /** Undefined: the key was deleted. */
  readonly value: Uint8Array | undefined;
}

export function openHandle(reader: WireReader): BlockHandle {
  const offset = reader.varint();
  return { offset, size: reader.varint() };
}

/** Whether the block at these bytes, without its trailer, has the CRC in the trailer. */
export function isSound(bytes: Uint8Array, start: number, end: number): boolean {
  return unmask(littleEndian32(bytes, end + 1)) === crc32c(bytes, start, end + 1);
}

/** The contents of a block with its trailer. Throws `RangeError` if it is corrupted. */
export function openBlock(bytes: Uint8Array, what = "a block"): Uint8Array {
  const end = bytes.length - trailerBytes;
  if (!isSound(bytes, 0, end)) throw new RangeError(`${what} fails its CRC`);
  const contents = bytes.subarray(0, end);
  return bytes[end] === 1 ? snappyDecompress(contents, contentsBytesMax) : contents;
}

/**
 * Visits the entries of a block: how many bytes of its key are those of the key before, and where
 * its other bytes and its value begin and end. Throws `RangeError` if the block makes no sense.
 */
export function visitEntries(
  block: Uint8Array,
  visit: (shared: number, start: number, valueStart: number, end: number) => void,
): void {
  if (block.length < 4) throw new RangeError("its index is too short");
  const restarts = littleEndian32(block, block.length - 4);
  const end = block.length - 4 - restarts * 4;
  if (end < 0) throw new RangeError("its index is corrupted");
  const reader = new WireReader(block, 0, end);
  for (let keyBytes = 0; !reader.done;) {
    const shared = reader.varint();
    const ownBytes = reader.varint();
    const valueBytes = reader.varint();
    const start = reader.offset;
    const valueStart = start + ownBytes;
    if (shared > keyBytes || valueStart + valueBytes > end) {
      throw new RangeError("an entry lies beyond its block");
    }
    keyBytes = shared + ownBytes;
    reader.offset = valueStart + valueBytes;
    visit(shared, start, valueStart, reader.offset);
  }
}

/** The entries of a block, partly views of it. Throws `RangeError` if it makes no sense. */
export function blockEntries(block: Uint8Array): [key: Uint8Array, value: Uint8Array][] {
  const entries: [Uint8Array, Uint8Array][] = [];
  let key: Uint8Array = new Uint8Array();
  visitEntries(block, (shared, start, valueStart, end) => {
    const own = block.subarray(start, valueStart);
    key = shared === 0 ? own : Buffer.concat([key.subarray(0, shared), own]);
    entries.push([key, block.subarray(valueStart, end)]);
  });
  return entries;
}

/** The handles in a block of handles. Throws `RangeError` if it makes no sense. */
export function handlesIn(block: Uint8Array): BlockHandle[] {
  const handles: BlockHandle[] = [];
  const reader = new WireReader(block);
  visitEntries(block, (_, _start, valueStart, end) => {
    reader.offset = valueStart;
    handles.push(openHandle(reader));
    if (reader.offset > end) throw new RangeError("a handle lies beyond its entry");
  });
  return handles;
}

/** The entries of a data block. Throws `RangeError`. */
export function versionsIn(block: Uint8Array): Version[] {
  const versions: Version[] = [];
  for (const [internal, value] of blockEntries(block)) versions.push(versionOf(internal, value));
  return versions;
}

function versionOf(internal: Uint8Array, value: Uint8Array): Version {
  const end = internal.length - internalBytes;
  const kind = end < 0 ? undefined : internal[end];
  if (kind !== 0 && kind !== 1) throw new RangeError("an entry has no key");
  const low = littleEndian32(internal, end) >>> 8;
  const sequence = low + littleEndian32(internal, end + 4) * 0x1_00_0000;
  return { key: internal.subarray(0, end), sequence, value: kind === 1 ? value : undefined };
}

/**
 * Finds the blocks of a table whose index is lost: they follow each other from the start of the
 * file, and each ends where the CRC of the bytes so far is the one that follows.
 */
export function findBlocks(file: Uint8Array): BlockHandle[] {
  const found: BlockHandle[] = [];
  let isJoined = true;
  for (let at = 0; at + blockBytesMin + trailerBytes <= file.length;) {
    const size: number | undefined =
      isJoined || mayBegin(file, at)
        ? sizeAt(file, at, isJoined ? file.length : at + strayBytesMax)
        : undefined;
    isJoined = size !== undefined;
    if (size !== undefined) found.push({ offset: at, size });
    at += size === undefined ? 1 : size + trailerBytes;
  }
  return found;
}

/** The size of the block that begins here. Undefined: none does. */
function sizeAt(file: Uint8Array, start: number, until: number): number | undefined {
  const last = Math.min(until, file.length) - trailerBytes;
  let crc = extendCrc32c(~0, file, start, start + blockBytesMin);
  for (let end = start + blockBytesMin; end <= last; end++) {
    const kind = file[end] as number;
    crc = extendCrc32c(crc, file, end, end + 1);
    if (kind <= 1 && unmask(littleEndian32(file, end + 1)) === ~crc >>> 0) return end - start;
  }
  return undefined;
}

/** Whether a block may begin here: the first entry of one shares nothing with a key before it. */
function mayBegin(file: Uint8Array, at: number): boolean {
  if (file[at] === 0) return true;
  let offset = at;
  while (offset < at + 5 && (file[offset] as number) >= 0x80) offset++;
  const tag = file[offset + 1] as number;
  if ((tag & 3) !== 0) return false;
  const lengthBytes = tag >>> 2 < 60 ? 0 : (tag >>> 2) - 59;
  return file[offset + 2 + lengthBytes] === 0;
}
