// Makes batches from what a walk finds: removed events are left out or returned as removed records,
// and frames are gathered up to the requested size.

import type { Batch, StorageRead } from "../../storage.ts";
import type { Walk } from "./walks.ts";
import type { Visibility } from "./visibility.ts";

export async function* batchesFrom(
  walk: Walk,
  read: StorageRead,
  visibility: Visibility,
): AsyncGenerator<Batch, undefined> {
  const { first, last } = read.positions;
  const [begin, end] = read.direction === "forwards" ? [first - 1, last] : [last + 1, first];
  const batch = new BatchBuilder(read, begin);
  for await (const stretch of walk.stretches) {
    const { chunk, whole } = stretch;
    // A batch ends between chunks, so that a whole chunk is not split into records.
    if (whole && batch.count > 0 && !batch.fits(whole.bytes, whole.count)) yield batch.take();
    let judge = await visibility.judge(stretch);
    const isWhole = whole && batch.fits(whole.bytes, whole.count) && !judge.removesAnyOf(stretch);
    if (isWhole) batch.add(whole.bytes, whole.count);
    for (const event of isWhole ? [] : stretch.find()) {
      if (!batch.fits(event.frame, 1)) {
        yield batch.take();
        // The consumer may have held the batch for a long time.
        judge = await visibility.judge(stretch);
      }
      const isRemoved = judge.isRemoved(event);
      const frame = isRemoved ? visibility.removedFrame(event, judge) : event.frame;
      if (frame === undefined) continue;
      if (!isRemoved && chunk?.reclaimed) await visibility.assertWhole(event);
      batch.add(frame, 1);
      batch.through = event.position;
    }
    batch.pass(stretch.through);
    if (batch.isFull || batch.silent >= walk.silentMax) yield batch.take();
  }
  batch.through = end;
  if (batch.count > 0 || batch.silent > 0) yield batch.take();
}

/** Gathers frames into batches near the size asked for. */
class BatchBuilder {
  count = 0;
  /** See `Batch.through`. */
  through: number;
  /** Stretches since the last batch that contributed nothing. */
  silent = 0;
  private isSilent = true;
  private frames: Uint8Array[] = [];
  private bytes = 0;
  private readonly bytesMax: number;
  private readonly eventsMax: number;

  constructor({ batchBytes, batchEvents = Infinity }: StorageRead, through: number) {
    this.bytesMax = batchBytes;
    this.eventsMax = batchEvents;
    this.through = through;
  }

  get isFull(): boolean {
    return this.bytes >= this.bytesMax || this.count >= this.eventsMax;
  }

  /** Whether this much more belongs into the batch. An empty batch accepts anything. */
  fits({ length }: Uint8Array, count: number): boolean {
    if (this.count === 0) return count <= this.eventsMax || count === 1;
    return this.bytes + length <= this.bytesMax && this.count + count <= this.eventsMax;
  }

  add(frames: Uint8Array, count: number): void {
    this.isSilent = false;
    this.frames.push(frames);
    this.count += count;
    this.bytes += frames.length;
  }

  /** A stretch has ended. */
  pass(through: number): void {
    this.through = through;
    if (this.isSilent) this.silent++;
    this.isSilent = true;
  }

  /** The gathered batch; a new one begins. */
  take(): Batch {
    const { frames, count, bytes, through } = this;
    this.frames = [];
    this.count = 0;
    this.bytes = 0;
    this.silent = 0;
    return { frames, count, bytes, through };
  }
}
