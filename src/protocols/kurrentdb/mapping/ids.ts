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

/** The halves are signed, as the wire has them. */
export function halvesOf(id: string): { high: bigint; low: bigint } {
  const hex = id.replaceAll("-", "");
  return { high: signed(hex.slice(0, 16)), low: signed(hex.slice(16)) };
}

function half(bits: bigint): string {
  return BigInt.asUintN(64, bits).toString(16).padStart(16, "0");
}

function signed(hex: string): bigint {
  return BigInt.asIntN(64, BigInt(`0x${hex}`));
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
