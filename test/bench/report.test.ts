import { expect, test } from "vitest";
import { parseOptions } from "../../bench/options.ts";
import { chart } from "../../bench/report/chart.ts";
import { performanceDocument } from "../../bench/report/document.ts";
import { table } from "../../bench/report/table.ts";
import { peakRows, rowOf, type Round } from "../../bench/rows.ts";
import type { PartSample, RowSpec, Sample } from "../../bench/probe.ts";
import { workloads } from "../../bench/workloads.ts";

const facts = {
  node: "v24.0.0",
  commit: "abc",
  date: "2026-01-01T00:00:00.000Z",
  command: "npm run bench",
  machine: "2 x something",
  loadBefore: 0.2,
};

function sample(callsPerSecond: number, rssBytes = 1e8): Sample {
  const part: PartSample = {
    callsPerSecond,
    eventsPerSecond: callsPerSecond * 10,
    bytesPerCall: 1,
    bytesPerMessage: 1,
    eventsPerMessage: 1,
    messagesPerCall: 1,
    p50: 1,
    p99: 9,
    p999: 20,
  };
  return { parts: [part], serverCpu: 0.9, loadCpu: 0.1, peak: { rssBytes, anonymousBytes: 1 } };
}

const spec: RowSpec = {
  workload: "w",
  title: "A workload <with> signs",
  unit: "calls/s",
  value: { probe: "product", of: "calls/s" },
  limit: [{ probe: "limit", of: "calls/s" }],
  against: "a limit",
  target: { of: "ratio", atLeast: 0.5 },
};

const bareSpec = { workload: "w", title: "A workload" };

function rounds(...pairs: [number, number][]): Round[] {
  return pairs.map(
    ([value, limit]) =>
      new Map([
        ["product", sample(value)],
        ["limit", sample(limit)],
      ]),
  );
}

test("a delivery's CPU is without that of the same appends alone", () => {
  const appends = sample(5).parts[0] as PartSample;
  const deliveries = { ...appends, eventsPerSecond: 1_000 };
  // 0.9 of a core for 50 events/s: 18,000 us each.
  const alone = { ...sample(5), parts: [appends] };
  const product = { ...sample(5), parts: [deliveries, { ...appends, eventsPerSecond: 25 }] };
  const value = { probe: "product", part: 0, of: "us", without: "alone" } as const;
  const row = rowOf(
    { ...bareSpec, unit: "us", value },
    [new Map(Object.entries({ alone, product }))],
    facts,
  );
  expect(row.value).toBeCloseTo((900_000 - 25 * 18_000) / 1_000);
});

test("a row has the medians of the rounds, their ratio and the verdict", () => {
  const row = rowOf(spec, rounds([10, 100], [70, 90], [60, 300]), facts);
  expect(row).toMatchObject({
    workload: "w",
    value: 60,
    limit: 100,
    ratio: 0.6,
    target: "ratio >= 0.5",
    p50: 1,
    p99: 9,
    node: "v24.0.0",
    commit: "abc",
  });
  expect(row.detail.met).toBe(true);
  expect(rowOf(spec, rounds([40, 100]), facts).detail.met).toBe(false);
});

test("limits of several probes add up, targets of values need no limit", () => {
  const limit = [spec.limit?.[0], spec.limit?.[0]].flatMap((pick) => pick ?? []);
  expect(rowOf({ ...spec, limit }, rounds([100, 50]), facts).ratio).toBe(1);
  const { limit: _, ...bare } = spec;
  const target = { of: "value", atMost: 5 } as const;
  const row = rowOf({ ...bare, target }, rounds([4, 0]), facts);
  expect(row).toMatchObject({ limit: null, ratio: null, target: "value <= 5" });
  expect(row.detail.met).toBe(true);
});

test("the most memory of a run, and of it what no file backs, are rows of their own", () => {
  const small = rowOf(spec, rounds([1, 1]), facts);
  const big = rowOf(
    { ...spec, workload: "big" },
    [
      new Map([
        ["product", sample(1, 4e8)],
        ["limit", sample(1)],
      ]),
    ],
    facts,
  );
  const peaks = peakRows([small, big], facts);
  expect(peaks.map(({ workload }) => workload)).toEqual(["rss-peak", "memory-peak"]);
  expect(peaks[0]).toMatchObject({ value: 400, detail: { met: false } });
});

test("table, chart and document name every row", () => {
  const rows = [
    rowOf(spec, rounds([60, 100]), facts),
    rowOf({ ...spec, workload: "other" }, rounds([4, 10]), { ...facts, commit: "def" }),
  ];
  expect(table(rows)).toMatch(/w +60.0.*\n.*other.*MISSED/);
  const svg = chart(rows[0] as (typeof rows)[0]);
  expect(svg).toMatch(/^<svg [^]*A workload &lt;with&gt; signs[^]*<\/svg>\n$/);
  const chartOf = (workload: string) => `charts/${workload}.svg`;
  const document = performanceDocument({ rows, commentary: "## Commentary\n\nWords.", chartOf });
  expect(document).toContain("![other](charts/other.svg)");
  expect(document).toContain("Words.");
  expect(document).not.toContain("distrust");
  expect(document).toMatch(/commit `abc`.*\(w\)\n.*commit `def`.*\(other\)/);
});

test("a run beside other work says so in the document", () => {
  const rows = [rowOf(spec, rounds([60, 100]), { ...facts, loadBefore: 9.5 })];
  const document = performanceDocument({ rows, commentary: "", chartOf: (name) => name });
  expect(document).toContain("load average 9.5 before: distrust it");
});

test("every workload has a name of its own, and every limit is measured before it is used", () => {
  const all = workloads(1);
  const rows = all.flatMap((workload) => workload.rows);
  expect(new Set(rows.map(({ workload }) => workload)).size).toBe(rows.length);
  for (const { probes, rows: own } of all) {
    const known = Object.keys(probes);
    for (const { value, limit = [] } of own) {
      for (const { probe } of [value, ...limit]) expect(known).toContain(probe);
    }
    for (const [i, probe] of Object.values(probes).entries()) {
      if (probe.at === "noop") expect(known.slice(0, i)).toContain(probe.like);
    }
  }
});

test("sizes follow the scale", () => {
  const names = (scale: number) => workloads(scale).map(({ name }) => name);
  expect(names(1)).toEqual(expect.arrayContaining(["start-1m", "start-10m", "growth-10m"]));
  expect(names(0.2)).toEqual(expect.arrayContaining(["start-200k", "start-2m"]));
});

test("options are understood, wrong ones are refused", () => {
  expect(parseOptions(["--quick"])).toMatchObject({ forms: ["quick"], rounds: 1, scale: 0.2 });
  expect(parseOptions([])).toMatchObject({ forms: ["quick", "full"], rounds: 3, scale: 1 });
  expect(parseOptions(["--only", "mixed,read"])).toMatchObject({ only: ["mixed", "read"] });
  expect(parseOptions(["--target", "127.0.0.1:7"])).toMatchObject({
    target: { host: "127.0.0.1", port: 7 },
    dry: true,
  });
  for (const wrong of [
    ["--scale", "0"],
    ["--adapter", "umadb"],
    ["--target", "nowhere"],
    ["--adapter", "x"],
    ["--what"],
  ]) {
    expect(() => parseOptions(wrong)).toThrow(TypeError);
  }
});
