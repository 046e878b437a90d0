// The first day of an operator, from the built tarball and the pages alone: install, certificates and
// tokens for three services, monitoring, a backup made from another machine, a follower; then the
// disk is lost, the follower takes over, and somebody's mistake is undone from the backup.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { execute } from "../clients/build-cache.ts";
import { repository } from "../clients/live-server.ts";
import { makeAuthority, sign } from "../support/certificates.ts";
import { Machine, type Served } from "./machine.ts";

const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
/** Commands are processes, and a busy machine takes seconds for each. */
const patience = { timeout: 60_000, interval: 200 };
const base = `annals-${version}-linux-${process.arch}`;

let packages = "";
/** That of the store, that of the follower, and that of the backups. */
let first: Machine;
let second: Machine;
let third: Machine;
beforeAll(async () => {
  packages = mkdtempSync(join(tmpdir(), "annals-first-day-"));
  await execute(
    ["node", "scripts/packages.mjs", join(packages, "built"), "executable"],
    repository,
  );
  [first, second, third] = [0, 1, 2].map(() => new Machine(["/usr/bin", "/bin"])) as [
    Machine,
    Machine,
    Machine,
  ];
});
afterAll(() => {
  for (const machine of [first, second, third]) machine.remove();
  rmSync(packages, { recursive: true, force: true });
});

/** As docs/operations.md says: checked, unpacked, and both files in one folder. */
async function install(machine: Machine): Promise<string> {
  const built = join(packages, "built");
  await execute(["sha256sum", "--check", "--ignore-missing", "SHA256SUMS"], built);
  await machine.output(["tar", "-xzf", join(built, `${base}.tar.gz`)]);
  const folder = join(machine.folder, "lib");
  mkdirSync(folder);
  const files = ["annals", "classic-level.node"].map((name) => join(base, name));
  await machine.output(["install", ...files, folder]);
  return join(folder, "annals");
}

/** The access file of the worked example in docs/security.md. */
function accessFileOfDocs(): string {
  const [, text = ""] = /```json\n(\{\n {2}"roles"[\s\S]*?\n\})\n```/.exec(
    readFileSync("docs/security.md", "utf8"),
  ) ?? [""];
  return text;
}

