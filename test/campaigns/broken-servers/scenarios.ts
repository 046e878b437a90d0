// What a broken server is put through until somebody notices: the other campaigns in small, with
// their histories and their checks.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../../support/seeded.ts";
import { copyStore, filesOf } from "../../support/store-folder.ts";
import { CuttableDisk } from "../power-cut/disk.ts";
import { Crowd, type CrowdSize } from "../support/crowd.ts";
import { saidOf } from "../support/failpoints.ts";
import { Follower, type Followed } from "../support/follower.ts";
import { History } from "../support/history.ts";
import { batchOf } from "../support/record.ts";
import { scratchFolder, ServerProcess, type Breakage } from "../support/server-process.ts";
import { WireClient } from "../support/wire-client.ts";
import { sharedStreams, sharedTags } from "../support/writers.ts";

const crowdSize: CrowdSize = {
  pipes: 2,
  window: 6,
  appendEventsMax: 200,
  eventBytesMax: 300,
  contenders: 10,
  readers: 3,
};
/** What a life under load must have seen before it may end. */
const liveAppends = 250;
const liveEvents = 2_500;
const livesMax = 6;
/** In equal shares of all bytes. */
const corruptionTrials = 10;
/** And so far from the end of the log: what is lost there leaves no gap that a read could see. */
const bytesFromEnd = [20, 300, 2_000, 6_000, 12_000, 25_000];
const damagedAppendsBefore = 20;
const damagedAppends = 120;
const slowRounds = 4;
/** More than a server keeps ready for a client that does not read, and its windows. */
const slowEvents = 3_000;
/** As often everybody comes again after a failed write, for this many more appends. */
const comebacksMax = 25;
const appendsAfterFailure = 10;
/** Generous: a busy machine is slow, not wrong. Only a broken server takes that long. */
const patienceMs = 60_000;
const drainMsMax = 15_000;
const dataLoss = 15;

/** Runs a server, broken or not, and answers what was found against it. */
type Scenario = (seed: number, breakage: Breakage) => Promise<readonly string[]>;

/** Under load, without any fault from outside. */
async function live(seed: number, breakage: Breakage): Promise<readonly string[]> {
  const history = new History(seed);
  const crowd = new Crowd(history, seededRandom(seed), crowdSize);
  crowd.follows(latecomers(history));
  await inFolder("live", async (folder) => {
    const server = await startOr(history, folder, breakage);
    if (server === undefined) return;
    const { port } = server;
    await crowd.attach(port);
    await soon(async () => {
      await crowd.verify(port);
      const { violations, acknowledgedOps, acknowledgedEvents } = history;
      if (violations.length > 0 || !server.serves) return true;
      return acknowledgedOps >= liveAppends && acknowledgedEvents >= liveEvents;
    });
    await crowd.detach();
    if (history.violations.length === 0) await crowd.finish(port, drainMsMax);
    await server.kill();
  });
  return history.violations;
}

/** They find all of it by its index, in more messages than one. */
function latecomers(history: History): Follower[] {
  const followed: Followed[] = [
    { kind: "stream", name: sharedStreams[1] },
    { kind: "tag", name: sharedTags[1] },
    { kind: "tag", name: "card:1-5" },
  ];
  return followed.map((each) => {
    const follower = new Follower(history, each, `a latecomer to ${each.kind}`);
    follower.late = true;
    follower.batchEventsMax = 3;
    return follower;
  });
}

/**
 * Killed again and again: where it holds still in the middle of something, or after some appends.
 * What it had told by then came to those it told before the kill.
 */
function crash(seed: number, breakage: Breakage): Promise<readonly string[]> {
  return dieOften(seed, breakage, {
    failpoint: (random) => `hold:${2 + Math.floor(random() * 7)}`,
    async live(server, crowd, random) {
      const { history } = crowd;
      const due = history.acknowledgedOps + 30 + Math.floor(random() * 30);
      const enough = soon(() => history.acknowledgedOps >= due || !server.serves);
      await Promise.race([server.says(saidOf.held), enough]);
    },
  });
}

/** Killed again and again, and the disk refuses a write in each life. */
function failing(seed: number, breakage: Breakage): Promise<readonly string[]> {
  return dieOften(seed, breakage, {
    failpoint: (random) => `fail-write:${3 + Math.floor(random() * 20)}`,
    async live(server, crowd) {
      const { history } = crowd;
      await Promise.race([server.says(saidOf.failed), soon(() => !server.serves)]);
      await crowd.roundTrip();
      // The clients that got the error have disconnected. All of them connect again.
      const due = history.acknowledgedOps + appendsAfterFailure;
      for (let i = 0; i < comebacksMax && history.acknowledgedOps < due; i++) {
        await crowd.detach();
        await crowd.attach(server.port);
        await crowd.roundTrip();
      }
    },
  });
}

interface Dying {
  readonly failpoint: (random: () => number) => string;
  /** From when everybody is there until it is time for the kill. */
  readonly live: (server: ServerProcess, crowd: Crowd, random: () => number) => Promise<void>;
}

