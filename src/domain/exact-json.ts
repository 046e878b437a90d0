// JSON whose numbers are kept as they were written, read and written in steps, so that a long text
// does not keep others from the main thread.

import {
  exactNumber,
  isChanged,
  isExactNumber,
  isJsonObject,
  jsonCost,
  jsonDepthMax,
  jsonShape,
  numberAt,
  parseJson,
  setMember,
  stringEnds,
  type Json,
  type JsonShape,
} from "./json.ts";
import { atOnce, Effort, stepBytes, type Steps } from "./steps.ts";

/**
 * As `parseJson`, but a number that a double would change is kept as its text (`isExactNumber`), so
 * that `JSON.stringify` writes the same number. Beyond `jsonDepthMax` numbers are as doubles.
 */
export function parseExactJson(bytes: Uint8Array): Json | undefined {
  return atOnce(parseExactInSteps(bytes, jsonShape(bytes)));
}

/** As `parseExactJson`. */
export function* parseExactInSteps(bytes: Uint8Array, shape: JsonShape): Steps<Json | undefined> {
  const cost = jsonCost(bytes, shape);
  const json = parseJson(bytes);
  if (cost >= stepBytes) yield cost;
  if (json === undefined || shape.depth > jsonDepthMax || !shape.changesNumbers) return json;
  return (yield* readInSteps(bytes, true))?.value;
}

export interface ReadJson {
  readonly value: Json;
  /** What is wrong with it, for messages: an object has a key twice, or is beyond a bound. */
  readonly problem: string | undefined;
}

/** What of a request takes long however it is read. The reading ends where there is more. */
interface ObjectBounds {
  readonly membersMax: number;
  readonly keyBytesMax: number;
}
export const requestBounds: ObjectBounds = { membersMax: 16_384, keyBytesMax: 64 * 1024 };
const unbounded: ObjectBounds = { membersMax: Infinity, keyBytesMax: Infinity };

/** An array or object while it is read, the key of its next member, and how many it has. */
interface Open {
  readonly value: Json[] | { [key: string]: Json };
  key: string | undefined;
  count: number;
}

/** What a value costs, as the scheduler counts, and each byte of its text. */
const valueCost = 32;
const byteShare = 1 / 8;
/** What it costs to compare a number with its double. */
const comparedCost = 96;
/** Longer strings are read in a step of their own. */
const longTextBytes = 64 * 1024;

/** What may follow, beside space. */
type Next = "value" | "value or end" | "key" | "key or end" | "colon" | "comma or end" | "nothing";

/**
 * Reads a JSON text in steps, of which the longest is that of its longest string. `isExact`: as
 * `parseExactJson`. Undefined: it is not strict UTF-8 or not JSON.
 */
