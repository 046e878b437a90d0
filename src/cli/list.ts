// Prints a list page by page: as a table for people, or as lines of JSON.

import { withSession, type ConnectionValues, type Session } from "./session.ts";
import { tableOn, type Column } from "./table.ts";
import { print, type Terminal } from "./terminal.ts";

export const pageSize = 1_000;

export interface Listing<Row> {
  readonly columns: readonly Column[];
  cells(row: Row): string[];
  json(row: Row): object;
  page(session: Session, pageToken: string): Promise<{ rows: Row[]; nextPageToken: string }>;
}

/** Prints each page as it arrives, because a store may have more streams than fit into memory. */
export async function list<Row>(
  values: ConnectionValues & { readonly json?: boolean | undefined },
  terminal: Terminal,
  listing: Listing<Row>,
): Promise<number> {
  const table = tableOn(terminal.output, terminal, listing.columns);
  const text = (rows: readonly Row[]) =>
    values.json === true
      ? rows.map((row) => `${JSON.stringify(listing.json(row))}\n`).join("")
      : table(rows.map((row) => listing.cells(row)));
  await withSession(values, terminal, async (session) => {
    let token = "";
    do {
      const { rows, nextPageToken } = await listing.page(session, token);
      await print(terminal.output, text(rows));
      token = nextPageToken;
    } while (token !== "");
  });
  return 0;
}
