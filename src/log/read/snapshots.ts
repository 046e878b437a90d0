// Snapshots: saved only at versions that the stream has, and used only if they fit the log. A load
// skips a snapshot that is damaged or does not fit, and reads the events instead. A snapshot is
// stored as a side value with an encoded annals.v1.Snapshot message; if the message disagrees with
// its name, that is CORRUPTION.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AnnalsError, corruption } from "../../domain/errors.ts";
import { scanPlacement, scanRecordedAt } from "../../domain/record.ts";
import { positionMax } from "../../domain/limits.ts";
import {
  snapshotKeyOf,
  snapshotName,
  snapshotNameBefore,
  snapshotPrefix,
  unprovenPosition,
  type NewSnapshot,
  type Snapshot,
  type SnapshotBeyondStream,
  type SnapshotOutcome,
  type SnapshotRequest,
} from "../../domain/snapshot.ts";
import { SnapshotSchema } from "../../gen/annals/v1/snapshot_pb.js";
import type { SideValue, Storage } from "../../storage/storage.ts";
import type { CancelSignal } from "../cancellation.ts";
import { requireLeader } from "../following.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { inTurn, type Caller } from "../scheduling/scheduler.ts";
import type { Source } from "../scheduling/scheduled-read.ts";
import { deletedThrough, recordOfVersion, viewOf } from "./records.ts";
import type { SnapshotGetRequest, SnapshotListRequest } from "../verbs.ts";

/** Snapshots with their states are large, so only a few are listed at a time. */
const listedAtOnce = 8;
/** A larger snapshot is stored without its state as well, which lists read. */
const headedBytesMin = 4 * 1024;
const nothing = new Uint8Array();

const { listEntryBytes, turnBytes, viewBatchBytesMin, wholeChunkCostShare } = schedulingPolicy;

/** A value costs as much as a whole chunk of its size: it is checked, but not decoded. */
function costOfStored(values: readonly SideValue[]): number {
  let bytes = values.length * listEntryBytes;
  for (const { value } of values) bytes += value.length * wholeChunkCostShare;
  return bytes;
}

/** After this many that do not fit, reading the events is faster. */
const triesMax = 8;

export interface SnapshotSource extends Source {
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
  /** Reports what an operator should know and the caller need not. */
  readonly warn: (message: string, cause?: unknown) => void;
  /** Lets a change be decided in one order with appends, and makes it durable. */
  readonly propose: (request: SnapshotRequest, signal?: CancelSignal) => Promise<SnapshotOutcome>;
}

export async function saveSnapshot(
  source: SnapshotSource,
  snapshot: NewSnapshot,
  signal?: CancelSignal,
): Promise<Snapshot> {
  requireLeader(source.storage);
  const { mayBeAhead = false, ...plain } = snapshot;
  if (mayBeAhead) {
    const savedAt = source.clock();
    return proposed(source, { ...plain, position: unprovenPosition, savedAt }, signal);
  }
  const { stream, version } = snapshot;
  const view = await viewOf(source, stream);
  const record = await recordOfVersion(source, stream, version, view.head);
  if (record === undefined) {
    const [streamVersion, deleted] = [view.version, deletedThrough(view)];
    throw beyondStream({ stream, version, streamVersion, deletedThrough: deleted });
  }
  const { position } = scanPlacement(record);
  // Never before the time of the event that it includes, which `fits` relies on.
  const savedAt = Math.max(source.clock(), scanRecordedAt(record));
  return proposed(source, { ...plain, position, savedAt }, signal);
}

async function proposed(
  source: SnapshotSource,
  saved: Snapshot,
  signal: CancelSignal | undefined,
): Promise<Snapshot> {
  const { stream, kind, version } = saved;
  const key = { stream, kind, version, mayBeAhead: isUnproven(saved) };
  const value = encodeSnapshot(saved);
  const isHeaded = value.length >= headedBytesMin;
  const head = isHeaded ? encodeSnapshot({ ...saved, data: nothing }) : undefined;
  const request = { kind: "save-snapshot", key, value, ...(head && { head }) } as const;
  const outcome = await source.propose(request, signal);
  if (outcome.kind === "snapshot-beyond-stream") throw beyondStream(outcome);
  return saved;
}

/** Whether it was saved as one that may be ahead. Only those who ask for such ones get it. */
export function isUnproven({ position }: Snapshot): boolean {
  return position === unprovenPosition;
}

function beyondStream(found: Omit<SnapshotBeyondStream, "kind">): AnnalsError {
  const { stream, version, streamVersion, deletedThrough: deleted } = found;
  const failure = { reason: "SNAPSHOT_BEYOND_STREAM", stream, version, streamVersion } as const;
  const why = deleted < version ? `at version ${streamVersion}` : `deleted up to ${deleted}`;
  return new AnnalsError(failure, `version ${version} of a stream ${why}`);
}

