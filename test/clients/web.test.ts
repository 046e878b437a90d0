// Clients of HTTP as their users have them: those of Connect and gRPC-Web in each of their forms,
// Server-Sent Events through a restart (four languages), the SDKs of CloudEvents (three), the client
// of the Model Context Protocol, and validators of OpenAPI.
import { afterAll, expect, test } from "vitest";
import { build, missingTool, sourcesOf } from "./build-cache.ts";
import type { Facts } from "./conversation.ts";
import { notRun, printReport, ran } from "./report.ts";
import { runClient } from "./run-client.ts";
import { javaNeeds, pythonNeeds, type Toolchain } from "./toolchains.ts";

const toolchains: Readonly<Record<string, Toolchain>> = {
  web: {
    name: "web",
    needs: [
      ["node", "--version"],
      ["npm", "--version"],
    ],
    build: [
      ["npm", "ci", "--ignore-scripts", "--silent"],
      ["buf", "build", "proto", "--output", "annals.binpb"],
    ],
    run: ["node", "web.mjs"],
  },
  "web-python": {
    name: "web-python",
    needs: pythonNeeds,
    build: [
      ["python3", "-m", "venv", "venv"],
      ["venv/bin/pip", "install", "--quiet", "--requirement", "requirements.txt"],
    ],
    run: ["venv/bin/python", "web.py"],
  },
  "web-go": {
    name: "web-go",
    needs: [["go", "version"]],
    build: [["go", "build", "-o", "client", "."]],
    run: ["./client"],
  },
  "web-java": {
    name: "web-java",
    needs: javaNeeds,
    build: [["mvn", "--batch-mode", "--quiet", "package"]],
    run: ["java", "-cp", "target/classes:target/lib/*", "example.Follow"],
  },
};

/** What a client said, by what it tried. */
async function said(name: string, skip: (why: string) => void): Promise<Map<string, Facts>> {
  const toolchain = toolchains[name] as Toolchain;
  const missing = await missingTool(toolchain);
  if (missing !== undefined) {
    notRun(name, missing);
    skip(`not run: ${missing}`);
  }
  const { folder, seconds } = await build(toolchain, sourcesOf(`test/clients/${name}`));
  const since = performance.now();
  const lines = await runClient(toolchain.run, folder, "TCP", ["--mcp"]);
  ran(name, seconds, (performance.now() - since) / 1_000);
  return new Map(lines.map(({ what, ...facts }) => [String(what), facts as Facts]));
}

afterAll(printReport);

test("each client of Connect and gRPC-Web sees the same", async ({ skip }) => {
  const facts = await said("web", skip);
  const clients = [...facts].filter(([name]) => name.startsWith("connect-"));
  expect(clients).toHaveLength(9);
  for (const [name, saw] of clients) {
    expect(saw, name).toEqual({
      last: "2",
      refused: { code: "Aborted", actual: "2" },
      malformed: "InvalidArgument",
      read: ["A", "B"],
      data: [0, 255, 10],
      version: "2",
      ended: "Canceled",
      live: ["A", "B"],
      overdue: "DeadlineExceeded",
    });
  }
  expect(facts.get("eventsource")).toEqual({ seen: ["A", "B", "C"], told: true });
  const time = "2018-04-05T17:31:00.123Z";
  const back = (id: string, data: unknown) => ({ id, time, data });
  expect(facts.get("cloudevents")).toEqual({
    "object, structured": back("object-structured", { a: 1, b: [true, null] }),
    "object, binary": back("object-binary", { a: 1, b: [true, null] }),
    "text, structured": back("text-structured", "h\u00e9"),
    "text, binary": back("text-binary", "h\u00e9"),
    "bytes, structured": back("bytes-structured", "AP8K"),
    "bytes, binary": back("bytes-binary", [0, 255, 10]),
    "zero, structured": back("zero-structured", 0),
  });
  expect(facts.get("mcp")).toEqual({
    server: "annals",
    tools: ["find_streams", "read_events", "state_at", "explain_refusal"],
    streams: ["asked"],
    events: ["A"],
    state: null,
    meaning: "ABORTED",
    mistyped: true,
    unknown: -32_602,
  });
  expect(facts.get("openapi")).toEqual({ valid: true });
});

const example = "Euro \u20ac";

test("Python's libraries see what was sent", async ({ skip }) => {
  const facts = await said("web-python", skip);
  const back = (id: string, data: unknown) => ({ id: `py-${id}`, example, data });
  expect(facts.get("cloudevents")).toEqual({
    "object, structured": back("object-structured", { a: 1, b: [true, null] }),
    "object, binary": back("object-binary", { a: 1, b: [true, null] }),
    "zero, structured": back("zero-structured", 0),
    "text, structured": back("text-structured", "h\u00e9"),
    "text, binary": back("text-binary", "h\u00e9"),
    "bytes, structured": back("bytes-structured", [0, 255, 10]),
    "bytes, binary": back("bytes-binary", [0, 255, 10]),
  });
  expect(facts.get("httpx-sse")).toEqual({ seen: ["A", "B", "C"] });
  expect(facts.get("openapi")).toEqual({ valid: true });
});

test("Java's client of Server-Sent Events sees each event once through a restart", async ({
  skip,
}) => {
  const facts = await said("web-java", skip);
  expect(facts.get("okhttp-eventsource")).toEqual({ seen: ["A", "B", "C"] });
});

test("Go's libraries see what was sent", async ({ skip }) => {
  const facts = await said("web-go", skip);
  const back = (id: string, data: string) => {
    // The SDK does not decode what headers have as percent-encoded UTF-8.
    const inHeader = id.endsWith("binary") ? encodeURIComponent(example) : example;
    return { id: `go-${id}`, example: inHeader, data };
  };
  expect(facts.get("cloudevents")).toEqual({
    "json, structured": back("json-structured", '{"a":1,"big":12345678901234567890}'),
    "json, binary": back("json-binary", '{"a":1,"big":12345678901234567890}'),
    "text, structured": back("text-structured", "h\u00e9"),
    "text, binary": back("text-binary", "h\u00e9"),
    "bytes, structured": back("bytes-structured", "\u0000\u0001\n"),
    "bytes, binary": back("bytes-binary", "\u0000\u0001\n"),
  });
  expect(facts.get("eventsource")).toEqual({ seen: ["A", "B", "C"] });
});
