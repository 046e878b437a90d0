// A read that walks the log chunk by chunk. Reading everything sends whole chunks on as they are;
// anything else looks at each record.

import { scanRecord, scanStream } from "../../../domain/record.ts";
import { selects } from "../../../domain/query.ts";
import type { Batch, StorageRead } from "../../storage.ts";
import { frameOffsets, recordOf, type Chunk } from "../format/chunk.ts";
import { chunksBackwards, chunksForwards, chunksFromMemory } from "./chunks.ts";
import type { OpenStore } from "../state/open-store.ts";
import type { Visibility } from "./visibility.ts";
import { BatchBuilder } from "./batch-builder.ts";

/** A consumer gets a word at least this often, even if nothing matches. */
const chunksPerProgress = 256;

export async function* scanRead(
  store: OpenStore,
  read: StorageRead,
  head: number,
  visibility: Visibility,
): AsyncGenerator<Batch> {
  const forwards = read.direction === "forwards";
  const { first, last } = read.positions;
  const walk = !forwards
    ? chunksBackwards
    : store.tail.page(first, last, 1).length > 0
      ? chunksFromMemory
      : chunksForwards;
  const pages = walk(store, read.positions, head, read.batchBytes * 2);
  const batch = new BatchBuilder(read.batchBytes, read.batchEvents);
  let silentChunks = 0;
  let through = forwards ? first - 1 : last + 1;
  for await (const page of pages) {
    for (const chunk of page) {
      // Pages are fetched up to the head: what lies behind the range is none of this read.
      if (forwards && chunk.first > last) break;
      const plain = isPlain(read, chunk) && (!chunk.reclaimed || read.withRemoved === true);
      if (plain && batch.count > 0 && !batch.fits(chunk.records.length, chunk.count)) {
        // A slab ends between chunks rather than have one cut into its records.
        yield batch.take(through);
        silentChunks = 0;
      }
      const whole = plain && batch.fits(chunk.records.length, chunk.count);
      if (whole && (visibility.clears(chunk) || (await showsAll(visibility, chunk)))) {
        batch.add(chunk.records, chunk.count);
      } else {
        for (const part of selectedFrames(read, chunk)) {
          if (!batch.fits(part.frame.length, 1)) {
            yield batch.take(through);
            silentChunks = 0;
          }
          // Delay the slab was taken: that may have been long ago.
          const hidden = !visibility.clears(chunk) && isHidden(visibility, part.frame);
          if (hidden === true || (hidden !== false && (await hidden))) {
            const removedRecord = visibility.removedRecordOf(
              part.frame,
              scanStream(recordOf(part.frame)),
            );
            if (removedRecord === undefined) continue;
            batch.add(removedRecord, 1);
          } else {
            if (chunk.reclaimed) assertWhole(visibility, chunk, part.frame);
            batch.add(part.frame, 1);
          }
          through = part.position;
        }
      }
      through = forwards ? Math.min(chunk.last, last) : Math.max(chunk.first, first);
      silentChunks++;
      if (batch.full || silentChunks >= chunksPerProgress) {
        yield batch.take(through);
        silentChunks = 0;
      }
    }
  }
  if (batch.count > 0 || silentChunks > 0) yield batch.take(through);
}

/** Whether every event of the chunk belongs to the read, in the order in which it is stored. */
function isPlain(read: StorageRead, chunk: Chunk): boolean {
  return (
    read.selection.kind === "all" &&
    read.direction === "forwards" &&
    !chunk.holdsSystemEvents &&
    chunk.first >= read.positions.first &&
    chunk.last <= read.positions.last
  );
}

/** Whether nothing of the chunk is removed. */
async function showsAll(visibility: Visibility, chunk: Chunk): Promise<boolean> {
  const offsets = frameOffsets(chunk);
  for (let i = 0; i < chunk.count; i++) {
    const hidden = isHidden(visibility, chunk.records.subarray(offsets[i], offsets[i + 1]));
    if (hidden === true || (hidden !== false && (await hidden))) return false;
  }
  return true;
}

function isHidden(visibility: Visibility, frame: Uint8Array): boolean | Promise<boolean> {
  const record = recordOf(frame);
  return visibility.hides({ stream: scanStream(record) }, record);
}

function assertWhole(visibility: Visibility, chunk: Chunk, frame: Uint8Array): void {
  const record = recordOf(frame);
  visibility.assertWhole(chunk, { stream: scanStream(record) }, record);
}

/** The frames of a chunk that the read selects, in its order. */
function* selectedFrames(
  read: StorageRead,
  chunk: Chunk,
): Generator<{ frame: Uint8Array; position: number }> {
  const { first, last } = read.positions;
  const offsets = frameOffsets(chunk);
  const everything = read.selection.kind === "all" && !chunk.holdsSystemEvents;
  const forwards = read.direction === "forwards";
  for (let i = 0; i < chunk.count; i++) {
    const ordinal = forwards ? i : chunk.count - 1 - i;
    const position = chunk.first + ordinal;
    if (position < first || position > last) continue;
    const frame = chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]);
    if (!everything) {
      const event = scanRecord(recordOf(frame));
      if (!selects(read.selection, event)) continue;
      const { versions } = read;
      if (versions && (event.version < versions.first || event.version > versions.last)) continue;
    }
    yield { frame, position };
  }
}
