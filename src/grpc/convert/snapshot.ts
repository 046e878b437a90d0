// Converts snapshots and computed states, in the requested view.

import { create, toBinary } from "@bufbuild/protobuf";
import { canonicalJson, isJsonContentType } from "../../domain/json.ts";
import type { Limits } from "../../domain/limits.ts";
import type { NewSnapshot, Snapshot } from "../../domain/snapshot.ts";
import { stepBytes, type Steps } from "../../domain/steps.ts";
import { View } from "../../gen/annals/v1/event_pb.js";
import {
  GetStateResponseSchema,
  SnapshotSchema,
  type DeleteSnapshotsRequest,
  type GetSnapshotRequest,
  type ListSnapshotsRequest,
  type SaveSnapshotRequest,
  type Snapshot as WireSnapshot,
} from "../../gen/annals/v1/snapshot_pb.js";
import type { StreamState } from "../../log/verbs.ts";
import { wrap } from "./batches.ts";
import {
  checkContentType,
  checkMetadata,
  checkOptional,
  checkOwnName,
  checkUint64,
  Violations,
} from "./checks.ts";
import { jsonOf, NotJson, valueBytes, valueBytesOfText } from "./json-value.ts";
import { checkKind, checkStreamName, convertView, type EventView } from "./read-request.ts";
import { timestamp } from "./time.ts";

export function convertSave(wire: SaveSnapshotRequest, limits: Limits): NewSnapshot {
  const v = new Violations();
  const streamLimit = { name: "stream_name_bytes_max", bytesMax: limits.streamNameBytesMax };
  const stream = checkOwnName(v, "stream", wire.stream, streamLimit);
  const kind = checkKind(v, "kind", wire.kind, limits);
  const version = checkUint64(v, "version", wire.version, 1);
  const state = wire.state.case ?? "data";
  const contentType = checkContentType(v, "content_type", wire.contentType, state, limits);
  checkMetadata(v, "metadata", wire.metadata, limits);
  const data = stateOf(v, wire, limits);
  v.throwIfAny();
  const { metadata, mayBeAhead } = wire;
  return { stream, kind, version, contentType, data, metadata, mayBeAhead };
}

function stateOf(v: Violations, { state }: SaveSnapshotRequest, limits: Limits): Uint8Array {
  const data = bytesOf(v, state);
  if (data.length > limits.snapshotBytesMax) {
    const limit = `snapshot_bytes_max (${limits.snapshotBytesMax})`;
    v.add(state.case ?? "state", `has ${data.length} bytes, more than ${limit}`);
  }
  return data;
}

function bytesOf(v: Violations, state: SaveSnapshotRequest["state"]): Uint8Array {
  switch (state.case) {
    case "data":
      return state.value;
    case "json":
      try {
        return Buffer.from(canonicalJson(jsonOf(state.value)));
      } catch (error) {
        if (!(error instanceof NotJson)) throw error;
        v.add("json", error.message);
        return Buffer.alloc(0);
      }
    case undefined:
      v.add("state", "is required: data or json");
      return Buffer.alloc(0);
  }
}

export interface SnapshotAsked {
  readonly stream: string;
  readonly kind: string;
  /** Absent: the newest. */
  readonly maxVersion: number | undefined;
  readonly mayBeAhead: boolean;
  readonly view: EventView;
}

export function convertGet(wire: GetSnapshotRequest, limits: Limits): SnapshotAsked {
  const v = new Violations();
  const stream = checkStreamName(v, "stream", wire.stream, limits);
  const kind = checkKind(v, "kind", wire.kind, limits);
  const maxVersion = checkOptional(v, "max_version", wire.maxVersion);
  const view = convertView(v, "view", wire.view);
  v.throwIfAny();
  return { stream, kind, maxVersion, mayBeAhead: wire.mayBeAhead, view };
}

export interface SnapshotsAsked {
  readonly stream: string;
  /** Absent: every kind. */
  readonly kind: string | undefined;
  /** Absent: every version. */
  readonly maxVersion: number | undefined;
}

