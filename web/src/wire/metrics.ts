// What `/metrics` tells, as numbers. A text of Prometheus: a name, labels in braces, a value.

export interface Sample {
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

export type Metrics = ReadonlyMap<string, readonly Sample[]>;

const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const label = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function metricsOf(text: string): Metrics {
  const metrics = new Map<string, Sample[]>();
  for (const each of text.split("\n")) {
    const [, name, labels = "", value = ""] = line.exec(each) ?? [];
    if (name === undefined) continue;
    const entries = [...labels.matchAll(label)].map(([, key = "", quoted = ""]) => {
      return [key, quoted.replaceAll(/\\(.)/g, (_, one) => (one === "n" ? "\n" : one))] as const;
    });
    const sample = { labels: new Map(entries), value: Number(value) };
    const samples = metrics.get(name);
    if (samples === undefined) metrics.set(name, [sample]);
    else samples.push(sample);
  }
  return metrics;
}

/** The first sample's value. Undefined: the server does not tell it. */
export function gaugeOf(metrics: Metrics, name: string): number | undefined {
  return metrics.get(name)?.[0]?.value;
}

export function sumOf(samples: readonly Sample[] = []): number {
  return samples.reduce((sum, { value }) => sum + value, 0);
}

/**
 * A quantile of a histogram, within its bucket by proportion, as Prometheus has it. `chosen`: which
 * of its samples. Undefined: nothing was measured.
 */
export function quantileOf(
  metrics: Metrics,
  name: string,
  quantile: number,
  chosen: (labels: ReadonlyMap<string, string>) => boolean = () => true,
): number | undefined {
  const counts = new Map<number, number>();
  for (const { labels, value } of metrics.get(`${name}_bucket`) ?? []) {
    if (!chosen(labels)) continue;
    const bound = Number((labels.get("le") ?? "").replace("+Inf", "Infinity"));
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  const buckets = [...counts].toSorted(([one], [other]) => one - other);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total === 0) return undefined;
  let [bound, count] = [0, 0];
  for (const [nextBound, nextCount] of buckets) {
    if (nextCount >= quantile * total) {
      if (nextBound === Infinity) return bound;
      return bound + ((nextBound - bound) * (quantile * total - count)) / (nextCount - count);
    }
    [bound, count] = [nextBound, nextCount];
  }
  return bound;
}
