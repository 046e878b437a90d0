// What the log tells of itself: counters since the store was opened, and what is open or waits now.
// Figures are taken when they are asked for.

import type { HistogramSnapshot } from "../domain/histogram.ts";

export interface CommitFigures {
  /** From the decision until the commit is durable, in seconds. */
  readonly seconds: HistogramSnapshot;
  /** Of each commit: its events, and the bytes of their records. */
  readonly events: HistogramSnapshot;
  readonly bytes: HistogramSnapshot;
  /** How appends and changes beside them ended: `appended`, `deduplicated`, `conflict` ... */
  readonly outcomes: ReadonlyMap<string, number>;
  /** Commits that failed, or whose outcome is not known. */
  readonly failedCount: number;
}

export interface QueueFigures {
  /** Entries that are not answered, the commit in flight included, and what they hold. */
  readonly count: number;
  readonly bytes: number;
}

export interface SubscriptionFigures {
  readonly liveCount: number;
  readonly behindCount: number;
  /** Positions between the head and the subscription that is the furthest behind it. */
  readonly lagMax: number;
}

/** Events that were handed to callers since the store was opened, by what they called. */
export interface HandedFigures {
  read: number;
  subscription: number;
  group: number;
}

/** A copy of the store that was sent whole over the network. */
export interface BackupFigures {
  /** Microseconds since 1970. 0: none was since the store was opened. */
  readonly finishedAt: number;
  /** The last position in it. */
  readonly position: number;
}

export interface LogFigures {
  readonly commits: CommitFigures;
  readonly queue: QueueFigures;
  readonly subscriptions: SubscriptionFigures;
  /** Consumer groups that run. */
  readonly runningGroups: number;
  readonly handed: Readonly<HandedFigures>;
  /** The last one. */
  readonly backups: BackupFigures;
}
