// What a broken server is put through until somebody notices: the other campaigns in small, with
// their histories and their checks.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../../support/seeded.ts";
import { copyStore, filesOf } from "../../support/store-folder.ts";
import { CuttableDisk } from "../power-cut/disk.ts";
import { Crowd, type CrowdSize } from "../support/crowd.ts";
import { Follower } from "../support/follower.ts";
import { History } from "../support/history.ts";
import { batchOf } from "../support/record.ts";
import { scratchFolder, ServerProcess, type Breakage } from "../support/server-process.ts";
import { WireClient } from "../support/wire-client.ts";

const crowdSize: CrowdSize = {
  pipes: 2,
  window: 6,
  appendEventsMax: 200,
  eventBytesMax: 300,
  contenders: 10,
  readers: 3,
};
const liveMs = 1_500;
const livesMax = 12;
const bentTrialsMax = 16;
const drainMsMax = 4_000;
const dataLoss = 15;

/** Runs a server, broken or not, and answers what was found against it. */
type Scenario = (seed: number, breakage: Breakage) => Promise<readonly string[]>;

/** Under load, without any fault from outside. */
async function live(seed: number, breakage: Breakage): Promise<readonly string[]> {
  const history = new History(seed);
  const crowd = new Crowd(history, seededRandom(seed), crowdSize);
  await inFolder("live", async (folder) => {
    const server = await startOr(history, folder, breakage);
    if (server === undefined) return;
    const { port } = server;
    await crowd.attach(port);
    const until = performance.now() + liveMs;
    while (performance.now() < until && history.violations.length === 0) {
      await pause(100);
      await crowd.verify(port);
    }
    await crowd.detach();
    if (history.violations.length === 0) await crowd.finish(port, drainMsMax);
    await server.kill();
  });
  return history.violations;
}

/** Killed again and again. */
function crash(seed: number, breakage: Breakage): Promise<readonly string[]> {
  return dieOften(seed, () => breakage);
}

/** Killed again and again, and the disk refuses a write in each life. */
function failing(seed: number, breakage: Breakage): Promise<readonly string[]> {
  return dieOften(seed, (random) => {
    return { ...breakage, failpoint: `fail-write:${3 + Math.floor(random() * 20)}` };
  });
}

async function dieOften(
  seed: number,
  breakageOf: (random: () => number) => Breakage,
): Promise<readonly string[]> {
  const history = new History(seed);
  const random = seededRandom(seed);
  const crowd = new Crowd(history, random, crowdSize);
  await inFolder("crash", async (folder) => {
    for (let life = 1; life <= livesMax && history.violations.length === 0; life++) {
      const server = await startOr(history, folder, breakageOf(random));
      if (server === undefined) return;
      const looking = crowd.verify(server.port);
      await crowd.attach(server.port);
      await Promise.race([looking, server.exited]);
      await pause(60 + random() * 200);
      await server.kill();
      await looking;
      await crowd.detach();
    }
    if (history.violations.length > 0) return;
    // The disk is well again: nothing excuses what is left open now.
    const { failpoint: _, ...last } = breakageOf(random);
    const server = await startOr(history, folder, last);
    if (server === undefined) return;
    await crowd.finish(server.port, drainMsMax);
    await server.kill();
  });
  return history.violations;
}

/** Power cuts: see the campaign of that name for why the server is stopped first. */
async function power(seed: number, breakage: Breakage): Promise<readonly string[]> {
  const history = new History(seed);
  const random = seededRandom(seed);
  const crowd = new Crowd(history, random, crowdSize);
  const disk = new CuttableDisk("ext4");
  try {
    for (let life = 1; life <= livesMax && history.violations.length === 0; life++) {
      const server = await startOr(history, `${disk.mountPoint}/data`, breakage);
      if (server === undefined) break;
      const looking = crowd.verify(server.port);
      await crowd.attach(server.port);
      await Promise.race([looking, server.exited]);
      await pause(60 + random() * 100);
      server.process.kill("SIGSTOP");
      await pause(5);
      disk.cut();
      await server.kill();
      await looking;
      await crowd.detach();
      disk.unmount();
      disk.mount();
    }
  } finally {
    disk.remove();
  }
  return history.violations;
}

