// The options that several commands share, and the parser of command lines. A wrong command line
// throws `UsageError` before any request is sent.

import { parseArgs, type ParseArgsConfig } from "node:util";

/**
 * For scripts: 1 failure, 2 a wrong command line or configuration, 3 a conflict, 4 a store that the
 * server refuses: to start it again does not help.
 */
export const exitCode = { ok: 0, failure: 1, usage: 2, conflict: 3, storeRefused: 4 } as const;

/** The command line is wrong (exit code 2). */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The command failed (exit code 1). The message says why. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** A command failed (`cause`) when a part was done. The hint says which, and how to continue. */
export class CommandStopped extends Error {
  override readonly name = "CommandStopped";
  readonly hint: string;

  constructor(cause: unknown, hint: string) {
    super(hint, { cause });
    this.hint = hint;
  }
}

/** The options for the connection to the server. Every client command has them. */
export const connectionOptions = {
  address: { type: "string", short: "a" },
  timeout: { type: "string" },
  tls: { type: "boolean" },
  "tls-ca": { type: "string" },
  "tls-cert": { type: "string" },
  "tls-key": { type: "string" },
  "tls-server-name": { type: "string" },
  "token-file": { type: "string" },
} as const;

export const jsonOption = { json: { type: "boolean" } } as const;

/** The arguments with further options behind the first words, which may be a verb and its names. */
export function behindWords(args: readonly string[], more: readonly string[]): string[] {
  const first = args.findIndex((each) => each.startsWith("-"));
  const at = first < 0 ? args.length : first;
  return [...args.slice(0, at), ...more, ...args.slice(at)];
}

type Options = NonNullable<ParseArgsConfig["options"]>;

/** Parses a command line strictly: unknown options and a wrong number of arguments are refused. */
export function parse<const T extends Options>(
  args: readonly string[],
  options: T,
  argumentCount: { readonly min: number; readonly max: number },
) {
  const config = { args: [...args], options, allowPositionals: true, strict: true } as const;
  const { values, positionals } = parsed(() => parseArgs(config));
  const { min, max } = argumentCount;
  if (positionals.length < min) throw new UsageError("too few arguments");
  if (positionals.length > max) throw new UsageError(`unexpected argument "${positionals[max]}"`);
  return { values, positionals };
}

function parsed<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const [sentence = ""] = error.message.split(". To specify a positional");
    const [, short] = /^Unknown option '(-[^-]*)'/.exec(sentence) ?? [];
    const hint = `; write -- before arguments that begin with -, as in: -- ${short}`;
    throw new UsageError(sentence + (short === undefined ? "" : hint), { cause: error });
  }
}

/** A whole number within bounds. */
export function wholeNumber(
  text: string,
  option: string,
  bounds: { readonly min?: number; readonly max?: number } = {},
): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= min && number <= max)) {
    throw new UsageError(`${option}: "${text}" is not a whole number from ${min} to ${max}`);
  }
  return number;
}

/** The `key=value` pairs of a repeated option. */
export function pairs(entries: readonly string[], option: string): Record<string, string> {
  const record = new Map<string, string>();
  for (const entry of entries) {
    const at = entry.indexOf("=");
    if (at < 1) throw new UsageError(`${option}: "${entry}" is not KEY=VALUE`);
    const key = entry.slice(0, at);
    if (record.has(key)) throw new UsageError(`${option}: "${key}" is given twice`);
    record.set(key, entry.slice(at + 1));
  }
  return Object.fromEntries(record);
}

/** The units of durations, in milliseconds. */
export const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * A duration such as `500ms`, `10s`, `2m` or `1h`, in milliseconds. A number without unit is in
 * seconds.
 */
export function durationMs(text: string, option: string): number {
  const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  const ms = Number(parts?.[1]) * unitMs[(parts?.[2] ?? "s") as keyof typeof unitMs];
  if (!(ms > 0 && ms <= 24 * unitMs.h)) {
    throw new UsageError(
      `${option}: "${text}" is not a duration: write 500ms, 10s or 2m, up to 24h`,
    );
  }
  return ms;
}
