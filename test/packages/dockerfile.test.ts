// The Dockerfile, as far as it can be tried without a container: the files that its context lets
// through are all that its build needs, and its steps name nothing else.

import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { repository } from "../clients/live-server.ts";

let context = "";
beforeEach(() => {
  context = mkdtempSync(join(tmpdir(), "annals-context-"));
  const [everything, ...allowed] = readFileSync(".dockerignore", "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (everything !== "*") throw new Error("the context lets everything through");
  for (const line of allowed) {
    const path = line.replace(/^!/, "");
    cpSync(path, join(context, path), { recursive: true });
  }
});
afterEach(() => rmSync(context, { recursive: true, force: true }));

test("what it copies is in its context, and builds there", () => {
  const text = readFileSync("Dockerfile", "utf8");
  const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = ""]) =>
    sources.split(" "),
  );
  expect(copied.length).toBeGreaterThan(8);
  expect(copied.filter((path) => !existsSync(join(context, path)))).toEqual([]);
  symlinkSync(join(repository, "node_modules"), join(context, "node_modules"));
  const env = { ...process.env, SOURCE_COMMIT: "0".repeat(40) };
  const built = spawnSync("npm", ["run", "--silent", "build"], { cwd: context, env });
  expect(built.status, String(built.stderr)).toBe(0);
  const made = [...text.matchAll(/^COPY --from=build \/app\/(\S+) /gm)].map(
    ([, path = ""]) => path,
  );
  expect(made.filter((path) => !existsSync(join(context, path)))).toEqual([]);
  const [, entry = ""] = /ln -s \/app\/(\S+) \/usr\/local\/bin\/annals/.exec(text) ?? [];
  expect(statSync(join(context, entry)).isFile()).toBe(true);
  expect(readFileSync(join(context, entry), "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
  const bill = readFileSync(join(context, "dist/provenance.json"), "utf8");
  expect(bill).toContain("0".repeat(40));
});

test("its entry point and its probe are those of the image that is built without a daemon", () => {
  const text = readFileSync("Dockerfile", "utf8");
  const script = readFileSync("scripts/packages/image.mjs", "utf8");
  // The same program, with the flags that the executable has inside.
  expect(text).toMatch(/^ENTRYPOINT \["node", .*, "\/app\/dist\/bin.js"\]\nCMD \["serve"\]$/m);
  expect(script).toContain('Entrypoint: ["annals"],\n      Cmd: ["serve"]');
  expect(text).toContain('CMD ["annals", "health"]');
  expect(script).toContain('Test: ["CMD", "annals", "health"]');
  const last = text.slice(text.lastIndexOf("FROM "));
  const variables = [...last.matchAll(/\b(ANNALS_\w+=\S+)/g)].map(([, each = ""]) => each);
  const set = variables.filter(
    (each) => !/_(FILE|AUTH|TCP)\b/.test(each) && /=(\/|0|true)/.test(each),
  );
  expect(set.length).toBe(3);
  expect(set.filter((each) => !script.includes(`"${each}"`))).toEqual([]);
});
