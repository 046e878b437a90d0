// A lane: the events of one key that are not settled, in their order. Of those that wait only the
// first ones are known; the rest is read from the log again when their turn comes.

import type { Front } from "./progress.ts";
import type { KeyWords } from "./settings.ts";

export interface LaneEvent {
  readonly position: number;
  readonly words: KeyWords;
  /** The framed record, while there is room for it; else it is read again on delivery. */
  frame: Uint8Array | undefined;
  /**
   * `own`: it holds back the group's position until it is settled. `replay`: it was parked, and is
   * delivered again. `orphan`: in flight when the query or the ordering changed, and not met since.
   */
  standing: "own" | "replay" | "orphan";
  /** Deliveries that failed. */
  attempts: number;
  /** Not before; 0: at once. */
  retryAtMs: number;
}

export class Lane {
  readonly key: string;
  /** Waiting: replays first, each part in the order of positions. */
  readonly waiting: LaneEvent[] = [];
  /** In flight: one, or more where an edit of the ordering brought them under one key. */
  readonly out: LaneEvent[] = [];
  /** All of the lane's events up to here are known. */
  knownThrough = 0;
  /** There may be more that are not known, up to here. */
  unknownTo = 0;
  isReady = false;
  /** In line to be read from the log again, or being read. */
  isReading = false;
  /** When it is to be looked at again; 0: that is not planned. */
  plannedAtMs = 0;
  /** The number and the front it has in the last write; 0: none. */
  savedNumber = 0;
  saved: Front | undefined;
  /** The front it has in the heap of fronts; 0: none. */
  listedFrom = 0;

  constructor(key: string) {
    this.key = key;
  }

  get hasUnknown(): boolean {
    return this.unknownTo > this.knownThrough;
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0 && this.out.length === 0 && !this.hasUnknown;
  }

  /** The first own event that is not settled, or a position before it. */
  front(): Front | undefined {
    let first: LaneEvent | undefined;
    for (const event of this.out) {
      if (event.standing !== "own") continue;
      if (first === undefined || event.position < first.position) first = event;
    }
    const next = this.waiting.find(({ standing }) => standing === "own");
    if (next !== undefined && (first === undefined || next.position < first.position)) first = next;
    if (first !== undefined) return first;
    if (!this.hasUnknown) return undefined;
    return { position: this.knownThrough + 1, attempts: 0, retryAtMs: 0 };
  }

  /** At its place among those that wait. */
  put(event: LaneEvent): void {
    const { waiting } = this;
    let place = waiting.length;
    while (place > 0 && comesBefore(event, waiting[place - 1] as LaneEvent)) place--;
    waiting.splice(place, 0, event);
  }

  /** What waits first, now in flight. */
  send(): LaneEvent | undefined {
    const event = this.waiting.shift();
    if (event !== undefined) this.out.push(event);
    return event;
  }

  /** No longer in flight, or no longer waiting. */
  remove(event: LaneEvent): void {
    for (const events of [this.out, this.waiting]) {
      const place = events.indexOf(event);
      if (place >= 0) events.splice(place, 1);
    }
  }

  /** The event at a position, where it is known. */
  find(position: number): LaneEvent | undefined {
    const at = (event: LaneEvent): boolean => event.position === position;
    return this.out.find(at) ?? this.waiting.find(at);
  }
}

function comesBefore(a: LaneEvent, b: LaneEvent): boolean {
  if (a.standing !== b.standing) return a.standing === "replay";
  return a.position < b.position;
}
