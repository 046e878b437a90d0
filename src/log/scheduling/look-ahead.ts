// Looks up a condition before its append waits for its commit. A lookup between two commits delays
// all writers, and most of what a condition covers is old and never changes. So the events up to
// the present head are looked up here, and only later ones between the commits.

import type { Append } from "../../domain/append.ts";
import type { Storage } from "../../storage/storage.ts";
import { schedulingPolicy } from "./policy.ts";

/**
 * The append with its condition looked up. Undefined: it does not reach back far enough for that to
 * pay off.
 */
export function lookAhead(storage: Storage, append: Append): Promise<Append> | undefined {
  const { condition } = append;
  if (condition === undefined) return undefined;
  const reach = storage.head().position - condition.after;
  if (reach < schedulingPolicy.lookAheadPositionsMin) return undefined;
  const request = { streams: [], ids: [], conditions: [condition] };
  return storage.facts(request).then(({ head, matches }) => {
    // The matching event may be removed before the append is decided, so its commit looks it up
    // again.
    if (matches[0] !== 0) return append;
    return { ...append, condition: { ...condition, nothingThrough: head.position } };
  });
}
