// What a group is to do and where it begins, to the wire and back.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, type Duration } from "@bufbuild/protobuf/wkt";
import type {
  GroupSettingsSchema,
  GroupStartSchema,
  GroupOrdering as WireOrdering,
  GroupSettings as WireSettings,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import { invalidField } from "../store/errors.ts";
import { wireDuration, wireInteger, wireTime } from "../store/numbers.ts";
import { wireQuery, type Query, type QueryItem } from "../store/selection.ts";

/** What events are ordered by. Events of one key are delivered one after the other. */
export type GroupOrdering =
  | "stream"
  /** The stream's name up to the first `-`. */
  | "category"
  /** No order is kept. */
  | "none"
  /** The event's first tag that begins with this. */
  | { readonly tagPrefix: string };

/** The query and the ordering stay as they are for as long as the group lives. */
export interface GroupSettings {
  /** Absent: every event. */
  readonly query?: Query | undefined;
  /** Absent: the stream. */
  readonly ordering?: GroupOrdering | undefined;
  /** How long a worker may take for an event. Absent: 30 s. */
  readonly leaseMs?: number | undefined;
  /** How often an event is handed out before it is parked. Absent: 10. */
  readonly attemptsMax?: number | undefined;
  /** Before the second attempt; doubles with each further one. Absent: 1 s. */
  readonly retryDelayMs?: number | undefined;
  /** Absent: 1 min. */
  readonly retryDelayMaxMs?: number | undefined;
  /** Events in flight over all workers. Absent: 10,000. */
  readonly inFlightMax?: number | undefined;
}

/** Changes of a group. Absent settings are kept. */
export interface GroupChanges extends Omit<GroupSettings, "query" | "ordering"> {
  /** Fixed. For another query or ordering, `create` a new group with `afterGroup`. */
  readonly query?: never;
  readonly ordering?: never;
}

/** Where a group begins, given in one of these ways. Absent: at the first event. */
export interface GroupStart {
  /** After this position; `"end"`: only what becomes durable from now on. */
  readonly after?: number | "end" | undefined;
  /** The epoch of `after`. Absent: not checked. */
  readonly epoch?: string | undefined;
  /** From this time on, inclusive. */
  readonly fromTime?: Date | undefined;
  /** At the position of the group of this name, up to which its events are settled. */
  readonly afterGroup?: string | undefined;
}

/** The settings and the start of a new group. */
export interface NewGroup extends GroupSettings, GroupStart {
  /**
   * Whether it replaces the group `afterGroup`, whose name it may have. That group ends as this one
   * begins, and its parked events are passed on.
   */
  readonly replace?: boolean | undefined;
}

type Init<Shape> = Exclude<Shape, { $typeName: string }>;
type WireInit = Init<MessageInitShape<typeof GroupSettingsSchema>>;
type ChangesInit = Omit<WireInit, "query" | "ordering">;
type StartInit = Init<MessageInitShape<typeof GroupStartSchema>>;

export function wireSettings(settings: GroupSettings): WireInit {
  const { query, ordering, ...changes } = settings;
  return {
    ...(query !== undefined && { query: wireQuery(query, "query") }),
    ...(ordering !== undefined && { ordering: { key: wireOrdering(ordering) } }),
    ...wireChanges(changes),
  };
}

/**
 * The types exclude a query and an ordering; callers without types must not believe that they were
 * changed.
 */
export function wireChanges(changes: GroupChanges): ChangesInit {
  for (const field of ["query", "ordering"] as const) {
    if (changes[field] === undefined) continue;
    throw invalidField(field, "is fixed; create another group, `afterGroup` this one");
  }
  const { leaseMs, attemptsMax = 0, inFlightMax = 0, retryDelayMs, retryDelayMaxMs } = changes;
  return {
    ...(leaseMs !== undefined && { lease: wireDuration(leaseMs, "leaseMs") }),
    attemptsMax,
    ...(retryDelayMs !== undefined && { retryDelay: wireDuration(retryDelayMs, "retryDelayMs") }),
    ...(retryDelayMaxMs !== undefined && {
      retryDelayMax: wireDuration(retryDelayMaxMs, "retryDelayMaxMs"),
    }),
    inFlightMax,
  };
}

function wireOrdering(ordering: GroupOrdering) {
  if (typeof ordering === "string") return { case: ordering, value: {} } as const;
  return { case: "tagPrefix", value: ordering.tagPrefix } as const;
}

export function wireStart({ after, fromTime, afterGroup, epoch = "" }: GroupStart): StartInit {
  if ([after, fromTime, afterGroup].filter((one) => one !== undefined).length > 1) {
    throw invalidField("after", "is one of `after`, `fromTime` and `afterGroup`");
  }
  if (afterGroup !== undefined) return { start: { case: "afterGroup", value: afterGroup } };
  if (fromTime !== undefined) {
    return { start: { case: "fromTime", value: wireTime(fromTime, "fromTime") } };
  }
  if (after === "end") return { start: { case: "fromEnd", value: {} } };
  return { start: { case: "afterPosition", value: wireInteger(after ?? 0, "after") }, epoch };
}

/** All settings. The query is absent if the group selects every event. */
export function settingsOf(wire: WireSettings | undefined): GroupSettings {
  const items: readonly QueryItem[] = wire?.query?.items ?? [];
  return {
    query: items.length === 0 ? undefined : items.map(itemOf),
    ordering: orderingOf(wire?.ordering?.key),
    leaseMs: msOf(wire?.lease),
    attemptsMax: wire?.attemptsMax,
    retryDelayMs: msOf(wire?.retryDelay),
    retryDelayMaxMs: msOf(wire?.retryDelayMax),
    inFlightMax: wire?.inFlightMax,
  };
}

/** The item in its shortest form: an absent list means any. */
function itemOf({ streams, streamPrefixes, types, tags, tagsAny }: QueryItem): QueryItem {
  const given = { streams, streamPrefixes, types, tags, tagsAny };
  return Object.fromEntries(Object.entries(given).filter(([, list]) => (list?.length ?? 0) > 0));
}

function orderingOf(key: WireOrdering["key"] | undefined): GroupOrdering {
  if (key?.case === "tagPrefix") return { tagPrefix: key.value };
  return key?.case ?? "stream";
}

export function msOf(duration: Duration | undefined): number | undefined {
  return duration && durationMs(duration);
}
