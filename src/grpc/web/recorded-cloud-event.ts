// Recorded events as CloudEvents 1.0: what cloud-event.ts does, back. What came as a CloudEvent
// goes out as it came; what did not has the store as its source.

import { isUtf8 } from "node:buffer";
import { toJson } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { readInSteps } from "../../domain/exact-json.ts";
import {
  isJsonContentType,
  jsonDepthMax,
  jsonShape,
  jsonTextBytesMax,
  parseJson,
} from "../../domain/json.ts";
import type { Steps } from "../../domain/steps.ts";
import type { RecordedEvent } from "../../gen/annals/v1/event_pb.js";
import type { AnswerText } from "./answer-text.ts";
import { emptyDataKey, keptPrefix, octets } from "./cloud-event.ts";

type Attribute = string | number | boolean;

export interface Told {
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Undefined: it has no data. */
  readonly data: Uint8Array | undefined;
  readonly contentType: string;
}

/** `source`: of events that did not come as CloudEvents. */
export function toldOf(event: RecordedEvent, source: string): Told {
  const kept = new Map<string, Attribute>();
  const others: Record<string, string> = {};
  for (const [key, value] of Object.entries(event.metadata)) {
    const [, name, kind] = /^ce-([a-z0-9]+)(?::(integer|boolean))?$/.exec(key) ?? [];
    if (name === undefined) others[key] = value;
    else if (key !== emptyDataKey) kept.set(name, typed(value, kind));
  }
  const cameAsOne = kept.has("source");
  const attributes = new Map<string, Attribute>([
    ["specversion", "1.0"],
    ["id", event.id],
    ["source", source],
    ["type", event.type],
  ]);
  if (!cameAsOne && event.stream !== "") attributes.set("subject", event.stream);
  const isUntold = event.contentType === "" || (cameAsOne && event.contentType === octets);
  if (!isUntold) attributes.set("datacontenttype", event.contentType);
  if (!cameAsOne) attributes.set("time", textOf(event.recordedAt));
  if (event.traceParent !== "") attributes.set("traceparent", event.traceParent);
  for (const [name, value] of kept) attributes.set(name, value);
  if (event.stream !== "") {
    attributes.set("stream", event.stream);
    attributes.set("streamversion", `${event.version}`);
  }
  attributes.set("position", `${event.position}`);
  attributes.set("recordedtime", textOf(event.recordedAt));
  if (event.tags.length > 0) attributes.set("tags", JSON.stringify(event.tags));
  if (Object.keys(others).length > 0) attributes.set("metadata", JSON.stringify(others));
  if (event.principal !== "") attributes.set("principal", event.principal);
  const hasData = event.data.length > 0 || Object.hasOwn(event.metadata, emptyDataKey);
  return { attributes, data: hasData ? event.data : undefined, contentType: event.contentType };
}

/** What an event costs beside its data, as the scheduler counts: see domain/steps.ts. */
const eventCost = 512;

/** The structured mode. In one line. */
export function* writeStructured(
  { attributes, data, contentType }: Told,
  out: AnswerText,
): Steps<void> {
  const text = JSON.stringify(Object.fromEntries(attributes));
  if (out.add(text.slice(0, -1), eventCost)) yield out.take();
  if (data !== undefined) yield* writeData(data, contentType, out);
  out.add("}");
}

/** The headers of the binary mode. */
export function binaryFields({ attributes, contentType }: Told): [string, string][] {
  const fields: [string, string][] = contentType === "" ? [] : [["content-type", contentType]];
  for (const [name, value] of attributes) {
    if (name !== "datacontenttype") fields.push([`${keptPrefix}${name}`, escaped(String(value))]);
  }
  return fields;
}

/** JSON as it is stored, so that no digit of a number changes. */
function* writeData(data: Uint8Array, contentType: string, out: AnswerText): Steps<void> {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (isJsonContentType(contentType)) {
    if (yield* isJson(bytes)) {
      out.add(',"data":');
      // Strings of JSON have no line breaks.
      return yield* out.addText(bytes, (piece) => piece.replaceAll(/[\r\n]/g, " "));
    }
  } else if (contentType.toLowerCase().startsWith("text/") && isUtf8(bytes)) {
    out.add(',"data":"');
    yield* out.addText(bytes);
    return void out.add('"');
  }
  out.add(',"data_base64":"');
  yield* out.addBase64(bytes);
  out.add('"');
}

/** Longer JSON is parsed in steps. */
const parsedAtOnceMax = 64 * 1024;

function* isJson(bytes: Buffer): Steps<boolean> {
  if (bytes.length <= parsedAtOnceMax) return parseJson(bytes) !== undefined;
  if (bytes.length > jsonTextBytesMax || jsonShape(bytes).depth > jsonDepthMax) return false;
  return (yield* readInSteps(bytes, false)) !== undefined;
}

function textOf(time: RecordedEvent["recordedAt"]): string {
  return time === undefined ? "" : toJson(TimestampSchema, time);
}

function typed(value: string, kind: string | undefined): Attribute {
  if (kind === "integer" && /^-?\d{1,10}$/.test(value)) return Number(value);
  if (kind === "boolean" && (value === "true" || value === "false")) return value === "true";
  return value;
}

/** What is no visible ASCII, and double quotes and percent signs, as percent-encoded UTF-8. */
function escaped(text: string): string {
  let said = "";
  for (const byte of Buffer.from(text)) {
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x25;
    said += isPlain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return said;
}
