// CloudEvents 1.0 that come in: each becomes a `NewEvent`. docs/http.md has the mapping as a table.
// Sources: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md and, beside it,
// formats/json-format.md and bindings/http-protocol-binding.md

import { createHash } from "node:crypto";
import { create, fromJsonString } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { invalidField, type AnnalsError } from "../../domain/errors.ts";
import {
  jsonPartsInSteps,
  parseExactJson,
  readInSteps,
  requestBounds,
} from "../../domain/exact-json.ts";
import {
  isExactNumber,
  isJsonContentType,
  isJsonObject,
  jsonShape,
  type Json,
} from "../../domain/json.ts";
import { defaultLimits } from "../../domain/limits.ts";
import { atOnce, Effort, type Steps } from "../../domain/steps.ts";
import { WrittenText } from "../../domain/written-text.ts";
import { NewEventSchema, type NewEvent } from "../../gen/annals/v1/event_pb.js";

/** The prefix of the metadata that keep what an event of Annals has no place for. */
export const keptPrefix = "ce-";
/** Kept where the data are there and have no bytes. */
export const emptyDataKey = `${keptPrefix}data`;

/** What the store takes a payload for whose type is not said. */
export const octets = "application/octet-stream";

/** Attributes that the store sets itself. Of an event that comes from another one they are left. */
const ownAttributes: ReadonlySet<string> = new Set([
  "streamversion",
  "position",
  "recordedtime",
  "principal",
]);

type Attribute = string | number | boolean;
/** No event has metadata for more. */
const attributesMax = 80;
/** Of names and values, and of those that are lists or objects as JSON text, with escapes. */
const attributeCharsMax = 16 * 1024;
const listedCharsMax = 128 * 1024;
const listed: ReadonlySet<string> = new Set(["tags", "metadata"]);

/** A CloudEvent, by whatever mode it came. */
interface Came {
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Undefined: it has no data. */
  readonly data: Buffer | undefined;
  /** For messages: `events[2]`, or nothing where there is one. */
  readonly where: string;
}

/** How deeply the body may nest, and how many values it may have. */
export const cloudEventDepthMax = 500;
export const cloudEventValuesMax = 1 << 18;

/**
 * Events of the structured mode (an object) or of the batch mode (a list). `inStream`: the request
 * names the stream of those that do not.
 */
export function cloudEventsOfJson(body: Buffer, isBatch: boolean, inStream: boolean): NewEvent[] {
  const { depth, values } = jsonShape(body);
  if (depth > cloudEventDepthMax) {
    throw invalidField("body", `the JSON nests deeper than ${cloudEventDepthMax} levels`);
  }
  if (values > cloudEventValuesMax) {
    throw invalidField("body", `the JSON has more than ${cloudEventValuesMax} values`);
  }
  const events: NewEvent[] = [];
  atOnce(cloudEventsInSteps(body, { isBatch, inStream }, (event) => void events.push(event)));
  return events;
}

interface Mode {
  readonly isBatch: boolean;
  readonly inStream: boolean;
}

/** What an event costs beside its data. */
const eventCost = 1_024;
/** What is no attribute. */
const dataMembers: ReadonlySet<string> = new Set(["data", "data_base64"]);
/** An object of more members is handled in a step of its own: most of them are null. */
const longMembers = 1_024;
const memberCost = 8;

/** As `cloudEventsOfJson`, of a body whose nesting and values are known to be few. */
export function* cloudEventsInSteps(
  body: Buffer,
  { isBatch, inStream }: Mode,
  take: (event: NewEvent) => void,
): Steps<void> {
  const read = yield* readInSteps(body, true, requestBounds);
  if (read === undefined) throw invalidField("body", "is not JSON");
  const { value, problem } = read;
  if (problem !== undefined) throw invalidField("body", problem);
  if (isBatch && !Array.isArray(value)) {
    throw invalidField("body", "is not a list of CloudEvents");
  }
  const list = isBatch ? (value as Json[]) : [value];
  const { appendEventsMax } = defaultLimits;
  if (list.length > appendEventsMax) {
    throw invalidField("events", `has more entries than append_events_max (${appendEventsMax})`);
  }
  const effort = new Effort();
  for (const [i, each] of list.entries()) {
    const came = yield* structured(each, isBatch ? `events[${i}]` : "");
    if (effort.spend(listedCost(came))) yield effort.take();
    const event = newEventOf(came, inStream);
    const { payload } = event;
    const bytes = payload.case === "data" ? payload.value.length : 0;
    if (bytes > longBytes) yield bytes * byteShare;
    take(event);
    if (bytes > longBytes) yield bytes * byteShare;
    // The tree of the body need not be kept beside what is made of it.
    list[i] = null;
    if (effort.spend(eventCost)) yield effort.take();
  }
}

