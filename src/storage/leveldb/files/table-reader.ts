// Reads the entries of one table in the order of their keys, forwards or backwards, without
// LevelDB. Every block is checked before it is used. A reader that is told of damage goes on behind
// it; any other one throws CORRUPTION. Of thousands of tables few are open at a time.

import { open, readFile, type FileHandle } from "node:fs/promises";
import { basename } from "node:path";
import { corruption } from "../../../domain/errors.ts";
import { WireReader } from "../../../domain/wire.ts";
import { internalBytes, type KeyBounds } from "./manifest.ts";
import {
  findBlocks,
  openBlock,
  openHandle,
  trailerBytes,
  versionsIn,
  visitEntries,
  type BlockHandle,
  type Version,
} from "./table-blocks.ts";
import { footerBytes, openFooter, openIndex } from "./table-file.ts";

/** Versions of keys in the order of the keys, the newest version of a key first. */
export interface VersionSource {
  /** The first and last key it may hold. Undefined: it holds nothing. */
  bounds(): Promise<KeyBounds | undefined>;
  /** The versions of the keys from `first` to `last`, in parts. */
  walk(range: KeyBounds, reverse: boolean): AsyncGenerator<readonly Version[]>;
  close(): Promise<void>;
}

interface IndexedBlock extends BlockHandle {
  /** No key in the block is greater, and none in the next one is smaller. */
  readonly last: Uint8Array;
}

/** The blocks of a table in the order of their keys. An array is one. */
interface BlockList {
  readonly length: number;
  at(i: number): IndexedBlock | undefined;
}

/** Without an object for each block: a table has one for each 4 KiB. */
class BlockIndex implements BlockList {
  readonly length: number;
  private readonly contents: Uint8Array;
  /** For each block, where in the contents its entry's key and value begin, and where it ends. */
  private readonly places: readonly number[];

  /** `contents`: an index block, whose entries share no keys. Throws `RangeError`. */
  constructor(contents: Uint8Array) {
    const places: number[] = [];
    visitEntries(contents, (shared, start, valueStart, end) => {
      if (shared > 0) throw new RangeError("its index shares keys");
      places.push(start, valueStart, end);
    });
    this.contents = contents;
    this.places = places;
    this.length = places.length / 3;
  }

  at(i: number): IndexedBlock | undefined {
    const [start, value, end] = this.places.slice(i * 3, i * 3 + 3);
    if (start === undefined || value === undefined) return undefined;
    const { offset, size } = openHandle(new WireReader(this.contents, value, end));
    const last = this.contents.subarray(start, Math.max(start, value - internalBytes));
    return { offset, size, last };
  }
}

export interface ReadingOptions {
  /** Called with each damage of the file. Absent: damage is CORRUPTION. */
  readonly damaged?: ((damage: string) => void) | undefined;
  /** Where the MANIFEST tells it. Absent: found out from the table. */
  readonly bounds?: KeyBounds | undefined;
  /** Which tables stay open. Shared by the readers of a database. */
  readonly resting: RestingTables;
}

const cachedBlocksMax = 16;
const restingMax = 32;

/** Tables that nobody walks through. The last few keep their descriptor, index and blocks. */
export class RestingTables {
  private readonly tables = new Set<TableReader>();

  /** Closes the table that has rested longest, if there are too many. */
  async add(table: TableReader): Promise<void> {
    this.tables.add(table);
    if (this.tables.size <= restingMax) return;
    const [oldest] = this.tables;
    this.tables.delete(oldest as TableReader);
    await (oldest as TableReader).close();
  }

  remove(table: TableReader): void {
    this.tables.delete(table);
  }
}

export class TableReader implements VersionSource {
  private readonly path: string;
  private readonly options: ReadingOptions;
  private file: Promise<FileHandle> | undefined;
  private index: Promise<BlockList> | undefined;
  private readonly cache = new Map<number, readonly Version[]>();
  private walks = 0;
  /** The index was lost, and finding the blocks took a walk through the whole file. */
  private isFound = false;

  constructor(path: string, options: ReadingOptions) {
    this.path = path;
    this.options = options;
  }

  async bounds(): Promise<KeyBounds | undefined> {
    if (this.options.bounds !== undefined) return this.options.bounds;
    this.begin();
    try {
      const blocks = await this.blocks();
      const last = blocks.at(blocks.length - 1)?.last;
      for (let i = 0; i < blocks.length; i++) {
        const first = (await this.versions(blocks.at(i) as IndexedBlock))[0]?.key;
        if (first !== undefined && last !== undefined) return { first, last };
      }
      return undefined;
    } finally {
      await this.rest();
    }
  }

