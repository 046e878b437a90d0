// Long messages as JSON, in steps, so that none of them keeps others from the main thread: the
// messages in a message one by one, and long texts, bytes and values piece by piece. Short ones are
// written at once (message-json.ts). A test proves that both ways make the same text.

import { ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import type { Steps } from "../../domain/steps.ts";
import { WireReader, wireBytes } from "../../domain/wire.ts";
import type { AnswerText } from "./answer-text.ts";
import { jsonByCodec, jsonOfBytes, jsonOfValue } from "./message-json.ts";
import { plainAnswer } from "./plain-answer.ts";

/** What a message or a value costs that is written at once, and each byte of it. */
const messageCost = 96;
const codecCost = 1_024;
const valueCost = 16;
const byteShare = 1 / 4;

/** As `jsonOfBytes`. */
export function* writeMessage(
  schema: DescMessage,
  bytes: Uint8Array,
  out: AnswerText,
): Steps<void> {
  if (bytes.length <= out.atOnceBytesMax) {
    const plain = plainAnswer(schema, bytes);
    const cost = plain === undefined ? codecCost : messageCost + bytes.length * byteShare;
    if (out.add(plain ?? jsonByCodec(schema, bytes), cost)) yield out.take();
    return;
  }
  const found = placesIn(bytes);
  let before = "{";
  for (const field of schema.fields.toSorted((a, b) => a.number - b.number)) {
    const places = found.get(field.number);
    if (places === undefined) continue;
    const write = writerOf(field, bytes, places, out.atOnceBytesMax);
    if (write !== undefined) {
      out.add(`${before}${JSON.stringify(field.jsonName)}:`);
      yield* write(out);
    } else {
      const members = jsonOfBytes(schema, together(bytes, places)).slice(1, -1);
      // A member at its default is not said.
      if (members === "") continue;
      if (out.add(before + members, messageCost + members.length * byteShare)) yield out.take();
    }
    before = ",";
  }
  out.add(before === "{" ? "{}" : "}");
}

/** Where each field is, by its number: the offsets of its tag, of its value, and of its end. */
type Places = readonly number[];

function placesIn(bytes: Uint8Array): Map<number, number[]> {
  const found = new Map<number, number[]>();
  const reader = new WireReader(bytes);
  while (!reader.done) {
    const { offset: from } = reader;
    const tag = reader.varint();
    let start = reader.offset;
    if (tag % 8 === wireBytes) {
      const end = reader.lengthEnd();
      start = reader.offset;
      reader.offset = end;
    } else reader.passOver(tag % 8);
    const number = Math.floor(tag / 8);
    const places = found.get(number);
    if (places === undefined) found.set(number, [from, start, reader.offset]);
    else places.push(from, start, reader.offset);
  }
  return found;
}

/** The bytes of one field, however often it is there. */
function together(bytes: Uint8Array, places: Places): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let i = 0; i < places.length; i += 3) parts.push(bytes.subarray(places[i], places[i + 2]));
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}

type Write = (out: AnswerText) => Steps<void>;

/** Undefined: the field is written at once. */
function writerOf(
  field: DescField,
  bytes: Uint8Array,
  places: Places,
  atOnceBytesMax: number,
): Write | undefined {
  const { message } = field;
  const isOwn = message !== undefined && !message.typeName.startsWith("google.protobuf.");
  if (field.fieldKind === "list" && isOwn) {
    return (out) => writeList(message, bytes, places, out);
  }
  const [, start = 0, end = 0] = places;
  if (places.length > 3 || end - start <= atOnceBytesMax) return undefined;
  const value = bytes.subarray(start, end);
  if (field.fieldKind === "message") {
    if (isOwn) return (out) => writeMessage(message, value, out);
    const isValue = message?.typeName === "google.protobuf.Value";
    return isValue ? (out) => writeValue(value, out) : undefined;
  }
  if (field.fieldKind !== "scalar") return undefined;
  if (field.scalar === ScalarType.STRING) return (out) => quoted(out, out.addText(value));
  if (field.scalar === ScalarType.BYTES) return (out) => quoted(out, out.addBase64(value));
  return undefined;
}

function* quoted(out: AnswerText, text: Steps<void>): Steps<void> {
  out.add('"');
  yield* text;
  out.add('"');
}

function* writeList(
  schema: DescMessage,
  bytes: Uint8Array,
  places: Places,
  out: AnswerText,
): Steps<void> {
  for (let i = 0; i < places.length; i += 3) {
    out.add(i === 0 ? "[" : ",");
    yield* writeMessage(schema, bytes.subarray(places[i + 1], places[i + 2]), out);
  }
  out.add("]");
}

const tagString = 3 * 8 + wireBytes;
const tagStruct = 5 * 8 + wireBytes;
const tagList = 6 * 8 + wireBytes;
const tagKey = 0x0a;

/** A `google.protobuf.Value`, as this server encodes it: its one field says what it is. */
function* writeValue(bytes: Uint8Array, out: AnswerText): Steps<void> {
  const reader = new WireReader(bytes);
  const tag = bytes.length <= out.atOnceBytesMax ? 0 : reader.varint();
  switch (tag) {
    case tagString:
      return yield* quoted(out, out.addText(reader.view()));
    case tagStruct:
      return yield* writeElements(new WireReader(reader.view()), out, "{}");
    case tagList:
      return yield* writeElements(new WireReader(reader.view()), out, "[]");
    default:
      if (out.add(jsonOfValue(bytes), valueCost + bytes.length * byteShare)) yield out.take();
  }
}

/** The entries of a struct, or the values of a list, all of which have the same tag. */
function* writeElements(elements: WireReader, out: AnswerText, [open, close]: string): Steps<void> {
  let before = open as string;
  while (!elements.done) {
    elements.varint();
    out.add(before);
    const element = elements.view();
    yield* open === "[" ? writeValue(element, out) : writeEntry(new WireReader(element), out);
    before = ",";
  }
  out.add(before === open ? `${open}${close}` : (close as string));
}

/** The key comes first. */
function* writeEntry(entry: WireReader, out: AnswerText): Steps<void> {
  if (entry.varint() !== tagKey) throw new RangeError("an entry without its key");
  yield* quoted(out, out.addText(entry.view()));
  out.add(":");
  entry.varint();
  yield* writeValue(entry.view(), out);
}
