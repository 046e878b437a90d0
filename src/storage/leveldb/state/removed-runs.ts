// Remembers long runs of postings whose events are all removed records, so that the next read skips
// them. A run stays valid, because removed records are final. One run of a term is kept, the
// longest, for a limited number of terms.

import type { TermNumber } from "../format/keys.ts";

/** Every posting of a term whose chunk ends at these positions has removed records only. */
export interface RemovedRun {
  /** Inclusive. */
  readonly first: number;
  readonly last: number;
  /** How many events had the term before the run, and at its end. */
  readonly before: number;
  readonly after: number;
}

const rememberedTermsMax = 10_000;
/** Shorter runs are read quickly. */
const eventsMin = 512;

export class RemovedRuns {
  private readonly runs = new Map<TermNumber, RemovedRun>();

  get(term: TermNumber): RemovedRun | undefined {
    return this.runs.get(term);
  }

  clear(): void {
    this.runs.clear();
  }

  /** Keeps the run if it is longer than the known one of the term. */
  met(term: TermNumber, run: RemovedRun): void {
    const known = this.runs.get(term);
    const length = known === undefined ? eventsMin : known.after - known.before;
    if (run.after - run.before <= length) return;
    this.runs.delete(term);
    this.runs.set(term, run);
    if (this.runs.size <= rememberedTermsMax) return;
    const [oldest] = this.runs.keys();
    this.runs.delete(oldest as TermNumber);
  }
}
