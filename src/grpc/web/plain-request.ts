// The fast path of JSON requests: parsed JSON straight to the bytes of the message, by tables made
// from its descriptor. What is not plainly right takes the path of the codec (message-json.ts),
// which reads it or refuses it by name. A test proves that both paths make the same bytes.

import { ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import {
  canonicalJson,
  isJsonContentType,
  isJsonObject,
  parseJson,
  stringEnds,
  type Json,
} from "../../domain/json.ts";
import { wireBytes, wireVarint } from "../../domain/wire.ts";
import { NewEventSchema } from "../../gen/annals/v1/event_pb.js";
import { BackwardWriter, DoesNotFit } from "../convert/backward-writer.ts";
import { defaultContentType } from "../convert/checks.ts";
import { leave, NotPlain } from "../convert/plain-fields.ts";
import { tablesBy } from "./message-tables.ts";

/** In a longer body, values of a payload may be beyond a limit. */
const payloadName = '"json"';

/** No payload of a smaller body is beyond a limit, however it is sent. */
export const plainBytesMax = 32 * 1024;

/** The request in protobuf. Undefined: it is not for the fast path. */
export function plainRequest(schema: DescMessage, body: Uint8Array): Buffer | undefined {
  const isLong = body.length > plainBytesMax;
  if (isLong && Buffer.from(body.buffer, body.byteOffset, body.length).includes(payloadName)) {
    return undefined;
  }
  try {
    const memberCount = countMembers(body);
    const json = parseJson(body);
    if (json === undefined) return undefined;
    const writer = new MessageWriter(body.length * growth + 1_024);
    writer.message(tableOf(schema), json);
    // The parser keeps one of two members with the same name.
    return writer.memberCount === memberCount ? writer.bytes() : undefined;
  } catch (error) {
    if (error instanceof NotPlain || error instanceof DoesNotFit) return undefined;
    throw error;
  }
}

/** What content types add to events, and tags and lengths to values, is less than this. */
const growth = 16;
/** Half of what the codec takes, with JSON in JSON. */
const depthMax = 32;
/** A double has any number that is as long and has no exponent. */
const numberCharsMax = 15;

/** The members of all objects of a JSON text. */
function countMembers(body: Uint8Array): number {
  const endOf = stringEnds(body);
  let depth = 0;
  let count = 0;
  for (let i = 0; i < body.length; i++) {
    const byte = body[i] as number;
    if (byte === 0x22) i = endOf(i);
    else if (byte === 0x3a) count++;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > depthMax) leave();
    } else if (byte === 0x7d || byte === 0x5d) depth--;
    else if (byte === 0x2d || isDigit(byte)) i = endOfNumber(body, i);
  }
  return count;
}

