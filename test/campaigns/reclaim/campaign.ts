// Kills while space is given back: streams grow and are truncated, the reclaimer is at work all the
// time, and the server is killed over and over. Every folder that is left must be sound, and every
// stream hold what it was promised: what is removed, and nothing else, is reduced to its place.
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { StoreRpc } from "../../../src/client/store/context.ts";
import { clientOf } from "../../../src/client/rpc/service-client.ts";
import { Connection } from "../../../src/client/rpc/connection.ts";
import type { RecordedEvent } from "../../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import { verifyFolder } from "../../../src/storage/leveldb/offline/verify-folder.ts";
import { seededRandom } from "../../support/seeded.ts";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { failpoints } from "../support/failpoints.ts";
import { scratchFolder, ServerProcess, warmUp, type Breakage } from "../support/server-process.ts";

const cyclesDefault = 500;
const livesMax = 12;
const controlLivesMax = 2;
const streamCount = 6;
const appendEventsMax = 12;
const flags = [
  "--free-space-reserve-bytes",
  "0",
  "--reclaim-after-seconds",
  "1",
  "--reclaim-bytes-per-second",
  "1000000",
] as const;

/** What is known of a stream from answers. */
interface Stream {
  readonly name: string;
  readonly number: number;
  version: number;
  /** Of what may have been stored, the last one. */
  versionMax: number;
  /** Truncated before this version, for certain; and perhaps, by a call without an answer. */
  truncated: number;
  truncatedMax: number;
}

export interface ReclaimOptions extends CampaignOptions {
  readonly cyclesMax?: number;
}

interface Tally {
  cycles: number;
  events: number;
  removedRecords: number;
  readonly violations: string[];
}

export async function reclaim(options: ReclaimOptions): Promise<CampaignResult> {
  const { seed, secondsMax = Infinity, cyclesMax = cyclesDefault, report } = options;
  const random = seededRandom(seed);
  await warmUp({ failpoint: "none" });
  const broken: Tally = { cycles: 0, events: 0, removedRecords: 0, violations: [] };
  await oneStore(random, controlLivesMax, broken, { mutant: "reclaims an event too many" });
  const control = broken.violations.length > 0;
  report?.(control ? "the control was found out" : "the control passed for sound");
  const tally: Tally = { cycles: 0, events: 0, removedRecords: 0, violations: [] };
  const until = performance.now() + secondsMax * 1_000;
  while (tally.cycles < cyclesMax && performance.now() < until) {
    await oneStore(random, Math.min(livesMax, cyclesMax - tally.cycles), tally);
    const { cycles, events, removedRecords, violations } = tally;
    report?.(
      `${cycles} kills, ${events} events, ${removedRecords} removed records, ${violations.length} violations`,
    );
    if (violations.length > 0) break;
  }
  const { cycles, events, removedRecords, violations } = tally;
  return { cycles, events, violations, control, detail: { removedRecords } };
}

async function oneStore(
  random: () => number,
  lives: number,
  tally: Tally,
  breakage?: Breakage,
): Promise<void> {
  const folder = scratchFolder("reclaim");
  const streams = Array.from({ length: streamCount }, (_, number): Stream => {
    const nothing = { version: 0, versionMax: 0, truncated: 0, truncatedMax: 0 };
    return { name: `s-${number}`, number, ...nothing };
  });
  const found = (violation: string): void => void tally.violations.push(violation);
  let removedRecords = 0;
  try {
    for (let life = 1; life <= lives && tally.violations.length === 0; life++) {
      await oneLife(folder, streams, random, breakage ?? chooseBreakage(random), found);
      tally.cycles++;
      const { findings } = await verifyFolder(folder);
      for (const finding of findings) found(`life ${life}: ${finding}`);
      await look(folder, streams, found, breakage);
    }
    removedRecords = await look(folder, streams, found, { ...breakage, atRest: true });
    for (const finding of (await verifyFolder(folder)).findings) found(`at rest: ${finding}`);
  } finally {
    tally.removedRecords += removedRecords;
    for (const { version } of streams) tally.events += version;
    rmSync(folder, { recursive: true, force: true });
  }
}

function chooseBreakage(random: () => number): Breakage {
  if (random() < 0.4) return {};
  const places = failpoints.filter((each) => !/stop|close|start|open/.test(each));
  const place = places[Math.floor(random() * places.length)] as string;
  // In milliseconds: once the store exists, and while it is under load.
  const count = place === "during-compaction" ? 500 + random() * 2_500 : 20 + random() * 700;
  return { failpoint: `${place}:${Math.floor(count)}` };
}

/** Under load until it is killed, by itself or from outside. */
async function oneLife(
  folder: string,
  streams: readonly Stream[],
  random: () => number,
  breakage: Breakage,
  found: (violation: string) => void,
): Promise<void> {
  const server = await ServerProcess.start({ folder, flags, ...breakage });
  if (!server.serves) {
    const { signal } = await server.exited;
    if (signal !== "SIGKILL") found(`it does not start: ${server.log}`);
    return;
  }
  const connection = new Connection({ address: `127.0.0.1:${server.port}` });
  const overdue = setTimeout(() => void server.kill(), 1_500 + random() * 3_000);
  await Promise.all(streams.map((stream) => work(connection, stream, random, found)));
  clearTimeout(overdue);
  await server.kill();
  connection.close();
}

