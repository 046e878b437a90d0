// Events in an application: its own discriminated union with the store's data beside it, and their
// form on the wire.

import { randomUUID } from "node:crypto";
import type { RecordedEvent as WireRecorded } from "../../gen/annals/v1/event_pb.js";
import { MalformedEventError } from "./errors.ts";
import { microsOf, safeInteger } from "./numbers.ts";

/** The minimum of an application's events: a type to tell them apart, and possibly data. */
export interface EventShape {
  readonly type: string;
  readonly data?: unknown;
}

/** What a new event may have besides its type and data. */
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

/** What the store adds to an event. */
export interface RecordedFacts {
  readonly id: string;
  /** Empty: none. */
  readonly stream: string;
  /** The number in the stream, from 1. 0: there is no stream. */
  readonly version: number;
  /** The number in the store, from 1. */
  readonly position: number;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType: string;
  /** The payload's bytes, as they were appended. */
  readonly payload: Uint8Array;
  readonly recordedAt: Date;
  /** The full precision of `recordedAt`: microseconds since 1970, UTC. */
  readonly recordedAtMicros: number;
  /**
   * Who appended the event, as the server knew the caller. Empty: the server did not ask, or the
   * event is from the answer to an append, which does not say.
   */
  readonly principal: string;
  /**
   * The trace that the append was part of, if the server records it. Empty: none, or the event is
   * from the answer to an append. `traceLink` makes a link of it.
   */
  readonly traceParent: string;
}

/** A recorded event before it was decoded. */
export interface RawEvent extends RecordedFacts {
  readonly type: string;
}

/** A recorded event in the application's types. */
export type RecordedEvent<E extends EventShape> = E & RecordedFacts;

/** The encoded data of an event. */
export interface EncodedPayload {
  /** Empty: there is no payload. */
  readonly payload: Uint8Array;
  readonly contentType: string;
  /** Tags derived from the event. */
  readonly tags: readonly string[];
}

/**
 * Converts between an application's events and their payloads. `defineEvents` makes one for JSON.
 */
export interface EventCodec<E extends EventShape> {
  encode(event: NewEvent<E>): EncodedPayload;
  /** Throws if it does not accept the event, which becomes a `MalformedEventError`. */
  decode(event: RawEvent): E;
  /** The stored types whose events decode to one of these types. */
  storedTypes(types: readonly string[]): readonly string[];
}

/** A `NewEvent` of the contract with its id. */
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
    // A copy, because a view would keep the whole batch in memory.
    payload: Buffer.from(data),
    recordedAt: new Date(Math.floor(recordedAtMicros / 1_000)),
    recordedAtMicros,
    principal: event.principal,
    traceParent: event.traceParent,
  };
}

/** Throws a `MalformedEventError` if the codec does not accept it. */
export function recordedEvent<E extends EventShape>(
  raw: RawEvent,
  codec: EventCodec<E>,
): RecordedEvent<E> {
  return { ...raw, ...decoded(raw, codec) };
}

export function decoded<E extends EventShape>(raw: RawEvent, codec: EventCodec<E>): E {
  try {
    return codec.decode(raw);
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
 * A UUIDv7 (RFC 9562): 48 bits of time, a 12-bit counter within a millisecond, 62 random bits. Made
 * by the client, so that a retried append is recognised. The ids of one process increase even if
 * the clock does not.
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
  // After its third dash, a random UUID has the variant and 62 random bits.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counted}-${randomUUID().slice(19)}`;
}
