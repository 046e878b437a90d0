// `annals health` as a probe runs it: it finds the server and its TLS by the server's own settings,
// and loads neither gRPC nor protobuf.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../cli/captured-terminal.ts";
import { makeAuthority, sign, type Authority } from "../support/certificates.ts";
import { loaded } from "./loaded-modules.ts";
import { startTestServer } from "../support/running-server.ts";

let folder: string;
let authority: Authority;
let identity: Authority;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "annals-"));
  authority = makeAuthority(folder, "authority");
  identity = sign(folder, "server", authority);
});
afterAll(() => rmSync(folder, { recursive: true }));

const portOf = (address: string): string => address.slice(address.lastIndexOf(":") + 1);

describe("annals health", () => {
  test("trusts the server's own certificate where the server's settings name it", async () => {
    const server = await startTestServer(["--tls-cert", identity.cert, "--tls-key", identity.key]);
    const environment = {
      ANNALS_PORT: portOf(server.address),
      ANNALS_TLS_CERT: identity.cert,
      ANNALS_TLS_KEY: identity.key,
    };
    expect(await run(["health"], { environment })).toMatchObject({ code: 0, output: "serving\n" });
    expect((await run(["info", "--json"], { environment })).code).toBe(0);
    const other = sign(folder, "other", authority);
    const wrong = await run(["health"], {
      environment: { ...environment, ANNALS_TLS_CERT: other.cert },
    });
    expect(wrong).toMatchObject({ code: 1 });
    expect(wrong.errors).toContain("no answer from ");
    await server.stop();
  });

  test("shows the server's certificate where the server asks for one", async () => {
    const { cert, key } = identity;
    const flags = ["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", authority.cert];
    const server = await startTestServer(flags);
    const environment = {
      ANNALS_PORT: portOf(server.address),
      ANNALS_TLS_CERT: cert,
      ANNALS_TLS_KEY: key,
      ANNALS_TLS_CLIENT_CA: authority.cert,
    };
    expect(await run(["health"], { environment })).toMatchObject({ code: 0, output: "serving\n" });
    await server.stop();
  });

  test("answers over TCP and a Unix socket alike, as JSON too", async () => {
    const socket = join(folder, "s");
    const server = await startTestServer(["--unix-socket", socket]);
    for (const address of [server.address, `unix:${socket}`]) {
      const { code, output } = await run(["health", "--address", address, "--json"]);
      expect({ code, output }).toEqual({ code: 0, output: '{"status":"SERVING"}\n' });
    }
    await server.stop();
  });

  test("says what is wrong with an address, a timeout, a certificate", async () => {
    expect(await run(["health", "--address", "a b"])).toMatchObject({ code: 2 });
    expect(await run(["health", "--timeout", "soon"])).toMatchObject({ code: 2 });
    const missing = join(folder, "missing.crt");
    const { code, errors } = await run(["health", "--tls-ca", missing]);
    expect(code).toBe(1);
    expect(errors).toContain("--tls-ca: ENOENT");
  });
});

describe("what a probe loads", () => {
  test("neither gRPC nor protobuf nor the store", async () => {
    const server = await startTestServer();
    const files = await loaded(["health", "--address", server.address]);
    await server.stop();
    expect(
      files.filter((path) => /node_modules|gen\/|\/storage\/|src\/server\.ts/.test(path)),
    ).toEqual([]);
    expect(files.some((path) => path.endsWith("src/cli/server/health.ts"))).toBe(true);
  });
});