/** Appends and truncates until a call fails, as all do once the server is dead. */
async function work(
  connection: Connection,
  stream: Stream,
  random: () => number,
  found: (violation: string) => void,
): Promise<void> {
  const store = clientOf(EventStoreService, connection);
  const lifecycles = clientOf(StreamService, connection);
  const { name } = stream;
  for (;;) {
    try {
      // What nobody knows is sent again first, with the same ids.
      const fresh = stream.versionMax === stream.version;
      const last = fresh
        ? stream.version + 1 + Math.floor(random() * appendEventsMax)
        : stream.versionMax;
      stream.versionMax = last;
      const events = [];
      for (let version = stream.version + 1; version <= last; version++) {
        events.push(eventOf(stream, version));
      }
      await store.append({ stream: name, events }, { timeoutMs: 20_000 });
      stream.version = last;
      if (random() < 0.7) continue;
      const truncateBefore = Math.max(1, stream.version - Math.floor(random() * 20));
      if (truncateBefore <= stream.truncatedMax) continue;
      stream.truncatedMax = truncateBefore;
      const policy = { truncateBefore: BigInt(truncateBefore) };
      await lifecycles.updateStream({ stream: name, policy }, { timeoutMs: 20_000 });
      stream.truncated = truncateBefore;
    } catch (error) {
      const { reason } = error as { reason?: unknown };
      if (reason === "EVENT_ID_CONFLICT" || reason === "CORRUPTION" || reason === "INTERNAL") {
        found(`${name}: ${(error as Error).message}`);
      }
      return;
    }
  }
}

function eventOf({ name, number }: Stream, version: number) {
  const [a, b] = [number.toString(16).padStart(2, "0"), version.toString(16).padStart(12, "0")];
  const id = `0190b000-0000-7000-80${a}-${b}`;
  return { id, type: "Grown", payload: { case: "data", value: dataOf(name, version) } as const };
}

function dataOf(name: string, version: number): Uint8Array {
  return Buffer.from(`${name} at ${version} `.repeat(20 + ((version * 7) % 60)));
}

interface Looking extends Breakage {
  /** All that is removed was reclaimed before. */
  readonly atRest?: boolean;
}

/** With the removed ones. */
async function eventsOf(store: StoreRpc, { name }: Stream): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  const selection = { case: "stream", value: name } as const;
  for await (const { message } of store.read({ selection, withRemoved: true })) {
    if (message.case === "batch") events.push(...message.value.events);
  }
  return events;
}

/** Reads every stream of an idle server with its removed events. Returns the number of removed records. */
async function look(
  folder: string,
  streams: readonly Stream[],
  found: (violation: string) => void,
  { atRest, ...breakage }: Looking = {},
): Promise<number> {
  const server = await ServerProcess.start({ folder, flags, ...breakage });
  if (!server.serves) {
    found(`it does not start: ${server.log}`);
    return 0;
  }
  const connection = new Connection({ address: `127.0.0.1:${server.port}` });
  const store = clientOf(EventStoreService, connection);
  // What is seen twice to be removed is reclaimed in the round in which it is.
  const isAtRest = async (): Promise<boolean> => {
    const { reclaiming } = await store.getInfo({});
    return (reclaiming?.rounds ?? 0n) >= 3n;
  };
  if (atRest === true) while (!(await isAtRest())) await sleep(100);
  let removedRecords = 0;
  for (const stream of streams) {
    const events = await eventsOf(store, stream).catch((error: Error) => {
      found(`${stream.name} cannot be read: ${error.message}`);
    });
    if (events === undefined) continue;
    for (const fault of faultsIn(stream, events)) found(`${stream.name}: ${fault}`);
    const gone = events.filter(({ removed }) => removed !== undefined);
    const bare = gone.filter(({ removed }) => removed?.contentSha256.length === 32);
    removedRecords += bare.length;
    if (atRest === true && bare.length < gone.length) {
      found(`${stream.name}: ${gone.length} are removed, of ${bare.length} the space is back`);
    }
    stream.version = events.length;
    stream.versionMax = events.length;
    const left = events.findIndex(({ removed }) => removed === undefined);
    stream.truncated = left < 0 ? stream.truncatedMax : Math.max(stream.truncated, left + 1);
  }
  connection.close();
  const { code } = await server.stop();
  if (code !== 0) found(`it stopped with ${code}: ${server.log}`);
  return removedRecords;
}

function* faultsIn(stream: Stream, events: readonly RecordedEvent[]): Generator<string> {
  const { name, version, versionMax, truncated, truncatedMax } = stream;
  if (events.length < version || events.length > versionMax) {
    yield `${events.length} events; ${version} were acknowledged, ${versionMax} sent`;
  }
  for (const [i, event] of events.entries()) {
    const at = i + 1;
    if (Number(event.version) !== at) yield `version ${event.version} in the place of ${at}`;
    if (event.removed === undefined) {
      if (at < truncated) yield `version ${at} is back: truncated before ${truncated}`;
      if (Buffer.compare(event.data, dataOf(name, at)) !== 0) yield `version ${at} is corrupted`;
    } else {
      if (at >= truncatedMax) yield `version ${at} is gone: truncated before ${truncatedMax}`;
      if (event.data.length > 0) yield `version ${at} is removed, and has its payload`;
    }
  }
}
