// A real Prometheus: it takes the alert rules, each of which fires in promtool's simulation when it
// should, and it scrapes a real server with the configuration of deploy/observability.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { Calls } from "../support/calls.ts";
import { missingTool } from "./build-cache.ts";
import { freePort, repository, startLiveServer, type LiveServer } from "./live-server.ts";
import { notRun, printReport, ran } from "./report.ts";

const folderOfRules = join(repository, "deploy/observability");
const run = promisify(execFile);
const missing = await missingTool({
  name: "prometheus",
  needs: [
    ["prometheus", "--version"],
    ["promtool", "--version"],
  ],
  debianPackages: ["prometheus"],
  build: [],
  run: [],
});
if (missing !== undefined) notRun("prometheus", missing);
const since = performance.now();
afterAll(() => {
  if (missing === undefined) ran("prometheus", undefined, (performance.now() - since) / 1_000);
  printReport();
});

describe.runIf(missing === undefined)("promtool", () => {
  test("takes the rules and the configuration, and each alert fires when it should", async () => {
    const options = { cwd: folderOfRules };
    const checked = await run("promtool", ["check", "config", "prometheus.yaml"], options);
    expect(checked.stdout).toMatch(/SUCCESS: \d\d rules found/);
    const tested = await run("promtool", ["test", "rules", "alerts.test.yaml"], options);
    expect(tested.stdout).toContain("SUCCESS");
  });
});

describe.runIf(missing === undefined)("Prometheus", () => {
  let folder: string;
  let server: LiveServer | undefined;
  let prometheus: ChildProcess;
  let address: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "annals-prometheus-"));
    server = await startLiveServer("TCP");
    address = `127.0.0.1:${await freePort()}`;
    copyFileSync(join(folderOfRules, "alerts.yaml"), join(folder, "alerts.yaml"));
    const config = readFileSync(join(folderOfRules, "prometheus.yaml"), "utf8");
    const quick = config.replaceAll("15s", "1s").replace("127.0.0.1:7420", server.address);
    writeFileSync(join(folder, "prometheus.yaml"), quick);
    prometheus = spawn("prometheus", [
      `--config.file=${join(folder, "prometheus.yaml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=${address}`,
    ]);
  });
  afterAll(async () => {
    prometheus.kill("SIGKILL");
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function ask<T>(path: string): Promise<T | undefined> {
    const response = await fetch(`http://${address}/api/v1/${path}`).catch(() => undefined);
    return response?.ok === true ? ((await response.json()) as { data: T }).data : undefined;
  }

  interface Answer {
    readonly result: readonly { readonly value: readonly [number, string] }[];
  }

  async function valueOf(query: string): Promise<string | undefined> {
    const answer = await ask<Answer>(`query?query=${encodeURIComponent(query)}`);
    return answer?.result[0]?.value[1];
  }

  const patient = { timeout: 60_000, interval: 250 };

  test("scrapes what the server exposes, and sees what happens", async () => {
    const calls = new Calls(server?.address ?? "");
    await calls.unary(EventStoreService.method.append, { stream: "s", events: [{ type: "T" }] });
    calls.close();
    await expect.poll(() => valueOf('up{job="annals"}'), patient).toBe("1");
    await expect.poll(() => valueOf("annals_head_position"), patient).toBe("1");
    const appends = 'rpc_server_call_duration_seconds_count{rpc_method=~".*/Append"}';
    await expect.poll(() => valueOf(appends), patient).toBe("1");
  });

  test("sees the server go: the alert is on its way", async () => {
    interface Alerts {
      readonly alerts: readonly {
        readonly labels: Record<string, string>;
        readonly state: string;
      }[];
    }
    // On a busy machine, others may be under way.
    const downs = async () =>
      (await ask<Alerts>("alerts"))?.alerts.filter(
        ({ labels }) => labels["alertname"] === "AnnalsDown",
      );
    expect(await downs()).toEqual([]);
    await server?.stop();
    server = undefined;
    await expect
      .poll(downs, patient)
      .toMatchObject([{ labels: { alertname: "AnnalsDown" }, state: "pending" }]);
  });
});