export function* readInSteps(
  json: Uint8Array,
  isExact: boolean,
  bounds = unbounded,
): Steps<ReadJson | undefined> {
  const around: Open[] = [];
  const endOf = stringEnds(json);
  const effort = new Effort();
  let next: Next = "value";
  let read: Json | undefined;
  let problem: string | undefined;
  for (let i = 0; i < json.length; i++) {
    const start = i;
    const inside = around.at(-1);
    const isInList = inside !== undefined && Array.isArray(inside.value);
    let value: Json | undefined;
    const byte = json[i] as number;
    switch (byte) {
      case 0x20:
      case 0x09:
      case 0x0a:
      case 0x0d:
        if (i % longTextBytes === 0 && effort.spend(longTextBytes * byteShare)) yield effort.take();
        continue;
      case 0x2c:
        if (next !== "comma or end") return undefined;
        next = isInList ? "value" : "key";
        continue;
      case 0x3a:
        if (next !== "colon") return undefined;
        next = "value";
        continue;
      case 0x7b:
      case 0x5b: {
        if (next !== "value" && next !== "value or end") return undefined;
        const isList = byte === 0x5b;
        around.push({ value: isList ? [] : {}, key: undefined, count: 0 });
        next = isList ? "value or end" : "key or end";
        continue;
      }
      case 0x7d:
      case 0x5d: {
        const isEmpty = next === "value or end" || next === "key or end";
        const isRight = inside !== undefined && isInList === (byte === 0x5d);
        if (!isRight || (!isEmpty && next !== "comma or end")) return undefined;
        value = inside.value;
        around.pop();
        break;
      }
      case 0x22: {
        i = endOf(i);
        if (i >= json.length) return undefined;
        const text = json.subarray(start, i + 1);
        const isKey = next === "key" || next === "key or end";
        const beyond = isKey ? beyondOf(inside as Open, text, bounds) : undefined;
        if (beyond !== undefined) return { value: null, problem: beyond };
        value = text.length > longTextBytes ? yield* longText(text, effort) : parseJson(text);
        if (!isKey || value === undefined) break;
        problem = named(inside as Open, value as string) ?? problem;
        next = "colon";
        continue;
      }
      default: {
        const scalar = scalarText(json, i);
        if (isExact) effort.spend(comparedCost);
        value = scalar === "" ? undefined : scalarOf(scalar, isExact);
        i += scalar.length - 1;
      }
    }
    const isEnd = byte === 0x7d || byte === 0x5d;
    if (value === undefined) return undefined;
    if (!isEnd && next !== "value" && next !== "value or end") return undefined;
    const into = around.at(-1);
    if (into === undefined) read = value;
    else put(into, value);
    next = into === undefined ? "nothing" : "comma or end";
    if (effort.spend(costOf(i - start))) yield effort.take();
  }
  return read === undefined ? undefined : { value: read, problem };
}

/** Of a value. What is longer was told of while it was read. */
function costOf(bytes: number): number {
  return valueCost + Math.min(bytes, longTextBytes) * byteShare;
}

/** Counts a key of an object. Which bound it is beyond, for messages. */
function beyondOf(
  object: Open,
  key: Uint8Array,
  { membersMax, keyBytesMax }: ObjectBounds,
): string | undefined {
  if (key.length > keyBytesMax) return `has a key of more than ${keyBytesMax} bytes`;
  return ++object.count > membersMax
    ? `has an object of more than ${membersMax} members`
    : undefined;
}

/** Names the next member of an object. What is wrong with the name, for messages. */
function named(object: Open, key: string): string | undefined {
  object.key = key;
  const isTwice = Object.hasOwn(object.value, key);
  return isTwice ? `duplicate object key ${JSON.stringify(key.slice(0, 64))}` : undefined;
}

const backslash = 0x5c;

/** A long string, piece by piece where it has no escapes. */
function* longText(text: Uint8Array, effort: Effort): Steps<string | undefined> {
  if (text.includes(backslash)) {
    yield text.length * byteShare + effort.take();
    const value = parseJson(text) as string | undefined;
    yield text.length * byteShare;
    return value;
  }
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let read = "";
  for (let from = 1; from < text.length; from += longTextBytes) {
    const piece = text.subarray(from, Math.min(from + longTextBytes, text.length - 1));
    const value = pieceOf(utf8, piece, from + longTextBytes < text.length);
    if (value === undefined) return undefined;
    read += value;
    if (effort.spend(longTextBytes * byteShare)) yield effort.take();
  }
  return read;
}

type Utf8Decoder = InstanceType<typeof TextDecoder>;

/** Undefined: it is not strict UTF-8, or has characters that a string of JSON may not have. */
function pieceOf(utf8: Utf8Decoder, piece: Uint8Array, isMore: boolean): string | undefined {
  try {
    return JSON.parse(`"${utf8.decode(piece, { stream: isMore })}"`) as string;
  } catch {
    return undefined;
  }
}

const literals: Readonly<Record<number, string>> = { 0x74: "true", 0x66: "false", 0x6e: "null" };

