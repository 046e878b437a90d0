// Snapshots: saved only at versions the stream has, used only where the log still bears them out. A
// cache, never truth: what is damaged or does not fit the log is passed over by whoever has the
// events to do without.

import { AnnalsError } from "../../domain/errors.ts";
import { positionMax } from "../../domain/limits.ts";
import { scanPlacement, scanRecordedAt } from "../../domain/record.ts";
import type { NewSnapshot, Snapshot } from "../../domain/snapshot.ts";
import type { StoredSnapshot } from "../../storage/storage.ts";
import { deletedThrough, recordOfVersion, viewOf, type Source } from "./cursor.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot-codec.ts";
import type { SnapshotListRequest } from "../verbs.ts";

/** Snapshots come from storage with their state, so only a few at a time. */
const listedAtOnce = 8;

/** After so many that do not fit, events are quicker. */
const triesMax = 8;

export interface SnapshotSource extends Source {
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
  /** Told what an operator should know and the caller need not. */
  readonly warn: (message: string, cause?: unknown) => void;
}

export async function saveSnapshot(
  source: SnapshotSource,
  snapshot: NewSnapshot,
): Promise<Snapshot> {
  const { stream, version } = snapshot;
  const view = await viewOf(source, stream);
  const deleted = deletedThrough(view);
  const record =
    version > deleted ? await recordOfVersion(source, stream, version, view.head) : undefined;
  if (record === undefined) {
    const { version: streamVersion } = view;
    const failure = { reason: "SNAPSHOT_BEYOND_STREAM", stream, version, streamVersion } as const;
    const why = deleted < version ? `at version ${streamVersion}` : `deleted up to ${deleted}`;
    throw new AnnalsError(failure, `version ${version} of a stream ${why}`);
  }
  const { position } = scanPlacement(record);
  // Never before the event it includes, whatever the clock says: `fits` relies on it.
  const savedAt = Math.max(source.clock(), scanRecordedAt(record));
  const saved: Snapshot = { ...snapshot, position, savedAt };
  await source.storage.snapshots.save(encodeSnapshot(saved));
  return saved;
}

/** Throws SNAPSHOT_NOT_FOUND, and CORRUPTION where the newest one is damaged. */
export async function getSnapshot(
  source: SnapshotSource,
  stream: string,
  kind: string,
  maxVersion: number,
): Promise<Snapshot> {
  const view = await viewOf(source, stream);
  for await (const stored of candidates(source, stream, kind, maxVersion)) {
    if (stored.version <= deletedThrough(view)) break;
    const snapshot = decodeSnapshot(stored);
    if (fits(snapshot, await recordOfVersion(source, stream, snapshot.version, view.head))) {
      return snapshot;
    }
    warnOfMisfit(source, snapshot);
  }
  const failure = { reason: "SNAPSHOT_NOT_FOUND", stream, kind } as const;
  throw new AnnalsError(failure, `no snapshot of ${stream}`);
}

/** Without their data. None is beyond the stream, none of before its deletion. */
export async function listSnapshots(
  source: SnapshotSource,
  { stream, kind, after, limit }: SnapshotListRequest,
): Promise<Snapshot[]> {
  const view = await viewOf(source, stream);
  const { version: maxVersion } = view;
  const listed: Snapshot[] = [];
  let last = after;
  while (listed.length < limit) {
    const page = await source.storage.snapshots.list({
      stream,
      maxVersion,
      limit: Math.min(listedAtOnce, limit - listed.length),
      ...(kind !== undefined && { kind }),
      ...(last !== undefined && { after: last }),
    });
    for (const stored of page) {
      if (stored.version <= deletedThrough(view)) continue;
      listed.push({ ...decodeSnapshot(stored), data: new Uint8Array() });
    }
    last = page.at(-1);
    if (last === undefined) break;
  }
  return listed;
}

/** How many were deleted, those that would no longer be used included. */
export function deleteSnapshots(
  { storage }: Source,
  stream: string,
  kind?: string,
  maxVersion = positionMax,
): Promise<number> {
  return storage.snapshots.remove({ stream, maxVersion, ...(kind !== undefined && { kind }) });
}

/** Snapshots at or before a version, the newest first; not yet decoded, and the log not asked. */
export async function* candidates(
  { storage }: Source,
  stream: string,
  kind: string,
  maxVersion: number,
): AsyncGenerator<StoredSnapshot> {
  for (let tries = 0; tries < triesMax; tries++) {
    const [newest] = await storage.snapshots.list({ stream, kind, maxVersion, limit: 1 });
    if (newest === undefined) return;
    yield newest;
    maxVersion = newest.version - 1;
  }
}

/**
 * Whether the log still holds what the snapshot was made of, given the event at its version.
 * After a loss (a restored copy, say) versions and positions may have been taken anew, but only
 * later.
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
