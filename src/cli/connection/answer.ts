// Prints what a command answers. For people: a sentence, pairs or a table. With `--json`: one
// object a line.

import { escaped } from "../../escape.ts";
import { jsonLine } from "../output/display.ts";
import { withSession, type ConnectionValues, type Session } from "./session.ts";
import { rowLines } from "../output/form.ts";
import { pairsOf, tableOn, type Column } from "../output/table.ts";
import { print, type Terminal } from "../output/terminal.ts";

type Json = { readonly json?: boolean | undefined };

/** Prints `words`, a sentence or pairs of names and values; with `--json`, the object. */
export async function printAnswer(
  terminal: Terminal,
  { json }: Json,
  object: object,
  words: string | readonly (readonly [string, string])[],
): Promise<void> {
  const text = typeof words === "string" ? `${escaped(words)}\n` : pairsOf(words);
  await print(terminal.output, json === true ? jsonLine(object) : text);
}

export const pageSize = 1_000;

export interface ListedRows<Row> {
  readonly columns: readonly Column[];
  cells(row: Row): string[];
  json(row: Row): object;
  page(session: Session, pageToken: string): Promise<{ rows: Row[]; nextPageToken: string }>;
}

/** Prints each page as it arrives, because a store may have more streams than fit into memory. */
export async function printList<Row>(
  values: ConnectionValues & Json,
  terminal: Terminal,
  listing: ListedRows<Row>,
): Promise<number> {
  const table = tableOn(terminal.output, terminal, listing.columns);
  const lines = rowLines(terminal);
  const isJson = values.json === true;
  const text = (rows: readonly Row[]) =>
    isJson
      ? lines.some(rows.map((row) => jsonLine(listing.json(row))))
      : table(rows.map((row) => listing.cells(row)));
  await withSession(values, terminal, async (session) => {
    let token = "";
    do {
      const { rows, nextPageToken } = await listing.page(session, token);
      await print(terminal.output, text(rows));
      token = nextPageToken;
    } while (token !== "");
  });
  if (isJson) await print(terminal.output, lines.end);
  return 0;
}
