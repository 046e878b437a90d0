// The same loads by the same client on Annals and on other event stores, alternately, on stores of
// the same events. Writes bench/peers.json and docs/peers.md.

import { buildProduct, sources } from "../build.ts";
import { startChild } from "../child.ts";
import { commonType, nameCount, rareType } from "../load/events.ts";
import type { LoadJob, LoadResult, Part } from "../load/job.ts";
import { Measurements, type MeasureOptions } from "../measure.ts";
import type { Options } from "../options.ts";
import type { Sample, Store } from "../probe.ts";
import { median, type RunFacts } from "../rows.ts";
import { Stores } from "../stores.ts";
import { followers, MiB, one, pipe, reads, timedTen, unary } from "../workloads/words.ts";
import type { Peer, PeerRow } from "./peer.ts";
import { publishPeers } from "./publish.ts";
import { startUmadb } from "./umadb-server.ts";

export const peerStarts: Readonly<Record<string, (folder: string) => Promise<Peer>>> = {
  umadb: startUmadb,
};

interface PeerLoad {
  readonly workload: string;
  readonly title: string;
  readonly unit: "calls/s" | "events/s";
  readonly written?: boolean;
  readonly parts: readonly Part[];
}

/** Reads come first: appends change the peer's store. */
function loadsOf(events: number): readonly PeerLoad[] {
  const names = nameCount(events);
  return [
    {
      workload: "read-stream",
      title: "A stream of 10 events, each stream once, 8 at a time",
      unit: "calls/s",
      parts: [reads({ verb: "read-stream", streams: names }, 8)],
    },
    {
      workload: "read-stream-zipf",
      title: "The same, some streams much more often than others (Zipf)",
      unit: "calls/s",
      parts: [reads({ verb: "read-stream", streams: names, zipf: true }, 8)],
    },
    {
      workload: "query-tag",
      title: "A query by tag, 10 hits, 8 at a time",
      unit: "calls/s",
      parts: [reads({ verb: "read-tag", tags: names }, 8)],
    },
    {
      workload: "query-type-common",
      title: "A type that one event in ten has",
      unit: "events/s",
      parts: [reads({ verb: "read-type", type: commonType }, 1)],
    },
    {
      workload: "query-type-rare",
      title: "A type that one event in 10,000 has, 8 at a time",
      unit: "events/s",
      parts: [reads({ verb: "read-type", type: rareType }, 8)],
    },
    {
      workload: "read-all-4mib",
      title: "Everything, with a window of 4 MiB",
      unit: "events/s",
      parts: [reads({ verb: "read-all" }, 1, { windowBytes: 4 * MiB })],
    },
    {
      workload: "append-unary-c64",
      title: "Appends of one event into the filled store, 64 at a time",
      unit: "calls/s",
      written: true,
      parts: [unary({ ...one, streams: names }, 64)],
    },
    {
      workload: "append-dcb",
      title: "Appends on a condition (tag and type), 64 at a time",
      unit: "calls/s",
      written: true,
      parts: [unary({ verb: "append-on-condition", tags: names }, 64)],
    },
    {
      workload: "append-dcb-pair",
      title: "Appends on a condition of two tags, 64 at a time",
      unit: "calls/s",
      written: true,
      parts: [unary({ verb: "append-on-condition", tags: names, pair: true }, 64)],
    },
    {
      workload: "append-unary-100",
      title: "Appends of 100 events, 8 at a time",
      unit: "events/s",
      written: true,
      parts: [unary({ verb: "append", events: 100, streams: names }, 8)],
    },
    {
      workload: "fan-out-1",
      title: "Live delivery to one subscriber beside appends of 10 events",
      unit: "events/s",
      written: true,
      parts: [followers(1), pipe(timedTen, 64, { orUnary: true })],
    },
  ];
}

