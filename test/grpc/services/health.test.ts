// grpc.health.v1 as probes use it, also while the store fails and while the server stops.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Health } from "../../../src/gen/grpc/health/v1/health_pb.js";
import { openMemoryStorage } from "../../../src/storage/leveldb/open.ts";
import type { StorageWatcher, WriteState } from "../../../src/storage/storage.ts";
import { failedOf, nextOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

const { check, list, watch } = Health.method;
const [serving, notServing, unknown] = [1, 2, 3];
const service = "annals.v1.EventStoreService";

let server: TestServer;
let watchers: StorageWatcher[];
beforeEach(async () => {
  watchers = [];
  const openStorage = async () => {
    const storage = await openMemoryStorage();
    const watching = (watcher: StorageWatcher) => {
      watchers.push(watcher);
      return storage.watch(watcher);
    };
    return { ...storage, watch: watching };
  };
  server = await startTestServer([], { openStorage });
});
afterEach(() => server.stop());

function storeIs(state: WriteState): void {
  for (const watcher of watchers) watcher.writeStateChanged?.(state);
}

describe("health", () => {
  test("is serving, as a whole and by service; another service is not known", async () => {
    expect((await server.calls.unary(check, {})).status).toBe(serving);
    expect((await server.calls.unary(check, { service })).status).toBe(serving);
    const { statuses } = await server.calls.unary(list, {});
    expect(Object.keys(statuses)).toEqual(expect.arrayContaining(["", service]));
    expect(await server.calls.failure(check, { service: "nope" })).toMatchObject({ code: 5 });
  });

  test("is not serving once the store has failed, but while it recovers or is full", async () => {
    const changes = server.calls.stream(watch, { service })[Symbol.asyncIterator]();
    expect((await nextOf(changes)).status).toBe(serving);
    storeIs("disk-full");
    storeIs("recovering");
    expect((await server.calls.unary(check, {})).status).toBe(serving);
    storeIs("failed");
    expect((await nextOf(changes)).status).toBe(notServing);
    expect((await server.calls.unary(check, {})).status).toBe(notServing);
    storeIs("accepting");
    expect((await nextOf(changes)).status).toBe(serving);
    const said = server.lines.filter(({ message }) => message === "write state changed");
    expect(said.map(({ level, state }) => [level, state])).toEqual([
      ["warn", "disk-full"],
      ["warn", "recovering"],
      ["error", "failed"],
      ["info", "accepting"],
    ]);
  });

  test("of an unknown service can be watched; it stays unknown", async () => {
    const stream = server.calls.stream(watch, { service: "nope" });
    expect((await nextOf(stream[Symbol.asyncIterator]())).status).toBe(unknown);
    stream.cancel();
  });

  test("is not serving as soon as the server stops, and then its watch ends", async () => {
    const changes = server.calls.stream(watch, {})[Symbol.asyncIterator]();
    await nextOf(changes);
    const stopped = server.stop();
    expect((await nextOf(changes)).status).toBe(notServing);
    expect(await failedOf(nextOf(changes))).toMatchObject({ code: 14, reason: "STOPPING" });
    await stopped;
  });
});
