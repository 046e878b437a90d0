// One atomic append: its options, request and result. Ids are made before the first attempt, so
// that every attempt sends the same request.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  StreamState,
  type AppendRequestSchema,
  type AppendResponse,
} from "../../gen/annals/v1/append_pb.js";
import { RecordedEventSchema } from "../../gen/annals/v1/event_pb.js";
import { wireCheckpoint, type CheckpointUpdate } from "./checkpoints.ts";
import { invalidField, type Expect } from "./errors.ts";
import {
  rawEvent,
  recordedEvent,
  wireEvent,
  type EventCodec,
  type EventShape,
  type NewEvent,
  type RecordedEvent,
  type WireNewEvent,
} from "./event.ts";
import { dateOf, safeInteger, wireInteger } from "./numbers.ts";
import { wireQuery, type Query } from "./selection.ts";

export interface StreamExpectation {
  readonly stream: string;
  readonly expect: Expect;
}

/** A dynamic consistency boundary: refused if an event matches `query` after `after`. */
export interface Condition {
  readonly query: Query;
  /**
   * A position, exclusive: `end.after` of the read on which the decision was made. Absent: all
   * events count.
   */
  readonly after?: number | undefined;
  /** True: `after` may be beyond the head. Then no event that is stored so far counts. */
  readonly mayBeAhead?: boolean | undefined;
}

/** The rules under which an append is accepted. All of them must hold. */
export interface AppendRules {
  /** The expectation about the append's stream. Absent: none. */
  readonly expect?: Expect | undefined;
  /** Expectations about further streams. */
  readonly expectations?: readonly StreamExpectation[] | undefined;
  /** One condition, or several that must all hold. */
  readonly condition?: Condition | readonly Condition[] | undefined;
  /** A consumer's progress, saved in the same commit as the events: both, or neither. */
  readonly checkpoint?: CheckpointUpdate | undefined;
  /**
   * The epoch in which the positions of conditions and the expected versions were read. What was
   * read in another history of the store is refused with an `EpochMismatchError`. Absent: not
   * checked.
   */
  readonly epoch?: string | undefined;
}

export interface Appended<E extends EventShape> {
  readonly firstPosition: number;
  readonly lastPosition: number;
  /**
   * The present version of the append's stream: the version to expect next. 0: there is no such
   * stream.
   */
  readonly version: number;
  /** Every stream that was written, in the order of its first event. */
  readonly streams: readonly {
    readonly stream: string;
    readonly firstVersion: number;
    readonly lastVersion: number;
  }[];
  readonly eventIds: readonly string[];
  /** The events were stored already; positions and versions are the original ones. */
  readonly deduplicated: boolean;
  readonly head: number;
  /** The epoch of these positions and versions. Empty: the server names none. */
  readonly epoch: string;
  readonly recordedAt: Date;
  /** The stored events as a read returns them, decoded on first access. */
  readonly events: readonly RecordedEvent<E>[];
}

/** A request whose ids are fixed. Sending it twice stores it once. */
export interface SettledAppend<E extends EventShape> {
  readonly request: MessageInitShape<typeof AppendRequestSchema> & {
    readonly events: WireNewEvent[];
  };
  readonly eventIds: readonly string[];
  /** Bytes of the payloads: the weight in a window. */
  readonly payloadBytes: number;
  readonly resultOf: (answer: AppendResponse) => Appended<E>;
}

export function settleAppend<E extends EventShape>(
  stream: string,
  events: readonly NewEvent<E>[],
  { expect, expectations = [], condition, checkpoint, epoch = "" }: AppendRules,
  codec: EventCodec<E>,
): SettledAppend<E> {
  const encoded = events.map((event, index) => encodedEvent(event, index, codec));
  if (expect !== undefined && stream === "") {
    throw invalidField("expect", "is of the append's stream, and there is none: `expectations`");
  }
  const eventIds = encoded.map(({ id }) => id.toLowerCase());
  return {
    request: {
      stream,
      events: encoded,
      ...(expect !== undefined && { expected: wireExpected(expect, "expect") }),
      expectations: expectations.map((expectation, index) => ({
        stream: expectation.stream,
        expected: wireExpected(expectation.expect, `expectations[${index}].expect`),
      })),
      conditions: [condition ?? []].flat().map(({ query, after = 0, mayBeAhead = false }) => ({
        query: wireQuery(query, "condition.query"),
        after: wireInteger(after, "condition.after"),
        mayBeAhead,
      })),
      ...(checkpoint !== undefined && { checkpoint: wireCheckpoint(checkpoint) }),
      epoch,
    },
    eventIds,
    resultOf: (answer) => {
      let decoded: readonly RecordedEvent<E>[] | undefined;
      return {
        ...placesOf(answer, stream),
        eventIds,
        get events() {
          return (decoded ??= recordedBy(answer, stream, encoded, codec));
        },
      };
    },
    payloadBytes: encoded.reduce((sum, { payload }) => sum + payload.value.length, 0),
  };
}

/** A value that JSON does not support is the event's fault; the error names it like a field. */
function encodedEvent<E extends EventShape>(
  event: NewEvent<E>,
  index: number,
  codec: EventCodec<E>,
): WireNewEvent {
  try {
    return wireEvent(event, codec);
  } catch (error) {
    const description = error instanceof Error ? error.message : String(error);
    throw invalidField(`events[${index}]`, `(${event.type}): ${description}`, error);
  }
}

function placesOf(answer: AppendResponse, stream: string) {
  const streams = answer.streams.map((written) => ({
    stream: written.stream,
    firstVersion: safeInteger(written.firstVersion),
    lastVersion: safeInteger(written.lastVersion),
  }));
  return {
    firstPosition: safeInteger(answer.firstPosition),
    lastPosition: safeInteger(answer.lastPosition),
    version: streams.find((written) => written.stream === stream)?.lastVersion ?? 0,
    streams,
    deduplicated: answer.deduplicated,
    head: safeInteger(answer.head),
    epoch: answer.epoch,
    recordedAt: dateOf(answer.recordedAt),
  };
}

/** The events of an append with the positions and versions in the answer. */
function recordedBy<E extends EventShape>(
  { firstPosition, lastPosition, streams, recordedAt }: AppendResponse,
  stream: string,
  events: readonly WireNewEvent[],
  codec: EventCodec<E>,
): readonly RecordedEvent<E>[] {
  if (events.length === 0) return [];
  if (lastPosition - firstPosition + 1n !== BigInt(events.length)) {
    throw new Error("these events were stored by several appends: read them");
  }
  const versions = new Map(streams.map((written) => [written.stream, written.firstVersion]));
  return events.map((event, index) => {
    const own = event.stream || stream;
    const version = versions.get(own) ?? 0n;
    if (own !== "") versions.set(own, version + 1n);
    const data = event.payload.value;
    const position = firstPosition + BigInt(index);
    const id = event.id.toLowerCase();
    const wire = { ...event, id, stream: own, data, version, position, recordedAt };
    return recordedEvent(rawEvent(create(RecordedEventSchema, wire)), codec);
  });
}

function wireExpected(expect: Expect, name: string) {
  switch (expect) {
    case "exists":
      return { case: "expectedState", value: StreamState.EXISTS } as const;
    case "absent":
      return { case: "expectedState", value: StreamState.ABSENT } as const;
    case "any":
      return { case: "expectedState", value: StreamState.ANY } as const;
    default:
      return { case: "expectedVersion", value: wireInteger(expect, name) } as const;
  }
}
