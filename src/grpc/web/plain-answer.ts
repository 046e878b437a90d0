// The fast path of JSON answers: the bytes of a message straight to JSON text, by tables made from
// its descriptor. What is not plain takes the path of the codec (message-json.ts). A test proves
// that both paths make the same text.

import { ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { WireReader, wireBytes, wireFixed64, wireVarint } from "../../domain/wire.ts";
import { leave, NotPlain } from "../convert/plain-fields.ts";
import { tablesBy } from "./message-tables.ts";

/** The message as JSON. Undefined: it is not for the fast path. */
export function plainAnswer(schema: DescMessage, bytes: Uint8Array): string | undefined {
  return plainly(bytes, (reader) => messageText(tableOf(schema), reader, bytes.length));
}

/** The same of a `google.protobuf.Value`. */
export function plainValue(bytes: Uint8Array): string | undefined {
  return plainly(bytes, (reader) => {
    const text = kindText(reader, 1);
    return reader.done ? text : leave();
  });
}

function plainly(bytes: Uint8Array, read: Read): string | undefined {
  try {
    return read(new WireReader(bytes, 0, bytes.length, true));
  } catch (error) {
    // A malformed message is for the codec to name.
    if (error instanceof NotPlain || error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The text of a value that begins at the reader's offset. */
type Read = (reader: WireReader) => string;

interface FieldReader {
  /** The member's name with its colon. */
  readonly name: string;
  readonly kind: "one" | "list" | "map";
  readonly read: Read;
}

/** What a message of a type is made of. */
interface Table {
  /** The places of fields, by tag. */
  readonly places: readonly (number | undefined)[];
  /** By their numbers, as they are said. */
  readonly fields: readonly FieldReader[];
}

const tableOf = tablesBy(made);

function made(schema: DescMessage): Table {
  const sorted = schema.fields.toSorted((a, b) => a.number - b.number);
  const places: (number | undefined)[] = [];
  const fields: FieldReader[] = [];
  for (const field of sorted) {
    const reader = readerOf(field);
    // Its messages are for the codec.
    if (reader === undefined) continue;
    places[field.number * 8 + reader.wireType] = fields.length;
    fields.push({ name: `${JSON.stringify(field.jsonName)}:`, ...reader });
  }
  return { places, fields };
}

function messageText({ places, fields }: Table, reader: WireReader, end: number): string {
  const said: (string | undefined)[] = [];
  let keys: Set<string> | undefined;
  while (reader.offset < end) {
    const place = places[reader.varint()];
    if (place === undefined) leave();
    const { kind, read } = fields[place] as FieldReader;
    const before = said[place];
    if (kind === "map") said[place] = withEntry(before, reader, (keys ??= new Set()));
    else if (before === undefined) said[place] = read(reader);
    else if (kind === "list") said[place] = `${before},${read(reader)}`;
    else leave();
  }
  if (reader.offset !== end) leave();
  return joined(fields, said);
}

function joined(fields: readonly FieldReader[], said: readonly (string | undefined)[]): string {
  let text = "";
  for (let i = 0; i < fields.length; i++) {
    const value = said[i];
    if (value === undefined) continue;
    const { name, kind } = fields[i] as FieldReader;
    text += text === "" ? name : `,${name}`;
    if (kind === "one") text += value;
    else text += kind === "list" ? `[${value}]` : `{${value}}`;
  }
  return `{${text}}`;
}

type Reading = Pick<FieldReader, "kind" | "read"> & { readonly wireType: number };

function readerOf(field: DescField): Reading | undefined {
  switch (field.fieldKind) {
    case "scalar": {
      const isImplicit = field.presence === FeatureSet_FieldPresence.IMPLICIT;
      return scalarReading(field.scalar, isImplicit);
    }
    case "enum": {
      const names = new Map(field.enum.values.map(({ number, name }) => [number, name]));
      const isImplicit = field.presence === FeatureSet_FieldPresence.IMPLICIT;
      const read: Read = (reader) => {
        const number = reader.varint();
        const name = names.get(number);
        if (name === undefined || (number === 0 && isImplicit)) leave();
        return JSON.stringify(name);
      };
      return { kind: "one", wireType: wireVarint, read };
    }
    case "message":
      return { kind: "one", wireType: wireBytes, read: messageReader(field.message) };
    case "list": {
      if (field.listKind === "message") {
        return { kind: "list", wireType: wireBytes, read: messageReader(field.message) };
      }
      if (field.listKind !== "scalar" || field.scalar !== ScalarType.STRING) return undefined;
      return { kind: "list", wireType: wireBytes, read: readText };
    }
    case "map": {
      const isText = field.mapKind === "scalar" && field.scalar === ScalarType.STRING;
      if (!isText || field.mapKey !== ScalarType.STRING) return undefined;
      return { kind: "map", wireType: wireBytes, read: leave };
    }
  }
}

/** `isImplicit`: a zero is not said. */
function scalarReading(scalar: ScalarType, isImplicit: boolean): Reading | undefined {
  const orLeave = (text: string, zero: string): string =>
    isImplicit && text === zero ? leave() : text;
  switch (scalar) {
    case ScalarType.STRING: {
      const read: Read = (reader) => orLeave(readText(reader), '""');
      return { kind: "one", wireType: wireBytes, read };
    }
    case ScalarType.UINT64: {
      const read: Read = (reader) => orLeave(`"${reader.varint()}"`, '"0"');
      return { kind: "one", wireType: wireVarint, read };
    }
    case ScalarType.BOOL: {
      const read: Read = (reader) => orLeave(boolText(reader.varint()), "false");
      return { kind: "one", wireType: wireVarint, read };
    }
    case ScalarType.BYTES: {
      const read: Read = (reader) => orLeave(`"${base64(reader.view())}"`, '""');
      return { kind: "one", wireType: wireBytes, read };
    }
    default:
      return undefined;
  }
}

function boolText(value: number): string {
  if (value > 1) leave();
  return value === 1 ? "true" : "false";
}

function base64({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, length).toString("base64");
}

/** Longer texts are decoded by Node. */
const shortMax = 32;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A text as JSON has it. */
function readText(reader: WireReader): string {
  return JSON.stringify(rawText(reader));
}

function rawText(reader: WireReader): string {
  const end = reader.lengthEnd();
  const { bytes, offset } = reader;
  reader.offset = end;
  if (end - offset <= shortMax) {
    let text = "";
    let i = offset;
    for (let byte; i < end && (byte = bytes[i] as number) < 0x80; i++) {
      text += String.fromCharCode(byte);
    }
    if (i === end) return text;
  }
  try {
    return utf8.decode(bytes.subarray(offset, end));
  } catch {
    return leave();
  }
}

function messageReader(schema: DescMessage): Read {
  switch (schema.typeName) {
    case "google.protobuf.Timestamp":
      return readTimestamp;
    case "google.protobuf.Value":
      return (reader) => readValue(reader, 1);
    default:
      // Others of these types have a JSON of their own.
      if (schema.typeName.startsWith("google.protobuf.")) return leave;
      return (reader) => {
        const end = reader.lengthEnd();
        return messageText(tableOf(schema), reader, end);
      };
  }
}

const tagKey = 0x0a;
const tagEntryValue = 0x12;
/** Objects put such keys first. */
const indexForm = /^\d+$/;

/** The key and the value of an entry of a map follow each other, as everybody writes them. */
function readKey(reader: WireReader, keys: Set<string>): { key: string; end: number } {
  const end = reader.lengthEnd();
  if (reader.varint() !== tagKey) leave();
  const key = rawText(reader);
  if (keys.has(key) || key === "__proto__" || indexForm.test(key)) leave();
  keys.add(key);
  if (reader.offset >= end || reader.varint() !== tagEntryValue) leave();
  return { key, end };
}

function withEntry(before: string | undefined, reader: WireReader, keys: Set<string>): string {
  const { key, end } = readKey(reader, keys);
  const entry = `${JSON.stringify(key)}:${readText(reader)}`;
  if (reader.offset !== end) leave();
  return before === undefined ? entry : `${before},${entry}`;
}

const tagSeconds = 0x08;
const tagNanos = 0x10;
const nanosMax = 999_999_999;
/** 9999-12-31T23:59:59Z. */
const secondsMax = 253_402_300_799;

function readTimestamp(reader: WireReader): string {
  const end = reader.lengthEnd();
  let seconds = 0;
  let nanos = 0;
  while (reader.offset < end) {
    const tag = reader.varint();
    if (tag === tagSeconds) seconds = reader.varint();
    else if (tag === tagNanos) nanos = reader.varint();
    else leave();
  }
  if (reader.offset !== end || seconds > secondsMax || nanos > nanosMax) leave();
  const whole = new Date(seconds * 1_000).toISOString().slice(0, -".000Z".length);
  if (nanos === 0) return `"${whole}Z"`;
  const digits = String(nanos).padStart(9, "0");
  const shown = digits.endsWith("000000") ? 3 : digits.endsWith("000") ? 6 : 9;
  return `"${whole}.${digits.slice(0, shown)}Z"`;
}

const tagNull = 1 * 8 + wireVarint;
const tagNumber = 2 * 8 + wireFixed64;
const tagString = 3 * 8 + wireBytes;
const tagBool = 4 * 8 + wireVarint;
const tagStruct = 5 * 8 + wireBytes;
const tagList = 6 * 8 + wireBytes;
const tagElement = 0x0a;
const levelsMax = 40;

/** A `google.protobuf.Value`, whose one field says what it is. */
function readValue(reader: WireReader, level: number): string {
  if (level > levelsMax) leave();
  const end = reader.lengthEnd();
  const text = kindText(reader, level);
  if (reader.offset !== end) leave();
  return text;
}

function kindText(reader: WireReader, level: number): string {
  switch (reader.varint()) {
    case tagNull:
      if (reader.varint() !== 0) leave();
      return "null";
    case tagNumber:
      return readNumber(reader);
    case tagString:
      return readText(reader);
    case tagBool:
      return boolText(reader.varint());
    case tagStruct:
      return readStruct(reader, level);
    case tagList:
      return readList(reader, level);
    default:
      return leave();
  }
}

function readNumber(reader: WireReader): string {
  const { bytes, offset } = reader;
  reader.passOver(wireFixed64);
  const number = new DataView(bytes.buffer, bytes.byteOffset + offset, 8).getFloat64(0, true);
  if (!Number.isFinite(number)) leave();
  return JSON.stringify(number);
}

function readStruct(reader: WireReader, level: number): string {
  const end = reader.lengthEnd();
  const keys = new Set<string>();
  let text = "";
  while (reader.offset < end) {
    if (reader.varint() !== tagElement) leave();
    const { key, end: entryEnd } = readKey(reader, keys);
    text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${readValue(reader, level + 1)}`;
    if (reader.offset !== entryEnd) leave();
  }
  if (reader.offset !== end) leave();
  return `{${text}}`;
}

function readList(reader: WireReader, level: number): string {
  const end = reader.lengthEnd();
  let text = "";
  while (reader.offset < end) {
    if (reader.varint() !== tagElement) leave();
    text += `${text === "" ? "" : ","}${readValue(reader, level + 1)}`;
  }
  if (reader.offset !== end) leave();
  return `[${text}]`;
}
