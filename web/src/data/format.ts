// Numbers, times, durations and sizes for people. Numbers of 64 bits stay texts and keep all digits.

/** `1234567` -> `1,234,567`. */
export function grouped(number: string | number | bigint | undefined): string {
  return `${number ?? 0}`.replaceAll(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** `1 event`, `2,000 events`. */
export function counted(number: string | number | undefined, noun: string): string {
  return `${grouped(number)} ${noun}${`${number ?? 0}` === "1" ? "" : "s"}`;
}

export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes;
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit += 1) size /= 1024;
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

function isSameDay(one: Date, other: Date): boolean {
  return one.toDateString() === other.toDateString();
}

/** An RFC 3339 time in the reader's time zone: with the day, unless it is today. */
export function timeText(time: string | undefined, nowMs = Date.now()): string {
  if (time === undefined) return "never";
  const at = new Date(time);
  return isSameDay(at, new Date(nowMs))
    ? clock.format(at)
    : `${day.format(at)}, ${clock.format(at)}`;
}

const steps = [
  [60, "s"],
  [60, "min"],
  [24, "h"],
  [365, "d"],
  [Infinity, "y"],
] as const;

/** `40 µs`, `3.1 s`, `5 min`, `2 d`. */
export function durationText(seconds: number): string {
  if (seconds < 0.000_95) return `${Math.round(seconds * 1_000_000)} µs`;
  if (seconds < 0.0095) return `${(seconds * 1_000).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1_000)} ms`;
  let left = seconds;
  for (const [size, unit] of steps) {
    if (left < size)
      return `${left < 10 && unit === "s" ? left.toFixed(1) : Math.floor(left)} ${unit}`;
    left /= size;
  }
  return "";
}

/** `just now`, `3 min ago`, `in 5 s`. */
export function agoText(time: string | undefined, nowMs = Date.now()): string {
  if (time === undefined) return "never";
  const seconds = (nowMs - Date.parse(time)) / 1_000;
  if (Math.abs(seconds) < 2) return "just now";
  return seconds < 0 ? `in ${durationText(-seconds)}` : `${durationText(seconds)} ago`;
}

/** The seconds of a duration of the contract: `3.5s`. */
export function secondsOf(duration: string | undefined): number {
  return Number.parseFloat(duration ?? "0");
}

/** A name of an enum as words: `WRITE_STATE_DISK_FULL` without `WRITE_STATE_` -> `disk full`. */
export function wordOf(name: string | undefined, prefix: string): string {
  return (name ?? "unknown").replace(prefix, "").toLowerCase().replaceAll("_", " ");
}

/** One of eight colours, always the same one for a name. */
export function hueOf(name: string): string {
  let hash = 2_166_136_261;
  for (let at = 0; at < name.length; at += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(at), 16_777_619);
  }
  return `hue-${((hash >>> 13) ^ (hash >>> 24)) & 7}`;
}
