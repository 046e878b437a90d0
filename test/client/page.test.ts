// The page about the SDK is a program: its snippets, in order, compile in strict mode and run against
// a real server. Blocks marked `ts compiled` need a database, and are only compiled.
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/running-server.ts";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const page = readFileSync(join(repository, "docs/clients/typescript-sdk.md"), "utf8");
const readme = readFileSync(join(repository, "README.md"), "utf8");
const sources = {
  '"annals/client"': '"../../src/client/sdk.ts"',
  '"annals/client/sqlite"': '"../../src/client/projection/sqlite-read-model.ts"',
  '"annals/client/postgres"': '"../../src/client/projection/postgres-read-model.ts"',
};

let server: TestServer;
let folder: string;
beforeAll(async () => {
  server = await startTestServer();
  mkdirSync(join(repository, ".tmp"), { recursive: true });
  folder = mkdtempSync(join(repository, ".tmp/page-"));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await server.stop();
});

/** The code blocks of a document as one program that imports the sources instead of the package. */
function programOf(document: string, kinds: readonly string[]): string {
  const blocks = [...document.matchAll(/^```(ts[^\n]*)\n([\s\S]*?)^```$/gm)];
  const program = blocks.flatMap(([, kind = "", code = ""]) =>
    kinds.includes(kind) ? [code] : [],
  );
  return Object.entries(sources).reduce(
    (text, [name, source]) => text.replaceAll(name, source),
    program.join("\n"),
  );
}

test("every snippet compiles", () => {
  writeFileSync(join(folder, "readme.ts"), programOf(readme, ["ts"]));
  writeFileSync(join(folder, "all.ts"), programOf(page, ["ts", "ts compiled"]));
  const config = { extends: "../../tsconfig.json", include: ["all.ts", "readme.ts"], exclude: [] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const tsc = join(repository, "node_modules/.bin/tsc");
  const { stdout, status } = spawnSync(tsc, ["-p", folder], { encoding: "utf8" });
  expect({ stdout, status }).toEqual({ stdout: "", status: 0 });
});

test("the snippets run, one after the other", async () => {
  const path = join(folder, "run.ts");
  writeFileSync(path, programOf(page, ["ts"]));
  const env = { ...process.env, ANNALS_ADDRESS: server.address, NODE_NO_WARNINGS: "1" };
  const { stdout } = await promisify(execFile)(process.execPath, [path], { env });
  for (const line of [
    "1 1 false",
    "1 Write the book",
    "done 2 4",
    "Error: Rest is there already",
    "{ title: 'Rest' }",
    "{ title: 'Sleep' }",
    "thanks for todo-8, attempt 1",
    "TodoAdded { title: 'An old one' }",
    "1000",
  ]) {
    expect(stdout).toContain(line);
  }
});

test("the README's program prints the events it appended", async () => {
  const path = join(folder, "run-readme.ts");
  const program = programOf(readme, ["ts"]).replace("127.0.0.1:7420", server.address);
  writeFileSync(path, program);
  const { stdout } = await promisify(execFile)(process.execPath, [path]);
  expect(stdout).toBe("1 Opened { owner: 'Ann' }\n2 Deposited { cents: 500 }\n");
});