/** Which snapshots to delete. */
export function convertSelected(wire: DeleteSnapshotsRequest, limits: Limits): SnapshotsAsked {
  const v = new Violations();
  const { stream, kind } = checkSelected(v, wire, limits);
  const maxVersion = checkOptional(v, "max_version", wire.maxVersion);
  v.throwIfAny();
  return { stream, kind, maxVersion };
}

/** Which snapshots to list, and how. */
export function convertListed(wire: ListSnapshotsRequest, limits: Limits) {
  const v = new Violations();
  const { stream, kind } = checkSelected(v, wire, limits);
  const asked = convertView(v, "view", wire.view);
  v.throwIfAny();
  const view: EventView = wire.view === View.UNSPECIFIED ? "headers" : asked;
  return { stream, kind, view, mayBeAhead: wire.mayBeAhead };
}

function checkSelected(
  v: Violations,
  wire: ListSnapshotsRequest | DeleteSnapshotsRequest,
  limits: Limits,
) {
  const stream = checkStreamName(v, "stream", wire.stream, limits);
  const kind = wire.kind === undefined ? undefined : checkKind(v, "kind", wire.kind, limits);
  return { stream, kind };
}

const tagSnapshotData = 0x32;
const tagSnapshotJson = 0x3a;
const tagState = 0x0a;
const tagStateJson = 0x42;
/** What each byte of a state's text costs, as the scheduler counts: see domain/steps.ts. */
const stateShare = 1;

/** A snapshot without its state. */
function snapshotHeaders(snapshot: Snapshot): WireSnapshot {
  const { stream, kind, contentType } = snapshot;
  const headers = create(SnapshotSchema, {
    stream,
    kind,
    contentType,
    version: BigInt(snapshot.version),
    position: BigInt(snapshot.position),
    savedAt: timestamp(snapshot.savedAt),
  });
  // Not through `create`, which would treat a key `__proto__` as a prototype.
  headers.metadata = { ...snapshot.metadata };
  return headers;
}

/**
 * The bytes of a `Snapshot` message. A state that is not JSON, or does not fit when decoded, stays
 * as bytes.
 */
export function snapshotBytes(snapshot: Snapshot, view: EventView, limits: Limits): Buffer {
  const headers = toBinary(SnapshotSchema, snapshotHeaders(snapshot));
  if (view === "headers") return Buffer.from(headers);
  const { data, contentType } = snapshot;
  const asJson = view === "json" && isJsonContentType(contentType);
  const value = asJson ? valueBytesOfText(data, limits.snapshotBytesMax) : undefined;
  const state =
    value === undefined ? wrap(tagSnapshotData, [data]) : wrap(tagSnapshotJson, [value]);
  return Buffer.concat([headers, state]);
}

/**
 * The bytes of a `GetStateResponse`: the state as JSON text and, where a `Value` says the same and
 * both fit together, as a `Value`. The fold has bounded the text.
 */
export function* stateInSteps(
  folded: StreamState,
  { eventBytesMax: bytesMax }: Limits,
): Steps<Buffer> {
  const text = Buffer.from(folded.stateJson);
  const cost = text.length * stateShare;
  if (cost >= stepBytes) yield cost;
  const state = valueBytes(folded.state, Math.max(0, bytesMax - text.length));
  if (cost >= stepBytes) yield cost;
  const { version, position, recordedAt, appliedCount, skippedCount, missingThrough } = folded;
  const rest = create(GetStateResponseSchema, {
    version: BigInt(version),
    position: BigInt(position),
    appliedCount: BigInt(appliedCount),
    skippedCount: BigInt(skippedCount),
    missingThrough: BigInt(missingThrough),
    ...(version === 0 ? {} : { recordedAt: timestamp(recordedAt) }),
  });
  const value = state === undefined ? [] : [wrap(tagState, [state])];
  const json = wrap(tagStateJson, [text]);
  return Buffer.concat([...value, toBinary(GetStateResponseSchema, rest), json]);
}
