// The progress of a consumer group: everything that must survive the process. It describes what is
// not settled: up to `through`, every match is settled, except those at or after the first
// unsettled event of their key. It therefore stays small however far one key falls behind, and
// grows with the number of keys that have unsettled events.

/** The failures of an event. */
export interface Retry {
  /** Deliveries that failed. */
  readonly attempts: number;
  /** The earliest time of the next delivery: milliseconds since 1970, UTC. 0: at once. */
  readonly retryAtMs: number;
}

/** The first unsettled event of a key, or a position before it. `Retry` is about that event. */
export interface FirstUnsettled extends Retry {
  readonly position: number;
}

export interface Progress {
  /** The number of the write that this belongs to. */
  readonly sequence: number;
  /**
   * Every match up to this position is settled, or at or after the first unsettled event of its
   * key.
   */
  readonly through: number;
  /** Events recorded before this time (microseconds) are skipped. 0: none. */
  readonly fromTime: number;
  /** Matches up to `through` that are not settled. */
  readonly unsettledCount: number;
  /** By key, in the order of their positions. None is beyond `through`. */
  readonly firsts: ReadonlyMap<string, FirstUnsettled>;
  /** Parked events that are being delivered again, by position. */
  readonly replays: ReadonlyMap<number, Retry>;
}

/**
 * The changes of one write. A key is referred to by its number: the keys of the base are numbered
 * from 1 in order, and each added key gets the next number.
 */
export interface ProgressDelta {
  readonly sequence: number;
  readonly through: number;
  readonly unsettledCount: number;
  readonly dropped: readonly number[];
  readonly moved: readonly { readonly number: number; readonly first: FirstUnsettled }[];
  /** In the order of their positions. */
  readonly added: readonly { readonly key: string; readonly first: FirstUnsettled }[];
  /** Undefined: the replay is settled. */
  readonly replays: readonly { readonly position: number; readonly retry: Retry | undefined }[];
}

/** The progress of a group that begins after a position. */
export function progressFrom(through: number, fromTime = 0): Progress {
  const nothing = { unsettledCount: 0, firsts: new Map(), replays: new Map() };
  return { sequence: 0, through, fromTime, ...nothing };
}

/** The progress after these writes, in order. Throws `RangeError` if they are not consecutive. */
export function advanceProgress(base: Progress, deltas: readonly ProgressDelta[]): Progress {
  const byNumber = new Map<number, { readonly key: string; readonly first: FirstUnsettled }>();
  for (const [key, first] of base.firsts) byNumber.set(byNumber.size + 1, { key, first });
  let nextNumber = byNumber.size + 1;
  const replays = new Map(base.replays);
  let { sequence, through, unsettledCount } = base;
  for (const delta of deltas) {
    if (delta.sequence !== sequence + 1) throw new RangeError("group progress: a write is missing");
    ({ sequence, through, unsettledCount } = delta);
    for (const number of delta.dropped) {
      if (!byNumber.delete(number)) throw new RangeError(`group progress: no key ${number}`);
    }
    for (const { number, first } of delta.moved) {
      const known = byNumber.get(number);
      if (known === undefined) throw new RangeError(`group progress: no key ${number}`);
      byNumber.set(number, { key: known.key, first });
    }
    for (const added of delta.added) byNumber.set(nextNumber++, added);
    for (const { position, retry } of delta.replays) {
      if (retry === undefined) replays.delete(position);
      else replays.set(position, retry);
    }
  }
  const ascending = [...byNumber.values()].toSorted((a, b) => a.first.position - b.first.position);
  const firsts = new Map(ascending.map(({ key, first }) => [key, first]));
  return { ...base, sequence, through, unsettledCount, firsts, replays };
}
