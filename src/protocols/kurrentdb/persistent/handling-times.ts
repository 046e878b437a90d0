// How long a consumer took for its last events: the extra statistics of a persistent subscription.

const keptMax = 1_000;

const shares: readonly (readonly [name: string, share: number])[] = [
  ["Median", 0.5],
  ["Quintile 1", 0.2],
  ["Quintile 2", 0.4],
  ["Quintile 3", 0.6],
  ["Quintile 4", 0.8],
  ["Quintile 5", 1],
  ["90%", 0.9],
  ["95%", 0.95],
  ["99%", 0.99],
  ["99.5%", 0.995],
  ["99.9%", 0.999],
];

export interface Measurement {
  readonly key: string;
  /** In milliseconds. */
  readonly value: bigint;
}

export class HandlingTimes {
  private readonly times: number[] = [];
  private next = 0;

  record(ms: number): void {
    this.times[this.next] = ms;
    this.next = (this.next + 1) % keptMax;
  }

  /** Empty until the first time is recorded. */
  measurements(): Measurement[] {
    const { length } = this.times;
    if (length === 0) return [];
    const sorted = this.times.toSorted((a, b) => a - b);
    const mean = sorted.reduce((sum, ms) => sum + ms, 0) / length;
    const at = (share: number): number => sorted[Math.ceil(share * length) - 1] as number;
    const all: readonly (readonly [string, number])[] = [
      ["Mean", mean],
      ["Fastest", sorted[0] as number],
      ...shares.map(([name, share]) => [name, at(share)] as const),
      ["Highest", at(1)],
    ];
    return all.map(([key, ms]) => ({ key, value: BigInt(Math.round(ms)) }));
  }
}

/** What they take in memory, about. */
export const handlingTimesBytes = 8 * keptMax;
