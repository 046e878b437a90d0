// Queries: which events. One meaning for reads, subscriptions and append conditions; the storage
// engines narrow by index, but what matches is decided here alone.

import { isSystemName, type EventHeader } from "./event.ts";

/** One alternative: all parts that are not empty must hold; an empty item matches every event. */
export interface QueryItem {
  /** The event's stream is one of these. Empty: any stream, or none. */
  readonly streams: readonly string[];
  /** The event's stream begins with one of these. Empty: any. */
  readonly streamPrefixes: readonly string[];
  /** The event's type is one of these. Empty: any. */
  readonly types: readonly string[];
  /** The event has all of these tags. Empty: any. */
  readonly tags: readonly string[];
}

/** An event matches if it matches at least one item; a query without items matches every event. */
export interface Query {
  readonly items: readonly QueryItem[];
}

/** Of which events a read or subscription is. */
export type Selection =
  | { readonly kind: "all" }
  | { readonly kind: "stream"; readonly stream: string }
  | { readonly kind: "query"; readonly query: Query };

export const selectAll: Selection = Object.freeze({ kind: "all" });

/** Whether the event is one the selection asks for. */
export function selects(selection: Selection, event: EventHeader): boolean {
  switch (selection.kind) {
    case "all":
      return !isSystemName(event.type);
    case "stream":
      return (
        event.stream === selection.stream &&
        (!isSystemName(event.type) || isSystemName(selection.stream))
      );
    case "query":
      return matches(selection.query, event);
  }
}

/** Whether the event matches the query. System events match only items that name them. */
export function matches(query: Query, event: EventHeader): boolean {
  if (query.items.length === 0) return !isSystemName(event.type);
  return query.items.some((item) => matchesItem(item, event));
}

function matchesItem(item: QueryItem, event: EventHeader): boolean {
  const { streams, streamPrefixes, types, tags } = item;
  if (streams.length > 0 && !streams.includes(event.stream)) return false;
  if (types.length > 0 && !types.includes(event.type)) return false;
  for (const tag of tags) if (!event.tags.includes(tag)) return false;
  if (streamPrefixes.length > 0) {
    if (!streamPrefixes.some((prefix) => event.stream.startsWith(prefix))) return false;
  }
  if (!isSystemName(event.type)) return true;
  // A system event is named by its type, or by its stream where that is a system stream.
  return types.length > 0 || (streams.length > 0 && isSystemName(event.stream));
}

/** The streams of an item that can match at all: those one of its prefixes begins. */
export function possibleStreams(item: QueryItem): readonly string[] {
  if (item.streamPrefixes.length === 0) return item.streams;
  return item.streams.filter((stream) =>
    item.streamPrefixes.some((prefix) => stream.startsWith(prefix)),
  );
}
