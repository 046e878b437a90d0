// What the store answers, judged by the parsers of other languages. Appends are written byte by byte:
// lengths and tags in more bytes than needed, fields twice, groups, unknown fields, wrong wire types,
// maps in odd forms, text that is not UTF-8, deep JSON. Whatever of it is accepted, every parser must
// read it back, and all of them the same. A poisoned event would stop the readers of one language at
// its position for ever.
import { spawn } from "node:child_process";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import { status, type ServiceError } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { View, type RecordedEvent } from "../../src/gen/annals/v1/event_pb.js";
import { ReadResponseSchema, type ReadRequest } from "../../src/gen/annals/v1/read_pb.js";
import { Calls } from "../support/calls.ts";
import { build, missingTool, sourcesOf } from "./build-cache.ts";
import { startLiveServer, type LiveServer } from "./live-server.ts";
import { appendBytes } from "./odd-appends.ts";
import { notRun, printReport, ran } from "./report.ts";
import { languages } from "./toolchains.ts";

const appendPath = "/annals.v1.EventStoreService/Append";
const appends = 3_000;
const buildMsMax = 600_000;

let server: LiveServer;
let answers: Buffer[] = [];
/** A strange field may be an expectation that does not hold. */
const refusals: readonly number[] = [status.INVALID_ARGUMENT, status.ABORTED];
const outcomes = { accepted: 0, refused: 0 };

beforeAll(async () => {
  server = await startLiveServer();
  const calls = new Calls(server.address);
  const seed = Number(process.env["SEED"] ?? 20_261_130);
  for (const request of fc.sample(appendBytes, { numRuns: appends, seed })) {
    const code = await calls.bytes(appendPath, request).then(
      () => status.OK,
      (error: unknown) => (error as ServiceError).code,
    );
    if (code === status.OK) outcomes.accepted += 1;
    else if (refusals.includes(code)) outcomes.refused += 1;
    else throw new Error(`${code} for ${request.toString("hex")}`);
  }
  answers = await readAll(calls);
  calls.close();
}, 120_000);
afterAll(async () => {
  await server.stop();
  printReport();
});

/** The answers to reads in every view, of everything and of one stream, as their bytes. */
async function readAll(calls: Calls): Promise<Buffer[]> {
  const { read } = EventStoreService.method;
  const all: Buffer[] = [];
  for (const view of [View.FULL, View.HEADERS, View.JSON]) {
    for (const selection of [
      { case: undefined },
      { case: "stream", value: "s" },
    ] as ReadRequest["selection"][]) {
      const { call } = calls.stream(read, { view, selection });
      for await (const bytes of call as AsyncIterable<Buffer>) all.push(bytes);
    }
  }
  return all;
}

/** What a parser leaves out of what it read, by its own fault; docs/clients says so. */
interface Omissions {
  readonly key?: string;
  readonly time?: boolean;
}

/** ts-proto sets map entries as members of plain objects, and its `Date` has milliseconds only. */
const omissionsOf: Readonly<Record<string, Omissions>> = {
  "ts-proto": { key: "__proto__", time: true },
};

const text = (value: string): string => Buffer.from(value).toString("hex");

function valueOf({ kind }: Value, omitted: Omissions): string {
  switch (kind.case) {
    case "nullValue":
      return "z";
    case "numberValue": {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleBE(kind.value);
      return `n${bytes.toString("hex")}`;
    }
    case "stringValue":
      return `s${text(kind.value)}`;
    case "boolValue":
      return kind.value ? "b1" : "b0";
    case "listValue":
      return `[${kind.value.values.map((each) => valueOf(each, omitted)).join(",")}]`;
    case "structValue": {
      const fields = Object.entries(kind.value.fields).filter(([key]) => key !== omitted.key);
      const parts = fields.map(([key, value]) => `${text(key)}:${valueOf(value, omitted)}`);
      return `{${parts.toSorted().join(",")}}`;
    }
    default:
      return "-";
  }
}

