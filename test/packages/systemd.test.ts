// The unit of deploy/systemd, read by systemd itself and held against the server's options.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { missingTool } from "../clients/build-cache.ts";
import { exitCode } from "../../src/cli/arguments/options.ts";
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
  const file = join(folder, "annals.service");
  // A program that is there, where the service has its own.
  writeFileSync(file, unit.replaceAll("/usr/local/bin/annals", "/bin/true"));
  const verified = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
  expect(verified).toMatchObject({ status: 0, stderr: "" });
  const judge = ["security", "--offline=true", "--threshold=15", file];
  const judged = spawnSync("systemd-analyze", judge, { encoding: "utf8" });
  expect(judged.status, judged.stdout).toBe(0);
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