const parsed = (text: string): Record<string, unknown>[] =>
  text
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test("goes as the pages say", async () => {
  // ---- install, TLS, tokens for three services and for those who operate it ----
  const annals = await install(first);
  const etc = join(first.folder, "etc");
  mkdirSync(etc);
  const authority = makeAuthority(etc, "authority");
  const { cert, key } = sign(etc, "server", authority);
  const tokensFile = join(etc, "tokens.json");
  const accessFile = join(etc, "access.json");
  writeFileSync(accessFile, accessFileOfDocs());
  const tokenOf = async (name: string, ...more: string[]): Promise<string> => {
    const files = ["--tokens-file", tokensFile, "--access-file", accessFile];
    const token = await first.output([annals, "tokens", "create", name, ...more, ...files]);
    const file = join(etc, `${name}.token`);
    writeFileSync(file, token, { mode: 0o600 });
    return file;
  };
  const tokens = {
    web: await tokenOf("web", "--expires", "90d"),
    billing: await tokenOf("billing", "--expires", "90d"),
    dashboard: await tokenOf("dashboard"),
    root: await tokenOf("root", "--role", "admin", "--expires", "12h"),
    prometheus: await tokenOf("prometheus", "--role", "observer"),
  };
  const settings = {
    ANNALS_TOKENS_FILE: tokensFile,
    ANNALS_ACCESS_FILE: accessFile,
    ANNALS_TLS_CERT: cert,
    ANNALS_TLS_KEY: key,
  };
  const store = join(first.folder, "store");
  const leader = await first.serve([annals, "serve", "--data", store], settings);
  const as = (token: string, at: Served): string[] =>
    ["--address", at.address, "--tls-ca", authority.cert].concat(["--token-file", token]);
  const run = (token: string, at: Served, ...command: string[]) =>
    first.run([annals, ...command, ...as(token, at)]);
  const output = (token: string, at: Served, ...command: string[]) =>
    first.output([annals, ...command, ...as(token, at)]);
  const place = (n: number, at: Served) =>
    output(tokens.web, at, "append", `order-${n}`, "Placed", `{"n":${n}}`);

  // ---- three services, each within its grants ----
  for (const n of [1, 2, 3]) await place(n, leader);
  const beyond = await run(tokens.web, leader, "append", "invoice-1", "Sent", "{}");
  expect(beyond.code).toBe(1);
  expect(beyond.errors).toContain('principal "web" lacks append for "invoice-1"');
  await output(tokens.root, leader, "groups", "create", "billing", "--prefix", "order-");
  const due = await output(tokens.billing, leader, "consume", "billing", "-n", "3", "--json");
  expect(parsed(due).map(({ stream }) => stream)).toEqual(["order-1", "order-2", "order-3"]);
  await output(tokens.billing, leader, "append", "invoice-1", "Sent", "{}");
  expect(parsed(await output(tokens.dashboard, leader, "read", "--json"))).toHaveLength(4);
  const audit = await output(tokens.root, leader, "read", "$audit", "--json");
  expect(audit).toContain('"$AuditDenied"');

  // ---- monitoring: what Prometheus asks for, by the operator's token alone ----
  const rules = join(first.folder, base, "deploy/observability");
  for (const name of ["prometheus.yaml", "alerts.yaml", "dashboard.json"]) {
    expect(existsSync(join(rules, name)), name).toBe(true);
  }
  const look = ["top", "--once", "--every", "1s", "--json"];
  expect((await run(tokens.web, leader, ...look)).errors).toContain("the role observer");
  const [figures] = parsed(await output(tokens.prometheus, leader, ...look));
  expect(figures).toMatchObject({ writeState: "accepting", groups: [{ group: "billing" }] });
  const scrape = ["curl", "-sS", "--cacert", authority.cert, "-H"];
  const credential = `authorization: Bearer ${readFileSync(tokens.prometheus, "utf8").trim()}`;
  const metrics = await first.run([...scrape, credential, `https://${leader.address}/metrics`]);
  if (metrics.code === 0) expect(metrics.output).toContain("\nannals_head_position ");
  const page = await first.output([annals, "ui", "-a", leader.address, "--tls"]);
  expect(page).toBe(`https://${leader.address}/\n`);

  // ---- a backup from another machine, and a follower on a third ----
  const other = await install(second);
  const backups = join(third.folder, "backups");
  const backedUp = await install(third);
  const backUp = (at: Served): Promise<string> =>
    third.output(
      [backedUp, "backup", at.address, backups, "--keep", "24"].concat([
        "--tls-ca",
        authority.cert,
        "--token-file",
        tokens.root,
      ]),
    );
  expect(await backUp(leader)).toContain("events added");
  const follow = (at: Served): string[] =>
    ["--follow", at.address, "--follow-tls-ca", authority.cert].concat([
      "--follow-token-file",
      tokens.root,
    ]);
  const copy = join(second.folder, "copy");
  const server = [other, "serve", "--data", copy];
  const follower = await second.serve([...server, ...follow(leader)], settings);
  await place(4, leader);
  const headOf = async (at: Served): Promise<number> =>
    Number(parsed(await output(tokens.root, at, "info", "--json"))[0]?.["head"]);
  const head = await headOf(leader);
  await expect.poll(() => headOf(follower), patience).toBeGreaterThanOrEqual(head);
  const refused = await run(tokens.web, follower, "append", "order-9", "Placed", "{}");
  expect(refused.errors).toContain("NOT_LEADER");

  // ---- the disk is lost: the follower takes over, and the old machine follows it ----
  process.kill(leader.pid, "SIGKILL");
  rmSync(store, { recursive: true });
  await output(tokens.root, follower, "promote", follower.address);
  await expect
    .poll(
      async () => (await run(tokens.web, follower, "append", "order-5", "Placed", '{"n":5}')).code,
      patience,
    )
    .toBe(0);
  const orders = parsed(
    await output(tokens.dashboard, follower, "read", "--prefix", "order-", "--json"),
  );
  expect(orders.map(({ stream }) => stream)).toEqual([1, 2, 3, 4, 5].map((n) => `order-${n}`));
  const rest = await output(tokens.billing, follower, "consume", "billing", "-n", "2", "--json");
  expect(parsed(rest).map(({ stream }) => stream)).toEqual(["order-4", "order-5"]);
  const back = join(first.folder, "store-anew");
  const returned = await first.serve(
    [annals, "serve", "--data", back, ...follow(follower)],
    settings,
  );
  const newHead = await headOf(follower);
  await expect.poll(() => headOf(returned), patience).toBeGreaterThanOrEqual(newHead);

  // ---- a mistake, and the store as of before it ----
  const backups2 = join(third.folder, "backups-of-the-new-leader");
  const before = new Date().toISOString();
  await output(tokens.root, follower, "streams", "delete", "order-1", "--reason", "a mistake");
  await output(tokens.web, follower, "append", "order-6", "Wrong", "{}");
  const made = ["backup", follower.address, backups2, "--tls-ca", authority.cert];
  await third.output([backedUp, ...made, "--token-file", tokens.root]);
  const restored = join(third.folder, "restored");
  const back1 = ["restore", backups2, restored, "--to-time", before, "--without-progress"];
  expect(await third.output([backedUp, ...back1])).toContain("left out");
  expect(await third.output([backedUp, "verify", restored])).toContain("sound");
  const undone = await third.serve([backedUp, "serve", "--data", restored], settings);
  const again = parsed(
    await output(tokens.dashboard, undone, "read", "--prefix", "order-", "--json"),
  );
  expect(again.map(({ stream }) => stream)).toEqual([1, 2, 3, 4, 5].map((n) => `order-${n}`));
  for (const each of [undone, returned, follower]) expect(await each.stop()).toBe(0);
  // Of the backup before the disk was lost, too.
  const oldest = join(third.folder, "oldest");
  expect(await third.output([backedUp, "restore", backups, oldest])).toContain("verified");
});
