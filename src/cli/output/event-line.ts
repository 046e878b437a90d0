// The line format of `export`, `import` and `--json`: an event as one line of JSON, described in
// docs/command-line.md. Reading a line and writing it again gives the same bytes.

import type { NewEvent, RecordedEvent } from "../../gen/annals/v1/event_pb.js";
import { escapedJson } from "../../escape.ts";
import { jsonLine } from "./display.ts";
import { membersOf } from "./json-members.ts";
import { isoTime } from "../arguments/time.ts";

const jsonType = /^application\/(?:[^;\s]+\+)?json\s*(?:;.*)?$|^[^;\s]+\+json\s*(?:;.*)?$/i;
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

/**
 * The payload as text, if it is valid JSON on one line with a JSON content type. Otherwise
 * undefined.
 */
function jsonTextOf(contentType: string, data: Uint8Array): string | undefined {
  if (data.length === 0 || !jsonType.test(contentType)) return undefined;
  try {
    const text = strictUtf8.decode(data);
    JSON.parse(text);
    // White space around the value is not part of it, and a line break would end the line.
    return /^\s|\s$|[\r\n]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/**
 * An event as one line, including the line break. A JSON payload is written byte for byte. For a
 * terminal, it is written as the same JSON value with control and invisible characters escaped.
 */
export function lineOf(event: RecordedEvent, isForTerminal = false): string {
  const metadata = Object.entries(event.metadata).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const head = jsonLine({
    position: Number(event.position),
    version: Number(event.version),
    recordedAt: isoTime(event.recordedAt),
    ...(event.principal !== "" && { principal: event.principal }),
    ...(event.traceParent !== "" && { traceParent: event.traceParent }),
    id: event.id,
    stream: event.stream,
    type: event.type,
    tags: event.tags,
    metadata: Object.fromEntries(metadata),
    contentType: event.contentType,
  });
  const payload = payloadOf(event);
  const shown = isForTerminal ? escapedJson(payload) : payload;
  return `${head.slice(0, -2)}${shown}${removalOf(event)}}\n`;
}

function payloadOf({ contentType, data }: RecordedEvent): string {
  if (data.length === 0) return "";
  const json = jsonTextOf(contentType, data);
  if (json !== undefined) return `,"json":${json}`;
  const base64 = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
  return `,"data":"${base64}"`;
}

/** How an event was removed. Lines of an export never contain this. */
function removalOf({ removed }: RecordedEvent): string {
  if (removed === undefined) return "";
  const hash = Buffer.from(removed.contentSha256).toString("hex");
  const sha256 = hash === "" ? {} : { contentSha256: hash };
  const told = { policyPosition: Number(removed.policyPosition), ...sha256 };
  return `,"removed":${JSON.stringify(told)}`;
}

/** An event read from a line. Every field has a value, except that id and stream may be missing. */
export type LineEvent = Required<Pick<NewEvent, "id" | "stream" | "type" | "tags" | "metadata">> & {
  readonly contentType: string;
  readonly payload: { readonly case: "data"; readonly value: Uint8Array } | { case: undefined };
};

/** The line is not an event. The message says why. */
export class LineError extends Error {
  override readonly name = "LineError";
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Fields that the store assigns. An export contains them, and an import ignores them. */
const recorded = new Set(["position", "version", "recordedAt", "principal", "traceParent"]);

/** Reads a line. Throws `LineError`. */
export function eventOf(line: string): LineEvent {
  const object = objectIn(line);
  const texts = new Map<string, string>();
  for (const { name, text } of membersOf(line)) {
    if (texts.has(name)) throw new LineError(`"${name}" occurs twice`);
    if (!known.has(name) && !recorded.has(name)) throw new LineError(`"${name}" is unknown`);
    texts.set(name, text);
  }
  const id = stringIn(object, "id");
  if (id !== "" && !uuid.test(id)) throw new LineError(`"id": "${id}" is not a UUID`);
  const type = stringIn(object, "type");
  if (type === "") throw new LineError('"type" is missing');
  return {
    id: id.toLowerCase(),
    stream: stringIn(object, "stream"),
    type,
    tags: tagsIn(object),
    metadata: metadataIn(object),
    ...payloadIn(object, texts.get("json")),
  };
}

type Members = Record<string, unknown>;
const known = new Set("id stream type tags metadata contentType json data".split(" "));

function objectIn(line: string): Members {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new LineError(`not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new LineError("not a JSON object");
  }
  return value as Members;
}

/** An unpaired surrogate has no UTF-8 form. Node would store a replacement character instead. */
function wellFormed(text: string, name: string): string {
  if (/\p{Surrogate}/u.test(text)) throw new LineError(`"${name}" contains an unpaired surrogate`);
  return text;
}

function stringIn(object: Members, name: string): string {
  const value = object[name] ?? "";
  if (typeof value !== "string") throw new LineError(`"${name}" is not a string`);
  return wellFormed(value, name);
}

function tagsIn({ tags = [] }: Members): string[] {
  if (!Array.isArray(tags)) throw new LineError('"tags" is not an array of strings');
  return tags.map((tag: unknown) => {
    if (typeof tag !== "string") throw new LineError('"tags" is not an array of strings');
    return wellFormed(tag, "tags");
  });
}

function metadataIn({ metadata = {} }: Members): Record<string, string> {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    throw new LineError('"metadata" is not an object of strings');
  }
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") throw new LineError(`"metadata": "${key}" is not a string`);
    wellFormed(key + value, "metadata");
  }
  return metadata as Record<string, string>;
}

function payloadIn(object: Members, json: string | undefined) {
  const contentType = stringIn(object, "contentType");
  if (json !== undefined && "data" in object) throw new LineError('both "json" and "data"');
  if (json !== undefined) {
    if (contentType !== "" && !jsonType.test(contentType)) {
      throw new LineError(`"json" with the content type "${contentType}": use "data"`);
    }
    const value = utf8.encode(json);
    return { contentType: contentType || "application/json", payload: bytesOf(value) };
  }
  const type = contentType || "application/octet-stream";
  if (!("data" in object)) return { contentType: type, payload: { case: undefined } };
  const text = stringIn(object, "data");
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw new LineError('"data" is not base64');
  return { contentType: type, payload: bytesOf(bytes) };
}

function bytesOf(value: Uint8Array) {
  return { case: "data", value } as const;
}
