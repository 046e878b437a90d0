// docs/performance.md: written from the rows, with the commentary that people write beside it.

import type { ResultRow } from "../rows.ts";
import { figure, verdict } from "./table.ts";

export interface DocumentInput {
  readonly rows: readonly ResultRow[];
  /** Markdown, by hand. */
  readonly commentary: string;
  /** Where the chart of a workload is, from the document. */
  readonly chartOf: (workload: string) => string;
}

export function performanceDocument({ rows, commentary, chartOf }: DocumentInput): string {
  return [
    "# Performance",
    "",
    "Written by `npm run bench`; every figure stands beside its limit, measured in the same run,",
    "the two in turn. Ratios move little between machines, absolute figures much. Commentary is",
    "kept in `bench/commentary.md`, the rows in `bench/results.json`.",
    "",
    ...runsOf(rows),
    "",
    "## All workloads",
    "",
    "| workload | value | limit | ratio | target | | p50 ms | p99 ms | p99.9 ms |",
    "|---|---:|---:|---:|---|---|---:|---:|---:|",
    ...rows.map(line),
    "",
    commentary.trim(),
    "",
    "## Each workload",
    "",
    ...rows.flatMap((row) => section(row, chartOf(row.workload))),
  ].join("\n");
}

/** Rows may come from several runs: each is named once. */
function runsOf(rows: readonly ResultRow[]): string[] {
  const runs = new Map<string, ResultRow[]>();
  for (const row of rows) {
    const { detail, node, commit } = row;
    const run = [detail.command, commit, detail.date, node, detail.machine].join("\n");
    runs.set(run, [...(runs.get(run) ?? []), row]);
  }
  return [...runs.values()].flatMap((group) => {
    const [row] = group;
    if (!row) return [];
    const which = runs.size === 1 ? "" : ` (${group.map(({ workload }) => workload).join(", ")})`;
    const { loadBefore } = row.detail;
    const busy = loadBefore > 1 ? `; **load average ${loadBefore} before: distrust it**` : "";
    return [
      `- \`${row.detail.command}\` at commit \`${row.commit}\`, ${row.detail.date.slice(0, 10)}, ` +
        `Node ${row.node}, on ${row.detail.machine}${which}${busy}`,
    ];
  });
}

function line(row: ResultRow): string {
  const { detail } = row;
  const time = (value: number | null) => (value === null || value === 0 ? "" : figure(value));
  return `| ${[
    `[${row.workload}](#${row.workload})`,
    `${figure(row.value)} ${row.unit}`,
    row.limit === null ? "" : figure(row.limit),
    row.ratio === null ? "" : row.ratio.toFixed(2),
    row.target ?? "",
    verdict(detail.met),
    time(row.p50),
    time(row.p99),
    time(detail.p999),
  ].join(" | ")} |`;
}

function cpuOf({ serverCpu, loadCpu, serverMicros }: ResultRow["detail"]): string {
  if (serverCpu === null || loadCpu === null) return "";
  const each = serverMicros === null ? "" : `, ${figure(serverMicros)} us of the server for each`;
  return `CPU: server ${serverCpu.toFixed(2)}, load ${loadCpu.toFixed(2)} cores${each}.`;
}

function section(row: ResultRow, chart: string): string[] {
  const { detail } = row;
  const facts = [
    detail.against === null ? "" : `Limit: ${detail.against}.`,
    cpuOf(detail),
    detail.rssPeakMB === null
      ? ""
      : `Memory of the server: at most ${figure(detail.rssPeakMB)} MB, ` +
        `${figure(detail.anonymousPeakMB ?? 0)} MB of it not backed by a file.`,
  ].filter((fact) => fact !== "");
  return [
    `### ${row.workload}`,
    "",
    `${detail.title}. ${facts.join(" ")}`.trim(),
    "",
    `![${row.workload}](${chart})`,
    "",
  ];
}
