// Load: the newest usable snapshot, the events after it, and the version to append at, in one round
// trip and one view of the log. The read begins at the event of the snapshot's version, to prove
// that the snapshot is of this log, and skips it.

import { AnnalsError } from "../../domain/errors.ts";
import type { Placement } from "../../domain/event.ts";
import { positionMax } from "../../domain/limits.ts";
import { scanPlacement } from "../../domain/record.ts";
import type { Snapshot } from "../../domain/snapshot.ts";
import type { Range, Batch } from "../../storage/storage.ts";
import { scheduledRead, type ScheduledRead } from "../scheduling/scheduled-read.ts";
import {
  deletedThrough,
  firstRecordOf,
  lastRecordOf,
  missingThrough,
  recordOfVersion,
  sliceBatch,
  viewOf,
  type StreamView,
} from "./records.ts";
import type { ReadSource } from "./read.ts";
import {
  candidates,
  decodeSnapshot,
  fits,
  isUnproven,
  warnOfMisfit,
  type SnapshotSource,
} from "./snapshots.ts";
import type { LoadMessage, LoadRequest } from "../verbs.ts";

export interface LoadSource extends ReadSource, SnapshotSource {}

/** The beginning of the events to send. */
interface Start {
  readonly snapshot: Snapshot | undefined;
  /** The first batch, if it was already read, and is small. */
  readonly first: Batch | undefined;
  /** How many of the first events the snapshot includes. */
  readonly included: number;
  /** The following batches. */
  readonly batches: ScheduledRead;
}

/** The head is fixed here, before anything waits. */
export function load(
  source: LoadSource,
  request: LoadRequest,
  signal?: AbortSignal,
): AsyncGenerator<LoadMessage> {
  return loadAt(source, request, viewOf(source, request.stream), signal);
}

async function* loadAt(
  source: LoadSource,
  request: LoadRequest,
  viewed: Promise<StreamView>,
  signal: AbortSignal | undefined,
): AsyncGenerator<LoadMessage> {
  const view = await viewed;
  const { snapshot, first, included, batches } = await startOf(source, request, view, signal);
  let eventCount = 0;
  let newest: Placement | undefined;
  let firstVersion: number | undefined;
  try {
    if (snapshot !== undefined) yield { kind: "snapshot", snapshot };
    let left = included;
    for await (const found of first === undefined ? batches : behind(first, batches)) {
      const batch = left === 0 ? found : sliceBatch(found, left, found.count);
      left = 0;
      if (batch.count === 0) continue;
      // Only its place: a batch that the client does not take may be dropped.
      const lastRecord = lastRecordOf(batch);
      newest = lastRecord && scanPlacement(lastRecord);
      eventCount += batch.count;
      source.handed.read += batch.count;
      firstVersion ??= versionOf(firstRecordOf(batch));
      yield { kind: "batch", batch };
    }
  } finally {
    await batches.return();
  }
  if (signal?.aborted === true) return;
  const version = Math.min(view.version, request.maxVersion ?? positionMax);
  const last = newest ?? snapshot;
  const after = await afterOf(source, request.stream, { view, version, last });
  // A snapshot that is used replaces everything before it, and has no gap after it.
  const missing =
    snapshot === undefined ? missingThrough(view, version, firstVersion ?? version + 1) : 0;
  const end = { version, head: view.head, after, eventCount, missingThrough: missing };
  yield { kind: "end", end };
}

/** What a load has seen: the stream, the version of the state, and the newest event in it. */
interface Seen {
  readonly view: StreamView;
  readonly version: number;
  readonly last: { readonly version: number; readonly position: number } | undefined;
}

/** The answer that snapshot.proto defines. */
async function afterOf(
  source: LoadSource,
  stream: string,
  { view, version, last }: Seen,
): Promise<number> {
  if (version === view.version) return view.head;
  if (last?.version === version) return last.position;
  const record = await recordOfVersion(source, stream, version, view.head);
  return record === undefined ? 0 : scanPlacement(record).position;
}

