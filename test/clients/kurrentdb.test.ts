// The official clients of KurrentDB and EventStoreDB walk through everything with a live server that
// is restarted in between. A client that cannot be installed here is reported as not run.

import { afterAll, describe, expect, test } from "vitest";
import { build, missingTool, sourcesOf } from "./build-cache.ts";
import { notRun, printReport, ran } from "./report.ts";
import { runClient } from "./run-client.ts";
import { javaNeeds, pythonNeeds, rustProtocols, type Toolchain } from "./toolchains.ts";

const flags = ["--protocol", "kurrentdb"];
const clientMsMax = 1_200_000;

const node: Toolchain = {
  name: "kurrentdb-node",
  needs: [["node", "--version"]],
  build: [["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]],
  run: ["node", "conversation.mjs"],
};

const clients: readonly (Toolchain & { readonly of: string })[] = [
  { ...node, of: "KurrentDB for Node", run: [...node.run, "@kurrent/kurrentdb-client"] },
  { ...node, of: "EventStoreDB for Node", run: [...node.run, "@eventstore/db-client"] },
  {
    name: "kurrentdb-python",
    of: "KurrentDB for Python",
    needs: pythonNeeds,
    build: [
      ["python3", "-m", "venv", "venv"],
      ["venv/bin/pip", "install", "--quiet", "--requirement", "requirements.txt"],
    ],
    run: ["venv/bin/python", "conversation.py"],
  },
  {
    name: "kurrentdb-go",
    of: "KurrentDB for Go",
    needs: [["go", "version"]],
    build: [["go", "build", "-o", "client", "."]],
    run: ["./client"],
  },
  {
    name: "kurrentdb-java",
    of: "KurrentDB for Java",
    needs: javaNeeds,
    build: [["mvn", "--batch-mode", "--quiet", "package"]],
    run: ["java", "-cp", "target/classes:target/lib/*", "example.Walk"],
  },
  { ...rustProtocols, of: "KurrentDB for Rust", run: ["target/debug/kurrentdb"] },
];

describe.each(clients)("the client of $of", (client) => {
  test("finds what it expects of its own server", { timeout: clientMsMax }, async ({ skip }) => {
    const missing = await missingTool(client);
    if (missing !== undefined) {
      notRun(client.of, missing);
      skip(`not run: ${missing}`);
    }
    const { run, ...key } = client;
    const { folder, seconds } = await build(
      { ...node, ...key },
      sourcesOf(`test/clients/${client.name}`),
    );
    const since = performance.now();
    const said = await runClient(run, folder, "TCP", flags);
    ran(client.of, seconds, (performance.now() - since) / 1_000);
    expect(said.filter(({ ok }) => ok !== true)).toEqual([]);
    expect(said.length).toBeGreaterThanOrEqual(10);
  });
});

afterAll(printReport);
