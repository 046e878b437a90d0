// Read: a cursor that ends at the head it began with. The whole answer is one view of the log
// there, so its end says what a decision made from it may assume.

import { invariant } from "../../domain/errors.ts";
import { scanPlacement } from "../../domain/record.ts";
import type { StorageRead } from "../../storage/storage.ts";
import { boundsOf, type Bounds } from "./bounds.ts";
import {
  firstRecord,
  lastRecord,
  sliceBatch,
  batchesOf,
  versionAt,
  type Source,
} from "./cursor.ts";
import type { Batch, ReadEnd, ReadMessage, ReadRequest } from "../verbs.ts";

export interface ReadSource extends Source {
  /** Encoded bytes near which a batch is cut. */
  readonly batchBytes: number;
}

/** The head is fixed here, before anything waits. */
export function read(
  source: ReadSource,
  request: ReadRequest,
  signal?: AbortSignal,
): AsyncGenerator<ReadMessage> {
  return readTo(source, request, source.storage.head().position, signal);
}

async function* readTo(
  source: ReadSource,
  request: ReadRequest,
  head: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<ReadMessage> {
  const { limit = Infinity } = request;
  invariant(limit >= 1, "a limit is at least one event");
  const bounds = await boundsOf(source.storage, request, head);
  let eventCount = 0;
  let last: Batch | undefined;
  for await (const found of batchesOf(source, storageRead(source, request, bounds, head), signal)) {
    if (found.count === 0) continue;
    const batch = sliceBatch(found, 0, limit - eventCount);
    eventCount += batch.count;
    last = batch;
    yield { kind: "batch", batch };
    if (eventCount >= limit) break;
  }
  if (signal?.aborted === true) return;
  const passed: Passed = { head, bounds, last, wasCut: eventCount >= limit };
  const streamVersion = await streamVersionOf(source, request, passed);
  const after = await afterOf(source, request, passed, streamVersion);
  yield { kind: "end", end: { head, after, eventCount, streamVersion } };
}

function storageRead(
  { batchBytes }: ReadSource,
  { selection, direction, limit, withRemoved }: ReadRequest,
  { positions, versions }: Bounds,
  head: number,
): StorageRead {
  return {
    selection,
    direction,
    positions,
    asOf: head,
    batchBytes: batchBytes,
    ...(versions !== undefined && { versions }),
    ...(limit !== undefined && { batchEvents: limit }),
    ...(withRemoved === true && { withRemovedRecords: true }),
  };
}

/** What a read has gone through. */
interface Passed {
  readonly head: number;
  readonly bounds: Bounds;
  readonly last: Batch | undefined;
  /** By its limit. */
  readonly wasCut: boolean;
}

/** The stream's version at the head; only with a stream selection. */
async function streamVersionOf(
  source: ReadSource,
  { selection, direction, to }: ReadRequest,
  { head, last, wasCut }: Passed,
): Promise<number | undefined> {
  if (selection.kind !== "stream") return undefined;
  const reachedHead = direction === "forwards" && to === undefined && !wasCut;
  const newest = reachedHead && last !== undefined ? lastRecord(last) : undefined;
  if (newest !== undefined) return scanPlacement(newest).version;
  return await versionAt(source, selection.stream, head);
}

/** See `ReadEnd.after` in read.proto. */
async function afterOf(
  source: ReadSource,
  { selection, direction, to }: ReadRequest,
  { head, bounds, last, wasCut }: Passed,
  streamVersion: number | undefined,
): Promise<ReadEnd["after"]> {
  if (direction === "backwards") return head;
  if (wasCut && last !== undefined) return Math.min(last.through, head);
  if (to === undefined) return head;
  if (to.kind !== "version") return Math.max(bounds.positions.last, 0);
  if (to.version >= (streamVersion ?? 0)) return head;
  const lastPlace = last === undefined ? undefined : lastRecord(last);
  if (lastPlace !== undefined) return scanPlacement(lastPlace).position;
  // Nothing was returned (the bounds contradict each other): everything up to that version was.
  const versions = { first: to.version, last: to.version };
  const positions = { first: 1, last: head };
  const place = { positions, versions, withRemoved: true };
  const found = await firstRecord(source, { selection, direction, ...place });
  return found === undefined ? 0 : scanPlacement(found).position;
}
