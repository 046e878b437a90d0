// How a delivery ends: settled, or failed and delivered again later, or put aside for good.

import { positionOf, type Delivery, type GroupState } from "./state.ts";

/** An event and the lane it is of. */
type Place = Pick<Delivery, "event" | "lane">;

/** It is dealt with, and its member is told once that is durable. */
export function settle(state: GroupState, delivery: Delivery, nowMs: number): void {
  take(state, delivery);
  state.journal.settle(delivery.token, delivery.member.id);
  forget(state, delivery);
  state.lanes.review(delivery.lane, nowMs);
}

/** It is put aside, and told to its member once that is durable. */
export function park(state: GroupState, delivery: Delivery, reason: string, nowMs: number): void {
  const { event, token, member, lane } = delivery;
  take(state, delivery);
  state.journal.settle(token, member.id);
  putAside(state, delivery, event.attempts + 1, reason);
  state.lanes.review(lane, nowMs);
}

/** Its member could not deal with it, and is told once that is durable. */
export function refuse(
  state: GroupState,
  delivery: Delivery,
  why: { readonly delayMs: number; readonly reason: string },
  nowMs: number,
): void {
  take(state, delivery);
  state.journal.settle(delivery.token, delivery.member.id);
  again(state, delivery, why, nowMs);
}

/** As if it had not been delivered: its member never got it, or has not looked at it. */
export function giveBack(state: GroupState, delivery: Delivery, nowMs: number): void {
  const { event, lane } = delivery;
  take(state, delivery);
  delivery.member.held--;
  if (event.standing !== "orphan") state.lanes.putBack(lane, event);
  if (event.standing !== "replay" && event.attempts > 0) remember(state, delivery);
  state.lanes.review(lane, nowMs);
}

/** Its member is gone, or has not been heard of in time. */
export function lose(state: GroupState, delivery: Delivery, reason: string, nowMs: number): void {
  if (!delivery.isSent) return giveBack(state, delivery, nowMs);
  take(state, delivery);
  delivery.member.held--;
  again(state, delivery, { delayMs: 0, reason }, nowMs);
  state.journal.isUrgent = true;
}

/** The event is not in the log any more: as if it had been settled. */
export function vanish(state: GroupState, delivery: Delivery, nowMs: number): void {
  take(state, delivery);
  delivery.member.held--;
  forget(state, delivery);
  state.journal.isUrgent = true;
  state.lanes.review(delivery.lane, nowMs);
}

/** The event had all of its attempts: it is put aside instead of being delivered. */
export function shelve(state: GroupState, place: Place, nowMs: number): void {
  const { event, lane } = place;
  state.lanes.remove(lane, event);
  putAside(state, place, event.attempts, "the attempts are used up");
  state.lanes.review(lane, nowMs);
}

/** No longer in the member's hands. */
function take({ deliveries, inFlight, lanes }: GroupState, delivery: Delivery): void {
  const { token, event, member, lane } = delivery;
  deliveries.delete(token);
  inFlight.delete(event.position);
  member.tokens.delete(token);
  lanes.remove(lane, event);
}

function again(
  state: GroupState,
  delivery: Delivery,
  { delayMs, reason }: { readonly delayMs: number; readonly reason: string },
  nowMs: number,
): void {
  const { event, lane } = delivery;
  event.attempts++;
  event.retryAtMs = delayMs > 0 ? Math.ceil(nowMs + delayMs) : 0;
  if (event.attempts >= state.settings.attemptsMax) {
    putAside(state, delivery, event.attempts, reason);
  } else {
    if (event.standing !== "orphan") state.lanes.putBack(lane, event);
    if (event.standing === "replay") state.journal.changedReplays.add(event.position);
    else remember(state, delivery);
  }
  state.lanes.review(lane, nowMs);
}

/** The front of a lane is remembered with the lane; of any other what is known is kept apart. */
function remember(state: GroupState, { event, lane }: Place): void {
  const { position, attempts, retryAtMs } = event;
  if (lane.front()?.position === position && !state.carried.has(position)) return;
  state.carried.set(position, { attempts, retryAtMs });
  state.journal.needsBase = true;
}

function putAside(state: GroupState, place: Place, attempts: number, reason: string): void {
  state.journal.park({ position: place.event.position, attempts, reason });
  forget(state, place);
}

/** The event is no longer any of this group's business. */
function forget(state: GroupState, { event, lane }: Place): void {
  const { standing, position } = event;
  const { journal, carried } = state;
  if (standing === "replay") {
    state.replays.delete(position);
    journal.changedReplays.add(position);
    // It may lie where the log is looked at again: it is not to come a second time.
    if (position > positionOf(state)) remainSettled(state, position);
    return;
  }
  if (carried.delete(position)) journal.needsBase = true;
  if (standing === "own") state.unsettledCount--;
  // The group's position has passed it already, and does not go back.
  else if (position <= positionOf(state)) return;
  journal.settledBelow(position);
  // In flight since before an edit, or not the first of its key after one: the fronts do not tell.
  const front = lane.front();
  if (standing === "orphan" || (front !== undefined && front.position < position)) {
    remainSettled(state, position);
  }
}

function remainSettled({ ahead, journal }: GroupState, position: number): void {
  ahead.add(position);
  journal.needsBase = true;
}
