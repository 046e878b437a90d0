// Probes and metrics beside gRPC on the same port: by HTTP/1.1 and HTTP/2, over TCP, TLS and the
// Unix socket, and on a port of their own.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { connect as connectHttp2, type SecureClientSessionOptions } from "node:http2";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { revokeTokens } from "../../src/access/token-file.ts";
import { startFailure } from "../../src/cli/server/start-failure.ts";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { startServer } from "../../src/server.ts";
import { openMemoryStorage } from "../../src/storage/leveldb/open.ts";
import type { StorageWatcher, WriteState } from "../../src/storage/storage.ts";
import { accessFolder } from "../support/access.ts";
import { makeAuthority, sign, type Authority } from "../support/certificates.ts";
import {
  configOf,
  recordingLogger,
  startTestServer,
  type TestServer,
} from "../support/running-server.ts";

interface Answer {
  readonly status: number;
  readonly body: string;
}

function byHttp1(options: RequestOptions & { ca?: Buffer }, path: string): Promise<Answer> {
  const request = options.ca === undefined ? httpRequest : httpsRequest;
  return new Promise((resolve, reject) => {
    const asked = request({ ...options, path, agent: false }, (response: IncomingMessage) => {
      let body = "";
      response.on("data", (part: Buffer) => (body += part.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asked.on("error", reject).end();
  });
}

function byHttp2(
  authority: string,
  path: string,
  { method = "GET", ...options }: SecureClientSessionOptions & { method?: string } = {},
): Promise<Answer> {
  const session = connectHttp2(authority, options);
  return new Promise<Answer>((resolve, reject) => {
    session.on("error", reject);
    const stream = session.request({ ":method": method, ":path": path });
    let status = 0;
    let body = "";
    stream.on("response", (headers) => (status = headers[":status"] ?? 0));
    stream.on("data", (part: Buffer) => (body += part.toString()));
    stream.on("end", () => resolve({ status, body })).on("error", reject);
    stream.end();
  }).finally(() => session.close());
}

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(":") + 1));
const ready = { status: 200, body: "serving\n" };

let folder: string;
let authority: Authority;
let identity: Authority;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "annals-http-"));
  authority = makeAuthority(folder, "authority");
  identity = sign(folder, "localhost", authority);
});
afterAll(() => rmSync(folder, { recursive: true }));

let server: TestServer;
afterEach(() => server.stop());

describe("probes", () => {
  test("are answered on the port of the calls, by HTTP/1.1 and HTTP/2, beside calls", async () => {
    server = await startTestServer();
    const port = portOf(server.address);
    const here = { host: "127.0.0.1", port };
    for (let i = 0; i < 3; i++) {
      expect(await byHttp1(here, "/readyz")).toEqual(ready);
      expect(await byHttp2(`http://127.0.0.1:${port}`, "/readyz")).toEqual(ready);
      await server.calls.unary(EventStoreService.method.getInfo, {});
    }
    expect(await byHttp1(here, "/healthz")).toEqual({ status: 200, body: "alive\n" });
    expect(await byHttp1({ ...here, method: "HEAD" }, "/readyz")).toEqual({ ...ready, body: "" });
    const head = await byHttp2(`http://127.0.0.1:${port}`, "/readyz", { method: "HEAD" });
    expect(head).toEqual({ ...ready, body: "" });
    expect((await byHttp1(here, "/nothing")).status).toBe(404);
    expect((await byHttp2(`http://127.0.0.1:${port}`, "/nothing")).status).toBe(404);
    const posted = byHttp2(`http://127.0.0.1:${port}`, "/readyz", { method: "POST" });
    expect((await posted).status).toBe(405);
  });

  test("are answered over the Unix socket, and over TLS whatever the client offers", async () => {
    const socketPath = join(folder, "s");
    const tls = ["--tls-cert", identity.cert, "--tls-key", identity.key];
    server = await startTestServer([...tls, "--unix-socket", socketPath]);
    expect(await byHttp1({ socketPath }, "/readyz")).toEqual(ready);
    const ca = readFileSync(authority.cert);
    const port = portOf(server.address);
    expect(await byHttp1({ host: "localhost", port, ca }, "/readyz")).toEqual(ready);
    expect(await byHttp2(`https://localhost:${port}`, "/readyz", { ca })).toEqual(ready);
  });

  test("say why the server is not ready, and when only another start helps", async () => {
    const storage = await openMemoryStorage();
    let state: WriteState = "accepting";
    const watchers: StorageWatcher[] = [];
    const tell = () => watchers.forEach((each) => each.writeStateChanged?.(state, "a test"));
    let isDamaged = false;
    const openStorage = async () => ({
      ...storage,
      writeState: () => state,
      isDamaged: () => isDamaged,
      watch: (watcher: StorageWatcher) => {
        watchers.push(watcher);
        return storage.watch(watcher);
      },
    });
    server = await startTestServer([], { openStorage });
    const here = { host: "127.0.0.1", port: portOf(server.address) };
    for (const refusing of ["disk-full", "recovering"] as const) {
      state = refusing;
      tell();
      expect(await byHttp1(here, "/readyz")).toMatchObject({ status: 200 });
      expect((await byHttp1(here, "/readyz")).body).toMatch(/^serving; .*appends are refused/);
      expect((await byHttp1(here, "/healthz")).status).toBe(200);
    }
    state = "failed";
    tell();
    for (const path of ["/readyz", "/healthz"]) {
      const body = "the store cannot be written any more; the log says why\n";
      expect(await byHttp1(here, path)).toEqual({ status: 503, body });
    }
    // Reads go on, and no other start would serve it.
    isDamaged = true;
    expect(await byHttp1(here, "/readyz")).toMatchObject({ status: 503 });
    const alive = expect.stringContaining("alive; the store is damaged");
    expect(await byHttp1(here, "/healthz")).toEqual({ status: 200, body: alive });
  });
});

