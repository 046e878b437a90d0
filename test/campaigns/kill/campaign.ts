// The kill campaign: a server under load is killed, at random moments and at named places, and
// started again at the same folder, over and over. Nothing acknowledged may be lost, twice, torn or
// out of order, and nobody may have been told what is not there.
import { rmSync } from "node:fs";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { seededRandom } from "../../support/seeded.ts";
import { Crowd, type CrowdSize } from "../support/crowd.ts";
import { failpoints } from "../support/failpoints.ts";
import { History } from "../support/history.ts";
import { scratchFolder, ServerProcess, warmUp, type Breakage } from "../support/server-process.ts";

/** A long run goes on until it has seen both. */
const cyclesDefault = 3_000;
const eventsDefault = 10_000_000;
/** A store is thrown away after so many lives or events: starting must stay quick. */
const livesMax = 30;
/** Starting a server and dying is mostly waiting. */
const storesAtOnce = 4;
const storeEventsMax = 400_000;
const wholeLogEvery = 20;
const controlLivesMax = 40;
const crowdSize: CrowdSize = {
  pipes: 4,
  window: 12,
  appendEventsMax: 4_000,
  eventBytesMax: 120,
  contenders: 4,
  readers: 1,
};

export interface KillOptions extends CampaignOptions {
  /** Given: it ends there, however few events there were. */
  readonly cyclesMax?: number;
}

interface Tally {
  cycles: number;
  events: number;
  observations: number;
  readonly deaths: Record<string, number>;
  readonly violations: string[];
}

export async function kill(options: KillOptions): Promise<CampaignResult> {
  const { seed, secondsMax = Infinity, cyclesMax, report } = options;
  const cyclesWanted = cyclesMax ?? cyclesDefault;
  const eventsWanted = cyclesMax === undefined ? eventsDefault : 0;
  const random = seededRandom(seed);
  await warmUp({ failpoint: "none" });
  const control = await controlLoses(seed);
  report?.(control ? "the control lost events, as it must" : "the control lost nothing");
  const tally: Tally = { cycles: 0, events: 0, observations: 0, deaths: {}, violations: [] };
  const until = performance.now() + secondsMax * 1_000;
  let begun = 0;
  let store = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() < until) {
      const isEnough = begun >= cyclesWanted;
      if (isEnough && tally.events >= eventsWanted) break;
      const lives = isEnough ? livesMax : Math.min(livesMax, cyclesWanted - begun);
      begun += lives;
      const found = tally.violations.length;
      await oneStore(seed + store++ * 7_919, random, lives, until, tally);
      const { cycles, events, violations } = tally;
      report?.(`${cycles} kills, ${events} events, ${violations.length} violations`);
      for (const violation of violations.slice(found)) report?.(`VIOLATION ${violation}`);
    }
  };
  await Promise.all(Array.from({ length: storesAtOnce }, worker));
  const { cycles, events, observations, deaths, violations } = tally;
  return { cycles, events, violations, control, detail: { observations, deaths } };
}

/** One store through many lives, and its end. */
async function oneStore(
  seed: number,
  random: () => number,
  lives: number,
  until: number,
  tally: Tally,
): Promise<void> {
  const folder = scratchFolder("kill");
  const history = new History(seed);
  const crowd = new Crowd(history, random, crowdSize);
  try {
    for (let life = 1; life <= lives && performance.now() < until; life++) {
      const how = await oneLife(folder, crowd, random, chooseDeath(random), life);
      tally.cycles++;
      tally.deaths[how] = (tally.deaths[how] ?? 0) + 1;
      if (history.violations.length > 0 || history.acknowledgedEvents > storeEventsMax) break;
    }
    const server = await ServerProcess.start({ folder });
    if (server.serves) {
      await crowd.finish(server.port);
      const { code } = await server.stop();
      if (code !== 0) history.violate(`it stopped with ${code}: ${server.log}`);
    } else history.violate(`it does not start: ${server.log}`);
  } finally {
    tally.events += history.acknowledgedEvents;
    tally.observations += history.observations;
    tally.violations.push(...history.violations.map((each) => `seed ${seed}: ${each}`));
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Death extends Breakage {
  readonly name: string;
  /** Milliseconds under load before it is killed from outside. */
  readonly delayMs: number;
  /** Asked to stop at that time, and killed so many milliseconds later. */
  readonly stopMs?: number;
}

function chooseDeath(random: () => number): Death {
  const between = (low: number, high: number): number => low + Math.floor(random() * (high - low));
  const delayMs = between(20, 500);
  const kind = random();
  if (kind < 0.4) return { name: "random", delayMs };
  if (kind < 0.5) return { name: "random-in-stop", delayMs, stopMs: between(0, 60) };
  const place = failpoints[Math.floor(random() * failpoints.length)] as string;
  const count =
    place.includes("write") || place.includes("answer") ? between(2, 120) : between(0, 40);
  const stopping = place === "during-stop" || place === "before-close";
  return {
    name: place,
    failpoint: `${place}:${place === "during-compaction" ? between(10, 300) : count}`,
    delayMs: stopping ? delayMs : 900,
    ...(stopping && { stopMs: 2_000 }),
  };
}

/** From start to death. Answers what it died of. */
async function oneLife(
  folder: string,
  crowd: Crowd,
  random: () => number,
  death: Death,
  life: number,
): Promise<string> {
  const { history } = crowd;
  const server = await ServerProcess.start({ folder, ...death });
  if (!server.serves) {
    const { signal } = await server.exited;
    // Killed while it started, as asked for: anything else is a refusal.
    if (signal !== "SIGKILL" || death.failpoint === undefined) {
      history.violate(`life ${life} (${death.name}): it does not start: ${server.log}`);
      return "refused";
    }
    return death.name;
  }
  await crowd.attach(server.port);
  const looking =
    life % wholeLogEvery === 0 ? crowd.verifyAll(server.port) : crowd.verify(server.port);
  const patient = random() < 0.8;
  await Promise.race([patient ? looking : undefined, server.exited]);
  await Promise.race([server.exited, new Promise((resolve) => setTimeout(resolve, death.delayMs))]);
  if (death.stopMs !== undefined && server.serves) {
    server.process.kill("SIGTERM");
    const { stopMs } = death;
    await Promise.race([server.exited, new Promise((resolve) => setTimeout(resolve, stopMs))]);
  }
  await server.kill();
  await looking;
  await crowd.detach();
  return death.name;
}

/** The control: a server that answers before it writes must be caught losing events. */
async function controlLoses(seed: number): Promise<boolean> {
  const folder = scratchFolder("kill-control");
  const history = new History(seed);
  const random = seededRandom(seed);
  const crowd = new Crowd(history, random, crowdSize);
  try {
    for (let life = 1; life <= controlLivesMax && history.violations.length === 0; life++) {
      const death = { name: "control", failpoint: "answer-before-write", delayMs: 100 };
      await oneLife(folder, crowd, random, death, life);
    }
    return history.violations.length > 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
