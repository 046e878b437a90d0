// The follow campaign: a leader under load and its follower are killed at random, over and over. The
// follower is an exact prefix of its leader at every death of either, resumes by itself, and in the
// end has all that was acknowledged. Promoted, it serves the whole history, and a copy of it refuses
// the old leader.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { FollowerPhase } from "../../../src/gen/annals/v1/info_pb.js";
import { hashOf, openChunk } from "../../../src/storage/leveldb/format/chunk.ts";
import { chunkKey } from "../../../src/storage/leveldb/format/keys.ts";
import { openView } from "../../../src/storage/leveldb/offline/view.ts";
import { verifyFolder } from "../../../src/storage/leveldb/offline/verify-folder.ts";
import { run } from "../../cli/captured-terminal.ts";
import { freePort } from "../../cli/running-server.ts";
import { seededRandom } from "../../support/seeded.ts";
import { clientsOf, copiedIn, type Clients } from "../../support/varied-history.ts";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { Crowd, type CrowdSize } from "../support/crowd.ts";
import { History } from "../support/history.ts";
import { scratchFolder, ServerProcess, warmUp } from "../support/server-process.ts";

const cyclesDefault = 1_000;
const livesMax = 25;
const catchUpMsMax = 120_000;
const crowdSize: CrowdSize = {
  pipes: 1,
  window: 6,
  appendEventsMax: 300,
  eventBytesMax: 120,
  contenders: 2,
  readers: 1,
};

export interface FollowOptions extends CampaignOptions {
  readonly cyclesMax?: number;
}

interface Tally {
  cycles: number;
  events: number;
  compared: number;
  behind: number;
  promotions: number;
  forksSeen: number;
  readonly deaths: Record<string, number>;
  readonly violations: string[];
}

export async function follow(options: FollowOptions): Promise<CampaignResult> {
  const { seed, secondsMax = Infinity, cyclesMax = cyclesDefault, report } = options;
  const random = seededRandom(seed);
  await warmUp();
  const counts = { cycles: 0, events: 0, compared: 0, behind: 0, promotions: 0, forksSeen: 0 };
  const tally: Tally = { ...counts, deaths: {}, violations: [] };
  const until = performance.now() + secondsMax * 1_000;
  for (let store = 0; tally.cycles < cyclesMax && performance.now() < until; store++) {
    const lives = Math.min(livesMax, cyclesMax - tally.cycles);
    const one = new OneStore(seed + store * 7_919, random, tally);
    await one.live(lives, until);
    report?.(
      `${tally.cycles} kills, ${tally.events} events, ${tally.violations.length} violations`,
    );
  }
  const { cycles, events, violations, promotions, forksSeen, ...detail } = tally;
  // The old leader went on after each promotion: a comparison that does not see it sees nothing.
  const control = promotions > 0 && forksSeen === promotions;
  return { cycles, events, violations, control, detail: { promotions, ...detail } };
}

class OneStore {
  private readonly folder = scratchFolder("follow");
  private readonly history: History;
  private readonly crowd: Crowd;
  private readonly seed: number;
  private readonly random: () => number;
  private readonly tally: Tally;
  private leader: ServerProcess | undefined;
  private follower: ServerProcess | undefined;
  private leaderPort = 0;
  private followerPort = 0;

  constructor(seed: number, random: () => number, tally: Tally) {
    this.seed = seed;
    this.random = random;
    this.tally = tally;
    this.history = new History(seed);
    this.crowd = new Crowd(this.history, random, crowdSize);
  }

  async live(lives: number, until: number): Promise<void> {
    const { history, tally, folder } = this;
    this.leaderPort = await freePort();
    this.followerPort = await freePort();
    try {
      for (let life = 1; life <= lives && performance.now() < until; life++) {
        await this.oneLife();
        tally.cycles++;
        if (history.violations.length > 0) break;
      }
      if (history.violations.length === 0) await this.end();
    } finally {
      await Promise.all([this.leader?.kill(), this.follower?.kill()]);
      tally.events += history.acknowledgedEvents;
      tally.violations.push(...history.violations.map((each) => `seed ${this.seed}: ${each}`));
      rmSync(folder, { recursive: true, force: true });
    }
  }

  private at(name: string): string {
    return join(this.folder, name);
  }

  private leads(): Promise<ServerProcess> {
    return ServerProcess.start({ folder: this.at("leader"), port: this.leaderPort });
  }

  private follows(name: string, port: number, leader: number): Promise<ServerProcess> {
    const flags = ["--free-space-reserve-bytes", "0", "--follow", `127.0.0.1:${leader}`];
    return ServerProcess.start({ folder: this.at(name), port, flags });
  }

  private async ready(): Promise<void> {
    const { history, crowd } = this;
    if (this.leader === undefined) {
      this.leader = await this.leads();
      if (!this.leader.serves) history.violate(`the leader does not start: ${this.leader.log}`);
      else await crowd.attach(this.leaderPort);
    }
    if (this.follower !== undefined) return;
    this.follower = await this.follows("follower", this.followerPort, this.leaderPort);
    if (!this.follower.serves) history.violate(`the follower does not start: ${this.follower.log}`);
  }

