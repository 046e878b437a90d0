// The record of a group: what is durable besides its progress. It is an encoded
// annals.v1.CreateGroupRequest (name, present settings, start) under the group's name, preceded by
//
//   varint  when the group was created, microseconds since 1970
//   text    its id, 32 hex digits, by which its other side values are named, so that a later group
//           of the same name has nothing to do with them. A group that replaces another one has
//           the other one's id
//
// and followed by
//
//   text      the epoch of the group's position; left out in the store's first epoch
//
// On disk: format version 1.

import {
  create,
  fromBinary,
  toBinary,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import type { QueryItem } from "../../domain/query.ts";
import { ByteWriter } from "../../domain/byte-writer.ts";
import { corruption } from "../../domain/errors.ts";
import type { GroupOrdering, GroupSettings } from "../../domain/group/settings.ts";
import { WireReader } from "../../domain/wire.ts";
import {
  CreateGroupRequestSchema,
  type GroupSettingsSchema,
  type GroupStartSchema,
  type GroupOrdering as WireOrdering,
  type GroupSettings as WireSettings,
  type GroupStart as WireStart,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { GroupStart } from "../group-verbs.ts";

export interface GroupRecord {
  readonly name: string;
  readonly id: string;
  /** Microseconds since 1970, UTC. */
  readonly createdAt: number;
  readonly settings: GroupSettings;
  readonly start: GroupStart;
  /** The epoch of the group's position. Absent: the store's first one. */
  readonly epoch?: string | undefined;
}

const microsPerSecond = 1_000_000;

export function encodeGroupRecord({
  name,
  id,
  createdAt,
  settings,
  start,
  epoch,
}: GroupRecord): Uint8Array {
  const into = new ByteWriter();
  into.varint(createdAt);
  into.text(id);
  const replace = start.kind === "after-group" && start.replace;
  const begun = { start: { start: wireStart(start) }, replace };
  const fields = { name, settings: wireSettings(settings), ...begun };
  const message = create(CreateGroupRequestSchema, fields);
  into.bytes(toBinary(CreateGroupRequestSchema, message));
  if (epoch !== undefined) into.text(epoch);
  return into.take();
}

/** Throws CORRUPTION. */
export function decodeGroupRecord(name: string, bytes: Uint8Array): GroupRecord {
  try {
    const from = new WireReader(bytes);
    const createdAt = from.varint();
    const id = Buffer.from(from.view()).toString("latin1");
    const message = fromBinary(CreateGroupRequestSchema, from.view());
    const epoch = from.done ? undefined : Buffer.from(from.view()).toString("latin1");
    const { settings, start, replace } = message;
    const isWhole = message.name === name && settings !== undefined && start !== undefined;
    if (!isWhole || !from.done) throw new RangeError("not what its name says");
    const begun = { settings: settingsOf(settings), start: startOf(start, replace) };
    return { name, id, createdAt, ...begun, ...(epoch !== undefined && { epoch }) };
  } catch (cause) {
    throw corruption(`the record of group ${JSON.stringify(name)} makes no sense`, {}, cause);
  }
}

/** Settings in the form of the contract, for storing and for answers. */
export function wireSettings(settings: GroupSettings): WireInit<typeof GroupSettingsSchema> {
  const items = settings.query.items.map((item) => ({
    streams: [...item.streams],
    streamPrefixes: [...item.streamPrefixes],
    types: [...item.types],
    tags: [...item.tags],
    tagsAny: [...item.tagsAny],
  }));
  return {
    query: { items },
    ordering: { key: wireOrdering(settings.ordering) },
    lease: wireDuration(settings.leaseMs),
    attemptsMax: settings.attemptsMax,
    retryDelay: wireDuration(settings.retryDelayMs),
    retryDelayMax: wireDuration(settings.retryDelayMaxMs),
    inFlightMax: settings.inFlightMax,
  };
}

function wireOrdering(ordering: GroupOrdering) {
  switch (ordering.kind) {
    case "tag":
      return { case: "tagPrefix" as const, value: ordering.prefix };
    case "stream":
    case "category":
    case "none":
      return { case: ordering.kind, value: {} };
  }
}

type WireInit<Schema extends GenMessage<Message>> = Exclude<
  MessageInitShape<Schema>,
  { $typeName: string }
>;

function wireStart(start: GroupStart): NonNullable<WireInit<typeof GroupStartSchema>["start"]> {
  switch (start.kind) {
    case "after-position":
      return { case: "afterPosition" as const, value: BigInt(start.position) };
    case "from-time": {
      const seconds = Math.floor(start.time / microsPerSecond);
      const nanos = (start.time - seconds * microsPerSecond) * 1_000;
      return { case: "fromTime" as const, value: { seconds: BigInt(seconds), nanos } };
    }
    case "end":
      return { case: "fromEnd" as const, value: {} };
    case "after-group":
      return { case: "afterGroup" as const, value: start.group };
  }
}

function wireDuration(ms: number) {
  const seconds = Math.floor(ms / 1_000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1_000) * 1_000_000) };
}

function settingsOf(wire: WireSettings): GroupSettings {
  const items = (wire.query?.items ?? []).map(
    ({ streams, streamPrefixes, types, tags, tagsAny }) =>
      ({ streams, streamPrefixes, types, tags, tagsAny }) satisfies QueryItem,
  );
  return {
    query: { items },
    ordering: orderingOf(wire.ordering?.key),
    leaseMs: msOf(wire.lease),
    attemptsMax: wire.attemptsMax,
    retryDelayMs: msOf(wire.retryDelay),
    retryDelayMaxMs: msOf(wire.retryDelayMax),
    inFlightMax: wire.inFlightMax,
  };
}

/** An absent ordering is by stream. */
function orderingOf(key: WireOrdering["key"] | undefined): GroupOrdering {
  switch (key?.case) {
    case "category":
    case "none":
      return { kind: key.case };
    case "tagPrefix":
      return { kind: "tag", prefix: key.value };
    case "stream":
    case undefined:
      return { kind: "stream" };
  }
}

function startOf({ start }: WireStart, replace: boolean): GroupStart {
  switch (start.case) {
    case "fromTime": {
      const { seconds, nanos } = start.value;
      return { kind: "from-time", time: Number(seconds) * microsPerSecond + nanos / 1_000 };
    }
    case "fromEnd":
      return { kind: "end" };
    case "afterGroup":
      return { kind: "after-group", group: start.value, replace };
    case "afterPosition":
      return { kind: "after-position", position: Number(start.value) };
    case undefined:
      return { kind: "after-position", position: 0 };
  }
}

function msOf(duration: { readonly seconds: bigint; readonly nanos: number } | undefined): number {
  if (duration === undefined) return 0;
  return Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
}
