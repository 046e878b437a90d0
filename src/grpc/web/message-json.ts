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
  type MessageShape,
} from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { invalidField, type AnnalsError } from "../../domain/errors.ts";
import { canonicalJson, isJsonContentType, jsonShape } from "../../domain/json.ts";
import { nearTo } from "../../domain/near.ts";
import { AppendRequestSchema, type AppendRequest } from "../../gen/annals/v1/append_pb.js";
import { file_annals_v1_errors } from "../../gen/annals/v1/errors_pb.js";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.js";
import { defaultContentType } from "../convert/checks.ts";
import { jsonOf } from "../convert/json-value.ts";
import { noDouble } from "./json-walk.ts";
import { plainAnswer, plainValue } from "./plain-answer.ts";
import { plainBytesMax, plainRequest } from "./plain-request.ts";

/** For `google.protobuf.Any`. */
export const registry = createRegistry(file_annals_v1_errors, file_google_rpc_error_details);

/** The codec and most clients end at 100 levels, of which JSON in JSON takes several each. */
export const bodyDepthMax = 100;
/** An append at all of its limits has some 130,000. */
export const bodyValuesMax = 1 << 18;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The request in protobuf. Throws INVALID_FIELD, which names what is wrong. */
export function requestOfJson(schema: DescMessage, body: Uint8Array): Buffer {
  return plainRequest(schema, body) ?? requestByCodec(schema, body);
}

/** As `requestOfJson`, whatever the request is. */
export function requestByCodec(schema: DescMessage, body: Uint8Array): Buffer {
  const message = messageOfJson(schema, body);
  if (body.length <= plainBytesMax && isMessage(message, AppendRequestSchema)) keepTexts(message);
  return binaryOf(schema, message);
}

/** JSON payloads as the text that is stored, which takes the store less work than values do. */
function keepTexts({ events }: AppendRequest): void {
  for (const event of events) {
    const { payload, contentType } = event;
    if (payload.case !== "json") continue;
    if (contentType === "") event.contentType = defaultContentType.json;
    else if (!isJsonContentType(contentType)) continue;
    event.payload = { case: "data", value: Buffer.from(canonicalJson(jsonOf(payload.value))) };
  }
}

export function binaryOf<S extends DescMessage>(schema: S, message: MessageShape<S>): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Throws INVALID_FIELD, which names what is wrong. */
export function messageOfJson<S extends DescMessage>(schema: S, body: Uint8Array): MessageShape<S> {
  const { depth, values, changesNumbers } = jsonShape(body);
  if (depth > bodyDepthMax) {
    throw invalidField("body", `the JSON nests deeper than ${bodyDepthMax} levels`);
  }
  if (values > bodyValuesMax) {
    throw invalidField("body", `the JSON has more than ${bodyValuesMax} values`);
  }
  if (changesNumbers) throw noDouble();
  try {
    return fromJsonString(schema, utf8.decode(body), { registry });
  } catch (error) {
    throw asViolation(schema, error as Error);
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

/** The codec says where it stopped in its messages. */
function asViolation(schema: DescMessage, error: Error): AnnalsError {
  const said = error.message.replaceAll("\n", " ");
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
    return invalidField("body", `not a valid ${where}: ${why}`);
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
