// Warns about environment variables that look like options but are none. They are often misspelled,
// and would otherwise be ignored silently.

import { looksLikeOption, otherVariables } from "../../config.ts";
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
    const meant = known.find((option) => isNear(option, name));
    const hint = meant === undefined ? "" : `: did you mean ${meant}?`;
    return `the environment variable ${name} is not an option and has no effect${hint}`;
  });
}

/** Whether the words differ by at most two letters missing, added or changed. */
function isNear(one: string, other: string): boolean {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 0; i < one.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j += 1) {
      const changed = (row[j] ?? 0) + (one[i] === other[j] ? 0 : 1);
      next.push(Math.min(changed, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return (row.at(-1) ?? 0) <= 2;
}
