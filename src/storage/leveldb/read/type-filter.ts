// Passes over the records of a chunk whose type a query does not name, by their bytes: where one
// event in ten has the type, nine are not decoded.

import type { Selection } from "../../../domain/query.ts";
import { WireReader } from "../../../domain/wire.ts";

const tagType = 0x1a;
const wireTypeMask = 7;

/** So many different types are compared with each record. */
const typesMax = 8;

/** The types of which each event of a query has one. */
export class TypeFilter {
  private readonly types: readonly Buffer[];

  private constructor(types: readonly Buffer[]) {
    this.types = types;
  }

  /** Undefined: events of other types may be selected, too, or of many. */
  static of(selection: Selection): TypeFilter | undefined {
    if (selection.kind !== "query") return undefined;
    const { items } = selection.query;
    const names = new Set(items.flatMap(({ types }) => types));
    const isNamed = items.length > 0 && items.every(({ types }) => types.length > 0);
    if (!isNamed || names.size > typesMax) return undefined;
    return new TypeFilter([...names].map((name) => Buffer.from(name)));
  }

  /** Whether the framed record between two offsets may have one of the types. */
  mayPass(records: Uint8Array, start: number, end: number): boolean {
    const reader = new WireReader(records, start, end);
    // The frame's tag and length.
    reader.offset++;
    reader.varint();
    while (reader.offset < end) {
      const tag = reader.varint();
      if (tag !== tagType) reader.passOver(tag & wireTypeMask);
      else return this.isOne(records, reader.varint(), reader.offset);
    }
    return true;
  }

  private isOne(bytes: Uint8Array, length: number, start: number): boolean {
    for (const type of this.types) {
      if (type.length !== length) continue;
      // From the end: types often begin alike.
      let i = length - 1;
      while (i >= 0 && bytes[start + i] === type[i]) i--;
      if (i < 0) return true;
    }
    return false;
  }
}
