// Ids of events on the wire of this protocol, as text or as two halves of 64 bits, and ids that are
// derived where the log cannot use the client's.

import { createHash } from "node:crypto";
import type { UUID } from "../../../gen/event_store/client/shared_pb.js";

const text = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const bare = /^[0-9a-f]{32}$/;

/** Lower-case text. Undefined: it is not a UUID. */
export function uuidText(value: string): string | undefined {
  const lower = value.toLowerCase();
  if (text.test(lower)) return lower;
  return bare.test(lower) ? dashed(lower) : undefined;
}

/** Undefined: there is none, or it is not a UUID. */
export function idOf(uuid: UUID | undefined): string | undefined {
  switch (uuid?.value.case) {
    case "string":
      return uuidText(uuid.value.value);
    case "structured": {
      const { mostSignificantBits: high, leastSignificantBits: low } = uuid.value.value;
      return idOfHalves(high, low);
    }
    default:
      return undefined;
  }
}

function idOfHalves(high: bigint, low: bigint): string {
  return dashed(half(high) + half(low));
}

/** Characters of an id as text. */
export const idChars = 36;
const digits = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(digit) ? 0 : digit;
});

/**
 * Writes an id that is text at an offset of `from` as a message `UUID` of two halves, with its
 * length. Returns the offset after it.
 */
export function writeStructuredId(into: Buffer, at: number, id: Buffer, from: number): number {
  // The digits are in groups of 8, 4, 4, 4 and 12.
  const start = at + 3;
  let end = start;
  const first = word(id, from, from + 8);
  const second = word(id, from + 9, from + 13) * 0x1_0000 + word(id, from + 14, from + 18);
  end = writeHalf(into, end, 0x08, first, second);
  const third = word(id, from + 19, from + 23) * 0x1_0000 + word(id, from + 24, from + 28);
  end = writeHalf(into, end, 0x10, third, word(id, from + 28, from + 36));
  into[at] = end - start + 2;
  into[at + 1] = 0x0a;
  into[at + 2] = end - start;
  return end;
}

function word(id: Buffer, from: number, end: number): number {
  let value = 0;
  for (let i = from; i < end; i++) value = value * 16 + (digits[id[i] as number] as number);
  return value;
}

/** A varint of 64 bits, of which the upper and the lower 32 are given. A zero is not written. */
function writeHalf(into: Buffer, at: number, tag: number, upper: number, lower: number): number {
  if (upper === 0 && lower === 0) return at;
  into[at++] = tag;
  let [high, low] = [upper, lower];
  while (high > 0 || low > 0x7f) {
    into[at++] = (low & 0x7f) | 0x80;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  into[at++] = low;
  return at;
}

function half(bits: bigint): string {
  return BigInt.asUintN(64, bits).toString(16).padStart(16, "0");
}

function dashed(hex: string): string {
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join("-");
}

/** A UUID (version 8) that is always the same for the same parts. */
export function derivedId(...parts: readonly (string | number)[]): string {
  const bytes = createHash("sha256").update(parts.join("\0")).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return dashed(bytes.toString("hex"));
}

/** The id of the link to the event at a position, in one of the streams of links. */
export function linkId(stream: string, position: number): string {
  const kind = stream.startsWith("$ce-") ? "8ce0" : "8e70";
  return `00000000-0000-${kind}-8000-${position.toString(16).padStart(12, "0")}`;
}
