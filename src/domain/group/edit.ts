// What is changed about a group while it runs: what it is to do, where it begins, and which parked
// events it is to deliver again. What is settled stays settled, whatever the new query says of it.

import type { EventHeader } from "../event.ts";
import { comesByItself, laneEvent, putReplay } from "./feed.ts";
import type { Era } from "./progress.ts";
import { keyOf, sameOrdering, sameQuery, type GroupSettings } from "./settings.ts";
import { positionOf, type GroupState } from "./state.ts";

/**
 * Takes new settings into effect. A new query or ordering concerns what lies beyond the group's
 * position: everything there is looked at again, and what was settled is passed over. False: there
 * were too many such edits while the events before the first of them are not settled.
 */
export function edit(state: GroupState, settings: GroupSettings, erasMax: number): boolean {
  const before = state.settings;
  const isSame =
    sameQuery(before.query, settings.query) && sameOrdering(before.ordering, settings.ordering);
  const floor = Math.max(state.start, positionOf(state));
  const eras = state.eras.filter(({ through }) => through > floor);
  if (!isSame && floor < state.through) {
    if (eras.length >= erasMax) return false;
    eras.push(eraOf(state));
  }
  state.settings = settings;
  if (isSame) return true;
  state.eras = eras;
  carryFailures(state);
  begin(state, floor);
  for (const delivery of state.deliveries.values()) {
    const { event } = delivery;
    if (event.standing === "own") event.standing = "orphan";
    delivery.lane = state.lanes.open(keyOf(event.words, event.position, settings.ordering));
    delivery.lane.out.push(event);
  }
  forgetReplays(state);
  return true;
}

/** Begins anew after a position. What is in flight is taken back; replays stay, as if new. */
export function reset(state: GroupState, through: number, fromTime: number): void {
  for (const delivery of state.deliveries.values()) {
    const { member, token, event } = delivery;
    member.tokens.delete(token);
    member.held--;
    state.lanes.dropFrame(event);
  }
  state.deliveries.clear();
  state.inFlight.clear();
  state.leases.clear();
  state.ahead.clear();
  state.carried.clear();
  state.eras = [];
  for (const position of state.replays.keys()) {
    state.replays.set(position, { attempts: 0, retryAtMs: 0 });
  }
  state.fromTime = fromTime;
  begin(state, through);
  forgetReplays(state);
}

/** A parked event is to be delivered again, its attempts counted anew. */
export function replay(
  state: GroupState,
  event: EventHeader & { readonly position: number },
  nowMs: number,
): void {
  const { position } = event;
  state.journal.unpark(position);
  if (state.carried.delete(position)) state.journal.needsBase = true;
  const { ordering } = state.settings;
  const lane = state.lanes.find(keyOf(event, position, ordering));
  const known = lane?.find(position);
  if (lane !== undefined && known !== undefined) {
    known.attempts = 0;
    known.retryAtMs = 0;
    if (known.standing === "replay") state.journal.changedReplays.add(position);
    state.lanes.review(lane, nowMs);
    return;
  }
  // It was parked before a reset, and is met again.
  if (comesByItself(state, event)) return;
  state.unplaced.delete(position);
  state.journal.changedReplays.add(position);
  putReplay(state, laneEvent(state, event, { attempts: 0, retryAtMs: 0 }, "replay"), nowMs);
}

function eraOf({ settings, through, lanes }: GroupState): Era {
  const { query, ordering } = settings;
  const fronts = new Map<string, number>();
  for (const lane of lanes.values()) {
    const front = lane.front();
    if (front !== undefined && front.position <= through) fronts.set(lane.key, front.position);
  }
  return { query, ordering, through, fronts };
}

/** Events that failed are met again: what is known of them waits until then. */
function carryFailures({ lanes, carried }: GroupState): void {
  for (const lane of lanes.values()) {
    for (const { standing, position, attempts, retryAtMs } of [...lane.out, ...lane.waiting]) {
      if (standing !== "replay" && attempts > 0) carried.set(position, { attempts, retryAtMs });
    }
  }
}

/** Nothing is known of any lane any more; the log is looked at again from after `through`. */
function begin(state: GroupState, through: number): void {
  state.journal.beginAnew(Math.min(positionOf(state), through) + 1);
  state.through = through;
  state.start = through;
  state.unsettledCount = 0;
  state.epoch++;
  state.lanes.clear();
}

/** The words of those that wait went with the lanes: they are read again. */
function forgetReplays({ replays, inFlight, unplaced }: GroupState): void {
  for (const position of replays.keys()) if (!inFlight.has(position)) unplaced.add(position);
}
