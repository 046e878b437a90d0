// The newest events in memory, so that subscriptions near the head read without asking the
// database. An event is never changed here; one whose space is reclaimed meanwhile is hidden by
// its stream's lifecycle as in the database.

import type { EventRow } from "../tables/rows.ts";

const eventsMax = 4_096;
const bytesMax = 4 * 1_024 * 1_024;
/** Besides its record: its header and its place. */
const eventBytes = 200;

export class Tail {
  private events: EventRow[] = [];
  private bytes = 0;
  /** The position of the last event, also where there are none here. */
  private last: number;

  constructor(last: number) {
    this.last = last;
  }

  /** There are none here up to this position. */
  reset(last: number): void {
    this.events = [];
    this.bytes = 0;
    this.last = last;
  }

  /** The next events of the log. */
  push(events: readonly EventRow[]): void {
    for (const event of events) {
      if (event.position !== this.last + 1) this.reset(event.position - 1);
      this.events.push(event);
      this.bytes += eventBytes + event.record.length;
      this.last = event.position;
    }
    if (this.events.length <= eventsMax && this.bytes <= bytesMax) return;
    // Half of it, so that this is done now and then.
    let drop = 0;
    for (const { record } of this.events) {
      if (this.events.length - drop <= eventsMax / 2 && this.bytes <= bytesMax / 2) break;
      this.bytes -= eventBytes + record.length;
      drop++;
    }
    this.events.splice(0, drop);
  }

  /** The events at these positions, at most so many, in order. Undefined: not all are here. */
  between(first: number, last: number): readonly EventRow[] | undefined {
    const oldest = this.last - this.events.length + 1;
    if (first < oldest || last > this.last) return undefined;
    return this.events.slice(first - oldest, last - oldest + 1);
  }
}
