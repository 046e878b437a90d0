// The cluster campaign: two servers over three PostgreSQL under Patroni, with clients of both at
// work, while whatever the service stands on is killed, stopped and cut off. Nothing acknowledged may
// be lost or twice, nobody may see a gap, and everything recovers by itself.
import { loadavg } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { seededRandom } from "../../support/seeded.ts";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { controlLoses } from "./control.ts";
import { ClusterRound, type Cycle } from "./cluster-round.ts";
import { Deck, faults } from "./faults.ts";
import { cannotCluster, LocalCluster, nodeNumbers, Unhealed } from "./local-cluster.ts";
import { CommitProbe } from "./observers.ts";

const cyclesDefault = 150;
/** A store is thrown away after so many faults. */
const roundCycles = 10;
const movingShare = 0.85;
/** Beyond the time for which PostgreSQL stands still. A longer one is counted. */
const beyondMsMax = 1_000;

export interface ClusterCampaignOptions extends CampaignOptions {
  readonly cyclesMax?: number;
  /** The faults, in order. Absent: any. */
  readonly plan?: readonly string[];
}

interface Stall extends Pick<Cycle, "ours" | "bare"> {
  readonly fault: string;
  readonly load: number;
}

interface Tally {
  cycles: number;
  events: number;
  failovers: number;
  observations: number;
  deliveries: number;
  rows: number;
  readonly faults: Record<string, number>;
  readonly stalls: Stall[];
  readonly violations: string[];
  /** What Patroni did not do in time. */
  readonly unhealed: string[];
}

export async function cluster(options: ClusterCampaignOptions): Promise<CampaignResult> {
  const { seed, secondsMax = Infinity, plan, report = () => {} } = options;
  const cyclesMax = plan?.length ?? options.cyclesMax ?? cyclesDefault;
  const reason = cannotCluster();
  if (reason !== undefined) throw new Error(reason);
  const until = performance.now() + secondsMax * 1_000;
  const control = await controlLoses(seed);
  report(`the asynchronous cluster: ${control.lost ? control.how : "lost nothing"}`);
  const counts = { cycles: 0, events: 0, failovers: 0, observations: 0, deliveries: 0, rows: 0 };
  const tally: Tally = { ...counts, faults: {}, stalls: [], violations: [], unhealed: [] };
  const random = seededRandom(seed);
  const decks = {
    moving: new Deck(random, (_, { moves }) => moves),
    others: new Deck(random, (_, { moves }) => !moves),
    ofServers: new Deck(random, (name) => name.startsWith("a server ")),
  };
  const next = (): string => {
    return plan?.[tally.cycles] ?? (random() < movingShare ? decks.moving : decks.others).draw();
  };
  let round = 0;
  while (tally.cycles < cyclesMax && performance.now() < until) {
    const local = await LocalCluster.start({ isSynchronous: true });
    const probe = new CommitProbe(nodeNumbers.map((node) => local.databaseOf(node)));
    try {
      for (let isWhole = true; isWhole && tally.cycles < cyclesMax && performance.now() < until;) {
        const cycles = Math.min(roundCycles, cyclesMax - tally.cycles);
        const [own, schema] = [seed + round * 7_919, `round_${round++}`];
        const serverFaults = decks.ofServers;
        const parts = { local, probe, seed: own, schema, random, serverFaults, report };
        isWhole = await oneRound(new ClusterRound(parts), { cycles, until, next, report }, tally);
      }
    } finally {
      await probe.stop();
      await local.remove();
    }
  }
  const { cycles, events, violations, stalls, ...detail } = tally;
  const told = { ...detail, ...stallsTold(stalls), control: control.how };
  return { cycles, events, violations, control: control.lost, detail: told };
}

interface RoundBounds {
  readonly cycles: number;
  readonly until: number;
  readonly next: () => string;
  readonly report: (line: string) => void;
}

/** Whether the cluster is fit for another one. */
async function oneRound(round: ClusterRound, bounds: RoundBounds, tally: Tally): Promise<boolean> {
  const { cycles, until, next, report } = bounds;
  const began = performance.now();
  let isWhole = true;
  try {
    await round.begin();
    if (tally.cycles === 0) await pause(2_000);
    for (let cycle = 0; cycle < cycles && performance.now() < until; cycle++) {
      const name = next();
      tally.cycles++;
      tally.faults[name] = (tally.faults[name] ?? 0) + 1;
      const { failovers, ours, bare, phases } = await round.oneCycle(name);
      tally.failovers += failovers;
      const load = Math.round(loadavg()[0] ?? 0);
      if (faults[name]?.moves === true) tally.stalls.push({ fault: name, ours, bare, load });
      const so = `${tally.failovers} failovers, ${tally.events + round.events} events`;
      const [fault, compared, whole] = phases.map((ms) => (ms / 1_000).toFixed(1));
      const seconds = `${fault} s, then compared in ${compared} s, whole in ${whole} s`;
      const told = `stall ${ours} ms, bare ${bare} ms, load ${load}`;
      report(`${tally.cycles}: ${name}: ${seconds}; ${told}; ${so}`);
      if (round.violations.length > 0) break;
    }
  } catch (error) {
    // A cluster that does not become whole is replaced. It serves all the same.
    isWhole = !(error instanceof Unhealed);
    if (isWhole) round.violate(`it broke off: ${(error as Error).stack ?? String(error)}`);
    else round.unhealed.push(`the cluster is replaced: ${(error as Error).message}`);
    report(await round.told());
  }
  try {
    await round.finish();
  } catch (error) {
    round.violate(`it does not end: ${(error as Error).stack ?? String(error)}`);
    report(await round.told());
  } finally {
    await round.end();
    tally.events += round.events;
    tally.observations += round.observations;
    tally.deliveries += round.deliveries;
    tally.rows += round.rows;
    const told = round.violations.map((each) => `${round.name}: ${each}`);
    tally.violations.push(...told);
    tally.unhealed.push(...round.unhealed.map((each) => `${round.name}: ${each}`));
    for (const each of told) report(`VIOLATION ${each}`);
    report(`${round.name} is over after ${((performance.now() - began) / 1_000).toFixed(0)} s`);
  }
  return isWhole;
}

function stallsTold(stalls: readonly Stall[]): Record<string, unknown> {
  const sorted = (of: (stall: Stall) => number): number[] =>
    stalls.map(of).toSorted((a, b) => a - b);
  const told = (all: readonly number[]): Record<string, number | undefined> => {
    return { median: all[Math.floor(all.length / 2)], most: all.at(-1) };
  };
  return {
    stallMs: told(sorted(({ ours }) => ours)),
    bareStallMs: told(sorted(({ bare }) => bare)),
    beyondBareMs: told(sorted(({ ours, bare }) => ours - bare)),
    late: stalls.filter(({ ours, bare }) => ours - bare > beyondMsMax),
  };
}
