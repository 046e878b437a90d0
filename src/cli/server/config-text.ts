// Prints the server's configuration for people: the effective values with their sources, and the
// list of all options.

import { withoutPassword, type LoadedConfig } from "../../config.ts";
import { flagOf, optionNames, options, variableOf, type Option } from "../../options.ts";

/** The effective configuration: one option per line, with the source of its value. */
export function printConfig({ config, sources }: LoadedConfig): string {
  return table(
    optionNames.map((name) => {
      const value = name === "storage" ? withoutPassword(config[name]) : config[name];
      return [flagOf(name), JSON.stringify(value), `(${sources[name]})`];
    }),
  );
}

/** Every option, with its default. */
export function configHelp(): string {
  const rows = optionNames.map((name) => {
    const option: Option = options[name];
    const takes = option.type === "text" ? option.value : option.type === "number" ? "N" : "";
    const choices = "choices" in option ? option.choices.join("|") : takes;
    const shown = option.initial === "" ? "" : ` [${option.initial}]`;
    return [`--${flagOf(name)} ${choices}`.trimEnd(), `${option.help}${shown}`];
  });
  rows.push(["--config FILE", "a JSON file with options by name"]);
  rows.push(["--print-config", "print the effective options and their sources, and exit"]);
  const footer = `--no-NAME turns a switch off. Each option can also be set in the environment:
--unix-socket is ${variableOf("unixSocket")}.
A flag overrides the environment, which overrides the file.`;
  return `Usage: annals serve [options]\n\n${table(rows)}\n${footer}\n`;
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths?.[i] ?? 0) : cell)).join("  ");
  return `${rows.map(line).join("\n")}\n`;
}
