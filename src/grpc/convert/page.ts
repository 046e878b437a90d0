// Pages of lists: how many entries, where to begin, and the token of the next page. A page is read
// and encoded in pieces, so that a long one does not hold the main thread. A token is opaque to
// clients. It has a MAC with the store's key over the call it belongs to, so that an altered token,
// or one of another list or another store, is refused.

import { createHmac, timingSafeEqual } from "node:crypto";
import { cancellation, type CancelSignal } from "../../log/cancellation.ts";
import { invalidField } from "../../domain/errors.ts";
import type { Limits } from "../../domain/limits.ts";
import type { Encoded } from "../transport/methods.ts";
import { wrap } from "./batches.ts";

/** What requests for pages share. */
interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/** What pages need besides their list. */
export interface Paging {
  readonly limits: Limits;
  readonly pageTokens: PageTokens;
}

export interface PagedList<T> {
  /** The call and its arguments. A token is valid for the same scope only. */
  readonly scope: readonly string[];
  /** The cursor after an entry. */
  readonly cursorOf: (entry: T) => string;
  /** The message of an entry. */
  readonly encode: (entry: T) => Uint8Array;
  /** At most `limit` entries after a cursor (empty: from the first). None: there are no more. */
  readonly list: (after: string, limit: number) => Promise<readonly T[]>;
}

/** A page ends near this many encoded bytes, even if it could have more entries. */
export const pageBytesMax = 1024 * 1024;
/** Entries that are read and encoded at a time: a millisecond, or two where they have labels. */
const pieceEntries = 32;

/** The fields of every answer to a list: the entries, and the next page's token. */
const tagEntries = 0x0a;
const tagNextPageToken = 0x12;

/** One page of a list, as the bytes of the answer. Throws CANCELLED. */
export async function pageOf<T, Answer>(
  { pageSize, pageToken: token }: PageRequest,
  { limits, pageTokens }: Paging,
  { scope, cursorOf, encode, list }: PagedList<T>,
  signal: CancelSignal,
): Promise<Encoded<Answer>> {
  const asked = pageSize === 0 ? limits.pageSizeDefault : pageSize;
  const entriesMax = Math.min(asked, limits.pageSizeMax);
  let cursor = token === "" ? "" : pageTokens.read(scope, token);
  const parts: Buffer[] = [];
  let bytes = 0;
  let listed = cursor;
  for (;;) {
    // One more than the page holds, to know whether there is a next one.
    const piece = await list(listed, Math.min(pieceEntries, entriesMax + 1 - parts.length));
    if (signal.aborted) throw cancellation(signal);
    for (const entry of piece) {
      const part = wrap(tagEntries, [encode(entry)]);
      bytes += part.length;
      const isFull = parts.length === entriesMax || (parts.length > 0 && bytes > pageBytesMax);
      if (isFull) {
        parts.push(wrap(tagNextPageToken, [Buffer.from(pageTokens.make(scope, cursor))]));
        return Buffer.concat(parts);
      }
      parts.push(part);
      cursor = listed = cursorOf(entry);
    }
    if (piece.length === 0) return Buffer.concat(parts);
  }
}

const macBytes = 16;

/** Makes and reads page tokens. */
export class PageTokens {
  private readonly key: Uint8Array;

  /** The store's secret: it makes tokens. */
  constructor(key: Uint8Array) {
    this.key = key;
  }

  /** `scope` is the call and its selection. The token is valid for the same scope only. */
  make(scope: readonly string[], cursor: string): string {
    return Buffer.concat([this.macOf(scope, cursor), Buffer.from(cursor)]).toString("base64url");
  }

  /** The cursor of a token. Throws INVALID_FIELD if the token is not one of this scope. */
  read(scope: readonly string[], token: string): string {
    const bytes = Buffer.from(token, "base64url");
    const cursor = bytes.subarray(macBytes).toString("utf8");
    const given = bytes.subarray(0, macBytes);
    const isOwn = given.length === macBytes && timingSafeEqual(given, this.macOf(scope, cursor));
    // The same bytes have several texts in base64, and one that we wrote.
    if (!isOwn || bytes.toString("base64url") !== token) {
      const why = "is no next_page_token of this store for a list with these arguments";
      throw invalidField("page_token", why);
    }
    return cursor;
  }

  private macOf(scope: readonly string[], cursor: string): Buffer {
    const said = JSON.stringify([...scope, cursor]);
    return createHmac("sha256", this.key).update(said).digest().subarray(0, macBytes);
  }
}
