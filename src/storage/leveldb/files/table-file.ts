// Checks LevelDB's table files block by block. Each block has a CRC that LevelDB, as it ships for
// Node, never verifies. A corrupted index block makes keys disappear silently; this check finds it.
//
//   data blocks, filter block, metaindex block, index block,
//   footer (48: two handles, padding, magic)
//   block = contents, type (1: 0 plain, 1 snappy), CRC-32C of both, masked (4)
//
// Source: doc/table_format.md of google/leveldb.

import { open } from "node:fs/promises";
import { WireReader, writeVarint } from "../../../domain/wire.ts";
import { littleEndian32 } from "./log-file.ts";
import {
  handlesIn,
  isSound,
  openBlock,
  openHandle,
  trailerBytes,
  versionsIn,
  type BlockHandle,
} from "./table-blocks.ts";

export const footerBytes = 48;
const footerHandlesBytes = 40;
const magicLow = 0x8b80fb57;
const magicHigh = 0xdb477524;
const readBytes = 256 * 1024;

const nothing = Buffer.alloc(0);

/**
 * Checks every block of a table. Returns the first fault, or undefined. `pace` is awaited with the
 * number of bytes about to be read, so that a background check can be slowed down and stopped.
 * `looksInto`: the entries of each block as well, which takes several times as long. What LevelDB
 * has merged from a damaged block has a CRC again, but may make no sense.
 */
export async function checkTable(
  path: string,
  pace: (bytes: number) => Promise<void> = async () => {},
  looksInto = false,
): Promise<string | undefined> {
  const file = await open(path, "r");
  let scratch = nothing;
  try {
    const { size } = await file.stat();
    const read = async (offset: number, bytes: number): Promise<Uint8Array> => {
      if (offset + bytes > size) throw new RangeError("a block lies beyond the file");
      // One buffer for all data blocks, so that a scrub produces no garbage.
      const buffer = bytes <= scratch.length ? scratch : Buffer.allocUnsafe(bytes);
      const { bytesRead } = await file.read(buffer, 0, bytes, offset);
      if (bytesRead !== bytes) throw new RangeError("the file is cut off");
      return buffer.subarray(0, bytes);
    };
    if (size < footerBytes) return "it is too short";
    const { meta, index } = openFooter(await read(size - footerBytes, footerBytes), size);
    const metaBlock = openIndex(await read(meta.offset, meta.size + trailerBytes));
    const indexBlock = openIndex(await read(index.offset, index.size + trailerBytes));
    const ofEntries = handlesIn(indexBlock).map((each) => ({ ...each, looksInto }));
    const blocks = [...ofEntries, ...handlesIn(metaBlock)];
    scratch = Buffer.allocUnsafe(2 * readBytes);
    return await checkBlocks(blocks, meta.offset, read, pace);
  } catch (error) {
    if (error instanceof RangeError) return error.message;
    throw error;
  } finally {
    await file.close();
  }
}

/** Where the two blocks of handles lie. Throws `RangeError` if the footer is corrupted. */
export function openFooter(
  footer: Uint8Array,
  size: number,
): { meta: BlockHandle; index: BlockHandle } {
  const corrupted = "its footer is corrupted";
  if (littleEndian32(footer, 40) !== magicLow || littleEndian32(footer, 44) !== magicHigh) {
    throw new RangeError(corrupted);
  }
  const handles = new WireReader(footer);
  const meta = openHandle(handles);
  const index = openHandle(handles);
  const indexStart = meta.offset + meta.size + trailerBytes;
  const footerStart = indexStart + index.size + trailerBytes;
  const joined = index.offset === indexStart && footerStart === size - footerBytes;
  if (!joined || !isFooterOf(footer, meta, index)) throw new RangeError(corrupted);
  return { meta, index };
}

/** The contents of a block of handles. Throws `RangeError`. */
export function openIndex(bytes: Uint8Array): Uint8Array {
  return openBlock(bytes, "its index");
}

interface CheckedBlock extends BlockHandle {
  readonly looksInto?: boolean;
}

/** Blocks are adjacent, from the start of the file to the metaindex block. */
async function checkBlocks(
  handles: readonly CheckedBlock[],
  end: number,
  read: (offset: number, bytes: number) => Promise<Uint8Array>,
  pace: (bytes: number) => Promise<void>,
): Promise<string | undefined> {
  const blocks = [...handles].toSorted((a, b) => a.offset - b.offset);
  let covered = 0;
  for (let i = 0; i < blocks.length;) {
    const start = (blocks[i] as BlockHandle).offset;
    let stop = start;
    let until = i;
    for (; until < blocks.length; until++) {
      const { offset, size } = blocks[until] as BlockHandle;
      if (offset !== covered) return `its blocks do not join up at byte ${covered}`;
      covered = offset + size + trailerBytes;
      stop = covered;
      if (stop - start >= readBytes) break;
    }
    await pace(stop - start);
    const bytes = await read(start, stop - start);
    for (; i <= Math.min(until, blocks.length - 1); i++) {
      const { offset, size, looksInto = false } = blocks[i] as CheckedBlock;
      const at = offset - start;
      if (!isSound(bytes, at, at + size)) return `the block at byte ${offset} fails its CRC`;
      const isSense = !looksInto || areEntries(bytes.subarray(at, at + size + trailerBytes));
      if (!isSense) return `the entries of the block at byte ${offset} make no sense`;
    }
  }
  return covered === end ? undefined : `its blocks end at byte ${covered}, not ${end}`;
}

/** Whether a block with its trailer holds entries in the order of LevelDB. */
function areEntries(block: Uint8Array): boolean {
  try {
    const versions = versionsIn(openBlock(block));
    return versions.every((version, i) => {
      const before = versions[i - 1];
      if (before === undefined) return true;
      const order = Buffer.compare(before.key, version.key);
      return order < 0 || (order === 0 && before.sequence > version.sequence);
    });
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** A footer is padded with zeros after the handles. */
function isFooterOf(footer: Uint8Array, meta: BlockHandle, index: BlockHandle): boolean {
  const expected = new Uint8Array(footerHandlesBytes);
  let offset = 0;
  for (const number of [meta.offset, meta.size, index.offset, index.size]) {
    offset = writeVarint(expected, offset, number);
  }
  return Buffer.compare(expected, footer.subarray(0, footerHandlesBytes)) === 0;
}
