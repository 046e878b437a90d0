// Epochs: the histories of a store. A restore or an accepted loss can give positions that were
// already read to other events. It therefore begins a new epoch, which shares the positions up to
// `after` with the epoch before and nothing beyond. A position that is kept over time is kept with
// its epoch, so that a position from another history is refused by name.

/** What began an epoch. */
export type EpochCause = "creation" | "restore" | "accepted-loss" | "salvage" | "promotion";

export interface Epoch {
  /** 16 hexadecimal digits. */
  readonly id: string;
  /** Up to this position (inclusive) the epoch has the events of the one before. */
  readonly after: number;
  /** Microseconds since 1970, UTC. */
  readonly beganAt: number;
  readonly cause: EpochCause;
}

/** The epochs of a store, the oldest first. The last one is the current one. */
export type History = readonly [Epoch, ...Epoch[]];

const epochId = /^[0-9a-f]{16}$/;
const firstDigits = 16;

export function isEpochId(text: string): boolean {
  return epochId.test(text);
}

/**
 * The epoch with which a store begins. Its id is made from that of the store, so that stores of
 * earlier builds have one too.
 */
export function firstEpoch(storeId: string, createdAt: number): Epoch {
  const id = storeId.replaceAll("-", "").slice(0, firstDigits);
  return { id, after: 0, beganAt: createdAt, cause: "creation" };
}

export function currentEpoch(history: History): string {
  return (history.at(-1) as Epoch).id;
}

/** Whether a history begins with all epochs of another one. */
export function sameBegin(begin: History, history: History): boolean {
  return begin.every(({ id, after }, i) => history[i]?.id === id && history[i]?.after === after);
}

/**
 * Up to this position (inclusive), positions of the epoch are positions of this history: Infinity
 * for the current epoch. Undefined: the epoch is not part of this history.
 */
export function sharedThrough(history: History, id: string): number | undefined {
  const at = history.findIndex((epoch) => epoch.id === id);
  if (at < 0) return undefined;
  return Math.min(...history.slice(at + 1).map(({ after }) => after));
}

/** A position from another history. Nothing was done. */
export interface EpochMismatch {
  readonly kind: "epoch-mismatch";
  /** The field with the position, or with the version of the event there. */
  readonly field: string;
  /** The position or version. */
  readonly asked: number;
  readonly askedEpoch: string;
  readonly epoch: string;
  /** See `sharedThrough`. */
  readonly shared: number | undefined;
}

/** What a request relies on: the events up to a position, or those of a stream up to a version. */
export type Claim =
  | { readonly field: string; readonly position: number }
  | { readonly field: string; readonly stream: string; readonly version: number };

/** What was read in an epoch. */
export interface ReadIn {
  readonly epoch: string;
  readonly claims: readonly Claim[];
}

/**
 * Why what was read up to a position is refused. `asked` is the position or version in the request;
 * 0 relies on nothing. Undefined: it is part of this history.
 */
export function epochMismatch(
  history: History,
  { epoch: askedEpoch, field, asked, position }: EpochClaim,
): EpochMismatch | undefined {
  const shared = sharedThrough(history, askedEpoch);
  if (asked === 0 || (shared !== undefined && position <= shared)) return undefined;
  const epoch = currentEpoch(history);
  return { kind: "epoch-mismatch", field, asked, askedEpoch, epoch, shared };
}

export interface EpochClaim {
  readonly epoch: string;
  readonly field: string;
  readonly asked: number;
  /** The position of what was read last; Infinity where this history does not have it. */
  readonly position: number;
}