describe("the port for operators", () => {
  test("answers without asking who calls, and has no calls", async () => {
    const access = accessFolder();
    server = await startTestServer([...access.flags, "--metrics-listen", "127.0.0.1:0"]);
    const line = server.lines.find(({ message }) => message === "metrics and probes");
    const here = { host: "127.0.0.1", port: portOf(String(line?.["address"])) };
    expect(await byHttp1(here, "/readyz")).toEqual(ready);
    expect((await byHttp1(here, "/metrics")).body).toContain("annals_build_info{");
    await expect(byHttp2(`http://127.0.0.1:${here.port}`, "/readyz")).rejects.toThrow(/./);
    access.remove();
  });

  test("is refused by name where others reach it, where it is taken, and where it is none", async () => {
    server = await startTestServer();
    const { address } = server;
    for (const [where, why] of [
      ["0.0.0.0:9464", "--metrics-listen: 0.0.0.0 is reached by other machines"],
      ["9464", "--metrics-listen: is not HOST:PORT"],
      ["localhost:99999", "--metrics-listen: is not HOST:PORT"],
    ] as const) {
      expect(() => configOf("--metrics-listen", where)).toThrow(why);
    }
    expect(() => configOf("--metrics-listen", "[::1]:9464")).not.toThrow();
    const taken = configOf("--memory", "--port", "0", "--metrics-listen", address);
    const refusal: unknown = await startServer(taken, recordingLogger().logger).catch(
      (error: unknown) => error,
    );
    expect(startFailure(refusal, taken)).toBe(
      `--metrics-listen (ANNALS_METRICS_LISTEN): cannot listen on ${address}: ` +
        "another process listens there; choose another",
    );
  });
});

describe("metrics on the port of the calls", () => {
  test("are for a principal that may observe, until its token is revoked", async () => {
    const access = accessFolder();
    const observer = await access.token("prometheus", ["observer"]);
    const reader = await access.token("reader", ["reader"]);
    server = await startTestServer(access.flags);
    const at = (token?: string) =>
      fetch(`http://${server.address}/metrics`, {
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      });
    const nobody = await at();
    expect([nobody.status, nobody.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
    expect((await at("annals_wrong")).status).toBe(401);
    const denied = await at(reader);
    expect(denied.status).toBe(403);
    expect(await denied.text()).toContain("lacks observe for everything");
    expect((await at(observer)).status).toBe(200);
    expect((await fetch(`http://${server.address}/readyz`)).status).toBe(200);
    const [, id = ""] = /^annals_([^_]+)_/.exec(observer) ?? [];
    await revokeTokens(access.tokensFile, id, Date.now());
    await expect.poll(async () => (await at(observer)).status, { timeout: 5_000 }).toBe(401);
    access.remove();
  });

  test("are not there where they are turned off", async () => {
    server = await startTestServer(["--no-metrics"]);
    expect((await fetch(`http://${server.address}/metrics`)).status).toBe(404);
    expect((await fetch(`http://${server.address}/readyz`)).status).toBe(200);
  });
});
