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
}

/** Folds version edits. Throws `RangeError` on malformed ones. */
export function foldManifest(edits: readonly Uint8Array[]): Manifest {
  const tables = new Map<number, number>();
  let logNumber = 0;
  let lastSequence = 0;
  for (const edit of edits) {
    const deleted: number[] = [];
    const added: [number, number][] = [];
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
    for (const number of deleted) tables.delete(number);
    for (const [number, bytes] of added) tables.set(number, bytes);
  }
  return { logNumber, lastSequence, tables };
}

function skipLevelAndKey(reader: WireReader): void {
  reader.varint();
  reader.view();
}

function skipLevel(reader: WireReader): number {
  reader.varint();
  return reader.varint();
}

function newTable(reader: WireReader): [number: number, bytes: number] {
  reader.varint();
  const number = reader.varint();
  const bytes = reader.varint();
  reader.view();
  reader.view();
  return [number, bytes];
}
