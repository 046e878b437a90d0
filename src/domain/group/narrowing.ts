// Narrows a group's query to one key, so that the index can find the events of that key. The result
// matches every event of the query with that key, and possibly others. Undefined: the key does not
// narrow the query.

import { categoryOf } from "../event.ts";
import type { GroupOrdering } from "./settings.ts";
import { anyEvent, type Query, type QueryItem } from "../query.ts";

export function narrowToKey(query: Query, ordering: GroupOrdering, key: string): Query | undefined {
  if (key === "" || ordering.kind === "none") return undefined;
  const items = query.items.length === 0 ? [anyEvent] : query.items;
  return { items: items.flatMap((item) => narrowed(item, ordering, key)) };
}

function narrowed(item: QueryItem, ordering: GroupOrdering, key: string): QueryItem[] {
  switch (ordering.kind) {
    case "stream":
      if (item.streams.length > 0 && !item.streams.includes(key)) return [];
      return [{ ...item, streams: [key] }];
    case "tag":
      return [{ ...item, tags: item.tags.includes(key) ? item.tags : [...item.tags, key] }];
    case "category":
      return inCategory(item, key);
    case "none":
      return [item];
  }
}

/**
 * The streams of a category: the stream of that name, and those whose name continues with a `-`.
 */
function inCategory(item: QueryItem, category: string): QueryItem[] {
  const { streams, streamPrefixes } = item;
  if (streams.length > 0) {
    const own = streams.filter((stream) => categoryOf(stream) === category);
    return own.length > 0 ? [{ ...item, streams: own }] : [];
  }
  const begin = `${category}-`;
  const itself = { ...item, streams: [category], streamPrefixes: [] };
  if (streamPrefixes.length === 0) return [itself, { ...item, streamPrefixes: [begin] }];
  const longer = streamPrefixes.filter((prefix) => prefix.startsWith(begin));
  const shorter = streamPrefixes.some((prefix) => begin.startsWith(prefix));
  const prefixes = shorter ? [begin] : longer;
  const isItself = streamPrefixes.some((prefix) => category.startsWith(prefix));
  return [
    ...(isItself ? [itself] : []),
    ...(prefixes.length > 0 ? [{ ...item, streamPrefixes: prefixes }] : []),
  ];
}
