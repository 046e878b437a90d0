// A batch on its way to a client. Once it is encoded, it is only a range of positions, and its
// events are read again if they are needed again: what waits for a client is held once, where it is
// counted.

import { invariant } from "../../domain/errors.ts";
import type { Batch, Range } from "../../storage/storage.ts";

/** A batch that need not be kept while its client takes nothing. */
export interface RereadableBatch extends Batch {
  /** The batch as it was read, which others may have, too. */
  readonly origin: Batch;
  /** Lets go of the events. Before they are used again, `again` must have resolved. */
  letGo(): void;
  /** The client takes nothing for a while: the engine need not be ready to read on. */
  rest(): void;
  /** Reads the events again. Throws READ_OVERTAKEN where removed ones are needed. */
  again(): Promise<void>;
}

/** The bytes of a batch whose read may be closed and opened again: little beside reading it. */
const closedBytesMin = 1024 * 1024;

/** For who has encoded the batch and does not need it again. */
export function doneWith(batch: Batch | RereadableBatch): void {
  if (!("again" in batch)) return;
  batch.letGo();
  if (batch.bytes >= closedBytesMin) batch.rest();
}

/** How a batch is read again. */
export interface Rereading {
  read(positions: Range): AsyncIterable<Batch>;
  rest?(): void;
}

export class HeldBatch implements RereadableBatch {
  readonly count: number;
  readonly bytes: number;
  readonly through: number;
  private batch: Batch | undefined;
  private readonly positions: Range;
  private readonly rereading: Rereading;

  /** All that matches at these positions is in the batch. */
  constructor(batch: Batch, positions: Range, rereading: Rereading) {
    this.count = batch.count;
    this.bytes = batch.bytes;
    this.through = batch.through;
    this.batch = batch;
    this.positions = positions;
    this.rereading = rereading;
  }

  get origin(): Batch {
    invariant(this.batch !== undefined, "a batch is read again before it is used again");
    return this.batch;
  }

  get frames(): readonly Uint8Array[] {
    return this.origin.frames;
  }

  /** A part of it, whose first event in the order of the read is at this position. */
  part(batch: Batch, firstPosition: number): HeldBatch {
    const [first, last] = [firstPosition, batch.through].toSorted((a, b) => a - b);
    return new HeldBatch(batch, { first: first as number, last: last as number }, this.rereading);
  }

  letGo(): void {
    this.batch = undefined;
  }

  rest(): void {
    this.rereading.rest?.();
  }

  async again(): Promise<void> {
    if (this.batch !== undefined) return;
    const frames: Uint8Array[] = [];
    let count = 0;
    let bytes = 0;
    for await (const part of this.rereading.read(this.positions)) {
      frames.push(...part.frames);
      count += part.count;
      bytes += part.bytes;
    }
    this.batch = { frames, count, bytes, through: this.through };
  }
}