async function dieOften(
  seed: number,
  breakage: Breakage,
  { failpoint, live: liveOn }: Dying,
): Promise<readonly string[]> {
  const history = new History(seed);
  const random = seededRandom(seed);
  const crowd = new Crowd(history, random, crowdSize);
  await inFolder("crash", async (folder) => {
    for (let life = 1; life <= livesMax; life++) {
      const how = { ...breakage, failpoint: failpoint(random) };
      const server = await startOr(history, folder, how, life);
      if (server === undefined) return;
      // Before anybody writes: what was told in the life before must be there.
      await crowd.verify(server.port);
      if (history.violations.length === 0) {
        await crowd.attach(server.port);
        await liveOn(server, crowd, random);
        await crowd.roundTrip();
      }
      await server.kill();
      await crowd.detach();
      if (history.violations.length > 0) return;
    }
    // Nothing fails any more, and nothing excuses what is left open now.
    const server = await startOr(history, folder, breakage, livesMax);
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
      const server = await startOr(history, `${disk.mountPoint}/data`, breakage, life);
      if (server === undefined) break;
      await crowd.verify(server.port);
      await crowd.attach(server.port);
      const due = history.acknowledgedOps + 20 + Math.floor(random() * 40);
      await soon(() => history.acknowledgedOps >= due || !server.serves);
      server.process.kill("SIGSTOP");
      await pause(5);
      disk.cut();
      await server.kill();
      await crowd.detach();
      disk.unmount();
      disk.mount();
    }
  } finally {
    disk.remove();
  }
  return history.violations;
}

/** One byte of a killed store's files is corrupted at a time: the same, or a word of it, or no start. */
async function corrupted(seed: number, breakage: Breakage): Promise<readonly string[]> {
  const history = new History(seed);
  const random = seededRandom(seed);
  const crowd = new Crowd(history, random, crowdSize);
  await inFolder("corrupted", async (folder) => {
    const first = await startOr(history, folder, {});
    if (first === undefined) return;
    await crowd.attach(first.port);
    await soon(() => history.acknowledgedOps >= damagedAppendsBefore || !first.serves);
    await first.kill();
    await crowd.detach();
    // Most of it stands in the write-ahead log then, and nothing is left unknown.
    const second = await startOr(history, folder, {}, 2);
    if (second === undefined) return;
    await crowd.attach(second.port);
    const due = history.acknowledgedOps + damagedAppends;
    await soon(() => history.acknowledgedOps >= due || !second.serves);
    await crowd.detach();
    await crowd.finish(second.port, drainMsMax);
    await second.kill();
    const files = (await filesOf(folder)).filter(({ path }) => /\.(log|ldb)$/.test(path));
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const places = [
      ...bytesFromEnd.map((fromEnd) => bytes - fromEnd),
      ...Array.from({ length: corruptionTrials }, (_, i) =>
        Math.floor(((i + random()) / corruptionTrials) * bytes),
      ),
    ];
    for (const at of places) {
      if (history.violations.length > 0) return;
      const bits = 1 << Math.floor(random() * 8);
      await bendAndRead(folder, crowd, { files, at, bits }, breakage);
    }
  });
  return history.violations;
}

/** Bits of one byte of the tables and the write-ahead log, counted through all of them. */
interface Bend {
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  readonly at: number;
  readonly bits: number;
}

async function bendAndRead(
  folder: string,
  crowd: Crowd,
  { files, at, bits }: Bend,
  breakage: Breakage,
): Promise<void> {
  const working = `${folder}.corrupted`;
  rmSync(working, { recursive: true, force: true });
  await copyStore(folder, working);
  let rest = at;
  for (const { path, bytes } of files) {
    if (rest >= 0 && rest < bytes) bendByte(join(working, path), rest, bits);
    rest -= bytes;
  }
  const server = await ServerProcess.start({ folder: working, ...breakage });
  if (server.serves) {
    await readCorrupted(server.port, crowd);
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
async function readCorrupted(port: number, crowd: Crowd): Promise<void> {
  const { history } = crowd;
  const client = await WireClient.open(port);
  const walk = crowd.freshWalk("the log of a corrupted store");
  const call = client.stream("Read", Buffer.alloc(0), (message) => {
    const batch = batchOf(message);
    if (batch !== undefined) walk.batch(batch);
  });
  const { status, message } = await call.ended;
  client.close();
  if (status === 0 && walk.head < history.acknowledgedHead) {
    history.violate(`a corrupted store serves ${walk.head} of ${history.acknowledgedHead} events`);
  }
  if (status !== 0 && status !== dataLoss) {
    history.violate(`a corrupted store answers with status ${status}: ${message}`);
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
    follower.checkpointIntervalMs = 60_000;
    const client = await WireClient.open(server.port, 65_535);
    const call = client.stream("Subscribe", follower.request(), (message) => {
      follower.message(message);
    });
    await crowd.attach(server.port);
    for (let i = 0; i < slowRounds && history.violations.length === 0; i++) {
      client.pause();
      const due = history.acknowledgedEvents + slowEvents;
      await soon(() => history.acknowledgedEvents >= due || !server.serves);
      const head = history.acknowledgedHead;
      client.resume();
      await soon(() => follower.after >= head || history.violations.length > 0);
    }
    await crowd.detach();
    if (history.violations.length === 0) {
      await crowd.finish(server.port, drainMsMax);
      await soon(() => follower.hasAll(crowd.walk));
      follower.end(crowd.walk);
    }
    call.cancel();
    client.close();
    await server.kill();
  });
  return history.violations;
}

export const scenarios = { live, crash, failing, power, corrupted, slow } satisfies Readonly<
  Record<string, Scenario>
>;
export type ScenarioName = keyof typeof scenarios;

async function startOr(
  history: History,
  folder: string,
  breakage: Breakage,
  life = 1,
): Promise<ServerProcess | undefined> {
  const server = await ServerProcess.start({ folder, ...breakage });
  if (server.serves) return server;
  // Broken or not, it must make a new store: else it is no server, and nothing was caught.
  if (life === 1) throw new Error(`it never started: ${server.log}`);
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

/** Waits until it is so, at most as long as patience lasts. */
async function soon(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + patienceMs;
  while (!(await isSo()) && performance.now() < until) await pause(5);
}
