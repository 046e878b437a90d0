// A follower keeps an identical copy: the same log, ids, times and side values, whatever its leader
// lives through. It serves reads of it, writes nothing by itself, and says how far behind it is.
import { describe, expect, test } from "vitest";
import { CallError } from "../../src/client/rpc/call-error.ts";
import { FollowerPhase, WriteState } from "../../src/gen/annals/v1/info_pb.js";
import {
  Health,
  HealthCheckResponse_ServingStatus as Serving,
} from "../../src/gen/grpc/health/v1/health_pb.js";
import { restore } from "../../src/storage/leveldb/offline/restore.ts";
import { verifyFolder } from "../../src/storage/leveldb/offline/verify-folder.ts";
import { run } from "../cli/captured-terminal.ts";
import { startTestServer } from "../support/running-server.ts";
import {
  copiedIn,
  liveOn,
  liveServer,
  removeAll,
  type Clients,
  type Lived,
} from "../support/varied-history.ts";
import { caughtUp, servers, until, type Member } from "./servers.ts";

const { fresh, ending, started } = servers("follower");

interface Follower extends Member {
  readonly folder: string;
}

async function leading(folder = fresh("leader"), port = "0"): Promise<Lived & { folder: string }> {
  return { ...ending(await liveServer(folder, ["--port", port])), folder };
}

async function follow(leader: string, folder = fresh("follower")): Promise<Follower> {
  return { ...(await started(["--data", folder, "--follow", leader])), folder };
}

/** What clients can read of everything. */
async function readable({ store, checkpoints }: Clients): Promise<unknown> {
  const events: unknown[] = [];
  for await (const { message } of store.read({ withRemoved: true })) {
    if (message.case === "batch") events.push(...message.value.events);
  }
  const { streams } = await store.listStreams({ pageSize: 1_000 });
  const states: unknown[] = [];
  for (const { stream } of streams) {
    states.push((await store.listSnapshots({ stream })).snapshots);
    for await (const answer of store.load({ stream })) states.push(answer.message.value);
  }
  const types = (await store.listEventTypes({ prefix: "$" })).eventTypes;
  const saved = (await checkpoints.listCheckpoints({})).checkpoints;
  return { events, streams, states, types, saved };
}

async function expectSame(follower: Follower, leader: Lived & { folder: string }): Promise<void> {
  await caughtUp(follower, leader);
  const [copied, original] = [await copiedIn(follower.folder), await copiedIn(leader.folder)];
  expect(copied.length).toBe(original.length);
  expect(copied).toEqual(original);
  expect(await readable(follower.clients)).toEqual(await readable(leader.clients));
  expect((await verifyFolder(follower.folder)).findings).toEqual([]);
}

