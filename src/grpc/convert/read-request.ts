// Converts the requests of Read, Subscribe, Load, GetEvent and GetState, and the queries of append
// conditions and consumer groups.

import type { Limits } from "../../domain/limits.ts";
import {
  possibleStreams,
  selectAll,
  valuesOf,
  type Query,
  type QueryItem,
  type Selection,
} from "../../domain/query.ts";
import type { Query as WireQuery, QueryItem as WireItem } from "../../gen/annals/v1/query_pb.js";
import { View } from "../../gen/annals/v1/event_pb.js";
import {
  Direction,
  type GetEventRequest,
  type ReadRequest as WireRead,
  type SubscribeRequest as WireSubscribe,
} from "../../gen/annals/v1/read_pb.js";
import type {
  LoadRequest as WireLoad,
  GetStateRequest as WireGetState,
} from "../../gen/annals/v1/snapshot_pb.js";
import type {
  Bound,
  FindEventRequest,
  LoadRequest,
  ReadRequest,
  GetStateRequest,
  SubscribeRequest,
  SubscribeStart,
} from "../../log/verbs.ts";
import {
  checkCount,
  checkEnum,
  checkName,
  checkNames,
  checkOptional,
  checkText,
  checkUint64,
  checkUuid,
  streamLimit,
  Violations,
} from "./checks.ts";
import { checkDuration, checkTime } from "./time.ts";

/** How much of each event an answer contains. */
export type EventView = "full" | "json" | "headers";

export function convertView(v: Violations, field: string, view: View): EventView {
  checkEnum(v, field, view, View);
  switch (view) {
    case View.JSON:
      return "json";
    case View.HEADERS:
      return "headers";
    default:
      return "full";
  }
}

export function checkStreamName(
  v: Violations,
  field: string,
  name: string,
  limits: Limits,
): string {
  return checkName(v, field, name, streamLimit(name, limits));
}

export function checkKind(v: Violations, field: string, kind: string, limits: Limits): string {
  const limit = { name: "snapshot_kind_bytes_max", bytesMax: limits.snapshotKindBytesMax };
  return checkText(v, field, kind, limit);
}

function convertSelection(
  v: Violations,
  selection: WireRead["selection"],
  limits: Limits,
): Selection {
  switch (selection.case) {
    case undefined:
      return selectAll;
    case "stream":
      return { kind: "stream", stream: checkStreamName(v, "stream", selection.value, limits) };
    case "query":
      return { kind: "query", query: convertQuery(v, "query", selection.value, limits) };
  }
}

/** What the queries of one request may still name. */
export class QueryRoom {
  private items = 0;
  private values = 0;
  private readonly limits: Limits;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  /** False, and a violation: the query does not fit beside those before it. */
  take(v: Violations, field: string, { items }: Query): boolean {
    const { queryItemsMax, queryValuesMax } = this.limits;
    this.items += items.length;
    checkCount(v, `${field}.items`, this.items, "query_items_max", queryItemsMax);
    if (this.items > queryItemsMax) return false;
    for (const item of items) this.values += valuesOf(item).length;
    checkCount(v, field, this.values, "query_values_max", queryValuesMax);
    return this.values <= queryValuesMax;
  }
}

export function convertQuery(
  v: Violations,
  field: string,
  query: WireQuery,
  limits: Limits,
  room = new QueryRoom(limits),
): Query {
  if (!room.take(v, field, query)) return { items: [] };
  const { items } = query;
  return { items: items.map((item, i) => convertItem(v, `${field}.items[${i}]`, item, limits)) };
}

function convertItem(v: Violations, field: string, item: WireItem, limits: Limits): QueryItem {
  const { streams, streamPrefixes, types, tags, tagsAny } = item;
  const converted = { streams, streamPrefixes, types, tags, tagsAny };
  const stream = { name: "stream_name_bytes_max", bytesMax: limits.streamNameBytesMax };
  const type = { name: "type_bytes_max", bytesMax: limits.typeBytesMax };
  const tag = { name: "tag_bytes_max", bytesMax: limits.tagBytesMax };
  checkNames(v, `${field}.streams`, streams, (name) => streamLimit(name, limits));
  checkNames(v, `${field}.stream_prefixes`, streamPrefixes, () => stream);
  checkNames(v, `${field}.types`, types, () => type);
  checkNames(v, `${field}.tags`, tags, () => tag);
  checkNames(v, `${field}.tags_any`, tagsAny, () => tag);
  if (streamPrefixes.length === 0) return converted;
  const possible = new Set(possibleStreams(converted));
  streams.forEach((name, i) => {
    if (possible.has(name)) return;
    const why = "begins with none of the item's stream_prefixes, so it can match no event";
    v.add(`${field}.streams[${i}]`, why);
  });
  return converted;
}

