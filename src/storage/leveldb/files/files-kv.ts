// LevelDB's files as a database for reading, without LevelDB: its tables and write-ahead logs,
// merged by key. The newest version of a key is its value. Nothing is ever written, so that a store
// can be looked at before LevelDB changes its files, and where LevelDB refuses them or must not
// meet what is damaged in them.

import { basename, join } from "node:path";
import { AnnalsError } from "../../../domain/errors.ts";
import type { Entry, KeyRange, ReadableKv, Scan } from "../kv/kv.ts";
import { openScan } from "../kv/scan.ts";
import type { DatabaseCheck } from "./database-check.ts";
import { readLog } from "./log-file.ts";
import type { KeyBounds } from "./manifest.ts";
import type { Version } from "./table-blocks.ts";
import { RestingTables, TableReader, type VersionSource } from "./table-reader.ts";
import { versionsOf } from "./write-batch.ts";

const pageBytesDefault = 512 * 1024;

export interface FilesKv extends ReadableKv {
  scan(range: KeyRange): Scan;
  close(): Promise<void>;
}

/**
 * `isProved`: what counts as a version of a key. Others are passed over, so that an older version
 * takes the place of a damaged one. Absent: all count.
 */
export function openFilesKv(
  sources: readonly VersionSource[],
  isProved?: (key: Uint8Array, value: Uint8Array) => boolean,
): FilesKv {
  const merged = new Merged(sources);
  const fill = async (entries: Entry[], range: KeyRange): Promise<void> => {
    const { limit, bytesMax = pageBytesDefault, reverse = false } = range;
    let bytes = 0;
    for await (const versions of merged.walk(range, reverse)) {
      const newest = versions.find(
        ({ key, value }) => value === undefined || isProved === undefined || isProved(key, value),
      );
      if (newest?.value === undefined) continue;
      entries.push([newest.key, newest.value]);
      bytes += newest.key.length + newest.value.length;
      if (entries.length >= limit || bytes >= bytesMax) break;
    }
  };
  const page = async (range: KeyRange): Promise<Entry[]> => {
    const entries: Entry[] = [];
    await fill(entries, range);
    return entries;
  };
  /** In a walk, a page that meets damage ends before it, and the next one is CORRUPTION. */
  const walked = async (range: KeyRange): Promise<Entry[]> => {
    const entries: Entry[] = [];
    await fill(entries, range).catch((error: unknown) => {
      if (!(error instanceof AnnalsError) || entries.length === 0) throw error;
    });
    return entries;
  };
  const getMany: ReadableKv["getMany"] = async (keys) => {
    const pages = keys.map((key) => page({ first: key, last: key, limit: 1 }));
    return (await Promise.all(pages)).map(([entry]) => entry?.[1]);
  };
  return {
    page,
    getMany,
    scan: (range) => openScan({ getMany, page: walked }, range),
    async close() {
      for (const source of sources) await source.close();
    },
  };
}

/**
 * A `Kv` over the checked files: what LevelDB will serve. `keeps` selects the keys to keep. A table
 * that is missing is damage.
 */
export function openLiveFiles(
  { folder, tables, ranges, logs }: DatabaseCheck,
  keeps: (key: Uint8Array) => boolean,
  damaged?: (damage: string) => void,
): FilesKv {
  const resting = new RestingTables();
  const paths = new Map(tables.map((path) => [Number.parseInt(basename(path), 10), path]));
  const readers = [...ranges].map(([number, bounds]) => {
    const path = paths.get(number) ?? join(folder, `${number}.ldb`);
    return new TableReader(path, { bounds, damaged, resting });
  });
  const logged: Version[] = [];
  for (const { bytes } of logs) {
    const { records, recordsBehind } = readLog(bytes);
    for (const record of [...records, ...recordsBehind]) logged.push(...keptOf(record, keeps));
  }
  return openFilesKv([...readers, sourceOf(logged)]);
}

