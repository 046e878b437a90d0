import fc from "fast-check";
import { expect, test } from "vitest";
import { Histogram } from "../../bench/load/histogram.ts";

test("percentiles are within one percent of those of the sorted latencies", () => {
  const latency = fc.double({ min: 0.001, max: 60_000, noNaN: true });
  fc.assert(
    fc.property(fc.array(latency, { minLength: 1, maxLength: 300 }), (latencies) => {
      const histogram = new Histogram();
      for (const ms of latencies) histogram.record(ms);
      const sorted = latencies.toSorted((a, b) => a - b);
      for (const share of [0.5, 0.99, 0.999]) {
        const exact = sorted[Math.ceil(share * sorted.length) - 1] as number;
        const error = Math.abs(histogram.percentile(share) - exact);
        // Half a microsecond is lost to rounding.
        expect(error).toBeLessThanOrEqual(exact * 0.01 + 0.0006);
      }
    }),
  );
});

test("a weight counts as so many records", () => {
  const histogram = new Histogram();
  histogram.record(1, 99);
  histogram.record(100);
  expect(histogram.count).toBe(100);
  expect(histogram.percentile(0.99)).toBeCloseTo(1, 1);
  expect(histogram.percentile(1)).toBeCloseTo(100, 0);
});

test("an empty histogram answers zero, a cleared one is empty", () => {
  const histogram = new Histogram();
  expect(histogram.percentile(0.5)).toBe(0);
  histogram.record(5);
  histogram.clear();
  expect(histogram.count).toBe(0);
  expect(histogram.percentile(0.99)).toBe(0);
});
