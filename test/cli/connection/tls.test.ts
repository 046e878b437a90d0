// What a command prints where it talks TLS to a server: the reason of a failure, and nothing else.
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeAuthority, sign, type Authority } from "../../support/certificates.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { spawnAnnals, temporaryFolder } from "../running-server.ts";

let authority: Authority;
let identity: Authority;
let server: TestServer;
beforeAll(async () => {
  const folder = temporaryFolder();
  authority = makeAuthority(folder, "authority");
  identity = sign(folder, "server", authority);
  const { cert, key } = identity;
  server = await startTestServer([
    "--tls-cert",
    cert,
    "--tls-key",
    key,
    "--tls-client-ca",
    authority.cert,
  ]);
});
afterAll(() => server.stop());

async function printedBy(command: string, ...flags: readonly string[]) {
  const usual = ["--address", server.address, "--tls-ca", authority.cert];
  const { ended, printed } = spawnAnnals([command, ...usual, ...flags]);
  return { code: await ended, printed: printed() };
}

test("a server at an IP address that asks for a certificate answers without warnings of Node", async () => {
  const { cert, key } = identity;
  const { code, printed } = await printedBy("info", "--tls-cert", cert, "--tls-key", key);
  expect(printed).toMatch(/^server {2,}annals /);
  expect(printed).not.toContain("Warning");
  expect(code).toBe(0);
});

test.each(["info", "health"])(
  "%s without the certificate says that one is required",
  async (command) => {
    const { code, printed } = await printedBy(command);
    expect(printed).toMatch(/^error: no .*: TLS: tlsv13 alert certificate required\b/);
    expect(printed).not.toContain("openssl");
    expect(code).toBe(1);
  },
);
