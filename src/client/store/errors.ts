// The errors of the SDK: one class for each kind of failure that a caller can react to, told apart
// by `code`. They are made from the server's typed details, so that no code parses text.

import type { FieldViolation } from "../rpc/call-error.ts";
import { outlooks, type Outlook } from "./reasons.ts";

export interface ErrorContext extends Partial<Outlook> {
  readonly cause?: unknown;
}

/** The base class of all errors of this client. A signal's own reason is the only exception. */
export abstract class AnnalsError extends Error {
  abstract readonly code: string;
  /** Whether an append may be stored. Retrying it with the same ids tells. */
  mayHaveBeenStored: boolean;
  /**
   * The same call may succeed later without a change. The client has already retried it for as long
   * as it was allowed to.
   */
  readonly isTransient: boolean;

  constructor(message: string, context: ErrorContext = {}) {
    const { mayHaveBeenStored = false, isTransient = false, cause } = context;
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.mayHaveBeenStored = mayHaveBeenStored;
    this.isTransient = isTransient;
  }
}

/**
 * An expectation about a stream. A version is the number of events that the stream ever got, 0 for
 * none. `"exists"`: at least one event; `"absent"`: none; `"any"`: no expectation.
 */
export type Expect = number | "exists" | "absent" | "any";

export interface StreamConflict {
  readonly stream: string;
  readonly expected: Expect;
  /** 0: it has no events. */
  readonly actualVersion: number;
}

export interface ConditionConflict {
  /** Which of the append's conditions it is, from 0. */
  readonly index: number;
  /** The position of an event after `after` that matches the condition's query. */
  readonly position: number;
  readonly after: number;
}

/**
 * An expectation or a condition did not hold. Nothing was stored. Read again and decide again.
 */
export class ConflictError extends AnnalsError {
  readonly code = "CONFLICT";
  readonly streams: readonly StreamConflict[];
  readonly conditions: readonly ConditionConflict[];
  /** The number of violations that are not listed. */
  readonly omittedCount: number;

  constructor(
    message: string,
    found: Pick<ConflictError, "streams" | "conditions" | "omittedCount">,
    cause?: unknown,
  ) {
    super(message, { cause });
    this.streams = found.streams;
    this.conditions = found.conditions;
    this.omittedCount = found.omittedCount;
  }
}

export interface EventIdMismatch {
  readonly id: string;
  /** The position of the event that has the id. */
  readonly position: number;
  readonly problem:
    | "other-content"
    | "other-stream"
    | "other-order"
    | "partly-recorded"
    | "unknown";
}

/**
 * An event id is already stored, but not with this append's content or order. Nothing was stored.
 */
export class EventIdConflictError extends AnnalsError {
  readonly code = "EVENT_ID_CONFLICT";
  readonly events: readonly EventIdMismatch[];
  readonly omittedCount: number;

  constructor(
    message: string,
    found: Pick<EventIdConflictError, "events" | "omittedCount">,
    cause?: unknown,
  ) {
    super(message, { cause });
    this.events = found.events;
    this.omittedCount = found.omittedCount;
  }
}

/** A field is malformed or beyond a limit; nothing happened. */
export class InvalidArgumentError extends AnnalsError {
  readonly code = "INVALID_ARGUMENT";
  readonly violations: readonly FieldViolation[];

  constructor(message: string, violations: readonly FieldViolation[], cause?: unknown) {
    super(message, { cause });
    this.violations = violations;
  }
}

/** `INVALID_ARGUMENT` for one field, found by the client itself. */
export function invalidField(
  field: string,
  description: string,
  cause?: unknown,
): InvalidArgumentError {
  return new InvalidArgumentError(`${field} ${description}`, [{ field, description }], cause);
}

export class NotFoundError extends AnnalsError {
  readonly code = "NOT_FOUND";
}

/** A state of the store that a retry does not change. */
export class PreconditionError extends AnnalsError {
  readonly code = "FAILED_PRECONDITION";
  /** `SNAPSHOT_BEYOND_STREAM`, `STREAM_TOMBSTONED`, `CHECKPOINT_BACKWARDS` ... */
  readonly reason: string;

  constructor(message: string, reason: string, context: ErrorContext) {
    super(message, context);
    this.reason = reason;
  }
}

/** The server does not know who calls, or the caller may not do this. Nothing happened. */
export class AccessDeniedError extends AnnalsError {
  readonly code = "ACCESS_DENIED";
  readonly reason: "UNAUTHENTICATED" | "PERMISSION_DENIED";

  constructor(message: string, reason: AccessDeniedError["reason"], context: ErrorContext) {
    super(message, context);
    this.reason = reason;
  }
}

/**
 * A position or version that the store has not reached, so that it was not read from this store.
 */
export class BeyondHeadError extends AnnalsError {
  readonly code = "BEYOND_HEAD";
}

/**
 * What the request relies on was read in another history of the store, which was restored or lost
 * events since. Undo what came of events after `sharedThrough` and resume there in `epoch`, or
 * begin anew.
 */
export class EpochMismatchError extends AnnalsError {
  readonly code = "EPOCH_MISMATCH";
  /** The epoch that the request named. */
  readonly askedEpoch: string;
  /** The store's present epoch. */
  readonly epoch: string;
  /** The last position that both have in common. Undefined: the store does not know the epoch. */
  readonly sharedThrough: number | undefined;

