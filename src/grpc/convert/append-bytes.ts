// The fast path of an append: one walk over the request's bytes. If an event only has known fields,
// each scalar once and all within limits, its bytes become the beginning of the record unchanged,
// and only missing fields (stream, content type) are added after them.
//
//   body = the client's NewEvent bytes, [0x12 stream], [0x32 content type]
//
// The bytes are not copied here: what is missing is kept beside them, once for all events that miss
// the same.
//
// The client's bytes are untrusted and will be served to other clients. A request that is not
// plainly valid takes the generated path (append-message.ts), which refuses it by name or converts
// it. A test proves that both paths give the same result.

import type { Append, AppendCondition, Expected, StreamExpectation } from "../../domain/append.ts";
import { isEpochId } from "../../domain/epoch.ts";
import { AnnalsError } from "../../domain/errors.ts";
import type { NewEvent } from "../../domain/event.ts";
import type { Limits } from "../../domain/limits.ts";
import { atOnce, stepBytes, type Steps } from "../../domain/steps.ts";
import { varintBytes, WireReader, writeVarint } from "../../domain/wire.ts";
import {
  AppendConditionSchema,
  AppendRequestSchema,
  StreamExpectationSchema,
  StreamState,
  type AppendCondition as WireCondition,
} from "../../gen/annals/v1/append_pb.js";
import { NewEventSchema } from "../../gen/annals/v1/event_pb.js";
import { decodeInSteps, decodeRequest, splitRequest } from "../transport/decode.ts";
import {
  convertConditions,
  convertExpectations,
  convertInSteps,
  type Conversion,
  type SentEvent,
} from "./append-message.ts";
import { defaultContentType, Violations } from "./checks.ts";
import { plainConditions } from "./plain-conditions.ts";
import {
  asciiIn,
  dollar,
  leave,
  nameIn,
  NotPlain,
  passPrintableAscii,
  passText,
  uuidIn,
} from "./plain-fields.ts";

/** An append from its request bytes. Throws INVALID_FIELD with every violation. */
export function appendFromBytes(bytes: Buffer, conversion: Conversion): Append {
  return atOnce(appendInSteps(bytes, conversion));
}

export function* appendInSteps(bytes: Buffer, conversion: Conversion): Steps<Append> {
  return (yield* readIfPlain(bytes, conversion)) ?? (yield* convertParts(bytes, conversion));
}

/** Undefined: the generated path has to convert the request. Does not throw for any bytes. */
export function appendIfPlain(bytes: Buffer, conversion: Conversion): Append | undefined {
  return atOnce(readIfPlain(bytes, conversion));
}

/** The generated path: the events are decoded one by one. */
function* convertParts(bytes: Buffer, conversion: Conversion): Steps<Append> {
  const { rest, entries, decode } = splitRequest(AppendRequestSchema, "events", bytes);
  const eventAt = function* (i: number): Steps<SentEvent> {
    const entry = entries[i] as Uint8Array;
    const event = yield* decode(NewEventSchema, entry, i, { readUnknownFields: true });
    return { event, wireBytes: entry.length };
  };
  return yield* convertInSteps(rest, entries.length, eventAt, conversion);
}

/** What an event costs until it is read, and each byte of it. */
const eventBytes = 128;
const byteShare = 1 / 64;

function* readIfPlain(bytes: Buffer, conversion: Conversion): Steps<Append | undefined> {
  const { limits } = conversion;
  try {
    const parts = readParts(new WireReader(bytes), limits);
    const { spans, stream, expected, epoch } = parts;
    const events: NewEvent[] = [];
    const counting: Counting = { limits, metadataCount: 0, defaultStream: stream, ends: [] };
    let [bodyBytes, wireBytes, tagCount, spentBytes] = [0, 0, 0, 0];
    for (let i = 0; i < spans.length; i += 2) {
      const start = spans[i] as number;
      const end = spans[i + 1] as number;
      wireBytes += end - start;
      const event = readEvent(bytes, start, end, counting);
      bodyBytes += event.body.length + (event.bodyEnd?.length ?? 0);
      tagCount += event.tags.length;
      events.push(event);
      spentBytes += eventBytes + (end - start) * byteShare;
      if (spentBytes < stepBytes) continue;
      yield spentBytes;
      spentBytes = 0;
    }
    const isTooLarge = wireBytes > limits.appendBytesMax || tagCount > limits.appendTagsMax;
    if (events.length === 0 || isTooLarge || (events.length > 1 && hasTwins(events))) leave();
    if (parts.expectsOfStream && stream === "") leave();
    const own = expected === undefined ? [] : [{ stream, expected }];
    return {
      events,
      expectations: parts.expectations.length === 0 ? own : [...own, ...othersOf(parts, limits)],
      conditions: parts.conditions.length === 0 ? noConditions : yield* conditionsOf(parts, limits),
      bytes: bodyBytes,
      epoch,
    };
  } catch (error) {
    const isNotPlain = [NotPlain, RangeError, AnnalsError].some((kind) => error instanceof kind);
    if (isNotPlain) return undefined;
    throw error;
  }
}

