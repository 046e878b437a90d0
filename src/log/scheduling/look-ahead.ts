// Looks a condition up before its append waits for its commit. Between two commits every look-up
// keeps all writers waiting; most of what a condition is about lies far back and never changes. So
// what is there now is looked up here, and between the commits only what came since.

import type { Append } from "../../domain/append.ts";
import type { Storage } from "../../storage/storage.ts";
import { schedulingPolicy } from "./policy.ts";

/** The append with its condition looked up; undefined: it reaches back too little for that. */
export function lookAhead(storage: Storage, append: Append): Promise<Append> | undefined {
  const { condition } = append;
  if (condition === undefined) return undefined;
  const reach = storage.head().position - condition.after;
  if (reach < schedulingPolicy.lookAheadPositionsMin) return undefined;
  const request = { streams: [], ids: [], conditions: [condition] };
  return storage.facts(request).then(({ head, matches }) => {
    // What matches may be removed before the append is decided: its commit looks it up again.
    if (matches[0] !== 0) return append;
    return { ...append, condition: { ...condition, nothingThrough: head.position } };
  });
}
