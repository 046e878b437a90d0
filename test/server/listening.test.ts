// Where a server listens: TCP and a Unix socket at once, sockets that a killed process left behind,
// and none that somebody still uses.
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { startServer } from "../../src/server.ts";
import { Calls, collect } from "../support/calls.ts";
import { configOf, recordingLogger, startTestServer } from "../support/running-server.ts";

const m = EventStoreService.method;

let folder: string;
let socket: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "annals-"));
  socket = join(folder, "run", "annals.sock");
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a Unix socket", () => {
  test("serves beside TCP, for this user alone, and goes with the server", async () => {
    const server = await startTestServer(["--unix-socket", socket]);
    expect(server.addresses).toEqual([
      expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      `unix:${socket}`,
    ]);
    const local = new Calls(`unix:${socket}`);
    await local.unary(m.append, { stream: "a", events: [{ type: "T" }] });
    expect((await server.calls.unary(m.getInfo, {})).head).toBe(1n);
    expect(await collect(local.stream(m.read, {}))).toHaveLength(2);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "run")).mode & 0o777).toBe(0o700);
    local.close();
    await server.stop();
    expect(existsSync(socket)).toBe(false);
  });

  test("can be all there is", async () => {
    const { logger } = recordingLogger();
    const server = await startServer(
      configOf("--memory", "--no-tcp", "--unix-socket", socket),
      logger,
    );
    expect(server.addresses).toEqual([`unix:${socket}`]);
    await server.stop();
  });

  test("left behind by a process that was killed is taken over", async () => {
    mkdirSync(join(folder, "run"));
    const script = join(folder, "leave.mjs");
    const leave = `import { createServer } from "node:net";
      createServer().listen(process.argv[2], () => process.kill(process.pid, "SIGKILL"));`;
    writeFileSync(script, leave);
    expect(spawnSync(process.execPath, [script, socket]).signal).toBe("SIGKILL");
    expect(existsSync(socket)).toBe(true);
    const server = await startTestServer(["--unix-socket", socket]);
    await server.stop();
  });

  test.each([
    ["user", 0o600, 0o700],
    ["group", 0o660, 0o750],
    ["all", 0o666, 0o755],
  ])("for %s has the mode for it, and so has a folder made for it", async (who, own, around) => {
    const server = await startTestServer(["--unix-socket", socket, "--unix-socket-access", who]);
    expect(statSync(socket).mode & 0o777).toBe(own);
    expect(statSync(join(folder, "run")).mode & 0o777).toBe(around);
    await server.stop();
  });

  test("that somebody listens on is left alone", async () => {
    mkdirSync(join(folder, "run"));
    const other = createServer((connection) => connection.destroy());
    await new Promise<void>((resolve) => other.listen(socket, resolve));
    await expect(startTestServer(["--unix-socket", socket])).rejects.toThrow(
      "is in use by another process",
    );
    expect(existsSync(socket)).toBe(true);
    await new Promise((resolve) => other.close(resolve));
  });

  test("is not made out of a file", async () => {
    mkdirSync(join(folder, "run"));
    writeFileSync(socket, "precious");
    await expect(startTestServer(["--unix-socket", socket])).rejects.toThrow("is not a socket");
    expect(existsSync(socket)).toBe(true);
  });
});

describe("an address", () => {
  test("of IPv6 loopback, and of a name", async () => {
    for (const host of ["::1", "[::1]", "localhost"]) {
      const { logger, lines } = recordingLogger();
      const server = await startServer(configOf("--memory", "--port", "0", "--host", host), logger);
      const calls = new Calls(server.addresses[0] ?? "");
      expect((await calls.unary(m.getInfo, {})).head).toBe(0n);
      calls.close();
      await server.stop();
      expect(lines.filter(({ level }) => level === "warn")).toEqual([]);
    }
  });

  test("that others reach is said to be open", async () => {
    const { logger, lines } = recordingLogger();
    const remote = ["--host", "0.0.0.0", "--allow-remote", "--no-auth"];
    const config = configOf("--memory", "--port", "0", ...remote);
    const server = await startServer(config, logger);
    expect(lines.find(({ level }) => level === "warn")?.message).toContain(
      "in the clear and without a password",
    );
    await server.stop();
  });
});

test("thousands of subscriptions on one connection can be dropped at once", async () => {
  const server = await startTestServer();
  const streams = Array.from({ length: 3_000 }, () => server.calls.stream(m.subscribe, {}));
  for (const { call } of streams) call.on("error", () => {});
  await Promise.all(
    streams.map(({ call }) => new Promise((resolve) => call.once("data", resolve))),
  );
  expect((await server.calls.unary(m.getInfo, {})).subscriberCount).toBe(3_000);
  for (const stream of streams) stream.cancel();
  let left = 1;
  while (left > 0) left = (await server.calls.unary(m.getInfo, {})).subscriberCount;
  await server.stop();
});
