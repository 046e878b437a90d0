// From a failure to what the client sees: the one table from reason to gRPC status, and the
// `google.rpc.Status` that goes with it. What is not an AnnalsError is a fault of ours: the client
// is told nothing but INTERNAL, the server's log everything.

import { create, toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { Metadata, status as Code } from "@grpc/grpc-js";
import { AnnalsError, type Reason } from "../../domain/errors.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { detailsOf, errorInfo } from "./status-details.ts";
import { shorten } from "./wire-text.ts";

/** The reasons of the contract, with their codes: see `ErrorReason` in errors.proto. */
const codes: Readonly<Record<Reason, Code>> = {
  INVALID_FIELD: Code.INVALID_ARGUMENT,
  APPEND_CONFLICT: Code.ABORTED,
  EVENT_ID_CONFLICT: Code.ALREADY_EXISTS,
  STREAM_NOT_FOUND: Code.NOT_FOUND,
  STREAM_TOMBSTONED: Code.FAILED_PRECONDITION,
  SNAPSHOT_NOT_FOUND: Code.NOT_FOUND,
  SNAPSHOT_BEYOND_STREAM: Code.FAILED_PRECONDITION,
  BEYOND_HEAD: Code.OUT_OF_RANGE,
  CHECKPOINT_BACKWARDS: Code.FAILED_PRECONDITION,
  CHECKPOINT_NOT_FOUND: Code.NOT_FOUND,
  GROUP_NOT_FOUND: Code.NOT_FOUND,
  GROUP_EXISTS: Code.ALREADY_EXISTS,
  OVERLOADED: Code.RESOURCE_EXHAUSTED,
  DISK_FULL: Code.RESOURCE_EXHAUSTED,
  READ_OVERTAKEN: Code.UNAVAILABLE,
  OUTCOME_UNKNOWN: Code.UNAVAILABLE,
  RECOVERING: Code.UNAVAILABLE,
  STOPPING: Code.UNAVAILABLE,
  CORRUPTION: Code.DATA_LOSS,
  ANSWER_TOO_LARGE: Code.RESOURCE_EXHAUSTED,
  STORE_FAILED: Code.UNAVAILABLE,
  DEADLINE_EXCEEDED: Code.DEADLINE_EXCEEDED,
  CANCELLED: Code.CANCELLED,
};

/** What is percent-encoded in `grpc-message` may take three times as many bytes. */
const messageBytesMax = 384;

/** How a call, or one append of a pipe, ends. */
export interface CallStatus {
  readonly code: Code;
  readonly message: string;
  /** `google.rpc.ErrorInfo` first; empty only where the contract knows no reason. */
  readonly details: Any[];
}

/** A status that is not the event store's: of the health and reflection services, of the door. */
export class StatusError extends Error {
  readonly status: CallStatus;

  constructor(code: Code, message: string, reason?: "UNIMPLEMENTED") {
    super(message);
    this.name = "StatusError";
    const details = reason === undefined ? [] : [errorInfo(reason, {})];
    this.status = { code, message: shorten(message, messageBytesMax), details };
  }
}

/** The status of anything that was thrown. */
export function statusOf(error: unknown): CallStatus {
  if (error instanceof StatusError) return error.status;
  if (error instanceof AnnalsError) {
    const { failure, message } = error;
    const code = codes[failure.reason];
    return { code, message: shorten(message, messageBytesMax), details: detailsOf(failure) };
  }
  const message = "a fault of the server; its log says more";
  return { code: Code.INTERNAL, message, details: [errorInfo("INTERNAL", {})] };
}

/** How an error is to be logged: faults loudly, what clients do wrong only where asked for. */
export function severityOf(error: unknown): "error" | "warn" | "debug" {
  if (error instanceof StatusError) return "debug";
  if (!(error instanceof AnnalsError)) return "error";
  switch (error.reason) {
    case "CORRUPTION":
    case "STORE_FAILED":
      return "error";
    case "OUTCOME_UNKNOWN":
    case "DISK_FULL":
      return "warn";
    default:
      return "debug";
  }
}

/** The trailers of a status, under 8 KB together with their message. */
export function trailersOf(status: CallStatus): Metadata {
  const trailers = new Metadata();
  const { code, message, details } = status;
  if (details.length > 0) {
    const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message, details }));
    trailers.set("grpc-status-details-bin", Buffer.from(bytes));
  }
  return trailers;
}
