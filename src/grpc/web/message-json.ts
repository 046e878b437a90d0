// Messages as JSON and back (https://protobuf.dev/programming-guides/json/), strictly: what a
// client mistyped must not be taken for what it did not say.

import {
  createRegistry,
  fromBinary,
  fromJsonString,
  isMessage,
  toBinary,
  toJsonString,
  type DescMessage,
  type Message,
  type MessageShape,
} from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { invalidField, type AnnalsError } from "../../domain/errors.ts";
import { canonicalJson, isJsonContentType, jsonShape } from "../../domain/json.ts";
import { nearTo } from "../../domain/near.ts";
import { AppendRequestSchema } from "../../gen/annals/v1/append_pb.js";
import { file_annals_v1_errors } from "../../gen/annals/v1/errors_pb.js";
import { NewEventSchema, type NewEvent } from "../../gen/annals/v1/event_pb.js";
import { SaveSnapshotRequestSchema } from "../../gen/annals/v1/snapshot_pb.js";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.js";
import { defaultContentType } from "../convert/checks.ts";
import { jsonOf } from "../convert/json-value.ts";
import { noDouble, tooMuch } from "./json-walk.ts";
import { plainAnswer, plainValue } from "./plain-answer.ts";
import { plainRequest } from "./plain-request.ts";

/** For `google.protobuf.Any`. */
export const registry = createRegistry(file_annals_v1_errors, file_google_rpc_error_details);

/** Most clients end at 100 levels. */
export const bodyDepthMax = 100;
/** The codec's count of levels, of which a value in a message takes two. */
const recursionLimit = 2 * bodyDepthMax;
/** An append at all of its limits has some 130,000. */
export const bodyValuesMax = 1 << 18;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The request in protobuf. Throws INVALID_FIELD, which names what is wrong. */
export function requestOfJson(schema: DescMessage, body: Uint8Array): Buffer {
  return plainRequest(schema, body) ?? requestByCodec(schema, body);
}

/** As `requestOfJson`, whatever the request is. */
export function requestByCodec(schema: DescMessage, body: Uint8Array): Buffer {
  return binaryOf(schema, withTexts(messageOfJson(schema, body)));
}

/** The message with its JSON payloads as text. */
export function withTexts<M extends Message>(message: M): M {
  if (isMessage(message, AppendRequestSchema)) message.events.forEach(keepText);
  else if (isMessage(message, NewEventSchema)) keepText(message);
  else if (isMessage(message, SaveSnapshotRequestSchema)) {
    const { contentType, state: payload } = message;
    const kept = keptText({ contentType, payload });
    message.contentType = kept.contentType;
    message.state = kept.payload;
  }
  return message;
}

function keepText(event: NewEvent): void {
  Object.assign(event, keptText(event));
}

type Payload = Pick<NewEvent, "contentType" | "payload">;

/**
 * A JSON payload as the text that is stored, which takes the store less work than a value does, and
 * may nest more deeply.
 */
function keptText({ contentType, payload }: Payload): Payload {
  const isJsonType = contentType === "" || isJsonContentType(contentType);
  if (payload.case !== "json" || !isJsonType) return { contentType, payload };
  const value = Buffer.from(canonicalJson(jsonOf(payload.value)));
  return {
    contentType: contentType === "" ? defaultContentType.json : contentType,
    payload: { case: "data", value },
  };
}

export function binaryOf<S extends DescMessage>(schema: S, message: MessageShape<S>): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Throws INVALID_FIELD, which names what is wrong. `source`: what is read. */
export function messageOfJson<S extends DescMessage>(
  schema: S,
  body: Uint8Array,
  source = "body",
): MessageShape<S> {
  const { depth, values, changesNumbers } = jsonShape(body);
  if (depth > bodyDepthMax) throw tooMuch(`nests deeper than ${bodyDepthMax} levels`, source);
  if (values > bodyValuesMax) throw tooMuch(`has more than ${bodyValuesMax} values`, source);
  if (changesNumbers) throw noDouble(source);
  try {
    return fromJsonString(schema, utf8.decode(body), { registry, recursionLimit });
  } catch (error) {
    throw asViolation(schema, error as Error, source);
  }
}

export function jsonOfBytes(schema: DescMessage, bytes: Uint8Array): string {
  return plainAnswer(schema, bytes) ?? jsonByCodec(schema, bytes);
}

/** As `jsonOfBytes`, of a `google.protobuf.Value`. */
export function jsonOfValue(bytes: Uint8Array): string {
  return plainValue(bytes) ?? jsonByCodec(ValueSchema, bytes);
}

/** As `jsonOfBytes`, whatever the message is. */
export function jsonByCodec(schema: DescMessage, bytes: Uint8Array): string {
  return toJsonString(schema, fromBinary(schema, bytes), { registry });
}

/** Of the codec's messages, which repeat what was sent. */
const saidCharsMax = 2_000;

/** The codec says where it stopped in its messages. */
function asViolation(schema: DescMessage, error: Error, source: string): AnnalsError {
  const said = error.message.slice(0, saidCharsMax).replaceAll("\n", " ");
  const [, kind, where = "", why = said] =
    /^cannot decode (field|oneof|message|enum) (\S+) from JSON: (.*)$/.exec(said) ?? [];
  const unknown = /^key "(.*)" is unknown$/.exec(why)?.[1];
  if (unknown !== undefined) {
    // As the contract spells them; JSON's own spelling is read, too.
    const names = messageNamed(schema, where)?.fields.map(({ name }) => name) ?? [];
    const like = nearTo(unknown, names);
    const hint = like === undefined ? "" : `; did you mean ${like}?`;
    return invalidField(unknown, `is no member of ${where}${hint}`);
  }
  if (kind !== "field" && kind !== "oneof")
    return invalidField(source, `not a valid ${where}: ${why}`);
  const inWhat = where.startsWith(`${schema.typeName}.`) ? "" : ` (${where})`;
  return invalidField(where.slice(where.lastIndexOf(".") + 1), `${why}${inWhat}`);
}

/** The message type of this name among those that a message is made of. */
function messageNamed(
  schema: DescMessage,
  name: string,
  seen = new Set<DescMessage>(),
): DescMessage | undefined {
  if (schema.typeName === name) return schema;
  seen.add(schema);
  for (const { message } of schema.fields) {
    if (message === undefined || seen.has(message)) continue;
    const found = messageNamed(message, name, seen);
    if (found !== undefined) return found;
  }
  return undefined;
}
