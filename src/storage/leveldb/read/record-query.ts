// Whether a query selects framed records, by their bytes: nothing of them is decoded. For queries
// that name types and tags. That it says the same as domain/query.ts is tested.

import { isAt } from "../../../domain/record-fields.ts";
import { enterFrame } from "../../../domain/record.ts";
import type { QueryItem, Selection } from "../../../domain/query.ts";
import { WireReader } from "../../../domain/wire.ts";

const tagType = 0x1a;
const tagTag = 0x22;
const tagPosition = 0x50;
const wireTypeMask = 7;
/** The first character of the names that belong to the system. */
const dollar = 0x24;

/** So many names are compared with those of each record. */
const namesMax = 16;

interface Item {
  readonly types: readonly Buffer[];
  readonly tags: readonly Buffer[];
  /** A bit for each of the tags that the record has. */
  found: number;
}

export class RecordQuery {
  /** Of the record that was looked at last. */
  position = 0;
  private readonly items: readonly Item[];

  private constructor(items: readonly Item[]) {
    this.items = items;
  }

  /** Undefined: the selection names something else, or too much. */
  static of(selection: Selection): RecordQuery | undefined {
    if (selection.kind !== "query") return undefined;
    const { items } = selection.query;
    let names = 0;
    for (const { types, tags } of items) names += types.length + tags.length;
    const isPlain = items.length > 0 && names <= namesMax && items.every(isOfTypesAndTags);
    return isPlain ? new RecordQuery(items.map(bytesOf)) : undefined;
  }

  /** Throws `RangeError` on malformed bytes. */
  selects(frame: Uint8Array): boolean {
    const { items } = this;
    const reader = new WireReader(frame);
    const end = enterFrame(reader);
    for (const item of items) item.found = 0;
    this.position = 0;
    let [type, typeEnd] = [0, 0];
    while (reader.offset < end) {
      const tag = reader.varint();
      if (tag === tagPosition) this.position = reader.varint();
      else if (tag === tagType) {
        typeEnd = reader.lengthEnd();
        type = reader.offset;
        reader.offset = typeEnd;
      } else if (tag === tagTag) {
        const tagEnd = reader.lengthEnd();
        for (const item of items) meet(item, frame, reader.offset, tagEnd);
        reader.offset = tagEnd;
      } else reader.passOver(tag & wireTypeMask);
    }
    const isOfSystem = typeEnd > type && frame[type] === dollar;
    for (const { types, tags, found } of items) {
      if (found !== 2 ** tags.length - 1) continue;
      // A system event only matches items that name its type.
      if (types.length === 0 && !isOfSystem) return true;
      for (const name of types) if (isAt(frame, type, typeEnd - type, name)) return true;
    }
    return false;
  }
}

function isOfTypesAndTags({ streams, streamPrefixes, tagsAny }: QueryItem): boolean {
  return streams.length + streamPrefixes.length + tagsAny.length === 0;
}

function bytesOf({ types, tags }: QueryItem): Item {
  const named = (names: readonly string[]) => names.map((name) => Buffer.from(name));
  return { types: named(types), tags: named(tags), found: 0 };
}

/** Adds the bit of the tag that it is. */
function meet(item: Item, bytes: Uint8Array, start: number, end: number): void {
  const { tags } = item;
  for (let i = 0; i < tags.length; i++) {
    if (isAt(bytes, start, end - start, tags[i] as Buffer)) item.found |= 1 << i;
  }
}
