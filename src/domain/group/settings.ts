// What a consumer group is to do, and by what its events are kept in order.

import { categoryOf } from "../event.ts";
import type { Query } from "../query.ts";

/** The key events are ordered by: within one they are delivered one after the other. */
export type GroupOrdering =
  | { readonly kind: "stream" }
  | { readonly kind: "category" }
  /** The event's first tag that begins with the prefix. */
  | { readonly kind: "tag"; readonly prefix: string }
  /** Every event is its own key. */
  | { readonly kind: "none" };

export interface GroupSettings {
  readonly query: Query;
  readonly ordering: GroupOrdering;
  /** How long a member may take for an event. */
  readonly leaseMs: number;
  /** How often an event is delivered at most before it is parked. */
  readonly attemptsMax: number;
  /** Before the second attempt; doubles with each further one. */
  readonly retryDelayMs: number;
  readonly retryDelayMaxMs: number;
  /** Events delivered and not settled, over all members. */
  readonly inFlightMax: number;
}

/** What is not said. */
export const defaultGroupSettings: GroupSettings = Object.freeze({
  query: { items: [] },
  ordering: { kind: "stream" },
  leaseMs: 30_000,
  attemptsMax: 10,
  retryDelayMs: 1_000,
  retryDelayMaxMs: 60_000,
  inFlightMax: 10_000,
} as const);

/** What an event's key is made of. */
export interface KeyWords {
  readonly stream: string;
  readonly tags: readonly string[];
}

/** Events without a stream, or without such a tag, share the empty key. */
export function keyOf(words: KeyWords, position: number, ordering: GroupOrdering): string {
  switch (ordering.kind) {
    case "stream":
      return words.stream;
    case "category":
      return categoryOf(words.stream);
    case "tag":
      return words.tags.find((tag) => tag.startsWith(ordering.prefix)) ?? "";
    case "none":
      return `${position}`;
  }
}

/** How long to wait after an event has failed so many times. */
export function retryDelayOf(settings: GroupSettings, failures: number): number {
  // Beyond 2^30 the limit is reached whatever the delay.
  const factor = 2 ** Math.min(failures - 1, 30);
  return Math.min(settings.retryDelayMs * factor, settings.retryDelayMaxMs);
}

export function sameOrdering(a: GroupOrdering, b: GroupOrdering): boolean {
  if (a.kind !== "tag" || b.kind !== "tag") return a.kind === b.kind;
  return a.prefix === b.prefix;
}

/** Whether two queries have the same words in the same order. */
export function sameQuery(a: Query, b: Query): boolean {
  return JSON.stringify(partsOf(a)) === JSON.stringify(partsOf(b));
}

function partsOf({ items }: Query): unknown {
  return items.map(({ streams, streamPrefixes, types, tags }) => [
    streams,
    streamPrefixes,
    types,
    tags,
  ]);
}