describe("a follower", () => {
  test.each([1, 2, 3])("has everything that its leader has: history %i", async (seed) => {
    const leader = await leading();
    await liveOn(leader.clients, seed * 10, 40);
    await removeAll(leader.clients, seed * 10);
    await leader.reclaim();
    const follower = await follow(leader.server.address);
    await liveOn(leader.clients, seed * 10 + 1, 40);
    await expectSame(follower, leader);
    await removeAll(leader.clients, seed * 10 + 1);
    await leader.reclaim();
    await liveOn(leader.clients, seed * 10 + 2, 20);
    await expectSame(follower, leader);
  });

  test("that was away gets what came meanwhile, and what was removed meanwhile is gone", async () => {
    const leader = await leading();
    await liveOn(leader.clients, 40, 30);
    const folder = fresh("follower");
    const before = await follow(leader.server.address, folder);
    await expectSame(before, leader);
    await before.stop();
    await liveOn(leader.clients, 41, 30);
    await removeAll(leader.clients, 40);
    await removeAll(leader.clients, 41);
    await leader.reclaim();
    await liveOn(leader.clients, 42, 10);
    await expectSame(await follow(leader.server.address, folder), leader);
  });

  test("delivers to subscribers what its leader appends", async () => {
    const leader = await leading();
    const follower = await follow(leader.server.address);
    const seen: string[] = [];
    const done = (async () => {
      for await (const { message } of follower.clients.store.subscribe({})) {
        if (message.case !== "batch") continue;
        seen.push(...message.value.events.map(({ type }) => type));
        if (seen.length === 20) return;
      }
    })();
    for (let i = 0; i < 20; i++) {
      await leader.clients.store.append({ stream: "s", events: [{ type: `T${i}` }] });
    }
    await done;
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => `T${i}`));
  });

  test("wakes who waits for a checkpoint that is saved at its leader", async () => {
    const leader = await leading();
    const follower = await follow(leader.server.address);
    await leader.clients.store.append({ stream: "s", events: [{ type: "T" }] });
    await caughtUp(follower, leader);
    const who = { case: "consumer", value: "c" } as const;
    const waited = follower.clients.checkpoints.waitFor({ who, position: 1n });
    await leader.clients.checkpoints.saveCheckpoint({ consumer: "c", position: 1n });
    expect((await waited).position).toBe(1n);
  });

  test("refuses by name everything that writes, with its leader's address", async () => {
    const leader = await leading();
    await liveOn(leader.clients, 50, 5);
    const follower = await follow(leader.server.address);
    await caughtUp(follower, leader);
    const { store, streams, checkpoints, groups } = follower.clients;
    const stream = "s-50-1";
    const events = [{ type: "T" }];
    const calls: Record<string, () => Promise<unknown>> = {
      append: () => store.append({ stream, events }),
      saveSnapshot: () =>
        store.saveSnapshot({
          stream,
          version: 1n,
          state: { case: "data", value: Buffer.from("s") },
        }),
      deleteSnapshots: () => store.deleteSnapshots({ stream }),
      updateStream: () => streams.updateStream({ stream, policy: { maxCount: 1n } }),
      deleteStream: () => streams.deleteStream({ stream }),
      saveCheckpoint: () => checkpoints.saveCheckpoint({ consumer: "c", position: 1n }),
      deleteCheckpoint: () => checkpoints.deleteCheckpoint({ consumer: "c" }),
      createGroup: () => groups.createGroup({ name: "g", settings: { query: {} } }),
      updateGroup: () => groups.updateGroup({ name: "workers-50", attemptsMax: 3 }),
      deleteGroup: () => groups.deleteGroup({ name: "workers-50" }),
      resetGroup: () => groups.resetGroup({ name: "workers-50" }),
      getGroup: () => groups.getGroup({ name: "workers-50" }),
      listGroups: () => groups.listGroups({}),
      listParked: () => groups.listParked({ group: "workers-50" }),
      replayParked: () => groups.replayParked({ group: "workers-50" }),
      discardParked: () => groups.discardParked({ group: "workers-50" }),
      consume: async () => {
        async function* joining() {
          const value = { group: "workers-50", permits: 1 };
          yield { message: { case: "join" as const, value } };
        }
        for await (const _ of groups.consume(joining())) return;
      },
    };
    const before = await copiedIn(follower.folder);
    for (const [name, call] of Object.entries(calls)) {
      const error = await call().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error, name).toBeInstanceOf(CallError);
      const { reason, status, message } = error as CallError;
      expect([name, reason, status]).toEqual([name, "NOT_LEADER", "FAILED_PRECONDITION"]);
      expect(message).toContain(leader.server.address);
    }
    expect(await copiedIn(follower.folder)).toEqual(before);
  });

  test("says how far behind it is, and that it is not written to", async () => {
    const leader = await leading();
    await liveOn(leader.clients, 60, 5);
    const follower = await follow(leader.server.address);
    await caughtUp(follower, leader);
    const { follower: told, writeState } = await follower.clients.store.getInfo({});
    expect(writeState).toBe(WriteState.FOLLOWING);
    expect(told).toMatchObject({ leader: leader.server.address, lagEvents: 0n, why: "" });
    const get = async (path: string): Promise<string> =>
      (await fetch(`http://${follower.server.address}${path}`)).text();
    const whole = /^serving; a follower, which refuses appends: following, 0 events and [\d.]+ s/;
    expect(await get("/readyz")).toMatch(whole);
    expect(await get("/metrics")).toMatch(/^annals_follower_state\{state="following"\} 1$/m);
    await leader.stop();
    await until(async () => {
      const { follower: now } = await follower.clients.store.getInfo({});
      return now?.phase === FollowerPhase.DISCONNECTED;
    });
    const { follower: alone } = await follower.clients.store.getInfo({});
    expect(alone?.why).not.toBe("");
    expect(await get("/readyz")).toMatch(/^serving; a follower, which .*: disconnected, /);
    // An answer of the second before is kept.
    await until(async () => /^annals_follower_lag_seconds (?!0$)/m.test(await get("/metrics")));
    expect(await get("/metrics")).toMatch(/^annals_follower_state\{state="disconnected"\} 1$/m);
    expect(await readable(follower.clients)).toBeDefined();
    const { status } = await follower.server.calls.unary(Health.method.check, {});
    expect(status).toBe(Serving.SERVING);
    const answer = await run(["info", "--address", follower.server.address]);
    expect(answer.output).toContain("following");
  });

  test("takes over the epochs of a leader that was restored without a loss, and starts anew", async () => {
    const leader = await leading();
    await liveOn(leader.clients, 70, 10);
    const folder = fresh("follower");
    const follower = await follow(leader.server.address, folder);
    await expectSame(follower, leader);
    const backup = fresh("backup");
    expect(await run(["backup", leader.server.address, backup])).toMatchObject({ code: 0 });
    const port = leader.server.address.split(":")[1] ?? "";
    await leader.stop();
    const target = fresh("restored");
    await restore({ backup, target });
    const again = await leading(target, port);
    await follower.server.again;
    await follower.stop();
    const second = await follow(again.server.address, folder);
    await liveOn(again.clients, 71, 10);
    await expectSame(second, again);
    const infos = [await second.clients.store.getInfo({}), await again.clients.store.getInfo({})];
    expect(infos[0]?.epochs).toEqual(infos[1]?.epochs);
    expect(infos[0]?.epochs).toHaveLength(2);
  });

  test("refuses a leader that lost what it has, also when that went on, and goes on serving", async () => {
    const leader = await leading();
    await liveOn(leader.clients, 80, 10);
    const backup = fresh("backup");
    await run(["backup", leader.server.address, backup]);
    await liveOn(leader.clients, 81, 10);
    const folder = fresh("follower");
    const follower = await follow(leader.server.address, folder);
    await caughtUp(follower, leader);
    const kept = await readable(follower.clients);
    const port = leader.server.address.split(":")[1] ?? "";
    await leader.stop();
    const target = fresh("restored");
    await restore({ backup, target });
    const again = await leading(target, port);
    await liveOn(again.clients, 82, 40);
    await until(async () => {
      const { follower: told } = await follower.clients.store.getInfo({});
      return told?.phase === FollowerPhase.REFUSED;
    });
    expect(await readable(follower.clients)).toEqual(kept);
    await follower.stop();
    const other = await leading();
    const foreign = await follow(other.server.address, folder);
    await until(async () => {
      const { follower: told } = await foreign.clients.store.getInfo({});
      return told?.why.includes("serves store") === true;
    });
    expect(await readable(foreign.clients)).toEqual(kept);
  });

  test("is not served as a store, and a store is not made a follower", async () => {
    const leader = await leading();
    await liveOn(leader.clients, 90, 3);
    const follower = await follow(leader.server.address);
    await caughtUp(follower, leader);
    await follower.stop();
    const asStore = startTestServer(["--data", follower.folder]);
    await expect(asStore).rejects.toThrow("it is a follower's copy");
    await leader.stop();
    const asCopy = startTestServer(["--data", leader.folder, "--follow", "127.0.0.1:1"]);
    await expect(asCopy).rejects.toThrow("and no copy");
  });
});
