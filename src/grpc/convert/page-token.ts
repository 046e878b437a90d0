// Page tokens: where the next page begins, opaque to clients. A token carries a check over the call
// it belongs to, so that one that was bent, or is from another list, is refused and not misread.

import { createHash } from "node:crypto";
import { invalidField } from "../../domain/errors.ts";

const checkBytes = 8;

/** `scope`: the call and what it selects; a token goes on with the same scope only. */
export function pageToken(scope: readonly string[], cursor: string): string {
  return Buffer.concat([checkOf(scope, cursor), Buffer.from(cursor)]).toString("base64url");
}

/** The cursor of a token; throws INVALID_FIELD where it is not one of this scope. */
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
