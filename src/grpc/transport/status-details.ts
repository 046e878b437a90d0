// The typed details of a failure, packed as `Any`, `google.rpc.ErrorInfo` first. They travel in a
// trailer, which many clients limit to 8 KB. Lists are cut to a budget and say how much is missing.

import { randomBytes } from "node:crypto";
import { create, toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { anyPack, type Any } from "@bufbuild/protobuf/wkt";
import type {
  Conflict,
  EventIdConflict,
  EventIdMismatch,
  EventIdProblem,
  Expected,
  StreamConflict,
} from "../../domain/append.ts";
import type { Failure, FieldViolation, Reason } from "../../domain/errors.ts";
import { StreamState } from "../../gen/annals/v1/append_pb.js";
import {
  AppendConflictSchema,
  CorruptionDetailSchema,
  EventIdConflictSchema,
  EventIdMismatchSchema,
  EventIdProblem as WireProblem,
  StreamConflictSchema,
} from "../../gen/annals/v1/errors_pb.js";
import {
  BadRequest_FieldViolationSchema,
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.js";
import { fitting, shorten } from "./wire-text.ts";

const domain = "annals";

/**
 * The most bytes of a list in a detail. With the message twice and in base64, a status stays under
 * 8 KB.
 */
const listBytesMax = 3_600;
const textBytesMax = 320;

/** Reasons of the contract that are not failures of the domain. */
type TransportReason = "INTERNAL" | "UNIMPLEMENTED";

export function errorInfo(reason: Reason | TransportReason, metadata: Record<string, string>): Any {
  return anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain, metadata }));
}

/** Every detail of a failure. */
export function detailsOf(failure: Failure): Any[] {
  const info = (metadata: Record<string, string> = {}): Any => errorInfo(failure.reason, metadata);
  switch (failure.reason) {
    case "INVALID_FIELD":
      return [info(), badRequest(failure.violations)];
    case "APPEND_CONFLICT":
      return [info(), appendConflict(failure.conflict)];
    case "EVENT_ID_CONFLICT":
      return [info(), eventIdConflict(failure.conflict)];
    case "STREAM_NOT_FOUND":
    case "STREAM_TOMBSTONED":
      return [info({ stream: failure.stream })];
    case "SNAPSHOT_NOT_FOUND":
      return [info({ stream: failure.stream, kind: failure.kind })];
    case "SNAPSHOT_BEYOND_STREAM": {
      const { stream, version, streamVersion } = failure;
      const versions = { version: `${version}`, stream_version: `${streamVersion}` };
      return [info({ stream, ...versions })];
    }
    case "BEYOND_HEAD": {
      const { field, asked, head } = failure;
      return [info({ field, asked: `${asked}`, head: `${head}` })];
    }
    case "EPOCH_MISMATCH": {
      const { field, asked, askedEpoch, epoch, shared } = failure.mismatch;
      const known = shared !== undefined && { shared_through: `${shared}` };
      return [info({ field, asked: `${asked}`, asked_epoch: askedEpoch, epoch, ...known })];
    }
    case "CHECKPOINT_BACKWARDS": {
      const { consumer, asked, saved } = failure;
      return [info({ consumer, asked: `${asked}`, saved: `${saved}` })];
    }
    case "CHECKPOINT_CONFLICT": {
      const { consumer, saved } = failure;
      if (saved === undefined) return [info({ consumer })];
      return [info({ consumer, position: `${saved.position}`, source: saved.source })];
    }
    case "CHECKPOINT_NOT_FOUND":
      return [info({ consumer: failure.consumer })];
    case "GROUP_NOT_FOUND":
    case "GROUP_EXISTS":
      return [info({ group: failure.group })];
    case "COPY_DIVERGED":
      return [info({ position: `${failure.position}`, head: `${failure.head}` })];
    case "NOT_LEADER":
    case "COPY_INCOMPLETE":
      return [info({ leader: failure.leader })];
    case "GROUPS_ELSEWHERE":
      return [info({ server: failure.server })];
    case "OVERLOADED":
    case "DISK_FULL":
      return [info(), retryInfo(failure.retryAfterMs)];
    case "CORRUPTION": {
      const firstPosition = BigInt(failure.firstPosition);
      const lastPosition = BigInt(failure.lastPosition);
      const { stream } = failure;
      return [info(), packed(CorruptionDetailSchema, { firstPosition, lastPosition, stream })];
    }
    case "ANSWER_TOO_LARGE":
      return [info({ bytes: `${failure.bytes}`, bytes_max: `${failure.bytesMax}` })];
    case "UNAUTHENTICATED":
      return [info({ credential: failure.credential })];
    case "PERMISSION_DENIED": {
      const { principal, permission, scope } = failure;
      return [info({ principal: shorten(principal, textBytesMax), permission, scope })];
    }
    case "READ_OVERTAKEN":
    case "OUTCOME_UNKNOWN":
    case "RECOVERING":
    case "STOPPING":
    case "STORE_FAILED":
    case "DEADLINE_EXCEEDED":
    case "CANCELLED":
      return [info()];
  }
}

