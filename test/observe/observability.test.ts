// What operators load into Prometheus and Grafana, against what a server exposes: no query asks for a
// metric that is not there, and the page knows every metric and every alert.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { standbyFamilies } from "../../src/observe/store-families.ts";
import { makeAuthority, sign } from "../support/certificates.ts";
import { startTestServer } from "../support/running-server.ts";

const read = (path: string): string => readFileSync(path, "utf8");
const page = read("docs/monitoring.md");
const alerts = read("deploy/observability/alerts.yaml");
const alertTests = read("deploy/observability/alerts.test.yaml");
const dashboard = read("deploy/observability/dashboard.json");

/** The metrics that the text names; labels look alike. */
function metricsIn(text: string): Set<string> {
  const names = text.match(/\b(?:annals|rpc_server|process|nodejs)_\w+\b/g) ?? [];
  return new Set(names.map((name) => name.replace(/_(bucket|sum|count)$/, "")));
}

const alertNames = [...alerts.matchAll(/^ +- alert: (\w+)$/gm)].map(([, name]) => name);
let exposed: Set<string>;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "annals-observability-"));
  const authority = makeAuthority(folder, "authority");
  const { cert, key } = sign(folder, "localhost", authority);
  const tls = ["--tls-cert", cert, "--tls-key", key];
  const own = ["--metrics-listen", "127.0.0.1:0"];
  const server = await startTestServer(["--data", join(folder, "store"), ...tls, ...own]);
  const line = server.lines.find(({ message }) => message === "metrics and probes");
  const look = async () => (await fetch(`http://${String(line?.["address"])}/metrics`)).text();
  await look();
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const text = await look();
  const copy = ["--data", join(folder, "copy"), "--follow", server.address];
  const leader = ["--follow-tls-ca", authority.cert, "--follow-tls-server-name", "localhost"];
  const follower = await startTestServer([...copy, ...leader]);
  const followed = await (await fetch(`http://${follower.address}/metrics`)).text();
  const told = `${text}${followed}`.matchAll(/^# TYPE (\w+) /gm);
  // Those of standbys are exposed where a server has one, over PostgreSQL.
  const ofStandbys = standbyFamilies([]).map(({ name }) => name);
  exposed = new Set([...[...told].map(([, name = ""]) => name), ...ofStandbys]);
  await follower.stop();
  await server.stop();
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("the metrics that a server exposes", () => {
  test("are those of the table, and no other", () => {
    const [, section = ""] = /\n## Metrics\n([\s\S]*?)\n## /.exec(page) ?? [];
    const cells = section.split("\n").filter((row) => row.startsWith("| `"));
    const told = cells.flatMap((row) => [...metricsIn(row.split("|")[1] ?? "")]);
    expect(told.toSorted()).toEqual([...exposed].toSorted());
  });

  test.each([
    ["alert", alerts],
    ["test of an alert", alertTests],
    ["panel of the dashboard", dashboard],
  ])("are what each %s asks for", (_, text) => {
    const asked = metricsIn(text);
    expect(asked.size).toBeGreaterThan(15);
    expect([...asked].filter((name) => !exposed.has(name))).toEqual([]);
  });

  test("have names with their unit, and counters end in _total", async () => {
    for (const name of exposed) {
      expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
      expect(name).not.toMatch(/_(ms|milliseconds|kilobytes|megabytes|percent)(_|$)/);
    }
  });
});

describe("the alerts", () => {
  test("are each tested and explained, and no other is", () => {
    const tested = [...alertTests.matchAll(/^ +- alertname: (\w+)$/gm)].map(([, name]) => name);
    expect(tested).toEqual(alertNames);
    const [, section = ""] = /\n## Alerts\n([\s\S]*?)(?:\n## |$)/.exec(page) ?? [];
    const explained = [...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    expect(explained).toEqual(alertNames);
    expect(alertNames.length).toBeGreaterThan(15);
  });
});

describe("the dashboard", () => {
  test("has panels that do not overlap, each with a query of the chosen instances", () => {
    interface Panel {
      readonly title: string;
      readonly type: string;
      readonly gridPos: { x: number; y: number; w: number; h: number };
      readonly targets?: readonly { readonly expr: string }[];
    }
    const { panels } = JSON.parse(dashboard) as { panels: Panel[] };
    const taken = new Map<string, string>();
    for (const { title, type, gridPos, targets = [] } of panels) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.get(`${x},${y}`), title).toBeUndefined();
          taken.set(`${x},${y}`, title);
        }
      }
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      if (type === "row") continue;
      expect(targets.length, title).toBeGreaterThan(0);
      for (const { expr } of targets) expect(expr, title).toContain('instance=~"$instance"');
    }
  });
});
