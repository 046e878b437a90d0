// The simulation campaign: runs of one seed each, until there are enough of them. A violation names
// the seed that shows it again: `node test/campaigns/simulation/replay.ts SEED`.
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { failpoints } from "./faults.ts";
import type { Breakage } from "./server.ts";
import { simulate } from "./simulation.ts";

const seedsDefault = 200_000;
const seedsPerCampaign = 1_000_000;

export interface SimulationOptions extends CampaignOptions {
  readonly seeds?: number;
  /** Each of the servers that are broken on purpose must be caught within so many seeds. */
  readonly controlSeedsMax?: number;
}

/** Broken on purpose; the checker is to catch each of them. */
const breakages: Readonly<Record<string, Breakage>> = {
  "acknowledged without a sync": { withoutSync: true },
  "failed writes acknowledged": { failuresIgnored: true },
  "opened without checks": { withoutChecks: true },
};

export async function simulation(options: SimulationOptions): Promise<CampaignResult> {
  const { report, seeds = seedsDefault, secondsMax = Number.POSITIVE_INFINITY } = options;
  const first = options.seed * seedsPerCampaign;
  const began = performance.now();
  const control = await caught(first, options.controlSeedsMax ?? 20_000);
  const violations: string[] = [];
  const hits = new Map<string, number>(failpoints.map((name) => [name, 0]));
  const tally = { events: 0, steps: 0, refused: 0 };
  let cycles = 0;
  while (cycles < seeds && performance.now() - began < secondsMax * 1_000) {
    const run = await simulate(first + cycles);
    cycles++;
    violations.push(...run.violations);
    tally.events += run.events;
    tally.steps += run.steps;
    if (run.ending === "refused") tally.refused++;
    for (const [name, count] of run.hits) hits.set(name, (hits.get(name) ?? 0) + count);
    if (cycles % 5_000 === 0) report?.(`${cycles} seeds, ${violations.length} violations`);
  }
  const [[leastHit, leastHits] = ["", 0]] = [...hits].toSorted(([, a], [, b]) => a - b);
  return {
    cycles,
    events: tally.events,
    violations,
    control: Object.values(control).every((seed) => seed >= 0),
    detail: {
      steps: tally.steps,
      refused: tally.refused,
      control,
      leastHit,
      leastHits,
      failpoints: Object.fromEntries(hits),
    },
  };
}

/** How many seeds it took to catch each broken server; -1: it was not caught. */
async function caught(first: number, seedsMax: number): Promise<Record<string, number>> {
  const taken: Record<string, number> = {};
  for (const [name, breakage] of Object.entries(breakages)) {
    taken[name] = -1;
    for (let i = 0; i < seedsMax; i++) {
      if ((await simulate(first + i, breakage)).violations.length === 0) continue;
      taken[name] = i + 1;
      break;
    }
  }
  return taken;
}
