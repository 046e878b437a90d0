// Pages of lists: how many entries, where to begin, and the token for the next page.

import type { Limits } from "../../domain/limits.ts";
import { pageToken, readPageToken } from "./page-token.ts";

export interface Page<T> {
  readonly entries: T[];
  /** Empty: there is no next page. */
  readonly nextPageToken: string;
}

interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/** Encoded bytes near which a page ends before it has its number of entries. */
export const pageBytesMax = 1024 * 1024;

/**
 * One page of a list. `scope` names the call and its arguments; `cursorOf` says what comes after an
 * entry; `list` answers at most `limit` entries after a cursor (empty: from the first).
 */
export async function pageOf<T>(
  { pageSize, pageToken: token }: PageRequest,
  limits: Limits,
  scope: readonly string[],
  cursorOf: (entry: T) => string,
  bytesOf: (entry: T) => number,
  list: (after: string, limit: number) => Promise<T[]>,
): Promise<Page<T>> {
  const asked = pageSize === 0 ? limits.pageSizeDefault : pageSize;
  const limit = Math.min(asked, limits.pageSizeMax);
  const after = token === "" ? "" : readPageToken(scope, token);
  const found = await list(after, limit + 1);
  const entries: T[] = [];
  let bytes = 0;
  for (const entry of found.slice(0, limit)) {
    bytes += bytesOf(entry);
    if (entries.length > 0 && bytes > pageBytesMax) break;
    entries.push(entry);
  }
  const last = entries.at(-1);
  const more = last !== undefined && entries.length < found.length;
  return { entries, nextPageToken: more ? pageToken(scope, cursorOf(last)) : "" };
}
