// The checks that fields share: names, ids, numbers, enums. Each reports to the violations and
// answers the value in domain words; an answer is meaningless where a violation was added.

import { isSystemName } from "../../domain/event.ts";
import { streamKeptIn } from "../../domain/lifecycle/lifecycle-event.ts";
import { positionMax, type Limits } from "../../domain/limits.ts";
import type { Violations } from "./violations.ts";

/** A limit as its message names it: `stream_name_bytes_max`, and its value. */
export interface BytesLimit {
  readonly name: string;
  readonly bytesMax: number;
}

const control = /\p{Cc}/u;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const uuidNil = "00000000-0000-0000-0000-000000000000";
const uuidMax = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** A name that may be read by: not empty, not too long, without control characters. */
export function checkName(v: Violations, field: string, name: string, limit: BytesLimit): string {
  if (name === "") v.add(field, "is empty, but required");
  else checkText(v, field, name, limit);
  return name;
}

/** A name that is written: system names are reserved. */
export function checkOwnName(
  v: Violations,
  field: string,
  name: string,
  limit: BytesLimit,
): string {
  if (isSystemName(name)) v.add(field, "begins with $, which is reserved for the system");
  return checkName(v, field, name, limit);
}

/** The limit of a stream that is read: of a lifecycle's, it bounds the name it is kept under. */
export function streamLimit(name: string, { streamNameBytesMax }: Limits): BytesLimit {
  const beside = Buffer.byteLength(name) - Buffer.byteLength(streamKeptIn(name) ?? name);
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

/** As `checkUint64`, where 0 stands for absent. */
export function checkOptional(v: Violations, field: string, value: bigint): number | undefined {
  return value === 0n ? undefined : checkUint64(v, field, value);
}

/** A value of an enum this server knows. `names` are those of the enum, by number. */
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
