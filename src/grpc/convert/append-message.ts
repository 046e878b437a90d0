// Converts an append from its decoded request. This path may rewrite fields, and names the fields
// that it refuses: a JSON payload becomes canonical text, an absent id is made, an upper-case id
// becomes lower case. Most appends take the fast path instead (append-bytes.ts).

import { create, toBinary } from "@bufbuild/protobuf";
import type { Append, AppendCondition, Expected, StreamExpectation } from "../../domain/append.ts";
import type { NewEvent } from "../../domain/event.ts";
import { canonicalJson } from "../../domain/json.ts";
import type { Limits } from "../../domain/limits.ts";
import { atOnce, Effort, type Steps } from "../../domain/steps.ts";
import {
  StreamState,
  type AppendCondition as WireCondition,
  type AppendRequest,
  type StreamExpectation as WireExpectation,
} from "../../gen/annals/v1/append_pb.js";
import {
  NewEventSchema,
  RecordedEventSchema,
  type NewEvent as WireEvent,
} from "../../gen/annals/v1/event_pb.js";
import { convertUpdate } from "./checkpoint.ts";
import {
  checkContentType,
  checkCount,
  checkEnum,
  checkMetadata,
  checkName,
  checkOwnName,
  checkUint64,
  checkUuid,
  Violations,
} from "./checks.ts";
import { checkEpoch } from "./epoch.ts";
import { jsonOf, NotJson } from "./json-value.ts";
import { convertQuery, QueryRoom } from "./read-request.ts";
import { checkRecordedAt } from "./time.ts";

/** What conversions need. */
export interface Conversion {
  /** Those in force. */
  readonly limits: Limits;
  /** Whether events may say when another system recorded them. Absent: they may not. */
  readonly keepsTimes?: boolean;
}

/** An event as it came, with the size of its message. */
export interface SentEvent {
  readonly event: WireEvent;
  readonly wireBytes: number;
}

/** Throws INVALID_FIELD with every violation. */
export function convertAppend(wire: AppendRequest, conversion: Conversion): Append {
  const { events } = wire;
  const eventAt = (i: number): SentEvent => {
    const event = events[i] as WireEvent;
    return { event, wireBytes: toBinary(NewEventSchema, event).length };
  };
  return atOnce(convertInSteps(wire, events.length, eventAt, conversion));
}

/** What an event costs until it is converted, and each byte of it. */
const eventBytes = 1_024;
const byteShare = 1 / 16;

/** As `convertAppend`. The events are asked for one by one, and not taken from `wire`. */
export function* convertInSteps(
  wire: AppendRequest,
  count: number,
  eventAt: (i: number) => SentEvent | Steps<SentEvent>,
  conversion: Conversion,
): Steps<Append> {
  const { limits } = conversion;
  const v = new Violations();
  if (wire.stream !== "") {
    const limit = { name: "stream_name_bytes_max", bytesMax: limits.streamNameBytesMax };
    checkOwnName(v, "stream", wire.stream, limit);
  }
  if (count === 0 && wire.checkpoint === undefined) {
    v.add("events", "is required: an append has at least one event or a checkpoint");
  }
  checkCount(v, "events", count, "append_events_max", limits.appendEventsMax);
  const isCountable = count <= limits.appendEventsMax;
  const converted = new ConvertedEvents(v, wire.stream, conversion);
  const effort = new Effort();
  for (let i = 0; i < (isCountable ? count : 0); i++) {
    const found = eventAt(i);
    const sent = "event" in found ? found : yield* found;
    converted.add(sent);
    if (effort.spend(eventBytes + sent.wireBytes * byteShare)) yield effort.take();
  }
  converted.checkTotals();
  const expectations = convertExpectations(v, wire, limits);
  const conditions = convertConditions(v, wire.conditions, limits);
  const { checkpoint: wireUpdate } = wire;
  const checkpoint = wireUpdate && convertUpdate(v, "checkpoint.", wireUpdate, limits);
  const epoch = checkEpoch(v, "epoch", wire.epoch);
  v.throwIfAny();
  const { events: all, bytes } = converted;
  const append = { events: all, expectations, conditions, checkpoint, bytes, epoch };
  const isTimed = all.some(({ recordedAt }) => recordedAt !== undefined);
  return isTimed ? { ...append, isTimed } : append;
}

