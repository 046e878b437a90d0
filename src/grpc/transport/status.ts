// Turns a failure into the status that the client sees: the one table from reason to gRPC code, and
// the `google.rpc.Status` with it. An error that is no AnnalsError is a fault of the server: the
// client sees only INTERNAL, and the server's log has everything.

import { create, toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { AnnalsError, type Reason } from "../../domain/errors.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { detailsOf, errorInfo } from "./status-details.ts";
import { shorten } from "./wire-text.ts";

/** The status codes of gRPC. Source: https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
export const StatusCode = Object.freeze({
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
});
export type StatusCode = (typeof StatusCode)[keyof typeof StatusCode];

const statusNames = new Map<number, string>(
  Object.entries(StatusCode).map(([name, code]) => [code, name]),
);

export function statusName(code: StatusCode): string {
  return statusNames.get(code) ?? `${code}`;
}

/** The reasons of the contract, with their codes: see `ErrorReason` in errors.proto. */
const codes: Readonly<Record<Reason, StatusCode>> = {
  INVALID_FIELD: StatusCode.INVALID_ARGUMENT,
  APPEND_CONFLICT: StatusCode.ABORTED,
  EVENT_ID_CONFLICT: StatusCode.ALREADY_EXISTS,
  STREAM_NOT_FOUND: StatusCode.NOT_FOUND,
  STREAM_TOMBSTONED: StatusCode.FAILED_PRECONDITION,
  SNAPSHOT_NOT_FOUND: StatusCode.NOT_FOUND,
  SNAPSHOT_BEYOND_STREAM: StatusCode.FAILED_PRECONDITION,
  BEYOND_HEAD: StatusCode.OUT_OF_RANGE,
  EPOCH_MISMATCH: StatusCode.FAILED_PRECONDITION,
  CHECKPOINT_BACKWARDS: StatusCode.FAILED_PRECONDITION,
  CHECKPOINT_CONFLICT: StatusCode.ABORTED,
  CHECKPOINT_NOT_FOUND: StatusCode.NOT_FOUND,
  GROUP_NOT_FOUND: StatusCode.NOT_FOUND,
  GROUP_EXISTS: StatusCode.ALREADY_EXISTS,
  COPY_DIVERGED: StatusCode.FAILED_PRECONDITION,
  NOT_LEADER: StatusCode.FAILED_PRECONDITION,
  COPY_INCOMPLETE: StatusCode.UNAVAILABLE,
  GROUPS_ELSEWHERE: StatusCode.UNAVAILABLE,
  OVERLOADED: StatusCode.RESOURCE_EXHAUSTED,
  DISK_FULL: StatusCode.RESOURCE_EXHAUSTED,
  READ_OVERTAKEN: StatusCode.UNAVAILABLE,
  OUTCOME_UNKNOWN: StatusCode.UNAVAILABLE,
  RECOVERING: StatusCode.UNAVAILABLE,
  STOPPING: StatusCode.UNAVAILABLE,
  CORRUPTION: StatusCode.DATA_LOSS,
  ANSWER_TOO_LARGE: StatusCode.RESOURCE_EXHAUSTED,
  STORE_FAILED: StatusCode.UNAVAILABLE,
  UNAUTHENTICATED: StatusCode.UNAUTHENTICATED,
  PERMISSION_DENIED: StatusCode.PERMISSION_DENIED,
  DEADLINE_EXCEEDED: StatusCode.DEADLINE_EXCEEDED,
  CANCELLED: StatusCode.CANCELLED,
};

/** Percent-encoding in `grpc-message` may triple the bytes. */
const messageBytesMax = 384;

/** The end of a call, or the answer to one append of a pipe. */
export interface CallStatus {
  readonly code: StatusCode;
  readonly message: string;
  /** `google.rpc.ErrorInfo` first. Empty only if the contract has no reason for the failure. */
  readonly details: Any[];
  /** Further trailers in ASCII, which other protocols use for details of a failure. */
  readonly trailers?: readonly (readonly [name: string, value: string])[];
  /** Over plain HTTP, where it is not that of the code. */
  readonly httpStatus?: number;
}

/** A status of health, reflection or the transport, not of the event store. */
export class StatusError extends Error {
  readonly status: CallStatus;

  constructor(
    code: StatusCode,
    message: string,
    reason?: "UNIMPLEMENTED",
    more: Pick<Partial<CallStatus>, "details" | "trailers" | "httpStatus"> = {},
  ) {
    super(message);
    this.name = "StatusError";
    const details = reason === undefined ? [] : [errorInfo(reason, {})];
    this.status = { code, message: shorten(message, messageBytesMax), details, ...more };
  }
}

/** The status of a thrown value. */
export function statusOf(error: unknown): CallStatus {
  if (error instanceof StatusError) return error.status;
  if (error instanceof AnnalsError) {
    const { failure, message } = error;
    const code = codes[failure.reason];
    return { code, message: shorten(message, messageBytesMax), details: detailsOf(failure) };
  }
  const message = "a fault of the server; its log says more";
  return { code: StatusCode.INTERNAL, message, details: [errorInfo("INTERNAL", {})] };
}

/** The log level of an error: faults as errors, mistakes of clients at the level debug. */
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

/** The header fields of a status, with details and message. They stay under 8 KB. */
export function statusFields({
  code,
  message,
  details,
  trailers = [],
}: CallStatus): [string, string][] {
  const fields: [string, string][] = [
    ["grpc-status", `${code}`],
    ["grpc-message", encodeURI(message)],
  ];
  for (const [name, value] of trailers) fields.push([name, value]);
  if (details.length > 0) {
    const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message, details }));
    fields.push(["grpc-status-details-bin", Buffer.from(bytes).toString("base64")]);
  }
  return fields;
}
