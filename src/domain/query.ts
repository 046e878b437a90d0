// Queries select events. Reads, subscriptions and append conditions share one definition. Storage
// engines narrow by their index, but whether an event matches is decided here only.

import { auditStream, isSystemName, type EventHeader } from "./event.ts";

/**
 * One alternative of a query. An event must match every part that is not empty. An empty item
 * matches every event.
 */
export interface QueryItem {
  /** The event's stream is one of these. Empty: any stream, or none. */
  readonly streams: readonly string[];
  /** The event's stream begins with one of these. Empty: any. */
  readonly streamPrefixes: readonly string[];
  /** The event's type is one of these. Empty: any. */
  readonly types: readonly string[];
  /** The event has all of these tags. Empty: any. */
  readonly tags: readonly string[];
  /** The event has at least one of these tags. Empty: any. */
  readonly tagsAny: readonly string[];
}

/** An item that every event matches, to be narrowed. */
export const anyEvent: QueryItem = Object.freeze({
  streams: [],
  streamPrefixes: [],
  types: [],
  tags: [],
  tagsAny: [],
});

/** An event matches if it matches at least one item; a query without items matches every event. */
export interface Query {
  readonly items: readonly QueryItem[];
}

/** Besides the characters of a name: its object, and the places where it is filed. */
const nameBytes = 128;

/** About the bytes that a query takes in memory. */
export function queryBytes({ items }: Query): number {
  let bytes = 0;
  for (const item of items) for (const name of valuesOf(item)) bytes += name.length + nameBytes;
  return bytes;
}

/** All values of an item. */
export function valuesOf({ streams, streamPrefixes, types, tags, tagsAny }: QueryItem): string[] {
  return [...streams, ...streamPrefixes, ...types, ...tags, ...tagsAny];
}

/**
 * The events of a read or subscription. `withSystem`: system events too, but for the audit trail,
 * which is read by naming it.
 */
export type Selection =
  | { readonly kind: "all"; readonly withSystem?: true }
  | { readonly kind: "stream"; readonly stream: string; readonly withSystem?: true }
  | { readonly kind: "query"; readonly query: Query };

export const selectAll: Selection = Object.freeze({ kind: "all" });

/** Whether the selection includes the event. */
export function selects(selection: Selection, event: EventHeader): boolean {
  switch (selection.kind) {
    case "all":
      if (!isSystemName(event.type)) return true;
      return selection.withSystem === true && event.stream !== auditStream;
    case "stream":
      return (
        event.stream === selection.stream &&
        (selection.withSystem === true ||
          !isSystemName(event.type) ||
          isSystemName(selection.stream))
      );
    case "query":
      return matches(selection.query, event);
  }
}

/**
 * Whether the event matches the query. A system event only matches items that name its type or its
 * system stream.
 */
export function matches(query: Query, event: EventHeader): boolean {
  if (query.items.length === 0) return !isSystemName(event.type);
  return query.items.some((item) => matchesItem(item, event));
}

function matchesItem(item: QueryItem, event: EventHeader): boolean {
  const { streams, streamPrefixes, types, tags, tagsAny } = item;
  if (streams.length > 0 && !streams.includes(event.stream)) return false;
  if (types.length > 0 && !types.includes(event.type)) return false;
  for (const tag of tags) if (!event.tags.includes(tag)) return false;
  if (tagsAny.length > 0 && !event.tags.some((tag) => tagsAny.includes(tag))) return false;
  if (streamPrefixes.length > 0) {
    if (!streamPrefixes.some((prefix) => event.stream.startsWith(prefix))) return false;
  }
  if (!isSystemName(event.type)) return true;
  // An item names a system event by its type, or by its stream if that is a system stream.
  return types.length > 0 || (streams.length > 0 && isSystemName(event.stream));
}

/** The streams of an item that can match: those that begin with one of its prefixes. */
export function possibleStreams(item: QueryItem): readonly string[] {
  if (item.streamPrefixes.length === 0) return item.streams;
  return item.streams.filter((stream) =>
    item.streamPrefixes.some((prefix) => stream.startsWith(prefix)),
  );
}