export function convertRead(wire: WireRead, limits: Limits): [ReadRequest, EventView] {
  const v = new Violations();
  const selection = convertSelection(v, wire.selection, limits);
  checkEnum(v, "direction", wire.direction, Direction);
  const direction = wire.direction === Direction.BACKWARDS ? "backwards" : "forwards";
  const ofStream = selection.kind === "stream";
  const earlierFirst = direction === "forwards";
  const from = boundOf(v, "from", wire.from, ofStream, earlierFirst ? "up" : "down");
  const to = boundOf(v, "to", wire.to, ofStream, earlierFirst ? "down" : "up");
  const limit = checkOptional(v, "limit", wire.limit);
  const view = convertView(v, "view", wire.view);
  v.throwIfAny();
  const { withRemoved } = wire;
  return [{ selection, direction, from, to, limit, ...(withRemoved && { withRemoved }) }, view];
}

type WireBound = WireRead["from"] | WireRead["to"];

/**
 * `round` is the direction in which a time between two microseconds is rounded so that it bounds
 * the same events.
 */
function boundOf(
  v: Violations,
  prefix: "from" | "to",
  bound: WireBound,
  ofStream: boolean,
  round: "up" | "down",
): Bound | undefined {
  switch (bound.case) {
    case undefined:
      return undefined;
    case "fromVersion":
    case "toVersion": {
      const field = `${prefix}_version`;
      if (!ofStream) v.add(field, "is only for a read of one stream: `stream` is not set");
      return { kind: "version", version: checkUint64(v, field, bound.value, 1) };
    }
    case "fromPosition":
    case "toPosition": {
      const position = checkUint64(v, `${prefix}_position`, bound.value, 1);
      return { kind: "position", position };
    }
    case "fromTime":
    case "toTime":
      return { kind: "time", time: checkTime(v, `${prefix}_time`, bound.value, round) };
  }
}

export function convertSubscribe(
  wire: WireSubscribe,
  limits: Limits,
): [SubscribeRequest, EventView] {
  const v = new Violations();
  const selection = convertSelection(v, wire.selection, limits);
  const start = startOf(v, wire.start, selection.kind === "stream");
  const { checkpointIntervalMinMs: msMin, checkpointIntervalMaxMs: msMax } = limits;
  const interval = wire.checkpointInterval;
  const checkpointIntervalMs =
    interval === undefined
      ? limits.checkpointIntervalDefaultMs
      : checkDuration(v, "checkpoint_interval", interval, msMin, msMax);
  const batchEventsMax = wire.batchEventsMax === 0 ? undefined : wire.batchEventsMax;
  const view = convertView(v, "view", wire.view);
  v.throwIfAny();
  return [{ selection, start, checkpointIntervalMs, batchEventsMax }, view];
}

function startOf(v: Violations, start: WireSubscribe["start"], ofStream: boolean): SubscribeStart {
  switch (start.case) {
    case undefined:
      return { kind: "after-position", position: 0 };
    case "afterPosition": {
      const position = checkUint64(v, "after_position", start.value);
      return { kind: "after-position", position };
    }
    case "afterVersion": {
      const field = "after_version";
      if (!ofStream) v.add(field, "is only for one stream: `stream` is not set");
      return { kind: "after-version", version: checkUint64(v, field, start.value) };
    }
    case "fromTime":
      return { kind: "from-time", time: checkTime(v, "from_time", start.value, "up") };
    case "fromEnd":
      return { kind: "end" };
  }
}

export function convertLoad(wire: WireLoad, limits: Limits): [LoadRequest, EventView] {
  const v = new Violations();
  const stream = checkStreamName(v, "stream", wire.stream, limits);
  const snapshotKind = checkKind(v, "snapshot_kind", wire.snapshotKind, limits);
  const maxVersion = checkOptional(v, "max_version", wire.maxVersion);
  const view = convertView(v, "view", wire.view);
  if (view === "headers") v.add("view", "is VIEW_HEADERS: a state is not rebuilt from headers");
  v.throwIfAny();
  const { withoutSnapshot } = wire;
  return [{ stream, snapshotKind, maxVersion, withoutSnapshot }, view];
}

export function convertGetEvent(
  wire: GetEventRequest,
  limits: Limits,
): [FindEventRequest, EventView] {
  const v = new Violations();
  const id = checkUuid(v, "id", wire.id);
  const stream = wire.stream === "" ? undefined : checkStreamName(v, "stream", wire.stream, limits);
  const view = convertView(v, "view", wire.view);
  v.throwIfAny();
  return [{ id, stream }, view];
}

export function convertGetState(wire: WireGetState, limits: Limits): GetStateRequest {
  const v = new Violations();
  const stream = checkStreamName(v, "stream", wire.stream, limits);
  const at = stateBoundOf(v, wire.at);
  v.throwIfAny();
  return { stream, at };
}

function stateBoundOf(v: Violations, at: WireGetState["at"]): GetStateRequest["at"] {
  switch (at.case) {
    case undefined:
      return undefined;
    case "version":
      return { kind: "version", version: checkUint64(v, "version", at.value, 1) };
    case "time":
      return { kind: "time", time: checkTime(v, "time", at.value, "down") };
  }
}
