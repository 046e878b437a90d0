// Load: the newest usable snapshot, the events after it, and where to append: one round trip, one
// view of the log. The cursor begins at the snapshot's own event, which proves that the snapshot is
// of this log, and passes over it.

import { AnnalsError } from "../domain/errors.ts";
import { positionMax } from "../domain/limits.ts";
import { recordsIn, scanPlace } from "../domain/record.ts";
import type { Snapshot } from "../domain/snapshot.ts";
import type { Range, Slab } from "../storage/storage.ts";
import { lastRecord, sliceSlab, slabsOf } from "./cursor.ts";
import type { ReadSource } from "./read.ts";
import { decodeSnapshot } from "./snapshot-codec.ts";
import { candidates, fits, warnOfMisfit, type SnapshotSource } from "./snapshots.ts";
import type { LoadMessage, LoadRequest } from "./verbs.ts";

export interface LoadSource extends ReadSource, SnapshotSource {}

/** Where the events to send begin. */
interface Start {
  readonly snapshot: Snapshot | undefined;
  /** The slab that begins with the snapshot's event; undefined without a snapshot. */
  readonly first: Slab | undefined;
  /** Those that follow. */
  readonly slabs: AsyncGenerator<Slab>;
}

/** The head is fixed here, before anything waits. */
export function load(
  source: LoadSource,
  request: LoadRequest,
  signal?: AbortSignal,
): AsyncGenerator<LoadMessage> {
  return loadAt(source, request, source.storage.head().position, signal);
}

async function* loadAt(
  source: LoadSource,
  request: LoadRequest,
  head: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<LoadMessage> {
  const { snapshot, first, slabs } = await startOf(source, request, head, signal);
  let last = first;
  let eventCount = 0;
  try {
    if (snapshot !== undefined) yield { kind: "snapshot", snapshot };
    if (first !== undefined && first.count > 1) {
      const batch = sliceSlab(first, 1, first.count);
      eventCount += batch.count;
      yield { kind: "batch", batch };
    }
    for await (const slab of slabs) {
      if (slab.count === 0) continue;
      last = slab;
      eventCount += slab.count;
      yield { kind: "batch", batch: slab };
    }
  } finally {
    await slabs.return(undefined);
  }
  if (signal?.aborted === true) return;
  const newest = last === undefined ? undefined : lastRecord(last);
  const version = newest === undefined ? 0 : scanPlace(newest).version;
  yield { kind: "end", end: { version, head, eventCount } };
}

async function startOf(
  source: LoadSource,
  request: LoadRequest,
  head: number,
  signal: AbortSignal | undefined,
): Promise<Start> {
  const { stream, maxVersion = positionMax } = request;
  const eventsFrom = (version: number, position: number): AsyncGenerator<Slab> => {
    const selection = { kind: "stream", stream } as const;
    const positions: Range = { first: position, last: head };
    const versions: Range = { first: version, last: maxVersion };
    const slabBytes = source.batchBytes;
    const read = { selection, direction: "forwards", positions, versions, slabBytes } as const;
    return slabsOf(source, read, signal);
  };
  if (!request.withoutSnapshot) {
    for await (const snapshot of readableSnapshots(source, request, maxVersion)) {
      const slabs = eventsFrom(snapshot.version, snapshot.position);
      const first = await firstOf(slabs);
      if (signal?.aborted === true || (first !== undefined && fits(snapshot, recordIn(first)))) {
        return { snapshot, first, slabs };
      }
      await slabs.return(undefined);
      warnOfMisfit(source, snapshot);
    }
  }
  return { snapshot: undefined, first: undefined, slabs: eventsFrom(1, 1) };
}

/** The newest first. What is damaged is passed over: the events say the same, and longer. */
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
      yield snapshot;
    }
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.reason !== "CORRUPTION") throw error;
    source.warn(`the snapshots of ${stream} cannot be read`, error);
  }
}

async function firstOf(slabs: AsyncGenerator<Slab>): Promise<Slab | undefined> {
  for (;;) {
    const next = await slabs.next();
    if (next.done === true) return undefined;
    if (next.value.count > 0) return next.value;
  }
}

function recordIn({ frames }: Slab): Uint8Array | undefined {
  for (const run of frames) for (const record of recordsIn(run)) return record;
  return undefined;
}