/** A batch that makes no sense is a finding of the check. */
function keptOf(record: Uint8Array, keeps: (key: Uint8Array) => boolean): Version[] {
  try {
    return [...versionsOf(record)].filter(({ key }) => keeps(key));
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
}

/** The versions that a write-ahead log holds, in memory. */
export function sourceOf(versions: readonly Version[]): VersionSource {
  const sorted = versions.toSorted(
    (a, b) => Buffer.compare(a.key, b.key) || b.sequence - a.sequence,
  );
  const [first, last] = [sorted[0]?.key, sorted.at(-1)?.key];
  return {
    bounds: async () => (first && last ? { first, last } : undefined),
    async *walk(range, reverse) {
      const within = sorted.slice(
        lowerBound(sorted, range.first),
        lowerBound(sorted, Buffer.concat([range.last, Buffer.alloc(1)])),
      );
      yield reverse ? within.toReversed() : within;
    },
    async close() {},
  };
}

function lowerBound(sorted: readonly Version[], key: Uint8Array): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Buffer.compare((sorted[middle] as Version).key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A walk through one source, and how far it has come. */
interface Cursor {
  readonly parts: AsyncGenerator<readonly Version[]>;
  /** Empty at the end. */
  part: readonly Version[];
  at: number;
}

interface Bounded extends KeyBounds {
  readonly source: VersionSource;
}

class Merged {
  private readonly sources: readonly VersionSource[];
  private bounded: Promise<Bounded[]> | undefined;

  constructor(sources: readonly VersionSource[]) {
    this.sources = sources;
  }

  /** All versions of each key of the range, key by key, the newest first. */
  async *walk(range: KeyBounds, reverse: boolean): AsyncGenerator<readonly Version[]> {
    this.bounded ??= this.bind();
    const direction = reverse ? -1 : 1;
    const near = ({ first, last }: KeyBounds): Uint8Array => (reverse ? last : first);
    // A source is opened when the walk comes to its keys: there may be thousands.
    const waiting = (await this.bounded)
      .filter(
        ({ first, last }) =>
          Buffer.compare(last, range.first) >= 0 && Buffer.compare(first, range.last) <= 0,
      )
      .toSorted((a, b) => direction * Buffer.compare(near(a), near(b)));
    let cursors: Cursor[] = [];
    try {
      for (;;) {
        let key = nearest(cursors, direction);
        while (waiting[0] && (!key || direction * Buffer.compare(near(waiting[0]), key) <= 0)) {
          const { source } = waiting.shift() as Bounded;
          cursors.push(...(await begin(source, range, reverse)));
          key = nearest(cursors, direction);
        }
        if (key === undefined) return;
        const versions: Version[] = [];
        for (const cursor of cursors) await take(cursor, key, versions);
        cursors = cursors.filter(({ part }) => part.length > 0);
        yield versions.toSorted((a, b) => b.sequence - a.sequence);
      }
    } finally {
      for (const { parts } of cursors) await parts.return(undefined);
    }
  }

  private async bind(): Promise<Bounded[]> {
    const bounded: Bounded[] = [];
    for (const source of this.sources) {
      const bounds = await source.bounds();
      if (bounds !== undefined) bounded.push({ source, ...bounds });
    }
    return bounded;
  }
}

/** None: the source holds nothing of the range. */
async function begin(source: VersionSource, range: KeyBounds, reverse: boolean): Promise<Cursor[]> {
  const cursor: Cursor = { parts: source.walk(range, reverse), part: [], at: 0 };
  await turn(cursor);
  return cursor.part.length > 0 ? [cursor] : [];
}

/** The next key of all cursors. Undefined: they are at their ends. */
function nearest(cursors: readonly Cursor[], direction: 1 | -1): Uint8Array | undefined {
  let least: Uint8Array | undefined;
  for (const { part, at } of cursors) {
    const { key } = part[at] as Version;
    if (least === undefined || direction * Buffer.compare(key, least) < 0) least = key;
  }
  return least;
}

/** Takes all versions of a key that the cursor is at. */
async function take(cursor: Cursor, key: Uint8Array, into: Version[]): Promise<void> {
  for (;;) {
    const version = cursor.part[cursor.at];
    if (version === undefined || Buffer.compare(version.key, key) !== 0) return;
    into.push(version);
    cursor.at++;
    if (cursor.at === cursor.part.length) await turn(cursor);
  }
}

async function turn(cursor: Cursor): Promise<void> {
  do {
    const next = await cursor.parts.next();
    cursor.part = next.done === true ? [] : next.value;
    cursor.at = 0;
    if (next.done === true) return;
  } while (cursor.part.length === 0);
}
