// A snapshot's stored form: an encoded annals.v1.Snapshot message, so that what is kept is what the
// contract documents. What is read back must be what its key says, or it is CORRUPTION.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { corruption } from "../../domain/errors.ts";
import type { Snapshot } from "../../domain/snapshot.ts";
import { SnapshotSchema } from "../../gen/annals/v1/snapshot_pb.js";
import type { StoredSnapshot } from "../../storage/storage.ts";

const microsPerSecond = 1_000_000;
const nanosPerMicro = 1_000;

export function encodeSnapshot(snapshot: Snapshot): StoredSnapshot {
  const { stream, kind, version, position, contentType, data, metadata, savedAt } = snapshot;
  const seconds = Math.floor(savedAt / microsPerSecond);
  const nanos = (savedAt - seconds * microsPerSecond) * nanosPerMicro;
  const message = create(SnapshotSchema, {
    stream,
    kind,
    version: BigInt(version),
    position: BigInt(position),
    contentType,
    state: { case: "data", value: data },
    metadata: { ...metadata },
    savedAt: { seconds: BigInt(seconds), nanos },
  });
  return { stream, kind, version, position, payload: toBinary(SnapshotSchema, message) };
}

/** Throws CORRUPTION. */
export function decodeSnapshot(stored: StoredSnapshot): Snapshot {
  const { stream, kind, version, position } = stored;
  const { state, savedAt, contentType, metadata, ...key } = decode(stored);
  const isItself =
    key.stream === stream &&
    key.kind === kind &&
    key.version === BigInt(version) &&
    key.position === BigInt(position);
  if (!isItself || state.case !== "data" || savedAt === undefined) {
    throw corrupt(stored, "is not what its key says");
  }
  const micros = Number(savedAt.seconds) * microsPerSecond + savedAt.nanos / nanosPerMicro;
  const data = state.value;
  return { stream, kind, version, position, contentType, data, metadata, savedAt: micros };
}

function decode(stored: StoredSnapshot) {
  try {
    return fromBinary(SnapshotSchema, stored.payload);
  } catch (error) {
    throw corrupt(stored, "cannot be decoded", error);
  }
}

function corrupt({ stream, kind, version }: StoredSnapshot, what: string, cause?: unknown) {
  const name = kind === "" ? "snapshot" : `snapshot ${kind}`;
  return corruption(`${name} of ${stream} at version ${version} ${what}`, { stream }, cause);
}
