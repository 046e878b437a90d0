// Makes rows from samples: the median of each figure over the rounds, its limit, their ratio, and
// whether the target is met.

import type { Figure, Pick, RowSpec, Sample, Target } from "./probe.ts";

/** A row of `bench/results.json`. `p50` and `p99` are milliseconds. */
export interface ResultRow {
  readonly workload: string;
  readonly unit: string;
  readonly value: number;
  /** Null: there is no limit. */
  readonly limit: number | null;
  readonly ratio: number | null;
  /** For example `ratio >= 0.85`. Null: there is no target. */
  readonly target: string | null;
  readonly p50: number | null;
  readonly p99: number | null;
  readonly node: string;
  readonly commit: string;
  readonly detail: RowDetail;
}

export interface RowDetail {
  readonly title: string;
  readonly against: string | null;
  readonly met: boolean | null;
  /** The value in each round, and its limit. */
  readonly rounds: readonly { readonly value: number; readonly limit: number | null }[];
  readonly p999: number | null;
  /** Cores. */
  readonly serverCpu: number | null;
  readonly loadCpu: number | null;
  /** Microseconds of the server's CPU time for each event or call of the value. */
  readonly serverMicros: number | null;
  readonly rssPeakMB: number | null;
  /** The part that is not backed by a file. */
  readonly anonymousPeakMB: number | null;
  readonly date: string;
  readonly command: string;
  readonly machine: string;
  /** Processes that ran or waited for a core when the run began: the other work on the machine. */
  readonly loadBefore: number;
}

export interface RunFacts {
  readonly node: string;
  readonly commit: string;
  readonly date: string;
  readonly command: string;
  readonly machine: string;
  readonly loadBefore: number;
}

/** The samples of one round, by probe. */
export type Round = ReadonlyMap<string, Sample>;

export function rowOf(spec: RowSpec, rounds: readonly Round[], facts: RunFacts): ResultRow {
  const { node, commit, ...run } = facts;
  const pairs = rounds.map((round) => ({
    value: pick(round, spec.value),
    limit: spec.limit ? spec.limit.reduce((sum, next) => sum + pick(round, next), 0) : null,
  }));
  const value = median(pairs.map((pair) => pair.value));
  const limit = spec.limit ? median(pairs.map((pair) => pair.limit ?? 0)) : null;
  const ratio = limit === null || limit === 0 ? null : value / limit;
  const samples = rounds.flatMap((round) => round.get(spec.value.probe) ?? []);
  const parts = samples.flatMap((sample) => sample.parts[spec.value.part ?? 0] ?? []);
  const peaks = samples.flatMap((sample) => sample.peak ?? []);
  return {
    workload: spec.workload,
    unit: spec.unit,
    value: rounded(value),
    limit: limit === null ? null : rounded(limit),
    ratio: ratio === null ? null : rounded(ratio),
    target: spec.target ? targetText(spec.target) : null,
    p50: medianOrNull(parts.map((part) => part.p50)),
    p99: medianOrNull(parts.map((part) => part.p99)),
    node,
    commit,
    detail: {
      title: spec.title,
      against: spec.against ?? null,
      met: spec.target ? isMet(spec.target, value, ratio) : null,
      rounds: pairs.map((pair) => ({
        value: rounded(pair.value),
        limit: pair.limit === null ? null : rounded(pair.limit),
      })),
      p999: medianOrNull(parts.map((part) => part.p999)),
      serverCpu: medianOrNull(samples.flatMap((sample) => sample.serverCpu ?? [])),
      loadCpu: medianOrNull(samples.flatMap((sample) => sample.loadCpu ?? [])),
      serverMicros: medianOrNull(rounds.flatMap((round) => microsEach(round, spec.value))),
      rssPeakMB: maxOrNull(peaks.map((peak) => peak.rssBytes / 1e6)),
      anonymousPeakMB: maxOrNull(peaks.map((peak) => peak.anonymousBytes / 1e6)),
      ...run,
    },
  };
}

/** Rows of the highest memory use of all workloads of the run. */
export const peakRowNames: readonly string[] = ["rss-peak", "memory-peak"];

