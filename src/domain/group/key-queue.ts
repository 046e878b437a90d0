// A key queue: the unsettled events of one key, in order. Only the first waiting events are in
// memory; the others are read from the log again when it is their turn.

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
  /**
   * The event was parked and is being delivered again. It does not hold back the group's position.
   */
  readonly isReplay: boolean;
  /** Deliveries that failed. */
  attempts: number;
  /** The earliest time of the next delivery. 0: at once. */
  retryAtMs: number;
}

export class KeyQueue {
  readonly key: string;
  /** Replays first, then the others, each in the order of positions. */
  readonly waiting: QueuedEvent[] = [];
  inFlight: QueuedEvent | undefined;
  /** All events of the key up to this position are known. */
  knownThrough = 0;
  /** Up to this position there may be events that are not known. */
  unknownTo = 0;
  /** The first unsettled event according to the progress that was loaded. */
  loaded: FirstUnsettled | undefined;
  isReady = false;
  /** Waits for its turn to be read from the log again. */
  isInLine = false;
  isBeingRead = false;
  /** When it is to be looked at again; 0: that is not planned. */
  plannedAtMs = 0;
  /** The number of the key, and its first unsettled event, in the last write. 0: none. */
  savedNumber = 0;
  saved: FirstUnsettled | undefined;
  /** The position of the queue in the heap of first unsettled positions. 0: none. */
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

  /** Inserts an event in its place among the waiting ones. */
  put(event: QueuedEvent): void {
    const { waiting } = this;
    let place = waiting.length;
    while (place > 0 && comesBefore(event, waiting[place - 1] as QueuedEvent)) place--;
    waiting.splice(place, 0, event);
  }

  /** Removes the first waiting event, which is now in flight. */
  send(): QueuedEvent | undefined {
    this.inFlight = this.waiting.shift();
    return this.inFlight;
  }

  /** The event at a position, if it is known. */
  find(position: number): QueuedEvent | undefined {
    if (this.inFlight?.position === position) return this.inFlight;
    return this.waiting.find((event) => event.position === position);
  }
}

function comesBefore(a: QueuedEvent, b: QueuedEvent): boolean {
  if (a.isReplay !== b.isReplay) return a.isReplay;
  return a.position < b.position;
}
