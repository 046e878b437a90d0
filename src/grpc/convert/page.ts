// Pages of lists: how many entries, where to begin, and the token of the next page. A token is
// opaque to clients. It contains a checksum over the call it belongs to, so that an altered token,
// or one of another list, is refused.

import { createHash } from "node:crypto";
import { invalidField } from "../../domain/errors.ts";
import type { Limits } from "../../domain/limits.ts";

export interface Page<T> {
  readonly entries: T[];
  /** Empty: there is no next page. */
  readonly nextPageToken: string;
}

interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/** A page ends near this many encoded bytes, even if it could have more entries. */
export const pageBytesMax = 1024 * 1024;

/** A list that is answered in pages. */
interface PagedList<T> {
  /** The call and its arguments. */
  readonly scope: readonly string[];
  /** The cursor after an entry. */
  readonly cursorOf: (entry: T) => string;
  /** Of an entry as the page encodes it. */
  readonly bytesOf: (entry: T) => number;
  /** At most `limit` entries after a cursor (empty: from the first). */
  readonly list: (after: string, limit: number) => Promise<T[]>;
}

export async function pageOf<T>(
  { pageSize, pageToken: token }: PageRequest,
  limits: Limits,
  { scope, cursorOf, bytesOf, list }: PagedList<T>,
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

const checkBytes = 8;

/** `scope` is the call and its selection. The token is valid for the same scope only. */
export function pageToken(scope: readonly string[], cursor: string): string {
  return Buffer.concat([checkOf(scope, cursor), Buffer.from(cursor)]).toString("base64url");
}

/** The cursor of a token. Throws INVALID_FIELD if the token is not one of this scope. */
export function readPageToken(scope: readonly string[], token: string): string {
  const bytes = Buffer.from(token, "base64url");
  const cursor = bytes.subarray(checkBytes).toString("utf8");
  const given = bytes.subarray(0, checkBytes);
  if (!checkOf(scope, cursor).equals(given) || pageToken(scope, cursor) !== token) {
    throw invalidField("page_token", "is no next_page_token of a list with these arguments");
  }
  return cursor;
}

function checkOf(scope: readonly string[], cursor: string): Buffer {
  const digest = createHash("sha256")
    .update(JSON.stringify([...scope, cursor]))
    .digest();
  return digest.subarray(0, checkBytes);
}
