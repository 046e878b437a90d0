// How a command's answers are printed: `--output table|json|ndjson`, `--json` and `--wide`, for all
// commands whose help page names them. Their own code knows `--json` and the terminal alone.

import { behindWords, UsageError } from "../arguments/options.ts";
import type { Terminal } from "./terminal.ts";

export const forms = ["table", "json", "ndjson"] as const;
type Form = (typeof forms)[number];

interface Formed {
  readonly args: readonly string[];
  readonly terminal: Terminal;
}

/** Takes the options of the form out of the arguments. The last one counts. */
export function withForm(
  name: string,
  given: readonly string[],
  terminal: Terminal,
  helpLines: readonly string[],
): Formed {
  const knows = (option: string): boolean => helpLines.some((line) => line.includes(option));
  const { form, isWide, rest } = formIn(given);
  if (form === undefined && !isWide) return { args: rest, terminal };
  if (form !== undefined && !knows("--output")) throw new UsageError(`${name} has no --output`);
  if (isWide && !knows("--wide")) throw new UsageError(`${name} has no --wide`);
  const isJson = form === "json" || form === "ndjson";
  return {
    args: isJson ? behindWords(rest, ["--json"]) : rest,
    terminal: { ...terminal, isWide, isArray: form === "json" },
  };
}

function formIn(args: readonly string[]) {
  const rest: string[] = [];
  let form: Form | undefined;
  let isWide = false;
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? "";
    if (arg === "--") {
      rest.push(...args.slice(at));
      break;
    }
    const [, attached] = /^(?:--output=|-o=?(?=.))(.*)$/s.exec(arg) ?? [];
    if (arg === "-o" || arg === "--output") {
      at += 1;
      form = formOf(args[at]);
    } else if (attached !== undefined) form = formOf(attached);
    else if (arg === "--wide") isWide = true;
    else if (arg === "--json") form = "ndjson";
    else rest.push(arg);
  }
  return { form, isWide, rest };
}

function formOf(text: string | undefined): Form {
  const form = forms.find((each) => each === text);
  if (form !== undefined) return form;
  const said = text === undefined ? "which one?" : `"${text}" is not one of`;
  throw new UsageError(`--output: ${said} ${forms.join(", ")}`);
}

/** The lines of rows as they come: each by itself or, with `--output json`, parts of one array. */
export function rowLines({ isArray }: Pick<Terminal, "isArray">) {
  if (isArray !== true) return { some: (lines: readonly string[]) => lines.join(""), end: "" };
  let begun = "[";
  return {
    some(lines: readonly string[]): string {
      const text = lines.map((line, i) => (i === 0 ? begun : ",") + line).join("");
      if (lines.length > 0) begun = ",";
      return text;
    },
    get end(): string {
      return begun === "[" ? "[]\n" : "]\n";
    },
  };
}

/** Refuses one value of what has no end. */
export function refuseArray({ isArray }: Pick<Terminal, "isArray">, what: string): void {
  if (isArray !== true) return;
  throw new UsageError(`--output json is one value, and ${what} has no end: use ndjson`);
}
