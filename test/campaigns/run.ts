// Runs the long form of a campaign by its name and appends the result to its evidence file.
//   npm run campaign -- corruption --seed 7
//   npm run campaign -- simulation --seed 1 --seconds 3600
import { parseArgs } from "node:util";
import type { CampaignOptions, CampaignResult } from "./campaign.ts";
import { record } from "./ledger.ts";

type Campaign = (options: CampaignOptions) => Promise<CampaignResult>;

const campaigns: Readonly<Record<string, () => Promise<Campaign>>> = {
  corruption: async () => (await import("./corruption/campaign.ts")).corruption,
  "serving-corruption": async () => (await import("./corruption/serving.ts")).servingCorruption,
  simulation: async () => (await import("./simulation/campaign.ts")).simulation,
  "disk-full": async () => (await import("./disk-full/campaign.ts")).diskFull,
  follow: async () => (await import("./follow/campaign.ts")).follow,
  kill: async () => (await import("./kill/campaign.ts")).kill,
  "group-work": async () => (await import("./group-work/campaign.ts")).groupWork,
  reclaim: async () => (await import("./reclaim/campaign.ts")).reclaim,
  malformed: async () => (await import("./malformed/campaign.ts")).malformed,
  greedy: async () => (await import("./greedy/campaign.ts")).greedy,
  frames: async () => (await import("./frames/campaign.ts")).frames,
  syscalls: async () => (await import("./syscalls/campaign.ts")).syscalls,
  subscriptions: async () => (await import("./subscriptions/campaign.ts")).subscriptions,
  "broken-servers": async () => (await import("./broken-servers/campaign.ts")).brokenServers,
  cluster: async () => (await import("./cluster/campaign.ts")).cluster,
  "power-cut": async () => (await import("./power-cut/campaign.ts")).powerCut,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: "string" }, seconds: { type: "string" } },
});
const [name = ""] = positionals;
const load = Object.hasOwn(campaigns, name) ? campaigns[name] : undefined;
if (load === undefined) {
  console.error(`which campaign? there are ${Object.keys(campaigns).join(", ")}`);
  process.exit(2);
}
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 17) : Number(values.seed);
const began = performance.now();
const report = (line: string): void => {
  console.error(`${((performance.now() - began) / 1_000).toFixed(0)} s: ${line}`);
};
const bound = values.seconds === undefined ? {} : { secondsMax: Number(values.seconds) };
report(`${name}, seed ${seed}`);
const result = await (await load())({ seed, report, ...bound });
const seconds = (performance.now() - began) / 1_000;
for (const violation of result.violations.slice(0, 100)) console.error(`VIOLATION ${violation}`);
console.log(record({ campaign: name, seed, seconds, result }));
if (!result.control) console.error("void: the control did not fail");
process.exitCode = result.violations.length > 0 || !result.control ? 1 : 0;
