// The one error type between layers: a closed set of reasons, each with its data. Expected
// outcomes, such as a conflict, are values until the gRPC layer; failures are thrown as this error.
// The table from reason to gRPC status is in grpc/transport/status.ts.

import type {
  Conflict,
  EventIdConflict,
  StreamConflict,
  TimeBackwards,
  Tombstoned,
} from "./append.ts";
import type {
  AnyPosition,
  BeyondHead,
  CheckpointBackwards,
  CheckpointConflict,
} from "./checkpoint.ts";
import type { EpochMismatch } from "./epoch.ts";

export interface FieldViolation {
  /** The path of the field in the request, with the names of the contract: `events[3].tags[0]`. */
  readonly field: string;
  /** The fault, with the limit if one is exceeded. */
  readonly description: string;
}

export type Failure =
  | { readonly reason: "INVALID_FIELD"; readonly violations: readonly FieldViolation[] }
  | { readonly reason: "APPEND_CONFLICT"; readonly conflict: Conflict }
  | { readonly reason: "EVENT_ID_CONFLICT"; readonly conflict: EventIdConflict }
  | { readonly reason: "STREAM_NOT_FOUND"; readonly stream: string }
  | { readonly reason: "STREAM_TOMBSTONED"; readonly stream: string }
  | { readonly reason: "SNAPSHOT_NOT_FOUND"; readonly stream: string; readonly kind: string }
  | {
      readonly reason: "SNAPSHOT_BEYOND_STREAM";
      readonly stream: string;
      readonly version: number;
      readonly streamVersion: number;
    }
  | {
      readonly reason: "BEYOND_HEAD";
      readonly field: string;
      readonly asked: number;
      readonly head: number;
    }
  | { readonly reason: "EPOCH_MISMATCH"; readonly mismatch: EpochMismatch }
  | {
      readonly reason: "CHECKPOINT_BACKWARDS";
      readonly consumer: string;
      readonly asked: AnyPosition;
      /** The position that is saved. */
      readonly saved: AnyPosition;
    }
  | {
      readonly reason: "CHECKPOINT_CONFLICT";
      readonly consumer: string;
      readonly saved: CheckpointConflict["saved"];
    }
  | { readonly reason: "CHECKPOINT_NOT_FOUND"; readonly consumer: string }
  | { readonly reason: "GROUP_NOT_FOUND"; readonly group: string }
  | { readonly reason: "GROUP_EXISTS"; readonly group: string }
  | {
      readonly reason: "COPY_DIVERGED";
      /** The last position of the copy. */
      readonly position: number;
      readonly head: number;
    }
  | {
      readonly reason: "NOT_LEADER";
      /** Where the store is that is written to. */
      readonly leader: string;
    }
  | { readonly reason: "COPY_INCOMPLETE"; readonly leader: string }
  | {
      readonly reason: "GROUPS_ELSEWHERE";
      /** Where the server is that runs the groups. */
      readonly server: string;
    }
  | { readonly reason: "OVERLOADED"; readonly retryAfterMs: number }
  | { readonly reason: "DISK_FULL"; readonly retryAfterMs: number }
  | { readonly reason: "READ_OVERTAKEN" }
  | { readonly reason: "OUTCOME_UNKNOWN" }
  | { readonly reason: "RECOVERING" }
  | { readonly reason: "STOPPING" }
  | {
      readonly reason: "CORRUPTION";
      /** The first and last damaged position. 0: not known. */
      readonly firstPosition: number;
      readonly lastPosition: number;
      readonly stream: string;
    }
  | { readonly reason: "ANSWER_TOO_LARGE"; readonly bytes: number; readonly bytesMax: number }
  | { readonly reason: "STORE_FAILED" }
  | {
      readonly reason: "UNAUTHENTICATED";
      /** What is wrong with it: `missing`, `invalid`, `unknown`, `expired`, `revoked`. */
      readonly credential: string;
    }
  | {
      readonly reason: "PERMISSION_DENIED";
      readonly principal: string;
      /** What is missing: `read`, or `append or read`. */
      readonly permission: string;
      /** For which names, as in an access file; `*`: everything. */
      readonly scope: string;
    }
  | { readonly reason: "DEADLINE_EXCEEDED" }
  | { readonly reason: "CANCELLED" };

export type Reason = Failure["reason"];

/** Faults of ours or of the disk: an operator wants to know where they were met. */
const tracedReasons: ReadonlySet<Reason> = new Set([
  "CORRUPTION",
  "OUTCOME_UNKNOWN",
  "STORE_FAILED",
]);

export class AnnalsError extends Error {
  readonly failure: Failure;

