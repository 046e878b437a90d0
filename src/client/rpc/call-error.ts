// What a call fails with, typed: the `google.rpc.Status` details of the contract, decoded once here
// so that nobody parses text. The same error for a call's trailer and for a refused append of a
// pipe.

import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import type { Metadata } from "@grpc/grpc-js";
import type { AppendFailure } from "../../gen/annals/v1/append_pb.js";
import {
  AppendConflictSchema,
  CorruptionDetailSchema,
  EventIdConflictSchema,
  type AppendConflict,
  type CorruptionDetail,
  type EventIdConflict,
} from "../../gen/annals/v1/errors_pb.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";

/** `google.rpc.Code` by name, as far as a caller of Annals meets them. */
const statusName = [
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS",
  "PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED",
  "INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED",
]
  .join(" ")
  .split(" ");

/** Reasons of the contract that come without details of their own. */
const bareReasons = [
  "STREAM_NOT_FOUND",
  "SNAPSHOT_NOT_FOUND",
  "SNAPSHOT_BEYOND_STREAM",
  "BEYOND_HEAD",
  "CHECKPOINT_BACKWARDS",
  "CHECKPOINT_NOT_FOUND",
  "GROUP_NOT_FOUND",
  "GROUP_EXISTS",
  "STREAM_TOMBSTONED",
  "READ_OVERTAKEN",
  "OUTCOME_UNKNOWN",
  "RECOVERING",
  "STOPPING",
  "INTERNAL",
  "ANSWER_TOO_LARGE",
  "STORE_FAILED",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "UNIMPLEMENTED",
] as const;
type BareReason = (typeof bareReasons)[number];

export interface FieldViolation {
  /** The field's path in the request: `events[3].tags[0]`. */
  readonly field: string;
  readonly description: string;
}

/** What the server said about a failure. */
export type CallFailure =
  | { readonly reason: "APPEND_CONFLICT"; readonly conflict: AppendConflict }
  | { readonly reason: "EVENT_ID_CONFLICT"; readonly conflict: EventIdConflict }
  | { readonly reason: "INVALID_FIELD"; readonly violations: readonly FieldViolation[] }
  | {
      readonly reason: "OVERLOADED" | "DISK_FULL";
      /** How long to wait before trying again, where the server said so. */
      readonly retryAfterMs: number | undefined;
    }
  | { readonly reason: "CORRUPTION"; readonly detail: CorruptionDetail | undefined }
  | { readonly reason: BareReason }
  /**
   * Not the store's own words: the connection broke, the client gave up, or something in between.
   */
  | { readonly reason: "UNREACHABLE" | "TIMED_OUT" | "NOT_SAID" };

export type CallReason = CallFailure["reason"];

/** A call, or one append of a pipe, that did not succeed. */
export class CallError extends Error {
  /** A `google.rpc.Code`. */
  readonly code: number;
  readonly failure: CallFailure;

  constructor(code: number, message: string, failure: CallFailure, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "CallError";
    this.code = code;
    this.failure = failure;
  }

  get reason(): CallReason {
    return this.failure.reason;
  }

  get status(): string {
    return statusName[this.code] ?? String(this.code);
  }

  /** False where an append that failed with this certainly stored nothing. */
  get mayHaveBeenStored(): boolean {
    return outcomeOpen.has(this.reason);
  }

  /** Whether the same call may succeed later without anyone changing it. */
  get isTransient(): boolean {
    return transient.has(this.reason);
  }
}

const outcomeOpen = new Set<CallReason>([
  "OUTCOME_UNKNOWN",
  "UNREACHABLE",
  "TIMED_OUT",
  "STORE_FAILED",
  "INTERNAL",
  "NOT_SAID",
]);

const transient = new Set<CallReason>([
  "OVERLOADED",
  "DISK_FULL",
  "OUTCOME_UNKNOWN",
  "READ_OVERTAKEN",
  "RECOVERING",
  "STOPPING",
  "UNREACHABLE",
  "TIMED_OUT",
]);

/** The error of a call that grpc-js ended with `error`; what is no status is passed through. */
export function callError(error: unknown): unknown {
  if (!isServiceError(error)) return error;
  const message = error.details || error.message;
  return new CallError(error.code, message, failureOf(error.code, detailsIn(error)), error);
}

/** The error of a refused append of a pipe. */
export function appendFailure(failure: AppendFailure): CallError {
  const { code, message, details } = failure;
  return new CallError(code, message, failureOf(code, details));
}

interface ServiceError extends Error {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error && "details" in error;
}

function detailsIn(error: ServiceError): readonly Any[] {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Uint8Array)) return [];
  try {
    return fromBinary(StatusSchema, bytes).details;
  } catch {
    return [];
  }
}

function failureOf(code: number, details: readonly Any[]): CallFailure {
  const info = detail(details, ErrorInfoSchema);
  const reason = info?.domain === "annals" ? info.reason : undefined;
  const conflict = detail(details, AppendConflictSchema);
  const ids = detail(details, EventIdConflictSchema);
  if (reason === "APPEND_CONFLICT" && conflict !== undefined) return { reason, conflict };
  if (reason === "EVENT_ID_CONFLICT" && ids !== undefined) return { reason, conflict: ids };
  if (reason === "INVALID_FIELD") {
    return { reason, violations: detail(details, BadRequestSchema)?.fieldViolations ?? [] };
  }
  if (reason === "OVERLOADED" || reason === "DISK_FULL") {
    const delay = detail(details, RetryInfoSchema)?.retryDelay;
    const retryAfterMs = delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6;
    return { reason, retryAfterMs };
  }
  if (reason === "CORRUPTION") {
    return { reason, detail: detail(details, CorruptionDetailSchema) };
  }
  const bare = bareReasons.find((known) => known === reason);
  if (bare !== undefined) return { reason: bare };
  const name = statusName[code];
  if (name === "UNAVAILABLE") return { reason: "UNREACHABLE" };
  return { reason: name === "DEADLINE_EXCEEDED" ? "TIMED_OUT" : "NOT_SAID" };
}

function detail<Desc extends DescMessage>(
  details: readonly Any[],
  schema: Desc,
): MessageShape<Desc> | undefined {
  for (const any of details) {
    try {
      const message = anyUnpack(any, schema);
      if (message !== undefined) return message;
    } catch {
      // A detail that does not decode is as good as none: the code and the reason still stand.
    }
  }
  return undefined;
}