  async *walk({ first, last }: KeyBounds, reverse: boolean): AsyncGenerator<readonly Version[]> {
    this.begin();
    try {
      const blocks = await this.blocks();
      const from = firstWhere(blocks, (end) => Buffer.compare(end, first) >= 0);
      const behind = firstWhere(blocks, (end) => Buffer.compare(end, last) > 0);
      const to = Math.min(behind, blocks.length - 1);
      for (let i = from; i <= to; i++) {
        const block = blocks.at(reverse ? to + from - i : i) as IndexedBlock;
        const within = (await this.versions(block)).filter(
          ({ key }) => Buffer.compare(key, first) >= 0 && Buffer.compare(key, last) <= 0,
        );
        if (within.length > 0) yield reverse ? within.toReversed() : within;
      }
    } finally {
      await this.rest();
    }
  }

  async close(): Promise<void> {
    const file = this.file;
    this.file = undefined;
    this.cache.clear();
    if (!this.isFound) this.index = undefined;
    await (await file)?.close();
  }

  private begin(): void {
    this.walks++;
    this.options.resting.remove(this);
  }

  private async rest(): Promise<void> {
    this.walks--;
    if (this.walks === 0) await this.options.resting.add(this);
  }

  private async blocks(): Promise<BlockList> {
    this.index ??= this.readIndex().catch(async (error: unknown) => {
      const { damaged } = this.options;
      if (!(error instanceof RangeError) || damaged === undefined) {
        this.index = undefined;
        throw this.failure(error);
      }
      damaged(`table ${basename(this.path)}: ${error.message}`);
      this.isFound = true;
      return this.foundBlocks();
    });
    return this.index;
  }

  private async readIndex(): Promise<BlockList> {
    const { size } = await (await this.opened()).stat();
    if (size < footerBytes) throw new RangeError("it is too short");
    const { index } = openFooter(await this.bytes(size - footerBytes, footerBytes), size);
    return new BlockIndex(openIndex(await this.bytes(index.offset, index.size + trailerBytes)));
  }

  /** The blocks of a table without an index, in the order of their keys. */
  private async foundBlocks(): Promise<IndexedBlock[]> {
    const file = await readFile(this.path);
    const blocks: IndexedBlock[] = [];
    for (const { offset, size } of findBlocks(file)) {
      try {
        const block = openBlock(file.subarray(offset, offset + size + trailerBytes));
        const last = versionsIn(block).at(-1)?.key;
        if (last !== undefined) blocks.push({ offset, size, last: Buffer.from(last) });
      } catch (error) {
        // A block of the index or the filter, which hold no entries of this form.
        if (!(error instanceof RangeError)) throw error;
      }
    }
    return blocks.filter(({ last }, i) => {
      const before = blocks[i - 1];
      return before === undefined || Buffer.compare(before.last, last) <= 0;
    });
  }

  private async versions({ offset, size }: BlockHandle): Promise<readonly Version[]> {
    const known = this.cache.get(offset);
    if (known !== undefined) return known;
    let versions: readonly Version[];
    try {
      const bytes = await this.bytes(offset, size + trailerBytes);
      versions = versionsIn(openBlock(bytes, `the block at byte ${offset}`));
    } catch (error) {
      const isUnreadable = (error as NodeJS.ErrnoException).code === "EIO";
      const { damaged } = this.options;
      if (damaged === undefined || !(isUnreadable || error instanceof RangeError)) {
        throw this.failure(error);
      }
      const { message } = error as Error;
      damaged(`table ${basename(this.path)}: ${message}`);
      versions = [];
    }
    this.cache.set(offset, versions);
    if (this.cache.size > cachedBlocksMax) {
      for (const oldest of this.cache.keys()) {
        this.cache.delete(oldest);
        break;
      }
    }
    return versions;
  }

  private async bytes(offset: number, length: number): Promise<Uint8Array> {
    const file = await this.opened();
    const buffer = Buffer.allocUnsafe(length);
    const { bytesRead } = await file.read(buffer, 0, length, offset);
    if (bytesRead !== length) throw new RangeError("it lies beyond the end of the file");
    return buffer;
  }

  private opened(): Promise<FileHandle> {
    this.file ??= open(this.path, "r").catch((error: NodeJS.ErrnoException) => {
      this.file = undefined;
      throw error.code === "ENOENT" ? new RangeError("it is missing") : error;
    });
    return this.file;
  }

  private failure(error: unknown): unknown {
    const isUnreadable = (error as NodeJS.ErrnoException).code === "EIO";
    if (!(isUnreadable || error instanceof RangeError)) return error;
    return corruption(`table ${basename(this.path)}: ${(error as Error).message}`, {}, error);
  }
}

/** The first block for which this holds of its last key, as it then does for all behind it. */
function firstWhere(blocks: BlockList, holds: (last: Uint8Array) => boolean): number {
  let from = 0;
  for (let to = blocks.length; from < to;) {
    const middle = (from + to) >>> 1;
    if (holds((blocks.at(middle) as IndexedBlock).last)) to = middle;
    else from = middle + 1;
  }
  return from;
}
