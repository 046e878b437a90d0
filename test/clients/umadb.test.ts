// The official Python client of UmaDB walks through everything with a live server that is restarted
// in between, and then through the server that comes with it, which must answer alike. A client that
// cannot be installed here is reported as not run.

import { afterAll, describe, expect, test } from "vitest";
import { build, missingTool, sourcesOf } from "./build-cache.ts";
import { notRun, printReport, ran } from "./report.ts";
import { runClient } from "./run-client.ts";
import { rustProtocols, type Toolchain } from "./toolchains.ts";

const flags = ["--protocol", "umadb"];
const clientMsMax = 600_000;
const stepCount = 13;

const client: Toolchain = {
  name: "umadb-python",
  needs: [
    ["python3", "--version"],
    ["python3", "-m", "venv", "--help"],
  ],
  build: [
    ["python3", "-m", "venv", "venv"],
    ["venv/bin/pip", "install", "--quiet", "--requirement", "requirements.txt"],
  ],
  run: ["venv/bin/python", "conversation.py"],
};

describe.each([
  ["a server of Annals as of its own", {}],
  ["its own server as the steps say", { REFERENCE: 1 }],
])("the client of UmaDB for Python", (what, variables) => {
  test(`finds ${what}`, { timeout: clientMsMax }, async ({ skip }) => {
    const name = `UmaDB for Python: ${what}`;
    const missing = await missingTool(client);
    if (missing !== undefined) {
      notRun(name, missing);
      skip(`not run: ${missing}`);
    }
    const { folder, seconds } = await build(client, sourcesOf(`test/clients/${client.name}`));
    const since = performance.now();
    const said = await runClient(client.run, folder, "TCP", flags, variables);
    ran(name, seconds, (performance.now() - since) / 1_000);
    expect(said.filter(({ ok }) => ok !== true)).toEqual([]);
    expect(said).toHaveLength(stepCount);
  });
});

test(
  "the client of UmaDB for Rust finds what it expects",
  { timeout: clientMsMax },
  async ({ skip }) => {
    const missing = await missingTool(rustProtocols);
    if (missing !== undefined) {
      notRun("UmaDB for Rust", missing);
      skip(`not run: ${missing}`);
    }
    const sources = sourcesOf(`test/clients/${rustProtocols.name}`);
    const { folder, seconds } = await build(rustProtocols, sources);
    const since = performance.now();
    const said = await runClient(["target/debug/umadb"], folder, "TCP", flags);
    ran("UmaDB for Rust", seconds, (performance.now() - since) / 1_000);
    expect(said.filter(({ ok }) => ok !== true)).toEqual([]);
    expect(said).toHaveLength(6);
  },
);

afterAll(printReport);
