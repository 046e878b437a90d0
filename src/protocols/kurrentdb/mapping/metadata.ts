// The metadata of a stream: JSON in this protocol, and the policy of the stream's lifecycle in the
// log. The client's text is kept as a label of the policy, so that it comes back as it was written.
// Where another client has changed the policy since, the text is made from the policy.

import { create, toBinary } from "@bufbuild/protobuf";
import {
  lifecycleRecordOf,
  type LifecycleRecord,
} from "../../../domain/lifecycle/lifecycle-event.ts";
import type { Lifecycle, PolicyChange, StreamPolicy } from "../../../domain/lifecycle/lifecycle.ts";
import { decodeRecord } from "../../../domain/record.ts";
import { RecordedEventSchema } from "../../../gen/annals/v1/event_pb.js";
import {
  clientIdKey,
  metadataKey,
  metadataType,
  tombstoneRevision,
  tombstoneVersion,
} from "./content.ts";
import { invalidArgument } from "./errors.ts";
import { uuidText } from "./ids.ts";

type Members = Readonly<Record<string, unknown>>;

/** What a client asks for in the metadata of a stream. */
export interface MetadataChange {
  readonly policy: PolicyChange;
  /** `$tb` is the greatest number. */
  readonly deletes: boolean;
  /** It is nothing but that. */
  readonly onlyDeletes: boolean;
}

const secondMicros = 1_000_000;
const maxAgeSecondsMax = 100 * 365 * 24 * 3_600;

/** Throws INVALID_ARGUMENT. `version`: how many events the stream ever got. */
export function metadataChange(text: string, id: string, version: number): MetadataChange {
  const members = metadataMembers(text);
  if (members === undefined) throw invalidArgument("the metadata of a stream is no JSON object");
  const tb = members["$tb"];
  const deletes = tb === tombstoneRevision;
  const maxAge = wholeNumber(members, "$maxAge", maxAgeSecondsMax);
  const maxCount = wholeNumber(members, "$maxCount", Number.MAX_SAFE_INTEGER);
  const first = tb === undefined || tb === null || deletes ? 0 : truncateBefore(tb);
  const clear: ("maxAge" | "maxCount")[] = [];
  if (maxAge === undefined) clear.push("maxAge");
  if (maxCount === undefined) clear.push("maxCount");
  const policy = {
    maxAge: maxAge === undefined ? undefined : maxAge * secondMicros,
    maxCount,
    // It removes nothing that is to come.
    truncateBefore: Math.min(first, version + 1),
    labels: { [metadataKey]: text, [clientIdKey]: id },
    clear,
  };
  return { policy, deletes, onlyDeletes: deletes && Object.keys(members).length === 1 };
}

/** Undefined: the text is not that of an object. `$tb` is a bigint. */
export function metadataMembers(text: string): Members | undefined {
  const reviver = (key: string, value: unknown, context?: { source?: string }): unknown => {
    const isWhole = typeof value === "number" && /^-?\d+$/.test(context?.source ?? "");
    return key === "$tb" && isWhole ? BigInt(context?.source ?? 0) : value;
  };
  try {
    const value = JSON.parse(text === "" ? "{}" : text, reviver) as unknown;
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Members) : undefined;
  } catch {
    return undefined;
  }
}

function wholeNumber(members: Members, name: string, max: number): number | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= max) {
    return value;
  }
  throw invalidArgument(`${name} is not a whole number from 1 to ${max}`);
}

/** The first version that is kept. 0: every version. */
function truncateBefore(tb: unknown): number {
  if (typeof tb === "bigint" && tb >= 0n && tb < BigInt(Number.MAX_SAFE_INTEGER)) {
    return tb === 0n ? 0 : Number(tb) + 1;
  }
  throw invalidArgument("$tb is not a revision");
}

/**
 * How a record of a lifecycle stream is shown: as the metadata of its stream, or as its tombstone.
 */
export function presentedRecord(record: Uint8Array, isRecreated: boolean): Uint8Array {
  const changed = lifecycleRecordOf(record);
  const { id, type, version, position, recordedAt } = decodeRecord(record);
  const placed = {
    id,
    position,
    ...(recordedAt && { recordedAt }),
    contentType: "application/json",
  };
  const { stream } = changed;
  if (type === "$StreamTombstoned") {
    const fields = { ...placed, stream, type: "$streamDeleted", version: BigInt(tombstoneVersion) };
    return toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
  }
  const isDeletion = type === "$StreamDeleted";
  const data = Buffer.from(metadataText(changed, isDeletion, isRecreated));
  const own = uuidText(changed.lifecycle.policy.labels[clientIdKey] ?? "");
  const fields = {
    ...placed,
    id: isDeletion || own === undefined ? id : own,
    stream: `$$${stream}`,
    type: metadataType,
    version,
    data,
  };
  return toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
}

function metadataText(
  { lifecycle }: LifecycleRecord,
  isDeletion: boolean,
  isRecreated: boolean,
): string {
  const { [metadataKey]: text = "", [clientIdKey]: _, ...labels } = lifecycle.policy.labels;
  const written = text === "" ? undefined : metadataMembers(text);
  if (written !== undefined && !isDeletion && says(written, lifecycle.policy)) return text;
  const { $maxAge: _a, $maxCount: _c, $tb: _t, ...others } = written ?? labels;
  const { maxAge, maxCount } = lifecycle.policy;
  const members = JSON.stringify({
    ...(maxAge !== undefined && { $maxAge: Math.ceil(maxAge / secondMicros) }),
    ...(maxCount !== undefined && { $maxCount: maxCount }),
    ...others,
  });
  const isDeleted = isDeletion || written?.["$tb"] === tombstoneRevision;
  const tb = isDeleted ? deletedBefore(lifecycle, isRecreated) : firstKept(lifecycle);
  if (tb === undefined) return members;
  return `{"$tb":${tb}${members === "{}" ? "}" : `,${members.slice(1)}`}`;
}

function deletedBefore({ deletion }: Lifecycle, isRecreated: boolean): bigint {
  return isRecreated ? BigInt(deletion?.through ?? 0) : tombstoneRevision;
}

function firstKept({ policy }: Lifecycle): bigint | undefined {
  return policy.truncateBefore > 1 ? BigInt(policy.truncateBefore - 1) : undefined;
}

/** Whether the members are those of the policy. */
function says(members: Members, policy: StreamPolicy): boolean {
  const { $maxAge: age, $maxCount: count, $tb: tb } = members;
  const before = typeof tb === "bigint" && tb > 0n ? Number(tb) + 1 : 0;
  return (
    (typeof age === "number" ? age * secondMicros : undefined) === policy.maxAge &&
    (typeof count === "number" ? count : undefined) === policy.maxCount &&
    // `$tb` may have been beyond the next revision.
    (before >= policy.truncateBefore || (before === 0 && policy.truncateBefore <= 1))
  );
}
