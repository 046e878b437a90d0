// JSON values: parsing of payloads, and the canonical text of a value, so that equal JSON has equal
// bytes. The identity of an event's content depends on it.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * JSON that is nested more deeply is neither folded nor returned. Most clients' decoders end far
 * below (Python's at 33 nested objects, protobuf-es at 49); Go's accepts thousands.
 */
export const jsonDepthMax = 500;

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

/** The nesting depth of a JSON text, without parsing it: 0 for a scalar, 1 for `[]`. */
export function jsonDepth(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x7b || byte === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return deepest;
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
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
