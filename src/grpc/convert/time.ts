// Time on the wire: `Timestamp` and `Duration` to microseconds since 1970 and milliseconds, and
// back.

import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { positionMax } from "../../domain/limits.ts";
import type { Violations } from "./checks.ts";

/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the range of `google.protobuf.Timestamp`. */
const secondsMin = -62_135_596_800n;
const secondsMax = 253_402_300_799n;
/** The range of `google.protobuf.Duration`: about 10,000 years. */
const durationSecondsMax = 315_576_000_000n;
const nanosPerSecond = 1_000_000_000;
const microsPerSecond = 1_000_000;

/**
 * A bound in time, in microseconds: rounded up to the first microsecond at or after it, or down to
 * the last at or before it. No event has a time before 1970 or beyond 2^53 microseconds (the year
 * 2255), so that bounds outside are moved to where they select the same events.
 */
export function checkTime(
  v: Violations,
  field: string,
  time: Timestamp,
  round: "up" | "down",
): number {
  const { seconds, nanos } = time;
  if (seconds < secondsMin || seconds > secondsMax) {
    v.add(field, `has ${seconds} seconds, which is not in the years 1 to 9999`);
  } else if (nanos < 0 || nanos >= nanosPerSecond) {
    v.add(`${field}.nanos`, `is ${nanos}, not in 0 to 999,999,999`);
  }
  if (seconds < 0n) return 0;
  const part = round === "up" ? Math.ceil(nanos / 1_000) : Math.floor(nanos / 1_000);
  return Math.min(Number(seconds) * microsPerSecond + part, positionMax);
}

/**
 * When another system recorded something, in microseconds. `keepsTimes`: whether the server takes
 * such times. Undefined: it is not said.
 */
export function checkRecordedAt(
  v: Violations,
  field: string,
  time: Timestamp | undefined,
  keepsTimes = false,
): number | undefined {
  if (time === undefined) return undefined;
  if (!keepsTimes) v.add(field, "is taken only by a server that was started with --keep-times");
  else if (time.seconds < 0n) v.add(field, "is before 1970");
  return checkTime(v, field, time, "down");
}

/** A duration within bounds, in milliseconds (rounded up). */
export function checkDuration(
  v: Violations,
  field: string,
  duration: Duration,
  msMin: number,
  msMax: number,
): number {
  const { seconds, nanos } = duration;
  const signsDiffer = (seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0);
  const beyond = seconds < -durationSecondsMax || seconds > durationSecondsMax;
  if (beyond || signsDiffer || Math.abs(nanos) >= nanosPerSecond) {
    v.add(field, `of ${seconds} s and ${nanos} ns is not a valid google.protobuf.Duration`);
    return msMin;
  }
  const ms = Math.ceil(Number(seconds) * 1_000 + nanos / 1e6);
  if (ms < msMin || ms > msMax) v.add(field, `is ${ms} ms, not in ${msMin} to ${msMax} ms`);
  return ms;
}

/** Microseconds, not negative, as the fields of a `Duration`. */
export function timeSpan(micros: number): { seconds: bigint; nanos: number } {
  return timestamp(micros);
}

/** Microseconds since 1970 as the fields of a `Timestamp`. */
export function timestamp(micros: number): { seconds: bigint; nanos: number } {
  const seconds = Math.floor(micros / microsPerSecond);
  return { seconds: BigInt(seconds), nanos: (micros - seconds * microsPerSecond) * 1_000 };
}
