// docs/performance.md: the commentary that people write, with the tables and charts made from the
// rows. The commentary opens the page; the table of all workloads stands where it has its marker.

import type { ResultRow } from "../rows.ts";
import { figure, verdict } from "./table.ts";

export interface DocumentInput {
  readonly rows: readonly ResultRow[];
  /**
   * Markdown, by hand. `{workload}` becomes the value of that row, `{workload.limit}`,
   * `{workload.percent}` (value over limit), `{workload.p50}` and `{workload.p99}` its other
   * figures.
   */
  readonly commentary: string;
  /** The path of a workload's chart, from the document. */
  readonly chartOf: (workload: string) => string;
}

/** A line of the commentary: the place of the table of all workloads. */
const tableMarker = "<!-- all workloads -->";

/** Throws if the commentary names a figure that is not among the rows. */
export function performanceDocument({ rows, commentary, chartOf }: DocumentInput): string {
  const text = withFigures(commentary, rows).trim();
  const marked = text.includes(tableMarker);
  const [opening = "", rest = ""] = marked ? text.split(tableMarker) : ["", text];
  return [
    "# Performance",
    "",
    ...(opening === "" ? [] : [opening.trim(), ""]),
    "## All workloads",
    "",
    "| workload | value | limit | ratio | target | | p50 ms | p99 ms | p99.9 ms |",
    "|---|---:|---:|---:|---|---|---:|---:|---:|",
    ...rows.map(line),
    "",
    rest.trim(),
    "",
    "## The runs",
    "",
    "This page is written by `npm run bench` from `bench/results.json` and `bench/commentary.md`.",
    "Its figures come from these runs:",
    "",
    ...runsOf(rows),
    "",
    "## Each workload",
    "",
    ...rows.flatMap((row) => section(row, chartOf(row.workload))),
  ].join("\n");
}

function withFigures(commentary: string, rows: readonly ResultRow[]): string {
  const placeholder = /\{([a-z][a-z0-9-]*)(?:\.(limit|percent|p50|p99))?\}/g;
  return commentary.replace(placeholder, (found, workload: string, of?: string) => {
    const row = rows.find((each) => each.workload === workload);
    const value = row && figureOf(row, of);
    if (value === undefined || value === null) {
      throw new Error(`bench/commentary.md: there is no figure ${found}`);
    }
    return of === "percent" ? `${Math.round(value * 100)} %` : figure(value);
  });
}

function figureOf(row: ResultRow, of: string | undefined): number | null {
  switch (of) {
    case "limit":
      return row.limit;
    case "percent":
      return row.ratio;
    case "p50":
      return row.p50;
    case "p99":
      return row.p99;
    default:
      return row.value;
  }
}

/** The rows may come from several runs. Each run is listed once, with its rows. */
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