/** A number, or one of these. Empty: neither. */
function scalarText(json: Uint8Array, at: number): string {
  const byte = json[at] as number;
  const literal = literals[byte];
  if (literal === undefined)
    return byte === 0x2d || (byte >= 0x30 && byte <= 0x39) ? numberAt(json, at) : "";
  for (let i = 0; i < literal.length; i++) if (json[at + i] !== literal.charCodeAt(i)) return "";
  return literal;
}

const numberForm = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function scalarOf(text: string, isExact: boolean): Json | undefined {
  if (text === "true") return true;
  if (text === "false") return false;
  if (text === "null") return null;
  if (!numberForm.test(text)) return undefined;
  return isExact && isChanged(text) ? exactNumber(text) : Number(text);
}

function put(into: Open, value: Json): void {
  if (Array.isArray(into.value)) into.value.push(value);
  else setMember(into.value, into.key as string, value);
  into.key = undefined;
}

/** The text of a value, and `JsonShape.values` of that text. */
export interface WrittenJson {
  readonly text: string;
  readonly values: number;
}

/** As `JSON.stringify`. The caller bounds the nesting. */
export function* jsonTextInSteps(value: Json): Steps<WrittenJson> {
  const parts: string[] = [];
  const writing = { parts, values: 1, effort: new Effort(), isSorted: false };
  yield* write(value, writing);
  return { text: parts.join(""), values: writing.values };
}

/** As `JSON.stringify`, piece by piece. `isSorted`: as `canonicalJson`, and no number is exact. */
export function* jsonPartsInSteps(value: Json, parts: Parts, isSorted: boolean): Steps<void> {
  yield* write(value, { parts, values: 1, effort: new Effort(), isSorted });
}

/** Takes the text, piece by piece. */
export interface Parts {
  push(...text: string[]): void;
}

interface Writing {
  readonly parts: Parts;
  values: number;
  readonly effort: Effort;
  /** Whether keys are sorted. */
  readonly isSorted: boolean;
}

function* write(value: Json, writing: Writing): Steps<void> {
  const { parts, effort, isSorted } = writing;
  const isList = Array.isArray(value);
  if (!isList && !isJsonObject(value)) return yield* writeScalar(value, writing);
  const keys = isList ? [] : Object.keys(value);
  if (isSorted) keys.sort();
  const { length } = isList ? value : keys;
  writing.values += Math.max(1, length);
  parts.push(isList ? "[" : "{");
  for (let i = 0; i < length; i++) {
    const key = keys[i];
    if (i > 0) parts.push(",");
    if (key !== undefined) parts.push(JSON.stringify(key), ":");
    const member = (isList ? value[i] : value[key as string]) as Json;
    const isScalar = typeof member !== "object" || member === null || isExactNumber(member);
    if (isScalar && !isLong(member)) parts.push(JSON.stringify(member));
    else yield* write(member, writing);
    const chars = typeof member === "string" ? Math.min(member.length, longTextBytes) : 0;
    const textCost = chars * byteShare;
    if (effort.spend(valueCost + textCost)) yield effort.take();
  }
  parts.push(isList ? "]" : "}");
}

function isLong(value: Json): value is string {
  return typeof value === "string" && value.length > longTextBytes;
}

function* writeScalar(value: Json, { parts, effort }: Writing): Steps<void> {
  if (!isLong(value)) return parts.push(JSON.stringify(value));
  parts.push('"');
  for (const piece of piecesOf(value)) {
    parts.push(JSON.stringify(piece).slice(1, -1));
    if (effort.spend(piece.length * writtenShare)) yield effort.take();
  }
  parts.push('"');
}

/** What a character of a long text costs that is written. */
const writtenShare = 1 / 4;
const pieceChars = 16 * 1024;

/** A text in pieces that do not end within a character. */
export function* piecesOf(text: string): Generator<string> {
  for (let from = 0; from < text.length;) {
    let to = Math.min(text.length, from + pieceChars);
    const isWithinPair = to < text.length && (text.charCodeAt(to) & 0xfc00) === 0xdc00;
    if (isWithinPair) to++;
    yield text.slice(from, to);
    from = to;
  }
}
