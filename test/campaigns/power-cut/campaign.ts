// The power-cut campaign: the file system under a busy server is shut down without flushing, the
// server killed, the disk mounted again and the server started again. What was acknowledged had
// been synced, so it is all there. A server that never syncs is the control: it must lose
// something.
//
// The server is stopped (SIGSTOP) right before the cut. Without power nobody runs on; but a thread
// that waits in fdatasync while ext4 or XFS are shut down is often told that all is well, and the
// data is gone: in 16 and 11 of 60 cuts under a loop of nothing but write and fdatasync, in none of
// 60 on ext4 where it was stopped first. That is the tool's fault: power cuts tell nobody anything.
import { existsSync, readFileSync } from "node:fs";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { seededRandom } from "../../support/seeded.ts";
import { Crowd, type CrowdSize } from "../support/crowd.ts";
import { History } from "../support/history.ts";
import { ServerProcess, warmUp } from "../support/server-process.ts";
import { cannotCut, CuttableDisk, fileSystems, type FileSystem } from "./disk.ts";

const cyclesDefault = 1_000;
const livesMax = 40;
const storeEventsMax = 100_000;
const wholeLogEvery = 10;
const controlLivesMax = 20;
const flags = ["--free-space-reserve-bytes", String(48 * 1024 * 1024)];
const crowdSize: CrowdSize = {
  pipes: 2,
  window: 6,
  appendEventsMax: 200,
  eventBytesMax: 400,
  contenders: 4,
  readers: 1,
};

export interface PowerCutOptions extends CampaignOptions {
  readonly cyclesMax?: number;
  /** Absent: all that can be mounted here. */
  readonly types?: readonly FileSystem[];
}

interface Tally {
  cycles: number;
  events: number;
  readonly cuts: Record<string, number>;
  readonly violations: string[];
}

export async function powerCut(options: PowerCutOptions): Promise<CampaignResult> {
  const { seed, secondsMax = Infinity, cyclesMax = cyclesDefault, report } = options;
  const types = options.types ?? fileSystems.filter((type) => cannotCut(type) === undefined);
  if (types.length === 0) throw new Error(cannotCut(fileSystems[0]) ?? "no file system");
  const random = seededRandom(seed);
  await warmUp({ failpoint: "none" });
  const lost: Record<string, boolean> = {};
  for (const type of types) lost[type] = await controlLoses(type, seed);
  report?.(`the control lost events: ${JSON.stringify(lost)}`);
  const tally: Tally = { cycles: 0, events: 0, cuts: {}, violations: [] };
  const until = performance.now() + secondsMax * 1_000;
  for (let store = 0; tally.cycles < cyclesMax && performance.now() < until; store++) {
    const type = types[store % types.length] as FileSystem;
    const lives = Math.min(livesMax, Math.ceil((cyclesMax - tally.cycles) / types.length));
    await oneStore(type, seed + store * 7_919, random, { lives, until }, tally);
    report?.(`${tally.cycles} cuts, ${tally.events} events, ${tally.violations.length} violations`);
  }
  const { cycles, events, cuts, violations } = tally;
  const control = Object.values(lost).every(Boolean);
  return { cycles, events, violations, control, detail: { cuts } };
}

async function oneStore(
  type: FileSystem,
  seed: number,
  random: () => number,
  { lives, until }: { readonly lives: number; readonly until: number },
  tally: Tally,
): Promise<void> {
  const disk = new CuttableDisk(type);
  const history = new History(seed);
  const crowd = new Crowd(history, random, crowdSize);
  try {
    for (let life = 1; life <= lives && performance.now() < until; life++) {
      await oneLife(disk, crowd, random, life);
      tally.cycles++;
      tally.cuts[type] = (tally.cuts[type] ?? 0) + 1;
      if (history.violations.length > 0 || history.acknowledgedEvents > storeEventsMax) break;
    }
    const server = await ServerProcess.start({ folder: folderOn(disk), flags });
    if (server.serves) {
      await crowd.finish(server.port);
      const { code } = await server.stop();
      if (code !== 0) history.violate(`it stopped with ${code}: ${server.log}`);
    } else history.violate(`it does not start: ${server.log}`);
  } finally {
    disk.remove();
    tally.events += history.acknowledgedEvents;
    tally.violations.push(...history.violations.map((each) => `${type}, seed ${seed}: ${each}`));
  }
}

function folderOn(disk: CuttableDisk): string {
  return `${disk.mountPoint}/data`;
}

/** From start to power cut, and the disk mounted again. */
async function oneLife(
  disk: CuttableDisk,
  crowd: Crowd,
  random: () => number,
  life: number,
  failpoint?: string,
): Promise<void> {
  const { history } = crowd;
  const folder = folderOn(disk);
  let pid = 0;
  const spawned = (given: number): void => void (pid = given);
  const options = { folder, flags, spawned, ...(failpoint && { failpoint }) };
  const starting = ServerProcess.start(options);
  // Some cuts come while the server starts: the first one while it makes its store.
  const early = failpoint === undefined && random() < 0.12;
  const cutMs = early ? 40 + random() * 200 : 10 + random() * 300;
  if (early) {
    await pause(cutMs);
    await freeze(pid);
    disk.cut();
    process.kill(pid, "SIGKILL");
  }
  const server = await starting;
  if (!server.serves && !early) {
    history.violate(`life ${life}: it does not start: ${server.log}`);
  } else if (server.serves && !early) {
    await crowd.attach(server.port);
    const { port } = server;
    const looking = life % wholeLogEvery === 0 ? crowd.verifyAll(port) : crowd.verify(port);
    if (random() < 0.8) await Promise.race([looking, server.exited]);
    await Promise.race([server.exited, pause(cutMs)]);
    await freeze(pid);
    disk.cut();
    await server.kill();
    await looking;
    await crowd.detach();
  }
  await server.kill();
  disk.unmount();
  disk.mount();
}

/** A server that never syncs must be caught: or the cut cuts nothing. */
async function controlLoses(type: FileSystem, seed: number): Promise<boolean> {
  const disk = new CuttableDisk(type);
  const history = new History(seed);
  const random = seededRandom(seed);
  const crowd = new Crowd(history, random, crowdSize);
  try {
    for (let life = 1; life <= controlLivesMax && history.violations.length === 0; life++) {
      await oneLife(disk, crowd, random, life, "never-sync");
    }
    return history.violations.length > 0;
  } finally {
    disk.remove();
  }
}

/** Nothing it has not said by now will ever be said. */
async function freeze(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  for (;;) {
    const stat = existsSync(`/proc/${pid}`) ? readFileSync(`/proc/${pid}/stat`, "latin1") : ") X ";
    if (/\) [TZX] /.test(stat)) return;
    await pause(1);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
