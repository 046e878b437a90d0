// The files of the console as a server serves them: a fixed table, kept by browsers, compressed, for
// everybody, and nothing else.
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accessFolder, type AccessFolder } from "../support/access.ts";
import { ask } from "../support/http.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";

const files = {
  "/": "text/html; charset=utf-8",
  "/console/app.js": "text/javascript; charset=utf-8",
  "/console/app.css": "text/css; charset=utf-8",
  "/console/icon.svg": "image/svg+xml",
};

describe("the files of the console", () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer();
  });

  afterAll(() => server.stop());

  test.each(Object.entries(files))("%s is served, compressed and kept", async (path, type) => {
    const plain = await ask(server.address, path);
    expect(plain.status).toBe(200);
    expect(plain.headers["content-type"]).toBe(type);
    expect(plain.headers["content-encoding"]).toBeUndefined();
    expect(plain.headers["cache-control"]).toBe("no-cache");
    expect(plain.headers["x-content-type-options"]).toBe("nosniff");
    const headers = { "accept-encoding": "br, gzip;q=0.8" };
    const zipped = await ask(server.address, path, { headers });
    expect(zipped.headers["content-encoding"]).toBe("gzip");
    expect(gunzipSync(zipped.body).equals(plain.body)).toBe(true);
    const etag = String(plain.headers.etag);
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`]) {
      const kept = await ask(server.address, path, { headers: { "if-none-match": known } });
      expect([kept.status, kept.body.length]).toEqual([304, 0]);
      expect(kept.headers.etag).toBe(etag);
    }
    const stale = await ask(server.address, path, { headers: { "if-none-match": '"other"' } });
    expect(stale.status).toBe(200);
    const head = await ask(server.address, path, { method: "HEAD" });
    expect(head.headers["content-length"]).toBe(`${plain.body.length}`);
    expect(head.body).toHaveLength(0);
  });

  test.each(["gzip;q=0", "identity", "", "gzip;q=0.000, br"])(
    "are not compressed for a client that accepts %j",
    async (accepted) => {
      const headers = { "accept-encoding": accepted };
      const answer = await ask(server.address, "/console/app.css", { headers });
      expect(answer.headers["content-encoding"]).toBeUndefined();
    },
  );

  test("run nothing that is not theirs, and are in no frame", async () => {
    const { headers, body } = await ask(server.address, "/");
    const policy = String(headers["content-security-policy"]);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    // No inline script or style, and nothing from elsewhere.
    expect(body.toString()).not.toMatch(/<script(?![^>]*src="\/)|<style|style=|\son\w+=|https?:/);
  });

  test.each([
    "/console",
    "/console/",
    "/console/../options.ts",
    "/console/app.js/x",
    "/index.html",
  ])("are all that there is: %s is not found", async (path) => {
    expect((await ask(server.address, path)).status).toBe(404);
  });

  test("take no other method", async () => {
    const answer = await ask(server.address, "/", { body: "{}" });
    expect(answer.status).toBe(405);
  });

  test("are small", async () => {
    let bytes = 0;
    for (const path of Object.keys(files)) bytes += (await ask(server.address, path)).body.length;
    expect(bytes).toBeLessThan(300_000);
  });
});

test("--no-console turns it off", async () => {
  const server = await startTestServer(["--no-console"]);
  try {
    for (const path of Object.keys(files)) {
      expect((await ask(server.address, path)).status).toBe(404);
    }
    expect((await ask(server.address, "/healthz")).status).toBe(200);
  } finally {
    await server.stop();
  }
});

describe("where callers are asked who they are", () => {
  let access: AccessFolder;
  let server: TestServer;

  beforeAll(async () => {
    access = accessFolder();
    server = await startTestServer(access.flags);
  });

  afterAll(async () => {
    await server.stop();
    access.remove();
  });

  test("the files are for everybody, and data is not", async () => {
    expect((await ask(server.address, "/console/app.js")).status).toBe(200);
    const path = "/annals.v1.EventStoreService/ListStreams";
    const headers = { "content-type": "application/json" };
    expect((await ask(server.address, path, { body: "{}", headers })).status).toBe(401);
  });
});
