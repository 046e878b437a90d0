// What the append queue has done since the store was opened, for operators.
// Counting an append costs one addition.

import { Histogram } from "../../domain/histogram.ts";
import type { Commit } from "../../storage/storage.ts";
import type { CommitFigures } from "../log-figures.ts";

/** Seconds: from one sync of a fast disk to a disk that stalls. */
const secondsBounds = [
  0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
const eventsBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16_384];
const KiB = 1024;
const bytesBounds = [KiB, 4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, 1024 * KiB, 4096 * KiB];

/** The part of an entry's outcome that is counted. */
interface Outcome {
  readonly kind: string;
  readonly deduplicated?: boolean;
}

export class CommitStats {
  private readonly seconds = new Histogram(secondsBounds);
  private readonly events = new Histogram(eventsBounds);
  private readonly bytes = new Histogram(bytesBounds);
  private readonly outcomes = new Map<string, number>();
  private failedCount = 0;

  committed({ events }: Commit, ms: number): void {
    let bytes = 0;
    for (const { frame } of events) bytes += frame.length;
    this.seconds.record(ms / 1_000);
    this.events.record(events.length);
    this.bytes.record(bytes);
  }

  failed(): void {
    this.failedCount++;
  }

  answered({ kind, deduplicated }: Outcome): void {
    const outcome = deduplicated === true ? "deduplicated" : kind;
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }

  figures(): CommitFigures {
    return {
      seconds: this.seconds.snapshot(),
      events: this.events.snapshot(),
      bytes: this.bytes.snapshot(),
      outcomes: this.outcomes,
      failedCount: this.failedCount,
    };
  }
}
