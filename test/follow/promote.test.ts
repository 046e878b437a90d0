// Promotion: a follower becomes a store of its own, with a new epoch, whole and sound; and kills of
// both servers at any moment leave the copy a copy.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EpochCause, FollowerPhase } from "../../src/gen/annals/v1/info_pb.js";
import { verifyFolder } from "../../src/storage/leveldb/offline/verify-folder.ts";
import { run } from "../cli/captured-terminal.ts";
import { freePort, spawnAnnals, type Spawned } from "../cli/running-server.ts";
import { seededRandom } from "../support/seeded.ts";
import { clientsOf, copiedIn, liveOn, type Clients } from "../support/varied-history.ts";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-promote-"));
  [leaderPort, followerPort] = [`${await freePort()}`, `${await freePort()}`];
  [leaderAddress, followerAddress] = [`127.0.0.1:${leaderPort}`, `127.0.0.1:${followerPort}`];
});
afterAll(() => rm(scratch, { recursive: true }));

let [leaderPort, followerPort, leaderAddress, followerAddress] = ["", "", "", ""];

function leads(folder: string): Spawned {
  const times = ["--reclaim-after-seconds", "1"];
  return spawnAnnals(["serve", "--data", folder, "--port", leaderPort, ...times]);
}

function follows(folder: string): Spawned {
  const leader = ["--follow", leaderAddress];
  return spawnAnnals(["serve", "--data", folder, "--port", followerPort, ...leader]);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition().catch(() => false))) await pause(50);
}

async function caughtUp(leader: Clients, follower: Clients): Promise<void> {
  await until(async () => {
    const info = await follower.store.getInfo({});
    const { head } = await leader.store.getInfo({});
    return info.head === head && info.follower?.phase === FollowerPhase.FOLLOWING;
  });
}

describe("a leader and its follower", () => {
  test("are killed at any moment: the copy stays one, and can be promoted", async () => {
    const random = seededRandom(7);
    const folders = { leader: join(scratch, "leader"), follower: join(scratch, "follower") };
    let [leader, follower] = [leads(folders.leader), follows(folders.follower)];
    const clients = { leader: clientsOf(leaderAddress), follower: clientsOf(followerAddress) };
    const ready = (of: Clients) => until(async () => (await of.store.getInfo({})).head >= 0n);
    await ready(clients.leader);
    for (let round = 0; round < 4; round++) {
      const lived = liveOn(clients.leader, 500 + round, 15).catch(() => {});
      await pause(random() * 700);
      const which = random();
      if (which < 0.7) follower.kill();
      if (which > 0.4) leader.kill();
      await lived;
      if (which < 0.7) {
        await follower.ended;
        follower = follows(folders.follower);
      }
      if (which > 0.4) {
        await leader.ended;
        leader = leads(folders.leader);
        await ready(clients.leader);
      }
    }
    await liveOn(clients.leader, 600, 10);
    await caughtUp(clients.leader, clients.follower);
    leader.kill("SIGTERM");
    await leader.ended;
    expect(await copiedIn(folders.follower)).toEqual(await copiedIn(folders.leader));
    expect((await verifyFolder(folders.follower)).findings).toEqual([]);

    const promoted = await run(["promote", followerAddress, "--json"]);
    expect(promoted).toMatchObject({ code: 0, errors: "" });
    const before = JSON.parse(promoted.output) as { epoch: string; head: number };
    await until(async () => (await clients.follower.store.getInfo({})).epoch === before.epoch);
    await liveOn(clients.follower, 700, 5);
    const info = await clients.follower.store.getInfo({});
    expect(info.follower).toBeUndefined();
    expect(info.epochs.at(-1)).toMatchObject({
      cause: EpochCause.PROMOTION,
      afterPosition: BigInt(before.head),
    });
    expect(Number(info.head)).toBeGreaterThan(before.head);
    clients.leader.close();
    clients.follower.close();
    follower.kill("SIGTERM");
    expect(await follower.ended).toBe(0);
    expect((await verifyFolder(folders.follower)).findings).toEqual([]);
  });

  test("a folder is promoted while no server has it, once", async () => {
    const folders = { leader: join(scratch, "leader-2"), follower: join(scratch, "follower-2") };
    const [leader, follower] = [leads(folders.leader), follows(folders.follower)];
    const clients = { leader: clientsOf(leaderAddress), follower: clientsOf(followerAddress) };
    await until(async () => (await clients.leader.store.getInfo({})).head >= 0n);
    await liveOn(clients.leader, 800, 5);
    await caughtUp(clients.leader, clients.follower);
    const held = await run(["promote", folders.follower]);
    expect(held.code).toBe(1);
    leader.kill();
    follower.kill();
    await Promise.all([leader.ended, follower.ended]);
    expect(await run(["promote", folders.follower])).toMatchObject({ code: 0 });
    const again = await run(["promote", folders.follower]);
    expect(again).toMatchObject({ code: 1 });
    expect(again.errors).toContain("it is no follower's copy");
    expect((await run(["promote", folders.leader])).errors).toContain("it is no follower's copy");
    clients.leader.close();
    clients.follower.close();
  });
});
