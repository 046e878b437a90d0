// The server's log: one JSON object per line to standard error, or text on a terminal. Strings from
// the network are always escaped, so that nobody can forge a line or steer a terminal.

import { escaped, escapedJson, escapedLines } from "./escape.ts";

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Values that belong to the message. Errors are written with their stack and causes. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: "json" | "text";
  readonly write: (line: string) => void;
  readonly now: () => Date;
}

/** Keys that every line has. A field of that name gets an underscore. */
const ownKeys = new Set(["time", "level", "message"]);

export function createLogger(options: LoggerOptions): Logger {
  const lowest = logLevels.indexOf(options.level);
  const compose = options.format === "json" ? jsonLine : textLine;
  const at = (level: LogLevel): Logger["info"] => {
    if (logLevels.indexOf(level) < lowest) return () => {};
    return (message, fields = {}) => {
      options.write(`${compose(options.now().toISOString(), level, message, fields)}\n`);
    };
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Logs to standard error. If nothing reads it any more, the server continues. */
export function stderrLogger(level: LogLevel, format: "json" | "text" | "auto"): Logger {
  process.stderr.on("error", () => {});
  const chosen = format === "auto" ? (process.stderr.isTTY ? "text" : "json") : format;
  const write = (line: string): void => void process.stderr.write(line);
  return createLogger({ level, format: chosen, write, now: () => new Date() });
}

function jsonLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const line: Record<string, unknown> = { time, level, message };
  for (const [key, value] of Object.entries(fields)) {
    line[ownKeys.has(key) ? `${key}_` : key] = value;
  }
  return toJson(line);
}

function textLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const facts = Object.entries(fields).map(
    ([key, value]) => ` ${onOneLine(key)}=${textValue(value)}`,
  );
  return `${time} ${level.toUpperCase().padEnd(5)} ${onOneLine(message)}${facts.join("")}`;
}

function textValue(value: unknown): string {
  if (value instanceof Error) return `\n${escapedLines(stackOf(value))}`;
  if (typeof value === "string" && /^[\w./:@+-]+$/.test(value)) return value;
  return toJson(value);
}

/** Never throws: a value that cannot be logged is no reason to fail. */
function toJson(value: unknown): string {
  try {
    return escapedJson(JSON.stringify(value, (_, inner: unknown) => plain(inner)) ?? "null");
  } catch (error) {
    return escapedJson(JSON.stringify(`not JSON: ${String(error)}`));
  }
}

/** A value that JSON can represent: errors with their stacks, big integers as text. */
function plain(value: unknown): unknown {
  if (value instanceof Error) return stackOf(value);
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return value;
}

function stackOf(error: Error, depth = 0): string {
  const stack = error.stack ?? `${error.name}: ${error.message}`;
  if (!(error.cause instanceof Error) || depth >= 8) return stack;
  return `${stack}\ncaused by ${stackOf(error.cause, depth + 1)}`;
}

function onOneLine(text: string): string {
  return text.split("\n").map(escaped).join("\\n");
}
