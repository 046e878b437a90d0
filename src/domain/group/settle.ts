// How a delivery ends: settled, or failed and delivered again later, or put aside for good.

import { endReplay } from "./replay.ts";
import type { Delivery, GroupState } from "./state.ts";

/** An event and the queue it is in. */
type Place = Pick<Delivery, "event" | "queue">;

/** It is dealt with, and its member is told once that is durable. */
export function settle(state: GroupState, delivery: Delivery, nowMs: number): void {
  const { token, member, queue } = delivery;
  takeBack(state, delivery);
  state.journal.settle(token, member.id);
  forget(state, delivery);
  state.queues.review(queue, nowMs);
}

/** It is put aside, and its member is told once that is durable. */
export function park(state: GroupState, delivery: Delivery, reason: string, nowMs: number): void {
  const { event, token, member, queue } = delivery;
  takeBack(state, delivery);
  state.journal.settle(token, member.id);
  putAside(state, delivery, event.attempts + 1, reason);
  state.queues.review(queue, nowMs);
}

/** Its member could not deal with it, and is told once that is durable. */
export function refuse(
  state: GroupState,
  delivery: Delivery,
  why: { readonly delayMs: number; readonly reason: string },
  nowMs: number,
): void {
  takeBack(state, delivery);
  state.journal.settle(delivery.token, delivery.member.id);
  again(state, delivery, why, nowMs);
}

/** As if it had not been delivered: its member never got it, or has not looked at it. */
export function giveBack(state: GroupState, delivery: Delivery, nowMs: number): void {
  const { event, queue, member } = delivery;
  takeBack(state, delivery);
  member.held--;
  state.queues.put(queue, event);
  state.queues.review(queue, nowMs);
}

/** Its member has left, or has not been heard of in time. */
export function lose(state: GroupState, delivery: Delivery, reason: string, nowMs: number): void {
  if (!delivery.isSent) return giveBack(state, delivery, nowMs);
  takeBack(state, delivery);
  delivery.member.held--;
  again(state, delivery, { delayMs: 0, reason }, nowMs);
  state.journal.isUrgent = true;
}

/** The event is not in the log any more: as if it had been settled. */
export function vanish(state: GroupState, delivery: Delivery, nowMs: number): void {
  takeBack(state, delivery);
  delivery.member.held--;
  forget(state, delivery);
  state.journal.isUrgent = true;
  state.queues.review(delivery.queue, nowMs);
}

/** The event, which was just taken from its queue, had all of its attempts: it is put aside. */
export function shelve(state: GroupState, { event, queue }: Place, nowMs: number): void {
  state.queues.takeBack(queue, event);
  putAside(state, { event, queue }, event.attempts, "the attempts are used up");
  state.queues.review(queue, nowMs);
}

/** No longer in the member's hands. */
function takeBack({ deliveries, queues }: GroupState, delivery: Delivery): void {
  const { token, event, member, queue } = delivery;
  deliveries.delete(token);
  member.tokens.delete(token);
  queues.takeBack(queue, event);
}

function again(
  state: GroupState,
  delivery: Delivery,
  { delayMs, reason }: { readonly delayMs: number; readonly reason: string },
  nowMs: number,
): void {
  const { event, queue } = delivery;
  event.attempts++;
  event.retryAtMs = delayMs > 0 ? Math.ceil(nowMs + delayMs) : 0;
  if (event.attempts >= state.settings.attemptsMax) {
    putAside(state, delivery, event.attempts, reason);
  } else {
    state.queues.put(queue, event);
    if (event.isReplay) state.journal.changedReplays.add(event.position);
  }
  state.queues.review(queue, nowMs);
}

function putAside(state: GroupState, place: Place, attempts: number, reason: string): void {
  state.journal.park({ position: place.event.position, attempts, reason });
  forget(state, place);
}

/** The event is settled: the group has nothing to do with it any more. */
function forget(state: GroupState, { event: { position, isReplay } }: Place): void {
  if (isReplay) return endReplay(state, position);
  // Progress that 0.1 wrote may count too few: see `readChanges`.
  state.unsettledCount = Math.max(0, state.unsettledCount - 1);
  state.journal.holdAt(position);
}
