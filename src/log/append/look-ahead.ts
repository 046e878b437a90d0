// Looking a condition up before its append stands in line. In line every look-up keeps all writers
// waiting; most of what a condition is about lies far back and never changes. So what is there now
// is looked up here, beside the line, and in line only what came since.

import type { Append } from "../../domain/append.ts";
import type { Storage } from "../../storage/storage.ts";

/** Positions that a condition may reach back before it is worth a look-up of its own. */
const farBack = 1_000;

/**
 * The append with its condition looked up; undefined: it reaches back so little that line will
 * do.
 */
export function lookAhead(storage: Storage, append: Append): Promise<Append> | undefined {
  const { condition } = append;
  if (condition === undefined || storage.head().position - condition.after < farBack) {
    return undefined;
  }
  const request = { streams: [], ids: [], conditions: [condition] };
  return storage.facts(request).then(({ head, matches }) => {
    // What matches may be removed before the append is decided: in line it is looked up again.
    if (matches[0] !== 0) return append;
    return { ...append, condition: { ...condition, nothingThrough: head.position } };
  });
}
