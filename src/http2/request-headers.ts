// Turns a list of fields into a request's headers, and checks that they are a valid request.
// Source: RFC 9113, sections 8.1.1, 8.2 and 8.3.1.

import type { Field } from "./header-fields.ts";
import type { FieldList } from "./hpack-decoder.ts";

export interface RequestHead {
  /**
   * By lower-case names, pseudo-headers included; fields of one name are joined by `, `
   * (`cookie`: by `; `).
   */
  readonly headers: ReadonlyMap<string, string>;
  readonly bytes: number;
  /** The content length of the request. -1: it has none. */
  readonly contentLength: number;
  readonly problem: "malformed" | "too large" | undefined;
}

const pseudoHeaders = new Set([":method", ":scheme", ":path", ":authority"]);
/** Headers of HTTP/1 that describe the connection. HTTP/2 forbids them. */
const connectionHeaders = new Set(
  ["connection", "keep-alive", "proxy-connection", "transfer-encoding"].concat("upgrade"),
);

export function requestHead({ fields, bytes, isTooLarge }: FieldList): RequestHead {
  const headers = new Map<string, string>();
  let sound = true;
  let regular = false;
  for (const field of fields) {
    const { name, value } = field;
    const before = headers.get(name);
    const isPseudo = name.startsWith(":");
    if (isPseudo) sound &&= !regular && before === undefined && pseudoHeaders.has(name);
    else regular = true;
    sound &&= field.isSound && isAllowed(field);
    if (before === undefined) headers.set(name, value);
    else if (name === "content-length") sound &&= value === before;
    else headers.set(name, before + (name === "cookie" ? "; " : ", ") + value);
  }
  const length = headers.get("content-length");
  const contentLength = length === undefined ? -1 : Number(length);
  sound &&= isTooLarge || isComplete(headers);
  const problem = sound ? (isTooLarge ? "too large" : undefined) : "malformed";
  return { headers, bytes, contentLength, problem };
}

/** Whether the trailers of a request are valid. */
export function areTrailers({ fields }: FieldList): boolean {
  return fields.every((field) => field.isSound && !field.name.startsWith(":") && isAllowed(field));
}

function isAllowed({ name, value }: Field): boolean {
  if (name === "te") return value === "trailers";
  if (name === "content-length") return /^\d{1,15}$/.test(value);
  return !connectionHeaders.has(name);
}

function isComplete(headers: ReadonlyMap<string, string>): boolean {
  const method = headers.get(":method");
  const path = headers.get(":path");
  if (method === "CONNECT") {
    return path === undefined && !headers.has(":scheme") && headers.has(":authority");
  }
  const isPath = path?.startsWith("/") === true || (path === "*" && method === "OPTIONS");
  return method !== undefined && isPath && headers.has(":scheme");
}
