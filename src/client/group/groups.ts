// `client.groups`: operations on consumer groups, other than working in one.

import type {
  Group as WireGroup,
  ParkedEvent as WireParked,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import { answered, changed, type Context, type OperationOptions } from "../store/context.ts";
import { NotFoundError, ServerError } from "../store/errors.ts";
import {
  rawEvent,
  recordedEvent,
  type EventCodec,
  type EventShape,
  type RecordedEvent,
} from "../store/event.ts";
import type { ListOptions } from "../store/info.ts";
import { dateOf, safeInteger, wireInteger } from "../store/numbers.ts";
import {
  msOf,
  settingsOf,
  wireChanges,
  wireSettings,
  wireStart,
  type GroupChanges,
  type GroupSettings,
  type GroupStart,
  type NewGroup,
} from "./group-settings.ts";

export interface GroupInfo {
  readonly name: string;
  readonly settings: GroupSettings;
  /** Every event of the group up to this position is durably settled. */
  readonly position: number;
  /** Unsettled events, counted up to 1,000,000, or 10,000 in lists. */
  readonly lagEvents: number;
  /** The age of the first of them. Absent: there is none. */
  readonly lagMs: number | undefined;
  readonly inFlightCount: number;
  readonly memberCount: number;
  readonly parkedCount: number;
  readonly createdAt: Date;
  /** Empty in lists. */
  readonly members: readonly GroupMemberInfo[];
}

export interface GroupMemberInfo {
  readonly name: string;
  readonly inFlightCount: number;
  readonly permits: number;
  readonly joinedAt: Date;
}

/** A parked event. */
export interface GroupParkedEvent<E extends EventShape> {
  readonly position: number;
  /** The epoch of the position. */
  readonly epoch: string;
  readonly attempts: number;
  readonly reason: string;
  readonly parkedAt: Date;
  /** Undefined: a policy of its stream has removed it. Throws a `MalformedEventError`. */
  readonly event: RecordedEvent<E> | undefined;
}

/** Which parked events. Absent: all. */
export interface WhichParked extends OperationOptions {
  readonly positions?: readonly number[] | undefined;
  /**
   * The epoch of the positions. An `EpochMismatchError` if they belong to another history of the
   * store, and so to other events.
   */
  readonly epoch?: string | undefined;
}

/** Operations on a group that does not exist fail with a `NotFoundError`. */
export interface Groups<E extends EventShape> {
  /**
   * Creates a group. If it exists with the same settings, this is a retry; with other settings, it
   * fails with a `PreconditionError` (`GROUP_EXISTS`).
   */
  create(name: string, group?: NewGroup, options?: OperationOptions): Promise<GroupInfo>;
  /** Changes how a group delivers its events. Absent settings are kept. */
  update(name: string, changes: GroupChanges, options?: OperationOptions): Promise<GroupInfo>;
  /** Returns whether the group existed. */
  delete(name: string, options?: OperationOptions): Promise<boolean>;
  /** Undefined: there is none. */
  get(name: string, options?: OperationOptions): Promise<GroupInfo | undefined>;
  list(options?: ListOptions): AsyncIterable<GroupInfo>;
  /** Lets the group begin again elsewhere. */
  reset(name: string, start: GroupStart, options?: OperationOptions): Promise<GroupInfo>;
  /** By position. */
  parked(name: string, options?: OperationOptions): AsyncIterable<GroupParkedEvent<E>>;
  /** Delivers parked events again. Returns how many. */
  replay(name: string, which?: WhichParked): Promise<number>;
  /** Drops parked events. Returns how many. */
  discard(name: string, which?: WhichParked): Promise<number>;
}

const pageSize = 100;
/** Positions in one request. */
const positionsMax = 1_000;

export function groupsOf<E extends EventShape>(context: Context, codec: EventCodec<E>): Groups<E> {
  const { groups: rpc } = context;
  return {
    async create(name, group = {}, options = {}) {
      const { replace = false } = group;
      const request = { name, settings: wireSettings(group), start: wireStart(group), replace };
      return infoOf(await answered(context, options, (call) => rpc.createGroup(request, call)));
    },
    async update(name, changes, options = {}) {
      const request = { name, ...wireChanges(changes) };
      return infoOf(await changed(context, options, (call) => rpc.updateGroup(request, call)));
    },
    async delete(name, options = {}) {
      return (await changed(context, options, (call) => rpc.deleteGroup({ name }, call))).deleted;
    },
    async get(name, options = {}) {
      try {
        return infoOf(await answered(context, options, (call) => rpc.getGroup({ name }, call)));
      } catch (error) {
        if (error instanceof NotFoundError) return undefined;
        throw error;
      }
    },
    async *list(options = {}) {
      const { prefix = "" } = options;
      let pageToken = "";
      do {
        const request = { prefix, pageSize, pageToken };
        const page = await answered(context, options, (call) => rpc.listGroups(request, call));
        for (const group of page.groups) yield infoOf({ group });
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
    },
    async reset(name, start, options = {}) {
      const request = { name, start: wireStart(start) };
      return infoOf(await changed(context, options, (call) => rpc.resetGroup(request, call)));
    },
    async *parked(name, options = {}) {
      let pageToken = "";
      do {
        const request = { group: name, pageSize, pageToken };
        const page = await answered(context, options, (call) => rpc.listParked(request, call));
        for (const one of page.parked) yield parkedOf(one, page.epoch, codec);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
    },
    replay: (name, which = {}) =>
      summed(which.positions, async (positions) => {
        const request = { group: name, positions, epoch: which.epoch ?? "" };
        const options = { ...which, isIdempotent: positions.length > 0 };
        const answer = await answered(context, options, (call) => rpc.replayParked(request, call));
        return answer.replayedCount;
      }),
    discard: (name, which = {}) =>
      summed(which.positions, async (positions) => {
        const request = { group: name, positions, epoch: which.epoch ?? "" };
        const options = { ...which, isIdempotent: positions.length > 0 };
        const answer = await answered(context, options, (call) => rpc.discardParked(request, call));
        return answer.discardedCount;
      }),
  };
}

/** Splits the positions into several requests. An empty list would mean all. */
async function summed(
  positions: readonly number[] | undefined,
  request: (positions: bigint[]) => Promise<bigint>,
): Promise<number> {
  if (positions === undefined) return safeInteger(await request([]));
  let count = 0;
  for (let from = 0; from < positions.length; from += positionsMax) {
    const some = positions.slice(from, from + positionsMax);
    count += safeInteger(await request(some.map((one) => wireInteger(one, "positions"))));
  }
  return count;
}

function infoOf({ group }: { readonly group?: WireGroup | undefined }): GroupInfo {
  if (group === undefined) throw new ServerError("an answer without a group", "INTERNAL", {});
  return {
    name: group.name,
    settings: settingsOf(group.settings),
    position: safeInteger(group.position),
    lagEvents: safeInteger(group.lagEvents),
    lagMs: msOf(group.lag),
    inFlightCount: group.inFlightCount,
    memberCount: group.memberCount,
    parkedCount: safeInteger(group.parkedCount),
    createdAt: dateOf(group.createdAt),
    members: group.members.map(({ name, inFlightCount, permits, joinedAt }) => {
      return { name, inFlightCount, permits, joinedAt: dateOf(joinedAt) };
    }),
  };
}

function parkedOf<E extends EventShape>(
  { position, attempts, reason, parkedAt, event }: WireParked,
  epoch: string,
  codec: EventCodec<E>,
): GroupParkedEvent<E> {
  const raw = event && rawEvent(event);
  let decoded: RecordedEvent<E> | undefined;
  return {
    position: safeInteger(position),
    epoch,
    attempts,
    reason,
    parkedAt: dateOf(parkedAt),
    // Decoded on access, because the codec may not accept a parked event.
    get event() {
      return (decoded ??= raw && recordedEvent(raw, codec));
    },
  };
}
