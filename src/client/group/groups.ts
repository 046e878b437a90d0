// `client.groups`: what there is to do about consumer groups besides working in one.

import type {
  Group as WireGroup,
  ParkedEvent as WireParked,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import { answered, type Context, type OperationOptions } from "../store/context.ts";
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
  /** Every event of the group up to here is settled, durably. */
  readonly position: number;
  /** Events that are not; stops counting at 1,000,000, in lists at 10,000. */
  readonly lagEvents: number;
  /** How long ago the first of them was recorded. Absent: there is none. */
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

/** An event that was put aside. */
export interface GroupParkedEvent<E extends EventShape> {
  readonly position: number;
  readonly attempts: number;
  readonly reason: string;
  readonly parkedAt: Date;
  /** Undefined: a policy of its stream has removed it. Throws a `MalformedEventError`. */
  readonly event: RecordedEvent<E> | undefined;
}

/** Which parked events. Absent: all. */
export interface WhichParked extends OperationOptions {
  readonly positions?: readonly number[] | undefined;
}

/** Each fails with a `NotFoundError` where there is no such group. */
export interface Groups<E extends EventShape> {
  /**
   * Creates a group, or finds it as it would be created; a `PreconditionError` (`GROUP_EXISTS`)
   * where there is another one of its name.
   */
  create(name: string, group?: NewGroup, options?: OperationOptions): Promise<GroupInfo>;
  /** Changes how a group hands out its events; what is absent stays as it is. */
  update(name: string, changes: GroupChanges, options?: OperationOptions): Promise<GroupInfo>;
  /** Whether there was one. */
  delete(name: string, options?: OperationOptions): Promise<boolean>;
  /** Undefined: there is none. */
  get(name: string, options?: OperationOptions): Promise<GroupInfo | undefined>;
  list(options?: ListOptions): AsyncIterable<GroupInfo>;
  /** Lets it begin anew. */
  reset(name: string, start: GroupStart, options?: OperationOptions): Promise<GroupInfo>;
  /** By position. */
  parked(name: string, options?: OperationOptions): AsyncIterable<GroupParkedEvent<E>>;
  /** Has parked events handed out again. Answers how many. */
  replay(name: string, which?: WhichParked): Promise<number>;
  /** Has the group forget parked events. Answers how many. */
  discard(name: string, which?: WhichParked): Promise<number>;
}

const pageSize = 100;
/** Positions of one request. */
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
      return infoOf(await answered(context, options, (call) => rpc.updateGroup(request, call)));
    },
    async delete(name, options = {}) {
      return (await answered(context, options, (call) => rpc.deleteGroup({ name }, call))).deleted;
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
      return infoOf(await answered(context, options, (call) => rpc.resetGroup(request, call)));
    },
    async *parked(name, options = {}) {
      let pageToken = "";
      do {
        const request = { group: name, pageSize, pageToken };
        const page = await answered(context, options, (call) => rpc.listParked(request, call));
        for (const one of page.parked) yield parkedOf(one, codec);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
    },
    replay: (name, which = {}) =>
      summed(which.positions, async (positions) => {
        const request = { group: name, positions };
        const answer = await answered(context, which, (call) => rpc.replayParked(request, call));
        return answer.replayedCount;
      }),
    discard: (name, which = {}) =>
      summed(which.positions, async (positions) => {
        const request = { group: name, positions };
        const answer = await answered(context, which, (call) => rpc.discardParked(request, call));
        return answer.discardedCount;
      }),
  };
}

/** As many requests as it takes; an empty list of positions would mean all. */
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
  codec: EventCodec<E>,
): GroupParkedEvent<E> {
  const raw = event && rawEvent(event);
  let decoded: RecordedEvent<E> | undefined;
  return {
    position: safeInteger(position),
    attempts,
    reason,
    parkedAt: dateOf(parkedAt),
    // Decoded when it is looked at: a parked event may be one the codec does not understand.
    get event() {
      return (decoded ??= raw && recordedEvent(raw, codec));
    },
  };
}
