// Events as an application sees them: its own discriminated union, with what the store says of each
// beside it; and their form on the wire.

import { randomUUID } from "node:crypto";
import type { RecordedEvent as WireRecorded } from "../../gen/annals/v1/event_pb.js";
import { MalformedEventError } from "./errors.ts";
import { microsOf, safeInteger } from "./numbers.ts";

/** The least an application's events have: a type to tell them apart by, and maybe data. */
export interface EventShape {
  readonly type: string;
  readonly data?: unknown;
}

/** What may be said of a new event beside its type and data. */
export interface NewEventFacts {
  /** A UUID. Absent: made by the client, so that a retry is safe. */
  readonly id?: string | undefined;
  /** Absent: the append's stream. */
  readonly stream?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** An event to append. */
export type NewEvent<E extends EventShape> = E & NewEventFacts;

/** What the store says of an event. */
export interface RecordedFacts {
  readonly id: string;
  /** Empty: none. */
  readonly stream: string;
  /** In its stream, from 1; 0 without a stream. */
  readonly version: number;
  /** In the store, from 1. */
  readonly position: number;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType: string;
  /** The payload, byte for byte as it was appended. */
  readonly payload: Uint8Array;
  readonly recordedAt: Date;
  /** The same in full: microseconds since 1970, UTC. */
  readonly recordedAtMicros: number;
}

/** An event as it was recorded, before the application's codec has seen it. */
export interface RawEvent extends RecordedFacts {
  readonly type: string;
}

/** An event as it was recorded, in the application's terms. */
export type RecordedEvent<E extends EventShape> = E & RecordedFacts;

/** What a codec makes of an event's data. */
export interface EncodedPayload {
  /** Empty: there is no payload. */
  readonly payload: Uint8Array;
  readonly contentType: string;
  /** Tags that follow from the event itself. */
  readonly tags: readonly string[];
}

/** Between an application's events and their payloads. `defineEvents` makes one for JSON. */
export interface EventCodec<E extends EventShape> {
  encode(event: NewEvent<E>): EncodedPayload;
  /** Throws where it does not understand the event: it becomes a `MalformedEventError`. */
  decode(event: RawEvent): E;
  /** The types that recorded events may have which decode to one of these. */
  storedTypes(types: readonly string[]): readonly string[];
}

/** A `NewEvent` of the contract whose id is settled. */
export interface WireNewEvent {
  readonly id: string;
  readonly stream: string;
  readonly type: string;
  readonly tags: string[];
  readonly metadata: Record<string, string>;
  readonly contentType: string;
  readonly payload: { readonly case: "data"; readonly value: Uint8Array };
}

export function wireEvent<E extends EventShape>(
  event: NewEvent<E>,
  codec: EventCodec<E>,
): WireNewEvent {
  const { payload, contentType, tags } = codec.encode(event);
  return {
    id: event.id ?? newEventId(),
    stream: event.stream ?? "",
    type: event.type,
    tags: [...new Set([...(event.tags ?? []), ...tags])],
    metadata: { ...event.metadata },
    contentType,
    payload: { case: "data", value: payload },
  };
}

export function rawEvent(event: WireRecorded): RawEvent {
  const { id, stream, type, tags, metadata, contentType, data } = event;
  const recordedAtMicros = microsOf(event.recordedAt);
  return {
    type,
    id,
    stream,
    version: safeInteger(event.version),
    position: safeInteger(event.position),
    tags,
    metadata,
    contentType,
    // A copy: as a view it would keep the whole batch in memory for as long as the event is kept.
    payload: Buffer.from(data),
    recordedAt: new Date(Math.floor(recordedAtMicros / 1_000)),
    recordedAtMicros,
  };
}

/** Throws a `MalformedEventError` where the codec does not understand it. */
export function recordedEvent<E extends EventShape>(
  raw: RawEvent,
  codec: EventCodec<E>,
): RecordedEvent<E> {
  try {
    return { ...raw, ...codec.decode(raw) };
  } catch (error) {
    const { position, type, stream, version } = raw;
    const why = error instanceof Error ? error.message : String(error);
    const place = stream === "" ? "" : ` (${stream}@${version})`;
    const message = `the ${type} at position ${position}${place} is not understood: ${why}`;
    throw new MalformedEventError(message, { position, type }, error);
  }
}

const countMax = 0xfff;
let lastMs = 0;
let count = 0;

/**
 * A UUIDv7 (RFC 9562): 48 bits of time, 12 that count within a millisecond, 62 of chance. Made here
 * and not by the server, so that an append that is sent again is recognised. The ids of one process
 * rise, also where the clock does not.
 */
export function newEventId(nowMs = Date.now()): string {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    count = 0;
  } else if (++count > countMax) {
    lastMs += 1;
    count = 0;
  }
  const time = lastMs.toString(16).padStart(12, "0");
  const counted = count.toString(16).padStart(3, "0");
  // What follows the third dash of a random UUID is the variant and 62 random bits.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counted}-${randomUUID().slice(19)}`;
}
