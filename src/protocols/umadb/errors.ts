// Failures as clients of this protocol read them: the trailer of details holds a bare
// `umadb.v1.ErrorResponse`, and clients go by its type.

import { create, toBinary } from "@bufbuild/protobuf";
import { AnnalsError } from "../../domain/errors.ts";
import {
  ErrorResponse_ErrorType as ErrorType,
  ErrorResponseSchema,
} from "../../gen/umadb/v1/umadb_pb.js";
import { StatusCode, StatusError, statusOf, type CallStatus } from "../../grpc/transport/status.ts";

/** What clients are told of any failure. */
export function umadbStatus(error: unknown): CallStatus {
  const { code, message } = statusOf(error);
  if (error instanceof StatusError && error.status.trailers !== undefined) return error.status;
  const type = typeOf(error, code);
  return type === undefined ? { code, message, details: [] } : typed(code, message, type);
}

/** Undefined: clients go by the status, which tells them to try again. */
function typeOf(error: unknown, code: StatusCode): ErrorType | undefined {
  if (error instanceof AnnalsError && error.reason === "CORRUPTION") return ErrorType.CORRUPTION;
  switch (code) {
    case StatusCode.UNAUTHENTICATED:
    case StatusCode.PERMISSION_DENIED:
      return ErrorType.AUTHENTICATION;
    case StatusCode.INVALID_ARGUMENT:
      return ErrorType.INVALID_ARGUMENT;
    case StatusCode.INTERNAL:
      return ErrorType.INTERNAL;
    default:
      return undefined;
  }
}

function typed(code: StatusCode, message: string, errorType: ErrorType): CallStatus {
  const response = create(ErrorResponseSchema, { message, errorType });
  const bytes = Buffer.from(toBinary(ErrorResponseSchema, response));
  const trailers = [["grpc-status-details-bin", bytes.toString("base64")]] as const;
  return { code, message, details: [], trailers };
}

function failure(code: StatusCode, message: string, errorType: ErrorType): StatusError {
  const { trailers = [] } = typed(code, message, errorType);
  return new StatusError(code, message, undefined, { trailers });
}

export function argumentRefused(message: string): StatusError {
  return failure(StatusCode.INVALID_ARGUMENT, message, ErrorType.INVALID_ARGUMENT);
}

/** The condition failed, or tracking does not increase. */
export function integrity(message: string): StatusError {
  return failure(StatusCode.FAILED_PRECONDITION, message, ErrorType.INTEGRITY);
}

/** This protocol's answer to an id that is no UUID. */
export function malformedId(id: string): StatusError {
  const message = `not a UUID: ${JSON.stringify(id.slice(0, 64))}`;
  return failure(StatusCode.DATA_LOSS, message, ErrorType.CORRUPTION);
}
