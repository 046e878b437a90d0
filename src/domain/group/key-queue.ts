// A key queue: the events of one key that are not settled, in their order. Of those that wait only
// the first ones are in memory; the rest is read from the log again when their turn comes.

import type { FirstUnsettled } from "./progress.ts";

export interface QueuedEvent {
  readonly queue: KeyQueue;
  readonly position: number;
  /** With the stream and the time: what tells whether a lifecycle has removed the event. */
  readonly version: number;
  readonly stream: string;
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
  /** The framed record, while there is room for it; else it is read again on delivery. */
  frame: Uint8Array | undefined;
  /** It was parked, and is delivered again: it does not hold back the group's position. */
  readonly isReplay: boolean;
  /** Deliveries that failed. */
  attempts: number;
  /** Not before; 0: at once. */
  retryAtMs: number;
}

export class KeyQueue {
  readonly key: string;
  /** Replays first, each part in the order of positions. */
  readonly waiting: QueuedEvent[] = [];
  inFlight: QueuedEvent | undefined;
  /** All of the key's events up to here are known. */
  knownThrough = 0;
  /** There may be more that are not known, up to here. */
  unknownTo = 0;
  /** What the disk held of the first unsettled event when the group was loaded. */
  loaded: FirstUnsettled | undefined;
  isReady = false;
  /** Waits for its turn to be read from the log again. */
  isInLine = false;
  isBeingRead = false;
  /** When it is to be looked at again; 0: that is not planned. */
  plannedAtMs = 0;
  /** The number and the first unsettled event it has in the last write; 0: none. */
  savedNumber = 0;
  saved: FirstUnsettled | undefined;
  /** The position it has in the heap of first unsettled positions; 0: none. */
  listedAt = 0;

  constructor(key: string) {
    this.key = key;
  }

  get hasUnknown(): boolean {
    return this.unknownTo > this.knownThrough;
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0 && this.inFlight === undefined && !this.hasUnknown;
  }

  /** The first event that is not settled, replays aside, where it is known. */
  get firstKnown(): QueuedEvent | undefined {
    if (this.inFlight?.isReplay === false) return this.inFlight;
    return this.waiting.find(({ isReplay }) => !isReplay);
  }

  /** The first event that is not settled, replays aside, or a position before it. */
  firstUnsettled(): FirstUnsettled | undefined {
    const { firstKnown, loaded, knownThrough } = this;
    if (firstKnown !== undefined) return firstKnown;
    if (!this.hasUnknown) return undefined;
    if (loaded !== undefined && loaded.position > knownThrough) return loaded;
    return { position: knownThrough + 1, attempts: 0, retryAtMs: 0 };
  }

  /** Puts an event at its place among those that wait. */
  put(event: QueuedEvent): void {
    const { waiting } = this;
    let place = waiting.length;
    while (place > 0 && comesBefore(event, waiting[place - 1] as QueuedEvent)) place--;
    waiting.splice(place, 0, event);
  }

  /** The event that waits first, now in flight. */
  send(): QueuedEvent | undefined {
    this.inFlight = this.waiting.shift();
    return this.inFlight;
  }

  /** The event at a position, where it is known. */
  find(position: number): QueuedEvent | undefined {
    if (this.inFlight?.position === position) return this.inFlight;
    return this.waiting.find((event) => event.position === position);
  }
}

function comesBefore(a: QueuedEvent, b: QueuedEvent): boolean {
  if (a.isReplay !== b.isReplay) return a.isReplay;
  return a.position < b.position;
}
