// The adapter for Axon Framework (adapters/axon), built as its users build it. Its tests start their
// own servers: the framework's published suites, what they do not ask, and a server that is killed
// while several write.

import { globSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { build, execute, missingTool, type Sources } from "../clients/build-cache.ts";
import { node, repository } from "../clients/live-server.ts";
import { notRun, printReport, ran } from "../clients/report.ts";
import { findJdk } from "./jdk.ts";

const javaVersionMin = 21;
/** By test class: how many of its cases pass, and how many the framework itself has disabled. */
const cases = {
  AnnalsEventStorageEngineTest: [31, 0],
  AggregateBasedAnnalsEventStorageEngineTest: [23, 1],
  EngineTest: [8, 0],
  TokenStoreTest: [6, 0],
  CoursesTest: [1, 0],
};

afterAll(printReport);

test("the suites of Axon Framework pass, also through a killed server", async ({ skip }) => {
  const jdk = findJdk(javaVersionMin);
  const needs = [["mvn", "--version"]];
  const why =
    jdk === undefined
      ? `no JDK ${javaVersionMin} or newer was found (JAVA_HOME, PATH, /usr/lib/jvm)`
      : await missingTool({ name: "adapter-axon", needs, build: [], run: [] });
  if (jdk === undefined || why !== undefined) {
    notRun("adapter-axon", why ?? "");
    return skip(`not run: ${why}`);
  }
  const variables = { JAVA_HOME: jdk, MAVEN_OPTS: "-Xmx1g" };
  const env = ["env", ...Object.entries(variables).map(([name, value]) => `${name}=${value}`)];
  const maven = [...env, "mvn", "--batch-mode", "--threads", "1", "--file", "adapters/axon"];
  const compile = [...maven, "--quiet", "-DskipTests", "package"];
  const toolchain = { name: "adapter-axon", needs, build: [compile], run: [] };
  const { folder, seconds } = await build(toolchain, sources());
  for (const report of reports(folder)) rmSync(report);
  const since = performance.now();
  const serve = { ANNALS_SERVE: `${node} ${join(repository, "src/main.ts")} serve` };
  await execute([...maven, "test"], folder, serve);
  expect(Object.fromEntries(reports(folder).map(counted))).toEqual(cases);
  ran("adapter-axon", seconds, (performance.now() - since) / 1_000);
});

/** With the contract beside them, as in a checkout. */
function sources(): Sources {
  const patterns = ["adapters/axon/**/*", "proto/annals/v1/*.{proto,json}"];
  const paths = patterns
    .flatMap((pattern) => globSync(pattern, { cwd: repository }))
    .filter((path) => !path.split("/").includes("target"))
    .filter((path) => statSync(join(repository, path)).isFile());
  return new Map(paths.map((path) => [path, join(repository, path)] as const));
}

function reports(folder: string): string[] {
  return globSync("adapters/axon/*/target/surefire-reports/TEST-*.xml", { cwd: folder }).map(
    (path) => join(folder, path),
  );
}

/** What passed and what was skipped, by the class's name. */
function counted(report: string): [string, [number, number]] {
  const text = readFileSync(report, "utf8");
  const name = /TEST-(?:.*\.)?(\w+)\.xml$/.exec(report)?.[1] ?? "";
  const count = (pattern: RegExp): number => text.match(pattern)?.length ?? 0;
  const bad = count(/<(skipped|failure|error)\b/g);
  return [name, [count(/<testcase\b/g) - bad, count(/<skipped\b/g)]];
}
