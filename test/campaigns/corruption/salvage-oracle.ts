// What a damaged store may lose when it is salvaged: the chunks in the bytes that are damaged, and
// nothing else. Found out from the store before it was damaged.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { WireReader } from "../../../src/domain/wire.ts";
import {
  blockEntries,
  openBlock,
  openHandle,
  trailerBytes,
  versionsIn,
} from "../../../src/storage/leveldb/files/table-blocks.ts";
import {
  footerBytes,
  openFooter,
  openIndex,
} from "../../../src/storage/leveldb/files/table-file.ts";
import { readBatch } from "../../../src/storage/leveldb/files/write-batch.ts";
import { readUint64 } from "../../../src/storage/leveldb/format/keys.ts";
import type { StoreFile, Trial } from "./trials.ts";

/** Positions that are stored in some bytes of a file. */
interface Stored {
  readonly path: string;
  readonly from: number;
  readonly to: number;
  readonly positions: readonly number[];
}

const logBlockBytes = 32 * 1024;

/** Where in the files of an intact store its chunks are. */
export function whereStored(folder: string, files: readonly StoreFile[]): Stored[] {
  return files.flatMap(({ path }) => {
    const bytes = readFileSync(join(folder, path));
    if (/\.(ldb|sst)$/.test(path)) return inTable(path, bytes);
    return path.endsWith(".log") ? inLog(path, bytes) : [];
  });
}

function inTable(path: string, bytes: Buffer): Stored[] {
  const { index } = openFooter(bytes.subarray(-footerBytes), bytes.length);
  const end = index.offset + index.size + trailerBytes;
  const handles = [...blockEntries(openIndex(bytes.subarray(index.offset, end)))];
  return handles.map(([, value]) => {
    const { offset: from, size } = openHandle(new WireReader(value));
    const to = from + size + trailerBytes;
    const positions = versionsIn(openBlock(bytes.subarray(from, to))).flatMap(
      ({ key, value: chunk }) =>
        key[0] === 0x63 && chunk ? positionsOf(readUint64(chunk, 8), readUint64(key, 1)) : [],
    );
    return { path, from, to, positions };
  });
}

/** Record by record, as LevelDB wrote them: a header of 7 bytes before each fragment. */
function inLog(path: string, bytes: Buffer): Stored[] {
  const stored: Stored[] = [];
  let parts: Buffer[] = [];
  let from = 0;
  for (let at = 0; at + 7 <= bytes.length;) {
    const room = logBlockBytes - (at % logBlockBytes);
    const type = bytes[at + 6] as number;
    if (room < 7 || type === 0) {
      at += room;
      continue;
    }
    if (parts.length === 0) from = at;
    const end = at + 7 + bytes.readUInt16LE(at + 4);
    parts.push(bytes.subarray(at + 7, end));
    at = end;
    if (type !== 1 && type !== 4) continue;
    const { chunks } = readBatch(Buffer.concat(parts));
    const positions = chunks.flatMap(({ first, last }) => positionsOf(first, last));
    stored.push({ path, from, to: end, positions });
    parts = [];
  }
  return stored;
}

function positionsOf(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** The positions that a fault may cost. */
export function mayLose(stored: readonly Stored[], { file, fault }: Trial): Set<number> {
  const [from, to] = damagedBytes(file, fault);
  const hit = stored.filter((each) => each.path === file.path && each.from < to && each.to > from);
  return new Set(hit.flatMap(({ positions }) => positions));
}

function damagedBytes(file: StoreFile, fault: Trial["fault"]): [from: number, to: number] {
  switch (fault.kind) {
    case "flip":
      return [fault.byte, fault.byte + 1];
    case "truncate":
      return [fault.bytes, file.bytes];
    case "zero":
      return [fault.from, fault.from + 512];
    case "remove":
      return [0, file.bytes];
  }
}
