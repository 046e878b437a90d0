// Walks the log for types that many events have. Records of other types are passed over by their
// bytes, the others are copied to the batch as they are stored: most of them are not decoded, and
// no page of the log is held for the client. Where a lifecycle may have removed events, or space
// was reclaimed, the walk goes on the common way.

import { enterFrame, scanRecord } from "../../../domain/record.ts";
import { selects } from "../../../domain/query.ts";
import { WireReader } from "../../../domain/wire.ts";
import type { Batch, StorageRead } from "../../storage.ts";
import type { Chunk } from "../format/chunk.ts";
import type { OpenStore } from "../state/open-store.ts";
import { batchesFrom } from "./batches.ts";
import { chunksForwards, chunksFromMemory } from "./chunks.ts";
import type { TypeFilter } from "./type-filter.ts";
import type { Visibility } from "./visibility.ts";
import { logWalk } from "./walks.ts";

/** Two pages of the log are held at a time. Small batches are of readers that may hold little. */
const pageBytesMax = 256 * 1024;
const pageBytesPerBatchByte = 4;
/** A batch ends after so many chunks, however few events it has. */
const chunksPerBatchMax = 256;

interface Walked {
  readonly head: number;
  readonly filter: TypeFilter;
  readonly visibility: Visibility;
}

/** The events of a read forwards, which selects none that the filter does not let pass. */
export async function* batchesOfTypes(
  store: OpenStore,
  read: StorageRead,
  { head, filter, visibility }: Walked,
): AsyncGenerator<Batch, undefined> {
  const { first, last } = read.positions;
  const walk = new TypeWalk(store, read, filter);
  const pageBytes = Math.min(pageBytesMax, read.batchBytes * pageBytesPerBatchByte);
  const inMemory = store.tail.page(first, last, 1).length > 0;
  const chunks = inMemory ? chunksFromMemory : chunksForwards;
  for await (const page of chunks(store, read.positions, head, pageBytes)) {
    for (const batch of walk.batchesIn(page)) yield batch;
    if (walk.isStopped) break;
  }
  if (walk.hasPassed) yield walk.take();
  if (!walk.isStopped) return;
  const rest = { ...read, positions: { first: Math.max(walk.next, first), last } };
  yield* batchesFrom(logWalk(store, rest, head), rest, visibility);
}

const noBytes = new Uint8Array();

/** Copies the frames of what is selected to batches, one behind the other. */
class TypeWalk {
  /** The position of the next event. */
  next: number;
  /** Whether the next event may be removed. */
  isStopped = false;
  private readonly store: OpenStore;
  private readonly read: StorageRead;
  private readonly filter: TypeFilter;
  private readonly eventsMax: number;
  private reader = new WireReader(noBytes);
  /** Since the last batch. */
  private chunks = 0;
  private count = 0;
  private used = 0;
  private bytes: Uint8Array = noBytes;

  constructor(store: OpenStore, read: StorageRead, filter: TypeFilter) {
    this.store = store;
    this.read = read;
    this.filter = filter;
    this.eventsMax = read.batchEvents ?? Infinity;
    this.next = read.positions.first;
  }

  /** Whether there is more to tell than with the last batch. */
  get hasPassed(): boolean {
    return this.chunks > 0 || this.count > 0;
  }

  /** The batches that are full, up to the page's end or an event that may be removed. */
  *batchesIn(page: readonly Chunk[]): Generator<Batch> {
    for (const chunk of page) {
      // Pages are fetched up to the head.
      if (chunk.first > this.read.positions.last) return;
      this.reader = new WireReader(chunk.records);
      this.next = chunk.first;
      while (!this.stopsAt(chunk) && !this.addFrames()) yield this.take();
      if (this.isStopped) return;
      if (this.isFull) yield this.take();
    }
  }

  /** What was copied; a new batch begins. */
  take(): Batch {
    const { used, count, bytes } = this;
    // Little in a large buffer would hold all of it.
    const copied = bytes.subarray(0, used);
    const frames = used > bytes.length / 2 ? copied : Buffer.from(copied);
    this.chunks = this.count = this.used = 0;
    this.bytes = noBytes;
    const through = Math.min(this.next - 1, this.read.positions.last);
    return { frames: used === 0 ? [] : [frames], count, bytes: used, through, isPicked: true };
  }

  /** Asked again after each batch: its consumer may have held it for long. */
  private stopsAt({ reclaimed }: Chunk): boolean {
    return (this.isStopped = reclaimed !== undefined || !this.store.lifecycles.isEmpty);
  }

  private get isFull(): boolean {
    const isLong = this.used >= this.read.batchBytes || this.count >= this.eventsMax;
    return isLong || this.chunks >= chunksPerBatchMax;
  }

  /** Copies what the read selects of the chunk. Returns false before a frame that has no room. */
  private addFrames(): boolean {
    const { reader, filter } = this;
    const { first, last } = this.read.positions;
    while (!reader.done) {
      const start = reader.offset;
      const end = enterFrame(reader);
      const record = reader.offset;
      const isWithin = this.next >= first && this.next <= last;
      const isWanted = isWithin && filter.mayPassAt(reader, end);
      if (isWanted && (filter.isAll || this.selects(record, end)) && !this.add(start, end)) {
        reader.offset = start;
        return false;
      }
      reader.offset = end;
      this.next++;
    }
    this.chunks++;
    return true;
  }

  private selects(start: number, end: number): boolean {
    return selects(this.read.selection, scanRecord(this.reader.bytes.subarray(start, end)));
  }

  /** Returns false if the frame is for the next batch. */
  private add(start: number, end: number): boolean {
    const { batchBytes } = this.read;
    const length = end - start;
    const fits = this.used + length <= batchBytes && this.count < this.eventsMax;
    if (this.count > 0 && !fits) return false;
    if (this.count === 0) this.bytes = Buffer.allocUnsafeSlow(Math.max(batchBytes, length));
    this.bytes.set(this.reader.bytes.subarray(start, end), this.used);
    this.used += length;
    this.count++;
    return true;
  }
}