interface Parts {
  stream: string;
  expected: Expected | undefined;
  expectsOfStream: boolean;
  /** The offsets of each event's beginning and end, in pairs. */
  readonly spans: number[];
  readonly expectations: Uint8Array[];
  readonly conditions: Uint8Array[];
  epoch: string | undefined;
}

/** The fields of `AppendRequest`: events as pairs of offsets, other fields decoded. */
function readParts(reader: WireReader, limits: Limits): Parts {
  const parts: Parts = {
    stream: "",
    expected: undefined,
    expectsOfStream: false,
    spans: [],
    expectations: [],
    conditions: [],
    epoch: undefined,
  };
  while (reader.offset < reader.end) {
    switch (reader.bytes[reader.offset++]) {
      case 0x0a:
        if (parts.stream !== "") leave();
        parts.stream = nameIn(reader, limits.streamNameBytesMax);
        break;
      case 0x12: {
        const end = reader.lengthEnd();
        parts.spans.push(reader.offset, end);
        reader.offset = end;
        if (parts.spans.length > 2 * limits.appendEventsMax) leave();
        break;
      }
      case 0x18:
        if (parts.expectsOfStream) leave();
        parts.expectsOfStream = true;
        parts.expected = { kind: "version", version: reader.varint() };
        break;
      case 0x20:
        if (parts.expectsOfStream) leave();
        parts.expected = stateOf(reader.varint());
        parts.expectsOfStream = parts.expected !== undefined;
        break;
      case 0x2a:
        parts.expectations.push(reader.view());
        if (parts.expectations.length > limits.expectationsMax) leave();
        break;
      case 0x32:
        parts.conditions.push(reader.view());
        if (parts.conditions.length > limits.conditionsMax) leave();
        break;
      case 0x42:
        if (parts.epoch !== undefined) leave();
        parts.epoch = epochIn(reader);
        break;
      default:
        leave();
    }
  }
  return parts;
}

function epochIn(reader: WireReader): string {
  const end = reader.lengthEnd();
  const epoch = asciiIn(reader.bytes, reader.offset, end);
  if (!isEpochId(epoch)) leave();
  reader.offset = end;
  return epoch;
}

function stateOf(state: number): Expected | undefined {
  switch (state as StreamState) {
    case StreamState.EXISTS:
      return { kind: "exists" };
    case StreamState.ABSENT:
      return { kind: "absent" };
    case StreamState.ANY:
    case StreamState.UNSPECIFIED:
      return undefined;
    default:
      return leave();
  }
}

/** The expectations about streams other than the append's own. */
function othersOf({ expectations, expected, stream }: Parts, limits: Limits): StreamExpectation[] {
  const v = new Violations();
  const wire = expectations.map((view) => decodeRequest(StreamExpectationSchema, view));
  const own = { stream: "", expected: { case: undefined } } as const;
  const others = convertExpectations(v, { ...own, expectations: wire }, limits);
  const alsoOwn = expected !== undefined && wire.some((other) => other.stream === stream);
  if (!v.none || alsoOwn) leave();
  return others;
}

const noConditions: readonly AppendCondition[] = Object.freeze([]);

function* conditionsOf({ conditions }: Parts, limits: Limits): Steps<AppendCondition[]> {
  const plain = plainConditions(conditions, limits);
  if (plain !== undefined) return plain;
  const v = new Violations();
  const wire: WireCondition[] = [];
  for (const view of conditions) wire.push(yield* decodeInSteps(AppendConditionSchema, view));
  const converted = convertConditions(v, wire, limits);
  if (!v.none) leave();
  return converted;
}

/** Whether two events have the same id. Ids that the server made differ. */
function hasTwins(events: readonly NewEvent[]): boolean {
  const ids = new Set<string>();
  let fromClient = 0;
  for (const event of events) {
    if (!event.idFromClient) continue;
    fromClient++;
    ids.add(event.id);
  }
  return ids.size < fromClient;
}

const tagId = 0x0a;
const tagStream = 0x12;
const tagType = 0x1a;
const tagTags = 0x22;
const tagMetadata = 0x2a;
const tagContentType = 0x32;
const tagData = 0x3a;

