// The conditions of an append on its fast path, read from the request's bytes. Most of them are a
// few names and a position. For all others, the generated codec reads them in steps, and refuses
// them by name.

import type { AppendCondition } from "../../domain/append.ts";
import type { Limits } from "../../domain/limits.ts";
import type { Query, QueryItem } from "../../domain/query.ts";
import { WireReader } from "../../domain/wire.ts";
import { leave, nameIn, NotPlain } from "./plain-fields.ts";

/** Larger conditions are read in steps. */
const plainBytesMax = 2_048;

/** What the conditions of one append name, over all of them. */
interface Named {
  items: number;
  values: number;
}

/** Undefined: the generated codec has to read them. Does not throw for any bytes. */
export function plainConditions(
  views: readonly Uint8Array[],
  limits: Limits,
): AppendCondition[] | undefined {
  let bytes = 0;
  for (const view of views) bytes += view.length;
  if (bytes > plainBytesMax) return undefined;
  const named: Named = { items: 0, values: 0 };
  try {
    const conditions = views.map((view) => conditionIn(view, limits, named));
    const isTooMuch = named.items > limits.queryItemsMax || named.values > limits.queryValuesMax;
    return isTooMuch ? undefined : conditions;
  } catch (error) {
    if (error instanceof NotPlain || error instanceof RangeError) return undefined;
    throw error;
  }
}

function conditionIn(view: Uint8Array, limits: Limits, named: Named): AppendCondition {
  const reader = new WireReader(view, 0, view.length, true);
  let query: Query | undefined;
  let after: number | undefined;
  let mayBeAhead = false;
  while (!reader.done) {
    switch (view[reader.offset++]) {
      case 0x0a:
        if (query !== undefined) leave();
        query = queryIn(reader, limits, named);
        break;
      case 0x10:
        if (after !== undefined) leave();
        after = reader.varint();
        break;
      case 0x18:
        if (mayBeAhead || reader.varint() !== 1) leave();
        mayBeAhead = true;
        break;
      default:
        leave();
    }
  }
  if (query === undefined) leave();
  const condition = { query, after: after ?? 0 };
  return mayBeAhead ? { ...condition, mayBeAhead: true } : condition;
}

/** The reader is then behind the query. */
function queryIn(reader: WireReader, limits: Limits, named: Named): Query {
  const end = reader.lengthEnd();
  const items: QueryItem[] = [];
  while (reader.offset < end) {
    if (reader.bytes[reader.offset++] !== 0x0a) leave();
    const itemEnd = reader.lengthEnd();
    if (itemEnd > end) leave();
    items.push(itemIn(reader, itemEnd, limits, named));
  }
  named.items += items.length;
  return { items };
}

/** An item without prefixes of streams, which have to go with its streams. */
function itemIn(reader: WireReader, end: number, limits: Limits, named: Named): QueryItem {
  const streams: string[] = [];
  const types: string[] = [];
  const tags: string[] = [];
  const tagsAny: string[] = [];
  while (reader.offset < end) {
    switch (reader.bytes[reader.offset++]) {
      case 0x0a:
        streams.push(nameIn(reader, limits.streamNameBytesMax));
        break;
      case 0x1a:
        types.push(nameIn(reader, limits.typeBytesMax));
        break;
      case 0x22:
        tags.push(nameIn(reader, limits.tagBytesMax));
        break;
      case 0x2a:
        tagsAny.push(nameIn(reader, limits.tagBytesMax));
        break;
      default:
        leave();
    }
    named.values++;
  }
  // A name that ends after its item is malformed.
  if (reader.offset > end) leave();
  return { streams, streamPrefixes: [], types, tags, tagsAny };
}
