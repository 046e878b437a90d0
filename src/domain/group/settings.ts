// What a consumer group is to do, and by what its events are kept in order. The query and the
// ordering are fixed when a group is created: what is settled means the same for as long as it
// lives. Everything else may be changed while it runs.

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

/** How events are delivered. */
interface DeliverySettings {
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

export interface GroupSettings extends DeliverySettings {
  readonly query: Query;
  readonly ordering: GroupOrdering;
}

/** What is to change about a group; the rest stays as it is. */
export type GroupChanges = Partial<DeliverySettings>;

/** Applied where a request does not say otherwise. */
export const defaultGroupSettings: GroupSettings = Object.freeze({
  query: { items: [] },
  ordering: { kind: "stream" },
  leaseMs: 30_000,
  attemptsMax: 10,
  retryDelayMs: 1_000,
  retryDelayMaxMs: 60_000,
  inFlightMax: 10_000,
} as const);

/** The longest delay follows the first one where only that is changed. */
export function changedSettings(settings: GroupSettings, changes: GroupChanges): GroupSettings {
  const { retryDelayMs = settings.retryDelayMs } = changes;
  const retryDelayMaxMs = Math.max(settings.retryDelayMaxMs, retryDelayMs);
  return { ...settings, retryDelayMaxMs, ...changes };
}

/** The fields of an event that its key is made of. */
interface KeyFields {
  readonly stream: string;
  readonly tags: readonly string[];
}

/** Events without a stream, or without such a tag, share the empty key. */
export function keyOf(fields: KeyFields, position: number, ordering: GroupOrdering): string {
  switch (ordering.kind) {
    case "stream":
      return fields.stream;
    case "category":
      return categoryOf(fields.stream);
    case "tag":
      return fields.tags.find((tag) => tag.startsWith(ordering.prefix)) ?? "";
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

export function sameSettings(a: GroupSettings, b: GroupSettings): boolean {
  return JSON.stringify(partsOf(a)) === JSON.stringify(partsOf(b));
}

/** In one order, so that they can be compared. */
function partsOf({ query, ordering, ...delivery }: GroupSettings): unknown {
  const { leaseMs, attemptsMax, retryDelayMs, retryDelayMaxMs, inFlightMax } = delivery;
  return [
    query.items.map((item) => [item.streams, item.streamPrefixes, item.types, item.tags]),
    [ordering.kind, ordering.kind === "tag" && ordering.prefix],
    [leaseMs, attemptsMax, retryDelayMs, retryDelayMaxMs, inFlightMax],
  ];
}
