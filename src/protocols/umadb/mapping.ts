// Events of this protocol as events of the log, and back. The log's event has no stream and an id
// of the store's own. What the log has no field for is kept in metadata.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { NewEvent } from "../../domain/event.ts";
import { positionMax, type Limits } from "../../domain/limits.ts";
import { anyEvent, type Query, type QueryItem, type Selection } from "../../domain/query.ts";
import { recordsIn } from "../../domain/record.ts";
import { Effort, type Steps } from "../../domain/steps.ts";
import { varintBytes, wireBytes, WireReader, writeVarint } from "../../domain/wire.ts";
import { RecordedEventSchema } from "../../gen/annals/v1/event_pb.js";
import {
  ReadResponseSchema,
  SequencedEventSchema,
  type Event,
  type Query as WireQuery,
  type QueryItem as WireItem,
  type SequencedEvent,
  type TrackingInfo,
} from "../../gen/umadb/v1/umadb_pb.js";
import { checkCount, checkMetadata, checkOwnName, Violations } from "../../grpc/convert/checks.ts";
import { QueryRoom } from "../../grpc/convert/read-request.ts";
import type { CallEnvironment } from "../../grpc/transport/call-environment.ts";
import type { ServedLog } from "../../log/served-log.ts";
import type { Batch } from "../../log/verbs.ts";
import { argumentRefused, malformedId } from "./errors.ts";

/** What the handlers of the UmaDB protocol need. */
export interface UmadbContext {
  readonly log: ServedLog;
  readonly limits: Limits;
  readonly environment: Pick<CallEnvironment, "memory">;
}

/** The event's `uuid`, which may be empty or repeated. Every event of this protocol has the key. */
const uuidKey = "umadb-uuid";
/** The append's tracking: the position, a space, the source. */
const trackingKey = "umadb-tracking";

const uuidForms =
  /^(?:urn:uuid:)?\{?([\da-f]{8})-?([\da-f]{4})-?([\da-f]{4})-?([\da-f]{4})-?([\da-f]{12})\}?$/i;

/** The forms of the two entries. Clients of annals.v1 may write other texts: shown as they are. */
const uuidText = /^(?:[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})?$/;
const trackingText = /^(\d{1,20}) (.*)$/s;
const trackingMax = 2n ** 64n - 1n;

/** 36 characters in lower case, or "" if there is none. Throws DATA_LOSS. */
function uuidOf({ uuid }: Pick<Event, "uuid">): string {
  if (uuid === "") return "";
  const [, ...parts] = uuidForms.exec(uuid) ?? [];
  if (parts.length === 0) throw malformedId(uuid);
  return parts.join("-").toLowerCase();
}

/** An append that is read event by event. */
export interface SentEvents {
  readonly count: number;
  /** Makes the event with this index. */
  readonly at: (index: number) => Steps<Event>;
  readonly tracking: TrackingInfo | undefined;
}

/** The events, and the ids that the client gave them. */
interface EventsOfAppend {
  readonly events: NewEvent[];
  readonly uuids: string[];
}

/** What an event costs, a tag of it, and each of its bytes: see domain/steps.ts. */
const eventCost = 1_024;
const tagCost = 64;
const byteShare = 1 / 16;

/** Throws INVALID_ARGUMENT for what the log does not take. */
export function* newEventsInSteps(
  { count, at, tracking }: SentEvents,
  limits: Limits,
): Steps<EventsOfAppend> {
  const v = new Violations();
  checkCount(v, "events", count, "append_events_max", limits.appendEventsMax);
  v.throwIfAny();
  const events: NewEvent[] = [];
  const uuids: string[] = [];
  const effort = new Effort();
  let tagCount = 0;
  for (let i = 0; i < count; i++) {
    const event = yield* at(i);
    const uuid = uuidOf(event);
    tagCount += event.tags.length;
    checkCount(v, "events", tagCount, "append_tags_max", limits.appendTagsMax);
    const kept: [string, string][] = [[uuidKey, uuid]];
    if (tracking !== undefined) kept.push([trackingKey, `${tracking.position} ${tracking.source}`]);
    events.push(newEventOf(v, `events[${i}]`, event, { kept, limits }));
    uuids.push(uuid);
    const cost = eventCost + event.tags.length * tagCost + event.data.length * byteShare;
    if (effort.spend(cost)) yield effort.take();
  }
  v.throwIfAny();
  return { events, uuids };
}

interface Converting {
  /** Metadata that is kept beside the client's. */
  readonly kept: readonly Entry[];
  readonly limits: Limits;
}

function newEventOf(
  v: Violations,
  field: string,
  event: Event,
  { kept, limits }: Converting,
): NewEvent {
  const { eventType, data } = event;
  const type = checkOwnName(v, `${field}.event_type`, eventType, nameLimit(limits, "type"));
  checkCount(v, `${field}.tags`, event.tags.length, "tags_max", limits.tagsMax);
  const tags = [...new Set(event.tags)];
  for (const tag of tags) checkOwnName(v, `${field}.tags`, tag, nameLimit(limits, "tag"));
  const entries = [...entriesOf(v, field, event, limits), ...kept];
  const header = { id: "", stream: "", type, tags };
  const contentType = "application/octet-stream";
  const record = create(RecordedEventSchema, { ...header, contentType, data });
  const body = Buffer.concat([toBinary(RecordedEventSchema, record), ...entries.map(entryField)]);
  if (body.length > limits.eventBytesMax) {
    const limit = `event_bytes_max (${limits.eventBytesMax})`;
    v.add(field, `has ${body.length} bytes, more than ${limit}`);
  }
  return { ...header, idFromClient: false, body };
}

