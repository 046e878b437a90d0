// The typed error of a call: the contract's `google.rpc.Status` details, decoded once here, so that
// no code parses text. Used for a call's trailer and for a refused append of a pipe.

import { inspect, type InspectOptions } from "node:util";
import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import type { Metadata } from "@grpc/grpc-js";
import type { AppendFailure } from "../../gen/annals/v1/append_pb.js";
import {
  AppendConflictSchema,
  CorruptionDetailSchema,
  ErrorReason,
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
import { plainTlsProblem } from "./tls-problem.ts";

/** The names of `google.rpc.Code` that callers of Annals meet. */
const statusName = [
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS",
  "PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED",
  "INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED",
]
  .join(" ")
  .split(" ");

/** The reasons of the contract, as `ErrorInfo.reason` has them. */
export type ContractReason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

export interface FieldViolation {
  /** The field's path in the request: `events[3].tags[0]`. */
  readonly field: string;
  readonly description: string;
}

/** The failures that come with details. */
type DetailedFailure =
  | { readonly reason: "APPEND_CONFLICT"; readonly conflict: AppendConflict }
  | { readonly reason: "EVENT_ID_CONFLICT"; readonly conflict: EventIdConflict }
  | { readonly reason: "INVALID_FIELD"; readonly violations: readonly FieldViolation[] }
  | {
      readonly reason: "OVERLOADED" | "DISK_FULL";
      /** The delay before the next attempt, if the server sent one. */
      readonly retryAfterMs: number | undefined;
    }
  | { readonly reason: "CORRUPTION"; readonly detail: CorruptionDetail | undefined }
  | {
      readonly reason: "UNAUTHENTICATED";
      /** The token has expired, and the next call shows another one. */
      readonly isRenewable: boolean;
    }
  | {
      readonly reason: "EPOCH_MISMATCH";
      /** The epoch in the request, and the store's. */
      readonly askedEpoch: string;
      readonly epoch: string;
      /** The last position that both have in common. Undefined: the asked epoch is not known. */
      readonly sharedThrough: number | undefined;
    };

export type CallFailure =
  | DetailedFailure
  | { readonly reason: Exclude<ContractReason, DetailedFailure["reason"]> }
  | { readonly reason: OwnReason };

/**
 * Not from the server: there was no connection for the call, it broke during the call, the client's
 * time ran out, or something in between ended the call.
 */
type OwnReason = "NO_CONNECTION" | "UNREACHABLE" | "CUT_OFF" | "TIMED_OUT" | "NOT_SAID";

export type CallReason = CallFailure["reason"];

/** A call, or one append of a pipe, that failed. */
export class CallError extends Error {
  /** A `google.rpc.Code`. */
  readonly code: number;
  readonly failure: CallFailure;

  constructor(code: number, message: string, failure: CallFailure) {
    super(message);
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

  /**
   * One line if it is the cause of another error: that error has the same data in its fields, and
   * the stack only shows grpc-js.
   */
  [inspect.custom](depth: number, options: InspectOptions): string {
    const { code, failure, message, reason, stack, status } = this;
    const isItself = depth === options.depth && Number.isFinite(depth);
    if (!isItself) return `[CallError: ${status}, ${reason}: ${message}]`;
    return `${stack} ${inspect({ code, failure }, options)}`;
  }
}

/** The error of a call that grpc-js ended with `error`. Errors without a status pass through. */
export function callError(error: unknown, address: string, isTokenRenewed = false): unknown {
  if (!isServiceError(error)) return error;
  const { code, details: text } = error;
  if (code === unavailable && neverSent.test(text)) {
    const plain = plainTlsProblem(text);
    const [, why = plain] = lastError.exec(plain) ?? [];
    return new CallError(code, `no server at ${address}: ${why}`, { reason: "NO_CONNECTION" });
  }
  const failure = failureOf(code, detailsIn(error), isTokenRenewed);
  return new CallError(code, text || error.message, failure);
}

const unavailable = 14;
/** Messages of grpc-js for a call without a connection: nothing of it was sent. */
const neverSent = /^(?:No connection established|Name resolution failed)/;
/** Extracts the operating system's message from that of grpc-js. */
const lastError = /Last error: (?:Error: )?([^\n]*?)\.? ?(?:Resolution note|$)/;

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

function failureOf(code: number, details: readonly Any[], isTokenRenewed = false): CallFailure {
  const info = detail(details, ErrorInfoSchema);
  const reason = info?.domain === "annals" ? contractReason(info.reason) : undefined;
  switch (reason) {
    case "APPEND_CONFLICT": {
      const conflict = detail(details, AppendConflictSchema);
      return conflict === undefined ? { reason: "NOT_SAID" } : { reason, conflict };
    }
    case "EVENT_ID_CONFLICT": {
      const conflict = detail(details, EventIdConflictSchema);
      return conflict === undefined ? { reason: "NOT_SAID" } : { reason, conflict };
    }
    case "INVALID_FIELD":
      return { reason, violations: detail(details, BadRequestSchema)?.fieldViolations ?? [] };
    case "OVERLOADED":
    case "DISK_FULL": {
      const delay = detail(details, RetryInfoSchema)?.retryDelay;
      return { reason, retryAfterMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6 };
    }
    case "CORRUPTION":
      return { reason, detail: detail(details, CorruptionDetailSchema) };
    case "UNAUTHENTICATED": {
      const hasExpired = info?.metadata["credential"] === "expired";
      return { reason, isRenewable: isTokenRenewed && hasExpired };
    }
    case "EPOCH_MISMATCH": {
      const { asked_epoch: askedEpoch = "", epoch = "", shared_through } = info?.metadata ?? {};
      const sharedThrough = shared_through === undefined ? undefined : Number(shared_through);
      return { reason, askedEpoch, epoch, sharedThrough };
    }
    case undefined:
      return { reason: unsaid(statusName[code]) };
    default:
      return { reason };
  }
}

function contractReason(reason: string): ContractReason | undefined {
  const isKnown = Object.hasOwn(ErrorReason, reason) && reason !== "UNSPECIFIED";
  return isKnown && Number.isNaN(Number(reason)) ? (reason as ContractReason) : undefined;
}

/** The meaning of a status without a reason of the contract. */
function unsaid(status: string | undefined): OwnReason {
  switch (status) {
    case "UNAVAILABLE":
      return "UNREACHABLE";
    case "DEADLINE_EXCEEDED":
      return "TIMED_OUT";
    // grpc-js reports a stream that broke without a status like this. The client did not cancel it:
    // the signal's own reason takes precedence.
    case "CANCELLED":
    case "INTERNAL":
    case "UNKNOWN":
      return "CUT_OFF";
    default:
      return "NOT_SAID";
  }
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
      // A detail that does not decode is ignored; the code and the reason remain.
    }
  }
  return undefined;
}