  /** A refusal has no stack: it would cost more than the rest of most refusals. */
  constructor(failure: Failure, message: string, cause?: unknown) {
    const { stackTraceLimit } = Error;
    if (!tracedReasons.has(failure.reason)) Error.stackTraceLimit = 0;
    super(message, cause === undefined ? undefined : { cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.name = "AnnalsError";
    this.failure = failure;
  }

  get reason(): Reason {
    return this.failure.reason;
  }
}

/** INVALID_FIELD for one field. */
export function invalidField(field: string, description: string): AnnalsError {
  const violations = [{ field, description }];
  return new AnnalsError({ reason: "INVALID_FIELD", violations }, `${field}: ${description}`);
}

/** CORRUPTION of a range of positions. 0: not known. */
export function corruption(
  message: string,
  at: { first?: number; last?: number; stream?: string } = {},
  cause?: unknown,
): AnnalsError {
  const firstPosition = at.first ?? 0;
  const lastPosition = at.last ?? firstPosition;
  const failure = { reason: "CORRUPTION", firstPosition, lastPosition } as const;
  return new AnnalsError({ ...failure, stream: at.stream ?? "" }, message, cause);
}

/** The error for expectations and conditions that did not hold. */
export function appendConflict(conflict: Conflict): AnnalsError {
  const texts = conflict.streams.map(streamText);
  for (const { index, position, after } of conflict.conditions) {
    texts.push(`the event at position ${position} matches conditions[${index}] after ${after}`);
  }
  return new AnnalsError({ reason: "APPEND_CONFLICT", conflict }, texts.join("; "));
}

function streamText({ stream, expected, actualVersion, deleted }: StreamConflict): string {
  const wanted = expected.kind === "version" ? `version ${expected.version}` : expected.kind;
  const state = `${deleted === true ? "was deleted" : "is"} at version ${actualVersion}`;
  return `stream ${JSON.stringify(stream)} ${state}, expected ${wanted}`;
}

/** `field`: the time that another system recorded. */
export function timeBackwards(
  field: string,
  { newest }: Pick<TimeBackwards, "newest">,
): AnnalsError {
  const time = new Date(Math.floor(newest / 1_000)).toISOString().slice(0, 20);
  const micros = String(newest % 1_000_000).padStart(6, "0");
  return invalidField(field, `is before the time of the last event in the log, ${time}${micros}Z`);
}

export function streamTombstoned({ stream }: Pick<Tombstoned, "stream">): AnnalsError {
  const message = `stream ${JSON.stringify(stream)} was deleted for ever`;
  return new AnnalsError({ reason: "STREAM_TOMBSTONED", stream }, message);
}

export function streamNotFound(stream: string): AnnalsError {
  return new AnnalsError({ reason: "STREAM_NOT_FOUND", stream }, `no stream ${stream}`);
}

/** The error for a position that was not read from this store. */
export function beyondHead({ field, asked, head }: Omit<BeyondHead, "kind">): AnnalsError {
  const message = `${field}: ${asked} is beyond the head (${head}): not read from this store`;
  return new AnnalsError({ reason: "BEYOND_HEAD", field, asked, head }, message);
}

/** The error for a position that was read in another history of the store. */
export function epochMismatched(mismatch: EpochMismatch): AnnalsError {
  const { field, asked, askedEpoch, epoch, shared } = mismatch;
  const where = `${field}: ${asked} was read in epoch ${askedEpoch}`;
  const message =
    shared === undefined
      ? `${where}, which is not part of this store's history (now ${epoch}): begin anew`
      : `${where}, of which epoch ${epoch} has only the events up to position ${shared}: ` +
        `undo what came of later ones and resume after ${shared} in epoch ${epoch}, or begin anew`;
  return new AnnalsError({ reason: "EPOCH_MISMATCH", mismatch }, message);
}

export function checkpointBackwards(outcome: CheckpointBackwards): AnnalsError {
  const { consumer, asked, saved } = outcome;
  const name = JSON.stringify(consumer);
  const message = `consumer ${name} is at position ${saved}, asked for ${asked}`;
  return new AnnalsError({ reason: "CHECKPOINT_BACKWARDS", consumer, asked, saved }, message);
}

export function checkpointConflict({ consumer, saved }: CheckpointConflict): AnnalsError {
  const source = saved?.source ? ` of ${JSON.stringify(saved.source)}` : "";
  const found = saved === undefined ? "has no checkpoint" : `is at ${saved.position}${source}`;
  const message = `consumer ${JSON.stringify(consumer)} ${found}, which is not as expected`;
  return new AnnalsError({ reason: "CHECKPOINT_CONFLICT", consumer, saved }, message);
}

/**
 * Asserts what this code itself guarantees. A failure is a fault of the server, never of the
 * caller.
 */
export function invariant(condition: boolean, promise: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${promise}`);
}
