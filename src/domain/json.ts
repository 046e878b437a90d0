// JSON values: parsing of payloads, and the canonical text of a value, so that equal JSON has equal
// bytes. The identity of an event's content depends on it.

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
const raw = JSON as unknown as {
  rawJSON(text: string): Json;
  isRawJSON(value: unknown): boolean;
};

/** A number as its text, which `JSON.stringify` writes as it is. */
export function exactNumber(text: string): Json {
  return raw.rawJSON(text);
}

/** Whether a value is the text of a number that no double is. */
export function isExactNumber(value: Json): boolean {
  return typeof value === "object" && value !== null && raw.isRawJSON(value);
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
  /**
   * Whether it has a number that a double would change, such as an amount or an id with too many
   * digits. A decoded payload must not differ from the stored one.
   */
  readonly changesNumbers: boolean;
}

export function jsonShape(bytes: Uint8Array): JsonShape {
  const scan = new JsonScan(bytes);
  scan.run(bytes.length);
  return scan.shape;
}

/** A number that has to be compared with its double takes as long as so many bytes of text. */
const comparedBytes = 1_024;

/** As `jsonShape`, part by part. */
export class JsonScan {
  private readonly bytes: Uint8Array;
  private readonly endOf: (start: number) => number;
  private depth = 0;
  private deepest = 0;
  private values = 1;
  private changesNumbers = false;
  private at = 0;
  /** Whether it ends at a string with escapes that is longer than `escapedBytesMax`. */
  hasLongText = false;

  constructor(bytes: Uint8Array, escapedBytesMax = Infinity) {
    this.bytes = bytes;
    this.endOf = stringEnds(bytes, escapedBytesMax);
  }

  /** Looks at about so many bytes more. False: there is nothing more to look at. */
  run(bytesMax: number): boolean {
    const { bytes, endOf } = this;
    let { depth, deepest, values, at } = this;
    let until = Math.min(bytes.length, at + bytesMax);
    for (; at < until && depth >= 0; at++) {
      const byte = bytes[at] as number;
      if (byte === 0x22) {
        const end = endOf(at);
        if (end < 0) this.hasLongText = true;
        at = end < 0 ? bytes.length : end;
      } else if (byte === 0x2d || isDigit(byte)) {
        // The rest of a number that is too long is a number, too.
        const end = numberEnd(bytes, at, at + numberBytesMax + 1);
        const isCompared = this.compare(at, end);
        if (isCompared && bytesMax < bytes.length) until -= comparedBytes + end - at;
        at = end - 1;
      } else if (byte === 0x2c) values++;
      else if (byte === 0x7b || byte === 0x5b) {
        values++;
        if (++depth > deepest) deepest = depth;
      } else if (byte === 0x7d || byte === 0x5d) depth--;
    }
    Object.assign(this, { depth, deepest, values, at });
    return at < bytes.length && depth >= 0;
  }

  /** False: it is known without a comparison whether a double preserves the number. */
  private compare(start: number, end: number): boolean {
    if (this.changesNumbers || isPreservedAt(this.bytes, start, end)) return false;
    this.changesNumbers = isChangedAt(this.bytes, start, end);
    return true;
  }

