// The subscriptions campaign: very many subscribers on one server, which is written to, killed and
// started again, while they are cancelled in storms, stand still, or never read at all. Nothing may
// be missed, come twice or out of order, and what nobody reads may not fill the server's memory.
import { readFileSync, rmSync } from "node:fs";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { seededRandom } from "../../support/seeded.ts";
import { mix } from "../support/content.ts";
import { Crowd, type CrowdSize } from "../support/crowd.ts";
import { Follower, type Followed } from "../support/follower.ts";
import { History } from "../support/history.ts";
import { scratchFolder, ServerProcess, warmUp } from "../support/server-process.ts";
import { sharedStreams, sharedTags } from "../support/writers.ts";
import { WireClient } from "../support/wire-client.ts";
import { StoppedClient } from "./stopped-client.ts";

const nonReaders = 40;
const historyDrainMs = 60_000;

export interface SubscriptionsOptions extends CampaignOptions {
  /** At a time, on one server. */
  readonly subscribers?: number;
  readonly deliveriesMax?: number;
  /** Of one store: then another is begun. */
  readonly storeEventsMax?: number;
}

interface Tally {
  cycles: number;
  events: number;
  deliveries: number;
  cancelled: number;
  kills: number;
  rssBytesMax: number;
  readonly violations: string[];
}

export async function subscriptions(options: SubscriptionsOptions): Promise<CampaignResult> {
  const { seed, secondsMax = Infinity, report } = options;
  const { subscribers = 10_000, deliveriesMax = 10_000_000, storeEventsMax = 20_000 } = options;
  await warmUp();
  const tally: Tally = {
    cycles: 0,
    events: 0,
    deliveries: 0,
    cancelled: 0,
    kills: 0,
    rssBytesMax: 0,
    violations: [],
  };
  const random = seededRandom(seed);
  const until = performance.now() + secondsMax * 1_000;
  for (let store = 0; tally.deliveries < deliveriesMax && performance.now() < until; store++) {
    const left = deliveriesMax - tally.deliveries;
    const limits = { subscribers, storeEventsMax, deliveriesMax: left, until };
    await oneStore(seed + store * 7_919, random, limits, tally, report);
    const { deliveries, kills, cancelled, rssBytesMax, violations } = tally;
    report?.(
      `${deliveries} deliveries, ${kills} kills, ${cancelled} cancelled, ` +
        `${Math.round(rssBytesMax / 2 ** 20)} MiB, ${violations.length} violations`,
    );
  }
  const { cycles, events, violations, ...detail } = tally;
  return { cycles, events, violations, control: true, detail: { subscribers, ...detail } };
}

interface Limits {
  readonly subscribers: number;
  readonly storeEventsMax: number;
  readonly deliveriesMax: number;
  readonly until: number;
}

async function oneStore(
  seed: number,
  random: () => number,
  limits: Limits,
  tally: Tally,
  report: CampaignOptions["report"],
): Promise<void> {
  const { subscribers, storeEventsMax, deliveriesMax, until } = limits;
  const folder = scratchFolder("subscriptions");
  const history = new History(seed);
  const size: CrowdSize = {
    pipes: 2,
    window: 4,
    appendEventsMax: 60,
    eventBytesMax: 200,
    contenders: 2,
    readers: 0,
    followersPerConnection: Math.ceil(subscribers / 25),
  };
  const crowd = new Crowd(history, random, size);
  crowd.follows(swarm(history, subscribers - crowd.followers.length, random));
  const delivered = (): number => crowd.followers.reduce((sum, each) => sum + each.delivered, 0);
  const stopped = new StoppedClient();
  try {
    let server = await ServerProcess.start({ folder });
    while (
      history.violations.length === 0 &&
      history.acknowledgedEvents < storeEventsMax &&
      delivered() < deliveriesMax &&
      performance.now() < until
    ) {
      if (!server.serves) {
        history.violate(`it does not start: ${server.log}`);
        break;
      }
      await oneRound(server, crowd, random, stopped, tally);
      report?.(
        `${tally.deliveries + delivered()} deliveries of ${history.acknowledgedEvents} events`,
      );
      tally.cycles++;
      // Killed in the middle of it, subscribers catching up or live.
      await server.kill();
      tally.kills++;
      await crowd.detach();
      server = await ServerProcess.start({ folder });
    }
    if (server.serves) await crowd.finish(server.port, historyDrainMs);
    for (const found of await stopped.end()) history.violate(`a stopped client: ${found}`);
    await server.kill();
  } finally {
    stopped.kill();
    tally.events += history.acknowledgedEvents;
    tally.deliveries += delivered();
    tally.violations.push(...history.violations.map((each) => `seed ${seed}: ${each}`));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One life of the server under load and disturbances. */
async function oneRound(
  server: ServerProcess,
  crowd: Crowd,
  random: () => number,
  stopped: StoppedClient,
  tally: Tally,
): Promise<void> {
  const silent = await nobodyReads(server.port);
  await crowd.attach(server.port);
  await stopped.attach(server.port);
  const looking = crowd.verify(server.port);
  const rounds = 2 + Math.floor(random() * 4);
  for (let i = 0; i < rounds; i++) {
    const kind = random();
    if (kind < 0.4) tally.cancelled += crowd.storm(() => random() < 0.3);
    else if (kind < 0.7) await crowd.standStill(() => random() < 0.3, 100 + random() * 500);
    else await stopped.standStill(200 + random() * 300);
    await new Promise((resolve) => setTimeout(resolve, random() * 400));
    tally.rssBytesMax = Math.max(tally.rssBytesMax, rssBytes(server.process.pid ?? 0));
  }
  await looking;
  for (const client of silent) client.close();
}

/** Clients that ask for everything, over and over, and never take anything from their sockets. */
async function nobodyReads(port: number): Promise<WireClient[]> {
  const clients: WireClient[] = [];
  for (let i = 0; i < nonReaders / 10; i++) {
    const client = await WireClient.open(port, 65_535).catch(() => undefined);
    if (client === undefined) break;
    client.pause();
    for (let n = 0; n < 10; n++) {
      client.stream("Subscribe", Buffer.alloc(0), () => {});
      client.stream("Read", Buffer.alloc(0), () => {});
    }
    clients.push(client);
  }
  return clients;
}

/** One in a hundred follows everything, the others a stream or a tag; some from the middle on. */
function swarm(history: History, count: number, random: () => number): Follower[] {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  return Array.from({ length: count }, (_, i) => {
    const kind = random();
    const number = mix(Math.floor(random() * 20), 0) % 1_000;
    const account = `account-${1 + Math.floor(random() * 2)}-${number}`;
    const followed: Followed =
      i % 100 === 0
        ? { kind: "all" }
        : kind < 0.6
          ? { kind: "stream", name: account }
          : kind < 0.7
            ? { kind: "stream", name: pick(sharedStreams) }
            : kind < 0.8
              ? { kind: "tag", name: pick(sharedTags) }
              : { kind: "tag", name: `card:1-${Math.floor(random() * 8)}` };
    const follower = new Follower(history, followed, `subscriber ${i}`);
    // Ten thousand signs of life ten times a second would be all that a server does.
    follower.checkpointIntervalMs = i % 50 === 0 ? 500 : 15_000;
    if (random() < 0.2) follower.batchEventsMax = 1 + Math.floor(random() * 5);
    return follower;
  });
}

function rssBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1_024;
  } catch {
    return 0;
  }
}
