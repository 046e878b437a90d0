// A snapshot's stored form: a side value that holds an encoded annals.v1.Snapshot message, so that
// what is kept is what the contract documents. What is read back must be what its name says, or it
// is CORRUPTION.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { corruption } from "../../domain/errors.ts";
import { snapshotKeyOf, type Snapshot } from "../../domain/snapshot.ts";
import { SnapshotSchema } from "../../gen/annals/v1/snapshot_pb.js";
import type { SideValue } from "../../storage/storage.ts";

const microsPerSecond = 1_000_000;
const nanosPerMicro = 1_000;

export function encodeSnapshot(snapshot: Snapshot): Uint8Array {
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
  return toBinary(SnapshotSchema, message);
}

export type StoredSnapshot = Pick<SideValue, "name" | "value">;

/** Throws CORRUPTION. */
export function decodeSnapshot(stored: StoredSnapshot): Snapshot {
  const key = snapshotKeyOf(stored.name);
  if (key === undefined) throw corruption("a snapshot has a name that no snapshot can have");
  const { stream, kind, version } = key;
  const message = decode(stored);
  const { state, savedAt, contentType, metadata } = message;
  const isItself =
    message.stream === stream && message.kind === kind && message.version === BigInt(version);
  if (!isItself || state.case !== "data" || savedAt === undefined) {
    throw corrupt(stored, "is not what its name says");
  }
  const micros = Number(savedAt.seconds) * microsPerSecond + savedAt.nanos / nanosPerMicro;
  const position = Number(message.position);
  const data = state.value;
  return { stream, kind, version, position, contentType, data, metadata, savedAt: micros };
}

function decode(stored: StoredSnapshot) {
  try {
    return fromBinary(SnapshotSchema, stored.value);
  } catch (error) {
    throw corrupt(stored, "cannot be decoded", error);
  }
}

function corrupt({ name }: StoredSnapshot, what: string, cause?: unknown) {
  const { stream = "", kind = "", version = 0 } = snapshotKeyOf(name) ?? {};
  const which = kind === "" ? "snapshot" : `snapshot ${kind}`;
  return corruption(`${which} of ${stream} at version ${version} ${what}`, { stream }, cause);
}
