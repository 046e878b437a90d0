// Contexts: the options of a connection under a name, in a file of the user. A command has them
// where it names the context, and never by itself.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { behindWords, CommandError, UsageError } from "../arguments/options.ts";
import type { Terminal } from "../output/terminal.ts";

type Environment = Terminal["environment"];

/** By option, without its dashes. Files have whole paths. */
export type ContextOptions = Readonly<Record<string, string | boolean>>;

type Contexts = Readonly<Record<string, ContextOptions>>;

function fileOf({ XDG_CONFIG_HOME, HOME }: Environment): string {
  const base = XDG_CONFIG_HOME || join(HOME || homedir(), ".config");
  return join(base, "annals", "contexts.json");
}

export function contextsOf(environment: Environment): Contexts {
  const file = fileOf(environment);
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Contexts;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new CommandError(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** Undefined: forgets it. */
export function keepContext(
  environment: Environment,
  name: string,
  options: ContextOptions | undefined,
): void {
  const file = fileOf(environment);
  const contexts = new Map(Object.entries(contextsOf(environment)));
  contexts.delete(name);
  if (options !== undefined) contexts.set(name, options);
  const text = `${JSON.stringify(Object.fromEntries(contexts), null, 2)}\n`;
  try {
    mkdirSync(dirname(file), { recursive: true });
    // A command that reads it meanwhile sees the old file or the new one.
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * The arguments of a command with the options of the context that it names before its own ones,
 * which count more.
 */
export function withContext(args: readonly string[], environment: Environment): readonly string[] {
  const { named, rest } = nameIn(args);
  const name = named ?? (environment["ANNALS_CONTEXT"] || undefined);
  if (name === undefined) return rest;
  const contexts = contextsOf(environment);
  const options = Object.hasOwn(contexts, name) ? contexts[name] : undefined;
  if (options === undefined) {
    const names = Object.keys(contexts).join(", ") || "none";
    throw new UsageError(`there is no context "${name}"; there are: ${names}`);
  }
  const flags = Object.entries(options).map(([option, value]) => {
    return value === true ? `--${option}` : `--${option}=${value}`;
  });
  return behindWords(rest, flags);
}

/** Takes `--context NAME` or `--context=NAME` out of the arguments; the last one counts. */
function nameIn(args: readonly string[]): { named: string | undefined; rest: string[] } {
  const rest: string[] = [];
  let named: string | undefined;
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? "";
    if (arg === "--") return { named, rest: [...rest, ...args.slice(at)] };
    if (arg === "--context") {
      at += 1;
      named = args[at];
      if (named === undefined) throw new UsageError("--context: which one?");
    } else if (arg.startsWith("--context=")) named = arg.slice("--context=".length);
    else rest.push(arg);
  }
  return { named, rest };
}
