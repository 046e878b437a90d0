// The cursor: a selection and a bound, pulled slab by slab through the gate. Reads and
// subscriptions are the same cursor; a read stops at the head it began with, a subscription waits
// there and goes on. Between two slabs it is nothing but a place in the log: a consumer that
// stands still costs no more than that and the slab in its hands.

import type { Lifecycle } from "../../domain/lifecycle/lifecycle.ts";
import { recordsIn, scanPlacement } from "../../domain/record.ts";
import type { Batch, Storage, StorageRead } from "../../storage/storage.ts";
import type { UnsentBytes } from "./unsent-bytes.ts";
import { quantumBytes, type ReadGate } from "./read-gate.ts";

/** Most of what is live is little and ends with its first slab; further slabs are full. */
const firstBatchBytes = quantumBytes / 8;

/**
 * What a slab of one view of the log weighs at least: small reads go to the engine and back, and
 * are answered each by themselves. What is live is in memory, and often shared.
 */
const viewBatchBytesMin = quantumBytes / 4;

/** While clients leave much untaken: what a call holds that waits for one of them. */
const frugalBatchBytes = 16 * 1024;

/** So many may wait at the gate with a read of the engine open, which holds up to half a MiB. */
const waitingWithReadsMax = 256;

export interface Source {
  readonly storage: Storage;
  readonly gate: ReadGate;
  /** Absent: whoever reads takes at once what is read. */
  readonly unsentBytes?: UnsentBytes;
}

/**
 * Pulled by the consumer. Ends early, without an error, once the signal is aborted. While clients
 * leave much untaken, slabs are small. Then, and where very many wait at the gate, the engine's
 * read ends between two slabs and begins anew, if it need not be one view of the log: so that
 * nothing of it is held meanwhile.
 */
export async function* batchesOf(
  { storage, gate, unsentBytes }: Source,
  read: StorageRead,
  signal?: AbortSignal,
): AsyncGenerator<Batch> {
  const isFrugal = () => unsentBytes?.isLarge === true;
  const isAborted = () => signal?.aborted === true;
  const mayRestart = read.direction === "forwards" && read.asOf === undefined;
  // To begin anew for each few events would cost more than it spares.
  const mayWaitClosed = mayRestart && read.batchEvents === undefined;
  const { last } = read.positions;
  let { first } = read.positions;
  let batches: AsyncIterator<Batch> | undefined;
  const bytesMin = read.asOf === undefined ? 0 : viewBatchBytesMin;
  let bytes = bytesMin > 0 ? bytesMin : firstBatchBytes;
  try {
    while (first <= last) {
      const turn = gate.enter(bytes);
      if (turn !== undefined) {
        if (mayWaitClosed && gate.waitingCount > waitingWithReadsMax) {
          await batches?.return?.();
          batches = undefined;
        }
        await turn;
      }
      let next: IteratorResult<Batch, unknown> = { done: true, value: undefined };
      try {
        batches ??= begun(storage, { ...read, positions: { first, last } }, isFrugal());
        if (!isAborted()) next = await batches.next();
      } finally {
        gate.leave(bytes, Math.max(bytesMin, next.done === true ? 0 : weightOf(next.value)));
      }
      if (next.done === true || isAborted()) return;
      if (mayRestart) {
        first = next.value.through + 1;
        if (isFrugal()) {
          await batches.return?.();
          batches = undefined;
        }
      }
      yield next.value;
      // To ask the engine whether there is more would cost another turn.
      if (isAtEnd(read, next.value)) return;
      bytes = isCoarse(next.value) ? coarseBatchWeight : quantumBytes;
    }
  } finally {
    await batches?.return?.();
  }
}

function isAtEnd({ direction, positions }: StorageRead, { through }: Batch): boolean {
  return direction === "forwards" ? through >= positions.last : through <= positions.first;
}

function begun(storage: Storage, read: StorageRead, isFrugal: boolean): AsyncIterator<Batch> {
  const batchBytes = isFrugal ? Math.min(read.batchBytes, frugalBatchBytes) : read.batchBytes;
  return storage.read({ ...read, batchBytes })[Symbol.asyncIterator]();
}

