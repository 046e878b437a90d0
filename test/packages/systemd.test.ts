// The units of deploy/systemd, read by systemd itself and held against the server's options.

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { missingTool } from "../clients/build-cache.ts";
import { exitCode } from "../../src/cli/arguments/options.ts";
import { helpPage } from "../../src/cli/help.ts";
import { loadConfig } from "../../src/config.ts";

const unit = readFileSync("deploy/systemd/annals.service", "utf8");
const settings = readFileSync("deploy/systemd/annals.env", "utf8");
const valueOf = (name: string): string | undefined =>
  new RegExp(`^${name}=(.*)$`, "m").exec(unit)?.[1];

let folder = "";
let missing: string | undefined;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "annals-unit-"));
  missing = await missingTool({
    name: "systemd",
    needs: [["systemd-analyze", "--version"]],
    debianPackages: ["systemd"],
    build: [],
    run: [],
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("systemd understands the unit, and finds little that it exposes", ({ skip }) => {
  if (missing !== undefined) skip(missing);
  for (const name of ["annals.service", "annals-backup.service"]) {
    const file = join(folder, name);
    // A program that is there, where the service has its own.
    const text = readFileSync(`deploy/systemd/${name}`, "utf8");
    writeFileSync(file, text.replaceAll("/usr/local/bin/annals", "/bin/true"));
    const verified = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
    expect(verified).toMatchObject({ status: 0, stderr: "" });
    const judge = ["security", "--offline=true", "--threshold=15", file];
    const judged = spawnSync("systemd-analyze", judge, { encoding: "utf8" });
    expect(judged.status, judged.stdout).toBe(0);
  }
  const timer = join(folder, "annals-backup.timer");
  copyFileSync("deploy/systemd/annals-backup.timer", timer);
  const verified = spawnSync("systemd-analyze", ["verify", timer], { encoding: "utf8" });
  expect(verified).toMatchObject({ status: 0, stderr: "" });
});

test("the backup's command line is one of annals, also with the options of its settings", () => {
  const backup = readFileSync("deploy/systemd/annals-backup.service", "utf8");
  const own = readFileSync("deploy/systemd/annals-backup.env", "utf8");
  const values = new Map<string, string>();
  for (const [, name = "", value = ""] of own.matchAll(/^#?(BACKUP_[A-Z]+)=(.*)$/gm)) {
    values.set(name, value);
  }
  const line = /^ExecStart=\/usr\/local\/bin\/annals (.*)$/m.exec(backup)?.[1] ?? "";
  const filled = line.replaceAll(/\$\{?(\w+)\}?/g, (_, name: string) => values.get(name) ?? "?");
  expect(filled).toBe(
    "backup db.example:7420 /var/lib/annals-backup --keep 24 " +
      "--tls-ca /etc/annals/ca.crt --token-file /etc/annals/backup.token",
  );
  for (const [option] of filled.matchAll(/--[a-z-]+/g))
    expect(helpPage("backup")).toContain(option);
});

test("a refused start is not repeated, and a stop has the time it takes", () => {
  const { usage, storeRefused } = exitCode;
  expect(valueOf("RestartPreventExitStatus")).toBe(`${usage} ${storeRefused}`);
  expect(Number(valueOf("TimeoutStopSec"))).toBeGreaterThan(10);
});

test("the settings, also those that are commented out, are options of the server", () => {
  const lines = settings.matchAll(/^#?(ANNALS_[A-Z_]+)=(.*)$/gm);
  const environment = Object.fromEntries([...lines].map(([, name = "", value]) => [name, value]));
  expect(Object.keys(environment).length).toBeGreaterThan(4);
  const own = /^Environment=(\w+)=(.*)$/m.exec(unit) ?? [];
  const { config, sources } = loadConfig({
    flags: [],
    environment: { ...environment, [own[1] ?? ""]: own[2] },
  });
  const known = Object.values(sources).filter((source) => source !== "default");
  expect(known).toHaveLength(Object.keys(environment).length + 1);
  expect(config.data).toBe("/var/lib/annals/store");
});