/** The last character of a number that a double does not change. */
function endOfNumber(body: Uint8Array, start: number): number {
  let end = start + 1;
  while (end < body.length && (isDigit(body[end] as number) || body[end] === 0x2e)) end++;
  const next = body[end];
  if (end - start > numberCharsMax || next === 0x65 || next === 0x45) leave();
  return end - 1;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

type Members = { [key: string]: Json };

/** What a message of a type is made of. */
interface Table {
  /** The indexes of fields, by both of their names. */
  readonly places: ReadonlyMap<string, number>;
  /** By their numbers. */
  readonly fields: readonly FieldWriter[];
  /** Changes what was given before it is written. */
  readonly settle?: (given: (Json | undefined)[]) => void;
}

interface FieldWriter {
  /** A bit for each group of which one field may be given. 0: any. */
  readonly oneof: number;
  write(writer: MessageWriter, json: Json): void;
}

/** Writes messages, the last byte first. */
class MessageWriter extends BackwardWriter {
  /** Of all objects that were written. */
  memberCount = 0;

  message({ places, fields, settle }: Table, json: Json): void {
    const members = this.membersOf(json);
    const given: (Json | undefined)[] = [];
    let oneofs = 0;
    for (const key of Object.keys(members)) {
      const place = places.get(key);
      const value = members[key];
      if (place === undefined || value === null || given[place] !== undefined) leave();
      given[place] = value;
      const { oneof } = fields[place] as FieldWriter;
      if ((oneofs & oneof) !== 0) leave();
      oneofs |= oneof;
    }
    settle?.(given);
    for (let i = fields.length - 1; i >= 0; i--) {
      const value = given[i];
      if (value !== undefined) (fields[i] as FieldWriter).write(this, value);
    }
  }

  membersOf(json: Json): Members {
    if (!isJsonObject(json)) leave();
    this.memberCount += Object.keys(json).length;
    return json;
  }

  countAll(json: Json): void {
    if (Array.isArray(json)) for (const each of json) this.countAll(each);
    else if (isJsonObject(json)) {
      for (const key of Object.keys(json)) {
        this.memberCount++;
        this.countAll(json[key] as Json);
      }
    }
  }
}

const tableOf = tablesBy(made);

function made(schema: DescMessage): Table {
  if (schema.typeName.startsWith("google.protobuf.")) leave();
  const sorted = schema.fields.toSorted((a, b) => a.number - b.number);
  const isEvent = schema === NewEventSchema;
  const places = new Map<string, number>();
  for (const [place, { name, jsonName }] of sorted.entries()) {
    places.set(name, place).set(jsonName, place);
  }
  const fields = sorted.map((field) => ({
    oneof: field.oneof === undefined ? 0 : 1 << schema.oneofs.indexOf(field.oneof),
    write: isEvent && field.name === "json" ? writePayload : writerOf(field),
  }));
  return isEvent ? { places, fields, settle: settleContentType(places) } : { places, fields };
}

/** JSON payloads go as the text that is stored, whose content type says so. */
function settleContentType(places: ReadonlyMap<string, number>): NonNullable<Table["settle"]> {
  const at = places.get("json") as number;
  const typeAt = places.get("content_type") as number;
  return (given) => {
    if (given[at] === undefined) return;
    const type = given[typeAt] ?? "";
    if (type === "") given[typeAt] = defaultContentType.json;
    else if (typeof type !== "string" || !isJsonContentType(type)) leave();
  };
}

const tagData = NewEventSchema.field.data.number * 8 + wireBytes;

function writePayload(writer: MessageWriter, json: Json): void {
  writer.countAll(json);
  writer.textField(tagData, canonicalJson(json));
}

type Write = FieldWriter["write"];

function writerOf(field: DescField): Write {
  const tag = field.number * 8;
  switch (field.fieldKind) {
    case "scalar":
      return scalarWriter(field.scalar, tag, field.presence === FeatureSet_FieldPresence.IMPLICIT);
    case "enum": {
      const isImplicit = field.presence === FeatureSet_FieldPresence.IMPLICIT;
      const numbers = new Map(field.enum.values.map(({ name, number }) => [name, number]));
      return (writer, json) => {
        const number = typeof json === "string" ? numbers.get(json) : undefined;
        if (number === undefined || number < 0) leave();
        if (number !== 0 || !isImplicit) writer.varintField(tag + wireVarint, number);
      };
    }
    case "message":
      return messageWriter(field.message, tag);
    case "list": {
      const { listKind } = field;
      const isTexts = listKind === "scalar" && field.scalar === ScalarType.STRING;
      if (listKind === "message") return listWriter(messageWriter(field.message, tag));
      return isTexts ? listWriter(scalarWriter(field.scalar, tag, false)) : leave;
    }
    case "map": {
      const isText = field.mapKind === "scalar" && field.scalar === ScalarType.STRING;
      return isText && field.mapKey === ScalarType.STRING ? mapWriter(tag) : leave;
    }
  }
}

/** `isImplicit`: a zero is not written. */
function scalarWriter(scalar: ScalarType, tag: number, isImplicit: boolean): Write {
  switch (scalar) {
    case ScalarType.STRING:
      return (writer, json) => {
        if (typeof json !== "string") leave();
        if (json !== "" || !isImplicit) writer.textField(tag + wireBytes, json);
      };
    case ScalarType.BOOL:
      return (writer, json) => {
        if (typeof json !== "boolean") leave();
        if (json || !isImplicit) writer.varintField(tag + wireVarint, json ? 1 : 0);
      };
    case ScalarType.UINT64:
      return (writer, json) => {
        const number = wholeOf(json);
        if (number !== 0 || !isImplicit) writer.varintField(tag + wireVarint, number);
      };
    case ScalarType.BYTES:
      return (writer, json) => {
        if (typeof json !== "string") leave();
        const bytes = Buffer.from(json, "base64");
        if (bytes.toString("base64") !== json) leave();
        if (bytes.length > 0 || !isImplicit) writer.bytesField(tag + wireBytes, bytes);
      };
    default:
      return leave;
  }
}

/** A number, or its digits. */
function wholeOf(json: Json): number {
  const number =
    typeof json === "string" && /^(?:0|[1-9]\d{0,15})$/.test(json) ? Number(json) : json;
  if (typeof number !== "number" || !Number.isSafeInteger(number) || number < 0) leave();
  return number;
}

function messageWriter(schema: DescMessage, tag: number): Write {
  return (writer, json) => {
    const end = writer.length;
    writer.message(tableOf(schema), json);
    writer.prefix(tag + wireBytes, writer.length - end);
  };
}

function listWriter(write: Write): Write {
  return (writer, json) => {
    if (!Array.isArray(json)) leave();
    for (let i = json.length - 1; i >= 0; i--) write(writer, json[i] as Json);
  };
}

const tagKey = 0x0a;
const tagValue = 0x12;

function mapWriter(tag: number): Write {
  return (writer, json) => {
    const members = writer.membersOf(json);
    for (const key of Object.keys(members).toReversed()) {
      const value = members[key];
      if (typeof value !== "string") leave();
      const end = writer.length;
      writer.textField(tagValue, value);
      writer.textField(tagKey, key);
      writer.prefix(tag + wireBytes, writer.length - end);
    }
  };
}