/** One byte of a killed store's files is bent at a time: the same, or a word of it, or no start. */
async function bent(seed: number, breakage: Breakage): Promise<readonly string[]> {
  const history = new History(seed);
  const random = seededRandom(seed);
  const crowd = new Crowd(history, random, { ...crowdSize, eventBytesMax: 3_000 });
  await inFolder("bent", async (folder) => {
    for (let life = 1; life <= 2; life++) {
      const server = await startOr(history, folder, {});
      if (server === undefined) return;
      await crowd.attach(server.port);
      await pause(250);
      await server.kill();
      await crowd.detach();
    }
    // What the last kill left unknown is still to be settled.
    const settled = await startOr(history, folder, {});
    if (settled === undefined) return;
    await crowd.finish(settled.port, drainMsMax);
    await settled.kill();
    for (let trial = 1; trial <= bentTrialsMax && history.violations.length === 0; trial++) {
      await bendAndRead(folder, crowd, random, breakage);
    }
  });
  return history.violations;
}

async function bendAndRead(
  folder: string,
  crowd: Crowd,
  random: () => number,
  breakage: Breakage,
): Promise<void> {
  const working = `${folder}.bent`;
  rmSync(working, { recursive: true, force: true });
  await copyStore(folder, working);
  const files = (await filesOf(working)).filter(({ path }) => /\.(log|ldb)$/.test(path));
  const bytesMax = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let at = Math.floor(random() * bytesMax);
  for (const { path, bytes } of files) {
    if (at >= 0 && at < bytes) bendByte(join(working, path), at, 1 << Math.floor(random() * 8));
    at -= bytes;
  }
  const server = await ServerProcess.start({ folder: working, ...breakage });
  if (server.serves) {
    await readBent(server.port, crowd);
    await server.kill();
  }
  rmSync(working, { recursive: true, force: true });
}

function bendByte(path: string, at: number, bits: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] as number) ^ bits;
  writeFileSync(path, bytes);
}

/** Everything must be there as it was, up to where the server says DATA_LOSS. */
async function readBent(port: number, crowd: Crowd): Promise<void> {
  const { history } = crowd;
  const client = await WireClient.open(port);
  const walk = crowd.freshWalk("the log of a bent store");
  const call = client.stream("Read", Buffer.alloc(0), (message) => {
    const batch = batchOf(message);
    if (batch !== undefined) walk.batch(batch);
  });
  const { status, message } = await call.ended;
  client.close();
  if (status === 0 && walk.head < history.acknowledgedHead) {
    history.violate(`a bent store serves ${walk.head} of ${history.acknowledgedHead} events`);
  }
  if (status !== 0 && status !== dataLoss) {
    history.violate(`a bent store answers with status ${status}: ${message}`);
  }
}

/** A subscriber stops reading while much is appended, and goes on. */
async function slow(seed: number, breakage: Breakage): Promise<readonly string[]> {
  const history = new History(seed);
  const crowd = new Crowd(history, seededRandom(seed), { ...crowdSize, eventBytesMax: 2_000 });
  await inFolder("slow", async (folder) => {
    const server = await startOr(history, folder, breakage);
    if (server === undefined) return;
    const follower = new Follower(history, { kind: "all" }, "a slow subscriber");
    const client = await WireClient.open(server.port, 65_535);
    const call = client.stream("Subscribe", follower.request(60_000), (message) => {
      follower.message(message);
    });
    await crowd.attach(server.port);
    for (let i = 0; i < 4 && history.violations.length === 0; i++) {
      client.pause();
      await pause(400);
      client.resume();
      await pause(100);
    }
    await crowd.detach();
    if (history.violations.length === 0) {
      await crowd.finish(server.port, drainMsMax);
      const until = performance.now() + 10_000;
      while (!follower.hasAll(crowd.walk) && performance.now() < until) await pause(20);
      follower.end(crowd.walk);
    }
    call.cancel();
    client.close();
    await server.kill();
  });
  return history.violations;
}

export const scenarios = { live, crash, failing, power, bent, slow } satisfies Readonly<
  Record<string, Scenario>
>;
export type ScenarioName = keyof typeof scenarios;

async function startOr(
  history: History,
  folder: string,
  breakage: Breakage,
): Promise<ServerProcess | undefined> {
  const server = await ServerProcess.start({ folder, ...breakage });
  if (server.serves) return server;
  // Broken or not, it must make a new store: else it is no server, and nothing was caught.
  if (history.acknowledgedHead === 0) throw new Error(`it never started: ${server.log}`);
  history.violate(`it does not start: ${server.log.slice(-600)}`);
  return undefined;
}

async function inFolder(name: string, run: (folder: string) => Promise<void>): Promise<void> {
  const folder = scratchFolder(name);
  try {
    await run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
