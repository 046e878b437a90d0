// The checkers checked: every broken server must be caught by the scenario it stands for, and the
// shipped one must pass all of them.
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { cannotCut } from "../power-cut/disk.ts";
import { warmUp } from "../support/server-process.ts";
import { mutants } from "./mutants.ts";
import { scenarios, type ScenarioName } from "./scenarios.ts";

/** Once is enough; what took more is told. */
const triesMax = 3;
const atOnce = 3;

export interface BrokenServersOptions extends CampaignOptions {
  /** Names of mutants. Absent: all of them. */
  readonly only?: readonly string[];
}

export async function brokenServers(options: BrokenServersOptions): Promise<CampaignResult> {
  const { seed, report, secondsMax = Infinity } = options;
  const until = performance.now() + secondsMax * 1_000;
  await warmUp({ failpoint: "none" });
  const violations: string[] = [];
  const caught: Record<string, string> = {};
  const left: string[] = [];
  const again: Record<string, number> = {};
  const names = Object.keys(mutants).filter((name) => options.only?.includes(name) ?? true);
  const noPower = cannotCut("ext4");
  const one = async (name: string): Promise<void> => {
    const { scenario } = mutants[name] as (typeof mutants)[string];
    if (scenario === "power" && noPower !== undefined) {
      report?.(`LEFT OUT: ${name}: ${noPower}`);
      left.push(name);
    } else if (performance.now() > until) left.push(name);
    else {
      const { found, tries } = await firstFinding(scenario, seed, name);
      if (tries > 1) again[name] = tries;
      if (found === undefined) violations.push(`"${name}" was not caught by ${scenario}`);
      else caught[name] = `${scenario}: ${found.slice(0, 160)}`;
      report?.(`${name}: ${found ?? "NOT CAUGHT"}`);
    }
  };
  await severalAtOnce(names, one);
  const used = new Set(names.map((name) => (mutants[name] as (typeof mutants)[string]).scenario));
  await severalAtOnce([...used], async (scenario) => {
    if (scenario === "power" && noPower !== undefined) return;
    for (const found of await scenarios[scenario](seed, {})) {
      violations.push(`the shipped server, ${scenario}: ${found}`);
    }
    report?.(`the shipped server passed ${scenario}`);
  });
  const cycles = names.length - left.length;
  return {
    cycles,
    events: 0,
    violations,
    control: violations.length === 0,
    detail: { caught: Object.keys(caught).length, left, again, by: caught },
  };
}

/** They wait more than they work. */
async function severalAtOnce<T>(all: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  const worker = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) await run(next);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function firstFinding(
  scenario: ScenarioName,
  seed: number,
  mutant: string,
): Promise<{ readonly found: string | undefined; readonly tries: number }> {
  for (let i = 0; i < triesMax; i++) {
    const [found] = await scenarios[scenario](seed + i, { mutant });
    if (found !== undefined) return { found, tries: i + 1 };
  }
  return { found: undefined, tries: triesMax };
}
