// Snapshots and replayed states on their way out, in the view that was asked for.

import { create, toBinary } from "@bufbuild/protobuf";
import { AnnalsError } from "../../domain/errors.ts";
import { isJsonContentType } from "../../domain/json.ts";
import type { Limits } from "../../domain/limits.ts";
import type { Snapshot } from "../../domain/snapshot.ts";
import {
  GetStateResponseSchema,
  SnapshotSchema,
  type Snapshot as WireSnapshot,
} from "../../gen/annals/v1/snapshot_pb.js";
import type { StreamState } from "../../log/verbs.ts";
import { wrap } from "./batches.ts";
import { valueBytes, valueBytesOfText } from "./json-value.ts";
import type { EventView } from "./read-request.ts";
import { timestamp } from "./time.ts";

const tagSnapshotData = 0x32;
const tagSnapshotJson = 0x3a;
const tagState = 0x0a;

/** A snapshot without its state. */
export function snapshotHeaders(snapshot: Snapshot): WireSnapshot {
  const { stream, kind, contentType } = snapshot;
  const headers = create(SnapshotSchema, {
    stream,
    kind,
    contentType,
    version: BigInt(snapshot.version),
    position: BigInt(snapshot.position),
    savedAt: timestamp(snapshot.savedAt),
  });
  // Not through `create`: it would take a key `__proto__` for a prototype.
  headers.metadata = { ...snapshot.metadata };
  return headers;
}

/** The bytes of a `Snapshot` message. A state that is not JSON, or does not fit so, stays bytes. */
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

/** The bytes of a `GetStateResponse`. Throws ANSWER_TOO_LARGE. */
export function replayBytes(replayed: StreamState, { eventBytesMax: bytesMax }: Limits): Buffer {
  const state = valueBytes(replayed.state, bytesMax);
  if (state === undefined) {
    const bytes = Buffer.byteLength(JSON.stringify(replayed.state));
    const limit = `more than event_bytes_max (${bytesMax}) bytes`;
    const message = `the state is too deeply nested, or as a google.protobuf.Value has ${limit}`;
    throw new AnnalsError({ reason: "ANSWER_TOO_LARGE", bytes, bytesMax }, message);
  }
  const { version, position, recordedAt, appliedCount, skippedCount } = replayed;
  const rest = create(GetStateResponseSchema, {
    version: BigInt(version),
    position: BigInt(position),
    appliedCount: BigInt(appliedCount),
    skippedCount: BigInt(skippedCount),
    ...(version === 0 ? {} : { recordedAt: timestamp(recordedAt) }),
  });
  return Buffer.concat([wrap(tagState, [state]), toBinary(GetStateResponseSchema, rest)]);
}
