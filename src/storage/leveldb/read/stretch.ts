// What a read has found in one chunk: the events it selects, each looked at only as far as it must
// be. Walks find stretches of events; batches.ts makes batches of them.

import type { PlacedEvent } from "../../../domain/event.ts";
import { scanPlacement, scanStream } from "../../../domain/record.ts";
import { recordOf, type Chunk } from "../format/chunk.ts";

export class FoundEvent {
  readonly frame: Uint8Array;
  readonly position: number;
  private readonly header: PlacedEvent | undefined;
  private ownStream: string | undefined;

  /** `header`: where the record was scanned already. */
  constructor(frame: Uint8Array, position: number, header?: PlacedEvent) {
    this.frame = frame;
    this.position = position;
    this.header = header;
    this.ownStream = header?.stream;
  }

  get record(): Uint8Array {
    return recordOf(this.frame);
  }

  get stream(): string {
    return (this.ownStream ??= scanStream(this.record));
  }

  get version(): number {
    return this.header?.version ?? scanPlacement(this.record).version;
  }
}

/** The events of one chunk that a read selects, before it is known which of them are removed. */
export interface Stretch {
  /** Absent where an index entry brought the records along. */
  readonly chunk: Chunk | undefined;
  /** Every event of the chunk as the chunk stores them, where the read selects them all. */
  readonly whole: { readonly bytes: Uint8Array; readonly count: number } | undefined;
  /** How far the read has come behind these events, as `Batch.through`. */
  readonly through: number;
  /** The streams of the events. Throws CORRUPTION. */
  streams(): Iterable<string>;
  /** The events, in the order of the read. Throws CORRUPTION. */
  find(): Iterable<FoundEvent>;
}

/** Found one by one as they are asked for, or all at once where their streams are needed. */
export function found(find: () => Iterable<FoundEvent>): Pick<Stretch, "streams" | "find"> {
  let events: FoundEvent[] | undefined;
  return {
    streams: () => (events ??= [...find()]).map(({ stream }) => stream),
    find: () => events ?? find(),
  };
}

/** What a read goes through. */
export interface Walk {
  /** The consumer hears of progress after so many stretches that had nothing for it. */
  readonly silentMax: number;
  /** Throws CORRUPTION. */
  readonly stretches: AsyncIterable<Stretch>;
}
