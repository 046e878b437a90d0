// The group's side towards the log: whether it wants events, and what becomes of those it is
// offered, in the order of their positions or, where it had to pass over some, by their key.

import type { EventHeader } from "../event.ts";
import type { LaneEvent } from "./key-queue.ts";
import type { LaneReading } from "./key-queues.ts";
import { settledBefore, type Retry } from "./progress.ts";
import { keyOf } from "./settings.ts";
import { matches } from "../query.ts";
import type { GroupState } from "./state.ts";

/** An event the group's query matches. */
export interface GroupEvent extends EventHeader {
  readonly position: number;
  /** The framed record. Absent: it is read again when it is delivered. */
  readonly frame?: Uint8Array | undefined;
}

/** Lanes kept ready while nobody waits, so that the next permits find events. */
const readyAheadMax = 256;
const knownAheadMax = 4_096;

/** Whether more lanes should be made ready, by reading further or reading again. */
export function wantsMore({ lanes, members, deliveries, journal, settings }: GroupState): boolean {
  const free = settings.inFlightMax - deliveries.size - journal.settlingCount;
  if (Math.min(members.room, free) > lanes.readyCount) return true;
  if (members.count === 0) return false;
  return lanes.readyCount < readyAheadMax && lanes.knownCount < knownAheadMax;
}

/** Whether to be offered the events after `through`. */
export function wantsEvents(state: GroupState): boolean {
  if (state.lanes.isFull) return false;
  // With nothing at hand the group's position follows the log, also where nobody takes anything.
  return state.lanes.count === 0 || wantsMore(state);
}

/** The next match after `through`. */
export function offer(state: GroupState, event: GroupEvent, nowMs: number): void {
  const { position } = event;
  state.through = position;
  if (isSettled(state, event)) return;
  state.unsettledCount++;
  const delivery = state.inFlight.get(position);
  if (delivery !== undefined) {
    if (delivery.event.standing === "replay") becomeOwn(state, position);
    delivery.event.standing = "own";
    state.lanes.review(delivery.lane, nowMs);
    return;
  }
  const key = keyOf(event, position, state.settings.ordering);
  const lane = state.lanes.open(key);
  if (state.replays.has(position)) {
    becomeOwn(state, position);
    const known = lane.find(position);
    if (known !== undefined) state.lanes.remove(lane, known);
  }
  const own = laneEvent(state, event, retryOf(state, position), "own");
  state.lanes.add(lane, own, nowMs);
}

/** Nothing else matches up to here. */
export function pass(state: GroupState, position: number): void {
  state.through = Math.max(state.through, position);
}

/** Events of a lane that are to be read again; undefined: none are, or nobody waits for them. */
export function nextReading(state: GroupState): LaneReading | undefined {
  return wantsMore(state) ? state.lanes.nextReading() : undefined;
}

/** What a reading found: the lane's events, and no others up to `knownThrough`. */
export function readMore(
  state: GroupState,
  { lane }: LaneReading,
  found: readonly GroupEvent[],
  knownThrough: number,
  nowMs: number,
): void {
  const events = found
    .filter((event) => !isSettled(state, event))
    // In flight since before an edit.
    .filter(({ position }) => lane.find(position) === undefined)
    .map((event) => laneEvent(state, event, retryOf(state, event.position), "own"));
  state.lanes.readMore(lane, events, knownThrough, nowMs);
  if (state.lanes.count === 0) state.unsettledCount = 0;
}

/** Some replays whose events are to be read, and given to `place`. */
export function nextUnplaced(state: GroupState, countMax: number): number[] {
  const positions: number[] = [];
  for (const position of state.unplaced) {
    if (positions.length >= countMax) break;
    positions.push(position);
  }
  return positions;
}

/** The event of a replay; undefined: it is not in the log any more. */
export function place(
  state: GroupState,
  position: number,
  event: GroupEvent | undefined,
  nowMs: number,
): void {
  if (!state.unplaced.delete(position)) return;
  const retry = state.replays.get(position);
  if (retry === undefined) return;
  if (event === undefined) return endReplay(state, position);
  if (comesByItself(state, event)) return becomeOwn(state, position);
  putReplay(state, laneEvent(state, event, retry, "replay"), nowMs);
}

/** A replay that waits for its turn. */
export function putReplay(state: GroupState, event: LaneEvent, nowMs: number): void {
  const lane = state.lanes.open(keyOf(event.words, event.position, state.settings.ordering));
  state.replays.set(event.position, event);
  state.lanes.put(lane, event);
  state.lanes.review(lane, nowMs);
}

export function laneEvent(
  state: GroupState,
  { position, stream, tags, frame }: GroupEvent,
  { attempts, retryAtMs }: Retry,
  standing: LaneEvent["standing"],
): LaneEvent {
  const words = { stream, tags };
  const event: LaneEvent = { position, words, frame: undefined, standing, attempts, retryAtMs };
  state.lanes.keepFrame(event, frame);
  return event;
}

function isSettled({ ahead, eras }: GroupState, event: GroupEvent): boolean {
  return ahead.has(event.position) || settledBefore(eras, event);
}

function retryOf({ carried }: GroupState, position: number): Retry {
  return carried.get(position) ?? { attempts: 0, retryAtMs: 0 };
}

/** Whether the event will be offered, or read, without anything being done about it. */
export function comesByItself(state: GroupState, event: GroupEvent): boolean {
  const { position } = event;
  const { query, ordering } = state.settings;
  if (!matches(query, event) || isSettled(state, event)) return false;
  if (position > state.through) return true;
  const lane = state.lanes.find(keyOf(event, position, ordering));
  return lane?.hasUnknown === true && position > lane.knownThrough;
}

/** A replay is met in the log, or will be: what is known of its failures stays. */
function becomeOwn(state: GroupState, position: number): void {
  const { attempts, retryAtMs } = state.replays.get(position) ?? { attempts: 0, retryAtMs: 0 };
  if (attempts > 0) {
    state.carried.set(position, { attempts, retryAtMs });
    state.journal.needsBase = true;
  }
  endReplay(state, position);
}

function endReplay(state: GroupState, position: number): void {
  state.replays.delete(position);
  state.unplaced.delete(position);
  state.journal.changedReplays.add(position);
}
