// Converts JSON between `google.protobuf.Value`, as clients send and read it, and the JSON text
// that is stored. A value is encoded without message objects, because three megabytes of small
// numbers would become a hundred megabytes of objects.

import type { Value } from "@bufbuild/protobuf/wkt";
import {
  isExactNumber,
  isJsonObject,
  parseJson,
  type Json,
  jsonShape,
  jsonTextBytesMax,
  jsonValuesMax,
} from "../../domain/json.ts";
import { wireBytes } from "../../domain/wire.ts";
import { BackwardWriter, DoesNotFit } from "./backward-writer.ts";

/** A `Value` that is no JSON; its message is the description of the violation. */
export class NotJson extends Error {}

/** The JSON of a `Value`. Throws `NotJson`. The decoder has already bounded the nesting. */
export function jsonOf({ kind }: Value): Json {
  switch (kind.case) {
    case "nullValue":
      return null;
    case "boolValue":
    case "stringValue":
      return kind.value;
    case "numberValue":
      if (!Number.isFinite(kind.value)) throw new NotJson(`holds ${kind.value}: no JSON number`);
      return kind.value;
    case "listValue":
      return kind.value.values.map(jsonOf);
    case "structValue": {
      const members = Object.entries(kind.value.fields);
      return Object.fromEntries(members.map(([key, value]) => [key, jsonOf(value)]));
    }
    case undefined:
      throw new NotJson("holds a google.protobuf.Value without a kind");
  }
}

/**
 * Message levels a decoded value may take: most clients' decoders end at 100, and the value is
 * inside other messages.
 */
const levelsMax = 90;

/**
 * A JSON text as the wire bytes of a `Value` of at most `bytesMax`. Undefined if the text is not
 * JSON or does not fit, or if a `Value` would change it.
 */
export function valueBytesOfText(text: Uint8Array, bytesMax: number): Buffer | undefined {
  if (text.length > jsonTextBytesMax) return undefined;
  const { depth, values, changesNumbers } = jsonShape(text);
  if (depth > levelsMax || values > jsonValuesMax || changesNumbers) return undefined;
  const json = parseJson(text);
  return json === undefined ? undefined : valueBytes(json, bytesMax);
}

/**
 * JSON as the wire bytes of a `Value`. Undefined if it is larger than `bytesMax` or too deep, or
 * has what a `Value` cannot say: a number that no double is, or half of a surrogate pair, which
 * UTF-8 does not have.
 */
export function valueBytes(json: Json, bytesMax: number): Buffer | undefined {
  const writer = new BackwardWriter(bytesMax);
  try {
    writeValue(writer, json, 1);
  } catch (error) {
    if (error instanceof DoesNotFit) return undefined;
    throw error;
  }
  return writer.bytes();
}

const tagOf = (field: number): number => field * 8 + wireBytes;
const nullValue = 0x08;
const numberValue = 0x11;
const boolValue = 0x20;

/** Writes the fields of a `Value`, the last byte first. */
function writeValue(writer: BackwardWriter, json: Json, level: number): void {
  if (level > levelsMax) throw new DoesNotFit();
  if (json === null) writer.varintField(nullValue, 0);
  else if (typeof json === "boolean") writer.varintField(boolValue, json ? 1 : 0);
  else if (typeof json === "number") writer.doubleField(numberValue, json);
  else if (typeof json === "string") writer.textField(tagOf(3), json);
  else if (isExactNumber(json)) throw new DoesNotFit();
  else {
    const end = writer.length;
    if (isJsonObject(json)) writeStruct(writer, json, level + 1);
    else writeList(writer, json, level + 1);
    writer.prefix(tagOf(Array.isArray(json) ? 6 : 5), writer.length - end);
  }
}

function writeList(writer: BackwardWriter, list: readonly Json[], level: number): void {
  for (let i = list.length - 1; i >= 0; i--) {
    const end = writer.length;
    writeValue(writer, list[i] as Json, level + 1);
    writer.prefix(tagOf(1), writer.length - end);
  }
}

function writeStruct(writer: BackwardWriter, struct: { [key: string]: Json }, level: number): void {
  for (const key of Object.keys(struct).toReversed()) {
    const end = writer.length;
    writeValue(writer, struct[key] as Json, level + 2);
    writer.prefix(tagOf(2), writer.length - end);
    writer.textField(tagOf(1), key);
    writer.prefix(tagOf(1), writer.length - end);
  }
}
