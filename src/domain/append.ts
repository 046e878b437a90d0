// An append and what becomes of it. Expected outcomes are values; failures are thrown.

import type { BeyondHead, CheckpointBackwards, CheckpointUpdate } from "./checkpoint.ts";
import type { NewEvent } from "./event.ts";
import type { Query } from "./query.ts";

/** What a stream must be like. A version counts the events the stream ever got; 0: none yet. */
export type Expected =
  | { readonly kind: "version"; readonly version: number }
  | { readonly kind: "exists" }
  | { readonly kind: "absent" };

export interface StreamExpectation {
  readonly stream: string;
  readonly expected: Expected;
}

/** No event may match `query` after the position `after` (exclusive; 0: ever). */
export interface AppendCondition {
  readonly query: Query;
  readonly after: number;
  /**
   * What was looked up already: up to and including this position no event after `after` matches.
   * Absent: nothing was.
   */
  readonly nothingThrough?: number;
}

/** One atomic append, checked against every limit. */
export interface Append {
  /** At least one; every one with its stream settled. No id comes twice. */
  readonly events: readonly NewEvent[];
  /** Each stream at most once. */
  readonly expectations: readonly StreamExpectation[];
  readonly condition: AppendCondition | undefined;
  /** How far a consumer has got, durable with the events or not at all. Absent: nothing is said. */
  readonly checkpoint?: CheckpointUpdate | undefined;
  /** Bytes of all bodies: what the append weighs in queues and commits. */
  readonly bytes: number;
}

/** The versions one stream got, first and last inclusive. */
export interface AppendedStream {
  readonly stream: string;
  readonly firstVersion: number;
  readonly lastVersion: number;
}

/** The append is in the log (decided) and, once answered, durable. */
export interface Appended {
  readonly kind: "appended";
  readonly firstPosition: number;
  readonly lastPosition: number;
  /** In the order of each stream's first event; events without a stream are not listed. */
  readonly streams: readonly AppendedStream[];
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
  /** True: every id was there already; nothing was stored, positions are the original ones. */
  readonly deduplicated: boolean;
}

export interface StreamConflict {
  readonly stream: string;
  readonly expected: Expected;
  readonly actualVersion: number;
  /** The stream was deleted, and got no event since. */
  readonly deleted?: boolean;
}

/** `position` is that of an event that matches the condition's query after `after`. */
export interface ConditionConflict {
  readonly position: number;
  readonly after: number;
}

/** Every violation of the append's expectations and condition; nothing was stored. */
export interface Conflict {
  readonly kind: "conflict";
  readonly streams: readonly StreamConflict[];
  readonly condition: ConditionConflict | undefined;
}

export type EventIdProblem = "other-content" | "other-stream" | "other-order" | "partly-recorded";

export interface EventIdMismatch {
  readonly id: string;
  readonly position: number;
  readonly problem: EventIdProblem;
}

/** Ids are there, but not as this append would have them; nothing was stored. */
export interface EventIdConflict {
  readonly kind: "event-id-conflict";
  readonly events: readonly EventIdMismatch[];
}

/** A stream the append writes to was deleted for ever; nothing was stored. */
export interface Tombstoned {
  readonly kind: "tombstoned";
  readonly stream: string;
}

export type Outcome =
  | Appended
  | Conflict
  | EventIdConflict
  | BeyondHead
  | Tombstoned
  | CheckpointBackwards;