  private async oneLife(): Promise<void> {
    const { random, tally, crowd } = this;
    await this.ready();
    // What does not start is told, and has no folder to look at.
    if (this.history.violations.length > 0) return;
    await pause(20 + random() * 600);
    const chance = random();
    const who = chance < 0.4 ? "follower" : chance < 0.7 ? "leader" : "both";
    tally.deaths[who] = (tally.deaths[who] ?? 0) + 1;
    const leaderDies = who === "follower" ? undefined : this.leader;
    const followerDies = who === "leader" ? undefined : this.follower;
    await Promise.all([leaderDies?.kill(), followerDies?.kill()]);
    if (leaderDies !== undefined) {
      await crowd.detach();
      this.leader = undefined;
    }
    if (followerDies !== undefined) this.follower = undefined;
    const fault = await this.prefixFault();
    if (fault !== undefined) this.history.violate(`after the death of ${who}: ${fault}`);
  }

  /** Why the follower is no exact prefix of its leader. The follower's folder is looked at first. */
  private async prefixFault(): Promise<string | undefined> {
    const copy = await endIn(this.at("follower"));
    const own = await chainIn(this.at("leader"), copy.head);
    this.tally.compared++;
    if (own.head > copy.head) this.tally.behind++;
    if (copy.head > own.head) return `the follower has ${copy.head}, the leader ${own.head}`;
    return copy.chain === own.chain ? undefined : `the chains differ at position ${copy.head}`;
  }

  private async end(): Promise<void> {
    const { history, crowd, tally } = this;
    await this.ready();
    // A subscriber that is connected from before would get everything twice.
    await crowd.detach();
    await crowd.finish(this.leaderPort);
    await this.caughtUp(this.followerPort, this.leaderPort);
    await this.leader?.stop();
    const [copied, original] = [
      await copiedIn(this.at("follower")),
      await copiedIn(this.at("leader")),
    ];
    if (copied.join("\n") !== original.join("\n")) history.violate("the copy is another one");
    const promoted = await run(["promote", `127.0.0.1:${this.followerPort}`, "--json"]);
    if (promoted.code !== 0) return history.violate(`no promotion: ${promoted.errors}`);
    tally.promotions++;
    const { epoch } = JSON.parse(promoted.output) as { epoch: string };
    await asking(this.followerPort, async ({ store }) => (await store.getInfo({})).epoch === epoch);
    // It has the whole history, and accepts more.
    await crowd.finish(this.followerPort);
    await this.oldLeader();
    await this.follower?.stop();
    const { findings } = await verifyFolder(this.at("follower"));
    for (const finding of findings) history.violate(`the promoted store: ${finding}`);
  }

  /** The old leader goes on, and is refused by a copy of the new one. */
  private async oldLeader(): Promise<void> {
    const { history, tally } = this;
    let copy = await this.follows("copy", await freePort(), this.followerPort);
    await this.caughtUp(copy.port, this.followerPort);
    await copy.stop();
    this.leader = await this.leads();
    for (const port of [this.leaderPort, this.followerPort]) {
      await asking(port, async ({ store }) => {
        await store.append({ stream: `of-${port}`, events: [{ type: "Went" }] });
        return true;
      });
    }
    if ((await this.prefixFault()) !== undefined) tally.forksSeen++;
    copy = await this.follows("copy", await freePort(), this.leaderPort);
    const isRefused = async ({ store }: Clients): Promise<boolean> =>
      (await store.getInfo({})).follower?.phase === FollowerPhase.REFUSED;
    await asking(copy.port, isRefused).catch(() => {
      history.violate("a copy of the new leader does not refuse the old one");
    });
    await copy.kill();
  }

  private async caughtUp(port: number, leaderPort: number): Promise<void> {
    await asking(leaderPort, async (leader) => {
      const { head } = await leader.store.getInfo({});
      await asking(port, async ({ store }) => (await store.getInfo({})).head === head);
      return true;
    }).catch((error: Error) => this.history.violate(`it does not catch up: ${error.message}`));
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Until it is so. A server that is not there yet is asked again. */
async function asking(port: number, isSo: (clients: Clients) => Promise<boolean>): Promise<void> {
  const clients = clientsOf(`127.0.0.1:${port}`);
  const begun = performance.now();
  let why = "it is not so";
  try {
    while (performance.now() - begun < catchUpMsMax) {
      const answer = await isSo(clients).catch((error: Error) => void (why = error.message));
      if (answer === true) return;
      await pause(30);
    }
  } finally {
    clients.close();
  }
  throw new Error(why);
}

interface End {
  readonly head: number;
  /** Of the chunk that ends at the position that is asked about. Empty: none does. */
  readonly chain: string;
}

async function endIn(folder: string): Promise<End> {
  const view = await openView(folder);
  try {
    const { content, findings } = view;
    if (content === undefined) throw new Error(findings.join("\n"));
    const { position } = content.head;
    return { head: position, chain: position === 0 ? "" : hexOf(content.headHash) };
  } finally {
    await view.close();
  }
}

async function chainIn(folder: string, position: number): Promise<End> {
  const view = await openView(folder);
  try {
    const { content, findings } = view;
    if (content === undefined) throw new Error(findings.join("\n"));
    const key = chunkKey(position);
    const [value] = await content.kv.getMany([key]);
    const chain = value === undefined ? "" : hexOf(hashOf(openChunk(key, value)));
    return { head: content.head.position, chain };
  } finally {
    await view.close();
  }
}

function hexOf(hash: Uint8Array): string {
  return Buffer.from(hash).toString("hex");
}
