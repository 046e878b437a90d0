// Lookups in the log besides batches: the first record of a read, a stream as of a head, and parts
// of a batch.

import type { Lifecycle } from "../../domain/lifecycle/lifecycle.ts";
import { enterFrame, recordsIn, scanPlacement } from "../../domain/record.ts";
import { WireReader } from "../../domain/wire.ts";
import type { Batch, StorageRead } from "../../storage/storage.ts";
import { HeldBatch, scheduledRead, type Source } from "../scheduling/scheduled-read.ts";

/** The first record of a read. Undefined: it has none. */
export async function firstRecord(
  source: Source,
  read: Omit<StorageRead, "batchBytes" | "batchEvents">,
): Promise<Uint8Array | undefined> {
  for await (const batch of scheduledRead(source, { ...read, batchBytes: 1, batchEvents: 1 })) {
    if (batch.count > 0) return firstRecordOf(batch);
  }
  return undefined;
}

/** A stream as of a head. */
export interface StreamView {
  readonly head: number;
  /** How many events it ever got. 0: none. */
  readonly version: number;
  readonly lifecycle: Lifecycle | undefined;
}

/** As of the head at the time of the call, before anything waits. */
export function viewOf({ storage }: Source, stream: string): Promise<StreamView> {
  const view = storage
    .facts({ streams: [stream], ids: [], conditions: [] })
    .then(({ head, versions, lifecycles }) => ({
      head: head.position,
      version: versions.get(stream) ?? 0,
      lifecycle: lifecycles.get(stream),
    }));
  // A failure is for the caller that waits for the view, and there may be none.
  view.catch(() => {});
  return view;
}

/** The version up to which a stream was deleted. 0: it never was. */
export function deletedThrough({ lifecycle }: StreamView): number {
  return lifecycle?.deletion?.through ?? 0;
}

/**
 * The last version that a fold up to `version` lacks. `first` is the first version that the fold
 * was given, or the version after `version` if it was given none. Versions that a deletion removed
 * are not missing, unless the fold is of a version before the deletion.
 */
export function missingThrough(view: StreamView, version: number, first: number): number {
  const isBeforeDeletion = version <= deletedThrough(view) && version < view.version;
  const start = isBeforeDeletion ? 0 : deletedThrough(view);
  return first - 1 > start ? first - 1 : 0;
}

/** How many events a stream ever got up to a head, including removed ones. 0: none. */
export async function versionAt(source: Source, stream: string, position: number): Promise<number> {
  const newest = await firstRecord(source, {
    selection: { kind: "stream", stream, withSystem: true },
    direction: "backwards",
    positions: { first: 1, last: position },
    withRemoved: true,
  });
  return newest === undefined ? 0 : scanPlacement(newest).version;
}

/** The record of a version, removed or not. It has at least its placement and its time. */
export function recordOfVersion(
  source: Source,
  stream: string,
  version: number,
  head: number,
): Promise<Uint8Array | undefined> {
  return firstRecord(source, {
    selection: { kind: "stream", stream },
    direction: "forwards",
    positions: { first: 1, last: head },
    versions: { first: version, last: version },
    withRemoved: true,
  });
}

/** The records of a batch, in the order of its read. */
export function* recordsOf({ frames }: Batch): Generator<Uint8Array> {
  for (const run of frames) yield* recordsIn(run);
}

/** The first record of a batch, in the order of its read. */
export function firstRecordOf(batch: Batch): Uint8Array | undefined {
  for (const record of recordsOf(batch)) return record;
  return undefined;
}

/** The last record of a batch, in the order of its read. */
export function lastRecordOf({ frames }: Batch): Uint8Array | undefined {
  const run = frames.at(-1);
  if (run === undefined) return undefined;
  const reader = new WireReader(run);
  let [start, end] = [0, 0];
  for (; !reader.done; reader.offset = end) {
    end = enterFrame(reader);
    start = reader.offset;
  }
  return run.subarray(start, end);
}

/** A batch of the records from number `from` (from 0, inclusive) up to `to` (exclusive). */
export function sliceBatch(batch: Batch, from: number, to: number): Batch {
  if (from <= 0 && to >= batch.count) return batch;
  const frames: Uint8Array[] = [];
  let [number, count, bytes] = [0, 0, 0];
  let last: Uint8Array | undefined;
  for (const run of batch.frames) {
    let [begin, end] = [0, 0];
    for (const record of recordsIn(run)) {
      const next = record.byteOffset + record.length - run.byteOffset;
      if (number < from) begin = next;
      else if (number < to) {
        end = next;
        count++;
        last = record;
      }
      number++;
    }
    if (end <= begin) continue;
    frames.push(run.subarray(begin, end));
    bytes += end - begin;
  }
  // Cut off after its last record: all that is known is that everything up to it is included.
  const through = last && to < batch.count ? scanPlacement(last).position : batch.through;
  const part = { frames, count, bytes, through };
  const first = firstRecordOf(part);
  if (first === undefined || !(batch instanceof HeldBatch)) return part;
  return batch.part(part, scanPlacement(first).position);
}
