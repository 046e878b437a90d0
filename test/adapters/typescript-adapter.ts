// The adapters in TypeScript (adapters/): each is built as its users build it, with the client's
// package, runs its own tests against a live server, and works on through a killed one.

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { build, execute, type Built, type Sources } from "../clients/build-cache.ts";
import { repository, startLiveServer } from "../clients/live-server.ts";
import { printReport, ran } from "../clients/report.ts";
import { converse } from "../clients/run-client.ts";

const { version } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as {
  version: string;
};
const clientTarball = `annals-client-${version}.tgz`;
const needs = [
  ["node", "--version"],
  ["npm", "--version"],
];

/** Declares the tests of an adapter. `cases` is how many its own suite has: all of them must run. */
export function testAdapter(name: string, cases: number): void {
  afterAll(printReport);

  test(`${name}: its own ${cases} cases pass against a server on disk`, async () => {
    const { folder, seconds } = await builtAdapter(name);
    const server = await startLiveServer();
    const since = performance.now();
    try {
      const env = { ANNALS_ADDRESS: server.address };
      const said = await execute(["npm", "test", "--silent"], folder, env);
      const counted = /^# pass (\d+)\n# fail (\d+)\n# cancelled (\d+)\n# skipped (\d+)$/m.exec(
        said,
      );
      expect(counted?.slice(1).map(Number), said.slice(-2_000)).toEqual([cases, 0, 0, 0]);
    } finally {
      await server.stop();
    }
    ran(`${name}, ${cases} cases`, seconds, (performance.now() - since) / 1_000);
  });

  test(`${name}: nothing is lost or doubled where the server is killed in the middle`, async () => {
    const { folder } = await builtAdapter(name);
    const server = await startLiveServer();
    try {
      const env = { ANNALS_ADDRESS: server.address };
      const crash = () => server.crash();
      const [facts] = await converse(["node", "build/through-a-crash.js"], folder, env, crash);
      expect(facts).toEqual({ crashes: 1, lost: [], doubled: [], outOfOrder: 0 });
    } finally {
      await server.stop();
    }
  });
}

async function builtAdapter(name: string): Promise<Built> {
  const client = await builtClient();
  const own = filesOf(`adapters/${name}`, "{*,src/**/*,test/**/*}.{json,ts,md}", ".npmrc");
  const sources = new Map([...own, [clientTarball, join(client, clientTarball)] as const]);
  const quick = ["--prefer-offline", "--no-audit", "--no-fund"];
  const install = ["npm", "install", "--no-save", "--legacy-peer-deps=false", ...quick];
  const steps = [
    ["npm", "ci"],
    [...install, `./${clientTarball}`],
    ["npm", "run", "build"],
  ];
  const tests = ["node_modules/.bin/tsc", "-p", "test/tsconfig.json"];
  return build({ name: `adapter-${name}`, needs, build: [...steps, tests], run: [] }, sources);
}

/** The folder with the client's package, as `npm run packages` makes it. */
async function builtClient(): Promise<string> {
  const pages = ["docs/clients/typescript-sdk.md", "LICENSE", "NOTICE", "package-lock.json"];
  const tools = ["scripts/bill.mjs", "scripts/packages/{npm,reached}.mjs", "*.json"];
  const sources = filesOf(".", "src/{client,gen}/**/*.*", ...pages, ...tools);
  const pack = `import { clientPackage } from "./scripts/packages/npm.mjs"; clientPackage("made", ".");`;
  const steps = [
    ["rm", "-rf", "dist", "made"],
    ["ln", "-sfn", join(repository, "node_modules"), "node_modules"],
    ["node_modules/.bin/tsc", "-p", "tsconfig.build.json"],
    ["cp", "-r", "src/gen", "dist/gen"],
    ["node", "--input-type=module", "--eval", pack],
  ];
  const client = { name: "annals-client", needs, build: steps, run: [] };
  return (await build(client, sources)).folder;
}

/** Files of a folder of the repository, by their paths in it. */
function filesOf(folder: string, ...patterns: readonly string[]): Sources {
  const cwd = join(repository, folder);
  const paths = patterns.flatMap((pattern) => globSync(pattern, { cwd }));
  const files = paths.filter((path) => !path.split("/").includes("node_modules"));
  return new Map(files.map((path) => [path, join(cwd, path)] as const));
}
