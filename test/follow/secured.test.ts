// A follower of a leader that asks who calls, over TLS: with the right token and authority it follows,
// and otherwise it says why not.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FollowerPhase, type FollowerInfo } from "../../src/gen/annals/v1/info_pb.js";
import { run } from "../cli/captured-terminal.ts";
import { makeAuthority, sign, type Authority } from "../support/certificates.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";
import { clientsOf } from "../support/varied-history.ts";

let scratch: string;
let leader: TestServer;
let authority: Authority;
const file = (name: string): string => join(scratch, name);
const ends: (() => Promise<void>)[] = [];

async function token(name: string, role: string): Promise<string> {
  const tokens = ["--tokens-file", file("tokens.json")];
  const made = await run(["tokens", "create", name, "--role", role, ...tokens]);
  expect(made.code).toBe(0);
  return made.output.trim();
}

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "annals-secured-"));
  authority = makeAuthority(scratch, "authority");
  const { cert, key } = sign(scratch, "localhost", authority);
  const admin = await token("copier", "admin");
  writeFileSync(file("copier.token"), admin);
  const tls = ["--tls-cert", cert, "--tls-key", key, "--tokens-file", file("tokens.json")];
  leader = await startTestServer(["--data", file("leader"), ...tls]);
});
afterAll(async () => {
  for (const end of ends.toReversed()) await end();
  await leader.stop();
  rmSync(scratch, { recursive: true });
});

function following(folder: string, ca: string, tokenFile: string): Promise<TestServer> {
  const leads = ["--follow", leader.address, "--follow-tls-ca", ca];
  return startTestServer(["--data", folder, ...leads, "--follow-token-file", tokenFile]);
}

async function phaseOf(
  server: TestServer,
  isThere: (info: FollowerInfo) => boolean,
): Promise<FollowerInfo> {
  const clients = clientsOf(server.address);
  try {
    for (let i = 0; i < 1_000; i++) {
      const { follower } = await clients.store.getInfo({});
      if (follower !== undefined && isThere(follower)) return follower;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    throw new Error("the follower does not get there");
  } finally {
    clients.close();
  }
}

describe("a follower of a secured leader", () => {
  test("follows by TLS with a token, until that is revoked, and with the next one", async () => {
    const follower = await following(file("follower"), authority.cert, file("copier.token"));
    ends.push(() => follower.stop());
    await phaseOf(follower, ({ phase }) => phase === FollowerPhase.FOLLOWING);
    const tokens = ["--tokens-file", file("tokens.json")];
    expect((await run(["tokens", "revoke", "copier", ...tokens])).code).toBe(0);
    const { why } = await phaseOf(follower, ({ phase }) => phase === FollowerPhase.DISCONNECTED);
    expect(why).toMatch(/token|credential/);
    writeFileSync(file("copier.token"), await token("reader", "reader"));
    const denied = await phaseOf(follower, (info) => info.why.includes("lacks"));
    expect(denied.why).toContain("lacks admin");
    writeFileSync(file("copier.token"), await token("next", "admin"));
    await phaseOf(follower, ({ phase }) => phase === FollowerPhase.FOLLOWING);
  });

  test("of another authority's certificate gets nothing, and says so", async () => {
    const other = makeAuthority(scratch, "other");
    writeFileSync(file("again.token"), await token("again", "admin"));
    const first = await following(file("copy"), authority.cert, file("again.token"));
    await phaseOf(first, ({ phase }) => phase === FollowerPhase.FOLLOWING);
    await first.stop();
    const second = await following(file("copy"), other.cert, file("again.token"));
    ends.push(() => second.stop());
    const { phase, why } = await phaseOf(second, (info) => !info.why.includes("not connected yet"));
    expect(phase).toBe(FollowerPhase.DISCONNECTED);
    expect(why).toMatch(/certificate/);
  });
});
