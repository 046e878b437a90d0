// How far a consumer group has got: everything that must outlive the process. Settled is told by
// what is not: up to `through` every match is settled but for those behind the front of their
// key. So it stays small however far one key falls behind the others, and grows with the keys
// that are at work.

import type { GroupOrdering, KeyWords } from "./settings.ts";
import { keyOf } from "./settings.ts";
import { matches, type Query } from "../query.ts";
import type { EventHeader } from "../event.ts";

/** What is remembered of an event that failed. */
export interface Retry {
  /** Deliveries that failed. */
  readonly attempts: number;
  /** Not before: milliseconds since 1970, UTC; 0: at once. */
  readonly retryAtMs: number;
}

/**
 * The first event of a key that is not settled, or a position before it; `Retry` is that
 * event's.
 */
export interface Front extends Retry {
  readonly position: number;
}

/**
 * What was settled under an earlier query or ordering: every match of it up to `through`, but for
 * those at or behind the front of their key. Kept while positions up to there are looked at again.
 */
export interface Era {
  readonly query: Query;
  readonly ordering: GroupOrdering;
  readonly through: number;
  readonly fronts: ReadonlyMap<string, number>;
}

export interface Progress {
  /** The number of the write this is of. */
  readonly sequence: number;
  /** Every match up to here is settled, or at or behind the front of its key and not `ahead`. */
  readonly through: number;
  /** Events recorded before this time (microseconds) are passed over; 0: none is. */
  readonly fromTime: number;
  /** Matches up to `through` that are not settled. */
  readonly unsettledCount: number;
  /** By key, in the order of their positions; none is beyond `through`. */
  readonly fronts: ReadonlyMap<string, Front>;
  /** Events that were parked and are delivered again, by position. */
  readonly replays: ReadonlyMap<number, Retry>;
  /** Settled, although the rest would not say so: in flight when query or ordering changed. */
  readonly ahead: ReadonlySet<number>;
  /** What is remembered of events that failed and are not the front of their key. */
  readonly carried: ReadonlyMap<number, Retry>;
  /** The oldest first. */
  readonly eras: readonly Era[];
}

/**
 * What one write changes. A front is told by its number: those of the base have theirs from 1, in
 * order, and each one that is added gets the next.
 */
export interface ProgressDelta {
  readonly sequence: number;
  readonly through: number;
  readonly unsettledCount: number;
  readonly dropped: readonly number[];
  readonly moved: readonly { readonly number: number; readonly front: Front }[];
  /** In the order of their positions. */
  readonly added: readonly { readonly key: string; readonly front: Front }[];
  /** Undefined: it is settled. */
  readonly replays: readonly { readonly position: number; readonly retry: Retry | undefined }[];
}

/** A group that begins after a position. */
export function progressFrom(through: number, fromTime = 0): Progress {
  return {
    sequence: 0,
    through,
    fromTime,
    unsettledCount: 0,
    fronts: new Map(),
    replays: new Map(),
    ahead: new Set(),
    carried: new Map(),
    eras: [],
  };
}

/** The progress after these writes, in order. Throws `RangeError` where they do not join. */
export function advanceProgress(base: Progress, deltas: readonly ProgressDelta[]): Progress {
  const byNumber = new Map<number, { readonly key: string; readonly front: Front }>();
  for (const [key, front] of base.fronts) byNumber.set(byNumber.size + 1, { key, front });
  let nextNumber = byNumber.size + 1;
  const replays = new Map(base.replays);
  let { sequence, through, unsettledCount } = base;
  for (const delta of deltas) {
    if (delta.sequence !== sequence + 1) throw new RangeError("group progress: a write is missing");
    ({ sequence, through, unsettledCount } = delta);
    for (const number of delta.dropped) {
      if (!byNumber.delete(number)) throw new RangeError(`group progress: no front ${number}`);
    }
    for (const { number, front } of delta.moved) {
      const known = byNumber.get(number);
      if (known === undefined) throw new RangeError(`group progress: no front ${number}`);
      byNumber.set(number, { key: known.key, front });
    }
    for (const added of delta.added) byNumber.set(nextNumber++, added);
    for (const { position, retry } of delta.replays) {
      if (retry === undefined) replays.delete(position);
      else replays.set(position, retry);
    }
  }
  const ascending = [...byNumber.values()].toSorted((a, b) => a.front.position - b.front.position);
  const fronts = new Map(ascending.map(({ key, front }) => [key, front]));
  return { ...base, sequence, through, unsettledCount, fronts, replays };
}

/** Whether an event was settled under an earlier query or ordering. */
export function settledBefore(
  eras: readonly Era[],
  event: EventHeader & KeyWords & { readonly position: number },
): boolean {
  return eras.some(({ query, ordering, through, fronts }) => {
    if (event.position > through || !matches(query, event)) return false;
    const front = fronts.get(keyOf(event, event.position, ordering));
    return front === undefined || event.position < front;
  });
}
