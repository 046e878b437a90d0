// The short form: four faults of a real cluster, and the control. Needs root, Patroni and etcd.
import { beforeAll, expect, test } from "vitest";
import { missingTool } from "../../clients/build-cache.ts";
import { cluster } from "./campaign.ts";
import { cannotCluster } from "./local-cluster.ts";

const tools = {
  name: "cluster",
  needs: [
    ["patroni", "--version"],
    ["etcd", "--version"],
  ],
  debianPackages: ["postgresql", "patroni", "etcd-server", "iproute2", "procps"],
  build: [],
  run: [],
};

let reason: string | undefined;
beforeAll(async () => {
  reason = (await missingTool(tools)) ?? cannotCluster();
  if (reason !== undefined) console.warn(`LEFT OUT: the cluster campaign: ${reason}`);
}, 600_000);

test("failovers of a real cluster lose nothing", async ({ skip }) => {
  if (reason !== undefined) skip(reason);
  const seed = Number(process.env["SEED"] ?? 20_240_607);
  const plan = [
    "the primary is killed",
    "PostgreSQL of the primary hangs beside its Patroni",
    "the primary is cut off from the other nodes alone",
    "a server is killed",
  ];
  const { violations, control, detail } = await cluster({ seed, plan });
  expect(violations).toEqual([]);
  expect(control).toBe(true);
  expect(detail["failovers"]).toBeGreaterThanOrEqual(3);
});
