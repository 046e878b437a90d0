// One event from the wire, by the generated codec: the path that may rewrite it. A JSON payload
// becomes canonical text, an absent id is made, an upper-case one is lowered.

import { create, toBinary } from "@bufbuild/protobuf";
import type { NewEvent } from "../../domain/event.ts";
import { canonicalJson } from "../../domain/json.ts";
import type { Limits } from "../../domain/limits.ts";
import {
  NewEventSchema,
  RecordedEventSchema,
  type NewEvent as WireEvent,
} from "../../gen/annals/v1/event_pb.js";
import { checkCount, checkOwnName, checkUuid } from "./checks.ts";
import { jsonOf, NotJson } from "./json-value.ts";
import { checkContentType, checkMetadata } from "./metadata.ts";
import type { Violations } from "./violations.ts";

/** What conversions need: the limits in force and a maker of event ids. */
export interface Conversion {
  readonly limits: Limits;
  /** A new UUIDv7, larger than all before it. */
  readonly newId: () => string;
}

const noBytes = new Uint8Array();

/** `wireBytes` is the size of the encoded `NewEvent`. */
export interface ConvertedEvent {
  readonly event: NewEvent;
  readonly wireBytes: number;
}

export function convertEvent(
  v: Violations,
  field: string,
  wire: WireEvent,
  defaultStream: string,
  { limits, newId }: Conversion,
): ConvertedEvent {
  const wireBytes = toBinary(NewEventSchema, wire).length;
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
  const id = idFromClient ? checkUuid(v, `${field}.id`, wire.id) : newId();

  const body = create(RecordedEventSchema, {
    id,
    stream,
    type,
    tags: wire.tags,
    contentType,
    data,
  });
  // Not through `create`: it would take a key `__proto__` for a prototype.
  body.metadata = wire.metadata;
  const header = { id, stream, type, tags: wire.tags, idFromClient };
  return { event: { ...header, body: toBinary(RecordedEventSchema, body) }, wireBytes };
}

/** Empty means the append's stream, which is checked once where it is used. */
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
  if (defaultStream === "") v.add(field, "is required where the append names no stream");
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
