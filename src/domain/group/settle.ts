// How a delivery ends: the event is settled, delivered again later, or parked. Also what happens to
// an event that is not in the log any more.

import type { QueuedEvent } from "./key-queue.ts";
import { endReplay } from "./replay.ts";
import type { Delivery, GroupState } from "./state.ts";

/** Settles a delivery. Its member is told once that is durable. */
export function settle(state: GroupState, delivery: Delivery, nowMs: number): void {
  takeBack(state, delivery);
  tellWhenDurable(state, delivery);
  forget(state, delivery.event, nowMs);
}

/** The event is parked. Its member is told once that is durable. */
export function park(state: GroupState, delivery: Delivery, reason: string, nowMs: number): void {
  const { event } = delivery;
  takeBack(state, delivery);
  tellWhenDurable(state, delivery);
  putAside(state, event, { attempts: event.attempts + 1, reason }, nowMs);
}

/** The member refused the event. It is told so once the refusal is durable. */
export function refuse(
  state: GroupState,
  delivery: Delivery,
  why: { readonly delayMs: number; readonly reason: string },
  nowMs: number,
): void {
  takeBack(state, delivery);
  tellWhenDurable(state, delivery);
  again(state, delivery.event, why, nowMs);
}

/** Undoes a delivery that the member has not received, or has not processed. */
export function giveBack(state: GroupState, delivery: Delivery, nowMs: number): void {
  const { event, member } = delivery;
  takeBack(state, delivery);
  member.held--;
  state.queues.put(event);
  state.queues.review(event.queue, nowMs);
}

/** Its member left, or its lease ran out. */
export function lose(state: GroupState, delivery: Delivery, reason: string, nowMs: number): void {
  if (!delivery.isSent) return giveBack(state, delivery, nowMs);
  takeBack(state, delivery);
  delivery.member.held--;
  again(state, delivery.event, { delayMs: 0, reason }, nowMs);
  state.journal.isUrgent = true;
}

/** The event is no longer in the log, and counts as settled. */
export function vanish(state: GroupState, delivery: Delivery, nowMs: number): void {
  takeBack(state, delivery);
  delivery.member.held--;
  forget(state, delivery.event, nowMs);
  state.journal.isUrgent = true;
}

/** These events are not in the log any more; those that wait, or were not sent, are forgotten. */
export function forgetRemoved(
  state: GroupState,
  events: readonly QueuedEvent[],
  nowMs: number,
): void {
  const removed = new Set(events);
  for (const delivery of state.deliveries.values()) {
    if (!delivery.isSent && removed.has(delivery.event)) vanish(state, delivery, nowMs);
  }
  for (const event of events) {
    if (!state.queues.drop(event)) continue;
    forget(state, event, nowMs);
    state.journal.isUrgent = true;
  }
}

/** The event, which was just taken from its queue, had all of its attempts: it is put aside. */
export function shelve(state: GroupState, event: QueuedEvent, nowMs: number): void {
  state.queues.takeBack(event);
  const why = { attempts: event.attempts, reason: "the attempts are used up" };
  putAside(state, event, why, nowMs);
}

/** The member no longer holds the event. */
function takeBack({ deliveries, queues }: GroupState, delivery: Delivery): void {
  const { token, event, member } = delivery;
  deliveries.delete(token);
  member.tokens.delete(token);
  queues.takeBack(event);
}

function tellWhenDurable({ journal }: GroupState, { token, member }: Delivery): void {
  journal.settle(token, member.id);
  member.settling++;
}

function again(
  state: GroupState,
  event: QueuedEvent,
  { delayMs, reason }: { readonly delayMs: number; readonly reason: string },
  nowMs: number,
): void {
  const { queues, journal, settings } = state;
  event.attempts++;
  event.retryAtMs = delayMs > 0 ? Math.ceil(nowMs + delayMs) : 0;
  const { attempts, isReplay, position } = event;
  if (attempts >= settings.attemptsMax) return putAside(state, event, { attempts, reason }, nowMs);
  queues.put(event);
  if (isReplay) journal.changedReplays.add(position);
  queues.review(event.queue, nowMs);
}

function putAside(
  state: GroupState,
  event: QueuedEvent,
  why: { readonly attempts: number; readonly reason: string },
  nowMs: number,
): void {
  state.journal.park({ position: event.position, ...why });
  forget(state, event, nowMs);
}

/** The event is settled: the group has nothing to do with it any more. */
function forget(
  state: GroupState,
  { position, isReplay, queue }: QueuedEvent,
  nowMs: number,
): void {
  if (isReplay) endReplay(state, position);
  else state.journal.holdAt(position);
  state.queues.review(queue, nowMs);
}
