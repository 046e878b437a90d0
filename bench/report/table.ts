// A table of rows for the terminal.

import type { ResultRow } from "../rows.ts";

const headings = [
  "workload",
  "value",
  "unit",
  "limit",
  "ratio",
  "target",
  "",
  "p50",
  "p99",
  "cpu",
  "us each",
];

export function table(rows: readonly ResultRow[]): string {
  const cells = [headings, ...rows.map(cellsOf)];
  const widths = headings.map((_, column) =>
    Math.max(...cells.map((row) => (row[column] ?? "").length)),
  );
  return cells
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return isText(column) ? cell.padEnd(width) : cell.padStart(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function isText(column: number): boolean {
  return ["workload", "unit", "target", ""].includes(headings[column] ?? "");
}

function cellsOf(row: ResultRow): string[] {
  const { detail } = row;
  const cpu =
    detail.serverCpu === null
      ? ""
      : `${detail.serverCpu.toFixed(2)} + ${detail.loadCpu?.toFixed(2) ?? ""}`;
  return [
    row.workload,
    figure(row.value),
    row.unit,
    row.limit === null ? "" : figure(row.limit),
    row.ratio === null ? "" : row.ratio.toFixed(2),
    row.target ?? "",
    verdict(detail.met),
    row.p50 === null ? "" : figure(row.p50),
    row.p99 === null ? "" : figure(row.p99),
    cpu,
    detail.serverMicros === null ? "" : figure(detail.serverMicros),
  ];
}

export function verdict(met: boolean | null): string {
  return met === null ? "" : met ? "met" : "MISSED";
}

/** A number with as many digits as its size calls for. */
export function figure(value: number): string {
  if (value >= 1_000) return Math.round(value).toLocaleString("en-US");
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value.toFixed(value >= 1 ? 2 : 3);
}
