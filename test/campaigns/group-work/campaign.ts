// The group-work campaign: members of consumer groups at work while their server is killed, at
// random moments and at named places, over and over. No event may be lost, none that was told to be
// done may come again, none may come before its turn.
import { rmSync } from "node:fs";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { seededRandom } from "../../support/seeded.ts";
import { failpoints, saidOf } from "../support/failpoints.ts";
import { scratchFolder, ServerProcess, warmUp, type Breakage } from "../support/server-process.ts";
import { CampaignStore } from "./store.ts";

const cyclesDefault = 1_000;
/** A store is thrown away after so many lives. */
const livesMax = 12;
const brokenLivesMax = 6;

export interface GroupWorkOptions extends CampaignOptions {
  readonly cyclesMax?: number;
}

export async function groupWork(options: GroupWorkOptions): Promise<CampaignResult> {
  const { seed, secondsMax = Infinity, cyclesMax = cyclesDefault, report } = options;
  const random = seededRandom(seed);
  await warmUp({ failpoint: "none" });
  const control = (await broken(seed, { failpoint: "answer-before-write" })) !== undefined;
  report?.(control ? "the control was caught" : "the control was not caught");
  const until = performance.now() + secondsMax * 1_000;
  const violations: string[] = [];
  let [cycles, events, deliveries] = [0, 0, 0];
  for (let store = 0; cycles < cyclesMax && performance.now() < until; store++) {
    const storeSeed = seed + store * 7_919;
    const lives = Math.min(livesMax, cyclesMax - cycles);
    const work = await oneStore(seededRandom(storeSeed), {
      lives,
      until,
      death: () => dying(random),
    });
    cycles += work.lives;
    events += work.events;
    deliveries += work.deliveries;
    violations.push(...work.violations.map((each) => `seed ${storeSeed}: ${each}`));
    report?.(`${cycles} kills, ${deliveries} deliveries, ${violations.length} violations`);
  }
  return { cycles, events, violations, control, detail: { deliveries } };
}

/** What was found against a server that is broken so; undefined: nothing. */
export async function broken(seed: number, breakage: Breakage): Promise<string | undefined> {
  const random = seededRandom(seed);
  // Where it is wrong for a moment only it is held there; a failpoint of its own stays as it is.
  const death = (): Death => ({
    ...(breakage.mutant !== undefined && { failpoint: `hold:${2 + Math.floor(random() * 20)}` }),
    ...breakage,
    delayMs: 150 + Math.floor(random() * 400),
  });
  const bounds = { lives: brokenLivesMax, until: Infinity, death };
  return (await oneStore(random, bounds)).violations[0];
}

interface Death extends Breakage {
  /** Milliseconds under load before it is killed from outside. */
  readonly delayMs: number;
}

function dying(random: () => number): Death {
  const delayMs = 30 + Math.floor(random() * 900);
  if (random() < 0.5) return { delayMs };
  const place = failpoints[Math.floor(random() * failpoints.length)] as string;
  const count =
    place.includes("write") || place.includes("answer") ? 2 + random() * 100 : random() * 40;
  return { delayMs, failpoint: `${place}:${Math.floor(count)}` };
}

interface Bounds {
  readonly lives: number;
  readonly until: number;
  readonly death: () => Death;
}

interface Work {
  readonly lives: number;
  readonly events: number;
  readonly deliveries: number;
  readonly violations: readonly string[];
}

/** One store through many lives, and its end under a server that lives. */
async function oneStore(random: () => number, { lives, until, death }: Bounds): Promise<Work> {
  const folder = scratchFolder("group-work");
  const store = new CampaignStore(random);
  const found: string[] = [];
  const all = (): string[] => [...found, ...store.violations];
  let life = 0;
  let last: Breakage = {};
  try {
    while (life < lives && performance.now() < until && all().length === 0) {
      life++;
      const chosen = death();
      last = chosen.mutant === undefined ? {} : { mutant: chosen.mutant };
      const fault = await oneLife(folder, store, chosen);
      if (fault !== undefined) found.push(`life ${life}: ${fault}`);
    }
    if (all().length === 0) await end(folder, last, store, found);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { lives: life, events: store.appended, deliveries: store.deliveries, violations: all() };
}

/** From start to kill. Answers what was wrong. */
async function oneLife(
  folder: string,
  store: CampaignStore,
  { delayMs, ...breakage }: Death,
): Promise<string | undefined> {
  const server = await ServerProcess.start({ folder, ...breakage });
  if (!server.serves) {
    const { signal } = await server.exited;
    return signal === "SIGKILL" ? undefined : `it does not start: ${server.log}`;
  }
  await store.attach(server.port);
  const time = new Promise((resolve) => setTimeout(resolve, delayMs));
  await Promise.race([server.exited, time, server.says(saidOf.held)]);
  // The round trip ensures that every answer sent before it has arrived.
  await store.roundTrip();
  await server.kill();
  await store.detach();
  return undefined;
}

async function end(
  folder: string,
  breakage: Breakage,
  store: CampaignStore,
  found: string[],
): Promise<void> {
  const server = await ServerProcess.start({ folder, ...breakage });
  if (!server.serves) return void found.push(`it does not start: ${server.log}`);
  await store.finish(server.port);
  const { code } = await server.stop();
  if (code !== 0) found.push(`it stopped with ${code}: ${server.log}`);
}
