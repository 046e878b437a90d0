// What an event's payload is: JSON, text or bytes.

import { readJson, type Json } from "./exact-json.ts";

export type Payload =
  | { readonly kind: "empty" }
  | {
      readonly kind: "json";
      readonly text: string;
      readonly value: Json;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: "text"; readonly text: string; readonly bytes: Uint8Array }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

export function bytesOf(base64: string): Uint8Array {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

export function byteLengthOf(base64: string): number {
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
  return (base64.length / 4) * 3 - padding;
}

/** By the content type, and by what the bytes are. */
export function payloadOf(base64: string, contentType: string): Payload {
  if (base64 === "") return { kind: "empty" };
  const bytes = bytesOf(base64);
  const text = strictText(bytes);
  if (text === undefined) return { kind: "bytes", bytes };
  if (isJson(contentType)) {
    const value = readJson(text);
    if (value !== undefined) return { kind: "json", text, value, bytes };
  }
  const isTextual = isJson(contentType) || /^text\/|[/+](xml|yaml|toml)\b/.test(contentType);
  return isTextual ? { kind: "text", text, bytes } : { kind: "bytes", bytes };
}

function isJson(contentType: string): boolean {
  return /^application\/json\b|\+json\b/.test(contentType);
}

/** Undefined: the bytes are not UTF-8. */
function strictText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

const previewBytes = 600;

/** The beginning of a payload on one line. Cheap, however large the payload is. */
export function previewOf(base64: string, contentType: string): string {
  if (base64 === "") return "";
  const bytes = bytesOf(base64.slice(0, previewBytes));
  if (!isJson(contentType) && !contentType.startsWith("text/")) {
    return [...bytes.subarray(0, 24)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  }
  return new TextDecoder()
    .decode(bytes)
    .replaceAll(/\s+/g, " ")
    .replace(/\ufffd$/, "");
}
