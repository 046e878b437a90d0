// Environment variables that look like options of this product and are none: often misspelled ones,
// which would change nothing without a word.

import { looksLikeOption, optionNames, variableOf } from "../config.ts";

/** Those of the server, of the place of its file, and of the commands. */
const known = [...optionNames.map(variableOf), "ANNALS_CONFIG", "ANNALS_ADDRESS"];

/** A warning for each, with what may have been meant. */
export function variableWarnings(
  environment: Readonly<Record<string, string | undefined>>,
): string[] {
  const unknown = Object.entries(environment).filter(
    ([name, text]) => text !== undefined && looksLikeOption(name, text) && !known.includes(name),
  );
  return unknown.map(([name]) => {
    const meant = known.find((option) => isNear(option, name));
    const hint = meant === undefined ? "" : `: was ${meant} meant?`;
    return `the environment variable ${name} is no option and changes nothing${hint}`;
  });
}

/** Whether one is the other with at most two letters missing, added or changed. */
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
