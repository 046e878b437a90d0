// The adapters in TypeScript as their users and their readers want them: small, narrow, pinned.
import { existsSync, globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const names = globSync("adapters/*/package.json").map((path) => path.split("/")[1] ?? "");
const linesOf = (path: string) => readFileSync(path, "utf8").split("\n");

test.each(names)("the adapter %s has at most 500 lines in files of at most 400", (name) => {
  const sources = globSync(`adapters/${name}/src/**/*.ts`);
  const lines = sources.reduce((sum, path) => sum + linesOf(path).length - 1, 0);
  expect(lines).toBeGreaterThan(0);
  expect(lines).toBeLessThanOrEqual(500);
  for (const path of [...sources, ...globSync(`adapters/${name}/test/**/*.ts`)]) {
    expect(linesOf(path).length, path).toBeLessThanOrEqual(401);
    expect(linesOf(path).filter((line) => line.length > 110)).toEqual([]);
  }
});

test.each(names)("the adapter %s pins what it is built with, and is in the table", (name) => {
  const manifest = JSON.parse(readFileSync(`adapters/${name}/package.json`, "utf8")) as {
    devDependencies: Record<string, string>;
  };
  for (const version of Object.values(manifest.devDependencies)) {
    expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  }
  expect(existsSync(`adapters/${name}/package-lock.json`)).toBe(true);
  expect(readFileSync("adapters/README.md", "utf8")).toContain(`(${name}/README.md)`);
});

test.each(names)("the page of the adapter %s links to what is there", (name) => {
  const page = readFileSync(`adapters/${name}/README.md`, "utf8");
  const links = [...page.matchAll(/\]\((?!\w+:)([^)#]+)/g)].map(([, path = ""]) => path);
  expect(links.filter((path) => !existsSync(`adapters/${name}/${path}`))).toEqual([]);
});
