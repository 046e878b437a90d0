// The checks that fields share: names, ids, numbers, enums, metadata. Each adds faults to the
// violations and returns the domain value, which is meaningless if a violation was added. The
// violations of a request are thrown together, so that a client can correct all of them at once.

import { AnnalsError, type FieldViolation } from "../../domain/errors.ts";
import { isSystemName } from "../../domain/event.ts";
import { isJsonContentType } from "../../domain/json.ts";
import { streamKeptIn } from "../../domain/lifecycle/lifecycle-event.ts";
import { positionMax, type Limits } from "../../domain/limits.ts";

/** Violations that are kept. Further ones are counted. */
const violationsKeptMax = 64;

export class Violations {
  private readonly kept: FieldViolation[] = [];
  private count = 0;

  get none(): boolean {
    return this.count === 0;
  }

  /** `field` is the path with the names of the contract: `events[3].tags[0]`. */
  add(field: string, description: string): void {
    this.count++;
    if (this.kept.length < violationsKeptMax) this.kept.push({ field, description });
  }

  /** Throws INVALID_FIELD if there are violations. */
  throwIfAny(): void {
    const [first] = this.kept;
    if (first === undefined) return;
    const more = this.count > 1 ? ` (and ${this.count - 1} more)` : "";
    const message = `${first.field}: ${first.description}${more}`;
    throw new AnnalsError({ reason: "INVALID_FIELD", violations: this.kept }, message);
  }
}

/** A limit with its name for messages: `stream_name_bytes_max`, and its value. */
export interface BytesLimit {
  readonly name: string;
  readonly bytesMax: number;
}

const control = /\p{Cc}/u;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const uuidNil = "00000000-0000-0000-0000-000000000000";
const uuidMax = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** A name to read by: not empty, not too long, without control characters. */
export function checkName(v: Violations, field: string, name: string, limit: BytesLimit): string {
  if (name === "") v.add(field, "is empty, but required");
  else checkText(v, field, name, limit);
  return name;
}

/** As `checkName`, for many: the path of a field is only composed for a name that fails. */
export function checkNames(
  v: Violations,
  field: string,
  names: readonly string[],
  limitOf: (name: string) => BytesLimit,
): void {
  for (const [i, name] of names.entries()) {
    const limit = limitOf(name);
    const isSound = name !== "" && Buffer.byteLength(name) <= limit.bytesMax && !control.test(name);
    if (!isSound) checkName(v, `${field}[${i}]`, name, limit);
  }
}

/** A name to write. System names are reserved. */
export function checkOwnName(
  v: Violations,
  field: string,
  name: string,
  limit: BytesLimit,
): string {
  if (isSystemName(name)) v.add(field, "begins with $, which is reserved for the system");
  return checkName(v, field, name, limit);
}

/**
 * The limit on the name of a stream to read. For a `$lifecycle-` stream, the limit applies to the
 * stream in its name.
 */
export function streamLimit(name: string, { streamNameBytesMax }: Limits): BytesLimit {
  const kept = name.startsWith("$") ? streamKeptIn(name) : undefined;
  const beside = kept === undefined ? 0 : Buffer.byteLength(name) - Buffer.byteLength(kept);
  return { name: "stream_name_bytes_max", bytesMax: streamNameBytesMax + beside };
}

/** A text that may be empty: a prefix, a snapshot kind. */
export function checkText(v: Violations, field: string, text: string, limit: BytesLimit): string {
  const bytes = Buffer.byteLength(text);
  if (bytes > limit.bytesMax) {
    v.add(field, `has ${bytes} bytes of UTF-8, more than ${limit.name} (${limit.bytesMax})`);
  } else if (control.test(text)) {
    const at = text.search(control);
    const code = text.charCodeAt(at).toString(16).toUpperCase().padStart(4, "0");
    v.add(field, `has the control character U+${code} at index ${at}`);
  }
  return text;
}

/** A UUID's text form, lower-case. */
export function checkUuid(v: Violations, field: string, text: string): string {
  const id = text.toLowerCase();
  if (!uuid.test(id)) {
    v.add(field, "is not a UUID in its 36-character text form (RFC 9562)");
  } else if (id === uuidNil || id === uuidMax) {
    v.add(field, "is the nil or the max UUID, which name no event");
  }
  return id;
}

/** A position, version or count. */
export function checkUint64(v: Violations, field: string, value: bigint, least: 0 | 1 = 0): number {
  if (value > BigInt(positionMax)) {
    v.add(field, `is ${value}, more than position_max (${positionMax}, which is 2^53 - 1)`);
    return 0;
  }
  if (value < BigInt(least)) v.add(field, `is ${value}, less than ${least}`);
  return Number(value);
}

/** As `checkUint64`, where 0 means absent. */
export function checkOptional(v: Violations, field: string, value: bigint): number | undefined {
  return value === 0n ? undefined : checkUint64(v, field, value);
}

/** A value of an enum that this server knows. `names` are the enum's names by number. */
export function checkEnum(
  v: Violations,
  field: string,
  value: number,
  known: Readonly<Record<number, unknown>>,
): void {
  if (known[value] === undefined) v.add(field, `is ${value}, which is no value of its enum`);
}

export function checkCount(
  v: Violations,
  field: string,
  count: number,
  name: string,
  countMax: number,
): void {
  if (count > countMax) v.add(field, `has ${count} entries, more than ${name} (${countMax})`);
}

/** The media type if the client does not set one. */
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

/** The content type, or its default. */
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