export async function comparePeers(
  options: Options,
  facts: RunFacts,
  say: (line: string) => void,
): Promise<readonly PeerRow[]> {
  const events = Math.max(10_000, Math.round(1_000_000 * options.scale));
  const loads = loadsOf(events).filter(
    ({ workload }) =>
      options.only.length === 0 || options.only.some((part) => workload.startsWith(part)),
  );
  const { warmUpMs, measureMs, profileFolder, rounds } = options;
  const entry = profileFolder === undefined ? buildProduct() : sources;
  const load = await startChild<LoadJob, { result: LoadResult }>("load/process.ts");
  const stores = new Stores(load, entry, say, options.folder);
  const shared: MeasureOptions = { stores, load, entry, warmUpMs, measureMs, profileFolder };
  const found: PeerRow[] = [];
  try {
    for (const name of options.peers) {
      const start = peerStarts[name] as (folder: string) => Promise<Peer>;
      const peer = await start(stores.path(name));
      const ours = new Measurements(shared);
      const theirs = new Measurements({ ...shared, foreign: peer.server });
      const sides = { ours, theirs, events, rounds, peer, facts };
      try {
        found.push(...(await compareAll(loads, sides, say)));
      } finally {
        await ours.stop();
        await theirs.stop();
        await peer.stop();
      }
    }
  } finally {
    await load.stop();
    stores.remove();
  }
  if (!options.dry) publishPeers(found);
  return found;
}

async function compareAll(
  loads: readonly PeerLoad[],
  sides: Sides,
  say: (line: string) => void,
): Promise<PeerRow[]> {
  const rows: PeerRow[] = [];
  for (const load of loads) {
    const row = await compare(load, sides);
    say(`${row.workload}: ${row.annals.rate} against ${row.other.rate} ${row.unit}`);
    rows.push(row);
  }
  return rows;
}

interface Sides {
  readonly ours: Measurements;
  readonly theirs: Measurements;
  readonly events: number;
  readonly rounds: number;
  readonly peer: Peer;
  readonly facts: RunFacts;
}

async function compare(load: PeerLoad, sides: Sides): Promise<PeerRow> {
  const { ours, theirs, events, rounds, peer, facts } = sides;
  const store: Store = { events, written: load.written === true };
  const probe = { at: "product", store, parts: load.parts } as const;
  const none = new Map<string, Sample>();
  const samples: { annals: Sample[]; other: Sample[] } = { annals: [], other: [] };
  ours.begin(load.workload);
  for (let round = 0; round < rounds; round++) {
    samples.annals.push(await ours.measure(probe, none));
    samples.other.push(await theirs.measure(probe, none));
  }
  await ours.settle();
  const annals = measured(samples.annals, load.unit);
  const other = measured(samples.other, load.unit);
  const isMeasured = annals.micros !== null && other.micros !== null;
  const { command, commit, date, node, machine, loadBefore } = facts;
  return {
    workload: load.workload,
    title: load.title,
    peer: peer.name,
    unit: load.unit,
    annals,
    other,
    ratio: rounded(annals.rate / other.rate),
    cpuRatio: isMeasured ? rounded((other.micros ?? 0) / (annals.micros ?? 1)) : null,
    run: { command, commit, date, node, machine, loadBefore, rounds, events },
  };
}

/** Of the first part: what is delivered, beside what is appended. */
function measured(samples: readonly Sample[], unit: PeerLoad["unit"]): PeerRow["annals"] {
  const of = unit === "calls/s" ? "callsPerSecond" : "eventsPerSecond";
  const first = samples.map(({ parts }) => parts[0]);
  const rate = median(first.map((part) => part?.[of] ?? 0));
  const micros = samples.flatMap(({ serverCpu }, i) =>
    serverCpu === undefined ? [] : [(serverCpu * 1e6) / (first[i]?.[of] ?? 1)],
  );
  const peaks = samples.flatMap(({ peak }) => (peak ? [peak.anonymousBytes / 1e6] : []));
  return {
    rate: rounded(rate),
    micros: micros.length === 0 ? null : rounded(median(micros)),
    p50: rounded(median(first.map((part) => part?.p50 ?? 0))),
    p99: rounded(median(first.map((part) => part?.p99 ?? 0))),
    anonymousMB: peaks.length === 0 ? null : rounded(Math.max(...peaks)),
  };
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
