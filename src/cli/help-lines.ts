// What the pages of `annals help` are made of.

export interface CommandHelp {
  readonly name: string;
  readonly synopsis: string;
  readonly summary: string;
  /** Options and remarks, one per line. */
  readonly details: readonly string[];
}

export const formLine =
  "-o, --output FORM       table, json: one value, ndjson: a line for each; --json is ndjson";
export const wideLine = "--wide                  values that are not cut, and all columns";

export const selectionLines = [
  "STREAM                  one stream",
  "--type T, --prefix P    events of this type; in streams with this prefix (repeat for more)",
  "--tag T                 events with this tag (repeated: with all of them)",
  '--query-json JSON       a query as JSON: {"items":[{"types":["A"]},{"tags":["b"]}]}',
];
