// Converts a failed call to the SDK's error, and decides whether the call is worth retrying.

import { StreamState } from "../../gen/annals/v1/append_pb.js";
import {
  EventIdProblem,
  type AppendConflict,
  type EventIdConflict,
  type StreamConflict as WireStreamConflict,
} from "../../gen/annals/v1/errors_pb.js";
import { CallError } from "../rpc/call-error.ts";
import {
  AccessDeniedError,
  AnnalsError,
  BeyondHeadError,
  type ConditionConflict,
  ConflictError,
  EpochMismatchError,
  CorruptionError,
  type ErrorContext,
  EventIdConflictError,
  type EventIdMismatch,
  ExhaustedError,
  type Expect,
  InvalidArgumentError,
  NotFoundError,
  PreconditionError,
  ServerError,
  type StreamConflict,
  TimedOutError,
  UnavailableError,
} from "./errors.ts";
import { safeInteger } from "./numbers.ts";
import { outlooks } from "./reasons.ts";

/** The SDK's error for the failure of a low-level call. Other errors pass through. */
export function storeErrorOf(error: unknown): unknown {
  return error instanceof CallError ? fromCall(error) : error;
}

/** The failed call behind an SDK error. */
export function callErrorOf(error: unknown): CallError | undefined {
  if (error instanceof CallError) return error;
  return error instanceof AnnalsError && error.cause instanceof CallError ? error.cause : undefined;
}

function fromCall(error: CallError): AnnalsError {
  const { message, failure } = error;
  const context = { ...outlooks[failure.reason], cause: error };
  switch (failure.reason) {
    case "APPEND_CONFLICT":
      return new ConflictError(message, conflictOf(failure.conflict), error);
    case "EVENT_ID_CONFLICT":
      return new EventIdConflictError(message, idConflictOf(failure.conflict), error);
    case "INVALID_FIELD":
      return new InvalidArgumentError(message, failure.violations, error);
    case "OVERLOADED":
    case "DISK_FULL":
      return new ExhaustedError(message, failure.reason, {
        ...context,
        retryAfterMs: failure.retryAfterMs,
      });
    case "ANSWER_TOO_LARGE":
      return new ExhaustedError(message, failure.reason, context);
    case "CORRUPTION":
      return new CorruptionError(
        message,
        {
          firstPosition: safeInteger(failure.detail?.firstPosition ?? 0n),
          lastPosition: safeInteger(failure.detail?.lastPosition ?? 0n),
          stream: failure.detail?.stream ?? "",
        },
        error,
      );
    case "STREAM_NOT_FOUND":
    case "SNAPSHOT_NOT_FOUND":
    case "CHECKPOINT_NOT_FOUND":
    case "GROUP_NOT_FOUND":
      return new NotFoundError(message, context);
    case "SNAPSHOT_BEYOND_STREAM":
    case "STREAM_TOMBSTONED":
    case "CHECKPOINT_BACKWARDS":
    case "CHECKPOINT_CONFLICT":
    case "GROUP_EXISTS":
    case "COPY_DIVERGED":
    case "NOT_LEADER":
      return new PreconditionError(message, failure.reason, context);
    case "UNAUTHENTICATED": {
      const isTransient = failure.isRenewable;
      return new AccessDeniedError(message, failure.reason, { ...context, isTransient });
    }
    case "PERMISSION_DENIED":
      return new AccessDeniedError(message, failure.reason, context);
    case "BEYOND_HEAD":
      return new BeyondHeadError(message, context);
    case "EPOCH_MISMATCH":
      return new EpochMismatchError(message, failure, error);
    case "READ_OVERTAKEN":
    case "OUTCOME_UNKNOWN":
    case "RECOVERING":
    case "STOPPING":
    case "STORE_FAILED":
    case "COPY_INCOMPLETE":
    case "GROUPS_ELSEWHERE":
    case "UNREACHABLE":
      return new UnavailableError(message, failure.reason, context);
    case "NO_CONNECTION":
    case "CANCELLED":
      return new UnavailableError(message, "UNREACHABLE", context);
    case "TIMED_OUT":
    case "DEADLINE_EXCEEDED":
      return new TimedOutError(message, context);
    case "INTERNAL":
    case "UNIMPLEMENTED":
      return new ServerError(message, error.status, context);
    case "CUT_OFF":
    case "NOT_SAID":
      return withoutReason(error, context);
  }
}

function conflictOf({ streams, conditions: failed, omittedCount }: AppendConflict) {
  const conditions = failed.map(({ index, position, after }): ConditionConflict => ({
    index,
    position: safeInteger(position),
    after: safeInteger(after),
  }));
  const violations = streams.map(({ stream, expected, actualVersion }): StreamConflict => ({
    stream,
    expected: expectOf(expected),
    actualVersion: safeInteger(actualVersion),
  }));
  return { streams: violations, conditions, omittedCount };
}

function expectOf(expected: WireStreamConflict["expected"]): Expect {
  if (expected.case === undefined) return "any";
  if (expected.case === "expectedVersion") return Number(expected.value);
  switch (expected.value) {
    case StreamState.EXISTS:
      return "exists";
    case StreamState.ABSENT:
      return "absent";
    default:
      return "any";
  }
}

const problems: Readonly<Record<EventIdProblem, EventIdMismatch["problem"]>> = {
  [EventIdProblem.UNSPECIFIED]: "unknown",
  [EventIdProblem.OTHER_CONTENT]: "other-content",
  [EventIdProblem.OTHER_STREAM]: "other-stream",
  [EventIdProblem.OTHER_ORDER]: "other-order",
  [EventIdProblem.PARTLY_RECORDED]: "partly-recorded",
};

function idConflictOf({ events, omittedCount }: EventIdConflict) {
  const mismatches = events.map(({ id, position, problem }): EventIdMismatch => ({
    id,
    position: safeInteger(position),
    problem: problems[problem] ?? "unknown",
  }));
  return { events: mismatches, omittedCount };
}

/** The status is from a newer server, or from something in between: its code still counts. */
function withoutReason({ message, status }: CallError, context: ErrorContext): AnnalsError {
  switch (status) {
    case "NOT_FOUND":
      return new NotFoundError(message, context);
    case "FAILED_PRECONDITION":
      return new PreconditionError(message, status, context);
    case "INVALID_ARGUMENT":
      return new InvalidArgumentError(message, [], context.cause);
    case "RESOURCE_EXHAUSTED":
      return new ExhaustedError(message, "OTHER", context);
    case "CANCELLED":
      return new UnavailableError(message, "UNREACHABLE", context);
    case "UNAUTHENTICATED":
    case "PERMISSION_DENIED":
      return new AccessDeniedError(message, status, context);
    default:
      return new ServerError(message, status, context);
  }
}

/**
 * Whether the same request may succeed later. Sending it again is safe, because the client only
 * retries idempotent requests.
 */
export function isWorthRetrying(error: unknown): boolean {
  if (error instanceof CallError) {
    const { failure } = error;
    if (failure.reason === "UNAUTHENTICATED") return failure.isRenewable;
    return outlooks[failure.reason].isTransient;
  }
  return error instanceof AnnalsError && error.isTransient;
}
