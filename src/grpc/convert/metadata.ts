// What events and snapshots have in common: metadata and a content type, with their limits.

import { isSystemName } from "../../domain/event.ts";
import { isJsonContentType } from "../../domain/json.ts";
import type { Limits } from "../../domain/limits.ts";
import { checkCount } from "./checks.ts";
import type { Violations } from "./violations.ts";

/** The media type where a client names none. */
export const defaultContentType = { data: "application/octet-stream", json: "application/json" };

const printableAscii = /^[ -~]*$/;

export function checkMetadata(
  v: Violations,
  field: string,
  metadata: Readonly<Record<string, string>>,
  limits: Limits,
): void {
  const entries = Object.entries(metadata);
  checkCount(v, field, entries.length, "metadata_entries_max", limits.metadataEntriesMax);
  let bytes = 0;
  for (const [key, value] of entries) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    if (key === "") v.add(field, "has an empty key");
    if (isSystemName(key)) {
      v.add(`${field}[${JSON.stringify(key)}]`, "begins with $, which is reserved for the system");
    }
  }
  if (bytes > limits.metadataBytesMax) {
    const limit = `metadata_bytes_max (${limits.metadataBytesMax})`;
    v.add(field, `has ${bytes} bytes of keys and values, more than ${limit}`);
  }
}

/** The content type, with its default filled in. */
export function checkContentType(
  v: Violations,
  field: string,
  contentType: string,
  payload: "data" | "json",
  limits: Limits,
): string {
  const bytes = Buffer.byteLength(contentType);
  if (bytes > limits.contentTypeBytesMax) {
    const limit = `content_type_bytes_max (${limits.contentTypeBytesMax})`;
    v.add(field, `has ${bytes} bytes, more than ${limit}`);
  } else if (!printableAscii.test(contentType)) {
    v.add(field, "has a character that is not printable ASCII");
  } else if (payload === "json" && contentType !== "" && !isJsonContentType(contentType)) {
    v.add(field, "is not application/json and does not end in +json, but json is set");
  }
  return contentType === "" ? defaultContentType[payload] : contentType;
}
