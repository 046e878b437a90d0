// A message in JSON whose payload is long, read in steps: the payload, which is bytes in base64 or
// JSON, is taken out, and what is left of the message is short.

import type { DescMessage } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { invalidField } from "../../domain/errors.ts";
import { jsonPartsInSteps, readInSteps, requestBounds } from "../../domain/exact-json.ts";
import { isJsonContentType } from "../../domain/json.ts";
import { Effort, type Steps } from "../../domain/steps.ts";
import { varintBytes, WireReader, wireBytes, writeVarint } from "../../domain/wire.ts";
import { WrittenText } from "../../domain/written-text.ts";
import { defaultContentType } from "../convert/checks.ts";
import { JsonWalk, tooMuch, type Span } from "./json-walk.ts";
import { binaryOf, messageOfJson, requestOfJson, withTexts } from "./message-json.ts";
import { plainBytesMax, plainRequest } from "./plain-request.ts";

/** A longer value is taken out. */
const shortBytesMax = 16 * 1024;
/** What stands in its place, by the key of the member. */
const places: ReadonlyMap<string, Buffer> = new Map([
  ['"data"', Buffer.from('""')],
  ['"json"', Buffer.from("0")],
]);
/** What a byte costs that is read. */
const readShare = 1 / 4;

/** What there may be of a message beside its payload. */
interface Rest {
  readonly bytesMax: number;
  /** For messages. */
  readonly beside: string;
}

/** The message at a place of the text, in protobuf. Throws INVALID_FIELD. */
export function* messageInSteps(
  schema: DescMessage,
  body: Buffer,
  [start, end]: Span,
  { bytesMax, beside }: Rest,
): Steps<Buffer> {
  const { rest, payload, isJson } = yield* takenOut(body, start, end);
  if (rest.length > bytesMax) throw tooMuch(`has more than ${bytesMax} bytes beside ${beside}`);
  const message = yield* shortMessage(schema, rest);
  if (payload === undefined) return message;
  const bytes = yield* isJson ? canonicalText(payload) : base64InSteps(payload, "data");
  return withPayload(schema, message, bytes, isJson);
}

interface TakenOut {
  readonly rest: Buffer;
  /** Its text. */
  readonly payload: Buffer | undefined;
  readonly isJson: boolean;
}

function* takenOut(body: Buffer, start: number, end: number): Steps<TakenOut> {
  const parts: Buffer[] = [];
  let from = start;
  let payload: Buffer | undefined;
  let isJson = false;
  const walk = new JsonWalk(body, start, end);
  walk.expect(0x7b);
  for (let isFirst = true; !walk.passes(0x7d); isFirst = false) {
    if (!isFirst) walk.expect(0x2c);
    const key = yield* walk.value();
    walk.expect(0x3a);
    const [valueStart, valueEnd] = yield* walk.value();
    const length = key[1] - key[0];
    const place = length === 6 ? places.get(body.toString("latin1", ...key)) : undefined;
    if (place === undefined || valueEnd - valueStart <= shortBytesMax) continue;
    isJson = place.length === 1;
    if (!isJson && body[valueStart] !== 0x22) continue;
    // One that is said twice is refused with the rest.
    payload = body.subarray(valueStart, valueEnd);
    parts.push(body.subarray(from, valueStart), place);
    from = valueEnd;
  }
  walk.end();
  return { rest: Buffer.concat([...parts, body.subarray(from, end)]), payload, isJson };
}

function* shortMessage(schema: DescMessage, rest: Buffer): Steps<Buffer> {
  if (rest.length <= plainBytesMax) return requestOfJson(schema, rest);
  const plain = plainRequest(schema, rest);
  yield rest.length * readShare;
  if (plain !== undefined) return plain;
  const message = withTexts(messageOfJson(schema, rest));
  yield rest.length * readShare;
  return binaryOf(schema, message);
}

/** The text in which the payload is stored. Its numbers are doubles, and it nests a little. */
function* canonicalText(text: Buffer): Steps<Buffer> {
  const read = yield* readInSteps(text, false, requestBounds);
  if (read === undefined) throw invalidField("json", "is not JSON");
  const { value, problem } = read;
  if (problem !== undefined) throw invalidField("json", problem);
  const written = new WrittenText(text.length);
  yield* jsonPartsInSteps(value, written, true);
  return written.bytes();
}

/** Characters that are decoded together. */
const pieceChars = 64 * 1024;

/** The bytes that a string in JSON has in base64, as the codec reads it. `field`: for messages. */
function* base64InSteps(text: Buffer, field: string): Steps<Buffer> {
  let chars = text.subarray(1, -1);
  if (chars.includes("\\")) chars = Buffer.from(JSON.parse(text.toString()) as string);
  const bytes = Buffer.allocUnsafeSlow(Math.ceil((chars.length / 4) * 3));
  const effort = new Effort();
  let at = 0;
  /** Behind the last group of four. */
  let rest = "";
  for (let from = 0; from < chars.length; from += pieceChars) {
    const piece = chars.toString("latin1", from, from + pieceChars);
    rest += /\s/.test(piece) ? piece.replaceAll(/[\t\n\r ]/g, "") : piece;
    if (from + pieceChars >= chars.length) break;
    const whole = rest.length - (rest.length % 4);
    const written = bytes.write(rest.slice(0, whole), at, "base64");
    if (written !== (whole / 4) * 3) throw noBase64(field);
    at += written;
    rest = rest.slice(whole);
    if (effort.spend(pieceChars * readShare)) yield effort.take();
  }
  try {
    const last = base64Decode(rest);
    bytes.set(last, at);
    return bytes.subarray(0, at + last.length);
  } catch {
    throw noBase64(field);
  }
}

function noBase64(field: string) {
  return invalidField(field, "is not base64");
}

/** A message with its payload as bytes. */
function withPayload(
  { field }: DescMessage,
  message: Buffer,
  payload: Buffer,
  isJson: boolean,
): Buffer {
  const tagOf = (name: string): number => (field[name]?.number ?? 0) * 8 + wireBytes;
  const [tagType, tagData, tagJson] = ["contentType", "data", "json"].map(tagOf);
  const kept: Uint8Array[] = [];
  let type = "";
  const reader = new WireReader(message);
  while (!reader.done) {
    const from = reader.offset;
    const tag = reader.varint();
    if (tag === tagType) type = Buffer.from(reader.view()).toString();
    else reader.passOver(tag % 8);
    if (tag !== tagData && tag !== tagJson) kept.push(message.subarray(from, reader.offset));
  }
  if (isJson && type === "") {
    const text = Buffer.from(defaultContentType.json);
    kept.push(headOf(tagType as number, text.length), text);
  } else if (isJson && !isJsonContentType(type)) {
    // What stands in the payload's place is refused by the type's name.
    return message;
  }
  return Buffer.concat([...kept, headOf(tagData as number, payload.length), payload]);
}

function headOf(tag: number, length: number): Buffer {
  const head = Buffer.alloc(1 + varintBytes(length));
  head[0] = tag;
  writeVarint(head, 1, length);
  return head;
}
