// Converts positions, versions and times between the wire (uint64, seconds and nanos) and
// JavaScript.

import {
  durationFromMs,
  timestampFromMs,
  type Duration,
  type Timestamp,
} from "@bufbuild/protobuf/wkt";
import { invalidField } from "./errors.ts";

/**
 * The contract keeps positions and versions below 2^53. Any other value is a fault of the server.
 */
export function safeInteger(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError(`${value} is beyond 2^53 - 1`);
  return number;
}

/** A position or version for a request. */
export function wireInteger(value: number, name: string): bigint {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw invalidField(name, `is ${value}, not a whole number from 0 to 2^53 - 1`);
  }
  return BigInt(value);
}

/** Microseconds since 1970, UTC, as the store records them. */
export function microsOf(time: Timestamp | undefined): number {
  if (time === undefined) return 0;
  return safeInteger(time.seconds) * 1_000_000 + Math.trunc(time.nanos / 1_000);
}

export function dateOf(time: Timestamp | undefined): Date {
  return new Date(Math.floor(microsOf(time) / 1_000));
}

/** Rounded up to a millisecond. */
export function wireDuration(ms: number, name: string): Duration {
  if (!Number.isFinite(ms)) throw invalidField(name, `is ${ms}, not a number of milliseconds`);
  return durationFromMs(Math.ceil(ms));
}

export function wireTime(time: Date, name: string): Timestamp {
  const ms = time.getTime();
  if (Number.isNaN(ms)) throw invalidField(name, "is not a valid date");
  return timestampFromMs(ms);
}
