// Failures of version 2 of the protocol: a status with one typed detail.

import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  AppendConsistencyViolationErrorDetailsSchema,
  AppendRecordSizeExceededErrorDetailsSchema,
  AppendTransactionSizeExceededErrorDetailsSchema,
  StreamAlreadyInAppendSessionErrorDetailsSchema,
  StreamDeletedErrorDetailsSchema,
  StreamRevisionConflictErrorDetailsSchema,
  StreamTombstonedErrorDetailsSchema,
} from "../../../gen/kurrentdb/protocol/v2/streams/errors/errors_pb.js";
import { StatusCode, StatusError } from "../../../grpc/transport/status.ts";

function typed<S extends DescMessage>(
  code: StatusCode,
  message: string,
  schema: S,
  detail: MessageInitShape<S>,
): StatusError {
  const details = [anyPack(schema, create(schema, detail))];
  return new StatusError(code, message, undefined, { details });
}

export function revisionConflict(stream: string, expected: bigint, actual: bigint): StatusError {
  const revisions = `Expected: ${expected}, actual: ${actual}.`;
  return typed(
    StatusCode.FAILED_PRECONDITION,
    `Append failed due to a revision conflict on stream '${stream}'. ${revisions}`,
    StreamRevisionConflictErrorDetailsSchema,
    { stream, expectedRevision: expected, actualRevision: actual },
  );
}

export function isTombstoned(stream: string): StatusError {
  const message = `Stream '${stream}' has been tombstoned.`;
  const { FAILED_PRECONDITION } = StatusCode;
  return typed(FAILED_PRECONDITION, message, StreamTombstonedErrorDetailsSchema, { stream });
}

export function isDeleted(stream: string): StatusError {
  const message = `Stream '${stream}' has been deleted.`;
  const { FAILED_PRECONDITION } = StatusCode;
  return typed(FAILED_PRECONDITION, message, StreamDeletedErrorDetailsSchema, { stream });
}

export function recordTooLarge(
  stream: string,
  recordId: string,
  size: number,
  maxSize: number,
): StatusError {
  return typed(
    StatusCode.INVALID_ARGUMENT,
    `The size of record ${recordId} (${size} bytes) exceeds the maximum of ${maxSize} bytes.`,
    AppendRecordSizeExceededErrorDetailsSchema,
    { stream, recordId, size, maxSize },
  );
}

export function transactionTooLarge(size: number, maxSize: number): StatusError {
  return typed(
    StatusCode.ABORTED,
    `The size of the append (${size} bytes) exceeds the maximum of ${maxSize} bytes.`,
    AppendTransactionSizeExceededErrorDetailsSchema,
    { size, maxSize },
  );
}

export function alreadyInSession(stream: string): StatusError {
  const message = `Stream '${stream}' is already part of the append session.`;
  return typed(StatusCode.ABORTED, message, StreamAlreadyInAppendSessionErrorDetailsSchema, {
    stream,
  });
}

export interface Violation {
  readonly checkIndex: number;
  readonly stream: string;
  readonly expected: bigint;
  readonly actual: bigint;
}

export function inconsistent(violations: readonly Violation[]): StatusError {
  return typed(
    StatusCode.FAILED_PRECONDITION,
    `Append failed due to ${violations.length} consistency violation(s).`,
    AppendConsistencyViolationErrorDetailsSchema,
    {
      violations: violations.map(({ checkIndex, stream, expected, actual }) => ({
        checkIndex,
        type: {
          case: "streamState" as const,
          value: { stream, expectedState: expected, actualState: actual },
        },
      })),
    },
  );
}
