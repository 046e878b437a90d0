// Members of consumer groups at work at every server of a cluster, over whatever happens to it. No
// event may be lost, none that was told to be done may come again.
import { setTimeout as pause } from "node:timers/promises";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { Calls } from "../../support/calls.ts";
import { GroupHistory } from "../group-work/history.ts";
import { CampaignMember } from "../group-work/member.ts";
import { createCampaignGroup, groupKinds, loggedIn, parkedOf } from "../group-work/store.ts";
import type { ServerPlace } from "../support/wire-client.ts";
import { taskType } from "./cluster-crowd.ts";

const attemptsMax = 8;
const settings = {
  query: { items: [{ types: [taskType] }] },
  lease: { seconds: 2n },
  attemptsMax,
  retryDelay: { nanos: 20_000_000 },
  retryDelayMax: { nanos: 200_000_000 },
};
const permitsOf = [2, 12];
const finishSeconds = 120n;
const retryMs = 150;
/** A call through another server may be over there before its member hears of it. */
const cutOffMsMax = 10_000;
/** A client that waits longer with each failure would not be there when its server is. */
const channel = {
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 500,
};

export class ClusterGroups {
  readonly histories: readonly GroupHistory[];
  private readonly random: () => number;
  private readonly calls: readonly Calls[];
  private readonly members = new Set<CampaignMember>();
  private readonly working: Promise<void>[] = [];
  private isSound = false;
  private isOver = false;

  constructor(random: () => number, servers: readonly ServerPlace[]) {
    this.random = random;
    this.histories = groupKinds.map(({ name, keyOf }) => {
      return new GroupHistory(name, attemptsMax, ({ event }) => keyOf(event), cutOffMsMax);
    });
    this.calls = servers.map(({ host, port }) => new Calls(`${host}:${port}`, undefined, channel));
  }

  get violations(): string[] {
    return this.histories.flatMap(({ violations }) => violations);
  }

  get deliveries(): number {
    return this.histories.reduce((sum, { deliveries }) => sum + deliveries, 0);
  }

  begin(): void {
    for (const calls of this.calls) {
      for (const history of this.histories) {
        for (const permits of permitsOf) this.working.push(this.work(calls, history, permits));
      }
    }
  }

  /** Until nothing is left to do; then everything that was said is compared with the log. */
  async finish(): Promise<void> {
    this.isSound = true;
    for (const member of this.members) member.hangUp();
    const [calls] = this.calls as [Calls];
    const log = await loggedIn(calls, taskType);
    const position = BigInt(log.at(-1)?.position ?? 0);
    for (const history of this.histories) {
      const who = { case: "group", value: history.name } as const;
      const timeout = { seconds: finishSeconds };
      try {
        await anywhere(this.calls, (each) => {
          return each.unary(CheckpointService.method.waitFor, { who, position, timeout });
        });
        const parked = await anywhere(this.calls, (each) => parkedOf(each, history.name));
        history.finish(log, parked);
      } catch (error) {
        history.violate(`it does not come to its end: ${(error as Error).message}`);
      }
    }
    await this.stop();
  }

  async stop(): Promise<void> {
    this.isOver = true;
    for (const member of this.members) member.hangUp();
    await Promise.all(this.working);
    for (const calls of this.calls) calls.close();
  }

  private async work(calls: Calls, history: GroupHistory, permits: number): Promise<void> {
    const { random, members } = this;
    const kind = groupKinds.find(({ name }) => name === history.name);
    if (kind === undefined) throw new Error(`there is no group ${history.name}`);
    while (!this.isOver) {
      await createCampaignGroup(calls, kind, settings, { deadline: Date.now() + 2_000 });
      const member = new CampaignMember(calls, history, random, { permits, sound: this.isSound });
      members.add(member);
      await member.ended;
      members.delete(member);
      await pause(retryMs);
    }
  }
}

/** One of the servers runs the groups. */
async function anywhere<T>(all: readonly Calls[], ask: (calls: Calls) => Promise<T>): Promise<T> {
  const until = performance.now() + 30_000;
  for (let i = 0; ; i++) {
    try {
      return await ask(all[i % all.length] as Calls);
    } catch (error) {
      if (performance.now() > until || !("code" in (error as Error))) throw error;
      await pause(retryMs);
    }
  }
}
