// How a group takes events from the log: whether it wants more, and what it does with those that it
// is offered, in the order of their positions or, if it had to skip some, by key.

import type { QueueReading } from "./key-queues.ts";
import type { Retry } from "./progress.ts";
import { endReplay } from "./replay.ts";
import { queued, type GroupEvent, type GroupState } from "./state.ts";

/** Queues that are kept ready while no member waits, so that the next permits find events. */
const readyAheadMax = 256;
const knownAheadMax = 4_096;

const untried: Retry = { attempts: 0, retryAtMs: 0 };

/** Whether more queues should be made ready, by reading further or reading again. */
function wantsMore({ queues, members, deliveries, journal, settings }: GroupState): boolean {
  const free = settings.inFlightMax - deliveries.size - journal.settlingCount;
  if (Math.min(members.room, free) > queues.readyCount) return true;
  if (members.count === 0) return false;
  return queues.readyCount < readyAheadMax && queues.knownCount < knownAheadMax;
}

/** Whether the group wants to be offered the events after `through`. */
export function wantsEvents(state: GroupState): boolean {
  if (state.queues.isFull) return false;
  // Without anything in memory, the group's position follows the log, even if no member takes
  // events.
  return state.queues.count === 0 || wantsMore(state);
}

/** Offers the next match after `through`. */
export function offer(state: GroupState, event: GroupEvent, nowMs: number): void {
  const { position } = event;
  state.through = position;
  // After a reset it comes by itself.
  if (state.replays.has(position)) endReplay(state, position);
  state.queues.add(queued(state, event, untried, false), nowMs);
}

/** There is no other match up to this position. */
export function pass(state: GroupState, position: number): void {
  state.through = Math.max(state.through, position);
}

/**
 * Events of a key that are to be read again, where members want them, or the group's position waits
 * for them.
 */
export function nextReading(state: GroupState): QueueReading | undefined {
  const { queues } = state;
  return (wantsMore(state) ? queues.nextReading() : undefined) ?? queues.nextHolder();
}

/**
 * The result of a reading: events of the key, and that there are no others up to `knownThrough`.
 */
export function readMore(
  state: GroupState,
  { queue }: QueueReading,
  found: readonly GroupEvent[],
  knownThrough: number,
  nowMs: number,
): void {
  const { loaded } = queue;
  const events = found.map((event) => {
    const retry = loaded?.position === event.position ? loaded : untried;
    return queued(state, event, retry, false);
  });
  state.queues.readMore(queue, events, knownThrough, nowMs);
}
