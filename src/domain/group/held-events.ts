// Events that a group holds, or has counted, and that a lifecycle may remove meanwhile: known ones
// are forgotten once that is found out, and those that were passed over are counted anew.

import type { QueuedEvent } from "./key-queue.ts";
import { keyOf } from "./settings.ts";
import { forgetRemoved } from "./settle.ts";
import type { GroupEvent, GroupState } from "./state.ts";

export class HeldEvents {
  private readonly state: GroupState;

  constructor(state: GroupState) {
    this.state = state;
  }

  /** How many wait. */
  get waitingCount(): number {
    return this.state.queues.knownCount;
  }

  /** Events that wait, and events that a member was given and not sent yet. */
  unsent(): QueuedEvent[] {
    const events: QueuedEvent[] = [];
    for (const { waiting } of this.state.queues.values()) events.push(...waiting);
    for (const { event, isSent } of this.state.deliveries.values()) if (!isSent) events.push(event);
    return events;
  }

  /** Some of these are not in the log any more. */
  removed(events: readonly QueuedEvent[], nowMs: number): void {
    forgetRemoved(this.state, events, nowMs);
  }

  /**
   * Events that are not known are counted as they were passed over: those that a lifecycle removed
   * since are counted, until they are read again or recounted. Answers the position to begin after;
   * undefined: all events are known.
   */
  beginRecount(): number | undefined {
    return this.state.queues.beginRecount();
  }

  /**
   * Counts the next events of the log, which are all up to `through`. The recount ends at the
   * position up to which the group has read.
   */
  recount(events: readonly GroupEvent[], through: number): void {
    const { queues, settings } = this.state;
    for (const event of events) {
      queues.counted(keyOf(event, event.position, settings.ordering), event.position);
    }
    queues.countedThrough(through, through >= this.state.through);
  }
}
