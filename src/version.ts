// The version of this software, as package.json says it. The single executable has no package.json
// beside it: its build puts the version in.

import { readFileSync } from "node:fs";

declare const ANNALS_VERSION: string | undefined;

export const version: string =
  typeof ANNALS_VERSION === "undefined" ? packageVersion() : ANNALS_VERSION;

/** package.json is beside `src` and beside `dist`. */
function packageVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
