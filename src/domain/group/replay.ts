// Replays: parked events that are delivered again, before the other events of their keys, with
// attempts counted from 1. They do not hold back the group's position, which is already beyond
// them.

import { matches } from "../query.ts";
import type { Retry } from "./progress.ts";
import { keyOf } from "./settings.ts";
import { queued, type GroupEvent, type GroupState } from "./state.ts";

/** Delivers a parked event again. */
export function replay(state: GroupState, event: GroupEvent, nowMs: number): void {
  const { position } = event;
  const { journal, queues, settings } = state;
  journal.unpark(position);
  const queue = queues.find(keyOf(event, position, settings.ordering));
  const known = queue?.find(position);
  if (queue !== undefined && known !== undefined) {
    known.attempts = 0;
    known.retryAtMs = 0;
    if (known.isReplay) journal.changedReplays.add(position);
    return queues.review(queue, nowMs);
  }
  if (queue?.loaded?.position === position) {
    queue.loaded = undefined;
    queues.changed.add(queue);
  }
  if (comesByItself(state, event)) return;
  state.unplaced.delete(position);
  journal.changedReplays.add(position);
  put(state, event, { attempts: 0, retryAtMs: 0 }, nowMs);
}

/** Some replays whose events are to be read, and given to `place`. */
export function nextUnplaced({ unplaced, queues }: GroupState, countMax: number): number[] {
  const positions: number[] = [];
  if (queues.isFull) return positions;
  for (const position of unplaced) {
    if (positions.length >= countMax) break;
    positions.push(position);
  }
  return positions;
}

/** The event of a replay. Undefined: it is no longer in the log. */
export function place(
  state: GroupState,
  position: number,
  event: GroupEvent | undefined,
  nowMs: number,
): void {
  if (!state.unplaced.delete(position)) return;
  const retry = state.replays.get(position);
  if (retry === undefined) return;
  if (event === undefined || comesByItself(state, event)) endReplay(state, position);
  else put(state, event, retry, nowMs);
}

/** Ends the replay of the event. */
export function endReplay(state: GroupState, position: number): void {
  state.replays.delete(position);
  state.unplaced.delete(position);
  state.journal.changedReplays.add(position);
}

/** Adds a replay to its queue. */
function put(state: GroupState, event: GroupEvent, retry: Retry, nowMs: number): void {
  const waiting = queued(state, event, retry, true);
  state.replays.set(event.position, waiting);
  state.queues.put(waiting);
  state.queues.review(waiting.queue, nowMs);
}

/**
 * Whether the event will be offered or read anyway, which is the case after a reset to a position
 * before it. An event that was parked under another query will not.
 */
function comesByItself(state: GroupState, event: GroupEvent): boolean {
  const { position } = event;
  const { query, ordering } = state.settings;
  if (!matches(query, event)) return false;
  if (position > state.through) return true;
  const queue = state.queues.find(keyOf(event, position, ordering));
  return queue?.hasUnknown === true && position > queue.knownThrough;
}