  constructor(
    message: string,
    found: Pick<EpochMismatchError, "askedEpoch" | "epoch" | "sharedThrough">,
    cause?: unknown,
  ) {
    super(message, { cause });
    this.askedEpoch = found.askedEpoch;
    this.epoch = found.epoch;
    this.sharedThrough = found.sharedThrough;
  }
}

/** The address leads to another store than the one whose positions the client has. */
export class StoreReplacedError extends AnnalsError {
  readonly code = "STORE_REPLACED";
  readonly expectedStoreId: string;
  readonly actualStoreId: string;

  constructor(expectedStoreId: string, actualStoreId: string) {
    super(`the store was replaced: ${expectedStoreId} before, ${actualStoreId} now`);
    this.expectedStoreId = expectedStoreId;
    this.actualStoreId = actualStoreId;
  }
}

/** A limit or a queue was exceeded, on either side. Nothing was stored. */
export class ExhaustedError extends AnnalsError {
  readonly code = "EXHAUSTED";
  readonly reason: "OVERLOADED" | "DISK_FULL" | "ANSWER_TOO_LARGE" | "OTHER";
  /** The delay that the server asked for before the next attempt. */
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    reason: ExhaustedError["reason"],
    context: ErrorContext & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(message, context);
    this.reason = reason;
    this.retryAfterMs = context.retryAfterMs;
  }
}

/**
 * The server cannot be reached, is stopping or recovering, does not know the outcome of a write, or
 * has reclaimed events that a read still had to return.
 */
export class UnavailableError extends AnnalsError {
  readonly code = "UNAVAILABLE";
  readonly reason:
    | "UNREACHABLE"
    | "STOPPING"
    | "RECOVERING"
    | "OUTCOME_UNKNOWN"
    | "READ_OVERTAKEN"
    | "COPY_INCOMPLETE"
    | "GROUPS_ELSEWHERE"
    | "STORE_FAILED";

  constructor(message: string, reason: UnavailableError["reason"], context: ErrorContext = {}) {
    super(message, { ...outlooks[reason], ...context });
    this.reason = reason;
  }
}

/** The operation took longer than allowed. */
export class TimedOutError extends AnnalsError {
  readonly code = "TIMED_OUT";
}

/** Stored bytes failed their check and are not served. */
export class CorruptionError extends AnnalsError {
  readonly code = "CORRUPTION";
  /** 0: not known. */
  readonly firstPosition: number;
  readonly lastPosition: number;
  /** Empty: none, or not known. */
  readonly stream: string;

  constructor(
    message: string,
    where: Pick<CorruptionError, "firstPosition" | "lastPosition" | "stream">,
    cause?: unknown,
  ) {
    super(message, { cause });
    this.firstPosition = where.firstPosition;
    this.lastPosition = where.lastPosition;
    this.stream = where.stream;
  }
}

/** A recorded event that the application's codec does not accept. */
export class MalformedEventError extends AnnalsError {
  readonly code = "MALFORMED_EVENT";
  readonly position: number;
  readonly type: string;

  constructor(message: string, at: { position: number; type: string }, cause?: unknown) {
    super(message, { cause });
    this.position = at.position;
    this.type = at.type;
  }
}

/** A policy has removed events that a fold needs, so that its state would be wrong. */
export class MissingEventsError extends AnnalsError {
  readonly code = "MISSING_EVENTS";
  readonly stream: string;
  /** The last version known to be missing. */
  readonly version: number;

  constructor(stream: string, version: number, cause?: unknown) {
    const what = `a policy has removed events of stream ${JSON.stringify(stream)}`;
    super(`${what} up to version ${version}: what is left is not the whole`, { cause });
    this.stream = stream;
    this.version = version;
  }
}

/** A projection stopped at an event on which its handler fails. `cause` is the handler's error. */
export class PoisonEventError extends AnnalsError {
  readonly code = "POISON_EVENT";
  readonly position: number;
  readonly type: string;

  constructor(message: string, at: { position: number; type: string }, cause: unknown) {
    super(message, { cause });
    this.position = at.position;
    this.type = at.type;
  }
}

/** A settlement of a consumer group's delivery does not count, or may not. The message says why. */
export class LostDeliveryError extends AnnalsError {
  readonly code = "LOST_DELIVERY";
}

/** A fault of the server or of something in between, with its gRPC status. */
export class ServerError extends AnnalsError {
  readonly code = "SERVER";
  readonly status: string;

  constructor(message: string, status: string, context: ErrorContext) {
    super(message, context);
    this.status = status;
  }
}

/** All errors of this client. A `switch (error.code)` over this type is exhaustive. */
export type StoreError =
  | ConflictError
  | EventIdConflictError
  | InvalidArgumentError
  | NotFoundError
  | PreconditionError
  | AccessDeniedError
  | BeyondHeadError
  | EpochMismatchError
  | StoreReplacedError
  | ExhaustedError
  | UnavailableError
  | TimedOutError
  | CorruptionError
  | MalformedEventError
  | MissingEventsError
  | PoisonEventError
  | LostDeliveryError
  | ServerError;

export type StoreErrorCode = StoreError["code"];

export function isStoreError(error: unknown): error is StoreError {
  return error instanceof AnnalsError;
}
