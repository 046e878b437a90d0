// The server's configuration for people: what is in force and where it is from, and every option.

import {
  flagOf,
  optionNames,
  options,
  variableOf,
  type LoadedConfig,
  type Option,
} from "../config.ts";

/** The effective configuration, a line an option, with where it is from. */
export function printConfig({ config, sources }: LoadedConfig): string {
  return table(
    optionNames.map((name) => [flagOf(name), JSON.stringify(config[name]), `(${sources[name]})`]),
  );
}

/** Every option, with its default. */
export function configHelp(): string {
  const rows = optionNames.map((name) => {
    const option: Option = options[name];
    const takes = option.type === "text" ? option.value : option.type === "number" ? "N" : "";
    const choices = option.type === "choice" ? option.choices.join("|") : takes;
    const shown = option.initial === "" ? "" : ` [${option.initial}]`;
    return [`--${flagOf(name)} ${choices}`.trimEnd(), `${option.help}${shown}`];
  });
  rows.push(["--config FILE", "a JSON object of these options, by their names"]);
  rows.push(["--print-config", "print the effective options and where each is from, and end"]);
  const footer = `Switches are turned off by --no-NAME. Each option may stand in the environment:
--unix-socket is ${variableOf("unixSocket")}.
Flags win over the environment, the environment over the file.`;
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
