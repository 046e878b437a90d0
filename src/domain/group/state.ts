// The state of a consumer group while it runs: what is durable of it, made fit for work. No
// clock and no I/O; times are milliseconds since 1970 on a clock that never jumps, handed in.

import { Journal, type JournalBounds } from "./journal.ts";
import type { Lane, LaneEvent } from "./key-queue.ts";
import { Lanes, type LaneBounds } from "./key-queues.ts";
import { Members, type Member } from "./members.ts";
import type { Era, Front, Progress, Retry } from "./progress.ts";
import type { GroupSettings } from "./settings.ts";
import { MinHeap } from "./min-heap.ts";

export interface GroupBounds extends LaneBounds, JournalBounds {
  /** Events in flight to one member. */
  readonly memberPermitsMax: number;
  /** Events given to a member that it has not taken yet. */
  readonly unsentMax: number;
  /** Edits of query or ordering while events before the first of them are not settled. */
  readonly erasMax: number;
}

export const defaultGroupBounds: GroupBounds = Object.freeze({
  laneEventsMax: 64,
  knownEventsMax: 200_000,
  frameBytesMax: 8 * 1024 * 1024,
  memberPermitsMax: 10_000,
  unsentMax: 64,
  erasMax: 8,
  frontsWrittenWhole: 32,
  deltasMax: 64,
  deltaBytesMin: 4_096,
});

/** An event in the hands of a member. */
export interface Delivery {
  readonly token: number;
  readonly member: Member;
  readonly event: LaneEvent;
  /** From 1. */
  readonly attempt: number;
  lane: Lane;
  leaseUntilMs: number;
  /** On its way to the member; before, nobody has seen it. */
  isSent: boolean;
}

export interface GroupState {
  settings: GroupSettings;
  readonly lanes: Lanes;
  readonly members: Members;
  readonly journal: Journal;
  /** By token. */
  readonly deliveries: Map<number, Delivery>;
  /** The same by position. */
  readonly inFlight: Map<number, Delivery>;
  /** Tokens by when their lease may run out. */
  readonly leases: MinHeap<number>;
  lastToken: number;
  /** Every match up to here was offered. */
  through: number;
  /** Where the group began, or began anew: nothing up to here is any of its business. */
  start: number;
  fromTime: number;
  /** Own events that were offered and are not settled. */
  unsettledCount: number;
  eras: readonly Era[];
  /** Kept, as are `carried`, until the group's position has passed them. */
  readonly ahead: Set<number>;
  readonly carried: Map<number, Retry>;
  readonly replays: Map<number, Retry>;
  /** Replays whose events have not been read yet. */
  readonly unplaced: Set<number>;
  /** Counts resets and edits: what was read of the log before one is of no use after it. */
  epoch: number;
}

/** `baseSequence`: of the base the progress was made from. */
export function createGroupState(
  settings: GroupSettings,
  progress: Progress,
  baseSequence: number,
  bounds: GroupBounds,
): GroupState {
  const { sequence, through, fromTime, unsettledCount, eras } = progress;
  const state: GroupState = {
    settings,
    lanes: new Lanes(bounds),
    members: new Members(bounds.memberPermitsMax, bounds.unsentMax),
    journal: new Journal(bounds, sequence, baseSequence, through),
    deliveries: new Map(),
    inFlight: new Map(),
    leases: new MinHeap(),
    lastToken: 0,
    through,
    start: 0,
    fromTime,
    unsettledCount,
    eras,
    ahead: new Set(progress.ahead),
    carried: new Map(progress.carried),
    replays: new Map(progress.replays),
    unplaced: new Set(progress.replays.keys()),
    epoch: 0,
  };
  for (const [key, front] of progress.fronts) {
    const lane = state.lanes.open(key);
    lane.knownThrough = front.position - 1;
    lane.unknownTo = through;
    if (front.attempts > 0) state.carried.set(front.position, front);
    state.lanes.review(lane, 0);
  }
  return state;
}

export function progressOf(
  state: GroupState,
  sequence: number,
  fronts: ReadonlyMap<string, Front>,
): Progress {
  prune(state);
  const { through, fromTime, unsettledCount, ahead, carried, eras } = state;
  const replays = new Map(
    [...state.replays].map(([position, { attempts, retryAtMs }]) => {
      return [position, { attempts, retryAtMs }] as const;
    }),
  );
  return { sequence, through, fromTime, unsettledCount, fronts, replays, ahead, carried, eras };
}

/** Leases that were pushed back and forth leave entries behind. */
export function trimLeases({ leases, deliveries }: GroupState): void {
  if (leases.size <= 2 * deliveries.size + 64) return;
  leases.clear();
  for (const { leaseUntilMs, token } of deliveries.values()) leases.push(leaseUntilMs, token);
}

/** Every own match up to here is settled, durably. */
export function positionOf({ lanes, through, journal }: GroupState): number {
  return Math.min(lanes.floor(through), journal.lowest - 1, journal.barrier - 1);
}

/** What is told by the position alone need not be remembered. */
function prune(state: GroupState): void {
  const floor = positionOf(state);
  for (const position of state.ahead) if (position <= floor) state.ahead.delete(position);
  for (const position of state.carried.keys()) {
    if (position <= floor) state.carried.delete(position);
  }
  state.eras = state.eras.filter((era) => era.through > floor);
}