/** The events of an append, and what is counted over all of them. */
class ConvertedEvents {
  readonly events: NewEvent[] = [];
  bytes = 0;
  private readonly v: Violations;
  private readonly stream: string;
  private readonly conversion: Conversion;
  private readonly ids = new Map<string, number>();
  private wireBytes = 0;
  private tagCount = 0;
  private entryCount = 0;

  constructor(v: Violations, stream: string, conversion: Conversion) {
    this.v = v;
    this.stream = stream;
    this.conversion = conversion;
  }

  add(sent: SentEvent): void {
    const i = this.events.length;
    const field = `events[${i}]`;
    const event = convertEvent(this.v, field, sent, this.stream, this.conversion);
    const { id, idFromClient } = event;
    const first = this.ids.get(id);
    if (first === undefined) this.ids.set(id, i);
    else if (idFromClient) this.v.add(`${field}.id`, `is the same id as that of events[${first}]`);
    this.events.push(event);
    this.bytes += event.body.length;
    this.wireBytes += sent.wireBytes;
    this.tagCount += event.tags.length;
    this.entryCount += Object.keys(sent.event.metadata).length;
  }

  checkTotals(): void {
    const { v, wireBytes, tagCount, entryCount } = this;
    const { appendTagsMax, appendMetadataEntriesMax, appendBytesMax } = this.conversion.limits;
    if (tagCount > appendTagsMax) {
      v.add("events", `have ${tagCount} tags, more than append_tags_max (${appendTagsMax})`);
    }
    if (entryCount > appendMetadataEntriesMax) {
      const limit = `append_metadata_entries_max (${appendMetadataEntriesMax})`;
      v.add("events", `have ${entryCount} metadata entries, more than ${limit}`);
    }
    if (wireBytes > appendBytesMax) {
      const limit = `append_bytes_max (${appendBytesMax})`;
      v.add("events", `have ${wireBytes} bytes together, more than ${limit}`);
    }
  }
}

const noBytes = new Uint8Array();
/** Fields that only the server sets. */
const ownFields = new Map(
  [RecordedEventSchema.field.principal, RecordedEventSchema.field.traceParent].map((field) => [
    field.number,
    field.name,
  ]),
);

function convertEvent(
  v: Violations,
  field: string,
  { event: wire, wireBytes }: SentEvent,
  defaultStream: string,
  { limits, keepsTimes }: Conversion,
): NewEvent {
  for (const { no } of wire.$unknown ?? []) {
    const name = ownFields.get(no);
    if (name !== undefined)
      v.add(`${field}.${name}`, "is recorded by the server and cannot be set");
  }
  checkEventBytes(v, field, wireBytes, limits);
  checkTags(v, `${field}.tags`, wire.tags, limits);
  checkMetadata(v, `${field}.metadata`, wire.metadata, limits);
  const typeLimit = { name: "type_bytes_max", bytesMax: limits.typeBytesMax };
  const type = checkOwnName(v, `${field}.type`, wire.type, typeLimit);
  const payload = wire.payload.case ?? "data";
  const typeField = `${field}.content_type`;
  const contentType = checkContentType(v, typeField, wire.contentType, payload, limits);
  const data = payloadOf(v, field, wire, limits);
  const stream = checkStream(v, `${field}.stream`, wire.stream, defaultStream, limits);
  const idFromClient = wire.id !== "";
  const id = idFromClient ? checkUuid(v, `${field}.id`, wire.id) : "";
  const recordedAt = checkRecordedAt(v, `${field}.recorded_at`, wire.recordedAt, keepsTimes);

  const body = create(RecordedEventSchema, {
    id,
    stream,
    type,
    tags: wire.tags,
    contentType,
    data,
  });
  // Not through `create`, which would treat a key `__proto__` as a prototype.
  body.metadata = wire.metadata;
  const header = { id, stream, type, tags: wire.tags, idFromClient };
  const event = { ...header, body: toBinary(RecordedEventSchema, body) };
  return recordedAt === undefined ? event : { ...event, recordedAt };
}

/** Empty means the append's stream, which is checked once where it is used, and may be none. */
function checkStream(
  v: Violations,
  field: string,
  stream: string,
  defaultStream: string,
  limits: Limits,
): string {
  if (stream !== "") {
    const limit = { name: "stream_name_bytes_max", bytesMax: limits.streamNameBytesMax };
    return checkOwnName(v, field, stream, limit);
  }
  return defaultStream;
}