/** What it costs to parse the lists among its attributes. */
function listedCost({ attributes }: Came): number {
  let cost = 0;
  for (const name of listed) cost += String(attributes.get(name) ?? "").length;
  return cost;
}

/** An event of the binary mode: attributes in headers, data in the body. */
export function cloudEventOfHeaders(
  headers: ReadonlyMap<string, string>,
  body: Buffer,
  inStream: boolean,
): NewEvent {
  const attributes = new Map<string, Attribute>();
  for (const [name, value] of headers) {
    if (name.startsWith("ce-")) attributes.set(name.slice(3), unescaped(name, value));
  }
  const type = headers.get("content-type");
  if (type !== undefined) attributes.set("datacontenttype", type);
  if (attributes.size > attributesMax) throw tooManyAttributes("");
  const data = body.length === 0 ? undefined : body;
  return newEventOf({ attributes, data, where: "" }, inStream);
}

function* structured(json: Json, where: string): Steps<Came> {
  if (!isJsonObject(json)) throw invalidField(where === "" ? "body" : where, "is no CloudEvent");
  const { data, data_base64: base64 } = json;
  const attributes = new Map<string, Attribute>();
  const names = Object.keys(json);
  for (const name of names) {
    const value = json[name];
    // An attribute that is null is one that is not there.
    if (value === null || value === undefined || dataMembers.has(name)) continue;
    if (attributes.size === attributesMax) throw tooManyAttributes(where);
    const charsMax = listed.has(name) ? listedCharsMax : attributeCharsMax;
    if (typeof value === "string" && value.length > charsMax) {
      throw invalidField(named(where, name), `has more than ${charsMax} characters`);
    }
    attributes.set(name, attributeOf(value, named(where, name)));
  }
  if (names.length > longMembers) yield names.length * memberCost;
  return { attributes, data: yield* dataOf(data, base64, attributes, where), where };
}

function tooManyAttributes(where: string): AnnalsError {
  const field = where === "" ? "event" : where;
  return invalidField(field, `has more than ${attributesMax} attributes`);
}

function attributeOf(value: Json, field: string): Attribute {
  if (typeof value === "string" || typeof value === "boolean") return value;
  const isInteger = typeof value === "number" && Number.isInteger(value) && (value | 0) === value;
  if (isInteger) return value;
  throw invalidField(field, "is no string, boolean or integer of 32 bits");
}

function* dataOf(
  data: Json | undefined,
  base64: Json | undefined,
  attributes: Map<string, Attribute>,
  where: string,
): Steps<Buffer | undefined> {
  const field = named(where, "data_base64");
  if (base64 !== undefined && base64 !== null) {
    if (data !== undefined) throw invalidField(field, "excludes data");
    if (typeof base64 !== "string") throw invalidField(field, "is no string");
    return yield* bytesOf(base64, field);
  }
  if (data === undefined) return undefined;
  if (!attributes.has("datacontenttype")) attributes.set("datacontenttype", "application/json");
  const type = attributes.get("datacontenttype");
  if (isJsonContentType(String(type))) {
    const written = new WrittenText();
    yield* jsonPartsInSteps(data, written, false);
    return written.bytes();
  }
  if (typeof data === "string") return Buffer.from(data);
  throw invalidField(named(where, "data"), `is no text, which ${type} needs; or use data_base64`);
}

/** What a character costs that is made a byte. */
const byteShare = 1 / 8;
/** Data that are handled in a step of their own. */
const longBytes = 256 * 1024;
/** Characters that are decoded together: groups of four. */
const pieceChars = 128 * 1024;

function* bytesOf(base64: string, field: string): Steps<Buffer> {
  const pieces: Buffer[] = [];
  for (let from = 0; from < base64.length; from += pieceChars) {
    const piece = base64.slice(from, from + pieceChars);
    const bytes = Buffer.from(piece, "base64");
    if (bytes.toString("base64") !== piece) throw invalidField(field, "is not base64");
    pieces.push(bytes);
    if (base64.length > pieceChars) yield piece.length * byteShare;
  }
  if (base64.length > longBytes) yield base64.length * byteShare;
  return Buffer.concat(pieces);
}

