// Which pages of browsers may make calls: by their origin, and by the name under which a server that
// asks nobody who he is was reached.
import { afterEach, describe, expect, test } from "vitest";
import { accessFolder } from "../../support/access.ts";
import { ask, type Asked } from "../../support/http.ts";
import { configOf, startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
afterEach(() => server.stop());

const info = "/annals.v1.EventStoreService/GetInfo";
const json = { "content-type": "application/json" };
const at = (headers: Record<string, string>, more: Asked = {}) =>
  ask(server.address, info, { headers: { ...json, ...headers }, body: "{}", ...more });

describe("a page of another origin", () => {
  test("may make no call unless it is named, whatever it sends", async () => {
    server = await startTestServer();
    const foreign = { origin: "https://evil.example" };
    const refused = await at(foreign);
    expect([refused.status, refused.headers["access-control-allow-origin"]]).toEqual([
      403,
      undefined,
    ]);
    const asked = {
      method: "OPTIONS",
      headers: { ...foreign, "access-control-request-method": "POST" },
    };
    expect((await ask(server.address, info, asked)).status).toBe(403);
    expect((await ask(server.address, "/v1/subscribe", { headers: foreign })).status).toBe(403);
    expect((await at({ origin: "null" })).status).toBe(403);
    expect((await at({ origin: `http://${server.address}` })).status).toBe(200);
  });

  test("is allowed where it is named, and told so in answers and refusals", async () => {
    server = await startTestServer(["--cors-origin", "https://app.example,http://b.example:81"]);
    const named = { origin: "https://app.example" };
    const preflight = await ask(server.address, info, {
      method: "OPTIONS",
      headers: {
        ...named,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });
    expect([preflight.status, preflight.headers]).toMatchObject([
      204,
      {
        "access-control-allow-origin": "https://app.example",
        "access-control-allow-headers": "authorization,content-type",
        vary: "origin",
      },
    ]);
    const allowed = { "access-control-allow-origin": "https://app.example" };
    expect((await at(named)).headers).toMatchObject(allowed);
    expect((await at(named, { body: "x" })).headers).toMatchObject(allowed);
    expect((await at({ origin: "https://app.example.evil" })).status).toBe(403);
  });

  test.each(["app.example", "https://a.example/", "https://a.example,", "https://a b"])(
    "cannot be named as %s",
    async (origin) => {
      server = await startTestServer();
      expect(() => configOf("--cors-origin", origin)).toThrow("--cors-origin: is not like");
    },
  );
});

describe("a name that anybody can give this machine", () => {
  test("is refused by a server that trusts who reaches it", async () => {
    server = await startTestServer(["--cors-origin", "http://annals:7420"]);
    const statusAs = async (host: string) => (await at({ host })).status;
    for (const host of ["evil.example", "evil.example:7420", "127.0.0.1.evil.example"]) {
      expect(await statusAs(host), host).toBe(421);
    }
    for (const host of ["127.0.0.1", "10.1.2.3:7420", "[::1]:7420", "localhost:1", "annals:7420"]) {
      expect(await statusAs(host), host).toBe(200);
    }
    const probe = await ask(server.address, "/readyz", { headers: { host: "evil.example" } });
    expect(probe.status).toBe(200);
  });

  test("is served by a server that asks who calls", async () => {
    const access = accessFolder();
    const token = await access.token("somebody", ["reader"]);
    server = await startTestServer(access.flags);
    const headers = { host: "annals.example", authorization: `Bearer ${token}` };
    expect((await at(headers)).status).toBe(200);
    const nobody = await at({ host: "annals.example" });
    expect([nobody.status, nobody.headers["www-authenticate"]]).toEqual([401, "Bearer"]);
    access.remove();
  });
});
