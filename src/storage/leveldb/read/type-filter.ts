// Passes over the records of a chunk whose type a query does not name, by their bytes: where one
// event in ten has the type, nine are not decoded.

import { isAt } from "../../../domain/record-fields.ts";
import type { Selection } from "../../../domain/query.ts";
import { WireReader } from "../../../domain/wire.ts";

const tagType = 0x1a;
const wireTypeMask = 7;

/** So many different types are compared with each record. */
const typesMax = 8;

/** The types of which each event of a query has one. */
export class TypeFilter {
  /** Whether every event of one of the types is selected. */
  readonly isAll: boolean;
  private readonly types: readonly Buffer[];

  private constructor(types: readonly Buffer[], isAll: boolean) {
    this.types = types;
    this.isAll = isAll;
  }

  /** Undefined: events of other types may be selected, too, or of many. */
  static of(selection: Selection): TypeFilter | undefined {
    if (selection.kind !== "query") return undefined;
    const { items } = selection.query;
    const names = new Set(items.flatMap(({ types }) => types));
    const isNamed = items.length > 0 && items.every(({ types }) => types.length > 0);
    if (!isNamed || names.size > typesMax) return undefined;
    const isAll = items.every(({ streams, streamPrefixes, tags, tagsAny }) =>
      [streams, streamPrefixes, tags, tagsAny].every(({ length }) => length === 0),
    );
    return new TypeFilter(
      [...names].map((name) => Buffer.from(name)),
      isAll,
    );
  }

  /** Whether the framed record between two offsets may have one of the types. */
  mayPass(records: Uint8Array, start: number, end: number): boolean {
    const reader = new WireReader(records, start, end);
    // The frame's tag and length.
    reader.offset++;
    reader.varint();
    return this.mayPassAt(reader, end);
  }

  /** The same of the record that begins where the reader is, and ends at `end`. */
  mayPassAt(reader: WireReader, end: number): boolean {
    while (reader.offset < end) {
      const tag = reader.varint();
      if (tag !== tagType) {
        reader.passOver(tag & wireTypeMask);
        continue;
      }
      const length = reader.varint();
      for (const type of this.types) {
        if (isAt(reader.bytes, reader.offset, length, type)) return true;
      }
      return false;
    }
    return true;
  }
}
