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
  /** The content length of the request. NaN: it has none. */
  readonly contentLength: number;
  /** They are valid as those of a request, as far as the limits let them be kept. */
  readonly isRequest: boolean;
  /** They are valid as trailers. */
  readonly areTrailers: boolean;
  readonly isTooLarge: boolean;
}

const pseudoHeader = /^:(method|scheme|path|authority)$/;
/** Headers of HTTP/1 that describe the connection. HTTP/2 forbids them. */
const connectionHeader = /^(connection|keep-alive|proxy-connection|transfer-encoding|upgrade)$/;

export function requestHead({ fields, bytes, isTooLarge }: FieldList): RequestHead {
  const headers = new Map<string, string>();
  let sound = true;
  let regular = false;
  for (const field of fields) {
    const { name, value } = field;
    const before = headers.get(name);
    const isPseudo = name.startsWith(":");
    if (isPseudo) sound &&= !regular && before === undefined && pseudoHeader.test(name);
    else regular = true;
    sound &&= field.isSound && isAllowed(field);
    if (before === undefined) headers.set(name, value);
    else if (name === "content-length") sound &&= value === before;
    else headers.set(name, before + (name === "cookie" ? "; " : ", ") + value);
  }
  const contentLength = Number(headers.get("content-length") ?? Number.NaN);
  const isRequest = sound && (isTooLarge || isComplete(headers));
  const areTrailers = sound && !fields.some(({ name }) => name.startsWith(":"));
  return { headers, bytes, contentLength, isRequest, areTrailers, isTooLarge };
}

function isAllowed({ name, value }: Field): boolean {
  if (name === "te") return value === "trailers";
  if (name === "content-length") return /^\d{1,15}$/.test(value);
  return !connectionHeader.test(name);
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
