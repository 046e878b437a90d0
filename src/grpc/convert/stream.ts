// Converts the policies and lifecycles of streams.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Expected } from "../../domain/append.ts";
import type { DeleteStream, UpdateStream } from "../../domain/decide/decide-lifecycle.ts";
import {
  stateOf,
  type Lifecycle,
  type PolicyChange,
  type StreamPolicy,
} from "../../domain/lifecycle/lifecycle.ts";
import type { Limits } from "../../domain/limits.ts";
import type { StreamInfoSchema } from "../../gen/annals/v1/info_pb.js";
import {
  StreamLifecycle,
  StreamPolicyField,
  StreamPolicySchema,
  type DeleteStreamRequest,
  type StreamPolicy as WirePolicy,
  type UpdateStreamRequest,
} from "../../gen/annals/v1/stream_service_pb.js";
import type { StreamInfo } from "../../log/verbs.ts";
import { checkOwnName, checkText, checkUint64, checkMetadata, Violations } from "./checks.ts";
import { type Conversion, convertExpected } from "./append-message.ts";
import { checkDuration, checkRecordedAt, timestamp } from "./time.ts";

const microsPerMs = 1_000;

export function convertUpdateStream(
  wire: UpdateStreamRequest,
  conversion: Conversion,
): Omit<UpdateStream, "kind"> {
  const v = new Violations();
  const change = changeOf(v, wire, conversion);
  const policy = convertPolicyChange(v, wire, conversion.limits);
  v.throwIfAny();
  return { ...change, change: policy };
}

export function convertDeleteStream(
  wire: DeleteStreamRequest,
  conversion: Conversion,
): Omit<DeleteStream, "kind"> {
  const v = new Violations();
  const change = changeOf(v, wire, conversion);
  v.throwIfAny();
  return { ...change, permanent: wire.permanent, evenIfEmpty: wire.evenIfEmpty };
}

/** The fields that updates and deletions share. */
function changeOf(
  v: Violations,
  wire: UpdateStreamRequest | DeleteStreamRequest,
  { limits, keepsTimes }: Conversion,
) {
  const { streamNameBytesMax, actorBytesMax, reasonBytesMax } = limits;
  const name = { name: "stream_name_bytes_max", bytesMax: streamNameBytesMax };
  const stream = checkOwnName(v, "stream", wire.stream, name);
  const actor = { name: "the limit", bytesMax: actorBytesMax };
  checkText(v, "actor", wire.actor, actor);
  const reason = { name: "the limit", bytesMax: reasonBytesMax };
  checkText(v, "reason", wire.reason, reason);
  const asked = convertExpected(v, "", wire.expected);
  const expected: Expected | undefined = typeof asked === "string" ? undefined : asked;
  const recordedAt = checkRecordedAt(v, "recorded_at", wire.recordedAt, keepsTimes);
  const change = { stream, expected, actor: wire.actor, reason: wire.reason };
  return recordedAt === undefined ? change : { ...change, recordedAt };
}

const clearable = {
  [StreamPolicyField.MAX_AGE]: "maxAge",
  [StreamPolicyField.MAX_COUNT]: "maxCount",
  [StreamPolicyField.LABELS]: "labels",
} as const;

/** A field that is absent, 0 or empty is unchanged. */
function convertPolicyChange(
  v: Violations,
  { policy, clear: fields }: UpdateStreamRequest,
  limits: Limits,
): PolicyChange {
  const { maxAgeMinMs, maxAgeMaxMs } = limits;
  const { maxAge: age, maxCount: count = 0n, truncateBefore = 0n, labels = {} } = policy ?? {};
  const maxAgeMs = age && checkDuration(v, "policy.max_age", age, maxAgeMinMs, maxAgeMaxMs);
  checkMetadata(v, "policy.labels", labels, limits);
  const change = {
    maxAge: maxAgeMs === undefined ? undefined : maxAgeMs * microsPerMs,
    maxCount: checkUint64(v, "policy.max_count", count) || undefined,
    truncateBefore: checkUint64(v, "policy.truncate_before", truncateBefore),
    labels: Object.keys(labels).length === 0 ? undefined : labels,
  };
  const clear = fields.flatMap((field, index) => {
    const name = field in clearable ? clearable[field as keyof typeof clearable] : undefined;
    if (name === undefined) v.add(`clear[${index}]`, "is no field that can be cleared");
    else if (change[name] !== undefined) v.add(`clear[${index}]`, "is changed in `policy`, too");
    return name === undefined ? [] : [name];
  });
  const isEmpty = age === undefined && count === 0n && truncateBefore === 0n && !change.labels;
  if (isEmpty && fields.length === 0) v.add("policy", "is required: nothing is to change");
  return { ...change, clear };
}

export function wirePolicy({ maxAge, maxCount, truncateBefore, labels }: StreamPolicy): WirePolicy {
  const wire = create(StreamPolicySchema, {
    ...(maxAge !== undefined && { maxAge: timestamp(maxAge) }),
    maxCount: BigInt(maxCount ?? 0),
    truncateBefore: BigInt(truncateBefore),
  });
  // Not through `create`, which would treat a key `__proto__` as a prototype.
  wire.labels = labels;
  return wire;
}

const states = {
  active: StreamLifecycle.ACTIVE,
  deleted: StreamLifecycle.DELETED,
  tombstoned: StreamLifecycle.TOMBSTONED,
} as const;

export function wireStreamInfo(info: StreamInfo): MessageInitShape<typeof StreamInfoSchema> {
  const { stream, subscriberCount, version, eventCount, lifecycle } = info;
  const policy = policyOf(lifecycle);
  return {
    stream,
    subscriberCount,
    version: BigInt(version),
    eventCount: BigInt(eventCount),
    firstVersion: BigInt(info.firstVersion),
    firstPosition: BigInt(info.firstPosition),
    lastPosition: BigInt(info.lastPosition),
    ...(eventCount > 0 && {
      firstRecordedAt: timestamp(info.firstRecordedAt),
      lastRecordedAt: timestamp(info.lastRecordedAt),
    }),
    ...(policy !== undefined && { policy }),
    lifecycle: states[stateOf(lifecycle, version)],
    deletedThrough: BigInt(lifecycle?.deletion?.through ?? 0),
  };
}

/** Undefined: every event is kept, and there are no labels. */
function policyOf(lifecycle: Lifecycle | undefined): WirePolicy | undefined {
  if (lifecycle === undefined) return undefined;
  const { policy } = lifecycle;
  const isEmpty =
    policy.maxAge === undefined &&
    policy.maxCount === undefined &&
    policy.truncateBefore === 0 &&
    Object.keys(policy.labels).length === 0;
  return isEmpty ? undefined : wirePolicy(policy);
}
