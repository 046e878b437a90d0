// Metrics as they are told: families of samples, made of what others count, when they are asked
// for. Names follow Prometheus, and OpenTelemetry where that has a name for it. No name of a
// stream, of a type or of a tag is ever a label: there may be millions.

import type { HistogramSnapshot } from "../domain/histogram.ts";

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  /** Absent: the family's. */
  readonly metricName?: string;
  readonly labels: Labels;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "gauge" | "counter" | "histogram";
  readonly values: readonly Sample[];
}

/** One value, or several with their labels. */
type Values = number | readonly (readonly [Labels, number])[];

export function gauge(name: string, help: string, values: Values): Family {
  return { name, help, type: "gauge", values: samples(values) };
}

/** `name` ends in `_total`. */
export function counter(name: string, help: string, values: Values): Family {
  return { name, help, type: "counter", values: samples(values) };
}

function samples(values: Values): Sample[] {
  if (typeof values === "number") return [{ labels: {}, value: values }];
  return values.map(([labels, value]) => ({ labels, value }));
}

export function histogram(
  name: string,
  help: string,
  all: readonly (readonly [Labels, HistogramSnapshot])[],
): Family {
  const values = all.flatMap(([labels, { bounds, counts, sum }]) => {
    let count = 0;
    const buckets = counts.map((inBucket, i): Sample => {
      count += inBucket;
      const le = bounds[i] === undefined ? "+Inf" : `${bounds[i]}`;
      return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count };
    });
    const total = { metricName: `${name}_count`, labels, value: count };
    return [...buckets, { metricName: `${name}_sum`, labels, value: sum }, total];
  });
  return { name, help, type: "histogram", values };
}