/** Resident memory, and the part that no file backs. Empty: it is not known. */
export function peakRows(rows: readonly ResultRow[], facts: RunFacts): ResultRow[] {
  const title = "Memory under load, the most of all workloads";
  const rss = peakRow(rows, facts, (row) => row.rssPeakMB, {
    workload: "rss-peak",
    title,
    atMost: 350,
  });
  const part = "Memory under load that no file backs, the most of all workloads";
  const own = { workload: "memory-peak", title: part, atMost: 250 };
  return [...rss, ...peakRow(rows, facts, (row) => row.anonymousPeakMB, own)];
}

function peakRow(
  rows: readonly ResultRow[],
  facts: RunFacts,
  of: (detail: RowDetail) => number | null,
  { workload, title, atMost }: { workload: string; title: string; atMost: number },
): ResultRow[] {
  const [worst] = rows.toSorted((a, b) => (of(b.detail) ?? 0) - (of(a.detail) ?? 0));
  const megabytes = worst === undefined ? null : of(worst.detail);
  if (worst === undefined || megabytes === null) return [];
  const spec: RowSpec = {
    workload,
    title: `${title}: ${worst.workload}`,
    unit: "MB",
    value: { probe: "peak", of: "MB" },
    target: { of: "value", atMost },
  };
  return [rowOf(spec, [new Map([["peak", { parts: [], megabytes }]])], facts)];
}

function pick(round: Round, { probe, part, of, without }: Pick): number {
  const sample = round.get(probe);
  if (!sample) throw new Error(`the probe ${probe} was not measured`);
  if (of === "seconds") return present(sample.seconds, of);
  if (of === "MB") return present(sample.megabytes, of);
  if (of === "MB after") return present(sample.megabytesAfter, of);
  if (of === "bytes per payload byte") return present(sample.bytesPerPayloadByte, of);
  const parts = part === undefined ? sample.parts : sample.parts.slice(part, part + 1);
  if (of === "p50" || of === "p99") return present(parts[0]?.[of], of);
  const events = eventsIn(parts);
  if (of === "us") {
    const micros = present(sample.serverCpu, of) * 1e6;
    if (without === undefined) return micros / events;
    const otherMicros = pick(round, { probe: without, of });
    return (micros - otherMicros * (eventsIn(sample.parts) - events)) / events;
  }
  if (of === "us CPU/call") {
    const calls = parts.reduce((sum, next) => sum + next.callsPerSecond, 0);
    return (present(sample.serverCpu, of) * 1e6) / calls;
  }
  const rate = of === "events/s" ? "eventsPerSecond" : "callsPerSecond";
  return parts.reduce((sum, next) => sum + next[rate], 0);
}

function eventsIn(parts: Sample["parts"]): number {
  return parts.reduce((sum, next) => sum + next.eventsPerSecond, 0);
}

/** Empty if the figure is not a rate. */
function microsEach(round: Round, value: Pick): number[] {
  const cpu = round.get(value.probe)?.serverCpu;
  if (cpu === undefined || !value.of.endsWith("/s")) return [];
  const rate = pick(round, value);
  return rate > 0 ? [(cpu * 1e6) / rate] : [];
}

function present(value: number | undefined, what: Figure): number {
  if (value === undefined) throw new Error(`the probe has no ${what}`);
  return value;
}

function targetText({ of, atLeast, atMost }: Target): string {
  return atLeast === undefined ? `${of} <= ${atMost ?? 0}` : `${of} >= ${atLeast}`;
}

function isMet({ of, atLeast, atMost }: Target, value: number, ratio: number | null): boolean {
  const figure = of === "ratio" ? ratio : value;
  if (figure === null) return false;
  return figure >= (atLeast ?? -Infinity) && figure <= (atMost ?? Infinity);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function medianOrNull(values: readonly number[]): number | null {
  return values.length === 0 ? null : rounded(median(values));
}

function maxOrNull(values: readonly number[]): number | null {
  return values.length === 0 ? null : rounded(Math.max(...values));
}

/** Four significant digits; more would be false precision. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
