// The settings of a consumer group. The query and the ordering are fixed when a group is created,
// so that what is settled keeps its meaning. All other settings can be changed while the group
// runs.

import { categoryOf } from "../event.ts";
import type { Query } from "../query.ts";

/** The key of an event. Events with the same key are delivered one after another. */
export type GroupOrdering =
  | { readonly kind: "stream" }
  | { readonly kind: "category" }
  /** The event's first tag that begins with the prefix. */
  | { readonly kind: "tag"; readonly prefix: string }
  /** Every event is its own key. */
  | { readonly kind: "none" };

/** Settings of delivery, which can be changed. */
interface DeliverySettings {
  /** The time for which a member holds an event. */
  readonly leaseMs: number;
  /** Deliveries of an event before it is parked. */
  readonly attemptsMax: number;
  /** The delay before the second attempt. It doubles with each further one. */
  readonly retryDelayMs: number;
  readonly retryDelayMaxMs: number;
  /** Events delivered and not settled, over all members. */
  readonly inFlightMax: number;
}

export interface GroupSettings extends DeliverySettings {
  readonly query: Query;
  readonly ordering: GroupOrdering;
}

/** Changes of a group. Absent settings are kept. */
export type GroupChanges = Partial<DeliverySettings>;

/** Used for settings that a request does not have. */
export const defaultGroupSettings: GroupSettings = Object.freeze({
  query: { items: [] },
  ordering: { kind: "stream" },
  leaseMs: 30_000,
  attemptsMax: 10,
  retryDelayMs: 1_000,
  retryDelayMaxMs: 60_000,
  inFlightMax: 10_000,
} as const);

/** If only the first delay is changed, the longest delay is raised to it where necessary. */
export function changedSettings(settings: GroupSettings, changes: GroupChanges): GroupSettings {
  const { retryDelayMs = settings.retryDelayMs } = changes;
  const retryDelayMaxMs = Math.max(settings.retryDelayMaxMs, retryDelayMs);
  return { ...settings, retryDelayMaxMs, ...changes };
}

/** The fields of an event from which its key is derived. */
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

/** The delay after an event has failed this many times. */
export function retryDelayOf(settings: GroupSettings, failures: number): number {
  // Beyond 2^30 the limit is reached with any delay.
  const factor = 2 ** Math.min(failures - 1, 30);
  return Math.min(settings.retryDelayMs * factor, settings.retryDelayMaxMs);
}

export function sameSettings(a: GroupSettings, b: GroupSettings): boolean {
  return JSON.stringify(partsOf(a)) === JSON.stringify(partsOf(b));
}

/** In a fixed order, for comparison. */
function partsOf({ query, ordering, ...delivery }: GroupSettings): unknown {
  const { leaseMs, attemptsMax, retryDelayMs, retryDelayMaxMs, inFlightMax } = delivery;
  return [
    query.items.map((item) => [
      item.streams,
      item.streamPrefixes,
      item.types,
      item.tags,
      item.tagsAny,
    ]),
    [ordering.kind, ordering.kind === "tag" && ordering.prefix],
    [leaseMs, attemptsMax, retryDelayMs, retryDelayMaxMs, inFlightMax],
  ];
}