  /** Of what was looked at. */
  get shape(): JsonShape {
    const { depth, deepest, values, changesNumbers, at, bytes } = this;
    // A string that does not end is passed over beyond the end.
    const isPaired = depth === 0 && at === bytes.length && !this.hasLongText;
    return { depth: deepest, values, isPaired, changesNumbers };
  }
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

/** An assignment to `__proto__` would change the object's prototype instead of adding a member. */
export function setMember(object: { [key: string]: Json }, key: string, value: Json): void {
  if (key !== "__proto__") object[key] = value;
  else {
    const settings = { configurable: true, enumerable: true, writable: true };
    Object.defineProperty(object, key, { ...settings, value });
  }
}

/** A double preserves any number with this many digits, and its power of ten up to this one. */
const safeDigits = 15;
const safePower = 307;
/** Smaller doubles have fewer digits. */
const leastNormal = 2 ** -1_022;

/** The most digits that a double needs, and the most bytes of a number that is looked at. */
const digitsMax = 17;
const numberBytesMax = 512;

/** Whether a double would change the number. */
export function isChanged(number: string): boolean {
  const e = number.search(/[eE]/);
  if (number.length <= safeDigits && e < 0) return false;
  if (number.length > numberBytesMax) return true;
  const double = Number(number);
  if (e > 0 && e <= safeDigits && Number.isFinite(double) && Math.abs(double) >= leastNormal) {
    return false;
  }
  const written = String(double);
  if (written === number) return false;
  const decimal = new Decimal(number);
  return decimal.significant.length > digitsMax || !decimal.equals(new Decimal(written));
}

/**
 * Whether a double preserves the number at these indexes, as can be told without a comparison: it
 * has few digits, and is neither as large nor as small as doubles can be.
 */
function isPreservedAt(json: Uint8Array, start: number, end: number): boolean {
  let digits = 0;
  let fractionDigits = 0;
  let isFraction = false;
  let i = json[start] === 0x2d ? start + 1 : start;
  for (; i < end; i++) {
    const byte = json[i] as number;
    if (byte === 0x2e) isFraction = true;
    else if (!isDigit(byte)) break;
    else if (++digits > safeDigits) return false;
    else if (isFraction) fractionDigits++;
  }
  if (i === end) return true;
  if (((json[i] as number) | 0x20) !== 0x65) return false;
  const isNegative = json[i + 1] === 0x2d;
  let power = 0;
  for (i += isNegative || json[i + 1] === 0x2b ? 2 : 1; i < end; i++) {
    const byte = json[i] as number;
    if (!isDigit(byte)) return false;
    power = power * 10 + byte - 0x30;
    if (power > safePower) return false;
  }
  return isNegative ? power + fractionDigits <= safePower : power + digits <= safePower;
}

/** The same, by comparison. */
function isChangedAt(json: Uint8Array, start: number, end: number): boolean {
  return end - start > numberBytesMax || isChanged(asciiOf(json, start, end));
}

function asciiOf(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i] as number);
  return text;
}

/** Strings whose end is looked for byte by byte. */
const shortMax = 64;

/**
 * Finds the end of the string that begins at an index: its quotation mark, or a place behind the
 * text. In long strings without escapes it is found much faster than byte by byte. -1: the string
 * has escapes and is longer than `escapedBytesMax`.
 */
export function stringEnds(
  json: Uint8Array,
  escapedBytesMax = Infinity,
): (start: number) => number {
  /** The first escape from where it was last looked for. */
  let escape = -1;
  const firstFrom = (byte: number, from: number): number => {
    const found = json.indexOf(byte, from);
    return found < 0 ? json.length : found;
  };
  return (start) => {
    let i = start + 1;
    for (const short = Math.min(json.length, i + shortMax); i < short && json[i] !== 0x22;) {
      i += json[i] === 0x5c ? 2 : 1;
    }
    if (i >= json.length) return json.length + 1;
    if (json[i] === 0x22) return i;
    if (escape < i) escape = firstFrom(0x5c, i);
    const quote = firstFrom(0x22, i);
    if (quote < escape) return quote;
    const last = Math.min(json.length, start + escapedBytesMax);
    for (i = escape; i < last && json[i] !== 0x22;) i += json[i] === 0x5c ? 2 : 1;
    if (i < json.length) return json[i] === 0x22 ? i : -1;
    return json.length + 1;
  };
}

/** The number at an index, as its text. */
export function numberAt(json: Uint8Array, start: number): string {
  const end = numberEnd(json, start);
  const isShort = end - start < numberBytesMax;
  return isShort ? asciiOf(json, start, end) : utf8.decode(json.subarray(start, end));
}

function numberEnd(json: Uint8Array, start: number, endMax = json.length): number {
  const last = Math.min(json.length, endMax);
  let end = start + 1;
  while (end < last && isPartOfNumber(json[end] as number)) end++;
  return end;
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
