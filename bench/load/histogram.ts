// A histogram of latencies with logarithmic buckets: a resolution of 1 us, an error below 1 %,
// constant memory, no allocation per record. As in HdrHistogram, each power of two is divided into
// 128 equal steps.

const stepBits = 7;
const steps = 1 << stepBits;
const microsMax = 2 ** 31 - 1;

export class Histogram {
  private readonly counts = new Float64Array((32 - stepBits) * steps);
  private total = 0;

  /** A latency in milliseconds; `weight` says how often it was seen. */
  record(ms: number, weight = 1): void {
    const micros = Math.min(Math.max(Math.round(ms * 1_000), 0), microsMax);
    const bucket = bucketOf(micros);
    this.counts[bucket] = (this.counts[bucket] as number) + weight;
    this.total += weight;
  }

  get count(): number {
    return this.total;
  }

  /** The milliseconds that the given share (0 to 1) of all records does not exceed. 0 if empty. */
  percentile(share: number): number {
    if (this.total === 0) return 0;
    const wanted = Math.max(1, Math.ceil(share * this.total));
    let seen = 0;
    for (let bucket = 0; bucket < this.counts.length; bucket++) {
      seen += this.counts[bucket] as number;
      if (seen >= wanted) return middleOf(bucket) / 1_000;
    }
    return microsMax / 1_000;
  }

  clear(): void {
    this.counts.fill(0);
    this.total = 0;
  }
}

function bucketOf(micros: number): number {
  if (micros < steps) return micros;
  const shift = 31 - Math.clz32(micros) - stepBits;
  return (shift + 1) * steps + ((micros >>> shift) - steps);
}

function middleOf(bucket: number): number {
  if (bucket < steps) return bucket;
  const shift = Math.floor(bucket / steps) - 1;
  const low = ((bucket % steps) + steps) * 2 ** shift;
  return low + (2 ** shift - 1) / 2;
}
