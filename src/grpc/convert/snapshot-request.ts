// SaveSnapshot and its siblings from the wire.

import { canonicalJson } from "../../domain/json.ts";
import type { Limits } from "../../domain/limits.ts";
import type { NewSnapshot } from "../../domain/snapshot.ts";
import type {
  DeleteSnapshotsRequest,
  GetSnapshotRequest,
  ListSnapshotsRequest,
  SaveSnapshotRequest,
} from "../../gen/annals/v1/snapshot_pb.js";
import { checkOptional, checkOwnName, checkUint64 } from "./checks.ts";
import { jsonOf, NotJson } from "./json-value.ts";
import { checkContentType, checkMetadata } from "./metadata.ts";
import { checkKind, checkStreamName, convertView, type EventView } from "./read-request.ts";
import { Violations } from "./violations.ts";

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
  return { stream, kind, version, contentType, data, metadata: wire.metadata };
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
  readonly view: EventView;
}

export function convertGet(wire: GetSnapshotRequest, limits: Limits): SnapshotAsked {
  const v = new Violations();
  const stream = checkStreamName(v, "stream", wire.stream, limits);
  const kind = checkKind(v, "kind", wire.kind, limits);
  const maxVersion = checkOptional(v, "max_version", wire.maxVersion);
  const view = convertView(v, "view", wire.view);
  v.throwIfAny();
  return { stream, kind, maxVersion, view };
}

export interface SnapshotsAsked {
  readonly stream: string;
  /** Absent: every kind. */
  readonly kind: string | undefined;
  /** Absent: every version. */
  readonly maxVersion: number | undefined;
}

/** What to list or to delete. */
export function convertSelected(
  wire: ListSnapshotsRequest | DeleteSnapshotsRequest,
  limits: Limits,
): SnapshotsAsked {
  const v = new Violations();
  const stream = checkStreamName(v, "stream", wire.stream, limits);
  const kind = wire.kind === undefined ? undefined : checkKind(v, "kind", wire.kind, limits);
  const maxVersion =
    "maxVersion" in wire ? checkOptional(v, "max_version", wire.maxVersion) : undefined;
  v.throwIfAny();
  return { stream, kind, maxVersion };
}