function checkTags(v: Violations, field: string, tags: readonly string[], limits: Limits): void {
  checkCount(v, field, tags.length, "tags_max", limits.tagsMax);
  const limit = { name: "tag_bytes_max", bytesMax: limits.tagBytesMax };
  const seen = new Map<string, number>();
  tags.slice(0, limits.tagsMax).forEach((tag, i) => {
    checkOwnName(v, `${field}[${i}]`, tag, limit);
    const first = seen.get(tag);
    if (first === undefined) seen.set(tag, i);
    else v.add(`${field}[${i}]`, `is the same tag as tags[${first}]`);
  });
}

function payloadOf(v: Violations, field: string, wire: WireEvent, limits: Limits): Uint8Array {
  const { payload } = wire;
  if (payload.case === undefined) return noBytes;
  if (payload.case === "data") return payload.value;
  try {
    const data = Buffer.from(canonicalJson(jsonOf(payload.value)));
    checkEventBytes(v, `${field}.json`, data.length, limits, " as JSON text");
    return data;
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    v.add(`${field}.json`, error.message);
    return noBytes;
  }
}

function checkEventBytes(
  v: Violations,
  field: string,
  bytes: number,
  { eventBytesMax }: Limits,
  form = "",
): void {
  if (bytes <= eventBytesMax) return;
  v.add(field, `has ${bytes} bytes${form}, more than event_bytes_max (${eventBytesMax})`);
}

/** `any`: no expectation. `missing`: the field is not set. */
type Expectable = Expected | "any" | "missing";

export function convertExpected(
  v: Violations,
  prefix: string,
  expected: WireExpectation["expected"],
): Expectable {
  switch (expected.case) {
    case undefined:
      return "missing";
    case "expectedVersion": {
      const version = checkUint64(v, `${prefix}expected_version`, expected.value);
      return { kind: "version", version };
    }
    case "expectedState":
      return convertState(v, `${prefix}expected_state`, expected.value);
  }
}

function convertState(v: Violations, field: string, state: StreamState): Expectable {
  checkEnum(v, field, state, StreamState);
  switch (state) {
    case StreamState.EXISTS:
      return { kind: "exists" };
    case StreamState.ABSENT:
      return { kind: "absent" };
    case StreamState.ANY:
      return "any";
    case StreamState.UNSPECIFIED:
      return "missing";
    default:
      return "any";
  }
}

/** The expectation about `stream` first, then the others in order. Each stream at most once. */
export function convertExpectations(
  v: Violations,
  wire: Pick<AppendRequest, "stream" | "expected" | "expectations">,
  limits: Limits,
): StreamExpectation[] {
  const { expectations } = wire;
  const { expectationsMax } = limits;
  checkCount(v, "expectations", expectations.length, "expectations_max", expectationsMax);
  const converted: StreamExpectation[] = [];
  const seen = new Map<string, string>();
  const own = convertExpected(v, "", wire.expected);
  if (typeof own !== "string") {
    if (wire.stream === "") v.add("stream", "is required where something is expected of it");
    converted.push({ stream: wire.stream, expected: own });
    seen.set(wire.stream, "stream");
  }
  expectations.slice(0, expectationsMax).forEach((expectation, i) => {
    const field = `expectations[${i}]`;
    const limit = { name: "stream_name_bytes_max", bytesMax: limits.streamNameBytesMax };
    const stream = checkName(v, `${field}.stream`, expectation.stream, limit);
    const first = seen.get(stream);
    if (first !== undefined) v.add(`${field}.stream`, `is the same stream as ${first}`);
    else seen.set(stream, `${field}.stream`);
    const expected = convertExpected(v, `${field}.`, expectation.expected);
    if (expected === "missing") v.add(field, "says nothing: expected_version or expected_state");
    else if (expected !== "any") converted.push({ stream, expected });
  });
  return converted;
}

/** The limits of a query apply to the queries of all conditions together. */
export function convertConditions(
  v: Violations,
  conditions: readonly WireCondition[],
  limits: Limits,
): AppendCondition[] {
  const { conditionsMax } = limits;
  checkCount(v, "conditions", conditions.length, "conditions_max", conditionsMax);
  const room = new QueryRoom(limits);
  return conditions.slice(0, conditionsMax).map((condition, i) => {
    const field = `conditions[${i}]`;
    const after = checkUint64(v, `${field}.after`, condition.after);
    if (condition.query === undefined) v.add(`${field}.query`, "is required");
    const query =
      condition.query && convertQuery(v, `${field}.query`, condition.query, limits, room);
    const converted = { query: query ?? { items: [] }, after };
    return condition.mayBeAhead ? { ...converted, mayBeAhead: true } : converted;
  });
}
