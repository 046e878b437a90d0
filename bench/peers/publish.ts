// Writes the rows of a comparison to bench/peers.json and docs/peers.md. Rows that were not run are
// kept.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { figure } from "../report/table.ts";
import type { PeerRow } from "./peer.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

export function publishPeers(rows: readonly PeerRow[]): void {
  const file = join(root, "bench", "peers.json");
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as PeerRow[]) : [];
  const named = (row: PeerRow): [string, PeerRow] => [`${row.peer} ${row.workload}`, row];
  const kept = [...new Map([...before, ...rows].map(named)).values()];
  writeFileSync(file, `[\n${kept.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`);
  writeFileSync(join(root, "docs", "peers.md"), peersPage(kept));
}

export function peersPage(rows: readonly PeerRow[]): string {
  const peers = [...new Set(rows.map(({ peer }) => peer))];
  return [
    "# Beside other event stores",
    "",
    "The same client sends the same load to Annals and to another server, one after the other in",
    "each round, on stores of the same events. Both sync every append to disk. The machine is",
    "shared, so rates move; what holds is the comparison within a run, best of all that of CPU:",
    "user and system time of all of the server's threads for each call or event. Above 1, Annals",
    "is faster (rate) or needs less (CPU). A stream of Annals is a tag of UmaDB, as UmaDB's",
    "documentation proposes.",
    "",
    ...peers.flatMap((peer) =>
      section(
        peer,
        rows.filter((row) => row.peer === peer),
      ),
    ),
    "This page is written by `npm run bench -- --peers umadb` from `bench/peers.json`.",
    "",
  ].join("\n");
}

function section(peer: string, rows: readonly PeerRow[]): string[] {
  const runs = new Set(
    rows.map(({ run }) => {
      const load = `load average ${run.loadBefore} before`;
      const what = `\`${run.command}\` at commit \`${run.commit}\`, ${run.date.slice(0, 10)}`;
      return `- ${what}, Node ${run.node}, on ${run.machine}; ${run.rounds} rounds; ${load}`;
    }),
  );
  const events = rows[0]?.run.events ?? 0;
  return [
    `## ${peer}`,
    "",
    `Over ${events.toLocaleString("en-US")} events of 256 bytes of payload:`,
    "",
    "| load | Annals | peer | rate | CPU | Annals, us | peer, us | p99 ms | peer, p99 ms |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ...rows.map(line),
    "",
    ...runs,
    "",
  ];
}

function line({ title, unit, annals, other, ratio, cpuRatio }: PeerRow): string {
  const cells = [
    title,
    `${figure(annals.rate)} ${unit}`,
    figure(other.rate),
    ratio.toFixed(2),
    cpuRatio?.toFixed(2) ?? "",
    annals.micros === null ? "" : figure(annals.micros),
    other.micros === null ? "" : figure(other.micros),
    annals.p99 === 0 ? "" : figure(annals.p99),
    other.p99 === 0 ? "" : figure(other.p99),
  ];
  return `| ${cells.join(" | ")} |`;
}
