// Reads LevelDB's MANIFEST: its live tables and the number of its oldest live write-ahead log. The
// records are version edits, which are lists of tagged fields. Source: db/version_edit.cc of
// google/leveldb.

import { WireReader } from "../../../domain/wire.ts";

export interface Manifest {
  /** Write-ahead logs with a smaller number are obsolete. The log with this number must exist. */
  readonly logNumber: number;
  /** The last sequence number in tables. */
  readonly lastSequence: number;
  /** The live tables: number to length in bytes. */
  readonly tables: ReadonlyMap<number, number>;
  /** The first and last key of each live table. */
  readonly ranges: ReadonlyMap<number, TableRange>;
}

/** Both inclusive. */
export interface KeyBounds {
  readonly first: Uint8Array;
  readonly last: Uint8Array;
}

/** The keys of tables overlap on level 0 only. */
export interface TableRange extends KeyBounds {
  readonly level: number;
}

interface NewTable extends TableRange {
  readonly number: number;
  readonly bytes: number;
}

/** LevelDB appends a sequence number and a kind to each key. */
export const internalBytes = 8;

/** Folds version edits. Throws `RangeError` on malformed ones. */
export function foldManifest(edits: readonly Uint8Array[]): Manifest {
  const tables = new Map<number, number>();
  const ranges = new Map<number, TableRange>();
  let logNumber = 0;
  let lastSequence = 0;
  for (const edit of edits) {
    const deleted: number[] = [];
    const added: NewTable[] = [];
    const reader = new WireReader(edit);
    while (!reader.done) {
      const tag = reader.varint();
      if (tag === 1) reader.view();
      else if (tag === 2) logNumber = reader.varint();
      else if (tag === 3 || tag === 9) reader.varint();
      else if (tag === 4) lastSequence = reader.varint();
      else if (tag === 5) skipLevelAndKey(reader);
      else if (tag === 6) deleted.push(skipLevel(reader));
      else if (tag === 7) added.push(newTable(reader));
      else throw new RangeError(`manifest: unknown tag ${tag}`);
    }
    for (const number of deleted) {
      tables.delete(number);
      ranges.delete(number);
    }
    for (const { number, bytes, level, first, last } of added) {
      tables.set(number, bytes);
      ranges.set(number, { level, first, last });
    }
  }
  return { logNumber, lastSequence, tables, ranges };
}

function skipLevelAndKey(reader: WireReader): void {
  reader.varint();
  reader.view();
}

function skipLevel(reader: WireReader): number {
  reader.varint();
  return reader.varint();
}

function newTable(reader: WireReader): NewTable {
  const level = reader.varint();
  const number = reader.varint();
  const bytes = reader.varint();
  return { number, bytes, level, first: userKey(reader.view()), last: userKey(reader.view()) };
}

function userKey(internal: Uint8Array): Uint8Array {
  return internal.subarray(0, Math.max(0, internal.length - internalBytes));
}
