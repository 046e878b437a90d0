// An append and its outcomes. Expected outcomes are values; failures are thrown.

import type {
  BeyondHead,
  CheckpointBackwards,
  CheckpointConflict,
  CheckpointUpdate,
} from "./checkpoint.ts";
import type { EpochMismatch } from "./epoch.ts";
import type { NewEvent } from "./event.ts";
import type { Query } from "./query.ts";

/**
 * A requirement on a stream. A version is the number of events that the stream ever got; 0: none.
 */
export type Expected =
  | { readonly kind: "version"; readonly version: number }
  | { readonly kind: "exists" }
  | { readonly kind: "absent" };

export interface StreamExpectation {
  readonly stream: string;
  readonly expected: Expected;
}

/**
 * No event after the position `after` may match `query`. `after` is exclusive; 0 means any event.
 */
export interface AppendCondition {
  readonly query: Query;
  readonly after: number;
  /**
   * Up to and including this position it is already known that no event after `after` matches.
   * Absent: the condition was not looked up yet.
   */
  readonly nothingThrough?: number;
  /** True: `after` may be beyond the head. Then no event that exists so far counts. */
  readonly mayBeAhead?: boolean;
}

/**
 * Bytes of an event in memory besides its encoded bytes: its object, its names, the view of its
 * frame.
 */
export const eventObjectBytes = 640;

/** One atomic append. Every limit has been checked. */
export interface Append {
  /** Every other proposal has a kind. */
  readonly kind?: undefined;
  /**
   * At least one, unless there is a checkpoint. An event may have no stream. No id occurs twice.
   */
  readonly events: readonly NewEvent[];
  /** Each stream at most once. */
  readonly expectations: readonly StreamExpectation[];
  /** All must hold. */
  readonly conditions: readonly AppendCondition[];
  /** A consumer's position, to become durable with the events. Absent: none. */
  readonly checkpoint?: CheckpointUpdate | undefined;
  /** The epoch in which the conditions and the expected versions were read. Absent: not said. */
  readonly epoch?: string | undefined;
  /** What the append relies on is of another history. It is refused, unless it is a retry. */
  readonly mismatch?: EpochMismatch | undefined;
  /** Whether an event has a time of its own. Absent: none has. */
  readonly isTimed?: boolean;
  /** The caller's name, for the record. Empty or absent: callers are not authenticated. */
  readonly principal?: string;
  /** The trace that the append is part of, for the record. Empty or absent: none is recorded. */
  readonly traceParent?: string;
  /** Bytes of all bodies: the weight of the append in queues and commits. */
  readonly bytes: number;
}

/** The versions that one stream got in an append. Both bounds are inclusive. */
export interface AppendedStream {
  readonly stream: string;
  readonly firstVersion: number;
  readonly lastVersion: number;
}

/** The append was accepted. Once it is answered, it is durable. */
export interface Appended {
  readonly kind: "appended";
  /** 0: the append has no events. */
  readonly firstPosition: number;
  readonly lastPosition: number;
  /** In the order of each stream's first event; events without a stream are not listed. */
  readonly streams: readonly AppendedStream[];
  /** Of the last event: microseconds since 1970, UTC. */
  readonly recordedAt: number;
  /** The ids of all events, in order, where the store made one of them. Absent: it made none. */
  readonly ids?: readonly string[];
  /**
   * True: all ids were stored already. Nothing was stored, and the positions are the original ones.
   */
  readonly deduplicated: boolean;
}

export interface StreamConflict {
  readonly stream: string;
  readonly expected: Expected;
  readonly actualVersion: number;
  /** The stream was deleted and got no event since. */
  readonly deleted?: boolean;
}

/** `position` is the position of an event after `after` that matches the condition's query. */
export interface ConditionConflict {
  /** Which of the append's conditions it is, from 0. */
  readonly index: number;
  readonly position: number;
  readonly after: number;
}

/** All violations of the append's expectations and conditions. Nothing was stored. */
export interface Conflict {
  readonly kind: "conflict";
  readonly streams: readonly StreamConflict[];
  readonly conditions: readonly ConditionConflict[];
}

export type EventIdProblem = "other-content" | "other-stream" | "other-order" | "partly-recorded";

export interface EventIdMismatch {
  readonly id: string;
  readonly position: number;
  /** The stored event is in another stream than the proposed one. */
  readonly isElsewhere: boolean;
  readonly problem: EventIdProblem;
}

/** Ids are stored already, but not with this append's content or order. Nothing was stored. */
export interface EventIdConflict {
  readonly kind: "event-id-conflict";
  readonly events: readonly EventIdMismatch[];
}

/** A stream that the append writes to was deleted permanently. Nothing was stored. */
export interface Tombstoned {
  readonly kind: "tombstoned";
  readonly stream: string;
}

/** A time that another system recorded is before that of the event before. Nothing was stored. */
export interface TimeBackwards {
  readonly kind: "time-backwards";
  /** Which of the append's events has it. */
  readonly index: number;
  /** The time of the event before, in microseconds. */
  readonly newest: number;
}

export type Outcome =
  | Appended
  | Conflict
  | EventIdConflict
  | BeyondHead
  | EpochMismatch
  | Tombstoned
  | TimeBackwards
  | CheckpointBackwards
  | CheckpointConflict;
