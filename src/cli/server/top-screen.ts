// The figures of `annals top` as text: facts, and tables of the busiest methods and of the groups
// that are the furthest behind.

import { byteCount, counted, grouped } from "../output/display.ts";
import { pairsOf, tableOn, type Column } from "../output/table.ts";
import { paintFor, type Terminal } from "../output/terminal.ts";
import { slowCallMs, type TopFigures } from "./top-figures.ts";

const methodColumns: readonly Column[] = [
  { title: "METHOD", side: "left", columnsMax: 44 },
  { title: "CALLS/S", side: "right" },
  { title: "P50", side: "right" },
  { title: "P99", side: "right" },
  { title: `OVER ${slowCallMs} MS`, side: "right" },
  { title: "NOT OK", side: "right" },
];
const groupColumns: readonly Column[] = [
  { title: "GROUP", side: "left", columnsMax: 44 },
  { title: "LAG", side: "right" },
  { title: "OLDEST", side: "right" },
  { title: "IN FLIGHT", side: "right" },
  { title: "PARKED", side: "right" },
  { title: "MEMBERS", side: "right" },
];

/** Lines, without a break at the end. `rowsMax`: of each table. */
export function topScreen(
  figures: TopFigures,
  address: string,
  terminal: Terminal,
  rowsMax: number,
): string {
  const paint = paintFor(terminal.output, terminal);
  const { version, engine, upSeconds, writeState, head } = figures;
  const state = writeState === "accepting" ? writeState : paint.red(writeState);
  const server = `annals ${version} at ${address}, ${engine}, up ${spanText(upSeconds)}`;
  const title = `${paint.bold(server)}, ${state}, head ${grouped(head)}\n\n`;
  const parts = [title + pairsOf(factsOf(figures))];
  const { output } = terminal;
  const methods = figures.methods.slice(0, rowsMax);
  if (methods.length > 0) {
    const rows = methods.map(({ method, perSecond, p50Ms, p99Ms, slow, failed }) => [
      method,
      rateText(perSecond),
      msText(p50Ms),
      msText(p99Ms),
      grouped(slow),
      grouped(failed),
    ]);
    parts.push(tableOn(output, terminal, methodColumns)(rows));
  }
  const groups = figures.groups.slice(0, rowsMax);
  if (groups.length > 0) {
    const rows = groups.map(({ group, lagEvents, lagSeconds, inFlight, parked, members }) => [
      group,
      grouped(lagEvents),
      spanText(lagSeconds),
      grouped(inFlight),
      grouped(parked),
      grouped(members),
    ]);
    parts.push(tableOn(output, terminal, groupColumns)(rows));
  }
  return parts.join("\n").trimEnd();
}

function factsOf(figures: TopFigures): [string, string][] {
  const { appends, commits, handed, subscriptions, clients, process, disk, follower } = figures;
  const failed = appends.failedCommits > 0 ? `, ${appends.failedCommits} commits failed` : "";
  const heap = `heap ${byteCount(process.heapUsedBytes)}`;
  return [
    [
      "appends",
      `${rateText(appends.perSecond)}/s, events ${rateText(appends.eventsPerSecond)}/s, ` +
        `conflicts ${rateText(appends.conflictsPerSecond)}/s${failed}`,
    ],
    [
      "commits",
      `${rateText(commits.perSecond)}/s, p50 ${msText(commits.p50Ms)}, ` +
        `p99 ${msText(commits.p99Ms)}`,
    ],
    [
      "delivered",
      `to reads ${rateText(handed.readPerSecond)}/s, ` +
        `subscriptions ${rateText(handed.subscriptionPerSecond)}/s, ` +
        `groups ${rateText(handed.groupPerSecond)}/s`,
    ],
    [
      "waiting",
      `${counted(appends.waiting, "append")} (${byteCount(appends.waitingBytes)}), ` +
        `${counted(figures.readPiecesWaiting, "piece")} of reads`,
    ],
    [
      "subscribers",
      `${grouped(subscriptions.live)} live, ${grouped(subscriptions.behind)} behind, ` +
        `the furthest by ${counted(subscriptions.lagEvents, "event")}`,
    ],
    [
      "clients",
      `${counted(clients.connections, "connection")}, ` +
        `${byteCount(clients.memoryBytes)} of ${byteCount(clients.memoryBytesMax)} held`,
    ],
    [
      "process",
      `${byteCount(process.residentBytes)} resident, ${heap}, ` +
        `CPU ${Math.round(process.cpuShare * 100)} %, ` +
        `event loop late by ${msText(process.loopDelayP99Ms)} (p99)`,
    ],
    ...(disk === undefined
      ? []
      : [
          [
            "disk",
            `${byteCount(disk.usedBytes)} used, ${byteCount(disk.freeBytes)} free ` +
              `(reserve ${byteCount(disk.reserveBytes)}), ` +
              `${byteCount(disk.reclaimableBytes)} reclaimable`,
          ] satisfies [string, string],
        ]),
    ...(follower === undefined
      ? []
      : [
          [
            "follower",
            `${follower.state}, ${counted(follower.lagEvents, "event")} and ` +
              `${spanText(follower.lagSeconds)} behind`,
          ] satisfies [string, string],
        ]),
  ];
}

/** Of something per second: with a decimal where it is small. */
function rateText(perSecond: number): string {
  return perSecond === 0 || perSecond >= 10 ? grouped(Math.round(perSecond)) : perSecond.toFixed(1);
}

/** `0.42 ms`, `12 ms`, `1.5 s`; `-`: there is none. */
function msText(ms: number | undefined): string {
  if (ms === undefined) return "-";
  if (ms === Infinity) return "over 10 s";
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${ms >= 10 ? Math.round(ms) : Number(ms.toFixed(2))} ms`;
}

/** `12 s`, `5 min`, `3 h`, `9 d`. */
function spanText(seconds: number): string {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6_000) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3_600)} h`
    : `${Math.round(seconds / 86_400)} d`;
}
