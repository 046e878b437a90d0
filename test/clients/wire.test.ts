// Every client that can be had holds the second conversation with a server of its own, and sees the
// same of it, but for what the table below says.

import { afterAll, describe, expect, test } from "vitest";
import { build, missingTool, sourcesOf } from "./build-cache.ts";
import type { Facts } from "./conversation.ts";
import { notRun, printReport, ran } from "./report.ts";
import { runClient } from "./run-client.ts";
import { languages, wireOnly } from "./toolchains.ts";
import { code, expectedOf, usualNumbers, type WireNumbers } from "./wire-conversation.ts";

const timeout = 600_000;

interface Peculiarity {
  readonly why: string;
  readonly facts: Readonly<Record<string, Facts>>;
  readonly numbers?: Partial<WireNumbers>;
}

/** The client compares its metadata with the SETTINGS of ours, or with a limit of its own. */
const refusedByItself = { metadata: { refused: code.internal } };

/** What is other for a client, by its own doing. */
const peculiarities: Readonly<Record<string, Peculiarity>> = {
  "grpc-go": {
    why: "header list size to send violates the maximum size (65536 bytes) set by server",
    facts: refusedByItself,
  },
  "grpc-java over netty": {
    why: "netty compares with SETTINGS_MAX_HEADER_LIST_SIZE and says `http2 exception`",
    facts: refusedByItself,
  },
  "connect-node": {
    why: "node:http2 sends no more than maxSendHeaderBlockLength and says REFUSED_STREAM",
    facts: refusedByItself,
  },
  grpclib: {
    why: "findings/grpclib-goaway-ends-open-calls.sh: at a GOAWAY it drops the open calls as well",
    facts: { restart: { end: { code: code.unavailable } } },
  },
};

const clients = [...languages, ...wireOnly].flatMap((toolchain) =>
  Object.entries(toolchain.wire ?? {}).map(([name, run]) => ({ name, run, toolchain })),
);

describe.each(clients)("$name", ({ name, run, toolchain }) => {
  test("sees of our HTTP/2 what all clients see", { timeout }, async ({ skip }) => {
    const missing = await missingTool(toolchain);
    if (missing !== undefined) {
      notRun(toolchain.name, missing);
      skip(`not run: ${missing}`);
    }
    const sources = sourcesOf(`test/clients/${toolchain.name}`);
    const { folder, seconds } = await build(toolchain, sources);
    const since = performance.now();
    const { facts = {}, numbers: own = {} } = peculiarities[name] ?? {};
    const numbers = { ...usualNumbers, ...own };
    const said = await runClient(run, folder, "TCP", [], numbers);
    ran(name, seconds, (performance.now() - since) / 1_000);
    expect(said).toEqual(expectedOf(numbers, facts));
  });
});

test("the table names clients that there are", () => {
  const names = clients.map(({ name }) => name);
  expect(Object.keys(peculiarities).filter((name) => !names.includes(name))).toEqual([]);
});

afterAll(printReport);