const coarseFrameBytes = 4 * 1024;
/** They cost a third of what records cost that are looked at one by one. */
const coarseShare = 1 / 3;
const coarseBatchWeight = Math.floor(quantumBytes * coarseShare);

/** Whether its frames are, on average, whole chunks: read as they are, and best sent so. */
export function isCoarse({ count, bytes, frames }: Batch): boolean {
  return count > 0 && bytes >= frames.length * coarseFrameBytes;
}

/** Where nothing matched, the engine looked at as much as it does between two signs of life. */
function weightOf(batch: Batch): number {
  if (isCoarse(batch)) return batch.bytes * coarseShare;
  return batch.count === 0 ? quantumBytes : batch.bytes;
}

/** The first record of a read; undefined where it has none. */
export async function firstRecord(
  source: Source,
  read: Omit<StorageRead, "batchBytes" | "batchEvents">,
): Promise<Uint8Array | undefined> {
  for await (const batch of batchesOf(source, { ...read, batchBytes: 1, batchEvents: 1 })) {
    if (batch.count > 0) return firstRecordOf(batch);
  }
  return undefined;
}

/** A stream as of a head. */
export interface StreamView {
  readonly head: number;
  /** How many events it ever got; 0: none. */
  readonly version: number;
  readonly lifecycle: Lifecycle | undefined;
}

/** As of the head when this is called, before anything waits. */
export function viewOf({ storage }: Source, stream: string): Promise<StreamView> {
  const view = storage
    .facts({ streams: [stream], ids: [], conditions: [] })
    .then(({ head, versions, lifecycles }) => ({
      head: head.position,
      version: versions.get(stream) ?? 0,
      lifecycle: lifecycles.get(stream),
    }));
  // Whoever waits for it is told; it may be that nobody does.
  view.catch(() => {});
  return view;
}

/** The version up to which a stream was deleted; 0: it never was. */
export function deletedThrough({ lifecycle }: StreamView): number {
  return lifecycle?.deletion?.through ?? 0;
}

/** How many events a stream ever got up to a head, removed ones too; 0: none. */
export async function versionAt(source: Source, stream: string, position: number): Promise<number> {
  const newest = await firstRecord(source, {
    selection: { kind: "stream", stream },
    direction: "backwards",
    positions: { first: 1, last: position },
    withRemoved: true,
  });
  return newest === undefined ? 0 : scanPlacement(newest).version;
}

/** The record of a version, removed or not: at least its place and its time. */
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

/** The first record of a batch, in the order of its read. */
export function firstRecordOf({ frames }: Batch): Uint8Array | undefined {
  for (const run of frames) for (const record of recordsIn(run)) return record;
  return undefined;
}

/** The last record of a batch, in the order of its read. */
export function lastRecordOf({ frames }: Batch): Uint8Array | undefined {
  let last: Uint8Array | undefined;
  for (const record of recordsIn(frames.at(-1) ?? new Uint8Array())) last = record;
  return last;
}

/** A slab of the records from number `from` (from 0, inclusive) up to `to` (exclusive). */
export function sliceBatch(batch: Batch, from: number, to: number): Batch {
  if (from <= 0 && to >= batch.count) return batch;
  const frames: Uint8Array[] = [];
  let [number, count, bytes, through] = [0, 0, 0, batch.through];
  for (const run of batch.frames) {
    let [begin, end] = [0, 0];
    for (const record of recordsIn(run)) {
      const next = record.byteOffset + record.length - run.byteOffset;
      if (number < from) begin = next;
      else if (number < to) {
        end = next;
        count++;
        // Cut off behind this record, all that is known is that everything up to it is here.
        if (number === to - 1 && to < batch.count) through = scanPlacement(record).position;
      }
      number++;
    }
    if (end <= begin) continue;
    frames.push(run.subarray(begin, end));
    bytes += end - begin;
  }
  return { frames, count, bytes, through };
}
