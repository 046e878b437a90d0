// deploy/cluster as people use it: started by one command, its primary killed under two servers, and
// removed. Many more failovers are a campaign (test/campaigns/cluster).
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, defineEvents } from "../../src/client/sdk.ts";
import { missingTool } from "../clients/build-cache.ts";

const folder = resolve(import.meta.dirname, "../../deploy/cluster");
const execute = promisify(execFile);
const events = defineEvents<{ type: "Happened"; data: { n: number } }>();
const scratch = mkdtempSync(join(tmpdir(), "annals-cluster-test-"));
const timing = { TTL: "5", LOOP_WAIT: "1", RETRY_TIMEOUT: "2" };
const env = {
  ...process.env,
  ...timing,
  // PostgreSQL does not run as root, and has to reach it.
  CLUSTER_DIR: mkdtempSync(join(tmpdir(), "annals-cluster-")),
  PREFIX: `127.${1 + (process.pid % 250)}.78`,
};

async function cluster(...command: readonly string[]): Promise<string> {
  return (await execute(join(folder, "cluster.sh"), command, { env })).stdout;
}

let missing: string | undefined;
beforeAll(async () => {
  missing = await missingTool({
    name: "cluster",
    needs: [
      ["patroni", "--version"],
      ["etcd", "--version"],
    ],
    debianPackages: ["postgresql", "patroni", "etcd-server", "procps"],
    build: [],
    run: [],
  });
  if (missing !== undefined) {
    console.error(
      `deploy/cluster: NOT RUN: ${missing} (Debian: apt-get install patroni etcd-server)`,
    );
  }
}, 600_000);
afterAll(async () => {
  if (missing === undefined) await cluster("remove");
  rmSync(scratch, { recursive: true, force: true });
});

describe("deploy/cluster", () => {
  test("two servers go on when the primary dies", async ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const said = await cluster("start");
    const addresses = [...said.matchAll(/^server\d (\S+)$/gm)].map(([, address = ""]) => address);
    expect(addresses).toHaveLength(2);
    const clients = addresses.map((address) => connect({ address, events }));
    const positions: number[] = [];
    const append = async (n: number): Promise<void> => {
      const id = crypto.randomUUID();
      for (const client of clients) {
        // The same event at both: whichever server stores it, the other one knows it.
        const event = { type: "Happened", data: { n }, id } as const;
        const { lastPosition } = await client.append("a", event, { timeoutMs: 60_000 });
        if (positions.at(-1) !== lastPosition) positions.push(lastPosition);
      }
    };
    for (let n = 1; n <= 5; n++) await append(n);
    const primary = /^n(\d) \S+ leader/m.exec(said)?.[1] ?? "";
    await cluster("crash", `node${primary}`);
    for (let n = 6; n <= 10; n++) await append(n);
    expect(positions).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await cluster("status")).not.toMatch(new RegExp(`^n${primary} \\S+ leader`, "m"));
    await cluster("run", `node${primary}`);
    for (const client of clients) client.close();
    await cluster("stop");
    const left = execFileSync("ps", ["-eo", "args"], { encoding: "utf8" });
    expect(left.split("\n").filter((line) => line.includes(env.CLUSTER_DIR))).toEqual([]);
    expect(readdirSync(env.CLUSTER_DIR)).toContain("node1");
  });

  test.each([
    ["etcd3", "3.0.2", "true", /refused: .* section etcd3, with which Patroni 3\.0\.2 loses/],
    ["etcd3", "3.0.3", "true", undefined],
    ["etcd", "3.0.2", "true", undefined],
    ["etcd", "4.1.0", "false", /refused: .* does not say synchronous_mode: true/],
  ])("a Patroni with %s, version %s, synchronous %s", async (section, version, on, refused) => {
    const file = join(scratch, "patroni.yml");
    const modes = ["synchronous_mode", "synchronous_mode_strict"].map(
      (mode) => `    ${mode}: ${on}`,
    );
    writeFileSync(file, [`${section}: {hosts: "x"}`, "bootstrap:", "  dcs:", ...modes].join("\n"));
    const checked = execute(join(folder, "node.sh"), ["check", file], {
      env: { ...process.env, PATRONI: `echo patroni ${version}` },
    });
    if (refused === undefined) await checked;
    else await expect(checked).rejects.toMatchObject({ stderr: expect.stringMatching(refused) });
  });
});