function eventOf(event: RecordedEvent, omitted: Omissions): string {
  const entries = Object.entries(event.metadata).filter(([key]) => key !== omitted.key);
  const metadata = entries.map(([key, value]) => `${text(key)}=${text(value)}`);
  const { seconds = 0n, nanos = 0 } = event.recordedAt ?? {};
  return [
    text(event.id),
    text(event.stream),
    text(event.type),
    event.tags.map(text).join(","),
    metadata.toSorted().join(","),
    text(event.contentType),
    Buffer.from(event.data).toString("hex"),
    event.json === undefined ? "" : valueOf(event.json, omitted),
    event.version,
    event.position,
    omitted.time === true ? "" : `${seconds}.${nanos}`,
  ].join("|");
}

/** What our own parser, protobuf-es, reads in an answer: a text for each event. */
function parsedHere(answer: Buffer, omitted: Omissions = {}): string[] {
  const { message } = fromBinary(ReadResponseSchema, answer);
  return message.case === "batch" ? message.value.events.map((one) => eventOf(one, omitted)) : [];
}

/** One line for each answer. */
async function parsedBy(command: readonly string[], folder: string, input: readonly Buffer[]) {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  let complained = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => (said += part));
  child.stderr.setEncoding("utf8").on("data", (part: string) => (complained += part));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject).once("close", resolve);
  });
  child.stdin.on("error", () => {});
  for (const bytes of input) {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(bytes.length);
    child.stdin.write(Buffer.concat([header, bytes]));
  }
  child.stdin.end();
  if ((await ended) !== 0) throw new Error(`${program} failed: ${complained}`);
  return said.split("\n").slice(0, -1);
}

test("some of the odd appends are accepted, and some are refused", () => {
  expect(outcomes.accepted).toBeGreaterThan(appends / 4);
  expect(outcomes.refused).toBeGreaterThan(appends / 4);
  const events = answers.flatMap((answer) => parsedHere(answer));
  expect(events.length).toBeGreaterThan(outcomes.accepted * 3);
});

const parsers = languages.flatMap((toolchain) =>
  Object.entries(toolchain.parsers ?? {}).map(([name, command]) => ({ name, command, toolchain })),
);

describe.each(parsers)("the parser $name", ({ name, command, toolchain }) => {
  test("reads every answer as we mean it", { timeout: buildMsMax }, async ({ skip }) => {
    const missing = await missingTool(toolchain);
    if (missing !== undefined) {
      notRun(name, missing);
      skip(`not run: ${missing}`);
    }
    const { folder, seconds } = await build(toolchain, sourcesOf(`test/clients/${toolchain.name}`));
    const since = performance.now();
    const lines = await parsedBy(command, folder, answers);
    ran(name, seconds, (performance.now() - since) / 1_000);
    expect(lines.length).toBe(answers.length);
    for (const [at, answer] of answers.entries()) {
      const read = (lines[at] ?? "").split(";").filter((each) => each !== "");
      expect(read.find((each) => each.startsWith("refused"))).toBeUndefined();
      const meant = parsedHere(answer, omissionsOf[name]);
      for (const [n, one] of meant.entries()) expect(read[n]).toBe(one);
      expect(read.length).toBe(meant.length);
    }
  });

  test(
    "refuses a poisoned answer, so that this test can fail",
    { timeout: buildMsMax },
    async ({ skip }) => {
      if ((await missingTool(toolchain)) !== undefined) skip("not run");
      const { folder } = await build(toolchain, sourcesOf(`test/clients/${toolchain.name}`));
      const batch = create(ReadResponseSchema, {
        message: { case: "batch", value: { events: [{ type: "T" }] } },
      });
      const bytes = Buffer.from(toBinary(ReadResponseSchema, batch));
      const cut = bytes.subarray(0, -1);
      const [whole = "", broken = ""] = await parsedBy(command, folder, [bytes, cut]);
      expect(whole).toContain(text("T"));
      expect(broken).toMatch(/^refused: /);
    },
  );
});
