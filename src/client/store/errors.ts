// What a call of the SDK fails with: one class for each thing a caller can do something about, told
// apart by `code`. Made from the server's typed details; nobody parses text.

import type { FieldViolation } from "../rpc/call-error.ts";
import { outlooks, type Outlook } from "./reasons.ts";

export interface ErrorContext extends Partial<Outlook> {
  readonly cause?: unknown;
}

/** Everything this client fails with, but for a signal's own reason. */
export abstract class AnnalsError extends Error {
  abstract readonly code: string;
  /**
   * Of an append: whether it may be in the store all the same. Sending the same ids again tells.
   */
  mayHaveBeenStored: boolean;
  /**
   * The same call may succeed in a moment, without anybody changing anything. The client has tried
   * it again already, for as long as it was given.
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
 * What a stream must be like for an append to be accepted. A version: the number of events the
 * stream ever got, 0 for none yet. `"exists"`: at least one event; `"absent"`: none; `"any"`:
 * nothing is expected.
 */
export type Expect = number | "exists" | "absent" | "any";

export interface StreamConflict {
  readonly stream: string;
  readonly expected: Expect;
  /** 0: it has no events. */
  readonly actualVersion: number;
}

export interface ConditionConflict {
  /** Of an event that matches the condition's query after `after`. */
  readonly position: number;
  readonly after: number;
}

/** An expectation or the condition did not hold; nothing was stored. Read again, decide again. */
export class ConflictError extends AnnalsError {
  readonly code = "CONFLICT";
  readonly streams: readonly StreamConflict[];
  readonly condition: ConditionConflict | undefined;
  /** Violations beyond those listed. */
  readonly omittedCount: number;

  constructor(
    message: string,
    found: Pick<ConflictError, "streams" | "condition" | "omittedCount">,
    cause?: unknown,
  ) {
    super(message, { cause });
    this.streams = found.streams;
    this.condition = found.condition;
    this.omittedCount = found.omittedCount;
  }
}

export interface EventIdMismatch {
  readonly id: string;
  /** Of the event that has the id. */
  readonly position: number;
  readonly problem:
    | "other-content"
    | "other-stream"
    | "other-order"
    | "partly-recorded"
    | "unknown";
}

/** An event id is there already, but not as this append would have it; nothing was stored. */
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

/** `INVALID_ARGUMENT` for one field, said by the client itself. */
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

/** A state of the store that trying again will not change. */
export class PreconditionError extends AnnalsError {
  readonly code = "FAILED_PRECONDITION";
  /** `SNAPSHOT_BEYOND_STREAM`, `STREAM_TOMBSTONED`, `CHECKPOINT_BACKWARDS` ... */
  readonly reason: string;

  constructor(message: string, reason: string, context: ErrorContext) {
    super(message, context);
    this.reason = reason;
  }
}

/** A position or version that this store has not reached: it was not read from this store. */
export class BeyondHeadError extends AnnalsError {
  readonly code = "BEYOND_HEAD";
}

/** Not the store whose positions the client holds: behind the address there is another one. */
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

/** There is too much of something, here or there; nothing was stored. */
export class ExhaustedError extends AnnalsError {
  readonly code = "EXHAUSTED";
  readonly reason: "OVERLOADED" | "DISK_FULL" | "ANSWER_TOO_LARGE" | "OTHER";
  /** What the server asked to wait before the next attempt. */
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
 * The server cannot be reached, is stopping or recovering, does not know how a write ended, or
 * removed for good what a read still had to give.
 */
export class UnavailableError extends AnnalsError {
  readonly code = "UNAVAILABLE";
  readonly reason:
    | "UNREACHABLE"
    | "STOPPING"
    | "RECOVERING"
    | "OUTCOME_UNKNOWN"
    | "READ_OVERTAKEN"
    | "STORE_FAILED";

  constructor(message: string, reason: UnavailableError["reason"], context: ErrorContext = {}) {
    super(message, { ...outlooks[reason], ...context });
    this.reason = reason;
  }
}

/** It took longer than was allowed. */
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

/** A recorded event that the application's own codec does not understand. */
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

/** A policy has removed events that a fold needs: folding what is left would give a wrong state. */
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

/** A projection stopped in front of an event it fails on; `cause` is what it failed with. */
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

/** What was said of a delivery of a consumer group does not count, or may not: see its message. */
export class LostDeliveryError extends AnnalsError {
  readonly code = "LOST_DELIVERY";
}

/** A fault of the server or of what lies between, with its gRPC status. */
export class ServerError extends AnnalsError {
  readonly code = "SERVER";
  readonly status: string;

  constructor(message: string, status: string, context: ErrorContext) {
    super(message, context);
    this.status = status;
  }
}

/** All of them: `switch (error.code)` over this is exhaustive. */
export type StoreError =
  | ConflictError
  | EventIdConflictError
  | InvalidArgumentError
  | NotFoundError
  | PreconditionError
  | BeyondHeadError
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
