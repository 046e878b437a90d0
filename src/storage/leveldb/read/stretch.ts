// A stretch is what a read has found in one chunk: the events that it selects, each decoded only as
// far as needed. Walks find stretches, and batches.ts makes batches of them.

import type { PlacedEvent } from "../../../domain/event.ts";
import { scanPlacement, scanStream } from "../../../domain/record.ts";
import { recordOf, type Chunk } from "../format/chunk.ts";

export class FoundEvent {
  readonly frame: Uint8Array;
  readonly position: number;
  private readonly header: PlacedEvent | undefined;
  private ownStream: string | undefined;

  /** `header` if the record was already scanned. */
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
  /** Absent if a posting has the records. */
  readonly chunk: Chunk | undefined;
  /** All events of the chunk as it stores them, if the read selects them all. */
  readonly whole: { readonly bytes: Uint8Array; readonly count: number } | undefined;
  /** The read's progress after these events, as `Batch.through`. */
  readonly through: number;
  /** The streams of the events. Throws CORRUPTION. */
  streams(): Iterable<string>;
  /** The events, in the order of the read. Throws CORRUPTION. */
  find(): Iterable<FoundEvent>;
}

/** Found one by one on demand, or all at once if their streams are needed. */
export function found(find: () => Iterable<FoundEvent>): Pick<Stretch, "streams" | "find"> {
  let events: FoundEvent[] | undefined;
  return {
    streams: () => (events ??= [...find()]).map(({ stream }) => stream),
    find: () => events ?? find(),
  };
}

/** The way of a read. */
export interface Walk {
  /** Progress is reported after this many stretches that contributed nothing. */
  readonly silentMax: number;
  /** Throws CORRUPTION. */
  readonly stretches: AsyncIterable<Stretch>;
}
