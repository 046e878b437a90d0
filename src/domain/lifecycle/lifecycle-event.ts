// The system events that record a stream's lifecycle. Each contains the complete state after the
// change, so that only the last one in `$lifecycle-<stream>` matters. The earlier ones show people
// what changed, and who asked for it and why. Their JSON is on disk: members are only ever added.

import { create, toBinary } from "@bufbuild/protobuf";
import { RecordedEventSchema } from "../../gen/annals/v1/event_pb.js";
import { corruption } from "../errors.ts";
import type { NewEvent } from "../event.ts";
import { canonicalJson, isJsonObject, parseJson, type Json } from "../json.ts";
import type { Deletion, Lifecycle, StreamPolicy } from "./lifecycle.ts";
import { decodeRecord } from "../record.ts";

/** Also the category of these streams: see `categoryOf`. */
const streamPrefix = "$lifecycle-";

export const lifecycleEventTypes = [
  "$StreamUpdated",
  "$StreamDeleted",
  "$StreamTombstoned",
] as const;
export type LifecycleEventType = (typeof lifecycleEventTypes)[number];

/** The actor and the reason of a change, for the record. */
export interface Cause {
  readonly actor: string;
  readonly reason: string;
}

/** The content of a lifecycle event. */
export interface LifecycleRecord extends Cause {
  readonly stream: string;
  readonly lifecycle: Lifecycle;
}

/** The stream that records the lifecycle of a stream. */
export function lifecycleStream(stream: string): string {
  return `${streamPrefix}${stream}`;
}

/**
 * The stream whose lifecycle a stream of this name records. Undefined: the name is not that of such
 * a stream.
 */
export function streamKeptIn(name: string): string | undefined {
  return name.startsWith(streamPrefix) ? name.slice(streamPrefix.length) : undefined;
}

/** The event that records a lifecycle. Only the store writes these. */
export function lifecycleEvent(
  type: LifecycleEventType,
  { stream, lifecycle, actor, reason }: LifecycleRecord,
): NewEvent {
  const header = { id: "", stream: lifecycleStream(stream), type, tags: [] };
  const { policy, removedBefore, removedUntil, deletion, tombstoned } = lifecycle;
  const json: Json = {
    stream,
    actor,
    reason,
    policy: {
      ...(policy.maxAge !== undefined && { maxAgeMicros: policy.maxAge }),
      ...(policy.maxCount !== undefined && { maxCount: policy.maxCount }),
      truncateBefore: policy.truncateBefore,
      labels: { ...policy.labels },
    },
    removedBefore,
    removedUntilMicros: removedUntil,
    ...(deletion !== undefined && {
      deletion: {
        through: deletion.through,
        position: deletion.position,
        recordedAtMicros: deletion.recordedAt,
      },
    }),
    tombstoned,
  };
  const data = new TextEncoder().encode(canonicalJson(json));
  const fields = { ...header, contentType: "application/json", data };
  const body = toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
  return { ...header, idFromClient: false, body };
}

/** Decodes a recorded lifecycle event. Throws CORRUPTION. */
export function lifecycleRecordOf(record: Uint8Array): LifecycleRecord {
  const { data, stream: name, position } = decodeRecord(record);
  const at = { first: Number(position), stream: name };
  try {
    const read = recordIn(parseJson(data));
    if (lifecycleStream(read.stream) === name) return read;
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw corruption(`a lifecycle event cannot be read: ${cause.message}`, at, cause);
  }
  throw corruption("a lifecycle event is of another stream", at);
}

function recordIn(json: Json | undefined): LifecycleRecord {
  const members = objectIn(json);
  return {
    stream: textIn(members["stream"]),
    actor: textIn(members["actor"]),
    reason: textIn(members["reason"]),
    lifecycle: {
      policy: policyIn(objectIn(members["policy"])),
      removedBefore: numberIn(members["removedBefore"]),
      removedUntil: numberIn(members["removedUntilMicros"]),
      deletion: members["deletion"] === undefined ? undefined : deletionIn(members["deletion"]),
      tombstoned: members["tombstoned"] === true,
    },
  };
}

function policyIn(members: Members): StreamPolicy {
  const optional = (name: string) =>
    members[name] === undefined ? undefined : numberIn(members[name]);
  const labels = Object.entries(objectIn(members["labels"]));
  return {
    maxAge: optional("maxAgeMicros"),
    maxCount: optional("maxCount"),
    truncateBefore: numberIn(members["truncateBefore"]),
    labels: Object.fromEntries(labels.map(([key, value]) => [key, textIn(value)])),
  };
}

function deletionIn(json: Json): Deletion {
  const members = objectIn(json);
  return {
    through: numberIn(members["through"]),
    position: numberIn(members["position"]),
    recordedAt: numberIn(members["recordedAtMicros"]),
  };
}

type Members = Readonly<Record<string, Json | undefined>>;

function objectIn(json: Json | undefined): Members {
  if (json === undefined || !isJsonObject(json)) throw new TypeError("an object is missing");
  return json;
}

function textIn(json: Json | undefined): string {
  if (typeof json !== "string") throw new TypeError("a text is missing");
  return json;
}

function numberIn(json: Json | undefined): number {
  if (typeof json !== "number" || !Number.isSafeInteger(json) || json < 0) {
    throw new TypeError("a number is missing");
  }
  return json;
}
