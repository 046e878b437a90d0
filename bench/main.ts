// `npm run bench`: runs the workloads, each alternately with its limit, prints a table and writes
// the results. Every process it starts listens on loopback and is ended by its process id.

import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { buildProduct, sources } from "./build.ts";
import { startChild } from "./child.ts";
import type { LoadJob, LoadResult } from "./load/job.ts";
import { runFacts } from "./machine.ts";
import { Measurements, NotMeasured } from "./measure.ts";
import { help, parseOptions, type Options } from "./options.ts";
import type { Sample, Workload } from "./probe.ts";
import { comparePeers, peerStarts } from "./peers/compare.ts";
import { peersPage } from "./peers/publish.ts";
import { printProfiles } from "./profile.ts";
import { publish } from "./report/publish.ts";
import { table } from "./report/table.ts";
import {
  peakRowNames,
  peakRows,
  rowOf,
  type ResultRow,
  type Round,
  type RunFacts,
} from "./rows.ts";
import { LoadFailed } from "./samples.ts";
import { Stores } from "./stores.ts";
import { workloads } from "./workloads.ts";

/** With a higher load average, other work disturbs the measurement. */
const loadBeforeMax = 1;

const say = (line: string) => process.stderr.write(`${line}\n`);

async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args);
  if (options.help) return void process.stdout.write(help);
  if (options.peers.length > 0 && !options.list) return compare(args, options);
  const known = workloads(options.scale);
  const chosen = known.filter((workload) => isChosen(workload, options));
  if (options.list) {
    for (const { name, form, rows } of known) {
      process.stdout.write(`${name.padEnd(24)} ${form.padEnd(6)} ${rows[0]?.title ?? ""}\n`);
    }
    return;
  }
  if (chosen.length === 0) throw new TypeError("no such workload; --list names them");
  if (options.folder !== undefined) mkdirSync(options.folder, { recursive: true });
  const facts = runFacts(args, options.folder ?? tmpdir());
  const busy = facts.loadBefore > loadBeforeMax;
  const warning = `BUSY MACHINE: load average ${facts.loadBefore} before: distrust the figures`;
  if (busy) say(warning);
  const rows = await runAll(chosen, options, facts);
  process.stdout.write(`${table(rows)}\n`);
  say(`${facts.machine}; Node ${facts.node}; commit ${facts.commit}`);
  if (busy) say(warning);
  if (options.profileFolder !== undefined) printProfiles(options.profileFolder, say);
  if (options.dry) return;
  const order = known.flatMap(({ rows: specs }) => specs.map(({ workload }) => workload));
  // Of a few workloads it is not the peak of all.
  const isAll = options.only.length === 0;
  const told = isAll ? rows : rows.filter(({ workload }) => !peakRowNames.includes(workload));
  publish(told, [...order, ...peakRowNames]);
}

async function compare(args: readonly string[], options: Options): Promise<void> {
  const unknown = options.peers.find((name) => peerStarts[name] === undefined);
  if (unknown !== undefined) throw new TypeError(`--peers: there is no ${unknown}`);
  const facts = runFacts(args, options.folder ?? tmpdir());
  const rows = await comparePeers(options, facts, say);
  process.stdout.write(peersPage(rows));
}

function isChosen({ name, form, rows }: Workload, { only, forms }: Options): boolean {
  if (!forms.includes(form)) return false;
  const names = [name, ...rows.map(({ workload }) => workload)];
  return only.length === 0 || only.some((part) => names.some((known) => known.startsWith(part)));
}

async function runAll(
  chosen: readonly Workload[],
  options: Options,
  facts: RunFacts,
): Promise<ResultRow[]> {
  const entry = options.profileFolder === undefined ? buildProduct() : sources;
  const load = await startChild<LoadJob, { result: LoadResult }>("load/process.ts");
  const stores = new Stores(load, entry, say, options.folder);
  const { warmUpMs, measureMs, profileFolder, target, adapter, storage } = options;
  const foreign = target && { ...target, protocol: adapter };
  const measurements = new Measurements({
    stores,
    load,
    entry,
    warmUpMs,
    measureMs,
    profileFolder,
    foreign,
    storage,
  });
  const rows: ResultRow[] = [];
  const since = performance.now();
  try {
    for (const workload of chosen) {
      rows.push(...(await runWorkload(workload, measurements, options.rounds, facts)));
    }
  } finally {
    await measurements.stop();
    await load.stop();
    stores.remove();
  }
  say(`${((performance.now() - since) / 1_000).toFixed(0)} s`);
  return [...rows, ...peakRows(rows, facts)];
}

/**
 * Runs all probes one after another in each round, so that a machine that slows down affects all of
 * them.
 */
async function runWorkload(
  { name, probes, rows }: Workload,
  measurements: Measurements,
  roundCount: number,
  facts: RunFacts,
): Promise<ResultRow[]> {
  const rounds: Round[] = [];
  measurements.begin(name);
  try {
    for (let i = 0; i < roundCount; i++) {
      const round = new Map<string, Sample>();
      for (const [probe, spec] of Object.entries(probes)) {
        round.set(probe, await measurements.measure(spec, round));
      }
      rounds.push(round);
    }
  } catch (error) {
    const known = error instanceof NotMeasured || error instanceof LoadFailed;
    const { message, stack } = error as Error;
    say(`${name}: NOT MEASURED: ${known ? message : (stack ?? message)}`);
    if (!(error instanceof NotMeasured)) process.exitCode = 1;
    return [];
  } finally {
    await measurements.settle();
  }
  const found = rows.map((spec) => rowOf(spec, rounds, facts));
  for (const row of found) {
    const ratio = row.ratio === null ? "" : `, ratio ${row.ratio}`;
    const missed = row.detail.met === false ? " MISSED" : "";
    say(`${row.workload}: ${row.value} ${row.unit}${ratio}${missed}`);
  }
  return found;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  say(error instanceof TypeError ? `bench: ${error.message}` : String((error as Error).stack));
  process.exitCode = 1;
}
