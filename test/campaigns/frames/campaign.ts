// Ten million generated frames: every third conversation goes to node:http2 as well and must have
// the same outcome, or one that is known to differ; the others are storms of anything at all. The
// server must neither throw nor hang, and must hold nothing when the clients are gone.
import { outcomeOf, startPair, unexplained, type Pair } from "../../http2/differential.ts";
import { differentialScript, stormScript, type Script } from "../../http2/frame-scripts.ts";
import { seededRandom } from "../../support/seeded.ts";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";

const framesMax = 10_000_000;
const clientsAtOnce = 24;
/** What a client may make a connection hold here: itself, two requests, and their answers. */
const connectionHeldMax = 1024 * 1024;
const hangMs = 60_000;

export async function frames({
  seed,
  secondsMax,
  report,
}: CampaignOptions): Promise<CampaignResult> {
  const until = performance.now() + (secondsMax ?? Infinity) * 1_000;
  // A frame that is cut off is not waited for.
  const pair = await startPair({ tickMs: 10, frameMs: 40 });
  const next = seededRandom(seed);
  const random = (max: number): number => Math.floor(next() * max);
  const violations: string[] = [];
  const differing: Record<string, number> = {};
  let frameCount = 0;
  let cycles = 0;
  const client = async (): Promise<void> => {
    while (frameCount < framesMax && performance.now() < until && violations.length < 20) {
      const isStorm = random(3) > 0;
      const script = isStorm ? stormScript(random) : differentialScript(random);
      cycles++;
      frameCount += script.frameCount;
      if (cycles % 20_000 === 0) report?.(`${frameCount} frames, ${cycles} connections`);
      const found = await within(isStorm ? storm(pair, script) : compare(pair, script, differing));
      violations.push(...(found ?? [`hung: ${script.kind}: ${script.bytes.toString("hex")}`]));
    }
  };
  await Promise.all(Array.from({ length: clientsAtOnce }, client));
  const { budget, faults } = pair.ours;
  if (budget.highest > clientsAtOnce * connectionHeldMax) {
    violations.push(`${budget.highest} bytes were held at once`);
  }
  violations.push(...faults.map((fault) => `fault: ${String(fault)}`));
  if ((await within(pair.ours.empty().then(() => []))) === undefined) {
    violations.push(`${budget.held} bytes stay held`);
  }
  await pair.stop().catch((error: unknown) => violations.push(String(error)));
  return {
    cycles,
    events: frameCount,
    violations,
    // A comparison that sees no difference where some are known would see none at all.
    control: Object.keys(differing).length > 10,
    detail: { differing, heldAtOnce: budget.highest, rss: process.memoryUsage.rss() },
  };
}

async function storm({ oursPort }: Pair, script: Script): Promise<string[]> {
  await outcomeOf(oursPort, script);
  return [];
}

async function compare(
  { oursPort, nodePort }: Pair,
  script: Script,
  differing: Record<string, number>,
): Promise<string[]> {
  const [ours, node] = await Promise.all([
    outcomeOf(oursPort, script),
    outcomeOf(nodePort, script),
  ]);
  if (JSON.stringify(ours) !== JSON.stringify(node)) {
    differing[script.kind] = (differing[script.kind] ?? 0) + 1;
  }
  return unexplained(script, ours, node);
}

/** Undefined: it takes for ever. */
function within<T>(work: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, hangMs, undefined);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
