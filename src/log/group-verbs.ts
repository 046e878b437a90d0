// Consumer groups in domain words: what the gRPC services call, and what groups.ts does.

import type { GroupChanges, GroupSettings } from "../domain/group/settings.ts";

/**
 * Where a group begins; the position is exclusive, the time (microseconds) inclusive. After another
 * group: at its position, perhaps in its place. A reset replaces no group.
 */
export type GroupStart =
  | { readonly kind: "after-position"; readonly position: number }
  | { readonly kind: "from-time"; readonly time: number }
  | { readonly kind: "end" }
  | { readonly kind: "after-group"; readonly group: string; readonly replace: boolean };

export interface GroupInfo {
  readonly name: string;
  readonly settings: GroupSettings;
  /** Every matching event up to here is settled, durably. */
  readonly position: number;
  /** Matching events that are not settled; stops counting at `lagEventsMax`. */
  readonly lagEvents: number;
  /** Since the oldest of them was recorded, in microseconds. Undefined: there is none. */
  readonly lagMicros: number | undefined;
  readonly inFlightCount: number;
  readonly memberCount: number;
  readonly parkedCount: number;
  readonly members: readonly MemberInfo[];
  /** 0: none is in flight. */
  readonly oldestInFlight: number;
  /** Microseconds since 1970, UTC. */
  readonly createdAt: number;
}

/** A member, as it is connected. */
export interface MemberInfo {
  /** For people. */
  readonly name: string;
  /** Events in flight to it, those included that it settled and that are not durable yet. */
  readonly heldCount: number;
  readonly permits: number;
  /** Microseconds since 1970, UTC. */
  readonly joinedAt: number;
}

export const lagEventsMax = 1_000_000;
/** The same for each group of a list: one that is far behind does not keep the others waiting. */
export const listedLagEventsMax = 10_000;

/** Groups in the order of their names' UTF-8 bytes; `after` is exclusive, empty: from the first. */
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
  /** Durable: these stay so whatever happens. */
  | { readonly kind: "settled"; readonly tokens: readonly string[] }
  /** These do not count (any more). */
  | { readonly kind: "refused"; readonly tokens: readonly string[] }
  | { readonly kind: "heartbeat"; readonly position: number };

export type MemberRequest =
  | { readonly kind: "permits"; readonly count: number }
  /** `upTo`: a token; with it everything the member was given before it. Empty: nothing. */
  | { readonly kind: "ack"; readonly tokens: readonly string[]; readonly upTo: string }
  | {
      readonly kind: "nack";
      readonly tokens: readonly string[];
      /** Undefined: by the group's retry delays. */
      readonly delayMs: number | undefined;
      readonly reason: string;
    }
  | {
      readonly kind: "extend";
      readonly tokens: readonly string[];
      /** Undefined: the group's lease. */
      readonly leaseMs: number | undefined;
    }
  /** Not looked at: no attempts. The member gets nothing more until it asks with `permits`. */
  | { readonly kind: "release"; readonly tokens: readonly string[] }
  | { readonly kind: "park"; readonly tokens: readonly string[]; readonly reason: string };

export interface GroupMember {
  readonly leaseMs: number;
  /**
   * Pulled by the consumer until it leaves. Throws GROUP_NOT_FOUND where the group is deleted,
   * STOPPING, and what the log or the disk fails with; then the member is no member any more.
   */
  messages(): AsyncIterable<MemberMessage>;
  /** A promise where there is more to be told the member than it takes: wait for it. */
  handle(request: MemberRequest): Promise<void> | undefined;
  /** It says no more: what is in flight is taken back. The messages end with its last answer. */
  finish(): void;
  /** What is in flight is taken back. The messages end. */
  leave(): void;
}

export interface MemberWish {
  /** For people. */
  readonly name: string;
  readonly permits: number;
}

/** A parked event. */
export interface ParkedEvent {
  readonly position: number;
  readonly attempts: number;
  readonly reason: string;
  /** Microseconds since 1970, UTC. */
  readonly parkedAt: number;
  /** The `RecordedEvent` message; undefined: it is not in the log any more. */
  readonly record: Uint8Array | undefined;
}

export interface ParkedPage {
  readonly group: string;
  /** Only positions after this one. */
  readonly after: number;
  readonly limit: number;
  /** Bytes of records after which a page ends, with the one that goes beyond them. */
  readonly bytesMax: number;
}

/** Each throws GROUP_NOT_FOUND where it names a group that is not there. */
export interface GroupLog {
  /**
   * Throws GROUP_EXISTS, BEYOND_HEAD. The same settings and start again are a retry. A group that
   * is replaced hands its parked events and its replays over.
   */
  create(name: string, settings: GroupSettings, start: GroupStart): Promise<GroupInfo>;
  /** Throws INVALID_FIELD where the delays do not fit each other. */
  update(name: string, changes: GroupChanges): Promise<GroupInfo>;
  /** Whether there was one. */
  remove(name: string): Promise<boolean>;
  get(name: string, signal?: AbortSignal): Promise<GroupInfo>;
  /** The lag in events stops counting at `listedLagEventsMax`, and the members are not told. */
  list(page: GroupPage, signal?: AbortSignal): Promise<GroupInfo[]>;
  /** Throws BEYOND_HEAD. */
  reset(name: string, start: GroupStart): Promise<GroupInfo>;
  join(name: string, wish: MemberWish): Promise<GroupMember>;
  listParked(page: ParkedPage): Promise<ParkedEvent[]>;
  /** How many; `positions` empty: all, as far as there is room. */
  replayParked(name: string, positions: readonly number[]): Promise<number>;
  /** How many; `positions` empty: all. */
  discardParked(name: string, positions: readonly number[]): Promise<number>;
  /** As `CheckpointLog.waitFor`, of a group's position. */
  waitFor(name: string, position: number, timeoutMs: number, signal?: AbortSignal): Promise<number>;
}