const noTags: readonly string[] = Object.freeze([]);

/** What is counted and shared over all events of an append. */
interface Counting extends Conversion {
  metadataCount: number;
  readonly defaultStream: string;
  /** What bodies end with, by what is missing of them. */
  readonly ends: (Uint8Array | undefined)[];
}

/** The event between two offsets. Throws `NotPlain`, or `RangeError` if the bytes are truncated. */
function readEvent(bytes: Buffer, start: number, end: number, counting: Counting): NewEvent {
  const { limits, defaultStream } = counting;
  if (end - start > limits.eventBytesMax) leave();
  const reader = new WireReader(bytes, start, end, true);
  let id = "";
  let stream = "";
  let type = "";
  let tags: string[] | undefined;
  let metadata: MetadataScan | undefined;
  let hasContentType = false;
  let hasData = false;
  while (reader.offset < end) {
    switch (bytes[reader.offset++]) {
      case tagId:
        if (id !== "") leave();
        id = uuidIn(reader);
        break;
      case tagStream:
        if (stream !== "") leave();
        stream = nameIn(reader, limits.streamNameBytesMax);
        break;
      case tagType:
        if (type !== "") leave();
        type = nameIn(reader, limits.typeBytesMax);
        break;
      case tagTags: {
        const tag = nameIn(reader, limits.tagBytesMax);
        if (tags === undefined) tags = [tag];
        else if (tags.length === limits.tagsMax || tags.includes(tag)) leave();
        else tags.push(tag);
        break;
      }
      case tagMetadata:
        metadata ??= { keys: new Set(), bytes: 0 };
        scanEntry(metadata, reader, limits);
        if (++counting.metadataCount > limits.appendMetadataEntriesMax) leave();
        break;
      case tagContentType:
        if (hasContentType) leave();
        hasContentType = true;
        passPrintableAscii(reader, limits.contentTypeBytesMax);
        break;
      case tagData:
        if (hasData) leave();
        hasData = true;
        reader.offset = reader.lengthEnd();
        break;
      default:
        leave();
    }
  }
  const settledStream = stream === "" ? defaultStream : stream;
  if (type === "") leave();
  const idFromClient = id !== "";
  const body = bytes.subarray(start, end);
  const bodyEnd = endOf(counting, stream === "" && defaultStream !== "", hasContentType);
  const header = { id, stream: settledStream, type, tags: tags ?? noTags, idFromClient };
  return bodyEnd.length === 0 ? { ...header, body } : { ...header, body, bodyEnd };
}

const contentTypeField = Buffer.concat([
  Buffer.from([tagContentType, defaultContentType.data.length]),
  Buffer.from(defaultContentType.data),
]);
const nothing = Buffer.alloc(0);

/** What is missing at the end of an event's bytes. */
function endOf(
  { ends, defaultStream }: Counting,
  missesStream: boolean,
  hasContentType: boolean,
): Uint8Array {
  const which = (missesStream ? 1 : 0) + (hasContentType ? 0 : 2);
  if (which === 0) return nothing;
  return (ends[which] ??= Buffer.concat([
    missesStream ? streamFieldOf(defaultStream) : nothing,
    hasContentType ? nothing : contentTypeField,
  ]));
}

function streamFieldOf(stream: string): Buffer {
  const text = Buffer.from(stream);
  const field = Buffer.allocUnsafe(1 + varintBytes(text.length) + text.length);
  field[0] = tagStream;
  field.set(text, writeVarint(field, 1, text.length));
  return field;
}

interface MetadataScan {
  readonly keys: Set<string>;
  bytes: number;
}

/** A map entry: a key and a value, each at most once. */
function scanEntry(scan: MetadataScan, reader: WireReader, limits: Limits): void {
  const end = reader.lengthEnd();
  const { bytes } = reader;
  let key = 0;
  let keyEnd = 0;
  let hasValue = false;
  while (reader.offset < end) {
    const tag = bytes[reader.offset++];
    if (tag === 0x0a && key === 0) {
      key = passText(reader);
      keyEnd = reader.offset;
      scan.bytes += keyEnd - key;
    } else if (tag === 0x12 && !hasValue) {
      hasValue = true;
      const start = passText(reader);
      scan.bytes += reader.offset - start;
    } else leave();
  }
  if (reader.offset !== end || keyEnd === key || bytes[key] === dollar) leave();
  const entries = scan.keys.size;
  // Equal bytes are equal keys, whatever their text.
  scan.keys.add(asciiIn(bytes, key, keyEnd));
  if (scan.keys.size === entries || entries === limits.metadataEntriesMax) leave();
  if (scan.bytes > limits.metadataBytesMax) leave();
}
