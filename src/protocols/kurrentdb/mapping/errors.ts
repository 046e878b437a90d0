// Failures as clients of this protocol parse them: statuses with texts and trailers.

import { AnnalsError } from "../../../domain/errors.ts";
import { shorten } from "../../../grpc/transport/wire-text.ts";
import {
  StatusCode,
  StatusError,
  statusOf,
  type CallStatus,
} from "../../../grpc/transport/status.ts";

/**
 * What clients are told of any failure. They take a typed detail that they do not know for a fault,
 * and decide by the code whether to connect anew.
 */
export function kurrentStatus(error: unknown): CallStatus {
  const { code, message, trailers, details } = statusOf(error);
  if (!(error instanceof AnnalsError))
    return { code, message, details, ...(trailers && { trailers }) };
  switch (error.failure.reason) {
    case "OVERLOADED":
      return { code: StatusCode.UNAVAILABLE, message: "Server Is Too Busy", details: [] };
    case "RECOVERING":
    case "STOPPING":
    case "STORE_FAILED":
      return { code: StatusCode.UNAVAILABLE, message: "Server Is Not Ready", details: [] };
    case "OUTCOME_UNKNOWN": {
      const timedOut = "Operation timed out: the append may or may not be stored";
      return { code: StatusCode.ABORTED, message: timedOut, details: [] };
    }
    default:
      return { code, message, details: [] };
  }
}

type Trailers = Readonly<Record<string, string>>;

function failure(code: StatusCode, message: string, exception: string, more: Trailers = {}) {
  const trailers = Object.entries({ exception, ...more }).map(
    ([name, value]) => [name, ascii(value)] as const,
  );
  return new StatusError(code, message, undefined, { trailers });
}

const trailerBytesMax = 1_024;

/** Trailers are ASCII: other characters are percent-encoded. */
function ascii(value: string): string {
  return shorten(value, trailerBytesMax).replaceAll(/[^\x20-\x7e]+/gu, encodeURIComponent);
}

export function invalidArgument(message: string): StatusError {
  return new StatusError(StatusCode.INVALID_ARGUMENT, message);
}

export function streamDeleted(stream: string): StatusError {
  const message = `Event stream '${stream}' is deleted.`;
  const { FAILED_PRECONDITION } = StatusCode;
  return failure(FAILED_PRECONDITION, message, "stream-deleted", { "stream-name": stream });
}

export function noProjections(): StatusError {
  return new StatusError(StatusCode.UNIMPLEMENTED, "there are no projections of users");
}

export function noScavenge(id: string): StatusError {
  const message = "Space is reclaimed all the time: there is no scavenge to stop.";
  return failure(StatusCode.NOT_FOUND, message, "scavenge-not-found", { "scavenge-id": id });
}

/** Settings of a persistent subscription that contradict each other: clients expect this code. */
export function settingsRefused(message: string): StatusError {
  return new StatusError(StatusCode.INTERNAL, message);
}

/** Numbers as clients parse them: -1 no stream, -2 any, -4 the stream exists. */
export function deleteConflict(stream: string, expected: bigint, actual: bigint): StatusError {
  const versions = `Expected version: ${expected}, Actual version: ${actual}`;
  return failure(
    StatusCode.FAILED_PRECONDITION,
    `Delete failed due to WrongExpectedVersion. Stream: ${stream}, ${versions}`,
    "wrong-expected-version",
    { "stream-name": stream, "expected-version": `${expected}`, "actual-version": `${actual}` },
  );
}

export function accessDenied(): StatusError {
  return failure(StatusCode.PERMISSION_DENIED, "Access Denied", "access-denied");
}

export function appendTooLarge(bytesMax: number): StatusError {
  return tooLarge(`Maximum Append Size of ${bytesMax} Exceeded.`, bytesMax);
}

/** Clients know an append that is too large by its bytes only. */
export function tooManyEvents(eventsMax: number, bytesMax: number): StatusError {
  return tooLarge(`a request has more than ${eventsMax} events`, bytesMax);
}

function tooLarge(message: string, bytesMax: number): StatusError {
  return failure(StatusCode.INVALID_ARGUMENT, message, "maximum-append-size-exceeded", {
    "maximum-append-size": `${bytesMax}`,
  });
}

export function missingProperty(): StatusError {
  return failure(
    StatusCode.INVALID_ARGUMENT,
    "Required Metadata Property is Missing",
    "missing-required-metadata-property",
    { "required-metadata-properties": "type,content-type" },
  );
}
const subscriptionKeys = (stream: string, group: string): Trailers => ({
  "stream-name": stream,
  "group-name": group,
});

export function subscriptionExists(stream: string, group: string): StatusError {
  return failure(
    StatusCode.ALREADY_EXISTS,
    `Subscription group ${group} on stream ${stream} exists.`,
    "persistent-subscription-exists",
    subscriptionKeys(stream, group),
  );
}

export function noSubscription(stream: string, group: string): StatusError {
  return failure(
    StatusCode.NOT_FOUND,
    `Subscription group ${group} on stream ${stream} does not exist.`,
    "persistent-subscription-does-not-exist",
    subscriptionKeys(stream, group),
  );
}

export function tooManySubscribers(stream: string, group: string): StatusError {
  return failure(
    StatusCode.FAILED_PRECONDITION,
    `Maximum subscriptions reached for subscription group ${group} on stream ${stream}.`,
    "maximum-subscribers-reached",
    subscriptionKeys(stream, group),
  );
}

export function subscriptionDropped(stream: string, group: string): StatusError {
  return failure(
    StatusCode.CANCELLED,
    `Subscription group ${group} on stream ${stream} was dropped.`,
    "persistent-subscription-dropped",
    subscriptionKeys(stream, group),
  );
}
