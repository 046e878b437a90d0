// Converts consumer groups: their settings, their start, and their numbers.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  changedSettings,
  defaultGroupSettings as defaults,
  type GroupChanges,
  type GroupOrdering,
  type GroupSettings,
} from "../../domain/group/settings.ts";
import type { Limits } from "../../domain/limits.ts";
import { queryBytes } from "../../domain/query.ts";
import { stepBytes, type Steps } from "../../domain/steps.ts";
import {
  GroupSchema,
  type Group,
  type GroupOrdering as WireOrdering,
  type GroupSettings as WireSettings,
  type GroupStart as WireStart,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import { wireSettings } from "../../log/groups/record.ts";
import type { GroupInfo, GroupStart } from "../../log/group-verbs.ts";
import { checkConsumerName } from "./checkpoint.ts";
import { checkCount, checkName, checkUint64, type Violations } from "./checks.ts";
import { convertQuery } from "./read-request.ts";
import { checkDuration, checkTime, timeSpan, timestamp } from "./time.ts";

function convertSettings(
  v: Violations,
  wire: WireSettings | undefined,
  limits: Limits,
): GroupSettings {
  if (wire === undefined) return defaults;
  const query = wire.query ? convertQuery(v, "settings.query", wire.query, limits) : defaults.query;
  const ordering = convertOrdering(v, wire.ordering, limits);
  const { retryDelayMs } = defaults;
  const changes = convertChanges(v, { prefix: "settings.", retryDelayMs }, wire, limits);
  return changedSettings({ ...defaults, query, ordering }, changes);
}

/** What each byte of a query costs until it is stored, as the scheduler counts. */
const queryShare = 1 / 4;

/** As `convertSettings`. A step ends with a large query. */
export function* settingsInSteps(
  v: Violations,
  wire: WireSettings | undefined,
  limits: Limits,
): Steps<GroupSettings> {
  const settings = convertSettings(v, wire, limits);
  const cost = queryBytes(settings.query) * queryShare;
  if (cost >= stepBytes) yield cost;
  return settings;
}

type WireChanges = Pick<
  WireSettings,
  "lease" | "attemptsMax" | "retryDelay" | "retryDelayMax" | "inFlightMax"
>;

/** What is said; `retryDelayMs`: the delay where that is not. */
export function convertChanges(
  v: Violations,
  { prefix, retryDelayMs }: { readonly prefix: string; readonly retryDelayMs: number },
  wire: WireChanges,
  limits: Limits,
): GroupChanges {
  const { groupLeaseMinMs, groupLeaseMaxMs, groupDelayMaxMs } = limits;
  const { lease, retryDelay, retryDelayMax, attemptsMax, inFlightMax } = wire;
  const ms = (field: string, value: Duration, from: number, to: number): number =>
    checkDuration(v, `${prefix}${field}`, value, from, to);
  const count = (field: string, value: number, max: number): number =>
    checkAmount(v, `${prefix}${field}`, value, 1, max);
  const delayMs = retryDelay && ms("retry_delay", retryDelay, 0, groupDelayMaxMs);
  const longestFrom = delayMs ?? retryDelayMs;
  return {
    ...(lease && { leaseMs: ms("lease", lease, groupLeaseMinMs, groupLeaseMaxMs) }),
    ...(attemptsMax > 0 && {
      attemptsMax: count("attempts_max", attemptsMax, limits.groupAttemptsMax),
    }),
    ...(delayMs !== undefined && { retryDelayMs: delayMs }),
    ...(retryDelayMax && {
      retryDelayMaxMs: ms("retry_delay_max", retryDelayMax, longestFrom, groupDelayMaxMs),
    }),
    ...(inFlightMax > 0 && {
      inFlightMax: count("in_flight_max", inFlightMax, limits.groupInFlightMax),
    }),
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

/** `replace`: whether the start is to be that of a group, in its place. */
export function convertStart(
  v: Violations,
  wire: WireStart | undefined,
  replace: boolean,
  limits: Limits,
): GroupStart {
  const { start } = wire ?? { start: { case: undefined } };
  if (replace && start.case !== "afterGroup") {
    v.add("replace", "goes with start.after_group, which names the group to replace");
  }
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
    case "afterGroup": {
      const group = checkConsumerName(v, "start.after_group", start.value, limits);
      return { kind: "after-group", group, replace };
    }
  }
}

/** Positions of parked events. Empty: all. */
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
    epoch: info.epoch,
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
