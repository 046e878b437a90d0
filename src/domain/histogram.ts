// A histogram of fixed buckets: how many values were at most each bound, and their sum. Recording a
// value costs a few comparisons and no memory.

export interface HistogramSnapshot {
  readonly bounds: readonly number[];
  /** For each bound, the values above the bound before it; the last entry has those above all. */
  readonly counts: readonly number[];
  readonly sum: number;
}

export class Histogram {
  private readonly bounds: readonly number[];
  private readonly counts: Float64Array;
  private sum = 0;

  /** `bounds` ascend. */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  record(value: number): void {
    const { bounds, counts } = this;
    let at = 0;
    while (at < bounds.length && value > (bounds[at] as number)) at++;
    counts[at] = (counts[at] as number) + 1;
    this.sum += value;
  }

  snapshot(): HistogramSnapshot {
    return { bounds: this.bounds, counts: [...this.counts], sum: this.sum };
  }
}
