// JSON values: parsing of payloads, and the canonical text of a value, so that equal JSON has equal
// bytes. The identity of an event's content depends on it.

import { atOnce, stepBytes, type Steps } from "./steps.ts";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * JSON that is nested more deeply is neither folded nor returned. Most clients' decoders end far
 * below (Python's at 33 nested objects, protobuf-es at 49); Go's accepts thousands.
 */
export const jsonDepthMax = 500;

/**
 * JSON of more values is neither folded nor returned: it would hold the main thread for longer than
 * any one request may.
 */
export const jsonValuesMax = 10_000;

/** The same of a longer text. */
export const jsonTextBytesMax = 1024 * 1024;

/** RFC 8259 requires UTF-8. A byte order mark is kept, and the parser refuses it. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whether a media type is JSON: `application/json` or any `+json`. */
export function isJsonContentType(contentType: string): boolean {
  const [mediaType = ""] = contentType.split(";", 1);
  const type = mediaType.trim().toLowerCase();
  return type === "application/json" || type.endsWith("+json");
}

/** The value of a JSON text. Undefined if it is not strict UTF-8 or not JSON. */
export function parseJson(bytes: Uint8Array): Json | undefined {
  try {
    return JSON.parse(utf8.decode(bytes)) as Json;
  } catch {
    return undefined;
  }
}

/** What newer versions of ECMAScript add to `JSON`, which TypeScript does not know of here. */
const withSource = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: Json, context: { readonly source?: string }) => unknown,
  ): Json;
  rawJSON(text: string): { readonly rawJSON: string };
  isRawJSON(value: unknown): boolean;
};

/**
 * As `parseJson`, but a number that a double would change is kept as its text (`isExactNumber`), so
 * that `JSON.stringify` writes the same number. Beyond `jsonDepthMax` numbers are as doubles.
 */
export function parseExactJson(bytes: Uint8Array): Json | undefined {
  return atOnce(parseExactInSteps(bytes, jsonShape(bytes)));
}

/** As `parseExactJson`. A step ends with each look at the text, if it is long. */
export function* parseExactInSteps(bytes: Uint8Array, shape: JsonShape): Steps<Json | undefined> {
  const cost = jsonCost(bytes, shape);
  const isLong = cost >= stepBytes;
  const json = parseJson(bytes);
  if (isLong) yield cost;
  if (json === undefined || !changesNumbers(bytes) || shape.depth > jsonDepthMax) return json;
  if (isLong) yield cost;
  return withSource.parse(utf8.decode(bytes), (_, value, { source }) =>
    typeof value === "number" && source !== undefined && isChanged(source)
      ? withSource.rawJSON(source)
      : value,
  );
}

/** Whether a value of `parseExactJson` is the text of a number that no double is. */
export function isExactNumber(value: Json): boolean {
  return typeof value === "object" && value !== null && withSource.isRawJSON(value);
}

/** What it costs to parse a text, as the scheduler counts: see steps.ts. */
export function jsonCost({ length }: Uint8Array, { values }: JsonShape): number {
  return length / 8 + values * 16;
}

/** What a scan of a JSON text tells, without parsing it. */
export interface JsonShape {
  /** 0 for a scalar, 1 for `[]`. */
  readonly depth: number;
  /** At most so many values. */
  readonly values: number;
  /** False: its brackets are not in pairs, so that it is no JSON. */
  readonly isPaired: boolean;
}

export function jsonShape(bytes: Uint8Array): JsonShape {
  let depth = 0;
  let deepest = 0;
  let values = 1;
  let inString = false;
  for (let i = 0; i < bytes.length && depth >= 0; i++) {
    const byte = bytes[i] as number;
    if (inString) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x2c) values++;
    else if (byte === 0x7b || byte === 0x5b) {
      values++;
      if (++depth > deepest) deepest = depth;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return { depth: deepest, values, isPaired: depth === 0 && !inString };
}

/**
 * The canonical text (RFC 8785): keys sorted by UTF-16 code units, no spaces, numbers as ECMAScript
 * writes them. Throws `RangeError` on values that JSON does not have (NaN, infinities).
 */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (isJsonObject(value)) {
    const members = Object.keys(value)
      .toSorted()
      .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] as Json)}`);
    return `{${members.join(",")}}`;
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new RangeError(`json: ${value} cannot be said`);
  }
  return JSON.stringify(value);
}

export function isJsonObject(value: Json): value is { [key: string]: Json } {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !isExactNumber(value)
  );
}

/** A double preserves any number with this many digits. */
const safeDigits = 15;

/**
 * Whether a JSON text has a number that a double would change, such as an amount or an id with too
 * many digits. A decoded payload must not differ from the stored one.
 */
export function changesNumbers(json: Uint8Array): boolean {
  for (let i = 0; i < json.length; i++) {
    const byte = json[i] as number;
    if (byte === 0x22) {
      i = endOfString(json, i);
    } else if (byte === 0x2d || isDigit(byte)) {
      const start = i;
      while (i + 1 < json.length && isPartOfNumber(json[i + 1] as number)) i++;
      if (i - start >= numberBytesMax || isChanged(asciiOf(json, start, i + 1))) return true;
    }
  }
  return false;
}

/** The most digits that a double needs, and the most bytes of a number that is looked at. */
const digitsMax = 17;
const numberBytesMax = 512;

function isChanged(number: string): boolean {
  if (number.length <= safeDigits && !/[eE]/.test(number)) return false;
  if (number.length > numberBytesMax) return true;
  const decimal = new Decimal(number);
  if (decimal.significant.length > digitsMax) return true;
  const written = String(Number(number));
  return written !== number && !decimal.equals(new Decimal(written));
}

function asciiOf(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i] as number);
  return text;
}

function endOfString(json: Uint8Array, start: number): number {
  let i = start + 1;
  while (i < json.length && json[i] !== 0x22) i += json[i] === 0x5c ? 2 : 1;
  return i;
}

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;

/** A digit, `+`, `-`, `.`, `e` or `E`. */
function isPartOfNumber(byte: number): boolean {
  if (isDigit(byte)) return true;
  return byte === 0x2e || byte === 0x2d || byte === 0x2b || byte === 0x65 || byte === 0x45;
}

/** The value of a number in decimal: 0.significant x 10^power. */
class Decimal {
  /** Its digits without outer zeros. */
  readonly significant: string;
  private readonly isNegative: boolean;
  private readonly power: number;

  constructor(text: string) {
    const e = text.search(/[eE]/);
    const mantissa = e < 0 ? text : text.slice(0, e);
    const start = mantissa.startsWith("-") ? 1 : 0;
    const point = mantissa.indexOf(".");
    const whole = mantissa.slice(start, point < 0 ? undefined : point);
    const digits = point < 0 ? whole : whole + mantissa.slice(point + 1);
    let first = 0;
    while (first < digits.length && digits.charCodeAt(first) === 0x30) first++;
    let end = digits.length;
    while (end > first && digits.charCodeAt(end - 1) === 0x30) end--;
    this.significant = digits.slice(first, end);
    this.isNegative = start === 1;
    this.power = whole.length - first + (e < 0 ? 0 : Number(text.slice(e + 1)));
  }

  equals(other: Decimal): boolean {
    if (this.significant !== other.significant) return false;
    if (this.significant === "") return true;
    return this.isNegative === other.isNegative && this.power === other.power;
  }
}
