// Consumer groups in domain words: what the gRPC floor calls. See groups.ts for how they are made.

import type { GroupSettings } from "../domain/group-settings.ts";

/** Where a group begins; the position is exclusive, the time (microseconds) inclusive. */
export type GroupStart =
  | { readonly kind: "after-position"; readonly position: number }
  | { readonly kind: "from-time"; readonly time: number }
  | { readonly kind: "end" };

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
  /** 0: none is in flight. */
  readonly oldestInFlight: number;
  /** Microseconds since 1970, UTC. */
  readonly createdAt: number;
}

export const lagEventsMax = 1_000_000;

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
  /** `upTo`: everything delivered to the member up to this position too; 0: nothing. */
  | { readonly kind: "ack"; readonly tokens: readonly string[]; readonly upTo: number }
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
  /** What is in flight is taken back. The messages end. */
  leave(): void;
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
}

/** Each throws GROUP_NOT_FOUND where it names a group that is not there. */
export interface GroupLog {
  /** Throws GROUP_EXISTS, BEYOND_HEAD. The same settings and start again are a retry. */
  create(name: string, settings: GroupSettings, start: GroupStart): Promise<GroupInfo>;
  /** Throws OVERLOADED where too many edits concern events that are not settled. */
  update(name: string, settings: GroupSettings): Promise<GroupInfo>;
  /** What is not there is no error. */
  remove(name: string): Promise<void>;
  get(name: string, signal?: AbortSignal): Promise<GroupInfo>;
  list(page: GroupPage, signal?: AbortSignal): Promise<GroupInfo[]>;
  /** Throws BEYOND_HEAD. */
  reset(name: string, start: GroupStart): Promise<GroupInfo>;
  join(name: string, permits: number): Promise<GroupMember>;
  listParked(page: ParkedPage): Promise<ParkedEvent[]>;
  /** How many; `positions` empty: all, as far as there is room. */
  replayParked(name: string, positions: readonly number[]): Promise<number>;
  /** How many; `positions` empty: all. */
  discardParked(name: string, positions: readonly number[]): Promise<number>;
  /** As `CheckpointLog.waitFor`, of a group's position. */
  waitFor(name: string, position: number, timeoutMs: number, signal?: AbortSignal): Promise<number>;
}
