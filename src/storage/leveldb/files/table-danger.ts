// Which keys of a damaged table LevelDB must not read. It never checks a block's CRC. Of most
// damaged blocks it says that they are corrupted, or it returns wrong bytes, which our own
// checksums tell. But where an entry's key is shorter than LevelDB's own part of it, as in a sector
// of zeros, an assertion ends the process.

import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { WireReader } from "../../../domain/wire.ts";
import type { AvoidedRange } from "../kv/kv.ts";
import { liveManifest } from "./database-check.ts";
import { littleEndian32 } from "./log-file.ts";
import { internalBytes, type KeyBounds, type Manifest } from "./manifest.ts";
import { snappyDecompress } from "./snappy.ts";
import {
  blockEntries,
  isSound,
  openHandle,
  trailerBytes,
  versionsIn,
  type BlockHandle,
} from "./table-blocks.ts";
import { footerBytes, openFooter, openIndex } from "./table-file.ts";

const contentsBytesMax = 256 * 1024 * 1024;

/** Empty: LevelDB can read the table, though some of it may be wrong. */
export async function dangersIn(path: string, why: string): Promise<AvoidedRange[]> {
  const file = await readFile(path);
  const neighbours = neighboursOf(
    await liveManifest(dirname(path)),
    Number.parseInt(basename(path), 10),
  );
  const handles = handlesIn(file);
  if (handles === undefined) return [{ ...neighbours, why }];
  const dangers: AvoidedRange[] = [];
  for (const [i, handle] of handles.entries()) {
    if (!isDangerous(file, handle)) continue;
    // An iterator that leaves the block before, or comes back from the one behind, enters it.
    const before = nearest(file, handles.slice(0, i).toReversed())?.last ?? neighbours.first;
    const behind = nearest(file, handles.slice(i + 1))?.first ?? neighbours.last;
    dangers.push({ first: before, last: behind, why });
  }
  return dangers;
}

/** The keys nearest to the table on its level. Undefined: any key may lead into it. */
function neighboursOf({ ranges }: Manifest, number: number): Omit<AvoidedRange, "why"> {
  const own = ranges.get(number);
  if (own === undefined || own.level === 0) return { first: undefined, last: undefined };
  const others = [...ranges.values()].filter(({ level }) => level === own.level);
  const before = others.filter(({ last }) => Buffer.compare(last, own.first) < 0);
  const behind = others.filter(({ first }) => Buffer.compare(first, own.last) > 0);
  return {
    first: before
      .map(({ last }) => last)
      .toSorted((a, b) => Buffer.compare(a, b))
      .at(-1),
    last: behind.map(({ first }) => first).toSorted((a, b) => Buffer.compare(a, b))[0],
  };
}

/** Undefined: the index is damaged. */
function handlesIn(file: Buffer): BlockHandle[] | undefined {
  try {
    const { index } = openFooter(file.subarray(-footerBytes), file.length);
    const end = index.offset + index.size + trailerBytes;
    const contents = openIndex(file.subarray(index.offset, end));
    return [...blockEntries(contents)].map(([, value]) => openHandle(new WireReader(value)));
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function isDangerous(file: Uint8Array, { offset, size }: BlockHandle): boolean {
  const end = offset + size;
  if (end + trailerBytes > file.length) return true;
  if (isSound(file, offset, end) || (file[end] as number) > 1) return false;
  let contents = file.subarray(offset, end);
  try {
    if (file[end] === 1) contents = snappyDecompress(contents, contentsBytesMax);
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
  return !isDecodable(contents);
}

/** Whether every key in the block is one of LevelDB's, wherever it begins to decode. */
function isDecodable(block: Uint8Array): boolean {
  try {
    versionsIn(block);
    const restarts = littleEndian32(block, block.length - 4);
    const end = block.length - 4 - restarts * 4;
    for (let i = 0; i < restarts; i++) {
      const at = littleEndian32(block, end + i * 4);
      const reader = new WireReader(block, at, end);
      if (at >= end || reader.varint() !== 0 || reader.varint() < internalBytes) return false;
    }
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** The keys of the first of these blocks that can be read. */
function nearest(file: Uint8Array, handles: readonly BlockHandle[]): KeyBounds | undefined {
  for (const handle of handles) {
    const bounds = boundsOf(file, handle);
    if (bounds !== undefined) return bounds;
  }
  return undefined;
}

/** Undefined: the block is damaged too. */
function boundsOf(file: Uint8Array, handle: BlockHandle): KeyBounds | undefined {
  const { offset, size } = handle;
  const isCompressed = file[offset + size] === 1;
  const bytes = file.subarray(offset, offset + size);
  if (offset + size + trailerBytes > file.length) return undefined;
  if (!isSound(file, offset, offset + size)) return undefined;
  try {
    const versions = versionsIn(isCompressed ? snappyDecompress(bytes, contentsBytesMax) : bytes);
    const [first, last] = [versions[0]?.key, versions.at(-1)?.key];
    return first && last && { first, last };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
