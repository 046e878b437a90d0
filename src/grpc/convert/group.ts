// Consumer groups from the wire and onto it: what one is to do, where it begins, and its numbers.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  defaultGroupSettings as defaults,
  type GroupOrdering,
  type GroupSettings,
} from "../../domain/group/settings.ts";
import type { Limits } from "../../domain/limits.ts";
import {
  GroupSchema,
  type Group,
  type GroupOrdering as WireOrdering,
  type GroupSettings as WireSettings,
  type GroupStart as WireStart,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import { wireSettings } from "../../log/groups/record.ts";
import type { GroupInfo, GroupStart } from "../../log/group-verbs.ts";
import { checkCount, checkName, checkUint64 } from "./checks.ts";
import { convertQuery } from "./query.ts";
import { checkDuration, checkTime, timeSpan, timestamp } from "./time.ts";
import type { Violations } from "./violations.ts";

export function convertSettings(
  v: Violations,
  wire: WireSettings | undefined,
  limits: Limits,
): GroupSettings {
  if (wire === undefined) return defaults;
  const { groupLeaseMinMs, groupLeaseMaxMs, groupDelayMaxMs } = limits;
  const ms = (
    field: string,
    value: Duration | undefined,
    absent: number,
    from: number,
    to: number,
  ) => (value === undefined ? absent : checkDuration(v, `settings.${field}`, value, from, to));
  const { retryDelay, retryDelayMax } = wire;
  const delayMs = ms("retry_delay", retryDelay, defaults.retryDelayMs, 0, groupDelayMaxMs);
  const longestMs = Math.max(defaults.retryDelayMaxMs, delayMs);
  const leaseMs = ms("lease", wire.lease, defaults.leaseMs, groupLeaseMinMs, groupLeaseMaxMs);
  const count = (field: string, value: number, absent: number, max: number): number =>
    checkAmount(v, `settings.${field}`, value === 0 ? absent : value, 1, max);
  return {
    query: wire.query ? convertQuery(v, "settings.query", wire.query, limits) : defaults.query,
    ordering: convertOrdering(v, wire.ordering, limits),
    leaseMs,
    attemptsMax: count(
      "attempts_max",
      wire.attemptsMax,
      defaults.attemptsMax,
      limits.groupAttemptsMax,
    ),
    retryDelayMs: delayMs,
    retryDelayMaxMs: ms("retry_delay_max", retryDelayMax, longestMs, delayMs, groupDelayMaxMs),
    inFlightMax: count(
      "in_flight_max",
      wire.inFlightMax,
      defaults.inFlightMax,
      limits.groupInFlightMax,
    ),
  };
}

/** A number within its bounds. */
export function checkAmount(
  v: Violations,
  field: string,
  value: number,
  min: number,
  max: number,
): number {
  if (value < min || value > max) v.add(field, `is ${value}, not in ${min} to ${max}`);
  return value;
}

function convertOrdering(
  v: Violations,
  wire: WireOrdering | undefined,
  { tagBytesMax: bytesMax }: Limits,
): GroupOrdering {
  switch (wire?.key.case) {
    case undefined:
      return defaults.ordering;
    case "tagPrefix": {
      const { value } = wire.key;
      const field = "settings.ordering.tag_prefix";
      const prefix = checkName(v, field, value, { name: "tag_bytes_max", bytesMax });
      return { kind: "tag", prefix };
    }
    case "stream":
    case "category":
    case "none":
      return { kind: wire.key.case };
  }
}

export function convertStart(v: Violations, wire: WireStart | undefined): GroupStart {
  const { start } = wire ?? { start: { case: undefined } };
  switch (start.case) {
    case undefined:
      return { kind: "after-position", position: 0 };
    case "afterPosition": {
      const position = checkUint64(v, "start.after_position", start.value);
      return { kind: "after-position", position };
    }
    case "fromTime":
      return { kind: "from-time", time: checkTime(v, "start.from_time", start.value, "up") };
    case "fromEnd":
      return { kind: "end" };
  }
}

/** Positions of parked events; none: all. */
export function convertPositions(
  v: Violations,
  positions: readonly bigint[],
  { groupListMax }: Limits,
): number[] {
  checkCount(v, "positions", positions.length, "the limit", groupListMax);
  const within = positions.slice(0, groupListMax);
  return within.map((position, i) => checkUint64(v, `positions[${i}]`, position, 1));
}

export function wireGroup(info: GroupInfo, { membersListedMax }: Limits): Group {
  const init: MessageInitShape<typeof GroupSchema> = {
    name: info.name,
    settings: wireSettings(info.settings),
    position: BigInt(info.position),
    lagEvents: BigInt(info.lagEvents),
    ...(info.lagMicros !== undefined && { lag: timeSpan(info.lagMicros) }),
    inFlightCount: info.inFlightCount,
    memberCount: info.memberCount,
    parkedCount: BigInt(info.parkedCount),
    oldestInFlightPosition: BigInt(info.oldestInFlight),
    createdAt: timestamp(info.createdAt),
    members: info.members
      .slice(0, membersListedMax)
      .map(({ name, heldCount, permits, joinedAt }) => {
        return { name, inFlightCount: heldCount, permits, joinedAt: timestamp(joinedAt) };
      }),
  };
  return create(GroupSchema, init);
}