async function startOf(
  source: LoadSource,
  request: LoadRequest,
  view: StreamView,
  signal: AbortSignal | undefined,
): Promise<Start> {
  const { stream, maxVersion = positionMax } = request;
  const eventsFrom = (version: number, position: number): ScheduledRead => {
    const selection = { kind: "stream", stream } as const;
    const positions: Range = { first: position, last: view.head };
    const versions: Range = { first: version, last: maxVersion };
    const where = { selection, positions, versions, asOf: view.head };
    const batchBytes = source.batchBytes;
    return scheduledRead(source, { ...where, direction: "forwards", batchBytes }, signal);
  };
  const withoutSnapshot = (): Start => {
    return { snapshot: undefined, first: undefined, included: 0, batches: eventsFrom(1, 1) };
  };
  if (request.withoutSnapshot) return withoutSnapshot();
  for await (const snapshot of readableSnapshots(source, request, maxVersion)) {
    if (snapshot.version <= deletedThrough(view)) break;
    const batches = eventsFrom(snapshot.version, snapshot.position);
    const { first, record, own, known } = await begunAt(source, snapshot, batches, view);
    const isFit = signal?.aborted === true || fits(snapshot, known);
    // If the following events were removed, the first event that is left has a greater version than
    // any snapshot's next one.
    const end = Math.min(view.version, maxVersion) + 1;
    const next = record === undefined ? end : scanPlacement(record).version;
    if (isFit && (own || next <= snapshot.version + 1)) {
      const included = own ? 1 : 0;
      const isSmall = first === undefined || first.bytes <= source.batchBytes;
      if (isSmall) return { snapshot, first, included, batches };
      // It would be held while the client takes the snapshot.
      await batches.return();
      const again = eventsFrom(snapshot.version, snapshot.position);
      return { snapshot, first: undefined, included, batches: again };
    }
    await batches.return();
    if (isFit) break;
    warnOfMisfit(source, snapshot);
  }
  return withoutSnapshot();
}

async function* behind(first: Batch, batches: ScheduledRead): AsyncGenerator<Batch> {
  yield first;
  yield* batches;
}

function versionOf(record: Uint8Array | undefined): number | undefined {
  return record && scanPlacement(record).version;
}

/** The newest first. Damaged snapshots are skipped, because the events lead to the same state. */
async function* readableSnapshots(
  source: LoadSource,
  { stream, snapshotKind }: LoadRequest,
  maxVersion: number,
): AsyncGenerator<Snapshot> {
  try {
    for await (const stored of candidates(source, stream, snapshotKind, maxVersion)) {
      let snapshot: Snapshot;
      try {
        snapshot = decodeSnapshot(stored);
      } catch (error) {
        source.warn(`a snapshot of ${stream} at version ${stored.version} is damaged`, error);
        continue;
      }
      if (!isUnproven(snapshot)) yield snapshot;
    }
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.reason !== "CORRUPTION") throw error;
    source.warn(`the snapshots of ${stream} cannot be read`, error);
  }
}

/** Where the events behind a snapshot begin. `own`: with the event of the snapshot's version. */
async function begunAt(
  source: LoadSource,
  { stream, version }: Snapshot,
  batches: ScheduledRead,
  { head }: StreamView,
) {
  try {
    const first = await firstOf(batches);
    const record = first && firstRecordOf(first);
    const own = record !== undefined && scanPlacement(record).version === version;
    const known = own ? record : await recordOfVersion(source, stream, version, head);
    return { first, record, own, known };
  } catch (error) {
    await batches.return();
    throw error;
  }
}

async function firstOf(batches: ScheduledRead): Promise<Batch | undefined> {
  for (;;) {
    const next = await batches.next();
    if (next.done === true) return undefined;
    if (next.value.count > 0) return next.value;
  }
}