function packed<S extends DescMessage>(schema: S, fields: Parameters<typeof create<S>>[1]): Any {
  return anyPack(schema, create(schema, fields));
}

/** Bytes of one entry of a list, with its tag and length. */
function entryBytes<S extends DescMessage>(schema: S): (entry: MessageShape<S>) => number {
  return (entry) => toBinary(schema, entry).length + 3;
}

function badRequest(violations: readonly FieldViolation[]): Any {
  const all = violations.map(({ field, description }) => {
    const texts = {
      field: shorten(field, textBytesMax),
      description: shorten(description, textBytesMax),
    };
    return create(BadRequest_FieldViolationSchema, texts);
  });
  const bytesOf = entryBytes(BadRequest_FieldViolationSchema);
  return packed(BadRequestSchema, { fieldViolations: fitting(all, listBytesMax, bytesOf) });
}

function retryInfo(retryAfterMs: number): Any {
  const seconds = BigInt(Math.floor(retryAfterMs / 1_000));
  const nanos = Math.round((retryAfterMs % 1_000) * 1_000_000);
  return packed(RetryInfoSchema, { retryDelay: { seconds, nanos } });
}

/** The conditions fit as they are: `Limits.conditionsMax` of some 30 bytes. */
function appendConflict({ streams: conflicts, conditions: failed }: Conflict): Any {
  const all = conflicts.map((conflict) => create(StreamConflictSchema, streamConflict(conflict)));
  const streams = fitting(all, listBytesMax, entryBytes(StreamConflictSchema));
  const omittedCount = all.length - streams.length;
  const conditions = failed.map(({ index, position, after }) => {
    return { index, position: BigInt(position), after: BigInt(after) };
  });
  return packed(AppendConflictSchema, { streams, conditions, omittedCount });
}

function streamConflict({ stream, expected, actualVersion, deleted = false }: StreamConflict) {
  const actual = { actualVersion: BigInt(actualVersion), deleted };
  return { stream, expected: wireExpected(expected), ...actual };
}

function wireExpected(expected: Expected) {
  switch (expected.kind) {
    case "version":
      return { case: "expectedVersion" as const, value: BigInt(expected.version) };
    case "exists":
      return { case: "expectedState" as const, value: StreamState.EXISTS };
    case "absent":
      return { case: "expectedState" as const, value: StreamState.ABSENT };
  }
}

const problems: Readonly<Record<EventIdProblem, WireProblem>> = {
  "other-content": WireProblem.OTHER_CONTENT,
  "other-stream": WireProblem.OTHER_STREAM,
  "other-order": WireProblem.OTHER_ORDER,
  "partly-recorded": WireProblem.PARTLY_RECORDED,
};

function eventIdConflict({ events: mismatches }: EventIdConflict): Any {
  const all = mismatches.map(({ id, position, isElsewhere, problem }: EventIdMismatch) => {
    // The caller may have no right to know of the other stream.
    const told = isElsewhere ? 0 : position;
    const fields = { id, position: BigInt(told), problem: problems[problem] };
    return create(EventIdMismatchSchema, fields);
  });
  const events = fitting(all, listBytesMax, entryBytes(EventIdMismatchSchema));
  return packed(EventIdConflictSchema, { events, omittedCount: all.length - events.length });
}

// The id of a request that failed or was slow: in its status and in the log's line about it, so
// that a user's report leads to the line. Ids are made when they are needed; most calls have none.

/** Tells the ids of this process from those of others. */
const processId = randomBytes(5).toString("hex");
let count = 0;

export function newRequestId(): string {
  return `${processId}-${(++count).toString(36)}`;
}

/** The detail of a status that has the id. */
export function requestInfo(requestId: string): Any {
  return anyPack(RequestInfoSchema, create(RequestInfoSchema, { requestId }));
}
