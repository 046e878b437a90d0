// Long runs of postings without an event that is left, as reads have met them: the next read jumps
// over them. A run stays true: space that was reclaimed is never filled again. One run of a term is
// remembered, the longest, and so many terms.

import type { TermNumber } from "../format/keys.ts";

/** Every posting of a term whose chunk ends within these positions has no event left. */
export interface RemovedRun {
  /** Inclusive. */
  readonly first: number;
  readonly last: number;
  /** How many events had the term before the run, and by its end. */
  readonly before: number;
  readonly after: number;
}

const rememberedTermsMax = 10_000;
/** Shorter runs are quickly read. */
const eventsMin = 512;

export class RemovedRuns {
  private readonly runs = new Map<TermNumber, RemovedRun>();

  get(term: TermNumber): RemovedRun | undefined {
    return this.runs.get(term);
  }

  /** Keeps the run if it is longer than the one known of the term. */
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
