// Writes the rows of a run to bench/results.json and docs/performance.md, and a chart for each
// workload. Rows of workloads that were not run are kept.

import { existsSync, mkdirSync, readFileSync, rmSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import type { ResultRow } from "../rows.ts";
import { chart } from "./chart.ts";
import { performanceDocument } from "./document.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const charts = "performance";

/** `order` lists every row that the benchmark knows. Rows that it no longer knows are dropped. */
export function publish(rows: readonly ResultRow[], order: readonly string[]): void {
  const results = join(root, "bench", "results.json");
  const before = existsSync(results)
    ? (JSON.parse(readFileSync(results, "utf8")) as ResultRow[])
    : [];
  const all = new Map([...before, ...rows].map((row) => [row.workload, row]));
  const kept = order.flatMap((workload) => all.get(workload) ?? []);
  // One row per line, so that a changed row is one changed line.
  writeFileSync(results, `[\n${kept.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`);
  const docs = join(root, "docs");
  const folder = join(docs, charts);
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) {
    if (name.endsWith(".svg")) rmSync(join(folder, name));
  }
  for (const row of kept) writeFileSync(join(folder, `${row.workload}.svg`), chart(row));
  const commentary = readFileSync(join(root, "bench", "commentary.md"), "utf8");
  const chartOf = (workload: string) => `${charts}/${workload}.svg`;
  writeFileSync(
    join(docs, "performance.md"),
    performanceDocument({ rows: kept, commentary, chartOf }),
  );
}
