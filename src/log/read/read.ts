// Read: a read that ends at the head with which it began. The whole answer is one view of the log,
// so its end says what a decision made on it may assume.

import { invariant } from "../../domain/errors.ts";
import { positionMax } from "../../domain/limits.ts";
import { scanPlacement } from "../../domain/record.ts";
import type { Range, Storage, StorageRead } from "../../storage/storage.ts";
import { scheduledRead, type Source } from "../scheduling/scheduled-read.ts";
import { firstRecordOf, lastRecordOf, recordOfVersion, sliceBatch, versionAt } from "./records.ts";
import type { HandedFigures } from "../log-figures.ts";
import type { Batch, Bound, ReadEnd, ReadMessage, ReadRequest } from "../verbs.ts";

export interface ReadSource extends Source {
  /** A batch is cut near this many encoded bytes. */
  readonly batchBytes: number;
  /** Counts what callers get. */
  readonly handed: HandedFigures;
}

/** `head` is the head at the time of the call, before anything waits. */
export async function* read(
  source: ReadSource,
  request: ReadRequest,
  head: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<ReadMessage> {
  const { selection, direction, limit = Infinity, withRemoved } = request;
  if (limit < 1) throw new RangeError("a limit is at least one event");
  const bounds = await boundsOf(source.storage, request, head);
  let eventCount = 0;
  /** The batch with the newest event that was returned. */
  let newest: Seen["newest"];
  const bounded: StorageRead = {
    selection,
    direction,
    positions: bounds.positions,
    asOf: head,
    batchBytes: source.batchBytes,
    ...(bounds.versions !== undefined && { versions: bounds.versions }),
    ...(request.limit !== undefined && { batchEvents: request.limit }),
    ...(withRemoved === true && { withRemovedRecords: true }),
  };
  const from = { ...source, isSent: request.isGathered !== true };
  for await (const found of scheduledRead(from, bounded, signal)) {
    if (found.count === 0) continue;
    const left = limit - eventCount;
    const batch = found.count > left ? sliceBatch(found, 0, left) : found;
    eventCount += batch.count;
    source.handed.read += batch.count;
    // Only its place: a batch that the client does not take may be dropped.
    if (direction === "forwards" || newest === undefined) newest = newestIn(batch, direction);
    yield { kind: "batch", batch };
    if (eventCount >= limit) break;
  }
  if (signal?.aborted === true) return;
  const seen: Seen = {
    head,
    bounds,
    upper: direction === "forwards" ? request.to : request.from,
    newest,
    limited: eventCount >= limit,
  };
  const end = await endOf(source, request, seen);
  yield { kind: "end", end: { head, eventCount, ...end } };
}

/** What a read has seen. */
interface Seen {
  readonly head: number;
  readonly bounds: Bounds;
  /** The bound at the newer end of the read. */
  readonly upper: Bound | undefined;
  /** The newest event that was returned. */
  readonly newest: { readonly version: number; readonly position: number } | undefined;
  /** Whether the limit was reached. */
  readonly limited: boolean;
}

function newestIn(batch: Batch, direction: ReadRequest["direction"]): Seen["newest"] {
  const record = direction === "forwards" ? lastRecordOf(batch) : firstRecordOf(batch);
  return record && scanPlacement(record);
}

/** What the end of a read says: read.proto defines `after`. */
async function endOf(
  source: ReadSource,
  { selection, direction }: ReadRequest,
  seen: Seen,
): Promise<Pick<ReadEnd, "after" | "streamVersion">> {
  const { head, upper, newest, limited } = seen;
  const isCut = direction === "forwards" && limited;
  let streamVersion: number | undefined;
  if (selection.kind === "stream") {
    // The events of a stream that are left are its newest ones.
    const isAtHead = upper === undefined && !isCut;
    streamVersion =
      isAtHead && newest !== undefined
        ? newest.version
        : await versionAt(source, selection.stream, head);
  }
  if (isCut && newest !== undefined) return { after: newest.position, streamVersion };
  if (upper === undefined) return { after: head, streamVersion };
  return { after: await afterBound(source, selection, seen, streamVersion), streamVersion };
}

/**
 * Up to where a read with a bound at its newer end has seen everything. The engine's `through` is
 * no measure, because it does not take versions into account.
 */
async function afterBound(
  source: ReadSource,
  selection: ReadRequest["selection"],
  { head, bounds, upper, newest }: Seen,
  streamVersion = 0,
): Promise<number> {
  if (upper?.kind !== "version") return Math.max(bounds.positions.last, 0);
  if (upper.version >= streamVersion) return head;
  if (newest?.version === upper.version) return newest.position;
  // The event of that version was removed, or the bounds contradict each other.
  invariant(selection.kind === "stream", "versions are a stream's");
  const record = await recordOfVersion(source, selection.stream, upper.version, head);
  return record === undefined ? 0 : scanPlacement(record).position;
}

/** The bounds of a read, both inclusive. Contradictory bounds are empty. */
interface Bounds {
  /** At most the head's position. */
  readonly positions: Range;
  /** Only if the request has a version. */
  readonly versions: Range | undefined;
}

/** `head` is the position of which the whole read is a view. */
export async function boundsOf(
  storage: Storage,
  { direction, from, to }: Pick<ReadRequest, "direction" | "from" | "to">,
  head: number,
): Promise<Bounds> {
  const [low, high] = direction === "forwards" ? [from, to] : [to, from];
  const isOfVersions = low?.kind === "version" || high?.kind === "version";
  const versions = isOfVersions ? versionsBetween(low, high) : undefined;
  const first = low === undefined ? 1 : await firstPositionOf(storage, low);
  const last = high === undefined ? head : await lastPositionOf(storage, high);
  return { positions: { first: Math.max(first, 1), last: Math.min(last, head) }, versions };
}

function versionsBetween(low: Bound | undefined, high: Bound | undefined): Range {
  const first = low?.kind === "version" ? low.version : 1;
  const last = high?.kind === "version" ? high.version : positionMax;
  return { first, last };
}

async function firstPositionOf(storage: Storage, bound: Bound): Promise<number> {
  switch (bound.kind) {
    case "version":
      return 1;
    case "position":
      return bound.position;
    case "time":
      return await storage.positionAt(bound.time);
  }
}

async function lastPositionOf(storage: Storage, bound: Bound): Promise<number> {
  switch (bound.kind) {
    case "version":
      return positionMax;
    case "position":
      return bound.position;
    case "time":
      // Several events may have the same time.
      return (await storage.positionAt(bound.time + 1)) - 1;
  }
}
