// The cluster campaign: two servers over three PostgreSQL under Patroni, with clients of both at
// work, while whatever the service stands on is killed, stopped and cut off. Nothing acknowledged may
// be lost or twice, nobody may see a gap, and everything recovers by itself.
import { setTimeout as pause } from "node:timers/promises";
import { seededRandom } from "../../support/seeded.ts";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { controlLoses } from "./control.ts";
import { ClusterRound } from "./cluster-round.ts";
import { anyFault, faults } from "./faults.ts";
import { cannotCluster, LocalCluster } from "./local-cluster.ts";
import { CommitProbe } from "./observers.ts";

const cyclesDefault = 150;
/** A store is thrown away after so many faults. */
const roundCycles = 10;
const movingShare = 0.8;

export interface ClusterCampaignOptions extends CampaignOptions {
  readonly cyclesMax?: number;
  /** The faults, in order. Absent: any. */
  readonly plan?: readonly string[];
}

interface Stall {
  /** Milliseconds from the primary's death to the next acknowledged append, and bare commit. */
  readonly ours: number;
  readonly bare: number;
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
  const tally: Tally = { ...counts, faults: {}, stalls: [], violations: [] };
  const random = seededRandom(seed);
  const local = await LocalCluster.start({ isSynchronous: true });
  const probe = new CommitProbe([1, 2, 3].map((node) => local.databaseOf(node as 1 | 2 | 3)));
  try {
    for (let round = 0; tally.cycles < cyclesMax && performance.now() < until; round++) {
      const cycles = Math.min(roundCycles, cyclesMax - tally.cycles);
      const parts = { local, probe, seed: seed + round * 7_919, schema: `round_${round}` };
      await oneRound(new ClusterRound(parts, random), { cycles, until, plan, report }, tally);
    }
  } finally {
    await probe.stop();
    await local.remove();
  }
  const { cycles, events, violations, stalls, ...detail } = tally;
  const lost = { control: control.how };
  return {
    cycles,
    events,
    violations,
    control: control.lost,
    detail: { ...detail, ...stallsTold(stalls), ...lost },
  };
}

interface RoundBounds {
  readonly cycles: number;
  readonly until: number;
  readonly plan: readonly string[] | undefined;
  readonly report: (line: string) => void;
}

async function oneRound(round: ClusterRound, bounds: RoundBounds, tally: Tally): Promise<void> {
  const { cycles, until, plan, report } = bounds;
  const began = performance.now();
  try {
    await round.begin();
    for (let cycle = 0; cycle < cycles && performance.now() < until; cycle++) {
      const isFirst = cycle === 0 && tally.cycles === 0;
      await pause(isFirst ? 2_000 : 0);
      const name = plan?.[tally.cycles] ?? anyFault(round.random() < movingShare, round.random);
      const fault = faults[name];
      if (fault === undefined) throw new Error(`there is no fault: ${name}`);
      const { ms, failovers, stall } = await round.oneCycle(name, fault);
      tally.cycles++;
      tally.failovers += failovers;
      tally.faults[name] = (tally.faults[name] ?? 0) + 1;
      if (stall !== undefined) tally.stalls.push(stall);
      const so = `${tally.failovers} failovers, ${tally.events + round.events} events`;
      const told = stall === undefined ? "" : `, stall ${stall.ours} ms, bare ${stall.bare} ms`;
      report(`${tally.cycles}: ${name}, ${(ms / 1_000).toFixed(1)} s${told}; ${so}`);
      if (round.violations.length > 0) break;
    }
    await round.finish();
  } catch (error) {
    round.violate(`it broke off: ${(error as Error).stack ?? String(error)}`);
  } finally {
    await round.end();
    tally.events += round.events;
    tally.observations += round.observations;
    tally.deliveries += round.deliveries;
    tally.rows += round.rows;
    const told = round.violations.map((each) => `${round.name}: ${each}`);
    tally.violations.push(...told);
    for (const each of told) report(`VIOLATION ${each}`);
    report(`${round.name} is over after ${((performance.now() - began) / 1_000).toFixed(0)} s`);
  }
}

function stallsTold(stalls: readonly Stall[]): Record<string, unknown> {
  if (stalls.length === 0) return {};
  const sorted = (of: (stall: Stall) => number): number[] =>
    stalls.map((stall) => Math.round(of(stall))).toSorted((a, b) => a - b);
  const told = (all: readonly number[]): Record<string, number | undefined> => {
    return { median: all[Math.floor(all.length / 2)], most: all.at(-1) };
  };
  const beyond = sorted(({ ours, bare }) => ours - bare);
  return {
    kills: stalls.length,
    stallMs: told(sorted(({ ours }) => ours)),
    bareStallMs: told(sorted(({ bare }) => bare)),
    beyondBareMs: told(beyond),
  };
}