function nameLimit(limits: Limits, kind: "type" | "tag") {
  const bytesMax = kind === "type" ? limits.typeBytesMax : limits.tagBytesMax;
  return { name: `${kind}_bytes_max`, bytesMax };
}

type Entry = readonly [key: string, value: string];

function entriesOf(
  v: Violations,
  field: string,
  { metadata: entries }: Event,
  limits: Limits,
): Entry[] {
  const metadata = new Map<string, string>();
  for (const { key, value } of entries) {
    if (metadata.has(key)) v.add(`${field}.metadata`, `has the key ${JSON.stringify(key)} twice`);
    if (key === uuidKey || key === trackingKey) {
      v.add(`${field}.metadata`, `may not have the key ${key}, which Annals sets`);
    }
    metadata.set(key, value);
  }
  checkMetadata(v, `${field}.metadata`, Object.fromEntries(metadata), limits);
  return [...metadata];
}

const tagMetadata = 0x2a;

/** An entry of `RecordedEvent.metadata`. Written here: an object does not keep the order. */
function entryField([key, value]: Entry): Buffer {
  const parts = [
    [0x0a, Buffer.from(key)],
    [0x12, Buffer.from(value)],
  ] as const;
  const entry = Buffer.concat(parts.map(([tag, text]) => delimited(tag, text)));
  return delimited(tagMetadata, entry);
}

function delimited(tag: number, bytes: Uint8Array): Buffer {
  const into = Buffer.allocUnsafe(1 + varintBytes(bytes.length) + bytes.length);
  into[0] = tag;
  into.set(bytes, writeVarint(into, 1, bytes.length));
  return into;
}

/** The metadata of a record, in the order in which it was sent. */
function entriesIn(record: Uint8Array): Entry[] {
  const entries: Entry[] = [];
  const reader = new WireReader(record);
  while (!reader.done) {
    const tag = reader.varint();
    if (tag !== tagMetadata) {
      reader.passOver(tag & 7);
      continue;
    }
    const entry = new WireReader(reader.view());
    let [key, value] = ["", ""];
    while (!entry.done) {
      const isKey = entry.varint() === 0x0a;
      const text = Buffer.from(entry.view()).toString();
      if (isKey) key = text;
      else value = text;
    }
    entries.push([key, value]);
  }
  return entries;
}

/** A record as clients of this protocol see it, whichever client appended it. */
export function sequencedOf(record: Uint8Array): SequencedEvent {
  const { id, type, tags, data, position } = fromBinary(RecordedEventSchema, record);
  let uuid = id;
  let trackingInfo: { source: string; position: bigint } | undefined;
  const metadata: { key: string; value: string }[] = [];
  for (const [key, value] of entriesIn(record)) {
    const tracked = key === trackingKey ? trackingIn(value) : undefined;
    if (tracked !== undefined) trackingInfo = tracked;
    else if (key === uuidKey && uuidText.test(value)) uuid = value;
    else metadata.push({ key, value });
  }
  const event = { eventType: type, tags, data, uuid, metadata };
  return create(SequencedEventSchema, { position, event, ...(trackingInfo && { trackingInfo }) });
}

/** The event as a field of an answer, which is the same in all of them. */
export function sequencedField(event: SequencedEvent): Buffer {
  return delimited(tagEvents, toBinary(SequencedEventSchema, event));
}

const tagEvents = ReadResponseSchema.field.events.number * 8 + wireBytes;

function trackingIn(text: string): { source: string; position: bigint } | undefined {
  const [, digits, source] = trackingText.exec(text) ?? [];
  if (digits === undefined || source === undefined) return undefined;
  const position = BigInt(digits);
  return position > trackingMax ? undefined : { source, position };
}

export function* batchRecords({ frames }: Batch): Generator<Uint8Array> {
  for (const frame of frames) yield* recordsIn(frame);
}

/**
 * The query as the log's. Undefined: it can match no event. A type or tag that is empty is looked
 * for literally, and no event has one.
 */
export function umadbQuery(wire: WireQuery | undefined, limits: Limits): Query | undefined {
  const asked = wire?.items ?? [];
  const items = asked.flatMap((item) => itemOf(item) ?? []);
  if (asked.length > 0 && items.length === 0) return undefined;
  const v = new Violations();
  new QueryRoom(limits).take(v, "query", { items });
  v.throwIfAny();
  return { items };
}

function itemOf({ types, tags }: WireItem): QueryItem | undefined {
  const named = types.filter((type) => type !== "");
  if (types.length > 0 && named.length === 0) return undefined;
  if (tags.includes("")) return undefined;
  return { ...anyEvent, types: [...new Set(named)], tags: [...new Set(tags)] };
}

/** A query without items selects everything, except what the system itself records. */
export function umadbSelection(query: Query): Selection {
  return query.items.length === 0 ? { kind: "all" } : { kind: "query", query };
}

/** A position in the range of the log's numbers. */
export function boundedPosition(position: bigint): number {
  return position > BigInt(positionMax) ? positionMax : Number(position);
}

const sourceBytesMax = 255;

/** The consumer under whose name the tracking of a source is kept. Throws INVALID_ARGUMENT. */
export function trackingConsumer(source: string): string {
  if (Buffer.byteLength(source) > sourceBytesMax) {
    throw argumentRefused(`source: has more than ${sourceBytesMax} bytes`);
  }
  if (source.includes("\0")) throw argumentRefused("source: has a character U+0000");
  return `umadb:${source}`;
}
