// `Kv` over `level`, with the options that were found best by measurement. Knows nothing about
// events.

import { setImmediate } from "node:timers/promises";
import { Level } from "level";
import { corruption } from "../../../domain/errors.ts";
import { memoryShare } from "../../../process-memory.ts";
import type { Entry, KeyRange, Kv, Operation, Scan } from "./kv.ts";
import { LevelScan } from "./level-scan.ts";
import { LookUps } from "./look-ups.ts";

type Database = Level<Buffer, Buffer>;

const pageBytesDefault = 512 * 1024;
const blockCacheBytes = 32 * 1024 * 1024 * memoryShare;
/**
 * Large write buffers and files keep the write rate constant; with the defaults, compaction makes
 * it decay.
 */
const writeBufferBytes = 64 * 1024 * 1024 * memoryShare;
const fileBytesMax = 32 * 1024 * 1024;

/** Operations that are given to LevelDB in one turn of the event loop: a few milliseconds. */
const operationsAtOnceMax = 2_000;

/** Opens the LevelDB in a folder. Creates one only if told to, and never repairs one. */
export async function openLevelKv(folder: string, createIfMissing: boolean): Promise<Kv> {
  const database = new Level<Buffer, Buffer>(folder, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
    createIfMissing,
    compression: true,
    cacheSize: blockCacheBytes,
    writeBufferSize: writeBufferBytes,
    maxFileSize: fileBytesMax,
  });
  await database.open();
  return overDatabase(database);
}

function overDatabase(database: Database): Kv {
  const lookUps = new LookUps(database);
  return {
    getMany: (keys) => lookUps.get(keys as Buffer[]).catch(rethrow),
    getNow(key) {
      try {
        return lookUps.now(key as Buffer);
      } catch (error) {
        rethrow(error);
      }
    },
    page: (range) => readPage(database, range).catch(rethrow),
    scan: (range) => checkedScan(new LevelScan(database, range)),
    frozen: (range) => checkedScan(frozenScan(database, range)),
    // A chained batch passes keys and values to LevelDB one by one, without an object for each.
    async write(operations) {
      const batch = database.batch();
      for (let i = 0; i < operations.length; i++) {
        if (i % operationsAtOnceMax === operationsAtOnceMax - 1) await setImmediate();
        const [key, value] = operations[i] as Operation;
        if (value === undefined) batch.del(key as Buffer);
        else batch.put(key as Buffer, value as Buffer);
      }
      // `sync` is an option of classic-level: the write-ahead log is synced before the promise
      // resolves.
      return batch.write({ sync: true } as object);
    },
    // An empty range above every key: LevelDB writes its memtable to a table and compacts nothing
    // else.
    flush: () => compact(database, Buffer.from([0xff, 0xff]), Buffer.from([0xff, 0xff])),
    compact: (first, last) => compact(database, first as Buffer, last as Buffer),
    close: () => database.close(),
  };
}

/** One iterator, which LevelDB reads as of the moment when it is made. */
function frozenScan(database: Database, range: KeyRange): Scan {
  const iterator = database.iterator({
    gte: range.first as Buffer,
    lte: range.last as Buffer,
    fillCache: range.fillCache ?? true,
    highWaterMarkBytes: range.bytesMax ?? pageBytesDefault,
  } as object);
  return { next: () => iterator.nextv(range.limit), close: () => iterator.close() };
}

function checkedScan(scan: Scan): Scan {
  return { next: () => scan.next().catch(rethrow), close: () => scan.close() };
}

/** `compactRange` is a method of classic-level that `level` does not declare. */
async function compact(database: Database, first: Buffer, last: Buffer): Promise<void> {
  if (!("compactRange" in database)) return;
  await (database as { compactRange(a: Buffer, b: Buffer): Promise<void> }).compactRange(
    first,
    last,
  );
}

/** Corruption that LevelDB itself detects becomes CORRUPTION, like what Annals detects. */
function rethrow(error: unknown): never {
  const { code, message } = error as Error & { code?: unknown };
  if (code !== "LEVEL_CORRUPTION") throw error;
  throw corruption(`LevelDB cannot read its tables: ${message}`, {}, error);
}

async function readPage(database: Database, range: KeyRange): Promise<Entry[]> {
  const iterator = database.iterator({
    gte: range.first as Buffer,
    lte: range.last as Buffer,
    reverse: range.reverse ?? false,
    limit: range.limit,
    fillCache: range.fillCache ?? true,
    values: range.keysOnly !== true,
    highWaterMarkBytes: range.bytesMax ?? pageBytesDefault,
  } as object);
  try {
    return await iterator.nextv(range.limit);
  } finally {
    await iterator.close();
  }
}
