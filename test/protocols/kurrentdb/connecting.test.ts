// What clients of the KurrentDB protocol ask when they connect, and what a server without the protocol loads.
import { expect, test } from "vitest";
import {
  Gossip,
  MemberInfo_VNodeState,
} from "../../../src/gen/event_store/client/gossip/gossip_pb.js";
import { Projections } from "../../../src/gen/event_store/client/projections/projections_pb.js";
import { ServerFeatures } from "../../../src/gen/event_store/client/server_features/server_features_pb.js";
import { failedOf } from "../../support/calls.ts";
import { configOf, startTestServer } from "../../support/running-server.ts";
import { loaded } from "../../server/loaded-modules.ts";
import { events, ofAll, startKurrent } from "./kurrent-client.ts";

test("a server names its methods in lower case, and a version of three numbers", async () => {
  const server = await startKurrent();
  const { methods, eventStoreServerVersion } = await server.calls.unary(
    ServerFeatures.method.getSupportedMethods,
    {},
  );
  expect(eventStoreServerVersion).toMatch(/^\d+\.\d+\.\d+$/);
  const names = methods.map(({ serviceName, methodName }) => `${serviceName}/${methodName}`);
  expect(names).toContain("event_store.client.streams.streams/batchappend");
  expect(names.filter((name) => name !== name.toLowerCase())).toEqual([]);
  await server.stop();
});

test("gossip names one leader, at the address of the server or the one to advertise", async () => {
  for (const flags of [[], ["--advertise", "store.example:2113"]]) {
    const server = await startKurrent(...flags);
    const { members } = await server.calls.unary(Gossip.method.read, {});
    const { address, port } = members[0]?.httpEndPoint ?? {};
    expect(`${address}:${port}`).toBe(flags[1] ?? server.address);
    expect(members).toMatchObject([{ state: MemberInfo_VNodeState.Leader, isAlive: true }]);
    await server.stop();
  }
});

test("there is an event in a new store, and there are no projections", async () => {
  const server = await startKurrent();
  expect(await events(server.calls, { streamOption: ofAll() })).toHaveLength(1);
  const statistics = server.calls.stream(Projections.method.statistics, {});
  expect(await statistics[Symbol.asyncIterator]().next()).toMatchObject({ done: true });
  await server.stop();
});

test("the protocol is off unless it is asked for", async () => {
  const server = await startTestServer();
  const asked = server.calls.unary(ServerFeatures.method.getSupportedMethods, {});
  expect(await failedOf(asked)).toMatchObject({ code: 12 });
  await server.stop();
  const files = await loaded(["serve", "--print-config"]);
  expect(
    files.filter((url) => url.includes("/protocols/") || url.includes("event_store/")),
  ).toEqual([]);
});

test("a protocol that there is not is refused by name", () => {
  expect(configOf("--protocol", "kurrentdb", "--protocol", "kurrentdb").protocol).toBe(
    "kurrentdb,kurrentdb",
  );
  expect(() => configOf("--protocol", "http")).toThrow(
    '--protocol: is "http", not of kurrentdb, umadb',
  );
  expect(() => configOf("--advertise", "host")).toThrow("--advertise: is not HOST:PORT");
});
