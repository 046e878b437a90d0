// grpcurl and `buf curl` hold the conversation too, as far as a command line can, without our
// protos.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { build, missingTool } from "./build-cache.ts";
import { bufCurl, grpcurlIn, type CommandLine } from "./command-line.ts";
import { converseByCommands } from "./command-line-conversation.ts";
import { conversation } from "./conversation.ts";
import { repository, startLiveServer, type LiveServer } from "./live-server.ts";
import { notRun, printReport, ran } from "./report.ts";
import { grpcurl } from "./toolchains.ts";

/** With the build of grpcurl, which brings half of the gRPC world along. */
const timeout = 600_000;

afterAll(printReport);

/** What cannot be seen from outside: the status of a call that ctrl-C cut off. */
const unseen = { subscribe: { code: undefined } } as Record<string, object>;

async function expectConversation(tool: CommandLine, buildSeconds?: number): Promise<void> {
  const since = performance.now();
  const said = await converseByCommands(tool);
  ran(tool.name, buildSeconds, (performance.now() - since) / 1_000);
  const possible = conversation.filter(({ step }) => step !== "deadline" || tool.hasDeadlines);
  expect([...said.keys()]).toEqual(possible.map(({ step }) => step));
  for (const { step, does, facts } of possible) {
    expect(said.get(step), `${tool.name}, ${step}: ${does}`).toEqual({ ...facts, ...unseen[step] });
  }
}

describe("grpcurl, which knows nothing of us", () => {
  let server: LiveServer;
  beforeAll(async () => {
    server = await startLiveServer();
  });
  afterAll(() => server.stop());

  test("holds the conversation, and is told what there is", { timeout }, async ({ skip }) => {
    const missing = await missingTool(grpcurl);
    if (missing !== undefined) {
      notRun("grpcurl", missing);
      skip(`not run: ${missing}`);
    }
    const sources = ["go.mod", "go.sum"].map((name) => {
      return [name, join(repository, "test/clients/grpcurl", name)] as const;
    });
    const { folder, seconds } = await build(grpcurl, new Map(sources));
    await expectConversation(grpcurlIn(folder), seconds);

    const ask = (...args: string[]): string => {
      const { stdout, stderr, status } = spawnSync(
        join(folder, "grpcurl"),
        ["-plaintext", ...args],
        {
          encoding: "utf8",
        },
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      return stdout;
    };
    expect(ask(server.address, "list").split("\n")).toContain("annals.v1.EventStoreService");
    const described = ask(server.address, "describe", "annals.v1.NewEvent");
    expect(described).toContain("repeated string tags = 4;");
    expect(JSON.parse(ask(server.address, "grpc.health.v1.Health/Check"))).toEqual({
      status: "SERVING",
    });
    const json = '{"stream":"s","events":[{"type":"Seen","json":{"by":"a person","n":1}}]}';
    ask("-d", json, server.address, "annals.v1.EventStoreService/Append");
    const read = ask(
      "-d",
      '{"stream":"s","view":"VIEW_JSON"}',
      server.address,
      "annals.v1.EventStoreService/Read",
    );
    expect(read).toMatch(/"json": \{\s*"by": "a person",\s*"n": 1\s*\}/);
  });
});

describe("buf curl, which knows nothing of us", () => {
  test("holds the conversation, but for deadlines, which it cannot set", async () => {
    await expectConversation(bufCurl);
  });
});