/** Throws SNAPSHOT_NOT_FOUND, and CORRUPTION if the newest one is damaged. */
export async function getSnapshot(
  source: SnapshotSource,
  { stream, kind, maxVersion = positionMax, mayBeAhead }: SnapshotGetRequest,
): Promise<Snapshot> {
  const view = await viewOf(source, stream);
  for await (const stored of candidates(source, stream, kind, maxVersion)) {
    if (stored.version <= deletedThrough(view)) break;
    const snapshot = decodeSnapshot(stored);
    if (isUnproven(snapshot)) {
      if (mayBeAhead) return snapshot;
      continue;
    }
    if (fits(snapshot, await recordOfVersion(source, stream, snapshot.version, view.head))) {
      return snapshot;
    }
    warnOfMisfit(source, snapshot);
  }
  const failure = { reason: "SNAPSHOT_NOT_FOUND", stream, kind } as const;
  throw new AnnalsError(failure, `no snapshot of ${stream}`);
}

/**
 * Some, or none if there are no more. None is from before the stream's deletion, and none is beyond
 * its version unless the caller asks for such ones.
 */
export async function listSnapshots(
  source: SnapshotSource,
  { stream, kind, after, limit, withData = false, mayBeAhead = false }: SnapshotListRequest,
  caller: Caller,
): Promise<Snapshot[]> {
  const view = await viewOf(source, stream);
  const listed: Snapshot[] = [];
  const prefix = snapshotPrefix(stream, kind);
  let atOnce = 1;
  let last = after === undefined ? "" : snapshotName({ stream, ...after });
  while (listed.length < limit) {
    const page = { space: "snapshot", prefix, after: last } as const;
    const few = Math.min(atOnce, limit - listed.length);
    const { sideValues } = source.storage;
    const list = () => sideValues.list({ ...page, limit: few, namesOnly: !withData });
    const found = await inTurn(caller, few * listEntryBytes, list, costOfStored);
    const whole = withData ? found : await headsOf(sideValues, found, caller);
    atOnce = costOfStored(whole) > turnBytes ? 1 : listedAtOnce;
    for (const stored of whole) {
      const snapshot = decodeSnapshot(stored);
      const { version } = snapshot;
      const isAsked = isUnproven(snapshot) ? mayBeAhead : version <= view.version;
      if (version <= deletedThrough(view) || !isAsked) continue;
      listed.push(withData ? snapshot : { ...snapshot, data: nothing });
    }
    // Their data is held until the answer is made of it.
    if (withData && listed.length > 0) break;
    last = found.at(-1)?.name ?? "";
    if (last === "") break;
  }
  return listed;
}

/** Snapshots by their names, without the states of large ones. One may be gone. */
async function headsOf(
  sideValues: Storage["sideValues"],
  named: readonly SideValue[],
  caller: Caller,
): Promise<SideValue[]> {
  const names = named.map(({ name }) => name);
  const get = async (): Promise<SideValue[]> => {
    const heads = await sideValues.get("snapshot-head", names);
    // Small ones, and those of earlier builds.
    const others = names.filter((name) => !heads.has(name));
    const rest = await sideValues.get("snapshot", others);
    return names.flatMap((name) => {
      const value = heads.get(name) ?? rest.get(name);
      return value === undefined ? [] : [{ space: "snapshot" as const, name, value }];
    });
  };
  return inTurn(caller, names.length * listEntryBytes, get, costOfStored);
}

/**
 * Snapshots at or before a version, the newest first, neither decoded nor compared with the log.
 */
export async function* candidates(
  { storage, gate }: Source,
  stream: string,
  kind: string,
  maxVersion: number,
): AsyncGenerator<StoredSnapshot & { readonly version: number }> {
  const page = { space: "snapshot", prefix: snapshotPrefix(stream, kind), limit: 1 } as const;
  const caller = { gate, aborted: false, reason: undefined };
  let after = snapshotNameBefore(stream, kind, maxVersion);
  for (let tries = 0; tries < triesMax; tries++) {
    const list = () => storage.sideValues.list({ ...page, after });
    const [newest] = await inTurn(caller, viewBatchBytesMin, list, costOfStored);
    if (newest === undefined) return;
    yield { ...newest, version: snapshotKeyOf(newest.name)?.version ?? 0 };
    after = newest.name;
  }
}

/**
 * Whether the log still has the events that the snapshot includes, given the event at its version.
 * After a loss (for example with a restored copy) versions and positions may have been reused, but
 * only at a later time.
 */
export function fits(snapshot: Snapshot, record: Uint8Array | undefined): boolean {
  if (record === undefined) return false;
  const { version, position } = scanPlacement(record);
  return (
    version === snapshot.version &&
    position === snapshot.position &&
    scanRecordedAt(record) <= snapshot.savedAt
  );
}

export function warnOfMisfit({ warn }: SnapshotSource, { stream, version }: Snapshot): void {
  warn(`a snapshot of ${stream} at version ${version} does not fit the log and is not used`);
}

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
