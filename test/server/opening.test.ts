// While a server opens its store, it listens: clients that come are told so, and served once it is
// open.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { startServer } from "../../src/server.ts";
import { openMemoryStorage } from "../../src/storage/leveldb/open.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { Calls, deferred, failedOf } from "../support/calls.ts";
import { ask } from "../support/http.ts";
import { configOf, recordingLogger, startTestServer } from "../support/running-server.ts";

const m = EventStoreService.method;

let folder: string;
let socket: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "annals-"));
  socket = join(folder, "annals.sock");
});
afterEach(() => rmSync(folder, { recursive: true }));

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(5);
}

/** The status of a request on a connection that is kept. */
function status(agent: Agent, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: socket, path, agent }, (response) => {
      response.resume().on("end", () => resolve(response.statusCode ?? 0));
    });
    asked.on("error", reject).end();
  });
}

test("calls and requests are refused for the moment, and served by the same connections later", async () => {
  const storage = deferred<Storage>();
  const openStorage = () => storage.promise;
  const starting = startTestServer(["--no-tcp", "--unix-socket", socket], { openStorage });
  await until(() => existsSync(socket));
  const address = `unix:${socket}`;
  const calls = new Calls(address);
  const agent = new Agent({ keepAlive: true });
  const append = { stream: "a", events: [{ type: "T" }] };
  expect(await failedOf(calls.unary(m.append, append))).toMatchObject({
    code: 14,
    reason: "RECOVERING",
    message: "the store is being opened: try again",
  });
  expect(await status(agent, "/healthz")).toBe(200);
  expect(await status(agent, "/readyz")).toBe(503);
  expect(await status(agent, "/metrics")).toBe(503);
  const posted = await ask(address, "/annals.v1.EventStoreService/Append", {
    headers: { "content-type": "application/json" },
    body: JSON.stringify(append),
  });
  expect([posted.status, posted.json()["code"]]).toEqual([503, "unavailable"]);
  expect(posted.headers["retry-after"]).toBe("1");

  storage.resolve(await openMemoryStorage());
  const server = await starting;
  expect((await calls.unary(m.append, append)).lastPosition).toBe(1n);
  expect(await status(agent, "/readyz")).toBe(200);
  expect(await status(agent, "/metrics")).toBe(200);
  agent.destroy();
  calls.close();
  await server.stop();
});

test("a store that does not open leaves nobody listening", async () => {
  const refused = deferred<void>();
  const openStorage = async (): Promise<Storage> => {
    await refused.promise;
    throw new Error("the store is refused");
  };
  const config = configOf("--no-tcp", "--unix-socket", socket);
  const starting = startServer(config, recordingLogger().logger, { openStorage });
  await until(() => existsSync(socket));
  const agent = new Agent({ keepAlive: true });
  expect(await status(agent, "/healthz")).toBe(200);
  refused.resolve();
  await expect(starting).rejects.toThrow("the store is refused");
  expect(existsSync(socket)).toBe(false);
  agent.destroy();
});

/** A store in memory, and how often it was closed. */
async function countedStorage() {
  const storage = await openMemoryStorage();
  const closed = vi.fn<() => Promise<void>>(() => storage.close());
  return { closed, openStorage: async (): Promise<Storage> => ({ ...storage, close: closed }) };
}

test("a module that cannot be loaded once the store is open leaves nothing open", async () => {
  vi.doMock("../../src/protocols/umadb/umadb.ts", () => {
    throw new Error("umadb.ts cannot be read");
  });
  const { closed, openStorage } = await countedStorage();
  const config = configOf("--no-tcp", "--unix-socket", socket, "--protocol", "umadb");
  await expect(startServer(config, recordingLogger().logger, { openStorage })).rejects.toThrow(
    "mocking a module",
  );
  vi.doUnmock("../../src/protocols/umadb/umadb.ts");
  expect(existsSync(socket)).toBe(false);
  expect(closed).toHaveBeenCalledTimes(1);
});

test("a step of the end that fails keeps no other from being taken", async () => {
  const { closed, openStorage } = await countedStorage();
  const storage = async (): Promise<Storage> => ({
    ...(await openStorage()),
    watch: () => () => {
      throw new Error("not unwatched");
    },
  });
  const config = configOf("--no-tcp", "--unix-socket", socket);
  const server = await startServer(config, recordingLogger().logger, { openStorage: storage });
  await expect(server.stop()).rejects.toThrow("not unwatched");
  expect(existsSync(socket)).toBe(false);
  expect(closed).toHaveBeenCalledTimes(1);
});

test("a start that is called off closes the store that it gets", async () => {
  const opened = deferred<void>();
  const { closed, openStorage } = await countedStorage();
  const slowly = () => opened.promise.then(openStorage);
  const asked = new AbortController();
  const config = configOf("--no-tcp", "--unix-socket", socket);
  const { signal } = asked;
  const starting = startServer(config, recordingLogger().logger, { openStorage: slowly, signal });
  await until(() => existsSync(socket));
  asked.abort(new Error("called off"));
  opened.resolve();
  await expect(starting).rejects.toThrow("called off");
  expect(existsSync(socket)).toBe(false);
  expect(closed).toHaveBeenCalledTimes(1);
});
