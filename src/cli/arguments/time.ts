// Times and durations as people read and write them: ISO 8601 in UTC, with microseconds.

import { create } from "@bufbuild/protobuf";
import {
  DurationSchema,
  TimestampSchema,
  type Duration,
  type Timestamp,
} from "@bufbuild/protobuf/wkt";
import { unitMs, UsageError } from "./options.ts";

/** `2026-01-02T03:04:05.678901Z`, with nine digits if the time is not a whole microsecond. */
export function isoTime(time: Timestamp | undefined): string {
  if (time === undefined) return "";
  const seconds = new Date(Number(time.seconds) * 1000).toISOString().slice(0, 19);
  const nanos = String(time.nanos).padStart(9, "0");
  return `${seconds}.${nanos.endsWith("000") ? nanos.slice(0, 6) : nanos}Z`;
}

const iso = new RegExp(
  String.raw`^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?$`,
  "i",
);

/** A date (midnight) or a date and time, in UTC unless an offset is given. */
export function timestampOf(text: string, option: string): Timestamp {
  const parts = iso.exec(text);
  if (parts !== null) {
    const [, date, clock = "00:00", second = "00", fraction = "", offset = "Z"] = parts;
    const ms = Date.parse(`${date}T${clock}:${second}${offset.toUpperCase()}`);
    // Date.parse turns 31 February into a day of March. Such a date is refused instead.
    const day = new Date(`${date}T00:00:00Z`);
    if (!Number.isNaN(ms) && day.toISOString().startsWith(`${date}`)) {
      const nanos = Number(fraction.padEnd(9, "0"));
      return create(TimestampSchema, { seconds: BigInt(Math.floor(ms / 1000)), nanos });
    }
  }
  throw new UsageError(`${option}: "${text}" is not a time: write 2026-01-31T12:00:00.000000Z`);
}

/** A duration, which may be zero: `0s`, `500ms`, `10s`, `2m`, `12h`. */
export function spanOf(text: string, option: string): Duration {
  const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  const ms = Number(parts?.[1]) * unitMs[(parts?.[2] ?? "s") as keyof typeof unitMs];
  if (Number.isNaN(ms))
    throw new UsageError(`${option}: "${text}" is not a duration: write 500ms or 10s`);
  return durationOf(ms);
}

/** An age: `12h`, `90d`. */
export function ageOf(text: string, option: string): Duration {
  return durationOf(ageMs(text, option));
}

export function ageMs(text: string, option: string): number {
  const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  const ms = Number(parts?.[1]) * unitMs[(parts?.[2] ?? "s") as keyof typeof unitMs];
  if (!(ms >= 1)) throw new UsageError(`${option}: "${text}" is not an age: write 12h or 90d`);
  return ms;
}

function durationOf(ms: number): Duration {
  const seconds = Math.floor(ms / 1_000);
  const nanos = Math.round((ms - seconds * 1_000) * 1e6);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos });
}

/** An age for people, in the largest unit that expresses it exactly. */
export function ageText({ seconds, nanos }: Duration): string {
  const ms = Number(seconds) * 1_000 + nanos / 1e6;
  for (const unit of ["d", "h", "m", "s"] as const) {
    if (ms % unitMs[unit] === 0) return `${ms / unitMs[unit]}${unit}`;
  }
  return `${ms}ms`;
}
