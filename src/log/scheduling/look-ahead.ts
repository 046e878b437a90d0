// Looks up conditions before their append waits for its commit. A lookup between two commits delays
// all writers, and most of what a condition covers is old and never changes. So the events up to
// the present head are looked up here, and only later ones between the commits.

import type { Append } from "../../domain/append.ts";
import type { Storage } from "../../storage/storage.ts";
import { schedulingPolicy } from "./policy.ts";

/**
 * The append with its conditions looked up. Undefined: none reaches back far enough, or asks for
 * enough, for that to pay off.
 */
export function lookAhead(storage: Storage, append: Append): Promise<Append> | undefined {
  const { conditions } = append;
  if (conditions.length === 0) return undefined;
  const { lookAheadPositionsMin, lookAheadItemsMin } = schedulingPolicy;
  const near = storage.head().position - lookAheadPositionsMin;
  const items = conditions.reduce((sum, { query }) => sum + query.items.length, 0);
  const isNear = conditions.every(({ after }) => after > near);
  if (isNear && items < lookAheadItemsMin) return undefined;
  return storage.facts({ streams: [], ids: [], conditions }).then(({ head, matches }) => ({
    ...append,
    // A matching event may be removed before the append is decided: its commit looks it up again.
    conditions: conditions.map((condition, i) =>
      matches[i] === 0 ? { ...condition, nothingThrough: head.position } : condition,
    ),
  }));
}
