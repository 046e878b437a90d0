// The state of a running consumer group: its durable part, and what is known besides. No clock and
// no I/O: times are passed in, as milliseconds since 1970 on a clock that never jumps.

import type { EventHeader } from "../event.ts";
import { Journal, type JournalBounds } from "./journal.ts";
import type { QueuedEvent } from "./key-queue.ts";
import { KeyQueues, type KeyQueueBounds } from "./key-queues.ts";
import { Members, type Member } from "./members.ts";
import { MinHeap } from "./min-heap.ts";
import type { Progress, Retry } from "./progress.ts";
import { keyOf, type GroupSettings } from "./settings.ts";

export interface GroupBounds extends KeyQueueBounds, JournalBounds {
  /** Events in flight to one member. */
  readonly memberPermitsMax: number;
  /** Events given to a member that it has not taken yet. */
  readonly unsentMax: number;
}

export const defaultGroupBounds: GroupBounds = Object.freeze({
  queueEventsMax: 64,
  knownEventsMax: 200_000,
  frameBytesMax: 8 * 1024 * 1024,
  memberPermitsMax: 10_000,
  unsentMax: 64,
  keysWrittenWhole: 32,
  deltasMax: 64,
  deltaBytesMin: 4_096,
});

/** An event that matches the group's query. */
export interface GroupEvent extends EventHeader {
  readonly position: number;
  readonly version: number;
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
  /** The framed record. Absent: it is read again when it is delivered. */
  readonly frame?: Uint8Array | undefined;
}

/** An event that a member holds. */
export interface Delivery {
  readonly token: number;
  readonly member: Member;
  readonly event: QueuedEvent;
  /** From 1. */
  readonly attempt: number;
  leaseUntilMs: number;
  /** Sent to the member. Before that, the member has not seen it. */
  isSent: boolean;
}

export interface GroupState {
  settings: GroupSettings;
  readonly queues: KeyQueues;
  readonly members: Members;
  readonly journal: Journal;
  /** By token. */
  readonly deliveries: Map<number, Delivery>;
  /** Tokens by the time at which their lease may run out. */
  readonly leases: MinHeap<number>;
  lastToken: number;
  /** Every match up to this position was offered. */
  through: number;
  fromTime: number;
  /** Events that were parked and are delivered again, by position. */
  readonly replays: Map<number, Retry>;
  /** Replays whose events have not been read yet. */
  readonly unplaced: Set<number>;
  /** Counts resets: what was read from the log before a reset is useless after it. */
  epoch: number;
}

/** `baseSequence` is the number of the base from which the progress was made. */
export function createGroupState(
  settings: GroupSettings,
  progress: Progress,
  baseSequence: number,
  bounds: GroupBounds,
): GroupState {
  const { sequence, through, fromTime } = progress;
  const queues = new KeyQueues(bounds);
  for (const [key, first] of progress.firsts) queues.load(key, first, through);
  queues.unknownCount = progress.unsettledCount;
  return {
    settings,
    queues,
    members: new Members(bounds.memberPermitsMax, bounds.unsentMax),
    journal: new Journal(bounds, sequence, baseSequence, through),
    deliveries: new Map(),
    leases: new MinHeap(),
    lastToken: 0,
    through,
    fromTime,
    replays: new Map(progress.replays),
    unplaced: new Set(progress.replays.keys()),
    epoch: 0,
  };
}

/** An event for the queue of its key, with its record where there is room. */
export function queued(
  { queues, settings }: GroupState,
  logged: GroupEvent,
  { attempts, retryAtMs }: Retry,
  isReplay: boolean,
): QueuedEvent {
  const { position, version, stream, recordedAt } = logged;
  const queue = queues.open(keyOf(logged, position, settings.ordering));
  const origin = { queue, position, version, stream, recordedAt };
  const event: QueuedEvent = { ...origin, frame: undefined, isReplay, attempts, retryAtMs };
  queues.keepFrame(event, logged.frame);
  return event;
}

/** Events up to `through` that are not settled, replays aside. */
export function unsettledOf({ queues, deliveries, replays, unplaced }: GroupState): number {
  const placedReplays = replays.size - unplaced.size;
  return queues.knownCount + deliveries.size + queues.unknownCount - placedReplays;
}

/** Leases that were pushed back and forth leave entries behind. */
export function trimLeases({ leases, deliveries }: GroupState): void {
  if (leases.size <= 2 * deliveries.size + 64) return;
  leases.clear();
  for (const { leaseUntilMs, token } of deliveries.values()) leases.push(leaseUntilMs, token);
}

/** Every match up to this position is durably settled. */
export function positionOf({ queues, through, journal }: GroupState): number {
  return Math.min(queues.settledThrough(through), journal.heldAt - 1);
}

/**
 * Begins again after a position. Events in flight are taken back. Replays stay, with their attempts
 * counted anew.
 */
export function reset(state: GroupState, through: number, fromTime: number): void {
  const { deliveries, replays } = state;
  for (const { member, token } of deliveries.values()) {
    member.tokens.delete(token);
    member.held--;
  }
  deliveries.clear();
  state.leases.clear();
  for (const position of replays.keys()) {
    replays.set(position, { attempts: 0, retryAtMs: 0 });
    state.unplaced.add(position);
  }
  state.journal.beginAnew(Math.min(positionOf(state), through) + 1);
  state.queues.clear();
  state.through = through;
  state.fromTime = fromTime;
  state.epoch++;
}