function newEventOf({ attributes, data, where }: Came, inStream: boolean): NewEvent {
  const text = (name: string): string => {
    const value = attributes.get(name) ?? "";
    if (typeof value === "string") return value;
    throw invalidField(named(where, name), "is no string");
  };
  for (const name of ["id", "source", "type"]) {
    if (text(name) === "") throw invalidField(named(where, name), "is required");
  }
  if (text("specversion") !== "1.0") throw invalidField(named(where, "specversion"), "is not 1.0");
  checkTime(text("time"), named(where, "time"));
  const [id, source] = [text("id"), text("source")];
  const isOwnId = uuid.test(id);
  const kept: Record<string, string> = {};
  const keep = (name: string, value: Attribute): void => {
    kept[`${keptPrefix}${name}${kinds[typeof value as keyof typeof kinds]}`] = String(value);
  };
  for (const [name, value] of attributes) {
    if (!/^[a-z0-9]+$/.test(name)) throw invalidField(named(where, name), "is no attribute's name");
    if (!placed.has(name) && !ownAttributes.has(name)) keep(name, value);
  }
  if (!isOwnId) keep("id", id);
  // The store gives this type to events without one.
  if (text("datacontenttype") === octets) keep("datacontenttype", octets);
  if (data?.length === 0) kept[emptyDataKey] = "";
  return create(NewEventSchema, {
    id: isOwnId ? id : idOf(source, id),
    stream: text("stream") || (inStream ? "" : text("subject")),
    type: text("type"),
    tags: listOf(text("tags"), named(where, "tags")),
    metadata: { ...membersOf(text("metadata"), named(where, "metadata")), ...kept },
    contentType: text("datacontenttype"),
    ...(data !== undefined && { payload: { case: "data", value: data } }),
  });
}

/** Attributes with a place of their own in an event. The others are kept as metadata. */
const placed: ReadonlySet<string> = new Set(
  ["id", "type", "specversion", "datacontenttype", "stream", "tags"].concat("metadata"),
);

const uuid = /^[\da-f]{8}-[\da-f]{4}-[1-8][\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;

/**
 * The same for the same event, so that a retry is one: a UUID of version 8 made of the SHA-256 of
 * source and id.
 */
function idOf(source: string, id: string): string {
  const digest = createHash("sha256").update(`${source}\0${id}`).digest();
  digest[6] = ((digest[6] as number) & 0x0f) | 0x80;
  digest[8] = ((digest[8] as number) & 0x3f) | 0x80;
  const hex = digest.toString("hex");
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return `${parts.join("-")}-${hex.slice(20, 32)}`;
}

/** What is behind the name of a kept attribute, so that its type is not lost. */
const kinds = { string: "", number: ":integer", boolean: ":boolean" } as const;

function checkTime(text: string, field: string): void {
  if (text === "") return;
  try {
    // It is kept as it came; more digits of a second than nine are valid.
    const shortened = text.replace(/(\.\d{9})\d+/, "$1").toUpperCase();
    fromJsonString(TimestampSchema, JSON.stringify(shortened));
  } catch {
    throw invalidField(field, "is not a time of RFC 3339");
  }
}

const { tagsMax, metadataEntriesMax } = defaultLimits;

function listOf(text: string, field: string): string[] {
  if (text === "") return [];
  const list = parseExactJson(Buffer.from(text));
  if (Array.isArray(list) && list.length > tagsMax) {
    throw invalidField(field, `has more entries than tags_max (${tagsMax})`);
  }
  if (Array.isArray(list) && list.every((each) => typeof each === "string")) return list;
  throw invalidField(field, "is not a list of strings as JSON text");
}

function membersOf(text: string, field: string): Record<string, string> {
  if (text === "") return {};
  const json = parseExactJson(Buffer.from(text));
  const isObject = json !== undefined && isJsonObject(json) && !isExactNumber(json);
  if (isObject && Object.keys(json).length > metadataEntriesMax) {
    throw invalidField(field, `has more entries than metadata_entries_max (${metadataEntriesMax})`);
  }
  if (isObject && Object.values(json).every((each) => typeof each === "string")) {
    return json as Record<string, string>;
  }
  throw invalidField(field, "is not an object of strings as JSON text");
}

/** Headers have percent-encoded UTF-8, and may be quoted. */
function unescaped(name: string, value: string): string {
  const quoted = /^"(.*)"$/s.exec(value)?.[1];
  const text = quoted === undefined ? value : quoted.replaceAll(/\\(.)/g, "$1");
  const bytes = text.replaceAll(/%([\da-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  try {
    return utf8.decode(Buffer.from(bytes, "latin1"));
  } catch {
    throw invalidField(name, "is not UTF-8");
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function named(where: string, name: string): string {
  return where === "" ? name : `${where}.${name}`;
}
