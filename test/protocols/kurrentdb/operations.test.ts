// What scripts of operators ask a server of the KurrentDB protocol for.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Monitoring } from "../../../src/gen/event_store/client/monitoring/monitoring_pb.js";
import {
  Operations,
  ScavengeResp_ScavengeResult as Result,
} from "../../../src/gen/event_store/client/operations/operations_pb.js";
import { accessFolder, showing } from "../../support/access.ts";
import { Calls, failedOf, nextOf } from "../../support/calls.ts";
import type { TestServer } from "../../support/running-server.ts";
import { startKurrent, trailersOf } from "./kurrent-client.ts";

const { startScavenge, stopScavenge, mergeIndexes, restartPersistentSubscriptions } =
  Operations.method;

let server: TestServer;
beforeEach(async () => {
  server = await startKurrent();
});
afterEach(() => server.stop());

test("space is reclaimed all the time, so that a scavenge is in progress and none is stopped", async () => {
  const { calls } = server;
  const started = await calls.unary(startScavenge, { options: { threadCount: 1 } });
  expect(started.scavengeResult).toBe(Result.InProgress);
  const stopped = calls.unary(stopScavenge, { options: { scavengeId: started.scavengeId } });
  expect(await trailersOf(stopped)).toMatchObject({
    code: 5,
    exception: "scavenge-not-found",
    "scavenge-id": started.scavengeId,
  });
});

test("there is nothing to merge and nothing to restart", async () => {
  expect(await server.calls.unary(mergeIndexes, {})).toBeDefined();
  expect(await server.calls.unary(restartPersistentSubscriptions, {})).toBeDefined();
});

test("figures of the process come again and again", async () => {
  const stats = server.calls.stream(Monitoring.method.stats, { refreshTimePeriodInMs: 1n });
  const iterator = stats[Symbol.asyncIterator]();
  for (let i = 0; i < 2; i++) {
    const { stats: figures } = await nextOf(iterator);
    expect(Number(figures["proc-mem"])).toBeGreaterThan(1_000_000);
    expect(figures["proc-id"]).toBe(`${process.pid}`);
    expect(Number(figures["proc-cpu"])).toBeGreaterThanOrEqual(0);
  }
  stats.cancel();
});

test("where callers are asked who they are, it takes the permission to manage or to observe", async () => {
  const folder = accessFolder();
  const token = await folder.token("reader", ["reader"]);
  const guarded = await startKurrent(...folder.flags);
  const calls = new Calls(guarded.address, undefined, showing(token));
  expect(await failedOf(calls.unary(startScavenge, {}))).toMatchObject({ code: 7 });
  const figures = calls.stream(Monitoring.method.stats, {})[Symbol.asyncIterator]();
  expect(await failedOf(nextOf(figures))).toMatchObject({ code: 7 });
  calls.close();
  await guarded.stop();
  folder.remove();
});
