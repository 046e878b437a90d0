// The adapters in Python as their users and their readers want them: small, pinned, in the table.
import { existsSync, globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const names = globSync("adapters/*/pyproject.toml").map((path) => path.split("/")[1] ?? "");
const linesOf = (path: string) => readFileSync(path, "utf8").split("\n");
/** An adapter to a framework; the client, for threads and for asyncio, is none. */
const linesMax = (name: string) => (name === "python-client" ? 1_000 : 500);

test("there are two adapters in Python", () => {
  expect(names.toSorted()).toEqual(["python-client", "python-eventsourcing"]);
});

test.each(names)("the adapter %s is small, in files of at most 400 lines", (name) => {
  const files = globSync(`adapters/${name}/{*,*/*}.py`);
  const own = files.filter((path) => /\/(annals|eventsourcing_annals)\//.test(path));
  const filled = own.flatMap((path) => linesOf(path).filter((line) => line.trim() !== ""));
  expect(filled.length).toBeGreaterThan(0);
  expect(filled.length).toBeLessThanOrEqual(linesMax(name));
  for (const path of files) {
    expect(linesOf(path).length, path).toBeLessThanOrEqual(401);
    expect(linesOf(path).filter((line) => line.length > 100)).toEqual([]);
  }
});

test.each(names)("the adapter %s pins what it is tested with, and is in the table", (name) => {
  const pinned = linesOf(`adapters/${name}/tests/requirements.txt`).filter((line) => line !== "");
  for (const line of pinned) expect(line).toMatch(/^[\w-]+==\d+(\.\d+)+$/);
  expect(readFileSync("adapters/README.md", "utf8")).toContain(`(${name}/README.md)`);
});

test.each(names)("the page of the adapter %s links to what is there", (name) => {
  const page = readFileSync(`adapters/${name}/README.md`, "utf8");
  const links = [...page.matchAll(/\]\((?!\w+:)([^)#]+)/g)].map(([, path = ""]) => path);
  expect(links.filter((path) => !existsSync(`adapters/${name}/${path}`))).toEqual([]);
});
