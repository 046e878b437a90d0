// The operations of consumer groups, as the gRPC services call them. groups/groups.ts implements
// them.

import type { Gate } from "./scheduling/scheduler.ts";
import type { GroupChanges, GroupSettings } from "../domain/group/settings.ts";

/**
 * Where a group begins. A position is exclusive, a time (microseconds) inclusive. After another
 * group: at its position, and possibly replacing it. A reset never replaces a group.
 */
export type GroupStart =
  | { readonly kind: "after-position"; readonly position: number }
  | { readonly kind: "from-time"; readonly time: number }
  | { readonly kind: "end" }
  | { readonly kind: "after-group"; readonly group: string; readonly replace: boolean };

export interface GroupInfo {
  readonly name: string;
  readonly settings: GroupSettings;
  /** Every matching event up to this position is durably settled. */
  readonly position: number;
  /** The epoch of the positions. */
  readonly epoch: string;
  /** Unsettled matching events, counted up to `lagEventsMax`. */
  readonly lagEvents: number;
  /** The age of the oldest of them in microseconds. Undefined: there is none. */
  readonly lagMicros: number | undefined;
  readonly inFlightCount: number;
  readonly memberCount: number;
  readonly parkedCount: number;
  readonly members: readonly MemberInfo[];
  /** The position of the oldest event in flight. 0: there is none. */
  readonly oldestInFlight: number;
  /** Microseconds since 1970, UTC. */
  readonly createdAt: number;
}

/** A connected member. */
export interface MemberInfo {
  /** For people. */
  readonly name: string;
  /** Events in flight to it, including settled ones that are not durable yet. */
  readonly heldCount: number;
  readonly permits: number;
  /** Microseconds since 1970, UTC. */
  readonly joinedAt: number;
}

export const lagEventsMax = 1_000_000;
/**
 * The same limit for each group of a list, so that a group that is far behind does not delay the
 * others.
 */
export const listedLagEventsMax = 10_000;

/**
 * Groups in the order of the UTF-8 bytes of their names. `after` is exclusive. Empty: from the
 * first.
 */
export interface GroupPage {
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
}

export interface MemberDelivery {
  readonly token: string;
  /** From 1. */
  readonly attempt: number;
  /** Microseconds since 1970, UTC. */
  readonly leaseUntil: number;
  /** The `RecordedEvent` message. */
  readonly record: Uint8Array;
}

export type MemberMessage =
  | { readonly kind: "deliveries"; readonly deliveries: readonly MemberDelivery[] }
  /** These tokens are durably settled. */
  | { readonly kind: "settled"; readonly tokens: readonly string[] }
  /** These tokens do not count (any more). */
  | { readonly kind: "refused"; readonly tokens: readonly string[] }
  | { readonly kind: "heartbeat"; readonly position: number };

export type MemberRequest =
  | { readonly kind: "permits"; readonly count: number }
  /** `upTo` is a token: it and every delivery before it. Empty: none. */
  | { readonly kind: "ack"; readonly tokens: readonly string[]; readonly upTo: string }
  | {
      readonly kind: "nack";
      readonly tokens: readonly string[];
      /** Undefined: the group's retry delays apply. */
      readonly delayMs: number | undefined;
      readonly reason: string;
    }
  | {
      readonly kind: "extend";
      readonly tokens: readonly string[];
      /** Undefined: the group's lease. */
      readonly leaseMs: number | undefined;
    }
  /**
   * Not processed, so no attempt is counted. The member gets no events until it sends `permits`.
   */
  | { readonly kind: "release"; readonly tokens: readonly string[] }
  | { readonly kind: "park"; readonly tokens: readonly string[]; readonly reason: string };

export interface GroupMember {
  readonly leaseMs: number;
  /**
   * Pulled by the consumer until it leaves. Throws GROUP_NOT_FOUND if the group is deleted,
   * STOPPING, and failures of the log or the disk. After that it is no longer a member.
   */
  messages(): AsyncIterable<MemberMessage>;
  /** Returns a promise if there are more messages for the member than it takes: wait for it. */
  handle(request: MemberRequest): Promise<void> | undefined;
  /**
   * The member sends nothing more. Its events in flight are taken back. The messages end with its
   * last answer.
   */
  finish(): void;
  /** Events in flight are taken back, and the messages end. */
  leave(): void;
}

export interface MemberWish {
  /** For people. */
  readonly name: string;
  readonly permits: number;
  /**
   * Whether an event that is settled makes room for another one at once. Otherwise it does so when
   * that is durable.
   */
  readonly freesAtOnce?: boolean;
}

/** A parked event. */
export interface ParkedEvent {
  readonly position: number;
  readonly attempts: number;
  readonly reason: string;
  /** Microseconds since 1970, UTC. */
  readonly parkedAt: number;
  /** The `RecordedEvent` message. Undefined: the event is no longer in the log. */
  readonly record: Uint8Array | undefined;
}

export interface ParkedPage {
  readonly group: string;
  /** Only positions after this one. */
  readonly after: number;
  readonly limit: number;
  /** A page ends with the record that exceeds this many bytes. */
  readonly bytesMax: number;
}

/** Operations on a group that does not exist throw GROUP_NOT_FOUND. */
export interface GroupLog {
  /**
   * Throws GROUP_EXISTS, BEYOND_HEAD. With the same settings and start it is a retry. A group that
   * is replaced passes on its parked events and replays.
   */
  create(name: string, settings: GroupSettings, start: GroupStart): Promise<GroupInfo>;
  /** Throws INVALID_FIELD if the delays contradict each other. */
  update(name: string, changes: GroupChanges): Promise<GroupInfo>;
  /** Returns whether the group existed. */
  remove(name: string): Promise<boolean>;
  get(name: string, signal?: AbortSignal, gate?: Gate): Promise<GroupInfo>;
  /** Without the counting of `get`. */
  settings(name: string): Promise<GroupSettings>;
  /** The lag in events is counted up to `listedLagEventsMax`, and members are not listed. */
  list(page: GroupPage, signal?: AbortSignal, gate?: Gate): Promise<GroupInfo[]>;
  /** Throws BEYOND_HEAD. */
  reset(name: string, start: GroupStart): Promise<GroupInfo>;
  join(name: string, wish: MemberWish): Promise<GroupMember>;
  listParked(page: ParkedPage, gate?: Gate): Promise<ParkedEvent[]>;
  /** Returns how many. `positions` empty: all, as far as there is room. */
  replayParked(name: string, positions: readonly number[]): Promise<number>;
  /** Returns how many. `positions` empty: all. */
  discardParked(name: string, positions: readonly number[]): Promise<number>;
  /** As `CheckpointLog.waitFor`, for a group's position. */
  waitFor(name: string, position: number, timeoutMs: number, signal?: AbortSignal): Promise<number>;
}
