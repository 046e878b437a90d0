// Converts an append from its decoded request. This path may rewrite fields, and names the fields
// that it refuses: a JSON payload becomes canonical text, an absent id is made, an upper-case id
// becomes lower case. Most appends take the fast path instead (append-bytes.ts).

import { create, toBinary } from "@bufbuild/protobuf";
import type { Append, AppendCondition, Expected, StreamExpectation } from "../../domain/append.ts";
import type { NewEvent } from "../../domain/event.ts";
import { canonicalJson } from "../../domain/json.ts";
import type { Limits } from "../../domain/limits.ts";
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

/** What conversions need: the limits in force. */
export interface Conversion {
  readonly limits: Limits;
}

/** Throws INVALID_FIELD with every violation. */
export function convertAppend(wire: AppendRequest, conversion: Conversion): Append {
  const { limits } = conversion;
  const v = new Violations();
  if (wire.stream !== "") {
    const limit = { name: "stream_name_bytes_max", bytesMax: limits.streamNameBytesMax };
    checkOwnName(v, "stream", wire.stream, limit);
  }
  const { events, wireBytes } = convertEvents(v, wire, conversion);
  if (wireBytes > limits.appendBytesMax) {
    const limit = `append_bytes_max (${limits.appendBytesMax})`;
    v.add("events", `have ${wireBytes} bytes together, more than ${limit}`);
  }
  const expectations = convertExpectations(v, wire, limits);
  const conditions = convertConditions(v, wire.conditions, limits);
  const { checkpoint: wireUpdate } = wire;
  const checkpoint = wireUpdate && convertUpdate(v, "checkpoint.", wireUpdate, limits);
  const epoch = checkEpoch(v, "epoch", wire.epoch);
  v.throwIfAny();
  const bytes = events.reduce((sum, event) => sum + event.body.length, 0);
  return { events, expectations, conditions, checkpoint, bytes, epoch };
}

function convertEvents(
  v: Violations,
  wire: AppendRequest,
  conversion: Conversion,
): { events: NewEvent[]; wireBytes: number } {
  const { appendEventsMax, appendTagsMax, appendMetadataEntriesMax } = conversion.limits;
  const { length } = wire.events;
  if (length === 0 && wire.checkpoint === undefined) {
    v.add("events", "is required: an append has at least one event or a checkpoint");
  }
  checkCount(v, "events", length, "append_events_max", appendEventsMax);
  const events: NewEvent[] = [];
  const ids = new Map<string, number>();
  let wireBytes = 0;
  if (length > appendEventsMax) return { events, wireBytes };
  const tagCount = wire.events.reduce((sum, { tags }) => sum + tags.length, 0);
  if (tagCount > appendTagsMax) {
    v.add("events", `have ${tagCount} tags, more than append_tags_max (${appendTagsMax})`);
  }
  const entryCount = wire.events.reduce(
    (sum, event) => sum + Object.keys(event.metadata).length,
    0,
  );
  if (entryCount > appendMetadataEntriesMax) {
    const limit = `append_metadata_entries_max (${appendMetadataEntriesMax})`;
    v.add("events", `have ${entryCount} metadata entries, more than ${limit}`);
  }
  wire.events.forEach((wireEvent, i) => {
    const field = `events[${i}]`;
    const converted = convertEvent(v, field, wireEvent, wire.stream, conversion);
    const { id, idFromClient } = converted.event;
    const first = ids.get(id);
    if (first === undefined) ids.set(id, i);
    else if (idFromClient) v.add(`${field}.id`, `is the same id as that of events[${first}]`);
    events.push(converted.event);
    wireBytes += converted.wireBytes;
  });
  return { events, wireBytes };
}

const noBytes = new Uint8Array();
/** Fields that only the server sets. */
const ownFields = new Map(
  [RecordedEventSchema.field.principal, RecordedEventSchema.field.traceParent].map((field) => [
    field.number,
    field.name,
  ]),
);

/** `wireBytes` is the size of the encoded `NewEvent`. */
interface ConvertedEvent {
  readonly event: NewEvent;
  readonly wireBytes: number;
}

function convertEvent(
  v: Violations,
  field: string,
  wire: WireEvent,
  defaultStream: string,
  { limits }: Conversion,
): ConvertedEvent {
  const wireBytes = toBinary(NewEventSchema, wire).length;
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
  return { event: { ...header, body: toBinary(RecordedEventSchema, body) }, wireBytes };
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
