// Selections: one stream, a query, or all events.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { QuerySchema } from "../../gen/annals/v1/query_pb.js";
import { invalidField, type InvalidArgumentError } from "./errors.ts";

/** One alternative of a query. An event matches it if it matches every part that is present. */
export interface QueryItem {
  /** The event's stream is one of these. */
  readonly streams?: readonly string[] | undefined;
  /** The event's stream begins with one of these. */
  readonly streamPrefixes?: readonly string[] | undefined;
  /** The event's type is one of these. */
  readonly types?: readonly string[] | undefined;
  /** The event has all of these tags. */
  readonly tags?: readonly string[] | undefined;
  /** The event has at least one of these tags. */
  readonly tagsAny?: readonly string[] | undefined;
}

/** An event matches if it matches one of the items; `{}` is every event. */
export type Query = QueryItem | readonly QueryItem[];

/** Without `stream` and `query`: every event of the store. */
export type Selection =
  | { readonly stream: string; readonly query?: undefined }
  | { readonly stream?: undefined; readonly query: Query }
  | { readonly stream?: undefined; readonly query?: undefined };

export type WireQuery = MessageInitShape<typeof QuerySchema>;

/**
 * In the contract an absent list means "any". A list that is empty by mistake would match
 * everything, so it is refused here.
 */
export function wireQuery(query: Query, name: string): WireQuery {
  const items: readonly QueryItem[] = Array.isArray(query) ? query : [query];
  if (items.length === 0) throw emptyList(name);
  return {
    items: items.map((item, index) => {
      const { streams, streamPrefixes, types, tags, tagsAny } = item;
      for (const [part, list] of Object.entries({ streams, streamPrefixes, types, tagsAny })) {
        if (list?.length === 0) throw emptyList(`${name}.items[${index}].${part}`);
      }
      return {
        streams: [...(streams ?? [])],
        streamPrefixes: [...(streamPrefixes ?? [])],
        types: [...(types ?? [])],
        tags: [...(tags ?? [])],
        tagsAny: [...(tagsAny ?? [])],
      };
    }),
  };
}

function emptyList(field: string): InvalidArgumentError {
  return invalidField(field, "is empty and would match everything: leave it out if that is meant");
}

export function wireSelection({ stream, query }: Selection) {
  if (stream !== undefined && query !== undefined) {
    throw invalidField("stream", "goes without `query`: put it into the query's items");
  }
  if (stream !== undefined) return { case: "stream", value: stream } as const;
  if (query !== undefined) return { case: "query", value: wireQuery(query, "query") } as const;
  return { case: undefined } as const;
}
