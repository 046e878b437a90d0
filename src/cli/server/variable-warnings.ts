// Warns about environment variables that look like options but are none. They are often misspelled,
// and would otherwise be ignored silently.

import { looksLikeOption, otherVariables } from "../../config.ts";
import { nearTo } from "../../domain/near.ts";
import { optionNames, variableOf } from "../../options.ts";

const known = [...optionNames.map(variableOf), ...otherVariables];

/** One warning per variable, with the option that may have been meant. */
export function variableWarnings(
  environment: Readonly<Record<string, string | undefined>>,
): string[] {
  const unknown = Object.entries(environment).filter(
    ([name, text]) => text !== undefined && looksLikeOption(name, text) && !known.includes(name),
  );
  return unknown.map(([name]) => {
    const meant = nearTo(name, known);
    const hint = meant === undefined ? "" : `: did you mean ${meant}?`;
    return `the environment variable ${name} is not an option and has no effect${hint}`;
  });
}
