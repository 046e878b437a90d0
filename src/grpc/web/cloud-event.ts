// CloudEvents 1.0 that come in: each becomes a `NewEvent`. docs/http.md has the mapping as a table.
// Sources: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md and, beside it,
// formats/json-format.md and bindings/http-protocol-binding.md

import { createHash } from "node:crypto";
import { create, fromJsonString } from "@bufbuild/protobuf";
import { TimestampSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../../domain/errors.ts";
import { parseExactJson } from "../../domain/exact-json.ts";
import {
  isExactNumber,
  isJsonContentType,
  isJsonObject,
  jsonShape,
  type Json,
} from "../../domain/json.ts";
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

/** A CloudEvent, by whatever mode it came. */
interface Came {
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Undefined: it has no data. */
  readonly data: Buffer | undefined;
  /** For messages: `events[2]`, or nothing where there is one. */
  readonly where: string;
}

const depthMax = 500;
const valuesMax = 1 << 18;

/**
 * Events of the structured mode (an object) or of the batch mode (a list). `inStream`: the request
 * names the stream of those that do not.
 */
export function cloudEventsOfJson(body: Buffer, isBatch: boolean, inStream: boolean): NewEvent[] {
  const { depth, values } = jsonShape(body);
  if (depth > depthMax) throw invalidField("body", `the JSON nests deeper than ${depthMax} levels`);
  if (values > valuesMax) throw invalidField("body", `the JSON has more than ${valuesMax} values`);
  const json = parseExactJson(body);
  if (json === undefined) throw invalidField("body", "is not JSON");
  refuseRepeatedMembers(body);
  if (!isBatch) return [newEventOf(structured(json, ""), inStream)];
  if (!Array.isArray(json)) throw invalidField("body", "is not a list of CloudEvents");
  return json.map((each, i) => newEventOf(structured(each, `events[${i}]`), inStream));
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
  const data = body.length === 0 ? undefined : body;
  return newEventOf({ attributes, data, where: "" }, inStream);
}

/** Which JSON text says a member twice, the codec finds out. */
function refuseRepeatedMembers(body: Buffer): void {
  try {
    fromJsonString(ValueSchema, body.toString("utf8"), { recursionLimit: 3 * depthMax });
  } catch (error) {
    const [, why] = /(duplicate object key .*)$/.exec((error as Error).message) ?? [];
    if (why !== undefined) throw invalidField("body", why);
  }
}

function structured(json: Json, where: string): Came {
  if (!isJsonObject(json)) throw invalidField(where === "" ? "body" : where, "is no CloudEvent");
  const { data, data_base64: base64, ...others } = json;
  const attributes = new Map<string, Attribute>();
  for (const [name, value] of Object.entries(others)) {
    // An attribute that is null is one that is not there.
    if (value !== null) attributes.set(name, attributeOf(value, named(where, name)));
  }
  return { attributes, data: dataOf(data, base64, attributes, where), where };
}

function attributeOf(value: Json, field: string): Attribute {
  if (typeof value === "string" || typeof value === "boolean") return value;
  const isInteger = typeof value === "number" && Number.isInteger(value) && (value | 0) === value;
  if (isInteger) return value;
  throw invalidField(field, "is no string, boolean or integer of 32 bits");
}

function dataOf(
  data: Json | undefined,
  base64: Json | undefined,
  attributes: Map<string, Attribute>,
  where: string,
): Buffer | undefined {
  const field = named(where, "data_base64");
  if (base64 !== undefined && base64 !== null) {
    if (data !== undefined) throw invalidField(field, "excludes data");
    if (typeof base64 !== "string") throw invalidField(field, "is no string");
    const bytes = Buffer.from(base64, "base64");
    if (bytes.toString("base64") !== base64) throw invalidField(field, "is not base64");
    return bytes;
  }
  if (data === undefined) return undefined;
  if (!attributes.has("datacontenttype")) attributes.set("datacontenttype", "application/json");
  const type = attributes.get("datacontenttype");
  if (isJsonContentType(String(type))) return Buffer.from(JSON.stringify(data));
  if (typeof data === "string") return Buffer.from(data);
  throw invalidField(named(where, "data"), `is no text, which ${type} needs; or use data_base64`);
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

function listOf(text: string, field: string): string[] {
  if (text === "") return [];
  const list = parseExactJson(Buffer.from(text));
  if (Array.isArray(list) && list.every((each) => typeof each === "string")) return list;
  throw invalidField(field, "is not a list of strings as JSON text");
}

function membersOf(text: string, field: string): Record<string, string> {
  if (text === "") return {};
  const json = parseExactJson(Buffer.from(text));
  const isObject = json !== undefined && isJsonObject(json) && !isExactNumber(json);
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
